"""Model lists on relay routes, in the shape the caller's dialect knows (relay
specification, 16)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import parse_qs

import msgspec
from attrs import frozen

from knight_tw.errors import NotFound
from knight_tw.pricing import PriceBook
from knight_tw.providers.identity import endpoint_types, name_of
from knight_tw.records import Caller, Channel, Dialect, Head
from knight_tw.routing import RoutingTable
from knight_tw.web.routes import Route

CREATED = 1626777600
"""`created` of every listed model; the reference's constant."""

_ACTIONS = ["generateContent", "streamGenerateContent", "countTokens"]


class View(Protocol):
    """The snapshots a list is made from."""

    @property
    def routes(self) -> RoutingTable:
        """Which channel serves which model."""
        ...

    @property
    def prices(self) -> PriceBook:
        """Which models have a price."""
        ...

    @property
    def self_use(self) -> bool:
        """Unpriced models may be used by everybody."""
        ...


@frozen(eq=False)
class ModelLists:
    """Answers the list routes from memory."""

    _view: View

    def __call__(self, route: Route, head: Head, caller: Caller) -> bytes:
        """The JSON body of a list or of one model.

        Raises:
            NotFound: the model is not in the caller's list.
        """
        served = self._served(caller)
        shape = _shape(route, head)
        if route.answer == "model":
            wanted = route.argument.removeprefix("models/")
            if wanted not in served:
                raise NotFound(
                    f"the model {wanted} does not exist or you may not use it",
                    code="model_not_found",
                    param="model",
                    type="invalid_request_error",
                )
            return _json(shape.one(wanted, served[wanted]))
        return _json(shape.many(served, head))

    def _served(self, caller: Caller) -> dict[str, Sequence[Channel]]:
        """Models the caller may ask for, in order, with the channels that have them."""
        groups = caller.auto_groups or (caller.group,)
        unpriced = self._view.self_use or bool(
            caller.user.setting.get("accept_unset_model_ratio_model")
        )
        token = caller.token
        limits = token.model_limits if token and token.model_limits_enabled else None
        served: dict[str, Sequence[Channel]] = {}
        for group in groups:
            for model in self._view.routes.models(group):
                if model in served or (limits is not None and model not in limits):
                    continue
                if unpriced or self._view.prices.has_price(model):
                    served[model] = self._view.routes.candidates(group, model)
        return served


class _Shape(Protocol):
    def one(self, model: str, channels: Sequence[Channel]) -> dict[str, Any]: ...

    def many(
        self, served: Mapping[str, Sequence[Channel]], head: Head
    ) -> dict[str, Any]: ...


class _OpenAI:
    """`{"object":"list","data":[...]}`; `success` is kept, some clients test it."""

    def one(self, model: str, channels: Sequence[Channel]) -> dict[str, Any]:
        first = channels[0] if channels else None
        return {
            "id": model,
            "object": "model",
            "created": CREATED,
            "owned_by": name_of(first.type).lower() if first else "custom",
            "supported_endpoint_types": endpoint_types(
                model, (channel.type for channel in channels)
            ),
        }

    def many(
        self, served: Mapping[str, Sequence[Channel]], head: Head
    ) -> dict[str, Any]:
        rows = [self.one(model, channels) for model, channels in served.items()]
        return {"object": "list", "data": rows, "success": True}


class _Claude:
    """`{"data":[...],"first_id","has_more","last_id"}` with the API's own paging."""

    def one(self, model: str, channels: Sequence[Channel]) -> dict[str, Any]:
        created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(CREATED))
        return {
            "id": model,
            "type": "model",
            "display_name": model,
            "created_at": created,
        }

    def many(
        self, served: Mapping[str, Sequence[Channel]], head: Head
    ) -> dict[str, Any]:
        query = parse_qs(head.query)
        names, more = _window(list(served), query)
        return {
            "data": [self.one(name, served[name]) for name in names],
            "first_id": names[0] if names else None,
            "has_more": more,
            "last_id": names[-1] if names else None,
        }


class _Gemini:
    """`{"models":[{"name":"models/ID",...}]}`; no page token, since all are sent."""

    def one(self, model: str, channels: Sequence[Channel]) -> dict[str, Any]:
        return {
            "name": f"models/{model}",
            "displayName": model,
            "version": "",
            "supportedGenerationMethods": _ACTIONS,
        }

    def many(
        self, served: Mapping[str, Sequence[Channel]], head: Head
    ) -> dict[str, Any]:
        return {"models": [self.one(name, found) for name, found in served.items()]}


def _shape(route: Route, head: Head) -> _Shape:
    """The dialect of the list: by headers on `/v1`, by the path below `/v1beta`."""
    if route.dialect is Dialect.GEMINI:
        return _Gemini()
    if route.path.startswith("/v1beta/"):
        return _OpenAI()
    if head.get("x-api-key") and head.get("anthropic-version"):
        return _Claude()
    if head.get("x-goog-api-key") or "key" in parse_qs(head.query):
        return _Gemini()
    return _OpenAI()


def _window(names: list[str], query: Mapping[str, list[str]]) -> tuple[list[str], bool]:
    """The names that `limit`, `after_id` and `before_id` ask for, and whether more
    follow in the direction of the walk."""
    limit = _limit(query.get("limit", [""])[0])
    after, before = query.get("after_id"), query.get("before_id")
    if after and after[0] in names:
        names = names[names.index(after[0]) + 1 :]
    elif before and before[0] in names:
        names = names[: names.index(before[0])]
        return names[-limit:], len(names) > limit
    return names[:limit], len(names) > limit


def _limit(text: str) -> int:
    return min(max(int(text), 1), 1000) if text.isdecimal() else 1000


def _json(value: dict[str, Any]) -> bytes:
    return msgspec.json.encode(value)
