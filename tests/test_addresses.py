"""`addresses`: where the gateway may be made to connect to."""

from __future__ import annotations

import ipaddress
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.addresses import (
    AddressGuard,
    AddressRefused,
    Allowed,
    is_public,
    resolve,
)
from knight_tw.options import Options

PUBLIC = "93.184.216.34"
PUBLIC6 = "2606:2800:220:1:248:1893:25c8:1946"


def guard(allow: str = "", **fetch: str) -> AddressGuard:
    """A guard from option rows, `fetch_setting.` in front of each."""
    rows = {f"fetch_setting.{name}": text for name, text in fetch.items()}
    return AddressGuard.from_options(Options.from_rows(rows), allow.split(","))


class Public(SynchronousTestCase):
    """Which addresses belong to the public internet."""

    def test_private_and_special_ones_do_not(self) -> None:
        """Loopback, private, shared, link-local, metadata, multicast, unspecified."""
        for text in (
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.2.1",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "ff02::1",
            "2001:db8::1",
        ):
            self.assertFalse(is_public(ipaddress.ip_address(text)), text)

    def test_carried_addresses_count(self) -> None:
        """An IPv6 address that carries a private IPv4 one is not public."""
        for text in (
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b::169.254.169.254",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001:0:7f00:1:0:ffff:5ab8:e9d4",
        ):
            self.assertFalse(is_public(ipaddress.ip_address(text)), text)

    def test_public_ones_do(self) -> None:
        """Ordinary addresses, and those that carry one."""
        for text in (
            PUBLIC,
            PUBLIC6,
            "8.8.8.8",
            f"::ffff:{PUBLIC}",
            "64:ff9b::808:808",
        ):
            self.assertTrue(is_public(ipaddress.ip_address(text)), text)

    @settings(max_examples=100, deadline=None)
    @given(st.ip_addresses(v=4))
    def test_mapping_changes_nothing(self, address: ipaddress.IPv4Address) -> None:
        """An IPv4 address is as public mapped as plain."""
        mapped = ipaddress.IPv6Address(f"::ffff:{address}")
        self.assertEqual(is_public(mapped), is_public(address))


def passes(rules: AddressGuard, host: str, port: int = 443, *addresses: str) -> bool:
    """True when `rules` let a host with some addresses through."""
    if not rules.needs_addresses("https", host, port):
        return True
    try:
        rules.check(host, port, addresses or [host])
    except AddressRefused:
        return False
    return True


class Guarding(SynchronousTestCase):
    """What the guard lets through."""

    def test_schemes(self) -> None:
        """HTTP only, even when the guard is off."""
        for rules in (guard(), guard(enable_ssrf_protection="false")):
            for scheme in ("ftp", "file", "gopher", ""):
                with self.assertRaises(AddressRefused):
                    rules.needs_addresses(scheme, "h", 80)

    def test_by_default(self) -> None:
        """Public addresses on the usual ports."""
        rules = guard()
        self.assertTrue(passes(rules, "example.com", 443, PUBLIC, PUBLIC6))
        self.assertTrue(passes(rules, PUBLIC, 8443))
        self.assertFalse(passes(rules, "example.com", 22, PUBLIC))
        self.assertFalse(passes(rules, "example.com", 443, "10.0.0.1"))
        self.assertFalse(passes(rules, "127.0.0.1", 80))
        self.assertFalse(passes(rules, "::ffff:127.0.0.1", 80))

    def test_every_address_counts(self) -> None:
        """One private address among public ones is enough to refuse a name."""
        self.assertFalse(passes(guard(), "a.b", 443, PUBLIC, "192.168.0.1"))

    def test_no_address(self) -> None:
        """A name without addresses is refused, and what is none, too."""
        rules = guard()
        self.assertRaises(AddressRefused, rules.check, "a.b", 443, [])
        for text in ("nonsense", "1.2.3", "fe80::1%eth0"):
            self.assertRaises(AddressRefused, rules.check, "a.b", 443, [text])

    def test_switched_off(self) -> None:
        """Without protection nothing is looked up."""
        rules = guard(enable_ssrf_protection="false")
        self.assertFalse(rules.needs_addresses("http", "127.0.0.1", 22))

    def test_private_addresses_allowed(self) -> None:
        """The ports still count then."""
        rules = guard(allow_private_ip="true")
        self.assertTrue(passes(rules, "10.0.0.1", 80))
        self.assertFalse(passes(rules, "10.0.0.1", 22))

    def test_ports(self) -> None:
        """Single ports and ranges; an empty list means every port."""
        rules = guard(allowed_ports='["80","9000-9002",443]')
        for port, good in ((80, True), (443, True), (9001, True), (9003, False)):
            self.assertEqual(passes(rules, PUBLIC, port), good)
        self.assertTrue(passes(guard(allowed_ports="[]"), PUBLIC, 22))

    def test_names_refused(self) -> None:
        """A black list of names, with and without all below them."""
        rules = guard(domain_list='["bad.com","*.worse.com"]')
        for host, good in (
            ("good.com", True),
            ("bad.com", False),
            ("BAD.com.", False),
            ("www.bad.com", True),
            ("worse.com", True),
            ("a.worse.com", False),
            ("notworse.com", True),
        ):
            self.assertEqual(passes(rules, host, 443, PUBLIC), good, host)

    def test_names_allowed(self) -> None:
        """A white list of names; their addresses must be public all the same."""
        rules = guard(domain_list='["good.com"]', domain_filter_mode="true")
        self.assertTrue(passes(rules, "good.com", 443, PUBLIC))
        self.assertFalse(passes(rules, "other.com", 443, PUBLIC))
        self.assertFalse(passes(rules, "good.com", 443, "10.0.0.1"))

    def test_networks_refused(self) -> None:
        """A black list of networks counts for names, too, unless told otherwise."""
        listed = '["93.184.0.0/16"]'
        rules = guard(ip_list=listed)
        self.assertFalse(passes(rules, PUBLIC))
        self.assertFalse(passes(rules, "a.b", 443, PUBLIC))
        self.assertFalse(passes(rules, f"::ffff:{PUBLIC}"))
        self.assertTrue(passes(rules, "8.8.8.8"))
        names = guard(ip_list=listed, apply_ip_filter_for_domain="false")
        self.assertTrue(passes(names, "a.b", 443, PUBLIC))
        self.assertFalse(passes(names, PUBLIC))
        self.assertFalse(passes(names, "a.b", 443, "10.0.0.1"))

    def test_networks_allowed(self) -> None:
        """A white list of networks."""
        rules = guard(ip_list='["93.184.0.0/16"]', ip_filter_mode="true")
        self.assertTrue(passes(rules, "a.b", 443, PUBLIC))
        self.assertFalse(passes(rules, "a.b", 443, "8.8.8.8"))


class AlwaysAllowed(SynchronousTestCase):
    """`ADDRESS_GUARD_ALLOW`."""

    def test_by_name(self) -> None:
        """A name passes whatever its addresses are, on its port or any."""
        rules = guard("ollama.lan, *.test.lan,b.lan:11434")
        for host, port, good in (
            ("ollama.lan", 11434, True),
            ("OLLAMA.lan", 22, True),
            ("a.test.lan", 9, True),
            ("b.lan", 11434, True),
            ("b.lan", 80, False),
            ("c.lan", 80, False),
        ):
            self.assertEqual(passes(rules, host, port, "10.0.0.1"), good, host)

    def test_by_address(self) -> None:
        """An address passes plain, mapped, and as the address of a name."""
        rules = guard("10.1.0.0/16,127.0.0.1:9000,[::1]:9001,fd00::/8")
        for host, port, address, good in (
            ("10.1.2.3", 5, "10.1.2.3", True),
            ("a.lan", 5, "10.1.2.3", True),
            ("::ffff:10.1.2.3", 5, "::ffff:10.1.2.3", True),
            ("10.2.2.3", 80, "10.2.2.3", False),
            ("127.0.0.1", 9000, "127.0.0.1", True),
            ("127.0.0.1", 80, "127.0.0.1", False),
            ("::1", 9001, "::1", True),
            ("fd00::5", 1, "fd00::5", True),
        ):
            self.assertEqual(passes(rules, host, port, address), good, host)

    def test_mixed(self) -> None:
        """Every address must pass, by one rule or another."""
        rules = guard("10.1.0.0/16")
        self.assertTrue(passes(rules, "a.lan", 443, "10.1.0.1", PUBLIC))
        self.assertFalse(passes(rules, "a.lan", 443, "10.1.0.1", "10.2.0.1"))

    def test_entries(self) -> None:
        """A port that is none is an error at the start."""
        self.assertRaises(ValueError, Allowed.parse, "host:http")
        self.assertEqual(Allowed.parse("Host."), Allowed("host", None, None))

    def test_the_reason_is_not_for_clients(self) -> None:
        """The message is always the same, so that nobody can map the network."""
        try:
            guard().check("a.b", 443, ["10.0.0.1"])
        except AddressRefused as error:
            self.assertEqual(error.message, "the address is not allowed")
            self.assertIn("10.0.0.1", error.detail)
            self.assertEqual((error.status, error.retryable), (400, False))


class Resolving(TestCase):
    """Names to addresses, through the reactor."""

    async def test_names(self) -> None:
        """A known name has addresses, an unknown one has none."""
        twisted: Any = reactor
        self.assertIn("127.0.0.1", await resolve(twisted, "localhost", 80))
        self.assertEqual(await resolve(twisted, "no-such-host.invalid", 80), [])
