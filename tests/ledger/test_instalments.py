"""Calls that are charged in instalments: one row, exactly once, whatever happens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from msgspec import Raw
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.ledger import instalments, posting
from knight_tw.ledger.entries import SETTLE, Entry, Row
from knight_tw.ledger.posting import Batch
from knight_tw.storage import schema
from tests.engines import ConnectionCase, for_engines
from tests.ledger.till import CHANNEL, NOW, RICH, TOKEN, USER, books, kill, row, seed
from tests.ledger.till import LedgerCase as Case

JOURNAL = "b" * 32


def entry(seq: int, instalment: int, amount: int, **other: Any) -> Entry:
    """One instalment of the call `s`."""
    found = {"evidence": "provider", "cache_tokens": 2, **other}
    made = Row(
        user_id=USER,
        created_at=NOW + seq,
        type=2,
        model_name="gpt",
        prompt_tokens=10 * seq,
        completion_tokens=seq,
        use_time=seq,
        channel_id=CHANNEL,
        token_id=TOKEN,
        request_id="s",
        status=200,
        other=Raw(json.dumps(found).encode()),
    )
    return Entry(
        seq,
        SETTLE,
        f"s:{instalment}",
        user=USER,
        token=TOKEN,
        channel=CHANNEL,
        sure=amount,
        amount=amount,
        evidence=str(found["evidence"]),
        instalment=instalment,
        row=made,
    )


@for_engines
class Posting(ConnectionCase):
    """The writer's transaction, on every engine."""

    def setUp(self) -> None:
        """A user with 1000, a token with 500, a journal."""
        super().setUp()
        seed(self.connection, 1000, 500)
        posting.set_position(self.connection, JOURNAL, 0, NOW)

    def post(self, *entries: Entry) -> None:
        """Applies entries."""
        before = entries[0].seq - 1
        last = entries[-1].seq
        posting.post(
            self.connection, Batch(JOURNAL, before, last, list(entries), NOW, "n")
        )

    def log(self) -> dict[str, Any]:
        """The only log row, `other` decoded."""
        (found,) = self.rows(schema.logs)
        return {**found, "other": json.loads(found["other"])}

    def test_adds_up(self) -> None:
        """In one batch or in several: sums are added, the rest is the latest."""
        self.post(entry(1, 1, 100, note="a"), entry(2, 2, 50, note="b"))
        self.post(entry(3, 3, 1))
        found = self.log()
        sums = (found["quota"], found["prompt_tokens"], found["completion_tokens"])
        self.assertEqual(sums, (151, 60, 6))
        self.assertEqual((found["use_time"], found["created_at"]), (3, NOW + 3))
        self.assertEqual(
            found["other"], {"evidence": "provider", "cache_tokens": 6, "note": "b"}
        )

    def test_one_request(self) -> None:
        """Balances move by each; the call is counted once everywhere."""
        self.post(entry(1, 1, 100), entry(2, 2, 50))
        self.post(entry(3, 3, 1))
        found = books(self.connection)
        self.assertEqual((found.quota, found.remain, found.count), (849, 349, 1))
        self.assertEqual((found.used, found.channel_used), (151, 151))
        (usage,) = self.rows(schema.knight_usage)
        self.assertEqual((usage["count"], usage["quota"]), (1, 151))
        self.assertEqual((usage["prompt_tokens"], usage["cached_tokens"]), (60, 6))
        (minute,) = self.rows(schema.knight_channel_minutes)
        self.assertEqual(minute["count"], 1)
        (hourly,) = self.rows(schema.quota_data)
        self.assertEqual((hourly["count"], hourly["token_used"]), (1, 66))

    def test_short(self) -> None:
        """What was not there is added up, too, and the amounts are the real ones."""
        late = entry(2, 2, 450)
        late.sure = 0
        later = entry(3, 3, 30)
        later.sure = 0
        self.post(entry(1, 1, 100), late, later)
        found = self.log()
        self.assertEqual(found["quota"], 500)
        self.assertEqual(found["other"]["uncollected_quota"], 80)

    def test_row_is_gone(self) -> None:
        """When somebody has deleted the row, the next instalment makes another."""
        self.post(entry(1, 1, 100))
        self.connection.execute(sa.delete(schema.logs))
        self.post(entry(2, 2, 50))
        self.assertEqual(self.log()["quota"], 50)

    def test_row_of_somebody_else(self) -> None:
        """A row that only has the same id is left alone."""
        self.connection.execute(
            sa.insert(schema.logs).values(
                user_id=77, type=2, request_id="s", quota=5, created_at=NOW
            )
        )
        self.post(entry(1, 1, 100))
        self.post(entry(2, 2, 50))
        self.assertEqual([it["quota"] for it in self.rows(schema.logs)], [5, 150])


class Merging(SynchronousTestCase):
    """`merged`, apart from any database."""

    def test_weakest_evidence(self) -> None:
        """A call rests on the weakest evidence that it has."""
        for old, new, whole in (
            ("provider", "provider", "provider"),
            ("provider", "counted", "counted"),
            ("estimated", "provider", "estimated"),
        ):
            found = instalments.merged(
                json.dumps({"evidence": old}), json.dumps({"evidence": new})
            )
            self.assertEqual(json.loads(found), {"evidence": whole})

    def test_odd_columns(self) -> None:
        """What others have left in the column does no harm."""
        for old in ("", "null", "[1]", "no", '{"cache_tokens":"x"}'):
            found = json.loads(instalments.merged(old, '{"cache_tokens":3}'))
            self.assertEqual(found["cache_tokens"], 3, old)


class Crashes(Case):
    """The ledger's way, with a kill in the middle."""

    def setUp(self) -> None:
        """A rich user."""
        super().setUp()
        self.seed()

    def charge(self, instalment: int, amount: int = 100) -> None:
        """One instalment, of which the answer has left."""
        hold = self.hold(f"s:{instalment}")
        self.ledger.settle(
            hold, amount, row("s"), CHANNEL, "provider", instalment=instalment
        )
        self.leave()

    def total(self) -> tuple[int, int, int, list[str]]:
        """Charged, balance, requests, and the ids of the rows."""
        found = self.books()
        return found.charged, RICH - found.quota, found.count, found.calls

    def restart(self) -> None:
        """Killed, and started again."""
        kill(self.ledger)
        self.ledger = self.started()

    def test_killed_between_turns(self) -> None:
        """The row holds what was settled by then, whether it was applied or not."""
        self.charge(1)
        self.flush()
        self.charge(2)
        self.charge(3)
        self.restart()
        self.assertEqual(self.total(), (300, 300, 1, ["s"]))
        self.assertEqual(self.table("knight_holds"), [])

    def test_killed_before_anything_was_applied(self) -> None:
        """The replay makes the row."""
        self.charge(1)
        self.charge(2)
        self.restart()
        self.assertEqual(self.total(), (200, 200, 1, ["s"]))

    def test_answer_of_a_commit_is_lost(self) -> None:
        """An instalment that was committed is not added again."""
        self.charge(1)
        self.flush()
        self.charge(2)
        self.world.main.lose_commits = 1
        self.ledger.flushed().addErrback(lambda _: None)
        self.restart()
        self.assertEqual(self.total(), (200, 200, 1, ["s"]))
        (found,) = self.table("logs")
        self.assertEqual(found["prompt_tokens"], 800)


class TwoDatabases(Crashes):
    """The same with log rows in a second database."""

    def setUp(self) -> None:
        """Rows go elsewhere from the beginning."""
        super().setUp()
        self.done(self.ledger.stop())
        self.world.directory = Path(self.mktemp())
        self.world.add_log_database()
        self.ledger = self.started()

    def total(self) -> tuple[int, int, int, list[str]]:
        """As above; the rows are in the other database."""
        _, taken, count, _ = super().total()
        rows = self.elsewhere()
        return (
            sum(it["quota"] for it in rows),
            taken,
            count,
            [it["request_id"] for it in rows],
        )

    def elsewhere(self) -> list[dict[str, Any]]:
        """The log rows."""
        logs = self.world.logs
        assert logs is not None
        query = sa.select(schema.logs)

        def read(connection: sa.Connection) -> list[dict[str, Any]]:
            return [dict(it) for it in connection.execute(query).mappings()]

        return self.done(Deferred.fromCoroutine(logs.inner.run(read)))

    def test_answer_of_a_commit_is_lost(self) -> None:
        """Between the two databases nothing is added twice."""
        self.charge(1)
        self.flush()
        self.charge(2)
        assert self.world.logs is not None
        self.world.logs.lose_commits = 1
        self.ledger.flushed().addErrback(lambda _: None)
        self.restart()
        self.assertEqual(self.total(), (200, 200, 1, ["s"]))
