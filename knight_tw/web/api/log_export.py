"""Log rows as a file, written while they are read, as fast as the client takes it."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

FORMATS: Mapping[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "jsonl": "application/jsonl; charset=utf-8",
}
"""Content type of each format."""

ROWS_AT_ONCE = 500

COLUMNS = (
    "created_at",
    "type",
    "username",
    "token_name",
    "model_name",
    "group",
    "quota",
    "prompt_tokens",
    "completion_tokens",
    "use_time",
    "is_stream",
    "channel",
    "channel_name",
    "ip",
    "request_id",
    "content",
    "other",
)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")


@frozen
class Writer:
    """Rows in one format.

    Attributes:
        numbered: The rows' own ids are shown.
        marked: A CSV file begins with the mark by which spreadsheets know UTF-8.
    """

    kind: str
    numbered: bool
    marked: bool = False

    def head(self) -> bytes:
        """The first line of a CSV file; nothing otherwise."""
        if self.kind != "csv":
            return b""
        mark = codecs.BOM_UTF8 if self.marked else b""
        return mark + _lines([self._columns()])

    def rows(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        """Some rows."""
        if self.kind == "csv":
            columns = self._columns()
            return _lines([[_cell(row[name]) for name in columns] for row in rows])
        columns = self._columns()
        told = ({name: row[name] for name in columns} for row in rows)
        lines = (json.dumps(row, ensure_ascii=False) for row in told)
        return "".join(f"{line}\n" for line in lines).encode()

    def _columns(self) -> Sequence[str]:
        return ("id", *COLUMNS) if self.numbered else COLUMNS


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


@implementer(IPushProducer)
@define(eq=False)
class Outlet:
    """Tells when a request's client takes more; made with `Outlet.on`."""

    _request: Request
    _paused: Deferred[None] | None = None

    @classmethod
    def on(cls, request: Request) -> Outlet:
        """The outlet of a request, until `close`."""
        outlet = cls(request)
        request.registerProducer(outlet, True)  # type: ignore[no-untyped-call]
        return outlet

    async def ready(self) -> None:
        """Returns once the client takes more. Cancelled when the client leaves."""
        if self._paused is not None:
            await self._paused

    def close(self) -> None:
        """Everything was written."""
        self._request.unregisterProducer()  # type: ignore[no-untyped-call]

    def pauseProducing(self) -> None:
        """The client is slow."""
        if self._paused is None:
            self._paused = Deferred()

    def resumeProducing(self) -> None:
        """The client takes more."""
        paused, self._paused = self._paused, None
        if paused is not None:
            paused.callback(None)

    def stopProducing(self) -> None:
        """The client has left: the route's coroutine is cancelled by the site."""
