"""Refuses calls while the machine is overloaded, if the administrator wants that
(options `performance_setting.monitor_*`)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from knight_tw import machine
from knight_tw.machine import Processors
from knight_tw.options import Options

LOOK_SECONDS = 5.0


@define(eq=False)
class LoadGuard:
    """Looks at processors, memory and disk every few seconds.

    Args:
        in_thread: Runs a function in a thread.
        tell: Called with what there is too little of, or with nothing.
        folder: On the disk that is watched.
    """

    _clock: IReactorTime
    _options: Callable[[], Options]
    _in_thread: Callable[[Callable[[], Any]], Deferred[Any]]
    _tell: Callable[[str], None]
    _folder: str
    _processors: Processors = field(factory=Processors)
    _said: str = ""
    _loop: LoopingCall | None = None
    _log: Logger = field(factory=Logger)

    def start(self) -> None:
        """Watch from now on."""
        self._loop = LoopingCall(lambda: Deferred.fromCoroutine(self.look()))
        self._loop.clock = self._clock
        self._loop.start(LOOK_SECONDS, now=False)

    def stop(self) -> None:
        """Do not watch any more."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    async def look(self) -> None:
        """Look once."""
        why = ""
        if self._options().flag("performance_setting.monitor_enabled"):
            try:
                why = self._short_of(await self._in_thread(self._measure))
            except Exception:  # noqa: BLE001 - watching must not stop the service
                self._log.failure("the load could not be measured")
        if why != self._said:
            self._said = why
            if why:
                self._log.warn("calls are refused: too little {what}", what=why)
            else:
                self._log.info("calls are taken again")
        self._tell(why)

    def _measure(self) -> dict[str, float]:
        """Shares in percent."""
        return {
            "cpu": self._processors.percent(),
            "memory": machine.memory_percent(),
            "disk": machine.storage(self._folder)["used_percent"],
        }

    def _short_of(self, shares: dict[str, float]) -> str:
        """The first of which more is used than its option allows; 0 allows all."""
        options = self._options()
        for name, share in shares.items():
            most = options.integer(f"performance_setting.monitor_{name}_threshold")
            if most and share > most:
                return name
        return ""
