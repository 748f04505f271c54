"""Two-factor authentication by TOTP: `/api/user/2fa/…` (authentication spec, 11)."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NotRequired, Required, TypedDict

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts import totp_secrets
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.passwords import Passwords
from knight_tw.accounts.second_factor import SecondFactor
from knight_tw.accounts.totp_secrets import TotpSecrets
from knight_tw.options import Options
from knight_tw.storage import factor_queries, factor_writes
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    install,
    json_body,
    not_found,
    ok,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.api.renewal import Renewal, Renewed
from knight_tw.web.api.users import Changed, target
from knight_tw.web.auth import STEP_UP_SCOPE, Guard, Viewer, Who, allow
from knight_tw.web.gives import gives


class FactorStatus(TypedDict):
    """What the own second factor is."""

    enabled: bool
    locked: bool
    backup_codes_remaining: NotRequired[int]


class NewFactor(TypedDict):
    """What goes into an authenticator app, and what is kept on paper."""

    secret: str
    qr_code_data: str
    backup_codes: list[str]


class NewCodes(Renewed, total=False):
    """Backup codes, and the session's new credentials for those who have one."""

    backup_codes: Required[list[str]]


class FactorStats(TypedDict):
    """How many accounts there are, and how many have a second factor."""

    total_users: int
    enabled_users: int
    enabled_rate: str


@frozen(eq=False)
class TwoFactorApi:
    """The routes by which people set their second factor up, and lose it again."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _passwords: Passwords
    _second_factor: SecondFactor
    _secrets: TotpSecrets
    _renewal: Renewal
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Changed
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/2fa/status", methods=["GET"])
    @allow(Who.USER)
    @gives(FactorStatus)
    async def status(self, request: Request, viewer: Viewer) -> bytes:
        """Whether the own account has a second factor, and what is left of it."""
        factor = await self._db.read(factor_queries.find, viewer.id)
        if factor is None:
            return ok({"enabled": False, "locked": False})
        codes = await self._db.read(factor_queries.backup_codes, viewer.id)
        return ok(
            {
                "enabled": True,
                "locked": factor.locked_until > self._now(),
                "backup_codes_remaining": len(codes),
            }
        )

    @app.route("/api/user/2fa/setup", methods=["POST"])
    @allow(Who.USER)
    @gives(NewFactor)
    async def setup(self, request: Request, viewer: Viewer) -> bytes:
        """A new secret and backup codes; they count once `enable` was called."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        secret = totp_secrets.new_secret(self._random)
        codes, hashes = await self._new_codes()
        options, stored = self._options(), secret
        if options.flag("auth.encrypt_totp_secrets"):
            stored = self._secrets.sealed(secret, viewer.id)
        if not await self._db.run(
            factor_writes.prepare, viewer.id, stored, hashes, int(self._now())
        ):
            raise Refusal(
                "two-factor authentication is on: disable it first",
                code="already_exists",
            )
        issuer = options.text("SystemName")
        return ok(
            {
                "secret": secret,
                "qr_code_data": totp_secrets.address(secret, issuer, viewer.username),
                "backup_codes": codes,
            },
            "scan the picture and enable it with a code",
        )

    @app.route("/api/user/2fa/enable", methods=["POST"])
    @allow(Who.USER)
    @gives(Renewed | None)
    async def enable(self, request: Request, viewer: Viewer) -> bytes:
        """From now on logins by password need a code; other sessions end."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        code = text(json_body(request), "code")
        used = await self._second_factor.waiting_step(viewer.id, code)
        now = int(self._now())
        if not await self._db.run(
            factor_writes.enable, viewer.id, used, now, viewer.sid
        ):
            raise not_found("second factor")
        return await self._renewed(request, viewer, "two-factor authentication is on")

    @app.route("/api/user/2fa/disable", methods=["POST"])
    @allow(Who.USER)
    @gives(Renewed | None)
    async def disable(self, request: Request, viewer: Viewer) -> bytes:
        """Take the second factor away, by a TOTP or backup code; other sessions end."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        code = text(json_body(request), "code")
        await self._second_factor.check(viewer.id, code)
        now = int(self._now())
        await self._db.run(factor_writes.remove, viewer.id, now, viewer.sid)
        return await self._renewed(request, viewer, "two-factor authentication is off")

    @app.route("/api/user/2fa/backup_codes", methods=["POST"])
    @allow(Who.USER)
    @gives(NewCodes)
    async def backup_codes(self, request: Request, viewer: Viewer) -> bytes:
        """New backup codes, by a TOTP code; those before stop working."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        code = text(json_body(request), "code")
        await self._second_factor.check(viewer.id, code, backup=False)
        codes, hashes = await self._new_codes()
        now = int(self._now())
        await self._db.run(
            factor_writes.replace_codes, viewer.id, hashes, now, viewer.sid
        )
        await self._changed("user", str(viewer.id))
        renewed = await self._renewal.of(request, viewer)
        return ok({**renewed, "backup_codes": codes}, "new backup codes")

    async def _new_codes(self) -> tuple[list[str], list[str]]:
        codes = totp_secrets.new_backup_codes(self._random)
        return codes, [await self._passwords.hash(code) for code in codes]

    async def _renewed(self, request: Request, viewer: Viewer, message: str) -> bytes:
        await self._changed("user", str(viewer.id))
        return ok(await self._renewal.of(request, viewer) or None, message)

    @app.route("/api/user/2fa/stats", methods=["GET"])
    @allow(Who.ADMIN)
    @gives(FactorStats)
    async def stats(self, request: Request, viewer: Viewer) -> bytes:
        """How many accounts have a second factor."""
        found = await self._db.read(factor_queries.standing)
        share = 100 * found.enabled / found.accounts if found.accounts else 0.0
        return ok(
            {
                "total_users": found.accounts,
                "enabled_users": found.enabled,
                "enabled_rate": f"{share:.1f}%",
            }
        )

    @app.route("/api/user/<int:user_id>/2fa", methods=["DELETE"])
    @allow(Who.ADMIN)
    async def remove(self, request: Request, viewer: Viewer, user_id: int) -> bytes:
        """Take away another account's second factor; its sessions end."""
        row = await target(self._db, viewer, user_id)
        if self._options().flag("auth.strict_step_up"):
            self._guard.verify(request, viewer, STEP_UP_SCOPE)
        if not await self._db.run(factor_writes.remove, user_id, int(self._now())):
            raise not_found("second factor")
        name = {"username": row["username"]}
        self._audit.write(request, viewer, "user.2fa_disable", name, target=user_id)
        await self._changed("user", str(user_id))
        return ok()
