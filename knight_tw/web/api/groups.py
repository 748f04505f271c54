"""Groups and their ratios: `/api/group/`, `/api/user/groups` and the own ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts import access
from knight_tw.accounts.callers import AUTO, usable_groups
from knight_tw.options import Options
from knight_tw.web.api.answers import install, ok
from knight_tw.web.auth import Guard, Viewer, Who, allow, mark

AUTO_RATIO = "自动"
"""What stands for the ratio of `auto`; clients compare it."""


@frozen(eq=False)
class GroupsApi:
    """The routes about groups and about who may do what."""

    _guard: Guard
    _options: Callable[[], Options]

    app = Klein()
    install(app)

    @app.route("/api/group/", methods=["GET"])
    @allow(Who.ADMIN)
    async def names(self, request: Request, viewer: Viewer) -> bytes:
        """Names of all groups that have a ratio."""
        return ok(list(self._options().json("GroupRatio") or {}))

    @app.route("/api/user/groups", methods=["GET"])
    @mark(Who.ANYONE)
    async def public(self, request: Request) -> bytes:
        """The groups that the caller, perhaps a guest, may choose."""
        viewer = await self._guard.visitor(request)
        return ok(selectable("" if viewer is None else viewer.group, self._options()))

    @app.route("/api/user/self/groups", methods=["GET"])
    @allow(Who.USER)
    async def own(self, request: Request, viewer: Viewer) -> bytes:
        """The groups that the caller may choose."""
        return ok(selectable(viewer.group, self._options()))

    @app.route("/api/authz/catalog", methods=["GET"])
    @allow(Who.ADMIN)
    async def catalogue(self, request: Request, viewer: Viewer) -> bytes:
        """Resources, actions and roles that permissions are made of."""
        return ok(access.catalogue(self._options().flag("authz.strict_admin")))


def selectable(user_group: str, options: Options) -> dict[str, Any]:
    """Group to `{ratio, desc}`, of those with a ratio that `user_group` may use.

    `auto` is there only when the administrator lists it among the usable groups.
    """
    usable = usable_groups(user_group, options)
    special = (options.json("GroupGroupRatio") or {}).get(user_group) or {}
    found: dict[str, Any] = {}
    for name, ratio in (options.json("GroupRatio") or {}).items():
        if name in usable:
            found[name] = {"ratio": special.get(name, ratio), "desc": usable[name]}
    if AUTO in usable:
        found[AUTO] = {"ratio": AUTO_RATIO, "desc": usable[AUTO]}
    return found
