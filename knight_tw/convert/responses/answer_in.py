"""A whole Responses answer in the middle form (conversion specification, 13.2)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import finish, usage
from knight_tw.convert.context import Context
from knight_tw.convert.reasoning import Detail
from knight_tw.convert.responses import references
from knight_tw.convert.responses.items import tail
from knight_tw.convert.responses.thoughts import BETWEEN, read_item
from knight_tw.convert.signatures import FORMATS, OPENAI
from knight_tw.convert.tools import compact, own_name, write_arguments
from knight_tw.errors import EmptyAnswer
from knight_tw.wire.answers import EMPTY, objects, refuse_errors
from knight_tw.wire.responses import SEARCH, count_tools, refuse_failed

Item = dict[str, Any]
Body = dict[str, Any]

_IMAGE_TYPES = {"jpeg": "image/jpeg", "webp": "image/webp"}


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a Responses answer.

    Raises:
        UpstreamRefused: it is an error, or a response that failed.
        EmptyAnswer: there is nothing in it.
    """
    refuse_failed(answer.get("status"), answer.get("error"))
    refuse_errors(answer)
    output = objects(answer.get("output"))
    if not output and not answer.get("usage") and answer.get("status") is None:
        raise EmptyAnswer(EMPTY)
    reading = Reading(context)
    for item in output:
        reading.take(item)
    message = reading.message()
    if context.native:
        message["native_blocks"] = {"format": FORMATS[OPENAI], "content": output}
    choice = {"index": 0, **ending(answer, bool(message.get("tool_calls")))}
    choice["logprobs"] = reading.logprobs()
    x = head(answer, context) | {"object": "chat.completion"}
    x["choices"] = [{**choice, "message": message}]
    if isinstance(answer.get("usage"), Mapping):
        x["usage"] = x_usage(answer["usage"], output)
    context.used.update(count_tools(output))
    return x


def head(answer: Mapping[str, Any], context: Context) -> Body:
    """The members that tell which answer it is, the same in all chunks of a stream."""
    end = tail(answer.get("id"))
    created = answer.get("created_at")
    known: Body = {"id": f"chatcmpl-{end}" if end else context.ids("chatcmpl-")}
    number = isinstance(created, int | float) and not isinstance(created, bool)
    known["created"] = int(created) if number and created else context.created
    known["model"] = context.model or answer.get("model")
    if isinstance(answer.get("service_tier"), str):
        known["service_tier"] = answer["service_tier"]
    return known


def ending(answer: Mapping[str, Any], has_calls: bool) -> Body:
    """The members of a choice that tell why it ended."""
    status = answer.get("status")
    status = status if isinstance(status, str) else None
    details = answer.get("incomplete_details")
    reason = details.get("reason") if isinstance(details, Mapping) else None
    reason = reason if isinstance(reason, str) else None
    ended: Body = {"finish_reason": finish.from_responses(status, reason, has_calls)}
    if reason or status:
        ended["native_finish_reason"] = reason or status
    return ended


def x_usage(reported: Any, output: list[Item]) -> Body:
    """The usage in the middle form, with the number of web searches."""
    x = usage.from_responses(reported)
    searches = count_tools(output).get(SEARCH)
    if searches:
        x["server_tool_use"] = {"web_search_requests": searches}
    return x


def x_call(item: Item, context: Context) -> Item:
    """The tool call of a `function_call` or `custom_tool_call` item.

    A free-form call whose tool the client did not offer as one becomes a call of a
    function with one argument, which every client can read.
    """
    name = item.get("name")
    name = own_name(name if isinstance(name, str) else "", context.memory)
    call: Item = {"id": item.get("call_id") or item.get("id") or context.ids("call_")}
    if item.get("type") == "function_call":
        arguments = item.get("arguments")
        if not isinstance(arguments, str):
            arguments = write_arguments(arguments)
        function = {"name": name, "arguments": arguments}
        return {**call, "type": "function", "function": function}
    text = item.get("input")
    text = text if isinstance(text, str) else ""
    if name in custom_names(context):
        return {**call, "type": "custom", "custom": {"name": name, "input": text}}
    function = {"name": name, "arguments": compact({"input": text})}
    return {**call, "type": "function", "function": function}


def custom_names(context: Context) -> set[str]:
    """Names of the free-form tools that the client offered."""
    tools = objects(context.memory.x.get("tools"))
    customs = (tool["custom"] for tool in tools if isinstance(tool.get("custom"), dict))
    return {str(custom.get("name")) for custom in customs}


def x_image(item: Item) -> Item | None:
    """The generated image of an `image_generation_call`; None when there is none."""
    result = item.get("result")
    if not isinstance(result, str) or not result:
        return None
    mime = _IMAGE_TYPES.get(str(item.get("output_format")), "image/png")
    url = f"data:{mime};base64,{result}"
    return {"type": "image_url", "image_url": {"url": url}}


def as_markdown(context: Context) -> bool:
    """True when the channel wants generated images in the text."""
    return context.settings.get("gemini_image_output") == "markdown"


def in_markdown(image: Item) -> str:
    """The image as text."""
    return f"![image]({image['image_url']['url']})"


class Reading:
    """Output items taken apart into one assistant message."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._texts: list[str] = []
        self._length = 0
        self._refusals: list[str] = []
        self._shown: list[str] = []
        self._details: list[Detail] = []
        self._thoughts = 0
        self._calls: list[Item] = []
        self._lists: dict[str, list[Item]] = {}
        self._logprobs: list[Any] = []
        self._phase: Any = None

    def take(self, item: Item) -> None:
        """Take in the next item; the provider's own tools leave no trace."""
        kind = item.get("type")
        if kind == "message":
            self._take_message(item)
        elif kind == "reasoning":
            read = read_item(item, self._thoughts, wrapped=True)
            self._thoughts += 1
            self._shown += read.shown
            self._details += read.details
        elif kind in ("function_call", "custom_tool_call"):
            self._calls.append(x_call(item, self._context))
        elif kind == "image_generation_call" and (image := x_image(item)):
            if as_markdown(self._context):
                self._say(in_markdown(image))
            else:
                self._lists.setdefault("images", []).append(image)

    def message(self) -> Body:
        """The message."""
        message: Body = {"role": "assistant"}
        message["content"] = "".join(self._texts) if self._texts else None
        message["refusal"] = "".join(self._refusals) or None
        if self._shown:
            message["reasoning_content"] = BETWEEN.join(self._shown)
        if self._details:
            message["reasoning_details"] = self._details
        if self._calls:
            message["tool_calls"] = self._calls
        if isinstance(self._phase, str):
            message["phase"] = self._phase
        return message | self._lists

    def logprobs(self) -> Body | None:
        """The choice's `logprobs`."""
        return {"content": self._logprobs, "refusal": None} if self._logprobs else None

    def _say(self, text: str) -> None:
        self._texts.append(text)
        self._length += len(text)

    def _take_message(self, item: Item) -> None:
        """A message; a blank line stands between two of them."""
        self._phase = item.get("phase") or self._phase
        parts = objects(item.get("content"))
        if self._length and any(part.get("text") for part in parts):
            self._say(BETWEEN)
        for part in parts:
            if part.get("type") == "refusal":
                self._refusals.append(str(part.get("refusal") or ""))
            elif isinstance(part.get("text"), str):
                self._take_text(part)

    def _take_text(self, part: Item) -> None:
        start = self._length
        self._say(part["text"])
        for annotation in objects(part.get("annotations")):
            name, entry = references.to_x(annotation, start, self._length)
            self._lists.setdefault(name, []).append(entry)
        self._logprobs += objects(part.get("logprobs"))
