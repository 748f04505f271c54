"""AWS Bedrock (33): Claude by its own messages, all other models by Converse (7.5).

The key is `AccessKey|SecretKey|region`, to sign requests with (a session token may
follow), or with `settings.aws_key_type` of `api_key` just `apikey|region`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from knight_tw.convert import converse
from knight_tw.errors import ChannelFault
from knight_tw.providers import sigv4
from knight_tw.providers.addresses import CHATTING, sent_kind, unsupported
from knight_tw.providers.aws_models import PLACES, model_id
from knight_tw.providers.claude_hosted import host_body
from knight_tw.providers.provider import (
    Body,
    Conversion,
    Headers,
    Provider,
    Target,
)
from knight_tw.providers.sigv4 import Secret
from knight_tw.records import Channel, Dialect, Mode
from knight_tw.wire import eventstream

CLAUDE_VERSION = "bedrock-2023-05-31"
SERVICE = "bedrock"

CONVERSE = Conversion(
    request_from_x=converse.request_from_x,
    response_to_x=converse.response_to_x,
    stream_to_x=converse.StreamToX,
    media_urls=converse.media_urls,
)
"""How all models but Claude are spoken to."""


def speaks_for(
    channel: Channel, model: str, path: str, options: Mapping[str, Any]
) -> tuple[Dialect, ...]:
    """Claude for Claude's models; the middle form, for Converse, for others."""
    return (Dialect.CLAUDE,) if is_claude(model) else (Dialect.CHAT,)


def is_claude(model: str) -> bool:
    """True for Claude models, profiles and ARNs of them included."""
    return "claude" in model


def conversion(target: Target) -> Conversion | None:
    """Converse for the models that are not Claude's."""
    return CONVERSE if target.dialect is Dialect.CHAT else None


def by_api_key(channel: Channel) -> bool:
    """True when the channel's keys are API keys."""
    return channel.settings.get("aws_key_type") == "api_key"


def read_key(channel: Channel, key: str) -> Secret:
    """The parts of a key; of an API key there is no secret half.

    Raises:
        ChannelFault: it does not have the parts that it should have.
    """
    parts = [part.strip() for part in key.split("|")]
    if by_api_key(channel):
        if len(parts) == 2 and all(parts):
            return Secret(parts[0], "", parts[1])
        raise ChannelFault("the channel's key must be APIKey|region")
    if len(parts) not in (3, 4) or not all(parts[:3]):
        raise ChannelFault("the channel's key must be AccessKey|SecretKey|region")
    return Secret(*parts)


def url(target: Target) -> str:
    """The model's URL with the operation.

    Raises:
        ChannelFault: the key has no region.
        UnsupportedEndpoint: there is no such operation.
    """
    region = read_key(target.channel, target.key).region
    usual = f"https://bedrock-runtime.{region}.amazonaws.com"
    root = target.channel.base_url.rstrip("/") or usual
    model = quote(model_id(target.model, region), safe="")
    return f"{root}/model/{model}/{_operation(target)}"


def _operation(target: Target) -> str:
    kind = sent_kind(target)
    if kind is Mode.MESSAGES:
        return "invoke-with-response-stream" if target.stream else "invoke"
    if kind is Mode.CHAT:
        return "converse-stream" if target.stream else "converse"
    raise unsupported(target)


def authorize(target: Target) -> Headers:
    """The API key; requests by a key pair are signed instead."""
    if not by_api_key(target.channel):
        return []
    secret = read_key(target.channel, target.key)
    return [("Authorization", f"Bearer {secret.access_key}")]


def sign(
    target: Target, method: str, url: str, headers: Headers, body: bytes, now: float
) -> Headers:
    """The request's headers, signed when the key is a pair.

    Bedrock reads `Accept` as the form of the answer, and streams in its own.
    """
    accept = eventstream.TYPE if target.stream else "application/json"
    sent = [(name, value) for name, value in headers if name.lower() != "accept"]
    sent.append(("Accept", accept))
    if by_api_key(target.channel):
        return sent
    secret = read_key(target.channel, target.key)
    return sigv4.sign(secret, SERVICE, method, url, sent, body, now)


def prepare(body: Body, target: Target) -> None:
    """The model and the stream stand in the URL."""
    for name in ("model", "stream"):
        body.pop(name, None)
    if target.dialect is Dialect.CLAUDE:
        host_body(body, target, CLAUDE_VERSION)


AWS = Provider(
    type_id=33,
    name="AWS Bedrock",
    base_url="",
    url=url,
    speaks=(Dialect.CLAUDE, Dialect.CHAT),
    speaks_for=speaks_for,
    modes=CHATTING,
    authorize=authorize,
    prepare=prepare,
    conversion=conversion,
    sign=sign,
    models_path="",
    models=tuple(PLACES),
    repeats_usage=True,
)
