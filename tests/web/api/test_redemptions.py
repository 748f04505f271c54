"""Tests of the redemption routes."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage.schema import redemptions as codes
from tests.web.api.door import Door
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW, Answer

PATH = "/api/redemption/"
CODE = {
    "id": int,
    "user_id": int,
    "key": str,
    "status": int,
    "name": str,
    "quota": int,
    "created_time": int,
    "redeemed_time": int,
    "count": int,
    "used_user_id": int,
    "DeletedAt": type(None),
    "expired_time": int,
}
PAGE = {"page": int, "page_size": int, "total": int, "items": [CODE]}
BODY = {"name": "gift", "count": 3, "quota": 5000, "expired_time": 0}


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """A gateway with an administrator and ann."""
        self.door = Door()
        self.door.set_up()
        self.adm_id = self.door.add_user("adm", 10)
        self.ann_id = self.door.add_user("ann", quota=10)
        self.adm, self.ann = self.door.bearer("adm"), self.door.bearer("ann")
        self.door.notes.clear()

    def make(self, **body: Any) -> Answer:
        """The answer to a form."""
        return self.adm.post(PATH, {**BODY, **body})

    def ids(self) -> list[int]:
        """The ids of all codes."""
        return [row["id"] for row in self.door.rows(sa.select(codes.c.id))]


class PageTests(_Case):
    """The administrator's routes."""

    def test_create(self) -> None:
        """The keys come back, different and of 32 hex digits."""
        keys = self.make().data
        self.assertEqual(len(set(keys)), 3)
        for key in keys:
            self.assertRegex(key, "^[0-9a-f]{32}$")
        (note,) = self.door.notes
        self.assertEqual(note["other"]["op"]["action"], "redemption.create")
        self.assertNotIn(keys[0], repr(note))

    def test_fields(self) -> None:
        """Each field has its limits."""
        for change in (
            {"count": 0},
            {"count": 101},
            {"count": "x"},
            {"name": ""},
            {"name": "n" * 21},
            {"name": None},
            {"quota": 0},
            {"quota": -5},
            {"quota": 10**16},
            {"quota": 1.5},
            {"expired_time": NOW - 1},
            {"expired_time": -1},
            {"expired_time": (NOW + 5) * 1000},
        ):
            answer = self.make(**change)
            self.assertIn(answer.code, ("invalid_field", "missing_field"), change)
            self.assertEqual(answer.json["params"]["field"], next(iter(change)))
        self.assertEqual(self.ids(), [])

    def test_list(self) -> None:
        """A page in the shape that tools know, newest first."""
        self.make()
        data = self.adm.get(f"{PATH}?p=1&page_size=2").data
        self.assertEqual(misfit(data, PAGE), "")
        self.assertEqual((data["total"], len(data["items"])), (3, 2))
        first = data["items"][0]
        self.assertEqual(
            (first["id"], first["user_id"], first["created_time"]),
            (max(self.ids()), self.adm_id, NOW),
        )

    def test_search(self) -> None:
        """By name and by status."""
        self.make(name="other", count=1)
        self.make()
        found = self.adm.get(f"{PATH}search?keyword=gif&p=1&page_size=2").data
        self.assertEqual(misfit(found, PAGE), "")
        self.assertEqual(found["total"], 3)
        self.assertEqual(self.adm.get(f"{PATH}search?status=3").data["total"], 0)
        self.assertEqual(self.adm.get(f"{PATH}search?status=expired").data["items"], [])

    def test_one(self) -> None:
        """One code, or none."""
        self.make(count=1)
        (number,) = self.ids()
        self.assertEqual(misfit(self.adm.get(f"{PATH}{number}").data, CODE), "")
        self.assertEqual(self.adm.get(f"{PATH}999999").code, "not_found")

    def test_update(self) -> None:
        """Name, quota and expiry change; the code comes back."""
        self.make(count=1)
        (number,) = self.ids()
        body = {"id": number, "name": "renamed", "quota": 6000, "expired_time": NOW + 9}
        data = self.adm.put(PATH, body).data
        self.assertEqual(misfit(data, CODE), "")
        self.assertEqual(data, self.adm.get(f"{PATH}{number}").data)
        self.assertEqual(
            (data["name"], data["quota"], data["expired_time"]),
            ("renamed", 6000, NOW + 9),
        )
        self.assertEqual(self.adm.put(PATH, {**body, "id": 99}).code, "not_found")

    def test_status(self) -> None:
        """With `status_only` nothing else changes."""
        self.make(count=1)
        (number,) = self.ids()
        body = {"id": number, "status": 2, "name": "x"}
        data = self.adm.put(f"{PATH}?status_only=true", body).data
        self.assertEqual((data["status"], data["name"]), (2, "gift"))
        for status in (0, 3, 4, "x"):
            answer = self.adm.put(
                f"{PATH}?status_only=1", {"id": number, "status": status}
            )
            self.assertEqual(answer.code, "invalid_field")

    def test_used_code_stays_used(self) -> None:
        """A used code cannot be switched on again."""
        (key,) = self.make(count=1).data
        (number,) = self.ids()
        self.ann.post("/api/user/topup", {"key": key})
        answer = self.adm.put(f"{PATH}?status_only=1", {"id": number, "status": 1})
        self.assertEqual(answer.code, "code_used")

    def test_delete(self) -> None:
        """A code is deleted once."""
        self.make(count=1)
        (number,) = self.ids()
        answer = self.adm.delete(f"{PATH}{number}")
        self.assertEqual(answer.json, {"success": True, "message": ""})
        self.assertEqual(self.adm.delete(f"{PATH}{number}").code, "not_found")

    def test_delete_invalid(self) -> None:
        """The data is how many went."""
        keys = self.make().data
        self.ann.post("/api/user/topup", {"key": keys[0]})
        self.adm.put(f"{PATH}?status_only=1", {"id": self.ids()[1], "status": 2})
        self.assertEqual(self.adm.delete(f"{PATH}invalid").data, 2)
        self.assertEqual(self.adm.get(PATH).data["total"], 1)

    def test_users_may_not(self) -> None:
        """The pages are for administrators."""
        for method, path in (
            ("GET", PATH),
            ("GET", f"{PATH}search"),
            ("GET", f"{PATH}1"),
            ("POST", PATH),
            ("PUT", PATH),
            ("DELETE", f"{PATH}1"),
            ("DELETE", f"{PATH}invalid"),
        ):
            answer = self.ann.ask(method, path)
            self.assertEqual(
                (answer.status, answer.code), (403, "AUTH_INSUFFICIENT_PRIVILEGE")
            )


class RedeemTests(_Case):
    """`POST /api/user/topup`."""

    def setUp(self) -> None:
        """A code worth 5000."""
        super().setUp()
        (self.key,) = self.make(count=1).data
        self.door.notes.clear()

    def redeem(self, key: Any) -> Answer:
        """The answer to ann's form."""
        return self.ann.post("/api/user/topup", {"key": key})

    def test_good_code(self) -> None:
        """The data is the quota, the balance is higher, caches are told."""
        self.assertEqual(
            self.redeem(f" {self.key} ").json,
            {"success": True, "message": "", "data": 5000},
        )
        self.assertEqual(self.door.row(self.ann_id)["quota"], 5010)
        self.assertEqual(self.door.balances, [self.ann_id])
        self.assertIn(("user", str(self.ann_id)), self.door.changes)

    def test_logged(self) -> None:
        """The log has a row of type 1 without the key."""
        self.redeem(self.key)
        (note,) = self.door.notes
        self.assertEqual(
            (note["type"], note["user_id"], note["quota"]), (1, self.ann_id, 5000)
        )
        self.assertNotIn(self.key, repr(note))

    def test_all_bad_codes_look_alike(self) -> None:
        """Used, unknown and disabled codes get the same answer."""
        self.redeem(self.key)
        (other,) = self.make(count=1).data
        self.adm.put(f"{PATH}?status_only=1", {"id": max(self.ids()), "status": 2})
        answers = [self.redeem(key) for key in (self.key, "0" * 32, other)]
        self.assertEqual({answer.body for answer in answers}, {answers[0].body})
        self.assertEqual(answers[0].code, "code_used")
        self.assertEqual(self.door.row(self.ann_id)["quota"], 5010)

    def test_one_at_a_time(self) -> None:
        """While one code is redeemed a second submit is refused."""
        surface = self.door.redemptions
        surface._busy.add(self.ann_id)
        self.assertEqual(self.redeem(self.key).code, "locked")
        surface._busy.clear()
        self.assertTrue(self.redeem(self.key).json["success"])
        self.assertEqual(surface._busy, set())

    def test_fields(self) -> None:
        """A key is text."""
        self.assertEqual(self.ann.post("/api/user/topup", {}).code, "missing_field")
        for key in (5, ["x"], "x" * 200, "a\0b"):
            self.assertEqual(self.redeem(key).code, "invalid_field")

    def test_guests(self) -> None:
        """Nobody redeems for nobody."""
        answer = self.door.ask("POST", "/api/user/topup", {"key": self.key})
        self.assertEqual(answer.status, 401)
