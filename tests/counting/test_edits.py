"""Pictures in JSON requests to edit them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.counting import estimate
from knight_tw.records import Dialect, Mode


class EditTests(SynchronousTestCase):
    """`estimate` of image edits."""

    def tokens(self, **members: Any) -> int:
        """Of the members alone."""
        body = {"prompt": "x", **members}
        mode, dialect = Mode.IMAGE_EDITS, Dialect.CHAT
        own = estimate({"prompt": "x"}, mode, dialect, "gpt-image-1")
        return estimate(body, mode, dialect, "gpt-image-1") - own

    def test_forms(self) -> None:
        """An address, an object with one, one that names a file; alone or several."""
        one = self.tokens(image="https://x.test/a.png")
        self.assertGreater(one, 0)
        for given in (
            {"image_url": "https://x.test/a.png"},
            {"image_url": {"url": "https://x.test/a.png"}},
            {"file_id": "file-1"},
        ):
            self.assertEqual(self.tokens(images=[given]), one, given)
        self.assertEqual(self.tokens(image=["https://x.test/a.png"] * 3), 3 * one)
        both = self.tokens(image="https://x.test/a.png", mask={"file_id": "m"})
        self.assertEqual(both, 2 * one)

    def test_nothing(self) -> None:
        """What is no picture counts nothing."""
        for given in (None, "", 5, [], [None, ""]):
            self.assertEqual(self.tokens(image=given), 0, given)
