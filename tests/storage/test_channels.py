"""Channel rows of every age become the same record."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Channel
from knight_tw.storage import channels, schema
from tests.engines import ConnectionCase, for_engines

JSON_COLUMNS = (
    "model_mapping",
    "status_code_mapping",
    "param_override",
    "header_override",
    "setting",
    "settings",
    "channel_info",
)

TREES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def record(**values: Any) -> Channel:
    """The record of a row with these columns, NULL in the others."""
    row = {column.name: None for column in schema.channels.c}
    return channels.to_record({**row, "id": 1, **values})


class RecordTests(SynchronousTestCase):
    """`to_record`."""

    def test_nulls(self) -> None:
        """A row of NULLs is a channel that does nothing."""
        found = record()
        self.assertEqual((found.status, found.keys, found.models), (0, ("",), ()))
        self.assertEqual((found.groups, found.weight), (("default",), 0))
        self.assertTrue(found.auto_ban)
        self.assertEqual((found.param_override, found.header_override), (None, None))

    def test_columns(self) -> None:
        """Every column lands where it belongs."""
        found = record(
            type=3,
            name="n",
            status=1,
            key=" sk-1 \n",
            base_url=" https://x ",
            models="a, b,",
            group="g,h",
            priority=-2,
            weight=7,
            auto_ban=0,
            open_ai_organization="org",
            response_time=12,
        )
        self.assertEqual((found.keys, found.base_url), (("sk-1",), "https://x"))
        self.assertEqual((found.models, found.groups), (("a", "b"), ("g", "h")))
        self.assertEqual((found.priority, found.weight), (-2, 7))
        self.assertEqual((found.auto_ban, found.organization), (False, "org"))

    def test_json(self) -> None:
        """JSON columns are parsed; members of the wrong type are left out."""
        found = record(
            model_mapping='{"a":"b","c":null}',
            status_code_mapping='{"429":"500","404":503,"x":"y"}',
            param_override='{"temperature":0}',
            header_override='{"X-A":"1","X-B":2}',
            setting='{"proxy":"p"}',
            settings='{"unknown":1}',
        )
        self.assertEqual(found.model_mapping, {"a": "b"})
        self.assertEqual(found.status_code_mapping, {"429": 500, "404": 503})
        self.assertEqual(found.param_override, {"temperature": 0})
        self.assertEqual(found.header_override, {"X-A": "1", "X-B": "2"})
        self.assertEqual(found.setting, {"proxy": "p"})
        self.assertEqual(found.settings, {"unknown": 1})

    def test_empty_json(self) -> None:
        """Null, empty and plain text read as empty."""
        for text in (None, "", "plain", "[]", "null", "{}"):
            found = record(**dict.fromkeys(JSON_COLUMNS, text))
            self.assertEqual((found.setting, found.settings), ({}, {}))
            self.assertEqual((found.model_mapping, found.multi_key), ({}, False))
            self.assertIsNone(found.param_override)

    def test_one_key_of_many_lines(self) -> None:
        """Without the multi-key mark the text is one key, lines and all."""
        text = '{\n "type": "service_account"\n}'
        self.assertEqual(record(key=text).keys, (text,))

    def test_multi_key(self) -> None:
        """Several keys with their state; an index that is not listed is enabled."""
        state = {
            "is_multi_key": True,
            "multi_key_mode": "polling",
            "multi_key_polling_index": 2,
            "multi_key_status_list": {"0": 2, "1": 1, "2": 3},
        }
        found = record(key="a\n b \n\nc", channel_info=json.dumps(state))
        self.assertEqual((found.multi_key, found.keys), (True, ("a", "b", "c")))
        self.assertEqual(found.multi_key_mode, "polling")
        self.assertEqual(found.multi_key_polling_index, 2)
        self.assertEqual(found.key_status, {0: 2, 2: 3})

    def test_unknown_mode(self) -> None:
        """A mode that nobody knows is random."""
        found = record(channel_info='{"is_multi_key":true,"multi_key_mode":"x"}')
        self.assertEqual((found.multi_key_mode, found.keys), ("random", ()))

    @settings(max_examples=80, deadline=None)
    @given(TREES, st.sampled_from(JSON_COLUMNS))
    def test_any_json(self, tree: Any, column: str) -> None:
        """Whatever JSON a column holds, the row is read."""
        record(**{column: json.dumps(tree)})
        record(channel_info=json.dumps({"is_multi_key": True, "multi_key_mode": tree}))
        record(
            channel_info=json.dumps(
                {
                    "is_multi_key": True,
                    "multi_key_polling_index": tree,
                    "multi_key_status_list": {"0": tree, "x": 1},
                }
            )
        )


class SplitKeysTests(SynchronousTestCase):
    """`split_keys`."""

    def test_lines(self) -> None:
        """One key per line, blanks and empty lines dropped."""
        self.assertEqual(channels.split_keys(" a \r\n\n b"), ("a", "b"))

    def test_array(self) -> None:
        """Texts of a JSON array without quotes, objects as compact JSON."""
        keys = channels.split_keys(' ["a", {"b": 1}, ""]')
        self.assertEqual(keys, ("a", '{"b":1}'))

    def test_no_array(self) -> None:
        """A text that only begins like an array is lines."""
        self.assertEqual(channels.split_keys("[a\nb"), ("[a", "b"))


@for_engines
class LoadTests(ConnectionCase):
    """`load_all` and `load`."""

    def test_all(self) -> None:
        """Every channel by id, disabled ones too, JSON as each engine stores it."""
        state = {"is_multi_key": True, "multi_key_status_list": {"1": 3}}
        first = self.insert(
            schema.channels, key="a\nb", status=3, channel_info=state, group="g"
        )
        second = self.insert(schema.channels, key="c", name="é")
        found = channels.load_all(self.connection)
        self.assertEqual([channel.id for channel in found], [first, second])
        self.assertEqual(found[0].key_status, {1: 3})
        self.assertEqual((found[1].name, found[1].keys), ("é", ("c",)))

    def test_one(self) -> None:
        """One channel by its id."""
        made = self.insert(schema.channels, key="c", name="n")
        found = channels.load(self.connection, made)
        assert found is not None
        self.assertEqual(found.name, "n")
        self.assertIsNone(channels.load(self.connection, made + 1))
