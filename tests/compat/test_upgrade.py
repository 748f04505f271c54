"""The upgrade of a one-api database: whole or not at all, once, and by permission."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import completion, meta, schema
from knight_tw.storage.one_api import reading, report, upgrade
from tests.compat import originals
from tests.compat.originals import Row, bring, contents, engine_for, terms
from tests.engines import ConnectionCase, for_engines

ROOT = Path(__file__).resolve().parents[2]

KILLED_BY_ITSELF = """
import os, random, signal, sys
from knight_tw.storage import connections, dsn
from knight_tw.storage.one_api import upgrade

def after(step):
    if step == sys.argv[2]:
        os.kill(os.getpid(), signal.SIGKILL)

asked = upgrade.Terms(1_800_000_000, "v-test", random.Random(5), True, after)
engine = connections.sqlite_writer(dsn.parse(sys.argv[1]))
with engine.begin() as connection:
    upgrade.open_main(connection, asked)
"""


class Interrupted(Exception):
    """Stands for a crash."""


def one_api(kind: str) -> str:
    """The one-api database for an engine."""
    (name,) = (n for n in originals.ONE_API if originals.kind_of(n) == kind)
    return name


@for_engines
class UpgradeTests(ConnectionCase):
    """On a one-api database of the test's own."""

    def setUp(self) -> None:
        """Loads it; nothing has opened it yet."""
        self.name = one_api(self.kind)
        self.address = originals.load(self.name)
        self.now = originals.time_of(self.name)
        self.engine = engine_for(self.address)
        self.addCleanup(self.engine.dispose)

    def expected(self) -> Mapping[str, list[Row]]:
        """What an upgrade in one go makes of it."""
        return originals.opened(self.name).rows

    def assertContents(self, expected: Mapping[str, list[Row]]) -> None:
        """The database holds exactly this, but for the numbers of new rows."""
        found = contents(self.engine)
        self.assertEqual(found.keys(), expected.keys())
        for table, rows in expected.items():
            # MySQL does not use the numbers again that a rollback gave up.
            free = () if table in reading.TABLES else ("id",)
            for mine, theirs in zip(found[table], rows, strict=True):
                for name in free:
                    mine, theirs = {**mine, name: 0}, {**theirs, name: 0}
                self.assertEqual(mine, theirs, table)

    def test_interrupted_after_each_step(self) -> None:
        """Stopped after step upon step, the rows are as before; at last it is whole."""
        before = contents(self.engine, reading.TABLES)
        for step in upgrade.STEPS:

            def stop(done: str, step: str = step) -> None:
                if done == step:
                    raise Interrupted

            self.assertRaises(Interrupted, bring, self.engine, terms(self.now, stop))
            after = contents(self.engine, reading.TABLES)
            for table, rows in before.items():
                kept = [
                    {name: row[name] for name in old}
                    for row, old in zip(after[table], rows, strict=True)
                ]
                self.assertEqual(kept, rows, f"{table} after {step}")
            with self.engine.connect() as connection:
                # A node that may not change the schema waits for the end.
                refused = (meta.require_version, connection)
                self.assertRaises(schema.SchemaRefused, *refused)
        bring(self.engine, terms(self.now))
        self.assertContents(self.expected())
        with self.engine.connect() as connection:
            meta.require_version(connection)

    def test_together(self) -> None:
        """Of two masters that start together one upgrades, the other waits."""
        engines = [engine_for(self.address) for _ in range(2)]

        def start(engine: sa.Engine) -> bool:
            report = bring(engine, terms(self.now))
            engine.dispose()
            return report is not None

        with ThreadPoolExecutor(2) as threads:
            upgraded = list(threads.map(start, engines))
        self.assertEqual(sorted(upgraded), [False, True])
        self.assertContents(self.expected())

    def test_permission(self) -> None:
        """A server's database is upgraded only when a backup exists."""
        if self.kind == "sqlite":
            return
        before = contents(self.engine)
        error = self.assertRaises(
            completion.SchemaRefused,
            bring,
            self.engine,
            terms(self.now, backed_up=False),
        )
        self.assertIn("KNIGHT_MIGRATE_ONE_API=1", str(error))
        self.assertContents(before)

    def test_logs_apart(self) -> None:
        """Rows in a second database for logs are upgraded too, once."""
        with self.engine.begin() as connection:
            for table in reading.TABLES:
                if table != "logs":
                    connection.exec_driver_sql(f"DROP TABLE {table}")
        for _ in range(2):
            with self.engine.begin() as connection:
                upgrade.open_logs(connection, terms(self.now))
        rows = contents(self.engine)["logs"]
        self.assertEqual({row["type"] for row in rows}, {1, 2, 3, 4})
        self.assertEqual({row["other"] for row in rows}, {"{}"})
        with self.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE logs SET type=5 WHERE id=1")
        with self.engine.begin() as connection:
            upgrade.open_logs(connection, terms(self.now))
        self.assertEqual(contents(self.engine)["logs"][0]["type"], 5)


class ResultTests(SynchronousTestCase):
    """What the upgrade makes, on SQLite."""

    name = "oneapi-sqlite"

    def setUp(self) -> None:
        """A one-api file."""
        self.address = originals.load(self.name)
        self.path = self.address.removeprefix("sqlite:///")
        self.now = originals.time_of(self.name)
        self.engine = engine_for(self.address)
        self.addCleanup(self.engine.dispose)

    def test_second_opening(self) -> None:
        """The next start, with another time and chance, changes nothing."""
        bring(self.engine, terms(self.now))
        done = contents(self.engine)
        later = upgrade.Terms(self.now + 500, "v-later", terms(1).chance)
        self.assertIsNone(bring(self.engine, later))
        self.assertEqual(contents(self.engine), done)

    def test_went_wrong(self) -> None:
        """Sums that differ afterwards stop the start, and the rows are as before."""
        before = contents(self.engine)

        def steal(done: str) -> None:
            if done == "users":
                self.connection.execute(
                    sa.update(schema.users).values(quota=schema.users.c.quota + 1)
                )

        with self.engine.connect() as self.connection:
            self.connection.begin()
            error = self.assertRaises(
                schema.SchemaRefused,
                upgrade.open_main,
                self.connection,
                terms(self.now, steal),
            )
            self.connection.rollback()
        self.assertIn("the sum of users.quota was 500000219079150", str(error))
        after = contents(self.engine)
        self.assertEqual(
            [row["quota"] for row in after["users"]],
            [row["quota"] for row in before["users"]],
        )

    def test_foreseen(self) -> None:
        """The report says what it did: rows, types, channels switched off, warnings."""
        done = bring(self.engine, terms(self.now))
        assert done is not None
        self.assertEqual(done.rows, originals.manifest(self.name)["rows_per_table"])
        self.assertEqual([move.id for move in done.disabled], [40, 46, 54, 57])
        self.assertEqual(len(done.renumbered), 31)
        told = "\n".join(report.lines(done))
        self.assertIn("36 DeepSeek -> 43 DeepSeek  live deepseek", told)
        self.assertIn("compat-live", told)
        self.assertNotIn("fxSecret", told)

    def test_marks(self) -> None:
        """The end is noted, with the types that one-api had."""
        bring(self.engine, terms(self.now))
        with self.engine.connect() as connection:
            mark = meta.get(connection, completion.ONE_API_KEY)
            types = json.loads(meta.get(connection, reading.TYPES_KEY) or "")
        self.assertEqual(mark, f"done:{self.now}")
        truth = originals.manifest(self.name)["channels"]
        self.assertEqual(types, {str(row["id"]): row["type"] for row in truth})

    def test_set_up(self) -> None:
        """A root user exists, so the wizard does not ask for one."""
        bring(self.engine, terms(self.now))
        (row,) = contents(self.engine)["setups"]
        self.assertEqual((row["version"], row["initialized_at"]), ("v-test", self.now))

    def test_abilities(self) -> None:
        """Each enabled channel has its abilities, a disabled one has disabled ones."""
        bring(self.engine, terms(self.now))
        rows = contents(self.engine)
        enabled = {row["id"]: row["status"] == 1 for row in rows["channels"]}
        found = {row["channel_id"]: row["enabled"] for row in rows["abilities"]}
        self.assertEqual(found, enabled)

    def test_lark(self) -> None:
        """Lark becomes a login provider, and its people are bound to it."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE users SET lark_id='ou_1' WHERE id=4")
        bring(self.engine, terms(self.now))
        rows = contents(self.engine)
        (provider,) = rows["custom_oauth_providers"]
        self.assertEqual(
            (provider["slug"], provider["client_id"], provider["user_id_field"]),
            ("lark", "cli_fx", "open_id"),
        )
        (binding,) = rows["user_oauth_bindings"]
        self.assertEqual(
            (binding["user_id"], binding["provider_id"], binding["provider_user_id"]),
            (4, provider["id"], "ou_1"),
        )

    def test_older(self) -> None:
        """A one-api of before `config`, system prompts and limits of tokens."""
        lacking = {
            "channels": ("config", "system_prompt"),
            "tokens": ("models", "subnet"),
            "logs": ("elapsed_time",),
        }
        with self.engine.begin() as connection:
            for table, names in lacking.items():
                for name in names:
                    connection.exec_driver_sql(
                        f"ALTER TABLE {table} DROP COLUMN {name}"
                    )
        bring(self.engine, terms(self.now))
        rows = contents(self.engine)
        types = {row["id"]: row["type"] for row in rows["channels"]}
        self.assertEqual((types[16], types[12]), (43, 4))
        self.assertEqual({row["model_limits"] for row in rows["tokens"]}, {""})

    def test_foreign(self) -> None:
        """Another program's table `users` is no reason to change its database."""
        with self.engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE channels")
        before = contents(self.engine)
        error = self.assertRaises(
            completion.SchemaRefused, bring, self.engine, terms(self.now)
        )
        self.assertIn("another program", str(error))
        self.assertEqual(contents(self.engine), before)

    def test_backup(self) -> None:
        """The copy that is made first holds what one-api left, in one file."""
        before = originals.manifest("oneapi-sqlite")
        done = bring(self.engine, terms(self.now, backed_up=False))
        assert done is not None
        self.assertEqual(done.backup, f"{self.path}.one-api-backup-{self.now}")
        with closing(sqlite3.connect(done.backup)) as copy:
            tables = copy.execute("SELECT name FROM sqlite_master WHERE type='table'")
            self.assertEqual({name for (name,) in tables}, set(reading.TABLES))
            types = dict(copy.execute("SELECT id, type FROM channels"))
            mode = copy.execute("PRAGMA journal_mode").fetchone()
        self.assertEqual(types, {row["id"]: row["type"] for row in before["channels"]})
        self.assertEqual(mode, ("delete",))
        self.assertFalse(Path(f"{done.backup}.partial").exists())

    def test_no_room_for_a_backup(self) -> None:
        """Without a copy nothing is changed."""
        Path(f"{self.path}.one-api-backup-{self.now}").mkdir()
        error = self.assertRaises(
            completion.SchemaRefused, bring, self.engine, terms(self.now)
        )
        self.assertIn("could not be copied", str(error))
        self.assertEqual(set(contents(self.engine)), set(reading.TABLES))

    def test_killed(self) -> None:
        """A process killed in the middle leaves the old database; the next upgrades."""
        for step in ("schema", "channels", "done"):
            ended = subprocess.run(
                [sys.executable, "-c", KILLED_BY_ITSELF, self.address, step],
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                check=False,
                timeout=60,
            )
            self.assertEqual(ended.returncode, -signal.SIGKILL)
        before = originals.manifest("oneapi-sqlite")
        with self.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT id, type FROM channels")
            types = {row.id: row.type for row in rows}
        self.assertEqual(types, {row["id"]: row["type"] for row in before["channels"]})
        self.assertIsNotNone(bring(self.engine, terms(self.now)))
