"""Work that outlives the request that began it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, DeferredList
from twisted.logger import Logger
from twisted.python.failure import Failure


@define
class Background:
    """Detached coroutines: failures are logged, `drained` waits for all of them."""

    _log: Logger = field(factory=Logger)
    _running: set[Deferred[None]] = field(factory=set)

    def spawn(self, what: str, work: Coroutine[Deferred[Any], Any, None]) -> None:
        """Start `work` now; `what` names it in the log should it fail."""
        running = Deferred.fromCoroutine(work)
        self._running.add(running)

        def failed(failure: Failure) -> None:
            if not isinstance(failure.value, CancelledError):
                self._log.failure("background {what} failed", failure, what=what)

        def over(_: None) -> None:
            self._running.discard(running)

        running.addErrback(failed)
        running.addBoth(over)

    def drained(self) -> Deferred[Any]:
        """Fires when everything that runs now has ended."""
        return DeferredList(list(self._running))

    def cancel(self) -> None:
        """Ask everything that still runs to end."""
        for running in list(self._running):
            running.cancel()
