"""The `openai` client's Responses, without storage."""

from __future__ import annotations

import json
from typing import Any

from attrs import define

from tests.system.clients.answers import (
    Answer,
    Called,
    Refusal,
    bare,
    data_url,
    results,
)
from tests.system.clients.chat import ChatClient
from tests.system.scenarios import Ending, Scenario, Turn

ENDINGS = {
    "max_output_tokens": Ending.LENGTH,
    "content_filter": Ending.REFUSAL,
}
TERMINAL = ("response.completed", "response.incomplete", "response.failed")


class Failed(Exception):
    """A stream that ended in `response.failed`: the client has no class for it."""


@define(eq=False)
class ResponsesClient(ChatClient):
    """Implements `Client`."""

    def refusal(self, error: Exception) -> Refusal:
        """See `Client`."""
        if isinstance(error, Failed):
            return Refusal(None, error.args[0], error.args[1], "Failed")
        return super().refusal(error)

    def begin(self, scenario: Scenario) -> list[Any]:
        """See `Client`; the system prompt goes with the options."""
        parts: list[Any] = [{"type": "input_text", "text": scenario.question}]
        for kind, content in scenario.media:
            url = data_url(kind, content)
            if kind.startswith("image/"):
                parts.append(
                    {"type": "input_image", "image_url": url, "detail": "auto"}
                )
            else:
                parts.append(
                    {"type": "input_file", "filename": "a.pdf", "file_data": url}
                )
        asked = parts if scenario.media else scenario.question
        return [{"role": "user", "content": asked}]

    def ask(
        self, model: str, scenario: Scenario, messages: list[Any], *, stream: bool
    ) -> Answer:
        """See `Client`."""
        asked = {"model": model, "input": messages, **asked_for(scenario)}
        if not stream:
            return _answer(self.sdk.responses.create(**asked))
        final = None
        with self.sdk.responses.stream(**asked) as events:
            for event in events:
                if event.type in TERMINAL:
                    final = event.response  # type: ignore[union-attr]  # narrowed above
        if final is None:
            raise Failed("", "no terminal event")
        if final.error:
            raise Failed(final.error.code, final.error.message)
        return _answer(final)

    def go_on(self, messages: list[Any], answer: Answer, turn: Turn) -> None:
        """See `Client`."""
        messages += answer.said
        for call, text in results(answer, turn) if turn.calls else ():
            told = {"call_id": call.id, "output": text}
            messages.append({"type": "function_call_output", **told})
        if turn.reply:
            messages.append({"role": "user", "content": turn.reply})


def asked_for(scenario: Scenario) -> dict[str, Any]:
    """What a scenario asks for besides the messages."""
    options: dict[str, Any] = {
        "max_output_tokens": scenario.limit,
        "store": False,
        "include": ["reasoning.encrypted_content"],
    }
    if scenario.system:
        options["instructions"] = scenario.system
    if scenario.tools:
        options["tools"] = [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.schema,
                "strict": False,
            }
            for tool in scenario.tools
        ]
    if scenario.schema:
        form = {"name": "person", "schema": scenario.schema, "strict": True}
        options["text"] = {"format": {"type": "json_schema", **form}}
    if scenario.thinking:
        options["reasoning"] = {"effort": "medium", "summary": "auto"}
    return options


def _answer(done: Any) -> Answer:
    texts, thoughts, calls = [], [], []
    for item in done.output:
        if item.type == "message":
            texts += [
                part.text if part.type == "output_text" else part.refusal
                for part in item.content
            ]
        elif item.type == "reasoning":
            thoughts += [part.text for part in item.summary]
        elif item.type == "function_call":
            arguments = json.loads(item.arguments)
            calls.append(Called(item.call_id, item.name, arguments))
    ending = Ending.TOOLS if calls else Ending.END
    if done.incomplete_details:
        ending = ENDINGS[done.incomplete_details.reason]
    usage = done.usage
    said = [item.model_dump(exclude_none=True) for item in done.output]
    return Answer(
        text="".join(texts),
        thoughts="".join(thoughts),
        calls=tuple(calls),
        ending=ending if done.status in ("completed", "incomplete") else None,
        said=bare(said, "parsed", "parsed_arguments"),
        model=done.model,
        counts={
            "prompt": usage.input_tokens,
            "completion": usage.output_tokens,
            "cached": usage.input_tokens_details.cached_tokens,
            "written": usage.input_tokens_details.cache_write_tokens,
            "reasoning": usage.output_tokens_details.reasoning_tokens,
        },
    )
