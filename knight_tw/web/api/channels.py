"""`/api/channel`: channels as rows, one by one, in lists and by tag (management API,
sections 7.1 to 7.3). What talks to their upstreams is in `channel_work`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import frozen
from klein import Klein
from sqlalchemy.exc import DBAPIError
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.channels import drafts, key_actions
from knight_tw.options import Options
from knight_tw.records import AUTO_DISABLED, DISABLED, ENABLED, ROLE_ROOT
from knight_tw.storage import channel_queries, model_queries
from knight_tw.storage.channel_queries import ChannelFilter
from knight_tw.storage.database import Database
from knight_tw.web.api import channel_fields
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
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
from knight_tw.web.api.audit import SYSTEM, Audit
from knight_tw.web.api.tokens import ids_of
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]
Changed = Callable[[str, str], Awaitable[None]]

KEY_SCOPE = "channel.key.read"
"""What a proof must be for, to see a channel's key."""

COPY_SUFFIX = "_复制"
"""What the reference adds to the name of a copy."""

_FIX_CHUNK = 50
_ANNOUNCED_SINGLY = 20


class View(Protocol):
    """Today's options."""

    @property
    def options(self) -> Options: ...


class CheckAddress(Protocol):
    """The outbound address guard, asked before something is stored."""

    async def __call__(self, url: str) -> None:
        """Returns when a connection to `url` is allowed.

        Raises:
            KnightError: it is not.
        """
        ...


@frozen
class Channels:
    """The channel pages of the management API."""

    _guard: Guard
    _db: Database
    _view: View
    _clock: IReactorTime
    _limits: Limits
    _audit: Audit
    _changed: Changed
    _check_address: CheckAddress

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/channel/", methods=["GET"])
    @allow(Who.READ)
    async def listing(self, request: Request, viewer: Viewer) -> bytes:
        """One page of channels, or of tags with all their channels."""
        asked, chosen = paging(request), channel_fields.filter_of(request)
        tagged = query_flag(request, "tag_mode")
        read = channel_queries.tag_page if tagged else channel_queries.page
        order = channel_fields.order_of(request)
        rows, total = await self._db.read(read, chosen, order, asked.offset, asked.size)
        counts = await self._db.read(channel_queries.type_counts, chosen)
        shown = self._all_shown(rows, viewer)
        return page(shown, total, asked, type_counts=_by_text(counts))

    @app.route("/api/channel/search", methods=["GET"])
    @allow(Who.READ)
    async def search(self, request: Request, viewer: Viewer) -> bytes:
        """Channels by id, name, key, address and model."""
        asked = channel_fields.search_paging(request)
        chosen = channel_fields.search_of(request)
        tagged = query_flag(request, "tag_mode")
        read = channel_queries.tag_page if tagged else channel_queries.page
        order = channel_fields.order_of(request)
        rows, total = await self._db.read(read, chosen, order, asked.offset, asked.size)
        shown = self._all_shown(rows, viewer)
        if asked.plain:
            return ok(shown)
        counts = await self._db.read(channel_queries.type_counts, chosen)
        return ok({"items": shown, "total": total, "type_counts": _by_text(counts)})

    @app.route("/api/channel/models_enabled", methods=["GET"])
    @allow(Who.READ)
    async def models_enabled(self, request: Request, viewer: Viewer) -> bytes:
        """Names of the models that an enabled channel offers."""
        return ok(await self._db.read(model_queries.enabled_models), message=None)

    @app.route("/api/channel/ops", methods=["GET"])
    @allow(Who.READ)
    async def operations(self, request: Request, viewer: Viewer) -> bytes:
        """What the channel pages show of the options."""
        return ok({"retry_times": self._view.options.integer("RetryTimes")})

    @app.route("/api/channel/<int:channel_id>", methods=["GET"])
    @allow(Who.READ)
    async def one(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """One channel, without its key."""
        row = await self._db.read(channel_queries.find, channel_id)
        if row is None:
            raise not_found()
        return ok(self._shown(row, viewer))

    @app.route("/api/channel/<int:channel_id>/key", methods=["POST"])
    @allow(Who.ROOT)
    async def key(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """The key of a channel, for root after a second factor; it is recorded."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        self._guard.verify(request, viewer, KEY_SCOPE)
        row = await self._db.read(channel_queries.find, channel_id)
        if row is None:
            raise not_found()
        self._audit.note(
            request,
            SYSTEM,
            viewer.id,
            viewer.username,
            f"viewed the key of channel {channel_id}",
            {"op": {"action": "channel.key.view", "params": {"id": channel_id}}},
        )
        return ok({"key": row["key"]})

    @app.route("/api/channel/", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def create(self, request: Request, viewer: Viewer) -> bytes:
        """New channels from one form (`drafts`); no data comes back."""
        order = drafts.Order.read(json_body(request))
        root = viewer.role >= ROLE_ROOT
        rows = [
            drafts.guarded({}, row, root=root)
            for row in drafts.new_rows(order, self._now())
        ]
        await self._check_addresses({}, rows[0], root=root)
        ids = await self._db.run(channel_queries.insert, rows)
        await self._announce(ids)
        name = rows[0].get("name", "")
        self._audit.write(
            request,
            viewer,
            "channel.create",
            {"ids": ids[:_ANNOUNCED_SINGLY], "count": len(ids), "name": name},
            content=f"Created {len(ids)} channel(s) {name}",
        )
        return ok()

    @app.route("/api/channel/", methods=["PUT"])
    @allow(Who.WRITE)
    async def update(self, request: Request, viewer: Viewer) -> bytes:
        """The channel after the members of the body were set; the rest stays."""
        body = json_body(request)
        channel_id, root = integer(body, "id"), viewer.role >= ROLE_ROOT
        sensitive = self._guard.may(viewer, Who.SENSITIVE_WRITE)

        def decide(row: Row) -> Row:
            values = drafts.changes(row, body, with_status=not viewer.modern)
            if not sensitive and not drafts.SENSITIVE.isdisjoint(values):
                raise Refusal(
                    "you do not have the permission to change this",
                    code="forbidden_target",
                )
            return drafts.guarded(row, values, root=root)

        row = await self._db.read(channel_queries.find, channel_id)
        if row is None:
            raise not_found()
        await self._check_addresses(row, decide(row), root=root)
        done = await self._db.run(channel_queries.change, channel_id, decide)
        if done is None:
            raise not_found()
        after, values = done
        await self._changed("channel", str(channel_id))
        self._audit.write(
            request,
            viewer,
            "channel.update",
            {"id": channel_id, "name": after["name"], "fields": sorted(values)},
            content=f"Updated channel {after['name']} (ID: {channel_id})",
        )
        told = self._shown(after, viewer)
        modes = {name: body.get(name) for name in ("multi_key_mode", "key_mode")}
        return ok({**told, **modes})

    @app.route("/api/channel/<int:channel_id>/status", methods=["POST"])
    @allow(Who.OPERATE)
    async def set_status(
        self, request: Request, viewer: Viewer, channel_id: int
    ) -> bytes:
        """Enable or disable one channel by hand."""
        status = _status(json_body(request))
        if await self._db.read(channel_queries.find, channel_id) is None:
            raise not_found()
        await self._set_status(request, viewer, [channel_id], status)
        return ok(True)

    @app.route("/api/channel/status/batch", methods=["POST"])
    @allow(Who.OPERATE)
    async def set_statuses(self, request: Request, viewer: Viewer) -> bytes:
        """Enable or disable channels by hand; how many changed."""
        body = json_body(request)
        ids = ids_of(body, channel_queries.BULK_LIMIT)
        return ok(await self._set_status(request, viewer, ids, _status(body)))

    @app.route("/api/channel/<int:channel_id>", methods=["DELETE"])
    @allow(Who.SENSITIVE_WRITE)
    async def delete(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """Delete one channel; one that is gone already is no failure."""
        await self._delete(request, viewer, [channel_id])
        return ok()

    @app.route("/api/channel/disabled", methods=["DELETE"])
    @allow(Who.SENSITIVE_WRITE)
    async def delete_disabled(self, request: Request, viewer: Viewer) -> bytes:
        """Delete every channel that is disabled, by hand or not; how many."""
        ids = await self._db.read(channel_queries.disabled)
        return ok(await self._delete(request, viewer, ids))

    @app.route("/api/channel/batch", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def delete_many(self, request: Request, viewer: Viewer) -> bytes:
        """Delete channels; how many there were."""
        ids = ids_of(json_body(request), channel_queries.BULK_LIMIT)
        return ok(await self._delete(request, viewer, ids))

    @app.route("/api/channel/copy/<int:channel_id>", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def copy(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """A copy of a channel, key included; its id."""
        suffix = query(request, "suffix", COPY_SUFFIX)[:100]
        reset = query(request, "reset_balance", "true").lower() != "false"
        row = await self._db.read(channel_queries.find, channel_id)
        if row is None:
            raise not_found()
        made = drafts.copy_of(row, suffix, reset, self._now())
        ids = await self._db.run(channel_queries.insert, [made])
        await self._announce(ids)
        self._audit.write(
            request, viewer, "channel.copy", {"from": channel_id, "id": ids[0]}
        )
        return ok({"id": ids[0]})

    @app.route("/api/channel/batch/tag", methods=["POST"])
    @allow(Who.WRITE)
    async def tag_many(self, request: Request, viewer: Viewer) -> bytes:
        """Give channels a tag, or take it away; how many there were."""
        body = json_body(request)
        ids = ids_of(body, channel_queries.BULK_LIMIT)
        tag = text(body, "tag", "", longest=191).strip() or None
        count = await self._db.run(channel_queries.set_tag, ids, tag)
        await self._announce(ids)
        self._audit.write(
            request, viewer, "channel.tag", {"count": count, "tag": tag or ""}
        )
        return ok(count)

    @app.route("/api/channel/tag/enabled", methods=["POST"])
    @allow(Who.OPERATE)
    async def enable_tag(self, request: Request, viewer: Viewer) -> bytes:
        """Enable the channels of a tag."""
        return await self._set_tag_status(request, viewer, ENABLED)

    @app.route("/api/channel/tag/disabled", methods=["POST"])
    @allow(Who.OPERATE)
    async def disable_tag(self, request: Request, viewer: Viewer) -> bytes:
        """Disable the channels of a tag."""
        return await self._set_tag_status(request, viewer, DISABLED)

    @app.route("/api/channel/tag", methods=["PUT"])
    @allow(Who.WRITE)
    async def edit_tag(self, request: Request, viewer: Viewer) -> bytes:
        """Set some columns of all channels of a tag."""
        body = json_body(request)
        tag, wanted = _tag(body), drafts.edits_of_tag(body)
        if not drafts.SENSITIVE.isdisjoint(wanted) and not self._guard.may(
            viewer, Who.SENSITIVE_WRITE
        ):
            raise Refusal(
                "you do not have the permission to change this",
                code="forbidden_target",
            )
        ids = await self._db.read(channel_queries.with_tag, tag)
        changed = await self._db.run(
            channel_queries.change_many, ids, lambda row: wanted
        )
        await self._announce(changed)
        self._audit.write(
            request,
            viewer,
            "channel.tag_edit",
            {"tag": tag, "count": len(changed), "fields": sorted(wanted)},
        )
        return ok()

    @app.route("/api/channel/tag/models", methods=["GET"])
    @allow(Who.READ)
    async def tag_models(self, request: Request, viewer: Viewer) -> bytes:
        """The longest model list among the channels of a tag, as text."""
        tag = query(request, "tag")
        if not tag:
            raise missing("tag")
        rows = await self._db.read(channel_queries.select, ChannelFilter(tag=tag))
        lists = [row["models"] or "" for row in rows]
        return ok(max(lists, key=lambda names: names.count(","), default=""))

    @app.route("/api/channel/fix", methods=["POST"])
    @allow(Who.OPERATE)
    async def fix(self, request: Request, viewer: Viewer) -> bytes:
        """Write the abilities of every channel anew; how many went well and not."""
        ids = await self._db.read(channel_queries.every_id)
        await self._db.run(channel_queries.forget_orphans)
        failed = 0
        for first in range(0, len(ids), _FIX_CHUNK):
            failed += await self._rebuild(ids[first : first + _FIX_CHUNK])
        await self._announce(ids)
        done = {"success": len(ids) - failed, "fails": failed}
        self._audit.write(request, viewer, "channel.fix", done)
        return ok(done)

    @app.route("/api/channel/multi_key/manage", methods=["POST"])
    @allow(Who.OPERATE)
    async def manage_keys(self, request: Request, viewer: Viewer) -> bytes:
        """One action on the keys of a multi-key channel (section 7.4)."""
        body = json_body(request)
        channel_id, asked = integer(body, "channel_id"), _asked(body)
        outcomes: list[key_actions.Outcome] = []

        def decide(row: Row) -> Mapping[str, Any]:
            reasons = viewer.role >= ROLE_ROOT
            outcome = key_actions.act(row, asked, self._now(), reasons=reasons)
            outcomes.append(outcome)
            return outcome.values

        done = await self._db.run(channel_queries.change, channel_id, decide)
        if done is None:
            raise not_found()
        outcome = outcomes[-1]
        if outcome.values:
            await self._changed("channel", str(channel_id))
            told = {"id": channel_id, "action": asked.action}
            self._audit.write(request, viewer, "channel.multi_key", told)
        if outcome.data is None:
            return ok(message=outcome.message)
        return ok(outcome.data, message=outcome.message)

    async def _rebuild(self, ids: Sequence[int]) -> int:
        """Rebuild the abilities of some channels; how many could not be."""
        try:
            await self._db.run(channel_queries.refresh_many, ids)
        except DBAPIError:
            if len(ids) == 1:
                return 1
            failed = 0
            for channel_id in ids:
                failed += await self._rebuild([channel_id])
            return failed
        return 0

    async def _set_tag_status(
        self, request: Request, viewer: Viewer, status: int
    ) -> bytes:
        tag = _tag(json_body(request))
        ids = await self._db.read(channel_queries.with_tag, tag)
        await self._set_status(request, viewer, ids, status, tag=tag)
        return ok()

    async def _set_status(
        self,
        request: Request,
        viewer: Viewer,
        ids: Sequence[int],
        status: int,
        **told: Any,
    ) -> int:
        changed = await self._db.run(channel_queries.set_status, ids, status)
        await self._announce(changed)
        action = "channel.enable" if status == ENABLED else "channel.disable"
        params = {"ids": changed[:_ANNOUNCED_SINGLY], "count": len(changed), **told}
        self._audit.write(request, viewer, action, params)
        return len(changed)

    async def _delete(
        self, request: Request, viewer: Viewer, ids: Sequence[int]
    ) -> int:
        names = await self._db.read(channel_queries.names, ids)
        count = await self._db.run(channel_queries.delete, ids)
        await self._announce(ids)
        told = {"ids": list(ids)[:_ANNOUNCED_SINGLY], "count": count}
        content = f"Deleted {count} channel(s) {', '.join(names.values())}"[:500]
        self._audit.write(request, viewer, "channel.delete", told, content=content)
        return count

    async def _announce(self, ids: Sequence[int]) -> None:
        """Have every process read these channels again; many are all channels."""
        if len(ids) == 1:
            await self._changed("channel", str(ids[0]))
        elif ids:
            await self._changed("channel", "")

    async def _check_addresses(
        self, before: Mapping[str, Any], values: Row, *, root: bool
    ) -> None:
        """Ask the guard about addresses that somebody who is not root changes."""
        after = drafts.addresses({**before, **values})
        if root:
            return
        for new, old in zip(after, drafts.addresses(before), strict=True):
            if new and new != old and "://" in new:
                await self._check_address(new)

    def _shown(self, row: Row, viewer: Viewer) -> Row:
        return channel_fields.shown(row, reasons=viewer.role >= ROLE_ROOT)

    def _all_shown(self, rows: Sequence[Row], viewer: Viewer) -> list[Row]:
        return [self._shown(row, viewer) for row in rows]

    def _now(self) -> int:
        return int(self._clock.seconds())


def _by_text(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(kind): count for kind, count in sorted(counts.items())}


def _status(body: Mapping[str, Any]) -> int:
    status = integer(body, "status")
    if status not in (ENABLED, DISABLED):
        raise invalid("status", "1 or 2")
    return status


def _tag(body: Mapping[str, Any]) -> str:
    tag = text(body, "tag", "").strip()
    if not tag:
        raise missing("tag")
    return tag


def _asked(body: Mapping[str, Any]) -> key_actions.Asked:
    status = integer(body, "status", 0)
    if status not in (0, ENABLED, DISABLED, AUTO_DISABLED):
        raise invalid("status", "1, 2 or 3")
    return key_actions.Asked(
        action=text(body, "action"),
        index=integer(body, "key_index", -1),
        preview=text(body, "key_preview", ""),
        page=integer(body, "page", 1),
        size=integer(body, "page_size", key_actions.DEFAULT_SIZE),
        status=status,
    )
