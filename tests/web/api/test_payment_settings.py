"""The declaration of compliance, Waffo Pancake's set-up, io.net."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.web.api.payments import Payments
from tests.web.gateway import NOW

COMPLIANCE = "/api/option/payment_compliance"


class Case(SynchronousTestCase):
    """A gateway with root and an administrator."""

    def setUp(self) -> None:
        """Both have logged in."""
        self.gateway = Payments()
        self.gateway.begin()
        self.root, self.adm = self.gateway.bearer("root"), self.gateway.bearer("adm")
        self.gateway.notes.clear()


class Compliance(Case):
    """POST /api/option/payment_compliance."""

    def test_confirmed(self) -> None:
        """Who, when and which version; in the options and the audit log."""
        data = self.root.post(COMPLIANCE, {"confirmed": True}).data
        self.assertEqual(
            data,
            {
                "confirmed": True,
                "confirmed_at": NOW,
                "confirmed_by": 1,
                "terms_version": "v1",
            },
        )
        options = self.gateway.options
        self.assertTrue(options.flag("payment_setting.compliance_confirmed"))
        self.assertEqual(options.integer("payment_setting.compliance_confirmed_by"), 1)
        self.assertEqual(
            options.text("payment_setting.compliance_confirmed_ip"), "203.0.113.9"
        )
        action = self.gateway.notes[0]["other"]["op"]["action"]
        self.assertEqual(action, "option.payment_compliance")

    def test_not_confirmed(self) -> None:
        """Only a yes counts."""
        for body in ({"confirmed": False}, {}, {"confirmed": "no"}):
            answer = self.root.post(COMPLIANCE, body)
            self.assertEqual(answer.code, "invalid_field")
        options = self.gateway.options
        self.assertFalse(options.flag("payment_setting.compliance_confirmed"))

    def test_root_alone(self) -> None:
        """Neither administrators nor guests."""
        self.assertEqual(self.adm.post(COMPLIANCE, {"confirmed": True}).status, 403)
        answer = self.gateway.ask("POST", COMPLIANCE, {"confirmed": True})
        self.assertEqual(answer.status, 401)


class Pancake(Case):
    """/api/option/waffo-pancake/."""

    def test_not_configured(self) -> None:
        """In the form of payments and in that of the envelope."""
        for method, name in (
            ("GET", "catalog"),
            ("POST", "pair"),
            ("POST", "save"),
            ("POST", "subscription-product"),
            ("GET", "subscription-product-options"),
        ):
            answer = self.root.ask(method, f"/api/option/waffo-pancake/{name}", {})
            self.assertEqual((answer.status, answer.code), (200, "not_configured"))
            self.assertEqual(answer.json["message"], "error")
            self.assertIsInstance(answer.json["data"], str)
        answer = self.adm.get("/api/option/waffo-pancake/catalog")
        self.assertEqual(answer.status, 403)


class Deployments(Case):
    """/api/deployments/."""

    def test_settings(self) -> None:
        """Everything is off."""
        self.assertEqual(
            self.adm.get("/api/deployments/settings").data,
            {
                "can_connect": False,
                "configured": False,
                "enabled": False,
                "provider": "io.net",
            },
        )

    def test_others(self) -> None:
        """Nothing can be done."""
        for method, path in (
            ("GET", ""),
            ("POST", ""),
            ("GET", "search"),
            ("POST", "settings/test-connection"),
            ("GET", "hardware-types"),
            ("GET", "x"),
            ("PUT", "x/name"),
            ("POST", "x/extend"),
            ("GET", "x/containers/y"),
            ("DELETE", "x"),
        ):
            answer = self.adm.ask(method, f"/api/deployments/{path}", {})
            self.assertEqual(
                (answer.status, answer.code), (200, "not_configured"), path
            )
            self.assertNotIn("data", answer.json)

    def test_administrators(self) -> None:
        """Nobody else."""
        self.gateway.add_user("bob")
        bob = self.gateway.bearer("bob")
        self.assertEqual(bob.get("/api/deployments/settings").status, 403)
        self.assertEqual(self.gateway.ask("GET", "/api/deployments/x").status, 401)
