"""Logging in and out, sessions, and the fresh second factor (`/api/user/login`, …)."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.login import Login
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.sessions import SessionRefused, Sessions
from knight_tw.accounts.signing import Signer
from knight_tw.options import Options
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    header,
    install,
    json_body,
    missing,
    ok,
    query,
    text,
)
from knight_tw.web.api.cookies import Cookies, Origins, refresh_cookie
from knight_tw.web.api.entrance import PENDING_MEMBER, Entrance
from knight_tw.web.api.profile import session_view
from knight_tw.web.auth import Guard, Viewer, Who, allow, mark, session_cookie


@frozen(eq=False)
class SessionApi:
    """The routes of logins and sessions."""

    _guard: Guard
    _limits: Limits
    _login: Login
    _second_factor: SecondFactor
    _sessions: Sessions
    _signer: Signer
    _captcha: Turnstile
    _cookies: Cookies
    _origins: Origins
    _entrance: Entrance
    _options: Callable[[], Options]
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/login", methods=["POST"])
    @mark(Who.ANYONE)
    async def login(self, request: Request) -> bytes:
        """Log in by name and password, or begin to, for those with a second factor."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        if not self._options().flag("PasswordLoginEnabled"):
            raise Refusal("the password login is switched off", code="login_closed")
        body = json_body(request)
        name, password = text(body, "username"), text(body, "password")
        if not name.strip() or not password:
            raise missing("password" if name.strip() else "username")
        await self._captcha.check(query(request, "turnstile"), client_ip(request))
        who = await self._login.by_password(name.strip(), password)
        if not await self._second_factor.enabled(who.id):
            return await self._entrance.let_in(request, who, "password")
        return self._entrance.ask_factor(request, who)

    @app.route("/api/user/login/2fa", methods=["POST"])
    @mark(Who.ANYONE)
    async def login_second_step(self, request: Request) -> bytes:
        """Finish a login with a TOTP or backup code."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        body = json_body(request)
        code = text(body, "code")
        flow = text(body, "flow_token", "")
        if not flow:
            pending = session_cookie(request, self._signer, int(self._now()))
            flow = str(pending.get(PENDING_MEMBER, ""))
        who = await self._login.resumed(flow)
        await self._second_factor.check(who.id, code)
        return await self._entrance.let_in(request, who, "2fa")

    @app.route("/api/user/auth/refresh", methods=["POST"])
    @mark(Who.SESSION)
    async def refresh(self, request: Request) -> bytes:
        """A new access token for the session of the refresh cookie."""
        self._origins.check(request)
        expected = header(request, "X-Auth-Session")
        try:
            opened = await self._sessions.refresh(refresh_cookie(request), expected)
        except SessionRefused as refused:
            if refused.code == "AUTH_UNAUTHORIZED":
                self._cookies.clear_refresh(request)
            raise
        stamped = session_cookie(request, self._signer, int(self._now()))
        # A stamp ends with what it was given for, as the rest of its cookie does.
        named = (stamped.get("sid"), stamped.get("av"))
        same = named == (opened.session.sid, opened.who.auth_version)
        return await self._entrance.handed(
            request, opened, stamped.get("verified_at", 0) if same else 0
        )

    @app.route("/api/user/logout", methods=["GET"])
    @mark(Who.SESSION)
    async def logout(self, request: Request) -> bytes:
        """Forget the browser's login, as older consoles ask for it."""
        await self._end(request)
        return ok()

    @app.route("/api/user/auth/logout", methods=["POST"])
    @mark(Who.SESSION)
    async def logout_session(self, request: Request) -> bytes:
        """End the session and clear its cookies."""
        self._origins.check(request)
        ended = await self._end(request)
        return ok({"cookie_cleared": True, "revoked_sid": ended})

    async def _end(self, request: Request) -> str:
        """End every session that the request names; the sid of one of them."""
        ended = ""
        viewer = await self._guard.visitor(request)
        if viewer is not None and viewer.sid:
            await self._sessions.end(viewer.sid, viewer.id)
            ended = viewer.sid
        content = session_cookie(request, self._signer, int(self._now()))
        if content.get("sid"):
            await self._sessions.end(str(content["sid"]), int(content["id"]))
            ended = ended or str(content["sid"])
        cookie = refresh_cookie(request)
        if cookie:
            ended = await self._sessions.end_by_cookie(cookie) or ended
        self._cookies.clear_session(request)
        self._cookies.clear_refresh(request)
        return ended

    @app.route("/api/user/sessions", methods=["GET"])
    @allow(Who.USER)
    async def sessions(self, request: Request, viewer: Viewer) -> bytes:
        """The caller's living sessions."""
        _require_session(viewer)
        found = await self._sessions.alive(viewer.id)
        return ok([session_view(session, viewer.sid) for session in found])

    @app.route("/api/user/sessions/<sid>", methods=["DELETE"])
    @allow(Who.USER)
    async def end_session(self, request: Request, viewer: Viewer, sid: str) -> bytes:
        """End one session of the caller."""
        _require_session(viewer)
        if not await self._sessions.end(sid, viewer.id, "revoked"):
            raise Refusal("session not found", code="AUTH_SESSION_NOT_FOUND")
        current = sid == viewer.sid
        if current:
            self._cookies.clear_session(request)
            self._cookies.clear_refresh(request)
        return ok({"revoked_sid": sid, "current": current})

    @app.route("/api/user/sessions/revoke-others", methods=["POST"])
    @allow(Who.USER)
    async def end_other_sessions(self, request: Request, viewer: Viewer) -> bytes:
        """End every session of the caller but this one."""
        _require_session(viewer)
        ended = await self._sessions.end_others(viewer.id, viewer.sid)
        return ok({"revoked_count": ended})


def _require_session(viewer: Viewer) -> None:
    """Refuses an access token where a dashboard login is needed."""
    if not viewer.sid:
        raise Refusal(
            "a dashboard login session is required", code="AUTH_SESSION_REQUIRED"
        )
