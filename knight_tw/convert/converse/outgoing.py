"""A request of the middle form as a Converse request (providers specification, 7.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import parts as x_parts
from knight_tw.convert import tools
from knight_tw.convert.context import Context
from knight_tw.convert.converse.outgoing_messages import to_messages
from knight_tw.convert.tool_choice import ToolChoice, read_choice
from knight_tw.errors import InvalidRequest, UnsupportedParameter

Body = dict[str, Any]

PASSED = (
    *("additionalModelRequestFields", "additionalModelResponseFieldPaths"),
    *("guardrailConfig", "requestMetadata", "performanceConfig", "serviceTier"),
)
"""Converse's own fields, for clients that know where they are."""

UNSAID = (
    *("seed", "logit_bias", "logprobs", "top_logprobs", "frequency_penalty"),
    *("presence_penalty", "prediction", "store", "verbosity", "user", "metadata"),
    *("prompt_cache_key", "prompt_cache_options", "prompt_cache_retention"),
    *("moderation", "safety_settings", "safety_identifier", "service_tier"),
    *("reasoning_effort", "reasoning", "thinking", "web_search_options", "audio"),
)
"""Fields that Converse has nothing like."""

ANSWER_TOOL = "respond"
"""The tool that is forced to get an answer in a wanted form."""

JSON_ONLY = "Answer with one valid JSON object and nothing else."
JSON_LIKE = "Answer with one JSON value that matches this schema and nothing else:\n"

_NUMBERS = {"temperature": "temperature", "top_p": "topP"}


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Converse request for a request of the middle form; the model is in the URL.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a message holds what Converse cannot take.
        UnsupportedParameter: a field that changes the meaning has no equivalent.
    """
    _refuse(x)
    messages = x_parts.read_objects(x.get("messages"), "messages")
    system, turns = to_messages(messages, context)
    body: Body = {"messages": turns}
    config = _tool_config(x, turns, context)
    system += _add_format(config, x, context)
    if system:
        body["system"] = system
    inference = _inference(x)
    if inference:
        body["inferenceConfig"] = inference
    if config.get("tools"):
        body["toolConfig"] = config
    body |= {name: x[name] for name in PASSED if x.get(name) is not None}
    _add_top_k(body, x, context)
    for name in UNSAID:
        if x.get(name) not in (None, False, [], {}, ""):
            context.drop(name)
    return body


def _refuse(x: Mapping[str, Any]) -> None:
    if x.get("n") not in (None, 1):
        raise UnsupportedParameter("the model gives one answer at a time", param="n")
    modalities = x.get("modalities")
    if isinstance(modalities, list) and "audio" in modalities:
        raise UnsupportedParameter("the model does not speak", param="modalities")


def _inference(x: Mapping[str, Any]) -> Body:
    """Limits and sampling."""
    config: Body = {}
    for name in ("max_completion_tokens", "max_tokens"):
        limit = _number(x, name)
        if limit is not None and limit >= 1:
            config.setdefault("maxTokens", int(limit))
    for name, own in _NUMBERS.items():
        value = _number(x, name)
        if value is not None:
            config[own] = min(max(value, 0), 1)
    stop = x.get("stop")
    entries = [stop] if isinstance(stop, str) else stop
    if isinstance(entries, list):
        stops = [entry for entry in entries if isinstance(entry, str) and entry]
        config |= {"stopSequences": stops} if stops else {}
    return config


def _add_top_k(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """`top_k` is a field of the model; of Amazon's own models the place is known."""
    top_k = _number(x, "top_k")
    if top_k is None:
        return
    if "nova" not in context.model or "additionalModelRequestFields" in body:
        context.drop("top_k")
        return
    own = {"inferenceConfig": {"topK": int(top_k)}}
    body["additionalModelRequestFields"] = own


def _number(x: Mapping[str, Any], name: str) -> float | None:
    value = x.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value


def _tool_config(
    x: Mapping[str, Any], turns: list[dict[str, Any]], context: Context
) -> Body:
    """Tools and the choice among them.

    Bedrock wants the tools of calls in the history declared, so a choice of `none`
    only takes them away when there are no such calls.
    """
    offered = x_parts.read_objects(x.get("tools"), "tools")
    choice = read_choice(x.get("tool_choice"))
    allowed = choice.allowed if choice else None
    forbidden = choice is not None and choice.mode == "none" and allowed is None
    if forbidden:
        if not _calls(turns):
            return {}
        context.drop("tool_choice")
    found = [
        _tool(tool, f"tools.{index}", context)
        for index, tool in enumerate(offered)
        if allowed is None or tools.call_name(tool) in allowed
    ]
    if x.get("parallel_tool_calls") is False and found:
        context.drop("parallel_tool_calls")
    config: Body = {"tools": found}
    own = None if forbidden else _choice(choice, context)
    if found and own is not None:
        config["toolChoice"] = own
    return config


def _calls(turns: list[dict[str, Any]]) -> bool:
    return any("toolUse" in block for turn in turns for block in turn["content"])


def _tool(tool: Mapping[str, Any], param: str, context: Context) -> Body:
    function = tool.get("function")
    if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
        function = tools.as_function(tool["custom"], context.memory)
    if not isinstance(function, Mapping):
        raise InvalidRequest(f"{param} must have a function", param=f"{param}.function")
    name = x_parts.read_text(function, "name", f"{param}.function")
    spec: Body = {"name": tools.sent_name(name, context.memory)}
    if isinstance(function.get("description"), str) and function["description"]:
        spec["description"] = function["description"]
    schema = tools.schema_of(function.get("parameters"))
    return {"toolSpec": {**spec, "inputSchema": {"json": schema}}}


def _choice(choice: ToolChoice | None, context: Context) -> Body | None:
    """Converse's `toolChoice`."""
    if choice is None:
        return None
    if choice.name:
        return {"tool": {"name": tools.sent_name(choice.name, context.memory)}}
    return {"any": {}} if choice.mode == "required" else {"auto": {}}


def _add_format(config: Body, x: Mapping[str, Any], context: Context) -> list[Body]:
    """Ask for the form of the answer; what has to be said as system text is returned.

    Amazon's own models are made to call a tool whose input is the answer; of others it
    is not known whether they can be made to.
    """
    form = x.get("response_format")
    kind = form.get("type") if isinstance(form, Mapping) else None
    if kind not in ("json_object", "json_schema"):
        return []
    spec = form.get("json_schema") if isinstance(form, Mapping) else None
    schema = spec.get("schema") if isinstance(spec, Mapping) else None
    if kind == "json_object" or not isinstance(schema, dict):
        return [{"text": JSON_ONLY}]
    if "nova" not in context.model:
        return [{"text": JSON_LIKE + tools.compact(schema)}]
    _force_answer_tool(config, schema, context)
    return []


def _force_answer_tool(config: Body, schema: Body, context: Context) -> None:
    others = config.get("tools", [])
    taken = {tool["toolSpec"]["name"] for tool in others}
    name = ANSWER_TOOL
    while name in taken:
        name += "_"
    described = "Give the answer to the user in this form."
    spec = {"name": name, "description": described}
    spec_in_full = {**spec, "inputSchema": {"json": tools.schema_of(schema)}}
    config["tools"] = [*others, {"toolSpec": spec_in_full}]
    config["toolChoice"] = {"any": {}} if taken else {"tool": {"name": name}}
    context.memory.answer_tool = name
