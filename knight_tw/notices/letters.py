"""E-mail as bytes, and addresses that are safe to write into it (RFC 5321, 5322).

A line break in an address or a subject would let whoever wrote it add headers or
recipients. Addresses are therefore checked against the plain form that every mail
server takes, and headers are written by the standard library, which refuses breaks.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, parseaddr

from attrs import frozen

from knight_tw.errors import InvalidRequest

LONGEST_ADDRESS, LONGEST_SUBJECT = 254, 200

_LOCAL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[a-z0-9!#$%&'*+/=?^_`{|}~-]+)*\Z")
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_BREAKS = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]+")
_POLICY = policy.default.clone(linesep="\r\n")


class BadAddress(InvalidRequest):
    """Not an e-mail address that can be written to."""

    code = "invalid_field"


@frozen
class Letter:
    """A message to one person.

    Attributes:
        text: The plain form, for those who do not show HTML.
        html: The formatted form; empty for none.
    """

    to: str
    subject: str
    text: str
    html: str = ""


@frozen
class Sender:
    """Who letters come from: an address, and the name shown beside it."""

    address: str
    name: str = ""

    @classmethod
    def parse(cls, text: str, name: str) -> Sender:
        """From `address` or `Name <address>`; `name` is shown when it has none.

        Raises:
            BadAddress.
        """
        own, plain = parseaddr(text)
        return cls(address(plain), _one_line(own or name)[:LONGEST_SUBJECT])


def address(text: str) -> str:
    """An address in the form it is stored and compared in: trimmed, in lower case, its
    domain in ASCII.

    Raises:
        BadAddress.
    """
    text = text.strip()
    if len(text) > LONGEST_ADDRESS:
        # The codec's time grows with the square of the length: minutes for 60 KB.
        raise BadAddress("this is not an e-mail address", param="email")
    local, at, domain = text.lower().rpartition("@")
    try:
        domain = domain.encode("idna").decode("ascii") if domain else ""
    except UnicodeError:
        domain = ""
    whole = f"{local}@{domain}"
    labels = domain.split(".")
    if (
        not at
        or len(local) > 64
        or len(whole) > LONGEST_ADDRESS
        or not _LOCAL.match(local)
        or not all(_LABEL.match(label) for label in labels)
    ):
        raise BadAddress("this is not an e-mail address", param="email")
    return whole


def rendered(letter: Letter, sender: Sender, message_id: str, now: float) -> bytes:
    """The message as a mail server takes it; both addresses come from `address`.

    Args:
        message_id: What is unique about it, of letters and digits.
        now: Unix seconds.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = Address(sender.name, addr_spec=sender.address)
    message["To"] = Address(addr_spec=letter.to)
    message["Subject"] = _one_line(letter.subject)[:LONGEST_SUBJECT]
    message["Date"] = format_datetime(datetime.fromtimestamp(now, UTC))
    message["Message-ID"] = f"<{message_id}@{sender.address.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_encodable(letter.text), cte="base64")
    if letter.html:
        html = _encodable(letter.html)
        message.add_alternative(html, subtype="html", cte="base64")
    return message.as_bytes()


def _one_line(text: str) -> str:
    return _BREAKS.sub(" ", _encodable(text)).strip()


def _encodable(text: str) -> str:
    """The text without half characters, which JSON can bring and UTF-8 cannot."""
    return text.encode("utf-8", "replace").decode()
