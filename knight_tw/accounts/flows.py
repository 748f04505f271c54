"""Flow tokens and one-time codes: what a client brings back to end what it began.

A *token* is a long random text that names its flow by itself (OAuth state, passkey
challenge, the second step of a login). A *code* is short enough to be typed, so it
counts only together with the address it was sent to, and five wrong ones void it. Both
serve once, are stored as digests alone, and live in the table `auth_flows`, where every
node sees them.
"""

from __future__ import annotations

import hmac
import random
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from knight_tw.storage import flow_queries
from knight_tw.storage.database import Database
from knight_tw.storage.flow_queries import Flow

__all__ = ["Flow", "Flows"]

CODE_CHARACTERS = "0123456789abcdef"
_LABEL = "knight/flow/v1"
_TOKEN_BYTES = 32
_LONGEST = 512
"""Characters of a token or code that are worth a look at the database."""

_KEPT_SECONDS = 3_600


@frozen
class Flows:
    """Begins flows, and finds them again.

    Attributes:
        _secret: Key of the digests: who reads the table alone cannot try out all the
            short codes there are.
    """

    _db: Database
    _clock: IReactorTime
    _random: random.Random
    _secret: str = ""

    async def start(
        self,
        purpose: str,
        *,
        provider: str = "",
        intent: str = "",
        user_id: int = 0,
        session_id: str = "",
        payload: Mapping[str, Any] | None = None,
        ttl: int,
    ) -> str:
        """A new token that stands for all this for `ttl` seconds.

        Args:
            purpose: At most 32 characters; a token serves no other.
            provider, intent: At most 64 and 16 characters.
            payload: JSON that the flow needs again; the client never sees it.
        """
        raw = self._random.randbytes(_TOKEN_BYTES)
        token = urlsafe_b64encode(raw).rstrip(b"=").decode()
        now = self._now()
        flow = Flow(
            key=self._digest(purpose, "token", token),
            purpose=purpose,
            provider=provider,
            intent=intent,
            user_id=user_id,
            session_id=session_id,
            payload=payload or {},
            code="",
            created_at=now,
            expires_at=now + ttl,
        )
        await self._db.run(flow_queries.begin, flow)
        return token

    async def peek(self, purpose: str, token: str) -> Flow | None:
        """The flow of a token, left as it is; None for unknown, used, expired ones."""
        if not 0 < len(token) <= _LONGEST:
            return None
        key = self._digest(purpose, "token", token)
        return await self._db.read(flow_queries.peek, purpose, key, self._now())

    async def take(self, purpose: str, token: str) -> Flow | None:
        """As `peek`, for the first who asks: of many at once one gets the flow."""
        if not 0 < len(token) <= _LONGEST:
            return None
        key = self._digest(purpose, "token", token)
        return await self._db.run(flow_queries.take, purpose, key, self._now())

    async def give_code(
        self,
        purpose: str,
        subject: str,
        *,
        length: int = 6,
        user_id: int = 0,
        payload: Mapping[str, Any] | None = None,
        ttl: int,
    ) -> str:
        """A new code of hex digits for `subject`; the one it had is void.

        Args:
            subject: What the code counts together with, e.g. an address in lower case.
            ttl: Seconds that it lives.
        """
        code = "".join(self._random.choices(CODE_CHARACTERS, k=length))
        now = self._now()
        flow = Flow(
            key=self._digest(purpose, "subject", subject),
            purpose=purpose,
            provider="",
            intent="",
            user_id=user_id,
            session_id="",
            payload=payload or {},
            code=self._digest(purpose, subject, code),
            created_at=now,
            expires_at=now + ttl,
        )
        await self._db.run(flow_queries.begin, flow)
        return code

    async def check_code(self, purpose: str, subject: str, code: str) -> Flow | None:
        """The flow that a right code opens, not used up yet; None for a wrong one.

        The transaction that does what the code allows calls `flow_queries.spend` with
        the flow, so that a failure later in the form does not cost the code.
        """
        code = code.strip().lower()
        key = self._digest(purpose, "subject", subject)
        given = self._digest(purpose, subject, code[:_LONGEST])
        return await self._db.run(
            flow_queries.check_code, purpose, key, given, self._now()
        )

    async def take_code(self, purpose: str, subject: str, code: str) -> Flow | None:
        """As `check_code`, and the code is used up."""
        flow = await self.check_code(purpose, subject, code)
        if flow is None or not await self._db.run(
            flow_queries.spend, flow, self._now()
        ):
            return None
        return flow

    async def void_code(self, purpose: str, subject: str) -> None:
        """Makes the code of `subject` worthless, e.g. when it could not be sent."""
        key = self._digest(purpose, "subject", subject)
        await self._db.run(flow_queries.forget, purpose, key)

    async def tidy(self) -> None:
        """Deletes the rows of flows that expired more than an hour ago."""
        before, last = self._now() - _KEPT_SECONDS, 0
        while last := await self._db.run(flow_queries.prune, before, last):
            pass

    def _now(self) -> int:
        return int(self._clock.seconds())

    def _digest(self, *parts: str) -> str:
        text = "\0".join((_LABEL, *parts)).encode("utf-8", "surrogatepass")
        return hmac.new(self._secret.encode(), text, sha256).hexdigest()
