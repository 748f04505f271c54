"""Hiding addresses and keys in providers' messages."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.wire.masking import mask

HIDDEN = (
    ("see https://platform.openai.com/account/api-keys.", "see https://***.com/***."),
    ("(https://a.b.io?x=1)", "(https://***.io/***)"),
    ("at https://api.example.com", "at https://***.com"),
    ("http://localhost:3000/v1 failed", "http://***/*** failed"),
    ("http://user:pw@10.1.2.3/x", "http://***/***"),
    ("wss://h.example.cn:443/a, then", "wss://***.cn/***, then"),
    ("dial tcp 10.0.0.3:8080: refused", "dial tcp ***: refused"),
    ("host api.internal.corp.local is down", "host *** is down"),
    ("api.example.com:8443 said no", "*** said no"),
    ("write to someone@example.com", "write to someone@***"),
    ("peer [2001:db8::1]:443 and fe80:: left", "peer *** and *** left"),
    ("peer 1:2:3:4:5:6:7:8 and ::1 left", "peer *** and *** left"),
    ("Incorrect API key provided: sk-abcd***wxyz.", "Incorrect API key provided: ***."),
    ("AIzaSyD-1234567890 is not valid", "*** is not valid"),
    ("AKIAABCDEFGHIJKLMNOP is not valid", "*** is not valid"),
    ("Bearer eyJhbGciOiJIUzI1.eyJzdWIi.c2ln expired", "Bearer *** expired"),
    ("gsk_1234567890abcdef1234 is unknown", "*** is unknown"),
    ("api_key=0123456789abcdef0123456789abcdef", "api_key=***"),
    ("your key: 'YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo='", "your key: '***'"),
)

KEPT = (
    "messages.0.content.type: Field required",
    "tool_calls.0.id is missing",
    "model gpt-4.1-mini and gemini-2.5-flash not found",
    "at 12:30:45 the limit of 4096 tokens was reached",
    "task-management risk-free desk-top",
    "the keyboard is not supported",
    "the key must start with sk-",
    "Ungültige Anfrage: 模型不存在",
    "std::vector",
    "",
)


class Masking(SynchronousTestCase):
    """`mask`."""

    def test_hidden(self) -> None:
        """Addresses and keys are replaced, the sentence around them stays."""
        for text, expected in HIDDEN:
            with self.subTest(text=text):
                self.assertEqual(mask(text), expected)

    def test_kept(self) -> None:
        """What only looks a little like it is left alone."""
        for text in KEPT:
            with self.subTest(text=text):
                self.assertEqual(mask(text), text)

    def test_the_key_itself(self) -> None:
        """The channel's key is hidden whatever it looks like, part by part too."""
        text = "bad key: plainword, secret part-two-of-it, app id 42"
        masked = mask(text, ["plainword", "secret part|part-two-of-it|42"])
        self.assertEqual(masked, "bad key: ***, secret ***, app id 42")

    def test_a_longer_part_first(self) -> None:
        """A part that holds another part is hidden whole."""
        self.assertEqual(
            mask("abcdef-123456 abcdef", ["abcdef|abcdef-123456"]), "*** ***"
        )

    @settings(max_examples=60, deadline=None)
    @given(st.text(max_size=200), st.from_regex(r"\A[!-~]{6,40}\Z"))
    def test_never_shown(self, around: str, key: str) -> None:
        """No key survives, whatever stands around it."""
        self.assertNotIn(
            key, mask(f"{around} {key} {around}", [key]).replace("***", "")
        )
