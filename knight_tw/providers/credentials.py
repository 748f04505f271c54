"""Credential headers that several providers share."""

from __future__ import annotations

from knight_tw.providers.provider import Headers, Target, bearer
from knight_tw.records import Dialect

ANTHROPIC_VERSION = "2023-06-01"


def claude_headers(target: Target) -> Headers:
    """What a Claude endpoint wants beside the credential: version and beta marks."""
    version = target.head.get("anthropic-version")
    if not version:
        version = str(
            target.options.get("claude.anthropic_version") or ANTHROPIC_VERSION
        )
    headers = [("anthropic-version", version)]
    beta = target.head.get("anthropic-beta")
    if beta:
        headers.append(("anthropic-beta", beta))
    return headers


def by_dialect(target: Target) -> Headers:
    """The key where the spoken dialect looks for it.

    OpenAI paths take a Bearer. The Claude endpoints of other providers read either that
    or `x-api-key`, so both are sent; Gemini's read `x-goog-api-key`.
    """
    if target.dialect is Dialect.CLAUDE:
        return [*bearer(target), ("x-api-key", target.key), *claude_headers(target)]
    if target.dialect is Dialect.GEMINI:
        return [("x-goog-api-key", target.key)]
    return bearer(target)


def with_organization(target: Target) -> Headers:
    """`Authorization` and, when the channel has one, `OpenAI-Organization`."""
    headers = bearer(target)
    if target.channel.organization:
        headers.append(("OpenAI-Organization", target.channel.organization))
    return headers
