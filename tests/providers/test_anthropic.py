"""Anthropic: addresses, headers, and what goes out."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UnsupportedEndpoint
from knight_tw.providers.anthropic import ANTHROPIC
from knight_tw.records import Dialect, Mode
from tests.providers.attempts import prepared, target

CLAUDE = Dialect.CLAUDE
MESSAGES = "https://api.anthropic.com/v1/messages"


def aim(mode: Mode = Mode.MESSAGES, model: str = "claude", **more: Any) -> Any:
    """An attempt on an Anthropic channel."""
    return target(mode, model, dialect=CLAUDE, type_id=14, **more)


class Addresses(SynchronousTestCase):
    """Where requests go."""

    def test_every_dialect(self) -> None:
        """Whatever the client speaks, messages are what goes out."""
        for mode in (Mode.CHAT, Mode.RESPONSES, Mode.MESSAGES, Mode.GEMINI):
            self.assertEqual(ANTHROPIC.url(aim(mode)), MESSAGES)
        counting = aim(Mode.COUNT_TOKENS)
        self.assertEqual(ANTHROPIC.url(counting), f"{MESSAGES}/count_tokens")

    def test_beta(self) -> None:
        """The beta query is the client's or the channel's; nothing else of it goes."""
        for more in (
            {"query": "beta=true&key=x"},
            {"settings": {"claude_beta_query": True}},
        ):
            self.assertEqual(ANTHROPIC.url(aim(**more)), f"{MESSAGES}?beta=true")
        self.assertEqual(ANTHROPIC.url(aim(query="beta=false&x=1")), MESSAGES)

    def test_own_address(self) -> None:
        """A channel's address is used instead."""
        found = ANTHROPIC.url(aim(base_url="https://h/anthropic/"))
        self.assertEqual(found, "https://h/anthropic/v1/messages")

    def test_other_work(self) -> None:
        """It has no other kind of work."""
        self.assertRaises(UnsupportedEndpoint, ANTHROPIC.url, aim(Mode.EMBEDDINGS))


class Headers(SynchronousTestCase):
    """What authorizes, and what else Claude reads from headers."""

    def headers(self, **more: Any) -> dict[str, str]:
        """All of them, each once."""
        found = ANTHROPIC.authorize(aim(**more))
        self.assertEqual(len(found), len(dict(found)))
        return dict(found)

    def test_plain(self) -> None:
        """The key and the version of the option, or the oldest one."""
        expected = {"x-api-key": "key", "anthropic-version": "2023-06-01"}
        self.assertEqual(self.headers(), expected)
        options = {"claude.anthropic_version": "2024-01-01"}
        found = self.headers(options=options)["anthropic-version"]
        self.assertEqual(found, "2024-01-01")

    def test_the_clients_own(self) -> None:
        """The client's version and beta marks pass."""
        sent = {"anthropic-version": "2026-10-21", "anthropic-beta": "a, b,a"}
        found = self.headers(headers=sent)
        self.assertEqual(found["anthropic-version"], "2026-10-21")
        self.assertEqual(found["anthropic-beta"], "a,b")

    def test_model_headers(self) -> None:
        """The option's headers for a model are added, beta marks without repeats."""
        table = {
            "claude": {"Anthropic-Beta": ["b", "c"], "X-Own": ["1", "1"], "No": []},
            "mine": {"anthropic-beta": ["m"], "anthropic-version": ["x"]},
            "odd": {"anthropic-beta": "text"},
        }
        options = {"claude.model_headers_settings": table}
        sent = {"anthropic-beta": "a,b"}
        found = self.headers(options=options, headers=sent)
        self.assertEqual(found["anthropic-beta"], "a,b,c")
        self.assertEqual((found["x-own"], "no" in found), ("1", False))
        found = self.headers(options=options, client_model="mine")
        self.assertEqual(found["anthropic-beta"], "m")
        self.assertEqual(found["anthropic-version"], "2023-06-01")
        for other in ({"model": "odd"}, {"model": "none"}):
            self.assertNotIn("anthropic-beta", self.headers(options=options, **other))
        for wrong in (["x"], {"claude": 1}):
            options = {"claude.model_headers_settings": wrong}
            self.assertNotIn("anthropic-beta", self.headers(options=options))


class Bodies(SynchronousTestCase):
    """What is changed."""

    def test_model(self) -> None:
        """The upstream's name of the model; nothing else is touched."""
        found = prepared(ANTHROPIC, aim(), model="client", temperature=1)
        self.assertEqual(found, {"model": "claude", "temperature": 1})
