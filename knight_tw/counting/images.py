"""Tokens of pictures in a prompt, by the published rules of the providers.

A picture given as data tells its size in its first bytes; of one given by address the
size is unknown, and 1024 by 1024 is assumed.
Sources: OpenAI "Images and vision" (calculating costs), Anthropic "Vision" (evaluate
image size), Google "Understand and count tokens".
"""

from __future__ import annotations

import math
import struct
from base64 import b64decode
from binascii import Error as NotBase64

from attrs import frozen

Size = tuple[int, int]

UNKNOWN: Size = (1024, 1024)
HEAD = 98_304
"""Base64 characters of a picture that are looked at for its size."""

UNCOUNTED = 255
"""Tokens of a picture when pictures are not to be looked at (`GET_MEDIA_TOKEN`)."""


@frozen
class _Tiles:
    """Fixed tokens, all that `low` detail costs, and tokens per 512-pixel tile."""

    fixed: int
    tile: int


@frozen
class _Patches:
    """Patches of 32 pixels, at most 1536 of them, times a factor."""

    factor: float


_OPENAI: tuple[tuple[str, _Tiles | _Patches], ...] = (
    ("gpt-4.1-mini", _Patches(1.62)),
    ("gpt-4.1-nano", _Patches(2.46)),
    ("gpt-5-mini", _Patches(1.62)),
    ("gpt-5-nano", _Patches(2.46)),
    ("o4-mini", _Patches(1.72)),
    ("gpt-4o-mini", _Tiles(2833, 5667)),
    ("gpt-5", _Tiles(70, 140)),
    ("o1", _Tiles(75, 150)),
    ("o3", _Tiles(75, 150)),
    ("computer-use-preview", _Tiles(65, 129)),
    ("", _Tiles(85, 170)),
)
_GEMINI_TILE, _GEMINI_SMALL, _GEMINI_TOKENS = 768, 384, 258
_CLAUDE_EDGE, _CLAUDE_PIXELS, _CLAUDE_MOST = 1568, 750, 1600


def tokens(model: str, size: Size | None, detail: str = "auto") -> int:
    """What a picture costs a model in prompt tokens.

    Args:
        size: Width and height in pixels, None when unknown.
        detail: OpenAI's `low`, `high` or `auto`.
    """
    width, height = size or UNKNOWN
    if "gemini" in model:
        return _gemini(width, height)
    if "claude" in model:
        return _claude(width, height)
    rule = next(rule for prefix, rule in _OPENAI if model.startswith(prefix))
    if isinstance(rule, _Patches):
        return math.ceil(_patches(width, height) * rule.factor)
    if detail == "low":
        return rule.fixed
    return rule.fixed + rule.tile * _tiles(width, height)


def _tiles(width: int, height: int) -> int:
    """512-pixel tiles after fitting into 2048 by 2048, then the short side to 768."""
    scale = min(1.0, 2048 / max(width, height))
    scale = min(scale, 768 / min(width, height))
    across = math.ceil(round(width * scale, 3) / 512)
    return across * math.ceil(round(height * scale, 3) / 512)


def _patches(width: int, height: int) -> int:
    return min(math.ceil(width / 32) * math.ceil(height / 32), 1536)


def _gemini(width: int, height: int) -> int:
    if max(width, height) <= _GEMINI_SMALL:
        return _GEMINI_TOKENS
    across = math.ceil(width / _GEMINI_TILE)
    return _GEMINI_TOKENS * across * math.ceil(height / _GEMINI_TILE)


def _claude(width: int, height: int) -> int:
    scale = min(1.0, _CLAUDE_EDGE / max(width, height))
    pixels = width * height * scale * scale
    return min(math.ceil(pixels / _CLAUDE_PIXELS), _CLAUDE_MOST)


def size_of(encoded: str) -> Size | None:
    """Width and height of a PNG, JPEG, GIF or WebP given in base64, or as a data URL;
    None when it is none of them or its head does not say."""
    start = encoded.find(",") + 1 if encoded.startswith("data:") else 0
    head = encoded[start : start + HEAD]
    try:
        raw = b64decode(head[: len(head) // 4 * 4], validate=False)
        size = _read_size(raw)
    except (NotBase64, ValueError, struct.error):
        return None
    if size is None or not all(0 < edge < 100_000 for edge in size):
        return None
    return size


def _read_size(raw: bytes) -> Size | None:
    if raw.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = struct.unpack_from(">II", raw, 16)
        return width, height
    if raw.startswith((b"GIF87a", b"GIF89a")):
        width, height = struct.unpack_from("<HH", raw, 6)
        return width, height
    if raw.startswith(b"\xff\xd8"):
        return _read_jpeg(raw)
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        return _read_webp(raw)
    return None


_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
"""JPEG markers among the frame markers that begin no frame."""


def _read_jpeg(raw: bytes) -> Size | None:
    place = 2
    while place + 9 <= len(raw):
        if raw[place] != 0xFF:
            return None
        marker = raw[place + 1]
        if marker == 0xFF:
            place += 1
            continue
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            height, width = struct.unpack_from(">HH", raw, place + 5)
            return width, height
        (length,) = struct.unpack_from(">H", raw, place + 2)
        place += 2 + length
    return None


def _read_webp(raw: bytes) -> Size | None:
    kind = raw[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", raw, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", raw, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(raw[24:27], "little") + 1
        return width, int.from_bytes(raw[27:30], "little") + 1
    return None
