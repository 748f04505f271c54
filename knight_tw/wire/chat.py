"""OpenAI chat completions: what the gateway reads of a request and of a whole answer.

Requests are read at their top level only (`top`); an answer is decoded into the few
members that matter here and goes on as the bytes it came in, unless the model's name
or its layout has to change. Legacy text completions answer in the same layout, with
`text` in the place of `message`. Streams are `chat_pass`'s matter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from functools import partial
from typing import Any

import msgspec
from attrs import define
from msgspec import Struct

from knight_tw.errors import EmptyAnswer, InvalidRequest
from knight_tw.records import Usage
from knight_tw.wire import top
from knight_tw.wire.answers import (
    AS_OPENAI,
    EMPTY,
    Reading,
    decode_object,
    refuse_errors,
    rename_reasons,
    replaced,
    unreadable,
)
from knight_tw.wire.produced import Produced
from knight_tw.wire.usage import Reported, read_usage

MOST_TOKENS = 1_073_741_823
MOST_CHOICES = 128
CONTEXT_SIZES = ("low", "medium", "high")

_CHECKED = frozenset(
    (
        *("max_tokens", "max_completion_tokens", "n"),
        *("web_search_options", "stream_options"),
    )
)
"""Members with bounds; most requests have none of them."""


def validate(body: MutableMapping[str, Any]) -> None:
    """Refuse what no provider can answer (relay specification, section 6).

    Raises:
        InvalidRequest: `param` names the member at fault.
    """
    if not top.begins(body, "messages", b"[{"):  # it nearly always does
        _require_messages(body)
    if not _CHECKED.isdisjoint(body):
        output_limit(body)
        choice_count(body)
        search_context_size(body)
        include_usage(body)


def _require_messages(body: MutableMapping[str, Any]) -> None:
    if not top.filled(body, "messages"):
        if not (top.filled(body, "prefix") or top.filled(body, "suffix")):
            raise InvalidRequest("messages is required", param="messages")
    elif not top.is_list(body, "messages"):
        raise InvalidRequest("messages must be a list", param="messages")


def output_limit(body: MutableMapping[str, Any]) -> int | None:
    """The most completion tokens the client asks for, None when it sets no limit."""
    older = top.read_whole(body, "max_tokens", 0, MOST_TOKENS)
    newer = top.read_whole(body, "max_completion_tokens", 0, MOST_TOKENS)
    return older if newer is None else newer


def choice_count(body: MutableMapping[str, Any]) -> int:
    """How many answers the client asks for at once."""
    number = top.read_whole(body, "n", 1, MOST_CHOICES)
    return 1 if number is None else number


def include_usage(body: MutableMapping[str, Any]) -> bool | None:
    """`stream_options.include_usage`; None when the client says nothing about it."""
    options = top.read_object(body, "stream_options")
    if options is None:
        return None
    asked = options.get("include_usage")
    if asked is None or isinstance(asked, bool):
        return asked
    name = "stream_options.include_usage"
    raise InvalidRequest(f"{name} must be true or false", param=name)


def search_context_size(body: MutableMapping[str, Any]) -> str | None:
    """The size of a web search, `medium` by default; None when none is asked for."""
    options = top.read_object(body, "web_search_options")
    if options is None:
        return None
    size = options.get("search_context_size")
    if size is None:
        return "medium"
    if size in CONTEXT_SIZES:
        return str(size)
    name = "web_search_options.search_context_size"
    raise InvalidRequest(f"{name} must be low, medium or high", param=name)


class Message(Struct, gc=False):
    """What counts of a message or a delta; any of it may be missing or odd."""

    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None
    audio: Any = None

    def add_to(self, produced: Produced) -> None:
        """Hand everything that counts to `produced`."""
        produced.add_content(self.reasoning_content or self.reasoning)
        produced.add_content(self.content)
        produced.add_content(self.refusal)
        produced.add_calls(self.tool_calls)
        produced.add_call(self.function_call)


class _Choice(Struct, gc=False):
    message: Message | None = None
    text: Any = None
    finish_reason: Any = None


class _Whole(Struct, gc=False):
    id: Any = None
    model: Any = None
    choices: list[_Choice] | None = None
    usage: Any = None
    error: Any = None
    timings: Any = None


_WHOLE = msgspec.json.Decoder(_Whole)


class _Object(Struct, gc=False):
    """Any object; what is in it is skipped."""


class _Skipped(Struct, gc=False):
    message: _Object | None = None
    finish_reason: str | None = None


class _Usual(Struct, gc=False):
    """An answer that reports its usage, and nothing else of interest."""

    choices: list[_Skipped]
    usage: Reported
    id: Any = None
    model: Any = None
    error: None = None
    timings: None = None


_USUAL = msgspec.json.Decoder(_Usual)


@define(eq=False)
class Answer:
    """A whole answer.

    Attributes:
        body: The bytes for the client.
        usage: What the provider reported, None when nothing or only zeros.
        produced: What it consists of.
        finish_reasons: Of each choice, empty text when missing.
    """

    body: bytes
    usage: Usage | None
    produced: Produced
    finish_reasons: tuple[str, ...]


def read_answer(
    body: bytes,
    *,
    model: str | None = None,
    identity: str = "",
    reading: Reading = AS_OPENAI,
    reshape: Sequence[Callable[[dict[str, Any]], None]] = (),
) -> Answer:
    """The answer in a 200 body of a chat or completions call.

    Args:
        model: The name to show; None leaves the provider's.
        identity: The answer's id when the provider gives none.
        reshape: Changes of the layout, applied in place in this order.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is no such answer.
    """
    if reading.usual and not reshape:
        usual = _read_usual(body, model, identity)
        if usual is not None:
            return usual
    body, whole = _open(body, reading)
    usage = read_usage(with_timings(whole.usage, whole.timings), reading.complete)
    choices = whole.choices or []
    if not choices and usage is None:
        raise EmptyAnswer(EMPTY)
    produced = Produced()
    _collect(choices, produced)
    changes = {}
    if model is not None and whole.model != model:
        changes["model"] = model
    if identity and not whole.id:
        changes["id"] = identity
    reasons = tuple(reason_text(choice.finish_reason) for choice in choices)
    return Answer(_changed(body, changes, reshape), usage, produced, reasons)


def _read_usual(body: bytes, model: str | None, identity: str) -> Answer | None:
    """The answer when it goes on as it is and reports its usage, which is nearly
    always; else None. What was produced is then read only if somebody asks."""
    try:
        found = _USUAL.decode(body)
        if not body.isascii():
            body.decode()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if not found.choices or (identity and not found.id):
        return None
    if model is not None and found.model != model:
        return None
    if b"\\" in body and (b"\\ud" in body or b"\\uD" in body):
        # Surrogates, which may be broken: decoding the texts would tell.
        return None
    usage = found.usage.usage()
    if usage is None:
        return None
    reasons = tuple([choice.finish_reason or "" for choice in found.choices])
    return Answer(body, usage, Produced(later=partial(_collect_from, body)), reasons)


def _collect_from(body: bytes, produced: Produced) -> None:
    whole = _decode(body)
    if whole is not None:
        _collect(whole.choices or (), produced)


def _collect(choices: Iterable[_Choice], produced: Produced) -> None:
    for choice in choices:
        produced.add_content(choice.text)
        if choice.message is not None:
            choice.message.add_to(produced)


def _open(body: bytes, reading: Reading) -> tuple[bytes, _Whole]:
    """The body in OpenAI's form and what matters of it; errors in it are raised."""
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    if reading.unwrap is not None:
        body = top.encode(reading.unwrap(decode_object(body)))
    whole = _decode(body)
    if whole is None or whole.error or not whole.choices:
        refuse_errors(decode_object(body), reading.raised_error)
        if whole is None:
            raise unreadable(body)
    names = reading.finish_reasons
    if names and any(
        reason_text(c.finish_reason) in names for c in whole.choices or ()
    ):
        answer = decode_object(body)
        rename_reasons(answer, names)
        body = top.encode(answer)
        whole = _WHOLE.decode(body)
    return body, whole


def _decode(body: bytes) -> _Whole | None:
    """The members that matter; None when one has an unexpected type."""
    try:
        return _WHOLE.decode(body)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(body) from None


def _changed(
    body: bytes,
    changes: Mapping[str, Any],
    reshape: Sequence[Callable[[dict[str, Any]], None]],
) -> bytes:
    if reshape:
        answer = {**decode_object(body), **changes}
        for change in reshape:
            change(answer)
        return top.encode(answer)
    return replaced(body, changes) if changes else body


def with_timings(usage: Any, timings: Any) -> Any:
    """`usage` with llama.cpp's count of cached tokens, unless it has one itself."""
    cached = timings.get("cache_n") if isinstance(timings, dict) else None
    if not cached or not isinstance(usage, dict):
        return usage
    details = usage.get("prompt_tokens_details")
    if not isinstance(details, dict):
        details = {}
    return usage | {"prompt_tokens_details": {"cached_tokens": cached} | details}


def reason_text(reason: Any) -> str:
    """A finish reason as text, empty when there is none."""
    return reason if isinstance(reason, str) else ""
