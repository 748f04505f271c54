"""OpenAI chat and the middle form, which is chat with extensions.

Nothing goes through here between a chat client and a chat channel. It is the chat side
of the other pairs: a client's request with its aliases made uniform, and for a channel
the request without what plain chat does not know.
"""

from knight_tw.convert.chat.answers import response_from_x, response_to_x
from knight_tw.convert.chat.incoming import request_to_x
from knight_tw.convert.chat.outgoing import media_urls, request_from_x
from knight_tw.convert.chat.streams import StreamFromX, StreamToX

__all__ = [
    "StreamFromX",
    "StreamToX",
    "media_urls",
    "request_from_x",
    "request_to_x",
    "response_from_x",
    "response_to_x",
]
