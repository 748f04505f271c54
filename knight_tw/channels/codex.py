"""The credential of a ChatGPT subscription (channel type 57): getting it by OAuth,
renewing it, and what is left of the subscription (providers specification, 7.23).

The login is that of OpenAI's own command line client (github.com/openai/codex): a
public client with PKCE whose redirect leads to the person's own machine. Nothing
listens there, so the person pastes the address that the browser ended up at.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from attrs import frozen

from knight_tw.channels.discovery import first_usable_key
from knight_tw.channels.drafts import GUARDED
from knight_tw.channels.upstreams import BODY_LIMIT, SECONDS, Send, decoded
from knight_tw.errors import BadUpstreamBody, InvalidRequest
from knight_tw.providers.identity import identify
from knight_tw.records import Channel
from knight_tw.wire import envelope

TYPE = 57

ISSUER = "https://auth.openai.com"
CLIENT_ID = "app_EMoamEEZ73f0CkXaXp7hrann"
REDIRECT = "http://localhost:1455/auth/callback"
SCOPE = "openid profile email offline_access"
USAGE, CREDITS = "/backend-api/wham/usage", "/backend-api/wham/rate-limit-reset-credits"

LIFE_SECONDS = 3600
"""How long an access token is taken to live when nobody says."""

_CLAIMS = "https://api.openai.com/auth"


@frozen
class Answered:
    """What the subscription's own pages answered."""

    status: int
    content: Any


@frozen
class Codex:
    """Asks OpenAI for credentials, and about them."""

    _send: Send

    async def exchange(self, code: str, verifier: str, now: float) -> dict[str, Any]:
        """The credential that a login's code stands for.

        Raises:
            UpstreamRefused: the code is not valid (any more).
            BadUpstreamBody: the answer has no credential.
        """
        asked = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": verifier,
        }
        return credential(await self._token(asked, ""), {}, now)

    async def refresh(self, channel: Channel, now: float) -> dict[str, Any]:
        """The channel's credential, renewed; the old one does not work any more.

        Raises:
            InvalidRequest: it cannot be renewed.
            UpstreamRefused: it was refused.
        """
        known = stored(channel)
        token = known.get("refresh_token")
        if not isinstance(token, str) or not token:
            raise InvalidRequest("the key has no refresh_token", param="key")
        asked = {"grant_type": "refresh_token", "refresh_token": token, "scope": SCOPE}
        proxy = str(channel.setting.get("proxy") or "")
        return credential(await self._token(asked, proxy), known, now)

    async def page(self, channel: Channel, path: str) -> Answered:
        """A page about the subscription, whatever its status."""
        known = stored(channel)
        identity = identify(TYPE)
        base = channel.base_url or (identity.base_url if identity else "")
        answer = await self._send(
            "GET",
            base.rstrip("/") + path,
            [
                ("Accept", "application/json"),
                ("Authorization", f"Bearer {known.get('access_token', '')}"),
                ("chatgpt-account-id", str(known.get("account_id", ""))),
                ("originator", "codex_cli_rs"),
            ],
            b"",
            proxy=str(channel.setting.get("proxy") or ""),
            guarded=bool(channel.settings.get(GUARDED)),
            first_byte_timeout=SECONDS,
        )
        body = await answer.read(BODY_LIMIT, SECONDS)
        try:
            return Answered(answer.status, decoded(body))
        except BadUpstreamBody:
            if 200 <= answer.status < 300:
                raise
            return Answered(answer.status, {})

    async def _token(self, asked: Mapping[str, str], proxy: str) -> dict[str, Any]:
        """The answer of the token endpoint."""
        answer = await self._send(
            "POST",
            f"{ISSUER}/oauth/token",
            [
                ("Accept", "application/json"),
                ("Content-Type", "application/x-www-form-urlencoded"),
            ],
            urlencode({**asked, "client_id": CLIENT_ID}).encode(),
            proxy=proxy,
            first_byte_timeout=SECONDS,
        )
        body = await answer.read(BODY_LIMIT, SECONDS)
        if not 200 <= answer.status < 300:
            raise envelope.read_failure(answer.status, body)
        return decoded(body)


def authorize_url(state: str, verifier: str) -> str:
    """Where a person logs in."""
    digest = hashlib.sha256(verifier.encode()).digest()
    challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    asked = {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": REDIRECT,
        "scope": SCOPE,
        "code_challenge": challenge,
        "code_challenge_method": "S256",
        "id_token_add_organizations": "true",
        "codex_cli_simplified_flow": "true",
        "state": state,
        "originator": "codex_cli_rs",
    }
    return f"{ISSUER}/oauth/authorize?{urlencode(asked)}"


def pasted(text: str) -> tuple[str, str]:
    """Code and state of what a person pasted: the whole address, its query, or
    `code#state`.

    Raises:
        InvalidRequest: it has not both; or the login failed.
    """
    text = text.strip()
    try:
        query = urlsplit(text).query if "://" in text else text.lstrip("?")
        found = parse_qs(query)
    except ValueError:
        found = {}
    if "error" in found:
        raise InvalidRequest(f"the login failed: {found['error'][0][:100]}")
    code, state = found.get("code", [""])[0], found.get("state", [""])[0]
    if not code and "://" not in text:
        code, _, state = text.partition("#")
    if not code or not state:
        raise InvalidRequest(
            "paste the whole address that the browser was sent to", param="input"
        )
    return code, state


def stored(channel: Channel) -> dict[str, Any]:
    """The credential in a channel's key; empty when it is none."""
    try:
        found = json.loads(first_usable_key(channel) or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def credential(
    answer: Mapping[str, Any], known: Mapping[str, Any], now: float
) -> dict[str, Any]:
    """The credential as a channel's key has it.

    Args:
        answer: Of the token endpoint.
        known: What was known before; kept where the answer says nothing.

    Raises:
        BadUpstreamBody: there is no access token, or nobody's account.
    """
    access = answer.get("access_token")
    if not isinstance(access, str) or not access:
        raise BadUpstreamBody("the answer has no access token")
    identity = answer.get("id_token") or known.get("id_token") or ""
    claims = [_claims(identity), _claims(access)]
    account = next(filter(None, map(_account, claims)), known.get("account_id"))
    if not account:
        raise BadUpstreamBody("the answer names no account")
    life = answer.get("expires_in")
    if not isinstance(life, int) or isinstance(life, bool) or not 0 < life < 10**9:
        life = LIFE_SECONDS
    email = claims[0].get("email") or known.get("email") or ""
    return {
        **known,
        "access_token": access,
        "refresh_token": answer.get("refresh_token") or known.get("refresh_token", ""),
        "id_token": identity,
        "account_id": str(account),
        "email": str(email),
        "expired": _moment(now + life),
        "last_refresh": _moment(now),
        "type": "codex",
    }


def _claims(token: object) -> dict[str, Any]:
    """What a JSON web token says; it came from its issuer over TLS, so its signature
    need not be looked at."""
    if not isinstance(token, str) or token.count(".") != 2:
        return {}
    part = token.split(".")[1]
    try:
        text = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _account(claims: Mapping[str, Any]) -> str:
    found = claims.get(_CLAIMS)
    account = found.get("chatgpt_account_id") if isinstance(found, dict) else None
    return account if isinstance(account, str) else ""


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
