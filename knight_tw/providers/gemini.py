"""Google Gemini (24) by its own API (providers specification, 7.3b)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from knight_tw.errors import UnsupportedEndpoint
from knight_tw.providers.addresses import CHATTING, channel_root, sent_kind
from knight_tw.providers.gemini_models import GEMINI_MODELS, makes_images
from knight_tw.providers.google_forms import REWRITTEN, rewrite, unwrap
from knight_tw.providers.provider import Body, Headers, Provider, Target
from knight_tw.records import Dialect, Mode
from knight_tw.wire import top

ADDRESS = "https://generativelanguage.googleapis.com"
VERSION = "v1beta"
"""The API version of models that the option `gemini.version_settings` does not name."""

_ASKED = re.compile(r"^/v[^/]+/models/.+:([A-Za-z]+)$")


def url(target: Target) -> str:
    """The model's URL with what is done with it."""
    root = channel_root(target.channel, ADDRESS)
    model = quote(target.model.removeprefix("models/"), safe="@")
    return f"{root}/{version(target)}/models/{model}:{action(target)}"


def version(target: Target) -> str:
    """The API version of a model."""
    table = target.options.get("gemini.version_settings")
    known = table if isinstance(table, Mapping) else {}
    found = known.get(target.model) or known.get("default")
    return str(found or VERSION)


def action(target: Target) -> str:
    """What is done with the model, with the query that makes a stream of it.

    Raises:
        UnsupportedEndpoint: the model does not do that.
    """
    kind = sent_kind(target)
    if kind is Mode.EMBEDDINGS:
        return "batchEmbedContents"
    if kind is Mode.IMAGES and makes_images(target.model):
        return "predict"
    if kind is Mode.COUNT_TOKENS:
        return "countTokens"
    if kind is not Mode.GEMINI:
        raise UnsupportedEndpoint(
            f"the provider of this model has no {kind.value} for it", retryable=True
        )
    return chat_action(target)


def chat_action(target: Target) -> str:
    """The action of an attempt in Gemini's dialect: the client's own if it has one."""
    asked = _ASKED.match(target.path) if target.mode is Mode.GEMINI else None
    usual = "streamGenerateContent" if target.stream else "generateContent"
    name = asked[1] if asked is not None else usual
    return f"{name}?alt=sse" if name == "streamGenerateContent" else name


def authorize(target: Target) -> Headers:
    """The key, in a header: URLs end in logs."""
    return [("x-goog-api-key", target.key)]


def prepare(body: Body, target: Target) -> None:
    """The model stands in the URL; embeddings and pictures have an own form."""
    if target.mode in REWRITTEN:
        rewrite(body, target)
        return
    for name in ("model", "stream"):
        body.pop(name, None)
    if "requests" in body:
        name_requests(body, target)


def name_requests(body: Body, target: Target) -> None:
    """Write the model's name into each request of a native `batchEmbedContents`."""
    requests = top.plain(body, "requests")
    if isinstance(requests, list):
        name = f"models/{target.model.removeprefix('models/')}"
        body["requests"] = [
            {**entry, "model": name} if isinstance(entry, dict) else entry
            for entry in requests
        ]


GEMINI = Provider(
    type_id=24,
    name="Google Gemini",
    base_url=ADDRESS,
    url=url,
    speaks=(Dialect.GEMINI,),
    modes=CHATTING | REWRITTEN,
    authorize=authorize,
    prepare=prepare,
    unwrap=unwrap,
    rewrites=REWRITTEN,
    models_path="/v1beta/models",
    models=GEMINI_MODELS,
)
