"""Messages read without trust."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import parts
from knight_tw.errors import InvalidRequest


class Reading(SynchronousTestCase):
    """What clients write."""

    def test_contents(self) -> None:
        """A text is one part, nothing is none, a list is its parts."""
        text = {"type": "text", "text": "a"}
        table: list[tuple[Any, Any]] = [(None, []), ("a", [text]), ([text], [text])]
        for content, wanted in table:
            self.assertEqual(parts.read_parts(content, "c"), wanted)

    def test_faults_are_named(self) -> None:
        """The path of what is wrong stands in the error."""
        table: list[tuple[Any, str]] = [
            (3, "c"),
            (["x"], "c.0"),
            ([{"type": "image"}, {}], "c.1.type"),
            ([{"type": "text"}], "c.0.text"),
            ([{"type": "text", "text": 3}], "c.0.text"),
        ]
        for content, param in table:
            error = self.assertRaises(InvalidRequest, parts.read_parts, content, "c")
            self.assertEqual(error.param, param)
        error = self.assertRaises(InvalidRequest, parts.read_objects, {}, "m")
        self.assertEqual(error.param, "m")
        self.assertEqual(parts.read_objects(None, "m"), [])

    def test_texts(self) -> None:
        """The text of a content is that of its text parts."""
        table: list[tuple[Any, str]] = [
            ("a", "a"),
            ([{"text": "a"}, {"image": 1}, "x", {"text": "b"}], "ab"),
            (None, ""),
        ]
        for content, text in table:
            self.assertEqual(parts.text_of(content), text)

    def test_one_text_collapses(self) -> None:
        """A single text without a marker is just the text."""
        text = parts.text_part("a")
        marked = {**text, "cache_control": {"type": "ephemeral"}}
        self.assertEqual(parts.collapsed([text]), "a")
        for several in ([marked], [text, text], []):
            self.assertEqual(parts.collapsed(several), several)
        self.assertTrue(parts.only_text([text]))
        self.assertFalse(parts.only_text([{"type": "image_url"}]))
