"""Tests of roles and permissions."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.access import (
    channel_permissions,
    default_sidebar,
    may_act_on,
    permissions,
)

USER, ADMIN, ROOT = 1, 10, 100


class ActTests(SynchronousTestCase):
    """`may_act_on`."""

    def test_table(self) -> None:
        """Root may act on everybody, others on lower roles only."""
        for actor, target, allowed in (
            (ROOT, ROOT, True),
            (ROOT, USER, True),
            (ADMIN, USER, True),
            (ADMIN, ADMIN, False),
            (ADMIN, ROOT, False),
            (USER, USER, False),
        ):
            self.assertEqual(may_act_on(actor, target), allowed, (actor, target))


class ChannelTests(SynchronousTestCase):
    """`channel_permissions`."""

    def test_table(self) -> None:
        """read, operate, write, sensitive_write, secret_view by role."""
        for role, strict, expected in (
            (ROOT, True, "11111"),
            (ADMIN, False, "11110"),
            (ADMIN, True, "11100"),
            (USER, False, "00000"),
            (USER, True, "00000"),
        ):
            found = channel_permissions(role, strict)
            bits = "".join("1" if value else "0" for value in found.values())
            self.assertEqual(bits, expected, (role, strict))


class SidebarTests(SynchronousTestCase):
    """What consoles show."""

    def test_default(self) -> None:
        """Administrators see the administration, only root its settings."""
        self.assertNotIn("admin", json.loads(default_sidebar(USER)))
        self.assertFalse(json.loads(default_sidebar(ADMIN))["admin"]["setting"])
        self.assertTrue(json.loads(default_sidebar(ROOT))["admin"]["setting"])

    def test_permissions(self) -> None:
        """Root cannot hide its side bar."""
        self.assertFalse(permissions(ROOT, False)["sidebar_settings"])
        self.assertTrue(permissions(USER, False)["sidebar_settings"])
