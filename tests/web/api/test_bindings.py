"""Binding to the own account, and unbinding, through the real site."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

import sqlalchemy as sa
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from knight_tw.storage import external_writes, oauth_queries, schema, user_writes
from knight_tw.storage.external_queries import Source
from tests.web.api.external import GITHUB_USER, OCTO, OAuthCase, ProviderAnswer
from tests.web.gateway import NOW, Client, now
from tests.web.gateway import Channel as Connection

BINDING = {
    "provider_id": int,
    "provider_name": str,
    "provider_slug": str,
    "provider_icon": str,
    "provider_user_id": str,
}


class Binding(OAuthCase):
    """The callback of somebody who is logged in."""

    def setUp(self) -> None:
        """Ann has an account here, and Octo one at GitHub."""
        super().setUp()
        self.ann = self.gateway.add_user("ann")
        self.gateway.providers.knows("github", "right", OCTO)

    def github_id(self, user_id: int) -> str:
        """What ann is at GitHub."""
        return str(self.gateway.row(user_id)["github_id"])

    def begin(self, client: Client) -> str:
        """The flow token of a binding."""
        token, _ = self.gateway.begin("github", client.headers, intent="bind")
        return token

    def test_newer(self) -> None:
        """Begun and ended by the same bearer session."""
        client = self.gateway.bearer("ann")
        state = self.begin(client)
        answer = self.gateway.back("github", "right", state, client.headers)
        self.assertEqual(answer.json, {"success": True, "message": "bind"})
        self.assertEqual(self.github_id(self.ann), "583231")
        self.assertNotIn("new_api_refresh", answer.cookies())
        self.assertEqual(self.gateway.changes, [("user", str(self.ann))])
        self.assertIn("GitHub account bound", self.gateway.contents())
        self.assertEqual(self.count(), 2)

    def test_newer_by_cookie(self) -> None:
        """The browser that began it may end it before it has its bearer token back."""
        client = self.gateway.bearer("ann")
        state, cookie = self.gateway.begin("github", client.headers, intent="bind")
        headers = {"Sec-Fetch-Site": "same-origin", "Cookie": cookie}
        answer = self.gateway.back("github", "right", state, headers)
        self.assertEqual(answer.json["message"], "bind")
        self.assertEqual(self.github_id(self.ann), "583231")

    def test_client_leaves(self) -> None:
        """What was bound is told, whoever waits for the answer no more."""
        client = self.gateway.bearer("ann")
        asked: Deferred[ProviderAnswer] = Deferred()
        self.gateway.providers.answers[GITHUB_USER] = asked
        query = urlencode({"code": "right", "state": self.begin(client)})
        peer = "203.0.113.9"
        channel = self.gateway.site.buildProtocol(IPv4Address("TCP", peer, 50000))
        channel.makeConnection(Connection(peer))
        lines = [f"GET /api/oauth/github?{query} HTTP/1.1", "Host: gateway.example"]
        lines += [f"{name}: {value}" for name, value in client.headers.items()]
        channel.dataReceived("\r\n".join([*lines, "", ""]).encode())
        channel.connectionLost(Failure(ConnectionLost()))
        if not asked.called:
            asked.callback(ProviderAnswer(200, json.dumps(OCTO).encode()))
        self.assertEqual(self.github_id(self.ann), "583231")
        self.assertIn("GitHub account bound", self.gateway.contents())
        self.assertEqual(self.gateway.changes, [("user", str(self.ann))])

    def test_by_nobody(self) -> None:
        """A flow that somebody else brings back binds nothing."""
        client = self.gateway.bearer("ann")
        answer = self.gateway.back("github", "right", self.begin(client))
        self.assertEqual((answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"))
        self.gateway.add_user("bob")
        bob = self.gateway.bearer("bob").headers
        answer = self.gateway.back("github", "right", self.begin(client), bob)
        self.assertEqual((answer.status, answer.code), (403, "code_expired"))
        self.assertEqual(self.github_id(self.ann), "")
        self.assertEqual(self.gateway.providers.sent, [])

    def test_ended_session(self) -> None:
        """Neither does one whose session ended meanwhile."""
        client = self.gateway.bearer("ann")
        state, cookie = self.gateway.begin("github", client.headers, intent="bind")
        client.post("/api/user/auth/logout")
        answer = self.gateway.back("github", "right", state, {"Cookie": cookie})
        self.assertEqual(answer.code, "AUTH_SESSION_REVOKED")

    def test_older(self) -> None:
        """A cookie session binds without saying so."""
        client = self.gateway.browser("ann")
        state, cookie = self.gateway.begin_older(headers=client.headers)
        both = {**client.headers, "Cookie": f"{client.headers['Cookie']}; {cookie}"}
        answer = self.gateway.back("github", "right", state, both)
        self.assertEqual(answer.json["message"], "bind")
        self.assertEqual(self.github_id(self.ann), "583231")

    def test_older_begun_by_another(self) -> None:
        """A state that somebody else began, put into the browser of who is logged in,
        binds nothing; neither does one that nobody began."""
        self.gateway.add_user("eve")
        eve = self.gateway.browser("eve")
        client = self.gateway.browser("ann")
        for headers in (eve.headers, None):
            state, cookie = self.gateway.begin_older(headers=headers)
            both = {**client.headers, "Cookie": f"{client.headers['Cookie']}; {cookie}"}
            answer = self.gateway.back("github", "right", state, both)
            self.assertEqual((answer.status, answer.code), (403, "code_expired"))
        self.assertEqual(self.github_id(self.ann), "")
        self.assertEqual(self.gateway.providers.sent, [])

    def test_older_without_the_header(self) -> None:
        """The state remembers the caller when the end comes without the user header."""
        client = self.gateway.browser("ann")
        state, cookie = self.gateway.begin_older(headers=client.headers)
        answer = self.gateway.back("github", "right", state, {"Cookie": cookie})
        self.assertEqual(answer.json["message"], "bind")
        self.assertEqual(self.github_id(self.ann), "583231")

    def test_taken(self) -> None:
        """An account elsewhere that opens another account is refused."""
        self.gateway.come("github", OCTO)
        client = self.gateway.bearer("ann")
        answer = self.gateway.back(
            "github", "right", self.begin(client), client.headers
        )
        self.assertEqual(answer.code, "already_exists")
        self.assertEqual(self.github_id(self.ann), "")

    def test_taken_by_name(self) -> None:
        """So is one whose user name an older row holds, when it is that person's."""
        self.gateway.add_user("old", github_id="octo", created_at=NOW - 9)
        client = self.gateway.bearer("ann")
        answer = self.gateway.back(
            "github", "right", self.begin(client), client.headers
        )
        self.assertEqual(answer.code, "already_exists")

    def test_registration_closed(self) -> None:
        """Binding makes no account, so it does not need registration."""
        self.gateway.set_option("RegisterEnabled", "false")
        client = self.gateway.bearer("ann")
        answer = self.gateway.back(
            "github", "right", self.begin(client), client.headers
        )
        self.assertEqual(answer.json["message"], "bind")


class Unbinding(OAuthCase):
    """The routes of bindings."""

    def setUp(self) -> None:
        """Ann is bound to a custom provider."""
        super().setUp()
        self.ann = self.gateway.add_user("ann")
        self.ann_client = self.gateway.bearer("ann")
        values = {"name": "Company", "slug": "company", "icon": "c"}
        row = now(self.gateway.db.run(oauth_queries.create, values, NOW))
        self.source = Source("company", provider_id=row["id"])
        self.bind(self.source, "77")

    def bind(self, source: Source, subject: str) -> None:
        """Bind ann."""
        now(self.gateway.db.run(external_writes.bind, source, subject, self.ann, NOW))

    def bindings(self) -> list[dict[str, Any]]:
        """Ann's rows."""
        return self.gateway.rows(sa.select(schema.user_oauth_bindings))

    @property
    def own(self) -> str:
        """The path of ann's binding, for herself."""
        return f"/api/user/oauth/bindings/{self.source.provider_id}"

    @property
    def others(self) -> str:
        """The same for administrators."""
        return f"/api/user/{self.ann}/oauth/bindings/{self.source.provider_id}"

    def test_listed(self) -> None:
        """Owner and administrators see the same."""
        (shown,) = self.ann_client.get("/api/user/oauth/bindings").data
        self.assertEqual({k: type(v) for k, v in shown.items()}, BINDING)
        root = self.gateway.bearer("root")
        path = f"/api/user/{self.ann}/oauth/bindings"
        self.assertEqual(root.get(path).data, [shown])
        self.assertEqual(root.get("/api/user/oauth/bindings").data, [])

    def test_own(self) -> None:
        """An account with a password may unbind, and again without effect."""
        for _ in range(2):
            answer = self.ann_client.delete(self.own)
            self.assertEqual(answer.json, {"success": True, "message": "unbound"})
        self.assertEqual(self.bindings(), [])
        unbound = [c for c in self.gateway.contents() if c == "account unbound"]
        self.assertEqual(len(unbound), 1)
        absent = self.ann_client.delete("/api/user/oauth/bindings/999999")
        self.assertTrue(absent.json["success"])

    def test_last_way_in(self) -> None:
        """Without a password the only binding stays; a second one sets it free."""
        now(self.gateway.db.run(user_writes.update, self.ann, {"password": ""}))
        answer = self.ann_client.delete(self.own)
        self.assertEqual((answer.status, answer.code), (200, "forbidden_target"))
        self.assertEqual(len(self.bindings()), 1)
        self.bind(Source("github", "github_id"), "1")
        self.assertTrue(self.ann_client.delete(self.own).json["success"])

    def test_by_administrator(self) -> None:
        """An administrator may, even the last; it is recorded."""
        now(self.gateway.db.run(user_writes.update, self.ann, {"password": ""}))
        self.gateway.add_user("boss", 10)
        boss = self.gateway.bearer("boss")
        for _ in range(2):
            answer = boss.delete(self.others)
            self.assertEqual(answer.json, {"success": True, "message": "success"})
        self.assertEqual(self.bindings(), [])
        op = self.gateway.notes[-1]["other"]["op"]
        self.assertEqual(op["action"], "user.unbind")
        self.assertEqual(op["params"]["target_user_id"], self.ann)

    def test_columns(self) -> None:
        """Each kind blanks its column, and the id is free again."""
        root = self.gateway.bearer("root")
        kinds = {
            "github": "github_id",
            "discord": "discord_id",
            "oidc": "oidc_id",
            "wechat": "wechat_id",
            "telegram": "telegram_id",
            "linuxdo": "linux_do_id",
        }
        other = self.gateway.add_user("other")
        for kind, column in kinds.items():
            self.bind(Source(kind, column), "5")
            answer = root.delete(f"/api/user/{self.ann}/bindings/{kind}")
            self.assertEqual(answer.json, {"success": True, "message": "success"})
            self.assertEqual(self.gateway.row(self.ann)[column], "", kind)
            again = self.gateway.db.run(
                external_writes.bind, Source(kind, column), "5", other, NOW
            )
            now(again)
        now(self.gateway.db.run(user_writes.update, self.ann, {"email": "a@b.example"}))
        self.assertTrue(root.delete(f"/api/user/{self.ann}/bindings/email").json)
        self.assertEqual(self.gateway.row(self.ann)["email"], "")

    def test_nonsense(self) -> None:
        """Unknown kinds and people are refused."""
        root = self.gateway.bearer("root")
        answer = root.delete(f"/api/user/{self.ann}/bindings/nonsense")
        self.assertEqual((answer.status, answer.code), (200, "invalid_field"))
        self.assertEqual(root.delete("/api/user/999/bindings/github").code, "not_found")

    def test_who(self) -> None:
        """Common users see their own only; administrators only those below them."""
        paths = (
            ("GET", f"/api/user/{self.ann}/oauth/bindings"),
            ("DELETE", self.others),
            ("DELETE", f"/api/user/{self.ann}/bindings/github"),
        )
        for method, path in paths:
            self.assertEqual(self.ann_client.ask(method, path).status, 403)
            self.assertEqual(self.gateway.ask(method, path).status, 401)
        peer = self.gateway.add_user("peer", 10)
        self.gateway.add_user("boss", 10)
        boss = self.gateway.bearer("boss")
        for path in (f"{peer}/oauth/bindings/1", f"{peer}/bindings/github"):
            answer = boss.delete(f"/api/user/{path}")
            self.assertEqual(answer.code, "forbidden_target")
        self.assertEqual(len(self.bindings()), 1)
