"""A request of the middle form as plain chat, for the channel it goes to.

What the middle form adds is taken out, or said in the way that this kind of channel
knows (conversion specification, 1 and 5).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

from knight_tw.convert import channels, effort, media, tools
from knight_tw.convert import parts as x_parts
from knight_tw.convert.chat.outgoing_messages import to_messages
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest, UnsupportedParameter
from knight_tw.records import Dialect

Body = dict[str, Any]

MOST_STOPS = 4
"""Most stop sequences that OpenAI takes."""

JSON_ONLY = "Answer with one valid JSON object and nothing else."

EXTENSIONS = frozenset(
    {"thinking", "reasoning", "safety_settings", "extra_body", "cache_control"}
)
"""Fields that the middle form adds; `top_k` is one that some channels take."""

_LIMITS = ("max_completion_tokens", "max_tokens")


def request_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The chat request for a request of the middle form.

    Raises:
        InvalidRequest: a field cannot be read; `param` is its path.
        UnsupportedContent: a part that the channel cannot see.
        UnsupportedParameter: a field that changes the meaning has no equivalent.
    """
    body: Body = {n: v for n, v in x.items() if v is not None and n not in EXTENSIONS}
    body["model"] = context.model
    messages = x_parts.read_objects(x.get("messages"), "messages")
    body["messages"] = to_messages(messages, context)
    for change in _CHANGES:
        change(body, x, context)
    return body


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """URLs that must be downloaded before this request can be sent; each once.

    Chat takes pictures by URL, files only by content.
    """
    urls: dict[str, None] = {}
    messages = x_parts.read_objects(x.get("messages"), "messages")
    for index, message in enumerate(messages):
        param = f"messages.{index}.content"
        for part in x_parts.read_parts(message.get("content"), param):
            file = part.get("file")
            if part["type"] != "file" or not isinstance(file, Mapping):
                continue
            url = file.get("file_url")
            if isinstance(url, str) and not media.is_data_url(url):
                urls[url] = None
    return list(urls)


def _set_limit(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """The limit of the answer under the name that the channel knows."""
    limit = next((x[name] for name in _LIMITS if x.get(name)), None)
    for name in _LIMITS:
        body.pop(name, None)
    if limit is not None:
        body[_LIMITS[0] if channels.is_strict(context) else _LIMITS[1]] = limit


def _set_reasoning(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """How hard to think, by a name; OpenRouter takes a number too."""
    body.pop("reasoning_effort", None)
    asked = effort.read(x)
    if not asked.asked:
        return
    if context.provider_type == channels.OPENROUTER:
        if asked.budget is not None and asked.budget > 0:
            body["reasoning"] = {"max_tokens": asked.budget}
        elif asked.effort is not None:
            body["reasoning"] = {"effort": asked.effort}
        else:
            body["reasoning"] = {"enabled": True}
        if asked.exclude:
            body["reasoning"]["exclude"] = True
    elif asked.effort is None:
        return
    elif channels.is_strict(context) and channels.never_reasons(context.model):
        if asked.effort != "none":
            context.drop("reasoning_effort")
    else:
        known = effort.levels(context, effort.EFFORTS)
        body["reasoning_effort"] = effort.nearest(asked.effort, known)


def _set_sampling(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Sampling fields that the model takes; the others are reported."""
    if not channels.is_strict(context):
        return
    refused = ["top_k"]
    model = context.model
    thinks = model.startswith("o") or body.get("reasoning_effort") != "none"
    if thinks and channels.reasons(model) and "-chat" not in model:
        refused += ["temperature", "top_p"]
    for name in refused:
        if body.pop(name, None) is not None:
            context.drop(name)


def _set_stops(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """One stop sequence as a text, several as a list that is not too long."""
    stop = x.get("stop")
    if not isinstance(stop, list):
        return
    if channels.is_strict(context):
        for index in range(MOST_STOPS, len(stop)):
            context.drop(f"stop[{index}]")
        stop = stop[:MOST_STOPS]
    if stop:
        body["stop"] = stop[0] if len(stop) == 1 else stop
    else:
        del body["stop"]


def _set_tools(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Tools as the channel takes them; without any there is no choice among them."""
    offered = x_parts.read_objects(x.get("tools"), "tools")
    choice, allowed = _choice(x.get("tool_choice"), context)
    found = [
        _tool(tool, f"tools.{index}", context)
        for index, tool in enumerate(offered)
        if allowed is None or tools.call_name(tool) in allowed
    ]
    body.pop("tool_choice", None)
    if found:
        body["tools"] = found
        if choice is not None:
            body["tool_choice"] = choice
        return
    for name in ("tools", "parallel_tool_calls"):
        body.pop(name, None)


def _tool(tool: Mapping[str, Any], param: str, context: Context) -> dict[str, Any]:
    function: Any = tool.get("function")
    if tool.get("type") == "custom" and isinstance(tool.get("custom"), Mapping):
        if channels.is_strict(context):
            return {"type": "custom", "custom": tool["custom"]}
        function = tools.as_function(tool["custom"], context.memory)
    if not isinstance(function, Mapping):
        where = f"{param}.function"
        raise InvalidRequest(f"{where} must be an object", param=where)
    name = x_parts.read_text(function, "name", f"{param}.function")
    sent = {**function, "name": tools.sent_name(name, context.memory)}
    plain: dict[str, Any] = {"type": "function", "function": sent}
    if tool.get("cache_control") and channels.takes_cache_control(context):
        plain["cache_control"] = tool["cache_control"]
    return plain


def _choice(choice: Any, context: Context) -> tuple[Any, set[str] | None]:
    """The choice as the channel takes it, and the names left, None for all."""
    if not isinstance(choice, Mapping):
        return choice, None
    if choice.get("type") == "allowed_tools":
        allowed = choice.get("allowed_tools")
        if channels.is_strict(context) or not isinstance(allowed, Mapping):
            return choice, None
        entries = x_parts.read_objects(allowed.get("tools"), "tool_choice.tools")
        return allowed.get("mode") or "auto", {tools.call_name(e) for e in entries}
    name = tools.call_name(choice)
    if choice.get("type") == "custom" and channels.is_strict(context):
        return choice, None
    sent = {"name": tools.sent_name(name, context.memory)}
    return {"type": "function", "function": sent}, None


def _set_search(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Search options without the filter that chat does not have."""
    options = x.get("web_search_options")
    if isinstance(options, Mapping) and "filters" in options:
        context.drop("web_search_options.filters")
        left = {name: v for name, v in options.items() if name != "filters"}
        body["web_search_options"] = left


def _set_format(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """A JSON answer: providers demand that the messages speak of JSON."""
    form = x.get("response_format")
    if not isinstance(form, Mapping) or form.get("type") != "json_object":
        return
    texts = (x_parts.text_of(message.get("content")) for message in body["messages"])
    if not any("json" in text.lower() for text in texts):
        role = "developer" if channels.takes_developer(context) else "system"
        body["messages"].insert(0, {"role": role, "content": JSON_ONLY})


def _set_origin(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """What OpenAI keeps caches apart by, and usage at the end of streams."""
    user, client = x.get("user"), context.memory.client
    if client is Dialect.CLAUDE and channels.is_strict(context) and user:
        digest = hashlib.sha256(str(user).encode()).hexdigest()
        body.setdefault("prompt_cache_key", digest[:32])
    if x.get("store") is not None and not channels.is_strict(context):
        del body["store"]
        if x["store"]:
            context.drop("store")
    if x.get("stream"):
        body["stream_options"] = {"include_usage": True}
    else:
        body.pop("stream", None)
        body.pop("stream_options", None)


def _refuse_lost(body: Body, x: Mapping[str, Any], context: Context) -> None:
    """Report what is lost; what another provider keeps cannot be asked for here."""
    if x.get("safety_settings"):
        context.drop("safety_settings")
    extra = x.get("extra_body")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    if isinstance(google, Mapping):
        if google.get("cached_content"):
            raise UnsupportedParameter(
                "only Gemini models have cached content", param="cachedContent"
            )
        for name in google:
            context.drop(f"extra_body.google.{name}")


_CHANGES: tuple[Callable[[Body, Mapping[str, Any], Context], None], ...] = (
    _set_limit,
    _set_reasoning,
    _set_sampling,
    _set_stops,
    _set_tools,
    _set_search,
    _set_format,
    _set_origin,
    _refuse_lost,
)
