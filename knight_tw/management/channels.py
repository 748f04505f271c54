"""The surfaces about channels and their models."""

from __future__ import annotations

from knight_tw import providers
from knight_tw.channels.addresses import AddressCheck
from knight_tw.channels.ollama import Ollama
from knight_tw.management.parts import Parts, Tools
from knight_tw.web.api.channel_bulk import ChannelBulk
from knight_tw.web.api.channel_work import ChannelWork
from knight_tw.web.api.channels import Channels
from knight_tw.web.api.model_updates import ModelUpdatePages
from knight_tw.web.api.models import ModelNames
from knight_tw.web.api.ollama import OllamaPages
from knight_tw.web.root import Surface


def surfaces(parts: Parts, tools: Tools) -> list[Surface]:
    """Channels, tests of them, changes of many, model lists, Ollama."""
    db, view, clock = parts.db, parts.snapshots, parts.reactor
    guard, audit = tools.guard, tools.audit
    allowed = AddressCheck(clock, lambda: parts.upstream.guard)
    return [
        Channels(
            guard,
            db,
            view,
            clock,
            tools.limits,
            audit,
            view.changed,
            allowed,
        ),
        ChannelWork(
            guard,
            db,
            tools.tester,
            tools.discovery,
            tools.balances,
            tools.jobs,
            audit,
        ),
        ChannelBulk(guard, db, clock, parts.cache, audit, view.changed, allowed),
        ModelUpdatePages(guard, db, tools.updates, tools.jobs, audit),
        ModelNames(guard, view, providers.ALL),
        OllamaPages(guard, db, Ollama(tools.client), audit),
    ]
