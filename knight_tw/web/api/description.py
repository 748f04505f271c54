"""`GET /api/openapi.json`: what there is to call."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define
from klein import Klein
from twisted.web.server import Request

from knight_tw.web import openapi
from knight_tw.web.api.answers import encode, install
from knight_tw.web.auth import Who, mark
from knight_tw.web.route_table import Entry


@define(eq=False)
class DescriptionApi:
    """The route that describes all routes, itself included.

    Attributes:
        _entries: All routes there are.
    """

    _entries: Callable[[], list[Entry]]
    _version: str
    _made: bytes = b""
    """The document; routes do not change while the process runs."""

    app = Klein()
    install(app)

    @app.route("/api/openapi.json", methods=["GET"])
    @mark(Who.ANYONE)
    async def show(self, request: Request) -> bytes:
        """This description, in OpenAPI 3.1."""
        if not self._made:
            document = openapi.description(self._entries(), self._version)
            self._made = encode(document)
        return self._made
