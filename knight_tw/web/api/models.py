"""Names of models: by channel type, of a channel form, and of what the caller may use
(management API, sections 2, 3 and 7.1). Descriptions are in `catalogue`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.callers import AUTO, auto_groups, usable_groups
from knight_tw.options import Options
from knight_tw.providers.identity import name_of
from knight_tw.providers.provider import Provider
from knight_tw.routing import RoutingTable
from knight_tw.web.api.answers import install, ok, query
from knight_tw.web.auth import Guard, Viewer, Who, allow

CREATED = 1626777600
"""`created` of every listed model; the reference's constant."""


class View(Protocol):
    """Today's options and routes."""

    @property
    def options(self) -> Options: ...

    @property
    def routes(self) -> RoutingTable: ...


@frozen
class ModelNames:
    """The lists of model names."""

    _guard: Guard
    _view: View
    _providers: Sequence[Provider]

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/models", methods=["GET"])
    @allow(Who.USER)
    async def by_type(self, request: Request, viewer: Viewer) -> bytes:
        """Channel type to the models that its provider is known for."""
        return ok({str(one.type_id): list(one.models) for one in self._providers})

    @app.route("/api/channel/models", methods=["GET"])
    @allow(Who.READ)
    async def known(self, request: Request, viewer: Viewer) -> bytes:
        """Every model that some provider is known for, as OpenAI's model objects."""
        return ok(self._known(), message=None)

    @app.route("/api/user/models", methods=["GET"])
    @allow(Who.USER)
    async def usable(self, request: Request, viewer: Viewer) -> bytes:
        """Names of the models that the caller may use, in one group or in all."""
        return ok(self._usable(viewer.group, query(request, "group")))

    @app.route("/api/user/available_models", methods=["GET"])
    @allow(Who.USER)
    async def available(self, request: Request, viewer: Viewer) -> bytes:
        """The same for the caller's own group, under the name of one-api."""
        return ok(self._usable(viewer.group, viewer.group))

    def _usable(self, user_group: str, group: str) -> list[str]:
        options = self._view.options
        usable: Mapping[str, str] = usable_groups(user_group, options)
        groups: Sequence[str] = tuple(usable)
        if group == AUTO:
            groups = auto_groups((), usable, options)
        elif group:
            groups = (group,) if group in usable else ()
        routes = self._view.routes
        return list(
            dict.fromkeys(name for one in groups for name in routes.models(one))
        )

    def _known(self) -> list[dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        for provider in self._providers:
            for model in provider.models:
                found.setdefault(
                    model,
                    {
                        "id": model,
                        "object": "model",
                        "created": CREATED,
                        "owned_by": name_of(provider.type_id).lower(),
                        "supported_endpoint_types": None,
                    },
                )
        return list(found.values())
