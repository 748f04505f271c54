"""Tests of logins and sessions over the whole site."""

from __future__ import annotations

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.second_factor import STEP_SECONDS, totp
from knight_tw.storage import schema, user_writes
from tests.web.api.shapes import LOGIN, SESSION, misfit
from tests.web.gateway import NOW, PASSWORD, Answer, Client, Gateway, now

SECRET = "JBSWY3DPEHPK3PXP"
REFRESH = "/api/user/auth/refresh"


def peopled(**env: str) -> Gateway:
    """A set-up gateway with the user `ann` of id 2."""
    gateway = Gateway(env=env)
    gateway.set_up()
    gateway.add_user("ann", email="Ann@Example.com")
    return gateway


class LoginTests(SynchronousTestCase):
    """POST /api/user/login."""

    def test_shape(self) -> None:
        """The data holds the older generations' fields and the newest one's."""
        answer = peopled().login("ann", **{"User-Agent": "probe"})
        self.assertEqual(misfit(answer.data, LOGIN), "")
        self.assertEqual(answer.data["token_type"], "Bearer")
        self.assertEqual(answer.data["access_expires_at"], NOW + 900)
        session = answer.data["session"]
        self.assertEqual(session["ip"], "203.0.113.9")
        self.assertEqual(session["user_agent"], "probe")
        self.assertEqual(session["expires_at"], NOW + 30 * 86_400)

    def test_cookies(self) -> None:
        """Both cookies are set, closed to scripts and other sites."""
        answer = peopled().login("ann")
        cookies = [value for name, value in answer.headers if name == "Set-Cookie"]
        session, refresh = cookies
        self.assertTrue(session.startswith("session="))
        self.assertIn("Path=/;", session)
        self.assertTrue(refresh.startswith("new_api_refresh="))
        self.assertIn("Path=/api/user/auth", refresh)
        for cookie in cookies:
            self.assertIn("HttpOnly", cookie)
            self.assertIn("samesite=strict", cookie.lower())
            self.assertIn("Max-Age=2592000", cookie)
            self.assertNotIn("Secure", cookie)

    def test_secure_cookies(self) -> None:
        """Over TLS, or when the setting says so, cookies are Secure."""
        forced = peopled(SESSION_COOKIE_SECURE="true").login("ann")
        body = {"username": "ann", "password": PASSWORD}
        proxied = peopled().ask(
            "POST",
            "/api/user/login",
            body,
            {"X-Forwarded-Proto": "https"},
            "127.0.0.1",
        )
        for answer in (forced, proxied):
            cookies = [value for name, value in answer.headers if name == "Set-Cookie"]
            self.assertTrue(all("Secure" in cookie for cookie in cookies))

    def test_by_email(self) -> None:
        """The address logs in too, whatever its case."""
        self.assertEqual(peopled().login("ann@example.COM").data["id"], 2)

    def test_shared_email(self) -> None:
        """An address that two accounts have logs nobody in."""
        gateway = peopled()
        gateway.add_user("bob", email="ann@example.com")
        self.assertEqual(gateway.login("ann@example.com").code, "wrong_credentials")

    def test_refused(self) -> None:
        """Unknown name, wrong password, disabled and deleted accounts look the same."""
        gateway = peopled()
        gateway.add_user("off", status=2)
        gone = gateway.add_user("gone")
        now(gateway.db.run(user_writes.soft_delete, gone, NOW))
        gateway.add_user("oauth", password="")
        answers = [
            gateway.login("nobody"),
            gateway.login("ann", "wrong-pass-1"),
            gateway.login("ann", "x" * 100),
            gateway.login("n" * 400),
            gateway.login("off"),
            gateway.login("gone"),
            gateway.login("oauth", "anything-1"),
        ]
        for answer in answers:
            self.assertEqual((answer.status, answer.code), (200, "wrong_credentials"))
            self.assertEqual(answer.json["message"], answers[0].json["message"])
            self.assertEqual(answer.cookies(), {})

    def test_real_status(self) -> None:
        """A client that asks for it gets the real status."""
        answer = peopled().login("nobody", **{"X-Knight-Status": "real"})
        self.assertEqual(answer.status, 401)

    def test_wrong_input(self) -> None:
        """Missing and malformed fields are refused by name."""
        gateway = peopled()
        for body, code in (
            ({}, "missing_field"),
            ({"username": "ann"}, "missing_field"),
            ({"username": "", "password": ""}, "missing_field"),
            ({"username": 5, "password": "x"}, "invalid_field"),
            (b"{not json", "malformed_body"),
            (b'["ann"]', "malformed_body"),
        ):
            answer = gateway.ask("POST", "/api/user/login", body)
            self.assertEqual(answer.code, code, body)

    def test_switched_off(self) -> None:
        """Without the password login nobody gets in by password."""
        gateway = peopled()
        gateway.set_option("PasswordLoginEnabled", "false")
        self.assertEqual(gateway.login("ann").code, "login_closed")

    def test_side_effects(self) -> None:
        """The time of the login and a log row of type 7 are kept."""
        gateway = peopled()
        gateway.login("ann", **{"User-Agent": "probe"})
        self.assertEqual(gateway.row(2)["last_login_at"], NOW)
        (note,) = gateway.notes
        self.assertEqual((note["type"], note["user_id"]), (7, 2))
        self.assertEqual(note["other"]["user_agent"], "probe")
        self.assertNotIn(PASSWORD, repr(note))

    def test_foreign_hashes(self) -> None:
        """Hashes of other programs are understood."""
        gateway = peopled()
        stored = gateway.row(2)["password"]
        for prefix in ("$2b$", "$2y$"):
            change = {"password": prefix + stored[4:]}
            now(gateway.db.run(user_writes.update, 2, change))
            self.assertEqual(gateway.login("ann").data["id"], 2)

    def test_captcha(self) -> None:
        """With the captcha switched on its answer is asked for and checked."""
        gateway = peopled()
        gateway.set_option("TurnstileSiteKey", "site")
        gateway.set_option("TurnstileSecretKey", "hidden")
        gateway.set_option("TurnstileCheckEnabled", "true")
        body = {"username": "ann", "password": PASSWORD}
        for given, right in (("", False), ("wrong", False), ("right", True)):
            path = f"/api/user/login?turnstile={given}"
            answer = gateway.ask("POST", path, body)
            self.assertEqual(answer.json["success"], right, given)
        self.assertEqual(gateway.captcha[-1]["secret"], "hidden")
        self.assertEqual(gateway.captcha[-1]["remoteip"], "203.0.113.9")

    def test_limit(self) -> None:
        """The twenty-first login of an address within the window is 429."""
        gateway = peopled(CRITICAL_RATE_LIMIT_ENABLE="true", CRITICAL_RATE_LIMIT="2")
        codes = [gateway.login("ann").status for _ in range(3)]
        self.assertEqual(codes, [200, 200, 429])
        answer = gateway.login("ann")
        self.assertEqual(answer.code, "rate_limited")
        self.assertEqual(answer.get("Retry-After"), "1200")
        gateway.clock.advance(1_200)
        self.assertEqual(gateway.login("ann").status, 200)

    def test_too_many_sessions(self) -> None:
        """Sessions of one user are limited, at once and per day."""
        gateway = peopled(USER_SESSION_ACTIVE_LIMIT="2")
        statuses = [gateway.login("ann").status for _ in range(3)]
        self.assertEqual(statuses, [200, 200, 409])
        self.assertEqual(gateway.login("ann").code, "AUTH_SESSION_LIMIT")
        gateway = peopled(USER_SESSION_ISSUANCE_LIMIT="1")
        gateway.browser("ann").get("/api/user/logout")
        answer = gateway.login("ann")
        self.assertEqual((answer.status, answer.code)[0], 429)
        self.assertEqual(answer.code, "AUTH_SESSION_ISSUANCE_LIMIT")


class SecondStepTests(SynchronousTestCase):
    """Logins of accounts with a second factor."""

    def gateway(self) -> Gateway:
        """`ann` has a TOTP secret and one backup code."""
        gateway = peopled()
        gateway.execute(
            sa.insert(schema.two_fas).values(user_id=2, secret=SECRET, is_enabled=True)
        )
        code = now(gateway.passwords.hash("ABCD-1234"))
        gateway.execute(
            sa.insert(schema.two_fa_backup_codes).values(
                user_id=2, code_hash=code, is_used=False
            )
        )
        return gateway

    def code(self, gateway: Gateway, steps: int = 0) -> str:
        """The code of now, or of so many steps later."""
        return totp(SECRET, int(gateway.clock.seconds()) // STEP_SECONDS + steps)

    def second(self, gateway: Gateway, flow: str, code: str) -> str:
        """What becomes of a second step: `ok` or the code of the refusal."""
        body = {"code": code, "flow_token": flow}
        answer = gateway.ask("POST", "/api/user/login/2fa", body)
        return "ok" if answer.json["success"] else answer.code

    def test_password_is_not_enough(self) -> None:
        """The first step gives no session."""
        gateway = self.gateway()
        answer = gateway.login("ann")
        self.assertEqual(set(answer.data), {"require_2fa", "flow_token", "expires_at"})
        self.assertEqual(set(answer.cookies()), {"session"})
        client = Client(
            gateway,
            {
                "Cookie": f"session={answer.cookies()['session']}",
                "New-Api-User": "2",
            },
        )
        self.assertEqual(client.get("/api/user/self").status, 401)
        bearer = {"Authorization": f"Bearer {answer.data['flow_token']}"}
        self.assertEqual(gateway.ask("GET", "/api/user/self", None, bearer).status, 401)

    def test_totp(self) -> None:
        """A code of now, or one step off, completes the login."""
        for steps in (-1, 0, 1):
            gateway = self.gateway()
            flow = gateway.login("ann").data["flow_token"]
            body = {"code": self.code(gateway, steps), "flow_token": flow}
            answer = gateway.ask("POST", "/api/user/login/2fa", body)
            self.assertEqual(misfit(answer.data, LOGIN), "")

    def test_by_cookie(self) -> None:
        """Older consoles send the code alone; the cookie says whose it is."""
        gateway = self.gateway()
        cookie = gateway.login("ann").cookies()["session"]
        answer = gateway.ask(
            "POST",
            "/api/user/login/2fa",
            {"code": self.code(gateway)},
            {"Cookie": f"session={cookie}"},
        )
        self.assertEqual(answer.data["id"], 2)

    def test_backup_code(self) -> None:
        """A backup code works once, in any spelling."""
        gateway = self.gateway()
        flow = gateway.login("ann").data["flow_token"]
        self.assertEqual(self.second(gateway, flow, "abcd1234"), "ok")
        self.assertEqual(self.second(gateway, flow, "ABCD-1234"), "wrong_code")

    def test_replay(self) -> None:
        """A code is good once."""
        gateway = self.gateway()
        flow = gateway.login("ann").data["flow_token"]
        code = self.code(gateway)
        self.assertEqual(self.second(gateway, flow, code), "ok")
        self.assertEqual(self.second(gateway, flow, code), "wrong_code")

    def test_lock(self) -> None:
        """Five wrong codes lock the factor for five minutes."""
        gateway = self.gateway()
        flow = gateway.login("ann").data["flow_token"]
        wrong = [self.second(gateway, flow, "000000") for _ in range(6)]
        self.assertEqual(wrong, ["wrong_code"] * 5 + ["locked"])
        self.assertEqual(self.second(gateway, flow, self.code(gateway)), "locked")
        gateway.clock.advance(300)
        flow = gateway.login("ann").data["flow_token"]
        self.assertEqual(self.second(gateway, flow, self.code(gateway)), "ok")

    def test_too_late(self) -> None:
        """Five minutes after the password the login begins anew."""
        gateway = self.gateway()
        flow = gateway.login("ann").data["flow_token"]
        gateway.clock.advance(306)
        self.assertEqual(self.second(gateway, flow, self.code(gateway)), "code_expired")

    def test_wrong_flow(self) -> None:
        """Without a first step, or after the account changed, there is no second."""
        gateway = self.gateway()
        code = self.code(gateway)
        for flow in ("", "nonsense", "a.b.c"):
            self.assertEqual(self.second(gateway, flow, code), "code_expired")
        flow = gateway.login("ann").data["flow_token"]
        now(gateway.db.run(user_writes.secure, 2, {"group": "vip"}, "x", NOW))
        self.assertEqual(self.second(gateway, flow, code), "code_expired")


class RefreshTests(SynchronousTestCase):
    """POST /api/user/auth/refresh."""

    def setUp(self) -> None:
        """`ann` has logged in."""
        self.gateway = peopled()
        self.login = self.gateway.login("ann")
        self.cookie = self.login.cookies()["new_api_refresh"]

    def refresh(self, cookie: str, **headers: str) -> Answer:
        """The answer to a refresh with that cookie."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        named["Cookie"] = f"new_api_refresh={cookie}"
        return self.gateway.ask("POST", REFRESH, {}, named)

    def test_rotates(self) -> None:
        """A refresh gives a new secret, token and expiry for the same session."""
        self.gateway.clock.advance(1_000)
        answer = self.gateway.ask(
            "POST", REFRESH, {}, {"Cookie": f"new_api_refresh={self.cookie}"}
        )
        self.assertEqual(misfit(answer.data, LOGIN), "")
        session = answer.data["session"]
        self.assertEqual(session["sid"], self.login.data["session"]["sid"])
        self.assertEqual(session["expires_at"], NOW + 1_000 + 30 * 86_400)
        self.assertNotEqual(answer.cookies()["new_api_refresh"], self.cookie)

    def test_two_tabs(self) -> None:
        """The secret before is good for half a minute, without another rotation."""
        self.refresh(self.cookie)
        self.gateway.clock.advance(30)
        answer = self.refresh(self.cookie)
        self.assertEqual(answer.data["id"], 2)
        self.assertNotIn(
            "new_api_refresh",
            answer.cookies(),
        )

    def test_stolen(self) -> None:
        """A used secret that comes back later ends the session for both."""
        first = self.refresh(self.cookie)
        fresh = first.cookies()["new_api_refresh"]
        self.gateway.clock.advance(31)
        for cookie in (self.cookie, fresh):
            answer = self.refresh(cookie)
            self.assertEqual(answer.status, 401)

    def test_refused(self) -> None:
        """Without a good cookie it is 401, and the cookie is cleared."""
        sid = self.cookie.partition(".")[0]
        for cookie in ("", "nonsense", f"{sid}.", f"{sid}.wrong", "other.secret"):
            answer = self.gateway.ask(
                "POST", REFRESH, {}, {"Cookie": f"new_api_refresh={cookie}"}
            )
            self.assertEqual((answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"))
            self.assertEqual(answer.cookies(), {"new_api_refresh": ""})

    def test_other_session(self) -> None:
        """A browser that holds another session than the tab thinks is told so."""
        answer = self.gateway.ask(
            "POST",
            REFRESH,
            {},
            {"Cookie": f"new_api_refresh={self.cookie}", "X-Auth-Session": "other"},
        )
        self.assertEqual((answer.status, answer.code), (409, "AUTH_SESSION_MISMATCH"))

    def test_origin(self) -> None:
        """Only our own pages may refresh; requests of no page may too."""
        self.gateway.set_option("ServerAddress", "https://public.example")
        for name, value, status in (
            ("Origin", "https://evil.example", 403),
            ("Origin", "null", 403),
            ("Referer", "https://evil.example/gateway.example", 403),
            ("Origin", "http://gateway.example", 200),
            ("Origin", "https://public.example", 200),
            ("Referer", "https://public.example/console", 200),
        ):
            answer = self.gateway.ask(
                "POST",
                REFRESH,
                {},
                {"Cookie": f"new_api_refresh={self.cookie}", name: value},
            )
            self.assertEqual(answer.status, status, value)
            if status == 403:
                self.assertEqual(answer.code, "AUTH_ORIGIN_FORBIDDEN")
            else:
                self.cookie = answer.cookies()["new_api_refresh"]

    def test_dead_accounts(self) -> None:
        """A disabled account, or one that changed, cannot refresh."""
        now(self.gateway.db.run(user_writes.update, 2, {"status": 2}))
        answer = self.refresh(self.cookie)
        self.assertEqual(answer.status, 401)

    def test_expired(self) -> None:
        """A session that was not used for thirty days is over."""
        self.gateway.clock.advance(30 * 86_400)
        answer = self.refresh(self.cookie)
        self.assertEqual(answer.status, 401)


class SessionsTests(SynchronousTestCase):
    """Lists and ends of sessions."""

    def setUp(self) -> None:
        """`ann` has two sessions."""
        self.gateway = peopled()
        self.first = self.gateway.bearer("ann")
        self.gateway.clock.advance(1)
        self.second = self.gateway.bearer("ann")

    def sids(self, client: Client) -> list[str]:
        """The caller's sessions, this one first."""
        found = client.get("/api/user/sessions").data
        return [one["sid"] for one in sorted(found, key=lambda one: not one["current"])]

    def test_list(self) -> None:
        """The own sessions are listed, the asking one marked."""
        data = self.first.get("/api/user/sessions").data
        self.assertEqual(misfit(data, [SESSION]), "")
        self.assertEqual(sorted(one["current"] for one in data), [False, True])

    def test_end_one(self) -> None:
        """Another session is ended, and its token is dead at once."""
        other = self.sids(self.first)[1]
        answer = self.first.delete(f"/api/user/sessions/{other}")
        self.assertEqual(answer.data, {"revoked_sid": other, "current": False})
        dead = self.second.get("/api/user/self")
        self.assertEqual((dead.status, dead.code), (401, "AUTH_SESSION_REVOKED"))
        self.assertEqual(self.first.get("/api/user/self").status, 200)

    def test_end_own(self) -> None:
        """The session that asks can end itself; the cookies go too."""
        own = self.sids(self.first)[0]
        answer = self.first.delete(f"/api/user/sessions/{own}")
        self.assertEqual(answer.data, {"revoked_sid": own, "current": True})
        self.assertEqual(answer.cookies(), {"session": "", "new_api_refresh": ""})

    def test_end_unknown(self) -> None:
        """A session that is not the caller's is not found."""
        self.gateway.login("root")
        theirs = self.gateway.rows(
            sa.select(schema.user_sessions.c.sid).where(
                schema.user_sessions.c.user_id == 1
            )
        )
        for sid in ("unknown-sid", theirs[0]["sid"]):
            answer = self.first.delete(f"/api/user/sessions/{sid}")
            self.assertEqual(
                (answer.status, answer.code), (404, "AUTH_SESSION_NOT_FOUND")
            )

    def test_end_others(self) -> None:
        """All sessions but the asking one are ended."""
        answer = self.first.post("/api/user/sessions/revoke-others")
        self.assertEqual(answer.data, {"revoked_count": 1})
        self.assertEqual(self.second.get("/api/user/self").status, 401)
        self.assertEqual(len(self.sids(self.first)), 1)

    def test_access_token(self) -> None:
        """An access token has no session."""
        script = self.gateway.script(2)
        for answer in (
            script.get("/api/user/sessions"),
            script.delete("/api/user/sessions/x"),
            script.post("/api/user/sessions/revoke-others"),
        ):
            self.assertEqual(
                (answer.status, answer.code), (403, "AUTH_SESSION_REQUIRED")
            )


class LogoutTests(SynchronousTestCase):
    """Both ways out do the same."""

    def setUp(self) -> None:
        """`ann` has logged in."""
        self.gateway = peopled()
        self.answer = self.gateway.login("ann")
        self.sid = self.answer.data["session"]["sid"]
        self.bearer = {"Authorization": f"Bearer {self.answer.data['access_token']}"}

    def cookies(self, *names: str) -> dict[str, str]:
        """The header with these cookies of the login."""
        found = self.answer.cookies()
        return {"Cookie": "; ".join(f"{name}={found[name]}" for name in names)}

    def check_out(self, headers: dict[str, str], method: str, path: str) -> None:
        """The credential ends the session, every cookie is cleared."""
        answer = self.gateway.ask(method, path, None, headers)
        self.assertTrue(answer.json["success"])
        self.assertEqual(answer.cookies(), {"session": "", "new_api_refresh": ""})
        dead = self.gateway.ask("GET", "/api/user/self", None, self.bearer)
        self.assertEqual(dead.code, "AUTH_SESSION_REVOKED")

    def test_legacy(self) -> None:
        """GET with the session cookie alone, as older consoles do."""
        self.check_out(self.cookies("session"), "GET", "/api/user/logout")

    def test_modern(self) -> None:
        """POST with the refresh cookie."""
        self.check_out(self.cookies("new_api_refresh"), "POST", "/api/user/auth/logout")

    def test_modern_by_bearer(self) -> None:
        """POST with the bearer token."""
        answer = self.gateway.ask("POST", "/api/user/auth/logout", {}, self.bearer)
        self.assertEqual(answer.data, {"cookie_cleared": True, "revoked_sid": self.sid})

    def test_nobody(self) -> None:
        """Logging out without a login is fine."""
        answer = self.gateway.ask("POST", "/api/user/auth/logout", {})
        self.assertEqual(answer.data["revoked_sid"], "")
        self.assertTrue(self.gateway.ask("GET", "/api/user/logout").json["success"])

    def test_foreign_origin(self) -> None:
        """A foreign page cannot log anybody out."""
        headers = {**self.cookies("new_api_refresh"), "Origin": "https://evil.example"}
        answer = self.gateway.ask("POST", "/api/user/auth/logout", {}, headers)
        self.assertEqual(answer.status, 403)

    def test_wrong_secret(self) -> None:
        """Knowing a sid is not enough to end the session."""
        headers = {"Cookie": f"new_api_refresh={self.sid}.wrong"}
        self.gateway.ask("POST", "/api/user/auth/logout", {}, headers)
        alive = self.gateway.ask("GET", "/api/user/self", None, self.bearer)
        self.assertEqual(alive.status, 200)


class TidyTests(SynchronousTestCase):
    """The hourly clean-up."""

    def test_prunes(self) -> None:
        """Sessions that ended long ago are deleted, living ones stay."""
        gateway = peopled()
        gateway.browser("ann").get("/api/user/logout")
        gateway.clock.advance(8 * 86_400)
        gateway.login("ann")
        now(gateway.sessions.tidy(7, 0))
        self.assertEqual(len(gateway.rows(sa.select(schema.user_sessions))), 1)
