"""From forms to rows: columns, keys, modes, updates."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.channels import drafts
from knight_tw.channels.columns import check_whole, columns
from knight_tw.channels.drafts import Order
from knight_tw.errors import InvalidRequest

NOW = 1_795_604_343


def form(**members: Any) -> dict[str, Any]:
    """A channel as a form sends it."""
    return {
        "name": "example",
        "type": 1,
        "key": "sk-example-key-one",
        "models": "pt-ok,pt-other",
        "group": "default",
        **members,
    }


def made(mode: str = "single", *, order: Any = None, **members: Any) -> Any:
    """The rows that a form makes."""
    body = {"mode": mode, "channel": form(**members), **(order or {})}
    return drafts.new_rows(Order.read(body), NOW)


def stored(**columns_: Any) -> dict[str, Any]:
    """A row as the database gives it."""
    return {
        "id": 4,
        "type": 1,
        "key": "sk-old",
        "open_ai_organization": None,
        "test_model": None,
        "status": 1,
        "name": "example",
        "weight": 1,
        "base_url": "http://one.example/",
        "other": "",
        "models": "pt-ok",
        "group": "default",
        "model_mapping": None,
        "status_code_mapping": "",
        "priority": 5,
        "auto_ban": 1,
        "tag": None,
        "setting": None,
        "param_override": None,
        "header_override": None,
        "remark": None,
        "channel_info": None,
        "settings": "",
        "other_info": "",
        **columns_,
    }


def changed(body: dict[str, Any], *, with_status: bool = True, **row: Any) -> Any:
    """The columns that an update sets."""
    return drafts.changes(stored(**row), body, with_status=with_status)


class Columns(SynchronousTestCase):
    """One member each."""

    def refused(self, **members: Any) -> None:
        """Every one of the members is refused, and named."""
        for name, value in members.items():
            with self.assertRaises(InvalidRequest) as caught:
                columns({name: value})
            self.assertIn(caught.exception.param, (name, "proxy"))

    def test_absent_and_null_are_left_out(self) -> None:
        """What is not there sets nothing; unknown members are ignored."""
        self.assertEqual(columns({"name": None, "unknown": 1}), {})

    def test_numbers_as_text(self) -> None:
        """Old consoles send numbers as text."""
        found = columns({"type": "14", "priority": "-3", "weight": 2.0})
        self.assertEqual(found, {"type": 14, "priority": -3, "weight": 2})

    def test_lists(self) -> None:
        """Lists come as text or array; blanks, doubles and empty entries go."""
        self.assertEqual(columns({"models": " a, b,,a"}), {"models": "a,b"})
        self.assertEqual(columns({"models": ["a", "b"]}), {"models": "a,b"})
        self.assertEqual(columns({"groups": ["vip"]}), {"group": "vip"})
        self.assertEqual(columns({"group": ""}), {"group": "default"})

    def test_addresses(self) -> None:
        """A slash at the end goes; plans have names instead of addresses."""
        table = {
            "http://one.example/": "http://one.example",
            "https://h/x/{model}": "https://h/x/{model}",
            "glm-coding-plan": "glm-coding-plan",
            "": "",
        }
        for given, kept in table.items():
            self.assertEqual(columns({"base_url": given}), {"base_url": kept})

    def test_names_of_columns(self) -> None:
        """One member has another name than its column."""
        found = columns({"openai_organization": "org"})
        self.assertEqual(found, {"open_ai_organization": "org"})

    def test_an_empty_tag_is_none(self) -> None:
        """A tag can be taken away."""
        self.assertEqual(columns({"tag": " "}), {"tag": None})

    def test_json_columns(self) -> None:
        """JSON comes as text, which is kept as it is, or as an object."""
        text = '{ "a": "b" }'
        self.assertEqual(columns({"model_mapping": text}), {"model_mapping": text})
        found = columns({"model_mapping": {"a": "b"}})
        self.assertEqual(found, {"model_mapping": '{"a":"b"}'})
        self.assertEqual(columns({"setting": ""}), {"setting": ""})

    def test_good_settings(self) -> None:
        """What the specification allows passes."""
        columns(
            {
                "setting": {"proxy": "socks5://u:p@host:1080", "system_prompt": "x"},
                "settings": {"interrupt_policy": "drain", "max_concurrency": 3},
                "status_code_mapping": {"429": "503", "500": 400},
                "header_override": {"X-A": "{api_key}", "*": "", "re:^x-": ""},
                "param_override": {"temperature": 1},
            }
        )

    def test_wrong_values(self) -> None:
        """Every column has its rule."""
        self.refused(
            type="x",
            name="n" * 192,
            weight=-1,
            priority=2**70,
            auto_ban=2,
            models="m" * 256,
            group=",".join(f"group-{n}" for n in range(20)),
            base_url="ftp://host",
            tag=7,
            remark="r" * 256,
            model_mapping='{"a": 1}',
            status_code_mapping='{"99": 200}',
            header_override='{"X-A": 1}',
            param_override='{"operations": [1]}',
            setting="[]",
            settings='{"max_concurrency": -1}',
        )
        self.refused(
            base_url="http://",
            status_code_mapping='{"200": true}',
            header_override='{"X A": "v"}',
            setting='{"proxy": "http://host/path"}',
            settings='{"interrupt_policy": "sometimes"}',
            param_override="[" * 100_000,
        )
        self.refused(
            base_url="http://[::1",
            header_override='{"X-A": "a\\r\\nb"}',
            setting='{"proxy": "gopher://host"}',
            settings='{"supported_endpoints": "openai"}',
            name="with\0nul",
        )
        self.refused(
            setting='{"http_protocol": "http1", "http2_connection_shards": 2}',
            settings='{"accepts": [1]}',
            priority=1.5,
        )

    def test_whole_rows(self) -> None:
        """A type must be known and have what it needs."""
        for row in (
            {"type": 61},
            {"type": 28},
            {"type": 58},
            {"type": 59, "base_url": ""},
            {"type": 41, "other": '{"m": "region"}'},
            {"type": 41, "other": "{"},
        ):
            self.assertRaises(InvalidRequest, check_whole, row)
        check_whole({"type": 41, "other": '{"default": "global"}'})
        check_whole({"type": 58, "settings": '{"advanced_custom": {"a": 1}}'})


class Making(SynchronousTestCase):
    """The three modes, and the bare form."""

    def test_single(self) -> None:
        """One row with one key and the time of its making."""
        row = made()[0]
        self.assertEqual((row["key"], row["created_time"]), ("sk-example-key-one", NOW))
        self.assertIs(row["channel_info"]["is_multi_key"], False)

    def test_single_takes_one_key(self) -> None:
        """Two lines are no single key."""
        self.assertRaises(InvalidRequest, made, key="sk-1\nsk-2")

    def test_batch(self) -> None:
        """A row per line, with the beginning of its own key in the name."""
        flag = {"batch_add_set_key_prefix_2_name": True}
        rows = made("batch", order=flag, key="sk-one-111\n\nsk-two-222")
        names = [row["name"] for row in rows]
        self.assertEqual(names, ["example sk-one-1", "example sk-two-2"])
        self.assertEqual([row["key"] for row in rows], ["sk-one-111", "sk-two-222"])

    def test_too_large_a_batch(self) -> None:
        """One request makes a bounded number of rows."""
        self.assertRaises(InvalidRequest, made, "batch", key="k\n" * 1001)

    def test_many_keys_in_one(self) -> None:
        """One row with all keys, and their mode."""
        rows = made(
            "multi_to_single", order={"multi_key_mode": "polling"}, key="a\nb\na"
        )
        self.assertEqual(rows[0]["key"], "a\nb")
        info = rows[0]["channel_info"]
        self.assertEqual(
            (info["multi_key_size"], info["multi_key_mode"]), (2, "polling")
        )

    def test_bare_form(self) -> None:
        """Without a `channel` member the body is the channel, a row per line."""
        rows = drafts.new_rows(Order.read(form(key="a\nb")), NOW)
        self.assertEqual([row["key"] for row in rows], ["a", "b"])

    def test_vertex_keys(self) -> None:
        """Service accounts come as JSON, one or an array, and are kept compact."""
        account = '{"type": "service_account",\n "private_key": "x"}'
        compact = '{"type":"service_account","private_key":"x"}'
        self.assertEqual(made(type=41, key=account)[0]["key"], compact)
        rows = made("batch", type=41, key=f"[{account},{account}]")
        self.assertEqual([row["key"] for row in rows], [compact, compact])
        self.assertRaises(InvalidRequest, made, type=41, key="AIza-plain")

    def test_vertex_with_an_api_key(self) -> None:
        """With that kind of key, lines are keys."""
        row = made(type=41, key="AIza", settings={"vertex_key_type": "api_key"})[0]
        self.assertEqual(row["key"], "AIza")

    def test_codex_keys(self) -> None:
        """A Codex key is JSON with two members."""
        good = {"access_token": "t", "account_id": "a"}
        self.assertEqual(json.loads(made(type=57, key=good)[0]["key"]), good)
        self.assertRaises(InvalidRequest, made, type=57, key='{"access_token":"t"}')

    def test_wrong_orders(self) -> None:
        """Mode, channel, key and key mode must be there and known."""
        for body in (
            {"mode": "nonsense", "channel": form()},
            {"mode": "single"},
            {"mode": "single", "channel": []},
            {"mode": "multi_to_single", "channel": form(), "multi_key_mode": "x"},
        ):
            self.assertRaises(InvalidRequest, Order.read, body)
        self.assertRaises(InvalidRequest, made, key="")
        self.assertRaises(InvalidRequest, made, key=None)
        self.assertRaises(InvalidRequest, made, key=7)
        self.assertRaises(InvalidRequest, made, status=9)


class Changing(SynchronousTestCase):
    """Updates by presence."""

    def test_only_what_differs(self) -> None:
        """A full object that changes one thing sets one column."""
        body = {
            "id": 4,
            "name": "renamed",
            "priority": 5,
            "base_url": "http://one.example",
        }
        self.assertEqual(changed(body), {"name": "renamed"})

    def test_an_empty_key_stays(self) -> None:
        """Absent, null and empty keys keep the key."""
        for key in ({}, {"key": ""}, {"key": None}):
            self.assertEqual(changed({"id": 4, **key}), {})
        self.assertEqual(changed({"key": "sk-new"}), {"key": "sk-new"})

    def test_one_key_stays_one(self) -> None:
        """A single-key channel does not become one with several keys."""
        self.assertRaises(InvalidRequest, changed, {"key": "a\nb"})

    def test_status(self) -> None:
        """The status is set in the older dialect and refused in the newer one."""
        self.assertEqual(changed({"status": 2}), {"status": 2})
        self.assertRaises(InvalidRequest, changed, {"status": 2}, with_status=False)
        self.assertEqual(changed({"status": 1}, with_status=False), {})

    def test_multi_keys(self) -> None:
        """Keys are appended or replaced; a key that stays keeps its state."""
        info = json.dumps(
            {
                "is_multi_key": True,
                "multi_key_status_list": {"1": 3},
                "multi_key_mode": "random",
            }
        )
        row = {"key": "a\nb", "channel_info": info}
        more = changed({"key": "b\nc", "key_mode": "append"}, **row)
        self.assertEqual(more["key"], "a\nb\nc")
        self.assertEqual(more["channel_info"]["multi_key_status_list"], {"1": 3})
        other = changed({"key": "b\nd", "key_mode": "replace"}, **row)
        self.assertEqual(other["key"], "b\nd")
        self.assertEqual(other["channel_info"]["multi_key_status_list"], {"0": 3})
        mode = changed({"multi_key_mode": "polling"}, **row)
        self.assertEqual(list(mode), ["channel_info"])
        self.assertRaises(InvalidRequest, changed, {"multi_key_mode": "x"}, **row)

    def test_the_result_must_be_valid(self) -> None:
        """A change that leaves the row without what its type needs is refused."""
        self.assertRaises(InvalidRequest, changed, {"type": 58})

    def test_tag_edits(self) -> None:
        """Empty members stay as they are; an empty new tag takes it away."""
        body = {"tag": "t", "new_tag": "", "priority": 0, "models": "", "groups": "vip"}
        self.assertEqual(
            drafts.edits_of_tag(body), {"tag": None, "priority": 0, "group": "vip"}
        )

    def test_copy(self) -> None:
        """A copy has another name and no history."""
        row = stored(test_time=5, response_time=6, balance=7, used_quota=8)
        made = drafts.copy_of(row, "_two", True, NOW)
        told = [made[name] for name in ("name", "test_time", "balance", "used_quota")]
        self.assertEqual(told, ["example_two", 0, 0, 0])
        self.assertNotIn("id", made)
        self.assertEqual(drafts.copy_of(row, "_", False, NOW)["used_quota"], 8)


class Guarding(SynchronousTestCase):
    """The mark that has the address guard watch a channel."""

    def mark(self, before: dict[str, Any], values: dict[str, Any], root: bool) -> Any:
        """The settings after a write."""
        return drafts.guarded(before, values, root=root).get("settings")

    def test_an_address_of_somebody_else(self) -> None:
        """Whoever is not root and sets an address sets the mark."""
        values = {"base_url": "http://host"}
        self.assertEqual(self.mark({}, values, False), '{"guarded_address":true}')
        self.assertIsNone(self.mark({}, values, True))
        proxy = {"setting": '{"proxy": "http://host"}'}
        self.assertEqual(self.mark({}, proxy, False), '{"guarded_address":true}')

    def test_other_writes(self) -> None:
        """A write without a new address leaves the mark as it is."""
        self.assertIsNone(self.mark(stored(), {"name": "x"}, False))
        self.assertIsNone(self.mark({}, {"name": "x"}, False))

    def test_nobody_takes_it_off(self) -> None:
        """The mark stays when others write settings; root's write clears it."""
        before = stored(settings='{"guarded_address":true,"a":1}')
        kept = self.mark(before, {"settings": '{"a":2}'}, False)
        self.assertEqual(json.loads(kept), {"a": 2, "guarded_address": True})
        self.assertEqual(self.mark(before, {}, True), '{"a":1}')

    def test_nobody_puts_it_there(self) -> None:
        """A mark in a form without an address does not count."""
        values = {"settings": '{"guarded_address":true}'}
        self.assertEqual(self.mark({}, values, False), "")
