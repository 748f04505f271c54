"""Scripts about getting in: a second factor, sessions, an OpenID provider."""

from __future__ import annotations

import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from knight_tw.accounts.second_factor import totp
from tests import engines
from tests.system.process import PASSWORD
from tests.system.test_scripts import Person, Script


class OpenID:
    """A provider that knows one person; the code `good` is his."""

    def __init__(self) -> None:
        provider = self

        class Asked(BaseHTTPRequestHandler):
            """One request."""

            def log_message(self, format: str, *args: Any) -> None:
                """Tests print nothing."""

            def answer(self, status: int, value: Any) -> None:
                """JSON."""
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def do_GET(self) -> None:
                """The discovery document, or the person."""
                if self.path == "/.well-known/openid-configuration":
                    self.answer(200, provider.document())
                elif self.headers.get("Authorization") == "Bearer at-1":
                    self.answer(200, provider.person)
                else:
                    self.answer(401, {"error": "invalid_token"})

            def do_POST(self) -> None:
                """A code for a token."""
                length = int(self.headers.get("Content-Length", "0"))
                form = parse_qs(self.rfile.read(length).decode())
                good = form.get("code") == ["good"]
                right = form.get("client_secret") == ["keep-this"]
                if good and right:
                    self.answer(200, {"access_token": "at-1", "token_type": "Bearer"})
                else:
                    self.answer(400, {"error": "invalid_grant"})

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Asked)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self.person: dict[str, Any] = {}
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def document(self) -> dict[str, str]:
        """Where things are."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "userinfo_endpoint": f"{self.url}/userinfo",
        }

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


def code_of(secret: str, later: int = 0) -> str:
    """The six digits of now, or of some steps later."""
    return totp(secret, int(time.time()) // 30 + later)


@engines.for_engines
class Entering(Script):
    """One script for each way in."""

    def test_second_factor(self) -> None:
        """It is set up, asked for at the login, lost, and taken away."""
        tom = self.person("tom-factor")
        made = tom.call("POST", "/api/user/2fa/setup")
        wrong = tom.ask("POST", "/api/user/2fa/enable", {"code": "000000"})
        self.refused(wrong, "wrong_code")
        told = {"code": code_of(made["secret"])}
        tom.call("POST", "/api/user/2fa/enable", told)
        half = self._first_step("tom-factor")
        self.refused(self._second_step(half, told["code"]), "wrong_code")
        _, answer = self._second_step(half, made["backup_codes"][0])
        self.assertTrue(answer["success"], answer)
        half = self._first_step("tom-factor")
        again = self._second_step(half, made["backup_codes"][0])
        self.refused(again, "wrong_code")
        self.assertEqual(self.call("GET", "/api/user/2fa/stats")["enabled_users"], 1)
        self.call("DELETE", f"/api/user/{tom.user_id}/2fa")
        tom = self.login("tom-factor")
        self.assertFalse(tom.call("GET", "/api/user/2fa/status")["enabled"])

    def _first_step(self, name: str) -> dict[str, str]:
        told = {"username": name, "password": PASSWORD}
        _, answer, _ = self.process.ask("POST", "/api/user/login", told, Cookie="")
        self.assertTrue(answer["data"]["require_2fa"], answer)
        return {"flow_token": answer["data"]["flow_token"]}

    def _second_step(self, half: dict[str, str], code: str) -> tuple[int, Any]:
        status, answer, _ = self.process.ask(
            "POST", "/api/user/login/2fa", {**half, "code": code}, Cookie=""
        )
        return status, answer

    def test_sessions(self) -> None:
        """Two logins; one ends the other; a new password ends both."""
        one = self.person("sam-session")
        two = self.login("sam-session")
        self.assertEqual(len(two.call("GET", "/api/user/sessions")), 2)
        ended = two.call("POST", "/api/user/sessions/revoke-others")
        self.assertEqual(ended["revoked_count"], 1)
        self.assertEqual(one.ask("GET", "/api/user/self")[0], 401)
        told = {"password": "another-Password-2", "original_password": "wrong-one-1"}
        self.refused(two.ask("PUT", "/api/user/self", told), "wrong_credentials")
        told["original_password"] = PASSWORD
        two.call("PUT", "/api/user/self", told)
        self.login("sam-session", "another-Password-2")

    def test_openid(self) -> None:
        """Somebody logs in from a provider, again, and is let go of."""
        provider = OpenID()
        self.addCleanup(provider.stop)
        number = f"s-{self.kind}"
        provider.person = {
            "sub": number,
            "preferred_username": f"ida-{self.kind}",
            "email": f"ida@{self.kind}.example",
            "email_verified": True,
        }
        restore = self.process.options(
            {
                "oidc.well_known": f"{provider.url}/.well-known/openid-configuration",
                "oidc.client_id": "knight",
                "oidc.client_secret": "keep-this",
                "oidc.enabled": "true",
            }
        )
        self.addCleanup(restore)
        told = self.call("GET", "/api/status")
        self.assertEqual(
            told["oidc_authorization_endpoint"], f"{provider.url}/authorize"
        )
        first = self._arrive("good")
        again = self._arrive("good")
        self.assertEqual(first.user_id, again.user_id)
        own = again.call("GET", "/api/user/self")
        self.assertEqual((own["oidc_id"], own["role"]), (number, 1))
        state = self._state()
        path = f"/api/oauth/oidc?code=bad&state={state}"
        self.assertFalse(self.process.ask("GET", path, Cookie="")[1]["success"])
        replayed = self.process.ask("GET", path.replace("bad", "good"), Cookie="")
        self.assertEqual(replayed[0], 403)
        self.call("DELETE", f"/api/user/{first.user_id}/bindings/oidc")
        one = self.call("GET", f"/api/user/{first.user_id}")
        self.assertEqual(one["oidc_id"], "")

    def _state(self) -> str:
        told = {"provider": "oidc", "intent": "login"}
        _, answer, _ = self.process.ask("POST", "/api/oauth/state", told, Cookie="")
        return str(answer["data"]["flow_token"])

    def _arrive(self, code: str) -> Person:
        path = f"/api/oauth/oidc?code={code}&state={self._state()}"
        status, answer, headers = self.process.ask("GET", path, Cookie="")
        self.assertEqual((status, answer["success"]), (200, True), answer)
        user_id = answer["data"].get("id") or answer["data"]["user"]["id"]
        return Person(self.process, headers["Cookies"], user_id)

    def test_custom_provider(self) -> None:
        """Root describes a provider; its secret is never shown again."""
        told = {
            "name": "House",
            "slug": f"house-{self.kind}",
            "enabled": True,
            "client_id": "knight",
            "client_secret": "keep-this",
            "authorization_endpoint": "https://id.example/authorize",
            "token_endpoint": "https://id.example/token",
            "user_info_endpoint": "https://id.example/me",
        }
        self.call("POST", "/api/custom-oauth-provider/", told)
        listed = self.call("GET", "/api/custom-oauth-provider/")
        (made,) = [row for row in listed if row["slug"] == told["slug"]]
        self.assertNotIn("keep-this", json.dumps(listed))
        shown = self.call("GET", "/api/status")["custom_oauth_providers"]
        self.assertIn(told["slug"], [one["slug"] for one in shown])
        path = f"/api/custom-oauth-provider/{made['id']}"
        self.refused(
            self.process.ask("POST", "/api/custom-oauth-provider/", told),
            "already_exists",
        )
        self.call("DELETE", path)
        self.refused(self.process.ask("GET", path), "not_found")
