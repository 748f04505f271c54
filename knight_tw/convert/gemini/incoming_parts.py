"""Gemini's media in the middle form (conversion specification, 9)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import media
from knight_tw.convert import parts as x_parts
from knight_tw.convert.gemini.outgoing_parts import RESOLUTIONS
from knight_tw.convert.media import Blob
from knight_tw.errors import InvalidRequest, UnsupportedContent

Part = dict[str, Any]

MEDIA = ("inlineData", "fileData")

_DETAILS = {level: detail for detail, level in RESOLUTIONS.items()}
_HEARD = {"audio/wav": "wav", "audio/mp3": "mp3", "audio/mpeg": "mp3"}
"""Audio types that OpenAI takes, to its names for them."""


def media_part(part: Mapping[str, Any], param: str) -> x_parts.Part:
    """The part of the middle form for inline data or a reference to a file.

    Raises:
        InvalidRequest: it cannot be read.
        UnsupportedContent: the middle form has nothing like it.
    """
    name = "inlineData" if "inlineData" in part else "fileData"
    where = f"{param}.{name}"
    read = _inline if name == "inlineData" else _reference
    found = read(read_object(part[name], where), where)
    resolution = part.get("mediaResolution")
    level = resolution.get("level") if isinstance(resolution, Mapping) else None
    if found["type"] == "image_url" and level in _DETAILS:
        found["image_url"]["detail"] = _DETAILS[level]
    return found


def read_object(value: Any, param: str) -> Mapping[str, Any]:
    """The value, if it is an object.

    Raises:
        InvalidRequest: it is none.
    """
    if isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{param} must be an object", param=param)


def read_inline(value: Any, param: str) -> Blob:
    """The bytes of an `inlineData` object, with their true type.

    Raises:
        InvalidRequest: it is no such object.
    """
    obj = read_object(value, param)
    declared = obj.get("mimeType")
    data = x_parts.read_text(obj, "data", param)
    return media.blob(
        data, declared if isinstance(declared, str) else "", f"{param}.data"
    )


def _inline(obj: Mapping[str, Any], param: str) -> x_parts.Part:
    content = read_inline(obj, param)
    if content.kind == "image":
        return {"type": "image_url", "image_url": {"url": content.url}}
    if content.kind == "video":
        return {"type": "video_url", "video_url": {"url": content.url}}
    if content.type == media.PDF:
        named = obj.get("displayName") or "document.pdf"
        return {"type": "file", "file": {"filename": named, "file_data": content.url}}
    if content.type in _HEARD:
        audio = {"data": content.data, "format": _HEARD[content.type]}
        return {"type": "input_audio", "input_audio": audio}
    if media.is_text(content.type):
        return x_parts.text_part(media.decoded_text(content, f"{param}.data"))
    raise UnsupportedContent(
        f"content of type {content.type} is not understood"[:200],
        param=f"{param}.mimeType",
    )


def _reference(obj: Mapping[str, Any], param: str) -> x_parts.Part:
    """A file that lies elsewhere: what it is tells its type, else its name."""
    uri = x_parts.read_text(obj, "fileUri", param)
    declared = obj.get("mimeType")
    mime = media.named_type(declared) if isinstance(declared, str) else ""
    kind = mime or media.type_of_name(uri)
    if kind.startswith("image/"):
        image = {"url": uri, "mime_type": mime} if mime else {"url": uri}
        return {"type": "image_url", "image_url": image}
    if kind.startswith("video/") or "youtu" in uri[:40]:
        return {"type": "video_url", "video_url": {"url": uri}}
    if kind == media.PDF or media.is_text(kind):
        return {"type": "file", "file": {"file_url": uri}}
    raise UnsupportedContent(
        f"a file of type {kind or 'unknown'} is not understood"[:200],
        param=f"{param}.mimeType",
    )
