"""Where a payment page may return to."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.payments import redirects
from knight_tw.payments.orders import PaymentRefused

SITE = "https://gate.example:8443/base"
DOMAINS = ("shop.example", ".Partner.Example.", "")


class Redirects(SynchronousTestCase):
    """`checked`."""

    def allowed(self, url: str, site: str = SITE) -> bool:
        """Whether the browser may be sent there."""
        try:
            redirects.checked(url, "success_url", site, DOMAINS)
        except PaymentRefused:
            return False
        return True

    def test_allowed(self) -> None:
        """The site itself, trusted domains and what is below them."""
        for url in (
            "https://gate.example:8443/console/log?a=b#c",
            "https://GATE.example:8443",
            "https://shop.example/thanks",
            "https://www.shop.example:444/",
            "https://partner.example",
        ):
            self.assertTrue(self.allowed(url), url)
        self.assertTrue(self.allowed("http://gate.example/", "http://gate.example:80"))

    def test_refused(self) -> None:
        """Other places, and what browsers may take for other places."""
        for url in (
            "",
            "/console",
            "//gate.example:8443/",
            "http://gate.example:8443/",
            "https://gate.example/",
            "http://shop.example/",
            "https://evilshop.example/",
            "https://shop.example.evil.example/",
            "https://shop.example@evil.example/",
            "https://evil.example#@shop.example/",
            "https://evil.example\\@shop.example/",
            "https://evil.example\\.shop.example/",
            "https://shop.example\n.evil.example/",
            "https://shop.example /",
            "https://shop.example:0/",
            "https://shop.example:99999/",
            "https://[shop.example/",
            "https:///shop.example",
            "javascript:alert(1)//shop.example",
            "ftp://shop.example/",
            "https://\u0455hop.example/",
            "https://shop.example/" + "x" * redirects.LONGEST,
        ):
            self.assertFalse(self.allowed(url), url)

    def test_no_site(self) -> None:
        """Without an address of the site nothing is on it."""
        self.assertFalse(self.allowed("https://gate.example:8443/", ""))
