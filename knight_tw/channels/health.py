"""Taking channels and keys out of service and back (relay specification, section 12).

Failures come from the relay, off the request path, and from channel tests. A channel
already in the target state is left alone, and a key is found by its value, since keys
may have been edited since the call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.channels.keys import ALL_DISABLED, KeyRing, compact, stored
from knight_tw.errors import KnightError
from knight_tw.options import Options
from knight_tw.records import AUTO_DISABLED, ENABLED, Channel
from knight_tw.routing_rules import should_enable, takes_out
from knight_tw.storage import channel_queries
from knight_tw.storage.database import Database
from knight_tw.wire.masking import mask

Changed = Callable[[str, str], Awaitable[None]]
"""`changed(kind, ref)`: a write is to be seen here and by other processes."""

Row = dict[str, Any]

REASON_LENGTH = 500
"""Characters of an error that are kept as the reason."""


class View(Protocol):
    """Today's options."""

    @property
    def options(self) -> Options: ...


@define(eq=False)
class ChannelHealth:
    """Disables and re-enables channels by what their calls came to."""

    _db: Database
    _view: View
    _clock: IReactorTime
    _changed: Changed
    watch: Callable[[int, str, bool, str], None] | None = None
    """Told when a channel, not only a key of it, changed: its id and name, whether it
    is in service again, why."""
    _log: Logger = field(factory=Logger)
    _busy: set[tuple[int, str]] = field(factory=set)

    def fatal(self, channel: Channel, error: KnightError) -> bool:
        """True when the rules say that this failure takes the channel out of service:
        the option is on, the channel allows it and the error qualifies."""
        return takes_out(error, channel, self._view.options)

    async def failed(
        self, channel: Channel, key_index: int, error: KnightError
    ) -> bool:
        """Disable channel or key if the failure is fatal; True when that changed it."""
        if not self.fatal(channel, error):
            return False
        return await self.disable(channel, key_index, reason_of(channel, error))

    async def disable(self, channel: Channel, key_index: int, reason: str) -> bool:
        """Take a channel, or one key of a multi-key channel, out of service.

        Returns: whether something changed. Many calls may fail at once: one at a time
        per key is worked on, the others return False.
        """
        key = channel.keys[key_index] if key_index < len(channel.keys) else ""
        place = (channel.id, key)
        if place in self._busy:
            return False
        self._busy.add(place)
        try:
            failing = _failing(key, key_index, reason, self._now())
            return await self._write(channel, failing, "disabled", reason)
        finally:
            self._busy.discard(place)

    async def recovered(self, channel: Channel, key_index: int) -> bool:
        """Put a channel or key that was disabled automatically back into service, if
        the option allows; True when something changed."""
        if not should_enable(channel, key_index, self._view.options):
            return False
        key = channel.keys[key_index] if key_index < len(channel.keys) else ""
        recovering = _recovering(key, key_index)
        return await self._write(channel, recovering, "re-enabled", "it answers again")

    async def _write(
        self,
        channel: Channel,
        decide: Callable[[Row], Mapping[str, Any]],
        done: str,
        reason: str,
    ) -> bool:
        written = await self._db.run(channel_queries.change, channel.id, decide)
        if written is None or not written[1]:
            return False
        _, values = written
        what = "channel" if "status" in values else "a key of channel"
        self._log.warn(
            "{what} {channel_id} ({name}) was {done}: {reason}",
            what=what,
            channel_id=channel.id,
            name=channel.name,
            done=done,
            reason=reason,
        )
        if self.watch is not None and "status" in values:
            again = values["status"] == ENABLED
            self.watch(channel.id, channel.name, again, reason)
        await self._changed("channel", str(channel.id))
        return True

    def _now(self) -> int:
        return int(self._clock.seconds())


def reason_of(channel: Channel, error: KnightError) -> str:
    """What is kept and shown as the reason: without keys and addresses."""
    text = mask(error.message, channel.keys)
    return f"status_code={error.status}, {text}"[:REASON_LENGTH]


def _failing(
    key: str, key_index: int, reason: str, now: int
) -> Callable[[Row], Mapping[str, Any]]:
    """What disabling `key` changes in a channel's row."""

    def decide(row: Row) -> Mapping[str, Any]:
        ring = KeyRing.read(row["key"] or "", row["channel_info"])
        if ring is None:
            if row["status"] != ENABLED:
                return {}
            return _out_of_service(row, reason, now)
        index = ring.find(key, key_index)
        if index is None or ring.status_of(index) != ENABLED:
            return {}
        ring.fail(index, reason, now)
        values: Row = {"channel_info": ring.column()}
        if row["status"] == ENABLED and not ring.usable:
            values |= _out_of_service(row, ALL_DISABLED, now)
        return values

    return decide


def _out_of_service(row: Row, reason: str, now: int) -> Row:
    told = {**stored(row["other_info"]), "status_reason": reason, "status_time": now}
    return {"status": AUTO_DISABLED, "other_info": compact(told)}


def _recovering(key: str, key_index: int) -> Callable[[Row], Mapping[str, Any]]:
    """What a good answer with `key` changes in a channel's row."""

    def decide(row: Row) -> Mapping[str, Any]:
        values: Row = {}
        ring = KeyRing.read(row["key"] or "", row["channel_info"])
        if ring is not None:
            index = ring.find(key, key_index)
            if index is not None and ring.status_of(index) == AUTO_DISABLED:
                ring.enable(index)
                values["channel_info"] = ring.column()
        if row["status"] == AUTO_DISABLED and (ring is None or ring.usable):
            values["status"] = ENABLED
        return values

    return decide
