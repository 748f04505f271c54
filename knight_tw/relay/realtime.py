"""Realtime sessions: from the handshake's query to the last turn's charge.

    query -> choose a channel -> price, hold -> [ upstream's handshake ] -> Session
                     ^                                   | no
                     +------------ next channel ---------+

Until the upstream has shaken hands everything that fails is the answer to the client's
handshake. From then on a `Session` hears every message: `Turns` has the money, `Pair`
the two connections. Relay specification, section 14.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote_plus

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as DeferTimeout
from twisted.internet.interfaces import IProtocol, IReactorTime
from twisted.logger import Logger

from knight_tw import overrides, routing
from knight_tw.background import Background
from knight_tw.errors import (
    ChannelFault,
    InvalidRequest,
    KnightError,
    TokenQuotaShort,
    UpstreamFailed,
    UserQuotaShort,
)
from knight_tw.ledger import Ledger
from knight_tw.metrics import Meter
from knight_tw.protocols.realtime import Ending, Pair
from knight_tw.protocols.sockets import Refused, Sockets
from knight_tw.providers.provider import Target
from knight_tw.records import Dialect, Mode
from knight_tw.relay import rows
from knight_tw.relay.attempt import refused
from knight_tw.relay.call import Attempt, Call
from knight_tw.relay.choosing import (
    Choosing,
    View,
    check_model,
    price_of,
    walk_for,
)
from knight_tw.relay.knobs import Knobs
from knight_tw.relay.plan import provider_of
from knight_tw.relay.tab import Count
from knight_tw.relay.turns import Turns
from knight_tw.routing import Pick
from knight_tw.wire import envelope, masking
from knight_tw.wire.realtime import Turn, Watch

if TYPE_CHECKING:
    from knight_tw.protocols.websocket import ClientSide, UpstreamSide

P = TypeVar("P", bound=IProtocol)

HANDSHAKE = 5.0
"""Seconds an upstream has for its handshake; the client's own limit is 10."""

BETA = ("OpenAI-Beta", "realtime=v1")
"""Asks an upstream for the interface that was before the current one."""

_BETA_SUBPROTOCOL = "openai-beta.realtime-v1"

POLICY, BROKEN, RESTART, TRY_LATER = 1008, 1011, 1012, 1013
"""Close codes: no money left, our fault, the process stops, the database is away."""

OUR_QUERY = frozenset({"model", "deployment", "api-version"})
"""Parameters of the query that the provider's address has in its own form."""

_SECRETS = frozenset({"key", "api_key", "api-key", "access_token", "token"})
_HOST = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::(?P<port>\d{1,5}))?"
)
_CONNECTION = ("host", "connection", "upgrade", "content-length", "sec-websocket-")


class Dialer(Protocol):
    """What is used of `Upstream`."""

    async def attach(
        self,
        url: str,
        make: Callable[[str, int, str], P],
        *,
        proxy: str = "",
        guarded: bool = False,
        timeout: float = 0.0,
    ) -> P:
        """A protocol of the caller's, connected to where a URL leads."""
        ...


@define(eq=False)
class Session:
    """One session, from its upstream's handshake on; it hears every message.

    Give it a client with `begin`, or up with `abandon`.
    """

    _call: Call
    _turns: Turns
    _upstream: UpstreamSide
    _sessions: Sessions
    _clock: IReactorTime
    _background: Background
    _choosing: Choosing
    _watch: Watch = field(factory=Watch)
    _pair: Pair | None = None
    _settling: bool = False
    _waiting: list[Deferred[None]] = field(factory=list)
    _leaving: bool = False
    _log: Logger = field(factory=Logger)

    def begin(self, client: ClientSide) -> None:
        """The client has its 101."""
        self._pair = Pair(client, self._upstream, self, self._clock)
        self._sessions.joined(self)

    def abandon(self) -> None:
        """The client has not come about."""
        self._upstream.drop()
        self._turns.release()
        self._choosing.over(self._call)

    def leave(self) -> None:
        """The process stops: the session ends with the answer that is under way."""
        self._leaving = True
        if not self._watch.answering:
            self.end(RESTART, "the gateway is restarting")

    def end(self, code: int, reason: str, event: bytes = b"") -> None:
        """Close both sides, `event` being the last that the client gets."""
        if self._pair is not None:
            self._pair.end(code, reason, event)

    # `Ears` --------------------------------------------------------------------

    def client_said(self, message: bytes) -> Deferred[None] | None:
        """See `Ears`; while the next turn's money is being set aside nothing is asked
        of the upstream."""
        self._watch.client(message)
        if not self._settling:
            return None
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        return waiting

    def upstream_said(self, message: bytes) -> Deferred[None] | None:
        """See `Ears`; the end of a turn goes on when it is charged."""
        turn = self._watch.server(message)
        if turn is None:
            return None
        self._settling = True
        running = Deferred.fromCoroutine(self._settled(turn))
        if not self._settling:
            return None
        return running

    def ended(self, ending: Ending) -> None:
        """See `Ears`."""
        self._background.spawn("end a realtime session", self._finished(ending))

    async def _settled(self, turn: Turn) -> None:
        try:
            await self._turns.settle(turn)
        except (UserQuotaShort, TokenQuotaShort) as error:
            self._refuse(UserQuotaShort(error.message), POLICY)
        except KnightError as error:
            self._refuse(error, TRY_LATER)
        except Exception:  # noqa: BLE001 - a session without money must not go on
            self._log.failure("settling a turn failed")
            self._refuse(KnightError("internal error"), BROKEN)
        self._settling = False
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            one.callback(None)
        if self._leaving and not self._watch.answering:
            self._clock.callLater(0, self.end, RESTART, "the gateway is restarting")

    def _refuse(self, error: KnightError, code: int) -> None:
        """End the session by an error, behind the message that is on its way."""
        self._log.info(
            "realtime session refused: {code} {why}",
            code=error.code,
            why=error.detail or error.message,
        )
        event = envelope.in_stream(error, Dialect.REALTIME, self._call.request_id)
        self._clock.callLater(0, self.end, code, error.code, event)

    async def _finished(self, ending: Ending) -> None:
        """Charge what is left."""
        rest = self._watch.rest()
        call, turns = self._call, self._turns
        call.notes["session"] = {"closed_by": ending.by, "close_code": ending.code}
        try:
            await turns.close(rest)
        finally:
            self._sessions.left(self)
            self._choosing.over(call)
        self._log.info(
            "realtime session over: {turns} turns, closed by {by} with {code} "
            "(request {request_id})",
            turns=turns.settled,
            by=ending.by,
            code=ending.code,
            request_id=call.request_id,
        )


@define(eq=False)
class Sessions:
    """The sessions of a process.

    Attributes:
        draining: No new ones.
    """

    draining: bool = False
    _open: set[Session] = field(factory=set)

    def __len__(self) -> int:
        """How many there are."""
        return len(self._open)

    def joined(self, session: Session) -> None:
        """One has begun."""
        self._open.add(session)
        if self.draining:
            session.leave()

    def left(self, session: Session) -> None:
        """One is over."""
        self._open.discard(session)

    def drain(self) -> None:
        """Let each end with the answer that is under way."""
        self.draining = True
        for session in tuple(self._open):
            session.leave()

    def close(self) -> None:
        """End all of them now."""
        for session in tuple(self._open):
            session.end(RESTART, "the gateway is restarting")


@define(eq=False)
class RealtimeRelay:
    """Opens sessions.

    Attributes:
        sessions: Those that are open.
    """

    _view: View
    _ledger: Ledger
    _dialer: Dialer
    _sockets: Sockets
    _choosing: Choosing
    _count: Count
    _clock: IReactorTime
    _background: Background
    _record_errors: bool
    _meter: Meter
    sessions: Sessions = field(factory=Sessions)

    async def open(self, call: Call) -> Session:
        """A session whose upstream has shaken hands and whose first turn is held for.

        Cancelling ends the attempt that is under way.

        Raises:
            KnightError: the answer to the client's handshake.
        """
        knobs = self._view.knobs
        turns: Turns | None = None
        upstream: UpstreamSide | None = None
        try:
            call.model, call.stream = model_of(call.head.query), True
            check_model(call)
            walk = walk_for(call, knobs)
            drawn = self._choosing.first(call, walk)
            pick = drawn if isinstance(drawn, Pick) else await drawn
            turns = self._turns(call, pick.group, knobs)
            await turns.open()
            paid = turns

            async def once(attempt: Attempt) -> UpstreamSide:
                if attempt.group != paid.group:
                    price = price_of(self._view.prices, call, attempt.group, knobs)
                    paid.reprice(attempt.group, price)
                return await self._shaken(call, attempt, knobs)

            upstream = await self._choosing.serve(call, walk, pick, once)
            return Session(
                call,
                turns,
                upstream,
                self.sessions,
                self._clock,
                self._background,
                self._choosing,
            )
        except KnightError as error:
            self._record(call, error)
            raise
        finally:
            if upstream is None:
                self._choosing.over(call)
                if turns is not None:
                    turns.release()

    def _turns(self, call: Call, group: str, knobs: Knobs) -> Turns:
        price = price_of(self._view.prices, call, group, knobs)
        return Turns(
            self._ledger,
            call,
            knobs,
            self._count,
            price,
            group,
            self._clock,
            self._meter,
        )

    async def _shaken(self, call: Call, attempt: Attempt, knobs: Knobs) -> UpstreamSide:
        """An upstream whose handshake is complete.

        Raises:
            KnightError: the attempt failed.
        """
        address = address_of(call, attempt, knobs)
        opening = Deferred.fromCoroutine(self._opened(address))
        opening.addTimeout(HANDSHAKE, self._clock)
        try:
            side = await opening
        except DeferTimeout:
            raise _failed(f"no handshake in {HANDSHAKE:g} s") from None
        except Refused as refusal:
            if refusal.status < 400:
                raise _failed(f"{refusal.status} instead of 101") from None
            now = self._clock.seconds()
            raise refused(refusal, refusal.body, attempt, now) from None
        attempt.upstream_id = side.header("x-request-id")[:128]
        return side

    async def _opened(self, address: Address) -> UpstreamSide:
        def make(host: str, port: int, target: str) -> UpstreamSide:
            shown = address.host or (host, port)
            return self._sockets.upstream(*shown, target, address.headers)

        side = await self._dialer.attach(
            address.url,
            make,
            proxy=address.proxy,
            guarded=address.guarded,
            timeout=HANDSHAKE,
        )
        return await side.opened

    def _record(self, call: Call, error: KnightError) -> None:
        """A failed call in the statistics, and an error row when they are wanted."""
        text = masking.mask(error.message)
        row = rows.failure(call, error, text, self._clock.seconds())
        self._ledger.note(row, keep=self._record_errors and error.record)


# addresses -----------------------------------------------------------------------


@frozen(eq=False)
class Address:
    """Where an attempt goes, and with what.

    Attributes:
        host: Name and port that the handshake shows, None for those of the URL.
    """

    url: str
    headers: Mapping[str, str]
    proxy: str
    guarded: bool
    host: tuple[str, int] | None = None


def model_of(query: str) -> str:
    """The model that a handshake asks for; Azure's client calls it a deployment.

    Raises:
        InvalidRequest: it names none.
    """
    given = dict(reversed(parse_qsl(query)))
    model = given.get("model") or given.get("deployment")
    if not model:
        raise InvalidRequest("model is required", param="model")
    return model


def address_of(call: Call, attempt: Attempt, knobs: Knobs) -> Address:
    """The upstream's address for one channel and key.

    Raises:
        ChannelFault: the channel is misconfigured.
        UnsupportedEndpoint: its provider has no realtime sessions.
    """
    channel, head = attempt.channel, call.head
    provider = provider_of(call, attempt)
    target = Target(
        channel=channel,
        key=attempt.key,
        mode=Mode.REALTIME,
        dialect=Dialect.CHAT,
        model=routing.map_model(channel.model_mapping, call.model),
        stream=True,
        head=head,
        path=call.path,
        query=head.query,
        options=knobs.provider_options,
    )
    attempt.model = target.model
    own = overrides.headers(channel.header_override, target.key, head.headers)
    url = with_rest(provider.url(target), head.query)
    return Address(
        url,
        _headers(provider.authorize(target), own, wants_beta(call)),
        str(channel.setting.get("proxy") or ""),
        bool(channel.settings.get("guarded_address")),
        shown_host(own.get("host") or "", url),
    )


def shown_host(named: str, url: str) -> tuple[str, int] | None:
    """Name and port of a `Host` header that a channel sets; None when it sets none.

    Args:
        url: Where the handshake goes; its kind has the usual port.

    Raises:
        ChannelFault: the header names no host.
    """
    if not named:
        return None
    found = _HOST.fullmatch(named)
    if found is None:
        raise ChannelFault(
            "the channel's header override cannot be applied",
            code="channel:header_override_invalid",
            detail="Host names no host",
        )
    usual = 443 if url.startswith(("wss:", "https:")) else 80
    return found["name"].strip("[]"), int(found["port"] or usual)


def with_rest(url: str, query: str) -> str:
    """The URL with the client's parameters that nobody has looked at."""
    rest = [part for part in query.split("&") if part and _foreign(part)]
    if not rest:
        return url
    return f"{url}{'&' if '?' in url else '?'}{'&'.join(rest)}"


def _foreign(part: str) -> bool:
    name = unquote_plus(part.partition("=")[0]).lower()
    return name not in OUR_QUERY and name not in _SECRETS


def wants_beta(call: Call) -> bool:
    """True when the client asks for the older interface, in either of its two ways."""
    if BETA[1] in call.head.get("openai-beta"):
        return True
    return _BETA_SUBPROTOCOL in offered(call.head.get("sec-websocket-protocol"))


def offered(subprotocols: str) -> list[str]:
    """The items of `Sec-WebSocket-Protocol`."""
    return [item.strip() for item in subprotocols.split(",") if item.strip()]


def _headers(
    credentials: Iterable[tuple[str, str]], own: Mapping[str, str], beta: bool
) -> Mapping[str, str]:
    """The credential and what the channel sets; what belongs to the connection is
    nobody's to set."""
    usual = [*credentials, BETA] if beta else list(credentials)
    kept = {name: value for name, value in usual if name.lower() not in own}
    allowed = {n: v for n, v in own.items() if v and not n.startswith(_CONNECTION)}
    return kept | allowed


def _failed(detail: str) -> UpstreamFailed:
    return UpstreamFailed("upstream request failed", detail=detail)
