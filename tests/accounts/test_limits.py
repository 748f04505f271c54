"""Tests of request limits."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.limits import Limits, Mark, Window, windows
from knight_tw.errors import RateLimited
from knight_tw.settings import Settings
from tests.web.gateway import SlidingWindows, now


class WindowsTests(SynchronousTestCase):
    """`windows`."""

    def test_defaults(self) -> None:
        """The limits of the newest generation."""
        found = windows(Settings.from_env({}))
        self.assertEqual(found[Mark.GLOBAL_API], Window(360, 180))
        self.assertEqual(found[Mark.GLOBAL_WEB], Window(120, 180))
        self.assertEqual(found[Mark.CRITICAL], Window(20, 1_200))
        self.assertEqual(found[Mark.ACCESS_TOKEN], Window(20, 1_200))
        self.assertEqual(found[Mark.SEARCH], Window(10, 60))
        self.assertEqual(found[Mark.EMAIL_CODE], Window(2, 30))

    def test_off(self) -> None:
        """Each family can be switched off."""
        for variable, mark in (
            ("GLOBAL_API_RATE_LIMIT_ENABLE", Mark.GLOBAL_API),
            ("GLOBAL_WEB_RATE_LIMIT_ENABLE", Mark.GLOBAL_WEB),
            ("CRITICAL_RATE_LIMIT_ENABLE", Mark.AFF_TRANSFER),
            ("SEARCH_RATE_LIMIT_ENABLE", Mark.SEARCH),
        ):
            self.assertNotIn(mark, windows(Settings.from_env({variable: "false"})))


class CheckTests(SynchronousTestCase):
    """`Limits.check`."""

    def test_refuses(self) -> None:
        """Over the limit it says how long to wait; others are not concerned."""
        clock = Clock()
        limits = Limits(SlidingWindows(), clock, {Mark.SEARCH: Window(2, 60)})
        now(limits.check(Mark.SEARCH, 1))
        clock.advance(20)
        now(limits.check(Mark.SEARCH, 1))
        refused = self.assertRaises(RateLimited, now, limits.check(Mark.SEARCH, 1))
        self.assertEqual(refused.retry_after, 40)
        now(limits.check(Mark.SEARCH, 2))
        now(limits.check(Mark.CRITICAL, 1))
        clock.advance(40)
        now(limits.check(Mark.SEARCH, 1))

    def test_addresses_of_a_network(self) -> None:
        """Who has a network of IPv6 addresses is one caller; IPv4 ones are many."""
        for first, second, one in (
            ("2001:db8::1", "2001:db8::ffff:ffff:1:2", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth0", True),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
            ("192.0.2.1", "192.0.2.2", False),
            ("a:b@example.com", "a:c@example.com", False),
        ):
            limits = Limits(SlidingWindows(), Clock(), {Mark.CRITICAL: Window(1, 60)})
            now(limits.check(Mark.CRITICAL, first))
            with self.subTest(first=first, second=second):
                if one:
                    asked = limits.check(Mark.CRITICAL, second)
                    self.assertRaises(RateLimited, now, asked)
                else:
                    now(limits.check(Mark.CRITICAL, second))

    def test_waits(self) -> None:
        """A cache that needs time is waited for."""
        answer: Deferred[tuple[bool, float]] = Deferred()

        class Slow:
            def allow(self, *args: object) -> Deferred[tuple[bool, float]]:
                return answer

        limits = Limits(Slow(), Clock(), {Mark.SEARCH: Window(2, 60)})
        checked = Deferred.fromCoroutine(limits.check(Mark.SEARCH, 1))
        self.assertNoResult(checked)
        answer.callback((False, 1.0))
        self.failureResultOf(checked, RateLimited)
