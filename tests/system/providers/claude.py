"""Anthropic's Messages, strictly."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from anthropic import types
from anthropic.types.message_create_params import MessageCreateParamsStreaming
from anthropic.types.user_message_param import UserMessageParam

from tests.system.providers.heard import (
    Heard,
    Json,
    decoded,
    signature,
    signed,
)
from tests.system.providers.shapes import typed
from tests.system.scenarios import SCENARIOS, Ending, Tokens, Turn, fragments

WHO = "claude"
BODY = typed(
    MessageCreateParamsStreaming,
    *("temperature", "top_p", "top_k", "context_management"),
    optional=frozenset({"stream"}),
)
MESSAGE = typed(UserMessageParam)
BLOCKS = {
    "text": typed(types.TextBlockParam),
    "image": typed(types.ImageBlockParam),
    "document": typed(types.DocumentBlockParam),
    "thinking": typed(types.ThinkingBlockParam),
    "redacted_thinking": typed(types.RedactedThinkingBlockParam),
    "tool_use": typed(types.ToolUseBlockParam),
    "tool_result": typed(types.ToolResultBlockParam),
}
TOOL = typed(types.ToolParam)
SOURCES = {
    "image": ("image/png", "image/jpeg", "image/gif", "image/webp"),
    "document": ("application/pdf",),
}
ROLES = ("user", "assistant", "system")
ID = re.compile(r"[A-Za-z0-9_-]+\Z")
WORDS = {
    Ending.END: "end_turn",
    Ending.SEQUENCE: "stop_sequence",
    Ending.LENGTH: "max_tokens",
    Ending.TOOLS: "tool_use",
    Ending.REFUSAL: "refusal",
}


# requests ----------------------------------------------------------------------------


def check(body: Json) -> list[str]:
    """Why the provider refuses the request; empty when it does not."""
    return [*_checked(body)]


def _checked(body: Json) -> Iterator[str]:
    yield from BODY.faults(body, "body")
    if "temperature" in body and "top_p" in body:
        yield "temperature and top_p cannot both be specified"
    if (body.get("temperature") or 0) > 1:
        yield "temperature: 0..1"
    for n, tool in enumerate(body.get("tools") or ()):
        if tool.get("type") not in (None, "custom"):
            continue
        yield from TOOL.faults(tool, f"tools.{n}")
        if tool["input_schema"].get("type") != "object":
            yield f"tools.{n}.input_schema.type: must be object"
    if body.get("tool_choice") and not body.get("tools"):
        yield "tool_choice: only with tools"
    if any(not word.strip() for word in body.get("stop_sequences") or ()):
        yield "stop_sequences: must contain non-whitespace"
    schema = _schema(body)
    if schema and schema.get("additionalProperties") is not False:
        yield "output_config.format.schema: additionalProperties must be false"
    if json.dumps(body).count('"cache_control"') > 4:
        yield "cache_control: at most 4"
    yield from _check_thinking(body)
    yield from _check_messages(body)


def _check_thinking(body: Json) -> Iterator[str]:
    thinking = body.get("thinking") or {}
    if thinking.get("type") == "enabled":
        if thinking["budget_tokens"] < 1024:
            yield "thinking.budget_tokens: at least 1024"
        if thinking["budget_tokens"] >= body.get("max_tokens", 0):
            yield "max_tokens: must be greater than thinking.budget_tokens"
    if _on(body):
        if (body.get("tool_choice") or {}).get("type") in ("any", "tool"):
            yield "tool_choice: thinking forbids forced tools"
        if body.get("temperature") not in (None, 1) or "top_k" in body:
            yield "temperature, top_k: not with thinking"


def _on(body: Json) -> bool:
    return (body.get("thinking") or {}).get("type") in ("enabled", "adaptive")


def _schema(body: Json) -> Json | None:
    return ((body.get("output_config") or {}).get("format") or {}).get("schema")


def _joined(body: Json) -> list[tuple[str, list[Json]]]:
    """Roles and blocks without system messages; the service joins equal neighbours."""
    turns: list[tuple[str, list[Json]]] = []
    for message in body.get("messages") or ():
        if message["role"] == "system":
            continue
        blocks = message["content"]
        if isinstance(blocks, str):
            blocks = [{"type": "text", "text": blocks}]
        if turns and turns[-1][0] == message["role"]:
            turns[-1][1].extend(blocks)
        else:
            turns.append((message["role"], list(blocks)))
    return turns


def _check_messages(body: Json) -> Iterator[str]:
    """Fields, order, signatures, and that calls and results go in pairs."""
    for n, message in enumerate(body.get("messages") or ()):
        yield from MESSAGE.faults(message, f"messages.{n}")
        if message["role"] not in ROLES or not message["content"]:
            yield f"messages.{n}: role {message['role']!r}, or no content"
    by_budget = (body.get("thinking") or {}).get("type") == "enabled"
    turns = _joined(body)
    if turns and turns[0][0] != "user":
        yield "messages: the first must be the user's"
    waiting: list[str] = []
    last = max((n for n, t in enumerate(turns) if t[0] == "assistant"), default=-1)
    for n, (role, blocks) in enumerate(turns):
        where = f"messages.{n}"
        kinds = [block["type"] for block in blocks]
        results = [b["tool_use_id"] for b in blocks if b["type"] == "tool_result"]
        if sorted(results) != sorted(waiting):
            yield f"{where}: calls {waiting} got the results {results}"
        if kinds != sorted(kinds, key=lambda kind: kind != "tool_result"):
            yield f"{where}: tool_result blocks must come first"
        waiting = [block["id"] for block in blocks if block["type"] == "tool_use"]
        if n == last and waiting and by_budget and "thinking" not in kinds[0]:
            yield f"{where}: expected a thinking block first, found {kinds[0]}"
        for block in blocks:
            yield from _check_block(block, role, where)
    if waiting:
        yield f"messages: calls without results: {waiting}"


def _check_block(block: Json, role: str, where: str) -> Iterator[str]:
    kind = block["type"]
    if kind not in BLOCKS:
        yield f"{where}: block {kind!r}"
        return
    yield from BLOCKS[kind].faults(block, f"{where}.{kind}")
    allowed = "assistant" if kind == "tool_use" or "thinking" in kind else "user"
    if kind != "text" and role != allowed:
        yield f"{where}: {kind} blocks are the {allowed}'s"
    if kind == "text" and not block["text"]:
        yield f"{where}: text blocks must be non-empty"
    elif kind == "tool_use":
        if not ID.match(block["id"]) or not isinstance(block["input"], dict):
            yield f"{where}: id or input of a tool_use"
    elif kind == "thinking":
        if not signed(WHO, block.get("signature")):
            yield f"{where}: invalid signature in thinking block"
        if block["thinking"] not in _thoughts():
            yield f"{where}: thinking blocks cannot be modified"
    elif kind in SOURCES:
        source = block["source"]
        if source["type"] == "base64" and source["media_type"] not in SOURCES[kind]:
            yield f"{where}: media_type {source['media_type']}"


def _thoughts() -> set[str]:
    return {turn.thoughts for one in SCENARIOS.values() for turn in one.turns}


def read(body: Json) -> Heard:
    """What a request says that passed `check`."""
    system = body.get("system") or ""
    if not isinstance(system, str):
        system = "\n\n".join(block["text"] for block in system)
    heard = Heard(
        model=body["model"],
        stream=bool(body.get("stream")),
        system=system,
        tools={
            tool["name"]: tool.get("input_schema") or {}
            for tool in body.get("tools") or ()
        },
        stop=tuple(body.get("stop_sequences") or ()),
        schema=_schema(body),
        limit=body["max_tokens"],
        thinking=_on(body),
        marks=json.dumps(body).count('"cache_control"'),
    )
    for role, blocks in _joined(body):
        turn = heard.turn(role)
        for block in blocks:
            kind = block["type"]
            if kind == "text":
                turn.text += block["text"]
            elif kind in SOURCES:
                source = block["source"]
                turn.media.append((source["media_type"], decoded(source["data"])))
            elif kind == "tool_use":
                turn.calls.append((block["id"], block["name"], block["input"]))
            elif kind == "tool_result":
                turn.results.append((block["tool_use_id"], _text(block["content"])))
            elif kind == "thinking":
                turn.thoughts += block["thinking"]
                turn.signatures.append(block["signature"])
    return heard


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(part.get("text", "") for part in content)
    return content or ""


def count(body: Json) -> Json:
    """The answer to `count_tokens`."""
    return {"input_tokens": len(json.dumps(body["messages"]))}


# answers -----------------------------------------------------------------------------


def usage(tokens: Tokens) -> Json:
    """The usage object: the input is without the cache."""
    told: Json = {
        "input_tokens": tokens.prompt - tokens.cached - tokens.written,
        "cache_creation_input_tokens": tokens.written,
        "cache_read_input_tokens": tokens.cached,
        "cache_creation": {
            "ephemeral_5m_input_tokens": tokens.written_5m,
            "ephemeral_1h_input_tokens": tokens.written_1h,
        },
        "output_tokens": tokens.completion,
        "service_tier": "standard",
    }
    if tokens.reasoning:
        told["output_tokens_details"] = {"thinking_tokens": tokens.reasoning}
    return told


def answer(turn: Turn, spoken: int, body: Json) -> Json:
    """The whole answer."""
    blocks: list[Json] = []
    if turn.reasoning and _on(body):
        blocks.append(
            {
                "type": "thinking",
                "thinking": turn.thoughts,
                "signature": signature(WHO, spoken),
            }
        )
    if turn.pieces:
        blocks.append({"type": "text", "text": turn.text})
    for n, call in enumerate(turn.calls):
        ident = f"toolu_{spoken}_{n}_ofThisProvider"
        given = dict(call.arguments)
        blocks.append(
            {"type": "tool_use", "id": ident, "name": call.name, "input": given}
        )
    return {
        "id": f"msg_answer{spoken}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": blocks,
        "stop_reason": WORDS[turn.ending],
        "stop_sequence": turn.sequence,
        "usage": usage(turn.tokens),
    }


def events(turn: Turn, spoken: int, body: Json) -> list[tuple[str, Json | str]]:
    """The events of a stream: name and data."""
    whole = answer(turn, spoken, body)
    start = {**whole, "content": [], "stop_reason": None, "stop_sequence": None}
    start["usage"] = {**whole["usage"], "output_tokens": 1}
    found: list[Json] = [{"type": "message_start", "message": start}, {"type": "ping"}]
    for index, block in enumerate(whole["content"]):
        opened, deltas = _block_events(block, turn)
        found += [
            {"type": "content_block_start", "content_block": opened, "index": index},
            *(
                {"type": "content_block_delta", "delta": delta, "index": index}
                for delta in deltas
            ),
            {"type": "content_block_stop", "index": index},
        ]
    final = {name: whole[name] for name in ("stop_reason", "stop_sequence")}
    counted = {k: v for k, v in whole["usage"].items() if k != "cache_creation"}
    counted.pop("service_tier")
    found.append({"type": "message_delta", "delta": final, "usage": counted})
    found.append({"type": "message_stop"})
    return [(event["type"], event) for event in found]


def _block_events(block: Json, turn: Turn) -> tuple[Json, list[Json]]:
    """The block as it opens, and the deltas that fill it."""
    if block["type"] == "thinking":
        deltas = [{"type": "thinking_delta", "thinking": p} for p in turn.reasoning]
        sign = {"type": "signature_delta", "signature": block["signature"]}
        return {**block, "thinking": "", "signature": ""}, [*deltas, sign]
    if block["type"] == "text":
        texts = [{"type": "text_delta", "text": piece} for piece in turn.pieces]
        return {**block, "text": ""}, texts
    given = json.dumps(block["input"]) if block["input"] else ""
    pieces = [
        {"type": "input_json_delta", "partial_json": piece}
        for piece in ("", *fragments(given))
    ]
    return {**block, "input": {}}, pieces


def failure(status: int, message: str) -> Json:
    """The body of an error."""
    kinds = {401: "authentication_error", 429: "rate_limit_error"}
    kind = "invalid_request_error" if status < 429 else "api_error"
    error = {"type": kinds.get(status, kind), "message": message}
    return {"type": "error", "error": error, "request_id": "req_1"}
