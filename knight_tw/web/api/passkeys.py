"""Passkeys: `/api/user/passkey/…` (authentication spec, section 12)."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, NotRequired, TypedDict

from attrs import frozen
from klein import Klein
from twisted.logger import Logger
from twisted.web.server import Request

from knight_tw.accounts import passkeys
from knight_tw.accounts.flows import Flow, Flows
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.passkeys import Answered, PasskeyRefused, RelyingParty
from knight_tw.accounts.passwords import CpuPool
from knight_tw.options import Options
from knight_tw.records import ENABLED
from knight_tw.storage import passkey_queries, user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.passkey_queries import Passkey
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    header,
    install,
    is_secure,
    json_body,
    not_found,
    ok,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.entrance import Entrance
from knight_tw.web.api.renewal import Renewal, Renewed
from knight_tw.web.api.users import Changed, target
from knight_tw.web.api.verification import Proof, Verified, checked_scope
from knight_tw.web.auth import Guard, Viewer, Who, allow, mark
from knight_tw.web.gives import gives

log = Logger()

REGISTER, VERIFY, LOGIN = "passkey_register", "passkey_verify", "passkey_login"
"""Purposes of flows."""

REGISTER_SCOPE, DELETE_SCOPE = "passkey.register", "passkey.delete"
STRONG = ("2fa", "passkey")
"""How those who have a second factor must have shown who they are."""


class PasskeyStatus(TypedDict):
    """What the own passkey is; `last_used_at` is an RFC 3339 time."""

    enabled: bool
    backup_eligible: NotRequired[bool]
    backup_state: NotRequired[bool]
    last_used_at: NotRequired[str]


class Ceremony(TypedDict):
    """What `navigator.credentials` is called with (`publicKey` within `options`), and
    what goes back with its answer."""

    options: dict[str, Any]
    flow_token: str
    expires_at: int


@frozen(eq=False)
class PasskeysApi:
    """The routes by which a passkey is made, shown and taken away."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _flows: Flows
    _run: CpuPool
    _entrance: Entrance
    _renewal: Renewal
    _verified: Verified
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Changed
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/passkey", methods=["GET"])
    @allow(Who.USER)
    @gives(PasskeyStatus)
    async def show(self, request: Request, viewer: Viewer) -> bytes:
        """Whether the own account has a passkey, and when it was used."""
        found = await self._db.read(passkey_queries.of_user, viewer.id)
        if found is None:
            return ok({"enabled": False})
        shown: dict[str, Any] = {
            "enabled": True,
            "backup_eligible": found.backup_eligible,
            "backup_state": found.backup_state,
        }
        if found.last_used_at:
            used = datetime.fromtimestamp(found.last_used_at, UTC)
            shown["last_used_at"] = used.isoformat().replace("+00:00", "Z")
        return ok(shown)

    @app.route("/api/user/passkey/register/begin", methods=["POST"])
    @allow(Who.USER)
    @gives(Ceremony)
    async def begin_register(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to make a passkey; who has a second factor must have shown it."""
        party = self._party(request)
        _require_session(viewer)
        if await self._db.read(user_queries.has_strong_factor, viewer.id):
            self._guard.verify(request, viewer, REGISTER_SCOPE, STRONG)
        row = await self._db.read(user_queries.account, viewer.id)
        if row is None:
            raise not_found("user")
        known = await self._db.read(passkey_queries.of_user, viewer.id)
        token = await self._begin(REGISTER, party, viewer)
        shown = row["display_name"] or row["username"]
        asked = party.creation(token, viewer.id, row["username"], shown, known)
        return self._begun(token, asked)

    @app.route("/api/user/passkey/register/finish", methods=["POST"])
    @allow(Who.USER)
    @gives(Renewed | None)
    async def finish_register(self, request: Request, viewer: Viewer) -> bytes:
        """Keep the passkey in place of an earlier one; other sessions end."""
        answer = Answered.of(json_body(request))
        flow = await self._take(REGISTER, answer, viewer)
        made = await self._run(passkeys.created, answer, flow.payload, viewer.id)
        await self._db.run(passkey_queries.store, made, int(self._now()), viewer.sid)
        return await self._renewed(request, viewer, "passkey registered")

    @app.route("/api/user/passkey", methods=["DELETE"])
    @allow(Who.USER)
    @gives(Renewed | None)
    async def delete(self, request: Request, viewer: Viewer) -> bytes:
        """Take the own passkey away; other sessions end."""
        if await self._db.read(passkey_queries.of_user, viewer.id) is None:
            raise not_found("passkey")
        self._guard.verify(request, viewer, DELETE_SCOPE, STRONG)
        now = int(self._now())
        await self._db.run(passkey_queries.remove, viewer.id, now, viewer.sid)
        return await self._renewed(request, viewer, "passkey removed")

    @app.route("/api/user/<int:user_id>/reset_passkey", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def reset(self, request: Request, viewer: Viewer, user_id: int) -> bytes:
        """Take away another account's passkey; its sessions end."""
        row = await target(self._db, viewer, user_id)
        if not await self._db.run(passkey_queries.remove, user_id, int(self._now())):
            raise not_found("passkey")
        name = {"username": row["username"]}
        self._audit.write(request, viewer, "user.passkey_reset", name, target=user_id)
        await self._changed("user", str(user_id))
        return ok()

    @app.route("/api/user/passkey/verify/begin", methods=["POST"])
    @allow(Who.USER)
    @gives(Ceremony)
    async def begin_verify(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to show the own passkey again before something delicate."""
        _require_session(viewer)
        body = json_body(request, optional=True)
        scope = checked_scope(viewer, text(body, "scope", ""))
        party = self._party(request)
        known = await self._db.read(passkey_queries.of_user, viewer.id)
        if known is None:
            raise not_found("passkey")
        token = await self._begin(VERIFY, party, viewer, scope)
        return self._begun(token, party.request(token, known))

    @app.route("/api/user/passkey/verify/finish", methods=["POST"])
    @allow(Who.USER)
    @gives(Proof)
    async def finish_verify(self, request: Request, viewer: Viewer) -> bytes:
        """A proof for bearer sessions, a stamp for cookie sessions."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        answer = Answered.of(json_body(request))
        flow = await self._take(VERIFY, answer, viewer)
        known = await self._db.read(passkey_queries.of_user, viewer.id)
        if known is None:
            raise not_found("passkey")
        await self._check(answer, flow, known)
        scope = str(flow.payload.get("scope", ""))
        return await self._verified.answer(request, viewer, "passkey", scope)

    @app.route("/api/user/passkey/login/begin", methods=["POST"])
    @mark(Who.ANYONE)
    @gives(Ceremony)
    async def begin_login(self, request: Request) -> bytes:
        """Begin to log in with whichever passkey the browser finds for this site."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        party = self._party(request)
        token = await self._begin(LOGIN, party)
        return self._begun(token, party.request(token))

    @app.route("/api/user/passkey/login/finish", methods=["POST"])
    @mark(Who.ANYONE)
    async def finish_login(self, request: Request) -> bytes:
        """Log in with a passkey; it counts as a second factor by itself."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        answer = Answered.of(json_body(request))
        flow = await self._take(LOGIN, answer)
        known = await self._db.read(passkey_queries.by_credential, answer.credential_id)
        if known is None or answer.user_id not in (None, known.user_id):
            raise PasskeyRefused("the passkey was not accepted")
        await self._check(answer, flow, known)
        who = await self._db.read(user_queries.identity, known.user_id)
        if who is None or who.deleted or who.status != ENABLED:
            raise PasskeyRefused("the passkey was not accepted")
        return await self._entrance.let_in(request, who, "passkey")

    def _party(self, request: Request) -> RelyingParty:
        host = header(request, "Host")
        return RelyingParty.of(self._options(), host, is_secure(request))

    async def _begin(
        self,
        purpose: str,
        party: RelyingParty,
        viewer: Viewer | None = None,
        scope: str = "",
    ) -> str:
        payload = party.packed()
        if scope:
            payload["scope"] = scope
        return await self._flows.start(
            purpose,
            user_id=viewer.id if viewer else 0,
            session_id=viewer.sid if viewer else "",
            payload=payload,
            ttl=passkeys.CHALLENGE_SECONDS,
        )

    def _begun(self, token: str, asked: dict[str, Any]) -> bytes:
        expires_at = int(self._now()) + passkeys.CHALLENGE_SECONDS
        return ok({"options": asked, "flow_token": token, "expires_at": expires_at})

    async def _take(
        self, purpose: str, answer: Answered, viewer: Viewer | None = None
    ) -> Flow:
        """The flow that an answer ends; it must have begun in the same session."""
        flow = await self._flows.take(purpose, answer.token)
        owner = (viewer.id, viewer.sid) if viewer else (0, "")
        if flow is None or (flow.user_id, flow.session_id) != owner:
            raise Refusal("the passkey request has expired", code="code_expired")
        return flow

    async def _check(self, answer: Answered, flow: Flow, known: Passkey) -> None:
        """Returns when the authenticator of `known` answered the flow's challenge."""
        said = await self._run(passkeys.asserted, answer, flow.payload, known)
        if await self._db.run(passkey_queries.use, known, said, int(self._now())):
            return
        log.warn(
            "the passkey of user {user_id} came with an old counter: there may be a"
            " copy of it",
            user_id=known.user_id,
        )
        raise PasskeyRefused("the passkey was not accepted: it may have been copied")

    async def _renewed(self, request: Request, viewer: Viewer, message: str) -> bytes:
        await self._changed("user", str(viewer.id))
        return ok(await self._renewal.of(request, viewer) or None, message)


def _require_session(viewer: Viewer) -> None:
    """Refuses an access token: nobody sits at a script."""
    if not viewer.sid:
        raise Refusal(
            "a dashboard login session is required", code="AUTH_SESSION_REQUIRED"
        )
