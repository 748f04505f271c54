"""A Gemini stream as chat chunks (conversion specification, 8.2).

Each event is a partial answer. The reason why the answer ended may come before the
usage, so the end is written when both are known, or when the stream is over.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert import usage
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import logprobs
from knight_tw.convert.gemini.answers_in import (
    created,
    identity,
    refuse_blocked,
    refuse_failed,
)
from knight_tw.convert.gemini.candidate import Candidate, Delta
from knight_tw.errors import KnightError
from knight_tw.wire.answers import decode_object, objects, refuse_errors
from knight_tw.wire.chat import MOST_CHOICES
from knight_tw.wire.gemini_usage import counts
from knight_tw.wire.sse import Event

Chunk = dict[str, Any]


class StreamToX:
    """Gemini's events to chat chunks; the usage comes last, in a chunk of its own.

    Attributes:
        finished: Every candidate has ended and the usage is known; what follows does
            not count.
        error: The failure that Gemini reported inside the stream, or that the stream
            is; nothing after it counts.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._candidates: dict[int, Candidate] = {}
        self._head: Chunk = {}
        self._usage: Any = None
        self.finished = False
        self.error: KnightError | None = None

    def feed(self, event: Event) -> list[Chunk]:
        """The chunks that this event leads to; none after the end or an error."""
        if self.finished or self.error is not None or not event.data.strip():
            return []
        try:
            return self._take(decode_object(event.data))
        except KnightError as error:
            self.error = error
            return []

    def close(self) -> list[Chunk]:
        """What completes an answer whose end was not yet written."""
        if self.finished or self.error is not None or not self._candidates:
            return []
        try:
            return self._end()
        except KnightError as error:
            self.error = error
            return []

    def _take(self, answer: dict[str, Any]) -> list[Chunk]:
        refuse_errors(answer)
        if not self._candidates:
            refuse_blocked(answer)
            self._head = {
                "id": identity(answer, self._context),
                "object": "chat.completion.chunk",
                "created": created(answer, self._context),
                "model": self._context.model or answer.get("modelVersion") or "",
            }
        chunks: list[Chunk] = []
        for entry in objects(answer.get("candidates")):
            chunks += self._candidate(entry)
        if counts(answer.get("usageMetadata")):
            self._usage = answer["usageMetadata"]
        return chunks + self._end() if self._complete(answer) else chunks

    def _complete(self, answer: Mapping[str, Any]) -> bool:
        """True when nothing more can come: all ended, and the usage not earlier."""
        asked = self._context.memory.x.get("n")
        wanted = asked if isinstance(asked, int) else 1
        ended = [c for c in self._candidates.values() if c.reason is not None]
        all_ended = len(ended) == len(self._candidates) >= wanted
        return all_ended and counts(answer.get("usageMetadata"))

    def _candidate(self, entry: Mapping[str, Any]) -> list[Chunk]:
        index = entry.get("index")
        index = index if isinstance(index, int) else 0
        chunks: list[Chunk] = []
        candidate = self._candidates.get(index)
        if candidate is None:
            if len(self._candidates) >= MOST_CHOICES:
                return []
            candidate = self._candidates[index] = Candidate(index, self._context)
            chunks.append(self._chunk(index, {"role": "assistant", "content": ""}))
        chunks += [self._chunk(index, delta) for delta in candidate.feed(entry)]
        likely = logprobs.to_chat(entry.get("logprobsResult"))
        if likely:
            chunk = self._chunk(index, {})
            chunk["choices"][0]["logprobs"] = {"content": likely, "refusal": None}
            chunks.append(chunk)
        return chunks

    def _end(self) -> list[Chunk]:
        """What is left of each candidate, why it ended, and the usage."""
        candidates = self._candidates.values()
        refuse_failed(candidates)
        self.finished = True
        chunks = [
            self._chunk(candidate.index, delta)
            for candidate in candidates
            for delta in candidate.end()
        ]
        for candidate in candidates:
            chunk = self._chunk(candidate.index, {})
            chunk["choices"][0] |= candidate.ending()
            chunks.append(chunk)
        if self._usage is not None:
            used = usage.from_gemini(self._usage)
            chunks.append({**self._head, "choices": [], "usage": used})
        return chunks

    def _chunk(self, index: int, delta: Delta) -> Chunk:
        choice = {"index": index, "delta": delta, "finish_reason": None}
        return {**self._head, "choices": [choice]}
