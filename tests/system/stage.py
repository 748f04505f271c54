"""One gateway process, the strict providers behind it, a channel of each kind.

Starting takes seconds, so it is done once in a test process and ends with it. Tests
leave nothing behind but log rows.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from attrs import frozen

from tests.system.process import Process
from tests.system.providers import chat, claude, gemini, rerank, responses
from tests.system.providers.server import Providers
from tests.system.scenarios import Tokens

FAULTS = ("400", "429", "500", "cut")


@frozen
class Kind:
    """A kind of channel.

    Attributes:
        type: The channel's type id.
        model: The provider's model.
        dialect: What the gateway must speak to it.
        endpoints: What of its provider's dialects it takes; empty means all.
        reasons: Its model can be asked to think; `shows`: and its reasoning is shown.
        signer: Who signs it; the signatures must come back.
        tells_written: It reports tokens written to the cache; `splits`: for how long.
    """

    type: int
    model: str
    dialect: ModuleType
    endpoints: tuple[str, ...] = ()
    reasons: bool = True
    shows: bool = True
    signer: str = ""
    tells_written: bool = True
    splits: bool = False


KINDS: Mapping[str, Kind] = {
    "chat": Kind(1, "gpt-4.1", chat, ("openai",), reasons=False, shows=False),
    "responses": Kind(
        1, "gpt-5.2", responses, ("openai-response",), signer=responses.WHO
    ),
    "claude": Kind(14, "claude-sonnet-4-5", claude, signer=claude.WHO, splits=True),
    "gemini": Kind(
        24, "gemini-2.5-flash", gemini, signer=gemini.WHO, tells_written=False
    ),
}
"""The four kinds that every client is tried on."""

THINKING_KINDS: Mapping[str, Kind] = {
    "gpt5": Kind(1, "gpt-5.2", chat, ("openai",), shows=False),
    "deepseek": Kind(43, "deepseek-v4-pro", chat, ("openai",)),
    "gemini3": Kind(
        24, "gemini-3-pro-preview", gemini, signer=gemini.WHO, tells_written=False
    ),
}
"""More kinds, with rules of their own about reasoning."""

ALL_KINDS: Mapping[str, Kind] = {**KINDS, **THINKING_KINDS}


RERANKERS: Mapping[str, Kind] = {
    "cohere": Kind(34, "rerank-v3.5", rerank),
    "jina": Kind(38, "jina-reranker-v3", rerank),
}
"""Channels that rank documents."""


def model_of(kind: str, fault: str = "") -> str:
    """The name that clients ask for; no rule about vendors' names applies to it."""
    return f"via-{kind}-{fault}" if fault else f"via-{kind}"


RATIO, COMPLETION, CACHE, WRITE = 2, 4, 0.1, 1.25
HOUR = 1.6
"""What a token costs that is written to the cache for an hour, in those for minutes."""


def charge(tokens: Tokens, kind: Kind) -> int:
    """Quota for one answer (billing specification, section 5)."""
    written = tokens.written_5m * WRITE + tokens.written_1h * WRITE * HOUR
    if not kind.splits:
        written = tokens.written * WRITE
    if not kind.tells_written:
        written = tokens.written
    plain = tokens.prompt - tokens.cached - tokens.written
    prompt = plain + tokens.cached * CACHE + written
    return round((prompt + tokens.completion * COMPLETION) * RATIO)


@frozen
class Stage:
    """What the tests use."""

    process: Process
    providers: Providers
    key: str

    def token(self, name: str) -> str:
        """The key of a new token."""
        told = {"name": name, "unlimited_quota": True, "expired_time": -1}
        self.process.call("POST", "/api/token/", told)
        tokens = self.process.call("GET", "/api/token/?page_size=100")["items"]
        (ident,) = (token["id"] for token in tokens if token["name"] == name)
        return "sk-" + str(self.process.call("POST", f"/api/token/{ident}/key")["key"])

    def rows(self, token: str, count: int) -> list[dict[str, Any]]:
        """The charges of a token, the last first, once there are `count` of them."""
        end = time.monotonic() + 10
        path = f"/api/log/?type=2&page_size=100&token_name={token}"
        while True:
            rows: list[dict[str, Any]] = self.process.call("GET", path)["items"]
            if len(rows) >= count or time.monotonic() > end:
                return rows
            time.sleep(0.02)


@cache
def stage() -> Stage:
    """The stage of this process, set up at the first call."""
    folder = Path(tempfile.mkdtemp(prefix="knight-system-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    providers = Providers()
    providers.start()
    process = Process(folder, {"LEDGER_FLUSH_SECONDS": "0.05"})
    atexit.register(process.stop)
    process.start()
    key = process.set_up()
    for option, value in _prices().items():
        told = {"key": option, "value": json.dumps(value)}
        process.call("PUT", "/api/option/", told)
    for name, kind in {**ALL_KINDS, **RERANKERS}.items():
        process.channel(providers.url, **_channel(name, kind))
    return Stage(process, providers, key)


def _names() -> list[str]:
    kinds = (*ALL_KINDS, *RERANKERS)
    return [model_of(kind, fault) for kind in kinds for fault in ("", *FAULTS)]


def _prices() -> dict[str, dict[str, float]]:
    names = _names()
    return {
        "ModelRatio": dict.fromkeys(names, RATIO),
        "CompletionRatio": dict.fromkeys(names, COMPLETION),
        "CacheRatio": dict.fromkeys(names, CACHE),
        "CreateCacheRatio": dict.fromkeys(names, WRITE),
    }


def _channel(name: str, kind: Kind) -> dict[str, Any]:
    mapping = {model_of(name): kind.model}
    mapping |= {model_of(name, how): f"{kind.model}-fails-{how}" for how in FAULTS}
    settings = {"supported_endpoints": list(kind.endpoints)} if kind.endpoints else {}
    return {
        "name": name,
        "type": kind.type,
        "auto_ban": 0,
        "models": ",".join(mapping),
        "model_mapping": json.dumps(mapping),
        "settings": json.dumps(settings),
    }
