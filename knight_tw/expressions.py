"""Price expressions: a small language that says what a call costs.

    v1: len <= 200000 ? tier("base", p*3 + c*15) : tier("long", p*6 + c*22.5)
        ||| when(header("anthropic-beta") has "fast-mode") * 6

An expression is a number: US dollars per million of the tokens that its variables
count. After `|||` stand request rules; each one that holds multiplies the result.
Operators, loosest first: `? :`, `||` (`or`), `&&` (`and`), `!` (`not`), comparisons
(`== != < <= > >= in has contains startsWith endsWith`), `+ -`, `* / %`, unary `-`,
`**` (`^`). Order between different kinds is false; reckoning with anything but numbers
fails. Nothing of Python is reachable; size, depth and digits are bounded.
Source: billing specification, section 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from decimal import Context, Decimal, DecimalException, localcontext
from functools import lru_cache
from typing import Any

from attrs import frozen

from knight_tw.expression_terms import (
    COMPARISONS,
    FUNCTIONS,
    PRODUCTS,
    SUMS,
    ExpressionFailed,
    ExpressionInvalid,
    Request,
    Scope,
    Token,
    number,
    tokens,
    truth,
)

MAX_TEXT = 20_000
MAX_DEPTH = 40
MAX_ITEMS = 20
VARIABLES = frozenset({"p", "c", "len", "cr", "cc", "cc1h", "img", "ai", "img_o", "ao"})
SMOKE = ((0, 0), (1_000, 1_000), (100_000, 100_000), (1_000_000, 1_000_000))
"""Prompt and completion tokens that an expression must survive before it is saved."""

NO_REQUEST = Request()
_SAMPLE = Request({"model": "m", "stream": True, "max_tokens": 100})
_LITERALS = {"true": True, "false": False, "nil": None, "null": None}
_EXACT = Context(prec=50, Emax=999, Emin=-999)

Node = Callable[[Scope], Any]


@frozen
class Outcome:
    """An expression's value, and the tier that it named last (or an empty text)."""

    amount: Decimal
    tier: str


@frozen(eq=False)
class Expression:
    """A parsed expression; `uses` names the variables that occur in it."""

    text: str
    uses: frozenset[str]
    _price: Node
    _rules: tuple[tuple[Node, Node], ...]

    def evaluate(
        self, counts: Mapping[str, int], request: Request = NO_REQUEST
    ) -> Outcome:
        """US dollars times a million, for token counts by variable (absent ones are 0).

        Raises:
            ExpressionFailed: no number comes out, or one below zero.
        """
        scope = Scope(counts, request)
        try:
            with localcontext(_EXACT):
                amount = number(self._price(scope))
                for condition, factor in self._rules:
                    if truth(condition(scope)):
                        amount *= number(factor(scope))
        except DecimalException as error:
            raise ExpressionFailed(f"arithmetic: {type(error).__name__}") from None
        if not amount.is_finite() or amount < 0:
            raise ExpressionFailed("the price is below zero")
        return Outcome(amount, scope.tier)


@lru_cache(maxsize=1024)
def parse(text: str) -> Expression:
    """The expression of a text; texts seen lately are not parsed again.

    Raises:
        ExpressionInvalid: it is none.
    """
    if len(text) > MAX_TEXT:
        raise ExpressionInvalid(f"longer than {MAX_TEXT} characters")
    price, _, rules = text.partition("|||")
    body = _Parser(tokens(price.strip().removeprefix("v1:")))
    conditions = _Parser(tokens(rules.replace("|||", ",")))
    node, factors = body.whole(), conditions.rules()
    return Expression(text, frozenset(body.uses | conditions.uses), node, factors)


def smoke(text: str) -> None:
    """Passes when the expression gives a price for small and for large calls.

    Raises:
        ValueError: it cannot be parsed, fails, or gives a negative price.
    """
    expression = parse(text)
    for p, c in SMOKE:
        for request in (NO_REQUEST, _SAMPLE):
            expression.evaluate({"p": p, "c": c, "len": p}, request)


def smoke_all(expressions: Mapping[str, str]) -> None:
    """`smoke` for a map of model to expression; the message names the model."""
    for model, text in expressions.items():
        try:
            smoke(text)
        except ValueError as error:
            raise ValueError(f"{model}: {error}") from None


class _Parser:
    """Recursive descent over the tokens of one part of an expression."""

    def __init__(self, found: Iterable[Token]) -> None:
        self._tokens = [*found, ("end", "")]
        self._place = 0
        self._depth = 0
        self.uses: set[str] = set()

    def whole(self) -> Node:
        """The one expression that the tokens hold."""
        node = self._choice()
        if self._kind() != "end":
            raise self._unexpected()
        return node

    def rules(self) -> tuple[tuple[Node, Node], ...]:
        """The request rules, `when(condition) * factor`, with or without commas."""
        found = []
        while self._kind() != "end":
            if self._take(",", ";"):
                continue
            for word in ("when", "("):
                self._need(word)
            condition = self._choice()
            for word in (")", "*"):
                self._need(word)
            found.append((condition, self._power()))
        return tuple(found)

    def _kind(self) -> str:
        return self._tokens[self._place][0]

    def _take(self, *words: str) -> str:
        """The next token when it is one of `words`, else an empty text."""
        kind, word = self._tokens[self._place]
        if kind not in ("name", "sign") or word not in words:
            return ""
        self._place += 1
        return word

    def _need(self, word: str) -> None:
        if not self._take(word):
            raise self._unexpected(f"{word} is missing")

    def _unexpected(self, what: str = "unexpected text") -> ExpressionInvalid:
        kind, word = self._tokens[self._place]
        where = "the end" if kind == "end" else repr(word[:20])
        return ExpressionInvalid(f"{what} at {where}")

    def _deeper(self, parse: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise ExpressionInvalid("nested too deeply")
        node = parse()
        self._depth -= 1
        return node

    def _choice(self) -> Node:
        condition = self._deeper(self._either)
        if not self._take("?"):
            return condition
        yes = self._deeper(self._choice)
        self._need(":")
        no = self._deeper(self._choice)
        return lambda scope: (yes if truth(condition(scope)) else no)(scope)

    def _either(self) -> Node:
        parts = [self._both()]
        while self._take("||"):
            parts.append(self._both())
        if len(parts) == 1:
            return parts[0]
        return lambda scope: any(truth(part(scope)) for part in parts)

    def _both(self) -> Node:
        parts = [self._denial()]
        while self._take("&&"):
            parts.append(self._denial())
        if len(parts) == 1:
            return parts[0]
        return lambda scope: all(truth(part(scope)) for part in parts)

    def _denial(self) -> Node:
        if self._take("!"):
            denied = self._deeper(self._denial)
            return lambda scope: not truth(denied(scope))
        return self._comparison()

    def _comparison(self) -> Node:
        left = self._sum()
        sign = self._take(*COMPARISONS)
        if not sign:
            return left
        right, compare = self._sum(), COMPARISONS[sign]
        return lambda scope: compare(left(scope), right(scope))

    def _sum(self) -> Node:
        return self._chain(self._product, SUMS)

    def _product(self) -> Node:
        return self._chain(self._minus, PRODUCTS)

    def _chain(
        self, part: Callable[[], Node], signs: Mapping[str, Callable[[Any, Any], Any]]
    ) -> Node:
        first = part()
        rest = []
        while sign := self._take(*signs):
            rest.append((signs[sign], part()))
        if not rest:
            return first

        def reckon(scope: Scope) -> Any:
            value = first(scope)
            for operation, node in rest:
                value = operation(value, node(scope))
            return value

        return reckon

    def _minus(self) -> Node:
        if self._take("-"):
            positive = self._deeper(self._minus)
            return lambda scope: -number(positive(scope))
        return self._power()

    def _power(self) -> Node:
        left = self._term()
        if not self._take("**"):
            return left
        right = self._deeper(self._minus)
        return lambda scope: number(left(scope)) ** number(right(scope))

    def _term(self) -> Node:
        if self._take("("):
            node = self._choice()
            self._need(")")
            return node
        if self._take("["):
            items = self._items("]")
            return lambda scope: [item(scope) for item in items]
        if self._take("has"):
            return self._call("has")
        kind, word = self._tokens[self._place]
        if kind not in ("number", "text", "name"):
            raise self._unexpected()
        self._place += 1
        return self._name(word) if kind == "name" else _constant(kind, word)

    def _name(self, word: str) -> Node:
        if word in _LITERALS:
            literal = _LITERALS[word]
            return lambda scope: literal
        if word in FUNCTIONS:
            return self._call(word)
        if word not in VARIABLES:
            raise ExpressionInvalid(f"unknown name {word[:40]}")
        self.uses.add(word)
        return lambda scope: Decimal(scope.counts.get(word, 0))

    def _call(self, name: str) -> Node:
        least, most, function = FUNCTIONS[name]
        self._need("(")
        items = self._items(")")
        if not least <= len(items) <= most:
            raise ExpressionInvalid(f"wrong number of arguments for {name}")
        return lambda scope: function(scope, *[item(scope) for item in items])

    def _items(self, closing: str) -> list[Node]:
        items: list[Node] = []
        while not self._take(closing):
            if items:
                self._need(",")
            items.append(self._choice())
            if len(items) > MAX_ITEMS:
                raise ExpressionInvalid(f"more than {MAX_ITEMS} items")
        return items


def _constant(kind: str, word: str) -> Node:
    value = Decimal(word.replace("_", "")) if kind == "number" else word
    return lambda scope: value
