"""Who makes a management request, and whether they may.

Three credentials open the dashboard routes (authentication spec, section 2), tried in
this order: an `Authorization` header that has the form of a bearer token of ours, any
other `Authorization` header as a personal access token, the cookie `session` together
with the header `New-Api-User`. An invalid `Authorization` does not fall back to the
cookie. Role, status and group are read from the database on every request, so that a
demotion holds at once.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Coroutine
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.access import ROLES, channel_permissions
from knight_tw.accounts.signing import (
    ACCESS,
    PROOF,
    Expired,
    Signer,
    Unreadable,
    looks_like_bearer,
)
from knight_tw.options import Options
from knight_tw.records import ENABLED, ROLE_ADMIN, ROLE_ROOT, ROLE_USER
from knight_tw.storage import session_queries, user_queries
from knight_tw.storage.database import Database, to_the_end
from knight_tw.storage.session_queries import Session
from knight_tw.storage.user_queries import Identity
from knight_tw.web.api.answers import Refusal, header, put_header

SESSION_COOKIE = b"session"
USER_HEADER = "New-Api-User"
PROOF_HEADER = "X-Security-Proof"
AUTH_VERSION = "864b7076dbcd0a3c01b5520316720ebf"
"""The header `Auth-Version` of authenticated answers; the consoles compare it."""

STEP_UP_SCOPE = "account.write"
"""What a proof must be for when `auth.strict_step_up` is on."""

STAMP_SECONDS = 300
"""How long a cookie session stays verified after a fresh second factor."""


class Via(enum.Enum):
    """The credential a request came with."""

    COOKIE = "cookie"
    BEARER = "bearer"
    TOKEN = "access_token"  # noqa: S105 - a name, not a secret


@frozen
class Viewer:
    """The account behind a management request.

    Attributes:
        via: The credential; decides the dialect (management spec, section 1.5).
        sid: The dashboard session; empty for an access token.
        verified_at: When a cookie session last showed a second factor; 0 = never.
    """

    id: int
    username: str
    role: int
    group: str
    via: Via
    sid: str = ""
    verified_at: int = 0

    @property
    def modern(self) -> bool:
        """True for the newest generation's dialect: keys are masked, statuses split."""
        return self.via is Via.BEARER


class Who(enum.Enum):
    """Who may call a route: the marker that every management route carries.

    Attributes:
        least: The lowest role; 0 when the route asks no dashboard credential.
        permission: The action on channels that is needed besides; empty for none.
    """

    ANYONE = ("anyone", 0, "")
    KEY = ("key", 0, "")
    """Holders of an API token key; the surface reads it."""
    SESSION = ("session", 0, "")
    """The holder of a session's own cookies; the surface reads them."""
    USER = ("user", ROLE_USER, "")
    ADMIN = ("admin", ROLE_ADMIN, "")
    ROOT = ("root", ROLE_ROOT, "")
    READ = ("channel:read", ROLE_ADMIN, "read")
    OPERATE = ("channel:operate", ROLE_ADMIN, "operate")
    WRITE = ("channel:write", ROLE_ADMIN, "write")
    SENSITIVE_WRITE = ("channel:sensitive_write", ROLE_ADMIN, "sensitive_write")
    SECRET_VIEW = ("channel:secret_view", ROLE_ADMIN, "secret_view")

    def __init__(self, label: str, least: int, permission: str) -> None:
        self.label = label
        self.least = least
        self.permission = permission


@frozen
class Guard:
    """Turns a request's credential into a `Viewer`, or refuses it."""

    _db: Database
    _signer: Signer
    _clock: IReactorTime
    _options: Callable[[], Options]

    async def admit(self, request: Request, who: Who) -> Viewer:
        """The caller of a dashboard route that is open to `who`.

        Raises:
            Refusal: 401 or 403 with the code that says why.
        """
        viewer = await self.viewer(request, who.least)
        self.require(viewer, who)
        return viewer

    def require(self, viewer: Viewer, who: Who) -> None:
        """Returns when `viewer` is one of `who`.

        Raises:
            Refusal: 403.
        """
        if not self.may(viewer, who):
            raise Refusal(
                "you do not have the permission for this",
                code="AUTH_INSUFFICIENT_PRIVILEGE",
                params={"permission": who.permission or who.label},
            )

    def may(self, viewer: Viewer, who: Who) -> bool:
        """True when `viewer` has the role and the permission that `who` names."""
        if viewer.role < who.least:
            return False
        strict = self._options().flag("authz.strict_admin")
        granted = channel_permissions(viewer.role, strict)
        return not who.permission or granted[who.permission]

    async def viewer(self, request: Request, least: int = ROLE_USER) -> Viewer:
        """The caller of a dashboard route, of role `least` or higher.

        Raises:
            Refusal: 401 or 403 with the code that says why.
        """
        found = await self._viewer(request)
        if found is None:
            raise _unauthorized("no credential was sent")
        if found.role < least:
            raise Refusal("insufficient privileges", code="AUTH_INSUFFICIENT_PRIVILEGE")
        put_header(request, "Auth-Version", AUTH_VERSION)
        return found

    async def visitor(self, request: Request) -> Viewer | None:
        """The caller of a public route; None for a guest or a bad credential."""
        try:
            found = await self._viewer(request)
        except Refusal:
            return None
        if found is not None:
            put_header(request, "Auth-Version", AUTH_VERSION)
        return found

    async def owner_of_cookie(self, request: Request) -> Viewer | None:
        """The account of the cookie `session` alone, for a page load that other sites
        cannot have caused: nothing but a fetch can carry `New-Api-User`.

        Raises:
            Refusal: the session has ended.
        """
        return await self._by_cookie(request)

    def verify(
        self,
        request: Request,
        viewer: Viewer,
        scope: str,
        methods: Collection[str] = (),
    ) -> None:
        """Returns when the caller showed a second factor a moment ago.

        Bearer sessions bring a proof for `scope` (e.g. `channel.key.read`) in header
        `X-Security-Proof`; cookie sessions were stamped within the last 300 s.

        Args:
            methods: How it must have been shown, when not every way will do. A stamp
                does not tell, but those who get a second factor lose theirs.

        Raises:
            Refusal: 403 with the code that the consoles act on.
        """
        if viewer.via is Via.TOKEN:
            raise Refusal(
                "an access token cannot be verified; use a login session",
                code="SECURITY_PROOF_INVALID",
            )
        if viewer.via is Via.BEARER:
            self._verify_proof(request, viewer, scope, methods)
        elif not viewer.verified_at:
            raise Refusal("verification is required", code="VERIFICATION_REQUIRED")
        elif self._now() - viewer.verified_at >= STAMP_SECONDS:
            raise Refusal("the verification has expired", code="VERIFICATION_EXPIRED")

    def _verify_proof(
        self, request: Request, viewer: Viewer, scope: str, methods: Collection[str]
    ) -> None:
        proof = header(request, PROOF_HEADER)
        if not proof:
            raise Refusal("a proof is required", code="SECURITY_PROOF_REQUIRED")
        try:
            claims = self._signer.read_bearer(proof, PROOF, self._now())
        except Expired:
            raise Refusal(
                "the proof has expired", code="SECURITY_PROOF_EXPIRED"
            ) from None
        except Unreadable:
            claims = None
        if claims is None or (claims.user_id, claims.sid) != (viewer.id, viewer.sid):
            raise Refusal("the proof is not valid", code="SECURITY_PROOF_INVALID")
        if scope not in claims.scopes:
            raise Refusal(
                "the proof is for something else", code="SECURITY_PROOF_SCOPE_MISMATCH"
            )
        if methods and claims.method not in methods:
            raise Refusal(
                "show your second factor or passkey",
                code="SECURITY_PROOF_METHOD_MISMATCH",
            )

    async def _viewer(self, request: Request) -> Viewer | None:
        given = authorization(request)
        found: Viewer | None
        if given and looks_like_bearer(given):
            found = await self._by_bearer(given)
        elif given:
            found = await self._by_access_token(given)
        else:
            found = await self._by_cookie(request)
        if found is not None:
            _check_user_header(request, found)
        return found

    async def _by_bearer(self, token: str) -> Viewer:
        try:
            claims = self._signer.read_bearer(token, ACCESS, self._now())
        except Expired:
            raise Refusal(
                "the access token has expired", code="AUTH_TOKEN_EXPIRED"
            ) from None
        except Unreadable:
            raise _unauthorized("the access token is not valid") from None
        session, who = await self._db.read(
            session_queries.with_owner, claims.sid, claims.user_id
        )
        if session is None or session.version != claims.session_version:
            raise _revoked()
        return self._alive(session, who, claims.user_version, Via.BEARER)

    async def _by_cookie(self, request: Request) -> Viewer | None:
        content = session_cookie(request, self._signer, self._now())
        if not isinstance(content.get("id"), int):
            return None
        sid = str(content.get("sid", ""))
        session, who = await self._db.read(
            session_queries.with_owner, sid, content["id"]
        )
        if session is None:
            raise _revoked()
        verified_at = content.get("verified_at", 0)
        return self._alive(session, who, content.get("av", 0), Via.COOKIE, verified_at)

    def _alive(
        self,
        session: Session,
        who: Identity | None,
        version: int,
        via: Via,
        verified_at: int = 0,
    ) -> Viewer:
        """The viewer of a session that neither ended nor outlived a change."""
        if who is None or who.deleted or session.user_id != who.id:
            raise _revoked()
        if who.status != ENABLED:
            raise _disabled()
        if not session.alive(self._now()) or version != who.auth_version:
            raise _revoked()
        return _to_viewer(who, via, session.sid, verified_at)

    async def _by_access_token(self, token: str) -> Viewer:
        who = await self._db.read(user_queries.identity_by_access_token, token)
        if who is None:
            raise _unauthorized("the access token is not valid")
        if who.status != ENABLED:
            raise _disabled()
        return _to_viewer(who, Via.TOKEN)

    def _now(self) -> int:
        return int(self._clock.seconds())


class Guarded(Protocol):
    """A surface whose routes are opened by `allow`."""

    @property
    def _guard(self) -> Guard: ...


S = TypeVar("S", bound=Guarded)
P = ParamSpec("P")

Route = Callable[Concatenate[S, Request, P], Coroutine[Any, Any, bytes]]
Opened = Callable[Concatenate[S, Request, Viewer, P], Coroutine[Any, Any, bytes]]

_READING = (b"GET", b"HEAD")


def allow(
    who: Who, *, finishes: bool | None = None
) -> Callable[[Opened[S, P]], Route[S, P]]:
    """Open a route to `who`: the caller is checked first and is its second argument.

    `@allow` stands between `@app.route` and the route; `mark` is for routes that no
    dashboard credential opens. A test walks all routes for one of the two.

    Args:
        finishes: The route goes on to its end when its client leaves, so that what it
            wrote is also announced and audited. None: unless it only reads, by its
            method.
    """

    def opened(route: Opened[S, P]) -> Route[S, P]:
        @wraps(route)
        async def guarded(
            surface: S, request: Request, /, *args: P.args, **kwargs: P.kwargs
        ) -> bytes:
            viewer = await surface._guard.admit(request, who)
            work = route(surface, request, viewer, *args, **kwargs)
            return await _kept(request, work, finishes)

        guarded.who = who  # type: ignore[attr-defined]
        return guarded

    return opened


F = TypeVar("F", bound=Callable[..., Any])


def mark(who: Who, *, finishes: bool | None = None) -> Callable[[F], F]:
    """Say who may call a route that reads its own credential, or needs none.

    Args:
        finishes: As `allow` has it, for a route that is a coroutine.
    """

    def marked(route: F) -> F:
        opened = route
        if iscoroutinefunction(route):

            @wraps(route)
            async def kept(surface: Any, request: Request, /, *a: Any, **k: Any) -> Any:
                return await _kept(request, route(surface, request, *a, **k), finishes)

            opened = cast(F, kept)
        opened.who = who  # type: ignore[attr-defined]
        return opened

    return marked


async def _kept(
    request: Request, work: Coroutine[Any, Any, bytes], finishes: bool | None
) -> bytes:
    """What `work` answers; a client that leaves only ends it if it may be ended."""
    ends = request.method not in _READING if finishes is None else finishes
    return await (to_the_end(Deferred.fromCoroutine(work)) if ends else work)


def authorization(request: Request) -> str:
    """The `Authorization` header without `Bearer `; empty when there is none."""
    given = header(request, "Authorization")
    scheme, _, rest = given.partition(" ")
    return rest.strip() if scheme.lower() == "bearer" and rest else given


def session_cookie(request: Request, signer: Signer, now: int) -> dict[str, Any]:
    """The content of the cookie `session`; empty when absent, forged or too old."""
    value = request.received_cookies.get(SESSION_COOKIE, b"")
    if not value:
        return {}
    try:
        return signer.read_cookie(value.decode("latin-1"), now)
    except Unreadable:
        return {}


def _check_user_header(request: Request, viewer: Viewer) -> None:
    """`New-Api-User` must be the caller's id; a cookie needs it, against forgery."""
    given = header(request, USER_HEADER)
    if not given and viewer.via is not Via.COOKIE:
        return
    if given != str(viewer.id):
        what = "does not match the login" if given else "is missing"
        raise _unauthorized(f"header {USER_HEADER} {what}")


def _to_viewer(who: Identity, via: Via, sid: str = "", verified_at: int = 0) -> Viewer:
    if not who.username.strip() or who.role not in ROLES:
        raise Refusal("the account is not usable", code="AUTH_USER_INVALID")
    return Viewer(who.id, who.username, who.role, who.group, via, sid, verified_at)


def _unauthorized(message: str) -> Refusal:
    return Refusal(message, code="AUTH_UNAUTHORIZED")


def _revoked() -> Refusal:
    return Refusal("the session has ended", code="AUTH_SESSION_REVOKED")


def _disabled() -> Refusal:
    return Refusal("the account is disabled", code="AUTH_USER_DISABLED")
