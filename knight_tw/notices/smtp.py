"""One letter to a mail server: the blocking part, for a thread (RFC 5321, 3207, 4954).

The standard library speaks the protocol. What is decided here: TLS from the start,
required by STARTTLS or used when offered; the certificate is checked in every case
unless the administrator says otherwise; a password is never sent in the clear to
another machine.
"""

from __future__ import annotations

import enum
import smtplib
import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

from attrs import define, field, frozen

from knight_tw.addresses import is_address
from knight_tw.errors import KnightError

T = TypeVar("T")

STEP_SECONDS = 10.0
"""How long the server may take for one step."""

_LOGIN_HOSTS = ("smtp.sendcloud.net", "smtp.azurecomm.net")
_LONGEST_REPLY = 200
_NAME = "localhost"
"""How we introduce ourselves; asking for the machine's own name may block for long."""


class MailFailed(KnightError):
    """The letter was not taken; `message` says why, for administrators."""

    status, code = 502, "upstream_failed"


class Encryption(enum.Enum):
    """How the connection becomes private."""

    IMPLICIT = "TLS from the start"
    STARTTLS = "STARTTLS required"
    OFFERED = "STARTTLS if offered"


@frozen
class MailServer:
    """Where letters are handed in, and as whom.

    Attributes:
        account, password: Empty for a server that asks nobody.
        verify: The certificate must be good and name the host.
        force_login: Use AUTH LOGIN, also when better ways are offered.
    """

    host: str
    port: int
    account: str = ""
    password: str = field(default="", repr=False)
    encryption: Encryption = Encryption.OFFERED
    verify: bool = True
    force_login: bool = False

    @property
    def by_login(self) -> bool:
        """Whether AUTH LOGIN is used: asked for, or known to be needed."""
        outlook = "outlook" in self.host or self.account.endswith("onmicrosoft.com")
        return self.force_login or outlook or self.host in _LOGIN_HOSTS


@define(eq=False)
class Delivery:
    """One letter on its way; `send` runs in a thread, `abort` may come from another.

    Args:
        trust: Root certificates in PEM instead of the system's.
    """

    _server: MailServer
    _sender: str
    _to: str
    _message: bytes
    _trust: str | None = None
    _smtp: smtplib.SMTP | None = None
    _aborted: bool = False

    def send(self) -> None:
        """Returns when the server took the letter.

        Raises:
            MailFailed.
        """
        smtp = _saying(self._connected)
        try:
            _saying(lambda: self._hand_in(smtp))
        finally:
            smtp.close()

    def abort(self) -> None:
        """Ends the connection; `send` fails soon."""
        self._aborted = True
        sock = None if self._smtp is None else self._smtp.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _connected(self) -> smtplib.SMTP:
        server = self._server
        self._check_time()
        if server.encryption is Encryption.IMPLICIT:
            self._smtp = smtplib.SMTP_SSL(
                local_hostname=_NAME, timeout=STEP_SECONDS, context=self._context()
            )
        else:
            self._smtp = smtplib.SMTP(local_hostname=_NAME, timeout=STEP_SECONDS)
        # The name that certificates are checked for. `SMTP(host)` sets it too, but
        # talks to the server before there is an object that `abort` could close.
        vars(self._smtp)["_host"] = server.host
        code, _ = self._smtp.connect(server.host, server.port)
        if code != 220:
            raise MailFailed(f"the mail server does not want to talk ({code})")
        self._check_time()
        return self._smtp

    def _check_time(self) -> None:
        if self._aborted:
            raise MailFailed("the mail server took too long")

    def _hand_in(self, smtp: smtplib.SMTP) -> None:
        smtp.ehlo_or_helo_if_needed()
        self._secure(smtp)
        self._log_in(smtp)
        smtp.sendmail(self._sender, [self._to], self._message)
        try:
            smtp.quit()
        except (smtplib.SMTPException, OSError):
            return  # the letter is taken, how the server says goodbye is its affair

    def _secure(self, smtp: smtplib.SMTP) -> None:
        if self._server.encryption is Encryption.IMPLICIT:
            return
        if smtp.has_extn("starttls"):
            smtp.starttls(context=self._context())
            smtp.ehlo()
        elif self._server.encryption is Encryption.STARTTLS:
            raise MailFailed("the mail server does not offer STARTTLS")

    def _log_in(self, smtp: smtplib.SMTP) -> None:
        server = self._server
        if not server.account or not server.password:
            return
        if not isinstance(smtp.sock, ssl.SSLSocket) and not _is_here(server.host):
            raise MailFailed(
                "the mail server offers no TLS, and the password is not sent without"
            )
        if not server.by_login:
            smtp.login(server.account, server.password)
            return
        smtp.user, smtp.password = server.account, server.password
        if not smtp.has_extn("auth"):
            raise MailFailed("the mail server does not offer a login")
        smtp.auth("LOGIN", smtp.auth_login, initial_response_ok=False)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cadata=self._trust)
        if not self._server.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context


def _is_here(host: str) -> bool:
    return host == "localhost" or (
        is_address(host) and (host == "::1" or host.startswith("127."))
    )


def _saying(work: Callable[[], T]) -> T:
    """The result of `work`; a failure in words that hold no secret.

    What a server answers to a login is left out: it may repeat what it was sent.
    """
    try:
        return work()
    except MailFailed:
        raise
    except smtplib.SMTPAuthenticationError as error:
        raise MailFailed(
            f"the mail server refused the login ({error.smtp_code})"
        ) from None
    except smtplib.SMTPNotSupportedError as error:
        raise MailFailed(f"the mail server lacks something: {error}") from None
    except smtplib.SMTPRecipientsRefused as error:
        code, reply = next(iter(error.recipients.values()))
        raise MailFailed(_replied("refused the recipient", code, reply)) from None
    except smtplib.SMTPSenderRefused as error:
        raise MailFailed(
            _replied("refused the sender", error.smtp_code, error.smtp_error)
        ) from None
    except smtplib.SMTPResponseException as error:
        raise MailFailed(
            _replied("refused the letter", error.smtp_code, error.smtp_error)
        ) from None
    except smtplib.SMTPException:
        raise MailFailed("the mail server broke off, or is none") from None
    except ssl.SSLCertVerificationError as error:
        raise MailFailed(
            f"the mail server's certificate is not good: {error.verify_message}"
        ) from None
    except ssl.SSLError as error:
        raise MailFailed(f"no TLS with the mail server: {error.reason}") from None
    except TimeoutError:
        raise MailFailed("the mail server took too long") from None
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise MailFailed(f"the mail server cannot be reached: {why}") from None


def _replied(what: str, code: int, reply: bytes | str) -> str:
    text = reply.decode("utf-8", "replace") if isinstance(reply, bytes) else reply
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return f"the mail server {what} ({code} {line[:_LONGEST_REPLY]})"
