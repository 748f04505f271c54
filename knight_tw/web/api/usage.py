"""What a relay key tells about itself: balance pages of OpenAI's old form, the usage of
the key, its log (management API, section 6; relay specification, section 16).

A key that has expired or is used up may still read here; a disabled one may not.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, ClassVar, Protocol, cast

from attrs import frozen
from klein import Klein
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException

from knight_tw.accounts.credentials import Credential, credential
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.errors import DatabaseAway, InvalidKey, KnightError
from knight_tw.options import Options
from knight_tw.pricing import json_number
from knight_tw.records import Dialect, Head, Token, User
from knight_tw.storage import log_queries, token_queries, user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.log_queries import LogFilter
from knight_tw.storage.sql import listed
from knight_tw.web.api import answers, log_fields
from knight_tw.web.api.answers import Refusal, client_ip, encode, install, ok
from knight_tw.web.auth import Who, mark
from knight_tw.wire import envelope

Row = Mapping[str, Any]

Holder = Callable[[Credential], Awaitable[tuple[Token, User]]]
"""Token and owner behind a credential, for reading only (`Callers.holder`)."""

UNLIMITED = 100_000_000
"""What a token without a limit shows as its limit, in any unit."""

MOST_ROWS = 1000
"""Log rows that a key is shown."""

_CENTS = 100


class View(Protocol):
    """Today's options."""

    @property
    def options(self) -> Options: ...


@frozen
class KeyPages:
    """`/api/usage/token` and `/api/log/token`, in the envelope."""

    _holder: Holder
    _db: Database
    _logs: Database
    _limits: Limits

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/usage/token/", methods=["GET"])
    @mark(Who.KEY)
    async def usage(self, request: Request) -> bytes:
        """What the key may spend and has spent, in quota units."""
        row = await self._token(request)
        left, used = row["remain_quota"] or 0, row["used_quota"] or 0
        limits = listed(row["model_limits"])
        told = {
            "object": "token_usage",
            "name": row["name"] or "",
            "total_granted": left + used,
            "total_used": used,
            "total_available": left,
            "unlimited_quota": bool(row["unlimited_quota"]),
            "model_limits": dict.fromkeys(limits, True),
            "model_limits_enabled": bool(row["model_limits_enabled"]),
            "expires_at": _until(row),
        }
        return encode({"code": True, "message": "ok", "data": told})

    @app.route("/api/log/token", methods=["GET"])
    @mark(Who.KEY)
    async def log(self, request: Request) -> bytes:
        """The newest rows of the key, as users see them."""
        row = await self._token(request)
        chosen = LogFilter(token_id=row["id"])
        rows = await self._logs.read(log_queries.window, chosen, MOST_ROWS)
        return ok([log_fields.for_user(one, n + 1) for n, one in enumerate(rows)])

    async def _token(self, request: Request) -> Row:
        """The row of the request's key as it is now."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        try:
            token, _ = await self._holder(credential_of(request))
            return await _current(self._db, token)
        except DatabaseAway:
            raise
        except KnightError as error:
            raise Refusal(
                error.message, status=error.status, code="AUTH_UNAUTHORIZED"
            ) from None


@frozen
class BillingPages:
    """`/dashboard/billing/*`, in OpenAI's form, refusals included."""

    _holder: Holder
    _db: Database
    _view: View

    app: ClassVar = Klein()
    app.url_map.strict_slashes = False
    _log: ClassVar = Logger()

    @app.handle_errors(Exception)
    def failed(self, request: IRequest, failure: Failure) -> bytes:
        """The body for a failed page."""
        asked = cast(Request, request)
        error = failure.value
        if isinstance(error, HTTPException):
            return answers.unknown_path(asked, error.code or 404)
        if not isinstance(error, KnightError):
            self._log.failure("billing page crashed", failure)
            error = KnightError("internal error")
        asked.setResponseCode(error.status)
        return envelope.render(error, Dialect.CHAT, answers.request_id(asked))

    @app.route("/dashboard/billing/subscription", methods=["GET"])
    @app.route("/v1/dashboard/billing/subscription", methods=["GET"])
    @mark(Who.KEY)
    async def subscription(self, request: Request) -> bytes:
        """The limit: what the key, or its owner, had and has."""
        row, owner = await self._account(request)
        spent = row if owner is None else owner
        left = row["remain_quota"] if owner is None else owner["quota"]
        limit = self._amount((left or 0) + (spent["used_quota"] or 0))
        if owner is None and row["unlimited_quota"]:
            limit = UNLIMITED
        return encode(
            {
                "object": "billing_subscription",
                "has_payment_method": True,
                "soft_limit_usd": limit,
                "hard_limit_usd": limit,
                "system_hard_limit_usd": limit,
                "access_until": _until(row),
            }
        )

    @app.route("/dashboard/billing/usage", methods=["GET"])
    @app.route("/v1/dashboard/billing/usage", methods=["GET"])
    @mark(Who.KEY)
    async def usage(self, request: Request) -> bytes:
        """What was spent in all, in hundredths of the unit; dates are not looked at."""
        row, owner = await self._account(request)
        spent = row if owner is None else owner
        total = self._amount((spent["used_quota"] or 0) * _CENTS)
        return encode({"object": "list", "total_usage": total})

    async def _account(self, request: Request) -> tuple[Row, Row | None]:
        """The key's row and, when the owner's numbers are to be shown, the owner's."""
        token, user = await self._holder(credential_of(request))
        row = await _current(self._db, token)
        if self._view.options.flag("DisplayTokenStatEnabled"):
            return row, None
        return row, await self._db.read(user_queries.account, user.id)

    def _amount(self, quota: int) -> int | float:
        """Quota in the unit that the site displays."""
        options = self._view.options
        shown = options.text("general_setting.quota_display_type")
        if shown == "TOKENS":
            return quota
        amount = Decimal(quota) / options.decimal("QuotaPerUnit")
        if shown == "CNY":
            amount *= options.decimal("USDExchangeRate")
        return json_number(amount)


def credential_of(request: Request) -> Credential:
    """The relay key of a request: in a header, else in the argument `key`.

    Raises:
        InvalidKey: there is none, or it cannot be one of ours.
    """
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, values in request.requestHeaders.getAllRawHeaders()
        for value in values
    ]
    given = answers.query(request, "key")
    names = {name for name, _ in headers}
    if given and not names & {"authorization", "api-key", "x-api-key"}:
        headers.append(("authorization", given))
    path = request.path.decode("latin-1")
    return credential(Head("GET", path, "", headers, "", ""))


async def _current(db: Database, token: Token) -> Row:
    """The row behind a remembered token."""
    row = await db.read(token_queries.by_id, token.id)
    if row is None:
        raise InvalidKey("invalid API key")
    return row


def _until(row: Row) -> int:
    """When the key expires; 0 = never."""
    moment = row["expired_time"]
    return moment if moment and moment > 0 else 0
