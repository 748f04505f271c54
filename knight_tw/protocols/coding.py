"""Content codings undone piece by piece, never past a limit. No I/O.

A compressed body is data of unknown size: a few hundred bytes can stand for gigabytes.
So a decoder puts out bounded pieces and counts them (RFC 9110 section 8.4).
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

import brotli
import zstandard
from attrs import define

_PIECE = 256 * 1024
"""Most output of one step, about."""

_ZSTD_STEP = 64
"""Input of one zstd step: it makes 128 KiB of four bytes, and has no limit itself."""

_ZSTD_WINDOW = 128 * 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


class CodingError(Exception):
    """The data is not what its coding says, or it ends too early."""


class UnknownCoding(CodingError):
    """No decoder for the coding."""


class TooLarge(CodingError):
    """The data is longer than the limit."""


@define
class _Layer:
    """One coding undone: `pieces` of the output for some input, `whole` at the end."""

    pieces: Callable[[bytes], Iterator[bytes]]
    whole: Callable[[], bool]


class Decoder:
    """Undoes the codings of a `Content-Encoding` value."""

    def __init__(self, encoding: str, limit: int) -> None:
        """For a header's value, such as `gzip` or `gzip, br`.

        Raises:
            UnknownCoding: one of them is not supported.
        """
        names = [name.strip().lower() for name in encoding.split(",")]
        # The last coding named was applied last, so it is undone first.
        self._layers = [_layer(name) for name in reversed(names) if _codes(name)]
        self._left = limit
        self._fed = False

    def feed(self, data: bytes) -> bytes:
        """The output for the next piece of input.

        Raises:
            TooLarge: all output together is beyond the limit.
            CodingError: the data is broken.
        """
        self._fed = self._fed or bool(data)
        return self._through(data, 0)

    def close(self) -> None:
        """The input is complete. No input at all is an empty body, whatever it is said
        to be: answers to HEAD name the coding of what they leave out.

        Raises:
            CodingError: something is missing.
        """
        if self._fed and not all(layer.whole() for layer in self._layers):
            raise CodingError("the compressed data ends too early")

    def _through(self, data: bytes, depth: int) -> bytes:
        if depth == len(self._layers):
            self._left -= len(data)
            if self._left < 0:
                raise TooLarge("the data is too large")
            return data
        out = []
        try:
            for piece in self._layers[depth].pieces(data):
                out.append(self._through(piece, depth + 1))
        except (zlib.error, brotli.error, zstandard.ZstdError) as error:
            raise CodingError(f"the compressed data is broken: {error}") from None
        return b"".join(out)


def decoded(data: bytes, encoding: str, limit: int) -> bytes:
    """`data` with its codings undone.

    Raises:
        CodingError: unknown, broken, incomplete, or beyond `limit` bytes.
    """
    decoder = Decoder(encoding, limit)
    plain = decoder.feed(data)
    decoder.close()
    return plain


def _codes(name: str) -> bool:
    return name not in ("", "identity")


def _layer(name: str) -> _Layer:
    if name in ("gzip", "x-gzip"):
        return _zlib(16 + zlib.MAX_WBITS)
    if name == "deflate":
        return _deflate()
    if name == "br":
        return _brotli()
    if name == "zstd":
        return _zstd()
    raise UnknownCoding(f"unknown content coding {name[:40]!r}")


def _zlib(bits: int) -> _Layer:
    """Gzip members, or one zlib or raw stream; what lies behind it is ignored."""
    stream = zlib.decompressobj(bits)
    members = bits > zlib.MAX_WBITS

    def pieces(data: bytes) -> Iterator[bytes]:
        nonlocal stream
        while data or not stream.eof:
            if stream.eof:
                if not members or not data or not _GZIP_MAGIC.startswith(data[:2]):
                    return
                stream = zlib.decompressobj(bits)
            piece = stream.decompress(data, _PIECE)
            yield piece
            data = stream.unused_data if stream.eof else stream.unconsumed_tail
            # A full piece may leave output in the stream, with no input for it.
            if not data and len(piece) < _PIECE:
                return

    return _Layer(pieces, lambda: stream.eof)


def _deflate() -> _Layer:
    """`deflate` is a zlib stream by the book, and a raw one from many servers."""
    chosen: list[_Layer] = []

    def pieces(data: bytes) -> Iterator[bytes]:
        if not chosen and data:
            # The first byte of a zlib stream names method 8 in its low half.
            wrapped = data[0] & 15 == 8 and data[0] >> 4 < 8
            chosen.append(_zlib(zlib.MAX_WBITS if wrapped else -zlib.MAX_WBITS))
        for layer in chosen:
            yield from layer.pieces(data)

    return _Layer(pieces, lambda: bool(chosen) and chosen[0].whole())


def _brotli() -> _Layer:
    stream = brotli.Decompressor()

    def pieces(data: bytes) -> Iterator[bytes]:
        yield stream.process(data, output_buffer_limit=_PIECE)
        while not stream.can_accept_more_data():
            yield stream.process(b"", output_buffer_limit=_PIECE)
        if not stream.is_finished():
            # A full piece may hide the end of the stream.
            yield stream.process(b"", output_buffer_limit=_PIECE)

    return _Layer(pieces, stream.is_finished)


def _zstd() -> _Layer:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
    stream = decompressor.decompressobj()

    def pieces(data: bytes) -> Iterator[bytes]:
        nonlocal stream
        for start in range(0, len(data), _ZSTD_STEP):
            rest = data[start : start + _ZSTD_STEP]
            while rest:
                if stream.eof:
                    stream = decompressor.decompressobj()
                yield stream.decompress(rest)
                rest = stream.unused_data

    return _Layer(pieces, lambda: stream.eof)
