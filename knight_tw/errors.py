"""Every failure a caller may see, as one tree of exceptions.

An error is raised where the fact is known and rendered once, in the dialect of the
route, by the surface (`wire.envelope` for relay routes). The codes and default statuses
are those of the relay's error table; the message is safe for clients.
"""

from __future__ import annotations

from typing import Any, ClassVar

OUR_TYPE = "new_api_error"
"""`error.type` of every failure of our own making; chained gateways know it."""

UPSTREAM_TYPE = "upstream_error"
"""`error.type` of a provider's failure that named no type."""


class KnightError(Exception):
    """A failure with everything its rendering and the retry decision need.

    Args:
        message: Text for the client, without secrets.
        status: HTTP status; the class's when absent.
        code: Machine-readable code; the class's when absent.
        type: `error.type` of the OpenAI shape.
        param: The request field at fault, as a dotted path.
        retryable: May another channel be tried? The class's when absent. A status rule
            decides when it is None.
        upstream: The provider made this error (its own type and code are kept).
        retry_after: Seconds the caller should wait, sent as `Retry-After`.
        detail: What only the log may see.
        metadata: Provider's extra members of the error object.
    """

    status: int = 500
    code: str = "internal_error"
    retryable: bool | None = False
    record: ClassVar[bool] = True
    """Whether an error log row is written when `ERROR_LOG_ENABLED` is on."""

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        code: str | None = None,
        type: str = OUR_TYPE,
        param: str | None = None,
        retryable: bool | None = None,
        upstream: bool = False,
        retry_after: float | None = None,
        detail: str = "",
        metadata: Any = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        if status is not None:
            self.status = status
        if code is not None:
            self.code = code
        if retryable is not None:
            self.retryable = retryable
        self.type = type
        self.param = param
        self.upstream = upstream
        self.retry_after = retry_after
        self.detail = detail
        self.metadata = metadata


class InvalidRequest(KnightError):
    """The request is not valid for its route."""

    status, code = 400, "invalid_request"


class BodyUnreadable(InvalidRequest):
    """The body could not be read: too large is 413, an unknown encoding 415."""

    code = "read_request_body_failed"


class UnsupportedContent(InvalidRequest):
    """A content part that the chosen provider cannot take; another channel may."""

    code = "unsupported_content"


class UnsupportedParameter(InvalidRequest):
    """A request field that cannot be honoured."""

    code = "unsupported_parameter"


class UnsupportedEndpoint(InvalidRequest):
    """The chosen provider has no such kind of request; another channel may."""

    code = "unsupported_endpoint"


class ConversionFailed(InvalidRequest):
    """The request has no form in the provider's dialect."""

    code = "convert_request_failed"


class NoPrice(InvalidRequest):
    """The model has no price and the caller may not use unpriced models."""

    code = "model_price_error"


class SensitiveWords(InvalidRequest):
    """The prompt holds words the administrator forbids."""

    code = "sensitive_words_detected"


class InvalidKey(KnightError):
    """No credential, or one that is unknown or disabled."""

    status, code = 401, "invalid_api_key"


class TokenExpired(InvalidKey):
    """The token's time is over."""

    code = "token_expired"


class AccessDenied(KnightError):
    """The caller is known and may not do this."""

    status, code = 403, "access_denied"


class UserDisabled(AccessDenied):
    """The token's owner is disabled."""

    code = "user_disabled"


class GroupDenied(AccessDenied):
    """The group is not among those the owner may use."""

    code = "group_access_denied"


class GroupDeprecated(AccessDenied):
    """The group has no ratio any more."""

    code = "group_deprecated"


class ModelNotAllowed(AccessDenied):
    """The token's model list does not hold the model."""

    code = "model_not_allowed"


class QuotaExhausted(AccessDenied):
    """The token has nothing left."""

    code = "insufficient_quota"


class UserQuotaShort(AccessDenied):
    """The user's balance does not cover the call."""

    code = "insufficient_user_quota"
    record = False


class TokenQuotaShort(AccessDenied):
    """The token's remainder does not cover the call."""

    code = "pre_consume_token_quota_failed"
    record = False


class RateLimited(KnightError):
    """Too many requests; `retry_after` says how long to wait."""

    status, code = 429, "rate_limit_exceeded"


class NotFound(KnightError):
    """No such thing."""

    status, code = 404, "not_found"


class MethodNotAllowed(KnightError):
    """The path exists, the method does not."""

    status, code = 405, "method_not_allowed"


class NotImplementedHere(KnightError):
    """A provider's route that the gateway does not serve."""

    status, code = 501, "api_not_implemented"


class NoChannel(KnightError):
    """No channel serves the model: 404 when none ever does, 503 when none can now."""

    status, code = 503, "model_not_found"


class ChannelSaturated(KnightError):
    """Every candidate channel is at its concurrency limit."""

    status, code = 429, "channel_saturated"


class ChannelFault(KnightError):
    """A misconfigured channel: `code` starts with `channel:`, retried elsewhere."""

    status, code, retryable = 500, "channel:invalid_key", True


class UpstreamFailed(KnightError):
    """The upstream could not be reached or broke off before its answer."""

    status, code, retryable = 502, "do_request_failed", True


class UpstreamTimeout(KnightError):
    """The upstream was silent for too long."""

    status, code = 504, "upstream_timeout"


class FirstTokenTimeout(UpstreamTimeout):
    """Nothing of the answer came within the time that the channel sets; always retried,
    whatever the status rules say of 504."""

    code = "first_token_timeout"


class UpstreamRefused(KnightError):
    """The provider answered with an error; the status rules decide about a retry."""

    status, code, retryable = 502, "bad_response_status_code", None


class ClaudeRefused(UpstreamRefused):
    """The same in Claude's shape: `type` is a Claude error type and stays one."""


class BadUpstreamBody(KnightError):
    """A 200 whose body cannot be parsed: the provider has charged, so no retry."""

    status, code = 502, "bad_response_body"


class EmptyAnswer(KnightError):
    """The provider answered 200 with nothing in it."""

    status, code, retryable = 502, "empty_response", True


class DatabaseAway(KnightError):
    """The database cannot be reached; never a reason to doubt a credential."""

    status, code = 503, "query_data_error"


class LedgerFull(KnightError):
    """The journal is at its limit: nothing more can be charged safely."""

    status, code = 503, "ledger_full"


class Overloaded(KnightError):
    """The machine has too little of something, and calls are refused meanwhile."""

    status, code = 503, "overloaded"


class ShuttingDown(KnightError):
    """The process drains."""

    status, code = 503, "shutting_down"
