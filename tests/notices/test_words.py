"""The sentences of letters and notices."""

from __future__ import annotations

from string import Formatter

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.notices import words
from knight_tw.notices.words import language, say


def fields(text: str) -> list[str]:
    """The names of a sentence's fields, in order."""
    return [name for _, name, _, _ in Formatter().parse(text) if name]


class LanguageTests(SynchronousTestCase):
    """`language`."""

    def test_first_known(self) -> None:
        """The first wish that can be fulfilled, else English."""
        for wishes, expected in (
            ((), "en"),
            (("",), "en"),
            (("zh",), "zh"),
            (("ZH-cn",), "zh"),
            (("zh_TW",), "zh"),
            (("fr", "zh"), "zh"),
            (("fr-FR, en;q=0.8, zh;q=0.7",), "en"),
            (("", "zh-CN,zh;q=0.9,en;q=0.8"), "zh"),
            (("x" * 10_000, ";;;,,,", "\0"), "en"),
        ):
            self.assertEqual(language(*wishes), expected, wishes)


class SentenceTests(SynchronousTestCase):
    """The table of sentences."""

    def test_all_languages_say_the_same(self) -> None:
        """Every sentence is there in each language, with the same fields; places of
        values in the same order."""
        english = words._WORDS["en"]
        for spoken, table in words._WORDS.items():
            self.assertEqual(set(table), set(english), spoken)
            for key, text in table.items():
                self.assertEqual(sorted(fields(text)), sorted(fields(english[key])))

    def test_values_are_not_sentences(self) -> None:
        """Braces in a value stay what they are."""
        told = say("en", "channel.disabled", name="{0} {site}", id=3)
        self.assertEqual(told, "Channel {0} {site} (#3) was disabled")
