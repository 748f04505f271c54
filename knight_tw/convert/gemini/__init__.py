"""Gemini to the middle form and back: requests, answers, streams, embeddings."""

from knight_tw.convert.gemini.answers_in import response_to_x
from knight_tw.convert.gemini.answers_out import response_from_x
from knight_tw.convert.gemini.counting import (
    count_answer,
    counted_request,
    with_model,
)
from knight_tw.convert.gemini.embeddings import (
    embeddings_from_gemini,
    embeddings_from_openai,
    embeddings_to_gemini,
    embeddings_to_openai,
)
from knight_tw.convert.gemini.incoming import request_to_x
from knight_tw.convert.gemini.outgoing import request_from_x
from knight_tw.convert.gemini.outgoing_parts import media_urls
from knight_tw.convert.gemini.same import (
    keep_own_reasoning,
    unfetchable_urls,
    with_media,
    without_call_ids,
)
from knight_tw.convert.gemini.stream_in import StreamToX
from knight_tw.convert.gemini.stream_out import StreamFromX
from knight_tw.convert.gemini.suffixes import apply_suffix, apply_to_body

__all__ = [
    "StreamFromX",
    "StreamToX",
    "apply_suffix",
    "apply_to_body",
    "count_answer",
    "counted_request",
    "embeddings_from_gemini",
    "embeddings_from_openai",
    "embeddings_to_gemini",
    "embeddings_to_openai",
    "keep_own_reasoning",
    "media_urls",
    "request_from_x",
    "request_to_x",
    "response_from_x",
    "response_to_x",
    "unfetchable_urls",
    "with_media",
    "with_model",
    "without_call_ids",
]
