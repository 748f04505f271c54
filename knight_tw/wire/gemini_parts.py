"""The parts of a Gemini answer, put together from the pieces of a stream."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from knight_tw.wire.answers import objects

Part = dict[str, Any]


def keep_part(parts: list[Part], part: Mapping[str, Any]) -> None:
    """Add a part to those before it, in place; a text goes on with the last one."""
    last = parts[-1] if parts else {}
    goes_on = (
        isinstance(last.get("text"), str)
        and isinstance(part.get("text"), str)
        and "thoughtSignature" not in last
        and last.get("thought", False) == part.get("thought", False)
    )
    if goes_on:
        parts[-1] = {**last, **part, "text": last["text"] + part["text"]}
    else:
        parts.append(dict(part))


def assemble(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole answer that the objects of a stream add up to; later values win."""
    answer: dict[str, Any] = {}
    candidates: dict[int, dict[str, Any]] = {}
    for chunk in chunks:
        for name, value in chunk.items():
            if name != "candidates" and value is not None:
                answer[name] = value
        for piece in objects(chunk.get("candidates")):
            index = piece.get("index")
            index = index if isinstance(index, int) else 0
            _add(candidates.setdefault(index, {}), piece)
    found = [candidates[index] for index in sorted(candidates)]
    return {"candidates": found, **answer} if found else answer


def _add(candidate: dict[str, Any], piece: Mapping[str, Any]) -> None:
    for name, value in piece.items():
        if name == "content" and isinstance(value, Mapping):
            known = candidate.setdefault("content", {"parts": []})
            parts = known["parts"]
            known |= {k: v for k, v in value.items() if k != "parts"}
            for part in objects(value.get("parts")):
                keep_part(parts, part)
        elif value is not None:
            candidate[name] = value
