"""Tests of reading and writing options."""

from __future__ import annotations

import json

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import options as stored_options
from knight_tw.storage import schema
from knight_tw.web.api.options import moved_console_lists
from tests.web.api.shapes import PAGE, misfit
from tests.web.gateway import Gateway, now

OPTION = "/api/option/"


class Case(SynchronousTestCase):
    """A set-up gateway with root and an administrator."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Gateway()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.root = self.gateway.bearer("root")
        self.gateway.notes.clear()

    def stored(self) -> dict[str, str]:
        """The rows of the table."""
        return now(self.gateway.db.read(stored_options.load))

    def put(self, key: object, value: object) -> str:
        """`ok`, or the code of the refusal."""
        answer = self.root.put(OPTION, {"key": key, "value": value})
        return "ok" if answer.json["success"] else answer.code


class ListTests(Case):
    """GET /api/option/."""

    def test_shape(self) -> None:
        """An array of key and value, both text, defaults included."""
        data = self.root.get(OPTION).data
        self.assertEqual(misfit(data, [{"key": str, "value": str}]), "")
        values = {row["key"]: row["value"] for row in data}
        self.assertEqual(values["RetryTimes"], "2")
        self.assertEqual(values["QuotaPerUnit"], "500000")
        meta = json.loads(values["CompletionRatioMeta"])
        self.assertEqual(meta, {"gpt-4": {"ratio": 2, "locked": True}})

    def test_hidden(self) -> None:
        """Secrets are absent, also unknown ones with the name of one."""
        for key in ("SMTPToken", "GitHubClientSecret", "MyOwnKey", "x.api_key"):
            self.gateway.set_option(key, "hidden-value")
        answer = self.root.get(OPTION)
        self.assertNotIn(b"hidden-value", answer.body)
        self.assertNotIn(b"SMTPToken", answer.body)
        self.assertNotIn(b"MyOwnKey", answer.body)

    def test_roles(self) -> None:
        """All option routes are root's."""
        adm = self.gateway.bearer("adm")
        for method, path in (
            ("GET", OPTION),
            ("PUT", OPTION),
            ("PUT", "/api/option/batch"),
            ("GET", "/api/option/catalog"),
            ("GET", "/api/option/history"),
            ("POST", "/api/option/rest_model_ratio"),
            ("POST", "/api/option/migrate_console_setting"),
        ):
            answer = adm.ask(method, path, {})
            self.assertEqual(
                (answer.status, answer.code), (403, "AUTH_INSUFFICIENT_PRIVILEGE")
            )
            self.assertEqual(self.gateway.ask(method, path, {}).status, 401)


class UpdateTests(Case):
    """PUT /api/option/."""

    def test_takes_effect(self) -> None:
        """A write is stored, announced, in force and in the audit."""
        answer = self.root.put(OPTION, {"key": "RetryTimes", "value": 3})
        self.assertEqual(answer.json, {"success": True, "message": ""})
        self.assertEqual(self.stored()["RetryTimes"], "3")
        self.assertEqual(self.gateway.changes, [("option", "RetryTimes")])
        self.assertEqual(self.gateway.options.integer("RetryTimes"), 3)
        op = self.gateway.notes[0]["other"]["op"]
        expected = {"action": "option.update", "params": {"keys": ["RetryTimes"]}}
        self.assertEqual(op, expected)

    def test_forms(self) -> None:
        """Booleans, numbers, texts, structures and unknown keys."""
        for key, value, text in (
            ("RegisterEnabled", False, "false"),
            ("RegisterEnabled", "true", "true"),
            ("Price", 7.10, "7.1"),
            ("QuotaPerUnit", "500000", "500000"),
            ("ServerAddress", "https://a.b/", "https://a.b"),
            ("GroupRatio", '{"default": 1, "vip": 0.8}', '{"default": 1, "vip": 0.8}'),
            ("AutomaticDisableStatusCodes", "401,500-503", "401,500-503"),
            ("example_unknown_key", "kept", "kept"),
            (" SystemName ", "Mine", "Mine"),
        ):
            self.assertEqual(self.put(key, value), "ok", key)
            self.assertEqual(self.stored()[str(key).strip()], text)

    def test_refused(self) -> None:
        """Nothing is stored of what does not fit its type."""
        before = self.stored()
        for key, value, code in (
            ("GroupRatio", "{broken", "invalid_field"),
            ("GroupRatio", '{"default": -1}', "invalid_field"),
            ("ModelRatio", "[1]", "invalid_field"),
            ("QuotaPerUnit", "abc", "invalid_field"),
            ("RetryTimes", "many", "invalid_field"),
            ("RegisterEnabled", "perhaps", "invalid_field"),
            ("TurnstileCheckEnabled", "true", "invalid_field"),
            ("GitHubOAuthEnabled", True, "invalid_field"),
            ("AutomaticDisableStatusCodes", "abc", "invalid_field"),
            ("console_setting.announcements", "not json", "invalid_field"),
            ("ModelRequestRateLimitGroup", '{"default": [1]}', "invalid_field"),
            ("payment_setting.compliance_confirmed", True, "invalid_field"),
            ("", "x", "missing_field"),
            (None, "x", "missing_field"),
            (5, "x", "missing_field"),
            ("SystemName", None, "missing_field"),
        ):
            self.assertEqual(self.put(key, value), code, (key, value))
        for body in (b"{not json", b"null", b"[]"):
            answer = self.root.put(OPTION, body)
            self.assertEqual((answer.status, answer.code), (400, "malformed_body"))
        self.assertEqual(self.stored(), before)
        self.assertEqual(self.gateway.notes, [])

    def test_names_the_field(self) -> None:
        """A refusal names the key and the rule."""
        answer = self.root.put(OPTION, {"key": "RetryTimes", "value": "many"})
        self.assertEqual(answer.json["params"]["field"], "RetryTimes")
        self.assertIn("number", answer.json["params"]["rule"])

    def test_retired(self) -> None:
        """A retired key is ignored."""
        self.assertEqual(self.put("theme.frontend", "classic"), "ok")
        self.assertNotIn("theme.frontend", self.stored())

    def test_step_up(self) -> None:
        """With the strict option only secrets ask for a second factor."""
        self.gateway.set_option("auth.strict_step_up", "true")
        self.assertEqual(self.put("SMTPToken", "x"), "SECURITY_PROOF_REQUIRED")
        self.assertEqual(self.put("SystemName", "x"), "ok")

    def test_secret_not_logged(self) -> None:
        """The value of a secret is in no log row."""
        self.put("SMTPToken", "hidden-value")
        self.assertNotIn("hidden-value", repr(self.gateway.notes))


class BatchTests(Case):
    """PUT /api/option/batch."""

    PATH = "/api/option/batch"

    def version(self) -> int:
        """The version of the set."""
        return int(self.root.get("/api/option/catalog").data["version"])

    def test_all(self) -> None:
        """All changes are stored; null deletes the row."""
        changes = [
            {"key": "SystemName", "value": "Mine"},
            {"key": "RetryTimes", "value": None},
        ]
        before = self.version()
        body = {"version": before, "changes": changes}
        data = self.root.put(self.PATH, body).data
        self.assertEqual(data, {"version": before + 2, "errors": {}})
        self.assertEqual(self.stored()["SystemName"], "Mine")
        self.assertNotIn("RetryTimes", self.stored())
        self.assertEqual(self.gateway.options.integer("RetryTimes"), 0)

    def test_together(self) -> None:
        """A switch may come with what it needs."""
        changes = [
            {"key": "GitHubOAuthEnabled", "value": True},
            {"key": "GitHubClientId", "value": "cid"},
        ]
        self.assertTrue(self.root.put(self.PATH, {"changes": changes}).json["success"])

    def test_nothing(self) -> None:
        """One bad change keeps all from being stored."""
        before = self.stored()
        changes = [
            {"key": "SystemName", "value": "Mine"},
            {"key": "RetryTimes", "value": "many"},
        ]
        answer = self.root.put(self.PATH, {"changes": changes})
        self.assertEqual((answer.status, answer.code), (200, "invalid_field"))
        self.assertEqual(answer.json["data"]["errors"], {"RetryTimes": "invalid_field"})
        self.assertEqual(self.stored(), before)

    def test_conflict(self) -> None:
        """Somebody saved meanwhile."""
        version = self.version()
        self.put("SystemName", "Theirs")
        body = {
            "version": version,
            "changes": [{"key": "SystemName", "value": "Mine"}],
        }
        answer = self.root.put(self.PATH, body, **{"X-Knight-Status": "real"})
        self.assertEqual((answer.status, answer.code), (409, "version_conflict"))
        self.assertEqual(self.stored()["SystemName"], "Theirs")

    def test_wrong_input(self) -> None:
        """The changes must be a list of objects with keys."""
        for changes in (None, [], {}, ["x"], [{"value": 1}], [{"key": 5}]):
            answer = self.root.put(self.PATH, {"changes": changes})
            self.assertEqual(answer.code, "invalid_field", changes)


class CatalogueTests(Case):
    """GET /api/option/catalog."""

    def test_rows(self) -> None:
        """Every option says its type and default; secrets only whether they are set."""
        self.gateway.set_option("SMTPToken", "hidden-value")
        answer = self.root.get("/api/option/catalog")
        rows = {row["key"]: row for row in answer.data["options"]}
        self.assertNotIn(b"hidden-value", answer.body)
        token = rows["SMTPToken"]
        self.assertTrue(token["secret"] and token["is_set"])
        self.assertNotIn("value", token)
        retries = rows["RetryTimes"]
        self.assertEqual((retries["type"], retries["value"]), ("int", "2"))
        self.assertEqual((retries["min"], retries["max"]), (0, 10))
        self.assertIn("USD", rows["general_setting.quota_display_type"]["values"])


class HistoryTests(Case):
    """GET /api/option/history."""

    def test_newest_first(self) -> None:
        """Who changed what, without values of secrets."""
        self.put("SystemName", "One")
        self.put("SMTPToken", "hidden-value")
        answer = self.root.get("/api/option/history")
        self.assertEqual(misfit(answer.data, PAGE), "")
        secret, name = answer.data["items"][:2]
        self.assertEqual((secret["key"], secret["new_value"]), ("SMTPToken", None))
        self.assertEqual((name["new_value"], name["username"]), ("One", "root"))
        self.assertNotIn(b"hidden-value", answer.body)
        data = self.root.get("/api/option/history?key=SystemName").data
        self.assertEqual(data["total"], 1)

    def test_sorted(self) -> None:
        """By a field, up or down."""
        self.put("SystemName", "One")
        self.put("Notice", "Two")
        lists = {
            sort: self.root.get(f"/api/option/history?sort={sort}").data["items"]
            for sort in ("key", "-key", "id")
        }
        keys = {sort: [row["key"] for row in rows] for sort, rows in lists.items()}
        self.assertEqual(keys["key"], sorted(keys["id"]))
        self.assertEqual(keys["-key"], sorted(keys["id"], reverse=True))


class ResetTests(Case):
    """POST /api/option/rest_model_ratio."""

    def test_shipped(self) -> None:
        """The stored table goes, the shipped one is in force."""
        self.gateway.set_option("ModelRatio", '{"only": 1}')
        answer = self.root.post("/api/option/rest_model_ratio")
        self.assertEqual(set(answer.json), {"success", "message"})
        self.assertNotIn("ModelRatio", self.stored())
        self.assertGreater(len(self.gateway.options.json("ModelRatio")), 100)


class MigrateTests(Case):
    """POST /api/option/migrate_console_setting."""

    def test_moves(self) -> None:
        """Retired lists come to today's keys; what is there already stays."""
        faq = '[{"question":"Why?","answer":"Because."}]'
        self.gateway.set_option("FAQ", faq)
        self.gateway.set_option("ApiInfo", "broken")
        self.gateway.set_option("UptimeKumaUrl", "https://up.example")
        self.gateway.set_option("UptimeKumaSlug", "main")
        answer = self.root.post("/api/option/migrate_console_setting")
        self.assertTrue(answer.json["success"], answer.body)
        stored = self.stored()
        self.assertEqual(stored["console_setting.faq"], faq)
        self.assertNotIn("FAQ", stored)
        self.assertEqual(stored["ApiInfo"], "broken")
        (group,) = json.loads(stored["console_setting.uptime_kuma_groups"])
        self.assertEqual((group["url"], group["slug"]), ("https://up.example", "main"))

    def test_keeps_new(self) -> None:
        """A list under today's key is not overwritten."""
        changes = moved_console_lists({"FAQ": "old", "console_setting.faq": "new"})
        self.assertEqual(changes, {"FAQ": None})
        self.assertEqual(moved_console_lists({}), {})


class NothingStoredTests(Case):
    """The option set is untouched by reading."""

    def test_reading(self) -> None:
        """No route of GET writes."""
        before = self.gateway.rows(sa.select(schema.knight_option_history))
        for path in (OPTION, "/api/option/catalog", "/api/option/history"):
            self.root.get(path)
        after = self.gateway.rows(sa.select(schema.knight_option_history))
        self.assertEqual(before, after)
