"""A gateway in memory for tests: the real site, surfaces and database, no socket.

Requests are fed to a real `HTTPChannel` as bytes and answers parsed from what it wrote,
so that everything between is the code that runs in production.
"""

from __future__ import annotations

import json
import random
from collections.abc import Awaitable, Mapping
from http.cookies import SimpleCookie
from typing import Any, TypeVar

import msgspec
import sqlalchemy as sa
from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.first_start import FirstStart
from knight_tw.accounts.limits import Limits, windows
from knight_tw.accounts.login import Login
from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.sessions import Sessions, quotas
from knight_tw.accounts.signing import Signer
from knight_tw.accounts.totp_secrets import TotpSecrets
from knight_tw.options import Options
from knight_tw.requestid import RequestIds
from knight_tw.settings import Settings
from knight_tw.storage import options as stored_options
from knight_tw.storage import schema, user_writes
from knight_tw.storage.database import Database, memory_database
from knight_tw.web.addresses import Proxies
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.cookies import Cookies, Origins
from knight_tw.web.api.entrance import Entrance
from knight_tw.web.api.groups import GroupsApi
from knight_tw.web.api.options import OptionsApi
from knight_tw.web.api.self import SelfApi
from knight_tw.web.api.session import SessionApi
from knight_tw.web.api.setup import SetupApi
from knight_tw.web.api.status import StatusApi
from knight_tw.web.api.user_actions import UserActionsApi
from knight_tw.web.api.users import UsersApi
from knight_tw.web.api.verification import VerificationApi, Verified
from knight_tw.web.auth import Guard
from knight_tw.web.front import Front
from knight_tw.web.root import Root, api_routes
from knight_tw.web.site import BodyLimits, GatewaySite

T = TypeVar("T")

NOW = 1_795_604_332
PASSWORD = "example-pass-1"


def now(result: Awaitable[T]) -> T:
    """The value of a coroutine that needs no waiting."""
    outcome: list[Any] = []
    Deferred.fromCoroutine(result).addBoth(outcome.append)  # type: ignore[arg-type]
    if not outcome:
        raise AssertionError("still waiting")
    if hasattr(outcome[0], "raiseException"):
        outcome[0].raiseException()
    return outcome[0]  # type: ignore[no-any-return]


@define
class Answer:
    """A parsed HTTP answer."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def json(self) -> Any:
        """The body, which is JSON."""
        return json.loads(self.body)

    @property
    def data(self) -> Any:
        """`data` of a successful envelope."""
        if self.json.get("success") is not True:
            raise AssertionError(f"{self.status} {self.body!r}")
        return self.json["data"]

    @property
    def code(self) -> str:
        """`code` of a refusal; fails for a success."""
        if self.json["success"] is not False:
            raise AssertionError(f"{self.status} {self.body!r}")
        return str(self.json["code"])

    def get(self, name: str) -> str:
        """The first value of a header, or an empty string."""
        same = (value for key, value in self.headers if key.lower() == name.lower())
        return next(same, "")

    def cookies(self) -> dict[str, str]:
        """The cookies that the answer sets."""
        found: dict[str, str] = {}
        for key, value in self.headers:
            if key.lower() == "set-cookie":
                found.update({m.key: m.value for m in SimpleCookie(value).values()})
        return found


class SlidingWindows:
    """A cache of nothing but windows, in the shape of `cache.MemoryCache`."""

    def __init__(self) -> None:
        self.times: dict[str, list[float]] = {}

    def allow(
        self, key: str, limit: int, window_seconds: float, now: float
    ) -> tuple[bool, float]:
        """Count a request unless the window is full."""
        live = [t for t in self.times.get(key, []) if t > now - window_seconds]
        if len(live) >= limit:
            return False, live[0] + window_seconds - now
        self.times[key] = [*live, now]
        return True, 0.0


class Echo(Resource):
    """Stands for the relay: says what it was asked."""

    isLeaf = True

    def render(self, request: Request) -> bytes:
        """Method, path and length of the body."""
        body = request.content.read()
        return b"relay %s %s %d" % (request.method, request.path, len(body))


class Channel(StringTransport):
    """A transport with a chosen peer."""

    def __init__(self, peer: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", peer, 50000))
        self.aborted = False

    def abortConnection(self) -> None:
        """The connection is cut."""
        self.aborted = True


@define(eq=False)
class Gateway:
    """Everything of the management API, wired as the service wires it."""

    env: dict[str, str] = field(factory=dict)
    clock: Clock = field(factory=Clock)
    db: Database = field(init=False)
    options: Options = field(init=False)
    notes: list[dict[str, Any]] = field(factory=list)
    changes: list[tuple[str, str]] = field(factory=list)
    balances: list[int] = field(factory=list)
    captcha: list[dict[str, Any]] = field(factory=list)
    warnings: list[str] = field(factory=list)
    unready: str = ""
    signer: Signer = field(init=False)
    passwords: Passwords = field(init=False)
    sessions: Sessions = field(init=False)
    guard: Guard = field(init=False)
    start: FirstStart = field(init=False)
    site: GatewaySite = field(init=False)
    settings: Settings = field(init=False)
    limits: Limits = field(init=False)
    totp_secrets: TotpSecrets = field(init=False)
    second_factor: SecondFactor = field(init=False)
    entrance: Entrance = field(init=False)
    chance: random.Random = field(factory=lambda: random.Random(7))  # noqa: S311
    extra: list[Any] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        off = {
            f"{name}_RATE_LIMIT_ENABLE": "false"
            for name in ("GLOBAL_API", "GLOBAL_WEB", "CRITICAL", "SEARCH")
        }
        self.settings = Settings.from_env({**off, **self.env})
        self.db = self.open_database()
        self.options = Options.from_rows({})
        self.signer = Signer("a test secret")
        run: Any = lambda work, *args: succeed(work(*args))  # noqa: E731
        self.passwords = Passwords(run, 4)
        self.sessions = Sessions(
            self.db, self.signer, self.clock, self.chance, quotas(self.settings)
        )
        self.totp_secrets = TotpSecrets.of("a test secret")
        self.second_factor = SecondFactor(
            self.db, self.passwords, self.clock, self.totp_secrets
        )
        self.guard = Guard(self.db, self.signer, self.clock, lambda: self.options)
        self.start = FirstStart(self.db, self.passwords, self.clock, "v-test")
        self.limits = Limits(SlidingWindows(), self.clock, windows(self.settings))
        self.site = self._site()

    def open_database(self) -> Database:
        """The database behind it: an empty one in memory."""
        return memory_database(self.clock)

    def _site(self) -> GatewaySite:
        proxies = Proxies.of(self.settings.trusted_proxies)
        front = Front(self.start, self.view, self.clock, "v-test", NOW - 3_700)
        root = Root(
            api=api_routes(self.surfaces()),
            relay=Echo(),
            is_relay=lambda path: path.startswith("/v1/"),
            front=front.answer,
            limits=self.limits,
            options=self.view,
            version="v-test",
            ready=lambda: self.unready,
            others={"/metrics": Echo()},
            sockets={"/v1/realtime": Echo()},
        )
        kilobytes = self.settings.anonymous_request_body_limit_kb
        return GatewaySite(
            root,
            clock=self.clock,
            ids=RequestIds(random.Random(1)),  # noqa: S311
            proxies=proxies,
            limits=BodyLimits(
                kilobytes * 1024, 4_194_304, lambda path: path.startswith("/v1/")
            ),
        )

    def surfaces(self) -> list[Any]:
        """Every surface of the account side."""
        db, guard, options = self.db, self.guard, self.view
        audit = Audit(self.notes.append, self.clock)
        cookies = Cookies(self.settings.session_cookie_secure)
        seconds = self.clock.seconds
        login = Login(db, self.passwords, self.signer, self.clock)
        self.entrance = Entrance(
            *(db, login, self.sessions, self.signer, cookies, audit, options, seconds)
        )
        return [
            SetupApi(self.start, db.dialect, options, self.changed),
            StatusApi(
                db,
                guard,
                self.limits,
                self.start,
                options,
                lambda: 0,
                lambda: self.warnings,
                "v-test",
                NOW,
            ),
            SessionApi(
                guard,
                self.limits,
                login,
                self.second_factor,
                self.sessions,
                self.signer,
                Turnstile(options, self),
                cookies,
                Origins(self.settings.session_cookie_trusted_url, options),
                self.entrance,
                options,
                seconds,
            ),
            VerificationApi(
                db,
                guard,
                self.limits,
                self.passwords,
                self.second_factor,
                Verified(db, self.sessions, cookies, seconds),
                seconds,
            ),
            SelfApi(
                db,
                guard,
                self.limits,
                self.passwords,
                self.sessions,
                cookies,
                options,
                self.changed,
                self.balances.append,
                self.chance,
                seconds,
            ),
            UsersApi(
                db,
                guard,
                self.passwords,
                audit,
                options,
                self.changed,
                self.balances.append,
                self.chance,
                seconds,
            ),
            UserActionsApi(
                db, guard, audit, self.changed, self.balances.append, seconds
            ),
            OptionsApi(
                db,
                guard,
                audit,
                options,
                self.changed,
                lambda: {"gpt-4": {"ratio": 2, "locked": True}},
                seconds,
            ),
            GroupsApi(guard, options),
            *self.extra,
        ]

    # collaborators -----------------------------------------------------------

    def view(self) -> Options:
        """Today's options."""
        return self.options

    async def changed(self, kind: str, ref: str) -> None:
        """What the snapshots do: remember the call, read options again."""
        self.changes.append((kind, ref))
        if kind == "option":
            self.options = Options.from_rows(await self.db.read(stored_options.load))

    def post(self, url: str, data: Any = None, **options: Any) -> Deferred[Any]:
        """Stands for the HTTP client: Turnstile accepts the answer `right`."""
        self.captcha.append({"url": url, **data})
        return succeed(_Verdict(data["response"] == "right"))

    # people and rows ---------------------------------------------------------

    def set_up(self) -> None:
        """Set the gateway up with user `root` of id 1."""
        now(self.start.complete("root", PASSWORD, {}))
        now(self.changed("option", ""))
        self.changes.clear()

    def add_user(self, name: str, role: int = 1, **columns: Any) -> int:
        """A new account with `PASSWORD`; its id."""
        new = user_writes.NewAccount(
            name, now(self.passwords.hash(PASSWORD)), name, role
        )
        made = now(
            self.db.run(user_writes.create_with_code, new, self.chance, NOW - 86_400)
        )
        if columns:
            now(self.db.run(user_writes.update, made, columns))
        return made

    def row(self, user_id: int) -> dict[str, Any]:
        """The account's columns."""
        users = schema.users
        return self.rows(sa.select(users).where(users.c.id == user_id))[0]

    def rows(self, asked: sa.Select[Any]) -> list[dict[str, Any]]:
        """What a query finds."""

        def read(connection: sa.Connection) -> list[dict[str, Any]]:
            return [dict(row._mapping) for row in connection.execute(asked)]

        return now(self.db.run(read))

    def execute(self, statement: sa.Executable) -> None:
        """Run a statement."""

        def write(connection: sa.Connection) -> None:
            connection.execute(statement)

        now(self.db.run(write))

    def set_option(self, key: str, value: str) -> None:
        """Store an option as root would."""
        now(self.db.run(stored_options.save, key, value, 1, NOW))
        now(self.changed("option", key))
        self.changes.pop()

    # requests ----------------------------------------------------------------

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        peer: str = "203.0.113.9",
    ) -> Answer:
        """The answer to one request on a connection of its own."""
        raw = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            raw = msgspec.json.encode(body)
        lines = [f"{method} {path} HTTP/1.1", "Host: gateway.example"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if raw or body is not None:
            lines.append(f"Content-Length: {len(raw)}")
        return self.send("\r\n".join([*lines, "", ""]).encode() + raw, peer)

    def send(self, data: bytes, peer: str = "203.0.113.9") -> Answer:
        """The answer to raw bytes."""
        transport = Channel(peer)
        channel = self.site.buildProtocol(IPv4Address("TCP", peer, 50000))
        channel.makeConnection(transport)
        channel.dataReceived(data)
        return parse(transport.value())

    def login(self, name: str, password: str = PASSWORD, **headers: str) -> Answer:
        """The answer to a login."""
        body = {"username": name, "password": password}
        return self.ask("POST", "/api/user/login", body, headers)

    def bearer(self, name: str) -> Client:
        """A client with the bearer session of a new login."""
        data = self.login(name).data
        return Client(self, {"Authorization": f"Bearer {data['access_token']}"})

    def browser(self, name: str) -> Client:
        """A client with the cookie session of a new login."""
        answer = self.login(name)
        cookies = answer.cookies()
        return Client(
            self,
            {
                "Cookie": "; ".join(f"{key}={value}" for key, value in cookies.items()),
                "New-Api-User": str(answer.data["id"]),
            },
        )

    def script(self, user_id: int, token: str = "A" * 32) -> Client:
        """A client with the personal access token of an account."""
        now(self.db.run(user_writes.update, user_id, {"access_token": token}))
        return Client(self, {"Authorization": token})


@define
class Client:
    """A gateway as one credential sees it."""

    gateway: Gateway
    headers: dict[str, str]

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """The answer to one request with the credential."""
        return self.gateway.ask(method, path, body, {**self.headers, **(headers or {})})

    def get(self, path: str, **headers: str) -> Answer:
        """GET."""
        return self.ask("GET", path, None, headers)

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST with a JSON body."""
        return self.ask("POST", path, {} if body is None else body, headers)

    def put(self, path: str, body: Any = None, **headers: str) -> Answer:
        """PUT with a JSON body."""
        return self.ask("PUT", path, {} if body is None else body, headers)

    def delete(self, path: str, **headers: str) -> Answer:
        """DELETE."""
        return self.ask("DELETE", path, None, headers)


class _Verdict:
    """Turnstile's answer."""

    def __init__(self, success: bool) -> None:
        self._success = success

    async def content(self) -> bytes:
        """The body."""
        return json.dumps({"success": self._success}).encode()


def parse(raw: bytes) -> Answer:
    """The first answer of a connection."""
    head, _, rest = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    if not first:
        raise AssertionError("no answer")
    pairs = [line.partition(": ") for line in lines]
    headers = [(name, value) for name, _, value in pairs]
    answer = Answer(int(first.split(" ")[1]), headers, rest)
    if answer.get("Transfer-Encoding") == "chunked":
        answer.body = _unchunked(rest)
    return answer


def _unchunked(rest: bytes) -> bytes:
    body = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            break
        body, rest = body + rest[:length], rest[length + 2 :]
    return body


def as_resource(body: bytes) -> IResource:
    """A resource that answers every request with `body`."""

    class Fixed(Resource):
        isLeaf = True

        def render(self, request: Request) -> bytes:
            return body

    return Fixed()
