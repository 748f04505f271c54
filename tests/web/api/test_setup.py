"""Tests of the set-up wizard over the whole site."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.first_start import FirstStart
from knight_tw.errors import InvalidRequest
from knight_tw.settings import Settings
from knight_tw.storage import options as stored_options
from knight_tw.storage import schema, user_writes
from tests.web.gateway import NOW, PASSWORD, Gateway, now

WIZARD = {
    "username": "root",
    "password": PASSWORD,
    "confirmPassword": PASSWORD,
    "SelfUseModeEnabled": True,
    "DemoSiteEnabled": False,
}


class StateTests(SynchronousTestCase):
    """What GET tells."""

    def test_before(self) -> None:
        """An empty database is not set up, and says which engine it is."""
        answer = Gateway().ask("GET", "/api/setup")
        state = {"status": False, "root_init": False, "database_type": "sqlite"}
        self.assertEqual(answer.json, {"success": True, "data": state})

    def test_after(self) -> None:
        """Once set up only the status is told."""
        gateway = Gateway()
        gateway.set_up()
        state = {"status": True, "root_init": False, "database_type": ""}
        answer = gateway.ask("GET", "/api/setup/")
        self.assertEqual(answer.json, {"success": True, "data": state})


class WizardTests(SynchronousTestCase):
    """What POST does."""

    def test_makes_root(self) -> None:
        """The wizard makes root with its quota, who can log in."""
        gateway = Gateway()
        answer = gateway.ask("POST", "/api/setup", WIZARD)
        self.assertEqual(answer.status, 200)
        self.assertEqual(set(answer.json), {"success", "message"})
        row = gateway.row(1)
        self.assertEqual((row["role"], row["quota"]), (100, 100_000_000))
        self.assertTrue(row["password"].startswith("$2a$"))
        self.assertEqual(gateway.login("root").data["role"], 100)

    def test_writes_options(self) -> None:
        """Both switches are stored, and two retries."""
        gateway = Gateway()
        gateway.ask("POST", "/api/setup", {**WIZARD, "ServerAddress": "http://a.b/"})
        self.assertEqual(
            now(gateway.db.read(stored_options.load)),
            {
                "SelfUseModeEnabled": "true",
                "DemoSiteEnabled": "false",
                "RetryTimes": "2",
                "ServerAddress": "http://a.b",
            },
        )
        self.assertEqual(gateway.changes, [("option", "")])

    def test_keeps_retries(self) -> None:
        """A RetryTimes that somebody set before stays."""
        gateway = Gateway()
        gateway.set_option("RetryTimes", "5")
        gateway.ask("POST", "/api/setup", WIZARD)
        self.assertEqual(gateway.options.integer("RetryTimes"), 5)

    def test_second_time(self) -> None:
        """The wizard runs once."""
        gateway = Gateway()
        gateway.ask("POST", "/api/setup", WIZARD)
        answer = gateway.ask("POST", "/api/setup", {**WIZARD, "username": "other"})
        self.assertEqual((answer.status, answer.code), (200, "already_exists"))
        self.assertEqual(len(gateway.rows(sa.select(schema.users.c.id))), 1)

    def test_lost_race(self) -> None:
        """A wizard that finds the marker of another process makes no second root."""
        gateway = Gateway()
        self.assertFalse(now(gateway.start.done()))
        other = FirstStart(gateway.db, gateway.passwords, gateway.clock, "v")
        now(other.complete("root", PASSWORD, {}))
        answer = gateway.ask("POST", "/api/setup", WIZARD)
        self.assertEqual(answer.code, "already_exists")
        self.assertEqual(len(gateway.rows(sa.select(schema.users.c.id))), 1)

    def test_existing_root(self) -> None:
        """With a root user in the database the user fields are not needed."""
        gateway = Gateway()
        gateway.add_user("boss", 100)
        self.assertTrue(gateway.ask("GET", "/api/setup").data["root_init"])
        answer = gateway.ask("POST", "/api/setup", {"SelfUseModeEnabled": False})
        self.assertTrue(answer.json["success"])
        self.assertEqual(len(gateway.rows(sa.select(schema.users.c.id))), 1)

    def test_wrong_input(self) -> None:
        """Nothing is written for input that breaks a rule."""
        gateway = Gateway()
        for change, code in (
            ({"confirmPassword": "different-1"}, "invalid_field"),
            ({"password": "short", "confirmPassword": "short"}, "invalid_field"),
            ({"password": "x" * 73, "confirmPassword": "x" * 73}, "invalid_field"),
            ({"username": "abcdefghijklm"}, "invalid_field"),
            ({"username": ""}, "invalid_field"),
            ({"username": None}, "missing_field"),
            ({"username": 5}, "invalid_field"),
            ({"SelfUseModeEnabled": "perhaps"}, "invalid_field"),
            ({"ServerAddress": 1}, "invalid_field"),
        ):
            answer = gateway.ask("POST", "/api/setup", {**WIZARD, **change})
            self.assertEqual((answer.status, answer.code), (200, code), change)
        for body in (b"{not json", b"[]", b"null", b""):
            answer = gateway.ask("POST", "/api/setup", body)
            self.assertEqual((answer.status, answer.code), (400, "malformed_body"))
        self.assertEqual(gateway.rows(sa.select(schema.setups)), [])

    def test_other_method(self) -> None:
        """DELETE is not a method of this path."""
        answer = Gateway().ask("DELETE", "/api/setup")
        self.assertEqual(answer.status, 405)
        self.assertIn("POST", answer.get("Allow"))


class StartTests(SynchronousTestCase):
    """What the start of the process does."""

    def begin(self, gateway: Gateway, **env: str) -> bool:
        """`FirstStart.begin` with these variables."""
        settings = Settings.from_env(env)
        return now(gateway.start.begin(settings, "http://localhost:3000"))

    def test_waits(self) -> None:
        """An empty database waits for the wizard."""
        gateway = Gateway()
        self.assertFalse(self.begin(gateway))
        self.assertFalse(now(gateway.start.done()))

    def test_adopts(self) -> None:
        """A database with a root user counts as set up."""
        gateway = Gateway()
        gateway.add_user("boss", 100)
        self.assertTrue(self.begin(gateway))
        self.assertEqual(len(gateway.rows(sa.select(schema.setups))), 1)
        self.assertTrue(self.begin(gateway))

    def test_password_of_environment(self) -> None:
        """INITIAL_ROOT_PASSWORD makes root, with the tokens that are named too."""
        gateway = Gateway()
        done = self.begin(
            gateway,
            INITIAL_ROOT_PASSWORD=PASSWORD,
            INITIAL_ROOT_TOKEN="sk-" + "a" * 48,
            INITIAL_ROOT_ACCESS_TOKEN="b" * 32,
        )
        self.assertTrue(done)
        self.assertEqual(gateway.login("root").data["id"], 1)
        row = gateway.row(1)
        self.assertEqual(row["access_token"], "b" * 32)
        (token,) = gateway.rows(sa.select(schema.tokens))
        self.assertEqual((token["key"], token["user_id"]), ("a" * 48, 1))
        self.assertTrue(token["unlimited_quota"])
        self.assertEqual(token["expired_time"], -1)

    def test_bad_values_of_environment(self) -> None:
        """A password or token that cannot be one stops the start."""
        for env in (
            {"INITIAL_ROOT_PASSWORD": "short"},
            {"INITIAL_ROOT_PASSWORD": PASSWORD, "INITIAL_ROOT_TOKEN": "x"},
        ):
            gateway = Gateway()
            refused = self.assertRaises(InvalidRequest, self.begin, gateway, **env)
            self.assertIn("INITIAL_ROOT_", refused.message)
            self.assertEqual(gateway.rows(sa.select(schema.users.c.id)), [])

    def test_password_is_for_the_first_start(self) -> None:
        """INITIAL_ROOT_PASSWORD changes nothing on a gateway that has a root."""
        gateway = Gateway()
        gateway.set_up()
        before = gateway.row(1)["password"]
        self.assertTrue(self.begin(gateway, INITIAL_ROOT_PASSWORD="another-pass-1"))
        self.assertEqual(gateway.row(1)["password"], before)

    def test_name_taken(self) -> None:
        """A common user called root keeps the wizard from making one of that name."""
        gateway = Gateway()
        new = user_writes.NewAccount("root", "", "root", 1)
        now(gateway.db.run(user_writes.create, new, "abcd", NOW))
        answer = gateway.ask("POST", "/api/setup", WIZARD)
        self.assertEqual(answer.code, "name_taken")
        self.assertEqual(gateway.rows(sa.select(schema.setups)), [])
