"""Google Vertex AI (41): Gemini, Claude and open models of one project (7.4).

The model's name decides how it is spoken to. The key is a service account, which is
exchanged for a token, or an API key, which stands in the URL and needs no project.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from knight_tw.convert.gemini import without_call_ids
from knight_tw.errors import UnsupportedEndpoint
from knight_tw.providers.addresses import CHATTING, sent_kind
from knight_tw.providers.claude_hosted import host_body
from knight_tw.providers.claude_models import CLAUDE_MODELS
from knight_tw.providers.gemini import chat_action
from knight_tw.providers.gemini_models import GEMINI_MODELS, makes_images
from knight_tw.providers.google_forms import REWRITTEN, rewrite_vertex, unwrap
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import (
    Body,
    Exchange,
    Headers,
    Provider,
    Target,
    context_of,
)
from knight_tw.providers.service_account import exchange_for, read_account
from knight_tw.records import Channel, Dialect, Mode

GLOBAL = "global"
JOINT = frozenset({"us", "eu"})
"""Regions that stand for several."""

CLAUDE_VERSION = "vertex-2023-10-16"

_HOST = "aiplatform.googleapis.com"
_DATED = re.compile(r"(claude-.+)-(\d{8})")
_RENAMED = {"claude-3-5-sonnet-20241022": "claude-3-5-sonnet-v2@20241022"}
_ANY = msgspec.json.Decoder()


def speaks_for(
    channel: Channel, model: str, path: str, options: Mapping[str, Any]
) -> tuple[Dialect, ...]:
    """Claude, OpenAI chat or Gemini, by the model's name."""
    return (family(model),)


def family(model: str) -> Dialect:
    """The dialect of a model: Claude's, chat for open models, Gemini for all others."""
    if "claude" in model:
        return Dialect.CLAUDE
    if "llama" in model or model.endswith("-maas"):
        return Dialect.CHAT
    return Dialect.GEMINI


def by_api_key(channel: Channel) -> bool:
    """True when the channel's keys are API keys."""
    return channel.settings.get("vertex_key_type") == "api_key"


def url(target: Target) -> str:
    """The model's URL in the channel's project and region.

    Raises:
        ChannelFault: the key is no service account.
        UnsupportedEndpoint: the model does not do that.
    """
    where = region(target)
    root = target.channel.base_url.rstrip("/") or _root(where)
    spoken = family(target.model)
    if spoken is Dialect.CHAT and target.mode not in REWRITTEN:
        return f"{root}/v1beta1/{_place(target, where)}endpoints/openapi{_CHAT}"
    publisher = "anthropic" if spoken is Dialect.CLAUDE else "google"
    name = model_id(target.model) if spoken is Dialect.CLAUDE else target.model
    model = f"publishers/{publisher}/models/{quote(name, safe='@')}:{_action(target)}"
    if not by_api_key(target.channel):
        return f"{root}/v1/{_place(target, where)}{model}"
    sign = "&" if "?" in model else "?"
    return f"{root}/v1/{model}{sign}key={quote(target.key, safe='')}"


_CHAT = "/chat/completions"


def _root(where: str) -> str:
    """The address of a region."""
    if where == GLOBAL:
        return f"https://{_HOST}"
    if where in JOINT:
        return f"https://aiplatform.{where}.rep.googleapis.com"
    return f"https://{where}-{_HOST}"


def _place(target: Target, where: str) -> str:
    """Project and region in a path."""
    if by_api_key(target.channel):
        raise UnsupportedEndpoint("this model needs a service account", retryable=True)
    project = quote(read_account(target.key).project_id, safe="")
    return f"projects/{project}/locations/{where}/"


def region(target: Target) -> str:
    """The region of a model: `other`, or what `other` has for it as a JSON object."""
    other = target.channel.other.strip()
    if not other.startswith("{"):
        return quote(other, safe="") or GLOBAL
    try:
        table = _ANY.decode(other)
    except (msgspec.DecodeError, RecursionError):
        return GLOBAL
    for name in (target.client_model, target.model, "default"):
        found = table.get(name)
        if isinstance(found, str) and found.strip():
            return quote(found.strip(), safe="")
    return GLOBAL


def model_id(model: str) -> str:
    """A Claude model as Vertex calls it: the date behind an `@`."""
    dated = _DATED.fullmatch(model)
    usual = f"{dated[1]}@{dated[2]}" if dated is not None else model
    return _RENAMED.get(model, usual)


def _action(target: Target) -> str:
    kind = sent_kind(target)
    if kind is Mode.MESSAGES:
        return "streamRawPredict?alt=sse" if target.stream else "rawPredict"
    if kind is Mode.GEMINI:
        return chat_action(target)
    if kind is Mode.EMBEDDINGS:
        return "predict"
    if kind is Mode.IMAGES and makes_images(target.model):
        return "predict"
    raise UnsupportedEndpoint(
        f"the provider of this model has no {kind.value} for it", retryable=True
    )


def authorize(target: Target) -> Headers:
    """The token and who pays; nothing for an API key, which is in the URL."""
    if by_api_key(target.channel):
        return []
    project = read_account(target.key).project_id
    return [
        ("Authorization", f"Bearer {target.token}"),
        ("x-goog-user-project", project),
    ]


def exchange(channel: Channel, key: str) -> Exchange | None:
    """How a service account gets a token; None for an API key."""
    return None if by_api_key(channel) else exchange_for(channel, key)


def prepare(body: Body, target: Target) -> None:
    """The form of the model's family."""
    if target.mode in REWRITTEN:
        rewrite_vertex(body, target)
    elif target.dialect is Dialect.CLAUDE:
        host_body(body, target, CLAUDE_VERSION)
    elif target.dialect is Dialect.GEMINI:
        for name in ("model", "stream"):
            body.pop(name, None)
        without_call_ids(body, context_of(target))
    else:
        write_model(body, target)


VERTEX = Provider(
    type_id=41,
    name="Vertex AI",
    base_url="",
    url=url,
    speaks=(Dialect.GEMINI, Dialect.CLAUDE, Dialect.CHAT),
    speaks_for=speaks_for,
    modes=CHATTING | REWRITTEN,
    authorize=authorize,
    prepare=prepare,
    unwrap=unwrap,
    rewrites=REWRITTEN,
    exchange=exchange,
    models_path="",
    models=(*CLAUDE_MODELS, *GEMINI_MODELS, "meta/llama3-405b-instruct-maas"),
)
