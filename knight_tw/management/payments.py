"""The surfaces about top-ups and the gateways that take the money."""

from __future__ import annotations

import random

from knight_tw.checkouts import Creem, Stripe
from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.deployments import DeploymentsApi
from knight_tw.web.api.orders import Orders
from knight_tw.web.api.payment_callbacks import PaymentCallbacks
from knight_tw.web.api.payment_settings import PaymentSettingsApi
from knight_tw.web.api.payments import PaymentsApi
from knight_tw.web.api.top_ups import TopUpsApi
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Prices and orders, bills, callbacks, the declaration, io.net."""
    db, options, seconds = parts.db, parts.options, parts.reactor.seconds
    guard, audit, changed = tools.guard, tools.audit, parts.snapshots.changed
    send = parts.upstream.send
    orders = Orders(db, audit, options, changed, parts.balances_changed, seconds)
    return [
        TopUpsApi(db, guard, options, orders),
        PaymentsApi(
            db,
            guard,
            tools.limits,
            options,
            orders,
            Stripe(send),
            Creem(send),
            parts.settings.trusted_redirect_domains,
            random.SystemRandom(),
            seconds,
        ),
        PaymentCallbacks(options, orders, seconds),
        PaymentSettingsApi(db, guard, audit, changed, seconds),
        DeploymentsApi(guard),
    ]
