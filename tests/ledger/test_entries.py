"""Lines of the journal."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.ledger.entries import (
    NOTE,
    SETTLE,
    Draft,
    Entry,
    Row,
    Unreadable,
    from_line,
    mended,
    sequence_of,
    to_line,
    with_member,
)
from tests.ledger.till import row

NUMBERS = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)
ROWS = st.fixed_dictionaries(
    {},
    optional={
        "user_id": NUMBERS,
        "created_at": NUMBERS,
        "content": TEXT,
        "model_name": TEXT.map(lambda it: it[:191]),
        "request_id": TEXT.map(lambda it: it[:64]),
        "is_stream": st.booleans(),
        "status": st.none() | st.integers(100, 599),
        "session_id": st.none() | TEXT.map(lambda it: it[:64]),
        "other": st.dictionaries(TEXT, VALUES, max_size=4),
    },
)
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.decimals(),
    st.binary(),
    st.lists(st.text()),
)


def draft(**columns: Any) -> Draft:
    """A settlement with a row."""
    return Draft(7, SETTLE, "c", 1, 2, 3, amount=5, sure=5, row=row(**columns))


class LineTests(SynchronousTestCase):
    """`to_line`, `from_line`."""

    @settings(max_examples=100, deadline=None)
    @given(st.integers(1, 2**62), NUMBERS, TEXT, ROWS)
    def test_round_trip(
        self, seq: int, amount: int, call: str, columns: dict[str, Any]
    ) -> None:
        """A line reads back to the entry that was made, member by member."""
        other = columns.get("other", {})
        made = Draft(seq, SETTLE, call, amount=amount, row=dict(columns))
        line, entry = to_line(made)
        self.assertEqual(line.count(b"\n"), 1)
        again = from_line(line)
        self.assertEqual(msgspec.json.encode(again), msgspec.json.encode(entry))
        self.assertEqual((again.seq, again.call, again.amount), (seq, call, amount))
        self.assertIsNotNone(again.row)
        if again.row is not None:
            self.assertEqual(msgspec.json.decode(again.row.other), other)
            for name in columns.keys() - {"other"}:
                self.assertEqual(getattr(again.row, name), columns[name])

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_any_change_is_noticed(self, data: st.DataObject) -> None:
        """A line with another byte in it, or cut short, is unreadable."""
        line, _ = to_line(draft())
        at = data.draw(st.integers(0, len(line) - 1))
        if data.draw(st.booleans()):
            changed = line[:at]
        else:
            byte = data.draw(st.integers(0, 255).filter(lambda it: it != line[at]))
            changed = line[:at] + bytes([byte]) + line[at + 1 :]
        self.assertRaises(Unreadable, from_line, changed)

    def test_sequence_without_decoding(self) -> None:
        """The sequence number is found in the first bytes, and 0 elsewhere."""
        self.assertEqual(sequence_of(to_line(draft())[0]), 7)
        for line in (b"", b"\0\0\0", b'{"seq":', b'{"seq":x,', b'{"journal":"a"}\n'):
            self.assertEqual(sequence_of(line), 0)

    def test_decimals_are_numbers(self) -> None:
        """Ratios in `other` are written as JSON numbers."""
        _, entry = to_line(draft(other={"model_ratio": Decimal("1.25")}))
        self.assertEqual(entry.row and bytes(entry.row.other), b'{"model_ratio":1.25}')

    def test_future_members_are_ignored(self) -> None:
        """A line with members of a later version still reads."""
        body = b'{"seq":1,"kind":"note","novel":1,"row":{"user_id":5,"later":true}}'
        decoded = msgspec.json.decode(body, type=Entry)
        self.assertEqual(decoded.row and decoded.row.user_id, 5)

    def test_refuses_what_does_not_fit(self) -> None:
        """Texts that a column would not take are not written as they are."""
        for columns in (
            {"request_id": "x" * 65},
            {"model_name": "x" * 192},
            {"content": "a\0b"},
            {"content": "\ud800"},
            {"use_time": 1.5},
            {"prompt_tokens": 2**63},
        ):
            with self.assertRaises((msgspec.MsgspecError, ValueError)):
                to_line(draft(**columns))

    def test_nul_in_other_is_harmless(self) -> None:
        """`other` is JSON text, in which a NUL is escaped."""
        _, entry = to_line(draft(other={"a": "\0"}))
        self.assertEqual(entry.row and bytes(entry.row.other), b'{"a":"\\u0000"}')


class MendedTests(SynchronousTestCase):
    """`mended`."""

    @settings(max_examples=150, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from([*Row.__struct_fields__, "novel"]),
            JUNK | st.dictionaries(st.text(), JUNK, max_size=3),
        )
    )
    def test_always_fits(self, columns: dict[str, Any]) -> None:
        """Whatever a row holds, it can be written afterwards."""
        _, entry = to_line(Draft(1, NOTE, row=mended(columns)))
        self.assertIsNotNone(entry.row)

    def test_keeps_what_is_good(self) -> None:
        """What fits stays; texts are cut, numbers become whole."""
        mend = mended({**row("r" * 70), "use_time": 1.5, "novel": 1, "ip": None})
        self.assertEqual(mend["request_id"], "r" * 64)
        self.assertEqual((mend["use_time"], mend["model_name"]), (1, "gpt-4o"))
        self.assertNotIn("novel", mend)
        self.assertEqual(msgspec.json.decode(mend["other"])["frt"], 120)


class MemberTests(SynchronousTestCase):
    """`with_member`."""

    def test_keeps_the_others_byte_for_byte(self) -> None:
        """The members that were there keep their spelling."""
        other = msgspec.Raw(b'{"a":1.250,"b":"\\u0000"}')
        text = with_member(other, "uncollected_quota", 1000)
        self.assertEqual(text, '{"a":1.250,"b":"\\u0000","uncollected_quota":1000}')
