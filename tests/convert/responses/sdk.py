"""OpenAI's own client as a judge of answers and streams."""

from __future__ import annotations

from typing import Any

from openai import omit
from openai._models import construct_type
from openai.lib.streaming.responses._responses import ResponseStreamState
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

_EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


def accepted(answer: dict[str, Any]) -> dict[str, Any]:
    """The answer, which has every member that the client's types want."""
    Response.model_validate(answer)
    return answer


def accumulated(events: list[dict[str, Any]]) -> Any:
    """The response that the client's stream puts together.

    None when the stream did not end with `response.completed`. Every event has every
    member that its type wants, and the numbers rise by one from 0.
    """
    state: Any = ResponseStreamState(input_tools=omit, text_format=omit)
    for number, event in enumerate(events):
        if event["sequence_number"] != number:
            raise AssertionError(f"{event} has not the number {number}")
        _EVENT.validate_python(event)
        state.handle_event(construct_type(type_=ResponseStreamEvent, value=event))
    return state._completed_response
