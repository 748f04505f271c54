"""Translations between equal dialects: bytes stay what they were, but for the model's
name, the usage chunk, and what the channel's settings ask for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from knight_tw import providers
from knight_tw.protocols.body import Machine
from knight_tw.providers.provider import Provider, Target
from knight_tw.relay.call import Call
from knight_tw.relay.translate import Whole
from knight_tw.wire import answers, chat, reshape, sse, top
from knight_tw.wire.answers import read_plain
from knight_tw.wire.assembly import Assembly, restream
from knight_tw.wire.chat_pass import ChatPass
from knight_tw.wire.produced import Produced


@frozen(eq=False)
class SameChat:
    """Chat and text completions on a channel that speaks OpenAI chat."""

    _call: Call
    _target: Target
    _provider: Provider
    body: bytes

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


@frozen(eq=False)
class SamePlain:
    """Embeddings, moderations and the like: JSON whose usage alone matters."""

    _call: Call
    _target: Target
    _provider: Provider
    body: bytes
    _nothing: Produced = field(factory=Produced)

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        read = read_plain(
            answer,
            model=shown_model(self._call, self._target),
            reading=providers.reading(self._provider, self._target),
        )
        return Whole(read.body, read.usage, self._nothing)

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
