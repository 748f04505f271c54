"""Tests of the prefill groups."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.api.audit import Audit
from knight_tw.web.api.prefill import PrefillApi
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW, Gateway

PATH = "/api/prefill_group/"
GROUP = {
    "id": int,
    "name": str,
    "type": str,
    "items": list,
    "description": str,
    "created_time": int,
    "updated_time": int,
}


class RouteTests(SynchronousTestCase):
    """The four routes."""

    def setUp(self) -> None:
        """A gateway with the routes and an administrator."""
        self.gateway = Gateway()
        audit = Audit(self.gateway.notes.append, self.gateway.clock)
        self.gateway.extra.append(
            PrefillApi(
                self.gateway.db,
                self.gateway.guard,
                audit,
                self.gateway.clock.seconds,
            )
        )
        self.gateway.site = self.gateway._site()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.gateway.add_user("ann")
        self.adm = self.gateway.bearer("adm")
        self.gateway.notes.clear()

    def make(self, name: str, kind: str = "model", items: object = ("a", "b")) -> int:
        """A new group; its id."""
        body = {"name": name, "type": kind, "items": items, "description": "d"}
        return int(self.adm.post(PATH, body).data["id"])

    def test_create(self) -> None:
        """The group comes back as it is stored."""
        body = {"name": "set", "type": "model", "items": ["a", "b"]}
        data = self.adm.post(PATH, body).data
        self.assertEqual(misfit(data, GROUP), "")
        self.assertEqual(data["items"], ["a", "b"])
        self.assertEqual((data["created_time"], data["updated_time"]), (NOW, NOW))
        self.assertEqual(
            self.gateway.notes[0]["other"]["op"]["action"], "prefill_group.create"
        )

    def test_list(self) -> None:
        """A plain array, newest first, perhaps of one type."""
        self.make("one")
        self.make("two", "tag")
        self.make("three", "endpoint", '{"openai":{"path":"/v1"}}')
        data = self.adm.get(PATH).data
        self.assertEqual([row["name"] for row in data], ["three", "two", "one"])
        self.assertEqual(data[0]["items"], {"openai": {"path": "/v1"}})
        data = self.adm.get("/api/prefill_group?type=tag").data
        self.assertEqual([row["name"] for row in data], ["two"])

    def test_update(self) -> None:
        """Only what the body has changes."""
        number = self.make("one")
        self.gateway.clock.advance(5)
        data = self.adm.put(PATH, {"id": number, "description": "changed"}).data
        self.assertEqual(misfit(data, GROUP), "")
        self.assertEqual((data["description"], data["items"]), ("changed", ["a", "b"]))
        self.assertEqual((data["created_time"], data["updated_time"]), (NOW, NOW + 5))

    def test_delete(self) -> None:
        """A deleted group is gone, and its name free on SQLite."""
        number = self.make("one")
        self.assertIsNone(self.adm.delete(f"{PATH}{number}").data)
        self.assertEqual(self.adm.get(PATH).data, [])
        self.assertEqual(self.adm.delete(f"{PATH}{number}").code, "not_found")
        self.make("one")

    def test_wrong_input(self) -> None:
        """Each rule refuses what breaks it."""
        number = self.make("one")
        other = self.make("two")
        whole = {"name": "set", "type": "model", "items": []}
        for method, body, code in (
            ("POST", {}, "missing_field"),
            ("POST", {**whole, "name": " "}, "missing_field"),
            ("POST", {**whole, "type": ""}, "missing_field"),
            ("POST", {**whole, "name": "one"}, "already_exists"),
            ("POST", {**whole, "name": "x" * 65}, "invalid_field"),
            ("POST", {**whole, "items": "{broken"}, "invalid_field"),
            ("POST", {**whole, "items": 5}, "invalid_field"),
            ("POST", {**whole, "items": ["x" * 65_536]}, "invalid_field"),
            ("PUT", {"name": "x"}, "missing_field"),
            ("PUT", {"id": 999, "name": "x"}, "not_found"),
            ("PUT", {"id": other, "name": "one"}, "already_exists"),
            ("PUT", {"id": number, "name": ""}, "missing_field"),
        ):
            answer = self.adm.ask(method, PATH, body)
            self.assertEqual((answer.status, answer.code), (200, code), body)

    def test_roles(self) -> None:
        """Administrators only."""
        ann = self.gateway.bearer("ann")
        for method, path in (
            ("GET", PATH),
            ("POST", PATH),
            ("PUT", PATH),
            ("DELETE", f"{PATH}1"),
        ):
            self.assertEqual(ann.ask(method, path, {}).status, 403)
            self.assertEqual(self.gateway.ask(method, path, {}).status, 401)
