"""Reasoning models and model names of the OpenAI family."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import InvalidRequest
from knight_tw.providers.openai import OPENAI
from knight_tw.providers.openai_family import (
    apply_effort,
    fit_reasoning,
    prepare,
    take_suffix,
    write_model,
)
from knight_tw.records import Dialect, Mode
from tests.providers.attempts import prepared, target

SYSTEM = {"role": "system", "content": "s", "name": "n"}
USER = {"role": "user", "content": "u"}


def sent(model: str, mode: Mode = Mode.CHAT, *, of: Any = None, **members: Any) -> Any:
    """The body that goes to OpenAI for a model name."""
    aim = target(mode, model, **(of or {}))
    found = prepared(OPENAI, aim, model="client", **members)
    assert found["model"] == aim.model
    return found


class Efforts(SynchronousTestCase):
    """An effort at the end of a model's name."""

    def test_chat(self) -> None:
        """The suffix becomes `reasoning_effort`; the name loses it."""
        for name, model, effort in (
            ("o3-mini-high", "o3-mini", "high"),
            ("gpt-5-minimal", "gpt-5", "minimal"),
            ("gpt-5.2-none", "gpt-5.2", "none"),
            ("gpt-5-max", "gpt-5", "max"),
            ("gpt-12-xhigh", "gpt-12", "xhigh"),
            ("gpt-5.1-codex-max-low", "gpt-5.1-codex-max", "low"),
        ):
            with self.subTest(name=name):
                found = sent(name)
                self.assertEqual(found, {"model": model, "reasoning_effort": effort})

    def test_names_that_only_look_like_it(self) -> None:
        """Other families, whole names and unknown names before `-max` stay."""
        for name in (
            "gpt-4o-high",
            "gpt-5.1-codex-max",
            "gpt-99-max",
            "claude-high",
            "gpt-5",
            "gpt-5-turbo",
            "my-o3-high",
        ):
            with self.subTest(name=name):
                self.assertEqual(sent(name), {"model": name})

    def test_max_behind_a_listed_model(self) -> None:
        """A model that the channel lists is a known one."""
        found = sent("gpt-99-max", of={"models": ("gpt-99",)})
        self.assertEqual(found, {"model": "gpt-99", "reasoning_effort": "max"})

    def test_responses(self) -> None:
        """In Responses the effort joins the other reasoning members."""
        for mode in (Mode.RESPONSES, Mode.COMPACT):
            found = sent("o3-high", mode, reasoning={"summary": "auto"})
            expected = {"summary": "auto", "effort": "high"}
            self.assertEqual(found, {"model": "o3", "reasoning": expected})
        found = sent("o3-low", Mode.RESPONSES, reasoning=None)
        self.assertEqual(found["reasoning"], {"effort": "low"})
        self.assertEqual(sent("o3", Mode.RESPONSES), {"model": "o3"})

    def test_other_work(self) -> None:
        """Embeddings and the like keep the name."""
        self.assertEqual(sent("o3-high", Mode.EMBEDDINGS), {"model": "o3-high"})

    def test_opted_out(self) -> None:
        """A name that the channel lists and maps to itself is a model's own name."""
        of = {"models": ("o3-high",), "model_mapping": {"o3-high": "o3-high"}}
        self.assertEqual(sent("o3-high", of=of), {"model": "o3-high"})


class Reasoning(SynchronousTestCase):
    """Fields that reasoning models refuse."""

    def test_limit(self) -> None:
        """The output limit gets its newer name, unless that is there."""
        for model in ("o1", "o3-mini", "gpt-5", "gpt-5-chat-latest"):
            self.assertEqual(sent(model, max_tokens=5)["max_completion_tokens"], 5)
        found = sent("o1", max_tokens=5, max_completion_tokens=7)
        self.assertEqual(found, {"model": "o1", "max_completion_tokens": 7})
        self.assertEqual(sent("gpt-4o", max_tokens=5)["max_tokens"], 5)

    def test_sampling(self) -> None:
        """Sampling fields go where they are refused."""
        sampling = {"temperature": 1, "top_p": 0.5, "logprobs": True, "top_logprobs": 2}
        for model, kept, effort in (
            ("o1", {"top_p", "logprobs", "top_logprobs"}, {}),
            ("gpt-5", set(), {}),
            ("gpt-5", set(), {"reasoning_effort": "low"}),
            ("gpt-5.2", set(sampling), {"reasoning_effort": "none"}),
            ("gpt-5.2-none", set(sampling), {}),
            ("gpt-5-chat-latest", set(sampling), {}),
            ("gpt-4o", set(sampling), {}),
        ):
            with self.subTest(model=model, effort=effort):
                found = sent(model, **sampling, **effort)
                self.assertEqual(found.keys() & sampling.keys(), kept)

    def test_developer(self) -> None:
        """The first system message becomes a developer message, where that exists."""
        messages = [USER, SYSTEM, SYSTEM]
        changed = [USER, {**SYSTEM, "role": "developer"}, SYSTEM]
        for model, expected in (
            ("o3", changed),
            ("gpt-5", changed),
            ("o1-mini", messages),
            ("o1-preview-2024", messages),
            ("gpt-4o", messages),
        ):
            self.assertEqual(sent(model, messages=messages)["messages"], expected)
        says = [{"role": "user", "content": 'the word "system"'}]
        self.assertEqual(sent("o3", messages=says)["messages"], says)

    def test_developer_in_decoded_messages(self) -> None:
        """Messages that were built by a conversion are changed too."""
        messages = [SYSTEM, USER]
        body: dict[str, Any] = {"messages": messages}
        fit_reasoning(body, "o3")
        self.assertEqual(body["messages"][0]["role"], "developer")
        self.assertEqual(messages[0]["role"], "system")

    def test_refused(self) -> None:
        """Messages that are no list are refused by name."""
        body = {"messages": Raw(b'{"role":"system"}')}
        error = self.assertRaises(InvalidRequest, fit_reasoning, body, "o3")
        self.assertEqual(error.param, "messages")

    def test_untouched(self) -> None:
        """Other models' bodies change in nothing but the name."""
        messages = Raw(b'[ {"role":"system"} ]')
        body: dict[str, Any] = {"messages": messages, "x": 1}
        prepare(body, target(model="gpt-4o"))
        self.assertIs(body["messages"], messages)
        self.assertEqual(body["model"], "gpt-4o")


class Untouched(SynchronousTestCase):
    """Models that are no reasoning models."""

    @given(
        st.builds(
            "".join,
            st.lists(
                st.sampled_from(
                    ("o", "1", "3", "gpt-", "4o", "5", "-high", "-mini", "x", "-max")
                ),
                max_size=4,
            ),
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_passed_over(self, model: str) -> None:
        """For any name `prepare` does what its three steps do."""
        sent = {"model": model, "max_tokens": 5, "temperature": 1, "messages": []}
        short, long = target(model=model), target(model=model)
        body, steps = dict(sent), dict(sent)
        prepare(body, short)
        apply_effort(steps, long)
        fit_reasoning(steps, long.model)
        write_model(steps, long)
        self.assertEqual((body, short.model), (steps, long.model))


class Names(SynchronousTestCase):
    """Model names in bodies."""

    def test_gemini_has_none(self) -> None:
        """A Gemini body names no model."""
        body: dict[str, Any] = {}
        prepare(body, target(Mode.GEMINI, dialect=Dialect.GEMINI))
        self.assertEqual(body, {})

    def test_suffixes(self) -> None:
        """A suffix is cut when it is there, is not all, and is not to be kept."""
        aim = target(model="a-thinking")
        self.assertTrue(take_suffix(aim, "-thinking"))
        self.assertEqual(aim.model, "a")
        for model, options in (
            ("-thinking", {}),
            ("other", {}),
            ("kimi-k2-thinking", {}),
            ("mine-thinking", {"global.thinking_model_blacklist": ["mine-thinking"]}),
        ):
            aim = target(model=model, options=options)
            self.assertFalse(take_suffix(aim, "-thinking"))
            self.assertEqual(aim.model, model)
