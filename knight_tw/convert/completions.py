"""Legacy text completions on a channel that only chats (conversion specification, 14).

The prompt becomes one message of the user; the answer's texts become `text` choices.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.convert.context import Context
from knight_tw.convert.parts import text_of
from knight_tw.errors import InvalidRequest, UnsupportedParameter
from knight_tw.wire.answers import objects

Body = dict[str, Any]

UNSAID = ("suffix", "echo", "best_of", "logprobs")
"""Fields that chat has nothing like."""


def request_to_chat(body: Mapping[str, Any], context: Context) -> Body:
    """The chat request for a completions request.

    Raises:
        InvalidRequest: the prompt cannot be read.
        UnsupportedParameter: there are several prompts, or token ids.
    """
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        if len(prompt) != 1 or not isinstance(prompt[0], str):
            raise UnsupportedParameter(
                "this channel takes one prompt, as a text", param="prompt"
            )
        prompt = prompt[0]
    if not isinstance(prompt, str):
        raise InvalidRequest("prompt must be a string", param="prompt")
    unsaid = {"prompt", *UNSAID}
    chat = {n: v for n, v in body.items() if n not in unsaid and v is not None}
    for name in UNSAID:
        if body.get(name):
            context.drop(name)
    message = {"role": "user", "content": prompt}
    return {**chat, "model": context.model, "messages": [message]}


def answer_from_chat(answer: Mapping[str, Any]) -> Body:
    """The completions answer, or its stream's chunk, for one of chat.

    A chunk of chat that says nothing has a choice with an empty text.
    """
    said = {n: v for n, v in answer.items() if n not in ("choices", "id", "object")}
    identity = str(answer.get("id") or "").removeprefix("chatcmpl-")
    choices = [_choice(choice) for choice in objects(answer.get("choices"))]
    head = {"id": f"cmpl-{identity}", "object": "text_completion"}
    return {**head, **said, "choices": choices}


def _choice(choice: Mapping[str, Any]) -> Body:
    message = choice.get("message") or choice.get("delta")
    content = message.get("content") if isinstance(message, Mapping) else None
    reason = choice.get("finish_reason")
    return {
        "index": choice.get("index", 0),
        "text": text_of(content),
        "logprobs": None,
        "finish_reason": "stop" if reason == "tool_calls" else reason,
    }
