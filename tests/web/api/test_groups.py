"""Tests of groups and permissions as the API shows them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.options import Options
from knight_tw.web.api.groups import selectable
from tests.web.api.shapes import CATALOGUE, misfit
from tests.web.gateway import Gateway


class RouteTests(SynchronousTestCase):
    """The three group routes and the catalogue."""

    def setUp(self) -> None:
        """A gateway with a user of group `gold`."""
        self.gateway = Gateway()
        self.gateway.set_up()
        self.gateway.add_user("ann", group="gold")
        self.gateway.add_user("adm", 10)
        self.gateway.set_option("GroupRatio", '{"default":1,"vip":0.5,"gold":2}')

    def test_names(self) -> None:
        """Administrators get the names in their order."""
        adm = self.gateway.bearer("adm")
        self.assertEqual(adm.get("/api/group/").data, ["default", "vip", "gold"])
        self.assertEqual(adm.get("/api/group").data, ["default", "vip", "gold"])
        ann = self.gateway.bearer("ann").get("/api/group/")
        self.assertEqual((ann.status, ann.code), (403, "AUTH_INSUFFICIENT_PRIVILEGE"))

    def test_public(self) -> None:
        """Guests get the groups that everybody may use, users also their own."""
        data = self.gateway.ask("GET", "/api/user/groups").data
        self.assertEqual(set(data), {"default", "vip"})
        self.assertEqual(misfit(data["vip"], {"ratio": float, "desc": str}), "")
        ann = self.gateway.bearer("ann")
        for path in ("/api/user/groups", "/api/user/self/groups"):
            self.assertEqual(set(ann.get(path).data), {"default", "vip", "gold"})
        answer = self.gateway.ask("GET", "/api/user/self/groups")
        self.assertEqual(answer.status, 401)

    def test_catalogue(self) -> None:
        """Permissions are described for administrators."""
        data = self.gateway.bearer("adm").get("/api/authz/catalog").data
        self.assertEqual(misfit(data, CATALOGUE), "")
        self.assertEqual(len(data["resources"][0]["actions"]), 5)


class SelectableTests(SynchronousTestCase):
    """`selectable`."""

    def test_special_ratio(self) -> None:
        """A ratio between two groups replaces the group's own."""
        options = Options.from_rows({"GroupGroupRatio": '{"gold":{"vip":0.25}}'})
        self.assertEqual(selectable("gold", options)["vip"]["ratio"], 0.25)
        self.assertEqual(selectable("default", options)["vip"]["ratio"], 1)

    def test_auto(self) -> None:
        """`auto` is there only when listed, with its word for a ratio."""
        self.assertNotIn("auto", selectable("default", Options.from_rows({})))
        options = Options.from_rows({"UserUsableGroups": '{"auto":"any"}'})
        found = selectable("default", options)
        self.assertEqual(found["auto"], {"ratio": "自动", "desc": "any"})

    def test_without_ratio(self) -> None:
        """A usable group that has no ratio cannot be chosen."""
        options = Options.from_rows({"UserUsableGroups": '{"ghost":"x"}'})
        self.assertNotIn("ghost", selectable("default", options))
