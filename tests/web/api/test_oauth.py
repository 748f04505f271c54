"""External logins through the real site: states, callbacks, new accounts, bindings."""

from __future__ import annotations

from base64 import b64decode

import sqlalchemy as sa

from knight_tw.accounts.second_factor import STEP_SECONDS, totp
from knight_tw.storage import schema, user_writes
from tests.web.api.external import (
    DISCORD_TOKEN,
    GITHUB_TOKEN,
    LINUXDO_TOKEN,
    OCTO,
    External,
    OAuthCase,
)
from tests.web.api.shapes import LOGIN, misfit
from tests.web.gateway import NOW, now


class States(OAuthCase):
    """Beginning a login, and what its end is checked against."""

    def test_flow_token(self) -> None:
        """POST gives a token for ten minutes, also for a provider that is off."""
        self.gateway.set_option("GitHubOAuthEnabled", "false")
        body = {"provider": "github", "intent": "login"}
        answer = self.gateway.ask("POST", "/api/oauth/state", body)
        self.assertEqual(answer.json["message"], "")
        self.assertEqual(set(answer.data), {"flow_token", "expires_at"})
        self.assertEqual(answer.data["expires_at"], NOW + 600)
        self.assertEqual(answer.get("Cache-Control"), "no-store")

    def test_older_state(self) -> None:
        """GET gives twelve characters."""
        state, _ = self.gateway.begin_older()
        self.assertEqual(len(state), 12)
        self.assertTrue(state.isalnum())

    def test_stored_hashed(self) -> None:
        """The table of flows holds neither token nor state."""
        token, _ = self.gateway.begin("github")
        state, _ = self.gateway.begin_older()
        rows = str(self.gateway.rows(sa.select(schema.auth_flows)))
        self.assertNotIn(token, rows)
        self.assertNotIn(state, rows)

    def test_cookie(self) -> None:
        """The cookie lives as long as the flow, out of reach of scripts and sites."""
        answer = self.gateway.ask("GET", "/api/oauth/state")
        (line,) = (v for k, v in answer.headers if k.lower() == "set-cookie")
        for part in ("HttpOnly", "SameSite=strict", "Path=/api/oauth", "Max-Age=600"):
            self.assertIn(part, line)

    def test_checked_first(self) -> None:
        """A wrong state is 403 before the provider is asked or looked at."""
        for slug in ("github", "discord", "linuxdo", "oidc"):
            for state in ("", "wrong", "x" * 700):
                answer = self.gateway.back(slug, "x", state)
                self.assertEqual((answer.status, answer.code), (403, "code_expired"))
        self.assertEqual(self.gateway.providers.sent, [])

    def test_unknown_provider(self) -> None:
        """A provider that does not exist is 400, to begin with and to end with."""
        answer = self.gateway.back("nosuch", "x", "y")
        self.assertEqual((answer.status, answer.code), (400, "not_found"))
        for slug in ("nosuch", "telegram", "state", "A B"):
            body = {"provider": slug}
            answer = self.gateway.ask("POST", "/api/oauth/state", body)
            self.assertEqual(answer.status, 400, slug)

    def test_switched_off(self) -> None:
        """A right state does not open a provider that is off."""
        self.gateway.set_option("GitHubOAuthEnabled", "false")
        answer = self.gateway.come("github", OCTO)
        self.assertEqual((answer.status, answer.code), (200, "login_closed"))
        self.assertEqual(self.gateway.providers.sent, [])

    def test_single_use(self) -> None:
        """Of two callbacks with one state the second is refused."""
        self.gateway.providers.knows("github", "right", OCTO)
        state, _ = self.gateway.begin("github")
        self.assertEqual(self.gateway.back("github", "right", state).status, 200)
        self.assertEqual(self.gateway.back("github", "right", state).status, 403)
        older, cookie = self.gateway.begin_older()
        headers = {"Cookie": cookie}
        self.assertTrue(self.gateway.back("github", "right", older, headers).data)
        self.assertEqual(
            self.gateway.back("github", "right", older, headers).status, 403
        )

    def test_expires(self) -> None:
        """After ten minutes a state is nothing."""
        state, _ = self.gateway.begin("github")
        self.gateway.clock.advance(601)
        self.assertEqual(self.gateway.back("github", "right", state).status, 403)

    def test_other_provider(self) -> None:
        """A token that was given for one provider does not serve another."""
        state, _ = self.gateway.begin("github")
        self.assertEqual(self.gateway.back("discord", "x", state).status, 403)

    def test_older_state_needs_its_cookie(self) -> None:
        """The twelve characters mean nothing without the cookie, or with another."""
        self.gateway.providers.knows("github", "right", OCTO)
        state, _ = self.gateway.begin_older()
        _, other = self.gateway.begin_older()
        self.assertEqual(self.gateway.back("github", "right", state).status, 403)
        forged = {"Cookie": other}
        self.assertEqual(
            self.gateway.back("github", "right", state, forged).status, 403
        )
        self.assertEqual(self.count(), 1)

    def test_token_inside_the_cookie_is_no_state(self) -> None:
        """Who reads the flow out of an older cookie cannot pass it on as a state."""
        _, cookie = self.gateway.begin_older()
        value = cookie.partition("=")[2]
        kept = self.gateway.signer.read_cookie(value, NOW)
        answer = self.gateway.back("github", "right", kept["flow"])
        self.assertEqual(answer.status, 403)

    def test_browser_must_have_begun_it(self) -> None:
        """A page's callback without the cookie is refused: somebody sent a link."""
        self.gateway.providers.knows("github", "right", OCTO)
        browser = {"Sec-Fetch-Site": "same-origin"}
        without_tls = {"User-Agent": "Mozilla/5.0 (X11; Linux x86_64)"}
        for page in (browser, without_tls):
            state, _ = self.gateway.begin("github")
            answer = self.gateway.back("github", "right", state, page)
            self.assertEqual(answer.status, 403)
        state, cookie = self.gateway.begin("github")
        headers = {**browser, "Cookie": cookie}
        answer = self.gateway.back("github", "right", state, headers)
        self.assertEqual(answer.data["username"], "octo")
        self.assertEqual(answer.cookies()["oauth_state"], "")

    def test_forged_cookie(self) -> None:
        """A cookie that we did not sign counts as none."""
        state, _ = self.gateway.begin_older()
        headers = {"Cookie": "oauth_state=e30.e30"}
        self.assertEqual(self.gateway.back("github", "x", state, headers).status, 403)

    def test_intent(self) -> None:
        """Anything but login and bind is refused, and binding needs a caller."""
        ask = self.gateway.ask
        body = {"provider": "github", "intent": "steal"}
        self.assertEqual(ask("POST", "/api/oauth/state", body).code, "invalid_field")
        body["intent"] = "bind"
        answer = ask("POST", "/api/oauth/state", body)
        self.assertEqual((answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"))
        self.assertEqual(ask("POST", "/api/oauth/state", {}).code, "missing_field")

    def test_limited(self) -> None:
        """Both ends count as critical requests of an address."""
        gateway = External(env={"CRITICAL_RATE_LIMIT_ENABLE": "true"})
        gateway.set_up()
        for _ in range(10):
            state, _ = gateway.begin("github")
            gateway.back("github", "x", state)
        answer = gateway.ask("GET", "/api/oauth/state")
        self.assertEqual((answer.status, answer.code), (429, "rate_limited"))


class Logins(OAuthCase):
    """Coming in with an account elsewhere."""

    def test_answer(self) -> None:
        """The answer is that of a password login, both cookies included."""
        answer = self.gateway.come("github", OCTO)
        data = answer.data
        self.assertEqual(data["username"], "octo")
        self.assertEqual(misfit(data, LOGIN), "")
        self.assertEqual(data["session"]["login_method"], "github")
        self.assertLessEqual({"session", "new_api_refresh"}, set(answer.cookies()))
        bearer = {"Authorization": f"Bearer {data['access_token']}"}
        mine = self.gateway.ask("GET", "/api/user/self", None, bearer)
        self.assertEqual(mine.data["github_id"], "583231")

    def test_log_rows(self) -> None:
        """The new account and the login are in the log."""
        self.gateway.come("github", OCTO)
        types = [(note["type"], note["username"]) for note in self.gateway.notes]
        self.assertEqual(types, [(4, "octo"), (7, "octo")])
        self.assertEqual(self.gateway.notes[0]["quota"], 0)
        op = self.gateway.notes[-1]["other"]["op"]
        self.assertEqual(op, {"action": "login", "params": {"method": "github"}})

    def test_new_account(self) -> None:
        """A new account starts as a registered one, without a password."""
        self.gateway.set_option("QuotaForNewUser", "500")
        self.gateway.come("github", OCTO)
        row = self.account("octo")
        self.assertEqual((row["role"], row["status"], row["group"]), (1, 1, "default"))
        self.assertEqual((row["password"], row["quota"]), ("", 500))
        self.assertEqual(row["display_name"], "The Octo")
        self.assertEqual(row["email"], "octo@example.com")
        self.assertEqual(len(row["aff_code"]), 4)
        self.assertIn("sidebar_modules", row["setting"])

    def test_second_time(self) -> None:
        """The same person gets the same account, whatever they are called now."""
        first = self.gateway.come("github", OCTO).data["id"]
        renamed = {**OCTO, "login": "other", "email": "new@example.com"}
        again = self.gateway.come("github", renamed)
        self.assertEqual(again.data["id"], first)
        self.assertEqual(again.data["username"], "octo")

    def test_github_request(self) -> None:
        """GitHub gets JSON without a grant type, and its token as a bearer."""
        self.gateway.come("github", OCTO)
        token, user = self.gateway.providers.sent
        self.assertEqual((token.method, token.url), ("POST", GITHUB_TOKEN))
        self.assertEqual(token.headers["Accept"], "application/json")
        self.assertEqual(
            token.body,
            b'{"client_id":"gh-client","client_secret":"gh-secret-1","code":"right"}',
        )
        self.assertEqual(user.headers["Authorization"], "Bearer token-of-right")
        self.assertTrue(user.headers["User-Agent"])

    def test_discord(self) -> None:
        """Discord gets a form with client and redirect address."""
        self.gateway.set_option("ServerAddress", "https://gate.example/")
        person = {"id": "80351110224678912", "username": "nelly", "global_name": "Nel"}
        self.assertEqual(self.gateway.come("discord", person).data["username"], "nelly")
        token = self.gateway.providers.sent[0]
        self.assertEqual(token.url, DISCORD_TOKEN)
        self.assertEqual(
            token.form,
            {
                "grant_type": "authorization_code",
                "code": "right",
                "redirect_uri": "https://gate.example/oauth/discord",
                "client_id": "dc-client",
                "client_secret": "dc-secret-1",
            },
        )
        row = self.account("nelly")
        self.assertEqual(row["discord_id"], "80351110224678912")
        self.assertEqual((row["display_name"], row["email"]), ("Nel", ""))

    def test_linuxdo(self) -> None:
        """Linux DO gets client and secret as HTTP Basic."""
        person = {"id": 42, "username": "tux", "name": "Tux", "trust_level": 1}
        self.assertEqual(self.gateway.come("linuxdo", person).data["username"], "tux")
        token = self.gateway.providers.sent[0]
        self.assertEqual(token.url, LINUXDO_TOKEN)
        basic = token.headers["Authorization"].removeprefix("Basic ")
        self.assertEqual(b64decode(basic), b"ld-client:ld-secret-1")
        self.assertNotIn("client_secret", token.form)
        self.assertEqual(
            token.form["redirect_uri"], "http://gateway.example/api/oauth/linuxdo"
        )
        self.assertEqual(self.account("tux")["linux_do_id"], "42")

    def test_linuxdo_behind_a_proxy(self) -> None:
        """Without a server address a trusted proxy's TLS makes the redirect https."""
        gateway = External(env={"TRUSTED_PROXIES": "203.0.113.9"})
        gateway.set_up()
        gateway.switch_on("linuxdo")
        gateway.providers.knows("linuxdo", "right", {"id": 1, "trust_level": 0})
        state, _ = gateway.begin("linuxdo")
        gateway.back("linuxdo", "right", state, {"X-Forwarded-Proto": "https"})
        self.assertEqual(
            gateway.providers.sent[0].form["redirect_uri"],
            "https://gateway.example/api/oauth/linuxdo",
        )

    def test_linuxdo_addresses(self) -> None:
        """The process settings can move both addresses."""
        gateway = External(
            env={
                "LINUX_DO_TOKEN_ENDPOINT": "https://mirror.example/token",
                "LINUX_DO_USER_ENDPOINT": "https://mirror.example/user",
            }
        )
        gateway.set_up()
        gateway.switch_on("linuxdo")
        state, _ = gateway.begin("linuxdo")
        gateway.back("linuxdo", "right", state)
        (asked,) = gateway.providers.sent
        self.assertEqual(asked.url, "https://mirror.example/token")

    def test_linuxdo_trust(self) -> None:
        """Low trust and silence keep people out, and are named."""
        self.gateway.set_option("LinuxDOMinimumTrustLevel", "2")
        for person in (
            {"id": 1, "username": "low", "trust_level": 1},
            {"id": 2, "username": "none"},
            {"id": 3, "username": "mute", "trust_level": 4, "silenced": True},
        ):
            answer = self.gateway.come("linuxdo", person)
            self.assertEqual(answer.code, "login_closed", person)
        self.assertIn("silenced", answer.json["message"])
        fine = {"id": 4, "username": "fine", "trust_level": 2, "silenced": False}
        self.assertEqual(self.gateway.come("linuxdo", fine).data["username"], "fine")
        self.assertEqual(self.count(), 2)

    def test_oidc(self) -> None:
        """OIDC needs a subject and an address."""
        person = {
            "sub": "Abc",
            "preferred_username": "iris",
            "name": "Iris",
            "email": "iris@example.com",
        }
        self.assertEqual(self.gateway.come("oidc", person).data["username"], "iris")
        self.assertEqual(self.account("iris")["oidc_id"], "Abc")
        for lacking in ("sub", "email"):
            answer = self.gateway.come("oidc", {**person, lacking: ""})
            self.assertEqual(answer.code, "upstream_failed")
        self.assertEqual(self.count(), 2)

    def test_oidc_without_addresses(self) -> None:
        """A provider that was switched on before it had addresses is not set up."""
        self.gateway.set_option("oidc.user_info_endpoint", "")
        answer = self.gateway.come("oidc", {"sub": "1", "email": "a@b.example"})
        self.assertEqual((answer.status, answer.code), (200, "not_configured"))
        self.assertEqual(self.gateway.providers.sent, [])

    def test_unverified_address(self) -> None:
        """An address that the provider calls unverified, or none, is not taken over."""
        person = {"sub": "1", "email": "x@example.com", "email_verified": False}
        self.assertEqual(self.gateway.come("oidc", person).data["user"]["email"], "")

    def test_taken_address(self) -> None:
        """An address that somebody has here stays theirs alone."""
        self.gateway.add_user("ann", email="OCTO@example.com")
        self.assertEqual(self.gateway.come("github", OCTO).data["user"]["email"], "")

    def test_names(self) -> None:
        """A name that is taken, too long or an address gives way to a number."""
        self.gateway.add_user("octo")
        for number, name in enumerate(("octo", "x" * 21, "a@b.example", "", "a\nb")):
            person = {"id": 900 + number, "login": name}
            made = self.gateway.come("github", person).data
            self.assertEqual(made["username"], f"github_{made['id']}", name)
            self.assertEqual(made["display_name"], "GitHub User")

    def test_number_taken(self) -> None:
        """A numbered name that somebody has is passed over."""
        self.gateway.add_user("github_3")
        self.gateway.add_user("github_4")
        made = self.gateway.come("github", {"id": 1}).data
        self.assertEqual(made["username"], "github_5")

    def test_name_of_a_deleted_account(self) -> None:
        """The name of a deleted account is not free."""
        gone = self.gateway.add_user("octo")
        now(self.gateway.db.run(user_writes.soft_delete, gone, NOW))
        self.assertEqual(self.gateway.come("github", OCTO).data["username"], "github_3")

    def test_closed(self) -> None:
        """Without registration the known come in, and nobody else."""
        self.gateway.come("github", OCTO)
        self.gateway.set_option("RegisterEnabled", "false")
        self.assertTrue(self.gateway.come("github", OCTO).data)
        answer = self.gateway.come("github", {"id": 2, "login": "new"})
        self.assertEqual(answer.code, "registration_closed")

    def test_password_registration_closed(self) -> None:
        """Closing sign-up by password leaves this one open."""
        self.gateway.set_option("PasswordRegisterEnabled", "false")
        self.assertTrue(self.gateway.come("github", OCTO).data)

    def test_deleted_and_disabled(self) -> None:
        """Neither a deleted nor a disabled owner comes in; nobody new is made."""
        gone = self.gateway.come("github", OCTO).data["id"]
        now(self.gateway.db.run(user_writes.soft_delete, gone, NOW))
        answer = self.gateway.come("github", OCTO)
        self.assertEqual(answer.code, "login_closed")
        self.assertEqual(answer.json["message"], "the user has been deleted")
        off = self.gateway.come("discord", {"id": "1", "username": "d"}).data["id"]
        now(self.gateway.db.run(user_writes.update, off, {"status": 2}))
        answer = self.gateway.come("discord", {"id": "1", "username": "d"})
        self.assertEqual(answer.code, "login_closed")
        self.assertEqual(self.count(), 3)

    def test_invitation(self) -> None:
        """A referral code pays both, and both are told; an unknown one is nothing."""
        self.gateway.set_option("QuotaForNewUser", "1000")
        self.gateway.set_option("QuotaForInvitee", "200")
        self.gateway.set_option("QuotaForInviter", "300")
        inviter = self.gateway.add_user("host", aff_code="Host")
        self.gateway.come("github", OCTO, aff="Host")
        guest, host = self.account("octo"), self.gateway.row(inviter)
        self.assertEqual((guest["quota"], guest["inviter_id"]), (1200, inviter))
        self.assertEqual(
            (host["aff_count"], host["aff_quota"], host["aff_history"]), (1, 300, 300)
        )
        told = [
            (note["username"], note["quota"])
            for note in self.gateway.notes
            if note["content"].startswith("gift")
        ]
        self.assertEqual(told, [("octo", 1000), ("octo", 200), ("host", 300)])
        self.assertEqual(self.gateway.changes, [("user", str(inviter))])
        self.gateway.come("github", {"id": 2, "login": "two"}, aff="nobody")
        self.assertEqual(self.account("two")["inviter_id"], 0)

    def test_older_invitation(self) -> None:
        """The referral code of an older state counts too."""
        inviter = self.gateway.add_user("host", aff_code="Host")
        self.gateway.providers.knows("github", "right", OCTO)
        state, cookie = self.gateway.begin_older("Host")
        self.gateway.back("github", "right", state, {"Cookie": cookie})
        self.assertEqual(self.account("octo")["inviter_id"], inviter)

    def test_second_factor(self) -> None:
        """It is asked for only when the option says so."""
        made = self.gateway.come("github", OCTO).data["id"]
        self.gateway.execute(
            sa.insert(schema.two_fas).values(
                user_id=made, secret="JBSWY3DPEHPK3PXP", is_enabled=True
            )
        )
        self.assertIn("access_token", self.gateway.come("github", OCTO).data)
        self.gateway.set_option("auth.require_2fa_after_oauth", "true")
        answer = self.gateway.come("github", OCTO)
        self.assertEqual(set(answer.data), {"require_2fa", "flow_token", "expires_at"})
        self.assertNotIn("new_api_refresh", answer.cookies())
        code = totp("JBSWY3DPEHPK3PXP", NOW // STEP_SECONDS)
        second = {"code": code, "flow_token": answer.data["flow_token"]}
        done = self.gateway.ask("POST", "/api/user/login/2fa", second)
        self.assertEqual(done.data["id"], made)

    def test_too_many_sessions(self) -> None:
        """The limits of sessions hold for these logins too."""
        gateway = External(env={"USER_SESSION_ACTIVE_LIMIT": "1"})
        gateway.set_up()
        gateway.switch_on("github")
        gateway.come("github", OCTO)
        answer = gateway.come("github", OCTO)
        self.assertEqual((answer.status, answer.code), (409, "AUTH_SESSION_LIMIT"))
