"""`protocols.coding`: content codings, whatever the pieces, never past a limit."""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Callable

import brotli
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.protocols.coding import (
    CodingError,
    Decoder,
    TooLarge,
    UnknownCoding,
    decoded,
)


def raw_deflate(data: bytes) -> bytes:
    """A deflate stream without zlib's frame."""
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(data) + packer.flush()


def fast_brotli(data: bytes) -> bytes:
    """Brotli at a low level."""
    packed: bytes = brotli.compress(data, quality=1)
    return packed


PACKERS: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two gzip members": (
        "x-gzip",
        lambda d: gzip.compress(d[:3]) + gzip.compress(d[3:]),
    ),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "brotli": ("br", fast_brotli),
    "zstd": ("zstd", zstandard.compress),
    "two zstd frames": (
        "zstd",
        lambda d: zstandard.compress(d[:3]) + zstandard.compress(d[3:]),
    ),
    "gzip in brotli": ("gzip, br", lambda d: fast_brotli(gzip.compress(d))),
    "nothing": ("identity", lambda d: d),
    "not named": ("", lambda d: d),
}


class Codings(SynchronousTestCase):
    """Each coding."""

    @settings(max_examples=60, deadline=None)
    @given(
        name=st.sampled_from(sorted(PACKERS)),
        data=st.binary(max_size=200),
        step=st.integers(1, 40),
    )
    def test_any_pieces_give_the_same_data(
        self, name: str, data: bytes, step: int
    ) -> None:
        """How compressed data is cut changes nothing."""
        encoding, pack = PACKERS[name]
        packed = pack(data)
        decoder = Decoder(encoding, 1000)
        pieces = [packed[at : at + step] for at in range(0, len(packed), step)]
        self.assertEqual(b"".join(map(decoder.feed, pieces)), data)
        decoder.close()

    def test_sizes_around_a_piece(self) -> None:
        """Data that fills the decoders' pieces exactly comes out whole."""
        for size in (262_143, 262_144, 262_145, 262_165, 524_288):
            for data in (b"a" * size, os.urandom(size)):
                for name, (encoding, pack) in PACKERS.items():
                    self.assertEqual(decoded(pack(data), encoding, size), data, name)

    def test_cut_short(self) -> None:
        """Data that ends too early is an error."""
        for name in ("gzip", "zlib", "raw deflate", "brotli", "zstd"):
            encoding, pack = PACKERS[name]
            with self.subTest(name), self.assertRaises(CodingError):
                decoded(pack(b"hello hello")[:-3], encoding, 1000)

    def test_no_body(self) -> None:
        """No data is an empty body in any coding."""
        for encoding in ("gzip", "br", "zstd", "deflate", "gzip, br"):
            self.assertEqual(decoded(b"", encoding, 10), b"")

    def test_junk(self) -> None:
        """Data that is something else is an error."""
        for encoding in ("gzip", "deflate", "br", "zstd"):
            with self.subTest(encoding), self.assertRaises(CodingError):
                decoded(b"\xffjunk and more junk", encoding, 1000)

    def test_unknown(self) -> None:
        """An unknown coding is an error of its own."""
        self.assertRaises(UnknownCoding, Decoder, "compress", 1000)

    def test_bombs(self) -> None:
        """A gigabyte in a few bytes is stopped at the limit."""
        zeros = b"\0" * 50_000_000
        for encoding, packed in (
            ("gzip", gzip.compress(zeros, 1)),
            ("deflate", zlib.compress(zeros, 1)),
            ("br", brotli.compress(zeros, quality=4)),
            ("zstd", zstandard.compress(zeros)),
        ):
            decoder = Decoder(encoding, 1_000_000)
            self.assertRaises(TooLarge, decoder.feed, packed)
