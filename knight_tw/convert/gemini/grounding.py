"""What an answer rests on: Gemini's grounding and OpenAI's annotations (8.1, 10.1).

Gemini counts bytes of UTF-8 within a part, OpenAI code points of the whole content.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.wire.answers import objects
from knight_tw.wire.usage import count

Entry = dict[str, Any]

Spans = Mapping[int, tuple[int, str]]
"""Index of a part to where its text begins in the content, and the text."""


def url_citations(metadata: Any, content: str, spans: Spans) -> list[Entry]:
    """The `url_citation` entries for a `groundingMetadata` object.

    Pages that no place in the text refers to have both indexes 0; they are listed only
    when no page has a place.
    """
    if not isinstance(metadata, Mapping):
        return []
    chunks = metadata.get("groundingChunks")
    chunks = chunks if isinstance(chunks, list) else []
    found: list[Entry] = []
    for support in objects(metadata.get("groundingSupports")):
        start, end = _span(support.get("segment"), content, spans)
        indexes = support.get("groundingChunkIndices")
        for index in indexes if isinstance(indexes, list) else []:
            page = _page(chunks, index)
            if page is not None:
                found.append(_citation(page, start, end))
    if found:
        return found
    pages = (_page(chunks, index) for index in range(len(chunks)))
    return [_citation(page, 0, 0) for page in pages if page is not None]


def _page(chunks: Sequence[Any], index: Any) -> Mapping[str, Any] | None:
    """The web page of a chunk, None for chunks of other kinds."""
    if not isinstance(index, int) or not 0 <= index < len(chunks):
        return None
    chunk = chunks[index]
    web = chunk.get("web") if isinstance(chunk, Mapping) else None
    return web if isinstance(web, Mapping) and web.get("uri") else None


def _citation(page: Mapping[str, Any], start: int, end: int) -> Entry:
    place = {"url": page["uri"], "title": page.get("title") or ""}
    span = {"start_index": start, "end_index": end}
    return {"type": "url_citation", "url_citation": {**place, **span}}


def _span(segment: Any, content: str, spans: Spans) -> tuple[int, int]:
    """The place of a segment in the content, in code points.

    Offsets that do not hold the segment's own text are not believed: it is looked for.
    """
    if not isinstance(segment, Mapping):
        return 0, 0
    start, end = count(segment.get("startIndex")), count(segment.get("endIndex"))
    text = segment.get("text")
    base, part = spans.get(count(segment.get("partIndex")), (0, content))
    for offset, whole in ((base, part), (0, content)):
        data = whole.encode()
        first, last = _points(data, start), _points(data, end)
        if not isinstance(text, str) or whole[first:last] == text:
            return offset + first, offset + last
    at = content.find(text) if isinstance(text, str) else -1
    return (at, at + len(text)) if at >= 0 and isinstance(text, str) else (0, 0)


def _points(data: bytes, offset: int) -> int:
    """A byte offset in code points."""
    return len(data[:offset].decode(errors="ignore"))


def citations(entries: Sequence[Mapping[str, Any]], content: str) -> list[Entry]:
    """The entries of a `citationMetadata` object with their place in the content."""
    data = content.encode()
    return [
        {
            **entry,
            "start_index": _points(data, count(entry.get("startIndex"))),
            "end_index": _points(data, count(entry.get("endIndex"))),
        }
        for entry in entries
    ]


def metadata_of(entries: Any, content: str) -> Entry:
    """The `groundingMetadata` for annotations; empty when none is a URL citation."""
    pages: dict[str, int] = {}
    chunks: list[Entry] = []
    supports: list[Entry] = []
    for entry in objects(entries):
        cited = entry.get("url_citation")
        url = cited.get("url") if isinstance(cited, Mapping) else None
        if not isinstance(cited, Mapping) or not isinstance(url, str):
            continue
        if url not in pages:
            pages[url] = len(chunks)
            chunks.append({"web": {"uri": url, "title": cited.get("title") or ""}})
        start, end = count(cited.get("start_index")), count(cited.get("end_index"))
        text = content[start:end]
        if text:
            first = len(content[:start].encode())
            segment = {"startIndex": first, "endIndex": first + len(text.encode())}
            supports.append(
                {
                    "segment": {**segment, "text": text},
                    "groundingChunkIndices": [pages[url]],
                }
            )
    if not chunks:
        return {}
    found: Entry = {"groundingChunks": chunks}
    return {**found, "groundingSupports": supports} if supports else found
