"""AWS Bedrock: ids of models, operations, signatures."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import ChannelFault, UnsupportedEndpoint
from knight_tw.providers.aws import AWS, CONVERSE, read_key, speaks_for
from knight_tw.providers.aws_models import model_id
from knight_tw.records import Dialect, Mode
from tests.providers.attempts import channel, prepared, target

PAIR = "AKID|SECRET|us-east-1"
BY_KEY = {"settings": {"aws_key_type": "api_key"}, "key": "apikey|eu-west-1"}
CLAUDE = "claude-sonnet-4-20250514"
NOVA = "nova-pro-v1:0"


def aim(model: str = CLAUDE, mode: Mode = Mode.CHAT, **more: Any) -> Any:
    """An attempt on a Bedrock channel."""
    (dialect,) = speaks_for(channel(33), model, "", {})
    usual: dict[str, Any] = {"key": PAIR, "type_id": 33, "dialect": dialect}
    return target(mode, model, **{**usual, **more})


class Names(SynchronousTestCase):
    """`model_id`."""

    def test_ids(self) -> None:
        """Each name has its id, in front of it the geography where there is one."""
        for name, region, expected in (
            (CLAUDE, "us-east-1", f"us.anthropic.{CLAUDE}-v1:0"),
            (CLAUDE, "eu-west-1", f"eu.anthropic.{CLAUDE}-v1:0"),
            (CLAUDE, "ap-south-1", f"apac.anthropic.{CLAUDE}-v1:0"),
            (CLAUDE, "sa-east-1", f"anthropic.{CLAUDE}-v1:0"),
            (
                "claude-3-opus-20240229",
                "eu-west-1",
                "anthropic.claude-3-opus-20240229-v1:0",
            ),
            (
                "claude-3-5-sonnet-20241022",
                "ap-south-1",
                "apac.anthropic.claude-3-5-sonnet-20241022-v2:0",
            ),
            ("claude-opus-4-6", "us-west-2", "us.anthropic.claude-opus-4-6-v1"),
            ("claude-opus-4-7", "eu-west-1", "eu.anthropic.claude-opus-4-7"),
            (NOVA, "ap-south-1", "apac.amazon.nova-pro-v1:0"),
            ("nova-premier-v1:0", "eu-west-1", "amazon.nova-premier-v1:0"),
            ("nova-reel-v1:1", "us-east-1", "us.amazon.nova-reel-v1:1"),
            ("arn:aws:x/y", "us-east-1", "arn:aws:x/y"),
        ):
            with self.subTest(name=name, region=region):
                self.assertEqual(model_id(name, region), expected)

    def test_default_list(self) -> None:
        """The list of the console holds all names."""
        self.assertIn(CLAUDE, AWS.models)
        self.assertIn("nova-micro-v1:0", AWS.models)
        self.assertIn("claude-opus-4-8", AWS.models)


class Addresses(SynchronousTestCase):
    """Where requests go."""

    def test_operations(self) -> None:
        """Claude is invoked, others are conversed with; streams have their own."""
        root = "https://bedrock-runtime.us-east-1.amazonaws.com/model/us."
        claude = f"{root}anthropic.{CLAUDE}-v1%3A0"
        nova = f"{root}amazon.nova-pro-v1%3A0"
        for model, stream, expected in (
            (CLAUDE, False, f"{claude}/invoke"),
            (CLAUDE, True, f"{claude}/invoke-with-response-stream"),
            (NOVA, False, f"{nova}/converse"),
            (NOVA, True, f"{nova}/converse-stream"),
        ):
            for mode in (Mode.CHAT, Mode.MESSAGES, Mode.RESPONSES, Mode.GEMINI):
                found = AWS.url(aim(model, mode, stream=stream))
                self.assertEqual(found, expected)

    def test_own_address_and_arns(self) -> None:
        """A channel's address takes the same path; slashes in ARNs are encoded."""
        attempt = aim("arn:aws:b:r:1:p/claude", base_url="https://h/")
        expected = "https://h/model/arn%3Aaws%3Ab%3Ar%3A1%3Ap%2Fclaude/invoke"
        self.assertEqual(AWS.url(attempt), expected)

    def test_api_keys(self) -> None:
        """They use the same URLs."""
        found = AWS.url(aim(**BY_KEY))
        expected = (
            "https://bedrock-runtime.eu-west-1.amazonaws.com/model/"
            f"eu.anthropic.{CLAUDE}-v1%3A0/invoke"
        )
        self.assertEqual(found, expected)

    def test_other_work(self) -> None:
        """It has no other kind of work."""
        attempt = aim(mode=Mode.COUNT_TOKENS)
        self.assertRaises(UnsupportedEndpoint, AWS.url, attempt)


class Keys(SynchronousTestCase):
    """What authorizes."""

    def test_parts(self) -> None:
        """A pair and its region, a session's token behind it; or one key."""
        found = read_key(channel(33), " A | S |r")
        self.assertEqual(
            (found.access_key, found.secret_key, found.region), ("A", "S", "r")
        )
        self.assertEqual(read_key(channel(33), "A|S|r|t").session_token, "t")

    def test_wrong_keys(self) -> None:
        """A key without its parts is the channel's fault, and is not shown."""
        for key in ("", "A", "A|S", "A||r", "A|S|r|t|x"):
            with self.assertRaises(ChannelFault) as caught:
                read_key(channel(33), key)
            self.assertNotIn("A|S|r", caught.exception.message)
        by_key = channel(33, settings=BY_KEY["settings"])
        for key in ("", "k", "k|", "k|r|x"):
            self.assertRaises(ChannelFault, read_key, by_key, key)

    def test_bearer(self) -> None:
        """An API key is sent without its region; nothing is signed."""
        attempt = aim(**BY_KEY)
        expected = [("Authorization", "Bearer apikey")]
        self.assertEqual(AWS.authorize(attempt), expected)
        assert AWS.sign is not None
        headers = AWS.sign(attempt, "POST", "https://h/", expected, b"", 0)
        self.assertEqual(headers, [*expected, ("Accept", "application/json")])

    def test_signature(self) -> None:
        """A pair signs what is sent, for Bedrock and the key's region."""
        attempt = aim(stream=True)
        self.assertEqual(AWS.authorize(attempt), [])
        assert AWS.sign is not None
        sent = [("Content-Type", "application/json"), ("Accept", "text/event-stream")]
        headers = AWS.sign(attempt, "POST", AWS.url(attempt), sent, b"{}", 1440938160)
        found = dict(headers)
        self.assertEqual(len(found), len(headers))
        self.assertEqual(found["Accept"], "application/vnd.amazon.eventstream")
        self.assertIn(
            "Credential=AKID/20150830/us-east-1/bedrock/aws4_request",
            found["Authorization"],
        )
        self.assertIn("SignedHeaders=content-type;host;x-", found["Authorization"])


class Bodies(SynchronousTestCase):
    """What goes out."""

    def test_claude(self) -> None:
        """Version and beta marks in the body; model and stream in the URL."""
        attempt = aim(headers={"anthropic-beta": "b"})
        found = prepared(AWS, attempt, model="m", stream=True, max_tokens=1)
        expected = {
            "max_tokens": 1,
            "anthropic_version": "bedrock-2023-05-31",
            "anthropic_beta": ["b"],
        }
        self.assertEqual(found, expected)

    def test_converse(self) -> None:
        """Nothing but the model and the stream goes."""
        found = prepared(AWS, aim(NOVA), model="m", stream=True, messages=[])
        self.assertEqual(found, {"messages": []})

    def test_conversion(self) -> None:
        """Models that are not Claude's have a conversion of their own."""
        assert AWS.conversion is not None
        self.assertIs(AWS.conversion(aim(NOVA)), CONVERSE)
        self.assertIsNone(AWS.conversion(aim()))
        self.assertIs(aim(NOVA).dialect, Dialect.CHAT)
