"""Tests of the check of addresses before they are stored."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.addresses import AddressGuard, AddressRefused
from knight_tw.channels.addresses import AddressCheck


class AddressCheckTests(SynchronousTestCase):
    """`AddressCheck`."""

    def test_no_urls(self) -> None:
        """What is no URL of HTTP is refused, not a crash."""
        check = AddressCheck(reactor, AddressGuard)
        for url in ("http://h:99999/", "http://h:x/", "http://[::1/", "ftp://h/"):
            asked = Deferred.fromCoroutine(check(url))
            self.failureResultOf(asked, AddressRefused)
