"""Tests of knight_tw.overrides and its parts."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import overrides
from knight_tw.errors import (
    ChannelFault,
    InvalidRequest,
    KnightError,
    UpstreamRefused,
)
from knight_tw.overrides import Context
from knight_tw.overrides import paths as override_paths

NOTHING = Context()


def raw(body: Any) -> dict[str, Any]:
    """A body whose members nobody has decoded."""
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, Raw])


def changed(body: Any, *operations: Any, context: Context = NOTHING) -> Any:
    """The body after some operations, decoded."""
    document = raw(body)
    overrides.apply_params(document, {"operations": list(operations)}, context)
    return msgspec.json.decode(msgspec.json.encode(document))


def op(mode: str, path: str | None = None, **more: Any) -> dict[str, Any]:
    named = {key.rstrip("_"): value for key, value in more.items()}
    return {"mode": mode, **({} if path is None else {"path": path}), **named}


class PathTests(SynchronousTestCase):
    def test_steps(self) -> None:
        """Dots separate, escaped dots do not."""
        self.assertEqual(override_paths.parse(r"a.b\.c.-1"), ("a", "b.c", "-1"))

    def test_refused(self) -> None:
        """Empty paths and steps, and endless ones, are refused."""
        for path in ("", "a..b", ".a", "a.", ".".join("a" * 60)):
            with self.assertRaises(ValueError):
                override_paths.parse(path)

    def test_set(self) -> None:
        """Values are written by name, index, from the end, and into every element."""
        for body, path, result in (
            ({}, "a", {"a": 1}),
            ({}, "a.b.c", {"a": {"b": {"c": 1}}}),
            ({}, "a.0.b", {"a": [{"b": 1}]}),
            ({"a": None}, "a.b", {"a": {"b": 1}}),
            ({"a": [1, 2]}, "a.-1", {"a": [1, 1]}),
            ({"a": [5]}, "a.2", {"a": [5, None, 1]}),
            ({"a": [{}, {"b": 2}]}, "a.*.b", {"a": [{"b": 1}, {"b": 1}]}),
            ({"a": {"x": 0, "y": 0}}, "a.*", {"a": {"x": 1, "y": 1}}),
            ({}, r"a\.b", {"a.b": 1}),
            ({}, "a.*.b", {}),
            ({}, "a.-1", {}),
            ({"a": []}, "a.-1", {"a": []}),
            ({"a": [1]}, "a.x", {"a": [1]}),
            ({"a": [1]}, "a.900", {"a": [1]}),
            ({"a": 5}, "a.b", {"a": 5}),
            ({"a": {"0": 2}}, "a.0", {"a": {"0": 1}}),
        ):
            self.assertEqual(changed(body, op("set", path, value=1)), result, path)

    def test_untouched_members_keep_their_bytes(self) -> None:
        """What no operation touches stays byte for byte, numbers included."""
        body = msgspec.json.decode(
            b'{"temperature": 1.50, "big": [1e2 , 3],"model":"m"}', type=dict[str, Raw]
        )
        overrides.apply_params(
            body,
            {"operations": [op("set", "model", value="x", conditions={"big.1": 3})]},
            NOTHING,
        )
        self.assertEqual(
            msgspec.json.encode(body),
            b'{"temperature":1.50,"big":[1e2 , 3],"model":"x"}',
        )

    def test_values_are_not_shared(self) -> None:
        """Later operations do not change the override itself."""
        override = {
            "tools": [{"a": 1}],
            "operations": [op("set", "tools.0.a", value=2)],
        }
        before = copy.deepcopy(override)
        for _ in range(2):
            overrides.apply_params(raw({}), override, NOTHING)
        self.assertEqual(override, before)


class LiteralTests(SynchronousTestCase):
    def test_assigned_first(self) -> None:
        """Members are assigned whole, dots included, before the operations."""
        body = raw({"model": "m", "a": {"b": 1}})
        applied = overrides.apply_params(
            body,
            {"operations": [op("copy", from_="x", to="y")], "x": 5, "a.b": 2},
            NOTHING,
        )
        self.assertEqual(body["y"], 5)
        self.assertEqual(body["a.b"], 2)
        self.assertEqual(bytes(body["a"]), b'{"b":1}')
        self.assertEqual(applied.audit, ())

    def test_none(self) -> None:
        """No override, no change."""
        body = raw({"a": 1})
        applied = overrides.apply_params(body, None, Context(overridden={"x": "1"}))
        self.assertEqual(applied.headers, {"x": "1"})
        self.assertEqual(bytes(body["a"]), b"1")


class ModeTests(SynchronousTestCase):
    """Every mode that works on the body."""

    def test_set_keeps_origin(self) -> None:
        """A value that is there may be kept, also null."""
        kept = op("set", "a", value=1, keep_origin=True)
        self.assertEqual(changed({"a": None}, kept), {"a": None})
        self.assertEqual(changed({}, kept), {"a": 1})

    def test_delete(self) -> None:
        """Members, elements and all elements are removed; nothing is no harm."""
        for path, result in (
            ("a.0", {"a": [2, 3]}),
            ("a.-1", {"a": [1, 2]}),
            ("a.*", {"a": []}),
            ("a", {}),
            ("x.y", {"a": [1, 2, 3]}),
            ("a.9", {"a": [1, 2, 3]}),
        ):
            self.assertEqual(changed({"a": [1, 2, 3]}, op("delete", path)), result)

    def test_move_and_copy(self) -> None:
        """The source goes or stays; without a source nothing happens."""
        body = {"a": {"x": 1}, "b": 2}
        move, copied = op("move", from_="a.x", to="c"), op("copy", from_="b", to="a.y")
        self.assertEqual(changed(body, move), {"a": {}, "b": 2, "c": 1})
        self.assertEqual(changed(body, copied), {"a": {"x": 1, "y": 2}, "b": 2})
        for mode in ("move", "copy"):
            for source in ("no", "b.c"):
                self.assertEqual(changed(body, op(mode, from_=source, to="c")), body)

    def test_move_into_itself(self) -> None:
        """A move below its own source makes no circle."""
        result = changed({"a": {"x": 1}}, op("move", from_="a", to="a.b"))
        self.assertEqual(result, {"a": {"b": {"x": 1}}})
        result = changed({"a": {"x": 1}}, op("copy", from_="a", to="a.b"))
        self.assertEqual(result, {"a": {"x": 1, "b": {"x": 1}}})

    def test_append_and_prepend(self) -> None:
        """Arrays take one or many, texts are joined, objects merged."""
        for old, value, after, before in (
            ([1], 2, [1, 2], [2, 1]),
            ([1], [2, 3], [1, 2, 3], [2, 3, 1]),
            ("a", "b", "ab", "ba"),
            ({"x": 1}, {"x": 2, "y": 3}, {"x": 2, "y": 3}, {"x": 2, "y": 3}),
        ):
            for mode, result in (("append", after), ("prepend", before)):
                self.assertEqual(
                    changed({"a": old}, op(mode, "a", value=value)), {"a": result}
                )
        kept = op("append", "a", value={"x": 2, "y": 3}, keep_origin=True)
        self.assertEqual(changed({"a": {"x": 1}}, kept), {"a": {"x": 1, "y": 3}})
        self.assertEqual(changed({}, op("append", "a", value=1)), {})

    def test_append_to_something_else(self) -> None:
        """Numbers, and a text that gets no text, cannot be added to."""
        for old, value in ((5, 1), (None, 1), ("a", 1), ({"x": 1}, "y")):
            with self.assertRaises(ChannelFault) as caught:
                changed({"a": old}, op("append", "a", value=value))
            self.assertEqual(caught.exception.code, "channel:param_override_invalid")

    def test_texts(self) -> None:
        """Texts are trimmed, completed, folded and replaced."""
        for mode, more, old, new in (
            ("trim_prefix", {"value": "x-"}, "x-x-a", "x-a"),
            ("trim_suffix", {"value": "-x"}, "a-x", "a"),
            ("ensure_prefix", {"value": "x-"}, "a", "x-a"),
            ("ensure_prefix", {"value": "x-"}, "x-a", "x-a"),
            ("ensure_suffix", {"value": "-x"}, "a", "a-x"),
            ("ensure_suffix", {"value": "-x"}, "a-x", "a-x"),
            ("trim_space", {}, " \na ", "a"),
            ("to_lower", {}, "Ab", "ab"),
            ("to_upper", {}, "Ab", "AB"),
            ("replace", {"from_": "a", "to": "bb"}, "aXa", "bbXbb"),
            ("replace", {"from_": "a"}, "aXa", "X"),
            ("regex_replace", {"from_": r"^(\w+)-\d+$", "to": "$1"}, "m-01", "m"),
        ):
            result = changed({"a": old}, op(mode, "a", **more))
            self.assertEqual(result, {"a": new}, mode)

    def test_texts_only(self) -> None:
        """Other things at the path are left alone, elements one by one."""
        body = {"a": [" x ", 5, None], "b": 7}
        self.assertEqual(
            changed(body, op("trim_space", "a.*"), op("to_lower", "b")),
            {"a": ["x", 5, None], "b": 7},
        )

    def test_prune_by_type(self) -> None:
        """Objects of a type vanish from the whole body, the root itself never."""
        body = {
            "type": "x",
            "messages": [
                {"content": [{"type": "x"}, {"type": "y"}, "text"]},
                {"type": "x"},
            ],
            "thinking": {"type": "x"},
            "other": [1],
        }
        self.assertEqual(
            changed(body, op("prune_objects", value="x")),
            {
                "type": "x",
                "messages": [{"content": [{"type": "y"}, "text"]}],
                "other": [1],
            },
        )
        self.assertEqual(
            changed({"a": {"type": "x", "b": {"type": "x"}}},
                    op("prune_objects", "a", value="x")),
            {"a": {"type": "x"}},
        )  # fmt: skip

    def test_prune_leaves_bytes(self) -> None:
        """A member in which nothing is pruned keeps its bytes."""
        body = msgspec.json.decode(
            b'{"a":[1.50],"b":[{"type":"x"}]}', type=dict[str, Raw]
        )
        pruning = {"operations": [op("prune_objects", value="x")]}
        overrides.apply_params(body, pruning, NOTHING)
        self.assertEqual(msgspec.json.encode(body), b'{"a":[1.50],"b":[]}')

    def test_prune_by_members(self) -> None:
        """Objects are chosen by members, by conditions, or both."""
        body = {"a": [{"k": 1, "n": {"m": "t"}}, {"k": 2, "n": {"m": "u"}}, 5]}
        for value, left in (
            ({"where": {"k": 1}}, [body["a"][1], 5]),
            ({"where": {"n.m": "u"}}, [body["a"][0], 5]),
            ({"where": {"k": 1, "n.m": "u"}}, body["a"]),
            (
                {"conditions": [{"path": "k", "mode": "gt", "value": 1}]},
                [body["a"][0], 5],
            ),
            ({"conditions": {"k": 1, "n.m": "u"}, "logic": "OR"}, [5]),
            ({"conditions": {"k": 1, "n.m": "u"}}, body["a"]),
        ):
            result = changed(body, op("prune_objects", "a", value=value))
            self.assertEqual(result, {"a": left}, value)

    def test_prune_near_the_root_only(self) -> None:
        """Without recursion only the members of the place itself are looked at."""
        body = {"a": [{"type": "y", "b": {"type": "x"}}, {"type": "x"}], "n": 5}
        shallow = {"type": "x", "recursive": False}
        self.assertEqual(
            changed(body, op("prune_objects", "a", value=shallow)),
            {"a": [{"type": "y", "b": {"type": "x"}}], "n": 5},
        )
        self.assertEqual(changed(body, op("prune_objects", value=shallow)), body)
        self.assertEqual(changed(body, op("prune_objects", "n", value="x")), body)

    def test_return_error(self) -> None:
        """The request is answered by an error of the administrator's making."""
        for value, message, status, code, again in (
            ("no", "no", 400, "invalid_request", False),
            ({"msg": "no", "status": 429}, "no", 429, "invalid_request", False),
            (
                {"message": "m", "status_code": 503, "code": "c", "skip_retry": False},
                "m",
                503,
                "c",
                None,
            ),
        ):
            with self.assertRaises(KnightError) as caught:
                changed({}, op("return_error", value=value))
            error = caught.exception
            self.assertEqual(
                (error.message, error.status, error.code, error.retryable),
                (message, status, code, again),
            )
            self.assertEqual(error.type, "invalid_request_error")


CLIENT = (
    ("anthropic-beta", "a,b"),
    ("x-one", "1"),
    ("connection", "close"),
    ("x-two", "2"),
)


class HeaderModeTests(SynchronousTestCase):
    """The modes that work on headers."""

    def applied(
        self, *operations: Any, body: Any = None, **overridden: str
    ) -> dict[str, str | None]:
        context = Context.of(client=CLIENT, overridden=overridden)
        document = raw(body or {})
        override = {"operations": list(operations)}
        applied = overrides.apply_params(document, override, context)
        self.body = msgspec.json.decode(msgspec.json.encode(document))
        return dict(applied.headers)

    def test_set(self) -> None:
        """Values are set; a header that is overridden already may be kept."""
        self.assertEqual(self.applied(op("set_header", "X-A", value="1")), {"x-a": "1"})
        self.assertEqual(self.applied(op("set_header", "X-A", value=5)), {"x-a": "5"})
        flag = op("set_header", "X-A", value=True)
        self.assertEqual(self.applied(flag), {"x-a": "true"})
        kept = op("set_header", "auth", value="2", keep_origin=True)
        self.assertEqual(self.applied(kept, auth="1"), {"auth": "1"})

    def test_edit_a_list(self) -> None:
        """Tokens of a list are replaced, dropped, added, or kept if declared."""
        for value, result in (
            ({"a": "c"}, "c,b"),
            ({"a": None}, "b"),
            ({"a": ["c", "d"], "$append": ["b", "e"]}, "c,d,b,e"),
            ({"a": "a", "$keep_only_declared": True}, "a"),
            ({"a": "a", "*": None}, "a"),
            ({"*": "z"}, "z"),
            ({"a": None, "b": None}, None),
        ):
            edit = op("set_header", "Anthropic-Beta", value=value)
            self.assertEqual(self.applied(edit), {"anthropic-beta": result}, value)
        new = op("set_header", "x-new", value={"$append": "v"})
        self.assertEqual(self.applied(new), {"x-new": "v"})

    def test_delete(self) -> None:
        """An overridden header is dropped."""
        self.assertEqual(
            self.applied(op("delete_header", "A"), a="1", b="2"), {"b": "2"}
        )

    def test_copy_and_move(self) -> None:
        """Either end may be the path; the channel's header beats the client's."""
        for operation, result in (
            (op("copy_header", "x-new", from_="X-One"), {"x-one": "9", "x-new": "9"}),
            (op("copy_header", "x-two", to="x-new"), {"x-one": "9", "x-new": "2"}),
            (op("copy_header", from_="x-none", to="x-new"), {"x-one": "9"}),
            (op("copy_header", from_="x-two", to="x-one", keep_origin=True),
             {"x-one": "9"}),
            (op("move_header", from_="x-one", to="x-new"), {"x-new": "9"}),
            (op("move_header", "x-one"), {"x-one": "9"}),
        ):  # fmt: skip
            headers = self.applied(operation, **{"x-one": "9"})
            self.assertEqual(headers, result, operation)

    def test_pass(self) -> None:
        """Named headers of the client are handed on, never those of its connection."""
        for value in (
            "x-one, X-Two, connection, x-none",
            ["X-One", "x-two"],
            {"headers": ["x-one", "x-two"]},
            {"names": "x-one,x-two"},
            {"header": "x-one,x-two"},
        ):
            headers = self.applied(op("pass_headers", value=value))
            self.assertEqual(headers, {"x-one": "1", "x-two": "2"})
        kept = op("pass_headers", value="x-one", keep_origin=True)
        self.assertEqual(self.applied(kept, **{"x-one": "9"}), {"x-one": "9"})

    def test_sync(self) -> None:
        """The side that is missing is filled from the other."""
        both = op("sync_fields", from_="json:a.b", to="header:X-One")
        self.applied(both)
        self.assertEqual(self.body, {"a": {"b": "1"}})
        new = op("sync_fields", from_="json:a", to="header:x-new")
        self.assertEqual(self.applied(new, body={"a": 5}), {"x-new": "5"})
        self.assertEqual(self.applied(new, body={"a": {"b": 1}}), {})
        self.assertEqual(self.applied(new), {})
        self.assertEqual(self.applied(both, body={"a": {"b": "x"}}), {})


class ConditionTests(SynchronousTestCase):
    CONTEXT = Context.of(
        upstream_model="up",
        original_model="m",
        path="/v1/chat/completions",
        client=[("x-flag", "on"), ("x.dotted", "yes"), ("x-flag", "off")],
        overridden={"x-set": "1"},
        retry=1,
        last_error=UpstreamRefused("slow down", status=429, type="rate"),
        user_id=7,
        group="vip",
        channel_id=3,
    )

    def met(self, conditions: Any, body: Any = None, **more: Any) -> bool:
        setting = op("set", "hit", value=1, conditions=conditions, **more)
        return "hit" in changed(body or {}, setting, context=self.CONTEXT)

    def test_modes(self) -> None:
        """Every comparison, on the body; different kinds never compare."""
        body = {"t": "hello", "n": 5, "f": True, "l": [{"k": "a"}, {"k": "b"}]}
        for path, mode, value, met in (
            ("t", "full", "hello", True),
            ("n", "full", 5.0, True),
            ("f", "full", 1, False),
            ("f", "full", True, True),
            ("t", "prefix", "he", True),
            ("t", "suffix", "lo", True),
            ("t", "contains", "ell", True),
            ("t", "contains", "x", False),
            ("n", "contains", "5", False),
            ("n", "gt", 4, True),
            ("n", "gte", 5, True),
            ("n", "lt", 5, False),
            ("n", "lte", 5, True),
            ("t", "gt", 5, False),
            ("f", "gt", 0, False),
            ("l.*.k", "full", "b", True),
        ):
            condition = {"path": path, "mode": mode, "value": value}
            self.assertEqual(self.met([condition], body), met, condition)
            inverted = {**condition, "invert": True}
            self.assertEqual(self.met([inverted], body), not met, condition)

    def test_missing(self) -> None:
        """A missing value passes only if the condition says so."""
        missing = {"path": "no", "value": 1}
        self.assertFalse(self.met([missing]))
        self.assertFalse(self.met([{**missing, "invert": True}]))
        self.assertTrue(self.met([{**missing, "pass_missing_key": True}]))

    def test_logic(self) -> None:
        """One condition is enough unless all are asked for."""
        conditions = [{"path": "a", "value": 1}, {"path": "b", "value": 1}]
        self.assertTrue(self.met(conditions, {"a": 1}))
        self.assertFalse(self.met(conditions, {"a": 1}, logic="AND"))
        self.assertTrue(self.met({"a": 1}, {"a": 1}))
        both = {"a.x": 1, "a.y": 2}
        self.assertTrue(self.met(both, {"a": {"x": 1, "y": 2}}, logic="and"))
        self.assertTrue(self.met([]))

    def test_context(self) -> None:
        """What is not in the body is looked for in the context."""
        for path, value in (
            ("model", "up"),
            ("original_model", "m"),
            ("request_path", "/v1/chat/completions"),
            ("request_headers.x-flag", "on, off"),
            ("request_headers.X-Flag", "on, off"),
            (r"request_headers.x\.dotted", "yes"),
            ("header_override.x-set", "1"),
            ("retry_index", 1),
            ("is_retry", True),
            ("retry.index", 1),
            ("last_error.status_code", 429),
            ("last_error_message", "slow down"),
            ("last_error.skip_retry", False),
            ("last_error_type", "rate"),
            ("is_channel_test", False),
            ("user_id", 7),
            ("group", "vip"),
            ("channel_id", 3),
        ):
            self.assertTrue(self.met({path: value}), path)
        self.assertTrue(self.met({"model": "own"}, {"model": "own"}))
        for path in ("model.x", "nothing.at.all", "retry"):
            self.assertFalse(self.met({path: "up"}), path)

    def test_header_changes_are_seen(self) -> None:
        """A header that an operation removed is missing for the next one."""
        context = Context.of(client=[("beta", "a")])
        body = raw({})
        emptied = op("set_header", "beta", value={"a": None})
        asked = op("set", "hit", value=1, conditions={"header_override.beta": "a"})
        applied = overrides.apply_params(
            body, {"operations": [emptied, asked]}, context
        )
        self.assertEqual(dict(applied.headers), {"beta": None})
        self.assertNotIn("hit", body)


class AuditTests(SynchronousTestCase):
    def test_lines(self) -> None:
        """Changes of telling members are noted, vain operations are not."""
        override = {
            "system": "s",
            "operations": [
                op("set", "model", value="x"),
                op("set", "temperature", value=1),
                op("delete", "speed"),
                op("move", from_="input", to="messages"),
                op("copy", from_="model", to="instructions"),
                op("prune_objects", value="x"),
                op("set_header", "model", value="1"),
                op("sync_fields", from_="json:service_tier", to="header:tier"),
            ],
        }
        body = raw({"input": [{"type": "x"}], "service_tier": "flex"})
        applied = overrides.apply_params(body, override, NOTHING)
        self.assertEqual(
            applied.audit,
            (
                "set system",
                "set model",
                "move input",
                "move messages",
                "copy instructions",
                "prune_objects *",
                "sync_fields service_tier",
            ),
        )


class LimitTests(SynchronousTestCase):
    def refused(self, body: Any, *operations: Any) -> None:
        with self.assertRaises(ChannelFault):
            changed(body, *operations)

    def test_doubling(self) -> None:
        """Operations that double the body again and again are stopped."""
        copies = [op("copy", from_="a", to=f"a.x{n}") for n in range(40)]
        self.refused({"a": {"t": "x" * 1000}}, *copies)

    def test_growing_texts(self) -> None:
        """Texts cannot be multiplied without end."""
        widen = op("replace", "a", from_="x", to="x" * 1000)
        self.refused({"a": "x" * 1000}, widen, widen)
        widen = op("regex_replace", "a", from_="x", to="$0" * 1000)
        self.refused({"a": "x" * 1000}, *[widen] * 3)
        self.refused({"a": "x" * 10_000_000}, *[op("append", "a", value="y")] * 7)

    def test_deep_bodies(self) -> None:
        """A body nested beyond reason is the client's fault."""
        depth = 3000
        body = {"a": Raw(b'{"b":' * depth + b"1" + b"}" * depth)}
        with self.assertRaises(InvalidRequest):
            overrides.apply_params(
                body, {"operations": [op("prune_objects", value="x")]}, NOTHING
            )


class ValidationTests(SynchronousTestCase):
    def test_malformed(self) -> None:
        """Overrides that cannot be carried out are refused on save and when used."""
        for operations in (
            {"mode": "set"},
            ["set"],
            [{}],
            [{"mode": 5}],
            [op("nonsense", "a")],
            [op("set")],
            [op("set", "a..b")],
            [op("move", from_="a")],
            [op("append", "a")],
            [op("trim_prefix", "a", value="")],
            [op("ensure_suffix", "a", value=5)],
            [op("replace", "a", from_="")],
            [op("replace", "a", from_="x", to=5)],
            [op("regex_replace", "a", from_="(")],
            [op("prune_objects", value="")],
            [op("prune_objects", value={"x": 1})],
            [op("prune_objects", value={"where": 1})],
            [op("prune_objects", value={"where": {"": 1}})],
            [op("prune_objects", "a..b", value="x")],
            [op("prune_objects", value={"conditions": 5})],
            [op("return_error", value="")],
            [op("return_error", value={"status": 500})],
            [op("return_error", value=5)],
            [op("return_error", value={"msg": "m", "status": 99})],
            [op("return_error", value={"msg": "m", "status": True})],
            [op("set_header", "bad name", value="x")],
            [op("set_header", "x", value="a\nb")],
            [op("set_header", "x", value=[1])],
            [op("set_header", "x", value={"a": 5})],
            [op("copy_header", from_="x")],
            [op("delete_header")],
            [op("pass_headers", value=5)],
            [op("pass_headers", value={"none": 1})],
            [op("sync_fields", from_="json:a", to="query:b")],
            [op("sync_fields", from_="json:", to="header:b")],
            [op("set", "a", value=1, conditions="x")],
            [op("set", "a", value=1, conditions=["x"])],
            [op("set", "a", value=1, conditions=[{"path": "a", "mode": "like"}])],
            [op("set", "a", value=1, conditions={"a": 1}, logic="XOR")],
            [op("set", "a", value=1)] * 201,
        ):
            override = {"operations": operations}
            with self.assertRaises(ValueError, msg=str(operations)[:90]):
                overrides.validate(override)
            with self.assertRaises(ChannelFault, msg=str(operations)[:90]):
                overrides.apply_params(raw({"a": "x"}), override, NOTHING)

    def test_size(self) -> None:
        """An override has a limit."""
        with self.assertRaises(ValueError):
            overrides.validate({"x": "y" * 70_000})

    def test_good(self) -> None:
        """Complete operations pass."""
        overrides.validate(
            {
                "temperature": 1,
                "operations": [
                    op("set", "a", value=1, conditions={"b": 1}),
                    op("prune_objects", "messages", value={"where": {"a": 1}}),
                    op("sync_fields", from_="json:a", to="header:b"),
                    op("copy_header", "x"),
                ],
            }
        )

    @settings(max_examples=60, deadline=None)
    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers(-9, 9) | st.text("ab", max_size=3),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(["a", "b", "type"]), inner, max_size=3
                )
            ),
            max_leaves=8,
        ),
        st.sampled_from(["a", "a.b", "a.*", "a.-1", "a.0.b", "*", "*.*", "b.*.type"]),
        st.sampled_from(
            ["set", "delete", "append", "prepend", "to_upper", "prune_objects"]
        ),
    )
    def test_any_body(self, value: Any, path: str, mode: str) -> None:
        """Whatever the body, an operation works or fails as the channel's fault."""
        try:
            changed({"a": value, "b": value}, op(mode, path, value="a"))
        except ChannelFault:
            self.assertIn(mode, ("append", "prepend"))


class MergeTests(SynchronousTestCase):
    def test_template(self) -> None:
        """The template's operations come first, its members only where absent."""
        first, second = op("set", "a", value=1), op("set", "a", value=2)
        merged = overrides.merge(
            {"x": 1, "y": 1, "operations": [first]}, {"y": 2, "operations": [second]}
        )
        self.assertEqual(merged, {"x": 1, "y": 2, "operations": [first, second]})
        self.assertEqual(overrides.merge({"x": 1}, {"y": 2}), {"x": 1, "y": 2})
        self.assertEqual(overrides.merge(None, {"y": 2}), {"y": 2})
        self.assertEqual(overrides.merge({"x": 1}, None), {"x": 1})

    def test_template_on_a_malformed_override(self) -> None:
        """It is the channel's fault, as it is without a template."""
        with self.assertRaises(ChannelFault) as caught:
            overrides.merge({"operations": []}, {"operations": 3})
        self.assertEqual(caught.exception.code, "channel:param_override_invalid")


class HeaderOverrideTests(SynchronousTestCase):
    CLIENT = (
        ("authorization", "Bearer sk-client"),
        ("x-one", "1"),
        ("x-one", "2"),
        ("cookie", "c"),
        ("user-agent", "cli/1"),
        ("sec-websocket-key", "k"),
        ("x-key", "{api_key}"),
    )

    def headers(self, override: Any, **more: Any) -> dict[str, str]:
        return overrides.headers(override, "secret", self.CLIENT, **more)

    def test_values(self) -> None:
        """Values are set as they are, with the channel's key where it is asked for."""
        self.assertEqual(self.headers(None), {})
        self.assertEqual(
            self.headers({"X-A": "v", "Authorization": "Token {api_key}!"}),
            {"x-a": "v", "authorization": "Token secret!"},
        )

    def test_client_header(self) -> None:
        """A whole value may be a header of the client; absent ones are left out."""
        copied = {"X-A": "{client_header:X-One}", "X-B": "{client_header:X-None}"}
        self.assertEqual(self.headers(copied), {"x-a": "1, 2"})
        self.assertEqual(
            self.headers({"x-a": "is {client_header:X-One}"}),
            {"x-a": "is {client_header:X-One}"},
        )

    def test_no_key_for_clients(self) -> None:
        """A client cannot ask for the channel's key."""
        self.assertEqual(
            self.headers({"x-a": "{client_header:x-key}"}), {"x-a": "{api_key}"}
        )
        self.assertEqual(self.headers({"re:^x-key$": ""}), {"x-key": "{api_key}"})

    def test_wildcards(self) -> None:
        """All or matching headers are passed, credentials never; own entries win."""
        passed = {"x-one": "1, 2", "user-agent": "cli/1", "x-key": "{api_key}"}
        self.assertEqual(self.headers({"*": ""}), passed)
        for key in ("re:^X-O", "regex:one$"):
            self.assertEqual(self.headers({key: ""}), {"x-one": "1, 2"})
        self.assertEqual(
            self.headers({"X-One": "own", "re:^x-one$": ""})["x-one"], "own"
        )

    def test_channel_test(self) -> None:
        """A channel test has no client."""
        override = {"*": "", "x-a": "{client_header:X-One}", "x-b": "v"}
        self.assertEqual(self.headers(override, channel_test=True), {"x-b": "v"})

    def test_invalid(self) -> None:
        """Bad names, values and patterns are the channel's fault, refused on save."""
        for override in (
            {"x-a": 5},
            {"x-a": "a\r\nb: c"},
            {"x a": "v"},
            {"": "v"},
            {"x-a": "v" * 20_000},
            {"re:(": ""},
        ):
            with self.assertRaises(ChannelFault) as caught:
                self.headers(override)
            self.assertEqual(caught.exception.code, "channel:header_override_invalid")
            with self.assertRaises(ValueError):
                overrides.validate_headers(override)
        overrides.validate_headers({"*": "", "re:^x-": "", "x-a": "{api_key}"})

    def test_key_with_a_line_break(self) -> None:
        """A credential that would break the header is refused."""
        with self.assertRaises(ChannelFault):
            overrides.headers({"x-a": "{api_key}"}, "se\ncret", ())
