"""The management API's answers: the envelope, refusals, paging and reading of input.

Every surface under `/api` is a class with its own `Klein()`, given to `install` before
its first route. A route returns `ok(...)` or `page(...)` and raises `Refusal`; the
error renderers turn that, and every `KnightError` from below, into the envelope of the
management API (spec section 1.2). The content type and `Cache-Control` are set by the
root resource, not here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from math import ceil
from typing import Any, TypeVar, cast

import msgspec
from attrs import frozen
from klein import Klein
from msgspec import UNSET
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.server import Request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from knight_tw import errors
from knight_tw.addresses import AddressRefused

log = Logger()

T = TypeVar("T")

ALWAYS_REAL: Mapping[str, int] = {
    "AUTH_UNAUTHORIZED": 401,
    "AUTH_TOKEN_EXPIRED": 401,
    "AUTH_SESSION_REVOKED": 401,
    "AUTH_USER_DISABLED": 401,
    "AUTH_USER_INVALID": 401,
    "AUTH_INSUFFICIENT_PRIVILEGE": 403,
    "AUTH_ORIGIN_FORBIDDEN": 403,
    "AUTH_SESSION_LIMIT": 409,
    "AUTH_REFRESH_RACE": 409,
    "AUTH_SESSION_MISMATCH": 409,
    "AUTH_SESSION_REQUIRED": 403,
    "AUTH_SESSION_NOT_FOUND": 404,
    "AUTH_SESSION_ISSUANCE_LIMIT": 429,
    "VERIFICATION_REQUIRED": 403,
    "VERIFICATION_INVALID": 403,
    "VERIFICATION_EXPIRED": 403,
    "SECURITY_PROOF_REQUIRED": 403,
    "SECURITY_PROOF_INVALID": 403,
    "SECURITY_PROOF_EXPIRED": 403,
    "SECURITY_PROOF_SCOPE_MISMATCH": 403,
    "SECURITY_PROOF_METHOD_MISMATCH": 403,
    "rate_limited": 429,
    "malformed_body": 400,
    "body_too_large": 413,
    "database_unavailable": 503,
    "redis_unavailable": 503,
    "internal_error": 500,
}
"""Codes whose HTTP status is sent to every client (spec section 19)."""

REAL_ON_REQUEST: Mapping[str, int] = {
    "not_configured": 409,
    "invalid_field": 422,
    "missing_field": 422,
    "not_found": 404,
    "already_exists": 409,
    "name_taken": 409,
    "email_taken": 409,
    "forbidden_target": 403,
    "wrong_credentials": 401,
    "wrong_code": 422,
    "code_expired": 422,
    "locked": 423,
    "registration_closed": 403,
    "login_closed": 403,
    "captcha_failed": 422,
    "domain_not_allowed": 422,
    "token_limit_reached": 409,
    "group_not_usable": 422,
    "insufficient_quota": 402,
    "order_not_pending": 409,
    "code_used": 409,
    "address_refused": 422,
    "model_price_error": 422,
    "upstream_failed": 502,
    "version_conflict": 409,
    "job_running": 409,
    "removed_endpoint": 410,
}
"""Codes whose HTTP status is sent only with `X-Knight-Status: real`, else 200."""


class Refusal(Exception):
    """A failure of a management route, rendered by `install`'s renderers.

    Args:
        message: Text for people, without secrets.
        status: An HTTP status that holds whatever the code's own rule says; 200 leaves
            the decision to the code (`ALWAYS_REAL`, `REAL_ON_REQUEST`).
        code: A code of spec section 19.
        params: What a client needs to word the message itself, e.g. `field`, `rule`.
        retry_after: Seconds, sent as `Retry-After`.
        members: Further top-level members of the envelope.
    """

    def __init__(
        self,
        message: str,
        status: int = 200,
        code: str = "invalid_field",
        *,
        params: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.code = code
        self.params = dict(params or {})
        self.retry_after = retry_after
        self.members = dict(members or {})


def not_found(what: str = "record") -> Refusal:
    """The refusal for a row that is not there."""
    return Refusal(f"{what} not found", code="not_found")


def missing(field: str) -> Refusal:
    """The refusal for a member that the body must have."""
    return Refusal(
        f"{field} is required", code="missing_field", params={"field": field}
    )


def invalid(field: str, rule: str) -> Refusal:
    """The refusal for a member or argument that breaks `rule`, e.g. "1 to 20"."""
    return Refusal(
        f"{field} is not valid: {rule}", params={"field": field, "rule": rule}
    )


def ok(data: Any = UNSET, message: str | None = "", **members: Any) -> bytes:
    """A success envelope as JSON.

    Args:
        data: Left out when not given; None is written as null.
        message: None leaves the member out, as a few routes of the reference do.
        members: Further top-level members (`http_stats`, `time`, …).
    """
    envelope: dict[str, Any] = {"success": True}
    if message is not None:
        envelope["message"] = message
    if data is not UNSET:
        envelope["data"] = data
    envelope.update(members)
    return encode(envelope)


_ENCODER = msgspec.json.Encoder(decimal_format="number")


def encode(value: Any) -> bytes:
    """Compact JSON; a `Decimal` is a number with the digits it has."""
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        # Half a character, out of JSON that somebody else stored: only an escape can
        # say it.
        plain = msgspec.to_builtins(value, builtin_types=(Decimal,))
        return json.dumps(plain, default=float, separators=(",", ":")).encode()


@frozen
class Paging:
    """One page of a list, as asked for.

    Attributes:
        page: Number of the page, from 1.
        size: Rows of a page.
        plain: The answer is the bare array of one-api, not an object.
    """

    page: int
    size: int
    plain: bool = False

    @property
    def offset(self) -> int:
        """Rows to skip."""
        return (self.page - 1) * self.size


ONE_API_HEADER = "X-Api-Compat"
_DEFAULT_SIZE, _LARGEST_SIZE, _LAST_PAGE = 10, 100, 10_000_000


def paging(request: Request, largest: int = _LARGEST_SIZE) -> Paging:
    """The page that the query asks for (spec section 1.3).

    `p` counts from 1 and anything below is 1; the size is `page_size`, else `ps`, else
    `size`, 10 without one and `largest` at most. With header `X-Api-Compat: one-api`
    (set by the root resource too when `compat.one_api_lists` is on) `p` counts from 0
    and the answer is a plain array. What is not a number counts as absent.
    """
    plain = header(request, ONE_API_HEADER).lower() == "one-api"
    number = query_integer(request, "p", 0) + (1 if plain else 0)
    size = 0
    for name in ("page_size", "ps", "size"):
        size = size or query_integer(request, name, 0)
    if size < 1:
        size = _DEFAULT_SIZE
    return Paging(min(max(number, 1), _LAST_PAGE), min(size, largest), plain)


def sorting(request: Request, fields: Collection[str]) -> tuple[str, bool]:
    """The field that `sort` names, and whether the largest comes first (`-field`).

    Returns: an empty name when the query has no `sort`.

    Raises:
        Refusal: the list cannot be sorted by it.
    """
    asked = query(request, "sort")
    name = asked.removeprefix("-")
    if name and name not in fields:
        raise invalid("sort", "one of " + ", ".join(fields))
    return name, asked.startswith("-")


def page(items: Sequence[Any], total: int, asked: Paging, **members: Any) -> bytes:
    """The envelope of one page: `{page, page_size, total, items}` or a plain array.

    `members` are added beside `items` (`vendor_counts`, …).
    """
    if asked.plain:
        return ok(list(items))
    return ok(
        {
            "page": asked.page,
            "page_size": asked.size,
            "total": total,
            "items": list(items),
            **members,
        }
    )


def header(request: Request, name: str) -> str:
    """The last value of a request header, readable by everything behind; or empty."""
    values = request.requestHeaders.getRawHeaders(name.encode())
    return _readable(values[-1]) if values else ""


def query(request: Request, name: str, default: str = "") -> str:
    """The first value of a query argument, readable by everything behind."""
    values = (request.args or {}).get(name.encode())
    return _readable(values[0]) if values else default


def _readable(raw: bytes) -> str:
    """Text of what a client sent: broken UTF-8 replaced, no NUL (PostgreSQL refuses
    it), no blanks around."""
    return raw.decode("utf-8", "replace").replace("\0", "").strip()


def query_integer(request: Request, name: str, default: int) -> int:
    """A query argument as an integer; `default` when absent or not a number."""
    number = _integer(query(request, name))
    return default if number is None else number


def query_flag(request: Request, name: str) -> bool:
    """True for any value but an empty one, `0` and `false` (`status_only=1`)."""
    return query(request, name).lower() not in ("", "0", "false")


def body_bytes(request: Request) -> bytes:
    """The request body, whole; its size was limited on arrival."""
    if request.content is None:
        return b""
    request.content.seek(0)
    body: bytes = request.content.read()
    return body


def json_body(request: Request, *, optional: bool = False) -> dict[str, Any]:
    """The body as a JSON object.

    Args:
        optional: An empty body reads as an empty object.

    Raises:
        Refusal: `malformed_body`, when it is not JSON or not an object.
    """
    raw = body_bytes(request)
    if optional and not raw.strip():
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("the body is not a JSON object", code="malformed_body") from None


_INTEGER = re.compile(r"[+-]?[0-9]{1,19}\Z")
_TOO_LARGE = 2**63
"""What no integer column of any engine holds."""


def _integer(value: object) -> int | None:
    """`value` as an integer when it looks like one (`5`, `5.0`, `"5"`)."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        number = int(value) if _INTEGER.match(value.strip()) else None
    elif isinstance(value, float):
        number = int(value) if value.is_integer() else None
    else:
        number = value if isinstance(value, int) else None
    return number if number is not None and abs(number) < _TOO_LARGE else None


def integer(
    body: Mapping[str, Any],
    name: str,
    default: T = UNSET,  # type: ignore[assignment]  # UNSET = required
    *,
    least: int | None = None,
    most: int | None = None,
) -> int | T:
    """A member as an integer; text that looks like one is taken too.

    Raises:
        Refusal: missing without a default, not an integer, or out of range.
    """
    value = body.get(name)
    if value is None or value == "":
        if default is UNSET:
            raise missing(name)
        return default
    number = _integer(value)
    if number is None:
        raise invalid(name, "an integer")
    if least is not None and number < least:
        raise invalid(name, f"at least {least}")
    if most is not None and number > most:
        raise invalid(name, f"at most {most}")
    return number


def text(
    body: Mapping[str, Any],
    name: str,
    default: T = UNSET,  # type: ignore[assignment]  # UNSET = required
    *,
    longest: int | None = None,
) -> str | T:
    """A member as text of at most `longest` characters; null counts as absent.

    Raises:
        Refusal: missing without a default, not text, or too long.
    """
    value = body.get(name)
    if value is None:
        if default is UNSET:
            raise missing(name)
        return default
    if not isinstance(value, str):
        raise invalid(name, "text")
    if longest is not None and len(value) > longest:
        raise invalid(name, f"at most {longest} characters")
    if "\0" in value:
        raise invalid(name, "text without NUL")
    return value


def flag(
    body: Mapping[str, Any],
    name: str,
    default: T = UNSET,  # type: ignore[assignment]  # UNSET = required
) -> bool | T:
    """A member as a truth value: a boolean, 0 or 1, or the words `true` and `false`.

    Raises:
        Refusal: missing without a default, or anything else.
    """
    value = body.get(name)
    if value is None:
        if default is UNSET:
            raise missing(name)
        return default
    if isinstance(value, str):
        value = {"true": True, "1": True, "false": False, "0": False}.get(value.lower())
    if isinstance(value, bool):
        return value
    if value == 0 or value == 1:
        return bool(value)
    raise invalid(name, "true or false")


def install(app: Klein) -> None:
    """Give `app` the API's error renderer; call it before the first route.

    Routes match with and without a trailing slash from then on, so that neither form
    is redirected (spec section 1.4).
    """
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False

    def render(self: Any, request: IRequest, failure: Failure) -> bytes:
        return rendered(cast(Request, request), failure)

    app.handle_errors(Exception)(render)


def rendered(request: Request, failure: Failure) -> bytes:
    """The body for a failed route; status and headers are set on `request`."""
    error = failure.value
    if isinstance(error, Refusal):
        return refuse(request, error)
    if isinstance(error, errors.KnightError):
        return refuse(request, from_error(error))
    if isinstance(error, HTTPException):
        return _no_route(request, error)
    log.failure("management route crashed", failure)
    number = request_id(request)
    return refuse(
        request,
        Refusal(
            f"internal error (request id {number})",
            code="internal_error",
            params={"request_id": number},
        ),
    )


def client_ip(request: Request) -> str:
    """The caller's address after trusted proxies; empty for a local socket."""
    address = request.getClientAddress()  # type: ignore[no-untyped-call]  # bare there
    return str(getattr(address, "host", "") or "")


def is_secure(request: Request) -> bool:
    """True when the client speaks TLS, to us or to a trusted proxy."""
    return bool(request.isSecure())  # type: ignore[no-untyped-call]  # bare there


def request_id(request: Request) -> str:
    """The id that the site gave this request; empty outside of a site."""
    return request.responseHeaders.getRawHeaders("X-Oneapi-Request-Id", [""])[0]


def put_header(request: Request, name: str, value: str) -> None:
    """Set a header of the answer, replacing what it had."""
    request.responseHeaders.setRawHeaders(name, [value])


def refuse(request: Request, refusal: Refusal) -> bytes:
    """The envelope of `refusal`, its status and headers set on `request`."""
    real = header(request, "X-Knight-Status").lower() == "real"
    status = refusal.status
    if status == 200:
        status = ALWAYS_REAL.get(refusal.code, 200)
    if status == 200 and real:
        status = REAL_ON_REQUEST.get(refusal.code, 422)
    request.setResponseCode(status)
    if refusal.retry_after is not None:
        put_header(request, "Retry-After", str(max(1, ceil(refusal.retry_after))))
    return encode(
        {
            "success": False,
            "message": refusal.message,
            "code": refusal.code,
            "params": refusal.params,
            **refusal.members,
        }
    )


_CODES: Mapping[type[errors.KnightError], str] = {
    AddressRefused: "address_refused",
    errors.DatabaseAway: "database_unavailable",
    errors.LedgerFull: "database_unavailable",
    errors.ShuttingDown: "database_unavailable",
    errors.RateLimited: "rate_limited",
    errors.NotFound: "not_found",
    errors.NoPrice: "model_price_error",
    errors.UserQuotaShort: "insufficient_quota",
}


def from_error(error: errors.KnightError) -> Refusal:
    """The refusal that says what `error` says, in the codes of the management API."""
    code = _CODES.get(type(error), error.code)
    if code not in ALWAYS_REAL and code not in REAL_ON_REQUEST:
        code = "upstream_failed" if error.upstream or error.status >= 500 else ""
    params: dict[str, Any] = {}
    if code == "upstream_failed":
        params["status"] = error.status
    if error.param is not None:
        params["field"] = error.param
    if error.status >= 500:
        log.warn("management route failed: {why}", why=error.detail or error.message)
    return Refusal(
        error.message,
        code=code or "invalid_field",
        params=params,
        retry_after=error.retry_after,
    )


def _no_route(request: Request, error: HTTPException) -> bytes:
    """404 for an unknown path, 405 for a known one with another method."""
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        put_header(request, "Allow", ", ".join(sorted(error.valid_methods)))
    return unknown_path(request, error.code or 404)


def unknown_path(request: Request, status: int = 404) -> bytes:
    """The answer for a path that no route has: the reference's, not the envelope."""
    request.setResponseCode(status)
    method = request.method.decode("latin-1")
    path = request.path.decode("utf-8", "replace")
    return encode(
        {
            "error": {
                "message": f"Invalid URL ({method} {path})",
                "type": "invalid_request_error",
                "param": "",
                "code": "",
            }
        }
    )
