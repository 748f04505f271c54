"""A mail server in the test's own process, on a real port of this machine."""

from __future__ import annotations

from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from attrs import define, field
from cryptography.hazmat.primitives.serialization import Encoding
from twisted.cred.checkers import InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import Portal
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory, Protocol
from twisted.mail import smtp
from twisted.mail.imap4 import LOGINCredentials, PLAINCredentials
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from tests.protocols.support import authority

ACCOUNT, PASSWORD = "gateway@example.com", "mail-secret"


def trust() -> str:
    """The authority that signed the server's certificate, in PEM."""
    certificate = authority()[0].original.to_cryptography()
    return certificate.public_bytes(Encoding.PEM).decode()


@define(eq=False)
class Received:
    """One letter as it arrived."""

    sender: str
    to: str
    secure: bool
    logged_in: bool
    raw: bytes = b""

    @property
    def message(self) -> EmailMessage:
        """The letter, parsed."""
        return message_from_bytes(self.raw, policy=policy.default)

    def text(self, kind: str = "plain") -> str:
        """The body of that kind."""
        body = self.message.get_body((kind,))
        return "" if body is None else body.get_content()


@implementer(smtp.IMessage)
class _Message:
    def __init__(self, server: MailBox, letter: Received) -> None:
        self._server, self._letter, self._lines = server, letter, []

    def lineReceived(self, line: bytes) -> None:
        self._lines.append(line)

    def eomReceived(self) -> Deferred[Any]:
        self._letter.raw = b"\r\n".join([*self._lines, b""])
        self._server.letters.append(self._letter)
        for waiter in self._server.waiting:
            waiter.callback(None)
        self._server.waiting = []
        return succeed(None)

    def connectionLost(self) -> None:
        """The letter was not finished."""


@implementer(smtp.IMessageDelivery)
@define(eq=False)
class _Desk:
    """Takes letters of one connection."""

    server: MailBox
    protocol: Any = None
    sender: str = ""
    logged_in: bool = False

    def receivedHeader(self, helo: Any, origin: Any, recipients: Any) -> bytes:
        return b"Received: by the test"

    def validateFrom(self, helo: Any, origin: Any) -> Any:
        if self.server.needs_login and not self.logged_in:
            raise smtp.SMTPBadSender(origin, 530, "log in first")
        self.sender = str(origin)
        return origin

    def validateTo(self, user: Any) -> Any:
        to = str(user.dest)
        if to in self.server.refused:
            raise smtp.SMTPBadRcpt(user, 550, "no such person here")
        secure = self.protocol.startedTLS or self.server.implicit
        letter = Received(self.sender, to, secure, self.logged_in)
        return lambda: _Message(self.server, letter)


@define(eq=False)
class MailBox(Factory):
    """The server: what it offers, and what it received."""

    implicit: bool = False
    starttls: bool = False
    needs_login: bool = False
    schemes: tuple[bytes, ...] = (b"PLAIN", b"LOGIN")
    refused: set[str] = field(factory=set)
    letters: list[Received] = field(factory=list)
    logins: list[str] = field(factory=list)
    waiting: list[Deferred[None]] = field(factory=list)
    silent: bool = False
    port: int = 0
    open: dict[Any, Deferred[None]] = field(factory=dict)
    """Connections, with what fires when they are closed."""
    noisy = False

    def listen(self, case: TestCase) -> MailBox:
        """Listens until the end of the test."""
        options = authority()[1].options()
        if self.implicit:
            port = reactor.listenSSL(0, self, options, interface="127.0.0.1")
        else:
            port = reactor.listenTCP(0, self, interface="127.0.0.1")
        case.addCleanup(self._close)
        case.addCleanup(port.stopListening)
        self.port = port.getHost().port
        return self

    async def _close(self) -> None:
        for protocol, closed in list(self.open.items()):
            protocol.transport.abortConnection()
            await closed

    def buildProtocol(self, addr: Any) -> Any:
        """A connection's protocol."""
        if self.silent:
            return _Silent(self)
        return _Talk(self)

    def arrived(self) -> Deferred[None]:
        """Fires with the next letter."""
        waiter: Deferred[None] = Deferred()
        self.waiting.append(waiter)
        return waiter


class _Silent(Protocol):
    """Accepts connections and says nothing."""

    def __init__(self, server: MailBox) -> None:
        self._server = server

    def connectionMade(self) -> None:
        """No greeting."""
        self._server.open[self] = Deferred()

    def connectionLost(self, reason: Any = None) -> None:
        """The client had enough."""
        self._server.open.pop(self).callback(None)


class _Talk(smtp.ESMTP):
    def __init__(self, server: MailBox) -> None:
        schemes = {b"PLAIN": PLAINCredentials, b"LOGIN": LOGINCredentials}
        offered = {name: schemes[name] for name in server.schemes}
        secure = authority()[1].options() if server.starttls else None
        super().__init__(offered, secure)
        self._server = server
        self.delivery = _Desk(server, self)
        checker = InMemoryUsernamePasswordDatabaseDontUse()
        checker.addUser(ACCOUNT.encode(), PASSWORD.encode())
        self.portal = Portal(self, [checker])

    def connectionMade(self) -> None:
        """Greet the client."""
        self._server.open[self] = Deferred()
        super().connectionMade()

    def connectionLost(self, reason: Any) -> None:
        """The client is gone."""
        super().connectionLost(reason)
        self._server.open.pop(self).callback(None)

    def ext_AUTH(self, rest: bytes) -> None:
        self._server.logins.append(rest.split()[0].decode())
        super().ext_AUTH(rest)

    def requestAvatar(self, who: Any, mind: Any, *interfaces: Any) -> Any:
        """Whoever logged in uses this connection's desk."""
        self.delivery.logged_in = True
        return smtp.IMessageDelivery, self.delivery, lambda: None
