"""Anthropic (14): Claude's own API (providers specification, 7.3a)."""

from __future__ import annotations

from urllib.parse import parse_qs

from knight_tw.providers.addresses import (
    CHATTING,
    CLAUDE_PATHS,
    channel_root,
    path_of,
)
from knight_tw.providers.claude_models import CLAUDE_MODELS
from knight_tw.providers.credentials import claude_headers
from knight_tw.providers.openai_family import write_model
from knight_tw.providers.provider import Headers, Provider, Target
from knight_tw.records import Dialect

ADDRESS = "https://api.anthropic.com"


def url(target: Target) -> str:
    """The messages URL; the beta form when the client or the channel asks for it."""
    address = channel_root(target.channel, ADDRESS) + path_of(target, CLAUDE_PATHS)
    asked = parse_qs(target.query).get("beta", [""])[0] == "true"
    beta = asked or target.channel.settings.get("claude_beta_query") is True
    return f"{address}?beta=true" if beta else address


def authorize(target: Target) -> Headers:
    """The key, the version and the beta features."""
    return [("x-api-key", target.key), *claude_headers(target)]


ANTHROPIC = Provider(
    type_id=14,
    name="Anthropic",
    base_url=ADDRESS,
    url=url,
    speaks=(Dialect.CLAUDE,),
    modes=CHATTING,
    authorize=authorize,
    prepare=write_model,
    models=CLAUDE_MODELS,
)
