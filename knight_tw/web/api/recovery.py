"""Addresses and what is mailed to them: proofs, forgotten passwords, a test letter."""

from __future__ import annotations

import random
import string
from collections.abc import Awaitable, Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.captcha import Turnstile
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.accounts.mail_codes import MailCodes
from knight_tw.accounts.passwords import Passwords, check_new
from knight_tw.background import Background
from knight_tw.notices import texts
from knight_tw.notices.letters import BadAddress, address
from knight_tw.notices.mail import Mailer
from knight_tw.notices.words import language
from knight_tw.options import Options
from knight_tw.storage import registration_writes
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    client_ip,
    header,
    install,
    invalid,
    json_body,
    missing,
    ok,
    query,
    text,
)
from knight_tw.web.api.audit import SYSTEM, Audit
from knight_tw.web.api.registration import LONGEST_CODE, LONGEST_EMAIL
from knight_tw.web.auth import Guard, Viewer, Who, allow, mark

PASSWORD_ALPHABET, PASSWORD_LENGTH = string.ascii_letters + string.digits, 12


@frozen(eq=False)
class RecoveryApi:
    """The routes that send mail, and those that take what it said."""

    _db: Database
    _guard: Guard
    _limits: Limits
    _captcha: Turnstile
    _codes: MailCodes
    _mailer: Mailer
    _passwords: Passwords
    _background: Background
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Callable[[str, str], Awaitable[None]]
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/verification", methods=["GET"])
    @mark(Who.ANYONE)
    async def verification(self, request: Request) -> bytes:
        """Mail a code that proves the address `email`."""
        await self._limits.check(Mark.EMAIL_CODE, client_ip(request))
        await self._captcha.check(query(request, "turnstile"), client_ip(request))
        email = _address(query(request, "email"))
        await self._limits.check(Mark.EMAIL_CODE, email)
        await self._codes.send_proof(email, _spoken(request))
        return ok()

    @app.route("/api/reset_password", methods=["GET"])
    @mark(Who.ANYONE)
    async def forgotten(self, request: Request) -> bytes:
        """Mail a link that sets a new password; the answer is the same for all."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        await self._captcha.check(query(request, "turnstile"), client_ip(request))
        email = _address(query(request, "email"))
        await self._limits.check(Mark.EMAIL_CODE, email)
        letter = self._codes.send_reset(email, _spoken(request))
        self._background.spawn("password letter", letter)
        return ok()

    @app.route("/api/user/reset", methods=["POST"])
    @mark(Who.ANYONE)
    async def reset(self, request: Request) -> bytes:
        """Set a new password, the body's or a random one that is returned."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        body = json_body(request)
        email = _address(text(body, "email"))
        token = text(body, "token", longest=LONGEST_CODE)
        chosen = text(body, "password", "")
        if chosen:
            check_new(chosen)
        proof = await self._codes.reset_allowed(email, token)
        password = chosen or "".join(
            self._random.choices(PASSWORD_ALPHABET, k=PASSWORD_LENGTH)
        )
        hashed = await self._passwords.hash(password)
        owner = await self._db.run(
            registration_writes.reset_password, proof, email, hashed, int(self._now())
        )
        await self._changed("user", str(owner.id))
        op = {"op": {"action": "user.password_reset", "params": {}}}
        what = "new password by mail"
        self._audit.note(request, SYSTEM, owner.id, owner.username, what, op)
        return ok() if chosen else ok(password)

    @app.route("/api/oauth/email/bind", methods=["GET"])
    @allow(Who.USER, finishes=True)
    async def bind_by_query(self, request: Request, viewer: Viewer) -> bytes:
        """As the POST form, by query: `email` and `code`."""
        code = query(request, "code")[:LONGEST_CODE]
        return await self._bind(request, viewer, query(request, "email"), code)

    @app.route("/api/oauth/email/bind", methods=["POST"])
    @allow(Who.USER)
    async def bind(self, request: Request, viewer: Viewer) -> bytes:
        """Give the own account an address, proved by the code mailed to it."""
        body = json_body(request)
        email, code = text(body, "email"), text(body, "code", longest=LONGEST_CODE)
        return await self._bind(request, viewer, email, code)

    async def _bind(
        self, request: Request, viewer: Viewer, given: str, code: str
    ) -> bytes:
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        email = _address(given)
        if not code:
            raise missing("code")
        proof = await self._codes.proved(email, code)
        now = int(self._now())
        await self._db.run(
            registration_writes.bind_address, viewer.id, email, proof, now
        )
        await self._changed("user", str(viewer.id))
        return ok()

    @app.route("/api/option/test_smtp", methods=["POST"])
    @allow(Who.ROOT)
    async def test_mail(self, request: Request, viewer: Viewer) -> bytes:
        """Mail a test letter to `to`; a failure says what the mail server said."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        to = _address(text(json_body(request), "to"), "to")
        site = self._options().text("SystemName")
        await self._mailer.send(texts.mail_test(_spoken(request), to, site))
        self._audit.write(request, viewer, "option.test_smtp", {"to": to})
        return ok()


def _address(given: str, field: str = "email") -> str:
    """An address of a form, in the form it is stored in.

    Raises:
        Refusal.
    """
    if not given.strip():
        raise missing(field)
    try:
        found = address(given)
    except BadAddress:
        raise invalid(field, "an e-mail address") from None
    if len(found) > LONGEST_EMAIL:
        raise invalid(field, f"at most {LONGEST_EMAIL} characters")
    return found


def _spoken(request: Request) -> str:
    """The language that the browser wants letters in."""
    return language(query(request, "lang"), header(request, "Accept-Language"))
