"""Gemini between equal dialects: what the gateway reads of requests and answers.

Requests are read at their top level only, in both spellings of the names. An answer is
decoded into the few members that matter and goes on as the bytes it came in, unless the
model's name has to change. A stream is `data: {partial answer}` events without a
terminal one: it is over when every candidate has a `finishReason` and the usage is
known, or when the connection ends.
"""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import msgspec
from msgspec import Raw, Struct

from knight_tw.errors import EmptyAnswer, InvalidRequest
from knight_tw.records import Usage
from knight_tw.wire import sse, top
from knight_tw.wire.answers import (
    EMPTY,
    Plain,
    decode_object,
    refuse_errors,
    replaced,
    unreadable,
)
from knight_tw.wire.chat import MOST_CHOICES, MOST_TOKENS, Answer
from knight_tw.wire.gemini_usage import (
    counts,
    read_metadata,
    searches_in,
    to_metadata,
)
from knight_tw.wire.produced import Produced
from knight_tw.wire.sse import Event

Body = MutableMapping[str, Any]

NEEDED: Mapping[str, tuple[str, ...]] = {
    "generateContent": ("contents",),
    "streamGenerateContent": ("contents",),
    "countTokens": ("contents", "generateContentRequest", "generate_content_request"),
    "embedContent": ("content",),
    "batchEmbedContents": ("requests",),
    "predict": ("instances",),
}
"""Members of which an action needs one."""


def validate(body: Body, action: str = "generateContent") -> None:
    """Refuse what no provider can answer (relay specification, section 6).

    Args:
        action: What stands behind the colon in the path.

    Raises:
        InvalidRequest: `param` names the member at fault.
    """
    needed = NEEDED.get(action, ("contents", "requests"))
    if not any(top.filled(body, name) for name in needed):
        raise InvalidRequest(f"{needed[0]} is required", param=needed[0])
    output_limit(body)
    choice_count(body)


def output_limit(body: Body) -> int | None:
    """The most tokens of an answer, None when the client sets no limit."""
    return _whole(body, "maxOutputTokens", "max_output_tokens", 0, MOST_TOKENS)


def choice_count(body: Body) -> int:
    """How many candidates the client asks for."""
    number = _whole(body, "candidateCount", "candidate_count", 0, MOST_CHOICES)
    return number or 1


def sample_count(body: Body) -> int:
    """How many pictures a `predict` request asks for."""
    parameters = top.read_object(body, "parameters") or {}
    number = parameters.get("sampleCount")
    if number is None or number == 0:
        return 1
    if isinstance(number, bool) or not isinstance(number, int | float):
        raise InvalidRequest(
            "parameters.sampleCount must be a whole number",
            param="parameters.sampleCount",
        )
    return min(max(int(number), 1), MOST_CHOICES)


def declines_thinking(body: Body) -> bool:
    """True when the client asks for no thinking, which may have its own price."""
    config = _config(body)
    thinking = config.get("thinkingConfig", config.get("thinking_config"))
    if not isinstance(thinking, Mapping):
        return False
    budget = thinking.get("thinkingBudget", thinking.get("thinking_budget"))
    return budget == 0 and not isinstance(budget, bool)


def _config(body: Body) -> dict[str, Any]:
    for name in ("generationConfig", "generation_config"):
        config = top.read_object(body, name)
        if config is not None:
            return config
    return {}


def _whole(body: Body, name: str, snake: str, least: int, most: int) -> int | None:
    config = _config(body)
    used = name if config.get(name) is not None else snake
    try:
        return top.read_whole(config, used, least, most)
    except InvalidRequest as error:
        where = f"generationConfig.{used}"
        message = f"generationConfig.{error.message}"
        raise InvalidRequest(message, param=where) from None


class _Call(Struct, gc=False, rename="camel"):
    name: Any = None
    args: Raw = Raw()
    partial_args: Raw = Raw()


class _Part(Struct, gc=False, rename="camel"):
    text: Any = None
    function_call: _Call | None = None


class _Content(Struct, gc=False):
    parts: list[_Part] | None = None


class _Candidate(Struct, gc=False, rename="camel"):
    index: Any = 0
    content: _Content | None = None
    finish_reason: Any = None
    grounding_metadata: Any = None

    def add_to(self, produced: Produced) -> bool:
        """Hand everything that counts to `produced`; True when there was a part."""
        parts = self.content.parts if self.content is not None else None
        for part in parts or ():
            if isinstance(part.text, str):
                produced.add(part.text)
            call = part.function_call
            if call is not None:
                if isinstance(call.name, str):
                    produced.add(call.name)
                produced.add(bytes(call.args).decode(errors="replace"))
                produced.add(bytes(call.partial_args).decode(errors="replace"))
        return bool(parts)


class _Answer(Struct, gc=False, rename="camel"):
    candidates: list[_Candidate] | None = None
    usage_metadata: Any = None
    model_version: Any = None
    response_id: Any = None
    prompt_feedback: Any = None
    error: Any = None


_ANSWER = msgspec.json.Decoder(_Answer)


def _decode(body: bytes) -> _Answer | None:
    """The members that matter; None when one has an unexpected type."""
    try:
        return _ANSWER.decode(body)
    except msgspec.ValidationError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise unreadable(body) from None


def read_answer(body: bytes, *, model: str | None = None) -> Answer:
    """The answer in a 200 body of `generateContent`.

    A blocked prompt is an answer of its own (`promptFeedback`).

    Args:
        model: The name to show; None leaves the provider's.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is no such answer.
    """
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    answer = _decode(body)
    if answer is None or answer.error or not answer.candidates:
        refuse_errors(decode_object(body))
        if answer is None:
            raise unreadable(body)
    candidates = answer.candidates or []
    produced = Produced()
    for candidate in candidates:
        candidate.add_to(produced)
    searches = sum(searches_in(c.grounding_metadata) for c in candidates)
    usage = read_metadata(answer.usage_metadata, searches)
    if not candidates and usage is None and not answer.prompt_feedback:
        raise EmptyAnswer(EMPTY)
    if model is not None and answer.model_version not in (None, model):
        body = replaced(body, {"modelVersion": model})
    reasons = tuple(_text(candidate.finish_reason) for candidate in candidates)
    return Answer(body, usage, produced, reasons)


def read_other(body: bytes) -> Plain:
    """The answer of any other action: the bytes as they are, and what they report.

    Raises:
        UpstreamRefused: the body reports an error.
        EmptyAnswer: there is nothing in it.
        BadUpstreamBody: it is not JSON.
    """
    if not body or body.isspace():
        raise EmptyAnswer(EMPTY)
    answer = _decode(body)
    if answer is None or answer.error:
        refuse_errors(decode_object(body))
    metadata = answer.usage_metadata if answer is not None else None
    return Plain(body, read_metadata(metadata))


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


class GeminiPass:
    """The events of a Gemini stream to the bytes for a Gemini client.

    Args:
        model: The name to show; None leaves the provider's.
        candidates: How many the client asked for.

    Attributes:
        began: There was content or a finish reason.
        finished: Every candidate has ended and the usage is known; nothing after it
            counts.
        events: Events that went on to the client.
        produced: What the answer consists of so far.
    """

    def __init__(self, model: str | None = None, *, candidates: int = 1) -> None:
        self._model = model
        self._wanted = candidates
        self._metadata: Any = None
        self._last = _Answer()
        self._reasons: dict[int, str] = {}
        self._searches: dict[int, int] = {}
        self.began = False
        self.finished = False
        self.events = 0
        self.produced = Produced()

    @property
    def usage(self) -> Usage | None:
        """What the provider reported last, None while it reported only zeros."""
        return read_metadata(self._metadata, sum(self._searches.values()))

    @property
    def finish_reasons(self) -> dict[int, str]:
        """The reason of each candidate by its index, empty text while it is open."""
        return dict(self._reasons)

    def feed(self, event: Event) -> list[bytes]:
        """The bytes for the client that this event leads to, mostly its own.

        Raises:
            UpstreamRefused: the event is the provider's error.
            BadUpstreamBody: the event is not JSON.
        """
        if self.finished or not event.data.strip():
            return []
        if event.data == b"[DONE]":
            self.finished = True
            return []
        answer = _decode(event.data)
        if answer is None or answer.error or not answer.candidates:
            refuse_errors(decode_object(event.data))
        self.events += 1
        if answer is None:
            return [event.raw]
        self._note(answer)
        if self._model is None or answer.model_version in (None, self._model):
            return [event.raw]
        return [sse.encode(replaced(event.data, {"modelVersion": self._model}))]

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """The end of a stream that broke off: open candidates get `STOP`.

        Nothing at all when it was complete, or had not begun.

        Args:
            counted: The usage to show when the provider reported none.
        """
        open_ones = [index for index, reason in self._reasons.items() if not reason]
        if self.finished or not self.began or not open_ones:
            return []
        self.finished = True
        content = {"role": "model", "parts": [{"text": ""}]}
        ended = {"content": content, "finishReason": "STOP"}
        answer: dict[str, Any] = {
            "candidates": [{"index": index, **ended} for index in open_ones]
        }
        if self.usage is not None:
            answer["usageMetadata"] = self._metadata
        elif counted is not None:
            answer["usageMetadata"] = to_metadata(counted)
        last = self._last
        model = last.model_version if self._model is None else self._model
        for name, value in (("modelVersion", model), ("responseId", last.response_id)):
            if value is not None:
                answer[name] = value
        return [sse.encode(top.encode(answer))]

    def _note(self, answer: _Answer) -> None:
        self._last = answer
        if answer.prompt_feedback:
            self.began = True
        for candidate in answer.candidates or ():
            index = candidate.index if isinstance(candidate.index, int) else 0
            if index not in self._reasons and len(self._reasons) >= MOST_CHOICES:
                continue
            reason = _text(candidate.finish_reason)
            self._reasons[index] = reason or self._reasons.get(index, "")
            if candidate.add_to(self.produced) or reason:
                self.began = True
            if candidate.grounding_metadata:
                self._searches[index] = searches_in(candidate.grounding_metadata)
        reported = counts(answer.usage_metadata)
        if reported:
            self._metadata = answer.usage_metadata
        ended = len(self._reasons) >= self._wanted and all(self._reasons.values())
        self.finished = reported and ended
