"""Reasoning of other providers in a Responses history."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.responses import without_foreign


def thought(secret: Any) -> dict[str, Any]:
    """A reasoning item."""
    return {"type": "reasoning", "summary": [], "encrypted_content": secret}


class Foreign(SynchronousTestCase):
    """What a Responses provider may see of a history."""

    def test_untouched_history_is_the_same(self) -> None:
        """A history without wrapped secrets is the very same value."""
        for items in ("hi", None, [thought("E"), thought(None), {"role": "user"}, 7]):
            self.assertIs(without_foreign(items), items)

    def test_wrapped_secrets(self) -> None:
        """Other providers' reasoning is left out, OpenAI's own is unwrapped."""
        user = {"role": "user", "content": "ko1.a.S"}
        secrets = ("ko1.a.S", "ko1.g.S", "ko1.o.E", "F")
        items = [user, *map(thought, secrets)]
        self.assertEqual(without_foreign(items), [user, thought("E"), thought("F")])
