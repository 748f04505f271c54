"""OpenAI's Responses, strictly; nothing is stored."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from openai.types import responses
from openai.types.responses.response_create_params import (
    ResponseCreateParamsNonStreaming,
)
from openai.types.responses.response_input_param import (
    FunctionCallOutput,
    Message,
)

from tests.system.providers import chat
from tests.system.providers.heard import (
    Heard,
    Json,
    arguments_of,
    compact,
    data_url,
    signature,
    signed,
)
from tests.system.providers.shapes import typed
from tests.system.scenarios import Ending, Tokens, Turn, fragments

WHO = "responses"
BODY = typed(ResponseCreateParamsNonStreaming, "stream", "client_metadata")
ITEMS = {
    "message": typed(Message, "id", "phase"),
    "function_call": typed(responses.ResponseFunctionToolCallParam),
    "function_call_output": typed(FunctionCallOutput),
    "reasoning": typed(
        responses.ResponseReasoningItemParam, optional=frozenset({"id"})
    ),
}
PARTS = {
    "input_text": typed(responses.ResponseInputTextParam),
    "input_image": typed(responses.ResponseInputImageParam),
    "input_file": typed(responses.ResponseInputFileParam),
    "output_text": typed(
        responses.ResponseOutputTextParam, optional=frozenset({"annotations"})
    ),
    "refusal": typed(responses.ResponseOutputRefusalParam),
}
TOOL = typed(responses.FunctionToolParam)
SEALED = "reasoning.encrypted_content"
REASONS = {Ending.LENGTH: "max_output_tokens", Ending.REFUSAL: "content_filter"}


# requests ----------------------------------------------------------------------------


def check(body: Json) -> list[str]:
    """Why the provider refuses the request; empty when it does not."""
    return [*_checked(body)]


def _checked(body: Json) -> Iterator[str]:
    yield from BODY.faults(body, "body")
    for name in ("model", "input"):
        if not body.get(name):
            yield f"{name} is required"
    if (body.get("max_output_tokens") or 16) < 16:
        yield "max_output_tokens: at least 16"
    for n, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") == "function":
            yield from TOOL.faults(tool, f"tools.{n}")
    if not body.get("tools") and body.get("tool_choice") not in (None, "auto"):
        yield "tool_choice: there are no tools"
    form = (body.get("text") or {}).get("format") or {}
    if form.get("type") == "json_schema" and not (form.get("name") and form["schema"]):
        yield "text.format: name and schema are required"
    yield from _check_items(body)


def _check_items(body: Json) -> Iterator[str]:
    """Fields, parts, and that calls and outputs go in pairs."""
    calls: set[str] = set()
    answered: set[str] = set()
    for n, item in enumerate(_items(body)):
        where, kind = f"input.{n}", item.get("type", "message")
        if kind not in ITEMS:
            yield f"{where}.type: {kind!r}"
            continue
        yield from ITEMS[kind].faults(item, where)
        if kind == "message":
            yield from _check_message(item, where)
        elif kind == "function_call":
            calls.add(item["call_id"])
            json.loads(item["arguments"])
        elif kind == "function_call_output":
            if item["call_id"] not in calls - answered:
                yield f"{where}: no tool call found for {item['call_id']}"
            answered.add(item["call_id"])
        elif not signed(WHO, item.get("encrypted_content")):
            yield f"{where}: the encrypted content could not be verified"
    if calls - answered:
        yield f"input: no tool output found for {sorted(calls - answered)}"


def _check_message(item: Json, where: str) -> Iterator[str]:
    role = item.get("role")
    if role not in ("user", "assistant", "system", "developer"):
        yield f"{where}.role: {role!r}"
    if isinstance(item["content"], str):
        return
    ours = ("output_text", "refusal")
    for part in item["content"]:
        kind = part.get("type")
        if kind not in PARTS or (kind in ours) != (role == "assistant"):
            yield f"{where}.content: part {kind!r} is not allowed for {role}"
        else:
            yield from PARTS[kind].faults(part, f"{where}.content")


def _items(body: Json) -> list[Json]:
    given = body.get("input")
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    return list(given or ())


def read(body: Json) -> Heard:
    """What a request says that passed `check`."""
    heard = Heard(
        model=body["model"],
        stream=bool(body.get("stream")),
        tools={
            tool["name"]: tool["parameters"]
            for tool in body.get("tools") or ()
            if tool["type"] == "function"
        },
        schema=((body.get("text") or {}).get("format") or {}).get("schema"),
        limit=body.get("max_output_tokens"),
        thinking=(body.get("reasoning") or {}).get("effort") not in (None, "none"),
    )
    systems = [body["instructions"]] if body.get("instructions") else []
    for item in _items(body):
        kind = item.get("type", "message")
        if kind == "function_call":
            arguments = arguments_of(item["arguments"])
            call = (item["call_id"], item["name"], arguments)
            heard.turn("assistant").calls.append(call)
        elif kind == "function_call_output":
            result = (item["call_id"], _text(item["output"]))
            heard.turn("user").results.append(result)
        elif kind == "reasoning":
            turn = heard.turn("assistant")
            turn.signatures.append(item["encrypted_content"])
            turn.thoughts += "".join(part["text"] for part in item["summary"])
        elif item["role"] in ("system", "developer"):
            systems.append(_text(item["content"]))
        else:
            _read_message(heard, item)
    heard.system = "\n\n".join(systems)
    return heard


def _read_message(heard: Heard, item: Json) -> None:
    turn = heard.turn(item["role"])
    turn.text += _text(item["content"])
    for part in item["content"] if isinstance(item["content"], list) else ():
        if part["type"] == "input_image":
            turn.media.append(data_url(part["image_url"]))
        elif part["type"] == "input_file":
            turn.media.append(data_url(part["file_data"]))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


# answers -----------------------------------------------------------------------------


def usage(tokens: Tokens) -> Json:
    """The usage object."""
    return {
        "input_tokens": tokens.prompt,
        "input_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.written,
        },
        "output_tokens": tokens.completion,
        "output_tokens_details": {"reasoning_tokens": tokens.reasoning},
        "total_tokens": tokens.prompt + tokens.completion,
    }


def _output(turn: Turn, spoken: int, body: Json) -> list[Json]:
    """The items of an answer."""
    items: list[Json] = []
    if turn.reasoning:
        summary = {"type": "summary_text", "text": turn.thoughts}
        item: Json = {"id": f"rs_{spoken}", "type": "reasoning", "summary": [summary]}
        if SEALED in (body.get("include") or ()):
            item["encrypted_content"] = signature(WHO, spoken)
        items.append(item)
    if turn.pieces or not turn.calls:
        part = {"type": "output_text", "text": turn.text}
        items.append(
            {
                "id": f"msg_{spoken}",
                "type": "message",
                "role": "assistant",
                "status": "incomplete" if turn.ending in REASONS else "completed",
                "content": [{**part, "annotations": [], "logprobs": []}],
            }
        )
    for n, call in enumerate(turn.calls):
        items.append(
            {
                "id": f"fc_{spoken}_{n}",
                "type": "function_call",
                "status": "completed",
                "call_id": f"call_{spoken}_{n}_ofThisProvider",
                "name": call.name,
                "arguments": compact(call.arguments),
            }
        )
    return items


def answer(turn: Turn, spoken: int, body: Json) -> Json:
    """The whole answer."""
    reason = REASONS.get(turn.ending)
    return {
        **_response(spoken, body),
        "status": "incomplete" if reason else "completed",
        "incomplete_details": {"reason": reason} if reason else None,
        "output": _output(turn, spoken, body),
        "usage": usage(turn.tokens),
    }


def _response(spoken: int, body: Json) -> Json:
    echoed: Json = {
        "instructions": None,
        "max_output_tokens": None,
        "metadata": {},
        "parallel_tool_calls": True,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 1.0,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
    }
    return {
        "id": f"resp_{spoken}",
        "object": "response",
        "created_at": 1_790_000_000,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": body["model"],
        "output": [],
        "previous_response_id": None,
        "truncation": "disabled",
        "usage": None,
        **{name: body.get(name, value) for name, value in echoed.items()},
    }


def events(turn: Turn, spoken: int, body: Json) -> list[tuple[str, Json | str]]:
    """The events of a stream: name and data, numbered."""
    final = answer(turn, spoken, body)
    started = _response(spoken, body)
    found: list[Json] = [
        {"type": "response.created", "response": started},
        {"type": "response.in_progress", "response": started},
    ]
    writers = {
        "reasoning": _reasoning_events,
        "message": _message_events,
        "function_call": _call_events,
    }
    for index, item in enumerate(final["output"]):
        at = {"item_id": item["id"], "output_index": index}
        opened, inner = writers[item["type"]](item, turn)
        added = {**item, **opened}
        found += [
            {
                "type": "response.output_item.added",
                "output_index": index,
                "item": added,
            },
            *({**event, **at} for event in inner),
            {"type": "response.output_item.done", "output_index": index, "item": item},
        ]
    found.append({"type": f"response.{final['status']}", "response": final})
    return [(e["type"], {**e, "sequence_number": n}) for n, e in enumerate(found)]


Written = tuple[Json, list[Json]]
"""What an item lacks when it is added, and the events that bring it."""


def _reasoning_events(item: Json, turn: Turn) -> Written:
    kind, at = "response.reasoning_summary", {"summary_index": 0}
    empty = {"type": "summary_text", "text": ""}
    return {"summary": []}, [
        {"type": f"{kind}_part.added", "part": empty, **at},
        *(
            {"type": f"{kind}_text.delta", "delta": piece, **at}
            for piece in turn.reasoning
        ),
        {"type": f"{kind}_text.done", "text": turn.thoughts, **at},
        {"type": f"{kind}_part.done", "part": item["summary"][0], **at},
    ]


def _message_events(item: Json, turn: Turn) -> Written:
    (part,), at = item["content"], {"content_index": 0}
    text: Json = {**at, "logprobs": []}
    return {"status": "in_progress", "content": []}, [
        {"type": "response.content_part.added", "part": {**part, "text": ""}, **at},
        *(
            {"type": "response.output_text.delta", "delta": piece, **text}
            for piece in turn.pieces
        ),
        {"type": "response.output_text.done", "text": turn.text, **text},
        {"type": "response.content_part.done", "part": part, **at},
    ]


def _call_events(item: Json, turn: Turn) -> Written:
    kind, told = "response.function_call_arguments", item["arguments"]
    return {"status": "in_progress", "arguments": ""}, [
        *({"type": f"{kind}.delta", "delta": piece} for piece in fragments(told)),
        {"type": f"{kind}.done", "arguments": told, "name": item["name"]},
    ]


failure = chat.failure
