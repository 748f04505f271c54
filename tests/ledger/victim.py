"""A process that makes calls until it is killed: `python -m tests.ledger.victim`.

Arguments: the database file, the journal directory, a prefix for its call ids, and how
many calls to make (0: until killed). Each call that was charged is printed, after the
barrier: its answer has left.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import deferToThread

from knight_tw.errors import KnightError
from knight_tw.ledger import Ledger
from knight_tw.storage.database import open_database
from tests.ledger.till import CHANNEL, TOKEN, USER, row

POOR_USER, POOR_TOKEN = 11, 12
AMOUNT = 100


async def call(ledger: Ledger, name: str, poor: bool, in_sql: bool) -> None:
    """One call, from admission to its last byte."""
    user, token = (POOR_USER, POOR_TOKEN) if poor else (USER, TOKEN)
    try:
        asked = ledger.hold(name, user, token, False, AMOUNT, 3 * AMOUNT, in_sql=in_sql)
        hold = await asked if isinstance(asked, Deferred) else asked
    except KnightError:
        return
    ledger.settle(hold, AMOUNT, row(name, user_id=user, token_id=token), CHANNEL)
    ledger.barrier(lambda: os.write(1, f"{name}\n".encode()))


async def work(file: str, directory: str, prefix: str, limit: int) -> None:
    """Starts, makes calls, stops."""
    db = open_database("", reactor=reactor, sqlite_path=file)
    ledger = Ledger(
        db,
        None,
        reactor,
        deferToThread,
        Path(directory),
        lambda: 5_000,
        lambda: True,
        flush_seconds=0.005,
    )
    await ledger.start()
    number = 0
    while not limit or number < limit:
        calls = []
        for _ in range(8):
            number += 1
            name = f"{prefix}-{number}"
            calls.append(
                Deferred.fromCoroutine(
                    call(ledger, name, poor=number % 3 == 0, in_sql=number % 7 == 0)
                )
            )
        await gatherResults(calls)
        await deferToThread(lambda: None)
    await ledger.stop()
    await db.close()


def main() -> None:
    """Runs until killed, or until the calls are made."""
    file, directory, prefix, limit = sys.argv[1:]
    done = Deferred.fromCoroutine(work(file, directory, prefix, int(limit)))
    done.addErrback(lambda failure: sys.stderr.write(failure.getTraceback()))
    stop = partial(reactor.callLater, 0, reactor.stop)
    done.addBoth(lambda _: stop())
    reactor.run()


if __name__ == "__main__":
    main()
