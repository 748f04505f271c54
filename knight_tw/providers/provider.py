"""What a provider is: a value that knows how to address, sign, prepare and read one
channel type. Source of the facts: the providers specification, sections 1 to 7.

A `Target` is one attempt's destination. The functions of a `Provider` are pure: they
get the target and give text, headers or a changed body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field, frozen

from knight_tw.records import Channel, Dialect, Head, Mode

Body = dict[str, Any]
"""Top level of a JSON body: untouched members are `msgspec.Raw`, so that what nobody
looked at keeps its bytes; changed ones are plain values."""

Headers = list[tuple[str, str]]


@define(eq=False)
class Target:
    """Where one attempt goes.

    Attributes:
        dialect: What the upstream is spoken to in for this attempt.
        model: The upstream's model name (mapped, suffix removed).
        key: The credential chosen for this attempt.
        path: The request path the client used, `/v1/...` (playground and aliases
            rewritten), without the query.
        query: The client's raw query string.
        options: Values of administrator options that providers read, by key.
    """

    channel: Channel
    key: str
    mode: Mode
    dialect: Dialect
    model: str
    stream: bool
    head: Head
    path: str
    query: str = ""
    options: Mapping[str, Any] = field(factory=dict)


SpeaksFor = Callable[[Channel, str, str, Mapping[str, Any]], tuple[Dialect, ...]]
"""(channel, upstream's model name, request path, options) to native dialects."""

Wrapping = Callable[[dict[str, Any]], dict[str, Any]]
"""An object in the provider's own wrapping to the OpenAI object in it."""


def no_change(body: Body, target: Target) -> None:
    """The body is sent as it is."""


def bearer(target: Target) -> Headers:
    """`Authorization: Bearer KEY`."""
    return [("Authorization", f"Bearer {target.key}")]


@frozen(eq=False)
class Provider:
    """One channel type as data.

    Attributes:
        speaks: The dialects that the provider takes natively, in order of preference.
        modes: The kinds of work it has; another is `unsupported_endpoint`.
        url: Absolute URL of an attempt, query string included.
        authorize: The credential headers.
        prepare: Changes the outgoing body in place (field renames and removals).
        read_usage: Completes an OpenAI `usage` object with the provider's own spelling,
            in place.
        stream_options: Whether `stream_options` may be sent.
        raised_error: Reads an error out of a 200 answer's JSON object: (status,
            message) or None.
        models: Default model list for the console.
        models_path: Path of the model list for discovery, empty when there is none.
        speaks_for: The dialects when they depend on the channel, the upstream's model
            name or the request path; see `dialects` of the registry.
        unwrap: For an attempt whose answers come in the provider's own wrapping: what
            reads the OpenAI object, or the stream chunk, out of it. None for others.
        finish_reasons: The provider's own finish reasons to OpenAI's; `error` stands
            for a failed answer.
    """

    type_id: int
    name: str
    base_url: str
    url: Callable[[Target], str]
    speaks: tuple[Dialect, ...] = (Dialect.CHAT,)
    modes: frozenset[Mode] = frozenset(
        {Mode.CHAT, Mode.COMPLETIONS, Mode.EMBEDDINGS, Mode.MODERATIONS}
    )
    authorize: Callable[[Target], Headers] = bearer
    prepare: Callable[[Body, Target], None] = no_change
    read_usage: Callable[[dict[str, Any]], None] | None = None
    stream_options: bool = False
    raised_error: Callable[[Mapping[str, Any]], tuple[int, str] | None] | None = None
    models: tuple[str, ...] = ()
    models_path: str = "/v1/models"
    speaks_for: SpeaksFor | None = None
    unwrap: Callable[[Target], Wrapping | None] | None = None
    finish_reasons: Mapping[str, str] = field(factory=dict)
