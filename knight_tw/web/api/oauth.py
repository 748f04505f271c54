"""`/api/oauth/state` and the callback `/api/oauth/:provider`.

A login or binding begins with a state: newer consoles ask for it by POST and get a flow
token, older ones by GET and get twelve characters that count only together with a
cookie. Either is good once, for ten minutes. The cookie is set for both, and a browser
must bring it back: otherwise somebody could send others the end of a login that they
began themselves, and have them work in, or bind to, an account that is not theirs.
"""

from __future__ import annotations

import hmac
import random
import string
from collections.abc import Callable
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.external import exchange
from knight_tw.accounts.external.exchange import Exchange, ProviderFailed
from knight_tw.accounts.external.known import KnownProviders, require_open
from knight_tw.accounts.external.provider import Provider
from knight_tw.accounts.flows import Flow, Flows
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.signing import Signer, Unreadable
from knight_tw.options import Options
from knight_tw.storage.user_queries import Identity
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    header,
    install,
    invalid,
    is_secure,
    json_body,
    missing,
    ok,
    query,
    text,
)
from knight_tw.web.api.arrivals import (
    FLOW_SECONDS,
    Arrivals,
    is_browser,
    state_refused,
)
from knight_tw.web.api.cookies import Cookies, state_cookie
from knight_tw.web.auth import Guard, Who, mark

PURPOSE = "oauth"
LOGIN, BIND = "login", "bind"
LONGEST_AFF, LONGEST_CODE = 32, 4_096
STATE_LENGTH = 12

_ALPHABET = string.ascii_letters + string.digits
_STATE, _FLOW = "state", "flow"
"""Members of the cookie: what comes back as `state`, and the flow that it means."""


@frozen(eq=False)
class OAuthApi:
    """The routes of logins with providers that send people back with a code."""

    _guard: Guard
    _limits: Limits
    _known: KnownProviders
    _exchange: Exchange
    _flows: Flows
    _arrivals: Arrivals
    _signer: Signer
    _cookies: Cookies
    _options: Callable[[], Options]
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/oauth/state", methods=["POST"])
    @mark(Who.ANYONE)
    async def begin(self, request: Request) -> bytes:
        """A flow token for a login, or for binding to the caller's account."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        body = json_body(request)
        slug, intent = text(body, "provider"), text(body, "intent", LOGIN) or LOGIN
        if intent not in (LOGIN, BIND):
            raise invalid("intent", f"{LOGIN} or {BIND}")
        if await self._known.with_codes(slug) is None:
            raise _unknown()
        user_id, sid = 0, ""
        if intent == BIND:
            viewer = await self._guard.viewer(request)
            user_id, sid = viewer.id, viewer.sid
        payload = {"aff": text(body, "aff", "")[:LONGEST_AFF]}
        token = await self._start(slug, intent, user_id, sid, payload)
        self._keep(request, token, token)
        expires_at = int(self._now()) + FLOW_SECONDS
        return ok({"flow_token": token, "expires_at": expires_at})

    @app.route("/api/oauth/state", methods=["GET"])
    @mark(Who.ANYONE)
    async def begin_by_cookie(self, request: Request) -> bytes:
        """A state for older consoles: the browser's cookie says which flow it means."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        viewer = await self._guard.visitor(request)
        user_id, sid = (0, "") if viewer is None else (viewer.id, viewer.sid)
        payload = {"aff": query(request, "aff")[:LONGEST_AFF], "older": True}
        token = await self._start("", BIND if user_id else LOGIN, user_id, sid, payload)
        state = "".join(self._random.choices(_ALPHABET, k=STATE_LENGTH))
        self._keep(request, state, token)
        return ok(state)

    async def _start(
        self, slug: str, intent: str, user_id: int, sid: str, payload: dict[str, Any]
    ) -> str:
        return await self._flows.start(
            PURPOSE,
            provider=slug,
            intent=intent,
            user_id=user_id,
            session_id=sid,
            payload=payload,
            ttl=FLOW_SECONDS,
        )

    def _keep(self, request: Request, state: str, token: str) -> None:
        kept = self._signer.cookie({_STATE: state, _FLOW: token}, int(self._now()))
        self._cookies.set_state(request, kept, FLOW_SECONDS)

    @app.route("/api/oauth/<slug>", methods=["GET"])
    @mark(Who.ANYONE, finishes=True)
    async def callback(self, request: Request, slug: str) -> bytes:
        """Back from a provider: log in, or bind to the account that began it."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        provider = await self._known.with_codes(slug)
        if provider is None:
            raise _unknown()
        flow, bound = await self._flow(request, slug)
        self._cookies.clear_state(request)
        require_open(provider)
        who = await self._to_bind(request, flow, bound)
        claims = await self._claims(request, provider)
        profile = provider.profile(claims)
        if who is None:
            aff_code = str(flow.payload.get("aff", ""))
            return await self._arrivals.let_in(request, provider, profile, aff_code)
        await self._arrivals.bind(request, provider, profile, who)
        return ok(message="bind")

    async def _flow(self, request: Request, slug: str) -> tuple[Flow, bool]:
        """The flow that the state stands for, used up now, and whether this browser
        began it.

        Raises:
            Refusal: 403.
        """
        state = query(request, "state")
        kept = self._kept(request)
        bound = hmac.compare_digest(
            str(kept.get(_STATE, "")).encode(), state.encode("utf-8", "replace")
        )
        token = str(kept.get(_FLOW, "")) if bound else state
        flow = await self._flows.take(PURPOSE, token) if state else None
        if flow is None or flow.provider not in ("", slug):
            raise state_refused()
        if not bound and (is_browser(request) or flow.payload.get("older")):
            raise state_refused()
        return flow, bound

    def _kept(self, request: Request) -> dict[str, Any]:
        """The content of the cookie; empty when there is none of ours."""
        try:
            return self._signer.read_cookie(state_cookie(request), int(self._now()))
        except Unreadable:
            return {}

    async def _to_bind(
        self, request: Request, flow: Flow, bound: bool
    ) -> Identity | None:
        """The account to bind to; None for a login.

        Newer consoles say what they want when they begin, older ones bind whenever
        somebody is logged in. The end must come from the same person or browser: the
        cookie of a state, unlike that of a session, says nothing about its owner, and
        could have been put into the browser of somebody else.

        Raises:
            Refusal: 401 or 403.
        """
        viewer = await self._guard.visitor(request)
        if flow.intent != BIND:
            if flow.payload.get("older") and viewer is not None:
                raise state_refused()
            return None
        if viewer is None and not bound:
            raise Refusal("log in first", code="AUTH_UNAUTHORIZED")
        if viewer is not None and viewer.id != flow.user_id:
            raise state_refused()
        return await self._arrivals.starter(flow)

    async def _claims(self, request: Request, provider: Provider) -> dict[str, Any]:
        """What the provider says of the person.

        Raises:
            Refusal, ProviderFailed.
        """
        if query(request, "error"):
            asked = ("error_description", "error")
            said = exchange.words({name: query(request, name) for name in asked})
            raise ProviderFailed(f"{provider.name}: {said}", status=400)
        code = query(request, "code")
        if not code or len(code) > LONGEST_CODE:
            raise missing("code")
        redirect = ""
        if provider.redirect:
            redirect = f"{self._origin(request)}{provider.redirect}"
        return await self._exchange.claims(provider, code, redirect)

    def _origin(self, request: Request) -> str:
        """Where browsers find us, without a slash at the end."""
        address = self._options().text("ServerAddress").rstrip("/")
        if address:
            return address
        scheme = "https" if is_secure(request) else "http"
        return f"{scheme}://{header(request, 'Host')}"


def _unknown() -> Refusal:
    return Refusal("unknown OAuth provider", 400, "not_found")
