"""Mistral (42): OpenAI's chat, strictly checked (providers specification, 7.22).

Its API refuses members it does not know, so OpenAI's own that it lacks are taken out;
whatever else a client sends goes on. Tool call ids are nine letters or digits there:
others become the beginning of their hash, the same one wherever they stand.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

from msgspec import Raw

from knight_tw.providers.addresses import CHATTING, OPENAI_PATHS, addresses, sent_kind
from knight_tw.providers.fields import rename
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Mode
from knight_tw.wire import top

ADDRESS = "https://api.mistral.ai"

REFUSED = (
    "audio",
    "function_call",
    "functions",
    "logit_bias",
    "logprobs",
    "modalities",
    "prompt_cache_key",
    "prompt_cache_retention",
    "service_tier",
    "safety_identifier",
    "store",
    "stream_options",
    "top_logprobs",
    "user",
    "verbosity",
    "web_search_options",
)
"""Members of OpenAI's chat requests that Mistral answers with 422."""

_OWN = {Mode.COMPLETIONS, Mode.EMBEDDINGS, Mode.TRANSCRIPTIONS, Mode.MODERATIONS}
_PATHS = {
    **{mode: OPENAI_PATHS[mode] for mode in {Mode.CHAT, *_OWN}},
    Mode.COMPLETIONS: "/v1/fim/completions",
}
_ID = re.compile(r"[A-Za-z0-9]{9}")


def prepare(body: Body, target: Target) -> None:
    """Names, ids and parts as Mistral has them."""
    if sent_kind(target) in (Mode.CHAT, Mode.COMPLETIONS):
        rename(body, "seed", "random_seed")
        rename(body, "max_completion_tokens", "max_tokens")
        for name in REFUSED:
            body.pop(name, None)
        if top.plain(body, "tool_choice") == "required":
            body["tool_choice"] = "any"
        _fit_messages(body)
    write_model(body, target)


def _fit_messages(body: Body) -> None:
    messages = body.get("messages")
    if isinstance(messages, Raw):
        text = bytes(messages)
        if b'"tool_call' not in text and b'"image_url"' not in text:
            return
    messages = top.plain(body, "messages")
    if isinstance(messages, list):
        body["messages"] = [_fit_message(m) for m in messages]


def _fit_message(message: Any) -> Any:
    if not isinstance(message, dict):
        return message
    fitted = dict(message)
    if isinstance(message.get("tool_call_id"), str):
        fitted["tool_call_id"] = short_id(message["tool_call_id"])
    if isinstance(message.get("tool_calls"), list):
        fitted["tool_calls"] = [_fit_call(call) for call in message["tool_calls"]]
    if isinstance(message.get("content"), list):
        fitted["content"] = [_fit_part(part) for part in message["content"]]
    return fitted


def _fit_call(call: Any) -> Any:
    if isinstance(call, dict) and isinstance(call.get("id"), str):
        return {**call, "id": short_id(call["id"])}
    return call


def _fit_part(part: Any) -> Any:
    """An image part with its address as plain text."""
    image = part.get("image_url") if isinstance(part, dict) else None
    return {**part, "image_url": image.get("url")} if isinstance(image, dict) else part


def short_id(identity: str) -> str:
    """Nine letters or digits for a tool call id; such an id stays itself."""
    if _ID.fullmatch(identity):
        return identity
    return hashlib.sha256(identity.encode()).hexdigest()[:9]


MISTRAL = Provider(
    type_id=42,
    name="Mistral",
    base_url=ADDRESS,
    url=addresses(ADDRESS, _PATHS),
    modes=CHATTING | _OWN,
    prepare=prepare,
    finish_reasons={"model_length": "length", "error": "error"},
    models=(
        "open-mistral-7b",
        "open-mixtral-8x7b",
        "mistral-small-latest",
        "mistral-medium-latest",
        "mistral-large-latest",
        "mistral-embed",
    ),
)
