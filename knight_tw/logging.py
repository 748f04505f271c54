"""How log events become lines: readable text, or one JSON object a line.

Both add the id of the request in whose context the event was made. `twistd` takes an
observer by name (`--logger knight_tw.logging.json_observer`); `knight run` chooses one
with `--log-format`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from twisted.logger import (
    FileLogObserver,
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    eventAsText,
)
from twisted.python.logfile import LogFile

from knight_tw import requestid

LONGEST = 16_384
"""Characters of one message or traceback; what is longer is cut."""

ROTATE_BYTES, ROTATED_FILES = 64 * 1024 * 1024, 8
"""A log file is renamed at this size, and so many old ones are kept."""

LEVELS = LogLevelFilterPredicate(defaultLogLevel=LogLevel.info)
"""What our observers let through. One per process, like Twisted's log publisher."""

OWN = frozenset({"message", "time", "level", "system", "request_id", "traceback"})
"""Members of a JSON line that no field of an event may replace."""

LEGACY = frozenset({"format", "isError", "why", "failure", "printed"})
"""Keys of Twisted's older log system; they carry nothing new."""


def verbose(on: bool) -> None:
    """Let debug events through, or only those from info up."""
    level = LogLevel.debug if on else LogLevel.info
    LEVELS.setLogLevelForNamespace("", level)


def text_observer() -> ILogObserver:
    """Readable lines on standard output."""
    return _observer(sys.stdout, as_text)


def json_observer() -> ILogObserver:
    """One JSON object a line on standard output."""
    return _observer(sys.stdout, as_json)


def folder_observer(folder: str) -> ILogObserver:
    """Readable lines in `folder`/knight.log, renamed when it is large.

    Raises:
        OSError: the folder or the file cannot be made.
    """
    Path(folder).mkdir(parents=True, exist_ok=True)
    file: Any = LogFile(  # type: ignore[no-untyped-call]  # Twisted's is untyped
        "knight.log", folder, rotateLength=ROTATE_BYTES, maxRotatedFiles=ROTATED_FILES
    )
    return _observer(file, as_text)


def as_text(event: LogEvent) -> str | None:
    """`2026-11-25 13:45:23.104 info  relay: message [request id]`, or None if empty.

    Further lines of the message or traceback are indented, so that a line that starts
    with a time is always an event of its own.
    """
    message = _message(event)
    if trace := _trace(event):
        message = f"{message}\n{trace}" if message else trace
    if not message:
        return None
    moment = _moment(event).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    request = requestid.current.get()
    mark = f" [{request}]" if request else ""
    body = message.rstrip().replace("\n", "\n    ")
    return f"{moment} {_level(event):<8} {_system(event)}: {body}{mark}\n"


def as_json(event: LogEvent) -> str | None:
    """The event as one JSON object and a newline, or None if it says nothing.

    `time` is RFC 3339 in UTC; the fields of the event stand beside `message`.
    """
    line: dict[str, Any] = {
        "time": _moment(event).astimezone(UTC).isoformat(timespec="milliseconds"),
        "level": _level(event),
        "system": _system(event),
        "message": _message(event),
    }
    if request := requestid.current.get():
        line["request_id"] = request
    if trace := _trace(event):
        line["traceback"] = trace
    if not line["message"] and not trace:
        return None
    line.update(_fields(event))
    return json.dumps(line, ensure_ascii=False) + "\n"


def _observer(file: IO[Any], line: Callable[[LogEvent], str | None]) -> ILogObserver:
    return FilteringLogObserver(FileLogObserver(file, line), [LEVELS])


def _fields(event: LogEvent) -> dict[str, Any]:
    return {
        key: value if isinstance(value, (bool, int, float, type(None))) else _cut(value)
        for key, value in event.items()
        if not key.startswith("log_") and key not in OWN and key not in LEGACY
    }


def _moment(event: LogEvent) -> datetime:
    return datetime.fromtimestamp(event.get("log_time", 0.0)).astimezone()


def _level(event: LogEvent) -> str:
    level = event.get("log_level")
    return level.name if level is not None else "info"


def _system(event: LogEvent) -> str:
    """The module that speaks, without the package's name in front."""
    system = event.get("log_system") or event.get("log_namespace") or "-"
    return str(system).removeprefix("knight_tw.")


def _message(event: LogEvent) -> str:
    return _cut(
        eventAsText(
            event, includeTraceback=False, includeTimestamp=False, includeSystem=False
        )
    )


def _trace(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return _cut(failure.getTraceback()) if failure is not None else ""


def _cut(value: object) -> str:
    text = str(value)
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"
