"""What every outgoing body undergoes."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.providers.openai import OPENAI
from knight_tw.providers.openrouter import OPENROUTER
from knight_tw.providers.outgoing import ask_for_usage, remove_fields
from knight_tw.providers.provider import Provider
from knight_tw.records import Dialect, Mode
from knight_tw.wire import top
from tests.providers.attempts import target

PRICED = {"service_tier": "flex", "inference_geo": "eu", "speed": "fast"}
PRIVATE = {"safety_identifier": "s"}


def raw(members: dict[str, Any]) -> dict[str, Any]:
    """A body as it was read."""
    return dict(top.read_top(json.dumps(members).encode()))


def plain(body: dict[str, Any]) -> Any:
    """What would be sent."""
    return msgspec.json.decode(top.encode(body))


def filtered(
    members: dict[str, Any], dialect: Dialect = Dialect.CHAT, **settings: Any
) -> Any:
    """The body after the removal."""
    body = raw(members)
    remove_fields(body, dialect, settings)
    return plain(body)


class Removal(SynchronousTestCase):
    """`remove_fields`."""

    def test_by_default(self) -> None:
        """Fields that cost money or privacy are removed, `store` is not."""
        members = {**PRICED, **PRIVATE, "store": True, "x": 1}
        for dialect in (Dialect.CHAT, Dialect.RESPONSES, Dialect.CLAUDE):
            self.assertEqual(filtered(members, dialect), {"store": True, "x": 1})
        self.assertEqual(filtered(members, Dialect.GEMINI), members)

    def test_allowed(self) -> None:
        """Each field has its own permission."""
        for name in (*PRICED, *PRIVATE):
            found = filtered({**PRICED, **PRIVATE}, **{f"allow_{name}": True})
            self.assertEqual(set(found), {name})

    def test_store(self) -> None:
        """`store` goes when the channel says so."""
        self.assertEqual(filtered({"store": True}, disable_store=True), {})

    def test_obfuscation(self) -> None:
        """Its part of `stream_options` goes, and the whole when nothing is left."""
        both = {"include_obfuscation": False, "include_usage": True}
        for options, more, expected in (
            (both, {}, {"stream_options": {"include_usage": True}}),
            ({"include_obfuscation": True}, {}, {}),
            (both, {"allow_include_obfuscation": True}, {"stream_options": both}),
            ({"include_usage": True}, {}, {"stream_options": {"include_usage": True}}),
            (None, {}, {"stream_options": None}),
        ):
            with self.subTest(options=options, more=more):
                self.assertEqual(
                    filtered({"stream_options": options}, **more), expected
                )


def asked(
    members: dict[str, Any],
    *,
    provider: Provider = OPENAI,
    asked: bool = False,
    force: bool = True,
    **more: Any,
) -> Any:
    """The body after the usage chunk was asked for."""
    more.setdefault("stream", True)
    body = raw(members)
    ask_for_usage(body, target(**more), provider, asked=asked, force=force)
    return plain(body)


WANTED = {"stream_options": {"include_usage": True}}


class UsageChunk(SynchronousTestCase):
    """`ask_for_usage`."""

    def test_streams(self) -> None:
        """A stream is asked for its usage when the client or the setting wants it."""
        self.assertEqual(asked({}), WANTED)
        self.assertEqual(asked({}, force=False), {})
        self.assertEqual(asked({}, force=False, asked=True), WANTED)
        refused = {"stream_options": {"include_usage": False, "x": 1}}
        expected = {"stream_options": {"include_usage": True, "x": 1}}
        self.assertEqual(asked(refused), expected)
        self.assertEqual(asked({}, mode=Mode.COMPLETIONS), WANTED)

    def test_not_streams(self) -> None:
        """Whole answers, other work and other dialects are left alone."""
        self.assertEqual(asked({}, stream=False), {})
        self.assertEqual(asked({}, mode=Mode.SPEECH), {})
        self.assertEqual(asked({}, mode=Mode.RESPONSES), {})

    def test_converted(self) -> None:
        """A Claude client's stream from a chat provider is asked too."""
        found = asked({}, mode=Mode.MESSAGES, dialect=Dialect.CHAT)
        self.assertEqual(found, WANTED)

    def test_providers_that_do_not_take_it(self) -> None:
        """The field is removed where the provider or the channel does not take it."""
        self.assertEqual(asked(WANTED, provider=OPENROUTER), {})
        refuses = {"accepts": {"stream_options": False}}
        self.assertEqual(asked(WANTED, settings=refuses), {})
        takes = {"accepts": {"stream_options": True}}
        self.assertEqual(asked({}, provider=OPENROUTER, settings=takes), WANTED)
        odd = {"accepts": {"stream_options": "yes"}}
        self.assertEqual(asked({}, provider=OPENROUTER, settings=odd), {})
