"""What is read of a request body, and when it is refused (relay specification, 6)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from knight_tw.providers.provider import Body
from knight_tw.records import Mode
from knight_tw.relay.call import Call
from knight_tw.relay.knobs import Knobs
from knight_tw.wire import chat, completions, embeddings, moderations, top


@frozen
class Kind:
    """How a kind of work is read.

    Attributes:
        validate: Raises InvalidRequest for a body that no provider can answer.
        model: The model when the body names none; empty = it must.
        streams: `stream` is looked at.
    """

    validate: Callable[[Body], None]
    model: str = ""
    streams: bool = False


KINDS: Mapping[Mode, Kind] = {
    Mode.CHAT: Kind(chat.validate, streams=True),
    Mode.COMPLETIONS: Kind(completions.validate, streams=True),
    Mode.EMBEDDINGS: Kind(embeddings.validate),
    Mode.MODERATIONS: Kind(moderations.validate, moderations.DEFAULT_MODEL),
}


def read_model(call: Call) -> None:
    """Fills `top`, `model` and `stream` of a call whose body is decoded.

    Raises:
        InvalidRequest: the body is no JSON object or names no model.
    """
    kind = KINDS[call.mode]
    call.top = top.read_top(call.body)
    call.model = top.read_model(call.top, kind.model)
    call.stream = kind.streams and top.read_stream(call.top)


def validate(call: Call, knobs: Knobs) -> None:
    """Checks the rest of the body and fills what admission needs.

    Raises:
        InvalidRequest: `param` names the field at fault.
    """
    kind = KINDS[call.mode]
    kind.validate(call.top)
    if not kind.streams:
        return
    call.output_limit = chat.output_limit(call.top)
    call.choices = chat.choice_count(call.top)
    asked = chat.include_usage(call.top)
    call.include_usage = knobs.usage_by_default if asked is None else asked
