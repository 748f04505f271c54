"""Translations between equal dialects: bytes stay what they were, but for the model's
name, the usage chunk, and what the channel's settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from knight_tw import providers
from knight_tw.protocols.body import Machine
from knight_tw.providers.provider import Provider, Target
from knight_tw.records import Mode
from knight_tw.relay.call import Call
from knight_tw.relay.translate import Whole
from knight_tw.wire import (
    answers,
    chat,
    claude,
    claude_assembly,
    gemini,
    reshape,
    responses,
    responses_assembly,
    sse,
    top,
)
from knight_tw.wire.answers import read_plain
from knight_tw.wire.assembly import Assembly, restream
from knight_tw.wire.chat_pass import ChatPass
from knight_tw.wire.gemini_array import ArrayForm
from knight_tw.wire.produced import Produced
from knight_tw.wire.responses_pass import ResponsesPass


@frozen(eq=False)
class SameChat:
    """Chat and text completions on a channel that speaks OpenAI chat."""

    _call: Call
    _target: Target
    _provider: Provider

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = chat.read_answer(
            answer,
            model=self._shown(),
            identity=self._identity(),
            reading=providers.reading(self._provider, self._target),
            reshape=self._reshape_whole(),
        )
        return Whole(read.body, read.usage, read.produced)

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        decoder, parts = sse.Decoder(), Assembly()
        for event in (*decoder.feed(stream), *decoder.close()):
            if event.data != b"[DONE]":
                parts.feed(answers.decode_object(event.data))
        return self.whole(top.encode(parts.close()))

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        return restream(answers.decode_object(whole.body), self._call.include_usage)

    def machine(self) -> Machine:
        """See `Translation`."""
        setting = self._target.channel.setting
        changes: list[Any] = []
        if setting.get("thinking_to_content"):
            changes.append(reshape.ThinkingToContent())
        if setting.get("force_format"):
            created = int(self._call.began)
            changes.append(
                reshape.ForceFormat(self._identity(), created, self._call.model)
            )
        return ChatPass(
            self._call.include_usage,
            self._shown(),
            identity=self._identity(),
            own_chunk=False,
            reading=providers.reading(self._provider, self._target),
            reshape=changes,
        )

    def _shown(self) -> str | None:
        return shown_model(self._call, self._target)

    def _identity(self) -> str:
        return f"chatcmpl-{self._call.request_id}"

    def _reshape_whole(self) -> list[Callable[[dict[str, Any]], None]]:
        setting = self._target.channel.setting
        changes: list[Callable[[dict[str, Any]], None]] = []
        if setting.get("thinking_to_content"):
            changes.append(reshape.thinking_in_content)
        if setting.get("force_format"):
            identity, created = self._identity(), int(self._call.began)

            def exact(answer: dict[str, Any]) -> None:
                reshape.exact_answer(answer, identity, created, self._call.model)

            changes.append(exact)
        return changes


_TELLING = frozenset({Mode.EMBEDDINGS, Mode.RERANK})
"""Kinds of work whose clients read `usage` without asking whether it is there."""


@frozen(eq=False)
class SamePlain:
    """Embeddings, moderations and the like: JSON whose usage alone matters."""

    _call: Call
    _target: Target
    _provider: Provider
    _nothing: Produced = field(factory=Produced)

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = read_plain(
            answer,
            model=shown_model(self._call, self._target),
            reading=providers.reading(self._provider, self._target),
        )
        tells = self._target.mode in _TELLING
        return Whole(read.body, read.usage, self._nothing, tells_usage=tells)

    def assembled(self, stream: bytes) -> Whole:
        """A stream is no such answer."""
        raise answers.unreadable(stream)

    def restreamed(self, whole: Whole) -> bytes:
        """Such work is never streamed; the answer goes as it is."""
        return whole.body

    def machine(self) -> Machine:
        """Forwards events untouched."""
        return ChatPass(True)


def shown_model(call: Call, target: Target) -> str | None:
    """The name that the answer shows: the client's, when the channel mapped it."""
    if target.model == call.model or target.channel.settings.get(
        "expose_upstream_model"
    ):
        return None
    return call.model


@frozen(eq=False)
class SameClaude:
    """Messages on a channel that speaks Claude."""

    _model: str | None
    _repeats_usage: bool

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = claude.read_answer(answer, model=self._model)
        return Whole(read.body, read.usage, read.produced)

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        return self.whole(_assembled(stream, claude_assembly.Assembly()))

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        return claude_assembly.restream(answers.decode_object(whole.body))

    def machine(self) -> Machine:
        """See `Translation`."""
        return claude.ClaudePass(self._model, complete_usage=self._repeats_usage)


@frozen(eq=False)
class SameResponses:
    """Responses on a channel that speaks them."""

    _model: str | None
    _search: str

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = responses.read_answer(answer, model=self._model, search=self._search)
        return Whole(read.body, read.usage, read.produced)

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        return self.whole(_assembled(stream, responses_assembly.Assembly()))

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        return responses_assembly.restream(answers.decode_object(whole.body))

    def machine(self) -> Machine:
        """See `Translation`."""
        return ResponsesPass(self._model, search=self._search)


@frozen(eq=False)
class SameGemini:
    """Gemini's actions on a channel that speaks Gemini."""

    _model: str | None
    _candidates: int
    _array: bool

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = gemini.read_answer(answer, model=self._model)
        return Whole(read.body, read.usage, read.produced)

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        decoder, machine = sse.Decoder(), gemini.GeminiPass(self._model)
        parts = []
        for event in (*decoder.feed(stream), *decoder.close()):
            machine.feed(event)
            parts.append(answers.decode_object(event.data))
        return self.whole(top.encode(gemini_joined(parts)))

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`."""
        return b"[" + whole.body + b"]" if self._array else sse.encode(whole.body)

    def machine(self) -> Machine:
        """See `Translation`."""
        machine = gemini.GeminiPass(self._model, candidates=self._candidates)
        return ArrayForm(machine) if self._array else machine


def _assembled(stream: bytes, parts: Any) -> bytes:
    """A whole answer's bytes out of an event stream, errors raised."""
    decoder = sse.Decoder()
    for event in (*decoder.feed(stream), *decoder.close()):
        if event.data.strip() not in (b"", b"[DONE]"):
            value = answers.decode_object(event.data)
            answers.refuse_errors(value)
            parts.feed(value)
    return top.encode(parts.close())


def gemini_joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """One Gemini answer out of a stream's pieces: parts in order, the rest last."""
    whole: dict[str, Any] = {}
    candidates: dict[Any, dict[str, Any]] = {}
    for piece in parts:
        whole |= {name: v for name, v in piece.items() if name != "candidates"}
        for candidate in answers.objects(piece.get("candidates")):
            known = candidates.setdefault(candidate.get("index", 0), {})
            said = known.get("content", {}).get("parts", [])
            more = (candidate.get("content") or {}).get("parts") or []
            known |= candidate
            known["content"] = {"role": "model", "parts": [*said, *more]}
    return {**whole, "candidates": list(candidates.values())}
