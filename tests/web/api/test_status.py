"""Tests of what everybody may know."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import DatabaseAway
from knight_tw.options import Options
from knight_tw.storage import schema
from knight_tw.web.api.status import site_facts
from tests.web.api.shapes import STATUS, misfit
from tests.web.gateway import NOW, Gateway


class StatusTests(SynchronousTestCase):
    """GET /api/status."""

    def setUp(self) -> None:
        """A set-up gateway."""
        self.gateway = Gateway()
        self.gateway.set_up()

    def test_shape(self) -> None:
        """Exactly the reference's members, and two that one-api clients read."""
        answer = self.gateway.ask("GET", "/api/status")
        self.assertEqual(misfit(answer.data, STATUS), "")
        self.assertEqual(answer.json["message"], "")
        data = answer.data
        self.assertEqual((data["version"], data["start_time"]), ("v-test", NOW))
        self.assertEqual(data["quota_per_unit"], 500_000)
        self.assertEqual(data["usd_exchange_rate"], 7.3)
        self.assertEqual(data["system_name"], "Knight Omega")

    def test_set_up(self) -> None:
        """The console learns whether to show the wizard."""
        self.assertTrue(self.gateway.ask("GET", "/api/status").data["setup"])
        self.assertFalse(Gateway().ask("GET", "/api/status").data["setup"])

    def test_lists(self) -> None:
        """Enabled lists are there with ids, announcements newest first."""
        self.gateway.set_option(
            "console_setting.announcements",
            '[{"content":"old","publishDate":"2026-01-01T00:00:00Z"},'
            '{"content":"new","publishDate":"2026-02-01T00:00:00Z"}]',
        )
        self.gateway.set_option(
            "console_setting.faq", '[{"question":"Why?","answer":"Because."}]'
        )
        self.gateway.set_option("console_setting.api_info_enabled", "false")
        data = self.gateway.ask("GET", "/api/status").data
        self.assertEqual(
            [one["content"] for one in data["announcements"]], ["new", "old"]
        )
        self.assertEqual(
            data["faq"], [{"id": 1, "question": "Why?", "answer": "Because."}]
        )
        self.assertNotIn("api_info", data)

    def test_no_secrets(self) -> None:
        """No hidden option is in it, but the captcha's public key."""
        for key in ("TurnstileSecretKey", "GitHubClientSecret", "SMTPToken"):
            self.gateway.set_option(key, "hidden-value")
        self.gateway.set_option("TurnstileSiteKey", "site-key")
        answer = self.gateway.ask("GET", "/api/status")
        self.assertNotIn(b"hidden-value", answer.body)
        self.assertEqual(answer.data["turnstile_site_key"], "site-key")

    def test_passkey_host(self) -> None:
        """The passkey's id is the host of the address, without its port."""
        facts = site_facts(Options.from_rows({"ServerAddress": "https://a.b:8443"}))
        self.assertEqual(facts["passkey_rp_id"], "a.b")
        self.assertEqual(facts["passkey_origins"], "https://a.b:8443")

    def test_providers(self) -> None:
        """Enabled custom login providers are listed without their secrets."""
        for slug, enabled in (("company", True), ("off", False)):
            self.gateway.execute(
                sa.insert(schema.custom_oauth_providers).values(
                    name=slug,
                    slug=slug,
                    enabled=enabled,
                    client_id="cid",
                    client_secret="hidden-value",
                )
            )
        answer = self.gateway.ask("GET", "/api/status")
        self.assertNotIn(b"hidden-value", answer.body)
        (provider,) = answer.data["custom_oauth_providers"]
        self.assertEqual(
            set(provider),
            {
                "id",
                "name",
                "slug",
                "icon",
                "client_id",
                "authorization_endpoint",
                "scopes",
            },
        )

    def test_warnings(self) -> None:
        """Administrators are told what is wrong with the process."""
        self.gateway.warnings.append("redis_unavailable")
        root = self.gateway.bearer("root")
        data = root.get("/api/status").data
        self.assertEqual(data["warnings"], ["redis_unavailable"])
        self.assertNotIn("warnings", self.gateway.ask("GET", "/api/status").data)

    def test_database_away(self) -> None:
        """The status comes up without the database, and says that it is away."""
        self.gateway.ask("GET", "/api/status")

        async def away(*args: object) -> object:
            raise DatabaseAway("away")

        self.patch(type(self.gateway.db), "read", away)
        data = self.gateway.ask("GET", "/api/status").data
        self.assertEqual(data["warnings"], ["database_unavailable"])
        self.assertTrue(data["setup"])


class HealthTests(SynchronousTestCase):
    """GET /api/status/test."""

    def test_shape(self) -> None:
        """Administrators learn that all is well, others nothing."""
        gateway = Gateway()
        gateway.set_up()
        gateway.add_user("ann")
        answer = gateway.bearer("root").get("/api/status/test")
        self.assertEqual(set(answer.json), {"success", "message", "http_stats"})
        self.assertEqual(answer.json["http_stats"], {"active_connections": 0})
        answer = gateway.bearer("ann").get("/api/status/test")
        self.assertEqual(answer.status, 403)


class TextTests(SynchronousTestCase):
    """The public texts."""

    def test_each(self) -> None:
        """Each route gives its option's text."""
        gateway = Gateway()
        for path, key in (
            ("/api/notice", "Notice"),
            ("/api/about", "About"),
            ("/api/home_page_content", "HomePageContent"),
            ("/api/user-agreement", "legal.user_agreement"),
            ("/api/privacy-policy", "legal.privacy_policy"),
        ):
            self.assertEqual(gateway.ask("GET", path).data, "")
            gateway.set_option(key, f"# {key}")
            answer = gateway.ask("GET", path)
            self.assertEqual(
                answer.json, {"success": True, "message": "", "data": f"# {key}"}
            )


class RatioTests(SynchronousTestCase):
    """GET /api/ratio_config."""

    def test_closed(self) -> None:
        """Without the option it is 403."""
        answer = Gateway().ask("GET", "/api/ratio_config")
        self.assertEqual((answer.status, answer.json["success"]), (403, False))

    def test_open(self) -> None:
        """With the option the tables are public, numbers as numbers."""
        gateway = Gateway()
        gateway.set_option("ExposeRatioEnabled", "true")
        gateway.set_option("ModelRatio", '{"m": 0.05}')
        data = gateway.ask("GET", "/api/ratio_config").data
        self.assertEqual(
            set(data),
            {
                "model_ratio",
                "completion_ratio",
                "cache_ratio",
                "create_cache_ratio",
                "model_price",
            },
        )
        self.assertEqual(data["model_ratio"], {"m": 0.05})
        gateway.set_option("billing_setting.billing_mode", '{"m": "tiered_expr"}')
        data = gateway.ask("GET", "/api/ratio_config").data
        self.assertEqual(data["billing_mode"], {"m": "tiered_expr"})
