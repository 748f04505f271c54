"""How everybody who showed who they are comes in, whichever way they showed it.

Password, second factor, external login and passkey all end here: a session begins, both
cookies are set, the answer holds what consoles of every generation look for, and a log
row says how they came in.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from twisted.web.server import Request

from knight_tw.accounts.login import Login
from knight_tw.accounts.sessions import Opened, Sessions
from knight_tw.accounts.signing import Signer
from knight_tw.options import Options
from knight_tw.storage import user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.user_queries import Identity
from knight_tw.web.api.answers import Refusal, client_ip, header, ok
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.cookies import Cookies
from knight_tw.web.api.profile import login_view

PENDING_MEMBER = "flow"
"""Member of the cookie `session` that holds the text between the two login steps."""


@frozen(eq=False)
class Entrance:
    """Begins dashboard sessions and makes the answers of logins."""

    _db: Database
    _login: Login
    _sessions: Sessions
    _signer: Signer
    _cookies: Cookies
    _audit: Audit
    _options: Callable[[], Options]
    _now: Callable[[], float]

    async def let_in(self, request: Request, who: Identity, method: str) -> bytes:
        """Begin a session: both cookies, the login data, a log row.

        Args:
            method: How they showed who they are: `password`, `github`, …

        Raises:
            SessionRefused: the account has too many sessions.
        """
        agent = header(request, "User-Agent")
        opened = await self._sessions.open(who, method, client_ip(request), agent)
        self._audit.login(request, who.id, who.username, method)
        return await self.handed(request, opened)

    def ask_factor(self, request: Request, who: Identity) -> bytes:
        """The answer for those who must show a second factor before they are in."""
        flow, expires_at = self._login.pending(who)
        cookie = self._signer.cookie({PENDING_MEMBER: flow}, int(self._now()))
        self._cookies.set_session(request, cookie)
        return ok({"require_2fa": True, "flow_token": flow, "expires_at": expires_at})

    async def handed(
        self, request: Request, opened: Opened, verified_at: int = 0
    ) -> bytes:
        """The login data of a session, its cookies set.

        Args:
            verified_at: When the browser last showed a second factor; 0 = never.
        """
        row = await self._db.read(user_queries.account, opened.who.id)
        if row is None:
            raise Refusal("the session has ended", code="AUTH_SESSION_REVOKED")
        sid = opened.session.sid
        cookie = self._sessions.cookie(opened.who, sid, verified_at)
        self._cookies.set_session(request, cookie)
        if opened.refresh:
            self._cookies.set_refresh(request, opened.refresh)
        strict = self._options().flag("authz.strict_admin")
        return ok(login_view(opened, row, strict))
