"""JSON that providers send."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody, EmptyAnswer, UpstreamRefused
from knight_tw.records import Usage
from knight_tw.wire import answers
from knight_tw.wire.answers import Reading, read_plain

VECTOR = b'{"object":"list","data":[{"embedding":[%s]}],"model":"up","usage":%s}'
LARGE = b",".join([b"0.50"] * 3000)


class Decoding(SynchronousTestCase):
    """Reading without trust."""

    def test_objects(self) -> None:
        """An object, or the only one in a list, is decoded."""
        self.assertEqual(answers.decode_object(b'{"a":1}'), {"a": 1})
        self.assertEqual(answers.decode_object(b'[{"a":1}]'), {"a": 1})

    def test_everything_else(self) -> None:
        """What is no object is a bad body whose beginning only logs see."""
        for body in (b"", b"<html>", b"[1]", b"[]", b"\xff", b"[" * 9999, b"1e999"):
            error = self.assertRaises(BadUpstreamBody, answers.decode_object, body)
            self.assertNotIn("<html>", error.message)
            self.assertRaises(BadUpstreamBody, answers.read_members, body)

    def test_replaced(self) -> None:
        """Members are replaced or added, others keep their bytes."""
        found = answers.replaced(b'{"model":"a","x":1.0}', {"model": "b", "id": "i"})
        self.assertEqual(found, b'{"model":"b","x":1.0,"id":"i"}')


def hidden(answer: Mapping[str, Any]) -> tuple[int, str] | None:
    """A provider's own way to say that it failed."""
    return (429, "slow down") if answer.get("oops") else None


class Errors(SynchronousTestCase):
    """Errors inside 200 answers."""

    def test_common_and_own(self) -> None:
        """A provider's own form wins, then the common one, then nothing is raised."""
        error = self.assertRaises(
            UpstreamRefused, answers.refuse_errors, {"oops": 1, "error": "m"}, hidden
        )
        self.assertEqual((error.status, error.message), (429, "slow down"))
        self.assertTrue(error.upstream)
        error = self.assertRaises(
            UpstreamRefused, answers.refuse_errors, {"error": {"message": "m"}}, hidden
        )
        self.assertEqual((error.status, error.message), (502, "m"))
        self.assertIsNone(answers.refuse_errors({"data": []}, hidden))

    def test_finish_reasons(self) -> None:
        """Own finish reasons become OpenAI's, or a failure that may be retried."""
        names = {"full": "length", "broken": "error"}
        answer: dict[str, Any] = {
            "choices": [{"finish_reason": "full"}, {"finish_reason": None}]
        }
        answers.rename_reasons(answer, names)
        reasons = [choice["finish_reason"] for choice in answer["choices"]]
        self.assertEqual(reasons, ["length", None])
        answers.rename_reasons({}, names)
        answer["choices"] = [{"finish_reason": "broken"}]
        error = self.assertRaises(
            UpstreamRefused, answers.rename_reasons, answer, names
        )
        self.assertTrue(error.retryable)


class Plain(SynchronousTestCase):
    """`read_plain`."""

    def test_bytes_and_usage(self) -> None:
        """The answer goes on as it came; the usage is read."""
        body = VECTOR % (LARGE, b'{"prompt_tokens":5,"total_tokens":5}')
        plain = read_plain(body)
        self.assertEqual(plain.body, body)
        self.assertEqual(plain.usage, Usage(prompt=5, completion=0, total=5))

    def test_model(self) -> None:
        """The client's name is written back, numbers keep their spelling."""
        plain = read_plain(VECTOR % (LARGE, b"null"), model="mine")
        self.assertEqual(msgspec.json.decode(plain.body)["model"], "mine")
        self.assertIn(b"0.50,0.50", plain.body)
        self.assertIsNone(plain.usage)

    def test_no_model_to_replace(self) -> None:
        """A model is not added to an answer that names none."""
        self.assertEqual(read_plain(b'{"data":[]}', model="m").body, b'{"data":[]}')

    def test_own_usage(self) -> None:
        """The provider's spelling is completed first."""

        def complete(usage: dict[str, Any]) -> None:
            usage["prompt_tokens"] = usage["all"]

        plain = read_plain(b'{"usage":{"all":3}}', reading=Reading(complete=complete))
        self.assertEqual(plain.usage, Usage(prompt=3, completion=0, total=3))

    def test_own_form(self) -> None:
        """An answer in the provider's own form is brought into OpenAI's."""

        def unwrap(answer: dict[str, Any]) -> dict[str, Any]:
            return {"data": answer["v"], "model": "own", "usage": {"total_tokens": 2}}

        reading = Reading(unwrap=unwrap)
        plain = read_plain(b'{"v":[1]}', model="mine", reading=reading)
        expected = {"data": [1], "model": "mine", "usage": {"total_tokens": 2}}
        self.assertEqual(msgspec.json.decode(plain.body), expected)
        self.assertEqual(plain.usage and plain.usage.prompt, 2)
        found = msgspec.json.decode(read_plain(b'{"v":[]}', reading=reading).body)
        self.assertEqual(found["model"], "own")
        self.assertRaises(
            UpstreamRefused, read_plain, b'{"error":"e"}', reading=reading
        )

    def test_errors(self) -> None:
        """An error in the body is raised, also one in a list."""
        for body in (b'{"error":{"message":"m"}}', b'[{"error":"m"}]'):
            error = self.assertRaises(UpstreamRefused, read_plain, body)
            self.assertEqual(error.message, "m")
        reading = Reading(raised_error=hidden)
        error = self.assertRaises(
            UpstreamRefused, read_plain, b'{"oops":1}', reading=reading
        )
        self.assertEqual(error.status, 429)

    def test_nothing_and_nonsense(self) -> None:
        """Nothing may be retried, nonsense may not: it has been charged."""
        self.assertRaises(EmptyAnswer, read_plain, b" \n")
        self.assertRaises(EmptyAnswer, read_plain, b"")
        for body in (b"<html>", b"[1]", b'{"a":1e999}', b'[{"data":1}]'):
            self.assertRaises(BadUpstreamBody, read_plain, body)
