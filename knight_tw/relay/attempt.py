"""One attempt: prepare the upstream request, send it, bring the answer to the client.

What is raised before a byte of the answer is out is a failed attempt, and the loop may
try another channel. Afterwards the call is settled by what arrived, and the error goes
on so that the surface ends the stream with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Protocol, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime

from knight_tw import providers, routing
from knight_tw.background import Background
from knight_tw.convert.context import Media
from knight_tw.errors import EmptyAnswer, KnightError, UpstreamTimeout
from knight_tw.metrics import Meter
from knight_tw.protocols.body import Machine, Outlet, Pump
from knight_tw.protocols.client import Answer
from knight_tw.protocols.reply import Headers
from knight_tw.providers.provider import Exchange
from knight_tw.records import Dialect, Usage
from knight_tw.relay import evidence
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.completing import CompletionPlan, planned
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.media import SameSpeech
from knight_tw.relay.patience import begun_by
from knight_tw.relay.plan import Plan, Prepared
from knight_tw.relay.reasoning import ReasoningMemory
from knight_tw.relay.straight import Straight
from knight_tw.relay.tab import Tab
from knight_tw.relay.translate import Whole
from knight_tw.upstream import Upstream
from knight_tw.wire import envelope, masking
from knight_tw.wire.audio import Pieces, SoundPass
from knight_tw.wire.counted import with_usage
from knight_tw.wire.framing import EventDecoder, as_sse, decoder_of
from knight_tw.wire.sse import Decoder

T = TypeVar("T")

COUNTING: Mapping[Dialect, frozenset[int]] = {
    Dialect.CLAUDE: frozenset({14, 59, 60}),
    Dialect.GEMINI: frozenset({24, 59, 60}),
}
"""Channel types that count prompts of a dialect themselves."""

ERROR_BODY = 1024 * 1024
"""Most that is read of a provider's failure body."""

_JSON = ("Content-Type", "application/json")
_REQUEST_IDS = ("x-oneapi-request-id", "x-request-id", "request-id")
_COPIED = ("openai-processing-ms", "request-id")


class Tokens(Protocol):
    """Gets tokens for keys that are not themselves credentials."""

    async def token(
        self, exchange: Exchange, *, proxy: str = "", guarded: bool = False
    ) -> str:
        """The token, fresh or remembered.

        Raises:
            KnightError: it cannot be had.
        """
        ...

    def forget(self, exchange: Exchange, token: str) -> None:
        """The provider refused a call with this token."""
        ...


def _never() -> bool:
    return False


@define(eq=False)
class Timeouts:
    """Limits of one upstream call, seconds; 0 = none (relay specification, 13).

    Attributes:
        answer: Until any answer has begun: the lesser of `first_byte` and `whole`.
        stream: The same for streams: of `idle` and `whole`.
    """

    first_byte: float
    idle: float
    whole: float
    answer: float = field(init=False)
    stream: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.answer = _lesser(self.first_byte, self.whole)
        self.stream = _lesser(self.idle, self.whole)


def _lesser(*limits: float) -> float:
    return min((seconds for seconds in limits if seconds > 0), default=0.0)


@define(eq=False)
class Wire:
    """Speaks to providers on behalf of calls."""

    _upstream: Upstream
    _clock: IReactorTime
    _background: Background
    _timeouts: Timeouts
    _tokens: Tokens
    _answer_limit: int
    _line_limit: int
    _media_limit: int
    _policy: Callable[[Call], str]
    _meter: Meter
    _reasoning: ReasoningMemory
    _straight: Straight = field(factory=Straight)

    async def exchange(
        self, call: Call, attempt: Attempt, tab: Tab, outlet: Outlet
    ) -> int:
        """Bring one channel's answer to the client; the status it got.

        Raises:
            KnightError: the attempt failed; `outlet.answered` tells whether a part of
                the answer had gone out.
        """
        prepared = self._straight.prepared(call, attempt, tab.knobs)
        if prepared is None:
            prepared = await self._prepared(call, attempt, tab.knobs)
        if call.stream and call.dialect is not Dialect.GEMINI:
            outlet.start()
        answer = await self._send(call, attempt, prepared)
        try:
            return await self._receive(call, attempt, tab, outlet, prepared, answer)
        except CancelledError:
            answer.abort()
            raise

    async def counted(self, call: Call, attempt: Attempt, knobs: Knobs) -> bytes | None:
        """The provider's own count of a prompt, None when it has none natively."""
        provider = providers.for_channel(attempt.channel)
        native = COUNTING.get(call.dialect, frozenset())
        if provider is None or provider.type_id not in native:
            return None
        prepared = await self._prepared(call, attempt, knobs)
        answer = await self._send(call, attempt, prepared)
        body = await answer.read(self._answer_limit, self._timeouts.idle)
        if not 200 <= answer.status < 300:
            raise refused(answer, body, attempt, self._clock.seconds())
        return body

    async def ask(
        self, call: Call, attempt: Attempt, knobs: Knobs
    ) -> tuple[Usage, str]:
        """The answer to a call that nobody waits for: what it used, what it says.

        Raises:
            KnightError: as `exchange`.
        """
        prepared = await self._prepared(call, attempt, knobs)
        answer = await self._send(call, attempt, prepared)
        if not 200 <= answer.status < 300:
            body = await answer.read(ERROR_BODY, self._timeouts.idle)
            raise refused(answer, body, attempt, self._clock.seconds())
        data = await answer.read(self._answer_limit, self._timeouts.idle)
        whole = self._read(prepared, answer, data)
        return whole.usage or Usage(), whole.produced.text

    async def _prepared(self, call: Call, attempt: Attempt, knobs: Knobs) -> Prepared:
        """The request, with the token and the media that it needs."""
        now = self._clock.seconds()
        made = planned(call, attempt, knobs, now)
        if self._reasoning.on(knobs) and not call.is_test:
            await self._recall(call, made)
        exchange = made.exchange
        if exchange is not None:
            channel = attempt.channel
            made.target.token = await self._tokens.token(
                exchange,
                proxy=str(channel.setting.get("proxy") or ""),
                guarded=bool(channel.settings.get("guarded_address")),
            )
        media = await self._downloaded(made)
        if exchange is not None or media:
            call.waited += self._clock.seconds() - now
        return made.prepared(media, now)

    async def _recall(self, call: Call, made: Plan | CompletionPlan) -> None:
        """The reasoning of earlier turns that the client has not given back."""
        lacking = made.recalling()
        if lacking:
            user_id = call.caller.user.id
            made.recalled(await self._reasoning.find(user_id, lacking))

    def _keep(self, call: Call, prepared: Prepared, knobs: Knobs) -> None:
        """The reasoning of this turn, in case the client will not give it back."""
        recorder = prepared.recorder
        if recorder is not None:
            user_id, seconds = call.caller.user.id, knobs.reasoning_seconds
            self._reasoning.keep(user_id, recorder.close(), seconds)

    async def _downloaded(self, made: Plan | CompletionPlan) -> dict[str, Media]:
        """What the request's URLs lead to, fetched side by side behind the guard."""
        urls = made.media
        if not urls:
            return {}
        found = await gatherResults(
            [self._upstream.download(url, self._media_limit) for url in urls]
        )
        return {
            url: Media(data, kind)
            for url, (kind, data) in zip(urls, found, strict=True)
        }

    def _send(
        self, call: Call, attempt: Attempt, prepared: Prepared
    ) -> Awaitable[Answer]:
        own = attempt.channel.settings.get("first_token_timeout_seconds")
        if own and isinstance(own, int | float) and own > 0:
            attempt.begin_by = self._clock.seconds() + own
        if call.record is not None:
            attempt.sent = self._clock.seconds()
        limits = self._timeouts
        sent = self._upstream.send(
            "POST",
            prepared.url,
            prepared.headers,
            prepared.body,
            proxy=prepared.proxy,
            guarded=prepared.guarded,
            first_byte_timeout=limits.stream if call.stream else limits.answer,
        )
        return self._waited(call, sent)

    async def _waited(
        self, call: Call, work: Deferred[T], begun: Callable[[], bool] = _never
    ) -> T:
        """What comes from the provider; the time until then is not ours.

        Args:
            begun: Whether the answer has begun, for channels that set it a time.
        """
        began = self._clock.seconds()
        until = call.attempts[-1].begin_by
        try:
            if until:
                return await begun_by(until, work, begun, self._clock)
            return await work
        finally:
            call.waited += self._clock.seconds() - began

    async def _receive(
        self,
        call: Call,
        attempt: Attempt,
        tab: Tab,
        outlet: Outlet,
        prepared: Prepared,
        answer: Answer,
    ) -> int:
        now = self._clock.seconds()
        call.first_byte = call.first_byte or now
        attempt.heard, attempt.connected = now, answer.sent
        attempt.upstream_id = _upstream_id(answer)
        if not 200 <= answer.status < 300:
            if answer.status == 401 and prepared.exchange is not None:
                self._tokens.forget(prepared.exchange, prepared.token)
            failure = answer.read(ERROR_BODY, self._timeouts.idle)
            body = await self._waited(call, failure, lambda: True)
            raise refused(answer, body, attempt, now)
        streamed = _streams(answer)
        if (streamed and call.stream) or _plays(call, prepared, answer):
            await self._stream(call, tab, outlet, prepared, answer)
        else:
            await self._whole(call, tab, outlet, prepared, answer)
        self._keep(call, prepared, tab.knobs)
        return 200

    # whole answers -----------------------------------------------------------

    async def _whole(
        self,
        call: Call,
        tab: Tab,
        outlet: Outlet,
        prepared: Prepared,
        answer: Answer,
    ) -> None:
        """An answer in one piece: charged, then sent."""
        data = answer.here(self._answer_limit)
        if data is None:
            limits = self._timeouts
            reading = answer.read(self._answer_limit, limits.whole or limits.first_byte)
            data = await self._waited(call, reading, lambda: answer.begun)
        translation, whole = prepared.translation, self._read(prepared, answer, data)
        charged = evidence.settle_reported(tab, whole.usage, whole.produced)
        if charged is None:
            charged = await evidence.settle_counted(tab, whole.usage, whole.produced)
        if call.stream:
            tab.leave(partial(outlet.finish, translation.restreamed(whole)))
            return
        counted = whole.tells_usage and whole.usage is None
        body = with_usage(whole.body, charged) if counted else whole.body
        kind = _kind_of(whole, answer)
        headers = [*outlet.headers(), kind, *_copied(answer, prepared)]
        outlet.answered = True
        tab.leave(partial(outlet.reply.whole, 200, headers, body))

    def _read(self, prepared: Prepared, answer: Answer, data: bytes) -> Whole:
        """The client's form of a complete answer, in whatever framing it came."""
        if not _streams(answer):
            return prepared.translation.whole(data)
        kind = answer.get("content-type")
        return prepared.translation.assembled(as_sse(kind, data, self._line_limit))

    # streams -----------------------------------------------------------------

    async def _stream(
        self, call: Call, tab: Tab, outlet: Outlet, prepared: Prepared, answer: Answer
    ) -> None:
        """An event stream: forwarded as it comes, charged before its last bytes."""
        machine, decoder = self._reading(call, outlet, prepared, answer)
        pump = Pump(answer, outlet, machine, self._timeouts.idle, decoder)
        self._meter.streams += 1
        try:
            await self._waited(
                call, pump.run(), lambda: outlet.answered or machine.began
            )
        except CancelledError:
            self._interrupted(call, tab, machine, "client")
            raise
        except KnightError as error:
            if outlet.answered:
                by = "timeout" if isinstance(error, UpstreamTimeout) else "provider"
                self._interrupted(call, tab, machine, by)
                if isinstance(machine, SoundPass):
                    outlet.reply.abort()  # a recording has no place for an error
                else:
                    outlet.write(_broken(call, machine, error))
                    outlet.end()
            raise
        finally:
            self._meter.streams -= 1
        if not outlet.answered and not machine.began and not machine.finished:
            raise EmptyAnswer("the upstream's answer is empty")
        self._note_end(call, "done" if machine.finished else "eof")
        charged = await evidence.settle(tab, machine.usage, machine.produced)
        last = b"".join([pump.held(), *machine.close(charged)])
        tab.leave(partial(outlet.finish, last))

    def _reading(
        self, call: Call, outlet: Outlet, prepared: Prepared, answer: Answer
    ) -> tuple[Machine, EventDecoder]:
        """The machine and the framing of an answer that is forwarded as it comes."""
        kind, translation = answer.get("content-type"), prepared.translation
        if _plays(call, prepared, answer) and isinstance(translation, SameSpeech):
            told = ("Content-Type", kind or translation.content_type)
            outlet.kind = [told, *_copied(answer, prepared)]
            return translation.player(), Pieces()
        decoder = decoder_of(kind, self._line_limit) or Decoder(self._line_limit)
        return translation.machine(), decoder

    def _note_end(self, call: Call, reason: str) -> None:
        """How the stream ended, for the log row."""
        call.notes["stream_status"] = {"status": "ok", "end_reason": reason}

    def _interrupted(self, call: Call, tab: Tab, machine: Machine, by: str) -> None:
        """Charge a broken-off stream as the channel's policy says (billing, 9)."""
        policy = self._policy(call)
        events = machine.events
        if "interrupted" not in call.notes:
            self._meter.broke_off(by, "delivered" if policy == "drain" else policy)
        if policy == "drain":
            policy = "delivered"  # what drains is not interrupted; this was cut off
        call.notes["interrupted"] = {"by": by, "policy": policy, "events": events}
        call.notes["stream_status"] = {"status": "error", "end_reason": _REASONS[by]}
        if policy == "free" or not (events or machine.usage):
            tab.release()
            return
        tab.detached = True
        self._background.spawn(
            "settle an interrupted stream", self._settle(tab, machine)
        )

    async def _settle(self, tab: Tab, machine: Machine) -> None:
        await evidence.settle(tab, machine.usage, machine.produced)


_REASONS = {"client": "client_gone", "timeout": "timeout", "provider": "scanner_error"}


def _streams(answer: Answer) -> bool:
    return decoder_of(answer.get("content-type"), 1) is not None


def _plays(call: Call, prepared: Prepared, answer: Answer) -> bool:
    """True when the answer is a recording, which goes on as it comes."""
    if call.stream or not isinstance(prepared.translation, SameSpeech):
        return False
    kind = answer.get("content-type").partition(";")[0].strip().lower()
    return kind != "application/json" and not _streams(answer)


def _kind_of(whole: Whole, answer: Answer) -> tuple[str, str]:
    """The content type of an answer in one piece."""
    own = answer.get("content-type") if whole.verbatim else whole.content_type
    return ("Content-Type", own) if own else _JSON


def _broken(call: Call, machine: Machine, error: KnightError) -> bytes:
    """What ends a stream that broke off, in the client's dialect (13)."""
    last = envelope.in_stream(
        error,
        call.dialect,
        call.request_id,
        response=getattr(machine, "response", None),
        sequence_number=getattr(machine, "sequence_number", 0),
    )
    framed = getattr(machine, "failed", None)
    return b"".join(framed(last)) if framed is not None else last


def _upstream_id(answer: Answer) -> str:
    """The provider's own request id, cut to what the column takes."""
    for name in _REQUEST_IDS:
        found = answer.get(name)
        if found:
            return found[:128]
    return ""


class Refusal(Protocol):
    """An answer that is no success."""

    @property
    def status(self) -> int:
        """Its status."""
        ...

    @property
    def headers(self) -> list[tuple[str, str]]:
        """Its headers, names in lower case."""
        ...


def refused(answer: Refusal, body: bytes, attempt: Attempt, now: float) -> KnightError:
    """A provider's failure, with the status that its channel maps it to."""
    error = envelope.read_failure(answer.status, body)
    error.retry_after = envelope.retry_after(answer.headers, now)
    error.detail = error.message.replace(attempt.key, "***")
    error.message = masking.mask(error.message, (attempt.key,))
    mapped = routing.map_status(error.status, attempt.channel.status_code_mapping)
    if mapped != error.status:
        error.detail += f" (status {error.status} of the provider, mapped)"
        error.status = mapped
    return error


def _copied(answer: Answer, prepared: Prepared) -> Headers:
    """The provider's headers that a client may see."""
    found = [(name, answer.get(name)) for name in _COPIED if answer.get(name)]
    upstream_id = answer.get("x-request-id")
    if upstream_id:
        found.append(("X-Upstream-Request-Id", upstream_id))
    if prepared.forward_limits:
        found += [h for h in answer.headers if h[0].startswith("x-ratelimit-")]
    return found
