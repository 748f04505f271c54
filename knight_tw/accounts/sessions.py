"""Dashboard sessions: begun by a login, prolonged by the refresh cookie, ended.

One login begins one row of `user_sessions` and hands out three things that name it: the
cookie `session` (older consoles), a short-lived bearer token, and the refresh cookie
that renews it (newer consoles). Ending the row ends all three.
"""

from __future__ import annotations

import random
import string
from hashlib import sha256
from uuid import UUID

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.accounts.signing import (
    ACCESS,
    ACCESS_SECONDS,
    PROOF,
    PROOF_SECONDS,
    Claims,
    Signer,
)
from knight_tw.errors import KnightError
from knight_tw.settings import Settings
from knight_tw.storage import session_queries, user_writes
from knight_tw.storage.database import Database
from knight_tw.storage.session_queries import ACTIVE, Issue, Quotas, Rotation, Session
from knight_tw.storage.user_queries import Identity

log = Logger()

SESSION_SECONDS = 30 * 86_400
GRACE_SECONDS = 30
"""How long a rotated refresh secret is still good, for tabs that refresh at once."""

_SECRET_ALPHABET = string.ascii_letters + string.digits
_SECRET_LENGTH = 64


class SessionRefused(KnightError):
    """A session that cannot begin or go on; `code` says why."""

    status, code = 401, "AUTH_UNAUTHORIZED"


@frozen
class Opened:
    """A session as handed to its owner.

    Attributes:
        refresh: Value of the refresh cookie; empty when the one they have stays good.
    """

    session: Session
    who: Identity
    refresh: str
    access_token: str
    access_expires_at: int


def quotas(settings: Settings) -> Quotas:
    """How many sessions the process settings grant a user."""
    return Quotas(
        active=settings.user_session_active_limit,
        issued=settings.user_session_issuance_limit,
        window=settings.user_session_issuance_window_seconds,
    )


@frozen
class Sessions:
    """Begins, prolongs and ends dashboard sessions."""

    _db: Database
    _signer: Signer
    _clock: IReactorTime
    _random: random.Random
    _quotas: Quotas

    async def open(self, who: Identity, method: str, ip: str, agent: str) -> Opened:
        """Begin a session and remember the login.

        Raises:
            SessionRefused: the user has too many (409), or began too many (429).
        """
        now = self._now()
        sid = str(UUID(int=self._random.getrandbits(128), version=4))
        session = Session(
            sid=sid,
            user_id=who.id,
            version=1,
            user_auth_version=who.auth_version,
            status=ACTIVE,
            login_method=method,
            ip=ip,
            user_agent=agent,
            created_at=now,
            last_active_at=now,
            expires_at=now + SESSION_SECONDS,
        )
        secret = self._secret()
        issued = await self._db.run(
            user_writes.begin_session, session, _hash(secret), self._quotas
        )
        if issued is Issue.TOO_MANY_ACTIVE:
            raise SessionRefused(
                "too many sessions; log out elsewhere", code="AUTH_SESSION_LIMIT"
            )
        if issued is Issue.TOO_MANY_ISSUED:
            raise SessionRefused(
                "too many logins today",
                code="AUTH_SESSION_ISSUANCE_LIMIT",
                retry_after=self._quotas.window,
            )
        return self.opened(session, who, f"{sid}.{secret}")

    async def refresh(self, cookie: str, expected_sid: str = "") -> Opened:
        """Prolong the session that a refresh cookie names.

        Args:
            expected_sid: Header `X-Auth-Session`, when the client sends it.

        Raises:
            SessionRefused: 401, or 409 for another session than the expected one.
        """
        sid, _, secret = cookie.partition(".")
        if not sid or not secret:
            raise SessionRefused("not logged in")
        if expected_sid and expected_sid != sid:
            raise SessionRefused(
                "the browser holds another session", code="AUTH_SESSION_MISMATCH"
            )
        fresh, now = self._secret(), self._now()
        rotation, session, who = await self._db.run(
            session_queries.refresh,
            session_queries.Refresh(
                sid=sid,
                given=_hash(secret),
                fresh=_hash(fresh),
                now=now,
                expires_at=now + SESSION_SECONDS,
                grace=GRACE_SECONDS,
            ),
        )
        if rotation is Rotation.REUSED:
            log.warn("a used refresh secret of {sid} came back", sid=sid)
        if session is None or who is None or rotation in _ENDED:
            raise SessionRefused("the session has ended", code="AUTH_UNAUTHORIZED")
        rotated = rotation is Rotation.ROTATED
        return self.opened(session, who, f"{sid}.{fresh}" if rotated else "")

    def opened(self, session: Session, who: Identity, refresh: str = "") -> Opened:
        """The session with a fresh bearer token."""
        now = self._now()
        claims = self._claims(session, who)
        jti = str(UUID(int=self._random.getrandbits(128), version=4))
        token = self._signer.bearer(claims, ACCESS, now, ACCESS_SECONDS, jti)
        return Opened(session, who, refresh, token, now + ACCESS_SECONDS)

    async def reopened(self, sid: str, user_id: int) -> Opened | None:
        """The session again, after a change of its owner that it was to outlive."""
        session, who = await self._db.read(session_queries.with_owner, sid, user_id)
        if session is None or who is None:
            return None
        return self.opened(session, who)

    def cookie(self, who: Identity, sid: str, verified_at: int = 0) -> str:
        """The value of the cookie `session`."""
        content: dict[str, str | int] = {
            "id": who.id,
            "av": who.auth_version,
            "sid": sid,
        }
        if verified_at:
            content["verified_at"] = verified_at
        return self._signer.cookie(content, self._now())

    def proof(self, user_id: int, sid: str, method: str, scope: str) -> tuple[str, int]:
        """A proof of a fresh second factor for `scope`, and when it expires."""
        now = self._now()
        claims = Claims(user_id, sid, 0, 0, method=method, scopes=(scope,))
        jti = str(UUID(int=self._random.getrandbits(128), version=4))
        token = self._signer.bearer(claims, PROOF, now, PROOF_SECONDS, jti)
        return token, now + PROOF_SECONDS

    async def alive(self, user_id: int) -> list[Session]:
        """The user's living sessions, the latest used first."""
        return await self._db.read(session_queries.alive, user_id, self._now())

    async def end(self, sid: str, user_id: int, reason: str = "logout") -> bool:
        """True when the user's session was ended by this call."""
        return await self._db.run(
            session_queries.revoke, sid, user_id, reason, self._now()
        )

    async def end_by_cookie(self, cookie: str) -> str:
        """The sid of the living session that a refresh cookie ended, else nothing."""
        sid, _, secret = cookie.partition(".")
        ended = await self._db.run(
            session_queries.revoke_by_secret, sid, _hash(secret), self._now()
        )
        return sid if ended else ""

    async def end_others(self, user_id: int, keep: str) -> int:
        """How many sessions of the user, `keep` excepted, were ended."""
        return await self._db.run(
            session_queries.revoke_all, user_id, "logout_others", self._now(), keep
        )

    async def tidy(self, keep_days: int, alert_above: int) -> None:
        """Delete rows that ended long ago; warn when unusually many began lately."""
        now = self._now()
        await self._db.run(session_queries.prune, now, keep_days * 86_400)
        recent = await self._db.read(session_queries.issued_since, now - 3_600)
        if recent > alert_above:
            log.warn("{count} logins within an hour", count=recent)

    def _claims(self, session: Session, who: Identity) -> Claims:
        return Claims(who.id, session.sid, who.auth_version, session.version)

    def _secret(self) -> str:
        return "".join(self._random.choices(_SECRET_ALPHABET, k=_SECRET_LENGTH))

    def _now(self) -> int:
        return int(self._clock.seconds())


_ENDED = (Rotation.REUSED, Rotation.UNKNOWN)


def _hash(secret: str) -> str:
    return sha256(secret.encode()).hexdigest()
