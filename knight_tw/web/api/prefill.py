"""`/api/prefill_group/`: lists of models, tags or endpoints to fill forms with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.storage import prefill_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    install,
    integer,
    invalid,
    json_body,
    missing,
    not_found,
    ok,
    query,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

LONGEST_NAME, LONGEST_KIND, LONGEST_DESCRIPTION = 64, 32, 255
LONGEST_ITEMS = 65_536


@frozen(eq=False)
class PrefillApi:
    """The routes of the prefill groups."""

    _db: Database
    _guard: Guard
    _audit: Audit
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/prefill_group/", methods=["GET"])
    @allow(Who.ADMIN)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """All groups, or those of one `type`, newest first."""
        rows = await self._db.read(prefill_queries.every, query(request, "type"))
        return ok([_view(row) for row in rows])

    @app.route("/api/prefill_group/", methods=["POST"])
    @allow(Who.ADMIN)
    async def create(self, request: Request, viewer: Viewer) -> bytes:
        """A new group."""
        values = {"description": "", "items": "[]", **_values(json_body(request))}
        for name in ("name", "type"):
            if not values.get(name):
                raise missing(name)
        row = await self._db.run(prefill_queries.create, values, int(self._now()))
        told = {"id": row["id"], "name": row["name"]}
        self._audit.write(request, viewer, "prefill_group.create", told)
        return ok(_view(row))

    @app.route("/api/prefill_group/", methods=["PUT"])
    @allow(Who.ADMIN)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """Change the members that the body has."""
        body = json_body(request)
        group_id, values = integer(body, "id"), _values(body)
        row = await self._db.run(
            prefill_queries.update, group_id, values, int(self._now())
        )
        if row is None:
            raise not_found("group")
        self._audit.write(request, viewer, "prefill_group.update", {"id": group_id})
        return ok(_view(row))

    @app.route("/api/prefill_group/<int:group_id>", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete(self, request: Request, viewer: Viewer, group_id: int) -> bytes:
        """Remove a group."""
        if not await self._db.run(prefill_queries.delete, group_id, int(self._now())):
            raise not_found("group")
        self._audit.write(request, viewer, "prefill_group.delete", {"id": group_id})
        return ok(None)


def _values(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a body sets."""
    values: dict[str, Any] = {}
    for name, longest in (
        ("name", LONGEST_NAME),
        ("type", LONGEST_KIND),
        ("description", LONGEST_DESCRIPTION),
    ):
        if body.get(name) is not None:
            values[name] = text(body, name, longest=longest).strip()
    if values.get("name") == "" or values.get("type") == "":
        raise missing("name" if values.get("name") == "" else "type")
    if body.get("items") is not None:
        values["items"] = _items(body["items"])
    return values


def _items(given: object) -> str:
    """The items as JSON text: a list, or for endpoints an object; text is parsed."""
    try:
        items = msgspec.json.decode(given or "[]") if isinstance(given, str) else given
    except (msgspec.DecodeError, RecursionError):
        items = None
    if not isinstance(items, list | dict):
        raise invalid("items", "a list or an object")
    document = msgspec.json.encode(items).decode()
    if len(document) > LONGEST_ITEMS:
        raise invalid("items", f"at most {LONGEST_ITEMS} characters")
    return document


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    try:
        items = msgspec.json.decode(row["items"] or "[]")
    except msgspec.DecodeError:
        items = []
    return {
        "id": row["id"],
        "name": row["name"],
        "type": row["type"],
        "items": items,
        "description": row["description"] or "",
        "created_time": row["created_time"] or 0,
        "updated_time": row["updated_time"] or 0,
    }
