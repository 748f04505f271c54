"""Reasoning of the middle form as Claude's thinking blocks (specification 6.1, 11).

A Claude client shows thinking blocks and gives them back. So everything that has to
come back travels in them: Claude's own signatures as they are, those of others wrapped.
A signature of Gemini belongs to a call; it stands on the thinking block if there is
one without a signature, else on an empty block before the call.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import reasoning
from knight_tw.convert.signatures import ANTHROPIC, GOOGLE, native, wrap

Block = dict[str, Any]


def thinking_block(text: str, signature: str = "") -> Block:
    """A block with reasoning; the signature is there even when it is empty."""
    return {"type": "thinking", "thinking": text, "signature": signature}


def shown_signature(piece: reasoning.Piece) -> str:
    """The signature as a Claude client sees it: Claude's own bare, others wrapped."""
    if not piece.signature:
        return ""
    own = native(ANTHROPIC, piece.signature) if piece.letter == ANTHROPIC else None
    if own is not None:
        return own
    return wrap(piece.letter, piece.signature) if piece.letter else piece.signature


def call_signature(call: Mapping[str, Any]) -> str:
    """Gemini's signature of a tool call, wrapped; empty when there is none."""
    extra = call.get("extra_content")
    google = extra.get("google") if isinstance(extra, Mapping) else None
    found = google.get("thought_signature") if isinstance(google, Mapping) else None
    return wrap(GOOGLE, found) if isinstance(found, str) and found else ""


def answer_blocks(
    message: Mapping[str, Any],
) -> tuple[list[Block], dict[int, list[Block]]]:
    """The thinking blocks of an answer, and those that stand before each call."""
    found = reasoning.pieces(message)
    claude = [_claude_block(piece) for piece in found if piece.letter == ANTHROPIC]
    blocks = [block for block in claude if block is not None]
    if not blocks:
        blocks = _other_blocks(message, found)
    before: dict[int, list[Block]] = {}
    calls = message.get("tool_calls")
    for place, call in enumerate(calls if isinstance(calls, list) else []):
        signature = call_signature(call) if isinstance(call, Mapping) else ""
        if not signature:
            continue
        last = blocks[-1] if blocks else None
        if place == 0 and last is not None and last.get("signature") == "":
            last["signature"] = signature
        else:
            before[place] = [thinking_block("", signature)]
    return blocks, before


def _claude_block(piece: reasoning.Piece) -> Block | None:
    """Claude's own block; None when the signature turns out to be another's."""
    if not piece.encrypted:
        return thinking_block(piece.text, shown_signature(piece))
    secret = native(ANTHROPIC, piece.signature)
    return {"type": "redacted_thinking", "data": secret} if secret else None


def _other_blocks(
    message: Mapping[str, Any], found: list[reasoning.Piece]
) -> list[Block]:
    """One block with all of the reasoning and the first signature there is."""
    text = reasoning.shown(message)
    signed = [shown_signature(piece) for piece in found if piece.signature]
    if not text and not signed:
        return []
    return [thinking_block(text, signed[0] if signed else "")]
