"""What this process believes about balances."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.ledger.balances import Account, Balances, unsettled

NOW = 1000.0


class BalancesCase(SynchronousTestCase):
    """Tests with one account of 1 000 and a margin of 100."""

    def setUp(self) -> None:
        """One process."""
        self.processes = 1
        self.balances = Balances(lambda: 100, lambda: self.processes, 3)
        self.account = self.balances.users.get(1)
        self.learn(1000)

    def learn(self, balance: int, began: int | None = None) -> None:
        """A reading, by default one that overlaps with no other."""
        moment = self.balances.moment() if began is None else began
        self.balances.learn(self.account, balance, moment, NOW)

    def fits(self, amount: int, now: float = NOW, token: Account | None = None) -> bool:
        """True when the amount would be granted in memory."""
        return self.balances.comfortable(self.account, token, amount, now)

    def turn_over(self) -> int:
        """The writer begins; its moment."""
        self.balances.turn_over()
        return self.balances.moment()

    def landed(self, balance: int, began: int) -> None:
        """The writer is through."""
        self.balances.landed({1: balance}, {}, began, NOW)


class ComfortTests(BalancesCase):
    """`comfortable`."""

    def test_margin(self) -> None:
        """What remains must be above the margin, not at it."""
        self.assertTrue(self.fits(899))
        self.assertFalse(self.fits(900))

    def test_everything_promised_counts(self) -> None:
        """Holds and charges that no reading contains are subtracted."""
        self.account.held, self.account.taking = 200, 100
        self.account.fresh, self.account.flying = 300, 50
        self.assertTrue(self.fits(249))
        self.assertFalse(self.fits(250))

    def test_token_counts_too(self) -> None:
        """A limited token needs the same distance."""
        token = Account(2, known=500, as_of=NOW)
        self.assertTrue(self.fits(399, token=token))
        self.assertFalse(self.fits(400, token=token))

    def test_share_of_several_processes(self) -> None:
        """With four processes each may promise a quarter at most."""
        self.processes = 4
        self.learn(100_000)
        self.assertTrue(self.fits(24_999))
        self.assertFalse(self.fits(25_000))

    def test_unknown_and_old(self) -> None:
        """An unknown balance is never comfortable, an old one not for long."""
        self.assertTrue(self.fits(1, NOW + 60))
        self.assertFalse(self.fits(1, NOW + 61))
        self.processes = 2
        self.assertFalse(self.fits(1, NOW + 6))
        self.assertTrue(self.balances.stale(self.account, NOW + 6))
        self.balances.forget(self.account)
        self.assertFalse(self.fits(1))
        self.assertTrue(self.balances.stale(self.account, NOW))

    def test_any_age_while_away(self) -> None:
        """With `now` 0 the age does not matter."""
        self.account.as_of = 1.0
        self.assertTrue(self.fits(1, 0.0))


class ReadingTests(BalancesCase):
    """`learn` and the writer's generations."""

    def test_newer_reading_replaces(self) -> None:
        """A reading that began after the last one was learnt is the truth."""
        self.learn(5000)
        self.assertEqual(self.account.known, 5000)

    def test_overlapping_readings(self) -> None:
        """Of two readings that overlap the lower counts, whatever their order."""
        began = self.balances.moment()
        self.learn(700, began)
        self.learn(900, began)
        self.assertEqual(self.account.known, 700)
        self.learn(600, began)
        self.assertEqual(self.account.known, 600)

    def test_forget(self) -> None:
        """A reading that began before `forget` is ignored, a later one is taken."""
        began = self.balances.moment()
        self.balances.forget(self.account)
        self.learn(900, began)
        self.assertIsNone(self.account.known)
        self.learn(1900)
        self.assertEqual(self.account.known, 1900)

    def test_charges_survive_a_reading(self) -> None:
        """A reading does not contain charges that are only in the journal."""
        self.account.fresh = 400
        self.learn(1000)
        self.assertFalse(self.fits(500))

    def test_flush(self) -> None:
        """After a flush the reading contains what was taken over, and nothing else."""
        self.account.fresh = 400
        self.balances.touch(self.account)
        began = self.turn_over()
        self.account.fresh = 50
        self.balances.touch(self.account)
        self.landed(600, began)
        self.assertEqual((self.account.known, self.account.unapplied), (600, 50))
        self.assertTrue(self.account.unsettled)

    def test_failed_flush(self) -> None:
        """A flush that failed forgets nothing; the next one takes everything over."""
        self.account.fresh = 400
        self.balances.touch(self.account)
        self.turn_over()
        self.account.fresh = 50
        self.balances.touch(self.account)
        self.assertEqual(self.balances.turn_over(), ([1], []))
        self.assertEqual(self.account.unapplied, 450)
        self.landed(550, self.balances.moment())
        self.assertEqual((self.account.known, self.account.unapplied), (550, 0))
        self.assertFalse(unsettled([self.account, None]))

    def test_hold_read_before_the_flush_commits(self) -> None:
        """A hold's reading from before the flush is replaced by the flush's."""
        self.account.fresh = 400
        self.balances.touch(self.account)
        began = self.turn_over()
        self.learn(1000 - 30, self.balances.moment())
        self.landed(1000 - 30 - 400, began)
        self.assertEqual(self.account.known, 570)

    def test_hold_read_after_the_flush_commits(self) -> None:
        """A hold's reading that contains the flush is not undone by it."""
        self.account.fresh = 400
        self.balances.touch(self.account)
        began = self.turn_over()
        self.learn(1000 - 400 - 30, self.balances.moment())
        self.assertFalse(self.fits(100))  # Subtracted twice until the flush lands.
        self.landed(1000 - 400, began)
        self.assertEqual((self.account.known, self.account.unapplied), (570, 0))

    def test_owned(self) -> None:
        """The owner's view counts open holds and what comes back, minus charges."""
        self.account.lent, self.account.coming, self.account.coming_soon = 10, 20, 30
        self.account.fresh, self.account.flying = 1, 2
        self.assertEqual(self.account.owned, 1057)
        self.balances.forget(self.account)
        self.assertIsNone(self.account.owned)

    def test_owned_while_a_flush_runs(self) -> None:
        """What comes back is the owner's while the writer brings it, and afterwards."""
        self.learn(0)
        self.account.coming = 70
        self.balances.touch(self.account)
        began = self.turn_over()
        self.assertEqual(self.account.owned, 70)
        self.account.coming = 5
        self.balances.touch(self.account)
        self.landed(70, began)
        self.assertEqual((self.account.known, self.account.owned), (70, 75))

    def test_what_comes_back_is_not_spendable(self) -> None:
        """Money on its way back is no comfort."""
        self.account.lent, self.account.coming, self.account.coming_soon = 500, 500, 500
        self.assertFalse(self.fits(900))


class MemoryTests(BalancesCase):
    """The bound of the memory."""

    def test_oldest_goes(self) -> None:
        """The account not used for longest makes room."""
        for key in (2, 3, 1, 4):
            self.balances.users.get(key)
        self.assertIsNone(self.balances.users.peek(2))
        self.assertIs(self.balances.users.peek(1), self.account)
        self.assertEqual(len(self.balances.users), 3)

    def test_promises_stay(self) -> None:
        """Accounts with open holds or charges under way are not forgotten."""
        self.account.open = 1
        touched = self.balances.users.get(2)
        self.balances.touch(touched)
        flying = self.balances.users.get(3)
        flying.on_its_way = True
        for key in range(4, 20):
            self.balances.users.get(key)
        for account in (self.account, touched, flying):
            self.assertIs(self.balances.users.peek(account.id), account)
        self.assertLessEqual(len(self.balances.users), 5)
