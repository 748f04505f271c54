"""A chat completion object as a Responses answer (conversion specification, 12.2)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from knight_tw.convert import finish, usage
from knight_tw.convert import parts as x_parts
from knight_tw.convert.context import Context
from knight_tw.convert.responses import items, references
from knight_tw.convert.responses.items import Item
from knight_tw.convert.responses.thoughts import Thought, call_signature, thoughts
from knight_tw.errors import EmptyAnswer
from knight_tw.wire.answers import EMPTY, objects

Body = dict[str, Any]


def response_from_x(x: Mapping[str, Any], context: Context) -> Body:
    """The Responses answer for a chat completion object; of several choices the first.

    Raises:
        EmptyAnswer: there is no choice.
    """
    choices = objects(x.get("choices"))
    if not choices:
        raise EmptyAnswer(EMPTY)
    choice = choices[0]
    message = choice.get("message")
    message = message if isinstance(message, Mapping) else {}
    end = items.tail(x.get("id")) or context.ids("")
    created = x.get("created")
    response = items.response_object(
        context.memory.request,
        identity=f"resp_{end}",
        created=created if isinstance(created, int) else context.created,
        model=context.model or x.get("model"),
        service_tier=x.get("service_tier"),
    )
    ending = finish.to_responses(choice.get("finish_reason"))
    output = list(_output(message, choice, end, context))
    _mark_end(output, ending[0])
    reported = x.get("usage")
    counts = usage.to_responses(reported) if isinstance(reported, Mapping) else None
    return items.ended(response, ending, output, counts)


def _mark_end(output: list[Item], status: str) -> None:
    """An answer that was cut off is cut off in its last item."""
    if output and status == "incomplete" and "status" in output[-1]:
        output[-1]["status"] = status


def _output(
    message: Mapping[str, Any], choice: Mapping[str, Any], end: str, context: Context
) -> Iterator[Item]:
    """Reasoning, the message, images, and each call after its signature."""
    calls = objects(message.get("tool_calls"))
    found, before = _signed(thoughts(message), calls)
    request = context.memory.request
    wanted = items.includes(request, items.ENCRYPTED)
    hidden = items.hides_reasoning(request)
    number = 0
    for thought in found:
        item = _reasoning(thought, end, number, wanted=wanted, hidden=hidden)
        if item is not None:
            number += 1
            yield item
    parts = list(_parts(message, choice))
    if parts:
        identity = f"msg_{end}"
        yield items.message_item(identity, parts, "completed", message.get("phase"))
    for place, image in enumerate(objects(message.get("images"))):
        item = items.image_item(items.numbered("ig", end, place), image)
        if item is not None:
            yield item
    for place, call in enumerate(calls):
        if wanted and place in before:
            identity = items.numbered("rs", end, number)
            number += 1
            yield items.reasoning_item(identity, (), before[place])
        yield items.call_item(end, place, call, context)


def _signed(
    found: list[Thought], calls: list[Item]
) -> tuple[list[Thought], dict[int, str]]:
    """The thoughts, the last one signed by the first call if it has no secret yet.

    The signatures of other calls are returned by the call's place.
    """
    before = {
        n: secret for n, call in enumerate(calls) if (secret := call_signature(call))
    }
    if found and not found[-1].secret and 0 in before:
        found = [*found[:-1], Thought(found[-1].texts, before.pop(0))]
    return found, before


def _reasoning(
    thought: Thought, end: str, number: int, *, wanted: bool, hidden: bool
) -> Item | None:
    """The reasoning item, None when nothing of it is for the client."""
    secret = thought.secret if wanted else ""
    texts = () if hidden else thought.texts
    if not secret and not any(texts):
        return None
    return items.reasoning_item(items.numbered("rs", end, number), texts, secret)


def _parts(message: Mapping[str, Any], choice: Mapping[str, Any]) -> Iterator[Item]:
    """The parts of the message: its text, and a refusal that is not just the text."""
    text = x_parts.text_of(message.get("content"))
    if text:
        found = map(references.from_x, objects(message.get("annotations")))
        cited = [annotation for annotation in found if annotation is not None]
        logprobs = choice.get("logprobs")
        tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
        part: Item = {"type": "output_text", "text": text, "annotations": cited}
        yield {**part, "logprobs": tokens if isinstance(tokens, list) else []}
    refusal = message.get("refusal")
    if isinstance(refusal, str) and refusal and refusal != text:
        yield items.refusal_part(refusal)
