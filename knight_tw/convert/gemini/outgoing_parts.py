"""Content parts of the middle form as Gemini's parts (conversion specification, 2.3).

Gemini fetches only what lies at Google: storage, its own files, YouTube. Everything
else behind a URL is downloaded beforehand (`media_urls`) and sent as bytes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from knight_tw.convert import media
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import models
from knight_tw.convert.media import Blob
from knight_tw.errors import InvalidRequest, UnsupportedContent

Part = dict[str, Any]

RESOLUTIONS: Mapping[str, str] = {
    "low": "MEDIA_RESOLUTION_LOW",
    "high": "MEDIA_RESOLUTION_HIGH",
    "original": "MEDIA_RESOLUTION_ULTRA_HIGH",
}
"""`image_url.detail` to the level of a part's `mediaResolution`."""

_AT_GOOGLE = re.compile(
    r"gs://|https://generativelanguage\.googleapis\.com/"
    r"|https?://(?:www\.|m\.)?youtube\.com/|https?://youtu\.be/",
    re.IGNORECASE,
)
_INLINE = re.compile(r"!\[[^\]]*\]\((data:[^)\s]+)\)")


def to_parts(parts: Sequence[x_parts.Part], param: str, context: Context) -> list[Part]:
    """Gemini's parts for a message's parts; empty texts are left out.

    Raises:
        InvalidRequest: a part cannot be read.
        UnsupportedContent: a part that Gemini cannot see.
    """
    found: list[Part] = []
    for index, part in enumerate(parts):
        where = f"{param}.{index}"
        kind = part["type"]
        if kind in ("text", "refusal"):
            if text := x_parts.read_text(part, kind, where):
                found.append({"text": text})
        elif kind in _READERS:
            found.append(_media_part(part, where, context))
        else:
            raise UnsupportedContent(
                f"Gemini models cannot see {kind}"[:200], param=f"{where}.type"
            )
    return found


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """The URLs in a request that have to be downloaded before it is converted."""
    found: dict[str, None] = {}
    messages = x.get("messages")
    for message in messages if isinstance(messages, list) else []:
        content = message.get("content") if isinstance(message, Mapping) else None
        for part in content if isinstance(content, list) else []:
            url = _url_of(part) if isinstance(part, Mapping) else ""
            if url.startswith(("https://", "http://")) and not at_google(url):
                found[url] = None
    return list(found)


def at_google(url: str) -> bool:
    """True for what Gemini fetches by itself."""
    return _AT_GOOGLE.match(url) is not None


def inline(content: Blob, param: str) -> Part:
    """The part that carries these bytes; a text file of any kind is plain text.

    Raises:
        UnsupportedContent: Gemini does not take the type.
    """
    mime = media.PLAIN if media.is_text(content.type) else content.type
    if mime not in media.GEMINI_TYPES:
        raise UnsupportedContent(f"Gemini models cannot see {mime}"[:200], param=param)
    return {"inlineData": {"mimeType": mime, "data": content.data}}


def split_images(text: str) -> Iterator[Part]:
    """The text as parts: images that stand in it as data URLs become parts between.

    What is no readable image stays text.
    """
    at = 0
    for found in _INLINE.finditer(text):
        try:
            part = inline(media.read_data_url(found[1]), "content")
        except InvalidRequest:
            continue
        if before := text[at : found.start()]:
            yield {"text": before}
        yield part
        at = found.end()
    if rest := text[at:]:
        yield {"text": rest}


def images_of(message: Mapping[str, Any], param: str, context: Context) -> list[Part]:
    """The images that an assistant message carries beside its content."""
    images = x_parts.read_objects(message.get("images"), f"{param}.images")
    return [
        _media_part({**image, "type": "image_url"}, f"{param}.images.{index}", context)
        for index, image in enumerate(images)
    ]


def _media_part(part: Mapping[str, Any], param: str, context: Context) -> Part:
    kind = part["type"]
    inner = part.get(kind)
    where = f"{param}.{kind}"
    if isinstance(inner, str):
        inner = {"url": inner}
    if not isinstance(inner, Mapping):
        raise InvalidRequest(f"{where} must be an object", param=where)
    return _READERS[kind](inner, where, context)


def _image(image: Mapping[str, Any], param: str, context: Context) -> Part:
    part = _behind_url(image, "url", param, context)
    level = RESOLUTIONS.get(str(image.get("detail")))
    if level is not None and models.is_third(context):
        part["mediaResolution"] = {"level": level}
    return part


def _video(video: Mapping[str, Any], param: str, context: Context) -> Part:
    return _behind_url(video, "url", param, context)


def _file(file: Mapping[str, Any], param: str, context: Context) -> Part:
    data, name = file.get("file_data"), file.get("filename")
    if not isinstance(data, str) or not data:
        return _behind_url(file, "file_url", param, context)
    where = f"{param}.file_data"
    content = media.read_file(data, name if isinstance(name, str) else "", where)
    return inline(content, where)


def _audio(audio: Mapping[str, Any], param: str, context: Context) -> Part:
    data = x_parts.read_text(audio, "data", param)
    declared = f"audio/{audio.get('format') or 'wav'}"
    return inline(media.blob(data, declared, f"{param}.data"), param)


_READERS = {
    "image_url": _image,
    "video_url": _video,
    "file": _file,
    "input_audio": _audio,
}


def _behind_url(
    obj: Mapping[str, Any], name: str, param: str, context: Context
) -> Part:
    """The part for what a URL leads to: Google's own by reference, else its bytes."""
    url, where = obj.get(name), f"{param}.{name}"
    if not isinstance(url, str) or not url:
        raise UnsupportedContent("Gemini models need the data or a URL", param=where)
    if not at_google(url):
        return inline(media.content_of(url, context, where), where)
    reference: dict[str, Any] = {"fileUri": url}
    mime = obj.get("mime_type") or media.type_of_name(url)
    if mime:
        reference["mimeType"] = mime
    return {"fileData": reference}


def _url_of(part: Mapping[str, Any]) -> str:
    """The URL in a part of the middle form, empty when it has none."""
    inner = part.get(str(part.get("type")))
    if isinstance(inner, str):
        return inner if part.get("type") in ("image_url", "video_url") else ""
    if not isinstance(inner, Mapping) or inner.get("file_data"):
        return ""
    url = inner.get("url") or inner.get("file_url")
    return url if isinstance(url, str) else ""
