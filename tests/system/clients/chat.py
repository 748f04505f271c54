"""The `openai` client's chat completions."""

from __future__ import annotations

import json
from typing import Any

import openai
from attrs import define, field

from tests.system.clients.answers import (
    Answer,
    Called,
    Refusal,
    bare,
    data_url,
    results,
)
from tests.system.scenarios import Ending, Scenario, Turn

ENDINGS = {
    "stop": Ending.END,
    "length": Ending.LENGTH,
    "tool_calls": Ending.TOOLS,
    "content_filter": Ending.REFUSAL,
}


@define(eq=False)
class ChatClient:
    """Implements `Client`; keeps what it does not know of a message, as it should."""

    _url: str
    _key: str
    sdk: openai.OpenAI = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sdk = openai.OpenAI(
            api_key=self._key, base_url=f"{self._url}/v1", max_retries=0, timeout=30
        )

    def close(self) -> None:
        """See `Client`."""
        self.sdk.close()

    def models(self) -> list[str]:
        """See `Client`."""
        return [model.id for model in self.sdk.models.list()]

    def refusal(self, error: Exception) -> Refusal:
        """See `Client`."""
        if not isinstance(error, openai.APIError):
            raise error
        status = getattr(error, "status_code", None)
        told = error.body if isinstance(error.body, dict) else {}
        kind = str(told.get("type"))
        return Refusal(status, kind, error.message, type(error).__name__)

    def begin(self, scenario: Scenario) -> list[Any]:
        """See `Client`."""
        system = [{"role": "system", "content": scenario.system}]
        parts: list[Any] = [{"type": "text", "text": scenario.question}]
        for kind, content in scenario.media:
            url = data_url(kind, content)
            if kind.startswith("image/"):
                parts.append({"type": "image_url", "image_url": {"url": url}})
            else:
                told = {"filename": "a.pdf", "file_data": url}
                parts.append({"type": "file", "file": told})
        asked = parts if scenario.media else scenario.question
        return [*system * bool(scenario.system), {"role": "user", "content": asked}]

    def ask(
        self, model: str, scenario: Scenario, messages: list[Any], *, stream: bool
    ) -> Answer:
        """See `Client`."""
        asked = {"model": model, "messages": messages, **asked_for(scenario)}
        if not stream:
            return _answer(self.sdk.chat.completions.create(**asked))
        options: Any = {"include_usage": True}
        with self.sdk.chat.completions.stream(
            **asked, stream_options=options
        ) as events:
            events.until_done()
            try:
                final: Any = events.get_final_completion()
            except (
                openai.LengthFinishReasonError,
                openai.ContentFilterFinishReasonError,
            ):
                final = events.current_completion_snapshot
        return _answer(final)

    def go_on(self, messages: list[Any], answer: Answer, turn: Turn) -> None:
        """See `Client`."""
        messages.append(answer.said)
        for call, text in results(answer, turn) if turn.calls else ():
            messages.append({"role": "tool", "tool_call_id": call.id, "content": text})
        if turn.reply:
            messages.append({"role": "user", "content": turn.reply})


def asked_for(scenario: Scenario) -> dict[str, Any]:
    """What a scenario asks for besides the messages."""
    options: dict[str, Any] = {"max_completion_tokens": scenario.limit}
    if scenario.tools:
        options["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": tool.schema,
                },
            }
            for tool in scenario.tools
        ]
    if scenario.stop:
        options["stop"] = list(scenario.stop)
    if scenario.schema:
        form = {"name": "person", "schema": scenario.schema, "strict": True}
        options["response_format"] = {"type": "json_schema", "json_schema": form}
    if scenario.thinking:
        options["reasoning_effort"] = "medium"
    return options


def _answer(done: Any) -> Answer:
    choice = done.choices[0]
    message = choice.message
    said = bare(
        message.model_dump(exclude_none=True),
        *("parsed", "parsed_arguments", "annotations", "refusal"),
    )
    for call in said.get("tool_calls") or ():
        call.pop("index", None)
    return Answer(
        text=message.content or message.refusal or "",
        thoughts=getattr(message, "reasoning_content", None) or "",
        calls=tuple(
            Called(call.id, call.function.name, json.loads(call.function.arguments))
            for call in message.tool_calls or ()
        ),
        ending=ENDINGS.get(choice.finish_reason),
        sequence=getattr(choice, "stop_sequence", None),
        said={"content": None, **said},
        model=done.model,
        counts=_counts(done.usage),
    )


def _counts(usage: Any) -> dict[str, int]:
    counts = {"prompt": usage.prompt_tokens, "completion": usage.completion_tokens}
    if usage.prompt_tokens_details:
        details = usage.prompt_tokens_details.model_dump()
        counts["cached"] = details["cached_tokens"] or 0
        counts["written"] = details.get("cache_write_tokens") or 0
    if usage.completion_tokens_details:
        counts["reasoning"] = usage.completion_tokens_details.reasoning_tokens or 0
    return counts
