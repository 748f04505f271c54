"""Credential headers that several providers share."""

from __future__ import annotations

from collections.abc import Mapping

from knight_tw.providers.provider import Headers, Target, bearer
from knight_tw.records import Dialect

ANTHROPIC_VERSION = "2023-06-01"
BETA = "anthropic-beta"


def claude_headers(target: Target) -> Headers:
    """What a Claude endpoint wants beside the credential: version and beta marks.

    And what the option `claude.model_headers_settings` has for the model.
    """
    headers = [("anthropic-version", claude_version(target))]
    beta = claude_betas(target)
    if beta:
        headers.append((BETA, ",".join(beta)))
    for name, values in _model_headers(target).items():
        if name not in (BETA, "anthropic-version"):
            headers.append((name, ",".join(dict.fromkeys(values))))
    return headers


def claude_version(target: Target) -> str:
    """The API version: the client's, else the option's."""
    asked = target.head.get("anthropic-version")
    option = target.options.get("claude.anthropic_version")
    return asked or str(option or ANTHROPIC_VERSION)


def claude_betas(target: Target) -> list[str]:
    """The beta features asked for: the client's, then the option's, each once."""
    asked = target.head.get(BETA).split(",")
    marks = [mark.strip() for mark in asked + _model_headers(target).get(BETA, [])]
    return [mark for mark in dict.fromkeys(marks) if mark]


def _model_headers(target: Target) -> dict[str, list[str]]:
    """The option's headers for the model, by either of its names; names lower-cased."""
    table = target.options.get("claude.model_headers_settings")
    table = table if isinstance(table, Mapping) else {}
    found = table.get(target.client_model) or table.get(target.model)
    headers = found if isinstance(found, Mapping) else {}
    return {
        str(name).lower(): [str(value) for value in values]
        for name, values in headers.items()
        if isinstance(values, list | tuple) and values
    }


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
