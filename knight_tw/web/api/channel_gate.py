"""Who may do what with channels (authentication specification, section 15)."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.web.server import Request

from knight_tw.accounts.access import channel_permissions
from knight_tw.options import Options
from knight_tw.records import ROLE_ADMIN
from knight_tw.web.api.answers import Refusal
from knight_tw.web.auth import Guard, Viewer


class View(Protocol):
    """Today's options."""

    @property
    def options(self) -> Options: ...


@frozen
class ChannelGate:
    """Lets administrators through who have a permission on channels."""

    _guard: Guard
    _view: View

    async def viewer(self, request: Request, action: str) -> Viewer:
        """The administrator who asks, if he may do `action` (`read`, `operate`,
        `write`, `sensitive_write`, `secret_view`).

        Raises:
            Refusal: 401 or 403.
        """
        viewer = await self._guard.viewer(request, ROLE_ADMIN)
        if not self.may(viewer, action):
            raise Refusal(
                "you do not have the permission for this",
                code="AUTH_INSUFFICIENT_PRIVILEGE",
                params={"permission": action},
            )
        return viewer

    def may(self, viewer: Viewer, action: str) -> bool:
        """True when an administrator has a permission on channels."""
        strict = self._view.options.flag("authz.strict_admin")
        return channel_permissions(viewer.role, strict)[action]
