"""What the middle form says as Gemini's parts, for whole answers and streams (10)."""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from knight_tw.convert import media, reasoning, tools
from knight_tw.convert.gemini import signing
from knight_tw.convert.signatures import GOOGLE, wrap
from knight_tw.errors import InvalidRequest
from knight_tw.wire.answers import objects

Part = dict[str, Any]

NOTHING: Part = {"text": ""}
"""The part of an answer that says nothing: SDKs expect one."""

SAMPLES = "audio/L16;codec=pcm;rate=24000"
"""What OpenAI streams as audio."""


def thought(text: str, signature: str = "") -> Part:
    """A part with reasoning, signed if there is a signature."""
    part: Part = {"text": text, "thought": True}
    if signature:
        part["thoughtSignature"] = signing.to_field(signature)
    return part


def named_signature(piece: reasoning.Piece) -> str:
    """The signature with its provider's name; empty when that is unknown."""
    letter, signature = piece.letter, piece.signature
    return wrap(letter, signature) if letter and signature else ""


def sealed(piece: reasoning.Piece) -> list[Part]:
    """A part with nothing but a signature: Google's own signs a text, others seal
    reasoning that only their provider can read."""
    signature = named_signature(piece)
    if not signature:
        return []
    field = signing.to_field(signature)
    if piece.letter == GOOGLE:
        return [{"text": "", "thoughtSignature": field}]
    return [{"thought": True, "thoughtSignature": field}]


def reasoning_parts(message: Mapping[str, Any]) -> list[Part]:
    """The reasoning of a whole message, piece by piece, signed as it was."""
    pieces = reasoning.pieces(message)
    parts: list[Part] = []
    shown = reasoning.shown(message)
    if shown and not any(piece.text for piece in pieces):
        parts.append(thought(shown))
    for piece in pieces:
        if piece.encrypted:
            parts += sealed(piece)
        elif piece.text or piece.signature:
            parts.append(thought(piece.text, named_signature(piece)))
    return parts


def call_part(call: Mapping[str, Any]) -> Part:
    """A whole call."""
    function: dict[str, Any] = {}
    if isinstance(call.get("id"), str) and call["id"]:
        function["id"] = call["id"]
    function["name"] = tools.call_name(call)
    function["args"] = tools.parse_arguments(tools.call_arguments(call))
    part: Part = {"functionCall": function}
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    signature = google.get("thought_signature") if isinstance(google, Mapping) else None
    if isinstance(signature, str) and signature:
        part["thoughtSignature"] = signing.to_field(signature)
    return part


def image_parts(images: Any) -> list[Part]:
    """Generated images; those that are no data URLs are linked to."""
    parts: list[Part] = []
    for image in objects(images):
        inner = image.get("image_url")
        url = inner.get("url") if isinstance(inner, Mapping) else inner
        if not isinstance(url, str) or not url:
            continue
        if not media.is_data_url(url):
            parts.append({"fileData": {"fileUri": url}})
            continue
        with suppress(InvalidRequest):
            content = media.read_data_url(url)
            parts += _inline(content.type, content.data)
    return parts


def audio_parts(audio: Any, mime: str) -> list[Part]:
    """The sound of an answer."""
    data = audio.get("data") if isinstance(audio, Mapping) else None
    return _inline(mime, data) if isinstance(data, str) and data else []


def _inline(mime: str, data: str) -> list[Part]:
    """The part that carries the bytes; none if they are broken: Google's SDK would
    refuse the whole answer."""
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except ValueError:
        return []
    return [{"inlineData": {"mimeType": mime, "data": data}}]


def body(parts: list[Part]) -> dict[str, Any]:
    """A candidate's `content`."""
    return {"role": "model", "parts": parts}
