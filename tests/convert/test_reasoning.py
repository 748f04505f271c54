"""Entries of `reasoning_details` and what they say."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import reasoning
from knight_tw.convert.reasoning import Piece
from knight_tw.convert.signatures import ANTHROPIC, GOOGLE, OPENAI


class Entries(SynchronousTestCase):
    """The three kinds of entries."""

    def test_entries_are_wrapped(self) -> None:
        """Signatures and secrets leave wrapped, with the format and the index."""
        self.assertEqual(
            reasoning.text_detail(ANTHROPIC, "t", 2, "S"),
            {
                "type": "reasoning.text",
                "text": "t",
                "signature": "ko1.a.S",
                "format": "anthropic-claude-v1",
                "index": 2,
            },
        )
        self.assertNotIn("signature", reasoning.text_detail(GOOGLE, "t", 0, ""))
        secret = reasoning.encrypted_detail(OPENAI, "E", 1, "rs_1")
        self.assertEqual((secret["data"], secret["id"]), ("ko1.o.E", "rs_1"))
        self.assertNotIn("id", reasoning.encrypted_detail(OPENAI, "E", 1))
        summary = reasoning.summary_detail(OPENAI, "s", 0)
        self.assertEqual(summary["type"], "reasoning.summary")

    def test_doubled_types_are_known(self) -> None:
        """A client that joined the constants of a stream is understood."""
        self.assertEqual(
            reasoning.kind({"type": "reasoning.encryptedreasoning.encrypted"}),
            reasoning.ENCRYPTED,
        )
        self.assertEqual(reasoning.kind({}), reasoning.TEXT)


class Shown(SynchronousTestCase):
    """What a client sees of it."""

    def test_text_from_whichever_member(self) -> None:
        """`reasoning_content` first, then `reasoning`, then the entries' texts."""
        entries = [{"text": "a"}, {"summary": "b"}, {"data": "c"}, "odd"]
        table = [
            ({"reasoning_content": "x", "reasoning": "y"}, "x"),
            ({"reasoning_content": "", "reasoning": "y"}, "y"),
            ({"reasoning_details": entries}, "ab"),
            ({"reasoning_details": "odd"}, ""),
            ({}, ""),
        ]
        for message, text in table:
            self.assertEqual(reasoning.shown(message), text)


class Pieces(SynchronousTestCase):
    """Entries put together."""

    def test_entries_of_one_index_are_one_piece(self) -> None:
        """Deltas of a stream go on with the piece; the signature comes last."""
        message = {
            "reasoning_details": [
                {"type": "reasoning.text", "text": "a", "index": 0}
                | {"format": "anthropic-claude-v1"},
                {"text": "b", "index": 0},
                {"signature": "ko1.a.S", "index": 0},
                {"type": "reasoning.encrypted", "data": "ko1.a.E", "index": 1},
                {"type": "reasoning.text", "text": "c", "index": 2},
                {"text": "d"},
            ]
        }
        self.assertEqual(
            reasoning.pieces(message),
            [
                Piece("a", 0, False, "ab", "ko1.a.S"),
                Piece("a", 1, True, "", "ko1.a.E"),
                Piece("", 2, False, "c"),
                Piece("", None, False, "d"),
            ],
        )

    def test_a_signed_piece_is_over(self) -> None:
        """A whole entry after a signed one is a piece of its own, index or not."""
        entry = {"type": "reasoning.text", "text": "a", "signature": "S", "index": 0}
        self.assertEqual(len(reasoning.pieces({"reasoning_details": [entry] * 2})), 2)
