"""The price tables of one snapshot of options, and the look-up of one model's price.

Source: billing specification, sections 2 to 4 and 7.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, TypeVar

from attrs import evolve, field, frozen

from knight_tw import price_rules as rules
from knight_tw.errors import NoPrice
from knight_tw.expression_terms import ExpressionInvalid
from knight_tw.expressions import parse
from knight_tw.options import Options
from knight_tw.prices import shipped
from knight_tw.records import Price

UNPRICED_RATIO = Decimal("37.5")
"""Model ratio of a model without a price, for those who accept that."""

TOOL_PRICES: Mapping[str, Decimal] = {
    "web_search": Decimal(10),
    "web_search_preview": Decimal(10),
    "web_search_preview:gpt-4o*": Decimal(25),
    "web_search_preview:gpt-4.1*": Decimal(25),
    "file_search": Decimal("2.5"),
    "google_search": Decimal(14),
    "image_generation": Decimal(150),
}
"""US dollars per 1000 calls, by `tool` or `tool:modelprefix*`."""

AUDIO_FAMILIES = ("gpt-4o-realtime", "gpt-4o-mini-realtime")
"""Entries of `AudioCompletionRatio` that stand for all names beginning with them."""

DEFAULT_WRITE = Decimal("1.25")
HOUR_FACTOR = Decimal("1.6")
"""A cache entry that lives an hour against one of five minutes."""

_K = TypeVar("_K")
_V = TypeVar("_V")

_ZERO, _ONE = Decimal(0), Decimal(1)
_EMPTY: Mapping[str, Decimal] = {}
_KNOWN_SIZE = 4096


@frozen
class Surcharge:
    """Calls of one tool; `price` is US dollars per 1000 of them."""

    name: str
    count: int
    price: Decimal


_Ratios = Mapping[str, Decimal]


@frozen
class _Tables:
    model: _Ratios
    completion: _Ratios
    cache: _Ratios
    write: _Ratios
    per_call: _Ratios
    image: _Ratios
    audio: _Ratios
    audio_completion: _Ratios
    expression: Mapping[str, str]
    group: _Ratios
    group_group: Mapping[str, _Ratios]
    tools: _Ratios

    @classmethod
    def from_options(cls, options: Options) -> _Tables:
        def ratios(key: str) -> _Ratios:
            return _decimals(options.json(key))

        special = options.json("GroupGroupRatio")
        return cls(
            model=ratios("ModelRatio"),
            completion=ratios("CompletionRatio"),
            cache=ratios("CacheRatio"),
            write=ratios("CreateCacheRatio"),
            per_call=ratios("ModelPrice"),
            image=ratios("ImageRatio"),
            audio=ratios("AudioRatio"),
            audio_completion=ratios("AudioCompletionRatio"),
            expression=_expressions(options),
            group=ratios("GroupRatio"),
            group_group={group: _decimals(table) for group, table in special.items()},
            tools={**TOOL_PRICES, **ratios("tool_price_setting.prices")},
        )


@frozen(eq=False)
class PriceBook:
    """What every model costs every group, as one snapshot of options says it.

    Attributes:
        unit: Quota units of one US dollar.
    """

    unit: Decimal
    _tables: _Tables
    _self_use: bool
    _locked_override: bool
    _violation: Decimal
    _known: dict[str, Price | None] = field(factory=dict, init=False)
    _grouped: dict[tuple[str, str, str], Price] = field(factory=dict, init=False)

    @classmethod
    def from_options(cls, options: Options) -> PriceBook:
        """The book that the price and group options describe."""
        fined = options.flag("grok.violation_deduction_enabled")
        amount = options.decimal("grok.violation_deduction_amount")
        return cls(
            options.decimal("QuotaPerUnit"),
            _Tables.from_options(options),
            options.flag("SelfUseModeEnabled"),
            options.flag("billing.allow_locked_override"),
            amount if fined else Decimal(0),
        )

    def price(
        self,
        model: str,
        *,
        user_group: str,
        using_group: str,
        accept_unset: bool = False,
    ) -> Price:
        """What a model costs a caller, by the name that the client sent.

        Args:
            user_group: The account's group.
            using_group: The group that serves the call.
            accept_unset: The caller takes unpriced models, at the ratio 37.5.

        Raises:
            NoPrice: the model has no price and `accept_unset` is false.
        """
        names = (model, user_group, using_group)
        if (known := self._grouped.get(names)) is not None:
            return known
        price = self._lookup(model)
        if price is not None:
            price = self._for_group(price, user_group, using_group)
            _remember(self._grouped, names, price)
            return price
        if not (accept_unset or self._self_use):
            raise _no_price(model)
        unset = self._by_ratio(model, model, UNPRICED_RATIO)
        return self._for_group(unset, user_group, using_group)

    def task_price(self, model: str, *, user_group: str, using_group: str) -> Price:
        """As `price`, for an asynchronous task: a shipped price per call stands in
        where the administrator's tables hold neither price nor ratio for the model.

        Raises:
            NoPrice: there is none of them.
        """
        price = self._lookup(model)
        if price is None:
            shipped_price = shipped("model_price").get(model)
            if shipped_price is None:
                return self.price(model, user_group=user_group, using_group=using_group)
            price = self._by_call(model, model, Decimal(shipped_price))
        return self._for_group(price, user_group, using_group)

    def has_price(self, model: str) -> bool:
        """True when the model may be called by everybody."""
        return self._lookup(model) is not None

    def group_ratio(
        self, user_group: str, using_group: str
    ) -> tuple[Decimal, Decimal | None]:
        """The price factor of a group for an account, and the special one if it is."""
        special = self._tables.group_group.get(user_group, _EMPTY).get(using_group)
        if special is not None:
            return special, special
        return self._tables.group.get(using_group, _ONE), None

    def has_group(self, group: str) -> bool:
        """True when the group has a ratio of its own."""
        return group in self._tables.group

    def surcharges(
        self, model: str, calls: Mapping[str, int], *, responses_route: bool = False
    ) -> tuple[Surcharge, ...]:
        """The tool calls that cost extra; names without a price are left out.

        A chat model made for searching counts one search of its own.
        """
        if model.endswith("search-preview") and not responses_route:
            calls = {"web_search_preview": 1, **calls}
        found = (
            Surcharge(name, count, self._tool_price(name, model))
            for name, count in calls.items()
            if count > 0
        )
        return tuple(item for item in found if item.price > 0)

    def violation_fee(self, using: Price) -> int:
        """What a refusal for content policy costs where the provider charges for it."""
        fee = self._violation * self.unit * using.group_ratio
        return int(fee.to_integral_value(ROUND_HALF_UP))

    def completion_meta(self) -> dict[str, dict[str, Any]]:
        """Each model named in a ratio table, with its completion ratio and whether a
        rule locks it (the option list's `CompletionRatioMeta`)."""
        tables = self._tables
        names = {*tables.model, *tables.completion, *tables.cache, *tables.write}
        return {
            name: {
                "ratio": json_number(self._completion(name, name)),
                "locked": rules.completion_rule(name).locked
                and not self._locked_override,
            }
            for name in sorted(names)
        }

    def _lookup(self, model: str) -> Price | None:
        """The model's price at group ratio 1, remembered; None when it has none."""
        if model not in self._known:
            _remember(self._known, model, self._find(model))
        return self._known[model]

    def _find(self, model: str) -> Price | None:
        name = rules.normalise(model)
        if name.endswith(rules.COMPACT) and not self._is_listed(name):
            name = rules.ANY_COMPACT
        while name:
            if self._is_listed(name):
                return self._listed(model, name)
            name = rules.without_suffix(name)
        return None

    def _is_listed(self, name: str) -> bool:
        tables = self._tables
        return any(
            name in t for t in (tables.expression, tables.per_call, tables.model)
        )

    def _listed(self, model: str, name: str) -> Price | None:
        tables = self._tables
        if (expression := tables.expression.get(name)) is not None:
            if not _is_valid(expression):
                return None
            price = self._by_ratio(model, name, tables.model.get(name, _ZERO))
            return evolve(price, expression=expression)
        if (per_call := tables.per_call.get(name)) is not None:
            return self._by_call(model, name, per_call)
        return self._by_ratio(model, name, tables.model[name])

    def _by_call(self, model: str, name: str, per_call: Decimal) -> Price:
        return evolve(self._by_ratio(model, name, _ZERO), per_call=per_call)

    def _by_ratio(self, model: str, name: str, ratio: Decimal) -> Price:
        """A token price; `name` is the table entry that priced `model`."""
        tables, full = self._tables, rules.normalise(model)

        def entry(table: _Ratios, default: Decimal) -> Decimal:
            return table.get(full, table.get(name, default))

        write = entry(tables.write, DEFAULT_WRITE)
        audio_out = self._audio_completion(full, name)
        heard = full in tables.audio or name in tables.audio or audio_out is not None
        return Price(
            model=model,
            model_ratio=ratio,
            completion_ratio=self._completion(full, name),
            group_ratio=_ONE,
            cache_ratio=entry(tables.cache, _ONE),
            write_ratio=write,
            write_1h_ratio=write * HOUR_FACTOR,
            image_ratio=entry(tables.image, _ONE),
            audio_ratio=entry(tables.audio, _ONE),
            audio_completion_ratio=_ONE if audio_out is None else audio_out,
            has_audio_ratio=heard,
            audio_input_price=rules.audio_input_price(full),
            unit=self.unit,
        )

    def _completion(self, full: str, name: str) -> Decimal:
        table = self._tables.completion
        own = table.get(full, table.get(name))
        if own is not None and "/" in full:
            return own
        rule = rules.completion_rule(full)
        if own is None or (rule.locked and not self._locked_override):
            return rule.ratio
        return own

    def _audio_completion(self, full: str, name: str) -> Decimal | None:
        table = self._tables.audio_completion
        for entry in (full, name):
            if entry in table:
                return table[entry]
        for family in AUDIO_FAMILIES:
            if full.startswith(family) and family in table:
                return table[family]
        return None

    def _for_group(self, price: Price, user_group: str, using_group: str) -> Price:
        ratio, special = self.group_ratio(user_group, using_group)
        if special is None and ratio == 1:
            return price
        return evolve(price, group_ratio=ratio, user_group_ratio=special)

    def _tool_price(self, tool: str, model: str) -> Decimal:
        """The price of the longest model prefix that fits, else the tool's own."""
        best, price = -1, self._tables.tools.get(tool, _ZERO)
        for key, candidate in self._tables.tools.items():
            name, _, prefix = key.partition(":")
            prefix = prefix.removesuffix("*")
            if name == tool and len(prefix) > best and model.startswith(prefix):
                best, price = len(prefix), candidate
        return price


def _remember(memory: dict[_K, _V], key: _K, value: _V) -> None:
    """Keeps a look-up; clients choose the names, so the memory is emptied when full."""
    if len(memory) >= _KNOWN_SIZE:
        memory.clear()
    memory[key] = value


def json_number(value: Decimal) -> int | float:
    """A ratio or an amount as a JSON number, for display only."""
    return int(value) if value == value.to_integral_value() else float(value)


def _decimals(table: Mapping[str, Any]) -> dict[str, Decimal]:
    return {name: Decimal(value) for name, value in table.items()}


def _expressions(options: Options) -> dict[str, str]:
    """Normalised model name to expression, of the models whose mode asks for one."""
    texts = options.json("billing_setting.billing_expr")
    return {
        rules.normalise(model): texts.get(model, "")
        for model, mode in options.json("billing_setting.billing_mode").items()
        if mode == "tiered_expr"
    }


def _is_valid(expression: str) -> bool:
    try:
        parse(expression)
    except ExpressionInvalid:
        return False
    return True


def _no_price(model: str) -> NoPrice:
    return NoPrice(
        f"model {model} has no price; an administrator must set one"
        " (system settings, billing, model prices)",
        param="model",
    )
