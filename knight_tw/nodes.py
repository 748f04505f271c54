"""Every process says now and then that its node is alive, and how the machine does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from knight_tw import machine
from knight_tw.errors import DatabaseAway
from knight_tw.machine import Processors
from knight_tw.storage import node_queries
from knight_tw.storage.database import Database

BEAT_SECONDS = 30.0

SCHEMA = 1
"""Version of the form of `info`."""


@define(eq=False)
class NodeReport:
    """Writes this node's row.

    Args:
        named: The node's name was set; else it is the host's.
        master: The node may do the work that one node does for all.
        in_thread: Runs a function in a thread.
    """

    _db: Database
    _clock: IReactorTime
    _in_thread: Callable[[Callable[[], Any]], Deferred[Any]]
    _name: str
    _host: str
    _named: bool
    _master: bool
    _version: str
    _folder: str
    _began: int = field(init=False)
    _processors: Processors = field(factory=Processors)
    _loop: LoopingCall | None = None
    _log: Logger = field(factory=Logger)

    def __attrs_post_init__(self) -> None:
        self._began = int(self._clock.seconds())

    def start(self) -> None:
        """Now, and from now on."""
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.beat()))
        self._loop.clock = self._clock
        self._loop.start(BEAT_SECONDS)

    def stop(self) -> None:
        """No more; the row stays and becomes stale."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    async def beat(self) -> None:
        """Write the row; a database that is away is tried again the next time."""
        try:
            info = await self._in_thread(self._info)
            now = int(self._clock.seconds())
            row = (self._name[:128], info, self._began, now)
            await self._db.run(node_queries.seen, *row)
        except DatabaseAway:
            return
        except Exception:  # noqa: BLE001 - the next beat may go well
            self._log.failure("this node could not report")

    def _info(self) -> dict[str, Any]:
        """How the machine does, in the form of the reference."""
        system, processor = machine.kind()
        room = machine.storage(self._folder)
        return {
            "schema_version": SCHEMA,
            "host": {"hostname": self._host},
            "node": {
                "name": self._name,
                "source": "env" if self._named else "hostname",
                "manually_configured": self._named,
                "should_configure_manually": not self._named,
            },
            "role": {"is_master": self._master},
            "runtime": {
                "version": self._version,
                "goos": system,
                "goarch": processor,
                "started_at": self._began,
            },
            "resources": {
                "cpu": {"usage_percent": self._processors.percent()},
                "memory": {"usage_percent": machine.memory_percent()},
                "storage": {
                    "total_bytes": room["total"],
                    "used_bytes": room["used"],
                    "free_bytes": room["free"],
                    "used_percent": room["used_percent"],
                },
            },
        }
