"""The two cookies of a login, and the check of where a refresh comes from."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from attrs import frozen
from twisted.web.server import Request

from knight_tw.accounts.signing import COOKIE_SECONDS
from knight_tw.options import Options
from knight_tw.web.api.answers import Refusal, header, is_secure
from knight_tw.web.auth import SESSION_COOKIE

REFRESH_COOKIE = b"new_api_refresh"
REFRESH_PATH = b"/api/user/auth"
STATE_COOKIE = b"oauth_state"
STATE_PATH = b"/api/oauth"


@frozen
class Cookies:
    """Sets and clears them; `Secure` over TLS, or always when `_secure` is set."""

    _secure: bool

    def set_session(self, request: Request, value: str) -> None:
        """Give the browser the cookie `session`."""
        self._set(request, SESSION_COOKIE, value, b"/", COOKIE_SECONDS)

    def set_refresh(self, request: Request, value: str) -> None:
        """Give the browser the refresh cookie."""
        self._set(request, REFRESH_COOKIE, value, REFRESH_PATH, COOKIE_SECONDS)

    def clear_session(self, request: Request) -> None:
        """Let the browser forget the cookie `session`."""
        self._set(request, SESSION_COOKIE, "", b"/", 0)

    def clear_refresh(self, request: Request) -> None:
        """Let the browser forget the refresh cookie."""
        self._set(request, REFRESH_COOKIE, "", REFRESH_PATH, 0)

    def set_state(self, request: Request, value: str, seconds: int) -> None:
        """Give the browser the cookie of an external login that it begins."""
        self._set(request, STATE_COOKIE, value, STATE_PATH, seconds)

    def clear_state(self, request: Request) -> None:
        """Let the browser forget that cookie."""
        self._set(request, STATE_COOKIE, "", STATE_PATH, 0)

    def _set(
        self, request: Request, name: bytes, value: str, path: bytes, age: int
    ) -> None:
        request.addCookie(  # type: ignore[no-untyped-call]  # bare there
            name,
            value.encode(),
            path=path,
            max_age=b"%d" % age,
            secure=self._secure or is_secure(request),
            httpOnly=True,
            sameSite=b"strict",
        )


def refresh_cookie(request: Request) -> str:
    """The refresh cookie as sent; empty when there is none."""
    return request.received_cookies.get(REFRESH_COOKIE, b"").decode("latin-1")


def state_cookie(request: Request) -> str:
    """The cookie of an external login as sent; empty when there is none."""
    return request.received_cookies.get(STATE_COOKIE, b"").decode("latin-1")


@frozen
class Origins:
    """The pages whose requests may use the refresh cookie.

    Attributes:
        trusted_url: `SESSION_COOKIE_TRUSTED_URL`; empty for none.
    """

    _trusted_url: str
    _options: Callable[[], Options]

    def check(self, request: Request) -> None:
        """Returns for a request of our own pages, or of no page at all.

        Raises:
            Refusal: `Origin`, else `Referer`, names another site.
        """
        claimed = header(request, "Origin") or header(request, "Referer")
        if not claimed:
            return
        own = header(request, "Host").lower()
        known = {_host(self._trusted_url)}
        known.add(_host(self._options().text("ServerAddress")))
        given = _host(claimed)
        if not given or given not in known | {own}:
            raise Refusal("this origin may not do that", code="AUTH_ORIGIN_FORBIDDEN")


def _host(url: str) -> str:
    """Host and port of a URL, lower-cased; empty when it has none."""
    try:
        return urlsplit(url.strip()).netloc.rpartition("@")[2].lower()
    except ValueError:
        return ""
