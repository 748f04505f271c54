"""Sending letters by the mail server that the options name.

Mail servers answer in their own time, so letters leave in two threads of their own;
waiting ones are limited, and each has a deadline.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import CancelledError
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

from knight_tw.errors import KnightError
from knight_tw.notices.letters import BadAddress, Letter, Sender, rendered
from knight_tw.notices.smtp import Delivery, Encryption, MailFailed, MailServer
from knight_tw.options import Options

THREADS = 2
MOST_WAITING = 200
"""Letters on their way and in the queue; more are refused."""

DEADLINE_SECONDS = 30.0
"""After that a letter's connection is closed, whatever the server is doing."""

_IMPLICIT_TLS_PORT = 465


class NoMailServer(KnightError):
    """The options name no mail server, or no address to send from."""

    status, code = 409, "not_configured"


def server_of(options: Options) -> MailServer:
    """The mail server of the options `SMTP*`.

    Raises:
        NoMailServer.
    """
    host = options.text("SMTPServer").strip().lower()
    if not host:
        raise NoMailServer("no mail server is configured")
    port = options.integer("SMTPPort")
    encryption = Encryption.OFFERED
    if port == _IMPLICIT_TLS_PORT or options.flag("SMTPSSLEnabled"):
        encryption = Encryption.IMPLICIT
    elif options.flag("SMTPStartTLSEnabled"):
        encryption = Encryption.STARTTLS
    return MailServer(
        host=host,
        port=port,
        account=options.text("SMTPAccount").strip(),
        password=options.text("SMTPToken"),
        encryption=encryption,
        verify=not options.flag("SMTPInsecureSkipVerify"),
        force_login=options.flag("SMTPForceAuthLogin"),
    )


def sender_of(options: Options) -> Sender:
    """Who letters come from: `SMTPFrom`, else the account; named like the site.

    Raises:
        NoMailServer: neither is an address.
    """
    text = options.text("SMTPFrom").strip() or options.text("SMTPAccount").strip()
    try:
        return Sender.parse(text, options.text("SystemName"))
    except BadAddress:
        raise NoMailServer("no address to send from is configured") from None


@define(eq=False)
class Mailer:
    """Sends letters; `stop` when no more are to come.

    Args:
        trust: Root certificates in PEM instead of the system's.
    """

    _options: Callable[[], Options]
    _reactor: Any
    _random: random.Random
    _trust: str | None = None
    _pool: ThreadPool = field(init=False)
    _waiting: set[Delivery] = field(factory=set)
    _stopped: bool = False
    _log: Logger = field(factory=Logger)

    def __attrs_post_init__(self) -> None:
        self._pool = ThreadPool(0, THREADS, "mail")

    async def send(self, letter: Letter) -> None:
        """Returns when the server took the letter.

        Raises:
            NoMailServer, MailFailed: the message is for administrators; the log has it.
        """
        options = self._options()
        server, sender = server_of(options), sender_of(options)
        now = self._reactor.seconds()
        number = self._random.randbytes(16).hex()
        message = rendered(letter, sender, number, now)
        delivery = Delivery(server, sender.address, letter.to, message, self._trust)
        try:
            await self._delivered(delivery)
        except MailFailed as error:
            self._log.warn(
                "a letter was not sent: {why}", why=error.message, host=server.host
            )
            raise

    async def _delivered(self, delivery: Delivery) -> None:
        if self._stopped:
            raise MailFailed("the gateway is stopping")
        if len(self._waiting) >= MOST_WAITING:
            raise MailFailed("too many letters are waiting for the mail server")
        if not self._pool.started:
            self._pool.start()
        self._waiting.add(delivery)
        limit = self._reactor.callLater(DEADLINE_SECONDS, delivery.abort)
        sending = deferToThreadPool(self._reactor, self._pool, delivery.send)
        try:
            await sending
        except CancelledError:
            delivery.abort()
            raise
        finally:
            self._waiting.discard(delivery)
            if limit.active():
                limit.cancel()

    def stop(self) -> None:
        """Breaks off what is still on its way."""
        self._stopped = True
        for delivery in list(self._waiting):
            delivery.abort()
        if self._pool.started:
            self._pool.stop()
