"""Letters by a real mail server."""

from __future__ import annotations

import random
import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import CancelledError, Deferred, gatherResults
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.notices import mail, smtp
from knight_tw.notices.letters import Letter
from knight_tw.notices.mail import Mailer, NoMailServer, sender_of, server_of
from knight_tw.notices.smtp import Encryption, MailFailed, MailServer
from knight_tw.options import Options
from tests.notices.mail_server import ACCOUNT, PASSWORD, MailBox, trust

LETTER = Letter("someone@example.com", "Grüße", "hello", "<p>hello</p>")


class OptionTests(SynchronousTestCase):
    """`server_of` and `sender_of`."""

    def _server(self, **rows: str) -> MailServer:
        return server_of(Options.from_rows({"SMTPServer": "Mail.example ", **rows}))

    def test_encryption(self) -> None:
        """The port and the switches say how the connection becomes private."""
        for rows, expected in (
            ({}, Encryption.OFFERED),
            ({"SMTPPort": "465"}, Encryption.IMPLICIT),
            ({"SMTPSSLEnabled": "true"}, Encryption.IMPLICIT),
            ({"SMTPStartTLSEnabled": "true"}, Encryption.STARTTLS),
            (
                {"SMTPPort": "465", "SMTPStartTLSEnabled": "true"},
                Encryption.IMPLICIT,
            ),
        ):
            self.assertIs(self._server(**rows).encryption, expected)

    def test_login(self) -> None:
        """AUTH LOGIN is used where it is asked for, or known to be needed."""
        for rows, expected in (
            ({}, False),
            ({"SMTPForceAuthLogin": "true"}, True),
            ({"SMTPServer": "smtp.azurecomm.net"}, True),
            ({"SMTPServer": "smtp-mail.outlook.com"}, True),
        ):
            self.assertIs(self._server(**rows).by_login, expected)

    def test_nothing_configured(self) -> None:
        """Without a server, or an address to send from, there is no mail."""
        with self.assertRaises(NoMailServer):
            server_of(Options.from_rows({}))
        with self.assertRaises(NoMailServer):
            sender_of(Options.from_rows({"SMTPAccount": "not an address"}))

    def test_sender(self) -> None:
        """`SMTPFrom`, else the account."""
        rows = {"SMTPAccount": "a@example.com", "SystemName": "Site"}
        self.assertEqual(sender_of(Options.from_rows(rows)).address, "a@example.com")
        rows["SMTPFrom"] = "Other <b@example.com>"
        self.assertEqual(sender_of(Options.from_rows(rows)).name, "Other")

    def test_password_is_not_shown(self) -> None:
        """The description of a server can be logged."""
        self.assertNotIn("secret", repr(self._server(SMTPToken="secret")))


class MailTests(TestCase):
    """`Mailer.send` over a socket."""

    def mailer(self, port: int, **rows: str) -> Mailer:
        """A mailer for the server of the test; `host` is its certificate's name."""
        rows = {
            "SMTPServer": "localhost",
            "SMTPPort": str(port),
            "SMTPFrom": "gateway@example.com",
            "SystemName": "Knight",
            **rows,
        }
        options = Options.from_rows(rows)
        made = Mailer(lambda: options, reactor, random.Random(1), trust())  # noqa: S311
        self.addCleanup(made.stop)
        return made

    def box(self, **offer: Any) -> MailBox:
        """A mail server until the end of the test."""
        return MailBox(**offer).listen(self)

    async def refused(self, mailer: Mailer, letter: Letter = LETTER) -> str:
        """Why a letter was not sent."""
        try:
            await mailer.send(letter)
        except MailFailed as error:
            return error.message
        raise AssertionError("the letter was sent")

    async def test_plain(self) -> None:
        """A server that asks nothing gets the letter as it was written."""
        box = self.box()
        await self.mailer(box.port).send(LETTER)
        (letter,) = box.letters
        self.assertEqual(letter.sender, "gateway@example.com")
        self.assertEqual(letter.to, "someone@example.com")
        self.assertEqual(letter.message["Subject"], "Grüße")
        self.assertEqual(letter.text().strip(), "hello")
        self.assertEqual(letter.text("html").strip(), "<p>hello</p>")
        self.assertFalse(letter.secure)

    async def test_starttls_when_offered(self) -> None:
        """STARTTLS is used when the server has it, asked for or not."""
        box = self.box(starttls=True)
        await self.mailer(box.port).send(LETTER)
        self.assertTrue(box.letters[0].secure)

    async def test_starttls_required(self) -> None:
        """With the option a server without STARTTLS gets nothing."""
        box = self.box()
        why = await self.refused(self.mailer(box.port, SMTPStartTLSEnabled="true"))
        self.assertIn("STARTTLS", why)
        self.assertEqual(box.letters, [])

    async def test_implicit_tls(self) -> None:
        """TLS from the start, and a login in it."""
        box = self.box(implicit=True, needs_login=True)
        mailer = self.mailer(
            box.port, SMTPSSLEnabled="true", SMTPAccount=ACCOUNT, SMTPToken=PASSWORD
        )
        await mailer.send(LETTER)
        self.assertTrue(box.letters[0].secure)
        self.assertTrue(box.letters[0].logged_in)

    async def test_login(self) -> None:
        """Account and password are used when there are some."""
        box = self.box(starttls=True, needs_login=True)
        mailer = self.mailer(box.port, SMTPAccount=ACCOUNT, SMTPToken=PASSWORD)
        await mailer.send(LETTER)
        self.assertTrue(box.letters[0].logged_in)
        self.assertEqual(box.logins, ["PLAIN"])

    async def test_forced_login(self) -> None:
        """AUTH LOGIN is used when the option asks for it."""
        box = self.box(starttls=True, needs_login=True)
        mailer = self.mailer(
            box.port,
            SMTPAccount=ACCOUNT,
            SMTPToken=PASSWORD,
            SMTPForceAuthLogin="true",
        )
        await mailer.send(LETTER)
        self.assertEqual(box.logins, ["LOGIN"])
        self.assertTrue(box.letters[0].logged_in)

    async def test_wrong_password(self) -> None:
        """The message names the reason, not the password."""
        box = self.box(starttls=True, needs_login=True)
        mailer = self.mailer(box.port, SMTPAccount=ACCOUNT, SMTPToken="a-wrong-one")
        why = await self.refused(mailer)
        self.assertIn("login", why)
        self.assertNotIn("a-wrong-one", why)
        self.assertEqual(box.letters, [])

    async def test_login_missing(self) -> None:
        """A server that wants a login says so."""
        box = self.box(needs_login=True)
        self.assertIn("530", await self.refused(self.mailer(box.port)))

    async def test_password_not_in_the_clear(self) -> None:
        """Without TLS the password goes to this machine at most."""
        box = self.box(needs_login=True)
        self.patch(smtp, "_is_here", lambda host: False)
        mailer = self.mailer(box.port, SMTPAccount=ACCOUNT, SMTPToken=PASSWORD)
        self.assertIn("TLS", await self.refused(mailer))
        self.assertEqual(box.logins, [])

    async def test_unknown_authority(self) -> None:
        """A certificate that nobody vouches for is refused."""
        box = self.box(starttls=True)
        mailer = self.mailer(box.port)
        mailer._trust = None
        self.assertIn("certificate", await self.refused(mailer))
        self.assertEqual(box.letters, [])

    async def test_other_name(self) -> None:
        """A certificate for another name is refused."""
        for offer in ({"implicit": True}, {"starttls": True}):
            box = self.box(**offer)
            mailer = self.mailer(
                box.port,
                SMTPServer="127.0.0.1",
                SMTPSSLEnabled=str(box.implicit).lower(),
            )
            self.assertIn("certificate", await self.refused(mailer))
            self.assertEqual(box.letters, [])

    async def test_any_certificate(self) -> None:
        """With the option the certificate is not looked at."""
        box = self.box(starttls=True)
        mailer = self.mailer(box.port, SMTPInsecureSkipVerify="true")
        mailer._trust = None
        await mailer.send(LETTER)
        self.assertTrue(box.letters[0].secure)

    async def test_refused_recipient(self) -> None:
        """The server's reason is told."""
        box = self.box(refused={"someone@example.com"})
        why = await self.refused(self.mailer(box.port))
        self.assertIn("550", why)

    async def test_nobody_listens(self) -> None:
        """A server that is not there is named as the reason."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.assertIn("reached", await self.refused(self.mailer(port)))

    async def test_silent_server(self) -> None:
        """A server that says nothing is given up after the deadline."""
        box = self.box(silent=True)
        self.patch(mail, "DEADLINE_SECONDS", 0.2)
        await self.refused(self.mailer(box.port))

    async def test_cancelled(self) -> None:
        """Who stops waiting ends the connection as well."""
        box = self.box(silent=True)
        sending = Deferred.fromCoroutine(self.mailer(box.port).send(LETTER))
        reactor.callLater(0.2, sending.cancel)
        try:
            await sending
        except CancelledError:
            return
        raise AssertionError("not cancelled")

    async def test_several_at_once(self) -> None:
        """More letters than threads all arrive."""
        box = self.box()
        mailer = self.mailer(box.port)
        await gatherResults(
            [Deferred.fromCoroutine(mailer.send(LETTER)) for _ in range(7)]
        )
        self.assertEqual(len(box.letters), 7)

    async def test_too_many(self) -> None:
        """The queue is limited."""
        box = self.box(silent=True)
        self.patch(mail, "MOST_WAITING", 1)
        self.patch(mail, "DEADLINE_SECONDS", 0.3)
        mailer = self.mailer(box.port)
        first = Deferred.fromCoroutine(self.refused(mailer))
        self.assertIn("too many", await self.refused(mailer))
        await first

    async def test_stopped(self) -> None:
        """After the end nothing is sent."""
        box = self.box()
        mailer = self.mailer(box.port)
        mailer.stop()
        self.assertIn("stopping", await self.refused(mailer))
