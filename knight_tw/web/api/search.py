"""`/api/search`: whatever a few letters or an id may mean, by the viewer's role
(management API, section 18)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar, Protocol

from attrs import field, frozen
from klein import Klein
from twisted.internet.defer import DeferredSemaphore
from twisted.web.server import Request

from knight_tw.accounts.callers import usable_groups
from knight_tw.options import Options
from knight_tw.options.table import OPTIONS
from knight_tw.records import ROLE_ADMIN, ROLE_ROOT, ROLE_USER
from knight_tw.routing import RoutingTable
from knight_tw.storage import log_queries, search_queries
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import install, invalid, ok, query
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

LEAST, LONGEST = 2, 128
"""Characters of a question."""

MOST, OF_A_KIND = 20, 5
REQUEST_LENGTH = 16
"""A shorter text is no request id."""

AT_ONCE = 2

PAGES: tuple[tuple[str, str, int], ...] = (
    ("/console", "Dashboard", ROLE_USER),
    ("/console/token", "API tokens", ROLE_USER),
    ("/console/log", "Usage log", ROLE_USER),
    ("/console/midjourney", "Drawing log", ROLE_USER),
    ("/console/task", "Task log", ROLE_USER),
    ("/console/topup", "Wallet", ROLE_USER),
    ("/console/personal", "Personal settings", ROLE_USER),
    ("/console/playground", "Playground", ROLE_USER),
    ("/pricing", "Models and prices", ROLE_USER),
    ("/console/channel", "Channels", ROLE_ADMIN),
    ("/console/models", "Model catalogue", ROLE_ADMIN),
    ("/console/redemption", "Redemption codes", ROLE_ADMIN),
    ("/console/user", "Users", ROLE_ADMIN),
    ("/console/setting", "System settings", ROLE_ROOT),
    ("/console/health", "Performance and maintenance", ROLE_ROOT),
)
"""Path, name and lowest role of the console's pages."""


class View(Protocol):
    """Today's options and routes."""

    @property
    def options(self) -> Options: ...

    @property
    def routes(self) -> RoutingTable: ...


@frozen(eq=False)
class SearchPages:
    """The one search route."""

    _guard: Guard
    _db: Database
    _logs: Database
    _view: View
    _turns: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(AT_ONCE))

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/search", methods=["GET"])
    @allow(Who.USER)
    async def search(self, request: Request, viewer: Viewer) -> bytes:
        """At most 20 things; of each kind the best few."""
        text = query(request, "q")
        if not LEAST <= len(text) <= LONGEST:
            raise invalid("q", f"{LEAST} to {LONGEST} characters")
        await self._turns.acquire()
        try:
            found = await self._rows(viewer, text)
        finally:
            self._turns.release()
        found += _options(viewer, text) + self._models(viewer, text)
        found += _pages(viewer, text)
        return ok(found[:MOST])

    async def _rows(self, viewer: Viewer, text: str) -> list[Row]:
        """What the database knows."""
        found = await self._call(viewer, text)
        if self._guard.may(viewer, Who.ADMIN):
            rows = await self._db.read(search_queries.found_users, text, OF_A_KIND)
            found += [
                _hit("user", row["id"], row["username"], row["email"]) for row in rows
            ]
        if self._guard.may(viewer, Who.READ):
            rows = await self._db.read(search_queries.found_channels, text, OF_A_KIND)
            found += [
                _hit("channel", row["id"], row["name"], row["tag"]) for row in rows
            ]
        rows = await self._db.read(
            search_queries.found_tokens, viewer.id, text, OF_A_KIND
        )
        return found + [_hit("token", row["id"], row["name"], "") for row in rows]

    async def _call(self, viewer: Viewer, text: str) -> list[Row]:
        """The call of that request id, if the viewer may see it."""
        if len(text) < REQUEST_LENGTH or not text.isalnum():
            return []
        row = await self._logs.read(log_queries.by_request, text)
        if row is None:
            return []
        if row["user_id"] != viewer.id and viewer.role < ROLE_ADMIN:
            return []
        return [_hit("request", text, text, row["model_name"])]

    def _models(self, viewer: Viewer, text: str) -> list[Row]:
        """Models that somebody offers to the viewer; all for administrators."""
        routes = self._view.routes
        groups: Iterable[str] = routes.groups()
        if viewer.role < ROLE_ADMIN:
            usable = usable_groups(viewer.group, self._view.options)
            groups = [group for group in groups if group in usable]
        names = {model for group in groups for model in routes.models(group)}
        part = text.lower()
        hits = [name for name in names if part in name.lower()]
        hits.sort(key=lambda name: (name.lower() != part, len(name), name))
        return [_hit("model", name, name, "") for name in hits[:OF_A_KIND]]


def _options(viewer: Viewer, text: str) -> list[Row]:
    """Options by key or meaning, for root."""
    if viewer.role < ROLE_ROOT:
        return []
    part = text.lower()
    hits = [
        one
        for one in OPTIONS.values()
        if part in one.key.lower() or part in one.help.lower()
    ]
    hits.sort(key=lambda one: (part not in one.key.lower(), one.key))
    return [_hit("option", one.key, one.key, one.help) for one in hits[:OF_A_KIND]]


def _pages(viewer: Viewer, text: str) -> list[Row]:
    part = text.lower()
    hits = [
        _hit("page", path, name, path)
        for path, name, least in PAGES
        if viewer.role >= least and (part in name.lower() or part in path)
    ]
    return hits[:OF_A_KIND]


def _hit(kind: str, key: Any, label: str | None, detail: str | None) -> Row:
    return {"kind": kind, "id": key, "label": label or "", "detail": detail or ""}
