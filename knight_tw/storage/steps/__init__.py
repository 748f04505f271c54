"""One-off moves of data, each run once per database and marked in `knight_meta`.

A step is a module `sNNNN_name` with `run(connection, now)`. It must be repeatable: on
MySQL a crash may leave it done but unmarked, and two masters may start together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import sqlalchemy as sa
from twisted.logger import Logger

from knight_tw.storage import meta
from knight_tw.storage.steps import s0001_identity_claims

STEPS: Mapping[str, Callable[[sa.Connection, int], None]] = {
    "0001_identity_claims": s0001_identity_claims.run,
}
"""Every step in order, by the name that its mark has."""

log = Logger()


def run_missing(connection: sa.Connection, now: int) -> list[str]:
    """Runs the steps that the database has no mark of; their names."""
    done = []
    for name, run in STEPS.items():
        mark = f"step:{name}"
        if meta.get(connection, mark) is None:
            run(connection, now)
            meta.put(connection, mark, str(now))
            log.info("database step {step} done", step=name)
            done.append(name)
    return done
