"""How long a recording is, read from its bytes as they come.

Every format here is a chain of elements that tell their own length: chunks (WAV), pages
(Ogg), frames (MP3, AAC), boxes (MP4), elements (Matroska). A `Sound` walks the chain:
it looks at heads and passes over bodies, so that it never holds more than one head. Its
format is told by the first bytes. Raw samples (`pcm`) tell their length by their size.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Protocol

from knight_tw.wire.sound_containers import Flac, Matroska, Mp4

PCM_BYTES_PER_SECOND = 48_000
"""Of speech as OpenAI sends it: 24 kHz, 16 bit, mono."""

MOST_ELEMENTS = 50_000
"""Elements that are really looked at; what is beyond is reckoned by its bytes."""

HEAD = 12
"""Bytes by which every format can be told."""


class Chain(Protocol):
    """A format, as `Sound` walks it."""

    def seconds(self, size: int) -> float | None:
        """The length of the first `size` bytes, None while nothing tells it."""
        ...

    def step(self, data: bytes, at: int, offset: int) -> int:
        """Bytes from the element at `at` to the next one.

        0 = its head is not complete; negative = this is no such chain (any more).

        Args:
            offset: Where `data` begins in the recording.
        """
        ...


class Sound:
    """A recording on its way.

    Args:
        kind: What it is said to be (`mp3`, `pcm`, ...); its own bytes win.

    Attributes:
        size: Its bytes so far.
    """

    __slots__ = ("_chain", "_measured", "_rest", "_skip", "_steps", "kind", "size")

    def __init__(self, kind: str = "") -> None:
        self.kind = kind
        self.size = 0
        self._chain: Chain | None = None
        self._rest = b""
        self._skip = 0
        self._steps = 0
        self._measured = 0

    @property
    def seconds(self) -> float | None:
        """Its length, None when it cannot be told."""
        if self._chain is None:
            return self.size / PCM_BYTES_PER_SECOND if self.kind == "pcm" else None
        found = self._chain.seconds(self.size)
        if found is not None and self._steps >= MOST_ELEMENTS:
            return found * self.size / max(self._measured, 1)
        return found

    def feed(self, data: bytes) -> None:
        """The next bytes, in any pieces."""
        self.size += len(data)
        if self._steps >= MOST_ELEMENTS or not data:
            return
        if self._skip >= len(data):
            self._skip -= len(data)
            return
        data = self._rest + (data[self._skip :] if self._skip else data)
        self._rest, self._skip = b"", 0
        if self._chain is None:
            if len(data) < HEAD:
                self._rest = data
                return
            self._chain = _recognized(data)
        if self._chain is None:
            self._steps = MOST_ELEMENTS  # nothing that we know: only its size counts
        else:
            self._walk(self._chain, data)

    def _walk(self, chain: Chain, data: bytes) -> None:
        at, offset = 0, self.size - len(data)
        while at < len(data) and self._steps < MOST_ELEMENTS:
            step = chain.step(data, at, offset)
            if step < 0:
                self._steps = MOST_ELEMENTS
                self._measured = self.size
                return
            if step == 0:
                self._rest = data[at:]
                return
            at += step
            self._steps += 1
        self._skip = max(at - len(data), 0)
        self._measured = min(offset + at, self.size)


class Wav:
    """RIFF: `fmt ` tells the bytes of a second, `data` is the rest of a stream."""

    def __init__(self) -> None:
        self._rate = 0
        self._begins = -1
        self._declared = 0
        self._first = True

    def seconds(self, size: int) -> float | None:
        """See `Chain`; one that is made while it is sent declares too much."""
        if self._begins < 0 or not self._rate:
            return None
        return max(min(self._declared, size - self._begins), 0) / self._rate

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        if self._first:
            self._first = False
            return 12
        if len(data) < at + 8:
            return 0
        name, size = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if name == b"fmt ":
            if len(data) < at + 24:
                return 0
            self._rate = int.from_bytes(data[at + 16 : at + 20], "little")
        elif name == b"data":
            self._begins, self._declared = offset + at + 8, size
        return 8 + size + size % 2


class Ogg:
    """Pages, each with the samples up to its end; the first one names the codec."""

    def __init__(self) -> None:
        self._rate = 0
        self._before = 0
        self._samples = 0

    def seconds(self, size: int) -> float | None:
        """See `Chain`."""
        if not self._rate:
            return None
        return max(self._samples - self._before, 0) / self._rate

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        if len(data) < at + 27:
            return 0
        if data[at : at + 4] != b"OggS":
            return -1
        body = at + 27 + data[at + 26]
        if len(data) < body:
            return 0
        size = sum(data[at + 27 : body])
        if not self._rate:
            if len(data) < body + min(size, 19):
                return 0
            self._identify(data[body : body + size])
        (position,) = struct.unpack_from("<q", data, at + 6)
        self._samples = max(self._samples, position)
        return body - at + size

    def _identify(self, packet: bytes) -> None:
        if packet.startswith(b"OpusHead") and len(packet) >= 12:
            self._rate = 48_000
            self._before = int.from_bytes(packet[10:12], "little")
        elif packet.startswith(b"\x01vorbis") and len(packet) >= 16:
            self._rate = int.from_bytes(packet[12:16], "little")


_MP3_RATES = (44_100, 48_000, 32_000)
_MP3_HALVED = {3: 0, 2: 1, 0: 2}
"""How often the rates are halved in a version (MPEG-1, 2, 2.5)."""
_MP3_KBITS = {
    (True, 3): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 1): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 3): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
"""(MPEG-1?, layer as it is coded: I is 3, III is 1) to the rates of the frames."""


class Mp3:
    """Frames without any index, behind tags of any length."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def seconds(self, size: int) -> float | None:
        """See `Chain`."""
        return self._seconds or None

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        if len(data) < at + 10:
            # The last frame may be shorter than the longest head.
            return self._frame(data, at) if len(data) >= at + 4 else 0
        if data[at : at + 3] == b"ID3":
            size = 0
            for byte in data[at + 6 : at + 10]:
                size = size << 7 | byte & 0x7F
            return size + (20 if data[at + 5] & 0x10 else 10)
        return self._frame(data, at)

    def _frame(self, data: bytes, at: int) -> int:
        head = int.from_bytes(data[at : at + 4], "big")
        version, layer = head >> 19 & 3, head >> 17 & 3
        kbits, rate = head >> 12 & 15, head >> 10 & 3
        synced = head >> 21 == 0x7FF and version != 1 and layer
        if not synced or kbits in (0, 15) or rate == 3:
            found = data.find(b"\xff", at + 1)
            return (len(data) if found < 0 else found) - at
        first = version == 3
        table = _MP3_KBITS[first, layer if first or layer == 3 else 2]
        bits = table[kbits - 1] * 1000
        hertz = _MP3_RATES[rate] >> _MP3_HALVED[version]
        samples = 384 if layer == 3 else 576 if layer == 1 and not first else 1152
        self._seconds += samples / hertz
        padding = head >> 9 & 1
        if layer == 3:
            return (12 * bits // hertz + padding) * 4
        return samples // 8 * bits // hertz + padding


_AAC_RATES = (
    *(96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050),
    *(16_000, 12_000, 11_025, 8_000, 7_350),
)


class Aac:
    """ADTS frames of 1024 samples a block."""

    def __init__(self) -> None:
        self._seconds = 0.0

    def seconds(self, size: int) -> float | None:
        """See `Chain`."""
        return self._seconds or None

    def step(self, data: bytes, at: int, offset: int) -> int:
        """See `Chain`."""
        if len(data) < at + 7:
            return 0
        head = int.from_bytes(data[at : at + 7], "big")
        rate, size = head >> 34 & 15, head >> 13 & 0x1FFF
        if head >> 44 != 0xFFF or rate >= len(_AAC_RATES) or size < 7:
            return -1
        self._seconds += 1024 * ((head & 3) + 1) / _AAC_RATES[rate]
        return size


def _is_adts(data: bytes) -> bool:
    return data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def _is_mp3(data: bytes) -> bool:
    return data.startswith(b"ID3") or (data[0] == 0xFF and data[1] & 0xE0 == 0xE0)


_FORMATS: tuple[tuple[Callable[[bytes], bool], Callable[[], Chain]], ...] = (
    (lambda data: data[:4] == b"RIFF" and data[8:12] == b"WAVE", Wav),
    (lambda data: data[:4] == b"OggS", Ogg),
    (lambda data: data[:4] == b"fLaC", Flac),
    (lambda data: data[4:8] == b"ftyp", Mp4),
    (lambda data: data[:4] == b"\x1aE\xdf\xa3", Matroska),
    (_is_adts, Aac),
    (_is_mp3, Mp3),
)


def _recognized(data: bytes) -> Chain | None:
    for belongs, chain in _FORMATS:
        if belongs(data):
            return chain()
    return None


def measured(data: bytes, kind: str = "") -> Sound:
    """A recording that is here whole."""
    sound = Sound(kind)
    sound.feed(data)
    return sound
