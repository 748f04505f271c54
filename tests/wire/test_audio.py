"""Speech and transcripts: requests, answers, streams."""

from __future__ import annotations

import base64
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import audio, sse
from knight_tw.wire.answers import Plain
from knight_tw.wire.audio import Pieces, SoundPass, SpeechPass, TranscriptPass
from tests.wire.test_images import eaten, event

PCM = bytes(48_000)
USAGE = {"input_tokens": 3, "output_tokens": 7, "total_tokens": 10}


def spoken(data: bytes) -> bytes:
    """One piece of speech."""
    return event(audio.DELTA, audio=base64.b64encode(data).decode())


class Requests(SynchronousTestCase):
    """What is read of a request."""

    def test_speech(self) -> None:
        """Formats, and whether events are asked for."""
        self.assertEqual(audio.sound_format({}), "mp3")
        self.assertTrue(audio.asks_events({"stream_format": "sse"}))
        self.assertFalse(audio.asks_events({"stream_format": "audio"}))
        for body in ({}, {"input": 5}, {"input": "x", "response_format": 5}):
            with self.assertRaises(InvalidRequest):
                audio.validate_speech(dict(body))

    def test_transcripts(self) -> None:
        """JSON unless something else is asked for."""
        self.assertEqual(audio.text_format({}), "json")
        with self.assertRaises(InvalidRequest):
            audio.validate_transcript({"response_format": "x" * 65})


class Speech(SynchronousTestCase):
    """Recordings on their way."""

    def test_events(self) -> None:
        """The sound is measured, the usage's output is sound."""
        machine = SpeechPass("pcm")
        data = spoken(PCM) + event("note") + event(audio.DONE, usage=USAGE)
        self.assertEqual(eaten(machine, data), data)
        usage = Usage(prompt=3, completion=7, total=10, audio_out=7)
        self.assertEqual(machine.usage, usage)
        assert machine.produced.sound is not None
        self.assertEqual(machine.produced.sound.seconds, 1.0)

    def test_broken_base64(self) -> None:
        """Is nobody's sound, and no accident."""
        machine = SpeechPass("pcm")
        data = event(audio.DELTA, audio="x") + event(audio.DELTA, audio=5)
        self.assertEqual(eaten(machine, data), data)
        self.assertTrue(machine.began)

    @settings(max_examples=40, deadline=None)
    @given(st.lists(st.binary(max_size=20)))
    def test_bytes(self, pieces: list[bytes]) -> None:
        """Go on but for the last one, which waits for the charge."""
        machine, decoder, found = SoundPass("pcm"), Pieces(), b""
        for piece in pieces:
            for one in decoder.feed(piece):
                found += b"".join(machine.feed(one))
        whole = b"".join(pieces)
        self.assertEqual(found, whole[:-1])
        self.assertEqual(found + b"".join(machine.close()), whole)
        self.assertEqual(machine.began, bool(whole))
        self.assertEqual(decoder.close(), [])

    def test_restream(self) -> None:
        """A recording as events."""
        found = sse.Decoder().feed(audio.restream_speech(b"hi"))
        first = json.loads(found[0].data)
        self.assertEqual(audio.decoded(first["audio"]), b"hi")
        self.assertEqual([one.event for one in found], [audio.DELTA, audio.DONE])


class Transcripts(SynchronousTestCase):
    """What is read of an answer."""

    def read(self, answer: Any, kind: str = "json") -> Plain:
        """The transcript in an answer."""
        body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return audio.read_transcript(body, kind)

    def test_usage(self) -> None:
        """Tokens, seconds, or nothing."""
        tokens = {**USAGE, "input_token_details": {"audio_tokens": 2}}
        found = self.read({"text": "", "usage": tokens}).usage
        self.assertEqual(found, Usage(prompt=3, completion=7, total=10, audio_in=2))
        lasting = {"type": "duration", "seconds": 61.2}
        found = self.read({"text": "", "usage": lasting}).usage
        self.assertEqual(found, Usage(prompt=1033, total=1033))
        for odd in (None, 5, {}, {"seconds": -1}, {"seconds": 1e18}, {"seconds": "x"}):
            self.assertIsNone(self.read({"text": "", "usage": odd}).usage)

    def test_bad_answers(self) -> None:
        """Errors are found in any format; an empty text is silence."""
        error = b'{"error": {"message": "no"}}'
        for kind in ("json", "srt"):
            with self.assertRaises(UpstreamRefused):
                self.read(error, kind)
        with self.assertRaises(EmptyAnswer):
            self.read(b" ")
        with self.assertRaises(BadUpstreamBody):
            self.read(b"hello")
        self.assertEqual(self.read(b"", "text").body, b"")
        self.assertEqual(self.read(b'{"a":1}', "vtt").body, b'{"a":1}')

    def test_stream(self) -> None:
        """Deltas and segments are content; the last event brings the usage."""
        machine = TranscriptPass()
        data = (
            event(audio.SAID, delta="a")
            + event("transcript.text.segment", text="a")
            + event(audio.TOLD, text="a", usage={"type": "duration", "seconds": 60})
        )
        self.assertEqual(eaten(machine, data, 7), data)
        self.assertEqual(machine.usage, Usage(prompt=1000, total=1000))

    def test_there_and_back(self) -> None:
        """A transcript becomes a stream and a transcript again."""
        answer = {"text": "hi", "usage": USAGE}
        found = sse.Decoder().feed(audio.restream_transcript(answer))
        values = [json.loads(one.data) for one in found]
        self.assertEqual(audio.transcript_of(values), answer)
        self.assertEqual(audio.transcript_of(values[:1]), {"text": "hi"})
