"""Reading providers' failures."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UPSTREAM_TYPE, ClaudeRefused, UpstreamRefused
from knight_tw.wire import failure
from knight_tw.wire.failure import find_error, read_failure

UNREAD = "bad_response_status_code"

BODIES: tuple[tuple[str, Any, tuple[str, str, str, str | None]], ...] = (
    (
        "openai",
        {"error": {"message": "m", "type": "t", "param": "p", "code": "c"}},
        ("m", "t", "c", "p"),
    ),
    (
        "openai, nulls",
        {"error": {"message": "m", "type": None, "param": None, "code": None}},
        ("m", UPSTREAM_TYPE, "", None),
    ),
    (
        "claude",
        {"type": "error", "error": {"type": "overloaded_error", "message": "m"}},
        ("m", "overloaded_error", "", None),
    ),
    (
        "gemini in a list",
        [{"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED"}}],
        ("m", "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", None),
    ),
    (
        "numeric code",
        {"error": {"message": "m", "code": 42}},
        ("m", UPSTREAM_TYPE, "42", None),
    ),
    ("text", {"error": "m", "code": "c"}, ("m", UPSTREAM_TYPE, "c", None)),
    (
        "mistral",
        {"object": "error", "message": "m", "type": "t", "code": "1"},
        ("m", "t", "1", None),
    ),
    ("msg", {"msg": "m", "code": True}, ("m", UPSTREAM_TYPE, "", None)),
    ("err", {"err": " m "}, ("m", UPSTREAM_TYPE, "", None)),
    ("baidu", {"error_code": 17, "error_msg": "m"}, ("m", UPSTREAM_TYPE, "17", None)),
    ("detail", {"detail": "m"}, ("m", UPSTREAM_TYPE, "", None)),
    (
        "fastapi",
        {"detail": [{"loc": ["body", "n"], "msg": "bad"}, "more", {"x": 1}, 5]},
        ("body.n: bad; more", UPSTREAM_TYPE, "", None),
    ),
    ("detail object", {"detail": {"message": "m"}}, ("m", UPSTREAM_TYPE, "", None)),
    ("xunfei", {"header": {"message": "m"}}, ("m", UPSTREAM_TYPE, "", None)),
    (
        "responses",
        {"response": {"error": {"message": "m", "code": "c"}}},
        ("m", UPSTREAM_TYPE, "c", None),
    ),
    (
        "cloudflare",
        {"success": False, "errors": [{"code": 1, "message": "m"}]},
        ("m", UPSTREAM_TYPE, "", None),
    ),
    ("minimax", {"base_resp": {"status_msg": "m"}}, ("m", UPSTREAM_TYPE, "", None)),
    (
        "openrouter",
        {"error": {"message": "m", "code": 429, "metadata": {"raw": "inner"}}},
        ("m [inner]", UPSTREAM_TYPE, "429", None),
    ),
    (
        "openrouter, raw object",
        {"error": {"message": "m", "metadata": {"raw": {"a": 1}}}},
        ('m [{"a":1}]', UPSTREAM_TYPE, "", None),
    ),
    ("type alone", {"error": {"type": "t"}}, ("t", "t", "", None)),
    ("nested text", {"error": {"error": "m"}}, ("m", UPSTREAM_TYPE, "", None)),
)

UNREADABLE = (
    b"",
    b"<html>Bad gateway</html>",
    b"\xff",
    b"[1, 2]",
    b'"x"',
    b"{}",
    b"[" * 9999,
)


class Failures(SynchronousTestCase):
    """`read_failure`."""

    def test_shapes(self) -> None:
        """Each known shape gives message, type, code and param; the status stays."""
        for name, body, expected in BODIES:
            with self.subTest(name=name):
                error = read_failure(418, json.dumps(body).encode())
                found = (error.message, error.type, error.code, error.param)
                self.assertEqual(found, expected)
                self.assertEqual((error.status, error.upstream), (418, True))

    def test_unreadable(self) -> None:
        """What cannot be read becomes the status, and logs see how it began."""
        for body in UNREADABLE:
            error = read_failure(502, body)
            self.assertEqual(error.message, "bad response status code 502")
            self.assertEqual((error.code, error.type), (UNREAD, UPSTREAM_TYPE))
        self.assertIn("Bad gateway", read_failure(502, UNREADABLE[1]).detail)

    def test_empty_error_object(self) -> None:
        """An error object without words is told by the status."""
        error = read_failure(500, b'{"error":{"x":1}}')
        self.assertEqual(error.message, "bad response status code 500")

    def test_bounds(self) -> None:
        """Neither a large body nor a large message goes on whole."""
        huge = json.dumps({"message": "m" * failure.READ_LIMIT}).encode()
        self.assertEqual(read_failure(500, huge).code, UNREAD)
        long = read_failure(500, json.dumps({"message": "m" * 20_000}).encode())
        self.assertEqual(len(long.message), failure.MESSAGE_LIMIT)
        self.assertEqual(len(long.detail), failure.DETAIL_LIMIT)

    def test_only_claude_bodies_are_claude(self) -> None:
        """The type is kept as a Claude type only from a body of Claude's shape."""
        claude = b'{"type":"error","error":{"type":"new_error","message":"m"}}'
        self.assertIsInstance(read_failure(400, claude), ClaudeRefused)
        openai = b'{"error":{"type":"invalid_request_error","message":"m"}}'
        self.assertNotIsInstance(read_failure(404, openai), ClaudeRefused)
        bare = b'{"type":"error","error":{"message":"m"}}'
        self.assertNotIsInstance(read_failure(404, bare), ClaudeRefused)

    def test_wait_and_metadata_are_kept(self) -> None:
        """The provider's wait and extra members stay with the error."""
        body = b'{"error":{"message":"m","metadata":{"a":1}}}'
        error = read_failure(429, body, 2.5)
        self.assertEqual((error.retry_after, error.metadata), (2.5, {"a": 1}))
        self.assertIsNone(error.retryable)

    @settings(max_examples=100, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        [
                            "error",
                            "message",
                            "detail",
                            "header",
                            "response",
                            "type",
                            "code",
                            "errors",
                            "metadata",
                            "raw",
                            "loc",
                            "base_resp",
                            "status",
                        ]
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_never_fails(self, body: Any) -> None:
        """Whatever stands in a body, reading it gives an error and a message."""
        self.assertTrue(read_failure(500, json.dumps(body).encode()).message)
        found = find_error(body)
        self.assertTrue(found is None or found.message)


class ErrorsInAnswers(SynchronousTestCase):
    """`find_error`."""

    def found(self, answer: Any) -> UpstreamRefused:
        """The error that must be in `answer`."""
        error = find_error(answer)
        assert error is not None
        return error

    def test_answers_without_error(self) -> None:
        """Ordinary answers, with null or empty error members, report nothing."""
        for answer in (
            {"choices": []},
            {"error": None, "choices": []},
            {"error": {}, "choices": []},
            {"error": "", "choices": []},
            {"error": {"type": None, "message": ""}},
            {"type": "response.created", "response": {"error": None}},
            {"message": "hello"},
            [],
            None,
            "error",
        ):
            with self.subTest(answer=answer):
                self.assertIsNone(find_error(answer))

    def test_statuses(self) -> None:
        """The error's own number, what its Claude type means, else 502."""
        for answer, status in (
            ({"error": {"message": "m"}}, 502),
            ({"error": {"message": "m", "code": 429}}, 429),
            ({"error": {"message": "m", "code": "503"}}, 503),
            ({"error": {"message": "m", "code": 20012}}, 502),
            ({"error": {"message": "m", "code": True}}, 502),
            ({"error": {"message": "m", "status": 418}}, 418),
            ({"error": "m", "status": 400}, 400),
            ({"error": {"type": "t"}}, 502),
            ({"error": {"code": "c"}}, 502),
            ({"type": "error", "error": {"type": "overloaded_error"}}, 529),
            ({"type": "error", "error": {"type": "rate_limit_error"}}, 429),
            ({"type": "error", "error": {"type": "unheard_of"}}, 502),
            ([{"error": {"code": 400, "message": "m", "status": "X"}}], 400),
            ({"response": {"status": "failed", "error": {"message": "m"}}}, 502),
        ):
            with self.subTest(answer=answer):
                self.assertEqual(self.found(answer).status, status)
