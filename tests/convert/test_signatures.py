"""Signatures on their way through conversions."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import signatures
from knight_tw.convert.signatures import ANTHROPIC, FORMATS, GOOGLE, OPENAI


class Wrapping(SynchronousTestCase):
    """`wrap`, `owner`, `unwrap`."""

    def test_wrapped_form(self) -> None:
        """A wrapped signature is the mark, the letter and the original."""
        self.assertEqual(signatures.wrap(GOOGLE, "QUJD"), "ko1.g.QUJD")

    @settings(max_examples=50, deadline=None)
    @given(st.sampled_from(sorted(FORMATS)), st.text(min_size=1))
    def test_unwraps_what_was_wrapped(self, letter: str, original: str) -> None:
        """Unwrapping gives the letter and the original back, dots included."""
        wrapped = signatures.wrap(letter, original)
        if not signatures.owner(original):
            self.assertEqual(signatures.unwrap(wrapped), (letter, original))
        self.assertEqual(signatures.wrap(OPENAI, wrapped), wrapped)

    def test_bare_signatures_have_no_owner(self) -> None:
        """Nothing else looks like a wrapped signature."""
        for text in ("", "EqQB", "ko1", "ko1.", "ko1.a", "ko1.z.X", "ko2.a.X"):
            self.assertEqual(signatures.unwrap(text), ("", text))


class Owners(SynchronousTestCase):
    """Who may see a signature."""

    def test_native_signatures(self) -> None:
        """A provider gets its own and bare signatures as it made them, no others."""
        self.assertEqual(signatures.native(ANTHROPIC, "ko1.a.X"), "X")
        self.assertEqual(signatures.native(ANTHROPIC, "X"), "X")
        for other in ("ko1.g.X", "", None, 3):
            self.assertIsNone(signatures.native(ANTHROPIC, other))

    def test_foreign_signatures(self) -> None:
        """Only what is wrapped for another provider is foreign."""
        self.assertTrue(signatures.foreign(GOOGLE, "ko1.o.X"))
        for own in ("ko1.g.X", "X", None):
            self.assertFalse(signatures.foreign(GOOGLE, own))

    def test_owner_of_a_detail(self) -> None:
        """A wrapped signature tells the owner, else the format, also a doubled one."""
        claude = FORMATS[ANTHROPIC]
        table = [
            ({"format": claude}, ANTHROPIC),
            ({"format": claude * 2}, ANTHROPIC),
            ({"format": claude, "signature": "ko1.g.X"}, GOOGLE),
            ({"data": "ko1.o.X"}, OPENAI),
            ({"format": "unknown", "signature": "X"}, ""),
            ({}, ""),
        ]
        for detail, letter in table:
            self.assertEqual(signatures.detail_letter(detail), letter)
