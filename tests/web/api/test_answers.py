"""Tests of the envelope and of reading input, without a site."""

from __future__ import annotations

import json
from decimal import Decimal

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from knight_tw import errors
from knight_tw.web.api import answers
from knight_tw.web.api.answers import Paging, Refusal


def request(target: str = "/api/x", body: bytes = b"", **headers: str) -> Request:
    """A request that has arrived."""
    made = Request(DummyChannel(), False)
    for name, value in headers.items():
        made.requestHeaders.addRawHeader(name.replace("_", "-"), value)
    made.gotLength(len(body))
    made.handleContentChunk(body)
    made.process = lambda: None  # type: ignore[method-assign]
    made.requestReceived(b"GET", target.encode(), b"HTTP/1.1")
    return made


class EnvelopeTests(SynchronousTestCase):
    """`ok`, `page` and `refuse`."""

    def test_ok(self) -> None:
        """Data may be absent or null, the message absent, members added."""
        for raw, expected in (
            (answers.ok(), {"success": True, "message": ""}),
            (answers.ok(None), {"success": True, "message": "", "data": None}),
            (answers.ok([]), {"success": True, "message": "", "data": []}),
            (answers.ok({}, message=None), {"success": True, "data": {}}),
            (
                answers.ok(1, "done", time=2),
                {"success": True, "message": "done", "data": 1, "time": 2},
            ),
        ):
            self.assertEqual(json.loads(raw), expected)

    def test_decimal(self) -> None:
        """A Decimal is a number with its digits."""
        raw = answers.ok(Decimal("0.1"), message=None)
        self.assertEqual(raw, b'{"success":true,"data":0.1}')

    def test_page(self) -> None:
        """A page has its members, a plain one is the array."""
        asked = Paging(2, 10)
        data = json.loads(answers.page([1], 11, asked, vendor_counts={}))["data"]
        self.assertEqual(
            data,
            {
                "page": 2,
                "page_size": 10,
                "total": 11,
                "items": [1],
                "vendor_counts": {},
            },
        )
        self.assertEqual(asked.offset, 10)
        data = json.loads(answers.page([], 0, Paging(1, 10, True)))["data"]
        self.assertEqual(data, [])

    def test_statuses(self) -> None:
        """A code decides the status, an explicit one wins, `real` changes the rest."""
        for refusal, plain, real in (
            (Refusal("x"), 200, 422),
            (Refusal("x", code="not_found"), 200, 404),
            (Refusal("x", code="name_taken"), 200, 409),
            (Refusal("x", code="AUTH_UNAUTHORIZED"), 401, 401),
            (Refusal("x", code="rate_limited"), 429, 429),
            (Refusal("x", 403, "not_configured"), 403, 403),
            (Refusal("x", code="of_the_future"), 200, 422),
        ):
            for headers, expected in (({}, plain), ({"X-Knight-Status": "real"}, real)):
                made = request(**headers)
                body = json.loads(answers.refuse(made, refusal))
                self.assertEqual(made.code, expected, refusal.code)
                self.assertEqual(body["success"], False)
                self.assertEqual(body["code"], refusal.code)
                self.assertEqual(body["params"], {})

    def test_retry_after(self) -> None:
        """Waiting times are whole seconds, rounded up, at least one."""
        for wait, expected in ((0.0, "1"), (0.2, "1"), (1.2, "2"), (30, "30")):
            made = request()
            answers.refuse(made, Refusal("x", code="rate_limited", retry_after=wait))
            found = made.responseHeaders.getRawHeaders("Retry-After")
            self.assertEqual(found, [expected])

    def test_members(self) -> None:
        """A refusal may have further members."""
        refusal = Refusal("x", params={"field": "a"}, members={"time": 1.5})
        body = json.loads(answers.refuse(request(), refusal))
        self.assertEqual((body["time"], body["params"]), (1.5, {"field": "a"}))


class ErrorTests(SynchronousTestCase):
    """`from_error`."""

    def test_codes(self) -> None:
        """Errors from below speak the codes of the management API."""
        for error, code in (
            (errors.DatabaseAway("x"), "database_unavailable"),
            (errors.RateLimited("x", retry_after=3), "rate_limited"),
            (errors.NotFound("x"), "not_found"),
            (errors.NoPrice("x"), "model_price_error"),
            (errors.InvalidRequest("x", param="a"), "invalid_field"),
            (errors.InvalidRequest("x", code="address_refused"), "address_refused"),
            (errors.UpstreamFailed("x"), "upstream_failed"),
            (errors.UpstreamRefused("x", upstream=True, status=401), "upstream_failed"),
            (errors.KnightError("x"), "internal_error"),
            (errors.KnightError("x", status=409, code="locked"), "locked"),
        ):
            self.assertEqual(answers.from_error(error).code, code, error)

    def test_params(self) -> None:
        """The field and the upstream's status are told."""
        refusal = answers.from_error(errors.InvalidRequest("x", param="a.b"))
        self.assertEqual(refusal.params, {"field": "a.b"})
        refusal = answers.from_error(errors.UpstreamFailed("x"))
        self.assertEqual(refusal.params, {"status": 502})


class BodyTests(SynchronousTestCase):
    """`json_body` and the readers of members."""

    def test_objects(self) -> None:
        """Only a JSON object is a body."""
        self.assertEqual(answers.json_body(request(body=b'{"a":1}')), {"a": 1})
        self.assertEqual(answers.json_body(request(body=b" "), optional=True), {})
        deep = b"[" * 100_000
        for raw in (
            b"",
            b"null",
            b"[1]",
            b"{",
            b'"x"',
            b"\xff\xfe",
            b'{"a":"\xff"}',
            deep,
        ):
            refused = self.assertRaises(Refusal, answers.json_body, request(body=raw))
            self.assertEqual(refused.code, "malformed_body")

    def test_integer(self) -> None:
        """What looks like an integer is one."""
        for value, expected in ((5, 5), ("5", 5), (" -3 ", -3), (5.0, 5), ("+7", 7)):
            self.assertEqual(answers.integer({"a": value}, "a"), expected)
        for value in (True, "x", "5.5", 5.5, [], {}, "1" * 30, 2**63):
            refused = self.assertRaises(Refusal, answers.integer, {"a": value}, "a")
            self.assertEqual(refused.code, "invalid_field", value)
        for value in (None, ""):
            refused = self.assertRaises(Refusal, answers.integer, {"a": value}, "a")
            self.assertEqual(refused.code, "missing_field")
            self.assertIsNone(answers.integer({"a": value}, "a", None))

    def test_range(self) -> None:
        """Bounds are inclusive and named in the refusal."""
        self.assertEqual(answers.integer({"a": 1}, "a", least=1, most=1), 1)
        low = self.assertRaises(Refusal, answers.integer, {"a": 0}, "a", least=1)
        self.assertEqual(low.params, {"field": "a", "rule": "at least 1"})
        high = self.assertRaises(Refusal, answers.integer, {"a": 2}, "a", most=1)
        self.assertEqual(high.params, {"field": "a", "rule": "at most 1"})

    def test_text(self) -> None:
        """Length counts characters."""
        self.assertEqual(answers.text({"a": "üü"}, "a", longest=2), "üü")
        self.assertEqual(answers.text({}, "a", "x"), "x")
        for body in ({"a": 5}, {"a": "xxx"}, {"a": ["x"]}):
            refused = self.assertRaises(Refusal, answers.text, body, "a", longest=2)
            self.assertEqual(refused.code, "invalid_field")
        refused = self.assertRaises(Refusal, answers.text, {"a": None}, "a")
        self.assertEqual(refused.code, "missing_field")

    def test_flag(self) -> None:
        """Booleans, 0 and 1, and the words."""
        for value in (True, 1, "true", "True", "1"):
            self.assertIs(answers.flag({"a": value}, "a"), True)
        for value in (False, 0, "false", "0"):
            self.assertIs(answers.flag({"a": value}, "a"), False)
        for value in ("yes", 2, [], ""):
            refused = self.assertRaises(Refusal, answers.flag, {"a": value}, "a")
            self.assertEqual(refused.code, "invalid_field", value)
        self.assertIs(answers.flag({}, "a", True), True)
        missing = self.assertRaises(Refusal, answers.flag, {}, "a")
        self.assertEqual(missing.code, "missing_field")


class QueryTests(SynchronousTestCase):
    """Arguments of the query."""

    def test_flag(self) -> None:
        """Any value but an empty one, 0 and false is true."""
        for target, expected in (
            ("/x?status_only=true", True),
            ("/x?status_only=1", True),
            ("/x?status_only=yes", True),
            ("/x?status_only=", False),
            ("/x?status_only=0", False),
            ("/x?status_only=false", False),
            ("/x", False),
        ):
            found = answers.query_flag(request(target), "status_only")
            self.assertEqual(found, expected, target)

    def test_text(self) -> None:
        """The first value counts; broken UTF-8 is replaced."""
        self.assertEqual(answers.query(request("/x?a=%20b%20&a=c"), "a"), "b")
        self.assertEqual(answers.query(request("/x?a=%ff"), "a"), "\ufffd")
        self.assertEqual(answers.query(request("/x"), "a", "d"), "d")

    def test_largest(self) -> None:
        """Our own lists may be longer."""
        found = answers.paging(request("/x?page_size=150"), 200)
        self.assertEqual(found.size, 150)
