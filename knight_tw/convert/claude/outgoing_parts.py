"""Content parts of the middle form as Claude's blocks (specification, 2.3 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.convert import channels, media
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.media import Blob
from knight_tw.errors import InvalidRequest, UnsupportedContent

Block = dict[str, Any]

HOUR = "1h"


def marker(obj: Mapping[str, Any]) -> dict[str, Any]:
    """Claude's cache marker for either marker of the middle form."""
    own = obj.get("cache_control")
    if isinstance(own, Mapping) and own:
        return {"cache_control": dict(own)}
    openai = obj.get("prompt_cache_breakpoint")
    if not isinstance(openai, Mapping) or not openai:
        return {}
    control = {"type": "ephemeral"}
    return {"cache_control": control | ({"ttl": HOUR} if openai.get("ttl") else {})}


def to_blocks(
    parts: Sequence[x_parts.Part], param: str, context: Context
) -> list[Block]:
    """Claude's blocks for the parts of a user message or a tool's result.

    Empty texts, which the API refuses, are left out.

    Raises:
        InvalidRequest: a part cannot be read.
        UnsupportedContent: a part that Claude cannot see.
    """
    blocks: list[Block] = []
    for index, part in enumerate(parts):
        block = _block(part, f"{param}.{index}", context)
        if block is not None:
            blocks.append({**block, **marker(part)})
    return blocks


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """URLs that must be downloaded before this request can be sent; each once.

    Claude fetches URLs itself, except on channels that only take bytes.
    """
    if not channels.needs_bytes(context):
        return []
    urls: dict[str, None] = {}
    messages = x_parts.read_objects(x.get("messages"), "messages")
    for index, message in enumerate(messages):
        param = f"messages.{index}.content"
        for part in x_parts.read_parts(message.get("content"), param):
            url = _url_of(part)
            if url and not media.is_data_url(url):
                urls[url] = None
    return list(urls)


def _url_of(part: x_parts.Part) -> str:
    """The URL of an image or a file, empty when it has none."""
    inner = part.get(part["type"])
    if part["type"] not in ("image_url", "file") or not isinstance(inner, Mapping):
        return ""
    url = inner.get("url") or inner.get("file_url") or part.get("file_url")
    return url if isinstance(url, str) else ""


def _block(part: x_parts.Part, param: str, context: Context) -> Block | None:
    kind = part["type"]
    if kind == "text":
        return x_parts.text_part(part["text"]) if part["text"] else None
    if kind == "refusal":
        text = part.get("refusal")
        return x_parts.text_part(text) if isinstance(text, str) and text else None
    if kind == "image_url":
        return _image(part, param, context)
    if kind == "file":
        return _file(part, param, context)
    raise UnsupportedContent(
        f"Claude models cannot see {kind}"[:200], param=f"{param}.type"
    )


def _image(part: x_parts.Part, param: str, context: Context) -> Block:
    image = part.get("image_url")
    where = f"{param}.image_url"
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, Mapping):
        raise InvalidRequest(f"{where} must be an object", param=where)
    url, file_id = image.get("url"), image.get("file_id")
    if isinstance(url, str) and url:
        if media.is_data_url(url) or url in context.media:
            found = media.content_of(url, context, f"{where}.url")
            return _image_block(found, f"{where}.url")
        if channels.needs_bytes(context):
            media.downloaded(url, context, f"{where}.url")
        return {"type": "image", "source": {"type": "url", "url": url}}
    if isinstance(file_id, str) and context.provider_type == channels.ANTHROPIC:
        return {"type": "image", "source": {"type": "file", "file_id": file_id}}
    raise UnsupportedContent("an image needs a URL", param=f"{where}.url")


def _image_block(found: Blob, param: str) -> Block:
    if found.type not in media.CLAUDE_IMAGES:
        raise UnsupportedContent(
            f"Claude models cannot see images of type {found.type}"[:200], param=param
        )
    return {"type": "image", "source": _base64(found)}


def _base64(found: Blob) -> dict[str, Any]:
    return {"type": "base64", "media_type": found.type, "data": found.data}


def _file(part: x_parts.Part, param: str, context: Context) -> Block:
    """A document; a file that is a picture becomes an image."""
    file = part.get("file")
    if not isinstance(file, Mapping):
        raise InvalidRequest(f"{param}.file must be an object", param=f"{param}.file")
    said = {**part, **file}
    data, url, file_id = (said.get(n) for n in ("file_data", "file_url", "file_id"))
    if isinstance(data, str) and data:
        where = f"{param}.file.file_data"
        name = said.get("filename")
        found = media.read_file(data, name if isinstance(name, str) else "", where)
        return _document(found, said, where)
    if isinstance(url, str) and url:
        where = f"{param}.file.file_url"
        if url in context.media or channels.needs_bytes(context):
            return _document(media.content_of(url, context, where), said, where)
        source = {"type": "url", "url": url}
        return {"type": "document", "source": source, **_about(said)}
    if isinstance(file_id, str) and context.provider_type == channels.ANTHROPIC:
        source = {"type": "file", "file_id": file_id}
        return {"type": "document", "source": source, **_about(said)}
    raise UnsupportedContent("a file needs its data or a URL", param=f"{param}.file")


def _document(found: Blob, said: Mapping[str, Any], param: str) -> Block:
    if found.kind == "image":
        return _image_block(found, param)
    if found.type == media.PDF:
        return {"type": "document", "source": _base64(found), **_about(said)}
    if media.is_text(found.type):
        text = media.decoded_text(found, param)
        source = {"type": "text", "media_type": media.PLAIN, "data": text}
        return {"type": "document", "source": source, **_about(said)}
    raise UnsupportedContent(
        f"Claude models cannot read files of type {found.type}"[:200], param=param
    )


def _about(said: Mapping[str, Any]) -> dict[str, Any]:
    """Title, context and citations of a document; its file name is a title too."""
    about: dict[str, Any] = {}
    title = said.get("title") or said.get("filename")
    if isinstance(title, str) and title:
        about["title"] = title
    if isinstance(said.get("context"), str) and said["context"]:
        about["context"] = said["context"]
    if said.get("citations") is True:
        about["citations"] = {"enabled": True}
    return about
