"""What the OpenAI family shares: paths, rules for reasoning models, the constructor.

A model name may end in an effort (`o3-mini-high`), which becomes a request field, and
reasoning models refuse fields that others take (relay specification, section 10, first
two rows). `prepare` runs before the URL is made: it takes the suffix off `target.model`
and writes that name into the body.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Raw

from knight_tw.providers.addresses import (
    CHATTING,
    OPENAI_PATHS,
    addresses,
    sent_kind,
)
from knight_tw.providers.openai_models import OPENAI_MODELS
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.wire import top
from knight_tw.wire.system_prompt import role_of, split_messages

OPENAI_MODES = CHATTING | OPENAI_PATHS.keys() - {Mode.ALPHA_SEARCH}
"""Every kind of work of OpenAI's own API."""

RESPONDING = frozenset({Mode.RESPONSES, Mode.COMPACT})
PAINTING = frozenset({Mode.IMAGES, Mode.IMAGE_EDITS})

EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
BLACKLIST = ("kimi-k2-thinking", "moonshotai/kimi-k2-thinking")
"""Default of the option `global.thinking_model_blacklist`."""

_KNOWN = frozenset(OPENAI_MODELS)
_O_SERIES = re.compile(r"o[1-9]")
_LATER = re.compile(r"gpt-(?:[5-9]|[1-9]\d)")
REASONING = re.compile(f"{_O_SERIES.pattern}|{_LATER.pattern}")
"""Names whose chat bodies `prepare` may change; of others only the name is written."""
_OLD_O1 = ("o1-mini", "o1-preview")


def openai_provider(type_id: int, name: str, base_url: str, **changes: Any) -> Provider:
    """A provider with OpenAI's own API at `base_url`, but for what `changes` says."""
    usual: dict[str, Any] = {
        "url": addresses(base_url, OPENAI_PATHS),
        "speaks": (Dialect.CHAT, Dialect.RESPONSES),
        "modes": OPENAI_MODES,
        "prepare": prepare,
        "models": OPENAI_MODELS,
    }
    return Provider(type_id=type_id, name=name, base_url=base_url, **usual | changes)


def prepare(body: Body, target: Target) -> None:
    """Write the model's name and fit the body to reasoning models."""
    if REASONING.match(target.model):
        apply_effort(body, target)
        if sent_kind(target) is Mode.CHAT:
            fit_reasoning(body, target.model)
    elif target.mode in PAINTING and target.model.startswith("gpt-image"):
        _without_format(body, target)
    write_model(body, target)


def _without_format(body: Body, target: Target) -> None:
    """These models always answer base64 and refuse to be told how."""
    if top.plain(body, "response_format") == "url":
        target.dropped.append("response_format")
    body.pop("response_format", None)


def write_model(body: Body, target: Target) -> None:
    """The upstream's model name where the dialect has it in the body."""
    if target.dialect is not Dialect.GEMINI:
        body["model"] = target.model


def opted_out(target: Target) -> bool:
    """True when the channel lists the suffixed name and maps it to itself."""
    name = target.model
    channel = target.channel
    return channel.model_mapping.get(name) == name and name in channel.models


def take_suffix(target: Target, suffix: str) -> bool:
    """Cut `suffix` off the model's name; False when it is not there, or part of it."""
    name = target.model
    if not name.endswith(suffix) or len(name) == len(suffix) or opted_out(target):
        return False
    if suffix == "-thinking":
        kept = target.options.get("global.thinking_model_blacklist", BLACKLIST)
        if name in kept:
            return False
    target.model = name.removesuffix(suffix)
    return True


def apply_effort(body: Body, target: Target) -> None:
    """An effort at the end of a reasoning model's name becomes a request field."""
    kind = sent_kind(target)
    if kind is not Mode.CHAT and kind not in RESPONDING:
        return
    effort = _split_effort(target)
    if effort and kind is Mode.CHAT:
        body["reasoning_effort"] = effort
    elif effort:
        set_responses_effort(body, effort)


def set_responses_effort(body: Body, effort: str) -> None:
    """`reasoning.effort` of a Responses body, other members of it kept."""
    known = top.read_object(body, "reasoning") or {}
    body["reasoning"] = {**known, "effort": effort}


def _split_effort(target: Target) -> str:
    """The effort that the name ends in, empty when none; the name loses it."""
    name = target.model
    if not (_O_SERIES.match(name) or _LATER.match(name)):
        return ""
    stem, _, effort = name.rpartition("-")
    if effort not in EFFORTS:
        return ""
    # `gpt-5.1-codex-max` is a model's own name: `max` is an effort only behind the name
    # of a known model, and not when the whole is one.
    known = stem in _KNOWN or stem in target.channel.models
    if effort == "max" and (name in _KNOWN or not known):
        return ""
    return effort if take_suffix(target, f"-{effort}") else ""


def fit_reasoning(body: Body, model: str) -> None:
    """Fields that reasoning models refuse, renamed or removed; the system role.

    Raises:
        InvalidRequest: `messages` is no list.
    """
    o_series = _O_SERIES.match(model) is not None
    if not (o_series or _LATER.match(model)):
        return
    if "max_tokens" in body:
        limit = body.pop("max_tokens")
        body.setdefault("max_completion_tokens", limit)
    if o_series:
        body.pop("temperature", None)
    elif "-chat" not in model and top.plain(body, "reasoning_effort") != "none":
        for name in ("temperature", "top_p", "logprobs", "top_logprobs"):
            body.pop(name, None)
    if not model.startswith(_OLD_O1):
        _call_developer(body)


def _call_developer(body: Body) -> None:
    """The first system message becomes a developer message."""
    messages = body.get("messages")
    if isinstance(messages, Raw) and b'"system"' not in bytes(messages):
        return
    entries = split_messages(body)
    for index, message in enumerate(entries):
        if role_of(message) == "system":
            if isinstance(message, Raw):
                message = top.members(message, f"messages.{index}")
            entries[index] = {**message, "role": "developer"}
            body["messages"] = entries
            return
