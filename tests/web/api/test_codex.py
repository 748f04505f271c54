"""Tests of the logins of ChatGPT subscriptions."""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.channels import codex
from knight_tw.errors import BadUpstreamBody, InvalidRequest
from tests.web.api.watched import Watched
from tests.web.gateway import NOW, Client

TOKEN = "https://auth.openai.com/oauth/token"
BASE = "https://chatgpt.com/backend-api/wham"
OLD = {"access_token": "old", "account_id": "acc", "refresh_token": "r1"}


def token(**claims: Any) -> str:
    """A JSON web token."""
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"h.{part}.s"


ANSWER = {
    "access_token": "new",
    "refresh_token": "r2",
    "id_token": token(
        **{
            "email": "ann@example.com",
            "https://api.openai.com/auth": {"chatgpt_account_id": "acc-2"},
        }
    ),
    "expires_in": 864_000,
}


class CodexCase(SynchronousTestCase):
    """A gateway with a subscription."""

    def setUp(self) -> None:
        """A channel with a credential, and one of another type."""
        self.gateway = Watched()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.gateway.add_user("ann")
        self.adm = self.gateway.bearer("adm")
        self.channel = self.gateway.add_channel(type=57, key=json.dumps(OLD))
        self.other = self.gateway.add_channel(type=1)
        self.gateway.upstream.answers[TOKEN] = (200, ANSWER)
        self.gateway.notes.clear()

    def start(
        self, place: str = "codex", client: Client | None = None
    ) -> dict[str, str]:
        """The arguments of the address to log in at."""
        path = f"/api/channel/{place}/oauth/start"
        url = (client or self.adm).post(path).data["authorize_url"]
        self.assertTrue(url.startswith("https://auth.openai.com/oauth/authorize?"))
        return {
            name: values[0] for name, values in parse_qs(urlsplit(url).query).items()
        }

    def pasted(self, asked: dict[str, str]) -> str:
        """What the browser ends up at."""
        return f"{asked['redirect_uri']}?code=c1&scope=x&state={asked['state']}"

    def key(self) -> Any:
        """The credential in the channel."""
        return json.loads(self.gateway.channel(self.channel)["key"])

    @property
    def mine(self) -> str:
        """The place of the channel's routes."""
        return f"{self.channel}/codex"


class LoginTests(CodexCase):
    """Getting a credential."""

    def test_complete(self) -> None:
        """A login gives a credential for the form."""
        asked = self.start()
        path = "/api/channel/codex/oauth/complete"
        data = self.adm.post(path, {"input": self.pasted(asked)}).data
        found = json.loads(data["key"])
        self.assertEqual(
            (found["account_id"], found["email"], found["type"]),
            ("acc-2", "ann@example.com", "codex"),
        )
        self.assertEqual(data["expires_at"], found["expired"])
        sent = parse_qs(self.gateway.upstream.sent[0]["body"].decode())
        self.assertEqual(sent["code"], ["c1"])
        digest = hashlib.sha256(sent["code_verifier"][0].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        self.assertEqual(challenge, asked["code_challenge"])

    def test_of_a_channel(self) -> None:
        """It becomes the channel's, and nothing secret is answered."""
        asked = self.start(self.mine)
        path = f"/api/channel/{self.mine}/oauth/complete"
        answer = self.adm.post(path, {"input": self.pasted(asked)})
        self.assertEqual(answer.data["channel_id"], self.channel)
        self.assertNotIn(b"r2", answer.body)
        self.assertEqual(self.key()["access_token"], "new")
        self.assertIn(("channel", str(self.channel)), self.gateway.changes)
        self.assertEqual(self.gateway.audited(), ["channel.codex_login"])
        self.assertNotIn("new", json.dumps(self.gateway.notes))

    def test_once(self) -> None:
        """A login is good once, for who began it and for what it was begun."""
        path = "/api/channel/codex/oauth/complete"
        asked = {"input": self.pasted(self.start())}
        root = self.gateway.bearer("root")
        self.assertEqual(root.post(path, asked).code, "code_expired")
        elsewhere = f"/api/channel/{self.mine}/oauth/complete"
        self.assertEqual(self.adm.post(elsewhere, asked).code, "code_expired")
        self.assertTrue(self.adm.post(path, asked).json["success"])
        self.assertEqual(self.adm.post(path, asked).code, "code_expired")

    def test_nonsense(self) -> None:
        """What is no such address is refused."""
        path = "/api/channel/codex/oauth/complete"
        for text in ("", "x", "http://localhost:1455/auth/callback?code=c", "c1#"):
            answer = self.adm.post(path, {"input": text})
            self.assertEqual(answer.code, "invalid_field", text)
        self.assertEqual(self.adm.post(path, {}).code, "missing_field")

    def test_refused(self) -> None:
        """OpenAI's refusal is told."""
        self.gateway.upstream.answers[TOKEN] = (400, {"error": {"message": "bad code"}})
        path = "/api/channel/codex/oauth/complete"
        answer = self.adm.post(path, {"input": self.pasted(self.start())})
        self.assertEqual(answer.code, "upstream_failed")

    def test_who(self) -> None:
        """Users may not, and other channels are not concerned."""
        ann = self.gateway.bearer("ann")
        for method, path in (
            ("POST", "codex/oauth/start"),
            ("POST", f"{self.mine}/refresh"),
            ("GET", f"{self.mine}/usage"),
        ):
            self.assertEqual(ann.ask(method, f"/api/channel/{path}").status, 403)
        for method, what in (
            ("POST", "oauth/start"),
            ("POST", "oauth/complete"),
            ("POST", "refresh"),
            ("GET", "usage"),
            ("GET", "usage/reset-credits"),
            ("POST", "usage/reset"),
        ):
            path = f"/api/channel/{self.other}/codex/{what}"
            self.assertEqual(self.adm.ask(method, path, {}).status, 400)
            answer = self.adm.ask(method, f"/api/channel/999/codex/{what}", {})
            self.assertEqual(answer.code, "not_found")


class KeeperTests(CodexCase):
    """Renewing, and what is left."""

    def test_refresh(self) -> None:
        """The new credential is stored, what else was known stays."""
        self.gateway.upstream.answers[TOKEN] = (200, {"access_token": "new"})
        data = self.adm.post(f"/api/channel/{self.mine}/refresh").data
        self.assertEqual(
            (data["account_id"], data["channel_id"]), ("acc", self.channel)
        )
        found = self.key()
        self.assertEqual((found["access_token"], found["refresh_token"]), ("new", "r1"))
        sent = parse_qs(self.gateway.upstream.sent[0]["body"].decode())
        self.assertEqual(sent["grant_type"], ["refresh_token"])
        self.assertEqual(sent["client_id"], ["app_EMoamEEZ73f0CkXaXp7hrann"])

    def test_refresh_fails(self) -> None:
        """A refusal leaves the credential as it was."""
        self.gateway.upstream.answers[TOKEN] = (401, {"error": "invalid_grant"})
        answer = self.adm.post(f"/api/channel/{self.mine}/refresh")
        self.assertEqual(answer.code, "upstream_failed")
        self.assertEqual(self.key(), OLD)

    def test_no_refresh_token(self) -> None:
        """Without one nothing can be renewed."""
        plain = json.dumps({"access_token": "a", "account_id": "b"})
        channel = self.gateway.add_channel(type=57, key=plain)
        answer = self.adm.post(f"/api/channel/{channel}/codex/refresh")
        self.assertEqual(answer.code, "invalid_field")

    def test_usage(self) -> None:
        """The subscription's own page, with the status it came with."""
        windows = {"rate_limit": {"primary_window": {"used_percent": 7}}}
        self.gateway.upstream.answers[f"{BASE}/usage"] = (200, windows)
        answer = self.adm.get(f"/api/channel/{self.mine}/usage").json
        self.assertEqual((answer["success"], answer["upstream_status"]), (True, 200))
        self.assertEqual(answer["data"], windows)
        headers = self.gateway.upstream.sent[0]["headers"]
        self.assertEqual(headers["Authorization"], "Bearer old")
        self.assertEqual(headers["chatgpt-account-id"], "acc")

    def test_usage_refused(self) -> None:
        """A refusal is told with its status."""
        self.gateway.upstream.answers[f"{BASE}/usage"] = (401, b"<html>")
        answer = self.adm.get(f"/api/channel/{self.mine}/usage").json
        self.assertEqual((answer["success"], answer["upstream_status"]), (False, 401))
        self.assertEqual(answer["data"], {})

    def test_credits(self) -> None:
        """How often a window may be begun anew; to do so is not offered."""
        url = f"{BASE}/rate-limit-reset-credits"
        self.gateway.upstream.answers[url] = (200, {"credits": []})
        answer = self.adm.get(f"/api/channel/{self.mine}/usage/reset-credits").json
        self.assertEqual(answer["data"], {"credits": []})
        answer = self.adm.post(f"/api/channel/{self.mine}/usage/reset")
        self.assertEqual(answer.code, "not_configured")


class CredentialTests(SynchronousTestCase):
    """What the token endpoint answers, and what is pasted."""

    def test_pasted(self) -> None:
        """The whole address, its query, or code and state."""
        for text in (
            " http://localhost:1455/auth/callback?code=c&state=s ",
            "code=c&state=s",
            "?state=s&code=c",
            "c#s",
        ):
            self.assertEqual(codex.pasted(text), ("c", "s"))
        for text in ("http://[::1", "http://x/?error=access_denied&state=s", "c", "#s"):
            self.assertRaises(InvalidRequest, codex.pasted, text)

    def test_account(self) -> None:
        """The account is in one of the tokens, or was known before."""
        claims = {"https://api.openai.com/auth": {"chatgpt_account_id": "a"}}
        found = codex.credential({"access_token": token(**claims)}, {}, NOW)
        self.assertEqual(found["account_id"], "a")
        self.assertEqual(found["expired"], "2026-11-25T11:58:52Z")
        for bad in (
            "x",
            "a.b.c",
            "a.!!.c",
            token(**{"https://api.openai.com/auth": 5}),
        ):
            answer = {"access_token": bad, "expires_in": True}
            self.assertRaises(BadUpstreamBody, codex.credential, answer, {}, NOW)
            known = codex.credential(answer, {"account_id": "k"}, NOW)
            self.assertEqual(known["account_id"], "k")
        self.assertRaises(BadUpstreamBody, codex.credential, {}, {}, NOW)
