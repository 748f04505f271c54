"""Many channels at once over the real site: types, health, changes, files."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import schema
from tests.web.api.test_channels import Case
from tests.web.gateway import NOW, PASSWORD


class TypeTests(Case):
    """What the console's forms are made of."""

    def test_types(self) -> None:
        """Every type has the same members."""
        types = self.adm.get("/api/channel/types").data
        found = {one["type"]: one for one in types}
        self.assertEqual(found[1]["base_url"], "https://api.openai.com")
        self.assertIn("gpt-4o", found[1]["models"])
        self.assertIs(found[1]["fetchable"], True)
        self.assertIs(found[36]["testable"], False)
        self.assertEqual(found[51]["key_hint"], "AccessKey|SecretKey")
        field = {"name": "other", "kind": "text", "required": True}
        self.assertIn(field, found[49]["fields"])
        self.assertEqual(len({frozenset(one) for one in types}), 1)

    def test_addresses(self) -> None:
        """Types without an address are left out."""
        data = self.adm.get("/api/channel/default_base_urls").data
        self.assertEqual(data["14"], "https://api.anthropic.com")
        self.assertNotIn("3", data)


class HealthTests(Case):
    """`/api/channel/health`."""

    def test_minutes(self) -> None:
        """Sums of the last quarter of an hour, and calls by minute."""
        now = NOW // 60 * 60
        table = schema.knight_channel_minutes
        for minute, count in ((now, 4), (now - 60 * 14, 2), (now - 60 * 15, 9)):
            row = {"channel_id": 1, "minute": minute, "count": count, "errors": 1}
            values = {**row, "lat_2": count}
            self.gateway.execute(sa.insert(table).values(**values))
        data = self.adm.get("/api/channel/health?ids=1,2").data
        self.assertEqual((data["1"]["requests"], data["1"]["errors"]), (6, 2))
        self.assertEqual(data["1"]["minutes"], [2] + [0] * 13 + [4])
        self.assertEqual(data["1"]["latency_p50"], 0.375)
        self.assertEqual(data["2"]["requests"], 0)
        self.assertIsNone(data["2"]["latency_p95"])

    def test_wrong_ids(self) -> None:
        """Ids are whole numbers, some and not too many."""
        many = ",".join(map(str, range(201)))
        for ids in ("", "x", many):
            answer = self.adm.get(f"/api/channel/health?ids={ids}")
            self.assertIn(answer.code, ("missing_field", "invalid_field"))


class ChangeTests(Case):
    """`/api/channel/bulk` and `/undo`."""

    def setUp(self) -> None:
        """Three channels."""
        super().setUp()
        self.gateway.add_channel(name="a", group="default", models="m-1")
        self.gateway.add_channel(name="b", group="vip", models="m-1,m-2", status=2)
        self.gateway.add_channel(name="c", tag="green", priority=1)
        self.gateway.changes.clear()

    def bulk(self, client: Any = None, **body: Any) -> Any:
        """The answer to a change."""
        return (client or self.root).post("/api/channel/bulk", body)

    def column(self, name: str) -> list[Any]:
        """A column of all channels."""
        return [self.gateway.channel(number)[name] for number in (1, 2, 3)]

    def test_disable(self) -> None:
        """Only what changes counts; abilities follow."""
        data = self.bulk(self.adm, ids=[1, 2], op="disable").data
        self.assertEqual((data["matched"], data["changed"]), (2, 1))
        self.assertEqual(self.column("status"), [2, 2, 1])
        self.assertEqual(self.gateway.changes, [("channel", "")])

    def test_by_filter(self) -> None:
        """The filter is that of the list."""
        data = self.bulk(filter={"status": "enabled"}, op="disable").data
        self.assertEqual(data["changed"], 2)
        data = self.bulk(filter={"tag": "green"}, op="enable").data
        self.assertEqual(data["changed"], 1)

    def test_lists(self) -> None:
        """Entries are added to and removed from lists."""
        self.bulk(ids=[1, 2], op="add", field="group", value="vip")
        self.assertEqual(self.column("group"), ["default,vip", "vip", "default"])
        self.bulk(ids=[1, 2], op="remove", field="models", value="m-1")
        self.assertEqual(self.column("models")[:2], ["", "m-2"])
        self.bulk(ids=[2], op="remove", field="group", value="vip")
        self.assertEqual(self.column("group")[1], "default")

    def test_set(self) -> None:
        """Other columns are set, the proxy within its JSON."""
        self.bulk(ids=[1, 3], op="set", field="priority", value="7")
        self.assertEqual(self.column("priority"), [7, 5, 7])
        self.bulk(ids=[1], op="set", field="proxy", value="http://proxy:1")
        self.assertEqual(
            json.loads(self.column("setting")[0]), {"proxy": "http://proxy:1"}
        )
        self.bulk(ids=[1], op="set", field="proxy", value="")
        self.assertEqual(self.column("setting")[0], "")

    def test_proxies_of_administrators(self) -> None:
        """The guard is asked, and watches."""
        self.gateway.refused_addresses.add("http://inner:1")
        change = {"ids": [1], "op": "set", "field": "proxy"}
        self.assertEqual(
            self.bulk(self.adm, **change, value="http://inner:1").code,
            "address_refused",
        )
        self.bulk(self.adm, **change, value="http://proxy:1")
        self.assertIn("guarded_address", self.column("settings")[0])

    def test_dry_run(self) -> None:
        """A dry run only counts."""
        data = self.bulk(ids=[1, 2, 3], op="disable", dry_run=True).data
        self.assertEqual(data, {"matched": 3, "changed": 2, "errors": {}})
        data = self.bulk(ids=[1], op="delete", dry_run=True).data
        self.assertEqual(data["changed"], 1)
        self.assertEqual(self.column("status"), [1, 2, 1])

    def test_undo(self) -> None:
        """What was there comes back, once."""
        data = self.bulk(ids=[1, 2, 3], op="set", field="priority", value=9).data
        undo = {"undo": data["undo"]}
        self.assertEqual(self.root.post("/api/channel/undo", undo).data, {"changed": 3})
        self.assertEqual(self.column("priority"), [5, 5, 1])
        self.assertEqual(self.root.post("/api/channel/undo", undo).code, "not_found")

    def test_anothers_undo(self) -> None:
        """Only whoever made a change takes it back."""
        undo = self.bulk(ids=[1], op="disable").data["undo"]
        answer = self.adm.post("/api/channel/undo", {"undo": undo})
        self.assertEqual(answer.code, "not_found")

    def test_delete(self) -> None:
        """Deleting cannot be undone."""
        data = self.bulk(ids=[1, 9], op="delete").data
        self.assertEqual(data, {"matched": 1, "changed": 1, "errors": {}})
        self.assertEqual(self.gateway.channel(1), {})

    def test_permissions(self) -> None:
        """Each operation has its own."""
        self.strict()
        self.assertTrue(self.bulk(self.adm, ids=[1], op="disable").json["success"])
        for change in (
            {"op": "delete"},
            {"op": "set", "field": "proxy", "value": "http://p"},
        ):
            self.assertEqual(self.bulk(self.adm, ids=[1], **change).status, 403)

    def test_wrong_changes(self) -> None:
        """Operation, field, value and choice."""
        for body in (
            {"ids": [1], "op": "nonsense"},
            {"ids": [1], "op": "set", "field": "key", "value": "x"},
            {"ids": [1], "op": "add", "field": "tag", "value": "x"},
            {"ids": [1], "op": "set", "field": "tag"},
            {"op": "enable"},
            {"filter": 5, "op": "enable"},
        ):
            self.assertIn(
                self.bulk(**body).code, ("invalid_field", "missing_field"), body
            )
        data = self.bulk(ids=[1], op="set", field="weight", value=-1).data
        self.assertEqual(data["errors"], {"1": "invalid_field"})


class FileTests(Case):
    """`/api/channel/export` and `/import`."""

    def setUp(self) -> None:
        """Two channels."""
        super().setUp()
        self.gateway.add_channel(name="a", key="sk-a")
        self.gateway.add_channel(
            name="b", key="sk-b1\nsk-b2", channel_info={"is_multi_key": True}
        )

    def exported(self, query: str = "", **headers: str) -> Any:
        """A file."""
        return self.root.get(f"/api/channel/export?{query}", **headers).data

    def bring(self, channels: Any, query: str = "", client: Any = None) -> Any:
        """The answer to an import."""
        body = {"version": 1, "channels": channels}
        return (client or self.root).post(f"/api/channel/import?{query}", body)

    def test_without_keys(self) -> None:
        """A file has no keys unless root shows a second factor."""
        file = self.exported()
        self.assertEqual([one["name"] for one in file["channels"]], ["a", "b"])
        self.assertNotIn("sk-", json.dumps(file))
        self.assertEqual(len(self.exported("ids=2")["channels"]), 1)
        answer = self.root.get("/api/channel/export?keys=1")
        self.assertEqual(answer.code, "SECURITY_PROOF_REQUIRED")
        self.assertEqual(self.adm.get("/api/channel/export?keys=1").status, 403)

    def test_with_keys(self) -> None:
        """With keys a file brings channels to another place."""
        proof = {
            "method": "password",
            "password": PASSWORD,
            "scope": "channel.key.read",
        }
        token = self.root.post("/api/verify", proof).data["proof_token"]
        file = self.exported("keys=1", **{"X-Security-Proof": token})
        self.assertEqual(file["channels"][1]["key"], "sk-b1\nsk-b2")
        self.gateway.execute(sa.delete(schema.channels))
        data = self.bring(file["channels"]).data
        self.assertEqual((data["create"], data["errors"]), (2, []))
        rows = self.gateway.rows(sa.select(schema.channels))
        self.assertEqual([row["key"] for row in rows], ["sk-a", "sk-b1\nsk-b2"])
        self.assertIn('"is_multi_key":true', rows[1]["channel_info"])

    def test_changes(self) -> None:
        """Known channels change, unchanged ones are counted; a dry run does nothing."""
        channels = self.exported()["channels"]
        channels[0]["priority"] = 77
        data = self.bring(channels, "dry_run=1").data
        self.assertEqual(
            [data[name] for name in ("create", "update", "unchanged")], [0, 1, 1]
        )
        self.assertEqual(data["diff"], [{"name": "a", "id": 1, "fields": ["priority"]}])
        self.assertEqual(self.gateway.channel(1)["priority"], 5)
        self.bring(channels)
        self.assertEqual(self.gateway.channel(1)["priority"], 77)
        self.assertEqual(self.gateway.channel(1)["key"], "sk-a")

    def test_wrong_entries(self) -> None:
        """What is wrong is told by place; the rest is brought in."""
        self.gateway.add_channel(name="twice")
        self.gateway.add_channel(name="twice")
        self.gateway.refused_addresses.add("http://inner")
        entries = [
            5,
            {"name": "new"},
            {"name": "twice"},
            {"name": "a", "base_url": "http://inner"},
            {"name": "fine", "type": 1, "key": "sk-f"},
        ]
        data = self.bring(entries, client=self.adm).data
        self.assertEqual([one["index"] for one in data["errors"]], [0, 1, 2, 3])
        self.assertEqual(data["create"], 1)

    def test_wrong_files(self) -> None:
        """Only files of ours, of a bounded size."""
        for body in ({}, {"version": 2, "channels": []}, {"version": 1, "channels": 5}):
            answer = self.root.post("/api/channel/import", body)
            self.assertEqual(answer.code, "invalid_field")
        self.assertEqual(self.bring([{}] * 2001).code, "invalid_field")
