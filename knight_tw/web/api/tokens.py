"""`/api/token`: people's own relay keys (management API, sections 5 and 18)."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import field, frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.callers import auto_groups, usable_groups
from knight_tw.accounts.limits import Limits, Mark
from knight_tw.options import Options
from knight_tw.records import DISABLED, ENABLED
from knight_tw.storage import token_queries
from knight_tw.storage.database import Database
from knight_tw.web.api import token_fields
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    flag,
    install,
    integer,
    invalid,
    json_body,
    missing,
    not_found,
    ok,
    page,
    paging,
    query,
    query_flag,
    text,
)
from knight_tw.web.api.token_fields import Rules
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]
Changed = Callable[[str, str], Awaitable[None]]

MOST_IDS = 100
"""Tokens in one request about several."""

MOST_NEW = 100
_SUFFIX_LENGTH = 6
_SETTABLE = ("expired_time", "group")


class View(Protocol):
    """Today's options."""

    @property
    def options(self) -> Options: ...


@frozen
class Tokens:
    """The token pages; everybody sees and changes the own tokens only."""

    _guard: Guard
    _db: Database
    _view: View
    _clock: IReactorTime
    _limits: Limits
    _changed: Changed
    _random: random.Random = field(factory=random.SystemRandom)

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/token/", methods=["GET"])
    @allow(Who.USER)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """One page of the own tokens, newest first."""
        asked = paging(request)
        rows, total = await self._db.read(
            token_queries.page, viewer.id, asked.offset, asked.size
        )
        return page([self._shown(row, viewer) for row in rows], total, asked)

    @app.route("/api/token/search", methods=["GET"])
    @allow(Who.USER)
    async def search(self, request: Request, viewer: Viewer) -> bytes:
        """Tokens by name and key: exact, or with `%` for anything."""
        await self._limits.check(Mark.SEARCH, viewer.id)
        asked = paging(request)
        name = pattern(query(request, "keyword"), "keyword")
        key = pattern(query(request, "token").removeprefix("sk-"), "token")
        rows, total = await self._db.read(
            token_queries.search, viewer.id, name, key, asked.offset, asked.size
        )
        return page([self._shown(row, viewer) for row in rows], total, asked)

    @app.route("/api/token/auto-groups", methods=["GET"])
    @allow(Who.USER)
    async def auto_groups(self, request: Request, viewer: Viewer) -> bytes:
        """The groups that a list of `auto_groups` may have, and how many of them."""
        options = self._view.options
        usable = usable_groups(viewer.group, options)
        return ok(
            {
                "groups": list(auto_groups((), usable, options)),
                "max_count": options.integer("MaxTokenAutoGroups"),
            }
        )

    @app.route("/api/token/<int:token_id>", methods=["GET"])
    @allow(Who.USER)
    async def one(self, request: Request, viewer: Viewer, token_id: int) -> bytes:
        """One token."""
        row = await self._db.read(token_queries.find, viewer.id, token_id)
        if row is None:
            raise not_found()
        return ok(self._shown(row, viewer))

    @app.route("/api/token/", methods=["POST"])
    @allow(Who.USER)
    async def create(self, request: Request, viewer: Viewer) -> bytes:
        """A new token, or with `count` several; they come back with their keys."""
        body = json_body(request)
        count = integer(body, "count", 0, least=0, most=MOST_NEW)
        row = self._rules(viewer).new(body)
        made = await self._db.run(
            token_queries.create,
            [self._keyed(row, viewer, numbered=count > 0) for _ in range(count or 1)],
            self._view.options.integer("token_setting.max_user_tokens"),
        )
        if made is None:
            raise Refusal("you have too many tokens", code="token_limit_reached")
        shown = [token_fields.shown(row, full=True) for row in made]
        return ok(shown if count else shown[0])

    @app.route("/api/token/", methods=["PUT"])
    @allow(Who.USER)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """The token after its members in the body, or its status alone, were set."""
        body = json_body(request)
        token_id = integer(body, "id")
        rules = self._rules(viewer)
        decide = rules.status if query_flag(request, "status_only") else rules.changes
        row = await self._db.run(
            token_queries.change, viewer.id, token_id, lambda row: decide(row, body)
        )
        if row is None:
            raise not_found()
        await self._changed("token", str(token_id))
        return ok(token_fields.shown(row, full=False, one_api=self._one_api()))

    @app.route("/api/token/<int:token_id>", methods=["DELETE"])
    @allow(Who.USER)
    async def delete(self, request: Request, viewer: Viewer, token_id: int) -> bytes:
        """Delete one token."""
        if not await self._delete(viewer, [token_id]):
            raise not_found()
        return ok()

    @app.route("/api/token/batch", methods=["POST"])
    @allow(Who.USER)
    async def delete_many(self, request: Request, viewer: Viewer) -> bytes:
        """Delete tokens; how many there were."""
        ids = ids_of(json_body(request), token_queries.BULK_LIMIT)
        return ok(await self._delete(viewer, ids))

    @app.route("/api/token/<int:token_id>/key", methods=["POST"])
    @allow(Who.USER)
    async def key(self, request: Request, viewer: Viewer, token_id: int) -> bytes:
        """The whole key of one token."""
        found = await self._keys(request, viewer, [token_id])
        if token_id not in found:
            raise not_found()
        return ok({"key": found[token_id]})

    @app.route("/api/token/batch/keys", methods=["POST"])
    @allow(Who.USER)
    async def keys(self, request: Request, viewer: Viewer) -> bytes:
        """The whole keys of up to 100 tokens, by id."""
        ids = ids_of(json_body(request), MOST_IDS)
        found = await self._keys(request, viewer, ids)
        return ok({"keys": {str(token_id): key for token_id, key in found.items()}})

    @app.route("/api/token/bulk", methods=["POST"])
    @allow(Who.USER)
    async def bulk(self, request: Request, viewer: Viewer) -> bytes:
        """One change to many tokens; what it would do, with `dry_run`."""
        body = json_body(request)
        rows = await self._db.read(token_queries.select, viewer.id, **_chosen(body))
        if body.get("op") == "delete":
            return await self._delete_chosen(viewer, body, rows)
        changes, refused = self._planned(viewer, body, rows)
        if not flag(body, "dry_run", False) and changes:
            await self._db.run(token_queries.write, changes)
            await self._announce(list(changes))
        return ok({"matched": len(rows), "changed": len(changes), "errors": refused})

    def _planned(
        self, viewer: Viewer, body: Mapping[str, Any], rows: Sequence[Row]
    ) -> tuple[dict[int, Row], dict[str, str]]:
        """What a bulk change sets, by id, and the codes of what it cannot."""
        wanted, rules = _wanted(body), self._rules(viewer)
        changes: dict[int, Row] = {}
        refused: dict[str, str] = {}
        for row in rows:
            try:
                values = rules.changes(row, wanted)
            except Refusal as refusal:
                refused[str(row["id"])] = refusal.code
                continue
            if values:
                changes[row["id"]] = values
        return changes, refused

    async def _delete_chosen(
        self, viewer: Viewer, body: Mapping[str, Any], rows: Sequence[Row]
    ) -> bytes:
        gone = len(rows)
        if not flag(body, "dry_run", False):
            gone = await self._delete(viewer, [row["id"] for row in rows])
        return ok({"matched": len(rows), "changed": gone, "errors": {}})

    async def _delete(self, viewer: Viewer, ids: Sequence[int]) -> int:
        if not ids:
            return 0
        gone = await self._db.run(
            token_queries.delete, viewer.id, ids, self._clock.seconds()
        )
        await self._announce(ids)
        return gone

    async def _announce(self, ids: Sequence[int]) -> None:
        """Have every process forget these tokens; many are all tokens."""
        for ref in map(str, ids) if len(ids) <= MOST_IDS else ("",):
            await self._changed("token", ref)

    async def _keys(
        self, request: Request, viewer: Viewer, ids: Sequence[int]
    ) -> dict[int, str]:
        """Whole keys of the caller's tokens, by id."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        if self._once():
            raise Refusal(
                "keys are shown only when they are made", code="not_configured"
            )
        return await self._db.read(token_queries.keys, viewer.id, ids)

    def _keyed(self, row: Row, viewer: Viewer, *, numbered: bool) -> Row:
        """A row ready to insert, with owner, key and, when `numbered`, its own name."""
        made = {**row, "user_id": viewer.id, "key": token_fields.new_key(self._random)}
        if numbered:
            chosen = self._random.choices(token_fields.KEY_ALPHABET, k=_SUFFIX_LENGTH)
            most = token_fields.NAME_LENGTH - _SUFFIX_LENGTH - 1
            made["name"] = f"{made['name'][:most]}-{''.join(chosen)}"
        return made

    def _shown(self, row: Row, viewer: Viewer) -> Row:
        full = not viewer.modern and not self._once()
        return token_fields.shown(row, full=full, one_api=self._one_api())

    def _rules(self, viewer: Viewer) -> Rules:
        return Rules(self._view.options, viewer.group, self._clock.seconds())

    def _once(self) -> bool:
        return self._view.options.flag("console.show_keys_once")

    def _one_api(self) -> bool:
        return self._view.options.flag("compat.one_api_lists")


def pattern(given: str, name: str) -> str:
    """A search text, after checking its wildcards.

    Raises:
        Refusal: more than two `%`, two in a row, or hardly anything else.
    """
    if "%" not in given:
        return given
    if given.count("%") > 2 or "%%" in given:
        raise invalid(name, "at most two % and never two in a row")
    if len(given.replace("%", "")) < 2:
        raise invalid(name, "at least two characters beside %")
    return given


def ids_of(body: Mapping[str, Any], most: int) -> list[int]:
    """The list `ids` of a body.

    Raises:
        Refusal: none, or more than `most`, or not integers.
    """
    given = body.get("ids")
    if not given:
        raise missing("ids")
    if not isinstance(given, list):
        raise invalid("ids", "a list of ids")
    if len(given) > most:
        raise invalid("ids", f"at most {most} in one request")
    return [integer({"ids": one}, "ids") for one in given]


def _chosen(body: Mapping[str, Any]) -> dict[str, Any]:
    """The tokens that a bulk request means: `ids`, or a `filter`."""
    if body.get("ids"):
        return {"ids": ids_of(body, token_queries.BULK_LIMIT)}
    given = body.get("filter")
    if not isinstance(given, Mapping):
        raise missing("ids")
    group = given.get("group")
    if group is not None and not isinstance(group, str):
        raise invalid("filter", "group is text")
    return {
        "name": pattern(text(given, "keyword", ""), "keyword"),
        "status": integer(given, "status", 0),
        "group": group,
    }


def _wanted(body: Mapping[str, Any]) -> Row:
    """What a bulk request sets, as the body of a single update."""
    op = body.get("op")
    if op in ("enable", "disable"):
        return {"status": ENABLED if op == "enable" else DISABLED}
    if op != "set":
        raise invalid("op", "enable, disable, delete or set")
    name = body.get("field")
    if not isinstance(name, str) or name not in _SETTABLE:
        raise invalid("field", " or ".join(_SETTABLE))
    if body.get("value") is None:
        raise missing("value")
    return {name: body["value"]}
