"""What all external logins share once it is known who stands at the door."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.web.server import Request

from knight_tw.accounts.external.people import Arrival, People
from knight_tw.accounts.external.provider import Profile, Provider
from knight_tw.accounts.flows import Flow
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.options import Options
from knight_tw.records import ENABLED
from knight_tw.storage import session_queries
from knight_tw.storage.database import Database
from knight_tw.storage.user_queries import Identity
from knight_tw.web.api.answers import Refusal, header
from knight_tw.web.api.audit import SYSTEM, Audit
from knight_tw.web.api.entrance import Entrance

Changed = Callable[[str, str], Awaitable[None]]

FLOW_SECONDS = 600
"""How long somebody may stay with a provider before coming back."""


@frozen(eq=False)
class Arrivals:
    """Lets people in, or binds their accounts elsewhere to the one they have here."""

    _db: Database
    _people: People
    _entrance: Entrance
    _factor: SecondFactor
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Changed
    _now: Callable[[], float]

    async def let_in(
        self, request: Request, provider: Provider, profile: Profile, aff_code: str = ""
    ) -> bytes:
        """The answer of a login; the account is made when there is none.

        Raises:
            KnightError: the person may not come in, or gets no account.
        """
        arrival = await self._people.arrived(provider, profile, aff_code)
        await self._tell(request, provider, arrival)
        who = arrival.who
        strict = self._options().flag("auth.require_2fa_after_oauth")
        if strict and await self._factor.enabled(who.id):
            return self._entrance.ask_factor(request, who)
        return await self._entrance.let_in(request, who, provider.slug)

    async def bind(
        self, request: Request, provider: Provider, profile: Profile, who: Identity
    ) -> None:
        """Let the account elsewhere open the account here from now on.

        Raises:
            IdentityTaken: it opens another one.
        """
        await self._people.bind(provider, profile, who.id)
        other = {"op": {"action": "binding.add", "params": {"provider": provider.slug}}}
        self._system(request, who, f"{provider.name} account bound", other)
        await self._changed("user", str(who.id))

    async def still_here(self, user_id: int, sid: str) -> Identity:
        """The account that began to bind, in a session that has not ended since.

        Args:
            sid: Empty when it was begun with an access token.

        Raises:
            Refusal: 401.
        """
        session, who = await self._db.read(session_queries.with_owner, sid, user_id)
        gone = who is None or who.deleted or who.status != ENABLED
        ended = sid and (session is None or not session.alive(int(self._now())))
        if who is None or gone or ended:
            raise Refusal("the session has ended", code="AUTH_SESSION_REVOKED")
        return who

    async def starter(self, flow: Flow) -> Identity:
        """The account that began a flow, as `still_here`."""
        return await self.still_here(flow.user_id, flow.session_id)

    async def _tell(
        self, request: Request, provider: Provider, arrival: Arrival
    ) -> None:
        """Log rows about what is new, and word to caches about the inviter."""
        who, name = arrival.who, provider.name
        if arrival.moved_name:
            what = f"bound to {name} by its id instead of the user name"
            self._system(request, who, what)
        if not arrival.made:
            return
        self._system(request, who, f"account made by a login with {name}")
        self._gift(request, who, "gift for a new account", arrival.gift)
        invitation = arrival.invitation
        if invitation is not None:
            inviter, quota = invitation.inviter, invitation.invitee_quota
            self._gift(request, who, "gift for coming by invitation", quota)
            what = f"gift for inviting {who.username}"
            self._gift(request, inviter, what, invitation.inviter_quota)
            await self._changed("user", str(inviter.id))

    def _gift(self, request: Request, who: Identity, what: str, quota: int) -> None:
        if quota:
            op = {"action": "user.register", "params": {"quota": quota}}
            self._system(request, who, what, {"op": op}, quota)

    def _system(
        self,
        request: Request,
        who: Identity,
        content: str,
        other: Mapping[str, Any] | None = None,
        quota: int = 0,
    ) -> None:
        told = other or {}
        self._audit.note(request, SYSTEM, who.id, who.username, content, told, quota)


FORBIDDEN = "AUTH_ORIGIN_FORBIDDEN"
"""The code of a request that another site caused."""


def is_browser(request: Request) -> bool:
    """True for a request that a page may have caused. Browsers say so, but not where
    there is no TLS; there they are known by their name. Scripts have others."""
    named = header(request, "User-Agent").startswith("Mozilla/")
    return named or bool(header(request, "Sec-Fetch-Site"))


def require_own_page(request: Request) -> None:
    """Returns unless a browser says that another site caused the request.

    Raises:
        Refusal: 403.
    """
    if header(request, "Sec-Fetch-Site").lower() == "cross-site":
        raise Refusal("another site may not do that", code=FORBIDDEN)


def state_refused() -> Refusal:
    """The refusal for a state or flow token that is unknown, used, or another's."""
    return Refusal(
        "the login was not begun here, took too long, or is over", 403, "code_expired"
    )
