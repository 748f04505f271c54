"""`/api/token` over the real site."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.web.api.management import Management
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW

TOKEN = {
    "id": int,
    "user_id": int,
    "key": str,
    "status": int,
    "name": str,
    "created_time": int,
    "accessed_time": int,
    "expired_time": int,
    "remain_quota": int,
    "unlimited_quota": bool,
    "model_limits_enabled": bool,
    "model_limits": str,
    "allow_ips": (str, type(None)),
    "used_quota": int,
    "group": str,
    "cross_group_retry": bool,
    "DeletedAt": type(None),
    "auto_groups": (list, type(None)),
}
"""A token as the reference shows it."""

MASK = re.compile(r"[0-9A-Za-z]{4}\*{10}[0-9A-Za-z]{4}\Z")


class Case(SynchronousTestCase):
    """`ann` (2) by bearer session, `bob` (3) beside."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.gateway.add_user("bob")
        self.ann = self.gateway.bearer("ann")
        self.gateway.changes.clear()

    def create(self, **members: Any) -> Any:
        """The answer to a new token's form."""
        return self.ann.post("/api/token/", {"name": "first", **members})

    def made(self, **members: Any) -> dict[str, Any]:
        """A new token."""
        found: dict[str, Any] = self.create(**members).data
        return found


class Lists(Case):
    """Reading."""

    def test_empty(self) -> None:
        """A page without rows has an empty list."""
        data = self.ann.get("/api/token/?p=1&page_size=10").data
        self.assertEqual(data, {"page": 1, "page_size": 10, "total": 0, "items": []})

    def test_shape(self) -> None:
        """A token has exactly the reference's members."""
        self.made(group="auto", auto_groups=["default"])
        item = self.ann.get("/api/token/").data["items"][0]
        self.assertEqual(misfit(item, TOKEN), "")
        self.assertEqual(item["auto_groups"], ["default"])

    def test_newest_first(self) -> None:
        """Pages go from the newest to the oldest token, the own ones only."""
        for name in ("a", "b", "c"):
            self.made(name=name)
        self.gateway.add_token(3, name="bob's", key="b" * 48)
        data = self.ann.get("/api/token/?p=2&page_size=2").data
        self.assertEqual([item["name"] for item in data["items"]], ["a"])
        self.assertEqual(data["total"], 3)

    def test_keys_by_dialect(self) -> None:
        """The newest dialect sees masked keys, the older credentials whole ones."""
        made = self.made()
        path = f"/api/token/{made['id']}"
        self.assertRegex(self.ann.get(path).data["key"], MASK)
        for client in (self.gateway.browser("ann"), self.gateway.script(2)):
            self.assertEqual(client.get(path).data["key"], made["key"])

    def test_keys_shown_once(self) -> None:
        """With that option nobody sees a whole key again."""
        made = self.made()
        self.gateway.set_option("console.show_keys_once", "true")
        path = f"/api/token/{made['id']}"
        self.assertRegex(self.gateway.browser("ann").get(path).data["key"], MASK)
        self.assertEqual(self.ann.post(f"{path}/key").code, "not_configured")

    def test_one_api_members(self) -> None:
        """For one-api's scripts the limits come under its names too, as a bare list."""
        self.made(model_limits="m-1", model_limits_enabled=True)
        self.gateway.set_option("compat.one_api_lists", "true")
        items = self.ann.get("/api/token/?p=0").data
        self.assertEqual((items[0]["models"], items[0]["subnet"]), ("m-1", ""))

    def test_not_ones_own(self) -> None:
        """Another one's token is not there."""
        other = self.gateway.add_token(3)
        for answer in (
            self.ann.get(f"/api/token/{other}"),
            self.ann.post(f"/api/token/{other}/key"),
            self.ann.put("/api/token/", {"id": other, "name": "x"}),
            self.ann.delete(f"/api/token/{other}"),
        ):
            self.assertEqual((answer.status, answer.code), (200, "not_found"))

    def test_search(self) -> None:
        """By name and key; the key may have its `sk-`."""
        made = self.made(name="first")
        for asked, total in (
            ("keyword=first", 1),
            ("keyword=fir", 0),
            ("keyword=fi%25", 1),
            (f"token=sk-{made['key']}", 1),
            ("token=nothing", 0),
            ("", 1),
        ):
            data = self.ann.get(f"/api/token/search?{asked}").data
            self.assertEqual(data["total"], total, asked)

    def test_search_wildcards(self) -> None:
        """Two wildcards in a row, three of them, or hardly anything else: refused."""
        for asked in ("%25%25ab", "a%25b%25c%25", "%25a"):
            answer = self.ann.get(f"/api/token/search?keyword={asked}")
            self.assertEqual(answer.code, "invalid_field", asked)

    def test_search_is_limited(self) -> None:
        """Searches count against their limit, per user."""
        gateway = Management(env={"SEARCH_RATE_LIMIT_ENABLE": "true"})
        gateway.set_up()
        root = gateway.bearer("root")
        found = [root.get("/api/token/search").status for _ in range(11)]
        self.assertEqual(found, [200] * 10 + [429])

    def test_auto_groups(self) -> None:
        """Which groups an own list may have, and how many."""
        data = self.ann.get("/api/token/auto-groups").data
        self.assertEqual(data, {"groups": ["default"], "max_count": 5})

    def test_login_is_needed(self) -> None:
        """Nobody gets in without a credential."""
        answer = self.gateway.ask("GET", "/api/token/")
        self.assertEqual((answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"))


class Creating(Case):
    """New tokens."""

    def test_comes_back_with_its_key(self) -> None:
        """The new token comes back, with a key of 48 letters and digits."""
        made = self.made(remain_quota=5)
        self.assertEqual(misfit(made, TOKEN), "")
        self.assertRegex(made["key"], r"\A[0-9A-Za-z]{48}\Z")
        self.assertEqual((made["remain_quota"], made["created_time"]), (5, NOW))

    def test_several(self) -> None:
        """With `count` an array of tokens whose names differ."""
        made = self.create(count=3, name="n" * 50).data
        self.assertEqual(len({token["key"] for token in made}), 3)
        self.assertEqual(len({token["name"] for token in made}), 3)
        self.assertTrue(all(len(token["name"]) == 50 for token in made))

    def test_default_group(self) -> None:
        """New tokens start as `auto` when the option says so and no group is named."""
        self.assertEqual(self.made()["group"], "")
        self.gateway.set_option("DefaultUseAutoGroup", "true")
        self.assertEqual(self.made()["group"], "auto")
        self.assertEqual(self.made(group="default")["group"], "default")

    def test_members_of_auto(self) -> None:
        """What only means something with `auto` is dropped without it."""
        made = self.made(group="default", cross_group_retry=True, auto_groups=["vip"])
        self.assertEqual(
            (made["cross_group_retry"], made["auto_groups"]), (False, None)
        )

    def test_one_api_names(self) -> None:
        """`models` and `subnet` are taken for limits and addresses."""
        made = self.made(models="m-1,m-2", subnet="10.0.0.0/8,127.0.0.1")
        self.assertEqual(made["model_limits"], "m-1,m-2")
        self.assertIs(made["model_limits_enabled"], True)
        self.assertEqual(made["allow_ips"], "10.0.0.0/8\n127.0.0.1")

    def test_limit(self) -> None:
        """Nobody has more tokens than the option allows."""
        self.gateway.set_option("token_setting.max_user_tokens", "2")
        self.assertEqual(self.create(count=3).code, "token_limit_reached")
        self.create(count=2)
        self.assertEqual(self.create().code, "token_limit_reached")

    def test_quota_bounds(self) -> None:
        """Quota is 0 to a thousand million dollars, unless it is unlimited."""
        self.assertEqual(self.create(remain_quota=-1).code, "invalid_field")
        self.assertEqual(self.create(remain_quota=10**15).code, "invalid_field")
        self.assertEqual(
            self.made(remain_quota=-1, unlimited_quota=True)["unlimited_quota"], True
        )

    def test_wrong_members(self) -> None:
        """Each member has its rule."""
        for members, code in (
            ({"name": "n" * 51}, "invalid_field"),
            ({"name": 5}, "invalid_field"),
            ({"expired_time": NOW}, "invalid_field"),
            ({"expired_time": "soon"}, "invalid_field"),
            ({"group": "nosuch"}, "group_not_usable"),
            ({"group": "auto", "auto_groups": ["nosuch"]}, "group_not_usable"),
            ({"group": "auto", "auto_groups": "default"}, "invalid_field"),
            ({"group": "auto", "auto_groups": ["default"] * 2}, "invalid_field"),
            ({"allow_ips": "not an address"}, "invalid_field"),
            (
                {"allow_ips": "\n".join(f"10.0.0.{n}" for n in range(99))},
                "invalid_field",
            ),
            ({"model_limits": 5}, "invalid_field"),
            ({"unlimited_quota": "perhaps"}, "invalid_field"),
            ({"count": 101}, "invalid_field"),
        ):
            self.assertEqual(self.create(**members).code, code, members)

    def test_numbers_as_text(self) -> None:
        """Old consoles send numbers as text."""
        made = self.made(expired_time="-1", remain_quota="7")
        self.assertEqual(made["remain_quota"], 7)

    def test_not_json(self) -> None:
        """A body that is no object is refused with 400."""
        answer = self.ann.ask("POST", "/api/token/", b"[1]")
        self.assertEqual((answer.status, answer.code), (400, "malformed_body"))


class Changing(Case):
    """Updates, keys, deletion."""

    def setUp(self) -> None:
        """One token of `ann`."""
        super().setUp()
        self.token = self.made(remain_quota=100)
        self.token_id = self.token["id"]

    def put(self, query: str = "", **members: Any) -> Any:
        """The answer to an update."""
        return self.ann.put(f"/api/token/{query}", {"id": self.token_id, **members})

    def test_by_presence(self) -> None:
        """Only named members change; the key comes back masked."""
        data = self.put(name="renamed").data
        self.assertEqual(misfit(data, TOKEN), "")
        self.assertEqual((data["name"], data["remain_quota"]), ("renamed", 100))
        self.assertRegex(data["key"], MASK)
        self.assertEqual(self.gateway.changes, [("token", str(self.token_id))])

    def test_status_only(self) -> None:
        """The status alone, whatever else is in the body."""
        for query in ("?status_only=true", "?status_only=1"):
            data = self.put(query, status=2, name="ignored").data
            self.assertEqual((data["status"], data["name"]), (2, "first"))

    def test_wrong_status(self) -> None:
        """Only 1 and 2 can be set."""
        self.assertEqual(self.put("?status_only=1", status=3).code, "invalid_field")
        self.assertEqual(self.put("?status_only=1").code, "missing_field")

    def test_enabling_an_expired_token(self) -> None:
        """Time is needed first, or at the same time."""
        self.gateway.add_token(2, key="e" * 48, status=3, expired_time=NOW - 5)
        self.token_id += 1
        self.assertEqual(self.put("?status_only=1", status=1).code, "invalid_field")
        self.assertEqual(self.put(status=1, expired_time=NOW + 60).data["status"], 1)

    def test_enabling_an_exhausted_token(self) -> None:
        """Quota is needed first, or at the same time."""
        self.gateway.add_token(2, key="e" * 48, status=4, remain_quota=0)
        self.token_id += 1
        self.assertEqual(self.put("?status_only=1", status=1).code, "invalid_field")
        self.assertEqual(self.put(status=1, unlimited_quota=True).data["status"], 1)

    def test_a_time_that_has_passed_stays(self) -> None:
        """A form that sends the stored time back is not refused for it."""
        self.gateway.add_token(2, key="e" * 48, expired_time=NOW - 5)
        self.token_id += 1
        self.assertEqual(self.put(name="x", expired_time=NOW - 5).data["name"], "x")

    def test_missing_id(self) -> None:
        """An update names its token."""
        self.assertEqual(self.ann.put("/api/token/", {}).code, "missing_field")
        self.assertEqual(
            self.ann.put("/api/token/", {"id": 10**9, "name": "x"}).code, "not_found"
        )

    def test_key(self) -> None:
        """The whole key of one token, and of several."""
        key = self.token["key"]
        self.assertEqual(
            self.ann.post(f"/api/token/{self.token_id}/key").data, {"key": key}
        )
        data = self.ann.post(
            "/api/token/batch/keys", {"ids": [self.token_id, 10**9]}
        ).data
        self.assertEqual(data, {"keys": {str(self.token_id): key}})

    def test_keys_are_limited(self) -> None:
        """Looking at keys counts as a critical request."""
        gateway = Management(env={"CRITICAL_RATE_LIMIT_ENABLE": "true"})
        gateway.set_up()
        root = gateway.bearer("root")
        found = [root.post("/api/token/9/key").status for _ in range(21)]
        self.assertEqual(found[-1], 429)

    def test_wrong_ids(self) -> None:
        """Lists of ids are not empty, not too long, and whole numbers."""
        for ids in ([], None, 5, ["x"], list(range(101))):
            answer = self.ann.post("/api/token/batch/keys", {"ids": ids})
            self.assertIn(answer.code, ("missing_field", "invalid_field"))

    def test_delete(self) -> None:
        """A deleted token is gone; the second time it is not there."""
        path = f"/api/token/{self.token_id}"
        self.assertEqual(self.ann.delete(path).json, {"success": True, "message": ""})
        self.assertEqual(self.ann.delete(path).code, "not_found")
        self.assertIsNotNone(self.gateway.token(self.token_id)["deleted_at"])

    def test_delete_many(self) -> None:
        """The count is that of tokens that were there."""
        answer = self.ann.post("/api/token/batch", {"ids": [self.token_id, 10**9]})
        self.assertEqual(answer.data, 1)
        self.assertEqual(
            self.ann.post("/api/token/batch", {"ids": []}).code, "missing_field"
        )


class Bulk(Case):
    """One change to many tokens."""

    def setUp(self) -> None:
        """Three tokens, one of them without quota and disabled."""
        super().setUp()
        self.ids = [self.made(name=f"job-{n}", remain_quota=9)["id"] for n in (1, 2)]
        self.empty = self.gateway.add_token(
            2, name="job-3", key="e" * 48, status=2, remain_quota=0
        )

    def bulk(self, **body: Any) -> Any:
        """The answer to a bulk change."""
        return self.ann.post("/api/token/bulk", body)

    def test_disable_by_filter(self) -> None:
        """A filter chooses; what is so already does not change."""
        data = self.bulk(filter={"keyword": "job-%"}, op="disable").data
        self.assertEqual(data, {"matched": 3, "changed": 2, "errors": {}})
        self.assertEqual(self.gateway.token(self.ids[0])["status"], 2)

    def test_what_cannot_be(self) -> None:
        """A token that cannot be enabled is named, the others change."""
        self.bulk(ids=self.ids, op="disable")
        data = self.bulk(ids=[*self.ids, self.empty], op="enable").data
        self.assertEqual(data["changed"], 2)
        self.assertEqual(data["errors"], {str(self.empty): "invalid_field"})

    def test_dry_run(self) -> None:
        """A dry run only counts."""
        data = self.bulk(ids=self.ids, op="delete", dry_run=True).data
        self.assertEqual(data["changed"], 2)
        self.assertIsNone(self.gateway.token(self.ids[0])["deleted_at"])
        self.bulk(ids=self.ids, op="disable", dry_run=True)
        self.assertEqual(self.gateway.token(self.ids[0])["status"], 1)

    def test_set(self) -> None:
        """Expiry and group can be set."""
        self.bulk(ids=self.ids, op="set", field="group", value="vip")
        self.assertEqual(self.gateway.token(self.ids[1])["group"], "vip")

    def test_delete(self) -> None:
        """Deleting counts."""
        self.assertEqual(self.bulk(ids=self.ids, op="delete").data["changed"], 2)

    def test_wrong_bulks(self) -> None:
        """Operation, field, value and choice must be there and known."""
        for body in (
            {"op": "enable"},
            {"ids": self.ids, "op": "nonsense"},
            {"ids": self.ids, "op": "set", "field": "key", "value": "x"},
            {"ids": self.ids, "op": "set", "field": "group"},
            {"filter": {"keyword": "%%"}, "op": "enable"},
            {"filter": {"group": 5}, "op": "enable"},
        ):
            self.assertIn(
                self.bulk(**body).code, ("invalid_field", "missing_field"), body
            )
