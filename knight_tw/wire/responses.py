"""OpenAI Responses: what the gateway reads of requests, whole answers and failures.

An answer is a `response` object whose `output` is a list of items: messages, reasoning,
calls of the client's tools, and traces of the provider's own tools, which cost extra.
Between equal dialects its bytes go on as they came, unless the model's name changes.
Compaction (`/v1/responses/compact`) has the same input and answers with a shorter list
of items. Streams are `responses_pass`'s matter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any

import msgspec
from attrs import define, evolve
from msgspec import Raw, Struct

from knight_tw.errors import (
    UPSTREAM_TYPE,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import top
from knight_tw.wire.answers import (
    EMPTY,
    decode_object,
    objects,
    refuse_errors,
    replaced,
    unreadable,
)
from knight_tw.wire.chat import MOST_TOKENS
from knight_tw.wire.produced import Produced
from knight_tw.wire.usage import read_usage

COMPACT_SUFFIX = "-openai-compact"
"""Stands behind a model's name where compaction is routed and priced."""

SEARCH, SEARCH_PREVIEW = "web_search", "web_search_preview"

TOOL_ITEMS: Mapping[str, str] = {
    "web_search_call": SEARCH,
    "file_search_call": "file_search",
    "image_generation_call": "image_generation",
    "code_interpreter_call": "code_interpreter",
}
"""Items that trace a use of a provider's own tool, to the tool's name in prices."""

FAILED_STATUS: Mapping[str, int] = {
    "rate_limit_exceeded": 429,
    "server_error": 502,
    "": 502,
}
"""HTTP status of an `error.code`; one that is not here is the client's fault, 400."""


def validate(body: MutableMapping[str, Any]) -> None:
    """Refuse what no provider can answer (relay specification, section 6).

    Raises:
        InvalidRequest: `param` names the member at fault.
    """
    _require_input(body, "input", "prompt", "previous_response_id")
    output_limit(body)


def validate_compact(body: MutableMapping[str, Any]) -> None:
    """Refuse a compaction of nothing.

    Raises:
        InvalidRequest: `param` is `input`.
    """
    _require_input(body, "input", "previous_response_id")


def _require_input(body: Mapping[str, Any], *names: str) -> None:
    if not any(top.filled(body, name) for name in names):
        raise InvalidRequest("input is required", param="input")


def output_limit(body: MutableMapping[str, Any]) -> int | None:
    """The most completion tokens the client asks for, None when it sets no limit."""
    return top.read_whole(body, "max_output_tokens", 0, MOST_TOKENS)


def search_tool(body: Mapping[str, Any]) -> str:
    """The price name of the web search that the request offers."""
    tools = body.get("tools")
    if isinstance(tools, Raw):
        if b"web_search_preview" not in bytes(tools):
            return SEARCH
        tools = top.decoded(tools, "tools")
    kinds = (str(tool.get("type")) for tool in objects(tools))
    preview = any(kind.startswith(SEARCH_PREVIEW) for kind in kinds)
    return SEARCH_PREVIEW if preview else SEARCH


def compact_name(model: str) -> str:
    """The name under which compaction by `model` is routed and priced."""
    return plain_name(model) + COMPACT_SUFFIX


def plain_name(model: str) -> str:
    """The name that a provider knows: without the suffix for compaction."""
    return model.removesuffix(COMPACT_SUFFIX)


def count_tools(items: Iterable[Any], search: str = SEARCH) -> dict[str, int]:
    """Uses of the provider's own tools among output items, by the tool's price name.

    Args:
        items: Objects or structs with a `type`.
        search: The name for a web search (`search_tool`).
    """
    counts: dict[str, int] = {}
    for item in items:
        kind = item.get("type") if isinstance(item, Mapping) else item.type
        name = TOOL_ITEMS.get(str(kind))
        if name is not None:
            name = search if name == SEARCH else name
            counts[name] = counts.get(name, 0) + 1
    return counts


def with_tools(usage: Usage | None, counts: Mapping[str, int]) -> Usage | None:
    """The usage with uses of tools in it; of nothing reported nothing."""
    if usage is None or not counts:
        return usage
    return evolve(usage, tool_calls={**usage.tool_calls, **counts})


def usage_object(usage: Usage) -> dict[str, Any]:
    """The `usage` object of a response."""
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {
            "cached_tokens": usage.cached,
            "cache_write_tokens": usage.write,
        },
        "output_tokens": usage.completion,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning},
        "total_tokens": usage.total or usage.prompt + usage.completion,
    }


def refused(error: Any) -> UpstreamRefused:
    """The error for the `error` object of a failed response or of an error event."""
    obj = error if isinstance(error, Mapping) else {}
    code, kind = _text(obj, "code"), _text(obj, "type")
    known = code or ("" if kind in ("", "error") else kind)
    return UpstreamRefused(
        _text(obj, "message") or "the upstream's response failed",
        status=FAILED_STATUS.get(known, 400),
        code=code,
        type=UPSTREAM_TYPE if kind in ("", "error") else kind,
        param=_text(obj, "param") or None,
        upstream=True,
    )


def refuse_failed(status: Any, error: Any) -> None:
    """Raise for a response that failed or was cancelled.

    Raises:
        UpstreamRefused: always for these two; nothing for any other status.
    """
    if status == "failed":
        raise refused(error)
    if status == "cancelled":
        raise UpstreamRefused(
            "the upstream cancelled the response",
            status=502,
            code="",
            type=UPSTREAM_TYPE,
            upstream=True,
        )


def _text(obj: Mapping[str, Any], name: str) -> str:
    value = obj.get(name)
    return value if isinstance(value, str) else ""


class Item(Struct, gc=False):
    """What counts of an output item; any of it may be missing or odd."""

    type: Any = None
    name: Any = None
    arguments: Any = None
    input: Any = None
    content: Any = None
    summary: Any = None

    def add_to(self, produced: Produced) -> None:
        """Hand everything that counts to `produced`."""
        produced.add_content(self.summary)
        if isinstance(self.content, list):
            produced.add_content(self.content)
            for part in objects(self.content):
                produced.add_content(part.get("refusal"))
        call = {"name": self.name, "arguments": self.arguments, "input": self.input}
        produced.add_call(call)


class _Whole(Struct, gc=False):
    model: Any = None
    status: Any = None
    output: list[Item] | None = None
    usage: Any = None
    error: Any = None


_WHOLE = msgspec.json.Decoder(_Whole)


@define(eq=False)
class Answer:
    """A whole answer.

    Attributes:
        body: The bytes for the client.
        usage: What the provider reported, None when nothing or only zeros.
        produced: What it consists of.
        status: The provider's word for how it ended, empty for a compaction.
    """

    body: bytes
    usage: Usage | None
    produced: Produced
    status: str


def read_answer(
    body: bytes, *, model: str | None = None, search: str = SEARCH
) -> Answer:
    """The answer in a 200 body of a responses or compaction call.

    Args:
        model: The name to show; None leaves the provider's.
        search: The price name of a web search (`search_tool`).

    Raises:
        UpstreamRefused: the body reports an error, or a response that failed.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is no such answer.
    """
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    try:
        whole = _WHOLE.decode(body)
    except msgspec.ValidationError:
        refuse_errors(decode_object(body))
        raise unreadable(body) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(body) from None
    refuse_failed(whole.status, whole.error)
    if whole.error or whole.output is None:
        refuse_errors(decode_object(body))
    usage = read_usage(whole.usage)
    if whole.output is None and usage is None and whole.status is None:
        raise EmptyAnswer(EMPTY)
    items = whole.output or []
    produced = Produced()
    for item in items:
        item.add_to(produced)
    if model is not None and whole.model not in (None, model):
        body = replaced(body, {"model": model})
    usage = with_tools(usage, count_tools(items, search))
    status = whole.status if isinstance(whole.status, str) else ""
    return Answer(body, usage, produced, status)
