"""Values in, the same values out, whatever each engine stores."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from knight_tw.storage.columns import ZONE_ATTRIBUTE, parse_moment
from tests.engines import ConnectionCase, for_engines, for_servers

NOON = datetime(2026, 11, 25, 12, 0, 0, 123000, tzinfo=UTC)


class ParseMomentTests(SynchronousTestCase):
    """`parse_moment` reads what Go programs left in SQLite."""

    def test_go_forms(self) -> None:
        """Offsets with and without blank or colon, up to nine decimals, `T` and `Z`."""
        for text in (
            "2026-11-25 20:00:00.123+08:00",
            "2026-11-25 20:00:00.123000999+08:00",
            "2026-11-25T12:00:00.123Z",
            "2026-11-25 20:00:00.123 +0800 CST m=+0.01",
        ):
            self.assertEqual(parse_moment(text), NOON, text)

    def test_no_offset(self) -> None:
        """A text without an offset gives a time without a zone."""
        self.assertEqual(
            parse_moment("2026-11-25 12:00:00"), datetime(2026, 11, 25, 12)
        )

    def test_no_time(self) -> None:
        """Anything else is no time."""
        self.assertIsNone(parse_moment("soon"))

    @settings(max_examples=50, deadline=None)
    @given(
        st.datetimes(min_value=datetime(1970, 1, 2)),
        st.integers(-14 * 60, 14 * 60),
    )
    def test_any_time(self, naive: datetime, offset: int) -> None:
        """What Python writes is read back."""
        moment = naive.replace(tzinfo=timezone(timedelta(minutes=offset)))
        self.assertEqual(parse_moment(moment.isoformat(sep=" ")), moment)


@for_engines
class ColumnTests(ConnectionCase):
    """Types that translate."""

    def _stored(self, column: sa.Column[object], row_id: int) -> object:
        """The driver's value, past our type."""
        plain = sa.table(column.table.name, sa.column(column.name), sa.column("id"))
        asked = sa.select(plain.c[column.name]).where(plain.c.id == row_id)
        return self.connection.scalar(asked)

    def test_moment(self) -> None:
        """A time in any zone comes back the same, in UTC, to the millisecond."""
        there = NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))
        self.insert(schema.users, username="a", password="", deleted_at=there)
        found = self.rows(schema.users)[0]["deleted_at"]
        self.assertEqual(found, NOON)
        self.assertEqual(found.utcoffset(), timedelta(0))

    def test_moment_zone(self) -> None:
        """MySQL's zoneless times mean the zone of the address, when it names one."""
        zone = ZoneInfo("Asia/Shanghai")
        setattr(self.connection.dialect, ZONE_ATTRIBUTE, zone)
        row_id = self.insert(schema.users, username="a", password="", deleted_at=NOON)
        self.assertEqual(self.rows(schema.users)[0]["deleted_at"], NOON)
        if self.kind == "mysql":
            stored = self._stored(schema.users.c.deleted_at, row_id)
            self.assertEqual(stored, datetime(2026, 11, 25, 20, 0, 0, 123000))

    def test_moment_without_zone(self) -> None:
        """A time that does not say its zone is refused."""
        naive = datetime(2026, 1, 1)
        with self.assertRaises((ValueError, sa.exc.StatementError)):
            self.insert(schema.users, username="a", password="", deleted_at=naive)

    def test_document(self) -> None:
        """JSON comes back as text; SQLite holds a BLOB, which the originals need."""
        row_id = self.insert(schema.channels, key="k", channel_info={"a": "é"})
        found = self.rows(schema.channels)[0]["channel_info"]
        self.assertEqual(json.loads(found), {"a": "é"})
        if self.kind == "sqlite":
            stored = self._stored(schema.channels.c.channel_info, row_id)
            self.assertEqual(stored, '{"a":"é"}'.encode())

    def test_empty_document(self) -> None:
        """Nothing is NULL: MariaDB refuses an empty text."""
        for empty in ("", None, {}, b""):
            self.insert(schema.channels, key="k", channel_info=empty or None)
        found = {row["channel_info"] for row in self.rows(schema.channels)}
        self.assertEqual(found, {None})

    def test_document_as_text(self) -> None:
        """A SQLite row that was written as text is read all the same."""
        row_id = self.insert(schema.channels, key="k")
        if self.kind != "sqlite":
            return
        self.connection.exec_driver_sql(
            "UPDATE channels SET channel_info = ? WHERE id = ?", ("plain", row_id)
        )
        self.assertEqual(self.rows(schema.channels)[0]["channel_info"], "plain")

    def test_fixed(self) -> None:
        """A text shorter than its column has no padding, and is found by itself."""
        self.insert(schema.users, username="a", password="", access_token="t" * 28)
        asked = sa.select(schema.users.c.access_token).where(
            schema.users.c.access_token == "t" * 28
        )
        self.assertEqual(self.connection.scalar(asked), "t" * 28)

    def test_real(self) -> None:
        """A fraction comes back as the Decimal that it reads as."""
        self.insert(schema.top_ups, money=Decimal("9.99"), trade_no="1")
        self.insert(schema.subscription_plans, title="x", price_amount=Decimal("0.1"))
        self.assertEqual(self.rows(schema.top_ups)[0]["money"], Decimal("9.99"))
        self.assertEqual(
            self.rows(schema.subscription_plans)[0]["price_amount"], Decimal("0.1")
        )

    def test_flag(self) -> None:
        """Booleans are booleans, also in conditions."""
        self.insert(schema.tokens, key="a", unlimited_quota=True)
        self.insert(schema.tokens, key="b", unlimited_quota=False)
        asked = sa.select(schema.tokens.c.key).where(schema.tokens.c.unlimited_quota)
        self.assertEqual(list(self.connection.scalars(asked)), ["a"])
        self.assertIs(self.rows(schema.tokens)[1]["unlimited_quota"], False)

    def test_zero_values(self) -> None:
        """What an insert leaves out is written as zero, except pointers and uniques."""
        self.insert(schema.users, username="a", password="")
        row = self.rows(schema.users)[0]
        self.assertEqual(
            (row["email"], row["inviter_id"], row["group"], row["auth_version"]),
            ("", 0, "default", 1),
        )
        self.assertEqual((row["access_token"], row["aff_code"]), (None, None))


@for_servers
class IndexTests(ConnectionCase):
    """Look-ups use the index."""

    def test_char(self) -> None:
        """A blank-padded key is looked up by its index, on PostgreSQL too."""
        self.insert(schema.redemptions, key="k")
        asked = sa.select(schema.redemptions).where(schema.redemptions.c.key == "k")
        if self.kind == "postgresql":
            self.connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
        compiled = asked.compile(self.connection)
        plan = self.connection.exec_driver_sql(
            f"EXPLAIN {compiled}", compiled.params
        ).all()
        self.assertIn("idx_redemptions_key", str(plan))
        if self.kind == "postgresql":
            self.assertIn("Index Cond: (key =", str(plan))
