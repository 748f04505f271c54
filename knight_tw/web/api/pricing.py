"""`/api/pricing`: what each model costs whom (management API, section 11)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field, frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.callers import auto_groups, usable_groups
from knight_tw.options import Options
from knight_tw.pricing import PriceBook, json_number
from knight_tw.providers.identity import endpoint_types
from knight_tw.records import ENABLED
from knight_tw.storage import model_queries
from knight_tw.storage.database import Database
from knight_tw.storage.model_queries import Offer
from knight_tw.web.api.answers import Refusal, encode, install
from knight_tw.web.auth import Guard, Who, mark

Row = dict[str, Any]

VERSION = "a42d372ccf0b5dd13ecf71203521f9d2"
"""`pricing_version`: peers that copy prices check that it is there."""

KEPT_SECONDS = 60.0
"""How long an answer is served again."""

KEPT_ANSWERS = 200
"""Answers that are kept, one per group of accounts."""

ENDPOINTS: Mapping[str, str] = {
    "openai": "/v1/chat/completions",
    "openai-response": "/v1/responses",
    "openai-response-compact": "/v1/responses/compact",
    "openai-alpha-search": "/v1/alpha/search",
    "anthropic": "/v1/messages",
    "gemini": "/v1beta/models/{model}:generateContent",
    "jina-rerank": "/v1/rerank",
    "image-generation": "/v1/images/generations",
    "embeddings": "/v1/embeddings",
    "openai-video": "/v1/videos",
}
"""The path of each endpoint type; all take POST."""

_RATIOS: Mapping[str, str] = {
    "cache_ratio": "CacheRatio",
    "create_cache_ratio": "CreateCacheRatio",
    "image_ratio": "ImageRatio",
    "audio_ratio": "AudioRatio",
    "audio_completion_ratio": "AudioCompletionRatio",
}
"""Members that an item has only when the option has the model."""


class View(Protocol):
    """Today's options and prices."""

    @property
    def options(self) -> Options: ...

    @property
    def prices(self) -> PriceBook: ...


@frozen
class Shelf:
    """What the database says about models: who offers them, and what they are."""

    offers: Sequence[Offer]
    descriptions: Sequence[Row]
    vendors: Sequence[Row]


@frozen
class _Kept:
    until: float
    options: Options
    body: bytes


@define(eq=False, slots=False)
class Pricing:
    """The public price list."""

    _guard: Guard
    _db: Database
    _view: View
    _clock: IReactorTime
    _kept: dict[str, _Kept] = field(factory=dict)

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/pricing", methods=["GET"])
    @mark(Who.ANYONE)
    async def pricing(self, request: Request) -> bytes:
        """The models that the caller, or a guest, may use, with their prices."""
        enabled, for_members = navigation(self._view.options, "pricing")
        if not enabled:
            raise Refusal("the price list is disabled", 403, code="not_configured")
        viewer = await self._guard.visitor(request)
        if viewer is None and for_members:
            raise Refusal("log in to see prices", code="AUTH_UNAUTHORIZED")
        return await self._answer("" if viewer is None else viewer.group)

    async def _answer(self, group: str) -> bytes:
        """The answer for an account group; kept for a minute unless options change."""
        options, now = self._view.options, self._clock.seconds()
        kept = self._kept.get(group)
        if kept is not None and kept.options is options and now < kept.until:
            return kept.body
        body = encode(price_list(await self._read(), self._view, group))
        if len(self._kept) >= KEPT_ANSWERS:
            self._kept.clear()
        self._kept[group] = _Kept(now + KEPT_SECONDS, options, body)
        return body

    async def _read(self) -> Shelf:
        return Shelf(
            await self._db.read(model_queries.offers),
            await self._db.read(model_queries.every_description),
            await self._db.read(model_queries.every_vendor),
        )


def navigation(options: Options, entry: str) -> tuple[bool, bool]:
    """Whether a page is there at all, and whether only for those who are logged in, by
    `HeaderNavModules`; open to everybody unless that says otherwise."""
    try:
        modules = json.loads(options.text("HeaderNavModules") or "{}")
    except ValueError:
        return True, False
    asked = modules.get(entry, True) if isinstance(modules, dict) else True
    if isinstance(asked, dict):
        return asked.get("enabled") is not False, asked.get("requireAuth") is True
    return asked is not False, False


def price_list(shelf: Shelf, view: View, user_group: str) -> Row:
    """The whole answer for accounts of `user_group`; guests have an empty one."""
    options = view.options
    usable = usable_groups(user_group, options)
    usable.pop("", None)
    offered = _by_model(shelf.offers, usable)
    descriptions = _descriptions(shelf.descriptions, offered)
    items = [
        _item(model, offers, view, descriptions.get(model))
        for model, offers in offered.items()
        if _visible(descriptions.get(model))
    ]
    types = {name for item in items for name in item["supported_endpoint_types"]}
    told = {item["vendor_id"] for item in items if "vendor_id" in item}
    return {
        "success": True,
        "data": items,
        "vendors": [_vendor(row) for row in shelf.vendors if row["id"] in told],
        "group_ratio": {
            group: json_number(view.prices.group_ratio(user_group, group)[0])
            for group in usable
            if view.prices.has_group(group)
        },
        "usable_group": usable,
        "supported_endpoint": _endpoints(types, shelf.descriptions),
        "auto_groups": list(auto_groups((), usable, options)),
        "pricing_version": VERSION,
    }


def _by_model(
    offers: Iterable[Offer], usable: Mapping[str, str]
) -> dict[str, list[Offer]]:
    """The offers to usable groups, by model."""
    found: dict[str, list[Offer]] = {}
    for offer in offers:
        if offer.group in usable:
            found.setdefault(offer.model, []).append(offer)
    return found


def _descriptions(rows: Sequence[Row], names: Iterable[str]) -> dict[str, Row]:
    """The description of each model; the one of its very name before one by rule."""
    known = list(names)
    found: dict[str, Row] = {}
    for row in sorted(rows, key=lambda row: row["name_rule"] or 0, reverse=True):
        for name in model_queries.matched(row, known):
            found[name] = row
    return found


def _visible(description: Row | None) -> bool:
    return description is None or description["status"] == ENABLED


def _item(
    model: str, offers: Sequence[Offer], view: View, description: Row | None
) -> Row:
    """One model of the list."""
    price = view.prices.price(model, user_group="", using_group="", accept_unset=True)
    by_call = price.per_call is not None
    item: Row = {"model_name": model}
    for name in ("description", "icon", "tags", "vendor_id"):
        if description is not None and description[name]:
            item[name] = description[name]
    item |= {
        "quota_type": int(by_call),
        "model_ratio": 0 if by_call else json_number(price.model_ratio),
        "model_price": json_number(price.per_call) if price.per_call else 0,
        "owner_by": "",
        "completion_ratio": 0 if by_call else json_number(price.completion_ratio),
        "enable_groups": list(dict.fromkeys(offer.group for offer in offers)),
        "supported_endpoint_types": list(
            endpoint_types(model, (offer.channel_type for offer in offers))
        ),
    }
    for name, key in _RATIOS.items():
        if model in view.options.json(key):
            item[name] = view.options.json(key)[model]
    mode = view.options.json("billing_setting.billing_mode").get(model)
    if mode:
        expression = view.options.json("billing_setting.billing_expr").get(model, "")
        item |= {"billing_mode": mode, "billing_expr": expression}
    return item


def _vendor(row: Row) -> Row:
    told = {name: row[name] for name in ("id", "name", "description", "icon")}
    return {name: value for name, value in told.items() if value}


def _endpoints(types: set[str], descriptions: Sequence[Row]) -> Row:
    """Path and method of each endpoint type; descriptions may bring their own."""
    found = {
        name: {"path": path, "method": "POST"}
        for name, path in ENDPOINTS.items()
        if name in types
    }
    for row in descriptions:
        for name, told in _own_endpoints(row["endpoints"]):
            if name in types:
                found[name] = told
    return found


def _own_endpoints(text: str | None) -> Iterable[tuple[str, Row]]:
    """Endpoints in a description's JSON: `{type: path}` or `{type: {path, method}}`."""
    try:
        found = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return
    if not isinstance(found, dict):
        return
    for name, told in found.items():
        if isinstance(told, str):
            yield name, {"path": told, "method": "POST"}
        elif isinstance(told, dict) and isinstance(told.get("path"), str):
            yield (
                name,
                {"path": told["path"], "method": str(told.get("method", "POST"))},
            )
