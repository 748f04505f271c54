"""Google's service accounts: a private key that is exchanged for an access token.

The account signs a statement about itself (a JWT), for which Google gives a token for
about an hour (providers specification, 7.4; RFC 7523).
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

import msgspec
from attrs import field, frozen

from knight_tw.errors import ChannelFault, UpstreamFailed
from knight_tw.providers.provider import Exchange, Grant, SignRsa, TokenRequest
from knight_tw.records import Channel
from knight_tw.wire.usage import count

AUDIENCE = "https://www.googleapis.com/oauth2/v4/token"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"

STATEMENT_SECONDS = 2100
TOKEN_SECONDS = 1800
"""How long a token is used at most; Google gives it for an hour."""

_ANY = msgspec.json.Decoder()


@frozen
class ServiceAccount:
    """What of a service account's JSON is used."""

    project_id: str
    email: str
    private_key: str = field(repr=False)
    key_id: str = ""


def read_account(key: str) -> ServiceAccount:
    """The account in a channel's key.

    Raises:
        ChannelFault: the key is no service account's JSON.
    """
    try:
        value = _ANY.decode(key)
    except (msgspec.DecodeError, RecursionError):
        value = None
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if not isinstance(value, Mapping):
        raise ChannelFault("the channel's key is no service account's JSON")
    texts = {name: _text(value, name) for name in _MEMBERS}
    missing = [name for name in _MEMBERS[:3] if not texts[name]]
    if missing:
        raise ChannelFault(f"the channel's service account has no {missing[0]}")
    return ServiceAccount(
        texts["project_id"],
        texts["client_email"],
        texts["private_key"].replace("\\n", "\n"),
        texts["private_key_id"],
    )


_MEMBERS = ("project_id", "client_email", "private_key", "private_key_id")


def exchange_for(channel: Channel, key: str) -> Exchange:
    """How the account in a key gets its access token.

    Raises:
        ChannelFault: the key is no service account's JSON.
    """
    account = read_account(key)
    digest = hashlib.sha256(key.encode()).hexdigest()

    def request(now: float, sign: SignRsa) -> TokenRequest:
        assertion = statement(account, int(now), sign)
        form = urlencode({"grant_type": GRANT_TYPE, "assertion": assertion})
        headers = [("Content-Type", "application/x-www-form-urlencoded")]
        return TokenRequest(AUDIENCE, headers, form.encode())

    return Exchange(f"google:{channel.id}:{digest}", request, read_grant)


def statement(account: ServiceAccount, now: int, sign: SignRsa) -> str:
    """The signed JWT by which the account asks for a token."""
    header = {"alg": "RS256", "typ": "JWT"}
    if account.key_id:
        header["kid"] = account.key_id
    claims = {
        "iss": account.email,
        "scope": SCOPE,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + STATEMENT_SECONDS,
    }
    text = f"{_segment(header)}.{_segment(claims)}"
    signature = sign(account.private_key, text.encode())
    return f"{text}.{_url_safe(signature)}"


def read_grant(body: bytes) -> Grant:
    """The token in Google's answer.

    Raises:
        UpstreamFailed: there is none.
    """
    try:
        answer = _ANY.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        answer = None
    token = _text(answer, "access_token") if isinstance(answer, Mapping) else ""
    if not token:
        raise UpstreamFailed("the provider gave no token for the channel's key")
    seconds = count(answer.get("expires_in")) or TOKEN_SECONDS
    return Grant(token, min(seconds, TOKEN_SECONDS))


def _text(obj: Mapping[str, Any], name: str) -> str:
    value = obj.get(name)
    return value if isinstance(value, str) else ""


def _segment(obj: Mapping[str, Any]) -> str:
    return _url_safe(msgspec.json.encode(obj))


def _url_safe(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
