"""Azure OpenAI (3): OpenAI's bodies, the model in the URL (specification, 7.2).

A channel whose address ends in `/openai/v1` uses the newer surface with plain OpenAI
paths and the model in the body.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote

from knight_tw.providers.addresses import (
    CHATTING,
    CLOUDFLARE,
    OPENAI_PATHS,
    addresses,
    channel_root,
    path_of,
    sent_kind,
)
from knight_tw.providers.openai_family import RESPONDING, openai_provider, prepare
from knight_tw.providers.provider import Body, Headers, Target
from knight_tw.records import Mode

DEFAULT_VERSION = "2025-04-01-preview"
DOTS_KEPT_SINCE = 1746835200
"""Channels older than this (2025-05-10 UTC) name deployments without full stops."""

_MODES = CHATTING | {
    Mode.COMPLETIONS,
    Mode.COMPACT,
    Mode.EMBEDDINGS,
    Mode.IMAGES,
    Mode.IMAGE_EDITS,
    Mode.SPEECH,
    Mode.TRANSCRIPTIONS,
    Mode.TRANSLATIONS,
    Mode.REALTIME,
}
_PATHS = {mode: path for mode, path in OPENAI_PATHS.items() if mode in _MODES}
_PLAIN = addresses("", _PATHS)


def url(target: Target) -> str:
    """The deployment's URL with its `api-version`."""
    root = channel_root(target.channel, "")
    if root.endswith("/openai/v1"):
        return _PLAIN(target)
    kind = sent_kind(target)
    path = path_of(target, _PATHS).removeprefix("/v1")
    if kind in RESPONDING:
        return _responses_url(root, path, target)
    version = f"api-version={quote(api_version(target))}"
    name = quote(deployment(target), safe="")
    if kind is Mode.REALTIME:
        root = re.sub("^http", "ws", root)
        return f"{root}/openai/realtime?deployment={name}&{version}"
    place = "" if root.startswith(CLOUDFLARE) else "/openai/deployments"
    return f"{root}{place}/{name}{path}?{version}"


def _responses_url(root: str, path: str, target: Target) -> str:
    chosen = str(target.channel.settings.get("azure_responses_version") or "")
    if "cognitiveservices.azure.com" in root:
        return f"{root}/openai{path}?api-version={quote(chosen or api_version(target))}"
    return f"{root}/openai/v1{path}?api-version={quote(chosen or 'preview')}"


def api_version(target: Target) -> str:
    """The client's version, else the channel's, else the default."""
    asked = parse_qs(target.query).get("api-version", [""])[0]
    default = target.options.get("azure_default_api_version") or DEFAULT_VERSION
    return asked or target.channel.other or str(default)


def deployment(target: Target) -> str:
    """The deployment that serves a model."""
    created = target.channel.created_time
    if created is not None and created < DOTS_KEPT_SINCE:
        return target.model.replace(".", "")
    return target.model


def authorize(target: Target) -> Headers:
    """`api-key`, or a Bearer when the key is a token of Microsoft Entra."""
    if target.key.startswith("eyJ"):
        return [("Authorization", f"Bearer {target.key}")]
    return [("api-key", target.key)]


def prepare_body(body: Body, target: Target) -> None:
    """OpenAI's changes; chat and completions name the model only in the URL."""
    prepare(body, target)
    in_url = sent_kind(target) in (Mode.CHAT, Mode.COMPLETIONS)
    if in_url and not target.channel.base_url.rstrip("/").endswith("/openai/v1"):
        del body["model"]


AZURE = openai_provider(
    3,
    "Azure",
    "",
    url=url,
    modes=_MODES,
    authorize=authorize,
    prepare=prepare_body,
    stream_options=True,
    models_path="",
)
