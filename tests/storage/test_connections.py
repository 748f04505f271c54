"""What connections are opened with."""

from __future__ import annotations

import ssl
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import connections, dsn
from knight_tw.storage.columns import ZONE_ATTRIBUTE
from tests.engines import complete_database, engine_for


def engine(address: str) -> sa.Engine:
    """An engine that is not connected."""
    return connections.server(dsn.parse(address), idle=2, limit=4, lifetime=60)


class ArgumentTests(SynchronousTestCase):
    """Arguments for the drivers, without a server."""

    def test_mysql_tls(self) -> None:
        """`tls=true` checks the server's name, `skip-verify` does not."""
        for mode, checks in (("true", True), ("skip-verify", False)):
            url = dsn.parse(f"u@tcp(h)/d?tls={mode}")
            context = connections._mysql_arguments(url)["ssl"]
            self.assertEqual(context.check_hostname, checks)
            verified = context.verify_mode is ssl.CERT_REQUIRED
            self.assertEqual(verified, checks)

    def test_zone(self) -> None:
        """`loc` becomes the zone of the engine's times."""
        made = engine("u@tcp(h)/d?loc=Asia%2FTokyo")
        zone = getattr(made.dialect, ZONE_ATTRIBUTE)
        self.assertEqual(zone, ZoneInfo("Asia/Tokyo"))
        self.assertNotIn("loc", made.url.query)

    def test_unknown_zone(self) -> None:
        """A zone that nobody knows stops the start."""
        self.assertRaises(dsn.DsnError, engine, "u@tcp(h)/d?loc=Moon%2FBase")

    def test_pooler(self) -> None:
        """Behind a pooler nothing is prepared."""
        url = dsn.parse("postgres://u@h/d?default_query_exec_mode=exec")
        arguments = connections._postgres_arguments(url)
        self.assertIsNone(arguments["prepare_threshold"])

    def test_given_timeouts(self) -> None:
        """What the address says wins over our defaults."""
        url = dsn.parse("postgres://u@h/d?connect_timeout=2&keepalives_idle=9")
        arguments = connections._postgres_arguments(url)
        self.assertNotIn("connect_timeout", arguments)
        self.assertNotIn("keepalives_idle", arguments)
        mysql = connections._mysql_arguments(dsn.parse("u@tcp(h)/d?timeout=2s"))
        self.assertNotIn("connect_timeout", mysql)

    def test_pool(self) -> None:
        """No more connections than the limit, fewer are kept."""
        pool = engine("postgres://u@h/d").pool
        assert isinstance(pool, sa.pool.QueuePool)
        self.assertEqual((pool.size(), pool._max_overflow), (2, 2))


class SessionTests(SynchronousTestCase):
    """What sessions on real servers are set to."""

    def _ask(self, kind: str, question: str) -> object:
        made = engine_for(complete_database(kind))
        self.addCleanup(made.dispose)
        with made.connect() as connection:
            return connection.scalar(sa.text(question))

    def test_mysql_session(self) -> None:
        """READ COMMITTED, UTC and utf8mb4 on MySQL."""
        name = "tx_isolation"
        version = str(self._ask("mysql", "SELECT VERSION()"))
        if "MariaDB" not in version:
            name = "transaction_isolation"
        self.assertEqual(self._ask("mysql", f"SELECT @@{name}"), "READ-COMMITTED")
        self.assertEqual(self._ask("mysql", "SELECT @@session.time_zone"), "+00:00")
        charset = self._ask("mysql", "SELECT @@character_set_client")
        self.assertEqual(charset, "utf8mb4")

    def test_mysql_patience(self) -> None:
        """The greeting's short timeout is not that of statements."""
        made = engine_for(complete_database("mysql"))
        self.addCleanup(made.dispose)
        with made.connect() as connection:
            driver = connection.connection.driver_connection
            self.assertEqual(driver._read_timeout, connections._ANSWER_SECONDS)

    def test_postgres_session(self) -> None:
        """READ COMMITTED and UTF-8 on PostgreSQL."""
        isolation = self._ask("postgresql", "SHOW transaction_isolation")
        self.assertEqual(isolation, "read committed")
        encoding = self._ask("postgresql", "SHOW client_encoding")
        self.assertEqual(encoding, "UTF8")
