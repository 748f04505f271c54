"""`python -m benchmarks.rows`: the lists of a gateway that has been used for years.

Makes a database with millions of log rows and accounts, then times what the log and
account pages read, by the storage functions that the pages call. Rows are spread over
90 days, 2,000 callers, 60 models, 40 channels. The database is made once for a number
of rows and kept in the folder or server that `--database` names, else thrown away.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from attrs import evolve, frozen

from benchmarks import machine
from knight_tw.storage import connections, dsn, log_queries, schema, user_queries
from knight_tw.storage.log_queries import LogFilter
from knight_tw.storage.schema import logs, users
from knight_tw.storage.user_queries import Search

RESULTS = Path(__file__).resolve().parent / "results"
BLOCK = 200_000
"""Rows that are made one by one; the others are copies of them, later in time."""

DAY, DAYS = 86_400, 90
CALLERS, MODELS, CHANNELS, TOKENS = 2_000, 60, 40, 5_000
MUST, AIM = 200.0, 50.0
"""Milliseconds for the first page, filtered by user and day."""

ADMIN_BOUND, USER_BOUND, PAGE = 100_000, 10_000, 20


@frozen
class Made:
    """What the database holds.

    Attributes:
        start, end: Unix seconds of the first and last row.
        calls: Some request ids.
    """

    rows: int
    users: int
    start: int
    end: int
    calls: Sequence[str]


def block(count: int, start: int, span: int) -> Iterator[dict[str, Any]]:
    """`count` rows in time order over `span` seconds; a few callers make most calls."""
    dice = random.Random(7)  # noqa: S311 - rows of a benchmark
    for number in range(count):
        caller = int(CALLERS * dice.random() ** 3) + 1
        model = int(MODELS * dice.random() ** 2)
        failed = dice.random() < 0.02
        yield {
            "user_id": caller,
            "created_at": start + number * span // count,
            "type": 5 if failed else 2,
            "content": "upstream error" if failed else "",
            "username": f"user{caller}",
            "token_name": f"key {caller % 7}",
            "model_name": f"model-{model}",
            "quota": 0 if failed else dice.randrange(10, 5_000),
            "prompt_tokens": dice.randrange(10, 4_000),
            "completion_tokens": 0 if failed else dice.randrange(1, 900),
            "use_time": dice.randrange(0, 60),
            "is_stream": dice.random() < 0.6,
            "channel_id": dice.randrange(1, CHANNELS + 1),
            "token_id": caller * 2 + number % 2,
            "group": "vip" if caller % 5 == 0 else "default",
            "ip": "",
            "request_id": f"{start + number:x}{dice.randrange(16**12):012x}",
            "upstream_request_id": f"req_{dice.randrange(16**16):016x}",
            "status": 502 if failed else 200,
            "session_id": f"s{caller}-{number // 500}" if caller % 3 == 0 else None,
            "other": '{"model_ratio":1.25,"group_ratio":1,"completion_ratio":4,'
            '"admin_info":{"use_channel":["3"]},"frt":412}',
        }


def fill(connection: sa.Connection, rows: int, accounts: int, now: int) -> None:
    """Make the rows; indexes are made when the rows are there."""
    start = now - DAYS * DAY
    made = min(BLOCK, rows)
    copies = max(rows // made, 1)
    span = DAYS * DAY // copies
    for index in (*logs.indexes, *users.indexes):
        index.drop(connection, checkfirst=True)
    batch: list[dict[str, Any]] = []
    for row in block(made, start, span):
        batch.append(row)
        if len(batch) == 20_000:
            connection.execute(sa.insert(logs), batch)
            batch = []
    if batch:
        connection.execute(sa.insert(logs), batch)
    last = connection.execute(sa.select(sa.func.max(logs.c.id))).scalar_one()
    for copy in range(1, copies):
        connection.execute(_copied(last - made, last, copy, copy * span))
        _say(f"{(copy + 1) * made:,} of {rows:,} log rows")
    _fill_users(connection, accounts, now)
    for index in (*logs.indexes, *users.indexes):
        _say(f"index {index.name}")
        index.create(connection, checkfirst=True)


def _copied(first: int, last: int, copy: int, shift: int) -> sa.Insert:
    """The rows of the block once more, `shift` seconds later, with ids of their own."""
    columns = [column for column in logs.c if column.name != "id"]
    shifted: dict[str, sa.ColumnElement[Any]] = {
        "created_at": logs.c.created_at + shift,
        "request_id": logs.c.request_id + f"-{copy}",
    }
    values = [shifted.get(column.name, column) for column in columns]
    chosen = sa.select(*values).where(logs.c.id > first, logs.c.id <= last)
    return sa.insert(logs).from_select(
        [column.name for column in columns], chosen.order_by(logs.c.id)
    )


def _fill_users(connection: sa.Connection, accounts: int, now: int) -> None:
    for first in range(0, accounts, 20_000):
        connection.execute(
            sa.insert(users),
            [
                {
                    "username": f"user{number}",
                    "password": "",
                    "display_name": f"Person {number * 7919 % 1_000_003}",
                    "email": f"user{number}@example{number % 50}.org",
                    "role": 1,
                    "status": 2 if number % 97 == 0 else 1,
                    "group": "vip" if number % 5 == 0 else "default",
                    "quota": number * 31 % 1_000_000,
                    "aff_code": f"{number:07x}",
                    "created_at": now - accounts + number,
                    "auth_version": 1,
                    "setting": "{}",
                }
                for number in range(first + 1, min(first + 20_000, accounts) + 1)
            ],
        )


Case = Callable[[sa.Connection, random.Random], Any]


def cases(made: Made) -> dict[str, Case]:
    """What is timed, by name; each takes other values every time."""

    def day(dice: random.Random, chosen: LogFilter | None = None) -> LogFilter:
        start = made.start + dice.randrange(DAYS) * DAY
        return evolve(chosen or LogFilter(), start=start, end=start + DAY - 1)

    def caller(dice: random.Random) -> int:
        return dice.choice((3, 40, 700, 1900))

    def page(chosen: LogFilter, offset: int = 0, bound: int = ADMIN_BOUND) -> Case:
        return lambda c, _: log_queries.page(c, chosen, offset, PAGE, bound)

    def asked(make: Callable[[random.Random], LogFilter], bound: int) -> Case:
        return lambda c, dice: log_queries.page(c, make(dice), 0, PAGE, bound)

    def account(make: Callable[[random.Random], Search], offset: int = 0) -> Case:
        return lambda c, dice: user_queries.search(c, make(dice), offset, PAGE)

    def number(dice: random.Random) -> int:
        return dice.randrange(1, made.users + 1)

    week = made.end - 7 * DAY
    return {
        "log: first page, by user and day": asked(
            lambda d: day(d, LogFilter(usernames=(f"user{caller(d)}",))), ADMIN_BOUND
        ),
        "log: own first page, by day": asked(
            lambda d: day(d, LogFilter(user_id=caller(d))), USER_BOUND
        ),
        "log: first page": page(LogFilter()),
        "log: page 500": page(LogFilter(), 500 * PAGE),
        "log: by day": asked(lambda d: day(d), ADMIN_BOUND),
        "log: by model": asked(
            lambda d: LogFilter(models=(f"model-{d.randrange(MODELS)}",)), ADMIN_BOUND
        ),
        "log: by part of the model, by day": asked(
            lambda d: day(d, LogFilter(models=(f"%-{d.randrange(MODELS)}",))),
            ADMIN_BOUND,
        ),
        "log: errors of a channel, by day": asked(
            lambda d: day(
                d, LogFilter(kinds=(5,), channels=(d.randrange(CHANNELS) + 1,))
            ),
            ADMIN_BOUND,
        ),
        "log: by request id": asked(
            lambda d: LogFilter(request_ids=(d.choice(made.calls),)), ADMIN_BOUND
        ),
        "log: cursor, a week of a user": lambda c, d: log_queries.window(
            c,
            LogFilter(usernames=(f"user{caller(d)}",), start=week, end=made.end),
            100,
            before=made.rows - d.randrange(made.rows // 20),
        ),
        "log: sum of a user's day": lambda c, d: log_queries.spent(
            c, day(d, LogFilter(usernames=(f"user{caller(d)}",)))
        ),
        "log: pace of the last minute": lambda c, _: log_queries.pace(
            c, LogFilter(), made.end - 60
        ),
        "log: histogram of a user's week": lambda c, d: log_queries.histogram(
            c, LogFilter(user_id=caller(d), start=week, end=made.end), 3600
        ),
        "log: models of a day": lambda c, d: log_queries.facet(c, day(d), "model", 20),
        "accounts: first page": account(lambda _: Search()),
        "accounts: page 500": account(lambda _: Search(), 500 * PAGE),
        "accounts: by whole name": account(
            lambda d: Search(keyword=f"user{number(d)}")
        ),
        "accounts: by group": account(lambda _: Search(group="vip")),
        "accounts: nobody has it": account(lambda _: Search(keyword="nobody")),
    }


def timed(
    engine: sa.Engine, case: Case, rounds: int, seconds: float = 20.0
) -> list[float]:
    """Milliseconds of each call, in order; fewer when they take long."""
    dice = random.Random(11)  # noqa: S311 - values of a benchmark
    took: list[float] = []
    end = time.monotonic() + seconds
    while len(took) < rounds and (len(took) < 3 or time.monotonic() < end):
        with engine.connect() as connection:
            before = time.perf_counter()
            case(connection, dice)
            took.append((time.perf_counter() - before) * 1e3)
    return sorted(took)


def open_engine(address: str, *, reading: bool = False) -> sa.Engine:
    """An engine as the program opens it; DSNs in every form that it takes."""
    url = dsn.parse(address)
    if url.get_backend_name() != "sqlite":
        return connections.server(url, idle=1, limit=1, lifetime=0)
    if reading:
        return connections.sqlite_readers(url, 1)
    return connections.sqlite_writer(url)


def prepare(address: str, rows: int, accounts: int) -> Made:
    """The database with that many rows, made if it is not there yet."""
    engine = open_engine(address)
    with engine.begin() as connection:
        schema.ensure(connection)
    with engine.begin() as connection:
        there = connection.execute(sa.select(sa.func.max(logs.c.id))).scalar() or 0
        if there < rows * 9 // 10:
            if there:
                raise SystemExit(f"knight: the database has {there:,} rows already")
            fill(connection, rows, accounts, int(time.time()))
    if engine.dialect.name == "postgresql":
        with engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                "VACUUM ANALYZE"
            )
    with engine.connect() as connection:
        first = connection.execute(sa.select(sa.func.min(logs.c.created_at)))
        last = connection.execute(sa.select(sa.func.max(logs.c.created_at)))
        rows = connection.execute(sa.select(sa.func.max(logs.c.id))).scalar_one()
        some = [rows * part // 50 for part in range(1, 50)]
        calls = sa.select(logs.c.request_id).where(logs.c.id.in_(some))
        made = Made(
            rows,
            connection.execute(sa.select(sa.func.max(users.c.id))).scalar() or 0,
            int(first.scalar_one()),
            int(last.scalar_one()),
            connection.execute(calls).scalars().all(),
        )
    engine.dispose()
    return made


def run(address: str, rows: int, accounts: int, rounds: int) -> list[str]:
    """Make, time, and say it: lines of Markdown."""
    began = time.monotonic()
    made = prepare(address, rows, accounts)
    engine = open_engine(address, reading=True)
    kind = engine.dialect.name
    lines = [
        f"## {kind}, {made.rows:,} log rows, {made.users:,} accounts",
        "",
        f"Made and analysed in {time.monotonic() - began:,.0f} s.",
        "",
        "| ms                                  |    p50 |    p95 | calls |",
        "| ----------------------------------- | -----: | -----: | ----: |",
    ]
    first = 0.0
    for name, case in cases(made).items():
        took = timed(engine, case, rounds)
        p50, p95 = took[len(took) // 2], took[round((len(took) - 1) * 0.95)]
        first = first or p95
        lines.append(f"| {name:<35} | {p50:>6,.1f} | {p95:>6,.1f} | {len(took):>5} |")
        _say(lines[-1])
    engine.dispose()
    verdict = "MISSES" if first > MUST else "reaches" if first <= AIM else "keeps"
    which = f"the aim ({AIM:.0f} ms)" if first <= AIM else f"the budget ({MUST:.0f} ms)"
    return [*lines, "", f"- first page by user and day at p95: {verdict} {which}"]


def _say(text: str) -> None:
    print(text, flush=True)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.rows",
        description="Times the log and account pages on millions of rows. Making ten "
        "million takes some minutes and 6 GB on SQLite.",
    )
    parser.add_argument("--rows", type=int, default=10_000_000, help="log rows")
    parser.add_argument("--users", type=int, default=1_000_000, help="accounts")
    parser.add_argument("--rounds", type=int, default=40, help="calls of each case")
    parser.add_argument(
        "--database",
        action="append",
        default=[],
        metavar="DSN",
        help="an empty database, or one that an earlier run filled; may be repeated; "
        "without one, a SQLite file that is thrown away",
    )
    return parser.parse_args(words)


def main(words: Sequence[str]) -> int:
    """Run on every database that is named; write the results."""
    wanted = arguments(words)
    text = ["# Lists on many rows", ""]
    facts = machine.description()
    load = facts["load_average"][0]
    text.append(f"- {facts['processor']}, {facts['cores']} cores, load {load}")
    text.append(f"- Python {facts['python']}, commit {facts['commit']}")
    with tempfile.TemporaryDirectory(prefix="knight-rows-") as folder:
        places = wanted.database or [f"sqlite:///{folder}/rows.db"]
        for place in places:
            text += ["", *run(place, wanted.rows, wanted.users, wanted.rounds)]
    name = datetime.now(UTC).strftime("%Y-%m-%d-%H%M%S-rows.md")
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / name).write_text("\n".join(text) + "\n")
    _say(f"written: {RESULTS / name}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
