"""The writer's transaction, on every engine."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from msgspec import Raw

from knight_tw.ledger import holds, posting
from knight_tw.ledger.entries import REFUND, SETTLE, Entry, Row
from knight_tw.ledger.posting import Batch, Moved
from knight_tw.ledger.statements import INSERT_LOG, LOG_COLUMNS, TOGETHER
from knight_tw.storage import schema
from tests.engines import ConnectionCase, for_engines
from tests.ledger.till import CHANNEL, NOW, TOKEN, USER, books, seed

JOURNAL = "a" * 32


def settle(seq: int, amount: int, **more: Any) -> Entry:
    """A settlement whose row has a text in every column."""
    row = Row(
        user_id=USER,
        created_at=NOW,
        type=2,
        content="Überraschung 🎉 %s ' \" \\ :x",
        username="u1",
        token_name="t",
        model_name="gpt-4o",
        prompt_tokens=5,
        completion_tokens=6,
        is_stream=seq % 2 == 0,
        channel_id=CHANNEL,
        token_id=TOKEN,
        group="default",
        ip="::1",
        request_id=f"c{seq}",
        upstream_request_id="up",
        status=200,
        session_id="s",
        other=Raw(b'{"frt":120,"note":"50%"}'),
    )
    fields: dict[str, Any] = {
        "user": USER,
        "token": TOKEN,
        "channel": CHANNEL,
        "sure": amount,
        "amount": amount,
        "evidence": "provider",
        "at": NOW + seq,
        "row": row,
        **more,
    }
    return Entry(seq, SETTLE, f"c{seq}", **fields)


def batch(before: int, *entries: Entry, **more: Any) -> Batch:
    """A batch of the journal."""
    last = entries[-1].seq if entries else before
    return Batch(JOURNAL, before, last, list(entries), NOW, "n", **more)


@for_engines
class PostTests(ConnectionCase):
    """`post` and the functions of `holds`."""

    def setUp(self) -> None:
        """A user with 1000, a token with 500, a journal."""
        super().setUp()
        seed(self.connection, 1000, 500)
        posting.set_position(self.connection, JOURNAL, 0, NOW)

    def wish(self, call: str, amount: int, **more: Any) -> holds.Reading:
        """Takes a hold."""
        wish = holds.Wish(call, USER, TOKEN, amount, JOURNAL, NOW, **more)
        return holds.take(self.connection, wish)

    def post(self, it: Batch) -> posting.Posted:
        """Applies a batch."""
        return posting.post(self.connection, it)

    def log(self) -> list[dict[str, Any]]:
        """The log rows."""
        return self.rows(schema.logs)

    def test_everything(self) -> None:
        """Rows, balances, counters, statistics and position in one go."""
        self.post(batch(0, settle(1, 100), settle(2, 50)))
        self.post(batch(2, settle(3, 1)))
        found = books(self.connection)
        self.assertEqual((found.quota, found.remain), (849, 349))
        self.assertEqual((found.used, found.token_used, found.channel_used), (151,) * 3)
        self.assertEqual((found.count, found.charged), (3, 151))
        self.assertEqual(posting.position(self.connection, JOURNAL), 3)
        self.assertEqual(self.rows(schema.tokens)[0]["accessed_time"], NOW + 3)
        (usage,) = self.rows(schema.knight_usage)
        self.assertEqual((usage["count"], usage["quota"], usage["ttft_1"]), (3, 151, 3))
        (minute,) = self.rows(schema.knight_channel_minutes)
        self.assertEqual((minute["count"], minute["lat_0"]), (3, 3))
        (hourly,) = self.rows(schema.quota_data)
        self.assertEqual((hourly["count"], hourly["token_used"]), (3, 33))

    def test_row(self) -> None:
        """Every column arrives as it was, also with marks that engines know."""
        entry = settle(2, 100)
        self.post(batch(0, entry))
        (found,) = self.log()
        row = entry.row
        assert row is not None
        for name in LOG_COLUMNS:
            expected: Any = getattr(row, name)
            if name == "other":
                expected = bytes(row.other).decode()
            if name == "quota":
                expected = 100
            self.assertEqual(found[name], expected, name)
        self.assertIs(found["is_stream"], True)

    def test_position_must_be_right(self) -> None:
        """A batch that is not the next one changes nothing."""
        self.post(batch(0, settle(1, 100)))
        self.assertRaises(Moved, self.post, batch(0, settle(1, 100)))
        self.assertRaises(Moved, self.post, batch(2, settle(3, 100)))
        self.assertEqual(books(self.connection).charged, 100)

    def test_columns_that_are_null(self) -> None:
        """Rows of an old database hold NULL where ours hold 0."""
        nothing: dict[str, Any] = {"used_quota": None}
        for table, columns in (
            (schema.users, {**nothing, "request_count": None}),
            (schema.tokens, {**nothing, "accessed_time": None}),
            (schema.channels, nothing),
        ):
            self.connection.execute(sa.update(table).values(columns))
        self.post(batch(0, settle(1, 100)))
        found = books(self.connection)
        self.assertEqual((found.used, found.token_used, found.channel_used), (100,) * 3)
        self.connection.execute(sa.update(schema.users).values(quota=None))
        self.assertFalse(self.wish("h", 1).taken)
        self.post(batch(1, settle(2, 100)))
        self.assertEqual(books(self.connection).charged, 100)

    def test_short(self) -> None:
        """What is not there is not taken, and the row says so."""
        self.post(batch(0, settle(1, 700, sure=0)))
        (found,) = self.log()
        self.assertEqual(found["quota"], 500)
        self.assertIn('"uncollected_quota":200', found["other"])
        self.assertEqual(books(self.connection).remain, 0)

    def test_hold(self) -> None:
        """A hold lowers both rows and is given back by the entry that ends it."""
        self.assertEqual(self.wish("c1", 400), holds.Reading(600, 100, taken=True))
        self.assertEqual(books(self.connection).held, 400)
        self.post(batch(0, settle(1, 150, held=400, sql=True)))
        found = books(self.connection)
        self.assertEqual((found.quota, found.remain, found.held), (850, 350, 0))

    def test_hold_is_all_or_nothing(self) -> None:
        """A hold that one of the rows cannot bear changes neither."""
        self.assertEqual(self.wish("a", 501), holds.Reading(1000, 500))
        self.connection.execute(sa.update(schema.users).values(quota=300))
        self.assertEqual(self.wish("b", 301), holds.Reading(300, 500))
        self.assertEqual(self.rows(schema.knight_holds), [])

    def test_hold_leaves_what_is_promised(self) -> None:
        """What this process promised in memory stays in the rows."""
        self.assertFalse(self.wish("a", 401, keep_token=100).taken)
        self.assertFalse(self.wish("b", 401, keep_user=600).taken)
        self.assertTrue(self.wish("c", 400, keep_token=100, keep_user=600).taken)

    def test_hold_on_what_was_seen(self) -> None:
        """With `seen` the balances must not have changed."""
        self.assertFalse(self.wish("a", 500, seen=(1000, 499)).taken)
        self.assertFalse(self.wish("b", 500, seen=(999, 500)).taken)
        self.assertTrue(self.wish("c", 500, seen=(1000, 500)).taken)

    def test_release_of_a_journal(self) -> None:
        """Everything that a journal held comes back."""
        self.wish("a", 100)
        self.wish("b", 200)
        self.assertEqual(len(holds.release_journal(self.connection, JOURNAL)), 2)
        self.assertEqual(holds.release_journal(self.connection, JOURNAL), [])
        found = books(self.connection)
        self.assertEqual((found.quota, found.remain, found.held), (1000, 500, 0))

    def test_release_of_the_lost(self) -> None:
        """Day-old holds of silent journals come back; closed journals are pruned."""
        self.wish("a", 100)
        later = NOW + holds.LOST_SECONDS + 1
        posting.set_position(self.connection, JOURNAL, 5, NOW + 10)
        self.assertEqual(holds.release_lost(self.connection, later), [])
        released = holds.release_lost(self.connection, later + 10)
        self.assertEqual(released, [(USER, TOKEN)])
        posting.set_position(self.connection, "b" * 32, holds.CLOSED, NOW)
        holds.release_lost(self.connection, NOW + holds.FORGOTTEN_SECONDS + 1)
        self.assertEqual(
            [it["journal"] for it in self.rows(schema.knight_journal)], [JOURNAL]
        )

    def test_refund(self) -> None:
        """A refund raises balances and lowers what was used."""
        row = Row(user_id=USER, type=6, created_at=NOW)
        back = Entry(2, REFUND, "t", USER, TOKEN, CHANNEL, amount=30, row=row)
        self.post(batch(0, settle(1, 100), back))
        found = books(self.connection)
        self.assertEqual((found.quota, found.remain, found.used), (930, 430, 70))
        self.assertEqual((found.charged, found.channel_used), (70, 70))

    def test_rows_apart(self) -> None:
        """Without its rows a batch keeps what fell short until they are written."""
        entry = settle(1, 700)
        self.post(batch(0, entry, rows=False))
        self.assertEqual(self.log(), [])
        short = posting.kept_short(self.connection, JOURNAL)
        self.assertEqual(short, {1: 500})
        posting.set_position(self.connection, JOURNAL, 0, NOW)
        posting.post_rows(self.connection, batch(0, entry), short)
        self.assertEqual(sorted(it["quota"] for it in self.log()), [0, 500])
        self.post(batch(1, settle(2, 0), rows=False))
        self.assertEqual(posting.kept_short(self.connection, JOURNAL), {})

    def test_many_rows(self) -> None:
        """More ids than one statement takes."""
        for number in range(10, 700):
            seed(self.connection, 100, 100, user=number, token=number)
        entries = [settle(it, 7, user=it + 9, token=it + 9) for it in range(1, 601)]
        self.post(batch(0, *entries))
        quota = sa.select(sa.func.sum(schema.users.c.quota))
        self.assertEqual(self.connection.scalar(quota), 1000 + 690 * 100 - 600 * 7)
        c = schema.logs.c
        found = self.connection.execute(sa.select(c.request_id, c.quota).order_by(c.id))
        self.assertEqual(
            [tuple(it) for it in found], [(f"c{it}", 7) for it in range(1, 601)]
        )

    def test_rows_together(self) -> None:
        """Every row arrives once, however many one statement takes."""
        for number in (1, TOGETHER - 1, TOGETHER, 2 * TOGETHER + 1):
            self.connection.execute(sa.delete(schema.logs))
            rows = [
                tuple(str(it) if name == "request_id" else None for name in LOG_COLUMNS)
                for it in range(number)
            ]
            INSERT_LOG.run(self.connection, rows)
            c = schema.logs.c
            found = self.connection.scalars(sa.select(c.request_id).order_by(c.id))
            self.assertEqual(list(found), [str(it) for it in range(number)])

    def test_order_of_columns(self) -> None:
        """The tuples of rows are in the order of the statement's columns."""
        table = [it.name for it in schema.logs.c if it.name in LOG_COLUMNS]
        self.assertEqual(tuple(table), LOG_COLUMNS)
        self.assertEqual(INSERT_LOG.run(self.connection, []), 0)
