"""Pictures: requests, answers, streams."""

from __future__ import annotations

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
from knight_tw.records import Mode, Usage
from knight_tw.wire import images, sse
from knight_tw.wire.images import ImagesPass

USAGE = {"input_tokens": 3, "output_tokens": 7, "total_tokens": 10}


def event(kind: str, **members: Any) -> bytes:
    """One event of a stream."""
    return sse.encode(json.dumps({"type": kind, **members}).encode(), kind)


def eaten(machine: Any, data: bytes, size: int = 0) -> bytes:
    """What a machine makes of a stream."""
    decoder, found = sse.Decoder(), b""
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else []
    for piece in pieces or [data]:
        for one in decoder.feed(piece):
            found += b"".join(machine.feed(one))
    return found + b"".join(machine.close())


class Requests(SynchronousTestCase):
    """What is read of a request."""

    def test_numbers_sizes_and_qualities(self) -> None:
        """Defaults by the model's name."""
        self.assertEqual(images.picture_count({}), 1)
        self.assertEqual(images.picture_count({"n": 0}), 1)
        self.assertEqual(images.picture_count({"n": 4}), 4)
        self.assertEqual(images.asked_size({}), "")
        self.assertEqual(images.asked_quality({}), "auto")
        self.assertEqual(images.asked_quality({"model": "dall-e-3"}), "standard")
        self.assertEqual(images.asked_quality({"model": "x", "quality": "low"}), "low")

    def test_refused(self) -> None:
        """What a model cannot do."""
        for body in (
            {"model": "dall-e-2", "size": "1792x1024"},
            {"size": 5},
            {"quality": 5},
            {"n": -1},
        ):
            with self.assertRaises(InvalidRequest):
                images.validate(dict(body))
        images.validate({"model": "dall-e-2", "size": "256x256", "n": 10})


class Answers(SynchronousTestCase):
    """What is read of an answer."""

    def test_delivered(self) -> None:
        """By whatever a provider calls them; None for what nobody knows."""
        cases: tuple[tuple[Any, int | None], ...] = (
            ({"data": [{"url": "u"}, {"b64_json": "x"}, {"b64_json": None}]}, 2),
            ({"images": [{"url": "u"}]}, 1),
            ({"data": []}, 0),
            ({"task_id": 1}, None),
            ({"data": "x"}, None),
        )
        for answer, count in cases:
            self.assertEqual(images.delivered(json.dumps(answer).encode()), count)

    def test_read(self) -> None:
        """Bytes stay; nothing delivered is no answer."""
        body = b'{ "data":[{"url":"u"}], "usage":' + json.dumps(USAGE).encode() + b"}"
        answer, count = images.read_answer(body)
        self.assertEqual((answer.body, count), (body, 1))
        self.assertEqual(answer.usage, Usage(prompt=3, completion=7, total=10))
        for bad, error in (
            (b'{"data":[]}', EmptyAnswer),
            (b"", EmptyAnswer),
            (b"x", BadUpstreamBody),
            (b'{"error":{"message":"no"}}', UpstreamRefused),
        ):
            with self.assertRaises(error):
                images.read_answer(bad)


class Streams(SynchronousTestCase):
    """`ImagesPass`."""

    def test_each_picture_reports_its_own(self) -> None:
        """The usage is the sum; the stream is over with the last picture asked for."""
        machine = ImagesPass(2, 1000)
        done = event("image_generation.completed", b64_json="x", usage=USAGE)
        data = event("image_generation.partial_image", b64_json="x") + done + done
        self.assertEqual(eaten(machine, data + done), data)
        self.assertTrue(machine.finished and machine.began)
        self.assertEqual(machine.usage, Usage(prompt=6, completion=14, total=20))
        produced = machine.produced
        self.assertEqual((produced.pictures, produced.painted), (2, 2100))

    def test_the_last_event_waits_for_the_charge(self) -> None:
        """It goes out with `close`, once."""
        machine, data = ImagesPass(1, 1), event("image_edit.completed", b64_json="x")
        (one,) = sse.Decoder().feed(data)
        self.assertEqual(machine.feed(one), [])
        self.assertEqual(machine.close(), [data])
        self.assertEqual(machine.close(), [])

    def test_ark(self) -> None:
        """A picture at a time, the usage of all at last, then `[DONE]`."""
        machine = ImagesPass(1, 1000)
        data = (
            event("image_generation.partial_succeeded", url="u")
            + event("image_generation.partial_failed", error=None)
            + event("image_generation.partial_succeeded", url="u")
            + event("image_generation.completed", usage=USAGE)
        )
        self.assertEqual(eaten(machine, data + sse.DONE), data)
        self.assertEqual(machine.produced.pictures, 2)
        self.assertEqual(machine.usage, Usage(prompt=3, completion=7, total=10))

    def test_cut_off(self) -> None:
        """Without its end nothing is made up; `[DONE]` alone ends it."""
        machine = ImagesPass(1, 1000)
        data = event("keepalive") + event("image_edit.partial_image", b64_json="x")
        self.assertEqual(eaten(machine, data), data)
        self.assertFalse(machine.finished)
        self.assertEqual(eaten(machine, sse.DONE), b"")
        self.assertTrue(machine.finished)

    def test_errors(self) -> None:
        """An error is raised, noise as well."""
        for data, error in (
            (event("error", error={"message": "no"}), UpstreamRefused),
            (sse.encode(b'{"error":{"message":"no"}}'), UpstreamRefused),
            (sse.encode(b"{"), BadUpstreamBody),
        ):
            with self.assertRaises(error):
                eaten(ImagesPass(1, 1), data)

    def test_odd_events_pass(self) -> None:
        """What has members of other types is the client's matter."""
        data = sse.encode(b'{"type": 5}') + sse.encode(b"[1]")
        self.assertEqual(eaten(ImagesPass(1, 1), data), data)

    @settings(max_examples=40, deadline=None)
    @given(st.integers(1, 80), st.integers(1, 3))
    def test_any_pieces(self, size: int, count: int) -> None:
        """A stream comes out as it went in, whatever its pieces."""
        one = event("image_generation.completed", b64_json="x" * 99, usage=USAGE)
        machine = ImagesPass(count, 10)
        self.assertEqual(eaten(machine, one * count, size), one * count)
        self.assertEqual(machine.produced.pictures, count)

    def test_there_and_back(self) -> None:
        """An answer becomes a stream and an answer again."""
        answer = {
            "created": 5,
            "data": [{"b64_json": "x"}, {"url": "u"}],
            "usage": USAGE,
        }
        stream = images.restream({**answer, "size": "1x1"}, Mode.IMAGE_EDITS)
        self.assertIn(b"event: image_edit.completed", stream)
        found = [json.loads(one.data) for one in sse.Decoder().feed(stream)]
        self.assertEqual(images.assembled(found), answer)
        self.assertEqual([one.get("size") for one in found], ["1x1", "1x1"])
