"""A Claude client's request to a Claude channel: bytes stay, foreign reasoning goes.

A client that talked to another provider through the gateway gives back thinking blocks
whose signature is wrapped; Claude would refuse them. Claude's own signatures come back
wrapped where the client got them through a conversion, and are unwrapped.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from msgspec import Raw

from knight_tw.convert.signatures import ANTHROPIC, native, owner
from knight_tw.wire import top

_SIGNED = {"thinking": "signature", "redacted_thinking": "data"}
_MARK = b"ko1."


def keep_own_reasoning(body: MutableMapping[str, Any]) -> None:
    """Drop reasoning that another provider signed, in place; other bytes stay.

    Args:
        body: A request's top level, members undecoded.

    Raises:
        InvalidRequest: `messages` cannot be read.
    """
    messages = body.get("messages")
    if isinstance(messages, Raw) and _MARK not in bytes(messages):
        return
    entries = top.plain(body, "messages")
    if not isinstance(entries, list):
        return
    changed = [_cleaned(entry) for entry in entries]
    body["messages"] = [entry for entry in changed if entry is not None]


def _cleaned(message: Any) -> Any:
    """The message without foreign reasoning; None when nothing is left of it."""
    content = message.get("content") if isinstance(message, dict) else None
    if not isinstance(content, list):
        return message
    blocks = [kept for block in content if (kept := _own(block)) is not None]
    if not blocks and content:
        return None
    return {**message, "content": blocks}


def _own(block: Any) -> Any:
    """The block as Claude takes it, None for another provider's."""
    member = _SIGNED.get(str(block.get("type"))) if isinstance(block, dict) else None
    if member is None:
        return block
    signature = block.get(member)
    if not isinstance(signature, str) or not owner(signature):
        return block
    own = native(ANTHROPIC, signature)
    return None if own is None else {**block, member: own}
