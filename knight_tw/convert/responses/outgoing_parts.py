"""Content parts of the middle form in a Responses request (specification, 13.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import channels
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.responses.items import refusal_part
from knight_tw.errors import InvalidRequest, UnsupportedContent

Part = dict[str, Any]

EXPLICIT: Mapping[str, Any] = {"mode": "explicit"}
_FILE = ("filename", "file_data", "file_id", "file_url")


def input_content(content: Any, context: Context, param: str) -> str | list[Part]:
    """A user's or a tool's content: a text stays one.

    Raises:
        InvalidRequest: it cannot be read.
        UnsupportedContent: a part that the Responses API cannot see.
    """
    if isinstance(content, str):
        return content
    parts = x_parts.read_parts(content, param)
    return [
        found
        for index, part in enumerate(parts)
        for found in _input(part, context, f"{param}.{index}")
    ] or ""


def output_content(
    message: Mapping[str, Any], context: Context, param: str
) -> list[Part]:
    """What an assistant's message says; empty texts are left out."""
    found: list[Part] = []
    for part in x_parts.read_parts(message.get("content"), param):
        kind = part["type"]
        if kind == "text":
            if part["text"]:
                found.append({"type": "output_text", "text": part["text"]})
        elif kind == "refusal":
            found.append(refusal_part(str(part.get("refusal") or "")))
        else:
            context.drop(kind)
    refusal = message.get("refusal")
    said = [part.get("refusal") or part.get("text") for part in found]
    if isinstance(refusal, str) and refusal and refusal not in said:
        found.append(refusal_part(refusal))
    return found


def _input(part: Mapping[str, Any], context: Context, param: str) -> list[Part]:
    kind = part["type"]
    if kind == "text":
        found = [{"type": "input_text", "text": part["text"]}]
    elif kind == "image_url":
        found = [_image(part, param)]
    elif kind == "file":
        found = _file(part, param)
    elif kind == "input_audio" and context.accepts("audio"):
        found = [{"type": "input_audio", "input_audio": part.get("input_audio")}]
    elif kind == "video_url" and context.accepts("video_url"):
        found = [{"type": "video_url", "video_url": part.get("video_url")}]
    elif kind == "refusal":
        found = [{"type": "input_text", "text": str(part.get("refusal") or "")}]
    else:
        raise UnsupportedContent(f"content of type {kind!r}"[:200], param=param)
    if x_parts.marked(part) and channels.takes_breakpoints(context):
        marker = part.get("prompt_cache_breakpoint")
        found[-1]["prompt_cache_breakpoint"] = marker or dict(EXPLICIT)
    return found


def _image(part: Mapping[str, Any], param: str) -> Part:
    image = part.get("image_url")
    if isinstance(image, str):
        image = {"url": image}
    if not isinstance(image, Mapping) or not isinstance(image.get("url"), str):
        where = f"{param}.image_url.url"
        raise InvalidRequest(f"{where} must be a string", param=where)
    detail = image.get("detail") or "auto"
    return {"type": "input_image", "image_url": image["url"], "detail": detail}


def _file(part: Mapping[str, Any], param: str) -> list[Part]:
    """The file, after what a client of Claude says about it."""
    file = part.get("file")
    if not isinstance(file, Mapping):
        where = f"{param}.file"
        raise InvalidRequest(f"{where} must be an object", param=where)
    known = {**part, **file}
    found = {name: known[name] for name in _FILE if known.get(name)}
    if known.get("title"):
        found.setdefault("filename", known["title"])
    before: list[Part] = []
    if isinstance(known.get("context"), str) and known["context"]:
        before = [{"type": "input_text", "text": known["context"]}]
    return [*before, {"type": "input_file", **found}]
