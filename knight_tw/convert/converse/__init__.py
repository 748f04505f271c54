"""Bedrock's Converse beside the middle form: requests out, answers and streams in.

The one form for all models on Amazon Bedrock (providers specification, 7.5). No client
speaks it.
"""

from knight_tw.convert.converse.answers import response_to_x
from knight_tw.convert.converse.outgoing import request_from_x
from knight_tw.convert.converse.outgoing_parts import media_urls
from knight_tw.convert.converse.streams import StreamToX

__all__ = ["StreamToX", "media_urls", "request_from_x", "response_to_x"]
