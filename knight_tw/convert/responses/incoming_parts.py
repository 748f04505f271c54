"""Content parts of a Responses request in the middle form (specification, 12.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert.parts import Part
from knight_tw.errors import InvalidRequest, UnsupportedContent

BREAKPOINT = "prompt_cache_breakpoint"
TEXTS = frozenset({"input_text", "output_text", "text", "summary_text"})
_FILE = ("file_data", "file_id", "file_url", "filename")


def read_content(content: Any, param: str) -> list[Part]:
    """The parts of a message's content or of a call's output.

    Raises:
        InvalidRequest: it is neither a text nor a list of parts.
        UnsupportedContent: a part that only the Responses API itself can see.
    """
    if content is None:
        return []
    if isinstance(content, str):
        return [x_parts.text_part(content)]
    if not isinstance(content, list):
        raise InvalidRequest(f"{param} must be a string or a list", param=param)
    entries = x_parts.read_objects(content, param)
    return [_part(part, f"{param}.{index}") for index, part in enumerate(entries)]


def collapsed(parts: list[Part]) -> str | list[Part]:
    """The parts as content; texts without a cache marker are one text."""
    if x_parts.only_text(parts) and not any(map(x_parts.marked, parts)):
        return x_parts.joined(parts)
    return parts


def _part(part: Mapping[str, Any], param: str) -> Part:
    kind = part.get("type")
    if kind in TEXTS:
        found = x_parts.text_part(x_parts.read_text(part, "text", param))
    elif kind == "refusal":
        text = x_parts.read_text(part, "refusal", param)
        return {"type": "refusal", "refusal": text}
    elif kind == "input_image":
        found = _image(part, param)
    elif kind == "input_file":
        found = _file(part, param)
    elif kind == "input_audio":
        found = {"type": "input_audio", "input_audio": part.get("input_audio")}
    elif not isinstance(kind, str):
        where = f"{param}.type"
        raise InvalidRequest(f"{where} must be a string", param=where)
    else:
        raise UnsupportedContent(f"content of type {kind!r}"[:200], param=param)
    if part.get(BREAKPOINT):
        found[BREAKPOINT] = part[BREAKPOINT]
    return found


def _image(part: Mapping[str, Any], param: str) -> Part:
    url = part.get("image_url")
    if isinstance(url, Mapping):  # chat's form, which some clients write here too
        url = url.get("url")
    if not isinstance(url, str) or not url:
        if part.get("file_id"):
            where = f"{param}.file_id"
            raise UnsupportedContent("an image by its file id", param=where)
        where = f"{param}.image_url"
        raise InvalidRequest(f"{where} must be a string", param=where)
    image: dict[str, Any] = {"url": url}
    if part.get("detail") is not None:
        image["detail"] = part["detail"]
    return {"type": "image_url", "image_url": image}


def _file(part: Mapping[str, Any], param: str) -> Part:
    file = {name: part[name] for name in _FILE if part.get(name) is not None}
    if not any(file.get(name) for name in ("file_data", "file_id", "file_url")):
        raise InvalidRequest(f"{param} has no file", param=param)
    return {"type": "file", "file": file}
