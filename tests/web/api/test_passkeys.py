"""Tests of passkeys, with an authenticator in software."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import sqlalchemy as sa
from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.passkeys import LONGEST
from knight_tw.records import ROLE_ADMIN
from knight_tw.storage import schema
from tests.authenticator import USER_PRESENT, Authenticator
from tests.web.api.factors import PASSKEY, SELF, FactorGateway, again
from tests.web.api.shapes import BEARER, LOGIN, misfit
from tests.web.gateway import NOW, PASSWORD, Answer, Client

BEGUN = {"options": {"publicKey": dict}, "flow_token": str, "expires_at": int}


class PasskeyCase(SynchronousTestCase):
    """A gateway with `ann` (2), `bob` (3) and the administrator `adm` (4)."""

    def setUp(self) -> None:
        """A gateway with people, and passkeys switched on."""
        self.gateway = FactorGateway()
        self.gateway.set_up()
        self.gateway.with_passkeys()
        self.gateway.add_user("ann", display_name="Ann B.")
        self.gateway.add_user("bob")
        self.gateway.add_user("adm", ROLE_ADMIN)
        self.key = Authenticator()

    def stored(self) -> dict[str, Any]:
        """The only row."""
        return self.gateway.rows(sa.select(schema.passkey_credentials))[0]

    def begin(self, client: Client, what: str, **headers: str) -> Any:
        """The data of a begin route."""
        return client.post(f"{PASSKEY}/{what}/begin", {}, **headers).data

    def log_in(self, key: Authenticator, **changes: Any) -> Answer:
        """The answer to a login by `key`."""
        guest = Client(self.gateway, {})
        begun = self.begin(guest, "login")
        credential = key.get(begun["options"], **changes)
        body = {"flow_token": begun["flow_token"], "credential": credential}
        return guest.post(f"{PASSKEY}/login/finish", body)

    def proof(self, client: Client, scope: str, **how: str) -> dict[str, str]:
        """The header with a proof, by the password unless `how` says otherwise."""
        body = {"method": "password", "password": PASSWORD, "scope": scope, **how}
        data = client.post("/api/verify", body).data
        return {"X-Security-Proof": data["proof_token"]}

    def verified(self, client: Client, scope: str = "") -> Answer:
        """The answer to showing the passkey again."""
        begun = client.post(f"{PASSKEY}/verify/begin", {"scope": scope}).data
        body = {"flow_token": begun["flow_token"]}
        body["credential"] = self.key.get(begun["options"])
        return client.post(f"{PASSKEY}/verify/finish", body)


class RegisterTests(PasskeyCase):
    """Making a passkey."""

    def test_options(self) -> None:
        """What the browser is asked, in the reference's shape."""
        begun = self.begin(self.gateway.bearer("ann"), "register")
        self.assertEqual(misfit(begun, BEGUN), "")
        self.assertEqual(begun["expires_at"], NOW + 120)
        asked = begun["options"]["publicKey"]
        self.assertEqual(
            asked["rp"],
            {"name": self.gateway.options.text("SystemName"), "id": "gateway.example"},
        )
        person = {"name": "ann", "displayName": "Ann B.", "id": "Mg"}
        self.assertEqual(asked["user"], person)
        self.assertEqual(len(asked["challenge"]), 43)
        self.assertEqual(asked["timeout"], 120_000)
        first = {"type": "public-key", "alg": -7}
        self.assertEqual(asked["pubKeyCredParams"][0], first)
        self.assertEqual(
            asked["authenticatorSelection"],
            {
                "requireResidentKey": True,
                "residentKey": "required",
                "userVerification": "preferred",
            },
        )

    def test_choices(self) -> None:
        """Options of the site decide about verification, attachment and name."""
        self.gateway.set_option("passkey.user_verification", "required")
        self.gateway.set_option("passkey.attachment_preference", "platform")
        self.gateway.set_option("passkey.rp_display_name", "Site")
        asked = self.begin(self.gateway.bearer("ann"), "register")["options"][
            "publicKey"
        ]
        chosen = asked["authenticatorSelection"]
        self.assertEqual(chosen["userVerification"], "required")
        self.assertEqual(chosen["authenticatorAttachment"], "platform")
        self.assertEqual(asked["rp"]["name"], "Site")

    def test_register(self) -> None:
        """The row holds what the reference would hold; the session gets a new token."""
        client = self.gateway.bearer("ann")
        answer = self.gateway.with_passkey(client, self.key)
        self.assertEqual(misfit(answer.data, BEARER), "")
        row = self.stored()
        self.assertEqual(row["user_id"], 2)
        self.assertEqual(
            row["credential_id"], b64encode(self.key.credential_id).decode()
        )
        self.assertEqual(row["aa_guid"], b64encode(b"\x11" * 16).decode())
        self.assertEqual(row["attestation_type"], "none")
        self.assertEqual(row["transports"], '["internal","hybrid"]')
        self.assertEqual(row["attachment"], "platform")
        self.assertTrue(row["backup_eligible"] and row["backup_state"])
        self.assertEqual(client.get(SELF).code, "AUTH_SESSION_REVOKED")
        shown = again(client, answer).get(PASSKEY).data
        expected = {"enabled": True, "backup_eligible": True, "backup_state": True}
        self.assertEqual(shown, expected)

    def test_bare_credential(self) -> None:
        """Older consoles send the credential alone, with their cookie."""
        browser = self.gateway.browser("ann")
        begun = self.begin(browser, "register")
        credential = self.key.create(begun["options"])
        answer = browser.post(f"{PASSKEY}/register/finish", credential)
        self.assertTrue(answer.json["success"], answer.body)
        self.assertEqual(again(browser, answer).get(SELF).status, 200)

    def test_once(self) -> None:
        """A challenge serves once."""
        client = self.gateway.bearer("ann")
        begun = self.begin(client, "register")
        body = {"flow_token": begun["flow_token"], "credential": {}}
        body["credential"] = self.key.create(begun["options"])
        renewed = again(client, client.post(f"{PASSKEY}/register/finish", body))
        self.assertEqual(
            renewed.post(f"{PASSKEY}/register/finish", body).code, "code_expired"
        )

    def test_late(self) -> None:
        """A challenge lives two minutes."""
        client = self.gateway.bearer("ann")
        begun = self.begin(client, "register")
        self.gateway.clock.advance(120)
        body = {"credential": self.key.create(begun["options"])}
        answer = client.post(f"{PASSKEY}/register/finish", body)
        self.assertEqual(answer.code, "code_expired")

    def test_of_another(self) -> None:
        """A challenge of another person, session or purpose is not taken."""
        mine = self.begin(self.gateway.bearer("ann"), "register")
        credential = self.key.create(mine["options"])
        body = {"flow_token": mine["flow_token"], "credential": credential}
        for client in (self.gateway.bearer("bob"), self.gateway.bearer("ann")):
            again_mine = self.begin(self.gateway.bearer("ann"), "register")
            credential = self.key.create(again_mine["options"])
            body = {"flow_token": again_mine["flow_token"], "credential": credential}
            answer = client.post(f"{PASSKEY}/register/finish", body)
            self.assertEqual(answer.code, "code_expired")
        guest = Client(self.gateway, {})
        begun = self.begin(guest, "login")
        made = self.key.create(
            {
                "publicKey": {
                    **mine["options"]["publicKey"],
                    "challenge": begun["flow_token"],
                }
            }
        )
        body = {"flow_token": begun["flow_token"], "credential": made}
        client = self.gateway.bearer("ann")
        answer = client.post(f"{PASSKEY}/register/finish", body)
        self.assertEqual(answer.code, "code_expired")

    def test_falsified(self) -> None:
        """Another origin, challenge or type is refused, and nothing is stored."""
        client = self.gateway.bearer("ann")
        for change in (
            {"origin": "https://evil.example"},
            {"origin": "http://gateway.example"},
            {"challenge": "AAAA"},
            {"type": "webauthn.get"},
        ):
            begun = self.begin(client, "register")
            credential = self.key.create(begun["options"], **change)
            body = {"flow_token": begun["flow_token"], "credential": credential}
            answer = client.post(f"{PASSKEY}/register/finish", body)
            self.assertEqual(answer.code, "wrong_credentials", change)
        self.assertEqual(self.gateway.rows(sa.select(schema.passkey_credentials)), [])

    def test_other_site(self) -> None:
        """An authenticator that signed for another domain is refused."""
        client = self.gateway.bearer("ann")
        begun = self.begin(client, "register")
        begun["options"]["publicKey"]["rp"]["id"] = "evil.example"
        body = {"credential": self.key.create(begun["options"])}
        answer = client.post(f"{PASSKEY}/register/finish", body)
        self.assertEqual(answer.code, "wrong_credentials")

    def test_verification_required(self) -> None:
        """An authenticator that did not verify the person is refused if it must."""
        self.gateway.set_option("passkey.user_verification", "required")
        self.key.flags = USER_PRESENT
        answer = self.gateway.with_passkey(self.gateway.bearer("ann"), self.key)
        self.assertEqual(answer.code, "wrong_credentials")

    def test_proof_needed(self) -> None:
        """Who has a second factor must show it before a passkey is made."""
        client = self.gateway.bearer("ann")
        secret, _, enabled = self.gateway.with_totp(client)
        client = again(client, enabled)
        refused = client.post(f"{PASSKEY}/register/begin")
        self.assertEqual(
            (refused.status, refused.code), (403, "SECURITY_PROOF_REQUIRED")
        )
        other = self.proof(
            client, "passkey.delete", method="2fa", code=self.gateway.code(secret)
        )
        refused = client.post(f"{PASSKEY}/register/begin", {}, **other)
        self.assertEqual(refused.code, "SECURITY_PROOF_SCOPE_MISMATCH")
        self.gateway.clock.advance(30)
        proof = self.proof(
            client, "passkey.register", method="2fa", code=self.gateway.code(secret)
        )
        begun = self.begin(client, "register", **proof)
        self.assertEqual(misfit(begun, BEGUN), "")

    def test_earlier_password_proof(self) -> None:
        """A proof by password ends to be enough once there is a second factor."""
        client = self.gateway.bearer("ann")
        proof = self.proof(client, "passkey.register")
        _, _, enabled = self.gateway.with_totp(client)
        client = again(client, enabled)
        refused = client.post(f"{PASSKEY}/register/begin", {}, **proof)
        self.assertEqual(refused.code, "SECURITY_PROOF_METHOD_MISMATCH")

    def test_one_per_user(self) -> None:
        """A second passkey replaces the first, whose authenticator is left out."""
        client = self.gateway.bearer("ann")
        client = again(client, self.gateway.with_passkey(client, self.key))
        proof = self.verified(client, "passkey.register").data["proof_token"]
        headers = {"X-Security-Proof": proof}
        begun = self.begin(client, "register", **headers)
        excluded = begun["options"]["publicKey"]["excludeCredentials"]
        self.assertEqual(len(excluded), 1)
        second = Authenticator(credential_id=b"second")
        body = {"credential": second.create(begun["options"])}
        answer = client.post(f"{PASSKEY}/register/finish", body)
        self.assertTrue(answer.json["success"], answer.body)
        self.assertEqual(self.stored()["credential_id"], b64encode(b"second").decode())
        self.assertEqual(self.log_in(self.key).code, "wrong_credentials")
        self.assertEqual(self.log_in(second).data["id"], 2)

    def test_taken(self) -> None:
        """One credential cannot be two people's."""
        self.gateway.with_passkey(self.gateway.bearer("ann"), self.key)
        copy = evolve(self.key)
        answer = self.gateway.with_passkey(self.gateway.bearer("bob"), copy)
        self.assertEqual(answer.code, "already_exists")
        self.assertEqual(self.log_in(self.key).data["id"], 2)

    def test_script(self) -> None:
        """An access token cannot make one: nobody sits at a script."""
        answer = self.gateway.script(2).post(f"{PASSKEY}/register/begin")
        self.assertEqual((answer.status, answer.code), (403, "AUTH_SESSION_REQUIRED"))


class SiteTests(PasskeyCase):
    """What the site is to a browser."""

    def begun(self, host: str = "gateway.example") -> Answer:
        """The answer to the beginning of a login."""
        raw = f"POST {PASSKEY}/login/begin HTTP/1.1\r\nHost: {host}\r\n\r\n"
        return self.gateway.send(raw.encode())

    def site(self, host: str = "gateway.example") -> str:
        """The domain that is asked for."""
        return str(self.begun(host).data["options"]["publicKey"]["rpId"])

    def test_off(self) -> None:
        """Switched off, no ceremony begins; what there is can be seen and removed."""
        self.gateway.with_passkey(self.gateway.bearer("ann"), self.key)
        self.gateway.set_option("passkey.enabled", "false")
        self.assertEqual(self.begun().code, "not_configured")
        client = self.gateway.bearer("ann")
        refused = client.post(f"{PASSKEY}/register/begin")
        self.assertEqual(refused.code, "not_configured")
        self.assertTrue(client.get(PASSKEY).data["enabled"])

    def test_domain(self) -> None:
        """From the option, else the server's address, else the request; no port."""
        self.assertEqual(self.site(), "gateway.example")
        self.gateway.set_option("passkey.rp_id", "Example.org:8443")
        self.assertEqual(self.site(), "example.org")
        self.gateway.set_option("passkey.rp_id", "")
        self.gateway.set_option("ServerAddress", "")
        self.assertEqual(self.site("other.example:3000"), "other.example")

    def test_addresses(self) -> None:
        """An IP address is no domain."""
        self.gateway.set_option("ServerAddress", "")
        for host in ("192.0.2.7:3000", "[2001:db8::1]:3000", "127.0.0.1"):
            self.assertEqual(self.begun(host).code, "not_configured", host)

    def test_insecure(self) -> None:
        """Plain http is refused, except for localhost or where it is allowed."""
        self.gateway.set_option("passkey.origins", "")
        self.gateway.set_option("ServerAddress", "")
        self.assertEqual(self.begun().code, "not_configured")
        self.assertEqual(self.site("localhost:3000"), "localhost")
        self.gateway.set_option("passkey.allow_insecure_origin", "true")
        self.assertEqual(self.site(), "gateway.example")

    def test_origins(self) -> None:
        """Pages of any listed origin may answer, written as browsers write them."""
        listed = "https://GATEWAY.example:443/, https://console.gateway.example:8443"
        self.gateway.set_option("passkey.origins", listed)
        for origin in (
            "https://gateway.example",
            "https://console.gateway.example:8443",
        ):
            key = Authenticator(origin=origin, credential_id=origin.encode())
            name = "ann" if origin.endswith("8443") else "bob"
            answer = self.gateway.with_passkey(self.gateway.bearer(name), key)
            self.assertTrue(answer.json["success"], answer.body)


class LoginTests(PasskeyCase):
    """Logging in."""

    def setUp(self) -> None:
        """`ann` has a passkey."""
        super().setUp()
        client = self.gateway.bearer("ann")
        self.client = again(client, self.gateway.with_passkey(client, self.key))

    def test_options(self) -> None:
        """Whoever asks is asked the same: nothing about anybody."""
        begun = self.begin(Client(self.gateway, {}), "login")
        self.assertEqual(misfit(begun, BEGUN), "")
        asked = begun["options"]["publicKey"]
        self.assertEqual(
            set(asked), {"challenge", "timeout", "rpId", "userVerification"}
        )

    def test_in(self) -> None:
        """A login as any other; its use is remembered and logged."""
        answer = self.log_in(self.key)
        self.assertEqual(misfit(answer.data, LOGIN), "")
        self.assertEqual(answer.data["session"]["login_method"], "passkey")
        self.assertEqual(set(answer.cookies()), {"session", "new_api_refresh"})
        self.assertEqual(self.stored()["sign_count"], 1)
        shown = self.client.get(PASSKEY).data
        self.assertEqual(shown["last_used_at"], "2026-11-25T10:58:52Z")
        operation = self.gateway.notes[-1]["other"]["op"]
        self.assertEqual(operation["params"], {"method": "passkey"})

    def test_bare_credential(self) -> None:
        """Older consoles send the credential alone."""
        guest = Client(self.gateway, {})
        credential = self.key.get(self.begin(guest, "login")["options"])
        answer = guest.post(f"{PASSKEY}/login/finish", credential)
        self.assertEqual(answer.data["id"], 2)

    def test_skips_totp(self) -> None:
        """A passkey is a second factor by itself."""
        self.gateway.with_totp(self.client)
        self.assertIn("access_token", self.log_in(self.key).data)

    def test_refused(self) -> None:
        """Wrong keys, handles, origins and challenges get one and the same answer."""
        stranger = evolve(self.key, key=Authenticator().key)
        unknown = evolve(self.key, credential_id=b"unknown")
        other = evolve(self.key, handle=b"3")
        strange = evolve(self.key, handle=b"x" * 64)
        for key, changes in (
            (stranger, {}),
            (unknown, {}),
            (other, {}),
            (strange, {}),
            (self.key, {"origin": "https://evil.example"}),
            (self.key, {"type": "webauthn.create"}),
        ):
            answer = self.log_in(key, **changes)
            self.assertEqual(answer.code, "wrong_credentials")
            self.assertEqual(answer.json["message"], "the passkey was not accepted")
            self.assertEqual(answer.cookies(), {})
        self.assertFalse(self.stored()["clone_warning"])

    def test_nobody_to_be(self) -> None:
        """Disabled and deleted accounts are not let in."""
        for change in ({"status": 2}, {"status": 1, "deleted_at": sa.func.now()}):
            users = schema.users
            self.gateway.execute(sa.update(users).where(users.c.id == 2).values(change))
            self.assertEqual(self.log_in(self.key).code, "wrong_credentials")

    def test_copy(self) -> None:
        """A counter that does not grow is refused and marks the passkey."""
        copy = evolve(self.key)
        self.assertTrue(self.log_in(self.key).json["success"])
        refused = self.log_in(copy)
        self.assertEqual(refused.code, "wrong_credentials")
        row = self.stored()
        self.assertTrue(row["clone_warning"])
        self.assertEqual(row["sign_count"], 1)

    def test_wrong_signature_does_not_mark(self) -> None:
        """Nobody can mark a passkey as copied without its key."""
        self.log_in(self.key)
        self.log_in(Authenticator(credential_id=self.key.credential_id, handle=b"2"))
        self.assertFalse(self.stored()["clone_warning"])

    def test_no_counter(self) -> None:
        """Authenticators without a counter always say zero, and are let in."""
        still = evolve(self.key, counts=False)
        self.assertTrue(self.log_in(still).json["success"])
        self.assertTrue(self.log_in(still).json["success"])

    def test_once(self) -> None:
        """An assertion serves once."""
        guest = Client(self.gateway, {})
        credential = self.key.get(self.begin(guest, "login")["options"])
        path = f"{PASSKEY}/login/finish"
        self.assertTrue(guest.post(path, credential).json["success"])
        self.assertEqual(guest.post(path, credential).code, "code_expired")

    def test_verification_required(self) -> None:
        """What the site asked for when the ceremony began holds."""
        self.gateway.set_option("passkey.user_verification", "required")
        unverified = evolve(self.key, flags=USER_PRESENT)
        self.assertEqual(self.log_in(unverified).code, "wrong_credentials")

    def test_shapeless(self) -> None:
        """What is no credential is refused by its field."""
        guest = Client(self.gateway, {})
        for body in (
            {},
            {"flow_token": "x", "credential": {}},
            {"flow_token": "x", "credential": None},
            {"credential": {"response": []}},
            {"flow_token": 5, "credential": {"response": {"clientDataJSON": "e30"}}},
            {"response": {"clientDataJSON": "e30"}},
            {"response": {"clientDataJSON": "x" * (LONGEST + 1)}},
        ):
            answer = guest.post(f"{PASSKEY}/login/finish", body)
            self.assertEqual(answer.code, "wrong_credentials", body)

    def test_oversized(self) -> None:
        """A credential of any size is refused before it is parsed."""
        guest = Client(self.gateway, {})
        credential = self.key.get(self.begin(guest, "login")["options"])
        credential["response"]["signature"] = "A" * LONGEST
        answer = guest.post(f"{PASSKEY}/login/finish", credential)
        self.assertEqual(answer.code, "wrong_credentials")


class FuzzTests(PasskeyCase):
    """Whatever the members of a credential hold."""

    @settings(max_examples=60, deadline=None)
    @given(
        st.sampled_from(["clientDataJSON", "authenticatorData", "signature", "id"]),
        st.one_of(
            st.binary(max_size=60).map(lambda raw: b64encode(raw).decode()),
            st.text(max_size=20),
            st.none(),
            st.lists(st.integers(), max_size=2),
        ),
    )
    def test_login(self, name: str, value: Any) -> None:
        """It is refused, and never crashes."""
        self.gateway.execute(sa.delete(schema.passkey_credentials))
        client = self.gateway.bearer("ann")
        self.gateway.with_passkey(client, self.key)
        guest = Client(self.gateway, {})
        begun = self.begin(guest, "login")
        credential = self.key.get(begun["options"])
        (credential if name == "id" else credential["response"])[name] = value
        body = {"flow_token": begun["flow_token"], "credential": credential}
        answer = guest.post(f"{PASSKEY}/login/finish", body)
        self.assertEqual(answer.code, "wrong_credentials")
        self.gateway.execute(sa.delete(schema.user_sessions))


class VerifyTests(PasskeyCase):
    """Showing the passkey again."""

    def setUp(self) -> None:
        """`ann` has a passkey."""
        super().setUp()
        client = self.gateway.bearer("ann")
        self.client = again(client, self.gateway.with_passkey(client, self.key))

    def test_proof(self) -> None:
        """A bearer session gets a proof for the scope it named."""
        data = self.verified(self.client, "passkey.delete").data
        shape = {"proof_token": str, "expires_at": int, "method": str, "scope": str}
        self.assertEqual(misfit(data, shape), "")
        self.assertEqual((data["method"], data["scope"]), ("passkey", "passkey.delete"))

    def test_options(self) -> None:
        """The browser is asked for this passkey."""
        body = {"scope": "channel.key.read"}
        begun = self.client.post(f"{PASSKEY}/verify/begin", body).data
        self.assertEqual(misfit(begun, BEGUN), "")
        allowed = begun["options"]["publicKey"]["allowCredentials"][0]
        self.assertEqual(allowed["transports"], ["internal", "hybrid"])

    def test_scope(self) -> None:
        """A bearer session must name one that there is."""
        for scope in ("", "all"):
            body = {"scope": scope}
            answer = self.client.post(f"{PASSKEY}/verify/begin", body)
            self.assertEqual(answer.code, "invalid_field")

    def test_stamp(self) -> None:
        """A cookie session is stamped, and may say so at `/api/verify` for a minute."""
        browser = self.gateway.browser("ann")
        body = {"method": "passkey"}
        before = browser.post("/api/verify", body)
        self.assertEqual((before.status, before.code), (403, "VERIFICATION_REQUIRED"))
        stamped = self.verified(browser)
        self.assertEqual(stamped.data, {"verified": True, "expires_at": NOW + 300})
        browser = again(browser, stamped)
        self.gateway.clock.advance(60)
        told = browser.post("/api/verify", body)
        self.assertEqual(told.data, {"verified": True, "expires_at": NOW + 300})
        self.assertEqual(told.cookies(), {})
        self.gateway.clock.advance(1)
        late = browser.post("/api/verify", body)
        self.assertEqual(late.code, "VERIFICATION_REQUIRED")

    def test_password_is_not_enough(self) -> None:
        """Who has a passkey cannot show the password instead."""
        body = {"method": "password", "password": PASSWORD, "scope": "passkey.delete"}
        answer = self.client.post("/api/verify", body)
        self.assertEqual((answer.status, answer.code), (403, "VERIFICATION_INVALID"))

    def test_none(self) -> None:
        """There must be a passkey, and somebody in front of it."""
        body = {"scope": "passkey.delete"}
        answer = self.gateway.bearer("bob").post(f"{PASSKEY}/verify/begin", body)
        self.assertEqual(answer.code, "not_found")
        answer = self.gateway.script(2).post(f"{PASSKEY}/verify/begin", body)
        self.assertEqual(answer.code, "AUTH_SESSION_REQUIRED")

    def test_of_another(self) -> None:
        """Another's passkey shows nothing about oneself."""
        key = Authenticator(credential_id=b"bob's")
        client = self.gateway.bearer("bob")
        client = again(client, self.gateway.with_passkey(client, key))
        begun = client.post(f"{PASSKEY}/verify/begin", {"scope": "passkey.delete"}).data
        body = {"flow_token": begun["flow_token"]}
        body["credential"] = self.key.get(begun["options"])
        answer = client.post(f"{PASSKEY}/verify/finish", body)
        self.assertEqual(answer.code, "wrong_credentials")


class RemoveTests(PasskeyCase):
    """Taking a passkey away."""

    def test_none(self) -> None:
        """There is nothing to take away, and no proof is asked for."""
        client = self.gateway.bearer("ann")
        self.assertEqual(client.delete(PASSKEY).code, "not_found")
        self.assertEqual(client.get(PASSKEY).data, {"enabled": False})

    def test_own(self) -> None:
        """It takes a proof of its own scope; the row goes, other sessions end."""
        client, other = self.gateway.bearer("ann"), self.gateway.bearer("ann")
        client = again(client, self.gateway.with_passkey(client, self.key))
        self.assertEqual(other.get(SELF).status, 401)
        refused = client.delete(PASSKEY)
        self.assertEqual(
            (refused.status, refused.code), (403, "SECURITY_PROOF_REQUIRED")
        )
        proof = self.verified(client, "passkey.delete").data["proof_token"]
        answer = client.delete(PASSKEY, **{"X-Security-Proof": proof})
        self.assertEqual(misfit(answer.data, BEARER), "")
        self.assertEqual(self.gateway.rows(sa.select(schema.passkey_credentials)), [])
        self.assertEqual(self.log_in(self.key).code, "wrong_credentials")

    def test_by_cookie(self) -> None:
        """A cookie session must have been stamped within five minutes."""
        browser = self.gateway.browser("ann")
        browser = again(browser, self.gateway.with_passkey(browser, self.key))
        self.assertEqual(browser.delete(PASSKEY).code, "VERIFICATION_REQUIRED")
        browser = again(browser, self.verified(browser))
        self.gateway.clock.advance(300)
        self.assertEqual(browser.delete(PASSKEY).code, "VERIFICATION_EXPIRED")
        browser = again(browser, self.verified(browser))
        self.assertTrue(browser.delete(PASSKEY).json["success"])

    def test_by_administrator(self) -> None:
        """An administrator takes it from a lower role; sessions end, audited."""
        client = self.gateway.bearer("ann")
        client = again(client, self.gateway.with_passkey(client, self.key))
        admin = self.gateway.bearer("adm")
        path = "/api/user/2/reset_passkey"
        self.assertTrue(admin.delete(path).json["success"])
        self.assertEqual(client.get(SELF).code, "AUTH_SESSION_REVOKED")
        operation = self.gateway.notes[-1]["other"]["op"]
        self.assertEqual(operation["action"], "user.passkey_reset")
        self.assertEqual(admin.delete(path).code, "not_found")
        refused = admin.delete("/api/user/1/reset_passkey")
        self.assertEqual(refused.code, "forbidden_target")
