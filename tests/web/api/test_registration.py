"""Tests of the registration form."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.access import default_sidebar
from knight_tw.storage.schema import tokens, users
from tests.web.api.door import Door
from tests.web.gateway import NOW, PASSWORD, Answer

PATH = "/api/user/register"
BODY = {"username": "newcomer", "password": PASSWORD}


class RegistrationTests(SynchronousTestCase):
    """`POST /api/user/register`."""

    def setUp(self) -> None:
        """A gateway with root, open for all."""
        self.door = Door()
        self.door.set_up()

    def register(self, **body: Any) -> Answer:
        """The answer to a form."""
        return self.door.ask("POST", PATH, {**BODY, **body})

    def account(self, name: str = "newcomer") -> dict[str, Any]:
        """The row of an account."""
        (row,) = self.door.rows(sa.select(users).where(users.c.username == name))
        return row

    def proved(self, email: str) -> str:
        """The code that was mailed to an address."""
        answer = self.door.ask("GET", f"/api/verification?email={email}")
        self.assertEqual(answer.json, {"success": True, "message": ""})
        return self.door.mail.code()

    def test_account(self) -> None:
        """The form makes an account that can log in, and answers no data."""
        self.door.set_option("QuotaForNewUser", "500")
        answer = self.register()
        self.assertEqual(answer.json, {"success": True, "message": ""})
        row = self.account()
        self.assertEqual(
            [row[name] for name in ("role", "status", "group", "quota", "email")],
            [1, 1, "default", 500, ""],
        )
        self.assertEqual(row["display_name"], "newcomer")
        self.assertRegex(row["aff_code"], "^[0-9A-Za-z]{4}$")
        self.assertEqual((row["inviter_id"], row["created_at"]), (0, NOW))
        self.assertEqual(
            json.loads(row["setting"]),
            {"gotify_priority": 0, "sidebar_modules": default_sidebar(1)},
        )
        self.assertEqual(self.door.login("newcomer").data["username"], "newcomer")

    def test_no_cookie(self) -> None:
        """Registering does not log in."""
        self.assertEqual(self.register().cookies(), {})

    def test_role_cannot_be_chosen(self) -> None:
        """What the form says beyond its fields is ignored."""
        self.register(role=100, quota=10**9, group="vip", id=1, status=2)
        row = self.account()
        self.assertEqual(
            (row["role"], row["quota"], row["group"], row["status"]),
            (1, 0, "default", 1),
        )

    def test_gift_is_logged(self) -> None:
        """What a new account starts with is a log row of type 4."""
        self.door.set_option("QuotaForNewUser", "500")
        self.register()
        (row,) = self.door.notes
        self.assertEqual(
            (row["type"], row["username"], row["quota"]), (4, "newcomer", 500)
        )

    def test_nothing_given_nothing_logged(self) -> None:
        """Without gifts there is no log row."""
        self.register()
        self.assertEqual(self.door.notes, [])

    def test_closed(self) -> None:
        """Either switch closes the form, before anything else is looked at."""
        for key in ("RegisterEnabled", "PasswordRegisterEnabled"):
            self.door.set_option(key, "false")
            answer = self.door.ask("POST", PATH, b"{not json")
            self.assertEqual((answer.status, answer.code), (200, "registration_closed"))
            self.door.set_option(key, "true")

    def test_captcha(self) -> None:
        """With the check on a right answer is needed."""
        self.door.set_option("TurnstileSiteKey", "site")
        self.door.set_option("TurnstileCheckEnabled", "true")
        self.assertEqual(self.register().code, "captcha_failed")
        answer = self.door.ask("POST", f"{PATH}?turnstile=right", BODY)
        self.assertTrue(answer.json["success"])

    def test_bad_body(self) -> None:
        """A body that is no JSON object is refused."""
        for body in (b"{not json", b"[]", b"null", b""):
            answer = self.door.ask("POST", PATH, body)
            self.assertEqual((answer.status, answer.code), (400, "malformed_body"))

    def test_fields(self) -> None:
        """Each field has its limits; the refusal names it."""
        for change, code, field in (
            ({"username": ""}, "missing_field", "username"),
            ({"username": "  "}, "missing_field", "username"),
            ({"username": "x" * 21}, "invalid_field", "username"),
            ({"username": "a\nb"}, "invalid_field", "username"),
            ({"username": 5}, "invalid_field", "username"),
            ({"username": "a@example.com"}, "invalid_field", "username"),
            ({"password": "short"}, "invalid_field", "password"),
            ({"password": "x" * 65}, "invalid_field", "password"),
            ({"password": "é" * 40}, "invalid_field", "password"),
            ({"password": None}, "missing_field", "password"),
            ({"aff_code": 5}, "invalid_field", "aff_code"),
            ({"aff_code": "x" * 33}, "invalid_field", "aff_code"),
        ):
            answer = self.register(**change)
            self.assertEqual(answer.code, code, change)
            self.assertEqual(answer.json["params"]["field"], field)
        self.assertEqual(len(self.door.rows(sa.select(users.c.id))), 1)

    def test_name_taken(self) -> None:
        """A name serves once, also that of a deleted account."""
        self.register()
        self.assertEqual(self.register().code, "name_taken")
        self.door.execute(sa.update(users).values(deleted_at=sa.func.now()))
        self.assertEqual(self.register().code, "name_taken")

    def test_invitation(self) -> None:
        """Inviter and invited get their shares, and each a log row."""
        for key, value in (("ForNewUser", 500), ("ForInviter", 70), ("ForInvitee", 30)):
            self.door.set_option(f"Quota{key}", str(value))
        ann = self.door.add_user("ann", aff_code="AnnA")
        self.register(aff_code="AnnA")
        row, inviter = self.account(), self.door.row(ann)
        self.assertEqual((row["quota"], row["inviter_id"]), (530, ann))
        self.assertEqual(
            [inviter[name] for name in ("aff_count", "aff_quota", "aff_history")],
            [1, 70, 70],
        )
        self.assertEqual(
            [
                (note["username"], note["quota"], note["type"])
                for note in self.door.notes
            ],
            [("newcomer", 500, 4), ("newcomer", 30, 4), ("ann", 70, 4)],
        )
        self.assertIn(("user", str(ann)), self.door.changes)

    def test_unknown_invitation(self) -> None:
        """A code that nobody has, or only in another case, invites nobody."""
        self.door.set_option("QuotaForInvitee", "30")
        self.door.add_user("ann", aff_code="AnnA")
        self.register(aff_code="anna")
        self.assertEqual(
            (self.account()["quota"], self.account()["inviter_id"]), (0, 0)
        )

    def test_email_ignored_without_check(self) -> None:
        """An address that nobody asked to be proved is not stored."""
        self.register(email="someone@example.com")
        self.assertEqual(self.account()["email"], "")

    def test_email_needed(self) -> None:
        """With the option address and code are both needed."""
        self.door.set_option("EmailVerificationEnabled", "true")
        for body, field in (
            ({}, "email"),
            ({"email": "a@example.com"}, "verification_code"),
        ):
            answer = self.register(**body)
            self.assertEqual(
                (answer.code, answer.json["params"]["field"]), ("missing_field", field)
            )

    def test_email_proved(self) -> None:
        """A right code stores the address in lower case, once."""
        self.door.set_option("EmailVerificationEnabled", "true")
        code = self.proved("Some.One@example.com")
        answer = self.register(email="some.one@Example.com", verification_code=code)
        self.assertTrue(answer.json["success"], answer.json)
        self.assertEqual(self.account()["email"], "some.one@example.com")
        again = self.register(
            username="other", email="some.one@example.com", verification_code=code
        )
        self.assertEqual(again.code, "wrong_code")

    def test_wrong_codes(self) -> None:
        """Five wrong codes void the right one."""
        self.door.set_option("EmailVerificationEnabled", "true")
        code = self.proved("a@example.com")
        for _ in range(5):
            answer = self.register(email="a@example.com", verification_code="zzzzzz")
            self.assertEqual(answer.code, "wrong_code")
        answer = self.register(email="a@example.com", verification_code=code)
        self.assertEqual(answer.code, "wrong_code")

    def test_code_survives_a_refused_form(self) -> None:
        """A form that fails for its name does not cost the code."""
        self.door.set_option("EmailVerificationEnabled", "true")
        code = self.proved("a@example.com")
        form = {"email": "a@example.com", "verification_code": code}
        self.assertEqual(self.register(username="root", **form).code, "name_taken")
        self.assertTrue(self.register(**form).json["success"])

    def test_email_taken_meanwhile(self) -> None:
        """An address that somebody got after the code was sent is refused."""
        self.door.set_option("EmailVerificationEnabled", "true")
        code = self.proved("a@example.com")
        self.door.add_user("ann", email="A@example.com")
        answer = self.register(email="a@example.com", verification_code=code)
        self.assertEqual(answer.code, "email_taken")

    def test_own_address_as_name(self) -> None:
        """A proved address may be the user name."""
        self.door.set_option("EmailVerificationEnabled", "true")
        code = self.proved("a@example.com")
        answer = self.register(
            username="a@example.com", email="a@example.com", verification_code=code
        )
        self.assertTrue(answer.json["success"], answer.json)

    def test_first_token(self) -> None:
        """With the setting an account starts with an unlimited token."""
        self.door = Door(first_token=True)
        self.door.set_up()
        self.door.set_option("DefaultUseAutoGroup", "true")
        self.register()
        (row,) = self.door.rows(sa.select(tokens))
        self.assertEqual(
            [
                row[name]
                for name in ("name", "unlimited_quota", "expired_time", "group")
            ],
            ["newcomer default token", True, -1, "auto"],
        )
        self.assertEqual((row["user_id"], row["status"]), (self.account()["id"], 1))
        self.assertRegex(row["key"], "^[0-9A-Za-z]{48}$")

    def test_limit(self) -> None:
        """Registrations of one address are limited."""
        self.door = Door(env={"CRITICAL_RATE_LIMIT_ENABLE": "true"})
        self.door.set_up()
        answers = [self.register(username=f"n{n}") for n in range(21)]
        self.assertEqual([a.status for a in answers[:20]], [200] * 20)
        self.assertEqual((answers[20].status, answers[20].code), (429, "rate_limited"))
