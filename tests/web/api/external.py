"""The gateway in memory with external logins, and providers that a test scripts."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlencode

import sqlalchemy as sa
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.external import telegram
from knight_tw.accounts.external.built_in import Addresses
from knight_tw.accounts.external.discovery import OidcDiscovery
from knight_tw.accounts.external.exchange import Exchange
from knight_tw.accounts.external.known import KnownProviders
from knight_tw.accounts.external.people import People
from knight_tw.accounts.flows import Flows
from knight_tw.addresses import AddressRefused
from knight_tw.errors import KnightError
from knight_tw.storage import schema
from knight_tw.web.api.arrivals import Arrivals
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.bindings import BindingsApi
from knight_tw.web.api.cookies import Cookies
from knight_tw.web.api.messengers import MessengersApi
from knight_tw.web.api.oauth import OAuthApi
from knight_tw.web.api.oauth_providers import OAuthProvidersApi
from knight_tw.web.api.options import OptionsApi
from tests.web.gateway import Answer, Gateway

BOT_TOKEN = "12345:a-bot-token"

GITHUB_TOKEN = "https://github.com/login/oauth/access_token"
GITHUB_USER = "https://api.github.com/user"
DISCORD_TOKEN = "https://discord.com/api/v10/oauth2/token"
DISCORD_USER = "https://discord.com/api/v10/users/@me"
LINUXDO_TOKEN = "https://connect.linux.do/oauth2/token"
LINUXDO_USER = "https://connect.linux.do/api/user"

ON: dict[str, dict[str, str]] = {
    "github": {
        "GitHubClientId": "gh-client",
        "GitHubClientSecret": "gh-secret-1",
        "GitHubOAuthEnabled": "true",
    },
    "discord": {
        "discord.client_id": "dc-client",
        "discord.client_secret": "dc-secret-1",
        "discord.enabled": "true",
    },
    "linuxdo": {
        "LinuxDOClientId": "ld-client",
        "LinuxDOClientSecret": "ld-secret-1",
        "LinuxDOOAuthEnabled": "true",
    },
    "oidc": {
        "oidc.client_id": "oi-client",
        "oidc.client_secret": "oi-secret-1",
        "oidc.authorization_endpoint": "https://id.example.com/authorize",
        "oidc.token_endpoint": "https://id.example.com/token",
        "oidc.user_info_endpoint": "https://id.example.com/me",
        "oidc.enabled": "true",
    },
    "wechat": {
        "WeChatServerAddress": "http://wechat.internal:3000/",
        "WeChatServerToken": "wx-secret-1",
        "WeChatAuthEnabled": "true",
    },
    "telegram": {
        "TelegramBotToken": BOT_TOKEN,
        "TelegramBotName": "example_bot",
        "TelegramOAuthEnabled": "true",
    },
}
"""Options that switch a provider on."""

PLACES = {
    "github": (GITHUB_TOKEN, GITHUB_USER),
    "discord": (DISCORD_TOKEN, DISCORD_USER),
    "linuxdo": (LINUXDO_TOKEN, LINUXDO_USER),
    "oidc": ("https://id.example.com/token", "https://id.example.com/me"),
}
"""Where each provider is asked: for a token, and about the person."""


@define
class ProviderAnswer:
    """What a provider sends back."""

    status: int
    body: bytes

    def read(self, limit: int, timeout: float | None = None) -> Deferred[bytes]:
        """The body, or what the client makes of one that is too long."""
        if len(self.body) > limit:
            return fail(KnightError("too large", detail="more than asked for"))
        return succeed(self.body)


@define
class Request:
    """What the gateway asked a provider."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes
    options: dict[str, Any]

    @property
    def form(self) -> dict[str, str]:
        """The body as a form."""
        return {k: v[0] for k, v in parse_qs(self.body.decode()).items()}


@define
class FakeProviders:
    """All providers of the world; knows codes, tokens and people."""

    answers: dict[str, Any] = field(factory=dict)
    sent: list[Request] = field(factory=list)
    people: dict[str, dict[str, Any]] = field(factory=dict)
    refused: set[str] = field(factory=set)
    places: dict[str, tuple[str, str]] = field(factory=lambda: dict(PLACES))

    def knows(self, slug: str, code: str, person: dict[str, Any]) -> None:
        """Let `code` at the provider stand for `person`."""
        token_url, user_url = self.places[slug]
        self.answers[token_url] = self._token
        self.answers[user_url] = self._user
        self.people[code] = person

    def _token(self, asked: Request) -> tuple[int, Any]:
        given = asked.headers.get("Content-Type", "")
        form = json.loads(asked.body) if "json" in given else asked.form
        if form["code"] not in self.people:
            error = {"error": "invalid_grant", "error_description": "code is wrong"}
            return 400, error
        token = f"token-of-{form['code']}"
        return 200, {"access_token": token, "token_type": "bearer"}

    def _user(self, asked: Request) -> tuple[int, Any]:
        _, _, code = asked.headers["Authorization"].partition("Bearer token-of-")
        return 200, self.people[code]

    def __call__(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        **options: Any,
    ) -> Deferred[Any]:
        """`Upstream.send`."""
        asked = Request(method, url, dict(headers), body, options)
        self.sent.append(asked)
        if options.get("guarded") and url in self.refused:
            return fail(AddressRefused("it is inside"))
        found = self.answers.get(url.partition("?")[0], (404, {}))
        if callable(found):
            found = found(asked)
        if isinstance(found, Exception):
            return fail(found)
        if isinstance(found, Deferred):
            return found
        status, content = found
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        return succeed(ProviderAnswer(status, raw))


@define(eq=False)
class External(Gateway):
    """The gateway with the surfaces of external logins."""

    providers: FakeProviders = field(factory=FakeProviders)
    flows: Flows = field(init=False)
    people: People = field(init=False)
    exchange: Exchange = field(init=False)

    def surfaces(self) -> list[Any]:
        """All surfaces, ours at the end."""
        db, guard, options, clock = self.db, self.guard, self.view, self.clock
        audit = Audit(self.notes.append, clock)
        cookies = Cookies(self.settings.session_cookie_secure)
        self.exchange = exchange = Exchange(self.providers, clock)
        known = KnownProviders(db, options, Addresses.of(self.settings))
        self.flows = flows = Flows(db, clock, self.chance, "a secret")
        self.people = People(db, options, clock, self.chance)
        others = [one for one in super().surfaces() if not isinstance(one, OptionsApi)]
        arrivals = Arrivals(
            *(db, self.people, self.entrance, self.second_factor, audit),
            *(options, self.changed, clock.seconds),
        )
        return [
            *others,
            OptionsApi(
                *(db, guard, audit, options, self.changed, dict, clock.seconds),
                OidcDiscovery(exchange).completed,
            ),
            OAuthApi(
                *(guard, self.limits, known, exchange, flows, arrivals),
                *(self.signer, cookies, options, self.chance, clock.seconds),
            ),
            MessengersApi(
                *(db, guard, self.limits, known, exchange, flows, arrivals),
                clock.seconds,
            ),
            BindingsApi(db, guard, audit, self.changed),
            OAuthProvidersApi(db, guard, exchange, audit, clock.seconds),
        ]

    def switch_on(self, *slugs: str) -> None:
        """Set the options of some providers."""
        for slug in slugs:
            for key, value in ON[slug].items():
                self.set_option(key, value)

    def begin(self, slug: str, headers: Any = None, **body: Any) -> tuple[str, str]:
        """A flow token, and the cookie that came with it."""
        answer = self.ask(
            "POST", "/api/oauth/state", {"provider": slug, **body}, headers
        )
        return answer.data["flow_token"], _cookie(answer)

    def begin_older(self, aff: str = "", headers: Any = None) -> tuple[str, str]:
        """A state of older consoles, and its cookie."""
        path = f"/api/oauth/state?aff={aff}"
        answer = self.ask("GET", path, None, headers)
        return answer.data, _cookie(answer)

    def back(
        self, slug: str, code: str, state: str, headers: Any = None, **more: str
    ) -> Answer:
        """The answer of a callback."""
        asked = urlencode({"code": code, "state": state, **more})
        return self.ask("GET", f"/api/oauth/{slug}?{asked}", None, headers)

    def come(self, slug: str, person: dict[str, Any], aff: str = "") -> Answer:
        """A whole login of a person."""
        self.providers.knows(slug, "right", person)
        state, _ = self.begin(slug, aff=aff)
        return self.back(slug, "right", state)

    def contents(self) -> list[str]:
        """What the log rows say."""
        return [str(note["content"]) for note in self.notes]


def _cookie(answer: Answer) -> str:
    return f"oauth_state={answer.cookies()['oauth_state']}"


def signed(now: float, token: str = BOT_TOKEN, **told: str) -> dict[str, str]:
    """A statement of Telegram's about person 77, or whom `told` says."""
    said = {"id": "77", "first_name": "Tea", "auth_date": str(int(now)), **told}
    return {**said, "hash": telegram.signature(said, token)}


OCTO: dict[str, Any] = {
    "id": 583231,
    "login": "octo",
    "name": "The Octo",
    "email": "Octo@Example.com",
    "created_at": "2011-01-25T18:44:36Z",
}


class OAuthCase(SynchronousTestCase):
    """A set-up gateway in which every provider is switched on."""

    def setUp(self) -> None:
        """Sets it up."""
        self.gateway = External()
        self.gateway.set_up()
        self.gateway.switch_on("github", "discord", "linuxdo", "oidc")

    def account(self, name: str) -> dict[str, Any]:
        """The columns of the account called that."""
        users = schema.users
        (row,) = self.gateway.rows(sa.select(users).where(users.c.username == name))
        return row

    def count(self) -> int:
        """How many accounts there are."""
        return len(self.gateway.rows(sa.select(schema.users.c.id)))
