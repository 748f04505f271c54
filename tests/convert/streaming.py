"""Streams for tests: objects to events, and through two machines."""

from __future__ import annotations

from collections.abc import Iterable
from types import ModuleType
from typing import Any

import msgspec

from knight_tw.convert.context import Context
from knight_tw.wire import sse, top


def events_of(value: list[dict[str, Any]]) -> list[sse.Event]:
    """A stream's objects as its decoder gives them."""
    stream = b"".join(sse.encode(top.encode(v), v.get("type", "")) for v in value)
    decoder = sse.Decoder()
    return [*decoder.feed(stream), *decoder.close()]


def objects_of(pieces: list[bytes]) -> list[dict[str, Any]]:
    """The objects in encoded events; a null usage and `[DONE]` are left out."""
    decoder = sse.Decoder()
    found = []
    for event in [*decoder.feed(b"".join(pieces)), *decoder.close()]:
        if event.data == b"[DONE]":
            continue
        value = msgspec.json.decode(event.data)
        if value.get("usage", 0) is None:
            del value["usage"]
        found.append(value)
    return found


def streamed(
    source: ModuleType,
    target: ModuleType,
    events: list[sse.Event],
    context: Context,
) -> list[bytes]:
    """A whole stream through the source's and the target's machine."""
    reading, writing = source.StreamToX(context), target.StreamFromX(context)
    pieces: list[bytes] = []
    for event in events:
        for chunk in reading.feed(event):
            pieces += writing.feed(chunk)
    for chunk in reading.close():
        pieces += writing.feed(chunk)
    if reading.error is not None:
        raise reading.error
    return [*pieces, *writing.close()]


def chunks_of(
    source: ModuleType, value: list[dict[str, Any]], context: Context
) -> list[dict[str, Any]]:
    """The chunks of the middle form for a provider's stream."""
    reading = source.StreamToX(context)
    chunks = [chunk for event in events_of(value) for chunk in reading.feed(event)]
    chunks += reading.close()
    if reading.error is not None:
        raise reading.error
    return chunks


def written(
    target: ModuleType, chunks: Iterable[dict[str, Any]], context: Context
) -> list[dict[str, Any]]:
    """The objects in a client's stream for chunks of the middle form."""
    writing = target.StreamFromX(context)
    pieces = [piece for chunk in chunks for piece in writing.feed(chunk)]
    return objects_of([*pieces, *writing.close()])
