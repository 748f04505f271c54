"""Accounts, as administrators see and change them (management spec, section 4)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from attrs import evolve, frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts import access
from knight_tw.accounts.passwords import Passwords, check_new
from knight_tw.options import Options
from knight_tw.records import ROLE_ADMIN, ROLE_ROOT, ROLE_USER
from knight_tw.storage import user_queries, user_writes
from knight_tw.storage.database import Database
from knight_tw.storage.user_queries import DELETED, SORTABLE, Row, Search
from knight_tw.web.api import user_fields
from knight_tw.web.api.answers import (
    Refusal,
    install,
    integer,
    invalid,
    json_body,
    not_found,
    ok,
    page,
    paging,
    query,
    query_integer,
    text,
)
from knight_tw.web.api.audit import TOP_UP, Audit
from knight_tw.web.api.profile import admin_view
from knight_tw.web.auth import Guard, Viewer, Who, allow

Changed = Callable[[str, str], Awaitable[None]]
BalancesChanged = Callable[[int], None]

MOST_QUOTA = 10**15
"""The largest balance, and change of one, that is believed to be meant."""

_ASSIGNABLE = (ROLE_USER, ROLE_ADMIN)


@frozen(eq=False)
class UsersApi:
    """The routes of the user pages; `user_actions` has those of single clicks."""

    _db: Database
    _guard: Guard
    _passwords: Passwords
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Changed
    _balances_changed: BalancesChanged
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/", methods=["GET"])
    @allow(Who.ADMIN)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """One page of accounts, deleted ones included."""
        return await self._page(request, Search())

    @app.route("/api/user/search", methods=["GET"])
    @allow(Who.ADMIN)
    async def search(self, request: Request, viewer: Viewer) -> bytes:
        """One page of the accounts that match."""
        role, status = query(request, "role"), query(request, "status")
        return await self._page(
            request,
            Search(
                keyword=query(request, "keyword")[:200],
                group=query(request, "group"),
                role=query_integer(request, "role", 0) if role else None,
                status=query_integer(request, "status", DELETED) if status else None,
            ),
        )

    async def _page(self, request: Request, wanted: Search) -> bytes:
        asked = paging(request)
        sort = query(request, "sort_by") or query(request, "order")
        ascending = query(request, "sort_order").lower() == "asc"
        if sort in SORTABLE:
            wanted = evolve(wanted, sort=sort, ascending=ascending)
        rows, total = await self._db.read(
            user_queries.search, wanted, asked.offset, asked.size
        )
        return page([admin_view(row) for row in rows], total, asked)

    @app.route("/api/user/<int:user_id>", methods=["GET"])
    @allow(Who.ADMIN)
    async def one(self, request: Request, viewer: Viewer, user_id: int) -> bytes:
        """One account of a lower role; root sees every one."""
        row = await target(self._db, viewer, user_id)
        return ok(admin_view(row, self._options().flag("authz.strict_admin")))

    @app.route("/api/user/", methods=["POST"])
    @allow(Who.ADMIN)
    async def create(self, request: Request, viewer: Viewer) -> bytes:
        """Make an account of a lower role."""
        body = json_body(request)
        name = user_fields.username(body)
        password = text(body, "password")
        check_new(password)
        role = integer(body, "role", ROLE_USER) or ROLE_USER
        self._check_role(viewer, role)
        sidebar = access.default_sidebar(role)
        setting = {"gotify_priority": 0, "sidebar_modules": sidebar}
        new = user_writes.NewAccount(
            username=name,
            password=await self._passwords.hash(password),
            display_name=user_fields.display_name(body, name),
            role=role,
            quota=self._options().integer("QuotaForNewUser"),
            setting=msgspec.json.encode(setting).decode(),
        )
        made = await self._db.run(
            user_writes.create_with_code, new, self._random, int(self._now())
        )
        self._audit.write(
            request,
            viewer,
            "user.create",
            {"username": name, "role": role},
            target=made,
        )
        return ok()

    def _check_role(self, viewer: Viewer, role: int) -> None:
        if role not in _ASSIGNABLE:
            raise invalid("role", f"{ROLE_USER} or {ROLE_ADMIN}")
        if role >= viewer.role:
            raise Refusal(
                "the role must be lower than your own", code="forbidden_target"
            )

    @app.route("/api/user/", methods=["PUT"])
    @allow(Who.ADMIN)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """Change the members that the body has; an empty password keeps the old one."""
        body = json_body(request)
        row = await target(self._db, viewer, integer(body, "id"))
        plain = self._plain_changes(body, row)
        secure = await self._secure_changes(viewer, body, row)
        quota = None
        if not viewer.modern and body.get("quota") is not None:
            quota = integer(body, "quota", least=0, most=MOST_QUOTA)
        now, user_id = int(self._now()), int(row["id"])
        difference = await self._db.run(
            user_writes.change, user_id, plain, secure, quota, now
        )
        told: dict[str, Any] = {"fields": sorted(set(plain) | set(secure))}
        if difference:
            told["quota_difference"] = difference
            self._balances_changed(user_id)
        self._audit.write(request, viewer, "user.update", told, target=user_id)
        await self._changed("user", str(user_id))
        return ok()

    def _plain_changes(self, body: dict[str, Any], row: Row) -> dict[str, Any]:
        """Columns that no credential depends on, where they differ."""
        values: dict[str, Any] = {}
        if text(body, "username", ""):
            values["username"] = user_fields.username(body)
        if "display_name" in body:
            values["display_name"] = user_fields.display_name(body, row["username"])
        if body.get("remark") is not None:
            values["remark"] = text(body, "remark", longest=user_fields.LONGEST_REMARK)
        return {name: value for name, value in values.items() if row[name] != value}

    async def _secure_changes(
        self, viewer: Viewer, body: dict[str, Any], row: Row
    ) -> dict[str, Any]:
        """Columns whose change ends the account's sessions, where they differ."""
        values: dict[str, Any] = {}
        group = text(body, "group", "", longest=user_fields.LONGEST_GROUP).strip()
        if group and group != row["group"]:
            values["group"] = group
        role = integer(body, "role", row["role"]) or row["role"]
        if role != row["role"]:
            if row["role"] == ROLE_ROOT:
                raise Refusal("root keeps its role", code="forbidden_target")
            self._check_role(viewer, role)
            values["role"] = role
        password = text(body, "password", "")
        if password:
            check_new(password)
            values["password"] = await self._passwords.hash(password)
        return values

    @app.route("/api/user/<int:user_id>", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete(self, request: Request, viewer: Viewer, user_id: int) -> bytes:
        """Remove an account with everything that belongs to it, for good."""
        row = await target(self._db, viewer, user_id)
        if row["role"] == ROLE_ROOT:
            raise Refusal("root cannot be deleted", code="forbidden_target")
        await self._db.run(user_writes.hard_delete, user_id)
        self._audit.write(
            request,
            viewer,
            "user.delete",
            {"username": row["username"]},
            target=user_id,
        )
        await self._changed("user", str(user_id))
        return ok()

    @app.route("/api/topup", methods=["POST"])
    @allow(Who.ADMIN)
    async def top_up(self, request: Request, viewer: Viewer) -> bytes:
        """Add quota to an account, in the form of one-api."""
        body = json_body(request)
        quota = integer(body, "quota", most=MOST_QUOTA, least=-MOST_QUOTA)
        row = await target(self._db, viewer, integer(body, "user_id"))
        remark = text(body, "remark", "", longest=200) or "top-up by an administrator"
        user_id = int(row["id"])
        await self._db.run(user_writes.add_quota, user_id, quota)
        self._balances_changed(user_id)
        self._audit.note(request, TOP_UP, user_id, row["username"], remark, {}, quota)
        self._audit.write(
            request, viewer, "user.topup", {"quota": quota}, target=user_id
        )
        await self._changed("user", str(user_id))
        return ok()


async def target(db: Database, viewer: Viewer, user_id: int) -> Row:
    """The living account that `viewer` is about to read or change.

    Raises:
        Refusal: there is none, or its role is not lower than the viewer's.
    """
    row = await db.read(user_queries.account, user_id)
    if row is None or row["deleted_at"] is not None:
        raise not_found()
    if not access.may_act_on(viewer.role, row["role"]):
        raise Refusal(
            "you may not act on users of your own or a higher role",
            code="forbidden_target",
        )
    return row
