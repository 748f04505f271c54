"""Reading the top level of a request body."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import InvalidRequest
from knight_tw.wire import top

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=8,
)

FORMS = (
    {"separators": (",", ":")},
    {},
    {"indent": 2},
    {"ensure_ascii": False},
)
"""How JSON libraries write: compact, with blanks, with line breaks, in UTF-8."""


def raw(value: Any) -> Raw:
    """Undecoded JSON."""
    return Raw(json.dumps(value).encode())


class ReadTop(SynchronousTestCase):
    """`read_top`."""

    def refused(self, body: bytes) -> InvalidRequest:
        """The error that reading `body` ends in."""
        return self.assertRaises(InvalidRequest, top.read_top, body)

    def test_members_keep_their_bytes(self) -> None:
        """A member is the very text that the client wrote."""
        members = top.read_top(b'{"model":"m", "top_p": 0.50,"messages":[ 1 ]}')
        self.assertEqual(bytes(members["top_p"]), b"0.50")
        self.assertEqual(bytes(members["messages"]), b"[ 1 ]")

    def test_encoded_again_the_rest_is_untouched(self) -> None:
        """Replacing one member leaves the others byte for byte."""
        body: dict[str, Any] = dict(top.read_top(b'{"model":"m","x":1.10}'))
        body["model"] = "n"
        self.assertEqual(top.encode(body), b'{"model":"n","x":1.10}')

    @settings(max_examples=60, deadline=None)
    @given(st.dictionaries(st.text(), VALUES, max_size=6), st.sampled_from(FORMS))
    def test_any_object_is_read(self, value: dict[str, Any], form: Any) -> None:
        """Every object is read to its members, however it is written."""
        body = json.dumps(value, **form).encode()
        members = top.read_top(body)
        found = {name: msgspec.json.decode(text) for name, text in members.items()}
        self.assertEqual(found, value)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.tuples(st.sampled_from("abcé"), VALUES), min_size=1, max_size=6),
        st.sampled_from(["", " ", "\n  "]),
    )
    def test_no_member_twice(self, members: list[tuple[str, Any]], blank: str) -> None:
        """A body is refused exactly when it names a member more than once."""
        texts = [f"{json.dumps(n)}:{blank}{json.dumps(v)}" for n, v in members]
        body = "{%s}" % f",{blank}".join(texts)  # noqa: UP031 - braces around
        if len({name for name, _ in members}) == len(members):
            self.assertEqual(len(top.read_top(body.encode())), len(members))
        else:
            self.refused(body.encode())

    def test_repeats_that_hide(self) -> None:
        """Escapes, blanks and equal lengths do not hide a second member."""
        for body in (
            b'{"model":"a","mod\\u0065l":"b"}',
            b'{"model":"a" ,"model":"a"}',
            b'{"model":"aaaaaa","model":"b"}',
            b'{"a":1,"model":"b","a":1}',
            b'{"model":null,"model":null}',
            b'{"a":1, "a":1, "b":2}',
        ):
            with self.subTest(body=body):
                self.refused(body)

    def test_not_json(self) -> None:
        """What is no JSON, no object or no UTF-8 is refused with status 400."""
        for body in (
            b"",
            b"{",
            b"[]",
            b"null",
            b'"text"',
            b'{"a":1}x',
            b'{"a":NaN}',
            b'{"a":"\xff"}',
            b'{"\xff":1}',
            b"\xef\xbb\xbf{}",
        ):
            with self.subTest(body=body):
                self.assertEqual(self.refused(body).status, 400)

    def test_deep_nesting(self) -> None:
        """Nesting beyond what can be read is refused, not a crash."""
        error = self.refused(b'{"a":' + b"[" * 100_000)
        self.assertEqual(error.message, top.TOO_DEEP)

    def test_empty_object(self) -> None:
        """An object without members is an object."""
        self.assertEqual(top.read_top(b"{}"), {})
        self.assertEqual(top.read_top(b" { } "), {})


class Members(SynchronousTestCase):
    """Reading single members."""

    def test_plain_values_and_raw_ones(self) -> None:
        """A member is decoded when it still is text, else taken as it is."""
        body = {"a": raw([1]), "b": 2}
        self.assertEqual(top.plain(body, "a"), [1])
        self.assertEqual(top.plain(body, "b"), 2)
        self.assertIsNone(top.plain(body, "c"))

    def test_unreadable_member(self) -> None:
        """A member that cannot be decoded is refused by its name."""
        for text in (b"1e999", b"[" * 5000 + b"]" * 5000, b'"\\ud800"'):
            body = {"x": Raw(text)}
            error = self.assertRaises(InvalidRequest, top.plain, body, "x")
            self.assertEqual(error.param, "x")

    def test_members_of_a_member(self) -> None:
        """An undecoded object is read one level deep; anything else is refused."""
        self.assertEqual(bytes(top.members(raw({"a": 1}), "p")["a"]), b"1")
        error = self.assertRaises(InvalidRequest, top.members, raw([1]), "p")
        self.assertEqual(error.param, "p")

    def test_filled(self) -> None:
        """Null, and empty texts, lists and objects, are not filled."""
        for value in (None, "", [], {}):
            self.assertFalse(top.filled({"x": raw(value)}, "x"))
            self.assertFalse(top.filled({"x": value}, "x"))
        for value in ("a", [0], {"a": 1}, 0, False):
            self.assertTrue(top.filled({"x": raw(value)}, "x"))
            self.assertTrue(top.filled({"x": value}, "x"))
        self.assertFalse(top.filled({"x": Raw(b"[ \n ]")}, "x"))
        self.assertFalse(top.filled({}, "x"))

    def test_require(self) -> None:
        """A required member must be filled."""
        top.require({"x": 1}, "x")
        error = self.assertRaises(InvalidRequest, top.require, {}, "x")
        self.assertEqual((error.param, error.message), ("x", "x is required"))

    def test_is_list(self) -> None:
        """Lists are told from other values without being decoded."""
        self.assertTrue(top.is_list({"x": raw([1])}, "x"))
        self.assertTrue(top.is_list({"x": []}, "x"))
        self.assertFalse(top.is_list({"x": raw("a")}, "x"))
        self.assertFalse(top.is_list({}, "x"))

    def test_kinds(self) -> None:
        """Each reader takes its kind and null, and refuses others by name."""
        for read, good, bad in (
            (top.read_text, "a", 1),
            (top.read_flag, True, "yes"),
            (top.read_object, {"a": 1}, []),
        ):
            with self.subTest(read=read.__name__):
                self.assertEqual(read({"x": raw(good)}, "x"), good)
                self.assertIsNone(read({"x": raw(None)}, "x"))
                self.assertIsNone(read({}, "x"))
                error = self.assertRaises(InvalidRequest, read, {"x": raw(bad)}, "x")
                self.assertEqual(error.param, "x")

    def test_whole_numbers(self) -> None:
        """Whole numbers within bounds, also written with a point."""
        for value, expected in ((1, 1), (3.0, 3), (None, None)):
            self.assertEqual(top.read_whole({"n": raw(value)}, "n", 1, 5), expected)
        for value in (0, 6, 1.5, True, "1"):
            with self.subTest(value=value):
                error = self.assertRaises(
                    InvalidRequest, top.read_whole, {"n": raw(value)}, "n", 1, 5
                )
                self.assertEqual(error.param, "n")

    def test_model(self) -> None:
        """The model's name, the default, or a refusal that names the member."""
        self.assertEqual(top.read_model({"model": raw("m")}), "m")
        self.assertEqual(top.read_model({}, "d"), "d")
        error = self.assertRaises(InvalidRequest, top.read_model, {"model": raw("")})
        self.assertEqual((error.param, error.message), ("model", "model is required"))
        self.assertRaises(InvalidRequest, top.read_model, {"model": raw(1)}, "d")

    def test_stream(self) -> None:
        """A stream is asked for by true alone."""
        self.assertTrue(top.read_stream({"stream": raw(True)}))
        for body in ({}, {"stream": raw(None)}, {"stream": raw(False)}):
            self.assertFalse(top.read_stream(body))
        self.assertRaises(InvalidRequest, top.read_stream, {"stream": raw("true")})
