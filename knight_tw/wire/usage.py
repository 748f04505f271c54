"""The OpenAI `usage` object, read into a `records.Usage` and written from one.

Chat, completions and embeddings say `prompt_tokens` and `completion_tokens`, Responses
and images `input_tokens` and `output_tokens`; both spellings are read. Providers send
nulls, texts, floats and negative numbers; what is no count is no count. Prompt tokens
include cached and cache-write ones, completion tokens include reasoning (conversion
specification, 2.6). What a provider spells in its own way is completed beforehand by
`Provider.read_usage`, in place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from msgspec import Meta, Struct

from knight_tw.records import Usage

Completion = Callable[[dict[str, Any]], None]
"""A provider's own spelling to the common one, in place."""

MOST = 2**48
"""No answer has more tokens of a kind; a larger number is a fault, cut here."""

SERVER_TOOLS = ("web_search", "web_fetch")

_NOTHING: dict[str, Any] = {}


Count = Annotated[int, Meta(ge=0, le=MOST)]


class _Into(Struct, gc=False):
    cached_tokens: Count | None = None
    image_tokens: Count | None = None
    audio_tokens: Count | None = None
    cache_write_tokens: Count | None = None
    cache_creation: None = None


class _Out(Struct, gc=False):
    reasoning_tokens: Count | None = None
    image_tokens: Count | None = None
    audio_tokens: Count | None = None


class Reported(Struct, gc=False):
    """The usage object of nearly all chat answers, decoded in one go.

    An object that does not decode, or has what is required to be null here, is for
    `read_usage`; for all others both give the same.
    """

    prompt_tokens: Count
    completion_tokens: Count
    total_tokens: Count | None = None
    prompt_tokens_details: _Into | None = None
    completion_tokens_details: _Out | None = None
    input_tokens_details: None = None
    output_tokens_details: None = None
    server_tool_use: None = None

    def usage(self) -> Usage | None:
        """What it reports, None when every count is zero."""
        prompt, completion = self.prompt_tokens, self.completion_tokens
        total = self.total_tokens or 0
        if not (prompt or completion or total):
            return None
        into = self.prompt_tokens_details or _NO_INTO
        out = self.completion_tokens_details or _NO_OUT
        reasoning = out.reasoning_tokens or 0
        if reasoning and total == prompt + completion + reasoning:
            completion += reasoning
        return Usage(
            prompt=prompt,
            completion=completion,
            cached=into.cached_tokens or 0,
            write=into.cache_write_tokens or 0,
            reasoning=reasoning,
            image_in=into.image_tokens or 0,
            image_out=out.image_tokens or 0,
            audio_in=into.audio_tokens or 0,
            audio_out=out.audio_tokens or 0,
            total=total or prompt + completion,
        )


_NO_INTO, _NO_OUT = _Into(), _Out()


def read_usage(obj: Any, complete: Completion | None = None) -> Usage | None:
    """What `obj` reports; None when it is no object or every count in it is zero.

    A missing prompt or completion count is what the total leaves for it. Where the sum
    shows that reasoning was counted beside the completion (xAI), it is added to it.
    """
    if not isinstance(obj, dict):
        return None
    if complete is not None:
        complete(obj)
    prompt = first_count(obj, "prompt_tokens", "input_tokens")
    completion = first_count(obj, "completion_tokens", "output_tokens")
    total = count(obj.get("total_tokens"))
    if prompt is None:
        prompt = max(total - (completion or 0), 0)
    if completion is None:
        completion = max(total - prompt, 0)
    if not (prompt or completion or total):
        return None
    details = _details(obj)
    reasoning = details["reasoning"]
    if reasoning and total == prompt + completion + reasoning:
        completion += reasoning
    return Usage(
        prompt=prompt,
        completion=completion,
        total=total or prompt + completion,
        tool_calls=_server_tools(obj.get("server_tool_use")),
        **details,
    )


def _details(obj: Mapping[str, Any]) -> dict[str, int]:
    into = _object(obj, "prompt_tokens_details", "input_tokens_details")
    out = _object(obj, "completion_tokens_details", "output_tokens_details")
    counts = {
        "cached": count(into.get("cached_tokens")),
        "image_in": count(into.get("image_tokens")),
        "audio_in": count(into.get("audio_tokens")),
        "reasoning": count(out.get("reasoning_tokens")),
        "image_out": count(out.get("image_tokens")),
        "audio_out": count(out.get("audio_tokens")),
        "write": count(into.get("cache_write_tokens")),
    }
    created = into.get("cache_creation")
    if isinstance(created, dict):
        counts["write_5m"] = count(created.get("ephemeral_5m_input_tokens"))
        counts["write_1h"] = count(created.get("ephemeral_1h_input_tokens"))
        split = counts["write_5m"] + counts["write_1h"]
        counts["write"] = max(counts["write"], split)
    return counts


def _object(obj: Mapping[str, Any], *names: str) -> Mapping[str, Any]:
    for name in names:
        value = obj.get(name)
        if isinstance(value, dict):
            return value
    return _NOTHING


def _server_tools(obj: Any) -> Mapping[str, int]:
    if not isinstance(obj, dict):
        return {}
    calls = {tool: count(obj.get(f"{tool}_requests")) for tool in SERVER_TOOLS}
    return {tool: number for tool, number in calls.items() if number}


def count(value: Any) -> int:
    """A token count; 0 for whatever is none."""
    if type(value) is int and 0 <= value <= MOST:  # nearly always
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0
    if isinstance(value, float) and value != value:
        return 0
    return int(min(max(value, 0), MOST))


def first_count(obj: Mapping[str, Any], *names: str) -> int | None:
    """The first of these members that is a number; None when none is."""
    for name in names:
        value = obj.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            return count(value)
    return None


def to_object(usage: Usage) -> dict[str, Any]:
    """The `usage` object of an answer or of the usage chunk.

    A details object is written only when one of its values is known; then the members
    that OpenAI always sends are there too, as 0 when unknown.
    """
    obj: dict[str, Any] = {
        "prompt_tokens": usage.prompt,
        "completion_tokens": usage.completion,
        "total_tokens": usage.total or usage.prompt + usage.completion,
    }
    into = _known(cache_write_tokens=usage.write, image_tokens=usage.image_in)
    if usage.write_5m or usage.write_1h:
        into["cache_creation"] = {
            "ephemeral_5m_input_tokens": usage.write_5m,
            "ephemeral_1h_input_tokens": usage.write_1h,
        }
    if into or usage.cached or usage.audio_in:
        always = {"cached_tokens": usage.cached, "audio_tokens": usage.audio_in}
        obj["prompt_tokens_details"] = always | into
    out = _known(image_tokens=usage.image_out)
    if out or usage.reasoning or usage.audio_out:
        always = {"reasoning_tokens": usage.reasoning, "audio_tokens": usage.audio_out}
        obj["completion_tokens_details"] = always | out
    calls = {
        f"{tool}_requests": usage.tool_calls[tool]
        for tool in SERVER_TOOLS
        if usage.tool_calls.get(tool)
    }
    if calls:
        obj["server_tool_use"] = calls
    return obj


def _known(**counts: int) -> dict[str, Any]:
    return {name: number for name, number in counts.items() if number}
