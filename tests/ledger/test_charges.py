"""The decision about a batch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.ledger.charges import Decision, HoldRow, TokenRow, decide
from knight_tw.ledger.entries import NOTE, REFUND, RELEASE, SETTLE, Entry

AMOUNTS = st.integers(0, 60)
IDS = st.integers(0, 3)


def settle(
    seq: int, amount: int, sure: int | None = None, *, token: int = 0, sql: bool = False
) -> Entry:
    """A settlement of user 1; `sure` is all of it unless it says otherwise."""
    return Entry(
        seq,
        SETTLE,
        f"c{seq}",
        1,
        token,
        channel=5,
        sql=sql,
        sure=amount if sure is None else sure,
        amount=amount,
        evidence="provider",
        at=100 + seq,
    )


def decided(
    *entries: Entry,
    quota: int = 100,
    tokens: dict[int, TokenRow] | None = None,
    holds: dict[str, HoldRow] | None = None,
) -> Decision:
    """The decision with user 1 alone."""
    return decide(entries, {1: quota}, tokens or {}, holds or {})


class DecideTests(SynchronousTestCase):
    """`decide`, case by case."""

    def test_plain_charge(self) -> None:
        """User, token and channel move by the amount; the request is counted."""
        token = {2: TokenRow(50, unlimited=False)}
        it = decided(settle(1, 30, token=2), tokens=token)
        self.assertEqual((it.user_left, it.token_left), ({1: 70}, {2: 20}))
        user, card = it.users[1], it.tokens[2]
        self.assertEqual((user.quota, user.used, user.count), (-30, 30, 1))
        self.assertEqual((card.remain, card.used, card.at), (-30, 30, 101))
        self.assertEqual((it.channels, it.charged), ({5: 30}, {"provider": 30}))
        self.assertEqual((it.short, it.uncollected), ({}, 0))

    def test_nothing_still_counts(self) -> None:
        """A charge of 0 raises the request count."""
        self.assertEqual(decided(settle(1, 0)).users[1].count, 1)

    def test_hold_comes_back_first(self) -> None:
        """What a hold took is there again for its own call."""
        held = {"c1": HoldRow(1, 2, 40)}
        token = {2: TokenRow(0, unlimited=False)}
        it = decided(
            settle(1, 30, token=2, sql=True), quota=0, tokens=token, holds=held
        )
        self.assertEqual((it.user_left, it.token_left), ({1: 10}, {2: 10}))
        self.assertEqual(it.users[1].used, 30)

    def test_own_hold_before_others(self) -> None:
        """Another call does not get the money that a hold had set aside."""
        held = {"c2": HoldRow(1, 0, 40)}
        it = decided(settle(1, 40), settle(2, 40, sql=True), quota=10, holds=held)
        self.assertEqual(it.short, {1: 10})

    def test_extra_as_far_as_there_is(self) -> None:
        """Above the hold only what user and token have is taken."""
        token = {2: TokenRow(5, unlimited=False)}
        it = decided(settle(1, 40, 30, token=2), quota=100, tokens=token)
        self.assertEqual(it.short, {1: 5})
        it = decided(settle(1, 40, 30), quota=35)
        self.assertEqual((it.short, it.uncollected), ({1: 35}, 5))

    def test_promises_before_extras(self) -> None:
        """An earlier call's excess does not take what a later one was promised."""
        it = decided(settle(1, 90, 10), settle(2, 60), quota=100)
        self.assertEqual((it.short, it.user_left), ({1: 40}, {1: 0}))

    def test_unlimited_token_follows(self) -> None:
        """An unlimited token limits nothing and runs below zero."""
        token = {2: TokenRow(-5, unlimited=True)}
        it = decided(settle(1, 30, token=2), tokens=token)
        self.assertEqual((it.user_left, it.token_left), ({1: 70}, {2: -35}))

    def test_never_lower_when_below_zero(self) -> None:
        """A balance below zero stays where it is."""
        it = decided(settle(1, 30), quota=-7)
        self.assertEqual((it.short, it.user_left), ({1: 0}, {1: -7}))

    def test_vanished_rows(self) -> None:
        """A token without a row limits nothing, a user without a row has nothing."""
        it = decided(settle(1, 30, token=9))
        self.assertEqual((it.user_left, it.token_left), ({1: 70}, {}))
        it = decide([settle(1, 30)], {}, {}, {})
        self.assertEqual((it.short, it.user_left), ({1: 0}, {}))

    def test_hold_without_row(self) -> None:
        """A settlement whose hold was released meanwhile takes the whole amount."""
        self.assertEqual(decided(settle(1, 30, sql=True)).user_left, {1: 70})

    def test_release_and_refund(self) -> None:
        """Both raise the balances; a refund lowers what was used."""
        held = {"c1": HoldRow(1, 2, 40)}
        token = {2: TokenRow(0, unlimited=False)}
        gone = Entry(1, RELEASE, "c1", 1, 2, held=40, sql=True)
        back = Entry(2, REFUND, "t:final", 1, 2, channel=5, amount=7)
        it = decided(gone, back, quota=0, tokens=token, holds=held)
        self.assertEqual((it.user_left, it.token_left), ({1: 47}, {2: 47}))
        self.assertEqual((it.users[1].used, it.tokens[2].used), (-7, -7))
        self.assertEqual((it.users[1].count, it.channels), (0, {5: -7}))

    def test_same_hold_twice(self) -> None:
        """One row in `knight_holds` comes back once."""
        held = {"c1": HoldRow(1, 0, 40)}
        gone = Entry(1, RELEASE, "c1", 1, held=40, sql=True)
        again = Entry(2, RELEASE, "c1", 1, held=40, sql=True)
        self.assertEqual(decided(gone, again, quota=0, holds=held).user_left, {1: 40})


@st.composite
def batches(
    draw: st.DrawFn,
) -> tuple[list[Entry], dict[int, int], dict[int, TokenRow], dict[str, HoldRow]]:
    """Any batch on any balances, negative ones and missing rows included."""
    users = draw(st.dictionaries(IDS, st.integers(-20, 150), max_size=3))
    tokens = draw(
        st.dictionaries(
            st.integers(1, 3),
            st.builds(TokenRow, st.integers(-20, 150), st.booleans()),
            max_size=3,
        )
    )
    entries, holds = [], {}
    for seq in range(1, draw(st.integers(0, 8)) + 1):
        kind = draw(st.sampled_from([SETTLE, SETTLE, SETTLE, RELEASE, REFUND, NOTE]))
        sure, user, token = draw(AMOUNTS), draw(IDS), draw(IDS)
        entry = Entry(
            seq,
            kind,
            f"c{seq}",
            user,
            token,
            sql=kind in (SETTLE, RELEASE) and draw(st.booleans()),
            sure=sure,
            amount=sure + draw(st.sampled_from([0, 0, 25])),
            evidence="provider",
        )
        if entry.sql and draw(st.booleans()) and user in users:
            limited = token in tokens and draw(st.booleans())
            holds[entry.call] = HoldRow(user, token if limited else 0, draw(AMOUNTS))
        entries.append(entry)
    return entries, users, tokens, holds


class ConservationTests(SynchronousTestCase):
    """What holds for every batch."""

    @settings(max_examples=300, deadline=None)
    @given(batches())
    def test_books_balance(
        self,
        batch: tuple[
            list[Entry], dict[int, int], dict[int, TokenRow], dict[str, HoldRow]
        ],
    ) -> None:
        """Nothing is lost, nothing goes below zero, nobody pays more than asked."""
        entries, users, tokens, holds = batch
        it = decide(entries, users, tokens, holds)
        paid = {
            e.seq: it.short.get(e.seq, e.amount) for e in entries if e.kind == SETTLE
        }
        for entry in entries:
            if entry.kind == SETTLE:
                self.assertTrue(0 <= paid[entry.seq] <= entry.amount)
        self.assertEqual(sum(it.charged.values()), sum(paid.values()))
        for key, before in users.items():
            mine = [e for e in entries if e.user == key]
            back = sum(h.amount for h in holds.values() if h.user_id == key)
            back += sum(e.amount for e in mine if e.kind == REFUND)
            cost = sum(paid[e.seq] for e in mine if e.kind == SETTLE)
            self.assertEqual(it.user_left[key], before + back - cost)
            self.assertGreaterEqual(it.user_left[key], min(0, before))
        for key, row in tokens.items():
            mine = [e for e in entries if e.token == key]
            back = sum(h.amount for h in holds.values() if h.token_id == key)
            back += sum(e.amount for e in mine if e.kind == REFUND)
            cost = sum(paid[e.seq] for e in mine if e.kind == SETTLE)
            self.assertEqual(it.token_left[key], row.remain + back - cost)
            if not row.unlimited:
                self.assertGreaterEqual(it.token_left[key], min(0, row.remain))
