"""Scripts about accounts, mail, gifts and notices, with a real mail server.

The mail server lives in the reactor of the test, the scripts in a thread.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests import engines
from tests.notices.mail_server import ACCOUNT, MailBox, Received
from tests.system.process import PASSWORD
from tests.system.test_scripts import Person, gateway


@engines.for_engines
class JoiningTests(TestCase):
    """People come, forget, redeem and run out."""

    kind: ClassVar[str] = "sqlite"
    timeout = 120

    def setUp(self) -> None:
        """A gateway that sends its mail here."""
        if self.kind != "sqlite":
            engines.server_address(self.kind)
        self.box = MailBox().listen(self)

    async def script(self, script: Callable[[], None]) -> None:
        """Run a script in a thread."""
        self.process, self.provider, _ = gateway(self.kind)
        self.call, self.ask = self.process.call, self.process.ask
        await deferToThread(self._with_mail, script)

    def _with_mail(self, script: Callable[[], None]) -> None:
        for key, value in (
            ("SMTPServer", "127.0.0.1"),
            ("SMTPPort", str(self.box.port)),
            ("SMTPFrom", ACCOUNT),
            ("ServerAddress", "https://site.example"),
            ("EmailVerificationEnabled", "false"),
        ):
            self.call("PUT", "/api/option/", {"key": key, "value": value})
        script()

    def letters(self, to: str) -> list[Received]:
        """What somebody got."""
        return [letter for letter in self.box.letters if letter.to == to]

    def until(self, read: Callable[[], Any], wanted: Any) -> None:
        """Wait until `read()` is `wanted`."""
        end = time.monotonic() + 40
        while read() != wanted and time.monotonic() < end:
            time.sleep(0.1)
        self.assertEqual(read(), wanted)

    def login(self, name: str, password: str) -> Person:
        """A session of an account."""
        told = {"username": name, "password": password}
        status, answer, headers = self.ask("POST", "/api/user/login", told, Cookie="")
        self.assertEqual((status, answer["success"]), (200, True), answer)
        return Person(self.process, headers["Cookies"], answer["data"]["id"])

    async def test_account_by_mail(self) -> None:
        """Somebody proves an address, joins by invitation, and forgets the password."""
        await self.script(self._account_by_mail)

    def _account_by_mail(self) -> None:
        self.call("POST", "/api/option/test_smtp", {"to": "admin@example.com"})
        self.assertEqual(len(self.letters("admin@example.com")), 1)
        restore = self.process.options(
            {
                "EmailVerificationEnabled": "true",
                "QuotaForNewUser": "500",
                "QuotaForInvitee": "30",
                "QuotaForInviter": "70",
            }
        )
        try:
            self._joined()
        finally:
            restore()

    def _joined(self) -> None:
        mine = self.call("GET", "/api/user/aff")
        before = self.call("GET", "/api/user/self")["aff_quota"]
        address = f"new.one@{self.kind}.example"
        self.call("GET", f"/api/verification?email={address}")
        (letter,) = self.letters(address)
        code = re.search(r"^[0-9a-f]{6}\s*$", letter.text(), re.MULTILINE)
        assert code is not None
        form = {
            "username": "new-one",
            "password": PASSWORD,
            "email": address,
            "verification_code": code[0].strip(),
            "aff_code": mine,
        }
        self.call("POST", "/api/user/register", form)
        person = self.login("new-one", PASSWORD)
        own = person.call("GET", "/api/user/self")
        self.assertEqual((own["quota"], own["email"]), (530, address))
        after = self.call("GET", "/api/user/self")["aff_quota"]
        self.assertEqual(after - before, 70)
        self._forgotten(person, address)

    def _forgotten(self, person: Person, address: str) -> None:
        self.call("GET", f"/api/reset_password?email={address}")
        self.until(lambda: len(self.letters(address)), 2)
        text = self.letters(address)[1].text()
        link = re.search(r"https://site\.example/\S+", text)
        assert link is not None, text
        query = parse_qs(urlsplit(link[0]).query)
        form = {"email": query["email"][0], "token": query["token"][0]}
        password = self.call("POST", "/api/user/reset", form)
        self.assertEqual(person.ask("GET", "/api/user/self")[0], 401)
        self.login(address, password)
        self.assertFalse(self.ask("POST", "/api/user/reset", form)[1]["success"])

    async def test_gifts(self) -> None:
        """Codes are made, one is redeemed; a daily gift is taken."""
        await self.script(self._gifts)

    def _gifts(self) -> None:
        form = {"username": "gil", "password": PASSWORD}
        self.call("POST", "/api/user/register", form)
        gil = self.login("gil", PASSWORD)
        start = gil.call("GET", "/api/user/self")["quota"]
        made = {"name": "party", "count": 2, "quota": 5000, "expired_time": 0}
        keys = self.call("POST", "/api/redemption/", made)
        self.assertEqual(gil.call("POST", "/api/user/topup", {"key": keys[0]}), 5000)
        self.assertFalse(
            gil.ask("POST", "/api/user/topup", {"key": keys[0]})[1]["success"]
        )
        found = self.call("GET", "/api/redemption/search?keyword=par&status=3")
        self.assertEqual(found["items"][0]["used_user_id"], gil.user_id)
        self.assertEqual(self.call("DELETE", "/api/redemption/invalid"), 1)
        told = {"key": "checkin_setting.enabled", "value": "true"}
        self.call("PUT", "/api/option/", told)
        gift = gil.call("POST", "/api/user/checkin")["quota_awarded"]
        stats = gil.call("GET", "/api/user/checkin")["stats"]
        self.assertEqual(
            (stats["total_quota"], stats["checked_in_today"]), (gift, True)
        )
        quota = gil.call("GET", "/api/user/self")["quota"]
        self.assertEqual(quota, start + 5000 + gift)
        self.until(
            lambda: sorted(
                row["type"] for row in gil.call("GET", "/api/log/self")["items"]
            )[:2],
            [1, 4],
        )

    async def test_low_balance(self) -> None:
        """A call that leaves little brings a letter; private webhooks are refused."""
        await self.script(self._low_balance)

    def _low_balance(self) -> None:
        form = {"username": "lou", "password": PASSWORD}
        self.call("POST", "/api/user/register", form)
        lou = self.login("lou", PASSWORD)
        given = {
            "id": lou.user_id,
            "action": "add_quota",
            "mode": "add",
            "value": 9_000,
        }
        self.call("POST", "/api/user/manage", given)
        setting = {
            "notify_type": "email",
            "quota_warning_threshold": 10_000,
            "notification_email": "lou@example.com",
        }
        lou.call("PUT", "/api/user/setting", setting)
        hook = {
            "notify_type": "webhook",
            "quota_warning_threshold": 1,
            "webhook_url": f"http://127.0.0.1:{self.provider.port}/",
        }
        refused = lou.ask("POST", "/api/user/setting/test", hook)[1]
        self.assertEqual(refused["code"], "address_refused")
        token = lou.call("POST", "/api/token/", {"name": "t", "unlimited_quota": True})
        key = lou.call("POST", f"/api/token/{token['id']}/key")["key"]
        told = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
        for _ in range(3):
            status, answer, _ = self.ask(
                "POST", "/v1/chat/completions", told, Authorization=f"Bearer sk-{key}"
            )
            self.assertEqual(status, 200, answer)
        self.until(lambda: len(self.letters("lou@example.com")), 1)
        text = self.letters("lou@example.com")[0].text()
        self.assertIn("https://site.example/console/topup", text)
