"""The keys of multi-key channels, and what administrators do to single ones."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.channels.key_actions import Asked, KeyMoved, act
from knight_tw.channels.keys import ALL_DISABLED, KeyRing, split_objects, stored
from knight_tw.errors import InvalidRequest

NOW = 1_795_604_343


def row(*keys: str, status: int = 1, **info: Any) -> dict[str, Any]:
    """A multi-key channel's row."""
    told = {"is_multi_key": True, "multi_key_size": len(keys), **info}
    return {
        "key": "\n".join(keys),
        "status": status,
        "other_info": "",
        "channel_info": json.dumps(told),
    }


class Rings(SynchronousTestCase):
    """Reading and writing the state of keys."""

    def ring(self, *keys: str, **info: Any) -> KeyRing:
        """The ring of a row."""
        found = KeyRing.read("\n".join(keys), {"is_multi_key": True, **info})
        assert found is not None
        return found

    def test_a_single_key_is_no_ring(self) -> None:
        """Null, empty and text columns mean one key."""
        for column in (None, "", "plain text", "[]", '{"is_multi_key":false}'):
            self.assertIsNone(KeyRing.read("sk-1\nsk-2", column))

    def test_column_of_fresh_keys(self) -> None:
        """Without a disabled key the list is null and the other maps are absent."""
        self.assertEqual(
            self.ring("a", "b").column(),
            {
                "is_multi_key": True,
                "multi_key_size": 2,
                "multi_key_status_list": None,
                "multi_key_polling_index": 0,
                "multi_key_mode": "random",
            },
        )

    def test_unknown_members_stay(self) -> None:
        """What another program keeps there is written back."""
        self.assertEqual(self.ring("a", extra=[1]).column()["extra"], [1])

    def test_state_of_keys_that_are_gone(self) -> None:
        """An index beyond the keys is forgotten."""
        ring = self.ring("a", multi_key_status_list={"0": 2, "5": 3, "x": 3})
        self.assertEqual(ring.status, {0: 2})

    def test_find_after_an_edit(self) -> None:
        """A key is found by value when its index is another's now."""
        ring = self.ring("a", "b", "c")
        self.assertEqual([ring.find("b", i) for i in (1, 0, 9)], [1, 1, 1])
        self.assertIsNone(ring.find("gone", 0))

    def test_replace_keeps_state_by_value(self) -> None:
        """A key that stays keeps its state; doubles are dropped."""
        ring = self.ring("a", "b")
        ring.fail(1, "why", NOW)
        ring.replace(["c", "b", "c"])
        self.assertEqual((ring.keys, ring.status), (["c", "b"], {1: 3}))
        self.assertEqual((ring.reasons, ring.times), ({1: "why"}, {1: NOW}))

    def test_keep_renumbers(self) -> None:
        """Remaining keys keep their state under new indices."""
        ring = self.ring("a", "b", "c", multi_key_polling_index=2)
        ring.disable(2)
        ring.keep([1, 2])
        self.assertEqual((ring.keys, ring.status), (["b", "c"], {1: 2}))
        self.assertEqual(ring.polling_index, 0)

    def test_the_last_key_stays(self) -> None:
        """No ring becomes empty."""
        self.assertRaises(InvalidRequest, self.ring("a").keep, [])

    @given(
        st.lists(st.text("ab", min_size=1, max_size=3), min_size=1, max_size=6),
        st.dictionaries(st.integers(0, 7), st.sampled_from([2, 3])),
    )
    @settings(max_examples=50, deadline=None)
    def test_column_is_read_back(self, keys: list[str], status: dict[int, int]) -> None:
        """What is written is what is read."""
        ring = KeyRing(keys, "polling")
        for index, value in status.items():
            if index < len(keys):
                ring.fail(index, "r", NOW) if value == 3 else ring.disable(index)
        column = json.dumps(ring.column())
        self.assertEqual(KeyRing.read(ring.text(), column), ring)


class Objects(SynchronousTestCase):
    """JSON keys, several in one text."""

    def test_an_array_and_lines(self) -> None:
        """An array, lines and pretty-printed objects give compact ones."""
        self.assertEqual(split_objects('[{"a": 1}, {"b": 2}]'), ['{"a":1}', '{"b":2}'])
        self.assertEqual(split_objects('{"a":\n 1}\n{"b":2}\n'), ['{"a":1}', '{"b":2}'])

    def test_what_is_no_object(self) -> None:
        """Anything else is refused."""
        for text in ("sk-1", '["a"]', "{", "[" * 100_000):
            self.assertRaises(InvalidRequest, split_objects, text)

    def test_stored(self) -> None:
        """A column reads as its members, or as none."""
        self.assertEqual(stored('{"a":1}'), {"a": 1})
        self.assertEqual(
            [stored(column) for column in (None, "", "x", "[1]")], [{}] * 4
        )


class KeyActions(SynchronousTestCase):
    """One action each."""

    def act(self, channel: Mapping[str, Any], action: str, **asked: Any) -> Any:
        """What an action comes to."""
        return act(channel, Asked(action, **asked), NOW, reasons=True)

    def info(self, outcome: Any) -> Any:
        """The status list after an action."""
        return outcome.values["channel_info"]["multi_key_status_list"]

    def test_disable_and_enable(self) -> None:
        """A key is disabled by hand, and enabled again."""
        outcome = self.act(row("a", "b"), "disable_key", index=1)
        self.assertEqual(self.info(outcome), {"1": 2})
        self.assertNotIn("status", outcome.values)
        back = row("a", "b", multi_key_status_list={"1": 2})
        self.assertIsNone(self.info(self.act(back, "enable_key", index=1)))

    def test_no_key_left(self) -> None:
        """A channel without a usable key goes out of service, and says why."""
        outcome = self.act(row("a", "b"), "disable_all_keys")
        self.assertEqual(outcome.values["status"], 3)
        told = json.loads(outcome.values["other_info"])
        self.assertEqual(told, {"status_reason": ALL_DISABLED, "status_time": NOW})

    def test_a_key_again(self) -> None:
        """A channel that had no key comes back with one; other reasons keep it off."""
        channel = row("a", status=3, multi_key_status_list={"0": 2})
        channel["other_info"] = json.dumps({"status_reason": ALL_DISABLED})
        self.assertEqual(self.act(channel, "enable_all_keys").values["status"], 1)
        channel["other_info"] = json.dumps({"status_reason": "broke"})
        self.assertNotIn("status", self.act(channel, "enable_all_keys").values)

    def test_delete(self) -> None:
        """A deleted key is gone, and the others are renumbered."""
        outcome = self.act(
            row("a", "b", "c", multi_key_status_list={"2": 3}), "delete_key", index=0
        )
        self.assertEqual(outcome.values["key"], "b\nc")
        self.assertEqual(self.info(outcome), {"1": 3})

    def test_delete_disabled(self) -> None:
        """Only keys disabled automatically go; none of them is a failure."""
        channel = row("a", "b", "c", multi_key_status_list={"0": 2, "1": 3})
        outcome = self.act(channel, "delete_disabled_keys")
        self.assertEqual((outcome.data, outcome.values["key"]), (1, "a\nc"))
        self.assertRaises(
            InvalidRequest, self.act, row("a", "b"), "delete_disabled_keys"
        )

    def test_wrong_index(self) -> None:
        """No key has such an index."""
        for index in (-1, 2):
            self.assertRaises(
                InvalidRequest, self.act, row("a", "b"), "enable_key", index=index
            )

    def test_a_key_that_moved(self) -> None:
        """A preview of another key stops the action."""
        self.assertRaises(
            KeyMoved, self.act, row("a", "b"), "delete_key", index=0, preview="b"
        )
        self.act(row("a" * 20, "b"), "delete_key", index=0, preview="a" * 10)

    def test_unknown_action(self) -> None:
        """What nobody can do is refused, and so is a channel with one key."""
        self.assertRaises(InvalidRequest, self.act, row("a"), "nonsense")
        single = {"key": "a", "status": 1, "other_info": "", "channel_info": None}
        self.assertRaises(InvalidRequest, self.act, single, "get_key_status")

    def test_status_list(self) -> None:
        """A page of keys of one status; the counts are about all keys."""
        channel = row(
            "sk-0123456789",
            "b",
            "c",
            multi_key_status_list={"0": 3, "1": 2},
            multi_key_disabled_reason={"0": "why"},
            multi_key_disabled_time={"0": NOW},
        )
        data = self.act(channel, "get_key_status", status=3).data
        self.assertEqual(
            data,
            {
                "keys": [
                    {
                        "index": 0,
                        "status": 3,
                        "disabled_time": NOW,
                        "reason": "why",
                        "key_preview": "sk-0123456",
                    }
                ],
                "total": 1,
                "page": 1,
                "page_size": 50,
                "total_pages": 1,
                "enabled_count": 1,
                "manual_disabled_count": 1,
                "auto_disabled_count": 1,
            },
        )

    def test_reasons_are_for_root(self) -> None:
        """Others do not see why a key was disabled."""
        channel = row(
            "a", multi_key_status_list={"0": 3}, multi_key_disabled_reason={"0": "why"}
        )
        outcome = act(channel, Asked("get_key_status"), NOW, reasons=False)
        self.assertNotIn("reason", outcome.data["keys"][0])

    def test_pages(self) -> None:
        """Pages follow each other."""
        data = self.act(row("a", "b", "c"), "get_key_status", page=2, size=2).data
        self.assertEqual([key["index"] for key in data["keys"]], [2])
        self.assertEqual(data["total_pages"], 2)
