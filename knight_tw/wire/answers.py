"""JSON that a provider sent: reading it without trust, changing it without loss.

Here is also the whole answer of the kinds of work of which only the usage and the
model's name matter: embeddings, moderations, rerank, images.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import field, frozen
from msgspec import Raw

from knight_tw.errors import (
    UPSTREAM_TYPE,
    BadUpstreamBody,
    EmptyAnswer,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import top
from knight_tw.wire.failure import find_error
from knight_tw.wire.usage import Completion, read_usage

Wrapping = Callable[[dict[str, Any]], dict[str, Any]]
"""An object in the provider's own wrapping to the OpenAI object in it."""

RaisedError = Callable[[Mapping[str, Any]], tuple[int, str] | None]
"""An error that a provider hides in a 200 answer: its status and message."""

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder()


@frozen
class Reading:
    """How a provider's answers to one attempt are read; all defaults are OpenAI's form.

    Attributes:
        complete: Completes a `usage` object with the provider's own spelling, in place.
        raised_error: Reads an error that the provider hides in a 200 answer.
        unwrap: Reads the OpenAI object, or chunk, out of the provider's wrapping.
        finish_reasons: The provider's own finish reasons to OpenAI's, or to `error`.
    """

    complete: Completion | None = None
    raised_error: RaisedError | None = None
    unwrap: Wrapping | None = None
    finish_reasons: Mapping[str, str] = field(factory=dict)

    @property
    def usual(self) -> bool:
        """True when a good answer is read as OpenAI's."""
        return not (self.complete or self.unwrap or self.finish_reasons)


AS_OPENAI = Reading()

ERROR_REASON = "error"
"""The finish reason, in a provider's table of them, of an answer that failed."""

SMALL = 4096
"""Bytes from which on a member is no error and no usage."""

UNREADABLE = "the upstream's answer cannot be read"
EMPTY = "the upstream's answer is empty"


def unreadable(body: bytes) -> BadUpstreamBody:
    """The error for bytes that are no answer; only logs see their beginning."""
    return BadUpstreamBody(UNREADABLE, detail=body[:200].decode(errors="replace"))


def decode_object(body: bytes) -> dict[str, Any]:
    """The object in a provider's JSON; a list of one counts as what is in it.

    Raises:
        BadUpstreamBody: it is not JSON, or no object.
    """
    try:
        value = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(body) from None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if isinstance(value, dict):
        return value
    raise unreadable(body)


def read_members(body: bytes) -> dict[str, Raw]:
    """The members of a provider's JSON object, undecoded.

    Raises:
        BadUpstreamBody: it is not JSON, or no object.
    """
    try:
        return _MEMBERS.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(body) from None


def objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a list; none when it is no list."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def replaced(body: bytes, changes: Mapping[str, Any]) -> bytes:
    """A JSON object's bytes with these members replaced, all others as they are."""
    members: dict[str, Any] = dict(read_members(body))
    members.update(changes)
    return top.encode(members)


def refuse_errors(
    answer: Mapping[str, Any], raised_error: RaisedError | None = None
) -> None:
    """Raise what a 200 answer or a stream event reports instead of an answer.

    Raises:
        UpstreamRefused: `answer` is an error, in one of the common shapes or in the
            provider's own.
    """
    hidden = raised_error(answer) if raised_error is not None else None
    if hidden is not None:
        status, message = hidden
        raise UpstreamRefused(
            message, status=status, code="", type=UPSTREAM_TYPE, upstream=True
        )
    found = find_error(answer)
    if found is not None:
        raise found


def rename_reasons(answer: dict[str, Any], names: Mapping[str, str]) -> None:
    """Give the choices OpenAI's finish reasons for the provider's own, in place.

    Raises:
        UpstreamRefused: a reason stands for a failure.
    """
    for choice in objects(answer.get("choices")):
        reason = choice.get("finish_reason")
        if not isinstance(reason, str) or reason not in names:
            continue
        if names[reason] == ERROR_REASON:
            raise UpstreamRefused(
                f"the upstream ended with {reason}",
                status=502,
                code="bad_response",
                type=UPSTREAM_TYPE,
                upstream=True,
                retryable=True,
            )
        choice["finish_reason"] = names[reason]


@frozen
class Plain:
    """An answer's bytes for the client and what it reports, None when nothing."""

    body: bytes
    usage: Usage | None


def read_plain(
    body: bytes,
    *,
    model: str | None = None,
    reading: Reading = AS_OPENAI,
) -> Plain:
    """The answer in a 200 body of which only `usage` and `model` are looked at.

    Args:
        model: The name to show; None leaves the provider's.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is not JSON.
    """
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    if reading.unwrap is not None:
        return _read_wrapped(body, model, reading, reading.unwrap)
    if body.lstrip().startswith(b"["):
        refuse_errors(decode_object(body), reading.raised_error)
    answer = _small_members(body)
    refuse_errors(answer, reading.raised_error)
    usage = read_usage(answer.get("usage"), reading.complete)
    if model is not None and "model" in answer:
        body = replaced(body, {"model": model})
    return Plain(body, usage)


def _read_wrapped(
    body: bytes, model: str | None, reading: Reading, unwrap: Wrapping
) -> Plain:
    """The same for an answer in a form of the provider's own."""
    answer = decode_object(body)
    refuse_errors(answer, reading.raised_error)
    own = unwrap(answer)
    usage = read_usage(own.get("usage"), reading.complete)
    if model is not None and "model" in own:
        own["model"] = model
    return Plain(top.encode(own), usage)


def _small_members(body: bytes) -> dict[str, Any]:
    """The decoded members, without those that can only be the answer itself."""
    members = read_members(body)
    try:
        return {
            name: _ANY.decode(raw)
            for name, raw in members.items()
            if len(memoryview(raw)) < SMALL
        }
    except (msgspec.DecodeError, RecursionError):
        raise unreadable(body) from None
