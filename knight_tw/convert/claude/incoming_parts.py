"""Claude's content blocks as parts of the middle form (specification, 2.3 and 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.errors import UnsupportedContent

Block = dict[str, Any]
Part = x_parts.Part

PDF_NAME = "document.pdf"
"""A document's file name when it has no title."""


def marker(obj: Mapping[str, Any]) -> dict[str, Any]:
    """The cache marker of a block, to be put on what becomes of it."""
    found = obj.get("cache_control")
    return {"cache_control": found} if found else {}


def to_parts(
    blocks: Sequence[Block], param: str, context: Context, *, first: int = 0
) -> list[Part]:
    """The parts that Claude's blocks become, empty texts left out.

    Args:
        param: Path of the list.
        first: Index of the first block in that list.

    Raises:
        UnsupportedContent: a block that only Claude itself can see.
    """
    found: list[Part] = []
    for index, block in enumerate(blocks, first):
        parts = _parts(block, f"{param}.{index}", context)
        if parts:
            parts[-1] = {**parts[-1], **marker(block)}
        found += parts
    return found


def _parts(block: Block, param: str, context: Context) -> list[Part]:
    kind = block["type"]
    if kind == "text":
        return [x_parts.text_part(block["text"])] if block["text"] else []
    if kind == "image":
        return [_image(block, param)]
    if kind == "document":
        return _document(block, param, context)
    if kind == "search_result":
        return [_search_result(block, param)]
    if kind == "tool_reference":
        return [x_parts.text_part(str(block.get("tool_name") or ""))]
    raise UnsupportedContent(
        f"only Claude models can see {kind}"[:200], param=f"{param}.type"
    )


def _image(block: Block, param: str) -> Part:
    source = _source(block, param)
    if source.get("type") == "base64":
        media_type = x_parts.read_text(source, "media_type", f"{param}.source")
        encoded = x_parts.read_text(source, "data", f"{param}.source")
        url = f"data:{media_type};base64,{encoded}"
    elif source.get("type") == "url":
        url = x_parts.read_text(source, "url", f"{param}.source")
    else:
        raise _only_claude(source, param)
    return {"type": "image_url", "image_url": {"url": url}}


def _document(block: Block, param: str, context: Context) -> list[Part]:
    source, title = _source(block, param), block.get("title")
    title = title if isinstance(title, str) else ""
    citations = block.get("citations")
    if isinstance(citations, Mapping) and citations.get("enabled"):
        context.drop("citations")
    about = block.get("context")
    before = [x_parts.text_part(about)] if isinstance(about, str) and about else []
    return before + _of_source(source, title, f"{param}.source", context)


def _of_source(
    source: Mapping[str, Any], title: str, param: str, context: Context
) -> list[Part]:
    kind = source.get("type")
    if kind == "base64":
        encoded = x_parts.read_text(source, "data", param)
        media_type = str(source.get("media_type") or "application/pdf")
        url = f"data:{media_type};base64,{encoded}"
        file = {"filename": title or PDF_NAME, "file_data": url}
        return [{"type": "file", "file": file}]
    if kind == "url":
        file = {"filename": title} if title else {}
        file["file_url"] = x_parts.read_text(source, "url", param)
        return [{"type": "file", "file": file}]
    if kind == "text":
        text = x_parts.read_text(source, "data", param)
        return [x_parts.text_part(f"{title}\n\n{text}" if title else text)]
    if kind == "content":
        where = f"{param}.content"
        parts = x_parts.read_parts(source.get("content"), where)
        own = to_parts(parts, where, context)
        return [x_parts.text_part(title), *own] if title else own
    raise _only_claude(source, param.removesuffix(".source"))


def _search_result(block: Block, param: str) -> Part:
    texts = [str(block.get(name) or "") for name in ("title", "source")]
    content = x_parts.read_parts(block.get("content"), f"{param}.content")
    texts.append(x_parts.joined(content, "\n"))
    return x_parts.text_part("\n".join(text for text in texts if text))


def _source(block: Block, param: str) -> Mapping[str, Any]:
    source = block.get("source")
    if isinstance(source, Mapping):
        return source
    where = f"{param}.source"
    raise UnsupportedContent(f"{where} must be an object", param=where)


def _only_claude(source: Mapping[str, Any], param: str) -> UnsupportedContent:
    """A file that was uploaded to Claude: nobody else has it."""
    kind = source.get("type")
    return UnsupportedContent(
        f"only Claude models can see a source of type {kind!r}"[:200],
        param=f"{param}.source.type",
    )
