"""The administrator's options: read, written, listed with their meaning, their history.

Values that end in a secret's name never leave (`options.hidden`). A write is checked
against the option's type first and takes effect at once, here and in other processes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from decimal import Decimal
from typing import Any

import msgspec
from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.options import OptionRefused, Options, hidden
from knight_tw.options.table import OPTIONS
from knight_tw.storage import option_queries, options
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    body_bytes,
    encode,
    install,
    integer,
    invalid,
    ok,
    page,
    paging,
    query,
    sorting,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import STEP_UP_SCOPE, Guard, Viewer, Who, allow

Changed = Callable[[str, str], Awaitable[None]]
CompletionRatios = Callable[[], Mapping[str, Any]]
"""Model to `{ratio, locked}`, of every model that a ratio table names."""

Complete = Callable[
    [Mapping[str, str | None]], Coroutine[Any, Any, Mapping[str, str | None]]
]
"""Adds the rows that follow from others, or refuses them."""

MOST_CHANGES = 500
_DECODER = msgspec.json.Decoder(dict[str, Any], float_hook=Decimal)


async def _as_they_are(rows: Mapping[str, str | None]) -> Mapping[str, str | None]:
    return rows


@frozen(eq=False)
class OptionsApi:
    """The routes about options; all of them root's."""

    _db: Database
    _guard: Guard
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Changed
    _completion_ratios: CompletionRatios
    _now: Callable[[], float]
    _complete: Complete = _as_they_are

    app = Klein()
    install(app)

    @app.route("/api/option/", methods=["GET"])
    @allow(Who.ROOT)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """Every option that may be shown, as `{key, value}`."""
        rows = self._options().rows()
        shown = [
            {"key": key, "value": value}
            for key, value in sorted(rows.items())
            if not hidden(key)
        ]
        meta = encode(dict(self._completion_ratios())).decode()
        return ok([*shown, {"key": "CompletionRatioMeta", "value": meta}])

    @app.route("/api/option/", methods=["PUT"])
    @allow(Who.ROOT)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """Store one option."""
        body = _decoded(request)
        key, value = body.get("key"), body.get("value")
        if not isinstance(key, str) or not key.strip():
            raise Refusal(
                "key is required", code="missing_field", params={"field": "key"}
            )
        key = key.strip()
        self._step_up(request, viewer, (key,))
        try:
            rows = self._options().write(key, value)
        except OptionRefused as refused:
            raise _refusal(refused) from None
        await self._store(request, viewer, await self._complete(rows))
        return ok()

    @app.route("/api/option/batch", methods=["PUT"])
    @allow(Who.ROOT)
    async def update_many(self, request: Request, viewer: Viewer) -> bytes:
        """Store several options, all or none."""
        body = _decoded(request)
        changes = _changes(body.get("changes"))
        self._step_up(request, viewer, changes)
        expected = integer(body, "version", None)
        rows, refused = self._options().write_all(changes)
        if refused:
            codes = {key: error.code for key, error in refused.items()}
            version = await self._db.read(options.version)
            raise Refusal(
                "; ".join(f"{key}: {error.message}" for key, error in refused.items()),
                params={"errors": codes},
                members={"data": {"version": version, "errors": codes}},
            )
        completed = await self._complete(rows)
        version = await self._store(request, viewer, completed, expected)
        return ok({"version": version, "errors": {}})

    async def _store(
        self,
        request: Request,
        viewer: Viewer,
        rows: Mapping[str, str | None],
        expected: int | None = None,
    ) -> int:
        """Write checked rows and let everybody know; the version of the set."""
        version = await self._db.run(
            option_queries.save_all,
            rows,
            [key for key in rows if hidden(key)],
            viewer.id,
            int(self._now()),
            expected,
        )
        if version is None:
            raise Refusal(
                "somebody saved other options meanwhile", code="version_conflict"
            )
        if rows:
            self._audit.write(request, viewer, "option.update", {"keys": sorted(rows)})
            await self._changed("option", next(iter(rows)) if len(rows) == 1 else "")
        return version

    def _step_up(self, request: Request, viewer: Viewer, keys: Iterable[str]) -> None:
        strict = self._options().flag("auth.strict_step_up")
        if strict and any(hidden(key) for key in keys):
            self._guard.verify(request, viewer, STEP_UP_SCOPE)

    @app.route("/api/option/rest_model_ratio", methods=["POST"])
    @allow(Who.ROOT)
    async def reset_model_ratio(self, request: Request, viewer: Viewer) -> bytes:
        """Return to the shipped model ratios."""
        await self._store(request, viewer, {"ModelRatio": None})
        return ok(message="the model ratios are the shipped ones again")

    @app.route("/api/option/migrate_console_setting", methods=["POST"])
    @allow(Who.ROOT)
    async def migrate_console(self, request: Request, viewer: Viewer) -> bytes:
        """Move the console's lists from their retired keys to today's."""
        changes = moved_console_lists(self._options().stored)
        rows, refused = self._options().write_all(changes)
        # What today's limits refuse stays where it was.
        for key in refused:
            rows.pop(key, None)
            rows.pop(_RETIRED.get(key, ""), None)
        await self._store(request, viewer, rows)
        return ok(message="moved")

    @app.route("/api/option/catalog", methods=["GET"])
    @allow(Who.ROOT)
    async def catalogue(self, request: Request, viewer: Viewer) -> bytes:
        """Every known option with its type, default, bounds and meaning."""
        version = await self._db.read(options.version)
        current = self._options()
        known = [_described(key, current) for key in OPTIONS]
        return ok({"version": version, "options": known})

    @app.route("/api/option/history", methods=["GET"])
    @allow(Who.ROOT)
    async def history(self, request: Request, viewer: Viewer) -> bytes:
        """Who changed what, newest first."""
        asked = paging(request, 200)
        rows, total = await self._db.read(
            option_queries.past,
            query(request, "key"),
            asked.offset,
            asked.size,
            sorting(request, option_queries.SORTABLE),
        )
        return page(rows, total, asked)


def _decoded(request: Request) -> dict[str, Any]:
    """The body with its fractions as `Decimal`, so that they are stored as typed."""
    try:
        return _DECODER.decode(body_bytes(request))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Refusal("the body is not a JSON object", code="malformed_body") from None


def _changes(given: object) -> dict[str, Any]:
    """`changes` of a batch as key to value; the last entry of a key counts.

    Raises:
        Refusal: not a list of `{key, value}`.
    """
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_CHANGES:
        raise invalid("changes", f"a list of 1 to {MOST_CHANGES}")
    changes: dict[str, Any] = {}
    for entry in given:
        key = entry.get("key") if isinstance(entry, dict) else None
        if not isinstance(key, str) or not key.strip():
            raise invalid("changes", "objects with a key and a value")
        changes[key.strip()] = entry.get("value")
    return changes


def _refusal(refused: OptionRefused) -> Refusal:
    return Refusal(
        f"{refused.key}: {refused.message}",
        code=refused.code,
        params={"field": refused.key, "rule": refused.message},
    )


def _described(key: str, current: Options) -> dict[str, Any]:
    """One row of the catalogue."""
    option = OPTIONS[key]
    secret = hidden(key)
    row: dict[str, Any] = {
        "key": key,
        "type": option.kind.value,
        "default": option.default,
        "area": option.area,
        "secret": secret,
        "is_set": bool(current.stored.get(key)) if secret else key in current.stored,
        "help": option.help,
    }
    if not secret:
        row["value"] = current.text(key)
    if option.least is not None:
        row["min"] = option.least
    if option.most is not None:
        row["max"] = option.most
    if option.values:
        row["values"] = list(option.values)
    return row


_RETIRED = {
    "console_setting.api_info": "ApiInfo",
    "console_setting.announcements": "Announcements",
    "console_setting.faq": "FAQ",
}
"""Today's keys of the console's lists, and where older generations kept them."""


def moved_console_lists(stored: Mapping[str, str]) -> dict[str, str | None]:
    """The changes that bring retired keys to today's; nothing is overwritten."""
    changes: dict[str, str | None] = {}
    for key, retired in _RETIRED.items():
        if stored.get(retired):
            changes[retired] = None
            if not stored.get(key):
                changes[key] = stored[retired]
    url, slug = stored.get("UptimeKumaUrl"), stored.get("UptimeKumaSlug")
    if url and slug:
        group = {
            "id": 1,
            "categoryName": "old",
            "url": url,
            "slug": slug,
            "description": "",
        }
        if not stored.get("console_setting.uptime_kuma_groups"):
            changes["console_setting.uptime_kuma_groups"] = encode([group]).decode()
        changes.update(UptimeKumaUrl=None, UptimeKumaSlug=None)
    return changes
