"""Speech that Gemini answers with, in chat's `audio` member (specification, 8.1).

Gemini speaks in raw samples (`audio/L16;codec=pcm;rate=24000`), chat clients want a
file. A WAV file is the same samples with 44 bytes before them; a stream's length is not
known when they go out, so it says the largest one.
"""

from __future__ import annotations

import base64
import re
import struct

from attrs import define

from knight_tw.convert.media import Blob

LASTS = 3600
"""Seconds for which an answer's audio can be referred to."""

_RATE = re.compile(r"rate=(\d{4,6})")
_ENDLESS = 0xFFFFFFFF


def wav_header(rate: int, size: int | None = None) -> bytes:
    """The head of a WAV file of 16-bit mono samples.

    Args:
        size: Bytes of the samples, None when unknown.
    """
    data = _ENDLESS if size is None else size
    whole = _ENDLESS if size is None else size + 36
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16)
    riff = struct.pack("<4sI4s", b"RIFF", whole, b"WAVE")
    return riff + form + struct.pack("<4sI", b"data", data)


def rate_of(mime: str) -> int | None:
    """The sample rate of raw samples; None for files."""
    kind = mime.lower()
    if not kind.startswith(("audio/l16", "audio/pcm")):
        return None
    found = _RATE.search(kind)
    return int(found[1]) if found else 24000


@define(eq=False)
class Speech:
    """The pieces of one answer's audio, as base64 text that can be joined.

    Args:
        raw: The client wants bare samples (`pcm16`).
    """

    raw: bool
    _begun: bool = False
    _rest: bytes = b""

    def feed(self, mime: str, content: Blob) -> str:
        """The text for one piece; bytes that do not fill a group wait."""
        data = base64.b64decode(content.data)
        rate = rate_of(mime)
        if not self._begun and rate is not None and not self.raw:
            data = wav_header(rate) + data
        self._begun = True
        data = self._rest + data
        whole = len(data) - len(data) % 3
        self._rest = data[whole:]
        return base64.b64encode(data[:whole]).decode()

    def close(self) -> str:
        """The text for what still waits."""
        rest, self._rest = self._rest, b""
        return base64.b64encode(rest).decode()


def with_size(data: str, raw: bool) -> str:
    """The joined text of a whole answer, its true size in the head of the file."""
    content = base64.b64decode(data)
    if raw or content[40:44] != struct.pack("<I", _ENDLESS):
        return data
    rate = int.from_bytes(content[24:28], "little")
    samples = content[44:]
    return base64.b64encode(wav_header(rate, len(samples)) + samples).decode()
