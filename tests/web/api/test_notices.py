"""Tests of `POST /api/user/setting/test`."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.addresses import AddressRefused
from knight_tw.notices.smtp import MailFailed
from tests.web.api.door import Door
from tests.web.gateway import Answer

PATH = "/api/user/setting/test"
HOOK = {
    "notify_type": "webhook",
    "quota_warning_threshold": 5,
    "webhook_url": "https://hook.example/a",
    "webhook_secret": "s3",
}


class TrialTests(SynchronousTestCase):
    """A test notice."""

    def setUp(self) -> None:
        """Ann, who has an address."""
        self.door = Door()
        self.door.set_up()
        self.ann_id = self.door.add_user("ann", email="ann@example.com")
        self.ann = self.door.bearer("ann")

    def trial(self, **body: Any) -> Answer:
        """The answer to a form."""
        form = {"notify_type": "email", "quota_warning_threshold": 5, **body}
        return self.ann.post(PATH, form)

    def test_mail(self) -> None:
        """By e-mail it goes to the form's address, or the account's."""
        self.assertEqual(self.trial().json, {"success": True, "message": ""})
        self.trial(notification_email="other@example.com")
        self.assertEqual(
            [one.to for one in self.door.mail.letters],
            ["ann@example.com", "other@example.com"],
        )

    def test_mail_is_limited(self) -> None:
        """Nobody fills other people's mail boxes this way."""
        answers = [self.trial(notification_email="x@example.com") for _ in range(3)]
        self.assertEqual([a.status for a in answers], [200, 200, 429])

    def test_mail_is_limited_for_all_senders(self) -> None:
        """Not with several accounts either."""
        statuses = []
        for name in ("bob", "cid", "dan"):
            self.door.add_user(name)
            form = {"notification_email": " X@example.com", "notify_type": "email"}
            body = {**form, "quota_warning_threshold": 5}
            statuses.append(self.door.bearer(name).post(PATH, body).status)
        self.assertEqual(statuses, [200, 200, 429])

    def test_mail_fails(self) -> None:
        """A failure is told, not what the mail server said."""
        self.door.mail.failing = MailFailed("mail.internal said 550")
        answer = self.trial()
        self.assertEqual(answer.code, "upstream_failed")
        self.assertNotIn(b"internal", answer.body)

    def test_webhook(self) -> None:
        """A webhook gets a signed notice; nothing of it is stored."""
        before = self.door.row(self.ann_id)["setting"]
        self.assertTrue(self.trial(**HOOK).json["success"])
        (sent,) = self.door.receiver.sent
        self.assertEqual(sent["url"], "https://hook.example/a")
        self.assertIn(b"quota_exceed", sent["body"])
        self.assertEqual(self.door.row(self.ann_id)["setting"], before)

    def test_refused_address(self) -> None:
        """An address that the guard refuses is told as such."""
        self.door.receiver.error = AddressRefused("10.0.0.1 is private")
        answer = self.trial(**HOOK)
        self.assertEqual(answer.code, "address_refused")
        self.assertNotIn(b"10.0.0.1", answer.body)

    def test_receiver_says_no(self) -> None:
        """The receiver's status is told."""
        self.door.receiver.status = 404
        answer = self.trial(**HOOK)
        self.assertEqual(answer.code, "upstream_failed")
        self.assertIn("404", answer.json["message"])

    def test_form(self) -> None:
        """The form is checked as the settings are."""
        for change in (
            {"notify_type": "pigeon"},
            {"notify_type": "webhook", "webhook_url": "ftp://x"},
            {"quota_warning_threshold": 0},
        ):
            answer = self.trial(**change)
            self.assertEqual(answer.json["params"]["field"], list(change)[-1])

    def test_guests(self) -> None:
        """Only people with an account."""
        self.assertEqual(self.door.ask("POST", PATH, {}).status, 401)
