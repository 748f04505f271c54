"""What payment gateways tell us: EPay's notices, Stripe's and Creem's events.

Nobody is logged in here; a message counts for what its signature proves. Whatever is
believed is credited first and answered then, so a message whose answer is lost comes
again and changes nothing. A gateway whose secret is not set is answered 503: an empty
secret would let anybody sign. Answers are plain text, for gateways and their logs.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.web.server import Request

from knight_tw.errors import KnightError
from knight_tw.options import Options
from knight_tw.payments import creem, epay, stripe
from knight_tw.payments.orders import STRIPE, NotConfigured, Payment
from knight_tw.storage.top_up_queries import End
from knight_tw.web.api.answers import body_bytes, header, install, put_header
from knight_tw.web.api.orders import Orders
from knight_tw.web.auth import Who, mark

log = Logger()

SUCCESS, FAIL = b"success", b"fail"
"""What EPay gateways wait for, to the letter; anything else is asked again."""

_TEXT = "text/plain; charset=utf-8"
_SETTLED = (End.CREDITED, End.BEFORE)

Told = Coroutine[Deferred[Any], Any, bytes]


@frozen(eq=False)
class PaymentCallbacks:
    """The routes that gateways call."""

    _options: Callable[[], Options]
    _orders: Orders
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/epay/notify", methods=["GET", "POST"])
    @mark(Who.ANYONE)
    async def epay_notice(self, request: Request) -> bytes:
        """A payment at EPay."""
        return await _answered(request, self._epay(request), FAIL)

    @app.route("/api/stripe/webhook", methods=["POST"])
    @mark(Who.ANYONE)
    async def stripe_event(self, request: Request) -> bytes:
        """An event of Stripe."""
        return await _answered(request, self._stripe(request))

    @app.route("/api/creem/webhook", methods=["POST"])
    @mark(Who.ANYONE)
    async def creem_event(self, request: Request) -> bytes:
        """An event of Creem."""
        return await _answered(request, self._creem(request))

    @app.route("/api/waffo/webhook", methods=["POST"])
    @mark(Who.ANYONE)
    async def waffo_event(self, request: Request) -> bytes:
        """An event of Waffo, which this gateway does not speak to."""
        return await _answered(request, _unconfigured(request, "Waffo"))

    @app.route("/api/waffo-pancake/webhook/<environment>", methods=["POST"])
    @mark(Who.ANYONE)
    async def pancake_event(self, request: Request, environment: str) -> bytes:
        """An event of Waffo Pancake, which this gateway does not speak to."""
        return await _answered(request, _unconfigured(request, "Waffo Pancake"))

    async def _epay(self, request: Request) -> bytes:
        try:
            merchant = epay.Merchant.of(self._options())
        except NotConfigured:
            await _unconfigured(request, "EPay")
            return FAIL
        try:
            payment = epay.payment(epay.members(_form(request)), merchant)
        except epay.NoticeRefused as refused:
            log.warn("EPay notice refused: {why}", why=str(refused))
            return FAIL
        if payment.merchant != merchant.pid:
            self._orders.alarm(request, payment, "the notice names another merchant")
            return FAIL
        outcome = await self._orders.paid(request, payment)
        return SUCCESS if outcome.end in _SETTLED else FAIL

    async def _stripe(self, request: Request) -> bytes:
        secret = stripe.webhook_secret(self._options())
        if not secret:
            return await _unconfigured(request, "Stripe")
        body = body_bytes(request)
        try:
            stripe.verify(
                header(request, "Stripe-Signature"), body, secret, self._now()
            )
            event = stripe.read_event(body)
        except (stripe.BadSignature, stripe.BadEvent) as refused:
            return _refused(request, "Stripe", refused)
        if isinstance(event, stripe.Closing):
            await self._orders.close(event, STRIPE)
            return b"noted"
        return await self._event(request, event)

    async def _creem(self, request: Request) -> bytes:
        secret = creem.webhook_secret(self._options())
        if not secret:
            return await _unconfigured(request, "Creem")
        body = body_bytes(request)
        try:
            creem.verify(header(request, creem.SIGNATURE_HEADER), body, secret)
            event = creem.read_event(body)
        except (creem.BadSignature, creem.BadEvent) as refused:
            return _refused(request, "Creem", refused)
        return await self._event(request, event)

    async def _event(self, request: Request, payment: Payment | None) -> bytes:
        """Events are 200 whatever came of them: sent again they would end the same."""
        if payment is None:
            return b"ignored"
        outcome = await self._orders.paid(request, payment)
        return outcome.end.value.encode()


async def _answered(request: Request, work: Told, fallback: bytes = b"later") -> bytes:
    """What `work` answers, as text; 503 when something of ours is away."""
    put_header(request, "Content-Type", _TEXT)
    try:
        return await work
    except KnightError as error:
        log.warn("payment message not taken: {why}", why=error.detail or error.message)
        request.setResponseCode(503)
        return fallback


async def _unconfigured(request: Request, who: str) -> bytes:
    log.warn("a message of {who} came, which is not configured", who=who)
    request.setResponseCode(503)
    return b"not configured"


def _refused(request: Request, who: str, why: Exception) -> bytes:
    log.warn("event of {who} refused: {why}", who=who, why=str(why))
    request.setResponseCode(400)
    return str(why).encode()


def _form(request: Request) -> bytes:
    if request.method == b"POST":
        return body_bytes(request).strip()
    query: bytes = request.uri.partition(b"?")[2]
    return query
