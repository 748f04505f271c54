"""Tests of who is let in: credentials, roles, the second factor shown again."""

from __future__ import annotations

import sqlalchemy as sa
from klein import Klein
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from knight_tw.accounts.second_factor import totp
from knight_tw.accounts.signing import ACCESS, PROOF, Claims, Signer
from knight_tw.records import ROLE_ADMIN
from knight_tw.storage import schema, user_writes
from knight_tw.web.api.answers import install, ok
from knight_tw.web.auth import AUTH_VERSION, Guard
from tests.web.gateway import NOW, Answer, Client, Gateway, now

SELF = "/api/user/self"


class Doors:
    """Routes that ask the guard."""

    app = Klein()
    install(app)
    guard: Guard

    @app.route("/api/doors/admin", methods=["GET"])
    async def admin(self, request: Request) -> bytes:
        """For administrators."""
        viewer = await self.guard.viewer(request, ROLE_ADMIN)
        return ok({"id": viewer.id, "via": viewer.via.value, "modern": viewer.modern})

    @app.route("/api/doors/public", methods=["GET"])
    async def public(self, request: Request) -> bytes:
        """For everybody."""
        viewer = await self.guard.visitor(request)
        return ok(None if viewer is None else viewer.id)

    @app.route("/api/doors/verified", methods=["GET"])
    async def verified(self, request: Request) -> bytes:
        """For those who showed a second factor."""
        viewer = await self.guard.viewer(request)
        self.guard.verify(request, viewer, "channel.key.read")
        return ok("in")


def with_doors() -> Gateway:
    """A set-up gateway with the doors, `ann` (2, common) and `adm` (3)."""
    doors = Doors()
    gateway = Gateway(extra=[doors])
    doors.guard = gateway.guard
    gateway.set_up()
    gateway.add_user("ann")
    gateway.add_user("adm", ROLE_ADMIN)
    return gateway


class CredentialTests(SynchronousTestCase):
    """What opens a dashboard route, and with which answer it stays shut."""

    def setUp(self) -> None:
        """A gateway with people."""
        self.gateway = with_doors()

    def refused(self, headers: dict[str, str], status: int, code: str) -> None:
        """The route of the own account refuses these headers."""
        answer = self.gateway.ask("GET", SELF, None, headers)
        self.assertEqual((answer.status, answer.code), (status, code), headers)
        self.assertEqual(answer.get("Auth-Version"), "")

    def test_each(self) -> None:
        """Bearer session, cookie session and access token all open it."""
        for client, via in (
            (self.gateway.bearer("adm"), "bearer"),
            (self.gateway.browser("adm"), "cookie"),
            (self.gateway.script(3), "access_token"),
        ):
            answer = client.get("/api/doors/admin")
            self.assertEqual(
                answer.data, {"id": 3, "via": via, "modern": via == "bearer"}
            )
            self.assertEqual(answer.get("Auth-Version"), AUTH_VERSION)

    def test_access_token_forms(self) -> None:
        """An access token may stand alone or behind Bearer, in any case."""
        script = self.gateway.script(2)
        token = script.headers["Authorization"]
        for form in (token, f"Bearer {token}", f"bearer  {token}"):
            answer = self.gateway.ask("GET", SELF, None, {"Authorization": form})
            self.assertEqual(answer.status, 200, form)

    def test_none(self) -> None:
        """Without a credential it is 401."""
        self.refused({}, 401, "AUTH_UNAUTHORIZED")

    def test_unknown(self) -> None:
        """Unknown tokens are 401, whatever they look like."""
        for given in ("nonsense", "Bearer nonsense", "Bearer a.b.c", "Bearer x.y"):
            self.refused({"Authorization": given}, 401, "AUTH_UNAUTHORIZED")

    def test_case_of_token(self) -> None:
        """An access token is compared to the letter."""
        self.gateway.script(2, "Abc" * 10)
        self.refused({"Authorization": "abc" * 10}, 401, "AUTH_UNAUTHORIZED")

    def test_no_fall_back(self) -> None:
        """A bad Authorization header is refused though the cookie is good."""
        browser = self.gateway.browser("ann")
        headers = {**browser.headers, "Authorization": "nonsense"}
        self.refused(headers, 401, "AUTH_UNAUTHORIZED")

    def test_expired(self) -> None:
        """A bearer token lives fifteen minutes and five seconds."""
        client = self.gateway.bearer("ann")
        self.gateway.clock.advance(905)
        self.assertEqual(client.get(SELF).status, 200)
        self.gateway.clock.advance(1)
        self.refused(client.headers, 401, "AUTH_TOKEN_EXPIRED")

    def test_forged(self) -> None:
        """A token signed with another secret, or made for another use, is refused."""
        claims = Claims(2, "sid", 1, 1)
        foreign = Signer("another secret").bearer(claims, ACCESS, NOW, 900, "x")
        proof = self.gateway.signer.bearer(claims, PROOF, NOW, 900, "x")
        for token in (foreign, proof):
            headers = {"Authorization": f"Bearer {token}"}
            self.refused(headers, 401, "AUTH_UNAUTHORIZED")

    def test_user_header(self) -> None:
        """A cookie needs New-Api-User; others must not contradict it."""
        cookie = self.gateway.browser("ann").headers["Cookie"]
        bearer = self.gateway.bearer("ann").headers["Authorization"]
        token = self.gateway.script(2).headers["Authorization"]
        for headers, status in (
            ({"Cookie": cookie}, 401),
            ({"Cookie": cookie, "New-Api-User": "x"}, 401),
            ({"Cookie": cookie, "New-Api-User": "3"}, 401),
            ({"Cookie": cookie, "New-Api-User": "2"}, 200),
            ({"Cookie": cookie, "New-Api-User": " 2 "}, 200),
            ({"Authorization": bearer}, 200),
            ({"Authorization": bearer, "New-Api-User": "2"}, 200),
            ({"Authorization": bearer, "New-Api-User": "3"}, 401),
            ({"Authorization": token, "New-Api-User": "2"}, 200),
            ({"Authorization": token, "New-Api-User": "3"}, 401),
        ):
            answer = self.gateway.ask("GET", SELF, None, headers)
            self.assertEqual(answer.status, status, headers)

    def test_forged_cookie(self) -> None:
        """A changed, foreign or old cookie is no login."""
        good = self.gateway.browser("ann").headers["Cookie"]
        value = good.split("session=")[1].split(";")[0]
        packed, _, signature = value.partition(".")
        foreign = Signer("another secret").cookie({"id": 2, "av": 1, "sid": "x"}, NOW)
        for bad in (packed, f"{packed}A.{signature}", f"{value}A", foreign, "", "..."):
            headers = {"Cookie": f"session={bad}", "New-Api-User": "2"}
            self.refused(headers, 401, "AUTH_UNAUTHORIZED")
        self.gateway.clock.advance(30 * 86_400)
        headers = {"Cookie": good, "New-Api-User": "2"}
        self.refused(headers, 401, "AUTH_UNAUTHORIZED")

    def test_raised_version(self) -> None:
        """A change of the account ends every session made before, at once."""
        clients = (self.gateway.bearer("ann"), self.gateway.browser("ann"))
        now(self.gateway.db.run(user_writes.secure, 2, {"group": "vip"}, "x", NOW))
        for client in clients:
            self.refused(client.headers, 401, "AUTH_SESSION_REVOKED")

    def test_versions(self) -> None:
        """Versions that another program raised end sessions too."""
        clients = (self.gateway.bearer("ann"), self.gateway.browser("ann"))
        self.gateway.execute(sa.update(schema.user_sessions).values(version=2))
        self.refused(clients[0].headers, 401, "AUTH_SESSION_REVOKED")
        self.gateway.execute(sa.update(schema.users).values(auth_version=2))
        self.refused(clients[1].headers, 401, "AUTH_SESSION_REVOKED")

    def test_borrowed_session(self) -> None:
        """A cookie of one account does not open with another's session."""
        self.gateway.bearer("adm")
        (row,) = self.gateway.rows(sa.select(schema.user_sessions.c.sid))
        content = {"id": 2, "av": 1, "sid": row["sid"]}
        cookie = self.gateway.signer.cookie(content, NOW)
        headers = {"Cookie": f"session={cookie}", "New-Api-User": "2"}
        self.refused(headers, 401, "AUTH_SESSION_REVOKED")

    def test_disabled(self) -> None:
        """A disabled account is told so by every credential."""
        clients = (
            self.gateway.bearer("ann"),
            self.gateway.browser("ann"),
            self.gateway.script(2),
        )
        now(self.gateway.db.run(user_writes.update, 2, {"status": 2}))
        for client in clients:
            self.refused(client.headers, 401, "AUTH_USER_DISABLED")

    def test_deleted(self) -> None:
        """A deleted account is nobody."""
        bearer, script = self.gateway.bearer("ann"), self.gateway.script(2)
        now(self.gateway.db.run(user_writes.soft_delete, 2, NOW))
        self.refused(bearer.headers, 401, "AUTH_SESSION_REVOKED")
        self.refused(script.headers, 401, "AUTH_UNAUTHORIZED")

    def test_unusable(self) -> None:
        """An account of an unknown role is refused."""
        client = self.gateway.bearer("ann")
        now(self.gateway.db.run(user_writes.update, 2, {"role": 7}))
        self.refused(client.headers, 401, "AUTH_USER_INVALID")

    def test_role(self) -> None:
        """A role that is too low is 403; a demotion holds at the next request."""
        client = self.gateway.bearer("adm")
        self.assertEqual(client.get("/api/doors/admin").status, 200)
        now(self.gateway.db.run(user_writes.update, 3, {"role": 1}))
        answer = client.get("/api/doors/admin")
        self.assertEqual(
            (answer.status, answer.code), (403, "AUTH_INSUFFICIENT_PRIVILEGE")
        )
        self.assertEqual(answer.get("Auth-Version"), "")

    def test_visitor(self) -> None:
        """A public route knows its visitor, and takes a bad credential for a guest."""
        path = "/api/doors/public"
        self.assertEqual(self.gateway.bearer("ann").get(path).data, 2)
        self.assertIsNone(self.gateway.ask("GET", path).data)
        bad = {"Authorization": "nonsense"}
        self.assertIsNone(self.gateway.ask("GET", path, None, bad).data)


class VerifyTests(SynchronousTestCase):
    """POST /api/verify and what it opens."""

    def setUp(self) -> None:
        """A gateway with people."""
        self.gateway = with_doors()

    def verify(self, client: Client, **body: str) -> Answer:
        """The answer to a verification."""
        return client.post("/api/verify", body)

    def door(self, client: Client, **headers: str) -> str:
        """`in`, or the code of the refusal."""
        answer = client.get("/api/doors/verified", **headers)
        return str(answer.data) if answer.json["success"] else answer.code

    def test_cookie_stamp(self) -> None:
        """A cookie session is stamped for five minutes."""
        browser = self.gateway.browser("ann")
        self.assertEqual(self.door(browser), "VERIFICATION_REQUIRED")
        answer = self.verify(browser, method="password", password="example-pass-1")
        self.assertEqual(answer.data["expires_at"], NOW + 300)
        browser.headers["Cookie"] = f"session={answer.cookies()['session']}"
        self.assertEqual(self.door(browser), "in")
        self.gateway.clock.advance(300)
        self.assertEqual(self.door(browser), "VERIFICATION_EXPIRED")

    def test_proof(self) -> None:
        """A bearer session gets a proof for one scope."""
        client = self.gateway.bearer("ann")
        self.assertEqual(self.door(client), "SECURITY_PROOF_REQUIRED")
        data = self.verify(
            client,
            method="password",
            password="example-pass-1",
            scope="channel.key.read",
        ).data
        self.assertEqual(set(data), {"proof_token", "expires_at", "method", "scope"})
        proof = {"X-Security-Proof": data["proof_token"]}
        self.assertEqual(self.door(client, **proof), "in")
        other = self.gateway.bearer("ann")
        self.assertEqual(self.door(other, **proof), "SECURITY_PROOF_INVALID")
        self.gateway.clock.advance(306)
        self.assertEqual(self.door(client, **proof), "SECURITY_PROOF_EXPIRED")

    def test_strong_factor(self) -> None:
        """Who has a second factor cannot pass by password."""
        secret = "JBSWY3DPEHPK3PXP"
        browser = self.gateway.browser("ann")
        self.gateway.execute(
            sa.insert(schema.two_fas).values(user_id=2, secret=secret, is_enabled=True)
        )
        answer = self.verify(browser, method="password", password="example-pass-1")
        self.assertEqual(answer.code, "VERIFICATION_INVALID")
        answer = self.verify(browser, method="2fa", code=totp(secret, NOW // 30))
        self.assertTrue(answer.data["verified"])

    def test_other_scope(self) -> None:
        """A proof for something else does not open the door."""
        client = self.gateway.bearer("ann")
        data = self.verify(
            client,
            method="password",
            password="example-pass-1",
            scope="passkey.delete",
        ).data
        proof = {"X-Security-Proof": data["proof_token"]}
        self.assertEqual(self.door(client, **proof), "SECURITY_PROOF_SCOPE_MISMATCH")
        bad = {"X-Security-Proof": "nonsense"}
        self.assertEqual(self.door(client, **bad), "SECURITY_PROOF_INVALID")

    def test_refused(self) -> None:
        """Wrong passwords, unknown methods and scopes, access tokens."""
        browser, bearer = self.gateway.browser("ann"), self.gateway.bearer("ann")
        script = self.gateway.script(2)
        wrong = {"method": "password", "password": "x"}
        for client, body, status, code in (
            (browser, wrong, 403, "VERIFICATION_INVALID"),
            (browser, {"method": "password"}, 200, "missing_field"),
            (browser, {"method": "passkey"}, 403, "VERIFICATION_REQUIRED"),
            (
                bearer,
                {"method": "passkey", "scope": "passkey.delete"},
                200,
                "invalid_field",
            ),
            (browser, {}, 200, "missing_field"),
            (browser, {"method": "2fa", "code": "000000"}, 200, "wrong_code"),
            (bearer, wrong, 200, "invalid_field"),
            (bearer, {"method": "2fa", "scope": "all"}, 200, "invalid_field"),
            (script, {"method": "password"}, 401, "AUTH_UNAUTHORIZED"),
        ):
            answer = client.post("/api/verify", body)
            self.assertEqual((answer.status, answer.code), (status, code), body)
        self.assertEqual(self.door(script), "SECURITY_PROOF_INVALID")
