"""Tests of what people do with their own accounts."""

from __future__ import annotations

import json

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema, user_writes
from tests.web.api.shapes import BEARER, SELF, misfit
from tests.web.gateway import NOW, PASSWORD, Client, Gateway, now

ME = "/api/user/self"


class Case(SynchronousTestCase):
    """A gateway with `ann` (2) by bearer session."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Gateway()
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.ann = self.gateway.bearer("ann")
        self.gateway.changes.clear()

    def setting(self) -> dict[str, object]:
        """The setting document of `ann`."""
        return json.loads(self.gateway.row(2)["setting"] or "{}")  # type: ignore[no-any-return]

    def refused(self, client: Client, path: str, body: object, code: str) -> None:
        """PUT is refused with that code, status 200."""
        answer = client.put(path, body)
        self.assertEqual((answer.status, answer.code), (200, code), body)


class ShowTests(Case):
    """GET /api/user/self."""

    def test_shape(self) -> None:
        """The self object has exactly the reference's members, for every role."""
        for client in (self.ann, self.gateway.bearer("root")):
            self.assertEqual(misfit(client.get(ME).data, SELF), "")

    def test_permissions(self) -> None:
        """Each role is told what it may see; administrators keep sensitive_write."""
        self.gateway.add_user("adm", 10)
        for name, settings, modules in (
            ("ann", True, {"admin": False}),
            ("adm", True, {"admin": {"setting": False}}),
            ("root", False, {}),
        ):
            found = self.gateway.bearer(name).get(ME).data["permissions"]
            self.assertEqual(found["sidebar_settings"], settings)
            self.assertEqual(found["sidebar_modules"], modules)
        adm = self.gateway.bearer("adm")
        granted = adm.get(ME).data["permissions"]["admin_permissions"]["channel"]
        self.assertTrue(granted["sensitive_write"])
        self.assertFalse(granted["secret_view"])
        self.gateway.set_option("authz.strict_admin", "true")
        granted = adm.get(ME).data["permissions"]["admin_permissions"]["channel"]
        self.assertFalse(granted["sensitive_write"])

    def test_no_secrets(self) -> None:
        """Neither hash nor access token is in it."""
        self.gateway.script(2, "T" * 32)
        body = self.ann.get(ME).body
        self.assertNotIn(b"$2a$", body)
        self.assertNotIn(b"TTTT", body)


class UpdateTests(Case):
    """PUT /api/user/self."""

    def test_names(self) -> None:
        """User name and display name change; the answer has no data."""
        answer = self.ann.put(ME, {"username": "anne", "display_name": "Anne"})
        self.assertEqual(answer.json, {"success": True, "message": ""})
        row = self.gateway.row(2)
        self.assertEqual((row["username"], row["display_name"]), ("anne", "Anne"))
        self.assertEqual(self.gateway.changes, [("user", "2")])

    def test_address_as_name(self) -> None:
        """Only the own address can be a name: its owner logs in by it."""
        now(self.gateway.db.run(user_writes.update, 2, {"email": "Ann@example.com"}))
        self.gateway.add_user("bob", email="bob@example.com")
        self.refused(self.ann, ME, {"username": "bob@example.com"}, "invalid_field")
        self.refused(self.ann, ME, {"username": "Bob@Example.com"}, "invalid_field")
        self.assertTrue(
            self.ann.put(ME, {"username": "ann@example.com"}).json["success"]
        )
        self.assertEqual(self.gateway.login("bob@example.com").data["username"], "bob")

    def test_partial(self) -> None:
        """What the body does not name stays."""
        self.ann.put(ME, {"display_name": "Anne"})
        self.assertEqual(self.gateway.row(2)["username"], "ann")

    def test_setting_forms(self) -> None:
        """Language and side bar go into the setting, the rest of it is kept."""
        change = {"setting": '{"billing_preference":"wallet_only","own":1}'}
        now(self.gateway.db.run(user_writes.update, 2, change))
        for body in ({"language": "en"}, {"sidebar_modules": '{"chat":{}}'}):
            answer = self.ann.put(ME, body)
            self.assertIsNone(answer.data)
        self.assertEqual(
            self.setting(),
            {
                "billing_preference": "wallet_only",
                "own": 1,
                "language": "en",
                "sidebar_modules": '{"chat":{}}',
                "gotify_priority": 0,
            },
        )
        self.assertEqual(self.ann.get(ME).data["sidebar_modules"], '{"chat":{}}')

    def test_password(self) -> None:
        """A new password ends other sessions; this one gets new credentials."""
        other = self.gateway.bearer("ann")
        body = {"password": "example-pass-2", "original_password": PASSWORD}
        answer = self.ann.put(ME, body)
        self.assertEqual(misfit(answer.data, BEARER), "")
        self.assertEqual(other.get(ME).code, "AUTH_SESSION_REVOKED")
        fresh = {"Authorization": f"Bearer {answer.data['access_token']}"}
        self.assertEqual(self.gateway.ask("GET", ME, None, fresh).status, 200)
        self.assertEqual(self.gateway.login("ann").code, "wrong_credentials")
        self.assertEqual(self.gateway.login("ann", "example-pass-2").data["id"], 2)

    def test_password_by_cookie(self) -> None:
        """A cookie session goes on with the new cookie, the old one is dead."""
        browser = self.gateway.browser("ann")
        body = {"password": "example-pass-2", "original_password": PASSWORD}
        cookie = browser.put(ME, body).cookies()["session"]
        self.assertEqual(browser.get(ME).code, "AUTH_SESSION_REVOKED")
        browser.headers["Cookie"] = f"session={cookie}"
        self.assertEqual(browser.get(ME).status, 200)

    def test_first_password(self) -> None:
        """Who has no password sets one without an original."""
        now(self.gateway.db.run(user_writes.update, 2, {"password": ""}))
        answer = self.ann.put(ME, {"password": "example-pass-2"})
        self.assertTrue(answer.json["success"])

    def test_wrong_input(self) -> None:
        """Nothing changes for input that breaks a rule."""
        self.gateway.add_user("bob")
        gone = self.gateway.add_user("gone")
        now(self.gateway.db.run(user_writes.soft_delete, gone, NOW))
        before = self.gateway.row(2)
        for body, code in (
            ({"username": "bob"}, "name_taken"),
            ({"username": "gone"}, "name_taken"),
            ({"username": "x" * 21}, "invalid_field"),
            ({"username": "a\nb"}, "invalid_field"),
            ({"display_name": "x" * 21}, "invalid_field"),
            ({"display_name": 5}, "invalid_field"),
            ({"password": "short", "original_password": PASSWORD}, "invalid_field"),
            ({"password": "example-pass-2"}, "wrong_credentials"),
            (
                {"password": "example-pass-2", "original_password": "wrong"},
                "wrong_credentials",
            ),
            ({"language": "x" * 17}, "invalid_field"),
            ({"sidebar_modules": "{broken"}, "invalid_field"),
            ({"sidebar_modules": '"' + "x" * 65_536 + '"'}, "invalid_field"),
        ):
            self.refused(self.ann, ME, body, code)
        self.assertEqual(self.ann.put(ME, b"[1]").status, 400)
        self.assertEqual(self.gateway.row(2), before)


class DeleteTests(Case):
    """DELETE /api/user/self."""

    def test_soft(self) -> None:
        """The account is hidden, its sessions end, its row stays."""
        answer = self.ann.delete(ME)
        self.assertEqual(answer.json, {"success": True, "message": ""})
        self.assertIsNotNone(self.gateway.row(2)["deleted_at"])
        self.assertEqual(self.ann.get(ME).code, "AUTH_SESSION_REVOKED")
        self.assertEqual(self.gateway.changes, [("user", "2")])

    def test_root(self) -> None:
        """Root stays."""
        answer = self.gateway.bearer("root").delete(ME)
        self.assertEqual(answer.code, "forbidden_target")
        self.assertIsNone(self.gateway.row(1)["deleted_at"])

    def test_step_up(self) -> None:
        """With the strict option a second factor is asked for."""
        self.gateway.set_option("auth.strict_step_up", "true")
        self.assertEqual(self.ann.delete(ME).code, "SECURITY_PROOF_REQUIRED")
        body = {"method": "password", "password": PASSWORD, "scope": "account.write"}
        proof = self.ann.post("/api/verify", body).data["proof_token"]
        answer = self.ann.delete(ME, **{"X-Security-Proof": proof})
        self.assertTrue(answer.json["success"])


class AccessTokenTests(Case):
    """GET /api/user/token."""

    def test_replaces(self) -> None:
        """A new token of 32 characters works at once, the one before no longer."""
        first = self.ann.get("/api/user/token").data
        second = self.ann.get("/api/user/token").data
        self.assertEqual((len(first), len(second)), (32, 32))
        for token, status in ((first, 401), (second, 200)):
            headers = {"Authorization": token}
            answer = self.gateway.ask("GET", ME, None, headers)
            self.assertEqual(answer.status, status)

    def test_limit_per_user(self) -> None:
        """The limit counts users, not only addresses."""
        gateway = Gateway(
            env={"CRITICAL_RATE_LIMIT_ENABLE": "true", "CRITICAL_RATE_LIMIT": "3"}
        )
        gateway.set_up()
        gateway.add_user("ann")
        script = gateway.script(2)
        for turn in range(4):
            peer = f"203.0.113.{turn}"
            answer = gateway.ask("GET", "/api/user/token", None, script.headers, peer)
            if turn < 3:
                script.headers["Authorization"] = answer.data
        self.assertEqual((answer.status, answer.code), (429, "rate_limited"))


class SettingTests(Case):
    """PUT /api/user/setting."""

    PATH = "/api/user/setting"

    def test_email(self) -> None:
        """The way to be told is stored beside what was there."""
        change = {"setting": '{"sidebar_modules":"{}","language":"en"}'}
        now(self.gateway.db.run(user_writes.update, 2, change))
        body = {
            "notify_type": "email",
            "quota_warning_threshold": 5_000,
            "notification_email": "a@b.c",
            "record_ip_log": True,
            "upstream_model_update_notify_enabled": True,
        }
        self.assertIsNone(self.ann.put(self.PATH, body).data)
        self.assertEqual(
            self.setting(),
            {
                "sidebar_modules": "{}",
                "language": "en",
                "notify_type": "email",
                "quota_warning_threshold": 5_000,
                "notification_email": "a@b.c",
                "record_ip_log": True,
                "gotify_priority": 0,
            },
        )

    def test_ways(self) -> None:
        """Each way stores its own fields; a priority out of range becomes 5."""
        for body, expected in (
            (
                {"notify_type": "webhook", "webhook_url": "https://a.b/c"},
                {"webhook_url": "https://a.b/c"},
            ),
            (
                {"notify_type": "bark", "bark_url": "http://a.b/{{title}}"},
                {"bark_url": "http://a.b/{{title}}"},
            ),
            (
                {
                    "notify_type": "gotify",
                    "gotify_url": "https://a.b",
                    "gotify_token": "tok",
                    "gotify_priority": 11,
                },
                {"gotify_token": "tok", "gotify_priority": 5},
            ),
        ):
            answer = self.ann.put(self.PATH, {"quota_warning_threshold": 1, **body})
            self.assertTrue(answer.json["success"], answer.body)
            self.assertEqual({**self.setting(), **expected}, self.setting())

    def test_administrators(self) -> None:
        """Only administrators are told of new upstream models."""
        root = self.gateway.bearer("root")
        body = {
            "notify_type": "email",
            "quota_warning_threshold": 1,
            "upstream_model_update_notify_enabled": True,
        }
        root.put(self.PATH, body)
        stored = json.loads(self.gateway.row(1)["setting"])
        self.assertTrue(stored["upstream_model_update_notify_enabled"])

    def test_wrong_input(self) -> None:
        """Each rule refuses what breaks it."""
        whole = {"notify_type": "email", "quota_warning_threshold": 1}
        for change, code in (
            ({"notify_type": "pigeon"}, "invalid_field"),
            ({"quota_warning_threshold": 0}, "invalid_field"),
            ({"quota_warning_threshold": True}, "invalid_field"),
            ({"quota_warning_threshold": None}, "missing_field"),
            ({"notification_email": "nobody"}, "invalid_field"),
            ({"notify_type": "webhook", "webhook_url": ""}, "missing_field"),
            ({"notify_type": "webhook", "webhook_url": "ftp://a"}, "invalid_field"),
            ({"notify_type": "bark", "bark_url": "javascript:x"}, "invalid_field"),
            ({"notify_type": "gotify", "gotify_url": "https://a"}, "missing_field"),
            ({"record_ip_log": "perhaps"}, "invalid_field"),
        ):
            self.refused(self.ann, self.PATH, {**whole, **change}, code)


class ReferralTests(Case):
    """Referral codes and balances."""

    def test_code(self) -> None:
        """The code is made when first asked for and stays."""
        root = self.gateway.bearer("root")
        first = root.get("/api/user/aff").data
        self.assertEqual(len(first), 4)
        self.assertEqual(root.get("/api/user/aff").data, first)

    def test_transfer(self) -> None:
        """Referral balance becomes balance, and the ledger forgets the account."""
        change = {"aff_quota": 600_000, "quota": 5}
        now(self.gateway.db.run(user_writes.update, 2, change))
        answer = self.ann.post("/api/user/aff_transfer", {"quota": 500_000})
        self.assertTrue(answer.json["success"])
        row = self.gateway.row(2)
        self.assertEqual((row["aff_quota"], row["quota"]), (100_000, 500_005))
        self.assertEqual(self.gateway.balances, [2])

    def test_transfer_refused(self) -> None:
        """Less than one dollar, or more than there is."""
        for quota, code in (
            (1, "invalid_field"),
            (-500_000, "invalid_field"),
            ("x", "invalid_field"),
            (None, "missing_field"),
            (500_000, "insufficient_quota"),
        ):
            answer = self.ann.post("/api/user/aff_transfer", {"quota": quota})
            self.assertEqual(answer.code, code)
        self.assertEqual(self.gateway.balances, [])


class PrefsTests(Case):
    """GET and PUT /api/user/prefs."""

    def test_round_trip(self) -> None:
        """The document comes back as it was saved, per account."""
        self.assertEqual(self.ann.get("/api/user/prefs").data, {})
        self.ann.put("/api/user/prefs", {"theme": "dark"})
        self.ann.put("/api/user/prefs", {"theme": "light", "list": [1, None]})
        data = self.ann.get("/api/user/prefs").data
        self.assertEqual(data, {"theme": "light", "list": [1, None]})
        self.assertEqual(self.gateway.bearer("root").get("/api/user/prefs").data, {})

    def test_too_long(self) -> None:
        """Over 64 KiB is refused."""
        self.refused(self.ann, "/api/user/prefs", {"a": "x" * 65_536}, "invalid_field")
        rows = self.gateway.rows(sa.select(schema.knight_prefs))
        self.assertEqual(rows, [])


class AnonymousTests(Case):
    """None of these routes is open to guests."""

    def test_each(self) -> None:
        """Without a credential every route is 401."""
        for method, path in (
            ("GET", ME),
            ("PUT", ME),
            ("DELETE", ME),
            ("GET", "/api/user/token"),
            ("PUT", "/api/user/setting"),
            ("GET", "/api/user/aff"),
            ("POST", "/api/user/aff_transfer"),
            ("GET", "/api/user/prefs"),
            ("PUT", "/api/user/prefs"),
        ):
            answer = self.gateway.ask(method, path, {})
            self.assertEqual(
                (answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"), path
            )
