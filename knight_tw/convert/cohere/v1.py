"""Cohere's chat, version 1, kept for addresses that have no other (specification, 7.6).

The last user message stands alone, everything before it is history. Of tools and
pictures this version is not told: a request with them is refused, not cut.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.chunks import Chunk, Chunks
from knight_tw.convert.cohere.shared import (
    Body,
    add_safety,
    failed,
    finish_reason,
    refuse,
    report_unsaid,
    sampling,
    text_of,
    to_usage,
)
from knight_tw.convert.context import Context
from knight_tw.errors import (
    EmptyAnswer,
    InvalidRequest,
    KnightError,
    UnsupportedContent,
    UnsupportedParameter,
)
from knight_tw.wire.answers import EMPTY, decode_object, refuse_errors, unreadable
from knight_tw.wire.sse import Event

DEFAULT_MAX_TOKENS = 4000
NOTHING = "..."
"""The message of a request whose last turn is not the user's."""

_ROLES: Mapping[Any, str] = {
    "system": "SYSTEM",
    "developer": "SYSTEM",
    "user": "USER",
    "assistant": "CHATBOT",
}


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """Nothing: this version takes texts only."""
    return []


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Cohere request for a request of the middle form.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a message holds more than text.
        UnsupportedParameter: tools, which this version is not told of.
    """
    refuse(x)
    if x.get("tools"):
        raise UnsupportedParameter("the channel takes no tools", param="tools")
    history = _history(x_parts.read_objects(x.get("messages"), "messages"))
    last = history.pop() if history and history[-1]["role"] == "USER" else None
    body: Body = {"model": context.model}
    body["message"] = last["message"] if last is not None else NOTHING
    body["chat_history"] = history
    body["max_tokens"] = DEFAULT_MAX_TOKENS
    body |= sampling(x)
    if isinstance(x.get("web_search_options"), Mapping):
        body["connectors"] = [{"id": "web-search"}]
    body |= {n: x[n] for n in ("documents", "connectors") if x.get(n) is not None}
    _add_format(body, x)
    add_safety(body, x, context)
    if x.get("stream"):
        body["stream"] = True
    report_unsaid(x, context, "logprobs", "reasoning_effort", "reasoning", "thinking")
    return body


def _history(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """All messages as texts with Cohere's roles."""
    turns = []
    for index, message in enumerate(messages):
        role, param = message.get("role"), f"messages.{index}"
        if role == "tool" or message.get("tool_calls"):
            raise UnsupportedContent("the channel takes no tools", param=param)
        if role not in _ROLES:
            where = f"{param}.role"
            raise InvalidRequest(f"{where} is not a role: {role!r}"[:200], param=where)
        parts = x_parts.read_parts(message.get("content"), f"{param}.content")
        if not x_parts.only_text(parts):
            raise UnsupportedContent(
                "the channel takes texts only", param=f"{param}.content"
            )
        turns.append({"role": _ROLES[role], "message": x_parts.joined(parts)})
    return turns


def _add_format(body: Body, x: Mapping[str, Any]) -> None:
    form = x.get("response_format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    if not isinstance(form, Mapping) or kind not in ("json_object", "json_schema"):
        return
    spec = form.get("json_schema")
    schema = spec.get("schema") if isinstance(spec, Mapping) else None
    own: Body = {"type": "json_object"}
    body["response_format"] = own | ({"schema": schema} if schema else {})


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a Cohere answer.

    Raises:
        UpstreamRefused: it is an error, or broke off on Cohere's side.
        BadUpstreamBody: it is no Cohere answer.
    """
    refuse_errors(answer)
    text = answer.get("text")
    if not isinstance(text, str):
        raise unreadable(tools.compact(answer).encode())
    reason, native = finish_reason(answer.get("finish_reason"), False)
    choice: Body = {"index": 0, "finish_reason": reason}
    if native is not None:
        choice["native_finish_reason"] = native
    message = {"role": "assistant", "content": text, "refusal": None}
    identity = text_of(answer, "response_id") or text_of(answer, "generation_id")
    x: Body = {
        "id": identity or context.ids("chatcmpl-"),
        "object": "chat.completion",
        "created": context.created,
        "model": context.model,
        "choices": [{**choice, "logprobs": None, "message": message}],
    }
    usage = to_usage(answer.get("meta"))
    return x if usage is None else {**x, "usage": usage}


class StreamToX:
    """Events of version 1, one JSON a line, to chat chunks.

    Attributes:
        finished: `stream-end` has come; nothing after it counts.
        error: The failure that Cohere reported, or that the stream is.
    """

    def __init__(self, context: Context) -> None:
        self._chunks = Chunks(context)
        self.finished = False
        self.error: KnightError | None = None

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        if self.finished or self.error is not None:
            return []
        try:
            return self._take(decode_object(event.data))
        except KnightError as error:
            self.error = error
            return []

    def close(self) -> list[Chunk]:
        """What completes an answer that ended without `stream-end`."""
        if self.finished or self.error is not None:
            return []
        if not self._chunks.identity:
            self.error = EmptyAnswer(EMPTY)
            return []
        return self._end({})

    def _take(self, value: Mapping[str, Any]) -> list[Chunk]:
        kind = value.get("event_type")
        if kind == "stream-start":
            return self._chunks.begin(text_of(value, "generation_id"))
        if kind == "text-generation":
            return [*self._chunks.begin(), *self._chunks.text(text_of(value))]
        if kind == "stream-end":
            return self._end(value)
        if kind is None:
            refuse_errors(value)
            if text_of(value, "message"):
                raise failed(text_of(value, "message"))
        return []

    def _end(self, value: Mapping[str, Any]) -> list[Chunk]:
        reason, native = finish_reason(value.get("finish_reason"), False)
        self.finished = True
        chunks = [*self._chunks.begin(), self._chunks.ending(reason, native)]
        response = value.get("response")
        meta = response.get("meta") if isinstance(response, Mapping) else None
        return chunks + self._chunks.usage(to_usage(meta))
