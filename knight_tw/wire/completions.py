"""Legacy text completions: requests. Answers and streams are those of `chat`."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from knight_tw.wire import chat, top


def validate(body: MutableMapping[str, Any]) -> None:
    """Refuse a request without a prompt or with limits out of range.

    Raises:
        InvalidRequest: `param` names the member at fault.
    """
    top.require(body, "prompt")
    chat.output_limit(body)
    chat.choice_count(body)
    chat.include_usage(body)
