"""Tests of two-factor authentication by TOTP."""

from __future__ import annotations

import re
from http.cookies import SimpleCookie
from urllib.parse import parse_qs, unquote, urlsplit

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.second_factor import totp
from knight_tw.records import ROLE_ADMIN
from knight_tw.storage import schema
from tests.web.api.factors import SELF, TWO_FACTOR, FactorGateway, again
from tests.web.api.shapes import BEARER, misfit
from tests.web.gateway import NOW, PASSWORD, Answer, Client


class TwoFactorCase(SynchronousTestCase):
    """A gateway with `ann` (2) and the administrator `adm` (3)."""

    def setUp(self) -> None:
        """A gateway with people."""
        self.gateway = FactorGateway()
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.gateway.add_user("adm", ROLE_ADMIN)

    def second_step(self, code: str) -> Answer:
        """Log `ann` in with a code."""
        flow = self.gateway.login("ann").data["flow_token"]
        body = {"flow_token": flow, "code": code}
        return self.gateway.ask("POST", "/api/user/login/2fa", body)

    def factor(self) -> dict[str, object]:
        """The only row of `two_fas`."""
        return self.gateway.rows(sa.select(schema.two_fas))[0]


class SetUpTests(TwoFactorCase):
    """From nothing to an enabled second factor."""

    def test_status_off(self) -> None:
        """Without a factor the status says so and no more."""
        answer = self.gateway.bearer("ann").get(f"{TWO_FACTOR}/status")
        self.assertEqual(answer.data, {"enabled": False, "locked": False})

    def test_setup(self) -> None:
        """A base32 secret, four backup codes, and the secret as a picture's text."""
        made = self.gateway.bearer("ann").post(f"{TWO_FACTOR}/setup").data
        self.assertEqual(set(made), {"secret", "qr_code_data", "backup_codes"})
        self.assertRegex(made["secret"], r"\A[A-Z2-7]{32}\Z")
        self.assertEqual(len(set(made["backup_codes"])), 4)
        for code in made["backup_codes"]:
            self.assertRegex(code, r"\A[A-Z0-9]{4}-[A-Z0-9]{4}\Z")
        parts = urlsplit(made["qr_code_data"])
        self.assertEqual((parts.scheme, parts.netloc), ("otpauth", "totp"))
        asked = parse_qs(parts.query)
        self.assertEqual(asked["secret"], [made["secret"]])
        self.assertEqual((asked["digits"], asked["period"]), (["6"], ["30"]))
        stored = self.gateway.rows(sa.select(schema.two_fa_backup_codes.c.code_hash))
        self.assertTrue(all(row["code_hash"].startswith("$2a$") for row in stored))

    def test_escaped(self) -> None:
        """No name of site or person can add parameters to the picture's text."""
        self.gateway.set_option("SystemName", "A&B: co?secret=X/é")
        made = self.gateway.bearer("ann").post(f"{TWO_FACTOR}/setup").data
        parts = urlsplit(made["qr_code_data"])
        self.assertEqual(parse_qs(parts.query)["secret"], [made["secret"]])
        self.assertEqual(parse_qs(parts.query)["issuer"], ["A&B  co?secret=X/é"])
        self.assertEqual(unquote(parts.path), "/A&B  co?secret=X/é:ann")

    def test_waiting(self) -> None:
        """A factor that is not enabled yet asks nothing of a login."""
        self.gateway.bearer("ann").post(f"{TWO_FACTOR}/setup")
        self.assertIn("access_token", self.gateway.login("ann").data)
        status = self.gateway.bearer("ann").get(f"{TWO_FACTOR}/status").data
        self.assertFalse(status["enabled"])

    def test_again(self) -> None:
        """Setting up again replaces what waits, and only the new secret counts."""
        client = self.gateway.bearer("ann")
        first = client.post(f"{TWO_FACTOR}/setup").data["secret"]
        second = client.post(f"{TWO_FACTOR}/setup").data["secret"]
        wrong = client.post(f"{TWO_FACTOR}/enable", {"code": self.gateway.code(first)})
        self.assertEqual(wrong.code, "wrong_code")
        body = {"code": self.gateway.code(second)}
        self.assertTrue(client.post(f"{TWO_FACTOR}/enable", body).json["success"])
        codes = self.gateway.rows(sa.select(schema.two_fa_backup_codes))
        self.assertEqual(len(codes), 4)

    def test_soft_deleted_rows(self) -> None:
        """A row that another program deleted softly is not in the way."""
        row = {"user_id": 2, "secret": "X", "is_enabled": True}
        table = schema.two_fas
        self.gateway.execute(sa.insert(table).values(**row, deleted_at=sa.func.now()))
        made = self.gateway.bearer("ann").post(f"{TWO_FACTOR}/setup")
        self.assertTrue(made.json["success"])

    def test_enabled_stays(self) -> None:
        """Setting up while it is on changes nothing."""
        client = self.gateway.bearer("ann")
        _, _, enabled = self.gateway.with_totp(client)
        before = self.factor()
        answer = again(client, enabled).post(f"{TWO_FACTOR}/setup")
        self.assertEqual(answer.code, "already_exists")
        self.assertEqual(self.factor(), before)

    def test_enable_without_setup(self) -> None:
        """There must be something to enable."""
        client = self.gateway.bearer("ann")
        answer = client.post(f"{TWO_FACTOR}/enable", {"code": "000000"})
        self.assertEqual(answer.code, "not_found")

    def test_backup_code_does_not_enable(self) -> None:
        """Only a TOTP code shows that the secret is in an app."""
        client = self.gateway.bearer("ann")
        made = client.post(f"{TWO_FACTOR}/setup").data
        body = {"code": made["backup_codes"][0]}
        answer = client.post(f"{TWO_FACTOR}/enable", body)
        self.assertEqual(answer.code, "wrong_code")

    def test_code_of_enabling_is_used(self) -> None:
        """The code that enabled it does not log in."""
        client = self.gateway.bearer("ann")
        made = client.post(f"{TWO_FACTOR}/setup").data
        code = self.gateway.code(made["secret"])
        client.post(f"{TWO_FACTOR}/enable", {"code": code})
        self.assertEqual(self.second_step(code).code, "wrong_code")
        next_one = self.gateway.code(made["secret"], 1)
        self.assertTrue(self.second_step(next_one).json["success"])

    def test_login_method(self) -> None:
        """The session of such a login is marked as one of two factors."""
        secret, _, _ = self.gateway.with_totp(self.gateway.bearer("ann"))
        data = self.second_step(self.gateway.code(secret)).data
        self.assertEqual(data["session"]["login_method"], "2fa")


class SessionTests(TwoFactorCase):
    """What a change does to the sessions."""

    def test_renewed(self) -> None:
        """The caller gets a new token for the same session; the old one is dead."""
        client = self.gateway.bearer("ann")
        _, _, enabled = self.gateway.with_totp(client)
        self.assertEqual(misfit(enabled.data, BEARER), "")
        self.assertEqual(client.get(SELF).code, "AUTH_SESSION_REVOKED")
        renewed = again(client, enabled)
        self.assertEqual(renewed.get(SELF).status, 200)

    def test_cookie(self) -> None:
        """A browser gets a new cookie, without the stamp that a password gave."""
        browser = self.gateway.browser("ann")
        stamped = browser.post(
            "/api/verify", {"method": "password", "password": PASSWORD}
        )
        browser = again(browser, stamped)
        _, _, enabled = self.gateway.with_totp(browser)
        self.assertEqual(browser.get(SELF).status, 401)
        renewed = again(browser, enabled)
        self.assertEqual(renewed.get(SELF).status, 200)
        content = self.gateway.signer.read_cookie(enabled.cookies()["session"], NOW)
        self.assertNotIn("verified_at", content)

    def test_stamp_is_not_refreshed(self) -> None:
        """The stamp of a password does not come back by a refresh afterwards."""
        browser = self.gateway.browser("ann")
        body = {"method": "password", "password": PASSWORD}
        stamp = browser.post("/api/verify", body).cookies()["session"]
        refresh = SimpleCookie(browser.headers["Cookie"])["new_api_refresh"].value
        stamped = {"Cookie": f"session={stamp}; new_api_refresh={refresh}"}
        path = "/api/user/auth/refresh"
        kept = self.gateway.ask("POST", path, {}, stamped).cookies()
        content = self.gateway.signer.read_cookie(kept["session"], NOW)
        self.assertEqual(content["verified_at"], NOW)
        named = {"New-Api-User": "2"}
        both = "; ".join(f"{name}={value}" for name, value in kept.items())
        self.gateway.with_totp(Client(self.gateway, {"Cookie": both, **named}))
        late = self.gateway.ask("POST", path, {}, {"Cookie": both}).cookies()
        content = self.gateway.signer.read_cookie(late["session"], NOW + 60)
        self.assertNotIn("verified_at", content)

    def test_others_end(self) -> None:
        """Every other session of the account ends, of nobody else."""
        other, stranger = self.gateway.bearer("ann"), self.gateway.bearer("adm")
        browser = self.gateway.browser("ann")
        self.gateway.with_totp(self.gateway.bearer("ann"))
        self.assertEqual(other.get(SELF).code, "AUTH_SESSION_REVOKED")
        self.assertEqual(browser.get(SELF).code, "AUTH_SESSION_REVOKED")
        self.assertEqual(stranger.get(SELF).status, 200)
        self.assertIn(("user", "2"), self.gateway.changes)

    def test_script(self) -> None:
        """An access token may do it too; it has no session to renew."""
        _, _, enabled = self.gateway.with_totp(self.gateway.script(2))
        self.assertIsNone(enabled.data)


class BackupCodeTests(TwoFactorCase):
    """New backup codes."""

    def test_new_ones(self) -> None:
        """They replace the old ones and come with renewed credentials."""
        client = self.gateway.bearer("ann")
        secret, old, enabled = self.gateway.with_totp(client)
        client = again(client, enabled)
        body = {"code": self.gateway.code(secret)}
        answer = client.post(f"{TWO_FACTOR}/backup_codes", body)
        self.assertEqual(misfit(answer.data, {**BEARER, "backup_codes": [str]}), "")
        self.assertEqual(self.second_step(old[0]).code, "wrong_code")
        fresh = answer.data["backup_codes"]
        self.assertTrue(self.second_step(fresh[1].lower()).json["success"])
        self.assertTrue(self.second_step(fresh[2].replace("-", "")).json["success"])
        self.assertEqual(self.second_step(fresh[1]).code, "wrong_code")
        status = again(client, answer).get(f"{TWO_FACTOR}/status").data
        remaining = {"enabled": True, "locked": False, "backup_codes_remaining": 2}
        self.assertEqual(status, remaining)

    def test_by_backup_code(self) -> None:
        """A backup code does not make new ones, and is not used up by trying."""
        client = self.gateway.bearer("ann")
        _, codes, enabled = self.gateway.with_totp(client)
        body = {"code": codes[0]}
        answer = again(client, enabled).post(f"{TWO_FACTOR}/backup_codes", body)
        self.assertEqual(answer.code, "wrong_code")
        self.assertTrue(self.second_step(codes[0]).json["success"])


class DisableTests(TwoFactorCase):
    """Taking the second factor away."""

    def test_by_either(self) -> None:
        """A TOTP code or a backup code takes it away; no row is left."""
        for kind in ("totp", "backup"):
            client = self.gateway.bearer("ann")
            secret, codes, enabled = self.gateway.with_totp(client)
            client = again(client, enabled)
            body = {"code": self.gateway.code(secret) if kind == "totp" else codes[3]}
            answer = client.post(f"{TWO_FACTOR}/disable", body)
            self.assertEqual(misfit(answer.data, BEARER), "")
            self.assertEqual(client.get(SELF).code, "AUTH_SESSION_REVOKED")
            for table in (schema.two_fas, schema.two_fa_backup_codes):
                self.assertEqual(self.gateway.rows(sa.select(table)), [])
            self.assertIn("access_token", self.gateway.login("ann").data)
            self.gateway.clock.advance(60)

    def test_wrong(self) -> None:
        """A wrong code leaves it on."""
        client = self.gateway.bearer("ann")
        _, _, enabled = self.gateway.with_totp(client)
        body = {"code": "ABCD-EFGH"}
        answer = again(client, enabled).post(f"{TWO_FACTOR}/disable", body)
        self.assertEqual(answer.code, "wrong_code")
        self.assertTrue(self.factor()["is_enabled"])

    def test_by_administrator(self) -> None:
        """An administrator takes it from a lower role, which is audited."""
        client = self.gateway.bearer("ann")
        _, _, enabled = self.gateway.with_totp(client)
        client, admin = again(client, enabled), self.gateway.bearer("adm")
        self.assertTrue(admin.delete("/api/user/2/2fa").json["success"])
        self.assertEqual(client.get(SELF).code, "AUTH_SESSION_REVOKED")
        operation = self.gateway.notes[-1]["other"]["op"]
        self.assertEqual(operation["action"], "user.2fa_disable")
        self.assertEqual(operation["params"]["target_user_id"], 2)
        self.assertEqual(admin.delete("/api/user/2/2fa").code, "not_found")

    def test_targets(self) -> None:
        """Nobody's of the own or a higher role, and nobody's that is not there."""
        admin = self.gateway.bearer("adm")
        self.gateway.with_totp(self.gateway.bearer("root"))
        self.assertEqual(admin.delete("/api/user/1/2fa").code, "forbidden_target")
        self.assertEqual(admin.delete("/api/user/3/2fa").code, "forbidden_target")
        self.assertEqual(admin.delete("/api/user/99/2fa").code, "not_found")

    def test_strict(self) -> None:
        """With `auth.strict_step_up` it needs a proof."""
        self.gateway.with_totp(self.gateway.bearer("ann"))
        self.gateway.set_option("auth.strict_step_up", "true")
        admin = self.gateway.bearer("adm")
        refused = admin.delete("/api/user/2/2fa")
        self.assertEqual(
            (refused.status, refused.code), (403, "SECURITY_PROOF_REQUIRED")
        )
        body = {"method": "password", "password": PASSWORD, "scope": "account.write"}
        proof = admin.post("/api/verify", body).data["proof_token"]
        proven = {"X-Security-Proof": proof}
        answer = admin.ask("DELETE", "/api/user/2/2fa", None, proven)
        self.assertTrue(answer.json["success"])
        script = self.gateway.script(3)
        refused = script.delete("/api/user/2/2fa")
        self.assertEqual(refused.code, "SECURITY_PROOF_INVALID")


class StatsTests(TwoFactorCase):
    """`stats`."""

    def test_share(self) -> None:
        """Living accounts, and those of them whose factor is enabled."""
        self.gateway.with_totp(self.gateway.bearer("ann"))
        self.gateway.bearer("adm").post(f"{TWO_FACTOR}/setup")
        self.gateway.add_user("gone")
        gone = sa.update(schema.users).where(schema.users.c.username == "gone")
        self.gateway.execute(gone.values(deleted_at=sa.func.now()))
        answer = self.gateway.bearer("adm").get(f"{TWO_FACTOR}/stats")
        expected = {"total_users": 3, "enabled_users": 1, "enabled_rate": "33.3%"}
        self.assertEqual(answer.data, expected)

    def test_who(self) -> None:
        """Not for everybody."""
        refused = self.gateway.bearer("ann").get(f"{TWO_FACTOR}/stats")
        self.assertEqual(refused.status, 403)


class LockTests(TwoFactorCase):
    """Guessing."""

    def test_lock(self) -> None:
        """Five wrong codes lock it for five minutes, for right ones too."""
        client = self.gateway.bearer("ann")
        secret, codes, enabled = self.gateway.with_totp(client)
        client = again(client, enabled)
        for _ in range(5):
            self.assertEqual(self.second_step("999999").code, "wrong_code")
        status = client.get(f"{TWO_FACTOR}/status").data
        self.assertTrue(status["locked"])
        for code in (self.gateway.code(secret), codes[0]):
            answer = client.post(f"{TWO_FACTOR}/disable", {"code": code})
            self.assertEqual(answer.code, "locked")
            self.assertEqual(answer.get("Retry-After"), "300")
        self.gateway.clock.advance(300)
        self.assertTrue(self.second_step(self.gateway.code(secret)).json["success"])

    def test_right_code_forgives(self) -> None:
        """A right code, of either kind, forgets the wrong ones before it."""
        secret, codes, _ = self.gateway.with_totp(self.gateway.bearer("ann"))
        for right in (codes[0], self.gateway.code(secret)):
            for _ in range(4):
                self.assertEqual(self.second_step("999999").code, "wrong_code")
            self.assertTrue(self.second_step(right).json["success"])
        self.assertEqual(self.factor()["failed_attempts"], 0)

    def test_fifth_may_be_right(self) -> None:
        """The fifth try in a row still counts when its code is right."""
        secret, _, _ = self.gateway.with_totp(self.gateway.bearer("ann"))
        for _ in range(4):
            self.second_step("999999")
        self.assertTrue(self.second_step(self.gateway.code(secret)).json["success"])
        self.assertIsNone(self.factor()["locked_until"])

    def test_replay(self) -> None:
        """The same code is not taken twice within its window."""
        secret, _, _ = self.gateway.with_totp(self.gateway.bearer("ann"))
        code = self.gateway.code(secret)
        self.assertTrue(self.second_step(code).json["success"])
        self.assertEqual(self.second_step(code).code, "wrong_code")

    def test_critical_limit(self) -> None:
        """Routes that check codes count into the limit of critical requests."""
        gateway = FactorGateway(
            {"CRITICAL_RATE_LIMIT_ENABLE": "true", "CRITICAL_RATE_LIMIT": "4"}
        )
        gateway.set_up()
        client = gateway.bearer("root")
        for path in ("setup", "enable", "disable"):
            client.post(f"{TWO_FACTOR}/{path}", {"code": "1"})
        answer = client.post(f"{TWO_FACTOR}/backup_codes", {"code": "1"})
        self.assertEqual((answer.status, answer.code), (429, "rate_limited"))


class SecretTests(TwoFactorCase):
    """How secrets are kept."""

    def test_plain(self) -> None:
        """As they are, by default: another program can read them."""
        secret, _, _ = self.gateway.with_totp(self.gateway.bearer("ann"))
        self.assertEqual(self.factor()["secret"], secret)

    def test_sealed(self) -> None:
        """With the option new ones are sealed, and read again."""
        self.gateway.set_option("auth.encrypt_totp_secrets", "true")
        secret, _, _ = self.gateway.with_totp(self.gateway.bearer("ann"))
        stored = str(self.factor()["secret"])
        self.assertTrue(re.fullmatch(r"enc:[A-Za-z0-9+/=]{80}", stored), stored)
        self.assertNotIn(secret, stored)
        self.gateway.set_option("auth.encrypt_totp_secrets", "false")
        self.assertTrue(self.second_step(self.gateway.code(secret)).json["success"])

    def test_moved(self) -> None:
        """A sealed secret copied to another account, or broken, opens nothing: not by
        the codes of an empty secret either."""
        self.gateway.set_option("auth.encrypt_totp_secrets", "true")
        secret, _, _ = self.gateway.with_totp(self.gateway.bearer("adm"))
        stored = self.factor()["secret"]
        for sealed in (stored, "enc:broken", "enc:", ""):
            self.gateway.execute(sa.delete(schema.two_fas))
            row = {"user_id": 2, "secret": sealed, "is_enabled": True}
            self.gateway.execute(sa.insert(schema.two_fas).values(row))
            answer = self.second_step(self.gateway.code(secret))
            self.assertEqual(answer.code, "wrong_code")
            self.assertRaises(ValueError, totp, "", NOW // 30)
        self.flushLoggedErrors()
