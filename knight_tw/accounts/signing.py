"""What a browser carries and we believe: signed cookies and bearer tokens.

Both are self-contained and signed with keys derived from `SESSION_SECRET`, so every
process that shares the secret reads them. A cookie is
`base64url(json) . base64url(HMAC-SHA256)` with the time of issue inside (`t`); a bearer
token is a JSON Web Token (RFC 7519) of the one algorithm HS256. Whether the session
that they name still lives is not decided here but by the table `user_sessions`.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as BadBase64
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
from attrs import frozen

ISSUER, AUDIENCE = "new-api", "new-api-dashboard"
ACCESS, PROOF = "access", "security_proof"
"""`token_use` of a bearer token and of a proof of a fresh second factor."""

ACCESS_SECONDS, PROOF_SECONDS, LEEWAY_SECONDS = 900, 300, 5
COOKIE_SECONDS = 30 * 86_400


class Unreadable(Exception):
    """Not a text of ours: malformed, wrongly signed or of another kind."""


class Expired(Unreadable):
    """Ours, but its time is over."""


@frozen
class Claims:
    """What a bearer token says.

    Attributes:
        user_version: `users.auth_version` at the time of issue; lower ones are dead.
        session_version: `user_sessions.version` likewise.
        method, scopes: Of a proof only: how it was given and what it opens.
    """

    user_id: int
    sid: str
    user_version: int
    session_version: int
    method: str = ""
    scopes: tuple[str, ...] = ()


@frozen
class Signer:
    """Makes and reads signed texts; `secret` is `SESSION_SECRET`."""

    _secret: str

    def cookie(self, content: Mapping[str, Any], now: int) -> str:
        """The cookie value for `content`, a JSON object of a few short members."""
        packed = _pack({**content, "t": now})
        return f"{packed}.{_text(self._sign('cookie', packed))}"

    def read_cookie(self, value: str, now: int) -> dict[str, Any]:
        """The content of a cookie of the last 30 days, its `t` included.

        Raises:
            Unreadable, Expired.
        """
        packed, _, signature = value.partition(".")
        self._check("cookie", packed, signature)
        content = _unpack(packed)
        issued = content.get("t")
        if not isinstance(issued, int):
            raise Unreadable("no time of issue")
        if not now - COOKIE_SECONDS < issued <= now + LEEWAY_SECONDS:
            raise Expired("cookie too old")
        return content

    def bearer(self, claims: Claims, use: str, now: int, life: int, jti: str) -> str:
        """A token of `life` seconds; `use` is `ACCESS` or `PROOF`."""
        body: dict[str, Any] = {
            "iss": ISSUER,
            "aud": [AUDIENCE],
            "sub": str(claims.user_id),
            "sid": claims.sid,
            "uv": claims.user_version,
            "sv": claims.session_version,
            "token_use": use,
            "iat": now,
            "nbf": now - LEEWAY_SECONDS,
            "exp": now + life,
            "jti": jti,
        }
        if use == PROOF:
            body.update(method=claims.method, scopes=list(claims.scopes))
        signed = f"{_pack({'alg': 'HS256', 'typ': 'JWT'})}.{_pack(body)}"
        return f"{signed}.{_text(self._sign(use, signed))}"

    def read_bearer(self, token: str, use: str, now: int) -> Claims:
        """The claims of a token of ours for `use`.

        Raises:
            Unreadable: not ours, another algorithm, or made for something else.
            Expired: the signature is right but the time is over.
        """
        signed, _, signature = token.rpartition(".")
        self._check(use, signed, signature)
        head, _, payload = signed.partition(".")
        if _unpack(head).get("alg") != "HS256":
            raise Unreadable("another algorithm")
        body = _unpack(payload)
        claims = _claims(body, use)
        if _moment(body, "exp") + LEEWAY_SECONDS < now:
            raise Expired("token expired")
        if _moment(body, "nbf") - LEEWAY_SECONDS > now:
            raise Unreadable("token not valid yet")
        return claims

    def _sign(self, purpose: str, signed: str) -> bytes:
        label = f"new-api/auth/{purpose}/v1"
        key = hmac.digest(self._secret.encode(), label.encode(), sha256)
        return hmac.digest(key, signed.encode(), sha256)

    def _check(self, purpose: str, signed: str, signature: str) -> None:
        try:
            given = _bytes(signature)
            right = self._sign(purpose, signed)
        except (BadBase64, ValueError):
            raise Unreadable("malformed") from None
        if not hmac.compare_digest(given, right):
            raise Unreadable("wrong signature")


def looks_like_bearer(text: str) -> bool:
    """True for three dot-separated parts; access tokens are base64 and have no dot."""
    return text.count(".") == 2


def _claims(body: Mapping[str, Any], use: str) -> Claims:
    """The claims of a decoded payload whose signature was right."""
    audience = body.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if (body.get("iss"), body.get("token_use")) != (ISSUER, use):
        raise Unreadable("made for something else")
    if AUDIENCE not in audiences:
        raise Unreadable("made for somebody else")
    try:
        return Claims(
            user_id=int(body["sub"]),
            sid=str(body["sid"]),
            user_version=int(body["uv"]),
            session_version=int(body["sv"]),
            method=str(body.get("method", "")),
            scopes=tuple(body.get("scopes") or ()),
        )
    except (KeyError, TypeError, ValueError):
        raise Unreadable("claims are missing") from None


def _moment(body: Mapping[str, Any], name: str) -> int:
    moment = body.get(name)
    if not isinstance(moment, int):
        raise Unreadable(f"{name} is missing")
    return moment


def _pack(content: Mapping[str, Any]) -> str:
    return _text(msgspec.json.encode(content))


def _unpack(packed: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(_bytes(packed), type=dict[str, Any])
    except (BadBase64, ValueError, msgspec.DecodeError):
        raise Unreadable("malformed") from None


def _text(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
