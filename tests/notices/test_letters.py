"""Letters and addresses."""

from __future__ import annotations

import time
from email import message_from_bytes, policy
from email.message import EmailMessage

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.notices.letters import BadAddress, Letter, Sender, address, rendered

SENDER = Sender("gateway@example.com", "Knight")


def parsed(letter: Letter, sender: Sender = SENDER) -> EmailMessage:
    """The letter as its reader's program sees it."""
    raw = rendered(letter, sender, "abc", 1_700_000_000)
    return message_from_bytes(raw, policy=policy.default)


def lines(text: str) -> str:
    """The text with the line ends of this machine, none at its end."""
    return text.replace("\r\n", "\n").rstrip("\r\n")


class AddressTests(SynchronousTestCase):
    """`address`."""

    def test_usual_forms(self) -> None:
        """Addresses are trimmed and in lower case, domains in ASCII."""
        for text, expected in (
            ("a@example.com", "a@example.com"),
            (" First.Last+tag@Example.COM ", "first.last+tag@example.com"),
            ("root@localhost", "root@localhost"),
            ("a@bücher.example", "a@xn--bcher-kva.example"),
        ):
            self.assertEqual(address(text), expected)

    def test_refused(self) -> None:
        """What could end a header or a command, or is no address, is refused."""
        for text in (
            "",
            "a",
            "@example.com",
            "a@",
            "a@b@c.example",
            "a b@example.com",
            "a@exam ple.com",
            "a@example..com",
            ".a@example.com",
            "a..b@example.com",
            "a@-example.com",
            "a\r\nBcc: x@example.com",
            "a@example.com\nBcc: x",
            "a@example.com\0",
            "<a@example.com>",
            "a@example.com, b@example.com",
            '"a b"@example.com',
            "é@example.com",
            "a@" + "x" * 300 + ".com",
            "x" * 65 + "@example.com",
            "a@\ud800.com",
        ):
            with self.assertRaises(BadAddress, msg=repr(text)):
                address(text)

    def test_long_ones_take_no_time(self) -> None:
        """The size of a body is not what a domain in foreign letters may have."""
        letters = "".join(chr(0x4E00 + number % 20_000) for number in range(100_000))
        began = time.monotonic()
        with self.assertRaises(BadAddress):
            address(f"a@{letters}")
        self.assertLess(time.monotonic() - began, 1.0)

    @settings(max_examples=200, deadline=None)
    @given(st.text(max_size=40))
    def test_accepted_ones_are_plain(self, text: str) -> None:
        """Whatever is accepted holds no blank, bracket, comma or control character."""
        try:
            found = address(text)
        except BadAddress:
            return
        self.assertNotRegex(found, r"[\s<>,;:\"()\\\x00-\x20]")
        self.assertEqual(address(found), found)


class LetterTests(SynchronousTestCase):
    """`rendered`."""

    def test_headers(self) -> None:
        """A letter says from whom, to whom, when and about what."""
        message = parsed(Letter("a@example.com", "Hello", "text"))
        self.assertEqual(message["From"], "Knight <gateway@example.com>")
        self.assertEqual(message["To"], "a@example.com")
        self.assertEqual(message["Subject"], "Hello")
        self.assertEqual(message["Message-ID"], "<abc@example.com>")
        self.assertEqual(message["Date"], "Tue, 14 Nov 2023 22:13:20 +0000")

    def test_both_forms(self) -> None:
        """Plain text and HTML arrive as they were."""
        text, html = "Grüße\n.\n.. 你好", "<p>Grüße &amp; 你好</p>"
        message = parsed(Letter("a@example.com", "x", text, html))
        plain, formatted = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None and formatted is not None
        self.assertEqual(lines(plain.get_content()), text)
        self.assertEqual(lines(formatted.get_content()), html)

    def test_on_the_wire(self) -> None:
        """Only ASCII, lines end as mail wants it, and none is too long."""
        raw = rendered(Letter("a@example.com", "ü" * 300, "x" * 5000), SENDER, "a", 0)
        self.assertTrue(raw.isascii())
        self.assertEqual(raw.count(b"\n"), raw.count(b"\r\n"))
        self.assertLess(max(map(len, raw.split(b"\r\n"))), 900)

    def test_half_characters(self) -> None:
        """Half a character does not keep a letter from being sent."""
        message = parsed(Letter("a@example.com", "a\ud800b", "c\ud800d", "e\ud800f"))
        self.assertEqual(message["Subject"], "a?b")

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
    def test_no_header_can_be_added(self, subject: str, name: str, text: str) -> None:
        """Whatever subject and name hold, the headers are ours and the text is text."""
        letter = Letter("a@example.com", f"s {subject}\r\nBcc: x@y.z", text)
        sender = Sender.parse("gateway@example.com", f"{name}\r\nBcc: x@y.z")
        message = parsed(letter, sender)
        self.assertEqual(
            sorted(message.keys()),
            sorted(
                [
                    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted"),
                    *("MIME-Version", "Content-Type", "Content-Transfer-Encoding"),
                ]
            ),
        )
        self.assertEqual(message["To"].addresses[0].addr_spec, "a@example.com")
        self.assertEqual(len(message["From"].addresses), 1)


class SenderTests(SynchronousTestCase):
    """`Sender.parse`."""

    def test_forms(self) -> None:
        """An address, with a name of its own or the site's."""
        for text, expected in (
            ("a@example.com", Sender("a@example.com", "Site")),
            ("Me <a@example.com>", Sender("a@example.com", "Me")),
        ):
            self.assertEqual(Sender.parse(text, "Site"), expected)

    def test_none(self) -> None:
        """No address is an error."""
        for text in ("", "Me", "Me <>"):
            with self.assertRaises(BadAddress):
                Sender.parse(text, "Site")
