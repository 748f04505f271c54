"""How a streamed answer is framed, told by its content type."""

from __future__ import annotations

from typing import Protocol

from knight_tw.wire import eventstream, ndjson, sse

SSE_TYPE = "text/event-stream"


class EventDecoder(Protocol):
    """Bytes of a stream, in any pieces, to events."""

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """The events that `chunk` completes.

        Raises:
            BadUpstreamBody: the stream is damaged, or an event is too large.
            UpstreamRefused: the framing itself reports a failure.
        """
        ...

    def close(self) -> list[sse.Event]:
        """What is left at the stream's end."""
        ...


def decoder_of(content_type: str, limit: int) -> EventDecoder | None:
    """The decoder for an answer, None when it is no stream.

    Args:
        content_type: The answer's header.
        limit: Most bytes of one event.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == SSE_TYPE:
        return sse.Decoder(limit)
    if kind == eventstream.TYPE:
        return eventstream.Decoder(min(limit, eventstream.LIMIT))
    return ndjson.Decoder(limit) if kind in ndjson.TYPES else None


def as_sse(content_type: str, stream: bytes, limit: int) -> bytes:
    """A whole stream of any framing as server-sent events; what is framed so, or not at
    all, stays as it is.

    Args:
        content_type, limit: As for `decoder_of`.

    Raises:
        BadUpstreamBody, UpstreamRefused: as `EventDecoder.feed`.
    """
    decoder = decoder_of(content_type, limit)
    if decoder is None or isinstance(decoder, sse.Decoder):
        return stream
    return b"".join(event.raw for event in (*decoder.feed(stream), *decoder.close()))
