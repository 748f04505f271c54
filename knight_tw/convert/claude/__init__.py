"""Claude messages to the middle form and back: requests, answers, streams."""

from knight_tw.convert.claude.answers import response_from_x, response_to_x
from knight_tw.convert.claude.incoming import request_to_x
from knight_tw.convert.claude.outgoing import request_from_x
from knight_tw.convert.claude.outgoing_parts import media_urls
from knight_tw.convert.claude.same import keep_own_reasoning
from knight_tw.convert.claude.stream_in import StreamToX
from knight_tw.convert.claude.stream_out import StreamFromX
from knight_tw.convert.claude.suffixes import apply_suffix, apply_to_body

__all__ = [
    "StreamFromX",
    "StreamToX",
    "apply_suffix",
    "apply_to_body",
    "keep_own_reasoning",
    "media_urls",
    "request_from_x",
    "request_to_x",
    "response_from_x",
    "response_to_x",
]
