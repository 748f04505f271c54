"""`/api/models/` and `/api/vendors/`: what is written about models, for administrators
(management API, section 12)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

import sqlalchemy as sa
from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.pricing import PriceBook
from knight_tw.providers.identity import endpoint_types
from knight_tw.storage import model_queries, schema
from knight_tw.storage.database import Database
from knight_tw.storage.model_queries import ModelFilter, Offer
from knight_tw.web.api.answers import (
    Refusal,
    install,
    integer,
    invalid,
    json_body,
    missing,
    not_found,
    ok,
    page,
    paging,
    query,
    query_flag,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

MOST_MATCHED = 200
"""Names of matching models that one item lists."""


class View(Protocol):
    """Today's prices."""

    @property
    def prices(self) -> PriceBook: ...


@frozen
class Catalogue:
    """Descriptions of models and vendors."""

    _guard: Guard
    _db: Database
    _view: View
    _clock: IReactorTime
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/models/", methods=["GET"])
    @allow(Who.ADMIN)
    async def models(self, request: Request, viewer: Viewer) -> bytes:
        """One page of described models."""
        return await self._models(request)

    @app.route("/api/models/search", methods=["GET"])
    @allow(Who.ADMIN)
    async def search_models(self, request: Request, viewer: Viewer) -> bytes:
        """Described models by words and vendor."""
        return await self._models(request)

    @app.route("/api/models/missing", methods=["GET"])
    @allow(Who.ADMIN)
    async def undescribed(self, request: Request, viewer: Viewer) -> bytes:
        """Names of enabled models that no description is about."""
        names = await self._db.read(model_queries.enabled_models)
        rows = await self._db.read(model_queries.every_description)
        known = {name for row in rows for name in model_queries.matched(row, names)}
        return ok([name for name in names if name not in known], message=None)

    @app.route("/api/models/<int:model_id>", methods=["GET"])
    @allow(Who.ADMIN)
    async def model(self, request: Request, viewer: Viewer, model_id: int) -> bytes:
        """One described model."""
        row = await self._db.read(model_queries.model, model_id)
        if row is None:
            raise not_found()
        offers = await self._db.read(model_queries.offers)
        return ok(self._bound(row, offers))

    @app.route("/api/models/", methods=["POST"])
    @allow(Who.ADMIN)
    async def create_model(self, request: Request, viewer: Viewer) -> bytes:
        """A new description."""
        return await self._create(request, viewer, MODELS)

    @app.route("/api/models/", methods=["PUT"])
    @allow(Who.ADMIN)
    async def update_model(self, request: Request, viewer: Viewer) -> bytes:
        """A description after members of the body, or its status alone, were set."""
        return await self._update(request, viewer, MODELS)

    @app.route("/api/models/<int:model_id>", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete_model(
        self, request: Request, viewer: Viewer, model_id: int
    ) -> bytes:
        """Delete a description."""
        return await self._delete(request, viewer, MODELS, model_id)

    @app.route("/api/vendors/", methods=["GET"])
    @allow(Who.ADMIN)
    async def vendors(self, request: Request, viewer: Viewer) -> bytes:
        """One page of vendors."""
        return await self._vendors(request)

    @app.route("/api/vendors/search", methods=["GET"])
    @allow(Who.ADMIN)
    async def search_vendors(self, request: Request, viewer: Viewer) -> bytes:
        """Vendors by words."""
        return await self._vendors(request)

    @app.route("/api/vendors/<int:vendor_id>", methods=["GET"])
    @allow(Who.ADMIN)
    async def vendor(self, request: Request, viewer: Viewer, vendor_id: int) -> bytes:
        """One vendor."""
        row = await self._db.read(model_queries.vendor, vendor_id)
        if row is None:
            raise not_found()
        return ok(VENDORS.shown(row))

    @app.route("/api/vendors/", methods=["POST"])
    @allow(Who.ADMIN)
    async def create_vendor(self, request: Request, viewer: Viewer) -> bytes:
        """A new vendor."""
        return await self._create(request, viewer, VENDORS)

    @app.route("/api/vendors/", methods=["PUT"])
    @allow(Who.ADMIN)
    async def update_vendor(self, request: Request, viewer: Viewer) -> bytes:
        """A vendor after its members in the body were set."""
        return await self._update(request, viewer, VENDORS)

    @app.route("/api/vendors/<int:vendor_id>", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def delete_vendor(
        self, request: Request, viewer: Viewer, vendor_id: int
    ) -> bytes:
        """Delete a vendor."""
        return await self._delete(request, viewer, VENDORS, vendor_id)

    async def _models(self, request: Request) -> bytes:
        asked = paging(request)
        chosen = ModelFilter(
            keyword=query(request, "keyword"),
            vendor=query(request, "vendor"),
            status=query(request, "status"),
            sync=query(request, "sync_official"),
        )
        rows, total = await self._db.read(
            model_queries.described, chosen, asked.offset, asked.size
        )
        offers = await self._db.read(model_queries.offers) if rows else []
        counts = await self._db.read(model_queries.vendor_counts, chosen)
        return page(
            [self._bound(row, offers) for row in rows],
            total,
            asked,
            vendor_counts={str(vendor): count for vendor, count in counts.items()},
        )

    async def _vendors(self, request: Request) -> bytes:
        asked = paging(request)
        rows, total = await self._db.read(
            model_queries.vendor_page,
            query(request, "keyword"),
            asked.offset,
            asked.size,
        )
        return page([VENDORS.shown(row) for row in rows], total, asked)

    async def _create(self, request: Request, viewer: Viewer, kind: Kind) -> bytes:
        values = kind.read(json_body(request))
        if not values.get(kind.name):
            raise missing(kind.name)
        now = int(self._clock.seconds())
        values |= {"created_time": now, "updated_time": now}
        row = await self._db.run(_inserted, kind, {**kind.defaults, **values})
        self._audit.write(request, viewer, f"{kind.noun}.create", _told(kind, row))
        return ok(kind.shown(row))

    async def _update(self, request: Request, viewer: Viewer, kind: Kind) -> bytes:
        body = json_body(request)
        row_id = integer(body, "id")
        if query_flag(request, "status_only"):
            body = {"status": integer(body, "status")}
        values = kind.read(body)
        if kind.name in values and not values[kind.name]:
            raise missing(kind.name)
        values["updated_time"] = int(self._clock.seconds())
        row = await self._db.run(_updated, kind, row_id, values)
        if row is None:
            raise not_found()
        self._audit.write(request, viewer, f"{kind.noun}.update", _told(kind, row))
        return ok(kind.shown(row))

    async def _delete(
        self, request: Request, viewer: Viewer, kind: Kind, row_id: int
    ) -> bytes:
        gone = await self._db.run(
            model_queries.delete, kind.table, row_id, self._clock.seconds()
        )
        if not gone:
            raise not_found()
        self._audit.write(request, viewer, f"{kind.noun}.delete", {"id": row_id})
        return ok(None)

    def _bound(self, row: Row, offers: Sequence[Offer]) -> Row:
        """A description with what it is about: channels, groups, endpoints, prices."""
        names = list(dict.fromkeys(offer.model for offer in offers))
        matched = model_queries.matched(row, names)
        about = set(matched)
        own = [offer for offer in offers if offer.model in about]
        told = MODELS.shown(row)
        if not told.get("endpoints"):
            types = endpoint_types(row["model_name"], (o.channel_type for o in own))
            told["endpoints"] = json.dumps(list(types)) if own else ""
        channels = {offer.channel_id: offer for offer in own}.values()
        told["bound_channels"] = [
            {"name": one.channel_name, "type": one.channel_type} for one in channels
        ]
        told["enable_groups"] = list(dict.fromkeys(offer.group for offer in own))
        told["quota_types"] = sorted({self._quota_type(name) for name in matched})
        if row["name_rule"]:
            told["matched_models"] = matched[:MOST_MATCHED]
            told["matched_count"] = len(matched)
        return told

    def _quota_type(self, model: str) -> int:
        """0 = priced by tokens, 1 = by call."""
        price = self._view.prices.price(
            model, user_group="", using_group="", accept_unset=True
        )
        return 0 if price.per_call is None else 1


@frozen
class Kind:
    """What models and vendors have in common: a table of named rows.

    Attributes:
        name: The column whose value is unique.
        omitted: Members that answers leave out when they are empty.
    """

    noun: str
    table: sa.Table
    name: str
    readers: Mapping[str, Callable[[Mapping[str, Any], str], Any]]
    omitted: frozenset[str]
    defaults: Mapping[str, Any]

    def read(self, body: Mapping[str, Any]) -> Row:
        """The columns that the members of a body set.

        Raises:
            Refusal: a member is not valid.
        """
        return {
            name: read(body, name)
            for name, read in self.readers.items()
            if body.get(name) is not None
        }

    def shown(self, row: Mapping[str, Any]) -> Row:
        """A row as answers carry it."""
        return {
            name: "" if value is None else value
            for name, value in row.items()
            if name != "deleted_at" and (value or name not in self.omitted)
        }


def _inserted(connection: sa.Connection, kind: Kind, values: Row) -> Row:
    """A new row, unless its name is taken."""
    _check_name(connection, kind, values[kind.name], 0)
    return model_queries.insert(connection, kind.table, values)


def _updated(
    connection: sa.Connection, kind: Kind, row_id: int, values: Row
) -> Row | None:
    """A changed row, unless its new name is taken."""
    if kind.name in values:
        _check_name(connection, kind, values[kind.name], row_id)
    return model_queries.update(connection, kind.table, row_id, values)


def _check_name(connection: sa.Connection, kind: Kind, name: str, own: int) -> None:
    find = model_queries.model_named if kind is MODELS else model_queries.vendor_named
    other = find(connection, name)
    if other is not None and other["id"] != own:
        raise Refusal("the name is taken", code="name_taken")


def _told(kind: Kind, row: Row) -> Row:
    return {"id": row["id"], "name": row[kind.name]}


def _text(longest: int) -> Callable[[Mapping[str, Any], str], str]:
    return lambda body, name: text(body, name, longest=longest).strip()


def _number(least: int, most: int) -> Callable[[Mapping[str, Any], str], int]:
    return lambda body, name: integer(body, name, least=least, most=most)


def _endpoints(body: Mapping[str, Any], name: str) -> str:
    """JSON, given as text or as it is."""
    value = body[name]
    if not isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if value.strip():
        try:
            json.loads(value)
        except (ValueError, RecursionError):
            raise invalid(name, "JSON") from None
    return value


MODELS = Kind(
    noun="model",
    table=schema.models,
    name="model_name",
    readers={
        "model_name": _text(128),
        "description": _text(10_000),
        "icon": _text(128),
        "tags": _text(255),
        "vendor_id": _number(0, 2**63 - 1),
        "endpoints": _endpoints,
        "status": _number(0, 2),
        "sync_official": _number(0, 1),
        "name_rule": _number(0, 3),
    },
    omitted=frozenset({"description", "icon", "tags", "vendor_id", "endpoints"}),
    defaults={"status": 1, "sync_official": 1, "name_rule": 0},
)
"""Descriptions of models."""

VENDORS = Kind(
    noun="vendor",
    table=schema.vendors,
    name="name",
    readers={
        "name": _text(128),
        "description": _text(10_000),
        "icon": _text(128),
        "status": _number(0, 2),
    },
    omitted=frozenset({"description", "icon"}),
    defaults={"status": 1},
)
"""Vendors of models."""
