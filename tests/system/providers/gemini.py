"""Google's generateContent, strictly; model and stream flag come from the path."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from typing import Any

from google.genai import types

from tests.system.providers.heard import Heard, Json, decoded, signature, signed
from tests.system.providers.shapes import Shape, modelled
from tests.system.scenarios import Ending, Tokens, Turn

WHO = "gemini"
BODY = Shape(
    frozenset(
        (
            *("contents", "systemInstruction", "tools", "toolConfig", "labels"),
            *("safetySettings", "generationConfig", "cachedContent", "serviceTier"),
            *("model", "stream"),
        )
    ),
    frozenset({"contents"}),
)
"""`model` and `stream` are not sent: the server adds them from the path."""
CONFIG = modelled(types.GenerationConfig, "imageConfig")
CONTENT = modelled(types.Content)
PART = modelled(types.Part)
CALL = modelled(types.FunctionCall)
RESULT = modelled(types.FunctionResponse)
DECLARATION = modelled(types.FunctionDeclaration)
USERS = frozenset({"args", "response", "parametersJsonSchema", "responseJsonSchema"})
"""Fields whose content is the user's, names included."""
KINDS = (
    *("text", "inlineData", "fileData", "functionCall", "functionResponse"),
    *("executableCode", "codeExecutionResult"),
)
PLACEHOLDERS = (
    "context_engineering_is_the_way_to_go",
    "skip_thought_signature_validator",
)
"""Documented for calls that no model has made; Gemini CLI sends one itself."""
WORDS = {
    Ending.END: "STOP",
    Ending.SEQUENCE: "STOP",
    Ending.LENGTH: "MAX_TOKENS",
    Ending.TOOLS: "STOP",
    Ending.REFUSAL: "SAFETY",
}


def third(model: str) -> bool:
    """True for models that insist on signatures, know levels and give call ids."""
    return model.startswith("gemini-3")


# requests ----------------------------------------------------------------------------


def camel(value: Any) -> Any:
    """A body in the one spelling of names; the service takes snake case as well."""
    if isinstance(value, list):
        return [camel(one) for one in value]
    if not isinstance(value, dict):
        return value
    spelt = {
        re.sub(r"_(\w)", lambda found: found[1].upper(), name): inner
        for name, inner in value.items()
    }
    return {n: inner if n in USERS else camel(inner) for n, inner in spelt.items()}


def check(body: Json) -> list[str]:
    """Why the provider refuses the request; empty when it does not."""
    return [*_checked(body)]


def _checked(body: Json) -> Iterator[str]:
    yield from BODY.faults(body, "body")
    config = body.get("generationConfig") or {}
    yield from CONFIG.faults(config, "generationConfig")
    if len(config.get("stopSequences") or ()) > 5:
        yield "stopSequences: at most 5"
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    if schema and config.get("responseMimeType") != "application/json":
        yield "responseJsonSchema: needs responseMimeType application/json"
    thinking = config.get("thinkingConfig") or {}
    if {"thinkingBudget", "thinkingLevel"} <= set(thinking):
        yield "thinkingConfig: budget or level, not both"
    if "thinkingLevel" in thinking and not third(body["model"]):
        yield "thinkingConfig: this model has no thinkingLevel"
    declared = _declared(body)
    for tool in declared:
        yield from DECLARATION.faults(tool, "functionDeclarations")
        if {"parameters", "parametersJsonSchema"} <= set(tool):
            yield "functionDeclarations: parameters given twice"
    calling = (body.get("toolConfig") or {}).get("functionCallingConfig")
    if calling and not declared:
        yield "toolConfig: there are no functions"
    yield from _check_contents(body)


def _declared(body: Json) -> list[Json]:
    return [
        declaration
        for tool in body.get("tools") or ()
        for declaration in tool.get("functionDeclarations") or ()
    ]


def _check_contents(body: Json) -> Iterator[str]:
    """Fields, and that the results of calls stand right behind them, in pairs."""
    contents = body["contents"]
    waiting: list[tuple[str | None, str]] = []
    asked = max((n for n, one in enumerate(contents) if _asks(one)), default=0)
    for n, content in enumerate(contents):
        where, parts = f"contents.{n}", content.get("parts") or []
        yield from CONTENT.faults(content, where)
        if content.get("role", "user") not in ("user", "model") or not parts:
            yield f"{where}: role {content.get('role')!r}, or no parts"
        told = [p["functionResponse"] for p in parts if "functionResponse" in p]
        results = [(one.get("id"), one["name"]) for one in told]
        if sorted(results, key=str) != sorted(waiting, key=str):
            yield f"{where}: the calls {waiting} got the responses {results}"
        calls = [part for part in parts if "functionCall" in part]
        waiting = [
            (p["functionCall"].get("id"), p["functionCall"]["name"]) for p in calls
        ]
        unsigned = calls and not calls[0].get("thoughtSignature")
        if unsigned and third(body["model"]) and n > asked:
            yield f"{where}: function call is missing a thought_signature"
        for part in parts:
            yield from _check_part(part, where)
    if waiting:
        yield f"contents: calls without responses: {waiting}"


def _asks(content: Json) -> bool:
    """True for a user's own words: what comes later is the current turn."""
    return content.get("role") != "model" and any(
        "text" in part or "inlineData" in part for part in content.get("parts") or ()
    )


def _check_part(part: Json, where: str) -> Iterator[str]:
    yield from PART.faults(part, f"{where}.parts")
    if sum(kind in part for kind in KINDS) != 1:
        yield f"{where}.parts: exactly one kind of data, not {sorted(part)}"
    sign = part.get("thoughtSignature")
    if sign and sign not in PLACEHOLDERS and not signed(WHO, _standard(sign)):
        yield f"{where}.parts: thought signature is not valid"
    if "functionCall" in part:
        yield from CALL.faults(part["functionCall"], f"{where}.functionCall")
    elif "functionResponse" in part:
        yield from RESULT.faults(part["functionResponse"], f"{where}.functionResponse")
        if not isinstance(part["functionResponse"].get("response"), dict):
            yield f"{where}.functionResponse.response: must be an object"
    elif "inlineData" in part and not part["inlineData"].get("mimeType"):
        yield f"{where}.inlineData.mimeType is required"


def _standard(text: str) -> str:
    """Base64 of either alphabet in the standard one."""
    return base64.b64encode(base64.urlsafe_b64decode(_url_safe(text))).decode()


def _url_safe(text: str) -> str:
    return text.replace("+", "-").replace("/", "_") + "=" * (-len(text) % 4)


def read(body: Json) -> Heard:
    """What a request says that passed `check`."""
    config = body.get("generationConfig") or {}
    thinking = config.get("thinkingConfig") or {}
    system = (body.get("systemInstruction") or {}).get("parts") or ()
    heard = Heard(
        model=body["model"],
        stream=body["stream"],
        system="\n\n".join(part["text"] for part in system),
        tools={
            tool["name"]: tool.get("parametersJsonSchema") or tool.get("parameters", {})
            for tool in _declared(body)
        },
        stop=tuple(config.get("stopSequences") or ()),
        schema=config.get("responseJsonSchema") or config.get("responseSchema"),
        limit=config.get("maxOutputTokens"),
        thinking=bool(thinking.get("includeThoughts")),
    )
    for content in body["contents"]:
        turn = heard.turn("assistant" if content.get("role") == "model" else "user")
        for part in content["parts"]:
            if part.get("thoughtSignature"):
                turn.signatures.append(part["thoughtSignature"])
            if "text" in part and part.get("thought"):
                turn.thoughts += part["text"]
            elif "text" in part:
                turn.text += part["text"]
            elif "inlineData" in part:
                blob = part["inlineData"]
                content_ = decoded(blob["data"].replace("-", "+").replace("_", "/"))
                turn.media.append((blob["mimeType"], content_))
            elif "functionCall" in part:
                call = part["functionCall"]
                ident, given = call.get("id") or "", call.get("args") or {}
                turn.calls.append((ident, call["name"], given))
            elif "functionResponse" in part:
                turn.results.append(_result(part["functionResponse"]))
    return heard


def _result(told: Json) -> tuple[str, str]:
    value = told["response"]
    if len(value) == 1 and set(value) <= {"output", "result", "error"}:
        (value,) = value.values()
    text = value if isinstance(value, str) else json.dumps(value)
    return (told.get("id") or told["name"], text)


def count(body: Json) -> Json:
    """The answer to `countTokens`."""
    return {"totalTokens": len(json.dumps(body))}


# answers -----------------------------------------------------------------------------


def usage(tokens: Tokens) -> Json:
    """The usage object: candidates are without thoughts; writing is not told."""
    told: Json = {
        "promptTokenCount": tokens.prompt,
        "candidatesTokenCount": tokens.completion - tokens.reasoning,
        "totalTokenCount": tokens.prompt + tokens.completion,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens.prompt}],
    }
    if tokens.cached:
        told["cachedContentTokenCount"] = tokens.cached
    if tokens.reasoning:
        told["thoughtsTokenCount"] = tokens.reasoning
    return told


def _parts(turn: Turn, spoken: int, body: Json) -> Iterator[Json]:
    """The parts of an answer, one per piece."""
    config = body.get("generationConfig") or {}
    if (config.get("thinkingConfig") or {}).get("includeThoughts"):
        for piece in turn.reasoning:
            yield {"text": piece, "thought": True}
    for piece in turn.pieces:
        yield {"text": piece}
    for n, call in enumerate(turn.calls):
        told: Json = {"name": call.name, "args": dict(call.arguments)}
        if third(body["model"]):
            told["id"] = f"fc-{spoken}-{n}"
        part: Json = {"functionCall": told}
        if n == 0 and (turn.reasoning or third(body["model"])):
            part["thoughtSignature"] = signature(WHO, spoken)
        yield part


def _candidate(parts: list[Json], ending: Ending | None) -> Json:
    content: Json = {"role": "model"}
    if parts:
        content["parts"] = parts
    found: Json = {"content": content, "index": 0}
    if ending:
        found["finishReason"] = WORDS[ending]
    return {"candidates": [found]}


def answer(turn: Turn, spoken: int, body: Json) -> Json:
    """The whole answer; texts of a kind are one part."""
    parts: list[Json] = []
    for part in _parts(turn, spoken, body):
        last = parts[-1] if parts else {}
        same = "text" in part and "text" in last
        if same and part.get("thought") == last.get("thought"):
            last["text"] += part["text"]
        else:
            parts.append(part)
    return {
        **_candidate(parts, turn.ending),
        "usageMetadata": usage(turn.tokens),
        "modelVersion": body["model"],
        "responseId": f"answer{spoken}",
    }


def events(turn: Turn, spoken: int, body: Json) -> list[tuple[str, Json | str]]:
    """The objects of a stream."""
    counts = {"promptTokenCount", "totalTokenCount", "cachedContentTokenCount"}
    whole = usage(turn.tokens)
    early = {name: whole[name] for name in counts & set(whole)}
    early["totalTokenCount"] = turn.tokens.prompt
    tail = {"modelVersion": body["model"], "responseId": f"answer{spoken}"}
    found = [
        {**_candidate([part], None), "usageMetadata": early, **tail}
        for part in _parts(turn, spoken, body)
    ]
    last = [{"text": ""}] if found else []
    found.append({**_candidate(last, turn.ending), "usageMetadata": whole, **tail})
    return [("", one) for one in found]


def failure(status: int, message: str) -> Json:
    """The body of an error."""
    words = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}
    error = {"code": status, "message": message}
    return {"error": {**error, "status": words.get(status, "UNKNOWN")}}
