"""The filter for forbidden words."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import words
from knight_tw.words import WordFilter, texts

WORDS = WordFilter.of(["  Secret Plan ", "", "机密", "secret plan"])
MANY = WordFilter.of([*WORDS.words, *(f"word{n}" for n in range(words.FEW))])
"""More words than are looked for one after the other."""


class Hits(SynchronousTestCase):
    """What counts as a hit."""

    def test_words_are_trimmed_lowered_and_unique(self) -> None:
        """The list keeps one spelling of each word."""
        self.assertEqual(WORDS.words, ("secret plan", "机密"))

    def test_case_is_ignored(self) -> None:
        """A word is found in any case."""
        self.assertEqual(
            WORDS.hits("our SECRET plan 机密 secret plan"), list(WORDS.words)
        )

    def test_nothing_found(self) -> None:
        """An innocent text has no hits."""
        self.assertEqual(WORDS.hits("hello"), [])

    def test_masked(self) -> None:
        """Hits are replaced in every string, whatever the nesting."""
        value = {"a": ["The Secret Plan!", 1, None], "b": {"c": "机密"}}
        self.assertEqual(
            WORDS.masked(value), {"a": ["The **###**!", 1, None], "b": {"c": "**###**"}}
        )

    def test_masked_with_a_letter_that_grows(self) -> None:
        """A letter whose lower case is longer does not shift the replacement."""
        self.assertEqual(WORDS.masked("İ secret plan"), "i̇ **###**")


class RawTest(SynchronousTestCase):
    """The cheap test on the JSON bytes."""

    def test_clean_body(self) -> None:
        """A body without the words cannot hit."""
        self.assertFalse(WORDS.may_hit(b'{"messages":[{"content":"hello"}]}'))

    def test_plain_and_upper_case(self) -> None:
        """A word in the bytes may hit."""
        self.assertTrue(WORDS.may_hit(b'{"content":"SECRET plan"}'))

    def test_escapes_are_not_trusted(self) -> None:
        """A body with escapes goes to the full test."""
        self.assertTrue(WORDS.may_hit(rb'{"content":"\u0073ecret plan"}'))

    def test_cased_letters_beyond_ascii(self) -> None:
        """Lists whose words need real lower-casing go to the full test."""
        self.assertTrue(WordFilter.of(["über"]).may_hit(b"{}"))

    @given(st.text(), st.sampled_from(WORDS.words), st.booleans(), st.booleans())
    @settings(max_examples=100, deadline=None)
    def test_never_wrongly_no(
        self, around: str, word: str, upper: bool, plain: bool
    ) -> None:
        """Whenever the full test finds a word, the cheap one has let the body pass."""
        text = around + (word.upper() if upper else word) + around
        body = json.dumps({"content": text}, ensure_ascii=not plain)
        for some in (WORDS, MANY):
            if some.hits(text):
                self.assertTrue(some.may_hit(body.encode(errors="replace")))

    def test_plain_no(self) -> None:
        """A body without any of the words is let pass, however many there are."""
        for some in (WORDS, MANY):
            self.assertFalse(some.may_hit(b'{"content":"hello"}'))
            self.assertTrue(some.may_hit(b'{"content":"a SECRET plan"}'))


class Texts(SynchronousTestCase):
    """Which strings of a prompt are looked at."""

    def test_media_is_left_out(self) -> None:
        """Data and addresses of media are no text."""
        message = {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,xx"}},
            ],
        }
        self.assertEqual(list(texts([message])), ["user", "text", "hi", "image_url"])
