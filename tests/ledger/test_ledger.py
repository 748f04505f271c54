"""Holds and charges, seen from outside, on a database in memory."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import CancelledError, Deferred

from knight_tw.errors import (
    DatabaseAway,
    KnightError,
    LedgerFull,
    TokenQuotaShort,
    UserQuotaShort,
)
from knight_tw.ledger import HoldIsOver, Place
from knight_tw.storage import schema
from tests.ledger.till import (
    CHANNEL,
    NOW,
    RICH,
    TOKEN,
    TRUST,
    USER,
    LedgerCase,
    row,
)


class WorkedExampleTests(LedgerCase):
    """Examples 11, 13 and 14 of the billing specification, section 10."""

    def settled(self, amount: int) -> list[Any]:
        """Settles the open hold; quota, charge, uncollected and number of rows."""
        answer = self.ledger.settle(self.held, amount, row(), CHANNEL)
        self.flush()
        (log,) = self.table("logs")
        books = self.books()
        self.assertEqual(answer, log["quota"])
        self.assertEqual(books.used, log["quota"])
        self.assertEqual(books.token_used, log["quota"])
        self.assertEqual(books.channel_used, log["quota"])
        self.assertEqual(books.held, 0)
        return [books.quota, answer, json.loads(log["other"]).get("uncollected_quota")]

    def test_example_11(self) -> None:
        """1 000 000: 5625 are held in SQL, 550 settled, 5075 come back."""
        self.seed(quota=1_000_000)
        self.held = self.hold()
        self.assertEqual((self.held.place, self.held.amount), (Place.SQL, 5625))
        self.assertEqual(self.books().quota, 994_375)
        self.assertEqual(self.settled(550), [999_450, 550, None])

    def test_example_13(self) -> None:
        """3000: all is held, a second call is refused, 2450 come back."""
        self.seed(quota=3000)
        self.held = self.hold()
        self.assertEqual((self.held.amount, self.books().quota), (3000, 0))
        self.failureResultOf(self.ask("second"), UserQuotaShort)
        self.assertEqual(self.settled(550), [2450, 550, None])

    def test_example_14(self) -> None:
        """As 13 with a price of 4000: 3000 are charged, 1000 are uncollected."""
        self.seed(quota=3000)
        self.held = self.hold()
        self.assertEqual(self.settled(4000), [0, 3000, 1000])
        self.assertEqual(self.ledger.figures.uncollected, 1000)


class HoldTests(LedgerCase):
    """`hold`."""

    def test_memory(self) -> None:
        """With comfort nothing is asked of the database."""
        self.seed()
        self.ledger.learn(USER, RICH, TOKEN, RICH, unlimited=False)
        before = self.world.main.transactions
        hold = self.ask()
        self.assertNotIsInstance(hold, Deferred)
        self.assertEqual(self.done(hold).place, Place.MEMORY)
        self.assertEqual(self.world.main.transactions, before)
        self.assertEqual((self.books().quota, self.table("knight_holds")), (RICH, []))

    def test_unknown_balance_is_read(self) -> None:
        """The first call of a caller reads both balances, the next one does not."""
        self.seed()
        self.assertIsInstance(self.ask("a"), Deferred)
        self.assertNotIsInstance(self.ask("b"), Deferred)
        self.assertEqual(self.ledger.figures.holds["memory"], 2)

    def test_row_of_a_hold(self) -> None:
        """A hold in SQL has a row, which says whose money it is."""
        self.seed(quota=10_000)
        self.hold("c1")
        self.assertEqual(
            self.table("knight_holds"),
            [
                {
                    "id": "c1",
                    "user_id": USER,
                    "token_id": TOKEN,
                    "amount": 5625,
                    "journal": self.ledger._journal.id,
                    "created_at": NOW,
                }
            ],
        )
        self.assertEqual(self.books().remain, RICH - 5625)

    def test_token_first(self) -> None:
        """With both short the token is what is named."""
        self.seed(quota=10, remain=10)
        self.failureResultOf(self.ask(), TokenQuotaShort)
        self.assertEqual((self.books().quota, self.books().remain), (10, 10))

    def test_user_short_leaves_the_token_alone(self) -> None:
        """A refusal for the user's sake gives the token's part back."""
        self.seed(quota=1874)
        self.failureResultOf(self.ask(), UserQuotaShort)
        self.assertEqual((self.books().quota, self.books().remain), (1874, RICH))
        self.assertEqual(self.table("knight_holds"), [])
        self.assertEqual(self.ledger.figures.holds["refused"], 1)

    def test_token_limits_the_hold(self) -> None:
        """All that is left is the least of what user and token have."""
        self.seed(quota=4000, remain=2000)
        hold = self.hold()
        self.assertEqual(hold.amount, 2000)
        self.assertEqual((self.books().quota, self.books().remain), (2000, 0))

    def test_unlimited_token(self) -> None:
        """An unlimited token is not asked, nor lowered by the hold; the charge is."""
        self.seed(quota=4000, remain=-5, unlimited=True)
        hold = self.done(self.ledger.hold("c", USER, TOKEN, True, 1875, 5625))
        self.assertEqual((hold.amount, self.books().remain), (4000, -5))
        self.ledger.settle(hold, 550, row())
        self.flush()
        self.assertEqual((self.books().quota, self.books().remain), (3450, -555))

    def test_playground(self) -> None:
        """Without a token the token's steps are skipped."""
        self.seed(quota=4000)
        hold = self.done(self.ledger.hold("c", USER, 0, True, 1875, 5625))
        self.ledger.settle(hold, 550, row(token_id=0))
        self.flush()
        books = self.books()
        self.assertEqual((books.quota, books.remain, books.token_used), (3450, RICH, 0))

    def test_nothing_needed_still_needs_a_balance(self) -> None:
        """Need 0 is refused at a balance of 0 and granted above."""
        self.seed(quota=0)
        self.failureResultOf(self.ask("a", 0, 0), UserQuotaShort)
        self.sql(_set_quota, 1)
        self.assertEqual(self.hold("b", 0, 0).amount, 0)

    def test_free(self) -> None:
        """A free hold asks nobody; a charge on it takes what is there."""
        self.seed(quota=5)
        hold = self.ledger.free_hold("c", USER, TOKEN, False)
        self.assertEqual(hold.amount, 0)
        self.assertEqual(self.ledger.settle(hold, 0, row()), 0)
        self.flush()
        self.assertEqual((self.books().quota, self.books().count), (5, 1))
        late = self.ledger.free_hold("task:final", USER, TOKEN, False)
        self.ledger.settle(late, 9, row("task"))
        self.flush()
        self.assertEqual((self.books().quota, self.books().charged), (0, 5))

    def test_missing_user(self) -> None:
        """A user that does not exist has nothing."""
        self.failureResultOf(self.ask(), TokenQuotaShort)

    def test_in_sql_when_asked(self) -> None:
        """Tasks hold in SQL whatever their owner has."""
        self.seed()
        self.assertEqual(self.done(self.ask(in_sql=True)).place, Place.SQL)
        self.assertEqual(self.books().held, 5625)

    def test_hold_is_never_below_need(self) -> None:
        """A hold smaller than the need is raised to it."""
        self.seed()
        self.assertEqual(self.hold("c", need=100, hold=7).amount, 100)

    def test_promises_in_memory_stay_covered(self) -> None:
        """A hold in SQL leaves in the row what was promised in memory before."""
        self.seed(quota=TRUST + 2000)
        first = self.hold("a", 1000, 1000)
        self.assertEqual(first.place, Place.MEMORY)
        second = self.hold("b", 1500, 10 * TRUST)
        self.assertEqual(second.amount, TRUST + 1000)
        self.assertEqual(self.ledger.settle(first, 1000, row("a")), 1000)
        self.ledger.settle(second, 1500, row("b"))
        self.flush()
        self.assertEqual(
            (self.books().quota, self.books().charged), (TRUST - 500, 2500)
        )

    def test_hold_under_way_is_no_comfort(self) -> None:
        """What is being taken in SQL right now is not promised to others in memory."""
        self.seed(quota=TRUST + 10_000)
        self.ledger.release(self.hold("a", 1, 1))
        self.world.main.late = []
        big = self.ask("big", 1, 9_000, in_sql=True)
        small = self.ask("small", 1, 2_000)
        self.world.main.answer()
        self.assertEqual(self.done(big).place, Place.SQL)
        self.assertEqual(self.done(small).place, Place.SQL)

    def test_money_on_its_way_back_counts(self) -> None:
        """A call right after another is not refused because of its unapplied rest."""
        self.seed(quota=3000)
        self.ledger.settle(self.hold("a"), 550, row("a"))
        self.assertEqual(self.books().quota, 0)
        self.assertEqual(self.hold("b").amount, 2450)

    def test_released_money_counts(self) -> None:
        """The same after a release."""
        self.seed(quota=3000)
        self.ledger.release(self.hold("a"))
        self.assertEqual(self.hold("b").amount, 3000)

    def test_last_coin(self) -> None:
        """The last coin can be spent, by one call at a time."""
        self.seed(quota=1)
        hold = self.hold("a", 1, 1)
        self.failureResultOf(self.ask("b", 1, 1), UserQuotaShort)
        self.ledger.settle(hold, 1, row("a"))
        self.flush()
        self.assertEqual((self.books().quota, self.books().charged), (0, 1))

    def test_full_journal(self) -> None:
        """A journal at its limit refuses holds, with a time to wait, and settles."""
        self.seed()
        ledger = self.ledger = self.started(max_bytes=200)
        hold = self.hold()
        self.world.main.away = True
        ledger.settle(hold, 550, row())
        self.assertTrue(ledger.full)
        with self.assertRaises(LedgerFull) as caught:
            self.ask("b")
        self.assertEqual(
            (caught.exception.status, caught.exception.retry_after), (503, 5)
        )
        self.world.main.away = False
        self.flush()
        self.assertEqual(self.hold("b").place, Place.MEMORY)

    def test_quick_hold(self) -> None:
        """Granted at once to a known caller with comfort, as `hold` grants it."""
        self.seed()
        self.assertIsNone(self.ledger.quick_hold("a", USER, TOKEN, False, 5625))
        known = self.hold("b")
        hold = self.ledger.quick_hold("c", USER, TOKEN, False, 5625)
        assert hold is not None
        self.assertEqual((hold.place, hold.amount), (known.place, known.amount))
        self.assertIsNone(self.ledger.quick_hold("d", USER, TOKEN, False, RICH))
        self.ledger.settle(hold, 550, row("c"))
        self.ledger.release(known)
        self.flush()
        self.assertEqual((self.books().quota, self.books().held), (RICH - 550, 0))

    def test_no_quick_hold_on_a_full_journal(self) -> None:
        """It is left to `hold` to refuse."""
        self.seed()
        ledger = self.ledger = self.started(max_bytes=200)
        hold = self.hold()
        self.world.main.away = True
        ledger.settle(hold, 550, row())
        self.assertIsNone(ledger.quick_hold("b", USER, TOKEN, False, 1))

    def test_several_processes_share(self) -> None:
        """With more processes the margin grows with what each has promised."""
        self.seed(quota=TRUST * 4)
        self.world.processes = 4
        self.assertEqual(self.hold("a", 1, TRUST // 2).place, Place.MEMORY)
        self.assertEqual(self.hold("b", 1, TRUST).place, Place.SQL)


class SettleTests(LedgerCase):
    """`settle`, `release`, `refund`, `note`."""

    def setUp(self) -> None:
        """A rich user with a hold in memory."""
        super().setUp()
        self.seed()
        self.held = self.hold()

    def test_everything_moves_by_the_same_amount(self) -> None:
        """Log row, user, token and channel carry the charge; the request is counted."""
        self.assertEqual(self.ledger.settle(self.held, 550, row(), CHANNEL), 550)
        self.flush()
        books = self.books()
        self.assertEqual((books.quota, books.remain), (RICH - 550, RICH - 550))
        self.assertEqual((books.used, books.token_used, books.channel_used), (550,) * 3)
        self.assertEqual((books.charged, books.count, books.calls), (550, 1, ["call"]))
        (token,) = self.table("tokens")
        self.assertEqual(token["accessed_time"], NOW)

    def test_log_row(self) -> None:
        """Every column of the row arrives; evidence joins `other`."""
        full = row(
            content="Überraschung 🎉",
            is_stream=True,
            ip="10.0.0.1",
            upstream_request_id="up",
            session_id="s",
            duration_ms=1234,
        )
        expected = {**full, "quota": 550}
        del expected["duration_ms"]
        other = dict(expected.pop("other"))
        self.ledger.settle(self.held, 550, full, CHANNEL, "counted")
        self.flush()
        (found,) = self.table("logs")
        self.assertEqual(json.loads(found["other"]), {**other, "evidence": "counted"})
        self.assertIsNone(found["channel_name"])
        for name, value in expected.items():
            self.assertEqual(found[name], value, name)

    def test_above_the_hold_with_comfort(self) -> None:
        """A price above the hold is charged when there is comfort."""
        self.assertEqual(self.ledger.settle(self.held, 50_000, row()), 50_000)
        self.flush()
        self.assertEqual(self.books().charged, 50_000)
        self.assertNotIn("uncollected_quota", self.table("logs")[0]["other"])

    def test_above_a_hold_in_sql(self) -> None:
        """What is taken above a hold in SQL counts at once."""
        hold = self.done(self.ask("t", in_sql=True))
        self.assertEqual(self.ledger.settle(hold, 50_000, row("t")), 50_000)
        self.assertEqual(self.ledger.user_left(USER), RICH - 50_000)
        self.flush()
        self.assertEqual(self.ledger.user_left(USER), RICH - 50_000)
        self.assertEqual(self.books().quota, RICH - 50_000)

    def test_database_has_the_last_word(self) -> None:
        """Money that came meanwhile is taken too, whatever `settle` answered."""
        self.ledger.release(self.held)
        self.sql(_set_quota, 3000)
        self.ledger.forget(user_id=USER)
        hold = self.hold("b")
        self.sql(_set_quota, 600)
        self.assertEqual(self.ledger.settle(hold, 4000, row("b")), 3000)
        self.flush()
        self.assertEqual((self.books().quota, self.books().charged), (0, 3600))
        self.assertIn('"uncollected_quota":400', self.table("logs")[0]["other"])

    def test_lowered_by_someone_else(self) -> None:
        """A balance that was lowered meanwhile goes to zero; a system row says so."""
        self.sql(_set_quota, 200)
        self.assertEqual(self.ledger.settle(self.held, 550, row(), CHANNEL), 550)
        self.flush()
        charge, said = sorted(self.table("logs"), key=lambda it: it["type"])
        self.assertEqual((charge["type"], charge["quota"]), (2, 200))
        self.assertIn('"uncollected_quota":350', charge["other"])
        self.assertEqual(
            (said["type"], said["quota"], said["request_id"]), (4, 0, "call")
        )
        self.assertIn("350 quota", said["content"])
        books = self.books()
        self.assertEqual((books.quota, books.used, books.token_used), (0, 200, 200))
        self.assertEqual(books.channel_used, 200)
        self.assertEqual(self.ledger.figures.uncollected, 350)

    def test_nothing(self) -> None:
        """A charge of 0 writes its row and counts the request."""
        self.ledger.settle(self.held, 0, row())
        self.flush()
        self.assertEqual((self.books().count, self.books().charged), (1, 0))
        self.assertEqual(len(self.table("logs")), 1)

    def test_twice(self) -> None:
        """A second settlement or release is an error."""
        self.ledger.settle(self.held, 550, row())
        with self.assertRaises(HoldIsOver):
            self.ledger.settle(self.held, 550, row())
        with self.assertRaises(HoldIsOver):
            self.ledger.release(self.held)

    def test_twice_in_production(self) -> None:
        """There it changes nothing and answers what was charged."""
        ledger = self.ledger = self.started(strict=False)
        hold = self.hold("p")
        self.assertEqual(ledger.settle(hold, 550, row("p")), 550)
        self.assertEqual(ledger.settle(hold, 9999, row("p")), 550)
        ledger.release(hold)
        self.flush()
        self.assertEqual(self.books().charged, 550)

    def test_negative(self) -> None:
        """A negative charge is a mistake of the program, and leaves the hold open."""
        self.assertRaises(ValueError, self.ledger.settle, self.held, -1, row())
        self.assertFalse(self.held.done)

    def test_release(self) -> None:
        """A released hold charges nothing and writes nothing."""
        self.ledger.release(self.held)
        self.flush()
        self.assertEqual((self.books().quota, self.table("logs")), (RICH, []))
        self.assertEqual(
            (self.ledger.figures.holds_open, self.ledger.figures.holds_quota), (0, 0)
        )

    def test_release_in_sql(self) -> None:
        """A hold in SQL comes back to user and token."""
        hold = self.done(self.ask("t", in_sql=True))
        self.ledger.release(hold)
        self.flush()
        books = self.books()
        self.assertEqual((books.quota, books.remain, books.held), (RICH, RICH, 0))

    def test_refund(self) -> None:
        """A refund gives balance and token back, lowers what was used, type 6."""
        self.ledger.settle(self.held, 550, row(), CHANNEL)
        back = row("task", type=6)
        self.ledger.refund("task:final", USER, TOKEN, CHANNEL, 550, back)
        self.flush()
        books = self.books()
        self.assertEqual((books.quota, books.remain, books.charged), (RICH, RICH, 0))
        self.assertEqual((books.used, books.token_used, books.channel_used), (0, 0, 0))
        self.assertEqual([it["quota"] for it in self.table("logs")], [550, 550])
        self.assertEqual(books.count, 1)

    def test_note(self) -> None:
        """A note is a log row and moves no money."""
        self.ledger.note(row("e", type=5, status=502, quota=0))
        self.flush()
        self.assertEqual([it["type"] for it in self.table("logs")], [5])
        self.assertEqual((self.books().quota, self.books().count), (RICH, 0))

    def test_hidden_note(self) -> None:
        """A failed call may count in the statistics without a row."""
        self.ledger.note(row("e", type=5, status=502), keep=False)
        self.flush()
        self.assertEqual(self.table("logs"), [])
        self.assertEqual([it["status"] for it in self.table("knight_usage")], [502])

    def test_measures(self) -> None:
        """The figures tell what was held, charged and written."""
        self.ledger.settle(self.held, 550, row(), CHANNEL, "estimated")
        self.assertGreater(self.ledger.journal_bytes, 0)
        self.assertGreater(self.ledger.buffered_bytes, 0)
        self.world.clock.advance(0.05)
        self.assertAlmostEqual(self.ledger.lag, 0.05, places=3)
        self.flush()
        self.assertEqual((self.ledger.journal_bytes, self.ledger.lag), (0, 0.0))
        self.assertEqual(self.ledger.records, {"settle": 1})
        self.assertEqual(self.ledger.figures.charged, {"estimated": 550})
        self.assertEqual(self.ledger.figures.flushed_records, 1)

    def test_what_is_left(self) -> None:
        """The owner's balance is known between flushes."""
        self.ledger.settle(self.held, 550, row())
        self.assertEqual(self.ledger.user_left(USER), RICH - 550)
        self.assertEqual(self.ledger.token_left(TOKEN), RICH - 550)
        self.flush()
        self.assertEqual(self.ledger.user_left(USER), RICH - 550)
        self.assertIsNone(self.ledger.user_left(99))
        self.assertIsNone(self.ledger.token_left(99))

    def test_token_with_all_held_is_not_exhausted(self) -> None:
        """What an open hold has set aside still belongs to the token."""
        self.ledger.release(self.held)
        self.sql(_set_remain, 3000)
        self.ledger.forget(token_id=TOKEN)
        hold = self.hold("b")
        self.assertEqual(
            (self.books().remain, self.ledger.token_left(TOKEN)), (0, 3000)
        )
        self.ledger.settle(hold, 550, row("b"))
        self.assertEqual(self.ledger.token_left(TOKEN), 2450)
        self.flush()
        self.assertEqual(self.ledger.token_left(TOKEN), 2450)


class LearnTests(LedgerCase):
    """`learn`, `forget`, `comfortable`."""

    def test_top_up_is_seen(self) -> None:
        """After `forget` the next hold reads again."""
        self.seed(quota=0)
        self.failureResultOf(self.ask("a"), UserQuotaShort)
        self.sql(_set_quota, RICH)
        self.ledger.forget(user_id=USER)
        self.assertEqual(self.hold("b").place, Place.MEMORY)

    def test_unmarked_reading_never_raises(self) -> None:
        """A reading of unknown age only lowers what is known."""
        self.seed()
        self.ledger.learn(USER, 10 * TRUST, TOKEN, 10 * TRUST, unlimited=False)
        self.ledger.learn(USER, RICH, TOKEN, RICH, unlimited=False)
        self.assertEqual(self.ledger.user_left(USER), 10 * TRUST)
        self.ledger.learn(USER, TRUST, TOKEN, TRUST, unlimited=False)
        self.assertEqual(self.ledger.user_left(USER), TRUST)

    def test_marked_reading_counts(self) -> None:
        """A reading that began after the last one replaces it."""
        self.ledger.learn(USER, TRUST, TOKEN, TRUST, unlimited=False)
        moment = self.ledger.moment()
        self.ledger.learn(USER, RICH, TOKEN, RICH, False, began=moment)
        self.assertEqual(self.ledger.token_left(TOKEN), RICH)

    def test_comfortable(self) -> None:
        """It tells what `hold` would do."""
        self.assertFalse(self.ledger.comfortable(USER, TOKEN, False, 1))
        self.ledger.learn(USER, RICH, TOKEN, TRUST, unlimited=False)
        self.assertFalse(self.ledger.comfortable(USER, TOKEN, False, 1))
        self.assertTrue(self.ledger.comfortable(USER, TOKEN, True, 1))
        self.assertTrue(self.ledger.comfortable(USER, 0, False, 1))

    def test_comfort_after_a_while(self) -> None:
        """`comfort` reads what is unknown or old, and says what `hold` would do."""
        self.seed(quota=10 * TRUST)
        self.assertTrue(self.done(self.comfort(TRUST)))
        self.assertIs(self.comfort(TRUST), True)
        self.assertIs(self.comfort(10 * TRUST), False)
        self.world.clock.advance(100)
        self.assertFalse(self.ledger.comfortable(USER, TOKEN, False, TRUST))
        self.sql(_set_quota, TRUST)
        self.assertFalse(self.done(self.comfort(1)))

    def test_comfort_while_away(self) -> None:
        """With the database away the last reading decides, if there is one."""
        self.world.main.away = True
        self.assertFalse(self.done(self.comfort(1)))
        self.ledger.learn(USER, RICH, TOKEN, RICH, unlimited=False)
        self.world.clock.advance(100)
        self.assertTrue(self.done(self.comfort(1)))

    def comfort(self, amount: int) -> Any:
        """`Ledger.comfort` of the user with the token."""
        return self.ledger.comfort(USER, TOKEN, False, amount)

    def test_charged_by_another_process(self) -> None:
        """The balances that a flush reads contain what others charged."""
        self.seed()
        self.ledger.settle(self.hold("a"), 550, row("a"))
        self.sql(_set_quota, 5000)
        self.flush()
        self.assertEqual(self.ledger.user_left(USER), 4450)
        self.assertEqual(self.hold("b").place, Place.SQL)


class AwayTests(LedgerCase):
    """A database that is away."""

    def setUp(self) -> None:
        """A user with comfort, known."""
        super().setUp()
        self.seed()
        self.ledger.settle(self.hold("first"), 100, row("first"))
        self.flush()

    def test_comfort_goes_on(self) -> None:
        """Calls with comfort are held and settled; all is applied later."""
        self.world.main.away = True
        for number in range(5):
            self.world.clock.advance(30)
            hold = self.hold(f"c{number}")
            self.ledger.settle(hold, 100, row(f"c{number}"))
        self.assertTrue(self.ledger.away)
        self.world.main.away = False
        self.world.clock.pump([5.0] * 3)
        self.assertFalse(self.ledger.away)
        self.assertEqual(self.books().charged, 600)

    def test_no_comfort(self) -> None:
        """Without comfort the call fails with 503, never as a refusal of money."""
        self.world.main.away = True
        self.failureResultOf(self.ask("b", 1, RICH), DatabaseAway)
        self.failureResultOf(self.ledger.hold("c", 9, 9, False, 1, 1), DatabaseAway)

    def test_flushed_fails(self) -> None:
        """Who waits for a flush learns that it failed; it is tried again by itself."""
        self.ledger.settle(self.hold("b"), 100, row("b"))
        self.world.main.away = True
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.world.main.away = False
        self.world.clock.pump([1.0] * 2)
        self.assertEqual(self.books().charged, 200)

    def test_lost_commit(self) -> None:
        """A commit whose answer was lost is not applied again."""
        self.ledger.settle(self.hold("b"), 100, row("b"))
        self.world.main.lose_commits = 1
        self.failureResultOf(self.ledger.flushed(), DatabaseAway)
        self.ledger.settle(self.hold("c"), 100, row("c"))
        self.flush()
        self.assertEqual(self.books().charged, 300)
        self.assertEqual(self.books().calls, ["first", "b", "c"])
        self.assertEqual(self.ledger.user_left(USER), RICH - 300)

    def test_hold_with_lost_answer(self) -> None:
        """A hold whose answer was lost is given back."""
        self.world.main.lose_commits = 1
        self.failureResultOf(self.ask("t", in_sql=True), DatabaseAway)
        self.assertEqual(self.books().held, 5625)
        self.flush()
        self.assertEqual((self.books().held, self.books().quota), (0, RICH - 100))

    def test_cancelled_hold(self) -> None:
        """A hold whose caller left meanwhile is given back."""
        self.world.main.late = []
        asked = self.ask("t", in_sql=True)
        assert isinstance(asked, Deferred)
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.world.main.answer()
        self.flush()
        self.assertEqual((self.books().held, self.books().quota), (0, RICH - 100))

    def test_refusals_are_errors_of_the_tree(self) -> None:
        """Everything a caller sees is a `KnightError` with its status."""
        for error, status in (
            (TokenQuotaShort, 403),
            (UserQuotaShort, 403),
            (LedgerFull, 503),
            (DatabaseAway, 503),
        ):
            self.assertTrue(issubclass(error, KnightError))
            self.assertEqual(error.status, status)


class LostMachineTests(LedgerCase):
    """`release_lost`."""

    def test_day_old_holds_come_back(self) -> None:
        """Holds of a journal silent for a day are released, others not."""
        self.seed(quota=10_000)
        self.hold("alive", 1000, 1000)
        now = NOW + 90_000
        self.sql(_lost_hold, "lost", 3000, 10)
        self.sql(_lost_hold, "young", 500, NOW + 89_000)
        self.world.clock.advance(90_000)  # Heartbeats go on.
        self.assertEqual(self.done(self.ledger.release_lost(now)), 1)
        self.assertEqual(
            {it["id"] for it in self.table("knight_holds")}, {"alive", "young"}
        )
        self.assertEqual(self.books().quota, 12_000)
        self.assertEqual(self.ledger.user_left(USER), None)


def _set_quota(connection: sa.Connection, quota: int) -> None:
    connection.execute(sa.update(schema.users).values(quota=quota))


def _set_remain(connection: sa.Connection, remain: int) -> None:
    connection.execute(sa.update(schema.tokens).values(remain_quota=remain))


def _lost_hold(
    connection: sa.Connection, call: str, amount: int, created_at: int
) -> None:
    connection.execute(
        sa.insert(schema.knight_holds).values(
            id=call,
            user_id=USER,
            token_id=0,
            amount=amount,
            journal="f" * 32,
            created_at=created_at,
        )
    )
