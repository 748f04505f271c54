"""What changed in an upstream's model list since a channel was set up.

Found changes wait in the channel's `settings` (`upstream_model_update_*`, providers
specification, section 2.2) until an administrator applies or ignores them, or are
applied at once where the channel says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.channels.discovery import Discovery
from knight_tw.channels.health import Changed
from knight_tw.channels.keys import compact, stored
from knight_tw.errors import ChannelFault, KnightError, NotFound
from knight_tw.jobs import Job, JobRunning, Jobs
from knight_tw.records import ENABLED, Channel
from knight_tw.routing import map_model
from knight_tw.storage import channel_queries, channels
from knight_tw.storage.database import Database
from knight_tw.storage.sql import listed

JOB = "model_update"

_PREFIX = "upstream_model_update_"
CHECK, AUTO = f"{_PREFIX}check_enabled", f"{_PREFIX}auto_sync_enabled"
LAST = f"{_PREFIX}last_check_time"
FOUND, GONE = f"{_PREFIX}last_detected_models", f"{_PREFIX}last_removed_models"
IGNORED = f"{_PREFIX}ignored_models"

Row = dict[str, Any]


@frozen
class Difference:
    """What an upstream has and a channel lacks, and the other way round."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    applied: int = 0
    """Models that were added to the channel at once."""

    @property
    def empty(self) -> bool:
        """True when both lists agree."""
        return not (self.added or self.removed)


@frozen
class Applied:
    """What applying a difference came to; `row` is the channel afterwards."""

    row: Row
    added: Sequence[str]
    removed: Sequence[str]
    ignored: Sequence[str]
    left: Sequence[str]
    left_removed: Sequence[str]


def difference(
    channel: Channel, offered: Iterable[str], ignored: Iterable[str]
) -> Difference:
    """Compare an upstream's models with a channel's.

    A model of the channel counts by the upstream's name that it is mapped to; a model
    that only such a mapping uses is not new.
    """
    names = list(dict.fromkeys(offered))
    known, skipped = set(channel.models), set(ignored)
    targets = {model: _mapped(channel, model) for model in channel.models}
    served = set(targets.values()) & set(names)
    added = [
        name
        for name in names
        if name not in known and name not in skipped and name not in served
    ]
    offered_names = set(names)
    removed = [
        model for model, target in targets.items() if target not in offered_names
    ]
    return Difference(tuple(added), tuple(removed))


def _mapped(channel: Channel, model: str) -> str:
    try:
        return map_model(channel.model_mapping, model)
    except ChannelFault:
        return model


@define(eq=False)
class ModelUpdates:
    """Detects and applies changes of upstreams' model lists."""

    _db: Database
    _clock: IReactorTime
    _discovery: Discovery
    _changed: Changed
    told: Callable[[Mapping[str, int]], None] | None = None
    """Told the counts of each round that found changes."""
    _log: Logger = field(factory=Logger)

    async def detect(self, channel: Channel) -> tuple[Difference, int]:
        """Ask the upstream of one channel; the difference, now stored, and the moment.

        Raises:
            KnightError: the upstream gave no list.
        """
        offered = await self._discovery.models(channel)
        now = int(self._clock.seconds())
        found: list[Difference] = []

        def decide(row: Row) -> Mapping[str, Any]:
            settings = stored(row["settings"])
            current = channels.to_record(row)
            told = difference(current, offered, _names(settings.get(IGNORED)))
            values: Row = {}
            if settings.get(AUTO) and told.added:
                values["models"] = ",".join([*current.models, *told.added])
                told = Difference((), told.removed, len(told.added))
            found.append(told)
            return {**values, **_kept(settings, told.added, told.removed, now)}

        await self._write(channel.id, decide)
        return found[-1], now

    async def apply(
        self,
        channel_id: int,
        added: Sequence[str],
        removed: Sequence[str],
        ignored: Sequence[str],
    ) -> Applied:
        """Add and remove models of a channel as an administrator decided.

        Raises:
            NotFound: there is no such channel.
        """
        outcome: list[Applied] = []

        def decide(row: Row) -> Mapping[str, Any]:
            settings = stored(row["settings"])
            before = list(listed(row["models"]))
            new = [name for name in dict.fromkeys(added) if name not in before]
            out = [name for name in before if name in set(removed)]
            models = [name for name in before if name not in set(out)] + new
            skipped = list(dict.fromkeys([*_names(settings.get(IGNORED)), *ignored]))
            done = {*models, *ignored}
            left = [name for name in _names(settings.get(FOUND)) if name not in done]
            left_out = [
                name for name in _names(settings.get(GONE)) if name not in set(out)
            ]
            if skipped:
                settings[IGNORED] = skipped
            values = _kept(settings, left, left_out, int(settings.get(LAST) or 0))
            after = {**row, "models": ",".join(models), **values}
            outcome.append(Applied(after, new, out, list(ignored), left, left_out))
            return {"models": after["models"], **values}

        await self._write(channel_id, decide)
        return outcome[-1]

    async def run(self, job: Job) -> dict[str, int]:
        """Ask the upstreams of all enabled channels that want it."""
        rows = await self._db.read(channels.load_all)
        chosen = [one for one in rows if watched(one)]
        for what in (
            "checked_channels",
            "changed_channels",
            "failed_channels",
            "detected_add_models",
            "detected_remove_models",
            "auto_added_models",
        ):
            job.count(what, 0)
        job.total = len(chosen)
        for channel in chosen:
            await self._detect_in(job, channel)
            job.advance()
        if self.told is not None and job.counts["changed_channels"]:
            self.told(job.counts)
        return dict(job.counts)

    async def watch(self, jobs: Jobs) -> bool:
        """Begin a round if a channel wants it; True when one began. Called about every
        half hour by the process that holds the lease."""
        rows = await self._db.read(channels.load_all)
        if not any(watched(one) for one in rows):
            return False
        try:
            await jobs.start(JOB, self.run)
        except JobRunning:
            return False
        return True

    async def pending(self) -> list[tuple[int, list[str], list[str]]]:
        """(id, added, removed) of the channels where changes wait."""
        rows = await self._db.read(channels.load_all)
        waiting = []
        for one in rows:
            new, gone = _names(one.settings.get(FOUND)), _names(one.settings.get(GONE))
            if one.settings.get(CHECK) and (new or gone):
                waiting.append((one.id, new, gone))
        return waiting

    async def _detect_in(self, job: Job, channel: Channel) -> None:
        job.count("checked_channels")
        try:
            told, _ = await self.detect(channel)
        except KnightError as error:
            job.count("failed_channels")
            self._log.info(
                "no model list from channel {channel_id}: {why}",
                channel_id=channel.id,
                why=error.message,
            )
            return
        job.count("changed_channels", int(not told.empty or told.applied > 0))
        job.count("detected_add_models", len(told.added) + told.applied)
        job.count("detected_remove_models", len(told.removed))
        job.count("auto_added_models", told.applied)

    async def _write(self, channel_id: int, decide: Any) -> None:
        written = await self._db.run(channel_queries.change, channel_id, decide)
        if written is None:
            raise NotFound("record not found")
        await self._changed("channel", str(channel_id))


def watched(channel: Channel) -> bool:
    """True for an enabled channel whose upstream's list is to be watched."""
    return channel.status == ENABLED and bool(channel.settings.get(CHECK))


def _kept(
    settings: Row, added: Iterable[str], removed: Iterable[str], now: int
) -> dict[str, str]:
    """The column `settings` with what waits; empty lists are left out."""
    told = {
        name: value for name, value in settings.items() if name not in (FOUND, GONE)
    }
    told[LAST] = now
    for name, models in ((FOUND, list(added)), (GONE, list(removed))):
        if models:
            told[name] = models
    return {"settings": compact(told)}


def _names(value: Any) -> list[str]:
    if not isinstance(value, list):
        return []
    return [name for name in value if isinstance(name, str) and name]
