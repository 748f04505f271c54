"""The channel pages' queries."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from knight_tw.storage import channel_queries as queries
from knight_tw.storage.channel_queries import ChannelFilter, Order
from knight_tw.storage.schema import abilities
from tests.engines import ConnectionCase, for_engines
from tests.web.api.rows import channel_row


class _ChannelCase(ConnectionCase):
    """A case with helpers for channels."""

    def add(self, **columns: Any) -> int:
        """A new channel's id."""
        return queries.insert(self.connection, [channel_row(**columns)])[0]

    def listed(self, **chosen: Any) -> list[str]:
        """Names of the channels a filter takes, in the usual order."""
        asked = ChannelFilter(**chosen)
        rows, _ = queries.page(self.connection, asked, Order(), 0, 50)
        return [row["name"] for row in rows]

    def offered(self, channel_id: int) -> list[tuple[Any, ...]]:
        """(group, model, enabled, priority) of a channel's abilities."""
        return sorted(
            (row["group"], row["model"], bool(row["enabled"]), row["priority"])
            for row in self.rows(abilities)
            if row["channel_id"] == channel_id
        )

    def change(self, channel_id: int, values: Mapping[str, Any]) -> Any:
        """What setting some columns gives."""
        return queries.change(self.connection, channel_id, lambda row: values)


@for_engines
class ChannelLists(_ChannelCase):
    """Filters, orders, counts."""

    def setUp(self) -> None:
        """Four channels of two types, groups and tags."""
        super().setUp()
        self.add(name="low", priority=1, tag="blue", base_url="http://one.example")
        self.add(name="high", priority=9, group="vip,default", balance=Decimal("2.5"))
        self.add(name="off", status=2, type=24, models="gemini-2.5-flash", tag="blue")
        self.last = self.add(name="auto", status=3, type=24, tag="green", key="sk-auto")

    def test_by_priority_then_newest(self) -> None:
        """Without a sort the highest priority comes first, then the newest."""
        self.assertEqual(self.listed(), ["high", "auto", "off", "low"])

    def test_sorted_by_a_column(self) -> None:
        """A named column sorts, either way."""
        order = Order("name", descending=False)
        rows, _ = queries.page(self.connection, ChannelFilter(), order, 0, 2)
        self.assertEqual([row["name"] for row in rows], ["auto", "high"])

    def test_by_status(self) -> None:
        """Disabled are all that are not enabled."""
        self.assertEqual(self.listed(status="enabled"), ["high", "low"])
        self.assertEqual(self.listed(status="disabled"), ["auto", "off"])

    def test_by_group(self) -> None:
        """A group is one entry of the list, not a part of its text."""
        self.assertEqual(self.listed(group="vip"), ["high"])
        self.assertEqual(self.listed(group="vi"), [])

    def test_by_keyword(self) -> None:
        """A keyword is part of the name or address, the id, or the whole key."""
        self.assertEqual(self.listed(keyword="hig"), ["high"])
        self.assertEqual(self.listed(keyword="one.example"), ["low"])
        self.assertEqual(self.listed(keyword=str(self.last)), ["auto"])
        self.assertEqual(self.listed(keyword="sk-auto"), ["auto"])
        self.assertEqual(self.listed(keyword="sk-aut"), [])

    def test_by_model(self) -> None:
        """A part of a model's name is enough."""
        self.assertEqual(self.listed(model="gemini"), ["off"])

    def test_type_counts_ignore_the_type(self) -> None:
        """Counts per type follow every filter but the type's own."""
        counts = queries.type_counts(
            self.connection, ChannelFilter(kind=1, status="enabled")
        )
        self.assertEqual(counts, {1: 2})
        self.assertEqual(
            queries.type_counts(self.connection, ChannelFilter(kind=1)), {1: 2, 24: 2}
        )

    def test_pages_of_tags(self) -> None:
        """In tag mode a page has so many tags, with all their channels."""
        rows, total = queries.tag_page(self.connection, ChannelFilter(), Order(), 0, 1)
        self.assertEqual([row["name"] for row in rows], ["off", "low"])
        self.assertEqual(total, 2)

    def test_names(self) -> None:
        """Names by id, of those that are there."""
        names = queries.names(self.connection, [self.last, 10**9])
        self.assertEqual(names, {self.last: "auto"})


@for_engines
class ChannelWrites(_ChannelCase):
    """Rows and their abilities together."""

    def test_abilities_of_a_new_channel(self) -> None:
        """A new channel offers each model to each group."""
        made = self.add(group="default, vip", models="m-1, m-2,m-1,")
        self.assertEqual(
            self.offered(made),
            [
                ("default", "m-1", True, 5),
                ("default", "m-2", True, 5),
                ("vip", "m-1", True, 5),
                ("vip", "m-2", True, 5),
            ],
        )

    def test_a_name_too_long_is_not_offered(self) -> None:
        """A model name that no key can hold does not keep the others out."""
        made = self.add(models=f"{'m' * 256},fine")
        self.assertEqual(self.offered(made), [("default", "fine", True, 5)])

    def test_names_that_differ_in_case(self) -> None:
        """Two models that differ in case are one only where the engine says so."""
        made = self.add(models="Model,model")
        count = 1 if self.kind == "mysql" else 2
        self.assertEqual(len(self.offered(made)), count)

    def test_change_rebuilds_abilities(self) -> None:
        """Other models and priority are offered at once."""
        made = self.add()
        row, _ = self.change(made, {"models": "m-9", "priority": 1})
        self.assertEqual(row["models"], "m-9")
        self.assertEqual(self.offered(made), [("default", "m-9", True, 1)])

    def test_change_of_nothing(self) -> None:
        """An empty decision leaves everything; no channel gives None."""
        made = self.add()
        self.assertEqual(self.change(made, {})[1], {})
        self.assertIsNone(self.change(10**9, {"name": "x"}))

    def test_json_column(self) -> None:
        """`channel_info` is stored as a JSON document and read as text."""
        made = self.add(channel_info={"is_multi_key": True})
        row = queries.find(self.connection, made)
        self.assertIn("is_multi_key", row["channel_info"] if row else "")

    def test_set_status(self) -> None:
        """Only channels that change are named, and their abilities follow."""
        one, two = self.add(), self.add(status=2)
        self.assertEqual(queries.set_status(self.connection, [one, two], 2), [one])
        self.assertEqual({ability[2] for ability in self.offered(one)}, {False})

    def test_set_tag(self) -> None:
        """A tag is set and taken away."""
        one, two = self.add(), self.add(tag="blue")
        self.assertEqual(queries.set_tag(self.connection, [one, two], "red"), 2)
        self.assertEqual(queries.with_tag(self.connection, "red"), [one, two])
        queries.set_tag(self.connection, [one], None)
        self.assertEqual(queries.with_tag(self.connection, "red"), [two])

    def test_delete(self) -> None:
        """Abilities go with their channel; what is not there does not count."""
        one, two = self.add(), self.add()
        self.assertEqual(queries.delete(self.connection, [one, 10**9]), 1)
        self.assertEqual(self.offered(one), [])
        self.assertNotEqual(self.offered(two), [])

    def test_disabled(self) -> None:
        """Disabled by hand and automatically."""
        ids = [self.add(status=status) for status in (1, 2, 3)]
        self.assertEqual(sorted(queries.disabled(self.connection)), ids[1:])

    def test_orphans(self) -> None:
        """Abilities without a channel are forgotten."""
        queries.refresh_abilities(
            self.connection, channel_row(id=10**9, models="m", status=1)
        )
        queries.forget_orphans(self.connection)
        self.assertEqual(self.offered(10**9), [])

    def test_change_many(self) -> None:
        """Each channel is decided on; those that changed are named."""
        ids = [self.add(priority=1), self.add(priority=2)]
        changed = queries.change_many(
            self.connection,
            ids,
            lambda row: {"priority": 2} if row["priority"] != 2 else {},
        )
        self.assertEqual(changed, ids[:1])
