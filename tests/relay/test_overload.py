"""Calls while the machine is overloaded."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.relay.gateway import Gateway, chat


class OverloadTests(SynchronousTestCase):
    """They are refused, and taken again."""

    fast = True

    def test_refused(self) -> None:
        """With 503 and a hint when to come again, before anything else is looked at."""
        gateway = Gateway(self, fast=self.fast)
        gateway.channel(chat())
        surface = gateway.relaying.surface
        surface.overloaded = "cpu"
        answer = gateway.chat()
        self.assertEqual((answer.status, answer.error["code"]), (503, "overloaded"))
        self.assertEqual(answer.head["retry-after"], "5")
        self.assertEqual(gateway.provider.sent, [])
        surface.overloaded = ""
        self.assertEqual(gateway.chat().status, 200)


class OverloadInTheGeneralLane(OverloadTests):
    """The same."""

    fast = False
