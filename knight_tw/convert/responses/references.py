"""What an answer refers to: Responses annotations and the middle form's (specification,
sections 1, 12.2 and 13.2).

A Responses annotation belongs to a text part and counts characters from its beginning;
in the middle form the whole content counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Annotation = dict[str, Any]

URL = "url_citation"
_ENDS = ("start_index", "end_index")


def to_x(annotation: Mapping[str, Any], start: int, end: int) -> tuple[str, Annotation]:
    """The member of a message it goes to, and the entry there.

    Args:
        start, end: Where its text part stands in the content.
    """
    span = {
        name: start + value
        for name in _ENDS
        if isinstance(value := annotation.get(name), int)
    }
    if annotation.get("type") == URL:
        told = {name: annotation.get(name) or "" for name in ("url", "title")}
        span = {"start_index": start, "end_index": start} | span
        return "annotations", {"type": URL, URL: {**told, **span}}
    whole = {"start_index": start, "end_index": end}
    return "citations", {**annotation, **whole, **span}


def from_x(annotation: Mapping[str, Any], start: int = 0) -> Annotation | None:
    """The annotation of a text part; None for what is no URL citation.

    Args:
        start: Where the text part stands in the content.
    """
    cited = annotation.get(URL)
    if not isinstance(cited, Mapping):
        return None
    found: Annotation = {"type": URL, "url": str(cited.get("url") or "")}
    found["title"] = str(cited.get("title") or "")
    for name in _ENDS:
        value = cited.get(name)
        found[name] = max(0, value - start) if isinstance(value, int) else 0
    return found
