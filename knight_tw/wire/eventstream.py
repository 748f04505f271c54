"""Amazon's binary event stream, read incrementally (providers specification, 7.5).

A message is framed as

    total length, headers' length, CRC32 of these 8 bytes   (3 times 4 bytes)
    headers                                                 (name, type, value)
    payload
    CRC32 of everything before it                           (4 bytes)

all numbers big endian.

Two decoders: `Frames` gives messages, `Decoder` gives what they mean as the events that
other streams consist of, so that machines need not know how a stream was framed. Of a
`chunk`, the event is the JSON in its base64 `bytes` (what Claude models say); of any
other, it is the payload under the message's own event type (Converse).
"""

from __future__ import annotations

import base64
import binascii
import struct
import zlib
from collections.abc import Mapping

import msgspec
from msgspec import Raw, Struct

from knight_tw.errors import (
    UPSTREAM_TYPE,
    BadUpstreamBody,
    UpstreamFailed,
    UpstreamRefused,
)
from knight_tw.wire import sse

TYPE = "application/vnd.amazon.eventstream"
"""The content type of such a stream."""

LIMIT = 24 * 1024 * 1024
"""Most bytes of one message; Amazon's own limit is 16 MB of payload."""

EXCEPTIONS: Mapping[str, int] = {
    "internalServerException": 500,
    "modelStreamErrorException": 424,
    "throttlingException": 429,
    "validationException": 400,
    "modelTimeoutException": 408,
    "serviceUnavailableException": 503,
}
"""What a stream can fail with, as the statuses it would have failed with at once."""

METRICS = "amazon-bedrock-invocationMetrics"
"""A member that Bedrock adds to the last event of Claude models."""

Value = str | int | bytes | bool

_PRELUDE = struct.Struct(">III")
_CHECK = struct.Struct(">I")
_LEAST = _PRELUDE.size + _CHECK.size

_TRUE, _FALSE, _BYTES, _STRING, _UUID = 0, 1, 6, 7, 9
_NUMBERS = {2: 1, 3: 2, 4: 4, 5: 8, 8: 8}
"""Types whose value is a signed number, to its size; 8 is a time in milliseconds."""

BROKEN = "the upstream's event stream is damaged"
CUT = "the upstream's event stream ended within a message"


class Message(Struct, frozen=True):
    """One message: its headers by name, and its payload."""

    headers: dict[str, Value]
    payload: bytes

    def text(self, name: str) -> str:
        """A header that is a text, empty when there is none."""
        value = self.headers.get(name)
        return value if isinstance(value, str) else ""


class _Chunk(Struct):
    bytes: str


class _Typed(Struct):
    type: str = ""


_CHUNK = msgspec.json.Decoder(_Chunk)
_TYPED = msgspec.json.Decoder(_Typed)
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_OBJECT = msgspec.json.Decoder(dict[str, object])


class Frames:
    """Bytes of a stream, in any pieces, to messages.

    Args:
        limit: Most bytes of one message.
    """

    __slots__ = ("_buffer", "_limit")

    def __init__(self, limit: int = LIMIT) -> None:
        self._limit = limit
        self._buffer = bytearray()

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes.

        Raises:
            BadUpstreamBody: a check sum is wrong, a length is impossible, or a message
                is larger than the limit.
        """
        buffer = self._buffer
        buffer += chunk
        messages: list[Message] = []
        start = 0
        while len(buffer) - start >= _LEAST:
            total, size = self._lengths(start)
            if len(buffer) - start < total:
                break
            messages.append(_message(bytes(buffer[start : start + total]), size))
            start += total
        del buffer[:start]
        return messages

    def close(self) -> None:
        """Nothing, at the end of a stream that is whole.

        Raises:
            UpstreamFailed: it ended within a message.
        """
        if self._buffer:
            self._buffer.clear()
            raise UpstreamFailed(CUT)

    def _lengths(self, start: int) -> tuple[int, int]:
        """The length of the message that begins at `start`, and of its headers."""
        total, size, check = _PRELUDE.unpack_from(self._buffer, start)
        if zlib.crc32(self._buffer[start : start + 8]) != check:
            raise _damaged("prelude")
        if total < _LEAST or size > total - _LEAST:
            raise _damaged("lengths")
        if total > self._limit:
            megabytes = self._limit // (1024 * 1024)
            raise BadUpstreamBody(sse.CUT.format(megabytes=megabytes))
        return total, size


def _message(frame: bytes, size: int) -> Message:
    (check,) = _CHECK.unpack_from(frame, len(frame) - _CHECK.size)
    if zlib.crc32(memoryview(frame)[: -_CHECK.size]) != check:
        raise _damaged("message")
    payload = _PRELUDE.size + size
    try:
        headers = _headers(frame[_PRELUDE.size : payload])
    except (IndexError, UnicodeDecodeError):
        raise _damaged("headers") from None
    return Message(headers, frame[payload : -_CHECK.size])


def _headers(data: bytes) -> dict[str, Value]:
    """The headers; IndexError when they end within one."""
    headers: dict[str, Value] = {}
    rest = data
    while rest:
        name, rest = _cut(rest[1:], rest[0])
        kind = rest[0]
        value, rest = _value(kind, rest[1:])
        headers[name.decode()] = value
    return headers


def _value(kind: int, rest: bytes) -> tuple[Value, bytes]:
    """A header's value, and what stands behind it."""
    if kind in (_TRUE, _FALSE):
        return kind == _TRUE, rest
    if kind in _NUMBERS:
        number, rest = _cut(rest, _NUMBERS[kind])
        return int.from_bytes(number, "big", signed=True), rest
    if kind == _UUID:
        return _cut(rest, 16)
    if kind not in (_BYTES, _STRING):
        raise _damaged(f"header type {kind}")
    size, rest = _cut(rest, 2)
    value, rest = _cut(rest, int.from_bytes(size, "big"))
    return (value.decode() if kind == _STRING else value), rest


def _cut(data: bytes, size: int) -> tuple[bytes, bytes]:
    if len(data) < size:
        raise IndexError
    return data[:size], data[size:]


def _damaged(where: str) -> BadUpstreamBody:
    return BadUpstreamBody(BROKEN, detail=f"{BROKEN}: {where}")


class Decoder:
    """Bytes of a Bedrock stream, in any pieces, to events; as `sse.Decoder`.

    Args:
        limit: Most bytes of one message.
    """

    __slots__ = ("_frames",)

    def __init__(self, limit: int = LIMIT) -> None:
        self._frames = Frames(limit)

    def feed(self, chunk: bytes) -> list[sse.Event]:
        """The events that `chunk` completes.

        Raises:
            UpstreamRefused: the stream reports an exception.
            BadUpstreamBody: it is damaged, or a message is too large.
        """
        return [to_event(message) for message in self._frames.feed(chunk)]

    def close(self) -> list[sse.Event]:
        """Nothing is left at the end of a stream that is whole.

        Raises:
            UpstreamFailed: it ended within a message.
        """
        self._frames.close()
        return []


def to_event(message: Message) -> sse.Event:
    """The event in a message; its `raw` is framed as a server-sent event.

    Raises:
        UpstreamRefused: the message is an exception or an error.
        BadUpstreamBody: its payload is not what it should be.
    """
    if message.text(":message-type") in ("exception", "error"):
        raise _refused(message)
    name, data = message.text(":event-type"), message.payload
    if name == "chunk":
        data = _inner(data)
        name = _type_of(data)
    return sse.Event(data, sse.encode(data, name), name)


def _inner(payload: bytes) -> bytes:
    """The JSON that a chunk carries, without what Bedrock added to it."""
    try:
        data = base64.b64decode(_CHUNK.decode(payload).bytes, validate=True)
        if METRICS.encode() not in data:
            return data
        members = _MEMBERS.decode(data)
    except (msgspec.DecodeError, binascii.Error, ValueError):
        raise _damaged("payload of a chunk") from None
    members.pop(METRICS, None)
    return msgspec.json.encode(members)


def _type_of(data: bytes) -> str:
    try:
        return _TYPED.decode(data).type
    except msgspec.DecodeError:
        raise _damaged("payload of a chunk") from None


def _refused(message: Message) -> UpstreamRefused:
    """The exception as the error it would have been without a stream."""
    kind = message.text(":exception-type") or message.text(":error-code")
    text = message.text(":error-message") or _message_text(message.payload)
    return UpstreamRefused(
        text or kind or "the upstream reported a failure",
        status=EXCEPTIONS.get(kind[:1].lower() + kind[1:], 502),
        code=kind,
        type=UPSTREAM_TYPE,
        upstream=True,
    )


def _message_text(payload: bytes) -> str:
    try:
        found = _OBJECT.decode(payload)
    except msgspec.DecodeError:
        return ""
    text = found.get("message") or found.get("Message")
    return text[:8000] if isinstance(text, str) else ""
