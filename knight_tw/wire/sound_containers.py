"""The lengths of recordings in FLAC, MP4 and Matroska (WebM); see `sounds`."""

from __future__ import annotations

import struct

ALL = 1 << 62
"""A step beyond the end: nothing more is to be looked at."""


class Flac:
    """`STREAMINFO` tells all samples; where it does not, the last frame does.

    A frame's head is found by its 14 set bits and believed by its checksum.
    """

    _LONGEST = 16

    def __init__(self) -> None:
        self._rate = 0
        self._block = 0
        self._samples = 0
        self._first = True
        self._frames = False

    def seconds(self, size: int) -> float | None:
        """See `Chain`."""
        return self._samples / self._rate if self._samples and self._rate else None

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        if self._first:
            self._first = False
            return 4
        if self._frames:
            return self._scan(data, at)
        if len(data) < at + 4:
            return 0
        kind, size = data[at], int.from_bytes(data[at + 1 : at + 4], "big")
        if kind & 0x7F == 0:
            if len(data) < at + 4 + 34:
                return 0
            self._block = int.from_bytes(data[at + 6 : at + 8], "big")
            told = int.from_bytes(data[at + 14 : at + 22], "big")
            self._rate, self._samples = told >> 44, told & (1 << 36) - 1
            if self._samples:
                return ALL
        self._frames = bool(kind & 0x80)
        return 4 + size

    def _scan(self, data: bytes, at: int) -> int:
        """Look for frames in what is here, but for what may be half a head."""
        end = len(data) - self._LONGEST
        found = data.find(b"\xff", at, end)
        while found >= 0:
            self._note(data[found : found + self._LONGEST])
            found = data.find(b"\xff", found + 1, end)
        return max(end - at, 0)

    def _note(self, head: bytes) -> None:
        if head[1] & 0xFE != 0xF8 or head[3] & 1:
            return
        # As in UTF-8: the set bits in front tell the bytes, none of them = 1.
        length = 8 - (head[4] ^ 0xFF).bit_length() or 1
        if length == 8 or 0x80 <= head[4] < 0xC0:
            return
        number = head[4] & (0x7F if length == 1 else (1 << 7 - length) - 1)
        for byte in head[5 : 4 + length]:
            number = number << 6 | byte & 0x3F
        at = 4 + length
        block, more = _flac_block(head[2] >> 4, head[at : at + 2])
        at += more + {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
        if not block or at >= len(head) or _crc8(head[:at]) != head[at]:
            return
        begin = number if head[1] & 1 else number * self._block
        self._samples = begin + block


def _flac_block(code: int, behind: bytes) -> tuple[int, int]:
    """Samples of a frame, and the bytes behind the number that tell them."""
    if code == 1:
        return 192, 0
    if 2 <= code <= 5:
        return 576 << code - 2, 0
    if code == 6:
        return behind[0] + 1, 1
    if code == 7:
        return int.from_bytes(behind, "big") + 1, 2
    return (256 << code - 8 if code else 0), 0


def _crc8(data: bytes) -> int:
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07) & 0xFF if crc & 0x80 else crc << 1
    return crc


class Mp4:
    """Boxes; `mvhd` in `moov` tells the length."""

    def __init__(self) -> None:
        self._seconds: float | None = None

    def seconds(self, size: int) -> float | None:
        """See `Chain`."""
        return self._seconds

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        if len(data) < at + 16:
            return 0
        size, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if size == 1:
            size = int.from_bytes(data[at + 8 : at + 16], "big")
        if kind == b"moov":
            return 8
        if kind == b"mvhd":
            if len(data) < at + 40:
                return 0
            long = data[at + 8] == 1
            scale, length = struct.unpack_from(
                ">IQ" if long else ">II", data, at + (28 if long else 20)
            )
            self._seconds = length / scale if length and scale else None
            return ALL
        if size == 0:
            return ALL
        return size if size >= 8 else -1


_SEGMENT, _INFO, _CLUSTER, _GROUP = 0x18538067, 0x1549A966, 0x1F43B675, 0xA0
_SCALE, _DURATION, _TIME = 0x2AD7B1, 0x4489, 0xE7
_BLOCKS = (0xA3, 0xA1)


class Matroska:
    """Elements; browsers record without a duration, so the last block tells it then."""

    def __init__(self) -> None:
        self._scale = 1_000_000
        self._duration = 0.0
        self._cluster = 0
        self._last = 0

    def seconds(self, size: int) -> float | None:
        """See `Chain`."""
        ticks = self._duration or self._last
        return ticks * self._scale / 1e9 if ticks else None

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        name = _number(data, at, marked=True)
        size = name and _number(data, at + name[1], marked=False)
        if not name or not size:
            return 0 if len(data) < at + 12 else -1
        head = name[1] + size[1]
        if name[0] in (_SEGMENT, _INFO, _CLUSTER, _GROUP):
            return head
        body = at + head
        if name[0] in (_SCALE, _DURATION, _TIME, *_BLOCKS):
            if len(data) < body + min(size[0], 8):
                return 0
            self._note(name[0], data[body : body + min(size[0], 8)])
        return head + size[0] if size[0] < ALL else ALL

    def _note(self, name: int, value: bytes) -> None:
        if name == _SCALE:
            self._scale = int.from_bytes(value, "big")
        elif name == _TIME:
            self._cluster = int.from_bytes(value, "big")
        elif name == _DURATION and len(value) in (4, 8):
            (self._duration,) = struct.unpack(">f" if len(value) == 4 else ">d", value)
        elif name in _BLOCKS:
            track = _number(value, 0, marked=False)
            if track and len(value) >= track[1] + 2:
                (ahead,) = struct.unpack_from(">h", value, track[1])
                self._last = max(self._last, self._cluster + ahead)


def _number(data: bytes, at: int, *, marked: bool) -> tuple[int, int] | None:
    """A number of Matroska's and its bytes; names keep the bit that marks the length.

    An unknown size reads as `ALL`.
    """
    if at >= len(data) or not data[at]:
        return None
    length = 9 - data[at].bit_length()
    if len(data) < at + length:
        return None
    value = int.from_bytes(data[at : at + length], "big")
    if marked:
        return value, length
    value &= (1 << 7 * length) - 1
    return (ALL if value == (1 << 7 * length) - 1 else value), length
