"""Streams of events: the log as it is written, jobs, and what concerns the viewer
(management API, section 18)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Protocol

from attrs import define, field, frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw import log_tail
from knight_tw.feeds import BalanceFeed, JobFeed
from knight_tw.ledger.entries import Row as LogRow
from knight_tw.log_tail import LogTail, Seen
from knight_tw.options import Options
from knight_tw.records import ROLE_ADMIN, Channel
from knight_tw.web.api import jobs, log_fields
from knight_tw.web.api.answers import header, install, query
from knight_tw.web.api.status import site_facts
from knight_tw.web.auth import Guard, Viewer, Who, allow
from knight_tw.web.event_streams import EventStream, Streams, frame

Row = dict[str, Any]

LAST_EVENT = "Last-Event-ID"


class View(Protocol):
    """Today's options and channels."""

    @property
    def options(self) -> Options: ...

    @property
    def channels(self) -> Mapping[int, Channel]: ...


@define(eq=False)
class News:
    """Who is to be told that options or channels changed."""

    readers: list[Callable[[str, str], None]] = field(factory=list)

    def changed(self, kind: str, ref: str) -> None:
        """Something changed, here or in another process."""
        for tell in list(self.readers):
            tell(kind, ref)


@frozen(eq=False)
class Live:
    """The streams."""

    _guard: Guard
    _streams: Streams
    _tail: LogTail
    _jobs: JobFeed
    _balances: BalanceFeed
    _news: News
    _view: View

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/log/stream", methods=["GET"])
    @allow(Who.ADMIN)
    async def site_log(self, request: Request, viewer: Viewer) -> bytes:
        """Everybody's rows, as they are written."""
        accept = log_tail.accepts(log_fields.filter_of(request))
        stream = self._open(request, viewer, Who.ADMIN)
        return await self._log(request, stream, accept, self._shown)

    @app.route("/api/log/self/stream", methods=["GET"])
    @allow(Who.USER)
    async def own_log(self, request: Request, viewer: Viewer) -> bytes:
        """The own rows, as they are written."""
        chosen = log_fields.filter_of(request, user_id=viewer.id)
        accept = log_tail.accepts(chosen)
        stream = self._open(request, viewer, Who.USER)
        return await self._log(request, stream, accept, _for_user)

    @app.route("/api/jobs/stream", methods=["GET"])
    @allow(Who.ADMIN)
    async def job_stream(self, request: Request, viewer: Viewer) -> bytes:
        """Jobs that the caller may see, as they go on."""
        stream = self._open(request, viewer, Who.ADMIN)
        tell = _job_teller(stream, viewer)
        self._jobs.join(tell)
        try:
            await stream.over()
        finally:
            self._jobs.leave(tell)
            self._streams.leave(stream)
        return b""

    @app.route("/api/events/stream", methods=["GET"])
    @allow(Who.USER)
    async def events(self, request: Request, viewer: Viewer) -> bytes:
        """What concerns the caller: announcements and the own balance; channels and
        jobs for administrators."""
        admin = viewer.role >= ROLE_ADMIN
        stream = self._open(request, viewer, Who.ADMIN if admin else Who.USER)
        tell, news = _job_teller(stream, viewer), self._news_teller(stream, viewer)

        def balance(quota: int) -> None:
            stream.send(frame("balance", {"quota": quota}))

        self._news.readers.append(news)
        if admin:
            self._jobs.join(tell)
        try:
            await self._balances.join(viewer.id, balance)
            await stream.over()
        finally:
            self._news.readers.remove(news)
            self._jobs.leave(tell)
            self._balances.leave(viewer.id, balance)
            self._streams.leave(stream)
        return b""

    def _open(self, request: Request, viewer: Viewer, who: Who) -> EventStream:
        """A stream that goes on while its caller is one of `who`."""
        guard = self._guard
        return self._streams.open(request, viewer.id, lambda: guard.admit(request, who))

    async def _log(
        self,
        request: Request,
        stream: EventStream,
        accept: Callable[[LogRow], bool],
        shown: Callable[[LogRow], Row],
    ) -> bytes:
        def tell(rows: Sequence[Seen], missed: int) -> None:
            if missed:
                stream.lose(missed)
            for one in rows:
                stream.send(frame("call", shown(one.row), one.id))

        after = header(request, LAST_EVENT) or query(request, "last_event_id")
        reader = self._tail.join(accept, tell, after)
        try:
            await stream.over()
        finally:
            self._tail.leave(reader)
            self._streams.leave(stream)
        return b""

    def _shown(self, row: LogRow) -> Row:
        channel = self._view.channels.get(row.channel_id)
        name = channel.name if channel else ""
        return log_fields.shown(log_tail.columns(row), name)

    def _news_teller(
        self, stream: EventStream, viewer: Viewer
    ) -> Callable[[str, str], None]:
        told = [self._announcements()]

        def tell(kind: str, ref: str) -> None:
            if kind == "option":
                today = self._announcements()
                if today != told[0]:
                    told[0] = today
                    stream.send(frame("announcements", today))
            elif kind == "channel" and viewer.role >= ROLE_ADMIN:
                stream.send(frame("channel", self._channel(ref)))

        return tell

    def _announcements(self) -> list[Any]:
        found: list[Any] = site_facts(self._view.options).get("announcements", [])
        return found

    def _channel(self, ref: str) -> Row:
        """What is said of a channel that changed; `id` is null when several did."""
        number = int(ref) if ref.isdecimal() else None
        channel = None if number is None else self._view.channels.get(number)
        if channel is None:
            return {"id": number}
        return {"id": number, "name": channel.name, "status": channel.status}


def _for_user(row: LogRow) -> Row:
    return log_fields.for_user(log_tail.columns(row), 0)


def _job_teller(
    stream: EventStream, viewer: Viewer
) -> Callable[[Mapping[str, Any]], None]:
    kinds = jobs.visible(viewer)

    def tell(row: Mapping[str, Any]) -> None:
        if row["type"] in kinds:
            stream.send(frame("job", jobs.shown(row)))

    return tell
