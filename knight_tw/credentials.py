"""Tokens that providers give for the keys of channels: got once, kept, renewed in time.

How a key becomes a token is the provider's matter (`Provider.exchange`); here is only
what takes time: one request at a time for each key, however many calls wait for it, and
a bounded memory of what was given. Tokens are kept by channel and key, in this process.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from attrs import define, field, frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from knight_tw.background import Background
from knight_tw.errors import ChannelFault, KnightError, UpstreamFailed
from knight_tw.providers.provider import Exchange, SignRsa, TokenRequest
from knight_tw.wire.failure import read_failure

MARGIN = 60.0
"""Seconds before its end from which on a token is not used any more."""

KEPT = 4096
"""Most tokens that are kept; those used longest ago go first."""

REFUSED = "the provider refused the channel's credential"
UNREADABLE = "the channel's private key cannot be read"


class Send(Protocol):
    """Sends a token request and gives the answer's status and body, both bounded."""

    def __call__(
        self, request: TokenRequest, *, proxy: str, guarded: bool
    ) -> Deferred[tuple[int, bytes]]:
        """Fails with `UpstreamFailed` or `UpstreamTimeout` when nothing comes back."""
        ...


Aside = Callable[[Callable[[], TokenRequest]], Deferred[TokenRequest]]
"""Runs a function in a thread for work that would hold up the reactor.

Reading and checking a private key takes some 30 ms."""


@frozen(eq=False)
class _Kept:
    token: str = field(repr=False)
    until: float


@define(eq=False)
class TokenExchange:
    """The tokens of all channels whose keys do not authorize calls themselves."""

    _send: Send
    _clock: IReactorTime
    _background: Background
    _aside: Aside
    _sign: SignRsa
    _limit: int = KEPT
    _kept: OrderedDict[str, _Kept] = field(factory=OrderedDict)
    _waiting: dict[str, list[Deferred[str]]] = field(factory=dict)

    def known(self, exchange: Exchange) -> str:
        """The token that is at hand and still good, empty when there is none."""
        kept = self._kept.get(exchange.name)
        if kept is None or kept.until <= self._clock.seconds():
            return ""
        self._kept.move_to_end(exchange.name)
        return kept.token

    async def token(
        self, exchange: Exchange, *, proxy: str = "", guarded: bool = False
    ) -> str:
        """A token that is good for some time.

        Raises:
            ChannelFault: the key is none, or the provider refuses it.
            UpstreamFailed, UpstreamTimeout: the provider could not be asked.
        """
        known = self.known(exchange)
        if known:
            return known
        name = exchange.name
        begun = name in self._waiting
        waiting = self._waiting.setdefault(name, [])
        waiter: Deferred[str] = Deferred(waiting.remove)
        waiting.append(waiter)
        if not begun:
            # Apart from the caller that began it: that one may leave, others wait on.
            work = self._renew(exchange, proxy, guarded)
            self._background.spawn("exchange a key for a token", work)
        return await waiter

    def forget(self, exchange: Exchange, token: str) -> None:
        """Keep this token no longer: the provider refused a call with it."""
        kept = self._kept.get(exchange.name)
        if kept is not None and kept.token == token:
            del self._kept[exchange.name]

    async def _renew(self, exchange: Exchange, proxy: str, guarded: bool) -> None:
        """Get a token and hand it, or the failure, to everybody who waits for it."""
        outcome: str | Failure
        try:
            outcome = await self._ask(exchange, proxy, guarded)
        except Exception as error:  # noqa: BLE001 - who waits gets it, whatever it is
            outcome = Failure(error)  # type: ignore[no-untyped-call]  # bare there
        waiting = self._waiting.pop(exchange.name)
        while waiting:  # one that is called may take others away
            waiting.pop(0).callback(outcome)

    async def _ask(self, exchange: Exchange, proxy: str, guarded: bool) -> str:
        now = self._clock.seconds()
        try:
            request = await self._aside(lambda: exchange.request(now, self._sign))
        except ValueError:
            raise ChannelFault(UNREADABLE) from None
        status, body = await self._send(request, proxy=proxy, guarded=guarded)
        if not 200 <= status < 300:
            raise _failure(status, body)
        grant = exchange.read(body)
        until = self._clock.seconds() + grant.seconds - MARGIN
        self._kept[exchange.name] = _Kept(grant.token, until)
        self._kept.move_to_end(exchange.name)
        while len(self._kept) > self._limit:
            self._kept.popitem(last=False)
        return grant.token


def _failure(status: int, body: bytes) -> KnightError:
    """A refused key is the channel's fault; anything else may pass."""
    said = read_failure(status, body).message
    if status in (400, 401, 403):
        return ChannelFault(REFUSED, detail=f"{status}: {said}")
    return UpstreamFailed(
        "the provider gave no token for the channel's key", detail=f"{status}: {said}"
    )


def sign_rsa(pem: str, text: bytes) -> bytes:
    """The RSA signature (SHA-256, PKCS #1) that JWTs call RS256.

    Raises:
        ValueError: `pem` is no private RSA key.
    """
    try:
        key = load_pem_private_key(pem.encode(), password=None)
    except (TypeError, UnsupportedAlgorithm):
        raise ValueError("the private key cannot be read") from None
    if not isinstance(key, RSAPrivateKey):
        raise ValueError("the private key is no RSA key")
    return key.sign(text, PKCS1v15(), SHA256())
