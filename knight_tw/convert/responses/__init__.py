"""OpenAI Responses to and from the middle form: requests, whole answers and streams.

Sources: the conversion specification, sections 2, 12 and 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert.context import Context
from knight_tw.convert.responses.answer_in import response_to_x
from knight_tw.convert.responses.answer_out import response_from_x
from knight_tw.convert.responses.foreign import without_foreign
from knight_tw.convert.responses.incoming import request_to_x
from knight_tw.convert.responses.outgoing import request_from_x
from knight_tw.convert.responses.stream_in import StreamToX
from knight_tw.convert.responses.stream_out import StreamFromX

__all__ = [
    "StreamFromX",
    "StreamToX",
    "media_urls",
    "request_from_x",
    "request_to_x",
    "response_from_x",
    "response_to_x",
    "without_foreign",
]


def media_urls(x: Mapping[str, Any], context: Context) -> list[str]:
    """No URL: the API fetches images and files itself."""
    return []
