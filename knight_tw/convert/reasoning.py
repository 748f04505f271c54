"""Reasoning in the middle form: the entries of `reasoning_details`, and what is shown.

An entry is a text, a summary or something encrypted; entries with the same `index` are
one piece of reasoning. In streams the OpenAI client concatenates the texts of entries
with the same index, so constants go out once, and come back doubled from clients that
got them twice (specification, section 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define

from knight_tw.convert.signatures import FORMATS, detail_letter, wrap

TEXT, SUMMARY, ENCRYPTED = "reasoning.text", "reasoning.summary", "reasoning.encrypted"

Detail = dict[str, Any]


def text_detail(
    letter: str, text: str, index: int, signature: str | None = None
) -> Detail:
    """A text entry; a signature is wrapped for its provider."""
    detail: Detail = {"type": TEXT, "text": text}
    if signature:
        detail["signature"] = wrap(letter, signature)
    return {**detail, "format": FORMATS[letter], "index": index}


def encrypted_detail(
    letter: str, secret: str, index: int, identity: str | None = None
) -> Detail:
    """An entry that only its provider can read, wrapped."""
    detail: Detail = {"type": ENCRYPTED, "data": wrap(letter, secret)}
    if identity:
        detail["id"] = identity
    return {**detail, "format": FORMATS[letter], "index": index}


def summary_detail(letter: str, summary: str, index: int) -> Detail:
    """A summary entry."""
    return {
        "type": SUMMARY,
        "summary": summary,
        "format": FORMATS[letter],
        "index": index,
    }


def shown(message: Mapping[str, Any]) -> str:
    """The reasoning text of a message or a delta, from whichever member has it."""
    for name in ("reasoning_content", "reasoning"):
        text = message.get(name)
        if isinstance(text, str) and text:
            return text
    return "".join(
        text
        for detail in details(message)
        for name in ("text", "summary")
        if isinstance(text := detail.get(name), str)
    )


def details(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The entries of `reasoning_details`; what is no object does not count."""
    entries = message.get("reasoning_details")
    if not isinstance(entries, list):
        return []
    return [entry for entry in entries if isinstance(entry, Mapping)]


@define
class Piece:
    """One piece of reasoning: the entries of a provider with one index, put together.

    Attributes:
        letter: Its provider (`signatures`), empty when unknown.
        encrypted: The text is hidden: `signature` is all there is.
        text: What it says.
        signature: The signature or the encrypted value, still wrapped if it was.
        identity: The provider's id of it.
    """

    letter: str
    index: Any = None
    encrypted: bool = False
    text: str = ""
    signature: str = ""
    identity: str = ""


def pieces(message: Mapping[str, Any]) -> list[Piece]:
    """The reasoning of a message, entry by entry, those of one index put together.

    An encrypted entry is a piece of its own.
    """
    found: list[Piece] = []
    for detail in details(message):
        if kind(detail) == ENCRYPTED:
            found.append(
                Piece(
                    detail_letter(detail),
                    detail.get("index"),
                    True,
                    signature=_text(detail, "data"),
                    identity=_text(detail, "id"),
                )
            )
            continue
        last = found[-1] if found else None
        if last is None or not _continues(last, detail):
            last = Piece(detail_letter(detail), detail.get("index"))
            found.append(last)
        last.letter = last.letter or detail_letter(detail)
        last.text += _text(detail, "text") or _text(detail, "summary")
        last.signature += _text(detail, "signature")
    return found


def _continues(piece: Piece, detail: Mapping[str, Any]) -> bool:
    """True when the entry goes on with the piece: a stream's next delta of it."""
    if piece.encrypted or detail.get("index") is None:
        return False
    if detail.get("type") and piece.signature:
        return False
    return bool(piece.index == detail.get("index"))


def kind(detail: Mapping[str, Any]) -> str:
    """The entry's type, a doubled one included; an entry without one is a text."""
    name = _text(detail, "type")
    for known in (ENCRYPTED, SUMMARY):
        if name.startswith(known):
            return known
    return TEXT


def _text(detail: Mapping[str, Any], name: str) -> str:
    value = detail.get(name)
    return value if isinstance(value, str) else ""
