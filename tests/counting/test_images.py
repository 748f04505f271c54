"""Tests of knight_tw.counting.images."""

from __future__ import annotations

import struct
from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.counting import images


def png(width: int, height: int) -> bytes:
    return (
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\x08"
    )


def jpeg(width: int, height: int, before: bytes = b"") -> bytes:
    frame = b"\xff\xc2\0\x11\x08" + struct.pack(">HH", height, width) + b"\x03"
    return b"\xff\xd8" + before + frame + b"\0" * 20


def webp(kind: bytes, rest: bytes) -> bytes:
    return b"RIFF\0\0\0\0WEBP" + kind + b"\0\0\0\0" + rest


def encoded(raw: bytes) -> str:
    return b64encode(raw).decode()


class SizeTests(SynchronousTestCase):
    def test_formats(self) -> None:
        """The head of each format tells the size, in a data URL too."""
        app0 = b"\xff\xe0\0\x10" + b"\0" * 14
        for raw in (
            png(640, 480),
            jpeg(640, 480),
            jpeg(640, 480, app0 + b"\xff\xff\xc4\0\x04\0\0"),
            b"GIF89a" + struct.pack("<HH", 640, 480),
            webp(b"VP8 ", b"\0" * 6 + struct.pack("<HH", 640, 480)),
            webp(b"VP8L", b"\x2f" + struct.pack("<I", 639 | 479 << 14)),
            webp(b"VP8X", b"\0" * 4 + b"\x7f\x02\0" + b"\xdf\x01\0"),
        ):
            self.assertEqual(images.size_of(encoded(raw)), (640, 480), raw[:16])
            url = f"data:image/x;base64,{encoded(raw)}"
            self.assertEqual(images.size_of(url), (640, 480))

    def test_unknown(self) -> None:
        """Other data, cut heads and impossible sizes tell nothing."""
        for text in (
            "",
            "!!!",
            "A",
            encoded(b"plain text"),
            encoded(png(1, 1)[:18]),
            encoded(png(0, 5)),
            encoded(png(2_000_000, 5)),
            encoded(b"\xff\xd8\xff\xe0\0\x04\0\0"),
            encoded(b"\xff\xd8plain text here"),
            encoded(webp(b"VP9 ", b"\0" * 20)),
            "\ud800" * 8,
        ):
            self.assertIsNone(images.size_of(text), text[:20])

    @settings(max_examples=60, deadline=None)
    @given(st.binary(max_size=60), st.sampled_from(["", "png", "jpeg", "webp"]))
    def test_any_bytes(self, rest: bytes, kind: str) -> None:
        """Any bytes behind any mark are a size or none."""
        marks = {"png": png(9, 9)[:16], "jpeg": b"\xff\xd8", "webp": webp(b"VP8X", b"")}
        images.size_of(encoded(marks.get(kind, b"") + rest))


class TokenTests(SynchronousTestCase):
    def test_published_examples(self) -> None:
        """The providers' own examples."""
        for model, size, detail, tokens in (
            ("gpt-4o", (1024, 1024), "high", 765),
            ("gpt-4o", (2048, 4096), "high", 1105),
            ("gpt-4o", (4096, 8192), "low", 85),
            ("gpt-4o", (512, 512), "auto", 255),
            ("gpt-4o-mini", (512, 512), "high", 8500),
            ("gpt-5", (1024, 1024), "high", 630),
            ("o3", (512, 512), "high", 225),
            ("gpt-4.1-mini", (1024, 1024), "auto", 1659),
            ("gpt-4.1-nano", (1800, 2400), "auto", 3779),
            ("claude-opus-5", (1000, 1000), "auto", 1334),
            ("claude-opus-5", (200, 200), "auto", 54),
            ("claude-opus-5", (8000, 8000), "auto", 1600),
            ("gemini-2.5-pro", (384, 384), "auto", 258),
            ("gemini-2.5-pro", (960, 540), "auto", 516),
            ("unknown", None, "auto", 765),
        ):
            self.assertEqual(images.tokens(model, size, detail), tokens, (model, size))
