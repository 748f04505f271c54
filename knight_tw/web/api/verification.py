"""Showing a second factor again before something delicate (`/api/verify`).

Cookie sessions are stamped for 300 s, bearer sessions get a proof for one scope
(authentication spec, section 14). Whoever has no second factor shows the password.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Required, TypedDict

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.sessions import Sessions
from knight_tw.storage import user_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    install,
    invalid,
    json_body,
    ok,
    text,
)
from knight_tw.web.api.cookies import Cookies
from knight_tw.web.auth import (
    STAMP_SECONDS,
    STEP_UP_SCOPE,
    Guard,
    Via,
    Viewer,
    Who,
    allow,
)
from knight_tw.web.gives import gives

SCOPES = ("channel.key.read", "passkey.register", "passkey.delete", STEP_UP_SCOPE)
"""What a proof can be for."""

PASSKEY_SECONDS = 60
"""How long ago a cookie session must have shown its passkey when it says it did."""


class Proof(TypedDict, total=False):
    """What a bearer session sends as `X-Security-Proof` (`proof_token`), or that a
    cookie session is verified now (`verified`); each until `expires_at`."""

    proof_token: str
    method: str
    scope: str
    verified: bool
    expires_at: Required[int]


def checked_scope(viewer: Viewer, scope: str) -> str:
    """`scope`, which bearer sessions must name.

    Raises:
        Refusal: it is no scope of ours.
    """
    if scope not in SCOPES and (scope or viewer.via is Via.BEARER):
        raise invalid("scope", f"one of {', '.join(SCOPES)}")
    return scope


@frozen(eq=False)
class Verified:
    """Answers those who showed a second factor: a proof, or a stamp in the cookie."""

    _db: Database
    _sessions: Sessions
    _cookies: Cookies
    _now: Callable[[], float]

    async def answer(
        self, request: Request, viewer: Viewer, method: str, scope: str
    ) -> bytes:
        """What the session gets for it.

        Args:
            method: How it was shown: `2fa`, `passkey` or `password`.
            scope: What a bearer session may do with its proof.
        """
        now = int(self._now())
        if viewer.via is Via.BEARER:
            token, expires_at = self._sessions.proof(
                viewer.id, viewer.sid, method, scope
            )
            return ok(
                {
                    "proof_token": token,
                    "expires_at": expires_at,
                    "method": method,
                    "scope": scope,
                }
            )
        who = await self._db.read(user_queries.identity, viewer.id)
        if who is None:
            raise Refusal("the session has ended", code="AUTH_SESSION_REVOKED")
        cookie = self._sessions.cookie(who, viewer.sid, now)
        self._cookies.set_session(request, cookie)
        return ok({"verified": True, "expires_at": now + STAMP_SECONDS})


@frozen(eq=False)
class VerificationApi:
    """The route that checks who sits at the keyboard."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _passwords: Passwords
    _second_factor: SecondFactor
    _verified: Verified
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/verify", methods=["POST"])
    @allow(Who.USER)
    @gives(Proof)
    async def verify(self, request: Request, viewer: Viewer) -> bytes:
        """Check a code or password; stamp the cookie or hand out a proof."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        if viewer.via is Via.TOKEN:
            raise Refusal(
                "an access token cannot be verified; use a login session",
                status=401,
                code="AUTH_UNAUTHORIZED",
            )
        body = json_body(request)
        method = text(body, "method")
        scope = checked_scope(viewer, text(body, "scope", ""))
        if method == "passkey" and viewer.via is Via.COOKIE:
            return self._by_passkey(viewer)
        if method == "2fa":
            await self._second_factor.check(viewer.id, text(body, "code"))
        elif method == "password":
            await self._check_password(viewer, text(body, "password"))
        else:
            raise invalid(
                "method", "2fa or password; a passkey is shown at passkey/verify"
            )
        return await self._verified.answer(request, viewer, method, scope)

    def _by_passkey(self, viewer: Viewer) -> bytes:
        """Older consoles say here that the passkey was shown; that stamped the cookie.

        The stamp is not renewed: it would never have to be shown again.
        """
        if self._now() - viewer.verified_at > PASSKEY_SECONDS:
            raise Refusal("show the passkey first", code="VERIFICATION_REQUIRED")
        expires_at = viewer.verified_at + STAMP_SECONDS
        return ok({"verified": True, "expires_at": expires_at})

    async def _check_password(self, viewer: Viewer, password: str) -> None:
        """For those who have neither a second factor nor a passkey."""
        if await self._db.read(user_queries.has_strong_factor, viewer.id):
            raise Refusal(
                "use your second factor or passkey", code="VERIFICATION_INVALID"
            )
        stored = await self._db.read(user_queries.password_hash, viewer.id)
        if not await self._passwords.matches(password, stored):
            raise Refusal("wrong password", code="VERIFICATION_INVALID")
