"""People's own accounts: `/api/user/self`, `/token`, `/setting`, `/aff`, `/prefs`."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Awaitable, Callable
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.passwords import Passwords, check_new
from knight_tw.accounts.sessions import Sessions
from knight_tw.options import Options
from knight_tw.records import ROLE_ROOT
from knight_tw.storage import pref_queries, user_queries, user_writes
from knight_tw.storage.database import Database
from knight_tw.web.api import user_fields
from knight_tw.web.api.answers import (
    Refusal,
    body_bytes,
    client_ip,
    install,
    integer,
    invalid,
    json_body,
    not_found,
    ok,
    text,
)
from knight_tw.web.api.cookies import Cookies
from knight_tw.web.api.profile import bearer_view, own_view
from knight_tw.web.auth import STEP_UP_SCOPE, Guard, Viewer, Who, allow

Changed = Callable[[str, str], Awaitable[None]]
BalancesChanged = Callable[[int], None]
"""Told the id of an account whose balance was written past the ledger."""

MOST_PREFS = 65_536
_TOKEN_BYTES = 24


@frozen(eq=False)
class SelfApi:
    """The routes by which everybody manages the own account."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _passwords: Passwords
    _sessions: Sessions
    _cookies: Cookies
    _options: Callable[[], Options]
    _changed: Changed
    _balances_changed: BalancesChanged
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/self", methods=["GET"])
    @allow(Who.USER)
    async def show(self, request: Request, viewer: Viewer) -> bytes:
        """The own account."""
        row = await self._db.read(user_queries.account, viewer.id)
        if row is None:
            raise not_found("user")
        return ok(own_view(row, self._options().flag("authz.strict_admin")))

    @app.route("/api/user/self", methods=["PUT"])
    @allow(Who.USER)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """Change names and password, or the side bar, or the language."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        body = json_body(request)
        for name, read in _SETTING_FORMS.items():
            if name in body:
                change = {name: read(body)}
                await self._db.run(user_writes.merge_setting, viewer.id, change)
                await self._changed("user", str(viewer.id))
                return ok(None, "updated")
        return await self._update_profile(request, viewer, body)

    async def _update_profile(
        self, request: Request, viewer: Viewer, body: dict[str, Any]
    ) -> bytes:
        values: dict[str, Any] = {}
        if text(body, "username", ""):
            values["username"] = await self._new_name(viewer, body)
        if text(body, "display_name", ""):
            values["display_name"] = user_fields.display_name(body, viewer.username)
        password = text(body, "password", "")
        hashed = ""
        if password:
            hashed = await self._new_password(viewer, password, body)
        await self._db.run(user_writes.update, viewer.id, values)
        if not hashed:
            await self._changed("user", str(viewer.id))
            return ok()
        return await self._set_password(request, viewer, hashed)

    async def _new_name(self, viewer: Viewer, body: dict[str, Any]) -> str:
        """The user name of the body, kept or new."""
        name = user_fields.username(body)
        if name != viewer.username:
            row = await self._db.read(user_queries.account, viewer.id)
            user_fields.check_no_other_address(name, row["email"] if row else "")
        return name

    async def _new_password(
        self, viewer: Viewer, password: str, body: dict[str, Any]
    ) -> str:
        """The hash of a new password, after the old one was shown if there is one."""
        check_new(password)
        stored = await self._db.read(user_queries.password_hash, viewer.id)
        original = text(body, "original_password", "")
        if stored and not await self._passwords.matches(original, stored):
            raise Refusal(
                "the original password is wrong",
                code="wrong_credentials",
                params={"field": "original_password"},
            )
        return await self._passwords.hash(password)

    async def _set_password(
        self, request: Request, viewer: Viewer, hashed: str
    ) -> bytes:
        """Store it; every other session ends, this one gets new credentials."""
        await self._db.run(
            user_writes.secure,
            viewer.id,
            {"password": hashed},
            "password_changed",
            int(self._now()),
            viewer.sid,
        )
        await self._changed("user", str(viewer.id))
        if not viewer.sid:
            return ok()
        opened = await self._sessions.reopened(viewer.sid, viewer.id)
        if opened is None:
            return ok()
        self._cookies.set_session(
            request, self._sessions.cookie(opened.who, viewer.sid)
        )
        return ok(bearer_view(opened))

    @app.route("/api/user/self", methods=["DELETE"])
    @allow(Who.USER)
    async def delete(self, request: Request, viewer: Viewer) -> bytes:
        """Delete the own account; root cannot."""
        if viewer.role == ROLE_ROOT:
            raise Refusal("root cannot be deleted", code="forbidden_target")
        self._step_up(request, viewer)
        await self._db.run(user_writes.soft_delete, viewer.id, int(self._now()))
        await self._changed("user", str(viewer.id))
        self._cookies.clear_session(request)
        self._cookies.clear_refresh(request)
        return ok()

    @app.route("/api/user/token", methods=["GET"])
    @allow(Who.USER, finishes=True)
    async def access_token(self, request: Request, viewer: Viewer) -> bytes:
        """A new personal access token; the one before stops working."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        await self._limits.check(Mark.ACCESS_TOKEN, viewer.id)
        self._step_up(request, viewer)
        token = b64encode(self._random.randbytes(_TOKEN_BYTES)).decode()
        await self._db.run(user_writes.update, viewer.id, {"access_token": token})
        await self._changed("user", str(viewer.id))
        return ok(token)

    def _step_up(self, request: Request, viewer: Viewer) -> None:
        if self._options().flag("auth.strict_step_up"):
            self._guard.verify(request, viewer, STEP_UP_SCOPE)

    @app.route("/api/user/setting", methods=["PUT"])
    @allow(Who.USER)
    async def setting(self, request: Request, viewer: Viewer) -> bytes:
        """How the account wants to be told of things."""
        changes = user_fields.setting(json_body(request), viewer.role)
        await self._db.run(user_writes.merge_setting, viewer.id, changes)
        await self._changed("user", str(viewer.id))
        return ok(None, "settings updated")

    @app.route("/api/user/aff", methods=["GET"])
    @allow(Who.USER)
    async def aff_code(self, request: Request, viewer: Viewer) -> bytes:
        """The own referral code, made when first asked for."""
        return ok(await self._db.run(user_writes.aff_code, viewer.id, self._random))

    @app.route("/api/user/aff_transfer", methods=["POST"])
    @allow(Who.USER)
    async def aff_transfer(self, request: Request, viewer: Viewer) -> bytes:
        """Move referral balance to the balance."""
        await self._limits.check(Mark.AFF_TRANSFER, viewer.id)
        quota = integer(json_body(request), "quota")
        least = int(self._options().decimal("QuotaPerUnit"))
        if quota < least:
            raise invalid("quota", f"at least {least}")
        if not await self._db.run(user_writes.transfer_aff_quota, viewer.id, quota):
            raise Refusal(
                "the referral balance is not enough", code="insufficient_quota"
            )
        self._balances_changed(viewer.id)
        await self._changed("user", str(viewer.id))
        return ok(message="transferred")

    @app.route("/api/user/prefs", methods=["GET"])
    @allow(Who.USER)
    async def prefs(self, request: Request, viewer: Viewer) -> bytes:
        """The console's own document about this account."""
        return ok(await self._db.read(pref_queries.load, viewer.id))

    @app.route("/api/user/prefs", methods=["PUT"])
    @allow(Who.USER)
    async def set_prefs(self, request: Request, viewer: Viewer) -> bytes:
        """Replace that document."""
        document = json_body(request)
        if len(body_bytes(request)) > MOST_PREFS:
            raise invalid("body", f"at most {MOST_PREFS} bytes")
        now = int(self._now())
        await self._db.run(pref_queries.save, viewer.id, document, now)
        return ok(document)


_SETTING_FORMS = {
    "sidebar_modules": user_fields.sidebar,
    "language": user_fields.language,
}
"""The bodies of `PUT /api/user/self` that change one member of `setting`."""
