"""Getting an account: the form of `POST /api/user/register`."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts import access
from knight_tw.accounts.callers import AUTO
from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.mail_codes import MailCodes
from knight_tw.accounts.passwords import Passwords, check_new
from knight_tw.notices.letters import address
from knight_tw.options import Options
from knight_tw.records import ENABLED, ROLE_USER
from knight_tw.storage import registration_writes
from knight_tw.storage.database import Database
from knight_tw.storage.flow_queries import Flow
from knight_tw.storage.registration_writes import Joined, Joining
from knight_tw.storage.user_writes import NewAccount
from knight_tw.web.api import user_fields
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    install,
    json_body,
    missing,
    ok,
    query,
    text,
)
from knight_tw.web.api.audit import SYSTEM, Audit
from knight_tw.web.api.token_fields import NAME_LENGTH, NEVER, new_key
from knight_tw.web.auth import Who, mark

LONGEST_EMAIL, LONGEST_CODE, LONGEST_AFF_CODE = 50, 64, 32


@frozen(eq=False)
class RegistrationApi:
    """The registration form.

    Attributes:
        _first_token: Whether a new account gets a token (`GENERATE_DEFAULT_TOKEN`).
    """

    _db: Database
    _limits: Limits
    _captcha: Turnstile
    _codes: MailCodes
    _passwords: Passwords
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Callable[[str, str], Awaitable[None]]
    _first_token: bool
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/register", methods=["POST"])
    @mark(Who.ANYONE)
    async def register(self, request: Request) -> bytes:
        """Make an account of role user; it does not log in."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        options = self._options()
        if not options.flag("RegisterEnabled"):
            raise Refusal("registration is closed", code="registration_closed")
        if not options.flag("PasswordRegisterEnabled"):
            raise Refusal(
                "registration by password is closed", code="registration_closed"
            )
        await self._captcha.check(query(request, "turnstile"), client_ip(request))
        body = json_body(request)
        name, password = user_fields.username(body), text(body, "password")
        check_new(password)
        email, proof = await self._proved(body, options)
        user_fields.check_no_other_address(name, email)
        code = text(body, "aff_code", "", longest=LONGEST_AFF_CODE).strip()
        hashed = await self._passwords.hash(password)
        new = self._joining(name, hashed, email, proof, code, options)
        joined = await self._db.run(
            registration_writes.join, new, self._random, int(self._now())
        )
        await self._tell(request, new, joined)
        return ok()

    async def _proved(
        self, body: Mapping[str, Any], options: Options
    ) -> tuple[str, Flow | None]:
        """The address of the form and what proves it; nothing when none is asked for:
        an address that nobody proved is not stored."""
        if not options.flag("EmailVerificationEnabled"):
            return "", None
        given = text(body, "email", "", longest=LONGEST_EMAIL)
        code = text(body, "verification_code", "", longest=LONGEST_CODE)
        for field, value in (("email", given), ("verification_code", code)):
            if not value.strip():
                raise missing(field)
        email = address(given)
        return email, await self._codes.proved(email, code)

    def _joining(
        self,
        name: str,
        hashed: str,
        email: str,
        proof: Flow | None,
        aff_code: str,
        options: Options,
    ) -> Joining:
        sidebar = access.default_sidebar(ROLE_USER)
        setting = {"gotify_priority": 0, "sidebar_modules": sidebar}
        account = NewAccount(
            username=name,
            password=hashed,
            display_name=name,
            role=ROLE_USER,
            quota=options.integer("QuotaForNewUser"),
            setting=msgspec.json.encode(setting).decode(),
            email=email,
        )
        return Joining(
            account=account,
            proof=proof,
            aff_code=aff_code,
            invitee_quota=options.integer("QuotaForInvitee"),
            inviter_quota=options.integer("QuotaForInviter"),
            token=self._token(name, options) if self._first_token else None,
        )

    def _token(self, name: str, options: Options) -> dict[str, Any]:
        now = int(self._now())
        return {
            "name": f"{name} default token"[:NAME_LENGTH],
            "key": new_key(self._random),
            "status": ENABLED,
            "created_time": now,
            "accessed_time": now,
            "expired_time": NEVER,
            "unlimited_quota": True,
            "group": AUTO if options.flag("DefaultUseAutoGroup") else "",
        }

    async def _tell(self, request: Request, new: Joining, joined: Joined) -> None:
        """Log what was given to whom, and let caches know of the inviter's share."""
        name, gift = new.account.username, new.account.quota
        if gift:
            self._gift(request, joined.user_id, name, "gift for a new account", gift)
        inviter = joined.inviter
        if inviter is None:
            return
        if new.invitee_quota:
            what = "gift for coming by invitation"
            self._gift(request, joined.user_id, name, what, new.invitee_quota)
        if new.inviter_quota:
            what = f"gift for inviting {name}"
            self._gift(request, inviter.id, inviter.username, what, new.inviter_quota)
        await self._changed("user", str(inviter.id))

    def _gift(
        self, request: Request, user_id: int, name: str, what: str, quota: int
    ) -> None:
        op = {"action": "user.register", "params": {"quota": quota}}
        self._audit.note(request, SYSTEM, user_id, name, what, {"op": op}, quota)
