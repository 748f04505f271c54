"""Claude's `usage` object, read into a `records.Usage`.

Its `input_tokens` leave out what was read from a cache and what was written to one. In
a stream, `message_start` reports the input and `message_delta` the totals so far;
either may leave fields out or repeat them as zero (conversion specification, 2.6).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.records import Usage
from knight_tw.wire.usage import SERVER_TOOLS, count

FIVE_MINUTES = "ephemeral_5m_input_tokens"
ONE_HOUR = "ephemeral_1h_input_tokens"


def read_usage(obj: Any) -> Usage | None:
    """What the object reports; None when it is none, or every count in it is zero."""
    if not isinstance(obj, Mapping):
        return None
    cached = count(obj.get("cache_read_input_tokens"))
    write, split = cache_writes(obj)
    prompt = count(obj.get("input_tokens")) + cached + write
    completion = count(obj.get("output_tokens"))
    if not (prompt or completion):
        return None
    return Usage(
        prompt=prompt,
        completion=completion,
        total=prompt + completion,
        cached=cached,
        write=write,
        write_5m=split.get(FIVE_MINUTES, 0),
        write_1h=split.get(ONE_HOUR, 0),
        reasoning=_thinking(obj.get("output_tokens_details")),
        tool_calls=server_tools(obj.get("server_tool_use")),
    )


def cache_writes(obj: Mapping[str, Any]) -> tuple[int, dict[str, int]]:
    """Cache creation in all, and how much of it lasts 5 minutes and an hour.

    The split is empty when it is not reported; what is not in it lasts 5 minutes.
    """
    write = count(obj.get("cache_creation_input_tokens"))
    creation = obj.get("cache_creation")
    if not isinstance(creation, Mapping):
        return write, {}
    split = {name: count(creation.get(name)) for name in (FIVE_MINUTES, ONE_HOUR)}
    total = sum(split.values())
    write = max(write, total)
    split[FIVE_MINUTES] += write - total
    return write, split


def merged(start: Mapping[str, Any], delta: Any) -> dict[str, Any]:
    """The usage of a stream so far: of each field the last that is not zero."""
    usage = dict(start)
    if isinstance(delta, Mapping):
        usage.update({n: v for n, v in delta.items() if v or n not in usage})
    return usage


def server_tools(obj: Any) -> dict[str, int]:
    """Uses of Claude's own tools by tool name, those that were used."""
    if not isinstance(obj, Mapping):
        return {}
    uses = {tool: count(obj.get(f"{tool}_requests")) for tool in SERVER_TOOLS}
    return {tool: number for tool, number in uses.items() if number}


def _thinking(details: Any) -> int:
    if not isinstance(details, Mapping):
        return 0
    return count(details.get("thinking_tokens"))
