"""Legacy text completions on channels that only chat.

With the option `relay.completions_to_chat` an attempt is planned as the chat call that
says the same, with everything that chat has: dialects, suffixes, system prompts,
overrides. On the way back chat's answers and chunks become `text` choices. Conversion
specification, section 14.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import define, evolve, field

from knight_tw import providers
from knight_tw.convert import completions
from knight_tw.convert.context import Context, Media
from knight_tw.convert.recall import Record
from knight_tw.errors import KnightError
from knight_tw.protocols.body import Machine
from knight_tw.providers.provider import Exchange, Target
from knight_tw.records import Channel, Mode, Usage
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.plan import Plan, Prepared, plan
from knight_tw.relay.translate import Translation, Whole
from knight_tw.wire import sse, top
from knight_tw.wire.answers import decode_object
from knight_tw.wire.produced import Produced
from knight_tw.wire.sse import Event

PATH = "/v1/chat/completions"


def planned(
    call: Call, attempt: Attempt, knobs: Knobs, now: float
) -> Plan | CompletionPlan:
    """The plan for one channel and key.

    Raises:
        KnightError: as `plan`.
        UnsupportedParameter: the channel only chats, and there are several prompts.
    """
    if (
        call.mode is Mode.COMPLETIONS
        and knobs.completions_to_chat
        and only_chats(attempt.channel)
    ):
        chat, dropped = as_chat(call)
        return CompletionPlan(call, chat, dropped, plan(chat, attempt, knobs, now))
    return plan(call, attempt, knobs, now)


def only_chats(channel: Channel) -> bool:
    """True for a channel whose provider has chat and no text completions."""
    provider = providers.for_channel(channel)
    if provider is None or Mode.COMPLETIONS in provider.modes:
        return False
    return Mode.CHAT in provider.modes


def as_chat(call: Call) -> tuple[Call, list[str]]:
    """The chat call for one of completions, and what was lost; attempts and notes are
    the call's own."""
    context = Context(call.model)
    names = ("prompt", *completions.UNSAID)
    small = {name: top.plain(call.top, name) for name in names if name in call.top}
    body = completions.request_to_chat({**call.top, **small}, context)
    chat = evolve(
        call,
        mode=Mode.CHAT,
        path=PATH,
        top=body,
        body=top.encode(body),
        dropped=[],
    )
    return chat, context.dropped


@define(eq=False)
class CompletionPlan:
    """A `Plan` of the chat call, for the client's call."""

    _call: Call
    _chat: Call
    _dropped: list[str]
    _plan: Plan

    @property
    def exchange(self) -> Exchange | None:
        """See `Plan`."""
        return self._plan.exchange

    @property
    def target(self) -> Target:
        """See `Plan`."""
        return self._plan.target

    @property
    def media(self) -> list[str]:
        """See `Plan`."""
        return self._plan.media

    def recalling(self) -> list[str]:
        """A text has no earlier turns."""
        return []

    def recalled(self, kept: Mapping[str, Record]) -> None:
        """Nothing was asked for."""

    def prepared(self, media: Mapping[str, Media], now: float) -> Prepared:
        """See `Plan`."""
        prepared = self._plan.prepared(media, now)
        chat, call = self._chat, self._call
        call.dropped = [*self._dropped, *chat.dropped]
        call.audit = chat.audit
        return evolve(prepared, translation=TextForm(prepared.translation))


@define(eq=False)
class TextForm:
    """Implements `Translation` over that of chat."""

    _chat: Translation
    _said: Whole = field(factory=lambda: Whole(b"", None, Produced()))

    def whole(self, answer: bytes) -> Whole:
        """See `Translation`."""
        return self._shown(self._chat.whole(answer))

    def assembled(self, stream: bytes) -> Whole:
        """See `Translation`."""
        return self._shown(self._chat.assembled(stream))

    def restreamed(self, whole: Whole) -> bytes:
        """See `Translation`; of the answer that was just read."""
        return b"".join(_texts(self._chat.restreamed(self._said)))

    def machine(self) -> Machine:
        """See `Translation`."""
        return TextStream(self._chat.machine())

    def _shown(self, said: Whole) -> Whole:
        self._said = said
        text = completions.answer_from_chat(decode_object(said.body))
        return evolve(said, body=top.encode(text))


@define(eq=False)
class TextStream:
    """Implements `Machine` over that of chat."""

    _chat: Machine

    @property
    def usage(self) -> Usage | None:
        """See `Machine`."""
        return self._chat.usage

    @property
    def began(self) -> bool:
        """See `Machine`."""
        return self._chat.began

    @property
    def finished(self) -> bool:
        """See `Machine`."""
        return self._chat.finished

    @property
    def events(self) -> int:
        """See `Machine`."""
        return self._chat.events

    @property
    def produced(self) -> Produced:
        """See `Machine`."""
        return self._chat.produced

    def feed(self, event: Event) -> list[bytes]:
        """See `Machine`."""
        return _texts(b"".join(self._chat.feed(event)))

    def close(self, counted: Usage | None = None) -> list[bytes]:
        """See `Machine`."""
        return _texts(b"".join(self._chat.close(counted)))


def _texts(stream: bytes) -> list[bytes]:
    """Whole events of a chat stream as those of text completions; what says nothing in
    a text (a role, reasoning) is left out."""
    decoder = sse.Decoder()
    events = (*decoder.feed(stream), *decoder.close())
    return [piece for event in events if (piece := _text(event))]


def _text(event: Event) -> bytes:
    if event.data == b"[DONE]":
        return sse.DONE
    try:
        chunk = decode_object(event.data)
    except KnightError:
        return event.raw
    if "choices" not in chunk:
        return event.raw
    shown = completions.answer_from_chat(chunk)
    said = any(one["text"] or one["finish_reason"] for one in shown["choices"])
    return sse.encode(top.encode(shown)) if said or chunk.get("usage") else b""
