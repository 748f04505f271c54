"""Tests of the routes that send mail, and of those that take what it said."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import sqlalchemy as sa
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.notices.mail import NoMailServer
from knight_tw.notices.smtp import MailFailed
from knight_tw.records import DISABLED
from knight_tw.storage.schema import auth_flows, users
from tests.web.api.door import Door
from tests.web.gateway import PASSWORD, Answer

SENT = {"success": True, "message": ""}


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """A gateway with ann, who has an address."""
        self.door = Door()
        self.door.set_up()
        self.ann = self.door.add_user("ann", email="Ann@Example.com")

    def verification(self, email: str, peer: str = "203.0.113.9") -> Answer:
        """The answer to `GET /api/verification`."""
        path = f"/api/verification?email={email}"
        return self.door.ask("GET", path, peer=peer)


class VerificationTests(_Case):
    """`GET /api/verification`."""

    def test_letter(self) -> None:
        """The address gets a letter with a code of six characters."""
        self.assertEqual(self.verification("new@example.com").json, SENT)
        (letter,) = self.door.mail.letters
        self.assertEqual(letter.to, "new@example.com")
        self.assertEqual(len(self.door.mail.code()), 6)

    def test_language(self) -> None:
        """The letter is in the language that is asked for."""
        ask = self.door.ask
        ask("GET", "/api/verification?email=a@example.com&lang=zh")
        header = {"Accept-Language": "fr, zh-TW;q=0.8, en;q=0.5"}
        ask("GET", "/api/verification?email=b@example.com", None, header)
        for letter in self.door.mail.letters:
            self.assertIn("验证码", letter.subject)
            self.assertEqual(len(self.door.mail.code()), 6)

    def test_not_an_address(self) -> None:
        """What is no address is refused, also with a header in it."""
        for email in ("nobody", "", "a@b%0d%0aBcc:x@y.z", "a%20b@example.com"):
            self.door.clock.advance(31)
            answer = self.verification(email)
            self.assertIn(answer.code, ("invalid_field", "missing_field"))
            self.assertEqual(answer.json["params"]["field"], "email")
        self.assertEqual(self.door.mail.letters, [])

    def test_too_long(self) -> None:
        """The column holds 50 characters."""
        answer = self.verification(f"{'x' * 45}@example.com")
        self.assertEqual(answer.code, "invalid_field")

    def test_taken(self) -> None:
        """An address of an account, in any case, gets no code."""
        self.assertEqual(self.verification("ann@example.com").code, "email_taken")

    def test_domains(self) -> None:
        """With the option only listed domains are admitted, to the letter."""
        self.door.set_option("EmailDomainRestrictionEnabled", "true")
        for email, allowed in (
            ("a@gmail.com", True),
            ("a@GMAIL.com", True),
            ("a@example.com", False),
            ("a@evil-gmail.com", False),
            ("a@gmail.com.evil.example", False),
        ):
            self.door.clock.advance(31)
            answer = self.verification(email)
            if allowed:
                self.assertEqual(answer.json, SENT)
            else:
                self.assertEqual(answer.code, "domain_not_allowed")

    def test_aliases(self) -> None:
        """With the option `+` and `.` before the @ are refused."""
        self.door.set_option("EmailAliasRestrictionEnabled", "true")
        for email in ("a%2bb@example.com", "a.b@example.com"):
            self.assertEqual(self.verification(email).code, "domain_not_allowed")
        self.door.clock.advance(31)
        self.assertEqual(self.verification("ab@example.com").json, SENT)

    def test_limit_by_client(self) -> None:
        """The third letter within half a minute is refused."""
        for number in range(2):
            self.verification(f"a{number}@example.com")
        answer = self.verification("a3@example.com")
        self.assertEqual((answer.status, answer.code), (429, "rate_limited"))
        self.assertGreater(int(answer.get("Retry-After")), 0)

    def test_limit_by_address(self) -> None:
        """The same for one address, wherever the requests come from."""
        for number in range(2):
            self.verification("a@example.com", f"198.51.100.{number}")
        answer = self.verification("a@example.com", "198.51.100.9")
        self.assertEqual(answer.status, 429)

    def test_captcha(self) -> None:
        """With the check on a right answer is needed."""
        self.door.set_option("TurnstileSiteKey", "site")
        self.door.set_option("TurnstileCheckEnabled", "true")
        self.assertEqual(self.verification("a@example.com").code, "captcha_failed")
        answer = self.verification("a@example.com&turnstile=right")
        self.assertEqual(answer.json, SENT)

    def test_not_sent(self) -> None:
        """A failing mail server is not described to the public; the code is void."""
        self.door.mail.failing = MailFailed("secret.internal:25 refused")
        answer = self.verification("a@example.com")
        self.assertEqual(answer.code, "upstream_failed")
        self.assertNotIn(b"internal", answer.body)
        self.assertEqual(self.door.rows(sa.select(auth_flows)), [])

    def test_no_server(self) -> None:
        """Without a mail server the answer says so."""
        self.door.mail.failing = NoMailServer("no mail server is configured")
        self.assertEqual(self.verification("a@example.com").code, "not_configured")


class ResetTests(_Case):
    """`GET /api/reset_password` and `POST /api/user/reset`."""

    def forgotten(self, email: str) -> Answer:
        """The answer to `GET /api/reset_password`."""
        self.door.clock.advance(31)
        return self.door.ask("GET", f"/api/reset_password?email={email}")

    def token(self) -> str:
        """The token of a link mailed to ann."""
        self.forgotten("ann@example.com")
        return parse_qs(urlsplit(self.door.mail.link()).query)["token"][0]

    def reset(self, token: str, email: str = "ann@example.com", **body: Any) -> Answer:
        """The answer to `POST /api/user/reset`."""
        form = {"email": email, "token": token, **body}
        return self.door.ask("POST", "/api/user/reset", form)

    def test_link(self) -> None:
        """The letter holds the link, the address escaped."""
        self.door.add_user("bob", email="b+o&b@example.com")
        self.forgotten("b%2Bo%26b@example.com")
        link = urlsplit(self.door.mail.link())
        self.assertEqual(
            f"{link.scheme}://{link.netloc}{link.path}",
            "https://site.example/user/reset",
        )
        query = parse_qs(link.query)
        self.assertEqual(query["email"], ["b+o&b@example.com"])
        self.assertRegex(query["token"][0], "^[0-9a-f]{32}$")

    def test_same_answer_for_everybody(self) -> None:
        """Unknown, shared, disabled, deleted accounts get the answer and no letter."""
        for name in ("bob", "Bob2"):
            self.door.add_user(name, email="shared@example.com")
        self.door.add_user("eve", email="eve@example.com", status=DISABLED)
        gone = self.door.add_user("gil", email="gil@example.com")
        self.door.execute(
            sa.update(users).where(users.c.id == gone).values(deleted_at=sa.func.now())
        )
        for who in ("ann", "nobody", "shared", "eve", "gil"):
            answer = self.forgotten(f"{who}@example.com")
            self.assertEqual((answer.status, answer.json), (200, SENT))
        self.assertEqual(
            [one.to for one in self.door.mail.letters], ["ann@example.com"]
        )

    def test_answer_does_not_wait(self) -> None:
        """The answer comes before the mail server is asked."""
        self.door.mail.waiting = Deferred()
        self.assertEqual(self.forgotten("ann@example.com").json, SENT)
        self.door.mail.waiting.callback(None)
        self.assertEqual(len(self.door.mail.letters), 1)

    def test_failing_mail_is_not_seen(self) -> None:
        """A mail server that is away is no sign of an account."""
        self.door.mail.failing = MailFailed("away")
        self.assertEqual(self.forgotten("ann@example.com").json, SENT)

    def test_decoy(self) -> None:
        """An address without account gets a code that opens nothing."""
        self.forgotten("nobody@example.com")
        self.assertEqual(len(self.door.rows(sa.select(auth_flows))), 1)
        self.assertEqual(self.reset("0" * 32, "nobody@example.com").code, "wrong_code")

    def test_random_password(self) -> None:
        """Without a password one of 12 characters is set and returned, once."""
        token = self.token()
        password = self.reset(token).data
        self.assertRegex(password, "^[0-9A-Za-z]{12}$")
        self.assertTrue(self.door.login("ann", password).json["success"])
        self.assertFalse(self.door.login("ann").json["success"])
        self.assertEqual(self.reset(token).code, "wrong_code")

    def test_chosen_password(self) -> None:
        """With a password that one is set, and no data returned."""
        self.assertEqual(
            self.reset(self.token(), password="a new passphrase").json, SENT
        )
        self.assertTrue(self.door.login("ann", "a new passphrase").json["success"])

    def test_bad_chosen_password(self) -> None:
        """A password that may not be set does not cost the link."""
        token = self.token()
        self.assertEqual(self.reset(token, password="short").code, "invalid_field")
        self.assertTrue(self.reset(token).json["success"])

    def test_sessions_end(self) -> None:
        """Every session of the account ends."""
        browser, bearer = self.door.browser("ann"), self.door.bearer("ann")
        self.reset(self.token())
        for client in (browser, bearer):
            self.assertEqual(client.get("/api/user/self").code, "AUTH_SESSION_REVOKED")
        self.assertIn(("user", str(self.ann)), self.door.changes)

    def test_logged(self) -> None:
        """The account's log says that it happened, without the password."""
        token = self.token()
        self.door.notes.clear()
        password = self.reset(token).data
        (note,) = self.door.notes
        self.assertEqual((note["type"], note["user_id"]), (4, self.ann))
        self.assertNotIn(password, repr(note))

    def test_wrong_tokens(self) -> None:
        """Five wrong ones void the right one; all are answered alike."""
        token = self.token()
        answers = [self.reset("0" * 32) for _ in range(5)]
        answers.append(self.reset(token))
        answers.append(self.reset("0" * 32, "nobody@example.com"))
        self.assertEqual({a.code for a in answers}, {"wrong_code"})
        self.assertEqual(len({a.body for a in answers}), 1)
        self.assertTrue(self.door.login("ann", PASSWORD).json["success"])

    def test_expires(self) -> None:
        """A link is good for ten minutes."""
        token = self.token()
        self.door.clock.advance(600)
        self.assertEqual(self.reset(token).code, "wrong_code")

    def test_address_moved(self) -> None:
        """A link is void when the account lost the address meanwhile."""
        token = self.token()
        self.door.execute(
            sa.update(users).where(users.c.id == self.ann).values(email="x@example.com")
        )
        self.assertEqual(self.reset(token).code, "wrong_code")

    def test_account_disabled(self) -> None:
        """A link does not help a disabled account."""
        token = self.token()
        self.door.execute(
            sa.update(users).where(users.c.id == self.ann).values(status=DISABLED)
        )
        self.assertEqual(self.reset(token).code, "wrong_code")

    def test_code_of_another_purpose(self) -> None:
        """A code that proves an address does not set a password."""
        self.verification("new@example.com")
        code = self.door.mail.code()
        self.door.add_user("bob", email="new@example.com")
        self.assertEqual(self.reset(code, "new@example.com").code, "wrong_code")

    def test_fields(self) -> None:
        """Both fields are needed."""
        for body in ({"email": "a@b.c"}, {"token": "x"}, {"email": 5, "token": "x"}):
            answer = self.door.ask("POST", "/api/user/reset", body)
            self.assertIn(answer.code, ("missing_field", "invalid_field"))


class BindTests(_Case):
    """`/api/oauth/email/bind`, both methods."""

    def setUp(self) -> None:
        """A code mailed to a new address."""
        super().setUp()
        self.verification("new@example.com")
        self.code = self.door.mail.code()
        self.client = self.door.bearer("ann")

    def bind(self, code: str, email: str = "New@Example.com") -> Answer:
        """The answer to the POST form."""
        body = {"email": email, "code": code}
        return self.client.post("/api/oauth/email/bind", body)

    def email(self) -> str:
        """Ann's address."""
        return str(self.door.row(self.ann)["email"])

    def test_bound(self) -> None:
        """A right code gives the account the address, once."""
        self.assertEqual(self.bind(self.code).json, SENT)
        self.assertEqual(self.email(), "new@example.com")
        self.assertIn(("user", str(self.ann)), self.door.changes)
        self.assertEqual(self.bind(self.code).code, "wrong_code")

    def test_by_query(self) -> None:
        """The older form does the same."""
        path = f"/api/oauth/email/bind?email=new@example.com&code={self.code}"
        self.assertEqual(self.client.get(path).json, SENT)
        self.assertEqual(self.email(), "new@example.com")

    def test_wrong_code(self) -> None:
        """A wrong code changes nothing."""
        self.assertEqual(self.bind("wrong0").code, "wrong_code")
        self.assertEqual(self.email(), "Ann@Example.com")

    def test_missing(self) -> None:
        """Both are needed."""
        path = "/api/oauth/email/bind"
        for body in ({}, {"email": "new@example.com"}, {"code": self.code}):
            self.assertEqual(self.client.post(path, body).code, "missing_field")
        self.assertEqual(self.client.get(f"{path}?email=a@b.c").code, "missing_field")

    def test_taken_meanwhile(self) -> None:
        """An address that somebody got first is refused."""
        self.door.add_user("bob", email="new@example.com")
        self.assertEqual(self.bind(self.code).code, "email_taken")

    def test_needs_login(self) -> None:
        """Guests bind nothing."""
        path = f"/api/oauth/email/bind?email=new@example.com&code={self.code}"
        self.assertEqual(self.door.ask("GET", path).status, 401)

    def test_cookie_needs_header(self) -> None:
        """A link on a foreign page cannot bind an address."""
        browser = self.door.browser("ann")
        del browser.headers["New-Api-User"]
        path = f"/api/oauth/email/bind?email=new@example.com&code={self.code}"
        self.assertEqual(browser.get(path).status, 401)
        self.assertEqual(self.email(), "Ann@Example.com")


class TestLetterTests(_Case):
    """`POST /api/option/test_smtp`."""

    PATH = "/api/option/test_smtp"

    def test_sent(self) -> None:
        """Root gets a letter sent, and a row in the log."""
        answer = self.door.bearer("root").post(self.PATH, {"to": "me@example.com"})
        self.assertEqual(answer.json, SENT)
        self.assertEqual(self.door.mail.letters[0].to, "me@example.com")
        action = self.door.notes[-1]["other"]["op"]["action"]
        self.assertEqual(action, "option.test_smtp")

    def test_reason(self) -> None:
        """Root sees what the mail server said."""
        self.door.mail.failing = MailFailed("the mail server refused the login (535)")
        answer = self.door.bearer("root").post(self.PATH, {"to": "me@example.com"})
        self.assertEqual(answer.code, "upstream_failed")
        self.assertIn("535", answer.json["message"])

    def test_bad_address(self) -> None:
        """The address is checked."""
        answer = self.door.bearer("root").post(self.PATH, {"to": "me"})
        self.assertEqual(answer.json["params"]["field"], "to")

    def test_root_only(self) -> None:
        """Nobody else may."""
        self.door.add_user("adm", 10)
        answer = self.door.bearer("adm").post(self.PATH, {"to": "me@example.com"})
        self.assertEqual(answer.status, 403)
