"""Whole answers: Claude's to the middle form and back (specification, 4.1 and 6.1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from knight_tw.convert import finish, reasoning, tools, usage
from knight_tw.convert import parts as x_parts
from knight_tw.convert.claude.citations import Citations, cited_blocks
from knight_tw.convert.claude.thinking import answer_blocks
from knight_tw.convert.context import Context
from knight_tw.convert.signatures import ANTHROPIC, FORMATS
from knight_tw.errors import EmptyAnswer
from knight_tw.wire.answers import EMPTY, refuse_errors, unreadable

Body = dict[str, Any]
Block = dict[str, Any]

TIERS: Mapping[str, str] = {"standard": "default", "priority": "priority"}
"""The `service_tier` that Claude says it used, in OpenAI's words."""


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a Claude answer.

    Raises:
        UpstreamRefused: it is an error.
        BadUpstreamBody: it is no Claude answer.
    """
    refuse_errors(answer)
    content = answer.get("content")
    if not isinstance(content, list):
        raise unreadable(tools.compact(answer).encode())
    blocks = [block for block in content if isinstance(block, dict)]
    message = _Message(context).read(blocks)
    reason = answer.get("stop_reason")
    if reason == "refusal":
        message["refusal"] = explanation(answer) or message["content"] or None
    if context.native:
        kept = {"format": FORMATS[ANTHROPIC], "content": blocks}
        message["native_blocks"] = kept
    x: Body = {"id": answer.get("id") or context.ids("msg_")}
    x |= {"object": "chat.completion", "created": context.created}
    x["model"] = context.model or answer.get("model")
    x["choices"] = [{"index": 0, **ending(answer, message), "message": message}]
    reported = answer.get("usage")
    if isinstance(reported, Mapping):
        x["usage"] = usage.from_claude(reported)
        tier = TIERS.get(str(reported.get("service_tier")))
        if tier is not None:
            x["service_tier"] = tier
    return x


def explanation(obj: Mapping[str, Any]) -> str:
    """Why Claude refused, as far as it says so."""
    details = obj.get("stop_details")
    text = details.get("explanation") if isinstance(details, Mapping) else None
    return text if isinstance(text, str) else ""


def ending(answer: Mapping[str, Any], message: Mapping[str, Any]) -> Body:
    """The members of a choice that tell why it ended."""
    reason, sequence = answer.get("stop_reason"), answer.get("stop_sequence")
    reason = reason if isinstance(reason, str) else None
    has_calls = bool(message.get("tool_calls"))
    if reason == "tool_use" and not has_calls:
        choice: Body = {"finish_reason": "stop"}  # the forced tool is the answer itself
    else:
        choice = {"finish_reason": finish.from_claude(reason, has_calls)}
    if reason is not None:
        choice["native_finish_reason"] = reason
    if isinstance(sequence, str):
        choice["stop_sequence"] = sequence
    return {**choice, "logprobs": None}


class _Message:
    """Claude's content blocks taken apart into one assistant message."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._texts: list[str] = []
        self._length = 0
        self._citations = Citations()
        self._thoughts: list[str] = []
        self._details: list[reasoning.Detail] = []
        self._calls: list[dict[str, Any]] = []

    def read(self, blocks: list[Block]) -> Body:
        """The message."""
        for block in blocks:
            self._take(block)
        message: Body = {"role": "assistant"}
        message["content"] = "".join(self._texts) if self._texts else None
        message["refusal"] = None
        if self._thoughts:
            message["reasoning_content"] = "\n\n".join(self._thoughts)
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = self._calls
        return message | self._citations.members()

    def _take(self, block: Block) -> None:
        kind = block.get("type")
        if kind == "text":
            self._take_text(str(block.get("text") or ""), block.get("citations"))
        elif kind == "thinking":
            self._take_thinking(block)
        elif kind == "redacted_thinking":
            secret, place = str(block.get("data") or ""), len(self._details)
            self._details.append(reasoning.encrypted_detail(ANTHROPIC, secret, place))
        elif kind == "tool_use":
            self._take_call(block)

    def _take_text(self, text: str, citations: Any) -> None:
        self._texts.append(text)
        start, self._length = self._length, self._length + len(text)
        if isinstance(citations, list):
            self._citations.add(citations, start, self._length)

    def _take_thinking(self, block: Block) -> None:
        text = str(block.get("thinking") or "")
        signature = block.get("signature")
        signature = signature if isinstance(signature, str) else None
        if text:
            self._thoughts.append(text)
        place = len(self._details)
        self._details.append(reasoning.text_detail(ANTHROPIC, text, place, signature))

    def _take_call(self, block: Block) -> None:
        name = str(block.get("name") or "")
        arguments = tools.write_arguments(block.get("input"))
        if name and name == self._context.memory.answer_tool:
            self._take_text(arguments, None)
            return
        name = tools.own_name(name, self._context.memory)
        call_id = block.get("id") or self._context.ids("toolu_")
        function = {"name": name, "arguments": arguments}
        self._calls.append({"id": call_id, "type": "function", "function": function})


def response_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Claude answer for a chat completion object; of several choices the first.

    Raises:
        EmptyAnswer: there is no choice.
    """
    choices = x_parts.read_objects(x.get("choices"), "choices")
    if not choices:
        raise EmptyAnswer(EMPTY)
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    blocks = list(_blocks(message, context))
    sequence = choice.get("stop_sequence")
    reason = finish.to_claude(
        "content_filter" if message.get("refusal") else choice.get("finish_reason"),
        choice.get("native_finish_reason"),
        has_calls=any(block["type"] == "tool_use" for block in blocks),
        stop_sequence=sequence,
    )
    return {
        "id": message_id(x.get("id"), context),
        "type": "message",
        "role": "assistant",
        "model": context.model or x.get("model"),
        "content": blocks or [x_parts.text_part("")],
        "stop_reason": reason,
        "stop_sequence": sequence,
        "usage": usage.to_claude(x.get("usage")),
    }


def message_id(identity: Any, context: Context) -> str:
    """The id of a Claude message for the id of a chat completion."""
    if not isinstance(identity, str) or not identity:
        return context.ids("msg_")
    if identity.startswith("msg_"):
        return identity
    return "msg_" + identity.removeprefix("chatcmpl-")


def _blocks(message: Mapping[str, Any], context: Context) -> Iterator[Block]:
    """Reasoning, text and calls, each call after the signature that belongs to it."""
    thinking, before = answer_blocks(message)
    yield from thinking
    text = x_parts.text_of(message.get("content"))
    if text:
        yield from cited_blocks(text, message.get("annotations"))
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal and refusal != text:
        yield x_parts.text_part(refusal)
    for place, call in enumerate(tool_calls(message)):
        yield from before.get(place, ())
        yield {
            "type": "tool_use",
            "id": tools.claude_id(str(call.get("id") or context.ids("toolu_"))),
            "name": tools.call_name(call),
            "input": tools.parse_arguments(tools.call_arguments(call)),
        }


def tool_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The tool calls of a message; what is no object does not count."""
    calls = message.get("tool_calls")
    entries = calls if isinstance(calls, list) else []
    return [call for call in entries if isinstance(call, dict)]
