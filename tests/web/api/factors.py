"""The gateway in memory with the surfaces about second factors."""

from __future__ import annotations

import random
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, execute

from knight_tw.accounts.flows import Flows
from knight_tw.accounts.second_factor import totp
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.cookies import Cookies
from knight_tw.web.api.passkeys import PasskeysApi
from knight_tw.web.api.renewal import Renewal
from knight_tw.web.api.two_factor import TwoFactorApi
from knight_tw.web.api.verification import Verified
from tests.authenticator import Authenticator
from tests.web.gateway import Answer, Client, Gateway

TWO_FACTOR, PASSKEY = "/api/user/2fa", "/api/user/passkey"
SELF = "/api/user/self"


def _at_once(work: Any, *args: Any) -> Deferred[Any]:
    return execute(work, *args)


@define(eq=False)
class FactorGateway(Gateway):
    """The account side, with TOTP and passkeys."""

    def surfaces(self) -> list[Any]:
        """All surfaces, ours at the end."""
        before = super().surfaces()
        seconds, view = self.clock.seconds, self.view
        audit = Audit(self.notes.append, self.clock)
        cookies = Cookies(self.settings.session_cookie_secure)
        renewal = Renewal(self.sessions, cookies)
        return [
            *before,
            TwoFactorApi(
                self.db,
                self.guard,
                self.limits,
                self.passwords,
                self.second_factor,
                self.totp_secrets,
                renewal,
                audit,
                view,
                self.changed,
                random.Random(11),  # noqa: S311 - secrets of a test
                seconds,
            ),
            PasskeysApi(
                self.db,
                self.guard,
                self.limits,
                Flows(self.db, self.clock, random.Random(12), "key"),  # noqa: S311
                _at_once,
                self.entrance,
                renewal,
                Verified(self.db, self.sessions, cookies, seconds),
                audit,
                view,
                self.changed,
                seconds,
            ),
        ]

    def code(self, secret: str, steps: int = 0) -> str:
        """What an authenticator app shows now, or some steps from now."""
        return totp(secret, int(self.clock.seconds()) // 30 + steps)

    def with_totp(self, client: Client) -> tuple[str, list[str], Answer]:
        """Set TOTP up: secret, backup codes, and the answer to `enable`.

        A minute passes afterwards, so that codes of now are new ones.
        """
        made = client.post(f"{TWO_FACTOR}/setup").data
        body = {"code": self.code(made["secret"])}
        enabled = client.post(f"{TWO_FACTOR}/enable", body)
        self.clock.advance(60)
        return made["secret"], made["backup_codes"], enabled

    def with_passkeys(self) -> None:
        """Switch passkeys on."""
        self.set_option("passkey.enabled", "true")
        self.set_option("ServerAddress", "https://gateway.example:8443")
        self.set_option("passkey.origins", "https://gateway.example")

    def with_passkey(self, client: Client, key: Authenticator) -> Answer:
        """Register a passkey; the answer to the last step."""
        begun = client.post(f"{PASSKEY}/register/begin").data
        body = {"flow_token": begun["flow_token"]}
        body["credential"] = key.create(begun["options"])
        return client.post(f"{PASSKEY}/register/finish", body)


def again(client: Client, answer: Answer) -> Client:
    """The client with the credentials that an answer renewed."""
    headers = dict(client.headers)
    if "Cookie" in headers:
        headers["Cookie"] = f"session={answer.cookies()['session']}"
    else:
        headers["Authorization"] = f"Bearer {answer.data['access_token']}"
    return Client(client.gateway, headers)
