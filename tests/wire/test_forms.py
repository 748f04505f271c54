"""Multipart forms: strict reading, one plain spelling."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import InvalidRequest
from knight_tw.wire import forms
from knight_tw.wire.forms import Form, Part

BOUNDARY = "----b1"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def body(*parts: bytes, end: bytes = b"--") -> bytes:
    """A body of parts given as heads and bytes."""
    pieces = [b"--" + BOUNDARY.encode() + b"\r\n" + part + b"\r\n" for part in parts]
    return b"".join(pieces) + b"--" + BOUNDARY.encode() + end + b"\r\n"


def text(name: str, value: str) -> bytes:
    """A field."""
    head = f'Content-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value.encode()


def file(name: str, filename: str, data: bytes, kind: str = "") -> bytes:
    """A file."""
    head = f'Content-Disposition: form-data; name="{name}"; filename="{filename}"\r\n'
    if kind:
        head += f"Content-Type: {kind}\r\n"
    return head.encode() + b"\r\n" + data


def read(*parts: bytes) -> Form:
    """The form of parts."""
    return forms.read(body(*parts), TYPE)


class Reading(SynchronousTestCase):
    """`read`."""

    def test_fields_and_files(self) -> None:
        """Texts by name, flags and numbers as such, repeated names as lists."""
        form = read(
            text("model", "whisper-1"),
            text("stream", "True"),
            text("n", "2"),
            text("include[]", "a"),
            text("include[]", "b"),
            file("file", "a b.mp3", b"\r\n--x\0", "audio/mpeg"),
        )
        self.assertEqual(
            dict(form.fields),
            {
                "model": "whisper-1",
                "stream": True,
                "n": 2,
                "include[]": ["a", "b"],
            },
        )
        (found,) = form.files("file")
        self.assertEqual(
            (found.filename, found.content_type, found.data),
            ("a b.mp3", "audio/mpeg", b"\r\n--x\0"),
        )
        self.assertEqual(form.files("other"), [])

    def test_refused(self) -> None:
        """What is broken, or what two readers could take differently."""
        good = text("model", "m")
        cases: tuple[tuple[bytes, str], ...] = (
            (b"", TYPE),
            (b"{}", TYPE),
            (body(good), "multipart/form-data"),
            (body(good), 'multipart/form-data; boundary=""'),
            (body(good), 'multipart/form-data; boundary="a\tb"'),
            (body(good)[:-6], TYPE),
            (body(good, end=b"x"), TYPE),
            (body(b"X: y\r\n\r\nz"), TYPE),
            (body(b"Content-Disposition: form-data\r\n\r\nz"), TYPE),
            (body(b'Content-Disposition: form-data; name=""\r\n\r\nz'), TYPE),
            (body(b'Content-Disposition: attachment; name="a"\r\n\r\nz'), TYPE),
            (body(text("n", "two")), TYPE),
            (body(text("stream", "maybe")), TYPE),
            (body(b'Content-Disposition: form-data; name="a"\r\n\r\n\xff'), TYPE),
            (body(file("model", "m", b"m")), TYPE),
            (body(text("file", "x"), file("file", "f", b"y")), TYPE),
            (body(*[good] * (forms.MOST_PARTS + 1)), TYPE),
        )
        for data, kind in cases:
            with self.assertRaises(InvalidRequest):
                self.fail(f"{data!r} became {forms.read(data, kind)}")

    def test_is_form(self) -> None:
        """By the content type alone."""
        self.assertTrue(forms.is_form("Multipart/Form-Data; boundary=x"))
        self.assertFalse(forms.is_form("application/json"))

    @settings(max_examples=100, deadline=None)
    @given(st.binary(max_size=200))
    def test_anything(self, data: bytes) -> None:
        """Noise is refused, never an accident."""
        noisy = body(text("model", "m"))[:-8] + data
        with contextlib.suppress(InvalidRequest):
            forms.read(noisy, TYPE)


class Writing(SynchronousTestCase):
    """`Form.encode`."""

    def again(self, form: Form, fields: dict[str, Any]) -> Form:
        """What a reader finds in the form with these fields."""
        return forms.read(form.encode(fields), form.content_type)

    def test_changes(self) -> None:
        """A changed field is replaced, a missing one left out, a new one added."""
        form = read(
            text("model", "a"),
            text("user", "u"),
            text("l[]", "1"),
            text("l[]", "2"),
            text("k[]", "x"),
            text("k[]", "y"),
            file("file", "f", b"\0\r\n"),
        )
        fields = {"model": "b", "l[]": ["3"], "k[]": ["x", "y"], "new": {"a": 1}}
        found = self.again(form, {**fields, "none": None, "stream": True})
        self.assertEqual(
            dict(found.fields),
            {
                "model": "b",
                "l[]": "3",
                "k[]": ["x", "y"],
                "new": '{"a":1}',
                "stream": True,
            },
        )
        self.assertEqual(found.files()[0].data, b"\0\r\n")

    def test_names_are_quoted(self) -> None:
        """A name cannot break out of its line."""
        part = Part('a"\r\nb', b"", 'f"\r\n.png')
        self.assertNotIn("\r\n.png", part.head)
        self.assertIn('name="a%22%0D%0Ab"', part.head)

    @settings(max_examples=80, deadline=None)
    @given(
        st.dictionaries(
            st.text("abcdefgh[]", min_size=1), st.text(), min_size=1, max_size=5
        ),
        st.binary(max_size=300),
    )
    def test_everything_arrives(self, fields: dict[str, str], data: bytes) -> None:
        """Whatever is written is read again, byte for byte."""
        if BOUNDARY.encode() in data or any(BOUNDARY in v for v in fields.values()):
            return
        parts = [text(name, value) for name, value in fields.items()]
        form = read(*parts, file("z", "z.bin", data, "x/y"))
        found = self.again(form, dict(form.fields))
        self.assertEqual(found.fields, form.fields)
        self.assertEqual(found.files()[0].data, data)

    def test_weight(self) -> None:
        """A bound that grows with what was sent."""
        light = read(text("prompt", "abc")).weight
        self.assertEqual(light, 3)
        self.assertGreater(read(file("image", "a.png", b"x" * 6400)).weight, 200)
