"""What a provider is: a value that knows how to address, sign, prepare and read one
channel type. Source of the facts: the providers specification, sections 1 to 7.

A `Target` is one attempt's destination. The functions of a `Provider` are pure: they
get the target and give text, headers or a changed body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from attrs import define, field, frozen

from knight_tw.convert.context import Context
from knight_tw.errors import KnightError
from knight_tw.records import Channel, Dialect, Head, Mode
from knight_tw.wire.sse import Event

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
        client_model: The model's name as the client sent it; empty when not told.
        token: The credential that the provider gave for the key (`exchange`).
        asked: Top level of the client's own body, before any change.
        created: Unix seconds, for answers that must bear a date.
        dropped: The loss report; `prepare` appends names of the client's fields.
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
    client_model: str = ""
    token: str = ""
    asked: Mapping[str, Any] = field(factory=dict)
    created: int = 0
    dropped: list[str] = field(factory=list)


SpeaksFor = Callable[[Channel, str, str, Mapping[str, Any]], tuple[Dialect, ...]]
"""(channel, upstream's model name, request path, options) to native dialects."""

Wrapping = Callable[[dict[str, Any]], dict[str, Any]]
"""An object in the provider's own wrapping to the OpenAI object in it."""


Sign = Callable[[Target, str, str, Headers, bytes, float], Headers]
"""(attempt, method, URL, headers, body, unix seconds) to the headers as they are sent.
"""


class ChunkStream(Protocol):
    """A provider's events to chat chunks, as the `StreamToX` of a conversion."""

    finished: bool
    error: KnightError | None

    def feed(self, event: Event) -> list[dict[str, Any]]:
        """The chunks that this event leads to; none after the end or an error."""
        ...

    def close(self) -> list[dict[str, Any]]:
        """What completes an answer that ended without its terminal event."""
        ...


@frozen(eq=False)
class Conversion:
    """A provider's own chat format beside the middle form; functions of `convert`.

    Attributes:
        media_urls: The downloads that `request_from_x` needs beforehand.
    """

    request_from_x: Callable[[Mapping[str, Any], Context], dict[str, Any]]
    response_to_x: Callable[[Mapping[str, Any], Context], dict[str, Any]]
    stream_to_x: Callable[[Context], ChunkStream]
    media_urls: Callable[[Mapping[str, Any], Context], list[str]]


@frozen(eq=False)
class TokenRequest:
    """A POST request that exchanges a key for a token."""

    url: str
    headers: Headers
    body: bytes = field(repr=False)


@frozen(eq=False)
class Grant:
    """A token and the seconds it is good for."""

    token: str = field(repr=False)
    seconds: float


SignRsa = Callable[[str, bytes], bytes]
"""(private key as PEM, text) to an RSA signature with SHA-256 and PKCS #1 padding.

Raises `ValueError` when the key cannot be read."""


@frozen(eq=False)
class Exchange:
    """How the key of a channel becomes a token that calls are authorized by.

    Attributes:
        name: The same for the same channel and key; it holds no secret.
        request: The request at a moment (unix seconds).
        read: The grant in the body of its answer, received at 2xx.
    """

    name: str
    request: Callable[[float, SignRsa], TokenRequest]
    read: Callable[[bytes], Grant]


def context_of(target: Target) -> Context:
    """What a conversion in `prepare` or `unwrap` gets besides the body."""
    return Context(
        target.model,
        target.channel.type,
        target.options,
        target.channel.settings,
        created=target.created,
        dropped=target.dropped,
    )


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
        conversion: The provider's own chat format, for an attempt in the dialect CHAT
            whose body is the middle form; None when it is spoken to in `dialect`.
        rewrites: Kinds of work whose bodies `prepare` brings into the provider's own
            form; they cannot be passed through.
        sign: Signs the request in its final form, overridden headers included.
        exchange: For a channel and key, how a token is got; None when the key itself
            authorizes.
        repeats_usage: Claude's streams leave out at the end what `message_start` has
            reported of the usage; clients get it there again.
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
    conversion: Callable[[Target], Conversion | None] | None = None
    rewrites: frozenset[Mode] = frozenset()
    sign: Sign | None = None
    exchange: Callable[[Channel, str], Exchange | None] | None = None
    repeats_usage: bool = False
