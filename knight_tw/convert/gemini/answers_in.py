"""A whole Gemini answer as a chat completion (conversion specification, 8.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from knight_tw.convert import finish, usage
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import logprobs, spoken
from knight_tw.convert.gemini.candidate import Candidate, Delta
from knight_tw.errors import EmptyAnswer, InvalidRequest
from knight_tw.wire.answers import EMPTY, objects, refuse_errors
from knight_tw.wire.gemini_usage import counts

Body = dict[str, Any]

_TEXTS = ("content", "reasoning_content", "refusal")


def response_to_x(answer: Mapping[str, Any], context: Context) -> Body:
    """The chat completion object for a Gemini answer.

    Raises:
        UpstreamRefused: it is an error.
        InvalidRequest: Gemini blocked the prompt (`prompt_blocked`).
        EmptyAnswer: there is nothing in it, or the model made nothing usable.
        BadUpstreamBody: it is no Gemini answer.
    """
    refuse_errors(answer)
    refuse_blocked(answer)
    found = objects(answer.get("candidates"))
    if not found:
        raise EmptyAnswer(EMPTY)
    read = [_read(entry, context) for entry in found]
    refuse_failed([candidate for candidate, _ in read])
    x: Body = {"id": identity(answer, context), "object": "chat.completion"}
    x["created"] = created(answer, context)
    x["model"] = context.model or answer.get("modelVersion") or ""
    x["choices"] = [choice for _, choice in read]
    metadata = answer.get("usageMetadata")
    if counts(metadata):
        x["usage"] = usage.from_gemini(metadata)
    return x


def refuse_blocked(answer: Mapping[str, Any]) -> None:
    """Raise the error that a blocked prompt is for clients of other dialects.

    Raises:
        InvalidRequest: code `prompt_blocked`.
    """
    feedback = answer.get("promptFeedback")
    reason = feedback.get("blockReason") if isinstance(feedback, Mapping) else None
    if isinstance(reason, str) and reason and not answer.get("candidates"):
        raise InvalidRequest(
            f"request blocked by Gemini: {reason}"[:200], code="prompt_blocked"
        )


def refuse_failed(candidates: Iterable[Candidate]) -> None:
    """Raise what a model that made nothing usable is: a failed attempt.

    Raises:
        EmptyAnswer: every candidate failed without any content.
    """
    named = list(candidates)
    failed = [c for c in named if not c.filled and c.reason in finish.GEMINI_FAILED]
    if failed and len(failed) == len(named):
        raise EmptyAnswer(f"{EMPTY}: {failed[0].reason}")


def identity(answer: Mapping[str, Any], context: Context) -> str:
    """The answer's id in chat's spelling."""
    return f"chatcmpl-{answer.get('responseId') or context.request_id}"


def created(answer: Mapping[str, Any], context: Context) -> int:
    """Unix seconds of the answer; now when it does not say."""
    said = answer.get("createTime")
    try:
        return int(datetime.fromisoformat(str(said)).timestamp())
    except (ValueError, OverflowError):
        return context.created


def _read(entry: Mapping[str, Any], context: Context) -> tuple[Candidate, Body]:
    index = entry.get("index")
    candidate = Candidate(index if isinstance(index, int) else 0, context)
    message = merged([*candidate.feed(entry), *candidate.end()])
    if "audio" in message:
        asked = context.memory.x.get("audio")
        raw = isinstance(asked, Mapping) and asked.get("format") == "pcm16"
        data = spoken.with_size(message["audio"]["data"], raw)
        message["audio"]["data"] = data
    choice: Body = {"index": candidate.index, **candidate.ending()}
    likely = logprobs.to_chat(entry.get("logprobsResult"))
    choice["logprobs"] = {"content": likely, "refusal": None} if likely else None
    return candidate, {**choice, "message": message}


def merged(deltas: Iterable[Delta]) -> Body:
    """The message that the deltas of one candidate add up to."""
    message: Body = {"role": "assistant", "content": None, "refusal": None}
    for delta in deltas:
        for name, value in delta.items():
            if name in _TEXTS:
                message[name] = (message.get(name) or "") + value
            elif name == "audio":
                known = message.setdefault("audio", {"data": ""})
                data = known["data"] + value.get("data", "")
                message["audio"] = {**known, **value, "data": data}
            elif name == "native_blocks":
                message[name] = value
            else:
                _extend(message.setdefault(name, []), name, value)
    return message


def _extend(entries: list[Body], name: str, new: list[Body]) -> None:
    """Add the entries of a streamed list to the list they make up."""
    for entry in new:
        if name == "reasoning_details":
            if entry["index"] < len(entries):
                entries[entry["index"]]["text"] += entry["text"]
            else:
                entries.append(dict(entry))
            continue
        whole = {key: value for key, value in entry.items() if key != "index"}
        if name == "tool_calls" and entry["index"] < len(entries):
            arguments = whole["function"]["arguments"]
            entries[entry["index"]]["function"]["arguments"] += arguments
        else:
            entries.append(whole)
