"""What the ledger tells of balances that were charged."""

from __future__ import annotations

from tests.ledger.till import USER, LedgerCase, row


class SpentTests(LedgerCase):
    """`Ledger.tell_spent`."""

    def setUp(self) -> None:
        """Somebody who listens."""
        super().setUp()
        self.heard: list[dict[int, int]] = []
        self.ledger.tell_spent(self.heard.append)
        self.seed(quota=10_000)

    def settle(self, call: str, amount: int) -> None:
        """One call of that cost."""
        self.ledger.settle(self.hold(call), amount, row(call), 3, "provider")

    def test_once_for_each_flush(self) -> None:
        """All charges of a flush are one word, with the balance after them."""
        self.settle("a", 100)
        self.settle("b", 200)
        self.assertEqual(self.heard, [])
        self.flush()
        self.assertEqual(self.heard, [{USER: 9_700}])

    def test_nothing_charged(self) -> None:
        """A call for nothing, a released hold and a note are no word."""
        self.settle("a", 0)
        self.ledger.release(self.hold("b"))
        self.ledger.note(row("c"))
        self.flush()
        self.assertEqual(self.heard, [])

    def test_open_holds_are_spent(self) -> None:
        """What is held for calls under way is not there."""
        self.hold("open", 1_000, 2_000)
        self.settle("a", 100)
        self.flush()
        self.assertEqual(self.heard, [{USER: 7_900}])
