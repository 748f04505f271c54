"""Failures as clients of each dialect see them."""

from __future__ import annotations

from typing import Any

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import errors
from knight_tw.errors import KnightError
from knight_tw.records import Dialect
from knight_tw.wire import envelope
from knight_tw.wire.envelope import in_stream, render, retry_after, retry_after_text

MESSAGE = "no such token (request id: R1)"
OURS = {
    "message": MESSAGE,
    "type": "new_api_error",
    "param": None,
    "code": "invalid_api_key",
}
REASON = {
    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
    "reason": "invalid_api_key",
    "domain": "knight-omega",
}
GOOGLE = {
    "code": 401,
    "message": MESSAGE,
    "status": "UNAUTHENTICATED",
    "details": [REASON],
}

SHAPES: dict[Dialect, Any] = {
    Dialect.CHAT: {"error": OURS},
    Dialect.RESPONSES: {"error": OURS},
    Dialect.CLAUDE: {
        "type": "error",
        "error": {"type": "authentication_error", "message": MESSAGE},
        "request_id": "R1",
    },
    Dialect.GEMINI: {"error": GOOGLE},
    Dialect.REALTIME: {"type": "error", "event_id": "evt_R1", "error": OURS},
    Dialect.TASK: {
        "code": "invalid_api_key",
        "message": MESSAGE,
        "data": None,
        "error": OURS,
    },
    Dialect.MJ: {"description": MESSAGE, "type": "upstream_error", "code": 4},
    Dialect.API: {"success": False, "message": MESSAGE},
}

STATUSES = (
    (400, "invalid_request_error", "INVALID_ARGUMENT"),
    (401, "authentication_error", "UNAUTHENTICATED"),
    (402, "billing_error", "FAILED_PRECONDITION"),
    (403, "permission_error", "PERMISSION_DENIED"),
    (404, "not_found_error", "NOT_FOUND"),
    (413, "request_too_large", "INVALID_ARGUMENT"),
    (418, "invalid_request_error", "FAILED_PRECONDITION"),
    (429, "rate_limit_error", "RESOURCE_EXHAUSTED"),
    (500, "api_error", "INTERNAL"),
    (501, "api_error", "UNIMPLEMENTED"),
    (502, "api_error", "INTERNAL"),
    (503, "overloaded_error", "UNAVAILABLE"),
    (504, "timeout_error", "DEADLINE_EXCEEDED"),
    (507, "api_error", "UNKNOWN"),
    (524, "timeout_error", "DEADLINE_EXCEEDED"),
    (529, "overloaded_error", "UNAVAILABLE"),
)


def body(error: KnightError, dialect: Dialect, *args: Any) -> Any:
    """The rendered body, parsed."""
    return msgspec.json.decode(render(error, dialect, *args))


class Rendering(SynchronousTestCase):
    """`render`."""

    def test_shapes(self) -> None:
        """Each dialect's clients get the body that they can read."""
        for dialect in Dialect:
            with self.subTest(dialect=dialect):
                error = errors.InvalidKey("no such token")
                self.assertEqual(body(error, dialect, "R1"), SHAPES[dialect])

    def test_statuses(self) -> None:
        """Claude types and Google words follow the status."""
        for status, claude, google in STATUSES:
            error = KnightError("m", status=status)
            self.assertEqual(body(error, Dialect.CLAUDE)["error"]["type"], claude)
            self.assertEqual(body(error, Dialect.GEMINI)["error"]["status"], google)

    def test_midjourney_codes(self) -> None:
        """Not found, saturated, refused and failed have numbers of their own."""
        codes = [
            body(KnightError("m", status=status), Dialect.MJ)["code"]
            for status in (404, 429, 403, 500)
        ]
        self.assertEqual(codes, [3, 30, 4, 5])

    def test_a_providers_words_are_kept(self) -> None:
        """Type, code and param of the provider reach the client."""
        error = envelope.read_failure(
            400, b'{"error":{"message":"m","type":"t","param":"p","code":"c"}}'
        )
        expected = {"message": "m", "type": "t", "param": "p", "code": "c"}
        self.assertEqual(body(error, Dialect.CHAT)["error"], expected)

    def test_a_provider_without_code(self) -> None:
        """A provider's missing code is null, a bare 404's empty one stays empty."""
        error = envelope.read_failure(400, b'{"error":{"message":"m","code":null}}')
        self.assertIsNone(body(error, Dialect.CHAT)["error"]["code"])
        bare = errors.NotFound(
            "Invalid URL (GET /v1/x)", code="", type="invalid_request_error", param=""
        )
        self.assertEqual(
            body(bare, Dialect.CHAT)["error"],
            {
                "message": "Invalid URL (GET /v1/x)",
                "type": "invalid_request_error",
                "param": "",
                "code": "",
            },
        )

    def test_a_claude_providers_type(self) -> None:
        """A Claude type stays on a Claude route, also one we never heard of."""
        error = envelope.read_failure(
            400, b'{"type":"error","error":{"type":"new_error","message":"m"}}'
        )
        self.assertEqual(body(error, Dialect.CLAUDE)["error"]["type"], "new_error")
        other = envelope.read_failure(404, b'{"error":{"type":"x","message":"m"}}')
        self.assertEqual(
            body(other, Dialect.CLAUDE)["error"]["type"], "not_found_error"
        )

    def test_masking(self) -> None:
        """A provider's message is masked, our own is not."""
        theirs = errors.UpstreamRefused("at api.example.com with abcdef", upstream=True)
        shown = body(theirs, Dialect.CHAT, "", ["abcdef"])["error"]["message"]
        self.assertEqual(shown, "at *** with ***")
        ours = errors.InvalidRequest("no model example.com")
        shown = body(ours, Dialect.CHAT)["error"]["message"]
        self.assertEqual(shown, "no model example.com")


class InStream(SynchronousTestCase):
    """`in_stream`."""

    def test_framing(self) -> None:
        """The error ends the stream as the dialect's clients expect it."""
        error = errors.InvalidKey("no such token")
        for dialect, before, after in (
            (Dialect.CHAT, b"data: ", b"\n\ndata: [DONE]\n\n"),
            (Dialect.CLAUDE, b"event: error\ndata: ", b"\n\n"),
            (Dialect.GEMINI, b"data: ", b"\n\n"),
            (Dialect.REALTIME, b"", b""),
        ):
            with self.subTest(dialect=dialect):
                found = in_stream(error, dialect, "R1")
                self.assertTrue(found.startswith(before) and found.endswith(after))
                middle = found[len(before) : len(found) - len(after)]
                self.assertEqual(msgspec.json.decode(middle), SHAPES[dialect])

    def responses(self, error: KnightError, **more: Any) -> tuple[bytes, Any]:
        """Name and object of the Responses event."""
        found = in_stream(error, Dialect.RESPONSES, "R1", **more)
        name, _, rest = found.partition(b"\ndata: ")
        return name, msgspec.json.decode(rest)

    def test_responses_before_the_beginning(self) -> None:
        """Without a response object an `error` event is sent."""
        error = errors.InvalidRequest("m", param="p")
        name, event = self.responses(error)
        self.assertEqual(name, b"event: error")
        self.assertEqual(
            event,
            {
                "type": "error",
                "sequence_number": 0,
                "code": "invalid_request",
                "message": "m (request id: R1)",
                "param": "p",
            },
        )

    def test_responses_later(self) -> None:
        """The response object comes back as failed."""
        known = {"id": "resp_1", "status": "in_progress", "output": []}
        error = KnightError("m", code="")
        name, event = self.responses(error, response=known, sequence_number=7)
        self.assertEqual(name, b"event: response.failed")
        self.assertEqual(event["sequence_number"], 7)
        failed = {"code": "server_error", "message": "m (request id: R1)"}
        self.assertEqual(
            event["response"], {**known, "status": "failed", "error": failed}
        )


class Waiting(SynchronousTestCase):
    """`Retry-After`, read and written."""

    def test_read(self) -> None:
        """Milliseconds before seconds before dates; nonsense is none."""
        date = "Wed, 21 Oct 2015 07:28:00 GMT"
        for headers, expected in (
            ({"retry-after": "3"}, 3.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
            ({"retry-after-ms": "x", "retry-after": "3"}, 3.0),
            ({"retry-after": "-3"}, 0.0),
            ({"retry-after": "99999999"}, envelope.LONGEST_WAIT),
            ({"retry-after": date}, 10.0),
            ({"retry-after": "inf"}, None),
            ({"retry-after": "nan"}, None),
            ({"retry-after": "soon"}, None),
            ({}, None),
        ):
            with self.subTest(headers=headers):
                found = retry_after(headers.items(), now=1445412480.0 - 10)
                self.assertEqual(found, expected)

    def test_written(self) -> None:
        """Whole seconds, rounded up, at least one."""
        self.assertEqual(
            [retry_after_text(s) for s in (0.0, 1.2, 5.0)], ["1", "2", "5"]
        )
