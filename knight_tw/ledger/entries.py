"""The journal's lines: what they hold and how they read back.

A line is a JSON object, a blank, the CRC-32C of the object's bytes as eight hexadecimal
digits, and a newline. `seq` comes first, so that a reader can skip without decoding.

========  ===================================================================
kind      what happened
========  ===================================================================
hold      money was set aside in SQL, with a row in `knight_holds`
settle    a call was charged; replaces its hold
release   a hold in SQL was given up
refund    a charge was given back
note      a log row, or only its statistics, without money
========  ===================================================================

An entry is decoded from its own line before it is used, so that what is applied now and
what a replay would apply are the same by construction.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any

import msgspec
from google_crc32c import value as crc32c
from msgspec import Meta, Raw, Struct

HOLD, SETTLE, RELEASE, REFUND, NOTE = "hold", "settle", "release", "refund", "note"
"""Kinds of entries."""

WALLET = "wallet"
"""Funding source: the user's own balance."""

TAIL = 10
"""Bytes of a line after the object: blank, checksum, newline."""

I64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What every engine stores as a number."""

_SHORT, _UPSTREAM_ID, _ID = 191, 128, 64

LENGTHS: Mapping[str, int] = {
    "username": _SHORT,
    "token_name": _SHORT,
    "model_name": _SHORT,
    "group": _SHORT,
    "ip": _SHORT,
    "request_id": _ID,
    "upstream_request_id": _UPSTREAM_ID,
    "session_id": _ID,
}
"""Characters that the narrowest engine takes of each short column of `logs`."""

TEXTS = frozenset({"content", *LENGTHS})
"""The columns that hold text."""

Short = Annotated[str, Meta(max_length=_SHORT)]
UpstreamId = Annotated[str, Meta(max_length=_UPSTREAM_ID)]
Id = Annotated[str, Meta(max_length=_ID)]


class Row(Struct, omit_defaults=True, gc=False):
    """The columns of a log row, and the one measure that has no column.

    Attributes:
        other: The JSON object of the column `other`, still encoded.
        duration_ms: How long the call took, for the statistics; 0 means that only
            `use_time` (seconds) is known.
    """

    user_id: I64 = 0
    created_at: I64 = 0
    type: I64 = 0
    content: str = ""
    username: Short = ""
    token_name: Short = ""
    model_name: Short = ""
    quota: I64 = 0
    prompt_tokens: I64 = 0
    completion_tokens: I64 = 0
    use_time: I64 = 0
    is_stream: bool = False
    channel_id: I64 = 0
    token_id: I64 = 0
    group: Short = ""
    ip: Short = ""
    request_id: Id = ""
    upstream_request_id: UpstreamId = ""
    status: I64 | None = None
    session_id: Id | None = None
    other: Raw = Raw(b"{}")
    duration_ms: I64 = 0


class _Line(Struct, omit_defaults=True):
    """One line of the journal, but for its row.

    Attributes:
        seq: Counts from 1 in a journal, over all its parts.
        call: The request id, or `task_id:submit`, `task_id:final`.
        token: 0 for the playground.
        held: What the hold was worth.
        sql: The hold has a row in `knight_holds`.
        sure: The part of `amount` that the hold or the comfort of the caller covers;
            what lies above is taken as far as there is any.
        amount: What the call costs, or what a refund gives back.
        at: Unix seconds.
        hidden: The row only counts in the statistics and is not written to `logs`.
        instalment: Which one this is of a call that is charged in instalments, from 1;
            0 for a call that is charged once.
    """

    seq: int
    kind: str
    call: str = ""
    user: int = 0
    token: int = 0
    channel: int = 0
    source: str = ""
    held: int = 0
    sql: bool = False
    sure: int = 0
    amount: int = 0
    evidence: str = ""
    at: int = 0
    hidden: bool = False
    instalment: int = 0


class Entry(_Line, gc=False):
    """A line as it reads back, with its log row."""

    row: Row | None = None


class Draft(_Line):
    """A line as it is made: the row is a dict still, and so is `other` in it."""

    row: dict[str, Any] | None = None


class Unreadable(ValueError):
    """A line that is not what was written."""


_to_json = msgspec.json.Encoder(decimal_format="number").encode
_to_json_somehow = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode
_to_entry = msgspec.json.Decoder(Entry).decode


def to_line(draft: Draft) -> tuple[bytes, Entry]:
    """The line of a draft and the entry that it reads back to.

    Raises:
        msgspec.MsgspecError, TypeError, ValueError: the row does not fit its columns;
            `mended` makes it fit.
    """
    body = _to_json(draft)
    entry = _to_entry(body)
    row = entry.row
    escaped = b"\\" in body and b"\\u0000" in body
    if row is not None and (
        not bytes(row.other).startswith(b"{") or (escaped and _has_nul(row))
    ):
        raise ValueError("a text that not every database takes")
    return b"%b %08x\n" % (body, crc32c(body)), entry


def from_line(line: bytes) -> Entry:
    """The entry of a line, newline included.

    Raises:
        Unreadable: torn, altered, or not a line of ours.
    """
    body, tail = line[:-TAIL], line[-TAIL:]
    if tail != b" %08x\n" % crc32c(body):
        raise Unreadable("checksum")
    try:
        return _to_entry(body)
    except msgspec.MsgspecError as error:
        raise Unreadable(str(error)) from None


def sequence_of(line: bytes) -> int:
    """The sequence number of a line by its first characters alone, 0 when in doubt."""
    if not line.startswith(b'{"seq":'):
        return 0
    digits = line[7 : line.find(b",", 7, 32)]
    return int(digits) if digits.isdigit() else 0


def _has_nul(row: Row) -> bool:
    """True when a text has a NUL; within `other` it is escaped and does no harm."""
    values = msgspec.structs.astuple(row)
    return any(isinstance(it, str) and "\0" in it for it in values)


def mended(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row that fits its columns, made from one that does not; money depends on it.

    Texts lose what no database takes (NUL, lone surrogates) and are cut to the column,
    numbers become whole, what is no column is dropped.
    """
    whole: dict[str, Any] = {}
    for name, value in row.items():
        if value is None or name not in Row.__struct_fields__ or name == "other":
            continue
        if name == "is_stream":
            whole[name] = bool(value)
        elif name in TEXTS:
            whole[name] = _clean(str(value))[: LENGTHS.get(name)]
        else:
            whole[name] = _whole(value)
    whole["other"] = _mended_other(row.get("other"))
    return whole


def _mended_other(other: Any) -> Raw:
    if not isinstance(other, Mapping):
        return Raw(b"{}")
    try:
        return Raw(_to_json_somehow(_cleaned(other)))
    except (RecursionError, TypeError, ValueError, msgspec.MsgspecError):
        return Raw(b"{}")


def _whole(value: Any) -> int:
    try:
        return max(-(2**63), min(2**63 - 1, int(value)))
    except (TypeError, ValueError, OverflowError):
        return 0


def _clean(text: str) -> str:
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def _cleaned(value: Any) -> Any:
    """`value` with every text in it cleaned."""
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, Mapping):
        return {_clean(str(key)): _cleaned(it) for key, it in value.items()}
    if isinstance(value, Decimal) and not value.is_finite():
        return None
    if isinstance(value, list | tuple | set | frozenset):
        return [_cleaned(it) for it in value]
    return value


def with_member(other: Raw, name: str, value: Any) -> str:
    """The text of the JSON object `other` with one more member."""
    members = msgspec.json.decode(other, type=dict[str, Raw])
    members[name] = Raw(_to_json(value))
    return _to_json(members).decode()
