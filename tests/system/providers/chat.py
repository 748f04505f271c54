"""OpenAI's chat completions, strictly."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from openai.types import chat
from openai.types.chat.completion_create_params import CompletionCreateParamsStreaming

from tests.system.providers.heard import (
    Heard,
    Json,
    arguments_of,
    compact,
    data_url,
)
from tests.system.providers.shapes import typed
from tests.system.scenarios import Ending, Tokens, Turn, fragments

WHO = "chat"
BODY = typed(CompletionCreateParamsStreaming, optional=frozenset({"stream"}))
MESSAGES = {
    "system": typed(chat.ChatCompletionSystemMessageParam),
    "developer": typed(chat.ChatCompletionDeveloperMessageParam),
    "user": typed(chat.ChatCompletionUserMessageParam),
    "assistant": typed(chat.ChatCompletionAssistantMessageParam),
    "tool": typed(chat.ChatCompletionToolMessageParam, "name"),
}
THINKING = typed(chat.ChatCompletionAssistantMessageParam, "reasoning_content")
"""Assistant messages of providers that show their reasoning and take it back."""
PARTS = {
    "text": typed(chat.ChatCompletionContentPartTextParam),
    "image_url": typed(chat.ChatCompletionContentPartImageParam),
    "input_audio": typed(chat.ChatCompletionContentPartInputAudioParam),
    "refusal": typed(chat.ChatCompletionContentPartRefusalParam),
    "file": typed(chat.chat_completion_content_part_param.File),
}
CALL = typed(chat.ChatCompletionMessageFunctionToolCallParam)
TOOL = typed(chat.ChatCompletionFunctionToolParam)
WORDS = {
    Ending.END: "stop",
    Ending.SEQUENCE: "stop",
    Ending.LENGTH: "length",
    Ending.TOOLS: "tool_calls",
    Ending.REFUSAL: "content_filter",
}


def thinks(model: str) -> bool:
    """True for a model that shows its reasoning, as other chat providers have them."""
    return model.startswith("deepseek")


# requests ----------------------------------------------------------------------------


def check(body: Json) -> list[str]:
    """Why the provider refuses the request; empty when it does not."""
    return [*_checked(body)]


def _checked(body: Json) -> Iterator[str]:
    yield from BODY.faults(body, "body")
    if "stream_options" in body and not body.get("stream"):
        yield "stream_options: only allowed when stream is enabled"
    if len(_stop(body)) > 4:
        yield "stop: at most 4"
    tools = body.get("tools")
    if not tools:
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            if name in body:
                yield f"{name}: only allowed when tools are specified"
    for n, tool in enumerate(tools or ()):
        if tool.get("type") != "function":
            continue
        yield from TOOL.faults(tool, f"tools.{n}")
        if tool["function"].get("parameters", {}).get("type") != "object":
            yield f"tools.{n}.function.parameters: type must be object"
    form = body.get("response_format") or {}
    if form.get("type") == "json_schema":
        for name in ("name", "schema"):
            if name not in form["json_schema"]:
                yield f"response_format.json_schema.{name} is required"
    yield from _check_messages(body)


def _check_messages(body: Json) -> Iterator[str]:
    """Fields, parts, and that each call has its results right behind it."""
    waiting: list[str] = []
    for n, message in enumerate(body.get("messages") or ()):
        where, role = f"messages.{n}", message.get("role")
        if role not in MESSAGES:
            yield f"{where}.role: {role!r}"
            continue
        thinking = role == "assistant" and thinks(body.get("model", ""))
        yield from (THINKING if thinking else MESSAGES[role]).faults(message, where)
        if role == "tool":
            if message.get("tool_call_id") not in waiting:
                yield f"{where}: no call before it has id {message.get('tool_call_id')}"
            else:
                waiting.remove(message["tool_call_id"])
            if message.get("content") is None:
                yield f"{where}.content is required"
        elif waiting:
            yield f"{where}: calls without results: {waiting}"
        yield from _check_parts(message, where)
        calls = message.get("tool_calls") or []
        if role == "assistant" and not calls and message.get("content") is None:
            yield f"{where}.content is required"
        for call in calls:
            yield from CALL.faults(call, f"{where}.tool_calls")
            waiting.append(call["id"])
            if len(call["id"]) > 64:
                yield f"{where}.tool_calls: id too long"
            json.loads(call["function"]["arguments"])
    if waiting:
        yield f"messages: calls without results: {waiting}"


def _check_parts(message: Json, where: str) -> Iterator[str]:
    if not isinstance(message.get("content"), list):
        return
    for part in message["content"]:
        kind = part.get("type")
        text_only = message["role"] != "user" and kind not in ("text", "refusal")
        if kind not in PARTS or text_only:
            yield f"{where}.content: part {kind!r} is not allowed"
        else:
            yield from PARTS[kind].faults(part, f"{where}.content")


def _stop(body: Json) -> tuple[str, ...]:
    stop = body.get("stop") or ()
    return (stop,) if isinstance(stop, str) else tuple(stop)


def read(body: Json) -> Heard:
    """What a request says that passed `check`."""
    schema = (body.get("response_format") or {}).get("json_schema") or {}
    heard = Heard(
        model=body["model"],
        stream=bool(body.get("stream")),
        tools={
            t["function"]["name"]: t["function"].get("parameters") or {}
            for t in body.get("tools") or ()
            if t["type"] == "function"
        },
        stop=_stop(body),
        schema=schema.get("schema"),
        limit=body.get("max_completion_tokens", body.get("max_tokens")),
        thinking=body.get("reasoning_effort") not in (None, "none"),
        marks=json.dumps(body).count("prompt_cache_breakpoint"),
    )
    systems = []
    for message in body["messages"]:
        if message["role"] in ("system", "developer"):
            systems.append(_text(message["content"]))
        elif message["role"] == "tool":
            result = (message["tool_call_id"], _text(message["content"]))
            heard.turn("user").results.append(result)
        else:
            _read_message(heard, message)
    heard.system = "\n\n".join(systems)
    return heard


def _read_message(heard: Heard, message: Json) -> None:
    turn = heard.turn(message["role"])
    turn.text += _text(message.get("content"))
    turn.thoughts += message.get("reasoning_content") or ""
    for part in message["content"] if isinstance(message.get("content"), list) else ():
        if part["type"] == "image_url":
            turn.media.append(data_url(part["image_url"]["url"]))
        elif part["type"] == "file":
            turn.media.append(data_url(part["file"]["file_data"]))
    for call in message.get("tool_calls") or ():
        told = call["function"]
        turn.calls.append((call["id"], told["name"], arguments_of(told["arguments"])))


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


# answers -----------------------------------------------------------------------------


def usage(tokens: Tokens) -> Json:
    """The usage object."""
    return {
        "prompt_tokens": tokens.prompt,
        "completion_tokens": tokens.completion,
        "total_tokens": tokens.prompt + tokens.completion,
        "prompt_tokens_details": {
            "cached_tokens": tokens.cached,
            "cache_write_tokens": tokens.written,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {
            "reasoning_tokens": tokens.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def _ids(turn: Turn, spoken: int) -> list[str]:
    return [f"call_{spoken}_{n}_ofThisProvider" for n in range(len(turn.calls))]


def _head(body: Json, spoken: int, kind: str) -> Json:
    return {
        "id": f"chatcmpl-answer{spoken}",
        "object": kind,
        "created": 1_790_000_000,
        "model": body["model"],
        "system_fingerprint": "fp_1",
    }


def answer(turn: Turn, spoken: int, body: Json) -> Json:
    """The whole answer."""
    silent = not turn.pieces and turn.calls
    message: Json = {
        "role": "assistant",
        "content": None if silent else turn.text,
        "refusal": None,
        "annotations": [],
    }
    if turn.reasoning and thinks(body["model"]):
        message["reasoning_content"] = turn.thoughts
    if turn.calls:
        message["tool_calls"] = [
            {
                "id": ident,
                "type": "function",
                "function": {"name": call.name, "arguments": compact(call.arguments)},
            }
            for ident, call in zip(_ids(turn, spoken), turn.calls, strict=True)
        ]
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": WORDS[turn.ending],
    }
    head = _head(body, spoken, "chat.completion")
    return {**head, "choices": [choice], "usage": usage(turn.tokens)}


def events(turn: Turn, spoken: int, body: Json) -> list[tuple[str, Json | str]]:
    """The events of a stream: name (there are none here) and data."""
    head = _head(body, spoken, "chat.completion.chunk")
    wanted = (body.get("stream_options") or {}).get("include_usage")
    if wanted:
        head["usage"] = None

    def chunk(delta: Mapping[str, Any], ending: str | None = None) -> Json:
        choice = {
            "index": 0,
            "delta": delta,
            "logprobs": None,
            "finish_reason": ending,
        }
        return {**head, "choices": [choice]}

    chunks = [chunk(delta) for delta in _deltas(turn, spoken, body)]
    chunks.append(chunk({}, WORDS[turn.ending]))
    if wanted:
        chunks.append({**head, "choices": [], "usage": usage(turn.tokens)})
    return [*(("", one) for one in chunks), ("", "[DONE]")]


def _deltas(turn: Turn, spoken: int, body: Json) -> Iterator[Json]:
    yield {"role": "assistant", "content": "", "refusal": None}
    if thinks(body["model"]):
        for piece in turn.reasoning:
            yield {"reasoning_content": piece}
    for piece in turn.pieces:
        yield {"content": piece}
    for n, ident in enumerate(_ids(turn, spoken)):
        function = {"name": turn.calls[n].name, "arguments": ""}
        call = {"index": n, "id": ident, "type": "function", "function": function}
        yield {"tool_calls": [call]}
        for piece in fragments(compact(turn.calls[n].arguments)):
            yield {"tool_calls": [{"index": n, "function": {"arguments": piece}}]}


def failure(status: int, message: str) -> Json:
    """The body of an error."""
    kinds = {429: "rate_limit_error", 401: "authentication_error"}
    kind = "invalid_request_error" if status < 429 else "server_error"
    error = {"message": message, "type": kinds.get(status, kind)}
    return {"error": {**error, "param": None, "code": None}}
