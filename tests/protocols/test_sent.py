"""When a request left, as its answer tells."""

from __future__ import annotations

from tests.protocols.test_client import HELLO, ClientCase


class SentTests(ClientCase):
    """`Answer.sent`."""

    def test_moment(self) -> None:
        """The moment at which the request was written, not its answer's."""
        self.bench.pass_time(5)
        began = self.bench.clock.seconds()
        call = self.bench.ask(first_byte=10)
        self.bench.pass_time(3)
        self.bench.hear(HELLO)
        self.assertEqual(self.successResultOf(call.told).sent, began)

    def test_unknown(self) -> None:
        """Without a limit for the answer nobody looked at the clock."""
        self.assertEqual(self.answer(HELLO).sent, 0.0)
