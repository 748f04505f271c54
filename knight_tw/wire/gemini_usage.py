"""Gemini's `usageMetadata`, read into a `records.Usage`.

`promptTokenCount` includes what was cached, `candidatesTokenCount` does not include
thoughts (conversion specification, 2.6). In streams the counts grow, and the last
object that has any counts whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.records import Usage
from knight_tw.wire.answers import objects
from knight_tw.wire.usage import count

SEARCH = "google_search"
"""The name under which searches of Google's own tool are charged."""

COUNTS = frozenset(
    {
        *("promptTokenCount", "candidatesTokenCount", "totalTokenCount"),
        *("toolUsePromptTokenCount", "thoughtsTokenCount", "responseTokenCount"),
    }
)


def counts(metadata: Any) -> bool:
    """True for a `usageMetadata` that counts anything, be it nothing but zeros."""
    return isinstance(metadata, Mapping) and not COUNTS.isdisjoint(metadata)


def read_metadata(metadata: Any, searches: int = 0) -> Usage | None:
    """What a `usageMetadata` object reports; None when every count in it is zero.

    Args:
        searches: How often the model searched, which is told elsewhere.
    """
    if not isinstance(metadata, Mapping):
        return None
    prompt = count(metadata.get("promptTokenCount"))
    prompt += count(metadata.get("toolUsePromptTokenCount"))
    thoughts = count(metadata.get("thoughtsTokenCount"))
    completion = count(metadata.get("candidatesTokenCount")) + thoughts
    completion += count(metadata.get("responseTokenCount"))
    total = count(metadata.get("totalTokenCount"))
    if not completion and total > prompt:
        completion = total - prompt
    if not (prompt or completion or total):
        return None
    into = _modalities(metadata, "promptTokensDetails", "toolUsePromptTokensDetails")
    out = _modalities(metadata, "candidatesTokensDetails", "responseTokensDetails")
    cached = _modalities(metadata, "cacheTokensDetails")
    return Usage(
        prompt=prompt,
        completion=completion,
        cached=count(metadata.get("cachedContentTokenCount")),
        reasoning=thoughts,
        image_in=into.get("IMAGE", 0),
        image_out=out.get("IMAGE", 0),
        audio_in=into.get("AUDIO", 0),
        audio_out=out.get("AUDIO", 0),
        total=total or prompt + completion,
        tool_calls={SEARCH: searches} if searches else {},
        cached_audio=cached.get("AUDIO", 0),
    )


def _modalities(metadata: Mapping[str, Any], *names: str) -> dict[str, int]:
    """Tokens by kind of content, summed."""
    sums: dict[str, int] = {}
    for name in names:
        for entry in objects(metadata.get(name)):
            kind = str(entry.get("modality"))
            sums[kind] = sums.get(kind, 0) + count(entry.get("tokenCount"))
    return sums


def searches_in(grounding: Any) -> int:
    """How often the model searched, as its `groundingMetadata` tells."""
    if not isinstance(grounding, Mapping):
        return 0
    queries = grounding.get("webSearchQueries")
    known = len(queries) if isinstance(queries, list) else 0
    return known or bool(grounding.get("groundingChunks"))


def to_metadata(usage: Usage) -> dict[str, Any]:
    """The `usageMetadata` for counts of our own."""
    metadata = {
        "promptTokenCount": usage.prompt,
        "candidatesTokenCount": max(usage.completion - usage.reasoning, 0),
        "thoughtsTokenCount": usage.reasoning,
        "totalTokenCount": usage.total or usage.prompt + usage.completion,
    }
    if not usage.reasoning:
        del metadata["thoughtsTokenCount"]
    return metadata
