"""`POST /api/user/manage`: enable, disable, delete, promote, demote, add quota."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.records import DISABLED, ENABLED, ROLE_ADMIN, ROLE_ROOT, ROLE_USER
from knight_tw.storage import user_queries, user_writes
from knight_tw.storage.database import Database
from knight_tw.storage.user_queries import Row
from knight_tw.web.api.answers import (
    Refusal,
    install,
    integer,
    invalid,
    json_body,
    missing,
    not_found,
    ok,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.profile import bare_view
from knight_tw.web.api.users import MOST_QUOTA, BalancesChanged, Changed, target
from knight_tw.web.auth import Guard, Viewer, Who, allow

ACTIONS = ("enable", "disable", "delete", "promote", "demote", "add_quota")
MODES = ("add", "subtract", "override")


@frozen(eq=False)
class UserActionsApi:
    """The route by which administrators change one thing about an account."""

    _db: Database
    _guard: Guard
    _audit: Audit
    _changed: Changed
    _balances_changed: BalancesChanged
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/manage", methods=["POST"])
    @allow(Who.ADMIN)
    async def manage(self, request: Request, viewer: Viewer) -> bytes:
        """Do `action` to the account `id`, or to the one called `username`."""
        body = json_body(request)
        action = text(body, "action")
        if action not in ACTIONS:
            raise invalid("action", f"one of {', '.join(ACTIONS)}")
        row = await target(self._db, viewer, await self._target_id(body))
        if action == "add_quota":
            told = await self._add_quota(body, row)
        else:
            told = await self._set(viewer, action, row)
        user_id = int(row["id"])
        self._audit.write(request, viewer, f"user.{action}", told, target=user_id)
        await self._changed("user", str(user_id))
        if action in ("add_quota", "delete"):
            return ok()
        return ok(bare_view(told["role"], told["status"]))

    async def _target_id(self, body: dict[str, Any]) -> int:
        if body.get("id"):
            return integer(body, "id")
        name = text(body, "username", "").strip()
        if not name:
            raise missing("id")
        found = await self._db.read(user_queries.id_of, name)
        if found is None:
            raise not_found()
        return found

    async def _set(self, viewer: Viewer, action: str, row: Row) -> dict[str, Any]:
        """Change status, role or existence; the role and status that result."""
        user_id, now = int(row["id"]), int(self._now())
        role, status = row["role"], row["status"]
        if role == ROLE_ROOT:
            raise Refusal(f"root cannot be changed: {action}", code="forbidden_target")
        if action == "delete":
            await self._db.run(user_writes.soft_delete, user_id, now)
            return {"username": row["username"]}
        if action in ("promote", "demote"):
            role = _new_role(viewer, action, role)
        else:
            status = ENABLED if action == "enable" else DISABLED
        if (role, status) != (row["role"], row["status"]):
            values = {"role": role, "status": status}
            await self._db.run(user_writes.secure, user_id, values, action, now)
        return {"role": role, "status": status}

    async def _add_quota(self, body: dict[str, Any], row: Row) -> dict[str, Any]:
        """Change the balance in one statement; what was done."""
        mode = text(body, "mode", "add") or "add"
        if mode not in MODES:
            raise invalid("mode", f"one of {', '.join(MODES)}")
        least = 0 if mode == "override" else 1
        value = integer(body, "value", 0, least=least, most=MOST_QUOTA)
        user_id = int(row["id"])
        if mode == "override":
            await self._db.run(user_writes.set_quota, user_id, value)
        else:
            signed = value if mode == "add" else -value
            await self._db.run(user_writes.add_quota, user_id, signed)
        self._balances_changed(user_id)
        return {"mode": mode, "value": value}


def _new_role(viewer: Viewer, action: str, role: int) -> int:
    """The role after a promotion or demotion.

    Raises:
        Refusal: not allowed, or nothing to change.
    """
    if action == "promote":
        if viewer.role != ROLE_ROOT:
            raise Refusal("only root can promote", code="forbidden_target")
        if role >= ROLE_ADMIN:
            raise Refusal("the user is an administrator", code="already_exists")
        return ROLE_ADMIN
    if role == ROLE_USER:
        raise Refusal("the user is a common user", code="already_exists")
    return ROLE_USER
