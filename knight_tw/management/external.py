"""The surfaces about logins by accounts elsewhere."""

from __future__ import annotations

import random

from knight_tw.accounts.external.built_in import Addresses
from knight_tw.accounts.external.exchange import Exchange
from knight_tw.accounts.external.known import KnownProviders
from knight_tw.accounts.external.people import People
from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.arrivals import Arrivals
from knight_tw.web.api.bindings import BindingsApi
from knight_tw.web.api.messengers import MessengersApi
from knight_tw.web.api.oauth import OAuthApi
from knight_tw.web.api.oauth_providers import OAuthProvidersApi
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """OAuth, WeChat and Telegram, bindings, custom providers."""
    db, options, changed = parts.db, parts.options, parts.snapshots.changed
    clock, seconds = parts.reactor, parts.reactor.seconds
    guard, limits, audit = tools.guard, tools.limits, tools.audit
    dice = random.SystemRandom()
    exchange = Exchange(parts.upstream.send, clock)
    known = KnownProviders(db, options, Addresses.of(parts.settings))
    people = People(db, options, clock, dice)
    arrivals = Arrivals(
        *(db, people, tools.entrance, tools.factor, audit),
        *(options, changed, seconds),
    )
    return [
        OAuthApi(
            *(guard, limits, known, exchange, tools.flows, arrivals),
            *(tools.signer, tools.cookies, options, dice, seconds),
        ),
        MessengersApi(
            *(db, guard, limits, known, exchange, tools.flows, arrivals, seconds)
        ),
        BindingsApi(db, guard, audit, changed),
        OAuthProvidersApi(db, guard, exchange, audit, seconds),
    ]
