"""Claude's usage objects."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Usage
from knight_tw.wire import claude_usage


class Reading(SynchronousTestCase):
    """`read_usage`."""

    def test_the_cache_is_part_of_the_prompt(self) -> None:
        """Prompt tokens include what was read from and written to the cache."""
        usage = claude_usage.read_usage(
            {
                "input_tokens": 12,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
                "cache_creation": {
                    "ephemeral_5m_input_tokens": 10,
                    "ephemeral_1h_input_tokens": 30,
                },
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 11},
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
            }
        )
        wanted = Usage(
            prompt=162,
            completion=40,
            cached=100,
            write=50,
            write_5m=20,
            write_1h=30,
            reasoning=11,
            total=202,
            tool_calls={"web_search": 2},
        )
        self.assertEqual(usage, wanted)

    def test_nothing(self) -> None:
        """Zeros, and what is no object, are nothing; odd members are ignored."""
        for nothing in (None, [], {}, {"input_tokens": 0, "output_tokens": None}):
            self.assertIsNone(claude_usage.read_usage(nothing))
        odd = {"input_tokens": 1, "cache_creation": 3, "output_tokens_details": 3}
        usage = claude_usage.read_usage(odd | {"server_tool_use": 3})
        self.assertEqual(usage, Usage(prompt=1, total=1))

    def test_the_larger_of_total_and_split(self) -> None:
        """A split that sums to more than the total counts."""
        split = {"ephemeral_1h_input_tokens": 30}
        obj = {"cache_creation_input_tokens": 5, "cache_creation": split}
        write, parts = claude_usage.cache_writes(obj)
        self.assertEqual((write, *parts.values()), (30, 0, 30))


class Merging(SynchronousTestCase):
    """`merged`."""

    def test_the_last_that_is_not_zero(self) -> None:
        """Zeros and nulls do not replace what was reported before."""
        start = {"input_tokens": 9, "output_tokens": 1}
        delta = {"input_tokens": 0, "output_tokens": 20, "odd": None}
        wanted = {"input_tokens": 9, "output_tokens": 20, "odd": None}
        self.assertEqual(claude_usage.merged(start, delta), wanted)
        self.assertEqual(claude_usage.merged(start, None), start)
