"""How likely each token was, in Gemini's form and in OpenAI's (specification, 8.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.wire.answers import objects

Entry = dict[str, Any]


def to_chat(result: Any) -> list[Entry]:
    """The entries of `logprobs.content` for a `logprobsResult`."""
    if not isinstance(result, Mapping):
        return []
    top = objects(result.get("topCandidates"))
    found = []
    for index, chosen in enumerate(objects(result.get("chosenCandidates"))):
        others = objects(top[index].get("candidates")) if index < len(top) else []
        likely = [_token(other) for other in others]
        found.append({**_token(chosen), "top_logprobs": likely})
    return found


def _token(candidate: Mapping[str, Any]) -> Entry:
    text = str(candidate.get("token") or "")
    return {
        "token": text,
        "logprob": candidate.get("logProbability", 0.0),
        "bytes": list(text.encode()),
    }


def to_gemini(logprobs: Any) -> Entry:
    """The `logprobsResult` for a choice's `logprobs`; empty when there are none."""
    content = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    entries = objects(content)
    if not entries:
        return {}
    found: Entry = {"chosenCandidates": [_candidate(entry) for entry in entries]}
    tops = [[_candidate(t) for t in objects(e.get("top_logprobs"))] for e in entries]
    if any(tops):
        found["topCandidates"] = [{"candidates": likely} for likely in tops]
    return found


def _candidate(entry: Mapping[str, Any]) -> Entry:
    text = str(entry.get("token") or "")
    return {"token": text, "logProbability": entry.get("logprob", 0.0)}
