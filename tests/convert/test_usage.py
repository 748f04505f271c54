"""Usage objects of all dialects."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import usage

COUNTS = st.integers(0, 10**6)


class Claude(SynchronousTestCase):
    """Claude's counts leave out the cache."""

    def test_nothing_reported_beyond_the_totals(self) -> None:
        """Details appear only when the provider reported one of their values."""
        self.assertEqual(
            usage.from_claude({"input_tokens": 9, "output_tokens": 20}),
            {"prompt_tokens": 9, "completion_tokens": 20, "total_tokens": 29},
        )
        self.assertEqual(usage.from_claude(None)["total_tokens"], 0)

    def test_reported_zeros_are_shown(self) -> None:
        """A cache count that is reported as 0 is known."""
        x = usage.from_claude({"input_tokens": 1, "cache_read_input_tokens": 0})
        details = {"cached_tokens": 0, "audio_tokens": 0}
        self.assertEqual(x["prompt_tokens_details"], details)

    def test_the_rest_of_the_writes_lasts_five_minutes(self) -> None:
        """A split that is larger than the total counts; a smaller one is filled up."""
        split = {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 30}
        for total, wanted in ((50, (50, 20, 30)), (0, (40, 10, 30))):
            x = usage.from_claude(
                {"cache_creation_input_tokens": total, "cache_creation": split}
            )
            details = x["prompt_tokens_details"]
            short, long = details["cache_creation"].values()
            self.assertEqual((details["cache_write_tokens"], short, long), wanted)

    def test_writes_without_a_split_last_five_minutes(self) -> None:
        """Claude's clients always get the split of what was written."""
        claude = usage.to_claude({"prompt_tokens_details": {"cache_write_tokens": 7}})
        self.assertEqual(claude["cache_creation"]["ephemeral_5m_input_tokens"], 7)
        self.assertNotIn("cache_creation", usage.to_claude({}))

    def test_own_tools(self) -> None:
        """Uses of the provider's tools travel both ways, unused ones do not."""
        given_ = {"server_tool_use": {"web_search_requests": 2, "odd": 1}}
        x = usage.from_claude(given_)
        self.assertEqual(x["server_tool_use"], {"web_search_requests": 2})
        back = usage.to_claude(x)["server_tool_use"]
        self.assertEqual(back, {"web_search_requests": 2, "web_fetch_requests": 0})
        self.assertNotIn("server_tool_use", usage.from_claude({"server_tool_use": {}}))

    @settings(max_examples=60, deadline=None)
    @given(COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)
    def test_round_trip(
        self, plain: int, cached: int, short: int, long: int, out: int
    ) -> None:
        """From Claude and back nothing is counted twice or lost."""
        claude: dict[str, Any] = {
            "input_tokens": plain,
            "cache_read_input_tokens": cached,
            "cache_creation_input_tokens": short + long,
            "output_tokens": out,
        }
        if short + long:
            claude["cache_creation"] = {
                "ephemeral_5m_input_tokens": short,
                "ephemeral_1h_input_tokens": long,
            }
        self.assertEqual(usage.to_claude(usage.from_claude(claude)), claude)


class Chat(SynchronousTestCase):
    """Providers of chat spell it in their own ways."""

    def test_cached_tokens_in_other_places(self) -> None:
        """DeepSeek's and Moonshot's counts are found, OpenAI's own wins."""
        for name in ("prompt_cache_hit_tokens", "cached_tokens"):
            x = usage.from_chat({"prompt_tokens": 9, name: 4})
            self.assertEqual(x["prompt_tokens_details"]["cached_tokens"], 4)
        own = {"prompt_tokens_details": {"cached_tokens": 3}, "cached_tokens": 9}
        x = usage.from_chat(own)
        self.assertEqual(x["prompt_tokens_details"]["cached_tokens"], 3)

    def test_reasoning_beside_the_completion(self) -> None:
        """Where the sum shows it, reasoning is added to the completion."""
        counts = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 22}
        details = {"completion_tokens_details": {"reasoning_tokens": 7}}
        x = usage.from_chat(counts | details)
        self.assertEqual((x["completion_tokens"], x["total_tokens"]), (12, 22))

    def test_all_details_go_on(self) -> None:
        """Numbers and the cache split stay; nulls and other things do not."""
        split = {"ephemeral_1h_input_tokens": 1}
        x = usage.from_chat(
            {
                "input_tokens": 3,
                "output_tokens": 4,
                "prompt_tokens_details": {
                    "audio_tokens": 1,
                    "odd": "x",
                    "image_tokens": None,
                    "cache_creation": split,
                },
                "server_tool_use": {"web_fetch_requests": 1},
            }
        )
        wanted = {"cached_tokens": 0, "audio_tokens": 1, "cache_creation": split}
        self.assertEqual(x["prompt_tokens_details"], wanted)
        self.assertEqual((x["prompt_tokens"], x["completion_tokens"]), (3, 4))
        self.assertEqual(x["server_tool_use"], {"web_fetch_requests": 1})


class Gemini(SynchronousTestCase):
    """Gemini's counts leave out the thoughts."""

    def test_modalities_are_summed(self) -> None:
        """Documents are text; the tools' own prompt counts as prompt."""
        x = usage.from_gemini(
            {
                "promptTokenCount": 30,
                "toolUsePromptTokenCount": 5,
                "candidatesTokenCount": 4,
                "promptTokensDetails": [
                    {"modality": "TEXT", "tokenCount": 10},
                    {"modality": "DOCUMENT", "tokenCount": 15},
                    {"modality": "AUDIO", "tokenCount": 5},
                    {"modality": "ODD", "tokenCount": 5},
                ],
                "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 5}],
                "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 4}],
            }
        )
        wanted = {"tool_use_tokens": 5, "text_tokens": 30, "audio_tokens": 5}
        self.assertEqual(x["prompt_tokens"], 35)
        self.assertEqual(x["prompt_tokens_details"], {"cached_tokens": 0} | wanted)
        out = {"reasoning_tokens": 0, "audio_tokens": 0, "image_tokens": 4}
        self.assertEqual(x["completion_tokens_details"], out)

    def test_the_total_tells_what_is_missing(self) -> None:
        """Without counts of the answer it is what the total leaves."""
        x = usage.from_gemini({"promptTokenCount": 3, "totalTokenCount": 8})
        self.assertEqual((x["completion_tokens"], x["total_tokens"]), (5, 8))

    def test_back_to_gemini(self) -> None:
        """Thoughts, caches and tools are taken apart again."""
        gemini = {
            "promptTokenCount": 30,
            "cachedContentTokenCount": 10,
            "toolUsePromptTokenCount": 5,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
            "candidatesTokenCount": 4,
            "thoughtsTokenCount": 6,
            "totalTokenCount": 45,
        }
        self.assertEqual(usage.to_gemini(usage.from_gemini(gemini)), gemini)
        zero = {"promptTokenCount": 0, "candidatesTokenCount": 0, "totalTokenCount": 0}
        self.assertEqual(usage.to_gemini(None), zero)


class Responses(SynchronousTestCase):
    """Responses' counts differ in name only."""

    def test_required_members_are_written(self) -> None:
        """Current clients demand the three details, as 0 when unknown."""
        self.assertEqual(
            usage.to_responses({"prompt_tokens": 5, "completion_tokens": 3}),
            {
                "input_tokens": 5,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": 3,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": 8,
            },
        )

    @settings(max_examples=40, deadline=None)
    @given(COUNTS, COUNTS, COUNTS, COUNTS)
    def test_round_trip(self, prompt: int, out: int, cached: int, think: int) -> None:
        """From Responses and back is the same."""
        responses = {
            "input_tokens": prompt,
            "input_tokens_details": {"cached_tokens": cached, "cache_write_tokens": 1},
            "output_tokens": out,
            "output_tokens_details": {"reasoning_tokens": think},
            "total_tokens": prompt + out,
        }
        x = usage.from_responses(responses)
        self.assertEqual(usage.to_responses(x), responses)


class Record(SynchronousTestCase):
    """The value that is charged."""

    def test_counts_of_the_middle_form(self) -> None:
        """Cache and reasoning arrive in the record; nothing reported is None."""
        x = usage.from_claude(
            {
                "input_tokens": 12,
                "cache_read_input_tokens": 100,
                "cache_creation_input_tokens": 50,
                "cache_creation": {"ephemeral_1h_input_tokens": 30},
                "output_tokens": 40,
                "output_tokens_details": {"thinking_tokens": 11},
            }
        )
        record = usage.to_record(x)
        assert record is not None
        counts = (record.prompt, record.completion, record.cached, record.reasoning)
        self.assertEqual(counts, (162, 40, 100, 11))
        self.assertEqual((record.write_5m, record.write_1h), (20, 30))
        self.assertIsNone(usage.to_record(None))
        self.assertIsNone(usage.to_record({"prompt_tokens": 0}))
