"""Tests of knight_tw.pricing, price_book and price_rules."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import price_book, pricing
from knight_tw.errors import NoPrice
from knight_tw.expression_terms import ExpressionFailed
from knight_tw.options import Options
from knight_tw.price_rules import (
    audio_input_price,
    completion_rule,
    normalise,
    without_suffix,
)
from knight_tw.prices import shipped
from knight_tw.pricing import MAX_QUOTA, PriceBook, QuotaOutOfRange, Surcharge
from knight_tw.records import Price, Usage


def book(**rows: Any) -> PriceBook:
    """A book of the defaults and some options; `__` in a name stands for a dot."""
    texts = {
        key.replace("__", "."): value if isinstance(value, str) else json.dumps(value)
        for key, value in rows.items()
    }
    return PriceBook.from_options(Options.from_rows(texts))


SHIPPED = book()


def price(
    model: str, tables: PriceBook = SHIPPED, user: str = "default", using: str = ""
) -> Price:
    return tables.price(model, user_group=user, using_group=using or user)


def tiered(expression: str, **rows: Any) -> PriceBook:
    return book(
        billing_setting__billing_mode={"m": "tiered_expr"},
        billing_setting__billing_expr={"m": expression},
        **rows,
    )


class WorkedExamples(SynchronousTestCase):
    """The table of the billing specification, section 10."""

    def test_1_plain(self) -> None:
        """Input and output tokens."""
        usage = Usage(prompt=1000, completion=500)
        self.assertEqual(pricing.quota(price("gpt-4o"), usage), 3750)

    def test_2_cached(self) -> None:
        """Cached input costs its ratio."""
        usage = Usage(prompt=1000, cached=600, completion=500)
        self.assertEqual(pricing.quota(price("gpt-4o"), usage), 3375)

    def test_3_cache_writes(self) -> None:
        """Cache writes of five minutes and of an hour have their own ratios."""
        usage = Usage(
            prompt=200 + 10_000 + 3000,
            cached=10_000,
            write=3000,
            write_5m=2000,
            write_1h=1000,
            completion=300,
        )
        model = price("claude-3-7-sonnet-20250219")
        self.assertEqual(pricing.quota(model, usage), 10_800)

    def test_4_group(self) -> None:
        """The group's ratio multiplies."""
        half = price("gpt-4o", book(GroupRatio={"half": 0.5}), "half")
        usage = Usage(prompt=1000, completion=500)
        self.assertEqual(pricing.quota(half, usage), 1875)

    def test_5_special_group_ratio(self) -> None:
        """An account group may have its own ratio for a group; a cent's part is 1."""
        tables = book(
            GroupRatio={"pro": 2, "vip": 1}, GroupGroupRatio={"vip": {"pro": 0.9}}
        )
        special = price("gpt-4o-mini", tables, "vip", "pro")
        self.assertEqual(special.user_group_ratio, Decimal("0.9"))
        usage = Usage(prompt=10, completion=1)
        self.assertEqual(pricing.quota(special, usage), 1)

    def test_6_minimum(self) -> None:
        """A priced call that used anything costs at least one unit."""
        usage = Usage(prompt=40)
        self.assertEqual(pricing.quota(price("text-embedding-3-small"), usage), 1)

    def test_7_picture(self) -> None:
        """A picture costs its price times size and quality."""
        ratios = pricing.image_ratios("dall-e-3", "1792x1024", "hd", 1)
        cost = pricing.quota(price("dall-e-3"), Usage(), other_ratios=ratios)
        self.assertEqual(cost, 60_000)

    def test_8_audio(self) -> None:
        """Audio tokens have ratios of their own."""
        usage = Usage(prompt=300, completion=350, audio_in=200, audio_out=300)
        self.assertEqual(pricing.quota(price("gpt-4o-audio-preview"), usage), 10_375)

    def test_9_tool_calls(self) -> None:
        """Built-in tools cost per call."""
        extra = SHIPPED.surcharges("gpt-4.1", {"web_search_preview": 3})
        usage = Usage(prompt=2000, completion=800)
        cost = pricing.quota(price("gpt-4.1"), usage, surcharges=extra)
        self.assertEqual(cost, 41_100)

    def test_10_expression(self) -> None:
        """An expression gives US dollars per million tokens."""
        tables = tiered('tier("base", p*3 + c*15)', GroupRatio={"g": 1.2})
        usage = Usage(prompt=20_000, completion=1000)
        self.assertEqual(pricing.quota(price("m", tables, "g"), usage), 45_000)

    def test_11_need_and_hold(self) -> None:
        """The need leaves out the completion ratio, the hold has it."""
        model = price("gpt-4o")
        self.assertEqual(pricing.need(model, 120, 1000, 500), 1875)
        self.assertEqual(pricing.hold(model, 120, 1000, 500), 5625)
        self.assertEqual(pricing.quota(model, Usage(prompt=400, completion=10)), 550)

    def test_12_audio_input_price(self) -> None:
        """Gemini prices audio input apart."""
        usage = Usage(prompt=1000, audio_in=400, completion=100)
        self.assertEqual(pricing.quota(price("gemini-2.5-flash"), usage), 415)

    def test_14_more_than_held(self) -> None:
        """The amount does not depend on what was held."""
        usage = Usage(prompt=400, completion=700)
        self.assertEqual(pricing.quota(price("gpt-4o"), usage), 4000)


class QuotaTests(SynchronousTestCase):
    def test_nothing_used(self) -> None:
        """No tokens and no tool cost nothing; a tool alone costs its price."""
        model = price("gpt-4o")
        self.assertEqual(pricing.quota(model, Usage()), 0)
        tool = (Surcharge("web_search", 1, Decimal(10)),)
        self.assertEqual(pricing.quota(model, Usage(), surcharges=tool), 5000)

    def test_free(self) -> None:
        """A ratio or group of zero costs nothing, whatever was used."""
        usage = Usage(prompt=1000, completion=1000)
        self.assertEqual(pricing.quota(price("glm-4-flash"), usage), 0)
        free = price("gpt-4o", book(GroupRatio={"free": 0}), "free")
        self.assertEqual(pricing.quota(free, usage), 0)

    def test_rounding(self) -> None:
        """Halves are rounded away from zero."""
        model = price("m", book(ModelRatio={"m": 0.5}, CompletionRatio={}))
        self.assertEqual(pricing.quota(model, Usage(prompt=5)), 3)
        flash = price("gemini-2.5-flash")
        self.assertEqual(pricing.quota(flash, Usage(completion=2)), 3)

    def test_cache_counts_beyond_the_prompt(self) -> None:
        """More cached tokens than prompt tokens make no negative input."""
        usage = Usage(prompt=10, cached=100)
        self.assertEqual(pricing.quota(price("gpt-4o"), usage), 63)

    def test_writes_without_a_split(self) -> None:
        """Cache writes of unknown life cost the five-minute ratio."""
        model = price("claude-3-haiku-20240307")
        split = Usage(prompt=1000, write=1000, write_5m=1000)
        whole = Usage(prompt=1000, write=1000)
        self.assertEqual(pricing.quota(model, whole), pricing.quota(model, split))

    def test_image_input(self) -> None:
        """Picture input has its own ratio."""
        usage = Usage(prompt=100, image_in=60)
        self.assertEqual(pricing.quota(price("gpt-image-1"), usage), 400)

    def test_price_per_call(self) -> None:
        """A price per call looks at the group and the factors only."""
        tables = book(ModelPrice={"m": 0.01}, GroupRatio={"g": 2})
        model = price("m", tables, "g")
        usage = Usage(prompt=9, completion=9)
        self.assertEqual(pricing.quota(model, usage), 10_000)
        twice = pricing.quota(model, usage, other_ratios={"n": Decimal(2)})
        self.assertEqual(twice, 20_000)

    def test_audio_without_a_price(self) -> None:
        """Without an audio entry audio tokens cost like text."""
        model = price("m", book(ModelRatio={"m": 1}, CompletionRatio={"m": 4}))
        usage = Usage(prompt=100, completion=10, audio_in=50, audio_out=10)
        self.assertEqual(pricing.quota(model, usage), 140)

    def test_missing_text_counts(self) -> None:
        """Text is what the total leaves beside audio, reported or not."""
        tables = book(
            ModelRatio={"m": 2},
            CompletionRatio={"m": 4},
            AudioRatio={"m": 16},
            AudioCompletionRatio={"m": 2},
        )
        usage = Usage(prompt=500, completion=250, audio_in=300, audio_out=100)
        self.assertEqual(pricing.quota(price("m", tables), usage), 17_600)

    def test_realtime_cache(self) -> None:
        """In realtime sessions cached text and cached audio cost the cache ratio."""
        model = price("gpt-4o-realtime-preview")
        self.assertEqual(model.audio_completion_ratio, 2)
        usage = Usage(prompt=300, audio_in=100, cached=150, cached_audio=50)
        self.assertEqual(
            pricing.quota(model, usage, realtime=True),
            int((200 - 100 * 0.5 + (100 - 50 * 0.5) * 8) * 2.5),
        )
        self.assertEqual(pricing.quota(model, usage), int((200 + 100 * 8) * 2.5))

    def test_speech(self) -> None:
        """Speech models with an audio completion ratio of 0 charge the input only."""
        usage = Usage(prompt=1000, completion=500, audio_out=500)
        self.assertEqual(pricing.quota(price("tts-1"), usage), 7500)

    def test_out_of_range(self) -> None:
        """A count that no provider can mean is not charged."""
        with self.assertRaises(QuotaOutOfRange):
            pricing.quota(price("gpt-4o"), Usage(prompt=2**63))

    @settings(max_examples=60, deadline=None)
    @given(
        st.builds(
            Usage,
            prompt=st.integers(0, 10**7),
            completion=st.integers(0, 10**7),
            cached=st.integers(0, 10**7),
            write=st.integers(0, 10**6),
            write_1h=st.integers(0, 10**6),
            image_in=st.integers(0, 10**6),
            audio_in=st.integers(0, 10**6),
        ),
        st.sampled_from(["gpt-4o", "gemini-2.5-flash", "gpt-image-1", "tts-1"]),
    )
    def test_never_below_zero(self, usage: Usage, model: str) -> None:
        """Whatever is reported, a charge is a whole number, at least 1 for tokens."""
        cost = pricing.quota(price(model), usage)
        self.assertIsInstance(cost, int)
        self.assertGreaterEqual(cost, 1 if usage.prompt + usage.completion else 0)


class ExpressionTests(SynchronousTestCase):
    USAGE = Usage(
        prompt=1000,
        completion=100,
        cached=600,
        write=200,
        write_5m=150,
        write_1h=50,
        image_out=10,
    )

    def cost(self, expression: str, claude: bool = False) -> int:
        model = price("m", tiered(expression))
        return pricing.quota(model, self.USAGE, claude=claude)

    def test_counts_with_their_own_variable_leave_p_and_c(self) -> None:
        """Tokens are not priced twice, and none is forgotten."""
        self.assertEqual(self.cost("p*2"), 1000)
        self.assertEqual(self.cost("p*2 + cr*2"), 1000)
        self.assertEqual(self.cost("p*2 + cr*0"), 400)
        self.assertEqual(self.cost("p*2 + cr*0 + cc*2"), 400)
        self.assertEqual(self.cost("p*0 + cr*0 + cc*2"), 200)
        self.assertEqual(self.cost("p*0 + cc*2 + cc1h*4"), 250)
        self.assertEqual(self.cost("c*2 + img_o*20"), 190)

    def test_claude(self) -> None:
        """For Claude the prompt is without cache, its length with it."""
        self.assertEqual(self.cost("p*2", claude=True), 200)
        self.assertEqual(self.cost("len*2", claude=True), 1000)

    def test_tools_are_added(self) -> None:
        """Tool calls cost extra beside an expression."""
        model = price("m", tiered("p*2"))
        tool = (Surcharge("web_search", 1, Decimal(10)),)
        cost = pricing.quota(model, Usage(prompt=100), surcharges=tool)
        self.assertEqual(cost, 5100)

    def test_hold(self) -> None:
        """The hold is the expression at the estimate and the limit, 8192 without."""
        model = price("m", tiered("p*2 + c*20"))
        self.assertEqual(pricing.hold(model, 100, 50, 500), 600)
        self.assertEqual(pricing.hold(model, 100, None, 500), 100 + 81_920)
        self.assertEqual(pricing.need(model, 100, 50, 500), 600)

    def test_failure_at_settlement(self) -> None:
        """An expression without a value raises: the caller charges the hold."""
        model = price("m", tiered("100 / (p - 1000)"))
        with self.assertRaises(ExpressionFailed):
            pricing.quota(model, self.USAGE)
        told = pricing.explain(model, self.USAGE)
        self.assertEqual(told["matched_tier"], "")

    def test_invalid_text_is_no_price(self) -> None:
        """A model in expression mode whose text is none is refused, not free."""
        for tables in (
            tiered("p *"),
            book(billing_setting__billing_mode={"m": "tiered_expr"}),
        ):
            self.assertFalse(tables.has_price("m"))

    def test_names_are_normalised(self) -> None:
        """Expression maps find a family by any of its names."""
        tables = book(
            billing_setting__billing_mode={
                "gpt-4-gizmo-*": "tiered_expr",
                "x": "ratio",
            },
            billing_setting__billing_expr={"gpt-4-gizmo-*": "p*2"},
        )
        self.assertEqual(price("gpt-4-gizmo-abc", tables).expression, "p*2")


class NeedAndHoldTests(SynchronousTestCase):
    def test_output_without_a_limit(self) -> None:
        """Without a limit the hold takes the configured output; the need takes none."""
        model = price("gpt-4o")
        self.assertEqual(pricing.need(model, 1000, 0, 500), 1250)
        held = pricing.hold(model, 1000, None, 500, assumed_output=100)
        self.assertEqual(held, 1750)
        embedding = pricing.hold(model, 1000, None, 500, assumed_output=0)
        self.assertEqual(embedding, 1250)

    def test_several_answers(self) -> None:
        """The limit counts for each answer."""
        self.assertEqual(pricing.hold(price("gpt-4o"), 500, 100, 500, n=3), 2125)

    def test_never_below_need(self) -> None:
        """A completion ratio below 1 does not make the hold smaller than the need."""
        model = price("m", book(ModelRatio={"m": 1}, CompletionRatio={"m": 0.1}))
        self.assertEqual(pricing.hold(model, 0, 1000, 500), 1500)

    def test_spoken_answers(self) -> None:
        """A spoken answer is held at the audio price."""
        model = price("gpt-4o-audio-preview")
        held = pricing.hold(model, 500, 100, 500, audio_output=True)
        self.assertEqual(held, int((500 + 100 * 16) * 1.25))

    def test_rounding(self) -> None:
        """The need is cut, the hold rounded up."""
        model = price("m", book(ModelRatio={"m": 0.3}))
        self.assertEqual(pricing.need(model, 501, 0, 0), 150)
        self.assertEqual(pricing.hold(model, 501, 0, 0), 151)

    def test_price_per_call(self) -> None:
        """A price per call is needed and held in full, with its factors."""
        factors = {"n": Decimal(2)}
        model = price("dall-e-3")
        self.assertEqual(pricing.need(model, 9, 9, 500, factors), 40_000)
        self.assertEqual(pricing.hold(model, 9, 9, 500, other_ratios=factors), 40_000)

    def test_capped(self) -> None:
        """An absurd limit needs more than anybody can own, and no error."""
        model = price("m", book(ModelRatio={"m": 10**12}))
        self.assertEqual(pricing.need(model, 1, 10**9, 500), MAX_QUOTA)

    def test_free(self) -> None:
        """Models, prices and groups of zero are free."""
        tables = book(
            GroupRatio={"free": 0, "default": 1},
            ModelPrice={"call": 0, "paid": 1},
            billing_setting__billing_mode={"expr": "tiered_expr"},
            billing_setting__billing_expr={"expr": "p"},
        )
        for model, group, free in (
            ("gpt-4o", "default", False),
            ("gpt-4o", "free", True),
            ("glm-4-flash", "default", True),
            ("call", "default", True),
            ("paid", "default", False),
            ("expr", "default", False),
            ("expr", "free", True),
        ):
            self.assertEqual(pricing.is_free(price(model, tables, group)), free, model)


class PictureTests(SynchronousTestCase):
    def test_factors(self) -> None:
        """Size and quality count for dall-e models only, the number always."""
        for model, size, quality, n, total in (
            ("dall-e-2", "256x256", "hd", 1, "0.4"),
            ("dall-e-3", "1024x1024", "standard", 2, "2"),
            ("dall-e-3", "1024x1024", "hd", 1, "2"),
            ("dall-e-3", "1024x1792", "hd", 1, "3.0"),
            ("dall-e-3", "odd", "standard", 1, "1"),
            ("gpt-image-1", "256x256", "hd", 3, "3"),
        ):
            factors = pricing.image_ratios(model, size, quality, n)
            product = Decimal(1)
            for factor in factors.values():
                product *= factor
            self.assertEqual(product, Decimal(total), (model, size, quality))


class TaskTests(SynchronousTestCase):
    def test_price_and_factors(self) -> None:
        """A task costs its price times all factors, rounded once."""
        model = SHIPPED.task_price(
            "sora-2", user_group="default", using_group="default"
        )
        factors = {"seconds": Decimal(4), "size": Decimal("1.666667")}
        self.assertEqual(pricing.task_quota(model, factors), 1_000_000)

    def test_ratio_models(self) -> None:
        """Without a price half a dollar per ratio unit is taken, then the tokens."""
        model = price("m", book(ModelRatio={"m": 3}))
        self.assertEqual(pricing.task_quota(model), 750_000)
        tokens = pricing.task_quota_by_tokens(model, 1001, {"x": Decimal("0.5")})
        self.assertEqual(tokens, 1502)

    def test_shipped_price_stands_in(self) -> None:
        """A table of the administrator does not take away the shipped task prices."""
        tables = book(ModelPrice={})
        groups = {"user_group": "default", "using_group": "default"}
        self.assertEqual(tables.task_price("sora-2", **groups).per_call, Decimal("0.3"))
        self.assertFalse(tables.has_price("sora-2"))
        with self.assertRaises(NoPrice):
            tables.task_price("unknown", **groups)


class OpenRouterTests(SynchronousTestCase):
    MODEL = price("claude-3-7-sonnet-20250219")

    def test_write_is_inferred_from_the_cost(self) -> None:
        """The reported cost tells how many tokens were written to the cache."""
        unit = Decimal("1.5") / 500_000
        usage = Usage(prompt=3000, cached=500, completion=100)
        plain = usage.prompt * unit - usage.cached * unit * Decimal("0.9")
        cost = plain + 100 * unit * 5 + 800 * unit * Decimal("0.25")
        self.assertEqual(pricing.inferred_write(self.MODEL, usage, cost), 800)

    def test_implausible_is_none(self) -> None:
        """A number outside the prompt, or no difference in price, infers nothing."""
        usage = Usage(prompt=10)
        for cost in (Decimal(0), Decimal(1)):
            self.assertEqual(pricing.inferred_write(self.MODEL, usage, cost), 0)
        flat = price("m", book(ModelRatio={"m": 1}, CreateCacheRatio={"m": 1}))
        self.assertEqual(pricing.inferred_write(flat, usage, Decimal(1)), 0)


class RuleTests(SynchronousTestCase):
    def test_shipped_completion_ratios(self) -> None:
        """The rules and shipped entries give the effective ratio of each table row."""
        for model, ratio in shipped("completion_ratio").items():
            if SHIPPED.has_price(model):
                found = price(model).completion_ratio
                self.assertApproximates(float(found), float(ratio), 1e-6)

    def test_rules(self) -> None:
        """Names not in the table follow their family; the first rule that fits wins."""
        for name, ratio, locked in (
            ("x-all", "2", False),
            ("gpt-4o-mini-tts-x", "20", False),
            ("gpt-5-codex", "8", True),
            ("gpt-5.1", "6", False),
            ("gpt-5.4-nano-x", "6.25", True),
            ("gpt-5.4-x", "6", True),
            ("my-gpt-4-1106", "3", True),
            ("gpt-3.5-turbo-0125", "2", False),
            ("o3-mini-high", "4", True),
            ("o4-mini", "1", False),
            ("anthropic.claude-opus-4-x", "5", True),
            ("mistral-large", "3", True),
            ("gemini-3-pro-image-preview", "60", False),
            ("gemini-3-pro-preview", "6", False),
            ("gemini-9", "4", False),
            ("command-r-plus", "5", True),
            ("command-x", "4", False),
            ("ERNIE-Character-8K", "2", True),
            ("llama2-70b-4096", "1.25", True),
            ("anything", "1", False),
        ):
            rule = completion_rule(name)
            self.assertEqual((rule.ratio, rule.locked), (Decimal(ratio), locked), name)

    def test_normalised_names(self) -> None:
        """Families share one look-up name; flash-lite is not flash."""
        for name, family in (
            ("gpt-4-gizmo-g-1", "gpt-4-gizmo-*"),
            ("gpt-4o-gizmo-g-1", "gpt-4o-gizmo-*"),
            ("gemini-2.5-flash-lite-preview-06-17-thinking-128",
             "gemini-2.5-flash-lite-thinking-*"),
            ("gemini-2.5-flash-thinking-0", "gemini-2.5-flash-thinking-*"),
            ("gemini-2.5-pro-preview-thinking-99", "gemini-2.5-pro-thinking-*"),
            ("gemini-2.5-pro-thinking", "gemini-2.5-pro-thinking"),
            ("gpt-4o", "gpt-4o"),
        ):  # fmt: skip
            self.assertEqual(normalise(name), family)

    def test_suffixes(self) -> None:
        """One suffix is taken off at a time; a name that is all suffix has none."""
        self.assertEqual(without_suffix("o3-high"), "o3")
        self.assertEqual(without_suffix("m-thinking-128"), "m")
        self.assertEqual(without_suffix("gpt-4o"), "")
        self.assertEqual(without_suffix("-high"), "")

    def test_audio_input(self) -> None:
        """Gemini families have a price for audio input, the longest name first."""
        family = "gemini-2.5-flash"
        self.assertEqual(audio_input_price(f"{family}-preview-native-audio"), 3)
        self.assertEqual(audio_input_price(f"{family}-preview-lite"), Decimal("0.5"))
        self.assertEqual(audio_input_price(f"{family}-lite"), 1)
        self.assertIsNone(audio_input_price("gemini-2.5-pro"))


class BookTests(SynchronousTestCase):
    def test_no_price(self) -> None:
        """An unpriced model is refused, with the place to price it."""
        with self.assertRaises(NoPrice) as caught:
            price("nobody-knows")
        self.assertEqual(caught.exception.status, 400)
        self.assertEqual(caught.exception.code, "model_price_error")
        self.assertFalse(SHIPPED.has_price("nobody-knows"))

    def test_accepted_without_a_price(self) -> None:
        """Users who accept it, and everybody in self-use mode, pay the ratio 37.5."""
        accepted = SHIPPED.price(
            "nobody-knows", user_group="a", using_group="a", accept_unset=True
        )
        self.assertEqual(accepted.model_ratio, Decimal("37.5"))
        everyone = price("nobody-knows", book(SelfUseModeEnabled="true"))
        self.assertEqual(everyone.model_ratio, Decimal("37.5"))

    def test_order(self) -> None:
        """An expression beats a price per call, which beats a ratio."""
        rows: Mapping[str, Any] = {"ModelRatio": {"m": 2}, "ModelPrice": {"m": 0.1}}
        self.assertEqual(price("m", book(**rows)).per_call, Decimal("0.1"))
        self.assertEqual(price("m", tiered("p", **rows)).expression, "p")

    def test_suffix_falls_back(self) -> None:
        """An unlisted suffix costs what the name without it costs."""
        self.assertEqual(price("o1-high").model_ratio, Decimal("7.5"))
        thinking = price("claude-sonnet-4-20250514-thinking")
        self.assertEqual(thinking.model_ratio, Decimal("1.5"))
        self.assertEqual(thinking.cache_ratio, Decimal("0.1"))
        self.assertEqual(price("o3-mini-high").model_ratio, Decimal("0.55"))
        nothinking = price("gemini-2.5-flash-preview-05-20-nothinking")
        self.assertEqual(nothinking.completion_ratio, 4)
        self.assertEqual(price("gpt-4o-online-high").model_ratio, Decimal("1.25"))

    def test_unreachable_shipped_name(self) -> None:
        """Both spellings of the flash-lite thinking family have a price."""
        for name in (
            "gemini-2.5-flash-lite-preview-thinking-*",
            "gemini-2.5-flash-lite-preview-06-17-thinking-512",
        ):
            self.assertEqual(price(name).model_ratio, Decimal("0.05"), name)

    def test_compact(self) -> None:
        """Compact requests share one entry unless the model has its own."""
        tables = book(
            ModelRatio={"*-openai-compact": 1, "own-openai-compact": 2, "x": 3}
        )
        self.assertEqual(price("any-openai-compact", tables).model_ratio, 1)
        self.assertEqual(price("own-openai-compact", tables).model_ratio, 2)

    def test_locked_completion_ratios(self) -> None:
        """A locked rule beats an own entry, except for names with a slash."""
        own = {"o3": 9, "openai/o3": 9, "gpt-4.1": 9}
        tables = book(CompletionRatio=own, ModelRatio=dict.fromkeys(own, 1))
        self.assertEqual(price("o3", tables).completion_ratio, 4)
        self.assertEqual(price("openai/o3", tables).completion_ratio, 9)
        self.assertEqual(price("gpt-4.1", tables).completion_ratio, 9)
        free = book(CompletionRatio=own, billing__allow_locked_override="true")
        self.assertEqual(price("o3", free).completion_ratio, 9)

    def test_missing_ratios(self) -> None:
        """Missing entries have the documented defaults."""
        model = price("m", book(ModelRatio={"m": 1}))
        self.assertEqual(model.cache_ratio, 1)
        self.assertEqual(model.write_ratio, Decimal("1.25"))
        self.assertEqual(model.write_1h_ratio, 2)
        self.assertEqual(model.image_ratio, 1)
        self.assertFalse(model.has_audio_ratio)

    def test_audio_entry_by_its_exact_name(self) -> None:
        """An exact audio completion entry beats the family's."""
        name = "gpt-4o-realtime-preview"
        tables = book(AudioCompletionRatio={name: 3, "gpt-4o-realtime": 2})
        self.assertEqual(price(name, tables).audio_completion_ratio, 3)

    def test_group_ratio(self) -> None:
        """Special, then the group's own, then 1."""
        tables = book(GroupRatio={"g": 2}, GroupGroupRatio={"a": {"g": 0}})
        self.assertEqual(tables.group_ratio("a", "g"), (0, 0))
        self.assertEqual(tables.group_ratio("b", "g"), (2, None))
        self.assertEqual(tables.group_ratio("b", "none"), (1, None))
        self.assertTrue(tables.has_group("g"))
        self.assertFalse(tables.has_group("none"))

    def test_unit(self) -> None:
        """The unit of the options is the unit of the price."""
        self.assertEqual(price("gpt-4o", book(QuotaPerUnit="1000000")).unit, 1_000_000)

    def test_memory_is_bounded(self) -> None:
        """Names that clients invent do not fill the memory."""
        tables = book()
        for n in range(price_book._KNOWN_SIZE + 10):
            tables.has_price(f"invented-{n}")
        self.assertLess(len(tables._known), 20)
        self.assertTrue(tables.has_price("gpt-4o"))

    def test_completion_meta(self) -> None:
        """Every priced model's completion ratio is told with its lock."""
        meta = SHIPPED.completion_meta()
        self.assertEqual(meta["o3"], {"ratio": 4, "locked": True})
        self.assertEqual(meta["gpt-4.1"], {"ratio": 2, "locked": False})


class ToolTests(SynchronousTestCase):
    def test_prices_by_model(self) -> None:
        """The longest model prefix wins; names without a price are left out."""
        for model, tool, expected in (
            ("gpt-4o-mini", "web_search_preview", 25),
            ("gpt-5", "web_search_preview", 10),
            ("gpt-5", "web_search", 10),
            ("gemini-2.5-pro", "google_search", 14),
            ("gpt-5", "file_search", Decimal("2.5")),
            ("gpt-5", "image_generation", 150),
        ):
            (item,) = SHIPPED.surcharges(model, {tool: 2, "my_function": 9, "x": 0})
            self.assertEqual((item.name, item.count, item.price), (tool, 2, expected))

    def test_own_prices(self) -> None:
        """Any function may be given a price, also by model."""
        tables = book(
            tool_price_setting__prices={
                "f": 1,
                "f:gpt*": 2,
                "f:gpt-5*": 3,
                "web_search": 0,
            }
        )
        for model, expected in (("x", 1), ("gpt-4o", 2), ("gpt-5-mini", 3)):
            (item,) = tables.surcharges(model, {"f": 1, "web_search": 4})
            self.assertEqual(item.price, expected)

    def test_search_models(self) -> None:
        """A chat model made for searching counts one search, unless it counted."""
        name = "gpt-4o-search-preview"
        self.assertEqual(SHIPPED.surcharges(name, {})[0].price, 25)
        counted = SHIPPED.surcharges(name, {"web_search_preview": 3})
        self.assertEqual([item.count for item in counted], [3])
        self.assertEqual(SHIPPED.surcharges(name, {}, responses_route=True), ())

    def test_violation_fee(self) -> None:
        """A refusal for content policy costs the fee times the group."""
        tables = book(GroupRatio={"g": 2})
        self.assertEqual(tables.violation_fee(price("gpt-4o", tables, "g")), 50_000)
        off = book(grok__violation_deduction_enabled="false")
        self.assertEqual(off.violation_fee(price("gpt-4o", off)), 0)


class ExplainTests(SynchronousTestCase):
    def test_plain(self) -> None:
        """A token-priced call tells the ratios; -1 stands for none."""
        told = pricing.explain(price("gpt-4o"), Usage(prompt=10, cached=4))
        self.assertEqual(
            told,
            {
                "model_ratio": 1.25,
                "group_ratio": 1,
                "completion_ratio": 4,
                "cache_tokens": 4,
                "cache_ratio": 0.5,
                "model_price": -1,
                "user_group_ratio": -1,
            },
        )
        self.assertIsInstance(told["group_ratio"], int)

    def test_special_group_and_price(self) -> None:
        """A special group ratio and a price per call are told."""
        tables = book(ModelPrice={"m": 0.1}, GroupGroupRatio={"a": {"g": 0.9}})
        told = pricing.explain(price("m", tables, "a", "g"), Usage())
        self.assertEqual(told["user_group_ratio"], 0.9)
        self.assertEqual(told["group_ratio"], 0.9)
        self.assertEqual(told["model_price"], 0.1)
        self.assertEqual(told["model_ratio"], 0)

    def test_claude(self) -> None:
        """Cache writes are told in parts, with the marks of a Claude upstream."""
        model = price("claude-3-7-sonnet-20250219")
        usage = Usage(prompt=100, write=30, write_5m=20, write_1h=10)
        told = pricing.explain(model, usage, claude=True)
        self.assertEqual(told["usage_semantic"], "anthropic")
        self.assertIs(told["claude"], True)
        self.assertEqual(told["cache_creation_tokens"], 30)
        self.assertEqual(told["cache_creation_tokens_5m"], 20)
        self.assertEqual(told["cache_creation_ratio_1h"], 2)
        self.assertEqual(told["cache_write_tokens"], 30)
        none = pricing.explain(model, Usage(prompt=1), claude=True)
        self.assertEqual(none["cache_creation_tokens"], 0)
        self.assertNotIn("cache_write_tokens", none)

    def test_audio_and_pictures(self) -> None:
        """Audio, realtime and picture counts are told with their ratios."""
        audio = price("gpt-4o-audio-preview")
        usage = Usage(prompt=300, completion=350, audio_in=200, audio_out=300)
        told = pricing.explain(audio, usage)
        self.assertIs(told["audio"], True)
        self.assertEqual((told["text_input"], told["text_output"]), (100, 50))
        self.assertEqual(told["audio_ratio"], 16)
        session = pricing.explain(audio, usage, realtime=True)
        self.assertIs(session["ws"], True)
        picture = pricing.explain(price("gpt-image-1"), Usage(prompt=9, image_in=5))
        self.assertEqual((picture["image_ratio"], picture["image_output"]), (2, 5))

    def test_separate_audio_price(self) -> None:
        """The misspelt key of the reference is kept."""
        usage = Usage(prompt=100, audio_in=40)
        told = pricing.explain(price("gemini-2.5-flash"), usage)
        self.assertIs(told["audio_input_seperate_price"], True)
        self.assertEqual(told["audio_input_token_count"], 40)
        self.assertEqual(told["audio_input_price"], 1)

    def test_tools(self) -> None:
        """Tool calls are listed."""
        extra = SHIPPED.surcharges("gpt-4o", {"file_search": 2})
        told = pricing.explain(price("gpt-4o"), Usage(), surcharges=extra)
        self.assertEqual(
            told["tool_surcharges"], [{"name": "file_search", "count": 2, "price": 2.5}]
        )

    def test_expression(self) -> None:
        """The expression and the tier that it chose are told."""
        text = 'len > 5 ? tier("long", p*2) : tier("base", p)'
        told = pricing.explain(price("m", tiered(text)), Usage(prompt=10))
        self.assertEqual(told["billing_mode"], "tiered_expr")
        self.assertEqual(told["expr_b64"], b64encode(text.encode()).decode())
        self.assertEqual(told["matched_tier"], "long")
