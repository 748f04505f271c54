"""Passkeys with a real browser: its own authenticator, without a person."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.system.browser import Browser
from tests.system.process import Process

PASSKEY = "/api/user/passkey"


class BrowserTests(SynchronousTestCase):
    """One gateway, one Chromium with a virtual authenticator."""

    def setUp(self) -> None:
        """Start both; passkeys are on."""
        folder = Path(self.mktemp()).absolute()
        self.browser = Browser.start(folder / "profile")
        self.addCleanup(self.browser.close)
        self.process = Process(folder)
        self.process.start()
        self.addCleanup(self.process.stop)
        self.process.set_up()
        self.site = f"http://localhost:{self.process.port}"
        for key, value in (
            ("ServerAddress", self.site),
            ("passkey.user_verification", "required"),
            ("passkey.enabled", "true"),
        ):
            self.process.call("PUT", "/api/option/", {"key": key, "value": value})
        self.browser.open(f"{self.site}/")
        self.browser.tell("WebAuthn.enable")
        kind = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self.browser.tell("WebAuthn.addVirtualAuthenticator", options=kind)

    def ceremony(self, what: str, kind: str, **body: str) -> dict[str, Any]:
        """Begin, let the browser answer, and give the body that finishes."""
        begun = self.process.call("POST", f"{PASSKEY}/{what}/begin", body)
        name = {"create": "Creation", "get": "Request"}[kind]
        asked = json.dumps(begun["options"]["publicKey"])
        credential = self.browser.run(
            f"navigator.credentials.{kind}({{publicKey:"
            f"PublicKeyCredential.parse{name}OptionsFromJSON({asked})}})"
            f".then(found => found.toJSON())"
        )
        return {"flow_token": begun["flow_token"], "credential": credential}

    def test_life(self) -> None:
        """Made, used to log in, shown again and taken away."""
        process = self.process
        made = self.ceremony("register", "create")
        status, answer, headers = process.ask(
            "POST", f"{PASSKEY}/register/finish", made
        )
        self.assertTrue(answer["success"], (status, answer))
        process.cookie = headers["Cookies"]
        shown = process.call("GET", PASSKEY)
        self.assertTrue(shown["enabled"])

        again = self.ceremony("login", "get")
        _, answer, headers = process.ask("POST", f"{PASSKEY}/login/finish", again)
        self.assertEqual(answer["data"]["username"], "root", answer)
        process.cookie = headers["Cookies"]

        proven = self.ceremony("verify", "get", scope="passkey.delete")
        _, answer, headers = process.ask("POST", f"{PASSKEY}/verify/finish", proven)
        self.assertTrue(answer["data"]["verified"], answer)
        process.cookie = headers["Cookies"]
        _, answer, headers = process.ask("DELETE", PASSKEY)
        self.assertTrue(answer["success"], answer)
        process.cookie = headers["Cookies"]
        self.assertEqual(process.call("GET", PASSKEY), {"enabled": False})
