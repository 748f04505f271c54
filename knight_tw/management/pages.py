"""The surfaces about tokens, logs, jobs, prices and models."""

from __future__ import annotations

from knight_tw.management.parts import Parts, Tools
from knight_tw.model_sync import Download, ModelSource
from knight_tw.price_sync import PriceSync
from knight_tw.web.api.catalogue import Catalogue
from knight_tw.web.api.data import UsageSums
from knight_tw.web.api.jobs import JobPages
from knight_tw.web.api.log_views import LogViews
from knight_tw.web.api.logs import ChannelNames, Logs
from knight_tw.web.api.model_sync import ModelSync
from knight_tw.web.api.pricing import Pricing
from knight_tw.web.api.ratio_sync import RatioSync
from knight_tw.web.api.tokens import Tokens
from knight_tw.web.api.usage import BillingPages, KeyPages
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Tokens, logs, jobs, usage, prices, model rows, pages for token keys."""
    db, logs, view, clock = parts.db, parts.logs, parts.snapshots, parts.reactor
    guard, limits, audit = tools.guard, tools.limits, tools.audit
    holder, names = parts.callers.holder, ChannelNames(db)
    download = Download.of(parts.settings)
    source = ModelSource(parts.upstream.send, parts.in_thread, clock, download)
    return [
        Tokens(guard, db, view, clock, limits, view.changed),
        Logs(guard, logs, names, clock, limits, tools.cleanup, audit),
        LogViews(guard, logs, names, clock, limits),
        JobPages(guard, db, tools.jobs, tools.cleanup, audit),
        UsageSums(guard, db, clock),
        Pricing(guard, db, view, clock),
        Catalogue(guard, db, view, clock, audit),
        ModelSync(guard, db, source, clock, audit),
        RatioSync(guard, db, PriceSync(parts.upstream.send, parts.options)),
        KeyPages(holder, db, logs, limits),
        BillingPages(holder, db, view),
    ]
