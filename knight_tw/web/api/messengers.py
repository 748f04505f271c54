"""Logins by WeChat and Telegram, and binding to them (`/api/oauth/wechat`, …).

WeChat: the person scans a code, is told another by the account's own server, and types
it here. Telegram: its widget gives the page a signed statement, good for five minutes
and once.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.external import telegram
from knight_tw.accounts.external.built_in import TELEGRAM, WECHAT
from knight_tw.accounts.external.exchange import Exchange
from knight_tw.accounts.external.known import KnownProviders, require_open
from knight_tw.accounts.external.provider import Profile, Provider
from knight_tw.accounts.external.telegram import TelegramRefused
from knight_tw.accounts.flows import Flows
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.storage import external_writes
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    header,
    install,
    json_body,
    missing,
    ok,
    put_header,
    query,
    text,
)
from knight_tw.web.api.arrivals import (
    FLOW_SECONDS,
    FORBIDDEN,
    Arrivals,
    require_own_page,
    state_refused,
)
from knight_tw.web.auth import Guard, Viewer, Who, allow, mark

BIND_PURPOSE, ONCE_PURPOSE = "telegram_bind", "telegram_once"
MOST_PARAMETERS, LONGEST_CODE = 20, 256

PROFILE_PAGE = "/console/personal"
"""Where a browser goes after a binding that it was sent to as a page."""


@frozen(eq=False)
class MessengersApi:
    """The routes of WeChat and Telegram."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _known: KnownProviders
    _exchange: Exchange
    _flows: Flows
    _arrivals: Arrivals
    _now: Callable[[], float]

    app = Klein()
    install(app)

    # WeChat ------------------------------------------------------------------

    @app.route("/api/oauth/wechat", methods=["GET"])
    @mark(Who.ANYONE, finishes=True)
    async def wechat(self, request: Request) -> bytes:
        """Log in with the code that the WeChat account told."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        require_own_page(request)
        provider = self._open(WECHAT)
        profile = await self._wechat(provider, query(request, "code"))
        aff_code = query(request, "aff")
        return await self._arrivals.let_in(request, provider, profile, aff_code)

    @app.route("/api/oauth/wechat/bind", methods=["GET", "POST"])
    @allow(Who.USER, finishes=True)
    async def bind_wechat(self, request: Request, viewer: Viewer) -> bytes:
        """Bind the WeChat account behind a code to the own account."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        provider = self._open(WECHAT)
        code = query(request, "code")
        if not code and request.method == b"POST":
            code = text(json_body(request), "code").strip()
        profile = await self._wechat(provider, code)
        who = await self._arrivals.still_here(viewer.id, viewer.sid)
        await self._arrivals.bind(request, provider, profile, who)
        return ok()

    async def _wechat(self, provider: Provider, code: str) -> Profile:
        if not code or len(code) > LONGEST_CODE:
            raise missing("code")
        return provider.profile(await self._exchange.wechat(provider, code))

    # Telegram ----------------------------------------------------------------

    @app.route("/api/oauth/telegram/login", methods=["GET"])
    @mark(Who.ANYONE, finishes=True)
    async def telegram(self, request: Request) -> bytes:
        """Log in with a Telegram account that is bound already."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        require_own_page(request)
        provider = self._open(TELEGRAM)
        profile = await self._telegram(provider, request)
        return await self._arrivals.let_in(request, provider, profile)

    @app.route("/api/oauth/telegram/bind", methods=["GET"])
    @mark(Who.SESSION, finishes=True)
    async def bind_telegram(self, request: Request) -> bytes:
        """Bind to the account of the session; the widget of older consoles sends the
        browser here, so the cookie comes without `New-Api-User`."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        viewer = await self._guard.visitor(request)
        if viewer is None and _from_own_widget(request):
            viewer = await self._guard.owner_of_cookie(request)
        if viewer is None:
            raise Refusal("log in first", code="AUTH_UNAUTHORIZED")
        return await self._bind_telegram(request, viewer.id, viewer.sid)

    @app.route("/api/oauth/telegram/bind/start", methods=["POST"])
    @allow(Who.USER)
    async def begin_telegram(self, request: Request, viewer: Viewer) -> bytes:
        """A flow token that binds to the caller's account whoever brings it back."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        self._open(TELEGRAM)
        token = await self._flows.start(
            BIND_PURPOSE,
            provider=TELEGRAM,
            intent="bind",
            user_id=viewer.id,
            session_id=viewer.sid,
            ttl=FLOW_SECONDS,
        )
        expires_at = int(self._now()) + FLOW_SECONDS
        return ok({"flow_token": token, "expires_at": expires_at})

    @app.route("/api/oauth/telegram/bind/<flow_token>", methods=["GET"])
    @mark(Who.ANYONE, finishes=True)
    async def end_telegram(self, request: Request, flow_token: str) -> bytes:
        """Bind to the account that began the flow."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        flow = await self._flows.take(BIND_PURPOSE, flow_token)
        if flow is None:
            raise state_refused()
        return await self._bind_telegram(request, flow.user_id, flow.session_id)

    async def _bind_telegram(self, request: Request, user_id: int, sid: str) -> bytes:
        provider = self._open(TELEGRAM)
        who = await self._arrivals.still_here(user_id, sid)
        profile = await self._telegram(provider, request)
        await self._arrivals.bind(request, provider, profile, who)
        if not _is_page(request):
            return ok(message="bind")
        request.setResponseCode(302)
        put_header(request, "Location", PROFILE_PAGE)
        return b""

    async def _telegram(self, provider: Provider, request: Request) -> Profile:
        """The person that Telegram's statement names; nobody may bring it again.

        Raises:
            TelegramRefused.
        """
        now = self._now()
        told = _parameters(request)
        person = telegram.subject(told, provider.client_secret, now)
        end = int(now) + telegram.OLDEST_SECONDS + telegram.AHEAD_SECONDS
        first = await self._db.run(
            external_writes.use_once, ONCE_PURPOSE, told["hash"], end, int(now)
        )
        if not first:
            raise TelegramRefused("the statement was used before; log in again")
        return Profile(person, told.get("username", ""))

    def _open(self, slug: str) -> Provider:
        """The provider, when it is switched on.

        Raises:
            NotAdmitted.
        """
        provider = self._known.built_in(slug)
        require_open(provider)
        return provider


def _parameters(request: Request) -> dict[str, str]:
    """The query as Telegram signed it: every blank counts."""
    args = request.args or {}
    if len(args) > MOST_PARAMETERS:
        raise TelegramRefused("the statement is not Telegram's")
    return {
        name.decode("utf-8", "replace"): values[0].decode("utf-8", "replace")
        for name, values in args.items()
    }


def _from_own_widget(request: Request) -> bool:
    """True unless a browser says that another site, or its address bar, asks.

    Raises:
        Refusal: another site does.
    """
    require_own_page(request)
    site = header(request, "Sec-Fetch-Site").lower()
    if site == "none":
        raise Refusal("bind from the page of your account", code=FORBIDDEN)
    return True


def _is_page(request: Request) -> bool:
    """True when a browser goes there, rather than a script fetching an answer."""
    if header(request, "Sec-Fetch-Mode"):
        return header(request, "Sec-Fetch-Mode").lower() == "navigate"
    return header(request, "Accept").startswith("text/html")
