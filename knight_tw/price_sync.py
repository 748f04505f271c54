"""Prices of other gateways and of public lists, compared with the own ones (management
API, section 12).

Reading and comparing are pure; `PriceSync` fetches, several peers at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred, DeferredSemaphore, gatherResults

from knight_tw.channels.upstreams import Send
from knight_tw.errors import BadUpstreamBody, KnightError, UpstreamRefused
from knight_tw.options import Options

Prices = dict[str, dict[str, Any]]
"""Field to model to value."""

FIELDS: Mapping[str, str] = {
    "model_ratio": "ModelRatio",
    "completion_ratio": "CompletionRatio",
    "cache_ratio": "CacheRatio",
    "create_cache_ratio": "CreateCacheRatio",
    "image_ratio": "ImageRatio",
    "audio_ratio": "AudioRatio",
    "audio_completion_ratio": "AudioCompletionRatio",
    "model_price": "ModelPrice",
    "billing_mode": "billing_setting.billing_mode",
    "billing_expr": "billing_setting.billing_expr",
}
"""Field to the option that holds it."""

_TEXTS = frozenset({"billing_mode", "billing_expr"})

OPENROUTER = "openrouter"
OPENROUTER_URL = "https://openrouter.ai/api/v1/models"
DEFAULT_ENDPOINT = "/api/pricing"

AT_ONCE = 8
BODY_LIMIT = 10 * 1024 * 1024
SECONDS, MOST_SECONDS = 10.0, 60.0

_SAME = Decimal("1e-9")
_UNPRICED = Decimal("37.5")
_DOLLARS = 2
"""US dollars that a ratio of 1 costs per million tokens."""


@frozen
class Peer:
    """Where prices come from."""

    name: str
    base_url: str
    endpoint: str = DEFAULT_ENDPOINT

    @property
    def url(self) -> str:
        """The address of the price list."""
        if self.endpoint == OPENROUTER:
            return OPENROUTER_URL
        if "://" in self.endpoint:
            return self.endpoint
        return f"{self.base_url.rstrip('/')}/{self.endpoint.lstrip('/')}"


def read(url: str, body: bytes) -> Prices:
    """The prices in a peer's answer, whichever of the known forms it has.

    Raises:
        BadUpstreamBody: none of them.
    """
    try:
        answer = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal).decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadUpstreamBody("the answer is not a JSON object") from None
    if urlsplit(url).hostname == "models.dev":
        return _from_providers(answer)
    content = answer.get("data", answer)
    if isinstance(content, list):
        if url.startswith(OPENROUTER_URL):
            return _from_openrouter(content)
        return _from_items(content)
    if isinstance(content, dict):
        return _from_tables(content)
    raise BadUpstreamBody("the answer holds no prices")


def _from_tables(content: Mapping[str, Any]) -> Prices:
    """The form of `/api/ratio_config`."""
    prices: Prices = {}
    for name in FIELDS:
        table = content.get(name)
        if isinstance(table, Mapping):
            for model, value in table.items():
                _put(prices, name, model, value)
    if not prices:
        raise BadUpstreamBody("the answer holds no prices")
    return prices


def _from_items(items: Iterable[Any]) -> Prices:
    """The form of `/api/pricing`."""
    prices: Prices = {}
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(item.get("model_name"), str):
            continue
        model = item["model_name"]
        if item.get("quota_type") == 1:
            _put(prices, "model_price", model, item.get("model_price"))
            continue
        for name in FIELDS:
            if name != "model_price":
                _put(prices, name, model, item.get(name))
    return prices


def _from_openrouter(items: Iterable[Any]) -> Prices:
    """The form of OpenRouter's model list: US dollars per token, as text."""
    prices: Prices = {}
    for item in items:
        if not isinstance(item, Mapping) or not isinstance(
            item.get("pricing"), Mapping
        ):
            continue
        told = {
            kind: _decimal(item["pricing"].get(name))
            for kind, name in (
                ("input", "prompt"),
                ("output", "completion"),
                ("cache_read", "input_cache_read"),
                ("cache_write", "input_cache_write"),
            )
        }
        million = {
            kind: None if value is None else value * 1_000_000
            for kind, value in told.items()
        }
        name = str(item.get("id", "")).rpartition("/")[2]
        if name and ":" not in name:
            _put_costs(prices, name, million)
    return prices


def _from_providers(answer: Mapping[str, Any]) -> Prices:
    """The form of models.dev: US dollars per million tokens, by provider."""
    prices: Prices = {}
    for provider in answer.values():
        models = provider.get("models") if isinstance(provider, Mapping) else None
        for model, told in models.items() if isinstance(models, Mapping) else ():
            cost = told.get("cost") if isinstance(told, Mapping) else None
            if isinstance(cost, Mapping):
                costs = {kind: _decimal(value) for kind, value in cost.items()}
                _put_costs(prices, model, costs)
    return prices


def _put_costs(prices: Prices, model: str, costs: Mapping[str, Decimal | None]) -> None:
    """Dollars per million tokens as ratios; the first provider of a model counts."""
    base = costs.get("input")
    if not base or base < 0 or model in prices.get("model_ratio", {}):
        return
    _put(prices, "model_ratio", model, base / _DOLLARS)
    for name, kind in (
        ("completion_ratio", "output"),
        ("cache_ratio", "cache_read"),
        ("create_cache_ratio", "cache_write"),
    ):
        cost = costs.get(kind)
        if cost is not None and cost >= 0:
            _put(prices, name, model, round(cost / base, 6))


def _put(prices: Prices, name: str, model: str, value: Any) -> None:
    kept = value if name in _TEXTS and isinstance(value, str) else _decimal(value)
    if kept not in (None, ""):
        prices.setdefault(name, {})[model] = kept


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        found = Decimal(str(value))
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def own(options: Options) -> Prices:
    """The prices of this gateway, as its options have them."""
    return {name: dict(options.json(key) or {}) for name, key in FIELDS.items()}


def differences(local: Prices, peers: Mapping[str, Prices]) -> dict[str, Any]:
    """Model to field to `{current, upstreams, confidence}`, where a peer has another
    price: its value, `same`, or None when it has none."""
    found: dict[str, Any] = {}
    for name in FIELDS:
        tables = {peer: prices.get(name, {}) for peer, prices in peers.items()}
        models = {model for table in tables.values() for model in table}
        for model in sorted(models):
            current = local.get(name, {}).get(model)
            told = {
                peer: _compared(current, table.get(model))
                for peer, table in tables.items()
            }
            if all(value in (None, "same") for value in told.values()):
                continue
            found.setdefault(model, {})[name] = {
                "current": current,
                "upstreams": told,
                "confidence": {
                    peer: not _unpriced(prices, model) for peer, prices in peers.items()
                },
            }
    return found


def _compared(current: Any, value: Any) -> Any:
    if value is None or current is None:
        return value
    if isinstance(value, Decimal):
        numbers = isinstance(current, Decimal | int)
        same = numbers and abs(value - Decimal(current)) <= _SAME
    else:
        same = value == current
    return "same" if same else value


def _unpriced(prices: Prices, model: str) -> bool:
    """True for what a gateway says of a model that it has no price for."""
    ratio = prices.get("model_ratio", {}).get(model)
    completion = prices.get("completion_ratio", {}).get(model)
    return bool(ratio == _UNPRICED and completion == 1)


@frozen
class PriceSync:
    """Fetches the prices of peers."""

    _send: Send
    _options: Callable[[], Options]

    async def compare(self, peers: Sequence[Peer], seconds: float) -> dict[str, Any]:
        """`{differences, test_results}` of some peers.

        Args:
            seconds: How long each may take.
        """
        wait = min(max(seconds, 1.0), MOST_SECONDS)
        gate = DeferredSemaphore(AT_ONCE)

        def begin(peer: Peer) -> Deferred[Prices | str]:
            return Deferred.fromCoroutine(self._fetch(peer, wait))

        asked = [gate.run(begin, peer) for peer in peers]
        answers = await gatherResults(asked, consumeErrors=True)
        results: list[dict[str, str]] = []
        known: dict[str, Prices] = {}
        for peer, answer in zip(peers, answers, strict=True):
            if isinstance(answer, str):
                told = {"name": peer.name, "status": "error", "error": answer}
                results.append(told)
            else:
                known[peer.name] = answer
                results.append({"name": peer.name, "status": "success"})
        return {
            "differences": differences(own(self._options()), known),
            "test_results": results,
        }

    async def _fetch(self, peer: Peer, seconds: float) -> Prices | str:
        """A peer's prices, or why there are none."""
        headers = [("Accept", "application/json")]
        try:
            answer = await self._send(
                "GET", peer.url, headers, b"", first_byte_timeout=seconds
            )
            body = await answer.read(BODY_LIMIT, seconds)
            if answer.status != 200:
                raise UpstreamRefused(f"the peer answered {answer.status}")
            return read(peer.url, body)
        except KnightError as error:
            return error.message
