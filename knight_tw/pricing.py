"""From what a call used to what it costs, in whole quota units.

A price is either a ratio per token, an amount per call, or an expression. Ratio 1 is
one quota unit per input token; everything else multiplies. The arithmetic is exact, and
each amount is rounded once, at the end, half away from zero.
Source: billing specification, sections 5 to 9 and 16.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_HALF_UP, Context, Decimal
from decimal import localcontext as exactly
from math import prod
from typing import Any

from knight_tw.expression_terms import Request
from knight_tw.expressions import NO_REQUEST, Outcome, parse
from knight_tw.price_book import PriceBook, Surcharge, json_number
from knight_tw.price_rules import normalise
from knight_tw.rates import Rates
from knight_tw.records import Price, Usage

__all__ = [
    "IMAGE_OUTPUT_TOKENS",
    "MAX_QUOTA",
    "PriceBook",
    "QuotaOutOfRange",
    "Request",
    "Surcharge",
    "explain",
    "hold",
    "image_ratios",
    "inferred_write",
    "is_free",
    "json_number",
    "need",
    "normalise",
    "quota",
    "task_quota",
    "task_quota_by_tokens",
]

MAX_QUOTA = 2**53
"""No charge may exceed this: beyond it JSON numbers lose units."""

IMAGE_OUTPUT_TOKENS = 1584
"""Output tokens that one picture of a token-priced model is taken for beforehand."""

EXPRESSION_OUTPUT_TOKENS = 8192
"""Output that an expression is asked for when the request names no limit."""

_EXACT = Context(prec=60)
_MILLION = Decimal(1_000_000)
_THOUSAND = Decimal(1000)
_NONE: Mapping[str, Decimal] = {}


class QuotaOutOfRange(ValueError):
    """The usage would cost more than `MAX_QUOTA`: no provider's count is that large."""


def quota(
    price: Price,
    usage: Usage,
    *,
    other_ratios: Mapping[str, Decimal] = _NONE,
    surcharges: Sequence[Surcharge] = (),
    realtime: bool = False,
    claude: bool = False,
    request: Request = NO_REQUEST,
) -> int:
    """What an answer costs. At least 1 when a priced model used any token, 0 when it
    used none and no tool; per-call prices do not look at tokens.

    Args:
        other_ratios: Factors that the request brings: pictures, seconds, size.
        surcharges: Tool calls, of `PriceBook.surcharges`.
        realtime: One turn of a realtime session.
        claude: The upstream spoke Claude's dialect (for expressions).
        request: What expressions may look at.

    Raises:
        QuotaOutOfRange: the amount is beyond `MAX_QUOTA`.
        ExpressionFailed: the price is an expression and has no value here.
    """
    if not (other_ratios or surcharges or realtime or _is_special(usage)):
        charge = _usual_charge(price, usage)
        if charge is not None:
            return charge
    with exactly(_EXACT):
        extra = _surcharge(price, surcharges)
        if price.expression:
            amount = _by_expression(price, usage, claude, request).amount
            return _whole(_dollars(price, amount / _MILLION) + extra)
        factor = _product(other_ratios)
        if price.per_call is not None:
            return _whole(_dollars(price, price.per_call) * factor + extra)
        if not usage.prompt + usage.completion and not extra:
            return 0
        if realtime or _has_audio(price, usage):
            tokens = _by_audio(price, usage, realtime)
        else:
            tokens = _by_text(price, usage)
        charge = _whole(tokens * factor + extra)
    return max(charge, 1) if price.model_ratio * price.group_ratio else charge


def need(
    price: Price,
    prompt_estimate: int,
    max_tokens: int,
    floor: int,
    other_ratios: Mapping[str, Decimal] = _NONE,
    request: Request = NO_REQUEST,
) -> int:
    """What a caller must own to be let in, truncated toward zero.

    Args:
        prompt_estimate: Prompt tokens, roughly.
        max_tokens: Output limit that the request names, or 0.
        floor: Option `PreConsumedQuota`.
    """
    rates = None if other_ratios else _rates(price)
    if rates is not None:
        full = rates.need(max(prompt_estimate, floor), max_tokens)
        return min(full, MAX_QUOTA)
    with exactly(_EXACT):
        if price.expression:
            return _capped(_expected(price, prompt_estimate, max_tokens, request))
        if price.per_call is not None:
            factor = _product(other_ratios)
            dollars = _dollars(price, price.per_call) * factor
            return _capped(dollars.to_integral_value(ROUND_HALF_UP))
        tokens = max(prompt_estimate, floor) + max_tokens
        amount = tokens * price.model_ratio * price.group_ratio
        return _capped(amount.to_integral_value(ROUND_DOWN))


def hold(
    price: Price,
    prompt_estimate: int,
    output_limit: int | None,
    floor: int,
    *,
    n: int = 1,
    assumed_output: int = 4096,
    audio_output: bool = False,
    other_ratios: Mapping[str, Decimal] = _NONE,
    request: Request = NO_REQUEST,
) -> int:
    """What is set aside: the price of the largest answer, never below `need`.

    Args:
        output_limit: Output tokens that the request allows; None when it names none.
        n: Answers asked for.
        assumed_output: Option `quota_setting.hold_output_tokens`, for calls without a
            limit; 0 for kinds of work without output tokens.
        audio_output: The answer may be spoken.
    """
    least = need(
        price, prompt_estimate, output_limit or 0, floor, other_ratios, request
    )
    if price.expression or price.per_call is not None:
        return least
    output = assumed_output if output_limit is None else output_limit * n
    rates = None if audio_output else _rates(price)
    if rates is not None:
        full = rates.hold(max(prompt_estimate, floor), output)
        return max(least, min(full, MAX_QUOTA))
    with exactly(_EXACT):
        ratio = price.completion_ratio
        if audio_output:
            ratio = max(ratio, price.audio_ratio * price.audio_completion_ratio)
        tokens = max(prompt_estimate, floor) + output * ratio
        amount = tokens * price.model_ratio * price.group_ratio
        return max(least, _capped(amount.to_integral_value(ROUND_CEILING)))


def is_free(price: Price) -> bool:
    """True when no call at this price can cost anything but tool surcharges."""
    if price.expression:
        return price.group_ratio == 0
    amount = price.model_ratio if price.per_call is None else price.per_call
    return amount == 0 or price.group_ratio == 0


def task_quota(price: Price, other_ratios: Mapping[str, Decimal] = _NONE) -> int:
    """What submitting an asynchronous task costs; without a price per call, half a US
    dollar per unit of the model ratio."""
    with exactly(_EXACT):
        dollars = price.model_ratio / 2 if price.per_call is None else price.per_call
        factor = _product(other_ratios)
        return _whole(_dollars(price, dollars) * factor)


def task_quota_by_tokens(
    price: Price, tokens: int, other_ratios: Mapping[str, Decimal] = _NONE
) -> int:
    """What a finished task costs whose provider reports tokens."""
    with exactly(_EXACT):
        factor = _product(other_ratios)
        return _whole(tokens * price.model_ratio * price.group_ratio * factor)


_DALL_E_SIZES = {
    "256x256": Decimal("0.4"),
    "512x512": Decimal("0.45"),
    "1024x1024": Decimal(1),
    "1024x1792": Decimal(2),
    "1792x1024": Decimal(2),
}


def image_ratios(model: str, size: str, quality: str, n: int) -> dict[str, Decimal]:
    """The factors of a picture request: how many, and for dall-e models their size and
    quality. At settlement `n` is replaced by what was delivered."""
    ratios = {"n": Decimal(n)}
    if model.startswith("dall-e"):
        factor = _DALL_E_SIZES.get(size, Decimal(1))
        ratios["size"] = factor
        if model == "dall-e-3" and quality == "hd":
            ratios["quality"] = Decimal("1.5") if factor == 2 else Decimal(2)
    return ratios


def inferred_write(price: Price, usage: Usage, cost: Decimal) -> int:
    """Cache-write tokens that explain a provider's `cost` in US dollars, or 0.

    For OpenRouter with Claude models, which reports the cost but not the writes. The
    usage's prompt is without cached tokens here. Billing specification, section 5.
    """
    with exactly(_EXACT):
        unit = price.model_ratio / price.unit
        known = (
            usage.prompt * unit
            - usage.cached * (unit - unit * price.cache_ratio)
            + usage.completion * unit * price.completion_ratio
        )
        step = unit * (price.write_ratio - 1)
        if not step:
            return 0
        write = int(((cost - known) / step).to_integral_value(ROUND_HALF_UP))
    return write if 0 <= write <= usage.prompt else 0


def explain(
    price: Price,
    usage: Usage,
    *,
    surcharges: Sequence[Surcharge] = (),
    realtime: bool = False,
    claude: bool = False,
    request: Request = NO_REQUEST,
) -> dict[str, Any]:
    """The price keys of a log row's `other`: what the amount was reckoned from.

    Numbers are plain ints and floats, for display; -1 stands for "none" as in the
    reference, and its spelling `seperate` is kept.
    """
    told: dict[str, Any] = _explain_ratios(price).copy()
    told["cache_tokens"] = usage.cached
    special = surcharges or realtime or claude or price.expression
    if not (special or _is_special(usage)):
        return told
    told |= _explain_writes(price, usage, claude)
    if usage.image_in:
        ratio = json_number(price.image_ratio)
        told |= {"image": True, "image_ratio": ratio, "image_output": usage.image_in}
    if realtime or _has_audio(price, usage):
        told |= _explain_audio(price, usage, realtime)
    elif usage.audio_in and price.audio_input_price is not None:
        told["audio_input_seperate_price"] = True
        told["audio_input_token_count"] = usage.audio_in
        told["audio_input_price"] = json_number(price.audio_input_price)
    if surcharges:
        told["tool_surcharges"] = [_explain_calls(item) for item in surcharges]
    if price.expression:
        told |= _explain_expression(price, usage, claude, request)
    return told


def _explain_ratios(price: Price) -> dict[str, Any]:
    """What is told of a price whatever was used; made once for each price."""
    known: dict[str, Any] | None = price.reckoned.get("told")
    if known is None:
        special, per_call = price.user_group_ratio, price.per_call
        known = price.reckoned["told"] = {
            "model_ratio": json_number(price.model_ratio),
            "group_ratio": json_number(price.group_ratio),
            "completion_ratio": json_number(price.completion_ratio),
            "cache_tokens": 0,
            "cache_ratio": json_number(price.cache_ratio),
            "model_price": -1 if per_call is None else json_number(per_call),
            "user_group_ratio": -1 if special is None else json_number(special),
        }
    return known


def _explain_writes(price: Price, usage: Usage, claude: bool) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if claude:
        told = {"claude": True, "usage_semantic": "anthropic"}
    if not (claude or usage.write):
        return told
    ratio = json_number(price.write_ratio)
    told |= {"cache_creation_tokens": usage.write, "cache_creation_ratio": ratio}
    if usage.write_5m or usage.write_1h:
        told["cache_creation_tokens_5m"] = usage.write_5m
        told["cache_creation_ratio_5m"] = ratio
        told["cache_creation_tokens_1h"] = usage.write_1h
        told["cache_creation_ratio_1h"] = json_number(price.write_1h_ratio)
    if usage.write:
        told["cache_write_tokens"] = usage.write
    return told


def _explain_audio(price: Price, usage: Usage, realtime: bool) -> dict[str, Any]:
    return {
        "ws" if realtime else "audio": True,
        "audio_input": usage.audio_in,
        "audio_output": usage.audio_out,
        "text_input": usage.prompt - usage.audio_in,
        "text_output": usage.completion - usage.audio_out,
        "audio_ratio": json_number(price.audio_ratio),
        "audio_completion_ratio": json_number(price.audio_completion_ratio),
    }


def _explain_calls(item: Surcharge) -> dict[str, Any]:
    return {"name": item.name, "count": item.count, "price": json_number(item.price)}


def _explain_expression(
    price: Price, usage: Usage, claude: bool, request: Request
) -> dict[str, Any]:
    told = {
        "billing_mode": "tiered_expr",
        "expr_b64": b64encode(price.expression.encode()).decode(),
    }
    try:
        told["matched_tier"] = _by_expression(price, usage, claude, request).tier
    except ValueError:
        told["matched_tier"] = ""
    return told


def _rates(price: Price) -> Rates | None:
    """The price in whole numbers, reckoned once; None when it takes `Decimal`."""
    reckoned = price.reckoned
    if "rates" not in reckoned:
        reckoned["rates"] = Rates.of(price)
    rates: Rates | None = reckoned["rates"]
    return rates


def _is_special(usage: Usage) -> bool:
    """True when something else than prompt, cached prompt and completion counts."""
    return bool(
        usage.write
        or usage.image_in
        or usage.audio_in
        or usage.audio_out
        or usage.write_5m
        or usage.write_1h
    )


def _usual_charge(price: Price, usage: Usage) -> int | None:
    """`quota` of text alone at a price in whole numbers; None when it is neither."""
    rates = _rates(price)
    if rates is None:
        return None
    prompt, completion = usage.prompt, usage.completion
    if not prompt + completion:
        return 0
    charge = rates.charge(prompt, usage.cached, completion)
    if charge > MAX_QUOTA:
        return None
    return max(charge, 1) if rates.prompt else charge


def _by_text(price: Price, usage: Usage) -> Decimal:
    apart = price.audio_input_price
    written = max(usage.write, usage.write_5m + usage.write_1h)
    plain = usage.prompt - usage.cached - written - usage.image_in
    if apart is not None:
        plain -= usage.audio_in
    tokens = (
        max(plain, 0)
        + usage.cached * price.cache_ratio
        + (written - usage.write_1h) * price.write_ratio
        + usage.write_1h * price.write_1h_ratio
        + usage.image_in * price.image_ratio
        + usage.completion * price.completion_ratio
    )
    amount = tokens * price.model_ratio * price.group_ratio
    if apart is not None:
        amount += _dollars(price, apart / _MILLION) * usage.audio_in
    return amount


def _by_audio(price: Price, usage: Usage, realtime: bool) -> Decimal:
    """Text and audio apart; in realtime sessions cached input of both counts less."""
    text: Decimal | int = usage.prompt - usage.audio_in
    heard: Decimal | int = usage.audio_in
    if realtime:
        saved = 1 - price.cache_ratio
        text -= saved * (usage.cached - usage.cached_audio)
        heard -= saved * usage.cached_audio
    spoken = usage.audio_out * price.audio_ratio * price.audio_completion_ratio
    tokens = (
        text
        + (usage.completion - usage.audio_out) * price.completion_ratio
        + heard * price.audio_ratio
        + spoken
    )
    return tokens * price.model_ratio * price.group_ratio


def _has_audio(price: Price, usage: Usage) -> bool:
    return price.has_audio_ratio and bool(usage.audio_in or usage.audio_out)


def _by_expression(
    price: Price, usage: Usage, claude: bool, request: Request
) -> Outcome:
    """The expression on a usage. A count with a variable of its own leaves `p` or `c`;
    for Claude `p` is without cache even when the expression does not price it."""
    expression = parse(price.expression)
    uses = expression.uses
    written = max(usage.write, usage.write_5m + usage.write_1h)
    hour = usage.write_1h if "cc1h" in uses else 0
    apart = {
        "cr": usage.cached,
        "cc": written - hour,
        "cc1h": hour,
        "img": usage.image_in,
        "ai": usage.audio_in,
    }
    spoken = {"img_o": usage.image_out, "ao": usage.audio_out}
    always = {"cr", "cc", "cc1h"} if claude else set()
    prompt = usage.prompt - sum(apart[name] for name in apart if name in uses | always)
    completion = usage.completion - sum(spoken[name] for name in spoken if name in uses)
    counts = {
        **apart,
        **spoken,
        "p": max(prompt, 0),
        "c": max(completion, 0),
        "len": usage.prompt,
    }
    return expression.evaluate(counts, request)


def _expected(price: Price, prompt: int, max_tokens: int, request: Request) -> Decimal:
    counts = {
        "p": prompt,
        "c": max_tokens or EXPRESSION_OUTPUT_TOKENS,
        "len": prompt,
    }
    outcome = parse(price.expression).evaluate(counts, request)
    amount = _dollars(price, outcome.amount / _MILLION)
    return amount.to_integral_value(ROUND_CEILING)


def _surcharge(price: Price, surcharges: Sequence[Surcharge]) -> Decimal:
    dollars = sum((item.price * item.count for item in surcharges), Decimal(0))
    return _dollars(price, dollars / _THOUSAND)


def _product(ratios: Mapping[str, Decimal]) -> Decimal:
    return Decimal(prod(ratios.values()))


def _dollars(price: Price, amount: Decimal) -> Decimal:
    return amount * price.unit * price.group_ratio


def _whole(amount: Decimal) -> int:
    rounded = amount.to_integral_value(ROUND_HALF_UP)
    if rounded > MAX_QUOTA:
        raise QuotaOutOfRange(f"a charge of {rounded:.3e} units")
    return max(int(rounded), 0)


def _capped(amount: Decimal) -> int:
    """A need or hold; nobody owns more than `MAX_QUOTA`."""
    return int(amount) if amount < MAX_QUOTA else MAX_QUOTA
