"""Asking providers: a code for a token, a token for the person, a discovery document.

Whatever goes wrong on the other side is `ProviderFailed`: never more of it than a short
text of theirs, with addresses and our secrets taken out.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw import __version__
from knight_tw.accounts.external.provider import Provider, Style
from knight_tw.addresses import AddressRefused
from knight_tw.channels.upstreams import Headers, Send
from knight_tw.errors import KnightError
from knight_tw.wire.masking import mask

log = Logger()

SECONDS, WECHAT_SECONDS = 10.0, 5.0
"""Longest time that one question to a provider takes, its answer included."""

LARGEST = 1_048_576
"""Bytes of an answer that are read."""

LONGEST_WORDS = 300
"""Characters of a provider's own words that are passed on."""

WELL_KNOWN = "/.well-known/openid-configuration"

_AGENT = f"knight-omega/{__version__}"
_FORM = "application/x-www-form-urlencoded"


class ProviderFailed(KnightError):
    """The provider could not be reached, refused, or answered nonsense."""

    status, code = 502, "upstream_failed"


class DiscoveryRefused(KnightError):
    """The guard does not let the gateway read from that address."""

    status, code = 422, "address_refused"


@frozen
class Exchange:
    """Questions to providers; `send` is `Upstream.send`."""

    _send: Send
    _clock: IReactorTime

    async def claims(
        self, provider: Provider, code: str, redirect_uri: str
    ) -> dict[str, Any]:
        """What the provider says of the person who brings `code`.

        Raises:
            ProviderFailed.
        """
        if not provider.token_endpoint or not provider.user_endpoint:
            raise _not_set_up(provider)
        headers, body = token_request(provider, code, redirect_uri)
        answer = await self._ask(
            provider, "POST", provider.token_endpoint, headers, body
        )
        token = answer.get("access_token")
        if not isinstance(token, str) or not token or not token.isprintable():
            raise _refused(provider, answer)
        bearer = [("Authorization", f"Bearer {token}")]
        return await self._ask(
            provider, "GET", provider.user_endpoint, bearer, b"", (token,)
        )

    async def wechat(self, provider: Provider, code: str) -> dict[str, Any]:
        """The WeChat server's answer for the code that the person read: `data` is
        their id.

        Raises:
            ProviderFailed: also when the code is wrong.
        """
        address = provider.user_endpoint.rstrip("/")
        if not address:
            raise _not_set_up(provider)
        url = f"{address}/api/wechat/user?code={quote(code, safe='')}"
        headers = [("Authorization", provider.client_secret)]
        answer = await self._ask(
            provider, "GET", url, headers, b"", seconds=WECHAT_SECONDS
        )
        if answer.get("success") is not True:
            refused = _refused(provider, answer)
            raise ProviderFailed(refused.message, status=422, code="wrong_code")
        return answer

    async def discovery(self, url: str, *, guarded: bool) -> dict[str, Any]:
        """The OpenID discovery document at `url`.

        Raises:
            DiscoveryRefused: the guard does not allow the address.
            ProviderFailed.
        """
        try:
            return await self._json("GET", url, [], b"", guarded, SECONDS)
        except AddressRefused:
            raise DiscoveryRefused(
                "the address of the discovery document is not allowed"
            ) from None
        except ProviderFailed as error:
            why = mask(error.message)
            raise ProviderFailed(
                f"the discovery document could not be read: {why}",
                status=error.status,
                detail=error.detail,
            ) from None

    async def _ask(
        self,
        provider: Provider,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        secrets: Iterable[str] = (),
        *,
        seconds: float = SECONDS,
    ) -> dict[str, Any]:
        try:
            return await self._json(
                method, url, headers, body, provider.guarded, seconds
            )
        except AddressRefused as error:
            log.warn(
                "the guard does not let {slug} be asked: {why}",
                slug=provider.slug,
                why=error.detail,
            )
            raise ProviderFailed(f"{provider.name} could not be reached") from None
        except ProviderFailed as error:
            hidden = (provider.client_secret, *secrets)
            raise ProviderFailed(
                f"{provider.name}: {mask(error.message, hidden)}",
                status=error.status,
                detail=mask(error.detail, hidden),
            ) from None

    async def _json(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        guarded: bool,
        seconds: float,
    ) -> dict[str, Any]:
        """The answer as an object, within `seconds`.

        Raises:
            ProviderFailed, AddressRefused.
        """
        asking = Deferred.fromCoroutine(
            self._answer(method, url, headers, body, guarded, seconds)
        )
        asking.addTimeout(seconds, self._clock, onTimeoutCancel=_too_late)
        try:
            status, raw = await asking
        except (ProviderFailed, AddressRefused):
            raise
        except KnightError as error:
            raise ProviderFailed(
                "it could not be reached", detail=error.detail or error.message
            ) from None
        answer = decoded(raw)
        if not 200 <= status < 300:
            told = words(answer or {})
            raise ProviderFailed(
                f"status {status}{': ' if told else ''}{told}", status=status
            )
        if answer is None:
            raise ProviderFailed("the answer is not a JSON object")
        return answer

    async def _answer(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        guarded: bool,
        seconds: float,
    ) -> tuple[int, bytes]:
        told = [*headers, ("Accept", "application/json"), ("User-Agent", _AGENT)]
        answer = await self._send(
            method, url, told, body, guarded=guarded, first_byte_timeout=seconds
        )
        raw: bytes = await answer.read(LARGEST, seconds)
        return answer.status, raw


def token_request(
    provider: Provider, code: str, redirect_uri: str
) -> tuple[Headers, bytes]:
    """Headers and body that turn a code into a token, as the provider wants them.

    Source: RFC 6749, 4.1.3 and 2.3.1; GitHub takes JSON and no grant type.
    """
    ours = {"client_id": provider.client_id, "client_secret": provider.client_secret}
    if provider.style is Style.JSON:
        body = msgspec.json.encode({**ours, "code": code})
        return [("Content-Type", "application/json")], body
    form = {"grant_type": "authorization_code", "code": code}
    if redirect_uri:
        form["redirect_uri"] = redirect_uri
    headers = [("Content-Type", _FORM)]
    if provider.style is Style.BASIC:
        pair = f"{quote_plus(provider.client_id)}:{quote_plus(provider.client_secret)}"
        basic = b64encode(pair.encode()).decode()
        headers.append(("Authorization", f"Basic {basic}"))
    else:
        form.update(ours)
    return headers, urlencode(form).encode()


def decoded(raw: bytes) -> dict[str, Any] | None:
    """An answer as an object: JSON, or a form as old token endpoints send it."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    text = raw.decode("utf-8", "replace")
    if "access_token=" in text or "error=" in text:
        return dict(parse_qsl(text, max_num_fields=50))
    return None


def words(answer: Mapping[str, Any]) -> str:
    """What a refusing provider says, shortened; empty when it says nothing."""
    for name in ("error_description", "message", "error"):
        told = answer.get(name)
        if isinstance(told, str) and told.strip():
            return " ".join(told.split())[:LONGEST_WORDS]
    return ""


def well_known(issuer: str) -> str:
    """The address of an issuer's discovery document (OpenID Discovery 1.0, 4)."""
    return f"{issuer.strip().rstrip('/')}{WELL_KNOWN}"


def is_web(url: str) -> bool:
    """True for an address of HTTP with a host, and without credentials in it."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it checks it
    except ValueError:
        return False
    named = parts.scheme in ("http", "https") and bool(parts.hostname)
    return named and "@" not in parts.netloc and url.isprintable() and " " not in url


def _not_set_up(provider: Provider) -> ProviderFailed:
    return ProviderFailed(
        f"the login by {provider.name} is not set up", code="not_configured"
    )


def _too_late(_: Any, __: float) -> Any:
    raise ProviderFailed("no answer in time", status=504)


def _refused(provider: Provider, answer: Mapping[str, Any]) -> ProviderFailed:
    told = words(answer) or "the login was not accepted"
    hidden = mask(told, (provider.client_secret,))
    return ProviderFailed(f"{provider.name}: {hidden}", status=400)
