"""Embeddings: requests. Of answers only usage and model matter (`answers`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.wire import top


def validate(body: Mapping[str, Any]) -> None:
    """Refuse a request without input.

    Raises:
        InvalidRequest: `param` is `input`.
    """
    top.require(body, "input")
