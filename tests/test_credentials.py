"""Tokens for the keys of channels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.background import Background
from knight_tw.credentials import TokenExchange, sign_rsa
from knight_tw.errors import ChannelFault, UpstreamFailed
from knight_tw.providers.provider import Exchange, Grant, SignRsa, TokenRequest

GOOD = (200, b"token:100")


@define(eq=False)
class Provider:
    """A provider's token service: what it was asked, and answers to be given."""

    asked: list[tuple[TokenRequest, str, bool]] = field(factory=list)
    waiting: list[Deferred[tuple[int, bytes]]] = field(factory=list)

    def send(
        self, request: TokenRequest, *, proxy: str, guarded: bool
    ) -> Deferred[tuple[int, bytes]]:
        """See `Send`."""
        self.asked.append((request, proxy, guarded))
        self.waiting.append(Deferred())
        return self.waiting[-1]

    def answer(self, status: int, body: bytes) -> None:
        """Answer the request that has waited longest."""
        self.waiting.pop(0).callback((status, body))


def exchange(name: str = "e") -> Exchange:
    """An exchange whose answers are `token:seconds`."""

    def request(now: float, sign: SignRsa) -> TokenRequest:
        return TokenRequest(f"https://t/{int(now)}", [], sign("pem", b"x"))

    def read(body: bytes) -> Grant:
        token, _, seconds = body.decode().partition(":")
        return Grant(token, float(seconds))

    return Exchange(name, request, read)


def refuses(pem: str, text: bytes) -> bytes:
    """A signer to whom every key is unreadable."""
    raise ValueError


class Exchanges(SynchronousTestCase):
    """`TokenExchange`."""

    def setUp(self) -> None:
        self.clock, self.provider = Clock(), Provider()
        self.background = Background()
        self.tokens = self.made()

    def made(self, sign: SignRsa = lambda pem, text: b"signed", **more: Any) -> Any:
        """Tokens that are got from the provider."""

        def aside(work: Callable[[], TokenRequest]) -> Deferred[TokenRequest]:
            return maybeDeferred(work)

        return TokenExchange(
            self.provider.send, self.clock, self.background, aside, sign, **more
        )

    def ask(self, name: str = "e", **more: Any) -> Deferred[str]:
        """A call that needs a token."""
        return Deferred.fromCoroutine(self.tokens.token(exchange(name), **more))

    def test_once_for_many(self) -> None:
        """Calls that need the same token at once wait for one request."""
        calls = [self.ask(proxy="p", guarded=True) for _ in range(3)]
        self.assertEqual(len(self.provider.asked), 1)
        request, proxy, guarded = self.provider.asked[0]
        self.assertEqual((request.url, request.body), ("https://t/0", b"signed"))
        self.assertEqual((proxy, guarded), ("p", True))
        self.provider.answer(*GOOD)
        self.assertEqual([self.successResultOf(c) for c in calls], ["token"] * 3)

    def test_kept_until_shortly_before_its_end(self) -> None:
        """A token is used again, and renewed a minute before it ends."""
        call = self.ask()
        self.provider.answer(*GOOD)
        self.successResultOf(call)
        self.clock.advance(39)
        self.assertEqual(self.successResultOf(self.ask()), "token")
        self.assertEqual(self.tokens.known(exchange()), "token")
        self.clock.advance(1)
        self.assertEqual(self.tokens.known(exchange()), "")
        call = self.ask()
        self.provider.answer(200, b"next:100")
        self.assertEqual(self.successResultOf(call), "next")

    def test_each_key_its_own(self) -> None:
        """Tokens of different keys have nothing to do with each other."""
        one, two = self.ask("one"), self.ask("two")
        self.provider.answer(200, b"1:100")
        self.provider.answer(200, b"2:100")
        found = self.successResultOf(one), self.successResultOf(two)
        self.assertEqual(found, ("1", "2"))

    def test_forgotten(self) -> None:
        """A token that a call was refused with goes, unless it is a newer one."""
        call = self.ask()
        self.provider.answer(*GOOD)
        self.successResultOf(call)
        self.tokens.forget(exchange(), "older")
        self.assertEqual(self.tokens.known(exchange()), "token")
        self.tokens.forget(exchange(), "token")
        self.tokens.forget(exchange(), "token")
        self.assertEqual(self.tokens.known(exchange()), "")

    def test_bounded(self) -> None:
        """Those used longest ago go first."""
        self.tokens = self.made(limit=2)
        for name in ("a", "b", "c"):
            call = self.ask(name)
            self.provider.answer(*GOOD)
            self.successResultOf(call)
            self.tokens.known(exchange("a"))
        known = [self.tokens.known(exchange(name)) for name in ("a", "b", "c")]
        self.assertEqual(known, ["token", "", "token"])

    def test_refused_key(self) -> None:
        """A key that the provider refuses is the channel's fault; nothing is kept."""
        for status in (400, 401, 403):
            calls = [self.ask(), self.ask()]
            self.provider.answer(status, b'{"error":"invalid_grant"}')
            for call in calls:
                error = self.failureResultOf(call, ChannelFault).value
                self.assertIn("invalid_grant", error.detail)
                self.assertNotIn("invalid_grant", error.message)

    def test_provider_in_trouble(self) -> None:
        """Any other failure may pass."""
        call = self.ask()
        self.provider.answer(500, b"")
        self.failureResultOf(call, UpstreamFailed)
        call = self.ask()
        self.provider.waiting.pop(0).errback(UpstreamFailed("away"))
        self.failureResultOf(call, UpstreamFailed)
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_unreadable_key(self) -> None:
        """A private key that cannot be read is the channel's fault."""
        self.tokens = self.made(refuses)
        self.failureResultOf(self.ask(), ChannelFault)
        self.assertEqual(self.provider.asked, [])

    def test_callers_leave(self) -> None:
        """A caller that leaves, the first too, does not take the token from others."""
        first, second, third = self.ask(), self.ask(), self.ask()
        first.cancel()
        self.failureResultOf(first, CancelledError)
        fourth = self.ask()
        third.cancel()
        self.failureResultOf(third, CancelledError)
        self.provider.answer(*GOOD)
        found = self.successResultOf(second), self.successResultOf(fourth)
        self.assertEqual(found, ("token", "token"))
        self.assertEqual(len(self.provider.asked), 1)

    def test_everybody_left(self) -> None:
        """The token is kept for the next call even when nobody waits any more."""
        call = self.ask()
        call.cancel()
        self.failureResultOf(call, CancelledError)
        self.provider.answer(*GOOD)
        self.assertEqual(self.successResultOf(self.ask()), "token")

    def test_one_waiter_takes_another_away(self) -> None:
        """A caller that cancels the next when it gets its token breaks nothing."""
        first, second = self.ask(), self.ask()
        first.addCallback(lambda token: second.cancel() or token)
        self.provider.answer(*GOOD)
        self.assertEqual(self.successResultOf(first), "token")
        self.failureResultOf(second, CancelledError)

    def test_drained(self) -> None:
        """A stop waits for exchanges under way, and may end them."""
        call = self.ask()
        drained = self.background.drained()
        self.assertNoResult(drained)
        self.background.cancel()
        self.successResultOf(drained)
        self.failureResultOf(call, CancelledError)


class Signing(SynchronousTestCase):
    """`sign_rsa`."""

    def pem(self, key: Any) -> str:
        """A private key as text."""
        return str(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode()
        )

    def test_signature(self) -> None:
        """The public key verifies what the private one signed."""
        key = rsa.generate_private_key(65537, 2048)
        signature = sign_rsa(self.pem(key), b"text")
        key.public_key().verify(signature, b"text", padding.PKCS1v15(), SHA256())

    def test_other_keys(self) -> None:
        """What is no private RSA key is refused, in one way."""
        locked = rsa.generate_private_key(65537, 2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
        other = self.pem(ec.generate_private_key(ec.SECP256R1()))
        for pem in ("", "no key", other, locked.decode()):
            with self.assertRaises(ValueError):
                sign_rsa(pem, b"text")
