"""Tests of what administrators do with accounts."""

from __future__ import annotations

import json
from typing import ClassVar

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema, user_writes
from tests.web.api.shapes import LISTED_USER, PAGE, READ_USER, misfit
from tests.web.gateway import NOW, PASSWORD, Client, Gateway, now

USERS, MANAGE = "/api/user/", "/api/user/manage"


class Case(SynchronousTestCase):
    """Root (1), `adm` (2, administrator), `ann` (3), `bob` (4)."""

    def setUp(self) -> None:
        """Log in as root and as administrator."""
        self.gateway = Gateway()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.gateway.add_user("ann", email="ann@example.com", quota=7)
        self.gateway.add_user("bob", group="vip", quota=3)
        self.root = self.gateway.bearer("root")
        self.adm = self.gateway.bearer("adm")
        self.gateway.notes.clear()
        self.gateway.changes.clear()

    def names(self, client: Client, path: str) -> list[str]:
        """The user names on a page."""
        return [row["username"] for row in client.get(path).data["items"]]

    def refused(
        self, client: Client, method: str, path: str, body: object, code: str
    ) -> None:
        """The request is refused with that code, status 200, and nothing is written."""
        before = self.gateway.rows(sa.select(schema.users))
        answer = client.ask(method, path, body)
        self.assertEqual((answer.status, answer.code), (200, code), (path, body))
        self.assertEqual(self.gateway.rows(sa.select(schema.users)), before)
        self.assertEqual(self.gateway.notes, [])
        self.assertEqual(self.gateway.changes, [])


class ListTests(Case):
    """GET /api/user/ and /search."""

    def test_shape(self) -> None:
        """A page of users without secrets, deleted ones included."""
        now(self.gateway.db.run(user_writes.soft_delete, 4, NOW))
        data = self.adm.get(USERS).data
        self.assertEqual(misfit(data, PAGE), "")
        self.assertEqual(misfit(data["items"], [LISTED_USER]), "")
        self.assertEqual(data["items"][0]["DeletedAt"], "2026-11-25T10:58:52Z")
        self.assertIsNone(data["items"][1]["DeletedAt"])
        self.assertNotIn(b"$2a$", self.adm.get(USERS).body)

    def test_remark(self) -> None:
        """A remark is there only when it is not empty."""
        now(self.gateway.db.run(user_writes.update, 3, {"remark": "note"}))
        (row,) = self.adm.get("/api/user/search?keyword=ann").data["items"]
        self.assertEqual(row["remark"], "note")

    def test_paging(self) -> None:
        """Newest first; every spelling of page and size works."""
        for query, expected in (
            ("", ["bob", "ann", "adm", "root"]),
            ("?p=1&page_size=2", ["bob", "ann"]),
            ("?p=2&page_size=2", ["adm", "root"]),
            ("?p=2&ps=3", ["root"]),
            ("?p=2&size=3", ["root"]),
            ("?p=0&page_size=1", ["bob"]),
            ("?p=-5&page_size=1", ["bob"]),
            ("?p=nonsense&page_size=1", ["bob"]),
            ("?p=9&page_size=3", []),
        ):
            self.assertEqual(self.names(self.adm, USERS + query), expected, query)

    def test_bounds(self) -> None:
        """The size has bounds, the page number too."""
        for query, size in (("0", 10), ("-1", 10), ("1000", 100), ("x", 10)):
            data = self.adm.get(f"{USERS}?page_size={query}").data
            self.assertEqual((data["page_size"], data["total"]), (size, 4))
        self.assertEqual(self.adm.get(f"{USERS}?p=99999999999999").data["items"], [])

    def test_one_api(self) -> None:
        """In the manner of one-api pages count from 0 and are plain arrays."""
        header = {"X-Api-Compat": "one-api"}
        data = self.adm.get(f"{USERS}?p=0&size=3", **header).data
        self.assertEqual([row["username"] for row in data], ["bob", "ann", "adm"])
        self.gateway.set_option("compat.one_api_lists", "true")
        data = self.adm.get(f"{USERS}?p=1&size=3").data
        self.assertEqual([row["username"] for row in data], ["root"])

    def test_sort(self) -> None:
        """Known columns sort, unknown ones do not."""
        for query, first in (
            ("sort_by=quota&sort_order=asc", "adm"),
            ("sort_by=quota&sort_order=desc", "root"),
            ("sort_by=username&sort_order=asc", "adm"),
            ("sort_by=password", "bob"),
            ("order=quota", "root"),
        ):
            self.assertEqual(self.names(self.adm, f"{USERS}?{query}")[0], first, query)

    def test_search(self) -> None:
        """Keyword, group, role and status narrow the list."""
        now(self.gateway.db.run(user_writes.soft_delete, 4, NOW))
        for query, expected in (
            ("keyword=ANN", ["ann"]),
            ("keyword=example.com", ["ann"]),
            ("keyword=2", ["adm"]),
            ("keyword=99999999999999999999999", []),
            ("keyword=%25", []),
            ("keyword=_nn", []),
            ("keyword=", ["bob", "ann", "adm", "root"]),
            ("group=vip", ["bob"]),
            ("role=10", ["adm"]),
            ("role=1", ["bob", "ann"]),
            ("status=1", ["ann", "adm", "root"]),
            ("status=-1", ["bob"]),
            ("status=2", []),
            ("keyword=b&group=vip&role=1&status=-1", ["bob"]),
        ):
            found = self.names(self.adm, f"/api/user/search?{query}")
            self.assertEqual(found, expected, query)

    def test_slash(self) -> None:
        """The list is there without its slash too."""
        self.assertEqual(self.adm.get("/api/user").data["total"], 4)

    def test_roles(self) -> None:
        """Common users see nobody."""
        ann = self.gateway.bearer("ann")
        for method, path in (
            ("GET", USERS),
            ("GET", "/api/user/search"),
            ("GET", "/api/user/3"),
            ("POST", USERS),
            ("PUT", USERS),
            ("DELETE", "/api/user/4"),
            ("POST", MANAGE),
            ("POST", "/api/topup"),
        ):
            answer = ann.ask(method, path, {})
            self.assertEqual(
                (answer.status, answer.code), (403, "AUTH_INSUFFICIENT_PRIVILEGE")
            )
            self.assertEqual(self.gateway.ask(method, path, {}).status, 401)


class ReadTests(Case):
    """GET /api/user/:id."""

    def test_shape(self) -> None:
        """One user with permissions."""
        self.assertEqual(misfit(self.adm.get("/api/user/3").data, READ_USER), "")
        self.assertEqual(misfit(self.root.get("/api/user/2").data, READ_USER), "")

    def test_refused(self) -> None:
        """Own and higher roles, and nobody."""
        now(self.gateway.db.run(user_writes.soft_delete, 4, NOW))
        for path, code in (
            ("/api/user/1", "forbidden_target"),
            ("/api/user/2", "forbidden_target"),
            ("/api/user/4", "not_found"),
            ("/api/user/999999", "not_found"),
        ):
            self.refused(self.adm, "GET", path, None, code)
        self.assertEqual(self.adm.get("/api/user/abc").status, 404)
        self.assertEqual(self.root.get("/api/user/1").data["id"], 1)


class CreateTests(Case):
    """POST /api/user/."""

    BODY: ClassVar = {
        "username": "made",
        "password": PASSWORD,
        "display_name": "Made",
        "role": 1,
    }

    def test_makes(self) -> None:
        """The account exists, can log in, and the audit knows who made it."""
        answer = self.adm.post(USERS, self.BODY)
        self.assertEqual(answer.json, {"success": True, "message": ""})
        row = self.gateway.row(5)
        self.assertEqual((row["display_name"], row["created_at"]), ("Made", NOW))
        self.assertEqual((row["group"], len(row["aff_code"])), ("default", 4))
        setting = json.loads(row["setting"])
        self.assertEqual(set(setting), {"gotify_priority", "sidebar_modules"})
        (note,) = self.gateway.notes
        self.assertEqual((note["type"], note["user_id"]), (3, 2))
        self.assertEqual(
            note["other"],
            {
                "op": {
                    "action": "user.create",
                    "params": {"username": "made", "role": 1, "target_user_id": 5},
                },
                "admin_info": {
                    "admin_id": 2,
                    "admin_username": "adm",
                    "admin_role": 10,
                    "auth_method": "session",
                },
            },
        )
        self.assertEqual(note["ip"], "203.0.113.9")
        self.assertEqual(self.gateway.login("made").data["id"], 5)

    def test_defaults(self) -> None:
        """Without role and display name: a common user called by his user name."""
        self.gateway.set_option("QuotaForNewUser", "12")
        self.root.post(USERS, {"username": "plain", "password": PASSWORD})
        row = self.gateway.row(5)
        found = (row["role"], row["display_name"], row["quota"])
        self.assertEqual(found, (1, "plain", 12))

    def test_wrong_input(self) -> None:
        """Nothing is made for input that breaks a rule."""
        for change, code in (
            ({"username": "ann"}, "name_taken"),
            ({"username": ""}, "missing_field"),
            ({"username": "x" * 21}, "invalid_field"),
            ({"password": "short"}, "invalid_field"),
            ({"password": None}, "missing_field"),
            ({"password": "ü" * 40}, "invalid_field"),
            ({"display_name": "x" * 21}, "invalid_field"),
            ({"role": 10}, "forbidden_target"),
            ({"role": 100}, "invalid_field"),
            ({"role": -1}, "invalid_field"),
            ({"role": "x"}, "invalid_field"),
        ):
            self.refused(self.adm, "POST", USERS, {**self.BODY, **change}, code)

    def test_deleted_name(self) -> None:
        """The name of a deleted account stays taken."""
        now(self.gateway.db.run(user_writes.soft_delete, 4, NOW))
        body = {**self.BODY, "username": "bob"}
        self.refused(self.adm, "POST", USERS, body, "name_taken")

    def test_administrator(self) -> None:
        """Root makes administrators."""
        self.root.post(USERS, {**self.BODY, "role": "10"})
        self.assertEqual(self.gateway.row(5)["role"], 10)


class UpdateTests(Case):
    """PUT /api/user/."""

    def test_changes(self) -> None:
        """The members that the body has are written; an empty password is none."""
        hashed = self.gateway.row(3)["password"]
        body = {
            "id": 3,
            "username": "anne",
            "display_name": "Anne",
            "password": "",
            "group": "vip",
            "remark": "note",
            "quota": 4321,
            "unknown": 1,
        }
        answer = self.adm.put(USERS, body)
        self.assertEqual(answer.json, {"success": True, "message": ""})
        row = self.gateway.row(3)
        self.assertEqual(
            (row["username"], row["display_name"], row["group"], row["remark"]),
            ("anne", "Anne", "vip", "note"),
        )
        self.assertEqual((row["password"], row["quota"]), (hashed, 7))
        self.assertEqual(self.gateway.changes, [("user", "3")])
        params = self.gateway.notes[0]["other"]["op"]["params"]
        self.assertEqual(
            params["fields"], ["display_name", "group", "remark", "username"]
        )

    def test_partial(self) -> None:
        """What the body leaves out stays."""
        before = self.gateway.row(3)
        self.adm.put(USERS, {"id": "3", "remark": "x"})
        self.assertEqual(self.gateway.row(3), {**before, "remark": "x"})

    def test_sessions(self) -> None:
        """A new group or password ends the account's sessions; a remark does not."""
        for body, status in (
            ({"remark": "x"}, 200),
            ({"group": "vip"}, 401),
            ({"password": "example-pass-9"}, 401),
        ):
            password = PASSWORD
            ann = self.gateway.login("ann", password).data["access_token"]
            self.adm.put(USERS, {"id": 3, **body})
            headers = {"Authorization": f"Bearer {ann}"}
            answer = self.gateway.ask("GET", "/api/user/self", None, headers)
            self.assertEqual(answer.status, status, body)
        self.assertEqual(self.gateway.login("ann", "example-pass-9").data["id"], 3)

    def test_legacy_quota(self) -> None:
        """Older credentials set the balance; the difference is logged."""
        script = self.gateway.script(1)
        script.put(USERS, {"id": 3, "quota": 10})
        self.assertEqual(self.gateway.row(3)["quota"], 10)
        self.assertEqual(self.gateway.balances, [3])
        params = self.gateway.notes[0]["other"]["op"]["params"]
        self.assertEqual(params["quota_difference"], 3)
        script.put(USERS, {"id": 3, "quota": 10})
        self.assertEqual(self.gateway.balances, [3])

    def test_role(self) -> None:
        """Root changes roles."""
        self.root.put(USERS, {"id": 3, "role": 10})
        self.assertEqual(self.gateway.row(3)["role"], 10)

    def test_wrong_input(self) -> None:
        """Nothing is written for input that breaks a rule."""
        for body, code in (
            ({}, "missing_field"),
            ({"id": "x"}, "invalid_field"),
            ({"id": 999999}, "not_found"),
            ({"id": 1, "remark": "x"}, "forbidden_target"),
            ({"id": 2, "remark": "x"}, "forbidden_target"),
            ({"id": 3, "username": "bob"}, "name_taken"),
            ({"id": 3, "remark": "x" * 256}, "invalid_field"),
            ({"id": 3, "group": "x" * 65}, "invalid_field"),
            ({"id": 3, "role": 10}, "forbidden_target"),
            ({"id": 3, "role": 5}, "invalid_field"),
            ({"id": 3, "password": "short"}, "invalid_field"),
            ({"id": 3, "group": "vip", "username": "bob"}, "name_taken"),
        ):
            self.refused(self.adm, "PUT", USERS, body, code)
        script = self.gateway.script(2)
        self.gateway.changes.clear()
        for quota in (-1, "x", 10**16):
            body = {"id": 3, "quota": quota}
            self.refused(script, "PUT", USERS, body, "invalid_field")
        self.refused(self.root, "PUT", USERS, {"id": 1, "role": 1}, "forbidden_target")


class DeleteTests(Case):
    """DELETE /api/user/:id."""

    def test_hard(self) -> None:
        """The account goes with all that belongs to it."""
        self.gateway.bearer("ann")
        for table in (schema.tokens, schema.user_oauth_bindings):
            values = {"user_id": 3, "key": "k"} if table is schema.tokens else {}
            if not values:
                values = {"user_id": 3, "provider_id": 1, "provider_user_id": "x"}
            self.gateway.execute(sa.insert(table).values(values))
        answer = self.adm.delete("/api/user/3")
        self.assertEqual(answer.json, {"success": True, "message": ""})
        for table in (
            schema.tokens,
            schema.user_oauth_bindings,
            schema.user_sessions,
        ):
            mine = sa.select(table).where(table.c.user_id == 3)
            self.assertEqual(self.gateway.rows(mine), [])
        gone = sa.select(schema.users).where(schema.users.c.id == 3)
        self.assertEqual(self.gateway.rows(gone), [])
        self.assertEqual(self.gateway.changes, [("user", "3")])

    def test_refused(self) -> None:
        """Root, equals, deleted ones and nobody."""
        now(self.gateway.db.run(user_writes.soft_delete, 4, NOW))
        for client, path, code in (
            (self.adm, "/api/user/1", "forbidden_target"),
            (self.adm, "/api/user/2", "forbidden_target"),
            (self.adm, "/api/user/4", "not_found"),
            (self.adm, "/api/user/999999", "not_found"),
            (self.root, "/api/user/1", "forbidden_target"),
        ):
            self.refused(client, "DELETE", path, None, code)


class ManageTests(Case):
    """POST /api/user/manage."""

    def manage(self, client: Client, user_id: int, action: str, **more: object) -> None:
        """The action succeeds."""
        answer = client.post(MANAGE, {"id": user_id, "action": action, **more})
        self.assertTrue(answer.json["success"], answer.body)

    def test_shape(self) -> None:
        """The data is a user of which only role and status are filled."""
        answer = self.adm.post(MANAGE, {"id": 3, "action": "disable"})
        self.assertEqual(misfit(answer.data, LISTED_USER), "")
        filled = {name: value for name, value in answer.data.items() if value}
        self.assertEqual(filled, {"role": 1, "status": 2})

    def test_disable(self) -> None:
        """A disabled user is out at once, and in again when enabled."""
        ann = self.gateway.bearer("ann")
        self.manage(self.adm, 3, "disable")
        self.assertEqual(ann.get("/api/user/self").code, "AUTH_USER_DISABLED")
        self.assertEqual(self.gateway.changes, [("user", "3")])
        self.manage(self.adm, 3, "enable")
        self.assertEqual(ann.get("/api/user/self").code, "AUTH_SESSION_REVOKED")
        self.assertEqual(self.gateway.login("ann").data["id"], 3)

    def test_delete(self) -> None:
        """Soft: the row stays; the answer has no data."""
        answer = self.adm.post(MANAGE, {"id": 3, "action": "delete"})
        self.assertEqual(answer.json, {"success": True, "message": ""})
        self.assertIsNotNone(self.gateway.row(3)["deleted_at"])

    def test_roles(self) -> None:
        """Root promotes and demotes."""
        self.manage(self.root, 3, "promote")
        self.assertEqual(self.gateway.row(3)["role"], 10)
        self.manage(self.root, 3, "demote")
        self.assertEqual(self.gateway.row(3)["role"], 1)

    def test_by_name(self) -> None:
        """Older scripts name the user."""
        body = {"username": "ann", "action": "disable"}
        self.assertEqual(self.adm.post(MANAGE, body).data["status"], 2)

    def test_quota(self) -> None:
        """Each mode changes the balance as it says, and the ledger forgets it."""
        for mode, value, expected in (
            ("add", 500, 507),
            ("subtract", 100, 407),
            ("override", 77, 77),
            ("override", 0, 0),
            ("add", "5", 5),
        ):
            self.manage(self.adm, 3, "add_quota", mode=mode, value=value)
            self.assertEqual(self.gateway.row(3)["quota"], expected)
        self.assertEqual(self.gateway.balances, [3] * 5)
        op = self.gateway.notes[0]["other"]["op"]
        self.assertEqual(
            op,
            {
                "action": "user.add_quota",
                "params": {"mode": "add", "value": 500, "target_user_id": 3},
            },
        )

    def test_wrong_input(self) -> None:
        """Nothing is written for input that breaks a rule."""
        add = {"id": 3, "action": "add_quota", "mode": "add"}
        for body, code in (
            ({}, "missing_field"),
            ({"id": 3, "action": "nonsense"}, "invalid_field"),
            ({"action": "disable"}, "missing_field"),
            ({"id": 999999, "action": "disable"}, "not_found"),
            ({"username": "nobody", "action": "disable"}, "not_found"),
            ({**add, "value": 0}, "invalid_field"),
            ({**add, "value": -1}, "invalid_field"),
            ({**add, "value": 10**16}, "invalid_field"),
            ({**add, "mode": "subtract", "value": 0}, "invalid_field"),
            ({**add, "mode": "override", "value": -1}, "invalid_field"),
            ({**add, "mode": "nonsense", "value": 1}, "invalid_field"),
            ({"id": 3, "action": "promote"}, "forbidden_target"),
            ({"id": 3, "action": "demote"}, "already_exists"),
            ({"id": 1, "action": "disable"}, "forbidden_target"),
            ({"id": 2, "action": "disable"}, "forbidden_target"),
        ):
            self.refused(self.adm, "POST", MANAGE, body, code)
        for action in ("disable", "delete", "demote", "promote"):
            body = {"id": 1, "action": action}
            self.refused(self.root, "POST", MANAGE, body, "forbidden_target")
        self.refused(
            self.root, "POST", MANAGE, {"id": 2, "action": "promote"}, "already_exists"
        )


class TopUpTests(Case):
    """POST /api/topup, in the form of one-api."""

    def test_adds(self) -> None:
        """The balance rises; the account gets a log row of type 1."""
        body = {"user_id": 3, "quota": 50, "remark": "thanks"}
        self.assertTrue(self.adm.post("/api/topup", body).json["success"])
        self.assertEqual(self.gateway.row(3)["quota"], 57)
        self.assertEqual(self.gateway.balances, [3])
        theirs, audit = self.gateway.notes
        self.assertEqual(
            (theirs["type"], theirs["user_id"], theirs["content"], theirs["quota"]),
            (1, 3, "thanks", 50),
        )
        self.assertEqual((audit["type"], audit["user_id"]), (3, 2))

    def test_wrong_input(self) -> None:
        """Missing fields and forbidden targets."""
        for body, code in (
            ({"quota": 5}, "missing_field"),
            ({"user_id": 3}, "missing_field"),
            ({"user_id": 3, "quota": "many"}, "invalid_field"),
            ({"user_id": 1, "quota": 5}, "forbidden_target"),
            ({"user_id": 999999, "quota": 5}, "not_found"),
        ):
            self.refused(self.adm, "POST", "/api/topup", body, code)
