"""`/api/custom-oauth-provider/`: providers that administrators describe themselves.

The client secret goes in and never comes out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.external import custom, exchange, policy
from knight_tw.accounts.external.exchange import Exchange
from knight_tw.accounts.external.policy import PolicyError
from knight_tw.storage import oauth_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    flag,
    install,
    integer,
    invalid,
    json_body,
    missing,
    not_found,
    ok,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

TEXTS: Mapping[str, int] = {
    "name": 64,
    "slug": 64,
    "icon": 128,
    "client_id": 256,
    "client_secret": 512,
    "authorization_endpoint": 512,
    "token_endpoint": 512,
    "user_info_endpoint": 512,
    "scopes": 256,
    "user_id_field": 128,
    "username_field": 128,
    "display_name_field": 128,
    "email_field": 128,
    "well_known": 512,
    "access_policy": 65_535,
    "access_denied_message": 512,
}
"""Members that are texts, and how many characters they may have."""

REQUIRED = (
    "name",
    "slug",
    "client_id",
    "client_secret",
    "authorization_endpoint",
    "token_endpoint",
    "user_info_endpoint",
)
DEFAULTS = {
    "scopes": "openid profile email",
    "user_id_field": "sub",
    "username_field": "preferred_username",
    "display_name_field": "name",
    "email_field": "email",
}
ADDRESSES = (
    "authorization_endpoint",
    "token_endpoint",
    "user_info_endpoint",
    "well_known",
)
SHOWN = (
    "id",
    *("name", "slug", "icon", "enabled", "client_id"),
    *("authorization_endpoint", "token_endpoint", "user_info_endpoint", "scopes"),
    *("user_id_field", "username_field", "display_name_field", "email_field"),
    *("well_known", "auth_style", "access_policy", "access_denied_message"),
)
"""Members of an answer, in order."""


@frozen(eq=False)
class OAuthProvidersApi:
    """The routes of custom providers; all of them root's."""

    _db: Database
    _guard: Guard
    _exchange: Exchange
    _audit: Audit
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/custom-oauth-provider/", methods=["GET"])
    @allow(Who.ROOT)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """All custom providers."""
        return ok([_view(row) for row in await self._db.read(oauth_queries.every)])

    @app.route("/api/custom-oauth-provider/<int:provider_id>", methods=["GET"])
    @allow(Who.ROOT)
    async def one(self, request: Request, viewer: Viewer, provider_id: int) -> bytes:
        """One custom provider."""
        row = await self._db.read(oauth_queries.by_id, provider_id)
        if row is None:
            raise not_found("provider")
        return ok(_view(row))

    @app.route("/api/custom-oauth-provider/", methods=["POST"])
    @allow(Who.ROOT)
    async def create(self, request: Request, viewer: Viewer) -> bytes:
        """A new custom provider."""
        given = columns(json_body(request))
        for name in REQUIRED:
            if not given.get(name):
                raise missing(name)
        values = {"enabled": False, "auth_style": custom.AUTO, **DEFAULTS}
        values.update(dict.fromkeys(TEXTS.keys() - DEFAULTS.keys(), ""))
        values.update(given)
        row = await self._db.run(oauth_queries.create, values, int(self._now()))
        self._record(request, viewer, "oauth_provider.create", row)
        return ok(_view(row), "created")

    @app.route("/api/custom-oauth-provider/<int:provider_id>", methods=["PUT"])
    @allow(Who.ROOT)
    async def update(self, request: Request, viewer: Viewer, provider_id: int) -> bytes:
        """Change the members that the body has; an empty secret keeps the old one."""
        given = columns(json_body(request))
        if not given.get("client_secret"):
            given.pop("client_secret", None)
        for name in REQUIRED:
            if name in given and not given[name]:
                raise missing(name)
        row = await self._db.run(
            oauth_queries.update, provider_id, given, int(self._now())
        )
        if row is None:
            raise not_found("provider")
        self._record(request, viewer, "oauth_provider.update", row)
        return ok(_view(row), "updated")

    @app.route("/api/custom-oauth-provider/<int:provider_id>", methods=["DELETE"])
    @allow(Who.ROOT)
    async def delete(self, request: Request, viewer: Viewer, provider_id: int) -> bytes:
        """Remove a provider, and what is bound by it."""
        unbound = await self._db.run(oauth_queries.delete, provider_id)
        if unbound is None:
            raise not_found("provider")
        told = {"id": provider_id, "unbound": unbound}
        self._audit.write(request, viewer, "oauth_provider.delete", told)
        return ok(message="deleted")

    @app.route("/api/custom-oauth-provider/discovery", methods=["POST"])
    @allow(Who.ROOT)
    async def discovery(self, request: Request, viewer: Viewer) -> bytes:
        """The discovery document of an issuer, to fill the form with."""
        body = json_body(request)
        url = text(body, "well_known_url", "", longest=2_000).strip()
        issuer = text(body, "issuer_url", "", longest=2_000).strip()
        if not url and issuer:
            url = exchange.well_known(issuer)
        if not url:
            raise missing("well_known_url")
        if not exchange.is_web(url):
            raise invalid("well_known_url", "an address of HTTP")
        found = await self._exchange.discovery(url, guarded=True)
        return ok({"well_known_url": url, "discovery": found})

    def _record(
        self, request: Request, viewer: Viewer, action: str, row: Mapping[str, Any]
    ) -> None:
        told = {"id": row["id"], "slug": row["slug"], "enabled": bool(row["enabled"])}
        self._audit.write(request, viewer, action, told)


def columns(body: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that a body sets, checked; an emptied field gets its default.

    Raises:
        Refusal.
    """
    given = dict(body)
    if isinstance(given.get("access_policy"), dict):
        given["access_policy"] = msgspec.json.encode(given["access_policy"]).decode()
    values: dict[str, Any] = {}
    for name, longest in TEXTS.items():
        if given.get(name) is not None:
            found = text(given, name, longest=longest).strip()
            values[name] = found or DEFAULTS.get(name, "")
    if given.get("enabled") is not None:
        values["enabled"] = flag(given, "enabled")
    if given.get("auth_style") is not None:
        most = custom.IN_HEADER
        values["auth_style"] = integer(given, "auth_style", least=0, most=most)
    _check(values)
    return values


def _check(values: Mapping[str, Any]) -> None:
    slug = values.get("slug")
    if slug and not custom.is_slug(slug):
        raise invalid("slug", "lower-case letters, digits and hyphens")
    if slug in custom.RESERVED:
        raise Refusal(
            "the slug belongs to a built-in provider",
            code="already_exists",
            params={"field": "slug"},
        )
    for name in ADDRESSES:
        if values.get(name) and not exchange.is_web(values[name]):
            raise invalid(name, "an address of HTTP")
    try:
        policy.parse(values.get("access_policy", ""))
    except PolicyError as error:
        raise invalid("access_policy", str(error)) from None


def _view(row: Mapping[str, Any]) -> dict[str, Any]:
    view = {name: row[name] for name in SHOWN}
    view["enabled"] = bool(row["enabled"])
    view["auth_style"] = row["auth_style"] or custom.AUTO
    return view
