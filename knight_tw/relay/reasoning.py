"""The memory of signed reasoning: sealed, in the cache, for a while.

What is kept of an answer and where it goes in a later request is `convert.recall`'s
matter. A record is sealed with a key of this installation and bound to its user and
tool call, so that nobody who can write to the cache can hand one user's reasoning to
another. Nothing waits for a record longer than the cache lets it wait, and whatever
goes wrong is as if nothing had been kept. Conversion specification, section 2.1.
"""

from __future__ import annotations

import os
from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import msgspec
from attrs import define, field
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from twisted.internet.defer import Deferred, gatherResults

from knight_tw.cache import Cache
from knight_tw.convert.recall import Record
from knight_tw.relay.knobs import Knobs
from knight_tw.wire import top

TURNS = 32
"""Latest turns of a conversation that are looked up; what is older may be forgotten
without a provider's refusing the request."""

CALLS = 32
"""Most calls of one answer that a record is kept for."""

LONGEST_ID = 256
"""Characters of a tool call's id; longer ones, and those beyond ASCII, are no id that a
provider gives."""

PURPOSE = b"knight reasoning memory v1"
_NONCE = 12


@define(eq=False)
class Seal:
    """Encrypts texts for the cache (AES-256-GCM)."""

    _cipher: AESGCM

    @classmethod
    def of(cls, secret: str) -> Seal:
        """With a key of its own, derived from the installation's secret."""
        derived = HKDF(SHA256(), 32, None, PURPOSE).derive(secret.encode())
        return cls(AESGCM(derived))

    def closed(self, text: bytes, name: str) -> str:
        """The text, sealed; only who asks by the same name can open it."""
        nonce = os.urandom(_NONCE)
        sealed = self._cipher.encrypt(nonce, text, name.encode())
        return b64encode(nonce + sealed).decode()

    def opened(self, sealed: str, name: str) -> bytes | None:
        """What was sealed; None when it was not sealed here under this name."""
        try:
            raw = b64decode(sealed.encode("ascii"), validate=True)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], name.encode())
        except (InvalidTag, ValueError):
            return None


@define(eq=False)
class ReasoningMemory:
    """Keeps records by user and tool call, and finds them again."""

    _cache: Cache
    _seal: Seal = field(repr=False)

    def on(self, knobs: Knobs) -> bool:
        """True when reasoning is to be kept."""
        mode = knobs.reasoning_memory
        return mode == "on" or (mode == "auto" and self._cache.shared)

    def keep(self, user_id: int, kept: Mapping[str, Record], seconds: float) -> None:
        """Stores an answer's records; nobody waits for it."""
        texts: dict[int, bytes] = {}
        calls = [pair for pair in kept.items() if _is_id(pair[0])]
        for call_id, record in calls[:CALLS]:
            name = _name(user_id, call_id)
            text = texts.get(id(record))
            if text is None:
                text = texts[id(record)] = top.encode(record)
            self._cache.set(name, self._seal.closed(text, name), seconds)

    async def find(self, user_id: int, call_ids: Sequence[str]) -> dict[str, Record]:
        """The records of the latest calls, those that can be had."""
        wanted = [c for c in dict.fromkeys(call_ids[-TURNS:]) if _is_id(c)]
        names = [_name(user_id, call_id) for call_id in wanted]
        answers = [self._cache.get(name) for name in names]
        waiting = [answer for answer in answers if isinstance(answer, Deferred)]
        if waiting:
            await gatherResults(waiting, consumeErrors=True)
        found: dict[str, Record] = {}
        for call_id, name, answer in zip(wanted, names, answers, strict=True):
            text = await answer if isinstance(answer, Deferred) else answer
            record = self._read(text, name) if text else None
            if record is not None:
                found[call_id] = record
        return found

    def _read(self, text: str, name: str) -> Record | None:
        opened = self._seal.opened(text, name)
        if opened is None:
            return None
        try:
            return msgspec.json.decode(opened, type=dict)
        except msgspec.MsgspecError:
            return None


def _is_id(text: str) -> bool:
    return text.isascii() and 0 < len(text) <= LONGEST_ID


def _name(user_id: int, call_id: str) -> str:
    """The cache's key of a record."""
    return f"reason:{user_id}:{call_id}"
