"""`/api/channel` over the real site: rows, lists, tags, keys."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.api.management import Management
from tests.web.api.rows import channel_row
from tests.web.api.shapes import misfit, number
from tests.web.gateway import NOW, PASSWORD, Client

TEXT_OR_NULL = (str, type(None))
INFO = {
    "is_multi_key": bool,
    "multi_key_size": int,
    "multi_key_status_list": (dict, type(None)),
    "multi_key_polling_index": int,
    "multi_key_mode": str,
}
CHANNEL = {
    "id": int,
    "type": int,
    "key": str,
    "openai_organization": TEXT_OR_NULL,
    "test_model": TEXT_OR_NULL,
    "status": int,
    "name": str,
    "weight": int,
    "created_time": int,
    "test_time": int,
    "response_time": int,
    "base_url": str,
    "other": str,
    "balance": number,
    "balance_updated_time": int,
    "models": str,
    "group": str,
    "used_quota": int,
    "model_mapping": TEXT_OR_NULL,
    "status_code_mapping": TEXT_OR_NULL,
    "priority": int,
    "auto_ban": int,
    "other_info": str,
    "tag": TEXT_OR_NULL,
    "setting": TEXT_OR_NULL,
    "param_override": TEXT_OR_NULL,
    "header_override": TEXT_OR_NULL,
    "remark": TEXT_OR_NULL,
    "channel_info": INFO,
    "settings": str,
}
"""A channel as the reference shows it."""

FORM = {
    "name": "example",
    "type": 1,
    "key": "sk-example-key-one",
    "base_url": "http://127.0.0.1:41439",
    "models": "pt-ok,pt-other",
    "group": "default",
    "priority": 5,
    "weight": 1,
    "tag": "blue",
    "remark": "note",
    "auto_ban": 1,
    "model_mapping": '{"pt-other":"pt-ok"}',
}


class Case(SynchronousTestCase):
    """`root` and the administrator `adm` by bearer session, `ann` a common user."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.gateway.add_user("ann")
        self.root = self.gateway.bearer("root")
        self.adm = self.gateway.bearer("adm")
        self.gateway.changes.clear()
        self.gateway.notes.clear()

    def create(self, client: Client | None = None, **members: Any) -> Any:
        """The answer to a form for one channel."""
        body = {"mode": "single", "channel": {**FORM, **members}}
        return (client or self.root).post("/api/channel/", body)

    def listed(self, query: str = "") -> Any:
        """Data of a list."""
        return self.root.get(f"/api/channel/?{query}").data

    def names(self, query: str = "") -> list[str]:
        """Names in a list."""
        return [item["name"] for item in self.listed(query)["items"]]

    def strict(self) -> None:
        """Take `sensitive_write` from administrators."""
        self.gateway.set_option("authz.strict_admin", "true")


class Lists(Case):
    """Reading channels."""

    def test_shape(self) -> None:
        """A channel has exactly the reference's members, and never its key."""
        self.assertEqual(self.create().json, {"success": True, "message": ""})
        data = self.listed()
        self.assertEqual(misfit(data["items"][0], CHANNEL), "")
        self.assertEqual(data["items"][0]["key"], "")
        self.assertEqual(data["type_counts"], {"1": 1})
        self.assertEqual((data["page"], data["page_size"], data["total"]), (1, 10, 1))

    def test_old_rows(self) -> None:
        """A row of an older program, full of nulls, has the same shape."""
        made = self.gateway.add_channel()
        nulls = dict.fromkeys(
            ("weight", "base_url", "other", "priority", "auto_ban", "other_info",
             "settings", "channel_info", "balance", "response_time")
        )  # fmt: skip
        table = schema.channels
        self.gateway.execute(sa.update(table).where(table.c.id == made).values(**nulls))
        item = self.root.get(f"/api/channel/{made}").data
        self.assertEqual(misfit(item, CHANNEL), "")
        self.assertEqual(item["auto_ban"], 1)

    def test_filters(self) -> None:
        """Status, type, group and order come from the query."""
        self.gateway.add_channel(name="a", priority=1)
        self.gateway.add_channel(name="b", priority=9, status=2, type=24)
        self.gateway.add_channel(name="c", priority=5, group="vip")
        self.assertEqual(self.names(), ["b", "c", "a"])
        self.assertEqual(self.names("id_sort=true"), ["c", "b", "a"])
        self.assertEqual(self.names("sort_by=name&sort_order=asc"), ["a", "b", "c"])
        self.assertEqual(self.names("sort_by=key&status=1"), ["c", "a"])
        self.assertEqual(self.names("status=disabled"), ["b"])
        self.assertEqual(self.names("type=24"), ["b"])
        self.assertEqual(self.names("group=vip&status=all"), ["c"])
        self.assertEqual(self.listed("type=24")["type_counts"], {"1": 2, "24": 1})

    def test_tag_mode(self) -> None:
        """Pages count tags and hold all channels of each."""
        for name, tag in (("a", "x"), ("b", "x"), ("c", "y"), ("d", None)):
            self.gateway.add_channel(name=name, tag=tag)
        data = self.listed("tag_mode=true&page_size=1")
        self.assertEqual([item["name"] for item in data["items"]], ["b", "a"])
        self.assertEqual(data["total"], 2)

    def test_search(self) -> None:
        """A search finds by name, id, key, address and model; no page in its data."""
        made = self.gateway.add_channel(name="example", models="m-1")
        for asked, total in (
            ("keyword=exam", 1),
            (f"keyword={made}", 1),
            ("keyword=sk-example-key", 1),
            ("keyword=nothing", 0),
            ("keyword=&model=m-1", 1),
            ("model=m-2", 0),
        ):
            data = self.root.get(f"/api/channel/search?{asked}").data
            self.assertEqual(set(data), {"items", "total", "type_counts"})
            self.assertEqual(data["total"], total, asked)

    def test_search_has_larger_pages(self) -> None:
        """Without a size a search shows 20 rows."""
        for _ in range(25):
            self.gateway.add_channel()
        data = self.root.get("/api/channel/search?keyword=example").data
        self.assertEqual((len(data["items"]), data["total"]), (20, 25))

    def test_plain_lists(self) -> None:
        """one-api's scripts get the bare array."""
        self.gateway.add_channel()
        answer = self.root.get("/api/channel/?p=0", **{"X-Api-Compat": "one-api"})
        self.assertIsInstance(answer.data, list)

    def test_not_there(self) -> None:
        """An unknown channel is a failure with status 200."""
        answer = self.root.get("/api/channel/999999")
        self.assertEqual((answer.status, answer.code), (200, "not_found"))

    def test_common_users_are_refused(self) -> None:
        """Channels are for administrators."""
        ann = self.gateway.bearer("ann")
        for answer in (ann.get("/api/channel/"), self.create(ann)):
            self.assertEqual(answer.status, 403)
            self.assertEqual(answer.code, "AUTH_INSUFFICIENT_PRIVILEGE")

    def test_small_lists(self) -> None:
        """Enabled models, known models, and what the pages need of the options."""
        self.gateway.add_channel(models="m-1")
        enabled = self.adm.get("/api/channel/models_enabled").json
        self.assertEqual(enabled, {"success": True, "data": ["m-1"]})
        self.gateway.set_option("RetryTimes", "3")
        self.assertEqual(self.adm.get("/api/channel/ops").data, {"retry_times": 3})
        known = self.adm.get("/api/channel/models").json
        self.assertNotIn("message", known)
        self.assertEqual(
            set(known["data"][0]),
            {"id", "object", "created", "owned_by", "supported_endpoint_types"},
        )


class Creating(Case):
    """New channels."""

    def test_row_and_abilities(self) -> None:
        """A channel offers its models at once; the write is announced and recorded."""
        self.create()
        row = self.gateway.channel(1)
        self.assertEqual((row["key"], row["status"]), ("sk-example-key-one", 1))
        self.assertEqual(row["created_time"], NOW)
        found = self.gateway.rows(sa.select(schema.abilities))
        self.assertEqual([one["model"] for one in found], ["pt-ok", "pt-other"])
        self.assertEqual(self.gateway.changes, [("channel", "1")])
        self.assertEqual(self.gateway.audited(), ["channel.create"])
        self.assertNotIn("sk-", json.dumps(self.gateway.notes))

    def test_batch(self) -> None:
        """A row per line."""
        body = {"mode": "batch", "channel": {**FORM, "key": "sk-1\n\nsk-2"}}
        self.root.post("/api/channel/", body)
        self.assertEqual(self.listed()["total"], 2)
        self.assertEqual(self.gateway.changes, [("channel", "")])

    def test_bare_form(self) -> None:
        """Older scripts send the channel itself."""
        self.assertTrue(self.root.post("/api/channel/", FORM).json["success"])

    def test_refusals(self) -> None:
        """Keys, modes, types and columns are checked; nothing is stored."""
        for answer in (
            self.create(key=""),
            self.create(type=999),
            self.create(base_url="nonsense"),
            self.create(param_override='{"operations": 1}'),
            self.create(setting="{"),
            self.root.post("/api/channel/", {"mode": "nonsense", "channel": FORM}),
            self.root.post("/api/channel/", {"mode": "single"}),
        ):
            self.assertEqual((answer.status, answer.code), (200, "invalid_field"))
        self.assertEqual(self.listed()["total"], 0)

    def test_permission(self) -> None:
        """Administrators make channels, unless the option takes that from them."""
        self.assertTrue(self.create(self.adm).json["success"])
        self.strict()
        self.assertEqual(self.create(self.adm).status, 403)

    def test_addresses_of_administrators(self) -> None:
        """The guard is asked about addresses that root did not write, and watches."""
        self.gateway.refused_addresses.add("http://10.0.0.1")
        self.assertEqual(
            self.create(self.adm, base_url="http://10.0.0.1").code, "address_refused"
        )
        self.create(self.adm)
        self.assertIn("guarded_address", self.gateway.channel(1)["settings"])
        self.assertTrue(self.create(base_url="http://10.0.0.1").json["success"])
        self.assertEqual(self.gateway.channel(2)["settings"], "")


class Updating(Case):
    """Changing channels."""

    def setUp(self) -> None:
        """One channel."""
        super().setUp()
        self.create()
        self.gateway.changes.clear()

    def put(self, client: Client | None = None, **members: Any) -> Any:
        """The answer to an update."""
        return (client or self.root).put("/api/channel/", {"id": 1, **members})

    def test_by_presence(self) -> None:
        """What is named changes, the rest and the key stay."""
        data = self.put(name="renamed", priority=9, key="").data
        modes = {"multi_key_mode": type(None), "key_mode": type(None)}
        self.assertEqual(misfit(data, {**CHANNEL, **modes}), "")
        self.assertEqual((data["name"], data["priority"]), ("renamed", 9))
        self.assertEqual(self.gateway.channel(1)["key"], "sk-example-key-one")
        self.assertEqual(self.gateway.changes, [("channel", "1")])

    def test_abilities_follow(self) -> None:
        """Other models are offered in the same moment."""
        self.put(models="m-9")
        found = self.gateway.rows(sa.select(schema.abilities))
        self.assertEqual([one["model"] for one in found], ["m-9"])

    def test_status_by_dialect(self) -> None:
        """The newest dialect has a route for the status, the older ones set it here."""
        self.assertEqual(self.put(status=2).code, "invalid_field")
        self.assertEqual(self.put(status=1).data["status"], 1)
        browser = self.gateway.browser("root")
        self.assertEqual(self.put(browser, status=2).data["status"], 2)
        self.assertFalse(self.gateway.rows(sa.select(schema.abilities))[0]["enabled"])

    def test_sensitive_members(self) -> None:
        """Without the permission, members that move keys cannot be changed, but may be
        sent as they are."""
        self.strict()
        for members in (
            {"key": "sk-other-key"},
            {"base_url": "http://elsewhere"},
            {"header_override": '{"X-A": "b"}'},
            {"setting": '{"proxy": "http://host"}'},
            {"type": 14},
        ):
            answer = self.put(self.adm, **members)
            self.assertEqual((answer.status, answer.code), (200, "forbidden_target"))
        same = {"base_url": FORM["base_url"], "type": 1, "key": ""}
        self.assertEqual(self.put(self.adm, name="x", **same).data["name"], "x")

    def test_real_status(self) -> None:
        """Our console asks for the real status."""
        self.strict()
        body = {"id": 1, "key": "sk-x"}
        answer = self.adm.put("/api/channel/", body, **{"X-Knight-Status": "real"})
        self.assertEqual(answer.status, 403)

    def test_not_there(self) -> None:
        """Unknown and missing ids are failures."""
        self.assertEqual(self.put(id=999).code, "not_found")
        self.assertEqual(self.root.put("/api/channel/", {}).code, "missing_field")

    def test_set_status(self) -> None:
        """One, several; the count is of those that changed."""
        path = "/api/channel/1/status"
        self.assertIs(self.adm.post(path, {"status": 2}).data, True)
        self.assertEqual(self.gateway.channel(1)["status"], 2)
        batch = {"ids": [1, 999], "status": 1}
        self.assertEqual(self.adm.post("/api/channel/status/batch", batch).data, 1)
        self.assertEqual(self.adm.post("/api/channel/status/batch", batch).data, 0)
        for answer in (
            self.adm.post(path, {"status": 7}),
            self.adm.post(path, {}),
            self.adm.post("/api/channel/status/batch", {"ids": [], "status": 1}),
            self.adm.post("/api/channel/999/status", {"status": 1}),
        ):
            self.assertFalse(answer.json["success"])

    def test_delete(self) -> None:
        """Deleting what is gone is no failure; abilities go along."""
        self.assertTrue(self.root.delete("/api/channel/1").json["success"])
        self.assertTrue(self.root.delete("/api/channel/1").json["success"])
        self.assertEqual(self.gateway.rows(sa.select(schema.abilities)), [])

    def test_delete_many(self) -> None:
        """By ids, and all that are disabled."""
        self.gateway.add_channel(status=2)
        self.gateway.add_channel(status=3)
        self.assertEqual(self.root.delete("/api/channel/disabled").data, 2)
        body = {"ids": [1, 999]}
        self.assertEqual(self.root.post("/api/channel/batch", body).data, 1)

    def test_copy(self) -> None:
        """A copy has its key and another name."""
        path = "/api/channel/copy/1?suffix=_two&reset_balance=true"
        self.assertEqual(self.root.post(path).data, {"id": 2})
        row = self.gateway.channel(2)
        self.assertEqual((row["name"], row["key"]), ("example_two", FORM["key"]))
        self.root.post("/api/channel/copy/1")
        self.assertEqual(self.gateway.channel(3)["name"], "example_复制")
        self.assertEqual(self.root.post("/api/channel/copy/99").code, "not_found")

    def test_fix(self) -> None:
        """Abilities are written anew, orphans forgotten."""
        self.gateway.execute(sa.delete(schema.abilities))
        data = self.adm.post("/api/channel/fix").data
        self.assertEqual(data, {"success": 1, "fails": 0})
        self.assertEqual(len(self.gateway.rows(sa.select(schema.abilities))), 2)


class Tags(Case):
    """Channels of a tag."""

    def setUp(self) -> None:
        """Two channels of one tag."""
        super().setUp()
        for models in ("m-1", "m-1,m-2"):
            self.gateway.add_channel(tag="green", models=models)

    def test_tag_many(self) -> None:
        """A tag is given and taken away."""
        path = "/api/channel/batch/tag"
        self.assertEqual(self.adm.post(path, {"ids": [1, 9], "tag": "red"}).data, 1)
        self.assertEqual(self.gateway.channel(1)["tag"], "red")
        self.adm.post(path, {"ids": [1], "tag": None})
        self.assertIsNone(self.gateway.channel(1)["tag"])

    def test_status_of_a_tag(self) -> None:
        """All channels of a tag together."""
        body = {"tag": "green"}
        self.assertTrue(
            self.adm.post("/api/channel/tag/disabled", body).json["success"]
        )
        self.assertEqual(self.names("status=disabled"), ["example", "example"])
        self.adm.post("/api/channel/tag/enabled", body)
        self.assertEqual(self.names("status=disabled"), [])
        answer = self.adm.post("/api/channel/tag/disabled", {"tag": ""})
        self.assertEqual(answer.code, "missing_field")

    def test_edit(self) -> None:
        """Some columns of all channels of a tag."""
        body = {"tag": "green", "new_tag": "red", "priority": 4, "models": ""}
        self.assertTrue(self.adm.put("/api/channel/tag", body).json["success"])
        row = self.gateway.channel(2)
        self.assertEqual((row["tag"], row["priority"]), ("red", 4))
        self.assertEqual(row["models"], "m-1,m-2")
        wrong = {"tag": "red", "model_mapping": "["}
        self.assertEqual(self.adm.put("/api/channel/tag", wrong).code, "invalid_field")

    def test_edit_of_overrides(self) -> None:
        """Overrides need the permission here too."""
        self.strict()
        body = {"tag": "green", "header_override": '{"X-A": "b"}'}
        self.assertEqual(
            self.adm.put("/api/channel/tag", body).code, "forbidden_target"
        )

    def test_longest_models(self) -> None:
        """The longest list stands for the tag."""
        path = "/api/channel/tag/models"
        self.assertEqual(self.adm.get(f"{path}?tag=green").data, "m-1,m-2")
        self.assertEqual(self.adm.get(f"{path}?tag=none").data, "")
        self.assertEqual(self.adm.get(path).code, "missing_field")


class Keys(Case):
    """What is done with keys."""

    def setUp(self) -> None:
        """A channel with three keys, and one with one."""
        super().setUp()
        body = {
            "mode": "multi_to_single",
            "multi_key_mode": "polling",
            "channel": {**FORM, "key": "sk-k1\nsk-k2\nsk-k3"},
        }
        self.root.post("/api/channel/", body)
        self.create()

    def manage(self, action: str, channel_id: int = 1, **asked: Any) -> Any:
        """The answer to an action."""
        body = {"channel_id": channel_id, "action": action, **asked}
        return self.adm.post("/api/channel/multi_key/manage", body)

    def test_status_of_keys(self) -> None:
        """A page of previews, and counts."""
        data = self.manage("get_key_status").data
        self.assertEqual(
            data["keys"][1], {"index": 1, "status": 1, "key_preview": "sk-k2"}
        )
        self.assertEqual((data["enabled_count"], data["total_pages"]), (3, 1))

    def test_disable_one(self) -> None:
        """A message comes back, no data; the change is announced."""
        self.gateway.changes.clear()
        answer = self.manage("disable_key", key_index=1).json
        self.assertEqual(set(answer), {"success", "message"})
        self.assertEqual(self.gateway.changes, [("channel", "1")])
        data = self.manage("get_key_status", status=2, page_size=2).data
        self.assertEqual([key["index"] for key in data["keys"]], [1])
        shown = self.root.get("/api/channel/1").data["channel_info"]
        self.assertEqual(shown["multi_key_status_list"], {"1": 2})

    def test_all_disabled(self) -> None:
        """Without a key the channel is out of service, and offers nothing."""
        self.manage("disable_all_keys")
        self.assertEqual(self.gateway.channel(1)["status"], 3)
        found = self.gateway.rows(
            sa.select(schema.abilities).where(schema.abilities.c.channel_id == 1)
        )
        self.assertFalse(found[0]["enabled"])

    def test_key_preview(self) -> None:
        """A preview of another key stops the action."""
        answer = self.manage("delete_key", key_index=0, key_preview="sk-k2")
        self.assertEqual(answer.code, "version_conflict")

    def test_wrong_actions(self) -> None:
        """Index, action, status and channel must be right."""
        for answer, code in (
            (self.manage("disable_key", key_index=99), "invalid_field"),
            (self.manage("nonsense"), "invalid_field"),
            (self.manage("get_key_status", status=9), "invalid_field"),
            (self.manage("get_key_status", channel_id=2), "invalid_field"),
            (self.manage("get_key_status", channel_id=99), "not_found"),
            (self.manage("delete_disabled_keys"), "invalid_field"),
            (self.adm.post("/api/channel/multi_key/manage", {}), "missing_field"),
        ):
            self.assertEqual(answer.code, code)

    def test_key_of_a_channel(self) -> None:
        """Root sees it after a second factor, which is recorded; nobody else does."""
        path = "/api/channel/2/key"
        self.assertEqual(self.root.post(path).code, "SECURITY_PROOF_REQUIRED")
        self.assertEqual(
            self.gateway.script(1).post(path).code, "SECURITY_PROOF_INVALID"
        )
        self.assertEqual(self.adm.post(path).code, "AUTH_INSUFFICIENT_PRIVILEGE")
        proof = {
            "method": "password",
            "password": PASSWORD,
            "scope": "channel.key.read",
        }
        token = self.root.post("/api/verify", proof).data["proof_token"]
        answer = self.root.post(path, **{"X-Security-Proof": token})
        self.assertEqual(answer.data, {"key": FORM["key"]})
        note = self.gateway.notes[-1]
        self.assertEqual(note["type"], 4)
        self.assertNotIn(FORM["key"], json.dumps(note))

    def test_reasons_are_for_root(self) -> None:
        """Only root sees why a key was disabled."""
        info = {
            "is_multi_key": True,
            "multi_key_status_list": {"0": 3},
            "multi_key_disabled_reason": {"0": "why"},
            "multi_key_disabled_time": {"0": NOW},
        }
        made = self.gateway.add_channel(**channel_row(key="a\nb", channel_info=info))
        path = f"/api/channel/{made}"
        self.assertIn(
            "multi_key_disabled_reason", self.root.get(path).data["channel_info"]
        )
        self.assertEqual(misfit(self.adm.get(path).data, CHANNEL), "")
