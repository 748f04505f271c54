"""`.env` files."""

from __future__ import annotations

import contextlib

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.dotenv import dotenv
from knight_tw.variables import SettingsError


class Dotenv(SynchronousTestCase):
    """What a `.env` file says."""

    def test_plain_values(self) -> None:
        """Blanks around names and values do not count; an empty value is one."""
        self.assertEqual(
            dotenv("A=1\n  B = two words \nexport C=3\nD=\n"),
            {"A": "1", "B": "two words", "C": "3", "D": ""},
        )

    def test_comments(self) -> None:
        """`#` begins one at the start of a line or after a blank, not inside a word."""
        self.assertEqual(
            dotenv("# all\nA=1 # one\nB=a#b\n\n  # more\nC= # nothing\nD='#'#x\n"),
            {"A": "1", "B": "a#b", "C": "", "D": "#"},
        )

    def test_single_quotes_keep_everything(self) -> None:
        """Backslashes, dollars and line ends stay as they are."""
        self.assertEqual(dotenv("A='$x \\n\n\"b\"'"), {"A": '$x \\n\n"b"'})

    def test_double_quotes_know_escapes(self) -> None:
        """Unknown escapes stay as written."""
        self.assertEqual(
            dotenv(r'A="a\nb\t\"c\" \$d \\ \q"'), {"A": 'a\nb\t"c" $d \\ \\q'}
        )

    def test_nothing_is_expanded(self) -> None:
        """A password with a dollar in it is that password."""
        self.assertEqual(dotenv("A=pa$$word${B}\nB=1"), {"A": "pa$$word${B}", "B": "1"})

    def test_files_of_other_systems(self) -> None:
        """A byte-order mark and carriage returns do no harm."""
        self.assertEqual(dotenv("\ufeffA=1\r\nB=2\r\n"), {"A": "1", "B": "2"})

    def test_the_last_of_two_wins(self) -> None:
        """As in a shell."""
        self.assertEqual(dotenv("A=1\nA=2"), {"A": "2"})

    def test_a_bad_line_is_named(self) -> None:
        """The message says which line it is."""
        for bad in ("A=1\nnonsense\n", "A=1\nB='open\n", "A=1\n2B=3", "A=1\nB='x' y"):
            error = self.assertRaises(SettingsError, dotenv, bad)
            self.assertIn(".env line 2", str(error))

    @settings(max_examples=80, deadline=None)
    @given(st.text(alphabet=st.characters(exclude_characters="'\r\ufeff")))
    def test_single_quoted_text_comes_back(self, value: str) -> None:
        """Any text without a quote or carriage return survives."""
        self.assertEqual(dotenv(f"A='{value}'\nB=1"), {"A": value, "B": "1"})

    @settings(max_examples=80, deadline=None)
    @given(st.text(alphabet="AB=' \"\\\n#$x", max_size=40))
    def test_any_file_is_read_or_refused(self, source: str) -> None:
        """No input makes the reader fail in another way, or hang."""
        with contextlib.suppress(SettingsError):
            self.assertIsInstance(dotenv(source), dict)
