"""Reasoning items and the reasoning of the middle form, both ways.

A reasoning item has a `summary` (a list of texts), sometimes the reasoning itself in
`content`, and with `encrypted_content` what only its maker can read. OpenAI makes such
items; for clients of this dialect the reasoning of other providers is put into them,
each signed piece into an item of its own, its signature wrapped (specification, 2.1).
Coming back they are what they were:

- Claude's thinking: the text with its signature; with an empty `summary` list it is
  redacted thinking;
- Gemini's: the signature belongs to the call that follows, else to the text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from attrs import frozen

from knight_tw.convert import reasoning
from knight_tw.convert.reasoning import Detail
from knight_tw.convert.signatures import (
    ANTHROPIC,
    FORMATS,
    GOOGLE,
    OPENAI,
    native,
    unwrap,
    wrap,
)
from knight_tw.wire.answers import objects

Item = dict[str, Any]

BETWEEN = "\n\n"
"""What stands between two texts of reasoning."""


@frozen
class Thought:
    """One reasoning item to be: its texts, and its secret, wrapped and maybe empty."""

    texts: tuple[str, ...]
    secret: str = ""


@frozen
class Read:
    """What a reasoning item says.

    Attributes:
        shown: Its visible texts.
        details: Entries for `reasoning_details`.
        pending: A Gemini signature for the call or the text that follows, wrapped.
    """

    shown: tuple[str, ...]
    details: tuple[Detail, ...]
    pending: str = ""


def texts_of(item: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """The texts in the `summary` or the `content` of a reasoning item."""
    parts = objects(item.get(name))
    return tuple(text for p in parts if isinstance(text := p.get("text"), str))


def read_item(item: Mapping[str, Any], index: int, *, wrapped: bool) -> Read:
    """What a reasoning item says, in the middle form.

    Args:
        index: The `index` of the entries: which reasoning of its message this is.
        wrapped: Wrap OpenAI's own secret: the item is a provider's, not a client's.
    """
    summary, content = texts_of(item, "summary"), texts_of(item, "content")
    secret = item.get("encrypted_content")
    secret = secret if isinstance(secret, str) else ""
    letter, _ = unwrap(secret)
    if letter == ANTHROPIC:
        return _claude(summary, secret, index)
    if letter == GOOGLE:
        texts = [reasoning.text_detail(GOOGLE, text, index) for text in summary if text]
        return Read(tuple(filter(None, summary)), tuple(texts), secret)
    details = [reasoning.summary_detail(OPENAI, text, index) for text in summary]
    details += [reasoning.text_detail(OPENAI, text, index) for text in content]
    if secret:
        identity = item.get("id") if isinstance(item.get("id"), str) else None
        entry = reasoning.encrypted_detail(OPENAI, secret, index, identity)
        if not wrapped:
            entry["data"] = unwrap(secret)[1]
        details.append(entry)
    return Read(summary or content, tuple(details))


def _claude(summary: Sequence[str], secret: str, index: int) -> Read:
    if not summary:
        return Read((), (reasoning.encrypted_detail(ANTHROPIC, secret, index),))
    text = BETWEEN.join(summary)
    detail = reasoning.text_detail(ANTHROPIC, text, index, secret)
    return Read((text,) if text else (), (detail,))


def pending_detail(signature: str, index: int) -> Detail:
    """The entry for a Gemini signature that no call took."""
    return reasoning.encrypted_detail(GOOGLE, signature, index)


def call_signature(call: Mapping[str, Any]) -> str:
    """The Gemini signature of a tool call, wrapped; empty when there is none."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    value = google.get("thought_signature") if isinstance(google, Mapping) else None
    return wrap(GOOGLE, value) if isinstance(value, str) and value else ""


def thoughts(message: Mapping[str, Any]) -> list[Thought]:
    """The reasoning of a whole assistant message, one entry for each item to be."""
    found: list[Thought] = []
    for piece in reasoning.pieces(message):
        secret = ""
        if piece.signature and piece.letter:
            secret = wrap(piece.letter, piece.signature)
        last = found[-1] if found else None
        if not piece.encrypted:
            found.append(Thought((piece.text,), secret))
        elif piece.letter != ANTHROPIC and last is not None and not last.secret:
            found[-1] = Thought(last.texts, secret)
        elif secret:
            found.append(Thought((), secret))
    if not any(text for thought in found for text in thought.texts):
        text = reasoning.shown(message)
        if text and found and not found[0].texts and _owner(found[0]) != ANTHROPIC:
            found[0] = Thought((text,), found[0].secret)
        elif text:
            found.insert(0, Thought((text,)))
    return found


def _owner(thought: Thought) -> str:
    return unwrap(thought.secret)[0]


def own_items(message: Mapping[str, Any]) -> list[Item]:
    """The reasoning items for OpenAI itself; other providers' reasoning is left out.

    An item without its encrypted content is nothing to a provider that has stored
    nothing, so texts count only together with a secret.
    """
    found: list[Item] = []
    texts: list[str] = []
    for detail in _own(reasoning.details(message)):
        for name in ("summary", "text"):
            text = detail.get(name)
            if isinstance(text, str) and text:
                texts.append(text)
        secret = native(OPENAI, detail.get("data") or detail.get("signature"))
        if secret is None:
            continue
        item: Item = {"type": "reasoning"}
        if isinstance(identity := detail.get("id"), str) and identity:
            item["id"] = identity
        item["summary"] = [{"type": "summary_text", "text": text} for text in texts]
        found.append({**item, "encrypted_content": secret})
        texts = []
    return found


def _own(details: Iterable[Mapping[str, Any]]) -> Iterable[Mapping[str, Any]]:
    """OpenAI's entries, and those of a stream that continue one of them."""
    mine = False
    for detail in details:
        name = detail.get("format")
        for value in (detail.get("data"), detail.get("signature")):
            if isinstance(value, str) and unwrap(value)[0]:
                name = FORMATS[unwrap(value)[0]]
        if name is not None:
            mine = str(name).startswith(FORMATS[OPENAI])
        if mine:
            yield detail
