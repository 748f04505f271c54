"""Twisted's reactor for Linux, less what it does for the log at each readiness.

Twisted runs whatever a socket's readiness leads to inside a log context that names the
socket's protocol, for observers of its first logging system. Making the context takes
up to a tenth of a call's time; our log lines name what they are about themselves, and
`request_id` comes from a context variable.

On Linux `knight run` installs it; for twistd it is `twistd --reactor=knight knight`.
"""

from __future__ import annotations

import errno
from typing import Any

from twisted.internet.epollreactor import EPollReactor
from twisted.internet.main import installReactor


class KnightReactor(EPollReactor):
    """`EPollReactor` without log contexts; what fails is logged as there."""

    def doPoll(self, timeout: float | None) -> None:
        """Waits for sockets to become ready, and reads and writes those.

        Args:
            timeout: Seconds; None = any time.
        """
        this: Any = self  # bare there
        selectables = this._selectables
        try:
            wait = -1 if timeout is None else timeout
            ready = this._poller.poll(wait, len(selectables))
        except OSError as error:
            if error.errno == errno.EINTR:
                return
            raise
        for number, event in ready:
            # One that was ready may have been closed on behalf of another.
            selectable = selectables.get(number)
            if selectable is not None:
                this._doReadOrWrite(selectable, number, event)

    doIteration = doPoll


def install() -> None:
    """Makes it `twisted.internet.reactor`; to be called before that is imported.

    Raises:
        ReactorAlreadyInstalledError: there is one already.
    """
    made: Any = KnightReactor
    installed: Any = installReactor
    installed(made())
