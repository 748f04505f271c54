"""Asks the payment gateways for checkouts: Stripe by forms, Creem by JSON.

What they answer when they refuse is for the administrator's log; the buyer learns that
there is no checkout.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import quote, urlencode

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.logger import Logger

from knight_tw.errors import KnightError
from knight_tw.payments import creem, stripe
from knight_tw.wire.masking import mask

log = Logger()

Headers = list[tuple[str, str]]

SECONDS = 30.0
"""Until the answer's head, and for its body."""

BODY_LIMIT = 1_048_576
"""Bytes of an answer that are read."""

_LONGEST_REASON = 500
_ACCEPT = ("Accept", "application/json")
_FORM = ("Content-Type", "application/x-www-form-urlencoded")
_JSON = ("Content-Type", "application/json")


class CheckoutFailed(KnightError):
    """The gateway could not be asked, or gave no checkout."""

    status, code = 502, "upstream_failed"


class Answer(Protocol):
    """An answer whose body is still to be read."""

    @property
    def status(self) -> int: ...

    def read(self, limit: int, timeout: float | None = None) -> Deferred[bytes]:
        """The whole body."""
        ...


class Send(Protocol):
    """`Upstream.send`."""

    def __call__(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        first_byte_timeout: float | None = None,
    ) -> Deferred[Any]: ...


@frozen
class Checkout:
    """Where the buyer pays; `reference` is the gateway's own number of it."""

    url: str
    reference: str


@frozen(eq=False)
class Stripe:
    """Stripe's API."""

    _send: Send
    _address: str = stripe.ADDRESS

    async def price(self, account: stripe.Account) -> stripe.Price:
        """What one of the account's price object costs.

        Raises:
            CheckoutFailed: Stripe could not be asked, or refused.
            NotConfigured: the price is of another kind.
        """
        url = f"{self._address}/v1/prices/{quote(account.price_id, safe='')}"
        asking = self._send(
            "GET", url, _stripe_headers(account), b"", first_byte_timeout=SECONDS
        )
        return stripe.price(await _answered("Stripe", asking, account.key))

    async def session(
        self,
        account: stripe.Account,
        trade_no: str,
        form: Sequence[tuple[str, str]],
    ) -> Checkout:
        """A new checkout; asking twice for one order gives the same.

        Raises:
            CheckoutFailed.
        """
        url = f"{self._address}/v1/checkout/sessions"
        headers = [*_stripe_headers(account), _FORM, ("Idempotency-Key", trade_no)]
        body = urlencode(form).encode()
        asking = self._send("POST", url, headers, body, first_byte_timeout=SECONDS)
        answer = await _answered("Stripe", asking, account.key)
        return _checkout("Stripe", answer, "url")


@frozen(eq=False)
class Creem:
    """Creem's API; the addresses are those of the true and of the test service."""

    _send: Send
    _address: str = creem.ADDRESS
    _test_address: str = creem.TEST_ADDRESS

    async def checkout(self, account: creem.Account, body: dict[str, Any]) -> Checkout:
        """A new checkout.

        Raises:
            CheckoutFailed.
        """
        address = self._test_address if account.test else self._address
        headers = [_ACCEPT, ("x-api-key", account.key), _JSON]
        told = msgspec.json.encode(body)
        url = f"{address}/v1/checkouts"
        asking = self._send("POST", url, headers, told, first_byte_timeout=SECONDS)
        answer = await _answered("Creem", asking, account.key)
        return _checkout("Creem", answer, "checkout_url")


def _stripe_headers(account: stripe.Account) -> Headers:
    return [
        _ACCEPT,
        ("Authorization", f"Bearer {account.key}"),
        ("Stripe-Version", stripe.API_VERSION),
    ]


async def _answered(who: str, asking: Deferred[Any], key: str) -> dict[str, Any]:
    """The JSON object of a good answer; `key` is kept out of the log."""
    try:
        answer: Answer = await asking
        content = await answer.read(BODY_LIMIT, SECONDS)
    except KnightError as error:
        raise _failed(who, error.detail or error.message) from None
    if not 200 <= answer.status < 300:
        said = content[:_LONGEST_REASON].decode("utf-8", "replace")
        raise _failed(who, f"{answer.status} {mask(said, (key,))}")
    try:
        return msgspec.json.decode(content, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise _failed(who, "the answer is not a JSON object") from None


def _checkout(who: str, answer: dict[str, Any], place: str) -> Checkout:
    url, reference = answer.get(place), answer.get("id")
    if not isinstance(url, str) or not isinstance(reference, str) or not url:
        raise _failed(who, "the answer names no checkout")
    return Checkout(url, reference[:255])


def _failed(who: str, why: str) -> CheckoutFailed:
    log.error("{who} gave no checkout: {why}", who=who, why=why)
    return CheckoutFailed(f"{who} could not be reached or refused; try again later")
