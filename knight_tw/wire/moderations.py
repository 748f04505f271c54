"""Moderations: requests. Of answers only the model matters (`answers`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.wire import top

DEFAULT_MODEL = "omni-moderation-latest"


def validate(body: Mapping[str, Any]) -> None:
    """Refuse a request without input.

    Raises:
        InvalidRequest: `param` is `input`.
    """
    top.require(body, "input")
