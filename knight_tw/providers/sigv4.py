"""AWS Signature Version 4, as far as requests with a body in memory need it.

A signature is an HMAC over the request in a canonical form, by a key that is derived
from the secret for one day, region and service. Source: AWS General Reference, "Signing
AWS API requests"; the tests run AWS's own test vectors.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote, unquote, urlsplit

from attrs import field, frozen

from knight_tw.providers.provider import Headers

ALGORITHM = "AWS4-HMAC-SHA256"
UNSIGNED = frozenset(
    {
        "accept",
        "authorization",
        "connection",
        "content-length",
        "expect",
        "transfer-encoding",
        "user-agent",
        "x-amzn-trace-id",
    }
)
"""Headers that are not signed: what a proxy or the transport may change."""

_BLANKS = re.compile(r" +")
_KEPT = "-_.~"


@frozen
class Secret:
    """A key pair for one region; what is secret in it is never shown."""

    access_key: str
    secret_key: str = field(repr=False)
    region: str
    session_token: str = field(default="", repr=False)


def sign(
    secret: Secret,
    service: str,
    method: str,
    url: str,
    headers: Headers,
    body: bytes,
    now: float,
) -> Headers:
    """The headers of a request with its signature among them.

    `Host` is signed but not added: the transport writes it. Every segment of the URL's
    path is encoded once more in the canonical form, as all services but S3 want it.

    Args:
        url: Absolute, its path and query percent-encoded as they are sent.
        headers: As they are sent; an `Authorization` among them gives way.
        now: Unix seconds.
    """
    moment = datetime.fromtimestamp(int(now), UTC).strftime("%Y%m%dT%H%M%SZ")
    own = {"authorization", "x-amz-date", "x-amz-security-token"}
    sent = [(name, value) for name, value in headers if name.lower() not in own]
    sent.append(("X-Amz-Date", moment))
    if secret.session_token:
        sent.append(("X-Amz-Security-Token", secret.session_token))
    names, canonical = canonical_request(method, url, sent, body)
    scope = f"{moment[:8]}/{secret.region}/{service}/aws4_request"
    text = string_to_sign(moment, scope, canonical)
    key = signing_key(secret, service, moment[:8])
    signature = hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
    authorization = (
        f"{ALGORITHM} Credential={secret.access_key}/{scope}, "
        f"SignedHeaders={names}, Signature={signature}"
    )
    return [*sent, ("Authorization", authorization)]


def canonical_request(
    method: str, url: str, headers: Sequence[tuple[str, str]], body: bytes
) -> tuple[str, str]:
    """The names of the signed headers, and the request in its canonical form."""
    parts = urlsplit(url)
    values: dict[str, list[str]] = {}
    for name, value in headers:
        if name.lower() not in UNSIGNED:
            value = _BLANKS.sub(" ", value.strip())
            values.setdefault(name.lower(), []).append(value)
    values.setdefault("host", [_host(url)])
    lines = [f"{name}:{','.join(values[name])}\n" for name in sorted(values)]
    names = ";".join(sorted(values))
    path = "/".join(quote(segment, safe=_KEPT) for segment in _segments(parts.path))
    members = [
        method,
        path,
        _query(parts.query),
        "".join(lines),
        names,
        hashlib.sha256(body).hexdigest(),
    ]
    return names, "\n".join(members)


def string_to_sign(moment: str, scope: str, canonical: str) -> str:
    """The text that is signed for a canonical request."""
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    return f"{ALGORITHM}\n{moment}\n{scope}\n{digest}"


def signing_key(secret: Secret, service: str, day: str) -> bytes:
    """The key of one day (`YYYYMMDD`), region and service."""
    key = f"AWS4{secret.secret_key}".encode()
    for text in (day, secret.region, service, "aws4_request"):
        key = hmac.new(key, text.encode(), hashlib.sha256).digest()
    return key


def _host(url: str) -> str:
    """The `Host` of a request, without the port that the scheme implies."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2].lower()
    implied = {"https": ":443", "http": ":80"}[parts.scheme]
    return host.removesuffix(implied)


def _segments(path: str) -> list[str]:
    """The path's segments without `.` and `..`, and without empty ones in between."""
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    ending = [""] if kept and path.endswith("/") else []
    return ["", *kept, *ending] if kept else ["", ""]


def _query(query: str) -> str:
    """Names and values encoded in one way, sorted by both."""
    pairs = []
    for part in query.split("&") if query else ():
        name, _, value = part.partition("=")
        pairs.append((quote(unquote(name), _KEPT), quote(unquote(value), _KEPT)))
    return "&".join(f"{name}={value}" for name, value in sorted(pairs))
