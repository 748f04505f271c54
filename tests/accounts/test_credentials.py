"""Where a relay call's credential stands (relay specification, section 3)."""

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.credentials import Credential, credential
from knight_tw.errors import InvalidKey
from knight_tw.records import Head

KEY = "A" * 48


def head(path: str, query: str = "", **headers: str) -> Head:
    """A head with headers given as keyword arguments (`_` for `-`)."""
    rows = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return Head("POST", path, query, rows, "127.0.0.1", "127.0.0.1")


class Places(SynchronousTestCase):
    """All nine places, in their order."""

    def test_every_place(self) -> None:
        """The same token is accepted wherever clients put it."""
        bearer = f"Bearer sk-{KEY}"
        ways = [
            head("/v1/chat/completions", authorization=bearer),
            head("/v1/chat/completions", authorization=f"sk-{KEY}"),
            head("/v1/embeddings", api_key=KEY),
            head("/v1/moderations", x_api_key=f"sk-{KEY}"),
            head("/v1/messages", x_api_key=f"sk-{KEY}"),
            head("/v1beta/models/m:generateContent", x_goog_api_key=f"sk-{KEY}"),
            head("/v1beta/models/m:generateContent", query=f"alt=sse&key=sk-{KEY}"),
            head("/mj/submit/imagine", mj_api_secret=f"sk-{KEY}"),
            head("/v1/models", x_goog_api_key=f"sk-{KEY}"),
        ]
        for way in ways:
            self.assertEqual(credential(way), Credential(KEY), way)

    def test_websocket_subprotocol(self) -> None:
        """A browser's websocket carries the key among its subprotocols."""
        offered = f"realtime, openai-insecure-api-key.sk-{KEY}, openai-beta.realtime-v1"
        way = head("/v1/realtime", sec_websocket_protocol=offered, authorization="x")
        self.assertEqual(credential(way, websocket=True), Credential(KEY))

    def test_plain_subprotocol_is_no_key(self) -> None:
        """Only the prefixed item counts; the header stays valid."""
        way = head("/v1/realtime", sec_websocket_protocol="realtime", authorization=KEY)
        self.assertEqual(credential(way, websocket=True), Credential(KEY))

    def test_claude_path_prefers_its_header(self) -> None:
        """`x-api-key` wins on Claude's paths, `Authorization` elsewhere."""
        other = "B" * 48
        way = {"x_api_key": KEY, "authorization": other}
        self.assertEqual(credential(head("/v1/messages", **way)).key, KEY)
        self.assertEqual(credential(head("/v1/completions", **way)).key, other)

    def test_midjourney_placeholder(self) -> None:
        """The placeholder of midjourney clients is passed over."""
        way = head(
            "/mj-fast/mj/task/1/fetch",
            authorization="midjourney-proxy",
            mj_api_secret=KEY,
        )
        self.assertEqual(credential(way).key, KEY)


def outcome(way: Head) -> Credential | str:
    """The credential, or the words of the refusal."""
    try:
        return credential(way)
    except InvalidKey as error:
        return error.message


class Forms(SynchronousTestCase):
    """What is accepted and refused."""

    @given(
        st.sampled_from(("Bearer sk-", "bearer sk-", "Bearer  ", "sk-", "Bearer", "")),
        st.text("aB9_- \n\té", max_size=9),
    )
    @settings(max_examples=100, deadline=None)
    def test_short_way(self, prefix: str, key: str) -> None:
        """The path with a short way of its own reads headers like any other."""
        usual = head("/v1/chat/completions", authorization=prefix + key)
        other = head("/v1/completions", authorization=prefix + key)
        self.assertEqual(outcome(usual), outcome(other))

    def test_pin(self) -> None:
        """What follows the key is the channel pin."""
        way = head("/v1/chat/completions", authorization=f"bearer  sk-{KEY}-12")
        self.assertEqual(credential(way), Credential(KEY, "12"))

    def test_missing(self) -> None:
        """No credential is said so."""
        for value in ("", "Bearer", "Bearer   "):
            way = head("/v1/chat/completions", authorization=value)
            error = self.assertRaises(InvalidKey, credential, way)
            self.assertEqual(error.message, "no API key was provided")

    def test_impossible_keys(self) -> None:
        """A key that cannot be ours never reaches the database."""
        for value in ("sk-" + "a" * 129, "sk-näh", "sk-a b", "sk-a/b"):
            way = head("/v1/chat/completions", authorization=f"Bearer {value}")
            error = self.assertRaises(InvalidKey, credential, way)
            self.assertEqual(error.message, "invalid API key")
