"""How log events become lines."""

from __future__ import annotations

import json
from contextvars import copy_context
from pathlib import Path
from typing import Any

from twisted.logger import Logger, LogLevel, LogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import logging, requestid

NOON = 1_764_072_000.104


def event(**members: Any) -> dict[str, Any]:
    plain = {
        "log_time": NOON,
        "log_level": LogLevel.info,
        "log_namespace": "knight_tw.relay.answer",
        "log_format": "upstream answered {status}",
        "status": 200,
    }
    return {**plain, **members}


def within(request: str, line: Any, entry: dict[str, Any]) -> Any:
    """What `line` makes of `entry` in the context of a request."""

    def work() -> Any:
        requestid.current.set(request)
        return line(entry)

    return copy_context().run(work)


def failed() -> Failure:
    try:
        raise RuntimeError("broken")
    except RuntimeError:
        return Failure()


class Text(SynchronousTestCase):
    """Lines for people."""

    def test_a_line(self) -> None:
        """Time to the millisecond, level, module, message."""
        line = logging.as_text(event()) or ""
        self.assertRegex(line, r"^2025-11-25 \d\d:00:00\.104 info ")
        self.assertTrue(line.endswith("relay.answer: upstream answered 200\n"), line)

    def test_the_request_is_named(self) -> None:
        """The id of the request in whose context the event was made."""
        line = within("20251125R", logging.as_text, event())
        self.assertTrue(line.endswith("200 [20251125R]\n"), line)

    def test_further_lines_are_indented(self) -> None:
        """A message cannot look like an event of its own."""
        entry = event(log_format="{text}", text="one\n2025-11-25 12:00:00 forged")
        lines = (logging.as_text(entry) or "").splitlines()
        self.assertEqual(lines[1], "    2025-11-25 12:00:00 forged")

    def test_a_failure_brings_its_traceback(self) -> None:
        """After the message, in the same event."""
        line = logging.as_text(event(log_failure=failed())) or ""
        self.assertIn("upstream answered 200\n    Traceback", line)
        self.assertIn("RuntimeError: broken", line)

    def test_nothing_to_say(self) -> None:
        """An event without text makes no line."""
        self.assertIsNone(logging.as_text({"log_time": NOON}))

    def test_long_messages_are_cut(self) -> None:
        """One event cannot fill the disk."""
        line = logging.as_text(event(log_format="{x}", x="y" * 100_000)) or ""
        self.assertLess(len(line), 20_000)

    def test_a_broken_format_still_makes_a_line(self) -> None:
        """A mistake in a message loses neither the event nor the process."""
        line = logging.as_text(event(log_format="{missing.attribute}"))
        self.assertIn("Unable to format event", line or "")


class Json(SynchronousTestCase):
    """Lines for programs."""

    def test_a_line(self) -> None:
        """Fields stand beside the message; time is RFC 3339 in UTC."""
        line = logging.as_json(event(seconds=1.5, model="gpt", none=None)) or ""
        self.assertEqual(line[-1], "\n")
        self.assertEqual(
            json.loads(line),
            {
                "time": "2025-11-25T12:00:00.104+00:00",
                "level": "info",
                "system": "relay.answer",
                "message": "upstream answered 200",
                "status": 200,
                "seconds": 1.5,
                "model": "gpt",
                "none": None,
            },
        )

    def test_the_request_is_a_member(self) -> None:
        """`request_id` is there within a request and absent outside."""
        inside = json.loads(within("R1", logging.as_json, event()))
        self.assertEqual(inside["request_id"], "R1")
        self.assertNotIn("request_id", json.loads(logging.as_json(event()) or ""))

    def test_fields_do_not_replace_members(self) -> None:
        """A field named like one of ours is left out."""
        found = json.loads(logging.as_json(event(level="loud", time="never")) or "")
        self.assertEqual(found["level"], "info")
        self.assertNotEqual(found["time"], "never")

    def test_any_value_can_be_written(self) -> None:
        """What JSON does not know is written as text."""
        found = json.loads(logging.as_json(event(where=Path("/x"), raw=b"\xff")) or "")
        self.assertEqual((found["where"], found["raw"]), ("/x", "b'\\xff'"))

    def test_a_failure_is_a_member(self) -> None:
        """The traceback stands in `traceback`, the line stays one line."""
        line = logging.as_json(event(log_failure=failed())) or ""
        self.assertEqual(line.count("\n"), 1)
        self.assertIn("RuntimeError: broken", json.loads(line)["traceback"])


class Levels(SynchronousTestCase):
    """What is let through."""

    def test_debug_only_when_asked(self) -> None:
        """Debug events need `verbose`."""
        folder = self.mktemp()
        observer = logging.folder_observer(folder)
        log = Logger(observer=LogPublisher(observer))
        self.addCleanup(logging.verbose, False)
        log.debug("first")
        logging.verbose(True)
        log.debug("second")
        logging.verbose(False)
        log.debug("third")
        log.info("fourth")
        text = Path(folder, "knight.log").read_text()
        self.assertEqual(
            [line.split()[-1] for line in text.splitlines()],
            [
                "second",
                "fourth",
            ],
        )
