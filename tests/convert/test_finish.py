"""Why answers end, in four vocabularies."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import finish


class Claude(SynchronousTestCase):
    """Claude's words."""

    def test_to_the_middle_form(self) -> None:
        """Every known word, and unknown ones, which are `stop`."""
        table = {
            "end_turn": "stop",
            "stop_sequence": "stop",
            "pause_turn": "stop",
            "max_tokens": "length",
            "model_context_window_exceeded": "length",
            "tool_use": "tool_calls",
            "refusal": "content_filter",
            "unheard_of": "stop",
            None: "stop",
        }
        for reason, wanted in table.items():
            self.assertEqual(finish.from_claude(reason), wanted)
        self.assertEqual(finish.from_claude("end_turn", True), "tool_calls")
        self.assertEqual(finish.from_claude("max_tokens", True), "length")

    def test_from_the_middle_form(self) -> None:
        """Claude's own word wins, others are translated."""
        table = {
            "stop": "end_turn",
            "length": "max_tokens",
            "tool_calls": "tool_use",
            "function_call": "tool_use",
            "content_filter": "refusal",
            None: "end_turn",
            "odd": "end_turn",
        }
        for reason, wanted in table.items():
            self.assertEqual(finish.to_claude(reason), wanted)
        self.assertEqual(finish.to_claude("stop", "pause_turn"), "pause_turn")
        self.assertEqual(finish.to_claude("stop", "STOP"), "end_turn")
        self.assertEqual(finish.to_claude("stop", has_calls=True), "tool_use")
        self.assertEqual(finish.to_claude("stop", stop_sequence="X"), "stop_sequence")


class Gemini(SynchronousTestCase):
    """Gemini's words."""

    def test_to_the_middle_form(self) -> None:
        """Filters are told apart from faults; unknown words are `stop`."""
        table = {
            "STOP": "stop",
            "MAX_TOKENS": "length",
            "SAFETY": "content_filter",
            "MODEL_ARMOR": "content_filter",
            "MALFORMED_FUNCTION_CALL": "stop",
            "UNHEARD_OF": "stop",
            None: "stop",
        }
        for reason, wanted in table.items():
            self.assertEqual(finish.from_gemini(reason), wanted)
        self.assertEqual(finish.from_gemini("STOP", True), "tool_calls")
        self.assertIn("MALFORMED_RESPONSE", finish.GEMINI_FAILED)

    def test_from_the_middle_form(self) -> None:
        """Gemini's own word wins, others are translated."""
        table = {"tool_calls": "STOP", "length": "MAX_TOKENS", None: "STOP"}
        for reason, wanted in (table | {"content_filter": "SAFETY"}).items():
            self.assertEqual(finish.to_gemini(reason), wanted)
        self.assertEqual(finish.to_gemini("stop", "LANGUAGE"), "LANGUAGE")
        self.assertEqual(finish.to_gemini("stop", "end_turn"), "STOP")


class Responses(SynchronousTestCase):
    """A status with details instead of a word."""

    def test_both_ways(self) -> None:
        """Only what is cut short is incomplete."""
        self.assertEqual(finish.from_responses("completed", None), "stop")
        self.assertEqual(finish.from_responses("completed", None, True), "tool_calls")
        for reason, word in (("length", "max_output_tokens"), ("content_filter",) * 2):
            self.assertEqual(finish.from_responses("incomplete", word), reason)
            self.assertEqual(finish.to_responses(reason), ("incomplete", word))
        self.assertEqual(finish.from_responses("incomplete", None), "length")
        self.assertEqual(finish.to_responses("tool_calls"), ("completed", None))
