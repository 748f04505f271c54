"""What an answer's text rests on: Claude's citations and OpenAI's annotations.

Claude cites for a whole text block; OpenAI annotates a span of the content, counted in
code points. So a block's span stands for its citations, and going back the text is cut
into blocks at the spans.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, field

from knight_tw.convert import parts as x_parts

WEB = "web_search_result_location"
"""The kind of citation that is a URL; others only Claude's clients know."""

Entry = dict[str, Any]


@define(eq=False)
class Citations:
    """The annotations and the other citations of an answer, as they come.

    Attributes:
        indexed: Whether entries are numbered, as entries of streamed lists have to be.
    """

    indexed: bool = False
    _annotations: list[Entry] = field(factory=list)
    _others: list[Entry] = field(factory=list)

    def add(self, citations: Sequence[Any], start: int, end: int) -> dict[str, Any]:
        """Take the citations of the block from `start` to `end` of the content.

        Returns: the members of a message that hold just these.
        """
        first = len(self._annotations), len(self._others)
        for citation in citations:
            if not isinstance(citation, Mapping):
                continue
            span = {"start_index": start, "end_index": end}
            if citation.get("type") == WEB:
                place = {"url": citation.get("url"), "title": citation.get("title")}
                entry: Entry = {"type": "url_citation", "url_citation": place | span}
                self._put(self._annotations, entry)
            else:
                self._put(self._others, {**citation, **span})
        return _members(self._annotations[first[0] :], self._others[first[1] :])

    def members(self) -> dict[str, Any]:
        """The members of a message that hold all of them."""
        return _members(self._annotations, self._others)

    def _put(self, entries: list[Entry], entry: Entry) -> None:
        if self.indexed:
            entry["index"] = len(entries)
        entries.append(entry)


def _members(annotations: list[Entry], others: list[Entry]) -> dict[str, Any]:
    members = {"annotations": annotations, "citations": others}
    return {name: entries for name, entries in members.items() if entries}


def cited_blocks(text: str, annotations: Any) -> list[dict[str, Any]]:
    """The text as blocks, cut at the spans of its URL annotations.

    Spans that overlap an earlier one, or are not in the text, are cited nowhere; an
    annotation without a span (both indexes 0) is not either.
    """
    spans = _spans(text, annotations)
    if not spans:
        return [x_parts.text_part(text)]
    blocks: list[dict[str, Any]] = []
    at = 0
    for (start, end), cited in sorted(spans.items()):
        if start < at:
            continue
        if start > at:
            blocks.append(x_parts.text_part(text[at:start]))
        piece = text[start:end]
        citations = [web_citation(entry, piece) for entry in cited]
        blocks.append({**x_parts.text_part(piece), "citations": citations})
        at = end
    if at < len(text):
        blocks.append(x_parts.text_part(text[at:]))
    return blocks


def url_citation(annotation: Any) -> Mapping[str, Any] | None:
    """The URL citation in an annotation, None when it is of another kind."""
    inner = annotation.get("url_citation") if isinstance(annotation, Mapping) else None
    return inner if isinstance(inner, Mapping) and inner.get("url") else None


def web_citation(cited: Mapping[str, Any], text: str) -> dict[str, Any]:
    """Claude's citation of a web page for `text`."""
    return {
        "type": WEB,
        "url": cited.get("url"),
        "title": cited.get("title"),
        "cited_text": text,
        "encrypted_index": "",
    }


def _spans(text: str, annotations: Any) -> dict[tuple[int, int], list[Any]]:
    spans: dict[tuple[int, int], list[Any]] = {}
    for annotation in annotations if isinstance(annotations, list) else []:
        cited = url_citation(annotation)
        if cited is None:
            continue
        start, end = cited.get("start_index"), cited.get("end_index")
        if not (isinstance(start, int) and isinstance(end, int)):
            continue
        if 0 <= start < end <= len(text):
            spans.setdefault((start, end), []).append(cited)
    return spans
