"""The description of the management API, and whether the API is as described.

Schemathesis makes requests from the description, good and bad ones; they go to the
whole gateway in memory, and every answer must have a status, a content type and a
shape that the description names.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import requests
import schemathesis
from attrs import define
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.core.failures import FailureGroup
from schemathesis.core.transport import Response
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.auth import Who
from scripts import manual
from tests.web.gateway import Answer, Client, now
from tests.web.whole import Whole


def no_crash(_context: Any, response: Response, _case: Any) -> None:
    """No route crashes; 502 and 503 are what others are to blame for."""
    if response.status_code == 500:
        raise AssertionError("internal error")


CHECKS = [
    no_crash,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 2
"""Requests of each kind to each route."""

LEFT_OUT = {
    # They end the session that asks, or wait for other machines.
    ("post", "/api/user/auth/logout"),
    ("get", "/api/user/logout"),
}


class DescriptionCase(SynchronousTestCase):
    """The whole gateway and its description."""

    maxDiff = None

    def setUp(self) -> None:
        """A gateway that is set up."""
        self.gateway = Whole(folder=Path(self.mktemp()))
        self.gateway.set_up()
        self.gateway.add_user("ann")
        answer = self.gateway.ask("GET", "/api/openapi.json")
        self.document: dict[str, Any] = answer.json


class DocumentTests(DescriptionCase):
    """`GET /api/openapi.json`."""

    def test_complete(self) -> None:
        """Every route is in it, itself included, with a summary."""
        described = {
            (method.upper(), path)
            for path, methods in self.document["paths"].items()
            for method in methods
        }
        routes = {(entry.method, entry.path) for entry in self.gateway.entries()}
        self.assertEqual(described, routes)
        self.assertIn(("GET", "/api/openapi.json"), described)
        for path, methods in self.document["paths"].items():
            for method, operation in methods.items():
                self.assertTrue(operation["summary"], (method, path))

    def test_names(self) -> None:
        """No two operations have one name."""
        names = [
            operation["operationId"]
            for methods in self.document["paths"].values()
            for operation in methods.values()
        ]
        self.assertEqual(len(names), len(set(names)))

    def test_login(self) -> None:
        """An example whole: what a login reads, and that nobody need be somebody."""
        login = self.document["paths"]["/api/user/login"]["post"]
        schema = login["requestBody"]["content"]["application/json"]["schema"]
        self.assertEqual(set(schema["required"]), {"username", "password"})
        self.assertEqual(schema["properties"]["password"], {"type": "string"})
        self.assertEqual([one["name"] for one in login["parameters"]], ["turnstile"])
        self.assertIn({}, login["security"])
        self.assertEqual(login["x-who"], "anyone")

    def body(self, method: str, path: str) -> dict[str, Any]:
        """The schema of a route's body."""
        content = self.document["paths"][path][method]["requestBody"]["content"]
        found: dict[str, Any] = content["application/json"]["schema"]
        return found

    def test_bounds(self) -> None:
        """Bounds of members are those of the code, and lists are lists."""
        found = self.body("post", "/api/topup")["properties"]
        self.assertEqual(found["quota"], {"type": "integer", "maximum": 10**15})
        self.assertEqual(found["remark"]["maxLength"], 200)
        ids = self.body("post", "/api/token/batch")["properties"]["ids"]
        self.assertEqual(ids, {"type": "array", "items": {"type": "integer"}})

    def test_required(self) -> None:
        """Only what every request needs is required."""
        user = self.body("put", "/api/user/")
        self.assertEqual(user["required"], ["id"])
        self.assertIn("password", user["properties"])
        self.assertNotIn("required", self.body("post", "/api/token/"))

    def test_tables(self) -> None:
        """Members that are read by loops over tables are found, too."""
        channel = self.body("post", "/api/channel/")["properties"]
        self.assertLessEqual({"name", "models", "base_url", "priority"}, set(channel))
        token = self.body("post", "/api/token/")["properties"]
        self.assertEqual(token["unlimited_quota"], {"type": "boolean"})

    def test_data(self) -> None:
        """Where a route declares what it gives, its type is described."""
        path = self.document["paths"]["/api/user/2fa/setup"]["post"]
        good = path["responses"]["200"]["content"]["application/json"]["schema"]
        data = good["oneOf"][0]["allOf"][1]["properties"]["data"]
        self.assertEqual(data, {"$ref": "#/components/schemas/NewFactor"})
        shape = self.document["components"]["schemas"]["NewFactor"]
        self.assertEqual(
            set(shape["required"]), {"secret", "qr_code_data", "backup_codes"}
        )

    def test_list(self) -> None:
        """A list has its paging, its filters and its credentials."""
        found = self.document["paths"]["/api/user/search"]["get"]
        names = {one["name"] for one in found["parameters"]}
        self.assertLessEqual({"p", "page_size", "keyword", "group", "role"}, names)
        self.assertNotIn({}, found["security"])
        self.assertEqual(found["x-who"], Who.ADMIN.label)

    def test_path(self) -> None:
        """Variable parts of a path are described by their kind."""
        found = self.document["paths"]["/api/user/{user_id}/2fa"]["delete"]
        (part,) = found["parameters"]
        self.assertEqual((part["in"], part["schema"]["type"]), ("path", "integer"))

    def test_public(self) -> None:
        """Whoever asks gets it, and gets the same."""
        again = self.gateway.bearer("ann").get("/api/openapi.json")
        self.assertEqual(again.json, self.document)
        self.assertEqual(again.get("Cache-Control"), "no-store")

    def test_fields_are_current(self) -> None:
        """`make manual` has been run since routes began to read something else."""
        self.assertFalse(manual.fields_stale(), "run make manual")


@define
class _Requests:
    """Sends what Schemathesis made, and checks the answer."""

    gateway: Whole
    client: Client
    wrong: list[str]

    def send(self, case: Any) -> None:
        """One request, and what is wrong about its answer."""
        asked = requests.Request(
            **{
                name: value
                for name, value in case.as_transport_kwargs(
                    base_url="http://gateway.example"
                ).items()
                if name in ("method", "url", "headers", "params", "json", "data")
            }
        ).prepare()
        answer = self._answer(asked)
        if answer is None:
            return
        headers: dict[str, list[str]] = {}
        for name, value in answer.headers:
            headers.setdefault(name, []).append(value)
        response = Response(answer.status, headers, answer.body, asked, 0.0, False)
        try:
            case.validate_response(response, checks=CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                what = str(failure).splitlines()[0]
                self.wrong.append(
                    f"{asked.method} {asked.url} {asked.body!r}: {what}"
                    f" {answer.status} {answer.body[:200]!r}"
                )

    def _answer(self, asked: requests.PreparedRequest) -> Answer | None:
        """The answer; None for a stream, or one that waits for other machines."""
        body = asked.body or None
        raw = body.encode() if isinstance(body, str) else body
        try:
            return self.gateway.ask(
                asked.method or "", asked.path_url, raw, self.client.headers
            )
        except AssertionError as error:
            if str(error) == "no answer":
                return None
            raise


class ConformanceTests(DescriptionCase):
    """Requests made from the description."""

    def setUp(self) -> None:
        """Root asks."""
        super().setUp()
        client = self.gateway.bearer("root")
        self.requests = _Requests(self.gateway, client, [])
        found = schemathesis.openapi.from_dict(self.document)
        self.operations = [one.ok() for one in found.get_all_operations()]

    def try_all(self, mode: GenerationMode) -> None:
        """A few requests of one mode to every operation; nothing is left of them."""
        image = self.gateway.image()
        for operation in self.operations:
            if (operation.method, operation.path) in LEFT_OUT:
                continue
            self.try_one(operation, mode)
            if operation.method != "get":
                self.gateway.restore(image)
                now(self.gateway.parts.snapshots.reload())
        self.assertEqual("\n".join(self.requests.wrong), "")

    def try_one(self, operation: Any, mode: GenerationMode) -> None:
        """A few requests to one operation."""

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(operation.as_strategy(generation_mode=mode))
        def attempt(case: Any) -> None:
            self.requests.send(case)

        # Some operations have nothing that could be wrong.
        with contextlib.suppress(Unsatisfiable):
            attempt()

    def test_good(self) -> None:
        """Requests as described."""
        self.try_all(GenerationMode.POSITIVE)

    def test_bad(self) -> None:
        """Requests that break the description."""
        self.try_all(GenerationMode.NEGATIVE)
