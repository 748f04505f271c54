"""New credentials for the session that made a change which ended those it had.

A change of what a login needs raises the account's `auth_version`: every cookie and
bearer token made before is dead, the ones that made the request included. The session
itself goes on, so its owner gets both anew with the answer.
"""

from __future__ import annotations

from typing import Any, TypedDict

from attrs import frozen
from twisted.web.server import Request

from knight_tw.accounts.sessions import Sessions
from knight_tw.web.api.cookies import Cookies
from knight_tw.web.api.profile import bearer_view
from knight_tw.web.auth import Viewer


class SessionView(TypedDict):
    """A dashboard session."""

    sid: str
    current: bool
    login_method: str
    ip: str
    user_agent: str
    created_at: int
    last_active_at: int
    expires_at: int


class Renewed(TypedDict, total=False):
    """A session's new credentials."""

    access_token: str
    token_type: str
    access_expires_at: int
    session: SessionView


@frozen
class Renewal:
    """Hands the caller's session out again."""

    _sessions: Sessions
    _cookies: Cookies

    async def of(self, request: Request, viewer: Viewer) -> dict[str, Any]:
        """What consoles look for after such a change, the cookie set; empty for those
        who came without a session."""
        if not viewer.sid:
            return {}
        opened = await self._sessions.reopened(viewer.sid, viewer.id)
        if opened is None:
            return {}
        cookie = self._sessions.cookie(opened.who, viewer.sid)
        self._cookies.set_session(request, cookie)
        return bearer_view(opened)
