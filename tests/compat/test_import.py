"""`knight import`: a look that changes nothing and tells the truth; and the act."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import cli
from knight_tw.storage import dsn
from knight_tw.storage.preview import Maker, Preview, preview, quiet_connection
from tests.compat import originals
from tests.compat.originals import bring, contents, engine_for, load, terms, unpack
from tests.engines import ConnectionCase, for_engines, fresh_database

MAKERS = {
    "oneapi-": Maker.ONE_API,
    "newapi-": Maker.NEW_API,
    "oneapi-then-newapi": Maker.BOTH,
}


def knight(*words: str, **environment: str) -> tuple[int, str, str]:
    """Exit status, standard output and error of `knight import`."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), only(environment):
        status = cli.main(["import", *words])
    return status, out.getvalue(), err.getvalue()


@contextmanager
def only(environment: Mapping[str, str]) -> Any:
    """No other variables of ours than these, in an empty folder."""
    before = dict(os.environ)
    ours = ("SQL_DSN", "SQLITE_PATH", "DATA_DIR", "KNIGHT_MIGRATE_ONE_API")
    for name in ours:
        os.environ.pop(name, None)
    os.environ.update(environment)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def look(address: str) -> Preview:
    """What opening a database would change."""
    with quiet_connection(dsn.parse(address)) as connection:
        return preview(connection, 1_800_000_000)


@for_engines
class LookTests(ConnectionCase):
    """`--check` on one engine."""

    def setUp(self) -> None:
        """No connection: the databases are the tests' own."""

    def names(self) -> list[str]:
        """The databases for the engine."""
        return [name for name in originals.ALL if originals.kind_of(name) == self.kind]

    def test_makers(self) -> None:
        """Who made a database is seen."""
        for name in self.names():
            expected = [m for start, m in MAKERS.items() if name.startswith(start)][-1]
            self.assertIs(look(load(name)).maker, expected, name)

    def test_changes_nothing(self) -> None:
        """The database is as before, schema and rows."""
        name = self.names()[0]
        address = load(name)
        engine = engine_for(address)
        self.addCleanup(engine.dispose)
        status, out, _ = knight("--check", address)
        self.assertEqual(status, 0)
        self.assertIn("Nothing has been changed.", out)
        self.assertIn("36 DeepSeek -> 43 DeepSeek  live deepseek", out)
        untouched = engine_for(load(name))
        self.addCleanup(untouched.dispose)
        self.assertEqual(contents(engine), contents(untouched))

    def test_cannot_write(self) -> None:
        """The connection of a look refuses to write."""
        with quiet_connection(dsn.parse(load(self.names()[0]))) as connection:
            for statement in (
                "UPDATE users SET quota = 1",
                "CREATE TABLE more (id INTEGER)",
            ):
                with self.assertRaises(sa.exc.DBAPIError):
                    connection.exec_driver_sql(statement)
                connection.rollback()

    def test_foreseen_is_done(self) -> None:
        """What a look foresees is what the opening does; then nothing is left to do."""
        address = load(self.names()[0])
        foreseen = look(address).report
        engine = engine_for(address)
        done = bring(engine, terms(1_800_000_000))
        engine.dispose()
        assert foreseen is not None
        assert done is not None
        self.assertEqual(foreseen.moves, done.moves)
        self.assertEqual(foreseen.changes, done.changes)
        after = look(address)
        self.assertIs(after.maker, Maker.OURS)
        self.assertEqual(after.gaps, ())

    def test_empty(self) -> None:
        """An empty database would get every table."""
        seen = look(
            fresh_file() if self.kind == "sqlite" else fresh_database(self.kind)
        )
        self.assertIs(seen.maker, Maker.NOBODY)
        self.assertTrue(all(gap.new for gap in seen.gaps))

    def test_permission(self) -> None:
        """A server's database is upgraded only with the word that a backup exists."""
        if self.kind == "sqlite":
            return
        address = load(self.names()[0])
        status, out, err = knight(address)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("KNIGHT_MIGRATE_ONE_API=1", err)
        status, out, _ = knight("--backed-up", address)
        self.assertEqual(status, 0)
        self.assertIn("was upgraded from one-api", out)
        self.assertNotIn("knight:knight", out)
        status, out, _ = knight(address)
        self.assertIn("is complete", out)


def fresh_file() -> str:
    """The address of an empty SQLite file."""
    address = fresh_database("sqlite")
    Path(address.removeprefix("sqlite:///")).touch()
    return address


class CommandTests(SynchronousTestCase):
    """The command line, on SQLite files."""

    def file(self, name: str = "oneapi-sqlite") -> str:
        return load(name).removeprefix("sqlite:///")

    def test_import(self) -> None:
        """The file is copied and upgraded; the summary says what happened."""
        path = self.file()
        status, out, err = knight(path)
        self.assertEqual((status, err), (0, ""))
        self.assertIn(f"{path} was upgraded from one-api.", out)
        self.assertIn(f"Backup: {path}.one-api-backup-", out)
        self.assertIn("40  PaLM a: the PaLM service is closed", out)
        self.assertIn("channel 45 Custom", out)
        self.assertEqual(knight(path)[1].count("is complete"), 1)

    def test_new_api(self) -> None:
        """A new-api file is completed."""
        path = self.file("newapi-old-sqlite")
        self.assertIn("is complete", knight(path)[1])
        self.assertIn("has opened it before", knight("-c", path)[1])

    def test_logs(self) -> None:
        """A database for logs alone gets no other tables."""
        path = self.file()
        engine = engine_for(f"sqlite:///{path}")
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            for table in ("users", "tokens", "channels", "abilities", "options"):
                connection.exec_driver_sql(f"DROP TABLE {table}")
            connection.exec_driver_sql("DROP TABLE redemptions")
        self.assertIn("for logs alone", knight("-c", path)[1])
        self.assertEqual(knight(path)[0], 0)
        found = set(sa.inspect(engine).get_table_names())
        self.assertEqual(found, {"logs", "knight_journal", "knight_meta"})

    def test_both(self) -> None:
        """Channels that one-api numbered and new-api kept are pointed out."""
        _, out, _ = knight("--check", self.file("oneapi-then-newapi-sqlite"))
        self.assertIn("new-api has not renumbered the channel types", out)

    def test_files_untouched(self) -> None:
        """A look at a killed program's file leaves it and its neighbours alone."""
        for name in originals.KILLED:
            path = unpack(name)
            before = {f.name: f.read_bytes() for f in Path(path).parent.iterdir()}
            self.assertEqual(knight("--check", path)[0], 0)
            after = {f.name: f.read_bytes() for f in Path(path).parent.iterdir()}
            self.assertEqual(after, before, name)

    def test_settings(self) -> None:
        """Without an address the gateway's own database is meant."""
        path = self.file()
        folder, file = os.path.split(path)
        _, out, _ = knight("-c", DATA_DIR=folder, SQLITE_PATH=file)
        self.assertIn(f"Database: {path}\n", out)

    def test_interrupted(self) -> None:
        """An upgrade that was interrupted on MySQL is seen, with the old types."""
        from knight_tw.storage.one_api import upgrade

        path = self.file()
        engine = engine_for(f"sqlite:///{path}")
        self.addCleanup(engine.dispose)
        with engine.begin() as connection:
            upgrade._start(connection)
            upgrade.reading.note_types(connection)
            connection.exec_driver_sql("UPDATE channels SET type=43 WHERE id=16")
        _, out, _ = knight("-c", path)
        self.assertIn("an upgrade was interrupted", out)
        self.assertIn("36 DeepSeek -> 43 DeepSeek  live deepseek", out)

    def refused(self, expected: str, status: int, *words: str) -> None:
        """One line on the error stream, and nothing else."""
        found, out, err = knight(*words)
        self.assertEqual((found, out), (status, ""))
        self.assertEqual(err.count("\n"), 1, err)
        self.assertTrue(err.startswith("knight import: "), err)
        self.assertIn(expected, err)

    def test_misused(self) -> None:
        """Status 2 for a command line that makes no sense."""
        self.refused("no database address", 2, "--check", "what")
        self.refused("--fast", 2, "--fast")
        self.refused("argument", 2, "one", "two")

    def test_cannot(self) -> None:
        """Status 1 for a database that cannot be opened."""
        for flags in ([], ["--check"]):
            self.refused("there is no file /no", 1, *flags, "sqlite:////no/such.db")
            nowhere = "postgres://u:secret@127.0.0.1:1/x"
            status, _, err = knight(*flags, nowhere)
            self.assertEqual((status, err.count("\n")), (1, 1), err)
            self.assertNotIn("secret", err)
        text = Path(self.mktemp())
        text.write_text("no database at all, just some text\n" * 100)
        self.refused("not a database", 1, "--check", str(text))

    def test_foreign(self) -> None:
        """Another program's database is refused in both ways."""
        path = Path(self.mktemp()).absolute()
        engine = engine_for(f"sqlite:///{path}")
        with engine.begin() as connection:
            connection.exec_driver_sql("CREATE TABLE users (id INTEGER PRIMARY KEY)")
        engine.dispose()
        self.refused("another program", 1, "--check", str(path))
        self.refused("another program", 1, str(path))

    def test_help(self) -> None:
        """The options and the exit statuses are explained."""
        out = io.StringIO()
        with redirect_stdout(out):
            self.assertRaises(SystemExit, cli.main, ["import", "--help"])
        for word in ("--check", "--backed-up", "Exit status"):
            self.assertIn(word, out.getvalue())
