"""What an answer consists of."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire.produced import Produced


class Collecting(SynchronousTestCase):
    """`Produced`."""

    def test_texts(self) -> None:
        """Pieces are kept in order."""
        produced = Produced()
        produced.add("a")
        produced.add_content("b")
        self.assertEqual((produced.text, produced.characters), ("ab", 2))

    def test_parts(self) -> None:
        """Texts and reasoning inside lists of parts count, other things do not."""
        produced = Produced()
        thinking = [{"type": "text", "text": "hm"}]
        produced.add_content([{"text": "a"}, {"thinking": thinking}, 5, {"x": 1}])
        produced.add_content({"text": "no"})
        produced.add_content(None)
        self.assertEqual(produced.text, "ahm")

    def test_calls(self) -> None:
        """Names and arguments of functions and custom tools count."""
        produced = Produced()
        produced.add_calls(
            [
                {"function": {"name": "f", "arguments": "{}"}},
                {"custom": {"name": "g", "input": "in"}},
                {"function": {"name": None, "arguments": 3}},
                "odd",
            ]
        )
        produced.add_calls("odd")
        produced.add_call(None)
        self.assertEqual(produced.text, "f{}gin")

    def test_limit(self) -> None:
        """Beyond the limit only the length is known."""
        produced = Produced(limit=4)
        for piece in ("abc", "def", "ghi"):
            produced.add(piece)
        self.assertEqual((produced.text, produced.characters), ("abcd", 9))
