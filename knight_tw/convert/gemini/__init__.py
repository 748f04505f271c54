"""Gemini to the middle form and back: requests, answers, streams."""

from knight_tw.convert.gemini.answers_in import response_to_x
from knight_tw.convert.gemini.answers_out import response_from_x
from knight_tw.convert.gemini.incoming import request_to_x
from knight_tw.convert.gemini.outgoing import request_from_x
from knight_tw.convert.gemini.outgoing_parts import media_urls
from knight_tw.convert.gemini.stream_in import StreamToX
from knight_tw.convert.gemini.stream_out import StreamFromX
from knight_tw.convert.gemini.suffixes import apply_suffix, apply_to_body

__all__ = [
    "StreamFromX",
    "StreamToX",
    "apply_suffix",
    "apply_to_body",
    "media_urls",
    "request_from_x",
    "request_to_x",
    "response_from_x",
    "response_to_x",
]
