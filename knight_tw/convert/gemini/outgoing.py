"""A request of the middle form as a Gemini request (conversion specification, 7).

The model and whether the answer is streamed are told by the path. What chat clients say
in `extra_body.google` is Google's own form, in either spelling of the names.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import models
from knight_tw.convert.gemini.names import camel, camel_name
from knight_tw.convert.gemini.outgoing_messages import to_contents
from knight_tw.convert.gemini.outgoing_thinking import thinking_config
from knight_tw.convert.gemini.outgoing_tools import add_tools
from knight_tw.convert.schema import read_schema, to_openapi
from knight_tw.errors import InvalidRequest

MOST_STOPS = 5

CATEGORIES = (
    "HARM_CATEGORY_HARASSMENT",
    "HARM_CATEGORY_HATE_SPEECH",
    "HARM_CATEGORY_SEXUALLY_EXPLICIT",
    "HARM_CATEGORY_DANGEROUS_CONTENT",
)
"""Categories of harm that get the administrator's threshold."""

NUMBERS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
    "seed": "seed",
    "n": "candidateCount",
}
"""Numbers that go on as they are, 0 included."""

UNSAID = (
    *("service_tier", "store", "metadata", "user", "logit_bias", "prediction"),
    *("verbosity", "moderation", "prompt_cache_key", "prompt_cache_options"),
    *("prompt_cache_retention", "safety_identifier"),
)
"""Fields that Gemini has nothing like."""

_GOOGLE = frozenset(
    {"thinkingConfig", "safetySettings", "cachedContent", "imageConfig"}
)

Body = dict[str, Any]


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Gemini request for a request of the middle form.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a message holds what Gemini cannot see.
    """
    context.memory.x = x
    google = _google(x, context)
    messages = x_parts.read_objects(x.get("messages"), "messages")
    system, contents = to_contents(messages, context)
    body: Body = {"contents": contents}
    if system:
        body["systemInstruction"] = {"parts": system}
    add_tools(body, x, context)
    if safety := _safety(x, google, context):
        body["safetySettings"] = safety
    if google.get("cachedContent"):
        body["cachedContent"] = google["cachedContent"]
    if config := _config(x, google, context):
        body["generationConfig"] = config
    for name in UNSAID:
        if x.get(name) not in (None, False, "", "auto", [], {}):
            context.drop(name)
    return body


def _google(x: Mapping[str, Any], context: Context) -> Mapping[str, Any]:
    """`extra_body.google` in camel case; members that no request has are reported."""
    extra = x.get("extra_body")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    if not isinstance(google, dict):
        return {}
    for name in google:
        if camel_name(name) not in _GOOGLE:
            context.drop(f"extra_body.google.{name}")
    named: Mapping[str, Any] = camel(google)
    return named


def _safety(
    x: Mapping[str, Any], google: Mapping[str, Any], context: Context
) -> list[Body]:
    """What the client says, else the administrator's thresholds."""
    for said, param in (
        (x.get("safety_settings"), "safety_settings"),
        (google.get("safetySettings"), "extra_body.google.safety_settings"),
    ):
        if said is not None:
            return x_parts.read_objects(said, param)
    table = context.options.get("gemini.safety_settings")
    known = table if isinstance(table, Mapping) else {}
    default = known.get("default", "OFF")
    thresholds = {name: known.get(name, default) for name in CATEGORIES}
    return [
        {"category": name, "threshold": threshold}
        for name, threshold in thresholds.items()
        if threshold
    ]


def _config(x: Mapping[str, Any], google: Mapping[str, Any], context: Context) -> Body:
    config: Body = {}
    limit = _number(x, "max_completion_tokens") or _number(x, "max_tokens")
    if limit is not None and limit >= 1:
        config["maxOutputTokens"] = int(limit)
    for name, named in NUMBERS.items():
        value = _number(x, name)
        if value is not None:
            config[named] = value
    if stops := _stops(x, context):
        config["stopSequences"] = stops
    if x.get("logprobs") is True:
        config["responseLogprobs"] = True
        if (most := _number(x, "top_logprobs")) is not None:
            config["logprobs"] = int(most)
    config |= _format(x, context)
    config |= _modalities(x, google, context)
    thinking = thinking_config(x, google, context)
    if thinking:
        config["thinkingConfig"] = thinking
    return config


def _number(x: Mapping[str, Any], name: str) -> int | float | None:
    value = x.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidRequest(f"{name} must be a number", param=name)
    return value


def _stops(x: Mapping[str, Any], context: Context) -> list[str]:
    stop = x.get("stop")
    entries = [stop] if isinstance(stop, str) else stop
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise InvalidRequest("stop must be a string or a list", param="stop")
    kept = [entry for entry in entries if isinstance(entry, str) and entry]
    for index in range(MOST_STOPS, len(kept)):
        context.drop(f"stop[{index}]")
    return kept[:MOST_STOPS]


def _format(x: Mapping[str, Any], context: Context) -> Body:
    """The form of the answer: JSON, with a schema if there is one."""
    form = x.get("response_format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind not in ("json_schema", "json_object"):
        return {}
    config: Body = {"responseMimeType": "application/json"}
    spec = form.get("json_schema") if isinstance(form, Mapping) else None
    if kind != "json_schema" or not isinstance(spec, Mapping):
        return config
    where = "response_format.json_schema.schema"
    schema = read_schema(spec.get("schema"), where)
    if schema and context.settings.get("gemini_legacy_schema") is True:
        config["responseSchema"] = to_openapi(schema)
    elif schema:
        config["responseJsonSchema"] = schema
    return config


def _modalities(
    x: Mapping[str, Any], google: Mapping[str, Any], context: Context
) -> Body:
    """Answers that are spoken or drawn."""
    asked = x.get("modalities")
    kinds = asked if isinstance(asked, list) else []
    config: Body = {}
    if "audio" in kinds:
        config["responseModalities"] = ["AUDIO"]
        audio = x.get("audio")
        voice = audio.get("voice") if isinstance(audio, Mapping) else None
        if isinstance(voice, str) and voice:
            prebuilt = {"prebuiltVoiceConfig": {"voiceName": voice}}
            config["speechConfig"] = {"voiceConfig": prebuilt}
    elif "image" in kinds or models.draws(context):
        config["responseModalities"] = ["TEXT", "IMAGE"]
    image = google.get("imageConfig")
    if isinstance(image, Mapping) and image:
        config["imageConfig"] = dict(image)
    return config
