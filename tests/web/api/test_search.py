"""Tests of the search."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.web.api.shapes import misfit
from tests.web.api.watched import Watched
from tests.web.gateway import Client

HIT = {"kind": str, "id": (int, str), "label": str, "detail": str}
REQUEST = "20261125105907123456789abcdef"


class SearchTests(SynchronousTestCase):
    """What each role finds."""

    def setUp(self) -> None:
        """Something of every kind that a word finds."""
        self.gateway = Watched()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.ann = self.gateway.add_user("ann")
        self.gateway.add_user("bob")
        self.root = self.gateway.bearer("root")
        self.adm = self.gateway.bearer("adm")
        self.own = self.gateway.bearer("ann")
        self.other = self.gateway.bearer("bob")
        self.gateway.add_user("chat-robot")
        self.gateway.add_channel(name="chat one", models="chat-a", group="inner")
        self.gateway.add_channel(name="two", models="chat-b")
        self.gateway.add_token(self.ann, name="chat")
        self.gateway.add_log(user_id=self.ann, request_id=REQUEST)

    def kinds(self, client: Client, text: str) -> list[str]:
        """The kinds of what is found."""
        data = client.get(f"/api/search?q={text}").data
        self.assertEqual(misfit(data, [HIT]), "")
        return sorted({hit["kind"] for hit in data})

    def labels(self, client: Client, text: str, kind: str) -> list[str]:
        """What is found of a kind."""
        data = client.get(f"/api/search?q={text}").data
        return [hit["label"] for hit in data if hit["kind"] == kind]

    def test_roles(self) -> None:
        """Each role finds what it may see."""
        self.assertEqual(self.kinds(self.own, "chat"), ["model", "token"])
        self.assertEqual(self.kinds(self.adm, "chat"), ["channel", "model", "user"])
        self.assertIn("option", self.kinds(self.root, "chat"))
        self.assertEqual(self.kinds(self.other, "chat"), ["model"])

    def test_models(self) -> None:
        """Users find the models that somebody offers to them."""
        self.assertEqual(self.labels(self.own, "CHAT", "model"), ["chat-b"])
        self.assertEqual(self.labels(self.adm, "chat", "model"), ["chat-a", "chat-b"])

    def test_request(self) -> None:
        """The whole id of a call finds it, for its owner and administrators."""
        for client in (self.own, self.adm):
            self.assertEqual(self.labels(client, REQUEST, "request"), [REQUEST])
        self.assertEqual(self.labels(self.other, REQUEST, "request"), [])
        self.assertEqual(self.labels(self.own, REQUEST[:-1], "request"), [])

    def test_pages(self) -> None:
        """Pages of the console by name, as far as the role goes."""
        self.assertEqual(self.labels(self.own, "wallet", "page"), ["Wallet"])
        self.assertEqual(self.labels(self.own, "channels", "page"), [])
        self.assertEqual(self.labels(self.adm, "channels", "page"), ["Channels"])

    def test_bounds(self) -> None:
        """A few of each kind, twenty in all; a question has at least two letters."""
        for number in range(8):
            self.gateway.add_user(f"chatter{number}")
            self.gateway.add_channel(name=f"chat {number}")
        data = self.root.get("/api/search?q=chat").data
        self.assertLessEqual(len(data), 20)
        self.assertEqual(sum(hit["kind"] == "user" for hit in data), 5)
        for text in ("", "x", "y" * 129):
            answer = self.own.get(f"/api/search?q={text}")
            self.assertEqual(answer.code, "invalid_field")

    def test_guest(self) -> None:
        """Guests find nothing."""
        self.assertEqual(self.gateway.ask("GET", "/api/search?q=chat").status, 401)
