"""The record of administrative writes and logins: rows of the log that cost nothing.

A write stores a row of type 3 that belongs to the person who made it (management spec,
section 1.6); a login one of type 7. Rows go through the ledger's journal like those of
calls, so they need no transaction of their own and survive a database that is away.
Secrets never enter `params`: callers pass ids, names and counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.web.api.answers import client_ip, header, request_id
from knight_tw.web.auth import Viewer

TOP_UP, MANAGE, SYSTEM, LOGIN = 1, 3, 4, 7
"""Types of log rows that the management API writes."""

Note = Callable[[dict[str, Any]], None]
"""Takes the columns of a log row, `other` as a dict (`Ledger.note`)."""


@frozen
class Audit:
    """Writes log rows about what people do here."""

    _note: Note
    _clock: IReactorTime

    def write(
        self,
        request: Request,
        viewer: Viewer,
        action: str,
        params: Mapping[str, Any] | None = None,
        *,
        target: int = 0,
        content: str = "",
    ) -> None:
        """Record that `viewer` did `action` (e.g. `channel.update`).

        Args:
            params: Ids, names and counts; never secrets.
            target: The account concerned, when it is another one.
            content: The line that people read; the action's name when empty.
        """
        told = dict(params or {})
        if target and target != viewer.id:
            told["target_user_id"] = target
        other = {
            "op": {"action": action, "params": told},
            "admin_info": _admin(viewer),
        }
        self._row(request, viewer, MANAGE, content or action, other)

    def request(self, request: Request, viewer: Viewer, content: str = "") -> None:
        """Record an administrative write that has no action of its own."""
        method, path = request.method.decode("latin-1"), request.path.decode("latin-1")
        other = {
            "audit_info": {"method": method, "path": path, "status": request.code},
            "admin_info": _admin(viewer),
        }
        self._row(request, viewer, MANAGE, content or f"{method} {path}", other)

    def login(self, request: Request, user_id: int, username: str, method: str) -> None:
        """Record a successful login by `method` (password, passkey, github, …)."""
        agent = header(request, "User-Agent")[:512]
        other = {
            "op": {"action": "login", "params": {"method": method}},
            "ip": client_ip(request),
            "user_agent": agent,
        }
        self.note(request, LOGIN, user_id, username, f"login by {method}", other)

    def note(
        self,
        request: Request,
        kind: int,
        user_id: int,
        username: str,
        content: str,
        other: Mapping[str, Any],
        quota: int = 0,
    ) -> None:
        """A log row of any type about any account, e.g. a top-up by hand."""
        self._note(
            {
                "user_id": user_id,
                "username": username,
                "created_at": int(self._clock.seconds()),
                "type": kind,
                "content": content,
                "quota": quota,
                "ip": client_ip(request),
                "request_id": request_id(request),
                "other": dict(other),
            }
        )

    def _row(
        self,
        request: Request,
        viewer: Viewer,
        kind: int,
        content: str,
        other: Mapping[str, Any],
    ) -> None:
        self.note(request, kind, viewer.id, viewer.username, content, other)


def _admin(viewer: Viewer) -> dict[str, Any]:
    method = "access_token" if viewer.sid == "" else "session"
    return {
        "admin_id": viewer.id,
        "admin_username": viewer.username,
        "admin_role": viewer.role,
        "auth_method": method,
    }
