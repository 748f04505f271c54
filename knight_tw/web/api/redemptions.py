"""Redemption codes: the administrator's pages, and exchanging one for quota."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import field, frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.storage import redemptions
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    install,
    integer,
    invalid,
    json_body,
    not_found,
    ok,
    page,
    paging,
    query,
    query_flag,
    text,
)
from knight_tw.web.api.audit import TOP_UP, Audit
from knight_tw.web.api.users import MOST_QUOTA
from knight_tw.web.auth import Guard, Viewer, Who, allow

LONGEST_NAME, MOST_AT_ONCE = 20, 100
KEY_BYTES = 16
_LONGEST_KEYWORD = 64
_LATEST = 253_402_300_799
"""The last second of the year 9999: a later expiry is a mistake of units."""


@frozen(eq=False)
class RedemptionApi:
    """The routes of redemption codes."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _audit: Audit
    _changed: Callable[[str, str], Awaitable[None]]
    _balances_changed: Callable[[int], None]
    _random: random.Random
    _now: Callable[[], float]
    _busy: set[int] = field(factory=set)
    """Accounts whose code is being exchanged."""

    app = Klein()
    install(app)

    @app.route("/api/user/topup", methods=["POST"])
    @allow(Who.USER)
    async def redeem(self, request: Request, viewer: Viewer) -> bytes:
        """Exchange a code for quota; the data is how much it was."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        key = text(json_body(request), "key", longest=128).strip()
        if viewer.id in self._busy:
            raise Refusal("a code is being redeemed, try again", code="locked")
        self._busy.add(viewer.id)
        try:
            now = int(self._now())
            quota = await self._db.run(redemptions.redeem, key, viewer.id, now)
        finally:
            self._busy.discard(viewer.id)
        self._balances_changed(viewer.id)
        other = {"op": {"action": "redemption.redeem", "params": {"quota": quota}}}
        what = "redemption code"
        self._audit.note(
            request, TOP_UP, viewer.id, viewer.username, what, other, quota
        )
        await self._changed("user", str(viewer.id))
        return ok(quota)

    @app.route("/api/redemption/", methods=["GET"])
    @allow(Who.ADMIN)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """One page of codes, newest first."""
        return await self._page(request, "", "")

    @app.route("/api/redemption/search", methods=["GET"])
    @allow(Who.ADMIN)
    async def search(self, request: Request, viewer: Viewer) -> bytes:
        """Codes by id or beginning of the name, and by status."""
        keyword = query(request, "keyword")[:_LONGEST_KEYWORD]
        return await self._page(request, keyword, query(request, "status"))

    async def _page(self, request: Request, keyword: str, status: str) -> bytes:
        asked = paging(request)
        rows, total = await self._db.read(
            redemptions.search,
            keyword,
            status,
            int(self._now()),
            asked.offset,
            asked.size,
        )
        return page([view(row) for row in rows], total, asked)

    @app.route("/api/redemption/<int:code_id>", methods=["GET"])
    @allow(Who.ADMIN)
    async def one(self, request: Request, viewer: Viewer, code_id: int) -> bytes:
        """One code."""
        row = await self._db.read(redemptions.find, code_id)
        if row is None:
            raise not_found()
        return ok(view(row))

    @app.route("/api/redemption/", methods=["POST"])
    @allow(Who.ADMIN)
    async def create(self, request: Request, viewer: Viewer) -> bytes:
        """Make codes; the data is the array of their keys."""
        body = json_body(request)
        count = integer(body, "count", least=1, most=MOST_AT_ONCE)
        values = self._values(body)
        now = int(self._now())
        keys = [self._random.randbytes(KEY_BYTES).hex() for _ in range(count)]
        rows = [
            {**values, "key": key, "user_id": viewer.id, "created_time": now}
            for key in keys
        ]
        await self._db.run(redemptions.create, rows)
        told = {"name": values["name"], "quota": values["quota"], "count": count}
        self._audit.write(request, viewer, "redemption.create", told)
        return ok(keys)

    @app.route("/api/redemption/", methods=["PUT"])
    @allow(Who.ADMIN)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """Change name, quota and expiry, or with `status_only` the status."""
        body = json_body(request)
        code_id = integer(body, "id")
        if query_flag(request, "status_only"):
            values: dict[str, Any] = {"status": _status(body)}
        else:
            values = self._values(body)
        row = await self._db.run(redemptions.update, code_id, values)
        told = {"id": code_id, "fields": sorted(values)}
        self._audit.write(request, viewer, "redemption.update", told)
        return ok(view(row))

    @app.route("/api/redemption/<int:code_id>", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete(self, request: Request, viewer: Viewer, code_id: int) -> bytes:
        """Delete one code."""
        if not await self._db.run(redemptions.delete, code_id, int(self._now())):
            raise not_found()
        self._audit.write(request, viewer, "redemption.delete", {"id": code_id})
        return ok()

    @app.route("/api/redemption/invalid", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete_invalid(self, request: Request, viewer: Viewer) -> bytes:
        """Delete used, disabled and expired codes; the data is their number."""
        count = await self._db.run(redemptions.delete_invalid, int(self._now()))
        self._audit.write(
            request, viewer, "redemption.delete_invalid", {"count": count}
        )
        return ok(count)

    def _values(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Name, quota and expiry of a body."""
        name = text(body, "name").strip()
        if not 1 <= len(name) <= LONGEST_NAME:
            raise invalid("name", f"1 to {LONGEST_NAME} characters")
        quota = integer(body, "quota", least=1, most=MOST_QUOTA)
        expired = integer(body, "expired_time", 0, least=0, most=_LATEST)
        if 0 < expired < self._now():
            raise invalid("expired_time", "0 or in the future")
        return {"name": name, "quota": quota, "expired_time": expired}


def _status(body: Mapping[str, Any]) -> int:
    status = integer(body, "status")
    if status not in (redemptions.UNUSED, redemptions.DISABLED):
        raise invalid("status", "1 or 2")
    return status


def view(row: Mapping[str, Any]) -> dict[str, Any]:
    """A code as the pages show it."""
    return {
        "id": row["id"],
        "user_id": row["user_id"],
        "key": row["key"],
        "status": row["status"],
        "name": row["name"],
        "quota": row["quota"],
        "created_time": row["created_time"],
        "redeemed_time": row["redeemed_time"],
        "count": 0,
        "used_user_id": row["used_user_id"],
        "DeletedAt": None,
        "expired_time": row["expired_time"],
    }
