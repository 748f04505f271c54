"""Prices, descriptions, vendors and lists of models, over the real site."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.api.management import Management
from tests.web.api.shapes import misfit, number
from tests.web.gateway import NOW

ITEM = {
    "model_name": str,
    "quota_type": int,
    "model_ratio": number,
    "model_price": number,
    "owner_by": str,
    "completion_ratio": number,
    "enable_groups": [str],
    "supported_endpoint_types": [str],
}
"""A model of the price list, as the reference shows it, without what is optional."""


class Case(SynchronousTestCase):
    """`root`, `adm` and `ann` (3), and two models."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.gateway.add_user("ann")
        self.adm, self.ann = self.gateway.bearer("adm"), self.gateway.bearer("ann")
        self.gateway.set_option("ModelRatio", '{"pt-ok":1,"pt-cached":2}')
        self.gateway.set_option("ModelPrice", '{"pt-image":0.01}')
        self.gateway.notes.clear()

    def prices(self, client: Any = None) -> Any:
        """The price list."""
        asked = client or self.gateway
        self.gateway.clock.advance(61)
        if client is None:
            return asked.ask("GET", "/api/pricing").json
        return asked.get("/api/pricing").json

    def item(self, model: str) -> dict[str, Any]:
        """One model of the guests' list."""
        found = [one for one in self.prices()["data"] if one["model_name"] == model]
        return found[0]


class PricingTests(Case):
    """`GET /api/pricing`."""

    def test_shape(self) -> None:
        """The list has exactly the reference's members."""
        self.gateway.add_channel(models="pt-ok", group="default,hidden")
        told = self.prices()
        self.assertEqual(
            set(told),
            {"success", "data", "vendors", "group_ratio", "usable_group",
             "supported_endpoint", "auto_groups", "pricing_version"},
        )  # fmt: skip
        self.assertEqual(misfit(told["data"], [ITEM]), "")
        self.assertEqual(told["data"][0]["enable_groups"], ["default"])
        self.assertEqual(told["group_ratio"], {"default": 1, "vip": 1})
        self.assertEqual(set(told["usable_group"]), {"default", "vip"})
        self.assertEqual(told["auto_groups"], ["default"])
        self.assertEqual(
            told["supported_endpoint"],
            {"openai": {"path": "/v1/chat/completions", "method": "POST"}},
        )

    def test_by_call(self) -> None:
        """A price per call stands instead of ratios."""
        self.gateway.add_channel(models="pt-image")
        item = self.item("pt-image")
        told = (item["quota_type"], item["model_price"], item["model_ratio"])
        self.assertEqual(told, (1, 0.01, 0))

    def test_optional_ratios(self) -> None:
        """Cache and other ratios come when the option has the model."""
        self.gateway.set_option("CacheRatio", '{"pt-cached":0.25}')
        self.gateway.add_channel(models="pt-cached,pt-ok")
        self.assertEqual(self.item("pt-cached")["cache_ratio"], 0.25)
        self.assertNotIn("cache_ratio", self.item("pt-ok"))

    def test_unpriced(self) -> None:
        """A model without a price shows the ratio of unpriced ones."""
        self.gateway.add_channel(models="pt-new")
        self.assertEqual(self.item("pt-new")["model_ratio"], 37.5)

    def test_what_one_may_use(self) -> None:
        """Only groups that the caller may use; a special ratio is the caller's."""
        self.gateway.add_channel(models="pt-ok", group="inner")
        self.assertEqual(self.prices()["data"], [])
        self.gateway.set_option("GroupRatio", '{"default":1,"vip":1,"inner":2}')
        self.gateway.set_option("GroupGroupRatio", '{"inner":{"vip":0.5}}')
        table = schema.users
        self.gateway.execute(
            sa.update(table).where(table.c.id == 3).values(group="inner")
        )
        told = self.prices(self.ann)
        self.assertEqual(told["data"][0]["enable_groups"], ["inner"])
        self.assertEqual(told["group_ratio"], {"default": 1, "vip": 0.5, "inner": 2})

    def test_disabled_channels(self) -> None:
        """What nobody serves is not listed."""
        self.gateway.add_channel(models="pt-ok", status=2)
        self.assertEqual(self.prices()["data"], [])

    def test_descriptions(self) -> None:
        """What is written about a model comes along; a disabled one is hidden."""
        self.gateway.add_channel(models="pt-ok,pt-cached,pt-gone")
        vendor = self.adm.post("/api/vendors/", {"name": "Acme", "icon": "A"}).data[
            "id"
        ]
        for body in (
            {"model_name": "pt-", "name_rule": 1, "description": "any"},
            {"model_name": "pt-ok", "description": "the one", "vendor_id": vendor,
             "tags": "x,y", "endpoints": {"openai": "/other"}},
            {"model_name": "pt-gone", "status": 0},
        ):  # fmt: skip
            self.adm.post("/api/models/", body)
        told = self.prices()
        found = {one["model_name"]: one for one in told["data"]}
        self.assertEqual(set(found), {"pt-ok", "pt-cached"})
        self.assertEqual(found["pt-cached"]["description"], "any")
        self.assertEqual(found["pt-ok"]["description"], "the one")
        self.assertEqual(found["pt-ok"]["vendor_id"], vendor)
        self.assertEqual(told["vendors"], [{"id": vendor, "name": "Acme", "icon": "A"}])
        self.assertEqual(told["supported_endpoint"]["openai"]["path"], "/other")

    def test_kept(self) -> None:
        """An answer is kept for a minute, or until options change."""
        ask = lambda: self.gateway.ask("GET", "/api/pricing").json["data"]  # noqa: E731
        self.assertEqual(ask(), [])
        self.gateway.add_channel(models="pt-ok")
        self.assertEqual(ask(), [])
        self.gateway.set_option("SystemName", "x")
        self.assertEqual(len(ask()), 1)

    def test_navigation(self) -> None:
        """The page can be closed to guests, or to everybody."""
        self.gateway.set_option(
            "HeaderNavModules", '{"pricing":{"enabled":true,"requireAuth":true}}'
        )
        answer = self.gateway.ask("GET", "/api/pricing")
        self.assertEqual((answer.status, answer.code), (401, "AUTH_UNAUTHORIZED"))
        self.assertEqual(self.ann.get("/api/pricing").status, 200)
        for modules in ('{"pricing":{"enabled":false}}', '{"pricing":false}'):
            self.gateway.set_option("HeaderNavModules", modules)
            self.assertEqual(self.ann.get("/api/pricing").status, 403)


class DescriptionTests(Case):
    """`/api/models/`."""

    FORM: ClassVar = {
        "model_name": "pt-ok",
        "description": "d",
        "tags": "x,y",
        "status": 1,
    }

    def create(self, **members: Any) -> Any:
        """The answer to a form."""
        return self.adm.post("/api/models/", {**self.FORM, **members})

    def test_create(self) -> None:
        """A description comes back without what is empty; its name is taken then."""
        data = self.create().data
        self.assertEqual(
            data,
            {**self.FORM, "id": 1, "sync_official": 1, "created_time": NOW,
             "updated_time": NOW, "name_rule": 0},
        )  # fmt: skip
        self.assertEqual(self.create().code, "name_taken")
        self.assertEqual(self.gateway.audited(), ["model.create"])

    def test_list(self) -> None:
        """A description tells which channels, groups and prices it is about."""
        self.gateway.add_channel(models="pt-ok", name="main")
        self.gateway.add_channel(models="pt-ok-2", name="other", group="vip")
        self.create()
        self.create(model_name="pt-ok-", name_rule=1, vendor_id=7)
        data = self.adm.get("/api/models/?p=1&page_size=10").data
        self.assertEqual(data["vendor_counts"], {"0": 1, "7": 1})
        prefix, exact = data["items"]
        self.assertEqual(exact["bound_channels"], [{"name": "main", "type": 1}])
        self.assertEqual(exact["enable_groups"], ["default"])
        self.assertEqual(exact["quota_types"], [0])
        self.assertEqual(json.loads(exact["endpoints"]), ["openai"])
        self.assertNotIn("matched_models", exact)
        self.assertEqual(prefix["matched_models"], ["pt-ok-2"])
        self.assertEqual(prefix["matched_count"], 1)
        self.assertEqual(self.adm.get("/api/models/2").data, prefix)

    def test_search(self) -> None:
        """By words and vendor."""
        self.create()
        path = "/api/models/search"
        self.assertEqual(self.adm.get(f"{path}?keyword=pt-ok").data["total"], 1)
        self.assertEqual(self.adm.get(f"{path}?keyword=none").data["total"], 0)
        self.assertEqual(self.adm.get(f"{path}?vendor=5").data["total"], 0)

    def test_update(self) -> None:
        """By presence, or the status alone."""
        self.create()
        data = self.adm.put("/api/models/", {"id": 1, "description": "changed"}).data
        self.assertEqual((data["description"], data["tags"]), ("changed", "x,y"))
        body = {"id": 1, "status": 0, "description": "ignored"}
        data = self.adm.put("/api/models/?status_only=true", body).data
        self.assertEqual((data["status"], data["description"]), (0, "changed"))

    def test_wrong_updates(self) -> None:
        """Names stay unique and full, ids must be there."""
        self.create()
        self.create(model_name="pt-other")
        for body, code in (
            ({"id": 2, "model_name": "pt-ok"}, "name_taken"),
            ({"id": 2, "model_name": ""}, "missing_field"),
            ({"id": 9, "status": 1}, "not_found"),
            ({}, "missing_field"),
            ({"id": 2, "name_rule": 4}, "invalid_field"),
            ({"id": 2, "endpoints": "{"}, "invalid_field"),
            ({"id": 2, "tags": "t" * 256}, "invalid_field"),
        ):
            self.assertEqual(self.adm.put("/api/models/", body).code, code, body)
        self.assertEqual(
            self.adm.put("/api/models/", {"id": 1, "model_name": "pt-ok"}).data["id"], 1
        )

    def test_delete(self) -> None:
        """A deleted description is gone, and its name free."""
        self.create()
        self.assertIsNone(self.adm.delete("/api/models/1").data)
        self.assertEqual(self.adm.delete("/api/models/1").code, "not_found")
        self.assertEqual(self.adm.get("/api/models/1").code, "not_found")
        self.assertEqual(self.create().data["id"], 2)

    def test_undescribed(self) -> None:
        """Enabled models that no description is about."""
        self.gateway.add_channel(models="pt-ok,pt-other")
        self.create()
        answer = self.adm.get("/api/models/missing").json
        self.assertEqual(answer, {"success": True, "data": ["pt-other"]})

    def test_administrators_only(self) -> None:
        """Descriptions are for administrators."""
        for answer in (
            self.ann.get("/api/models/"),
            self.ann.post("/api/models/", self.FORM),
            self.ann.get("/api/vendors/"),
            self.ann.delete("/api/vendors/1"),
        ):
            self.assertEqual(answer.status, 403)


class VendorTests(Case):
    """`/api/vendors/`."""

    FORM: ClassVar = {"name": "Acme", "description": "d", "icon": "i", "status": 1}

    def test_life(self) -> None:
        """Made, listed, found, changed, deleted."""
        made = self.adm.post("/api/vendors/", self.FORM).data
        self.assertEqual(
            made, {**self.FORM, "id": 1, "created_time": NOW, "updated_time": NOW}
        )
        self.assertEqual(self.adm.post("/api/vendors/", self.FORM).code, "name_taken")
        listed = self.adm.get("/api/vendors/?p=1&page_size=10").data
        self.assertEqual((listed["items"], listed["total"]), ([made], 1))
        found = self.adm.get("/api/vendors/search?keyword=acm").data
        self.assertEqual(found["total"], 1)
        body = {"id": 1, "description": ""}
        self.assertNotIn("description", self.adm.put("/api/vendors/", body).data)
        self.assertIsNone(self.adm.delete("/api/vendors/1").data)
        self.assertEqual(self.adm.get("/api/vendors/1").code, "not_found")

    def test_missing_name(self) -> None:
        """A vendor has a name."""
        self.assertEqual(self.adm.post("/api/vendors/", {}).code, "missing_field")


class NameTests(Case):
    """Lists of names."""

    def test_by_type(self) -> None:
        """Channel type to its provider's models, for everybody who is logged in."""
        data = self.ann.get("/api/models").data
        self.assertIn("gpt-4o", data["1"])
        self.assertEqual(self.gateway.ask("GET", "/api/models").status, 401)

    def test_usable(self) -> None:
        """What the caller may use, in all groups or in one."""
        self.gateway.add_channel(models="m-1,m-2")
        self.gateway.add_channel(models="m-2,m-3", group="vip")
        self.gateway.add_channel(models="m-4", group="hidden")
        for query, names in (
            ("", {"m-1", "m-2", "m-3"}),
            ("?group=vip", {"m-2", "m-3"}),
            ("?group=auto", {"m-1", "m-2"}),
            ("?group=hidden", set()),
        ):
            found = self.ann.get(f"/api/user/models{query}").data
            self.assertEqual((set(found), len(found)), (names, len(names)))
        self.assertEqual(
            set(self.ann.get("/api/user/available_models").data), {"m-1", "m-2"}
        )
