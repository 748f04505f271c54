"""The form of websocket handshakes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import InvalidRequest
from knight_tw.records import Head
from knight_tw.relay.realtime import model_of, offered, with_rest
from knight_tw.web.realtime import handshake_key

KEY = "dGhlIHNhbXBsZSBub25jZQ=="


def head(**headers: str) -> Head:
    """A good handshake, but for what is given."""
    told = {
        "connection": "keep-alive, Upgrade",
        "sec-websocket-version": "13",
        "sec-websocket-key": KEY,
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }
    return Head("GET", "/v1/realtime", "", tuple(told.items()), "", "")


class Handshakes(SynchronousTestCase):
    """`handshake_key`."""

    def test_good(self) -> None:
        """The key of a handshake with everything that the protocol asks for."""
        self.assertEqual(handshake_key(head()), KEY)

    def test_bad(self) -> None:
        """What is missing or wrong is refused."""
        for headers in (
            {"connection": "close"},
            {"sec_websocket_version": "8"},
            {"sec_websocket_key": ""},
            {"sec_websocket_key": "short=="},
            {"sec_websocket_key": KEY + "A"},
            {"sec_websocket_key": "!" * 22 + "=="},
        ):
            with self.assertRaises(InvalidRequest):
                handshake_key(head(**headers))


class Queries(SynchronousTestCase):
    """What a handshake asks for."""

    def test_model(self) -> None:
        """`model`, else Azure's `deployment`; the first of several."""
        for query, model in (
            ("model=a", "a"),
            ("deployment=d&api-version=1", "d"),
            ("deployment=d&model=m", "m"),
            ("model=a&model=b", "a"),
            ("model=&deployment=d", "d"),
            ("model=a%20b%2Fc", "a b/c"),
        ):
            self.assertEqual(model_of(query), model, query)
        for query in ("", "model=", "call_id=x", "key=s"):
            with self.assertRaises(InvalidRequest):
                model_of(query)

    def test_rest(self) -> None:
        """Foreign parameters keep their spelling, secrets and our own are left out."""
        for query, url in (
            ("", "ws://h/p?model=m"),
            ("model=x&Key=s&%6Bey=s&api_key=s", "ws://h/p?model=m"),
            ("intent=a%2Fb&&flag", "ws://h/p?model=m&intent=a%2Fb&flag"),
        ):
            self.assertEqual(with_rest("ws://h/p?model=m", query), url)
        self.assertEqual(with_rest("ws://h/p", "a=1"), "ws://h/p?a=1")

    def test_offers(self) -> None:
        """Items of a list with any blanks."""
        self.assertEqual(offered(" a,b ,,c"), ["a", "b", "c"])
        self.assertEqual(offered(""), [])
