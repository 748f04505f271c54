"""Whatever a body holds, no route crashes, and what is malformed changes nothing.

The members come from the description of the API, so the tests know those of routes
that are new.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web import openapi
from knight_tw.web.route_table import Entry, Part
from tests.web.gateway import Answer, Client, now
from tests.web.test_access import sample
from tests.web.whole import Whole

MALFORMED = (
    b"null",
    b"[]",
    b'"x"',
    b"7",
    b"true",
    b'{"a":',
    b'{"a":1,}',
    b"\xff\xfe\x00",
    b'{"a":"\xff"}',
    b"{}{}",
    b"[" * 100_000,
    b"",
)
"""Bodies that are no JSON object."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    [],
    [None],
    {"a": {"b": []}},
    2**63,
    -(10**30),
    0.5,
    "\0",
    "\ud800",
    "x" * 70_000,
    "[" * 5_000,
)
"""What a member may hold instead of what is expected."""

ARGUMENTS = (
    "",
    "-1",
    "9" * 18,
    "9" * 40,
    "0.5",
    "%00",
    "%ff",
    "x" * 3_000,
    "[[[[",
    "'%20OR%201=1",
)
"""What an argument may hold, escaped."""

WORST = ("9" * 40, "%ff%00", "-1")
"""What every argument is given alone too."""

PLAIN = ("webhook", "notify")
"""Parts of the paths of routes that answer in plain text."""

OWN_SHAPE = ("pay", "amount", "waffo-pancake")
"""Parts of the paths of routes that refuse in a shape of their own."""


class BodyCase(SynchronousTestCase):
    """The whole gateway; root asks by access token."""

    maxDiff = None

    def setUp(self) -> None:
        """Every route with a body."""
        self.gateway = Whole(folder=Path(self.mktemp()))
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.client = self.gateway.script(1)
        self.fields = openapi.fields()
        self.image = self.gateway.image()

    def routes(self) -> Iterator[tuple[Entry, dict[str, Any]]]:
        """The routes that read a body, with what they read."""
        for entry in self.gateway.entries():
            read = self.fields.get(f"{entry.method} {entry.path}", {})
            if read.get("has_body") and entry.method != "GET":
                yield entry, read

    def ask(self, entry: Entry, body: bytes) -> Answer | None:
        """The answer; None when the route waits for other machines."""
        client: Client = self.client
        try:
            return client.ask(entry.method, entry.at(sample), body)
        except AssertionError as error:
            if str(error) == "no answer":
                return None
            raise

    def restored(self) -> bool:
        """Undo what a request wrote; False when it wrote nothing."""
        if self.gateway.image() == self.image:
            return False
        self.gateway.restore(self.image)
        now(self.gateway.parts.snapshots.reload())
        return True


def misshapen(entry: Entry, answer: Answer) -> str:
    """What is wrong about an answer, whatever it says; empty when nothing is."""
    if answer.status == 500:
        return "internal error"
    if answer.get("Cache-Control") != "no-store":
        return "may be cached"
    if b"Traceback" in answer.body or b'File "' in answer.body:
        return "tells of our source"
    if any(part in entry.rule.split("/") for part in PLAIN):
        return ""
    found = answer.json
    if any(part in entry.rule.split("/") for part in OWN_SHAPE):
        return "" if isinstance(found, dict) else "no object"
    if found.get("success") is True:
        return ""
    if found.get("success") is not False:
        return "no envelope"
    if not isinstance(found.get("params"), dict) or not found.get("message"):
        return "no params or message"
    if found["code"] in ("missing_field", "invalid_field") and not found["params"]:
        return "a field is wrong, and nobody says which"
    return ""


class MalformedTests(BodyCase):
    """Bodies that are no JSON objects."""

    def test_all(self) -> None:
        """Refused in the envelope, and nothing is written."""
        wrong = []
        for entry, read in self.routes():
            for body in MALFORMED:
                answer = self.ask(entry, body)
                optional = read.get("optional_body") and not body
                if answer is None:
                    if not optional:
                        wrong.append((entry.method, entry.rule, body[:20], "waits"))
                    continue
                fault = misshapen(entry, answer)
                if self.restored():
                    fault = fault or "wrote something"
                plain = any(part in entry.rule for part in (*PLAIN, *OWN_SHAPE))
                if not (fault or plain or optional) and answer.json["success"]:
                    fault = "took it"
                if fault:
                    told = (answer.status, answer.body[:160])
                    wrong.append((entry.method, entry.rule, body[:20], fault, told))
        self.assertEqual("\n".join(map(str, wrong)), "")


class MemberTests(BodyCase):
    """Members of the wrong kind."""

    def test_all(self) -> None:
        """Refused or taken, but never a crash, and a refusal names the field."""
        wrong = []
        for entry, read in self.routes():
            names = list(read.get("body", {})) or ["id"]
            for name in names:
                for value in VALUES:
                    body = {each: _usual(read, each) for each in names}
                    body[name] = value
                    raw = json.dumps(body).encode("utf-8", "surrogatepass")
                    answer = self.ask(entry, raw)
                    self.restored()
                    fault = "" if answer is None else misshapen(entry, answer)
                    if fault and answer is not None:
                        told = (answer.status, answer.body[:160])
                        shown = str(value)[:20]
                        case = (entry.method, entry.rule, name, shown, fault, told)
                        wrong.append(case)
        self.assertEqual("\n".join(map(str, wrong)), "")
        self.flushLoggedErrors()


class ArgumentTests(BodyCase):
    """Query arguments and variable parts of any content."""

    def test_arguments(self) -> None:
        """Read, refused or taken as absent, but never a crash."""
        wrong = []
        for entry in self.gateway.entries():
            read = self.fields.get(f"{entry.method} {entry.path}", {})
            names = [*read.get("query", {}), *(("p", "page_size") if read else ())]
            alone = [f"{name}={value}" for name in names for value in WORST]
            together = ["&".join(f"{n}={value}" for n in names) for value in ARGUMENTS]
            for asked in (*alone, *(together if names else ())):
                answer = self.client_ask(entry, f"?{asked}")
                if answer is not None and answer.status == 500:
                    wrong.append((entry.method, entry.rule, asked[:60]))
            if names and entry.method != "GET":
                self.restored()
        self.assertEqual("\n".join(map(str, wrong)), "")

    def test_parts(self) -> None:
        """So are the variable parts of paths."""
        wrong = []
        for entry in self.gateway.entries():
            for value in ARGUMENTS if entry.parts else ():
                answer = self.client_ask(entry, "", entry.at(always(value)))
                if answer is not None and answer.status == 500:
                    wrong.append((entry.method, entry.rule, value[:20]))
            if entry.parts and entry.method != "GET":
                self.restored()
        self.assertEqual("\n".join(map(str, wrong)), "")

    def client_ask(self, entry: Entry, query: str, path: str = "") -> Answer | None:
        """The answer to a request without a body."""
        body = None if entry.method == "GET" else {}
        target = f"{path or entry.at(sample)}{query}"
        try:
            return self.client.ask(entry.method, target, body)
        except AssertionError as error:
            if str(error) == "no answer":
                return None
            raise


def always(value: str) -> Callable[[Part], str]:
    """The same for each variable part."""
    return lambda _: value


def _usual(read: dict[str, Any], name: str) -> Any:
    """A value of the kind that a member should have."""
    kind = read["body"].get(name, {}).get("type") if read.get("body") else None
    usual = {"integer": 1, "boolean": False, "array": [1], "string": "name-1"}
    return usual.get(str(kind), "x")
