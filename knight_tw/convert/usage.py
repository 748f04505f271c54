"""What an answer consumed, in the vocabularies of the dialects (specification, 2.6).

The middle form is OpenAI's object: prompt tokens include what was read from or written
to a cache, completion tokens include reasoning. Claude's `input_tokens` exclude both
cache counts, Gemini's `candidatesTokenCount` excludes thoughts. A details object is
there only when the provider reported one of its values; then OpenAI's own members are
always in it, as 0 when unknown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from knight_tw.records import Usage
from knight_tw.wire.claude_usage import FIVE_MINUTES, ONE_HOUR, cache_writes
from knight_tw.wire.usage import SERVER_TOOLS, count, first_count, read_usage

XUsage = dict[str, Any]
"""A `usage` object of the middle form."""

_MODALITIES = {
    "TEXT": "text_tokens",
    "DOCUMENT": "text_tokens",
    "IMAGE": "image_tokens",
    "AUDIO": "audio_tokens",
    "VIDEO": "video_tokens",
}
_IN_GEMINI = {
    "text_tokens": "TEXT",
    "image_tokens": "IMAGE",
    "audio_tokens": "AUDIO",
    "video_tokens": "VIDEO",
}
_CACHED_BESIDE = ("prompt_cache_hit_tokens", "cached_tokens")
"""Where DeepSeek and Moonshot report cached tokens."""
_SPLIT = (FIVE_MINUTES, ONE_HOUR)


def to_record(usage: Any) -> Usage | None:
    """The counts as a value; None when nothing or only zeros are reported."""
    return read_usage(dict(usage)) if isinstance(usage, Mapping) else None


def from_chat(usage: Any) -> XUsage:
    """The middle form of a chat provider's `usage`, whose spelling varies.

    Cached tokens stand in several places; reasoning that the sum shows to be counted
    beside the completion (xAI) is added to it.
    """
    obj = _object(usage)
    prompt = first_count(obj, "prompt_tokens", "input_tokens") or 0
    completion = first_count(obj, "completion_tokens", "output_tokens") or 0
    total = count(obj.get("total_tokens"))
    given = _object(obj.get("prompt_tokens_details"))
    into, out = _numbers(given), _numbers(_object(obj.get("completion_tokens_details")))
    if isinstance(given.get("cache_creation"), Mapping):
        into["cache_creation"] = given["cache_creation"]
    beside = (count(obj.get(name)) for name in _CACHED_BESIDE)
    if not into.get("cached_tokens") and (cached := max(beside)):
        into["cached_tokens"] = cached
    reasoning = out.get("reasoning_tokens", 0)
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning
    x = _x_usage(prompt, completion, into, out, total)
    tools = _server_tools(obj.get("server_tool_use"))
    return {**x, "server_tool_use": tools} if tools else x


def from_claude(usage: Any) -> XUsage:
    """The middle form of a Claude `usage` object."""
    obj = _object(usage)
    cached = _reported(obj, "cache_read_input_tokens")
    write, split = cache_writes(obj)
    prompt = count(obj.get("input_tokens")) + (cached or 0) + write
    written = write if write or "cache_creation_input_tokens" in obj else None
    into = _known(cached_tokens=cached, cache_write_tokens=written)
    if split and write:
        into["cache_creation"] = split
    thinking = _reported(_object(obj.get("output_tokens_details")), "thinking_tokens")
    completion = count(obj.get("output_tokens"))
    x = _x_usage(prompt, completion, into, _known(reasoning_tokens=thinking))
    tools = _server_tools(obj.get("server_tool_use"))
    return {**x, "server_tool_use": tools} if tools else x


def to_claude(usage: Any) -> dict[str, Any]:
    """The Claude `usage` object of the middle form."""
    obj = _object(usage)
    into = _object(obj.get("prompt_tokens_details"))
    cached, write = count(into.get("cached_tokens")), _x_write(into)
    prompt = count(obj.get("prompt_tokens"))
    claude: dict[str, Any] = {
        "input_tokens": max(0, prompt - cached - write),
        "cache_read_input_tokens": cached,
        "cache_creation_input_tokens": write,
        "output_tokens": count(obj.get("completion_tokens")),
    }
    if write:
        claude["cache_creation"] = _x_split(into, write)
    out = _object(obj.get("completion_tokens_details"))
    if reasoning := count(out.get("reasoning_tokens")):
        claude["output_tokens_details"] = {"thinking_tokens": reasoning}
    if tools := _server_tools(obj.get("server_tool_use")):
        names = (f"{tool}_requests" for tool in SERVER_TOOLS)
        claude["server_tool_use"] = dict.fromkeys(names, 0) | tools
    return claude


def _x_write(into: Mapping[str, Any]) -> int:
    split = _object(into.get("cache_creation"))
    known = sum(count(split.get(name)) for name in _SPLIT)
    return max(count(into.get("cache_write_tokens")), known)


def _x_split(into: Mapping[str, Any], write: int) -> dict[str, int]:
    """How long the written cache lasts; what is not known lasts 5 minutes."""
    creation = _object(into.get("cache_creation"))
    hour = count(creation.get(ONE_HOUR))
    return {FIVE_MINUTES: write - hour, ONE_HOUR: hour}


def from_gemini(metadata: Any) -> XUsage:
    """The middle form of a Gemini `usageMetadata` object."""
    obj = _object(metadata)
    tool_use = _reported(obj, "toolUsePromptTokenCount")
    prompt = count(obj.get("promptTokenCount")) + (tool_use or 0)
    thoughts = _reported(obj, "thoughtsTokenCount")
    completion = count(obj.get("candidatesTokenCount")) + (thoughts or 0)
    total = count(obj.get("totalTokenCount"))
    if not completion and total > prompt:
        completion = total - prompt
    into = _known(
        cached_tokens=_reported(obj, "cachedContentTokenCount"),
        tool_use_tokens=tool_use,
    )
    into |= _modalities(
        *_entries(obj, "promptTokensDetails"),
        *_entries(obj, "toolUsePromptTokensDetails"),
    )
    out = _known(reasoning_tokens=thoughts)
    out |= _modalities(*_entries(obj, "candidatesTokensDetails"))
    return _x_usage(prompt, completion, into, out, total)


def _entries(obj: Mapping[str, Any], name: str) -> Iterable[Mapping[str, Any]]:
    value = obj.get(name)
    entries = value if isinstance(value, list) else []
    return (entry for entry in entries if isinstance(entry, Mapping))


def _modalities(*entries: Mapping[str, Any]) -> dict[str, int]:
    """Tokens by kind of content, summed."""
    sums: dict[str, int] = {}
    for entry in entries:
        name = _MODALITIES.get(str(entry.get("modality")))
        if name is not None:
            sums[name] = sums.get(name, 0) + count(entry.get("tokenCount"))
    return sums


def to_gemini(usage: Any) -> dict[str, Any]:
    """The Gemini `usageMetadata` object of the middle form."""
    obj = _object(usage)
    into = _object(obj.get("prompt_tokens_details"))
    out = _object(obj.get("completion_tokens_details"))
    prompt = count(obj.get("prompt_tokens"))
    completion = count(obj.get("completion_tokens"))
    tool_use = count(into.get("tool_use_tokens"))
    reasoning = count(out.get("reasoning_tokens"))
    gemini: dict[str, Any] = {"promptTokenCount": max(0, prompt - tool_use)}
    gemini |= _filled(
        cachedContentTokenCount=count(into.get("cached_tokens")),
        toolUsePromptTokenCount=tool_use,
        promptTokensDetails=_gemini_details(into),
    )
    gemini["candidatesTokenCount"] = max(0, completion - reasoning)
    gemini |= _filled(
        thoughtsTokenCount=reasoning, candidatesTokensDetails=_gemini_details(out)
    )
    gemini["totalTokenCount"] = prompt + completion
    return gemini


def _gemini_details(details: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"modality": modality, "tokenCount": tokens}
        for name, modality in _IN_GEMINI.items()
        if (tokens := count(details.get(name)))
    ]


def from_responses(usage: Any) -> XUsage:
    """The middle form of a Responses `usage` object."""
    obj = _object(usage)
    into = _object(obj.get("input_tokens_details"))
    out = _object(obj.get("output_tokens_details"))
    return _x_usage(
        count(obj.get("input_tokens")),
        count(obj.get("output_tokens")),
        _numbers(into),
        _numbers(out),
        count(obj.get("total_tokens")),
    )


def to_responses(usage: Any) -> dict[str, Any]:
    """The Responses `usage` object of the middle form."""
    obj = _object(usage)
    into = _object(obj.get("prompt_tokens_details"))
    out = _object(obj.get("completion_tokens_details"))
    prompt = count(obj.get("prompt_tokens"))
    completion = count(obj.get("completion_tokens"))
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": count(into.get("cached_tokens")),
            "cache_write_tokens": _x_write(into),
        },
        "output_tokens": completion,
        "output_tokens_details": {
            "reasoning_tokens": count(out.get("reasoning_tokens"))
        },
        "total_tokens": count(obj.get("total_tokens")) or prompt + completion,
    }


def _x_usage(
    prompt: int,
    completion: int,
    into: Mapping[str, Any],
    out: Mapping[str, Any],
    total: int = 0,
) -> XUsage:
    x: XUsage = {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total or prompt + completion,
    }
    if into:
        always = {"cached_tokens": 0, "audio_tokens": 0}
        x["prompt_tokens_details"] = always | dict(into)
    if out:
        always = {"reasoning_tokens": 0, "audio_tokens": 0}
        x["completion_tokens_details"] = always | dict(out)
    return x


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _reported(obj: Mapping[str, Any], name: str) -> int | None:
    """The count, None when the provider did not report it."""
    value = obj.get(name)
    return None if value is None else count(value)


def _known(**counts: int | None) -> dict[str, Any]:
    return {name: number for name, number in counts.items() if number is not None}


def _filled(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value}


def _numbers(details: Mapping[str, Any]) -> dict[str, Any]:
    return {k: count(v) for k, v in details.items() if isinstance(v, int | float)}


def _server_tools(obj: Any) -> dict[str, int]:
    """Uses of the provider's own tools, those that were used."""
    requests = {
        f"{tool}_requests": count(_object(obj).get(f"{tool}_requests"))
        for tool in SERVER_TOOLS
    }
    return {name: number for name, number in requests.items() if number}
