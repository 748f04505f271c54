"""What every provider's outgoing body undergoes, after conversion.

Fields that change the price or tell something about the user are removed unless the
channel allows them (providers specification, 1.4); `stream_options` is asked for, or
taken out, by what the provider takes (1.5).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.providers.addresses import CHATTING
from knight_tw.providers.provider import Body, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.wire import top

ALLOWED_BY: Mapping[str, str] = {
    "service_tier": "allow_service_tier",
    "inference_geo": "allow_inference_geo",
    "speed": "allow_speed",
    "safety_identifier": "allow_safety_identifier",
}
"""Fields and the channel settings that keep them."""

REMOVABLE = frozenset({*ALLOWED_BY, "store", "stream_options"})
"""Members that a channel's settings may take out; a body without them stays whole."""

STREAMING = CHATTING | {Mode.COMPLETIONS}

FILTERED = frozenset({Dialect.CHAT, Dialect.RESPONSES, Dialect.CLAUDE})


def remove_fields(body: Body, dialect: Dialect, settings: Mapping[str, Any]) -> None:
    """Take out, in place, what the channel's `settings` do not allow."""
    if REMOVABLE.isdisjoint(body) or dialect not in FILTERED:
        return
    for name, allowed in ALLOWED_BY.items():
        if name in body and not settings.get(allowed):
            del body[name]
    if settings.get("disable_store"):
        body.pop("store", None)
    if "stream_options" in body and not settings.get("allow_include_obfuscation"):
        _hide_obfuscation(body)


def _hide_obfuscation(body: Body) -> None:
    options = top.read_object(body, "stream_options")
    if options is None or "include_obfuscation" not in options:
        return
    left = {n: v for n, v in options.items() if n != "include_obfuscation"}
    if left:
        body["stream_options"] = left
    else:
        del body["stream_options"]


def ask_for_usage(
    body: Body, target: Target, provider: Provider, *, asked: bool, force: bool
) -> None:
    """Ask for the usage chunk of a chat or completions stream where that is possible.

    Args:
        asked: The client wants the usage chunk.
        force: The setting `FORCE_STREAM_OPTION`.
    """
    if target.dialect is not Dialect.CHAT:
        return
    if not target.stream and "stream_options" not in body:
        return  # nothing to ask for, nothing to take out
    if not takes_stream_options(target, provider):
        body.pop("stream_options", None)
    elif target.stream and target.mode in STREAMING and (asked or force):
        options = top.read_object(body, "stream_options") or {}
        body["stream_options"] = {**options, "include_usage": True}


def takes_stream_options(target: Target, provider: Provider) -> bool:
    """What the channel says, else what the provider takes."""
    accepts = target.channel.settings.get("accepts")
    said = accepts.get("stream_options") if isinstance(accepts, Mapping) else None
    return said if isinstance(said, bool) else provider.stream_options
