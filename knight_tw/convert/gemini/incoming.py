"""A client's Gemini request in the middle form (conversion specification, 9).

The model and whether the answer is streamed are in the path, not in the body: the model
comes with the context, `stream` is for the caller to set.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import effort
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.gemini.incoming_messages import from_contents, system_message
from knight_tw.convert.gemini.incoming_tools import add_tools
from knight_tw.convert.gemini.names import camel
from knight_tw.convert.schema import from_openapi, read_schema
from knight_tw.errors import InvalidRequest, UnsupportedParameter
from knight_tw.records import Dialect

FIELD_NAMES: Mapping[str, str] = {
    "stop": "stopSequences",
    "max_tokens": "maxOutputTokens",
    "max_completion_tokens": "maxOutputTokens",
    "top_p": "topP",
    "top_k": "topK",
    "n": "candidateCount",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
    "response_format": "responseSchema",
    "reasoning_effort": "thinkingConfig",
    "reasoning": "thinkingConfig",
    "thinking": "thinkingConfig",
    "modalities": "responseModalities",
    "audio": "speechConfig",
    "safety_settings": "safetySettings",
    "web_search_options": "tools.googleSearch",
    "tool_choice": "toolConfig",
}
"""Fields of the middle form as Gemini's clients know them."""

NUMBERS: Mapping[str, str] = {
    "maxOutputTokens": "max_tokens",
    "temperature": "temperature",
    "topP": "top_p",
    "topK": "top_k",
    "candidateCount": "n",
    "seed": "seed",
    "frequencyPenalty": "frequency_penalty",
    "presencePenalty": "presence_penalty",
}
_WHOLE = frozenset({"maxOutputTokens", "topK", "candidateCount", "seed"})

_READ = frozenset(
    {
        *("stopSequences", "responseLogprobs", "logprobs", "responseMimeType"),
        *("responseSchema", "responseJsonSchema", "thinkingConfig", "speechConfig"),
        *("responseModalities", *NUMBERS),
    }
)
"""Members of `generationConfig` that are said in the middle form."""

_TOP = frozenset(
    {
        *("contents", "systemInstruction", "tools", "toolConfig", "safetySettings"),
        *("generationConfig", "cachedContent", "model"),
    }
)

Body = dict[str, Any]


def request_to_x(body: Mapping[str, Any], context: Context) -> Body:
    """The middle form of a client's Gemini request, `stream` not yet in it.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a part that only Gemini itself can see.
        UnsupportedParameter: a field that changes the meaning has no equivalent.
    """
    memory = context.memory
    memory.client, memory.request = Dialect.GEMINI, body
    memory.field_names.update(FIELD_NAMES)
    named: Body = camel(dict(body))
    if named.get("cachedContent"):
        raise UnsupportedParameter(
            "cachedContent is known to Gemini channels only", param="cachedContent"
        )
    contents = named.get("contents")
    entries = [contents] if isinstance(contents, dict) else contents
    messages = [
        *system_message(named.get("systemInstruction")),
        *from_contents(x_parts.read_objects(entries, "contents"), context),
    ]
    x: Body = {"model": context.model, "messages": messages}
    _add_config(x, _object(named, "generationConfig"), context)
    add_tools(x, named, context)
    if named.get("safetySettings"):
        x["safety_settings"] = named["safetySettings"]
    for name in named:
        if name not in _TOP:
            context.drop(name)
    return x


def _add_config(x: Body, config: Mapping[str, Any], context: Context) -> None:
    for name, said in NUMBERS.items():
        value = _number(config, name)
        if value is not None and (value or name != "maxOutputTokens"):
            x[said] = value
    stops = config.get("stopSequences")
    if stops is not None and not isinstance(stops, list):
        where = "generationConfig.stopSequences"
        raise InvalidRequest(f"{where} must be a list", param=where)
    if stops:
        x["stop"] = stops
    if config.get("responseLogprobs") is True:
        x["logprobs"] = True
        if (most := _number(config, "logprobs")) is not None:
            x["top_logprobs"] = most
    _add_format(x, config)
    _add_thinking(x, _object(config, "thinkingConfig"))
    _add_modalities(x, config)
    for name in config:
        if name not in _READ:
            context.drop(f"generationConfig.{name}")


def _number(config: Mapping[str, Any], name: str) -> int | float | None:
    """A number; whole ones may come as `40.0`."""
    value = config.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        where = f"generationConfig.{name}"
        raise InvalidRequest(f"{where} must be a number", param=where)
    if name in _WHOLE and isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _add_format(x: Body, config: Mapping[str, Any]) -> None:
    """JSON answers, with the schema in either of its forms."""
    mime = config.get("responseMimeType")
    if mime in (None, "", "text/plain"):
        return
    if mime != "application/json":
        where = "generationConfig.responseMimeType"
        raise UnsupportedParameter(f"{where} is known to Gemini only", param=where)
    where = "generationConfig.responseJsonSchema"
    schema = read_schema(config.get("responseJsonSchema"), where)
    if not schema:
        where = "generationConfig.responseSchema"
        schema = from_openapi(read_schema(config.get("responseSchema"), where))
    if not schema:
        x["response_format"] = {"type": "json_object"}
        return
    spec = {"name": "response", "schema": schema}
    x["response_format"] = {"type": "json_schema", "json_schema": spec}


def _add_thinking(x: Body, config: Mapping[str, Any]) -> None:
    """The strength; an exact budget is carried as well."""
    budget, level = config.get("thinkingBudget"), config.get("thinkingLevel")
    shown = config.get("includeThoughts")
    reasoning: Body = {}
    if isinstance(level, str) and level != "THINKING_LEVEL_UNSPECIFIED":
        if level.lower() not in effort.EFFORTS:
            where = "generationConfig.thinkingConfig.thinkingLevel"
            raise InvalidRequest(f"{where} is not known", param=where)
        x["reasoning_effort"] = level.lower()
    elif isinstance(budget, int) and not isinstance(budget, bool) and budget >= 0:
        x["reasoning_effort"] = effort.from_budget(budget)
        if budget:
            reasoning["max_tokens"] = budget
    elif shown is True:
        reasoning["enabled"] = True
    if shown is False:
        reasoning["exclude"] = True
    if reasoning:
        x["reasoning"] = reasoning


def _add_modalities(x: Body, config: Mapping[str, Any]) -> None:
    kinds = config.get("responseModalities")
    named = [str(kind).upper() for kind in kinds] if isinstance(kinds, list) else []
    if "IMAGE" in named:
        x["modalities"] = ["text", "image"]
    if "AUDIO" in named:
        x["modalities"] = ["text", "audio"]
        voice = _object(_object(config, "speechConfig"), "voiceConfig")
        prebuilt = voice.get("prebuiltVoiceConfig")
        name = prebuilt.get("voiceName") if isinstance(prebuilt, Mapping) else None
        x["audio"] = {"voice": name or "alloy", "format": "wav"}


def _object(obj: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = obj.get(name)
    if value is None:
        return {}
    if isinstance(value, Mapping):
        return value
    raise InvalidRequest(f"{name} must be an object", param=name)
