"""Accounts elsewhere that open an account here: listed, and unbound again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.external.built_in import SOURCES
from knight_tw.storage import external_queries, external_writes, user_writes
from knight_tw.storage.database import Database
from knight_tw.storage.external_queries import Source
from knight_tw.web.api.answers import install, invalid, ok
from knight_tw.web.api.audit import SYSTEM, Audit
from knight_tw.web.api.users import target
from knight_tw.web.auth import Guard, Viewer, Who, allow

Changed = Callable[[str, str], Awaitable[None]]

EMAIL = "email"
KINDS = (EMAIL, *SOURCES)
"""What an administrator may blank; an address is no login, but is bound alike."""


@frozen(eq=False)
class BindingsApi:
    """The routes of bindings, for their owners and for administrators."""

    _db: Database
    _guard: Guard
    _audit: Audit
    _changed: Changed

    app = Klein()
    install(app)

    @app.route("/api/user/oauth/bindings", methods=["GET"])
    @allow(Who.USER)
    async def own(self, request: Request, viewer: Viewer) -> bytes:
        """The caller's accounts at custom providers."""
        return ok(await self._db.read(external_queries.custom_bindings, viewer.id))

    @app.route("/api/user/oauth/bindings/<int:provider_id>", methods=["DELETE"])
    @allow(Who.USER)
    async def unbind_own(
        self, request: Request, viewer: Viewer, provider_id: int
    ) -> bytes:
        """Unbind one of them, unless nothing else would open the account."""
        source = Source("", provider_id=provider_id)
        had = await self._db.run(
            external_writes.unbind, source, viewer.id, keep_a_way=True
        )
        if had:
            told = {"provider_id": provider_id}
            other = {"op": {"action": "binding.remove", "params": told}}
            self._audit.note(
                request, SYSTEM, viewer.id, viewer.username, "account unbound", other
            )
            await self._changed("user", str(viewer.id))
        return ok(message="unbound")

    @app.route("/api/user/<int:user_id>/oauth/bindings", methods=["GET"])
    @allow(Who.ADMIN)
    async def of(self, request: Request, viewer: Viewer, user_id: int) -> bytes:
        """Another user's accounts at custom providers."""
        await target(self._db, viewer, user_id)
        return ok(await self._db.read(external_queries.custom_bindings, user_id))

    @app.route(
        "/api/user/<int:user_id>/oauth/bindings/<int:provider_id>", methods=["DELETE"]
    )
    @allow(Who.ADMIN)
    async def unbind(
        self, request: Request, viewer: Viewer, user_id: int, provider_id: int
    ) -> bytes:
        """Unbind one of them, even the last way in."""
        await target(self._db, viewer, user_id)
        source = Source("", provider_id=provider_id)
        await self._db.run(external_writes.unbind, source, user_id, keep_a_way=False)
        told = {"provider_id": provider_id}
        return await self._unbound(request, viewer, user_id, told)

    @app.route("/api/user/<int:user_id>/bindings/<kind>", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def blank(
        self, request: Request, viewer: Viewer, user_id: int, kind: str
    ) -> bytes:
        """Blank another user's address or id at a built-in provider."""
        await target(self._db, viewer, user_id)
        if kind not in KINDS:
            raise invalid("type", f"one of {', '.join(KINDS)}")
        if kind == EMAIL:
            await self._db.run(user_writes.update, user_id, {"email": ""})
        else:
            await self._db.run(
                external_writes.unbind, SOURCES[kind], user_id, keep_a_way=False
            )
        return await self._unbound(request, viewer, user_id, {"type": kind})

    async def _unbound(
        self,
        request: Request,
        viewer: Viewer,
        user_id: int,
        told: dict[str, str] | dict[str, int],
    ) -> bytes:
        self._audit.write(request, viewer, "user.unbind", told, target=user_id)
        await self._changed("user", str(user_id))
        return ok(message="success")
