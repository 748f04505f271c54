"""The usage object."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Usage
from knight_tw.wire import usage as wire
from knight_tw.wire.usage import count, read_usage, to_object

FULL = {
    "prompt_tokens": 100,
    "completion_tokens": 50,
    "total_tokens": 150,
    "prompt_tokens_details": {
        "cached_tokens": 10,
        "cache_write_tokens": 20,
        "audio_tokens": 3,
        "image_tokens": 4,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 15,
            "ephemeral_1h_input_tokens": 5,
        },
    },
    "completion_tokens_details": {
        "reasoning_tokens": 7,
        "audio_tokens": 8,
        "image_tokens": 9,
    },
    "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
}
READ = Usage(
    prompt=100,
    completion=50,
    total=150,
    cached=10,
    write=20,
    write_5m=15,
    write_1h=5,
    audio_in=3,
    image_in=4,
    reasoning=7,
    audio_out=8,
    image_out=9,
    tool_calls={"web_search": 2},
)


class Reading(SynchronousTestCase):
    """`read_usage`."""

    def test_everything(self) -> None:
        """Each count of the full object is read."""
        self.assertEqual(read_usage(FULL), READ)

    def test_the_other_spelling(self) -> None:
        """Responses and images say input and output."""
        found = read_usage(
            {
                "input_tokens": 5,
                "output_tokens": 6,
                "total_tokens": 11,
                "input_tokens_details": {"cached_tokens": 1},
                "output_tokens_details": {"reasoning_tokens": 2},
            }
        )
        expected = Usage(prompt=5, completion=6, total=11, cached=1, reasoning=2)
        self.assertEqual(found, expected)

    def test_missing_counts(self) -> None:
        """A missing count is what the total leaves; without a total it is the sum."""
        for obj, prompt, completion, total in (
            ({"total_tokens": 12}, 12, 0, 12),
            ({"prompt_tokens": 5, "total_tokens": 12}, 5, 7, 12),
            ({"completion_tokens": 5, "total_tokens": 12}, 7, 5, 12),
            ({"prompt_tokens": 5, "completion_tokens": 6}, 5, 6, 11),
            ({"prompt_tokens": None, "total_tokens": 3}, 3, 0, 3),
        ):
            with self.subTest(obj=obj):
                found = read_usage(obj)
                expected = Usage(prompt=prompt, completion=completion, total=total)
                self.assertEqual(found, expected)

    def test_reasoning_beside_the_completion(self) -> None:
        """Reasoning that the sum shows as separate becomes part of the completion."""
        obj = {
            "prompt_tokens": 12,
            "completion_tokens": 1,
            "total_tokens": 303,
            "completion_tokens_details": {"reasoning_tokens": 290},
        }
        found = read_usage(obj)
        assert found is not None
        self.assertEqual((found.completion, found.reasoning), (291, 290))

    def test_nothing(self) -> None:
        """No object, and one of zeros, report nothing."""
        zeros = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
        for obj in (None, [], "x", {}, zeros, {"prompt_tokens": "5"}):
            self.assertIsNone(read_usage(obj))

    def test_a_split_larger_than_its_sum(self) -> None:
        """The parts of the cache creation count when they say more than the whole."""
        details = {
            "cache_write_tokens": 1,
            "cache_creation": {"ephemeral_5m_input_tokens": 4},
        }
        found = read_usage({"prompt_tokens": 9, "prompt_tokens_details": details})
        assert found is not None
        self.assertEqual((found.write, found.write_5m), (4, 4))

    def test_a_providers_spelling(self) -> None:
        """The provider's completion runs first."""

        def complete(obj: dict[str, Any]) -> None:
            obj["prompt_tokens"] = obj["mine"]

        found = read_usage({"mine": 4, "completion_tokens": 1}, complete)
        self.assertEqual(found, Usage(prompt=4, completion=1, total=5))

    def test_what_is_no_count(self) -> None:
        """Odd values count as zero, large ones are cut."""
        nan = float("nan")
        for value in (None, "3", True, -1, nan, [], {}):
            self.assertEqual(count(value), 0)
        self.assertEqual(count(3.9), 3)
        self.assertEqual(count(10**30), wire.MOST)
        self.assertEqual(count(float("inf")), wire.MOST)

    @settings(max_examples=80, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([*FULL, "input_tokens", "output_tokens"]),
            st.none()
            | st.integers(-5, 10**20)
            | st.text(max_size=3)
            | st.floats()
            | st.dictionaries(
                st.sampled_from(["cached_tokens", "cache_creation"]),
                st.integers() | st.none() | st.just({}),
            ),
        )
    )
    def test_never_fails(self, obj: dict[str, Any]) -> None:
        """Whatever a provider sends, counts are whole and not negative."""
        found = read_usage(obj)
        if found is not None:
            self.assertTrue(0 <= found.prompt <= 2 * wire.MOST)
            self.assertTrue(found.total > 0)


class Writing(SynchronousTestCase):
    """`to_object`."""

    def test_everything(self) -> None:
        """The full object comes back, but for a tool that was not used."""
        obj = to_object(READ)
        expected = {**FULL, "server_tool_use": {"web_search_requests": 2}}
        self.assertEqual(obj, expected)

    def test_no_details(self) -> None:
        """Without details there are no details objects."""
        self.assertEqual(
            to_object(Usage(prompt=1, completion=2)),
            {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
        )

    def test_always_there(self) -> None:
        """One known detail brings the members that OpenAI always sends."""
        obj = to_object(Usage(prompt=1, cached=1, reasoning=2))
        self.assertEqual(
            obj["prompt_tokens_details"], {"cached_tokens": 1, "audio_tokens": 0}
        )
        self.assertEqual(
            obj["completion_tokens_details"], {"reasoning_tokens": 2, "audio_tokens": 0}
        )

    @settings(max_examples=60, deadline=None)
    @given(
        st.builds(
            Usage,
            prompt=st.integers(1, 10**6),
            completion=st.integers(1, 10**6),
            cached=st.integers(0, 99),
            reasoning=st.just(0),
            audio_out=st.integers(0, 99),
            image_in=st.integers(0, 99),
        )
    )
    def test_there_and_back(self, usage: Usage) -> None:
        """What is written is read as the same usage, its total filled."""
        found = read_usage(to_object(usage))
        assert found is not None
        self.assertEqual(to_object(found), to_object(usage))
        self.assertEqual(found.total, usage.prompt + usage.completion)
