"""Content parts of the middle form as Converse's blocks (providers specification, 7.5).

Converse takes media only as bytes, told by a format instead of a MIME type.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import media
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.media import Blob
from knight_tw.errors import InvalidRequest, UnsupportedContent

Block = dict[str, Any]

IMAGES: Mapping[str, str] = {
    "image/png": "png",
    "image/jpeg": "jpeg",
    "image/gif": "gif",
    "image/webp": "webp",
}
VIDEOS: Mapping[str, str] = {
    "video/mp4": "mp4",
    "video/mov": "mov",
    "video/webm": "webm",
    "video/x-matroska": "mkv",
    "video/flv": "flv",
    "video/mpeg": "mpeg",
    "video/mpg": "mpg",
    "video/wmv": "wmv",
    "video/3gpp": "three_gp",
}
AUDIO: Mapping[str, str] = {
    "audio/wav": "wav",
    "audio/mp3": "mp3",
    "audio/mpeg": "mp3",
    "audio/aac": "aac",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
}
DOCUMENTS: Mapping[str, str] = {
    media.PDF: "pdf",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
"""MIME types to the formats of each kind of block; other texts are `txt`."""

_NOT_IN_NAME = re.compile(r"[^A-Za-z0-9 ()\[\]-]+")
_BLANKS = re.compile(r" {2,}")
_NAME_LIMIT = 100


def caches(context: Context) -> bool:
    """True for models that take cache marks where a client set them."""
    return "nova" in context.model


def cache_point(part: Mapping[str, Any], context: Context) -> list[Block]:
    """The mark behind a part that shall be cached."""
    if x_parts.marked(part) and caches(context):
        return [{"cachePoint": {"type": "default"}}]
    return []


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """URLs that must be downloaded before this request can be sent; each once."""
    urls: dict[str, None] = {}
    messages = x_parts.read_objects(x.get("messages"), "messages")
    for index, message in enumerate(messages):
        param = f"messages.{index}.content"
        for part in x_parts.read_parts(message.get("content"), param):
            url = _url_of(part)
            if url and not media.is_data_url(url):
                urls[url] = None
    return list(urls)


def _url_of(part: Mapping[str, Any]) -> str:
    """The URL in a part with media, empty when it has none."""
    kind = part["type"]
    if kind not in ("image_url", "video_url", "file"):
        return ""
    inner = part.get(kind)
    if isinstance(inner, str):
        return inner
    inner = inner if isinstance(inner, Mapping) else {}
    url = inner.get("url") or inner.get("file_url") or part.get("file_url")
    return url if isinstance(url, str) else ""


@define(eq=False)
class Parts:
    """Turns the parts of one request into blocks; documents need different names."""

    _context: Context
    _names: set[str] = field(factory=set)

    def blocks(self, content: Any, param: str) -> list[Block]:
        """The blocks of a user message or a tool's result.

        Blank texts, which the API refuses, are left out.

        Raises:
            InvalidRequest: a part cannot be read.
            UnsupportedContent: a part that Converse cannot take.
        """
        blocks: list[Block] = []
        for index, part in enumerate(x_parts.read_parts(content, param)):
            block = self._block(part, f"{param}.{index}")
            if block is not None:
                blocks += [block, *cache_point(part, self._context)]
        return blocks

    def _block(self, part: Mapping[str, Any], param: str) -> Block | None:
        kind = part["type"]
        if kind in ("text", "refusal"):
            return text_block(part.get(kind))
        if kind == "input_audio":
            return self._audio(part, f"{param}.input_audio")
        if kind == "file":
            return self._file(part, f"{param}.file")
        url = _url_of(part)
        if kind not in ("image_url", "video_url") or not url:
            raise UnsupportedContent(
                f"the model cannot see {kind}"[:200], param=f"{param}.type"
            )
        where = f"{param}.{kind}.url"
        found = media.content_of(url, self._context, where)
        if kind == "video_url":
            return _of_format("video", VIDEOS, found, where)
        return _of_format("image", IMAGES, found, where)

    def _audio(self, part: Mapping[str, Any], param: str) -> Block:
        audio = part.get("input_audio")
        if not isinstance(audio, Mapping):
            raise InvalidRequest(f"{param} must be an object", param=param)
        data = x_parts.read_text(audio, "data", param)
        said = audio.get("format")
        declared = f"audio/{said}" if isinstance(said, str) else ""
        return _of_format("audio", AUDIO, media.blob(data, declared, param), param)

    def _file(self, part: Mapping[str, Any], param: str) -> Block:
        file = part.get("file")
        if not isinstance(file, Mapping):
            raise InvalidRequest(f"{param} must be an object", param=param)
        name, data, url = file.get("filename"), file.get("file_data"), _url_of(part)
        name = name if isinstance(name, str) else ""
        if isinstance(data, str) and data:
            found = media.read_file(data, name, f"{param}.file_data")
        elif url:
            found = media.content_of(url, self._context, f"{param}.file_url")
        else:
            raise UnsupportedContent("a file needs its data or a URL", param=param)
        if found.kind == "image":
            return _of_format("image", IMAGES, found, param)
        kind = DOCUMENTS.get(found.type)
        if kind is None and not media.is_text(found.type):
            raise _unseen(found, param)
        block = {"format": kind or "txt", "name": self._name(name)}
        return {"document": {**block, "source": {"bytes": found.data}}}

    def _name(self, filename: str) -> str:
        """A document's name in the few characters allowed, different from others."""
        stem = filename.rpartition(".")[0] or filename
        plain = _BLANKS.sub(" ", _NOT_IN_NAME.sub(" ", stem)).strip()
        plain = plain[:_NAME_LIMIT] or "document"
        name, number = plain, 1
        while name in self._names:
            number += 1
            name = f"{plain} {number}"
        self._names.add(name)
        return name


def text_block(text: Any) -> Block | None:
    """A text's block, None when it says nothing."""
    return {"text": text} if isinstance(text, str) and text.strip() else None


def with_text(blocks: Sequence[Block], filler: str) -> list[Block]:
    """The blocks of a user message; documents may not stand without a text."""
    bare = any("document" in b for b in blocks) and not any("text" in b for b in blocks)
    return [*blocks, {"text": filler}] if bare or not blocks else list(blocks)


def _of_format(kind: str, formats: Mapping[str, str], found: Blob, param: str) -> Block:
    name = formats.get(found.type)
    if name is None:
        raise _unseen(found, param)
    return {kind: {"format": name, "source": {"bytes": found.data}}}


def _unseen(found: Blob, param: str) -> UnsupportedContent:
    text = f"the model cannot see content of type {found.type}"
    return UnsupportedContent(text[:200], param=param)
