"""The registry of providers: channel type ids to values.

To add one: write its file, name its value in `ALL`.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from attrs import evolve

from knight_tw.providers import openai_compatible, rerank
from knight_tw.providers.advanced_custom import ADVANCED_CUSTOM
from knight_tw.providers.ali import ALI
from knight_tw.providers.anthropic import ANTHROPIC
from knight_tw.providers.aws import AWS
from knight_tw.providers.azure import AZURE
from knight_tw.providers.baidu_v2 import BAIDU_V2
from knight_tw.providers.cloudflare import CLOUDFLARE_AI
from knight_tw.providers.cohere import COHERE
from knight_tw.providers.custom import CUSTOM
from knight_tw.providers.deepseek import DEEPSEEK
from knight_tw.providers.gateways import NEW_API, SUB2API
from knight_tw.providers.gemini import GEMINI
from knight_tw.providers.jina import JINA
from knight_tw.providers.minimax import MINIMAX
from knight_tw.providers.mistral import MISTRAL
from knight_tw.providers.moka import MOKA
from knight_tw.providers.moonshot import MOONSHOT
from knight_tw.providers.openai import OPENAI
from knight_tw.providers.openrouter import OPENROUTER
from knight_tw.providers.perplexity import PERPLEXITY
from knight_tw.providers.provider import Provider, Target, Wrapping
from knight_tw.providers.siliconflow import SILICONFLOW
from knight_tw.providers.vertex import VERTEX
from knight_tw.providers.volcengine import VOLCENGINE
from knight_tw.providers.xai import XAI
from knight_tw.providers.zhipu import ZHIPU_V4
from knight_tw.records import Channel, Dialect, Mode
from knight_tw.wire.answers import Reading

ALL: tuple[Provider, ...] = (
    OPENAI,
    AZURE,
    CUSTOM,
    *openai_compatible.ALL,
    ALI,
    OPENROUTER,
    MOONSHOT,
    ZHIPU_V4,
    PERPLEXITY,
    MINIMAX,
    CLOUDFLARE_AI,
    SILICONFLOW,
    MISTRAL,
    DEEPSEEK,
    MOKA,
    VOLCENGINE,
    BAIDU_V2,
    XAI,
    ADVANCED_CUSTOM,
    SUB2API,
    NEW_API,
    ANTHROPIC,
    GEMINI,
    VERTEX,
    AWS,
    COHERE,
    JINA,
)

_BY_TYPE: Mapping[int, Provider] = {provider.type_id: provider for provider in ALL}

_ENDPOINTS: Mapping[str, Dialect] = {
    "openai": Dialect.CHAT,
    "openai-response": Dialect.RESPONSES,
    "anthropic": Dialect.CLAUDE,
    "gemini": Dialect.GEMINI,
}


def find(type_id: int) -> Provider | None:
    """The provider of a channel type, None for types that have none."""
    return _BY_TYPE.get(type_id)


def for_channel(channel: Channel) -> Provider | None:
    """The provider of a channel; None when its type is unknown here.

    Forks use the ids from 58 on for types of their own, so a row of one of these types
    that lacks what the type cannot do without counts as unknown.
    """
    provider = find(channel.type)
    if not channel.base_url and provider in (SUB2API, NEW_API):
        return None
    if provider is ADVANCED_CUSTOM and not channel.settings.get("advanced_custom"):
        return None
    return provider


def reading(provider: Provider, target: Target) -> Reading:
    """How the answers of one attempt are read."""
    known = _plain_reading(provider)
    if provider.unwrap is None and target.mode is not Mode.RERANK:
        return known
    return evolve(known, unwrap=_unwrap(provider, target))


@lru_cache(256)
def _plain_reading(provider: Provider) -> Reading:
    """The reading of answers that come in OpenAI's layout."""
    return Reading(
        complete=provider.read_usage,
        raised_error=provider.raised_error,
        finish_reasons=provider.finish_reasons,
    )


def _unwrap(provider: Provider, target: Target) -> Wrapping | None:
    """The provider's own wrapping; of a reranking every answer gets one layout."""
    own = None if provider.unwrap is None else provider.unwrap(target)
    if target.mode is not Mode.RERANK:
        return own

    def ranked(answer: dict[str, Any]) -> dict[str, Any]:
        return rerank.to_client(answer if own is None else own(answer), target)

    return ranked


def dialects(
    provider: Provider,
    channel: Channel,
    model: str,
    path: str = "",
    options: Mapping[str, Any] | None = None,
) -> tuple[Dialect, ...]:
    """The dialects that a channel takes natively, the preferred one first.

    A channel's `supported_endpoints` can take some away; the rest is reached by
    conversion. Empty: the channel does not serve this request at all.

    Args:
        model: The upstream's model name.
        path: The client's request path.
        options: `Target.options`.
    """
    spoken = provider.speaks
    if provider.speaks_for is not None:
        spoken = provider.speaks_for(channel, model, path, options or {})
    listed = channel.settings.get("supported_endpoints")
    if not isinstance(listed, list) or not listed:
        return spoken
    kept = {_ENDPOINTS[name] for name in listed if name in _ENDPOINTS}
    return tuple(dialect for dialect in spoken if dialect in kept)
