"""What a session's messages say about its bill."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Usage
from knight_tw.wire.realtime import Turn, Watch, bytes_per_second, read_usage


def message(**members: Any) -> bytes:
    """An event's bytes."""
    return json.dumps(members).encode()


def sound(size: int) -> str:
    """So many bytes, as events carry them."""
    return b64encode(bytes(size)).decode()


class Usages(SynchronousTestCase):
    """`read_usage`."""

    def test_nothing(self) -> None:
        """Absent, null, empty, all zero, or of another shape: nothing is reported."""
        for usage in (
            None,
            {},
            [],
            "x",
            5,
            {"total_tokens": 0, "input_tokens": 0, "output_tokens": 0},
            {"input_tokens": "7", "output_tokens": None},
        ):
            self.assertIsNone(read_usage(usage), usage)

    def test_whole(self) -> None:
        """Text and sound, cached and not, are told apart."""
        found = read_usage(
            {
                "total_tokens": 253,
                "input_tokens": 132,
                "output_tokens": 121,
                "input_token_details": {
                    "text_tokens": 119,
                    "audio_tokens": 13,
                    "image_tokens": 0,
                    "cached_tokens": 64,
                    "cached_tokens_details": {"text_tokens": 60, "audio_tokens": 4},
                },
                "output_token_details": {"text_tokens": 30, "audio_tokens": 91},
            }
        )
        self.assertEqual(
            found,
            Usage(
                prompt=132,
                completion=121,
                total=253,
                audio_in=13,
                audio_out=91,
                cached=64,
                cached_audio=4,
            ),
        )

    def test_without_details(self) -> None:
        """Without details everything is text."""
        self.assertEqual(
            read_usage({"input_tokens": 5, "output_tokens": 2}),
            Usage(prompt=5, completion=2, total=7),
        )

    def test_pictures_are_text(self) -> None:
        """Picture tokens are part of the prompt and of nothing else."""
        found = read_usage(
            {
                "input_tokens": 50,
                "output_tokens": 1,
                "input_token_details": {"image_tokens": 40, "text_tokens": 10},
            }
        )
        self.assertEqual(found, Usage(prompt=50, completion=1, total=51))

    @settings(max_examples=150, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(
                [
                    *("input_tokens", "output_tokens", "total_tokens"),
                    *("input_token_details", "output_token_details"),
                ]
            ),
            st.one_of(
                st.integers(-5, 1000),
                st.none(),
                st.dictionaries(
                    st.sampled_from(
                        [
                            *("audio_tokens", "text_tokens", "cached_tokens"),
                            "cached_tokens_details",
                        ]
                    ),
                    st.one_of(
                        st.integers(-5, 1000),
                        st.text(max_size=2),
                        st.dictionaries(
                            st.sampled_from(["audio_tokens", "text_tokens"]),
                            st.integers(-5, 1000),
                        ),
                    ),
                ),
            ),
        )
    )
    def test_parts_are_parts(self, obj: Any) -> None:
        """Whatever is reported, no part is larger than its whole or below zero."""
        found = read_usage(obj)
        if found is None:
            return
        self.assertTrue(0 <= found.audio_in <= found.prompt)
        self.assertTrue(0 <= found.audio_out <= found.completion)
        self.assertTrue(0 <= found.cached_audio <= found.audio_in)
        text = found.prompt - found.audio_in
        self.assertTrue(0 <= found.cached - found.cached_audio <= text)


class Formats(SynchronousTestCase):
    """`bytes_per_second`."""

    def test_known(self) -> None:
        """Names of the beta, objects of the current interface."""
        for sound_format, expected in (
            ("pcm16", 48_000),
            ("g711_ulaw", 8_000),
            ("g711_alaw", 8_000),
            ({"type": "audio/pcm"}, 48_000),
            ({"type": "audio/pcm", "rate": 16_000}, 32_000),
            ({"type": "audio/pcmu"}, 8_000),
            ({"type": "audio/pcma"}, 8_000),
            ({"type": "opus"}, 0),
            (None, 0),
            ([], 0),
        ):
            self.assertEqual(bytes_per_second(sound_format), expected, sound_format)


class Watching(SynchronousTestCase):
    """`Watch`."""

    def setUp(self) -> None:
        """A fresh one."""
        self.watch = Watch()

    def end(self, usage: Any = None) -> Turn:
        """The server ends the turn."""
        turn = self.watch.server(
            message(type="response.done", response={"usage": usage})
        )
        assert turn is not None
        return turn

    def test_reported(self) -> None:
        """A turn ends with its usage, whatever its status."""
        for status in ("completed", "cancelled", "failed", "incomplete"):
            turn = self.watch.server(
                message(
                    type="response.done",
                    response={"status": status, "usage": {"input_tokens": 3}},
                )
            )
            assert turn is not None
            self.assertEqual(turn.usage, Usage(prompt=3, total=3))

    def test_end_without_a_response(self) -> None:
        """A turn also ends when the event has an unexpected shape."""
        for event in (
            message(type="response.done"),
            message(type="response.done", response=[]),
            message(type="response.done", response={"usage": [1]}),
        ):
            turn = self.watch.server(event)
            assert turn is not None
            self.assertIsNone(turn.usage)
            self.assertTrue(turn.silent)

    def test_text_that_came_out(self) -> None:
        """The pieces of text of both interfaces are kept, and of function calls."""
        kinds = (
            "response.output_text.delta",
            "response.output_audio_transcript.delta",
            "response.text.delta",
            "response.audio_transcript.delta",
            "response.function_call_arguments.delta",
        )
        for kind in kinds:
            self.watch.server(message(type=kind, delta=f"{kind} "))
        turn = self.end()
        self.assertEqual(turn.spoken.text, " ".join([*kinds, ""]))
        self.assertFalse(turn.silent)
        self.assertTrue(self.end().silent)

    def test_sound(self) -> None:
        """Seconds follow from the formats that the server has named."""
        self.watch.client(
            message(type="input_audio_buffer.append", audio=sound(24_000))
        )
        for kind in ("response.output_audio.delta", "response.audio.delta"):
            self.watch.server(message(type=kind, delta=sound(48_000)))
        turn = self.end()
        self.assertEqual((turn.heard_seconds, turn.spoken_seconds), (0.5, 2.0))
        beta = {"input_audio_format": "g711_ulaw", "output_audio_format": "pcm16"}
        self.watch.server(message(type="session.created", session=beta))
        self.watch.client(message(type="input_audio_buffer.append", audio=sound(8_000)))
        self.assertEqual(self.end().heard_seconds, 1.0)
        current = {
            "input": {"format": {"type": "audio/pcm", "rate": 16_000}},
            "output": {"format": {"type": "audio/pcma"}},
        }
        self.watch.server(message(type="session.updated", session={"audio": current}))
        self.watch.client(message(type="input_audio_buffer.append", audio=sound(8_000)))
        self.watch.server(
            message(type="response.output_audio.delta", delta=sound(16_000))
        )
        turn = self.end()
        self.assertEqual((turn.heard_seconds, turn.spoken_seconds), (0.25, 2.0))

    def test_text_that_went_in(self) -> None:
        """Items, function results, instructions, and sound within items."""
        content = [
            {"type": "input_text", "text": "a"},
            {"type": "input_audio", "audio": sound(48_000)},
            {"type": "input_audio", "audio": "!"},
            "odd",
        ]
        self.watch.client(
            message(type="conversation.item.create", item={"content": content})
        )
        self.watch.client(
            message(type="conversation.item.create", item={"output": "b"})
        )
        self.watch.client(message(type="session.update", session={"instructions": "c"}))
        self.watch.client(
            message(
                type="response.create",
                response={
                    "instructions": "d",
                    "input": [{"content": [{"text": "e"}]}, 7],
                },
            )
        )
        turn = self.end()
        self.assertEqual((turn.heard.text, turn.heard_seconds), ("abcde", 1.0))

    def test_tools(self) -> None:
        """Tools are part of each turn that is counted, until they are taken away."""
        self.watch.client(message(type="session.update", session={"tools": [{"a": 1}]}))
        for _ in range(2):
            self.assertEqual(self.end().heard.text, '[{"a":1}]')
        self.assertEqual(self.end({"input_tokens": 1}).heard.text, "")
        self.watch.client(message(type="session.update", session={"tools": []}))
        self.assertEqual(self.end().heard.text, "")

    def test_quotes_do_not_count(self) -> None:
        """The parsed top-level type alone decides."""
        inner = message(type="response.done", response={"usage": {"input_tokens": 9}})
        quoted = message(type="conversation.item.added", text=inner.decode())
        self.assertIsNone(self.watch.server(quoted))
        self.assertIsNone(self.watch.server(b'{"x":%b}' % inner))
        self.watch.client(inner)
        self.assertTrue(self.end().silent)

    def test_not_charged(self) -> None:
        """The usage of a transcription is another model's."""
        event = message(
            type="conversation.item.input_audio_transcription.completed",
            usage={"type": "tokens", "input_tokens": 9},
        )
        self.assertIsNone(self.watch.server(event))

    def test_answering(self) -> None:
        """It is known whether an answer is under way."""
        self.watch.server(message(type="response.created"))
        self.assertEqual(self.watch.answering, 1)
        self.end()
        self.end()
        self.assertEqual(self.watch.answering, 0)

    def test_rest(self) -> None:
        """What the last turn has come to."""
        self.watch.server(message(type="response.text.delta", delta="x"))
        self.assertEqual(self.watch.rest().spoken.text, "x")
        self.assertTrue(self.watch.rest().silent)

    @settings(max_examples=200, deadline=None)
    @given(
        st.one_of(
            st.binary(max_size=60),
            st.recursive(
                st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=8)),
                lambda inner: st.one_of(
                    st.lists(inner, max_size=3),
                    st.dictionaries(
                        st.sampled_from(
                            [
                                *("type", "session", "response", "item", "content"),
                                *("audio", "input", "format", "tools", "delta"),
                                *("usage", "text", "instructions"),
                            ]
                        ),
                        inner,
                        max_size=4,
                    ),
                ),
                max_leaves=12,
            ),
        ),
        st.sampled_from(
            [
                *("response.done", "session.created", "session.update"),
                *("conversation.item.create", "response.create"),
                *("input_audio_buffer.append", "response.audio.delta"),
                *("response.text.delta", ""),
            ]
        ),
    )
    def test_anything(self, said: Any, kind: str) -> None:
        """Whatever is said, nobody stumbles."""
        if isinstance(said, dict) and kind:
            said = {**said, "type": kind}
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        watch = Watch()
        watch.client(data)
        watch.server(data)
        watch.rest()

    def test_depth(self) -> None:
        """Nor over depth."""
        deep = b"[" * 100_000 + b"]" * 100_000
        for kind in (b"session.update", b"x"):
            self.watch.client(b'{"type":"%b","session":%b}' % (kind, deep))
