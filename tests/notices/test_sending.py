"""One notice to one account."""

from __future__ import annotations

import json
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.addresses import AddressRefused
from knight_tw.errors import UpstreamTimeout
from knight_tw.notices.letters import Letter
from knight_tw.notices.sending import NotTaken, Sending
from knight_tw.notices.smtp import MailFailed
from knight_tw.notices.ways import Notice, NoWay
from knight_tw.options import Options

NOTICE = Notice("k", "title", "{{value}}.\n{{value}}", ("a <b>", "https://x.example"))
HOOK = {"notify_type": "webhook", "webhook_url": "https://hook.example/a"}


@define
class Receiver:
    """Stands for the network: answers with a status, or fails."""

    status: int = 200
    error: Exception | None = None
    sent: list[dict[str, Any]] = field(factory=list)
    aborted: int = 0

    def __call__(
        self, method: str, url: str, headers: Any, body: bytes, **options: Any
    ) -> Deferred[Any]:
        """The answer."""
        self.sent.append({"method": method, "url": url, "body": body, **options})
        return fail(self.error) if self.error is not None else succeed(self)

    def abort(self) -> None:
        """The body is not wanted."""
        self.aborted += 1


@define
class Letters:
    """Stands for the mailer."""

    sent: list[Letter] = field(factory=list)
    error: Exception | None = None

    async def send(self, letter: Letter) -> None:
        """Keep the letter."""
        if self.error is not None:
            raise self.error
        self.sent.append(letter)


class SendingTests(SynchronousTestCase):
    """`Sending`."""

    def setUp(self) -> None:
        """Everything works."""
        self.receiver, self.letters = Receiver(), Letters()
        self.options = Options.from_rows({"SystemName": "Site"})
        self.asked: list[str] = []
        self.guarded = ""

        async def allowed(url: str) -> None:
            self.asked.append(url)
            if self.guarded and self.guarded in url:
                raise AddressRefused("private")

        self.sending = Sending(
            lambda: self.options, self.letters, self.receiver, allowed, Clock()
        )

    def send(self, setting: Any, email: str = "own@example.com") -> Any:
        """Send the notice; the error, or None."""
        sending = Deferred.fromCoroutine(self.sending(setting, email, NOTICE))
        errors: list[Any] = []
        sending.addErrback(lambda failure: errors.append(failure.value))
        self.successResultOf(sending)
        return errors[0] if errors else None

    def test_mail(self) -> None:
        """The account's own address, or the one it chose for notices."""
        self.assertIsNone(self.send({}))
        self.assertIsNone(self.send({"notification_email": "Other@example.com"}))
        self.assertEqual(
            [one.to for one in self.letters.sent],
            ["own@example.com", "other@example.com"],
        )
        letter = self.letters.sent[0]
        self.assertEqual(letter.subject, "Site: title")
        self.assertEqual(letter.text, "a <b>.\n\nhttps://x.example\n")
        self.assertIn("a &lt;b&gt;.", letter.html)
        self.assertIn('<a href="https://x.example">', letter.html)

    def test_no_address(self) -> None:
        """Without an address nothing is sent."""
        self.assertIsInstance(self.send({}, ""), NoWay)
        self.assertIsInstance(self.send({"notification_email": "x\r\n@y"}), NoWay)

    def test_mail_server_is_not_described(self) -> None:
        """What the mail server said does not reach the account's owner."""
        self.letters.error = MailFailed("mail.internal refused")
        error = self.send({})
        self.assertIsInstance(error, NotTaken)
        self.assertNotIn("internal", error.message)

    def test_request(self) -> None:
        """A request passes the guard, has limits, and its answer is not read."""
        self.assertIsNone(self.send(HOOK))
        (sent,) = self.receiver.sent
        self.assertTrue(sent["guarded"])
        self.assertEqual(
            (sent["connect_timeout"], sent["first_byte_timeout"]), (10.0, 10.0)
        )
        self.assertEqual(self.receiver.aborted, 1)

    def test_statuses(self) -> None:
        """Only 2xx is success; a redirect is not followed."""
        for status, good in ((200, True), (204, True), (302, False), (500, False)):
            self.receiver.status = status
            self.assertEqual(self.send(HOOK) is None, good, status)

    def test_failures(self) -> None:
        """What goes wrong is told."""
        for error in (AddressRefused("private"), UpstreamTimeout("late")):
            self.receiver.error = error
            self.assertIs(self.send(HOOK), error)

    def test_worker(self) -> None:
        """With a worker it gets the request, after the guard looked at the address."""
        self.options = Options.from_rows(
            {"WorkerUrl": "https://worker.example", "WorkerValidKey": "wk"}
        )
        self.assertIsNone(self.send(HOOK))
        (sent,) = self.receiver.sent
        self.assertEqual(sent["url"], "https://worker.example")
        self.assertFalse(sent["guarded"])
        self.assertEqual(json.loads(sent["body"])["key"], "wk")
        self.assertEqual(self.asked, ["https://hook.example/a"])

    def test_worker_does_not_help_around_the_guard(self) -> None:
        """An address that the guard refuses is not given to the worker."""
        self.options = Options.from_rows({"WorkerUrl": "https://worker.example"})
        self.guarded = "hook.example"
        self.assertIsInstance(self.send(HOOK), AddressRefused)
        self.assertEqual(self.receiver.sent, [])
