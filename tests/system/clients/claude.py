"""The `anthropic` client."""

from __future__ import annotations

from typing import Any

import anthropic
from attrs import define, field

from tests.system.clients.answers import (
    Answer,
    Called,
    Refusal,
    bare,
    results,
    text64,
)
from tests.system.scenarios import Ending, Scenario, Turn

ENDINGS = {
    "end_turn": Ending.END,
    "stop_sequence": Ending.SEQUENCE,
    "max_tokens": Ending.LENGTH,
    "tool_use": Ending.TOOLS,
    "refusal": Ending.REFUSAL,
}


@define(eq=False)
class ClaudeClient:
    """Implements `Client`."""

    _url: str
    _key: str
    sdk: anthropic.Anthropic = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.sdk = anthropic.Anthropic(
            api_key=self._key, base_url=self._url, max_retries=0, timeout=30
        )

    def close(self) -> None:
        """See `Client`."""
        self.sdk.close()

    def models(self) -> list[str]:
        """See `Client`."""
        return [model.id for model in self.sdk.models.list()]

    def refusal(self, error: Exception) -> Refusal:
        """See `Client`."""
        if not isinstance(error, anthropic.APIStatusError):
            raise error
        told: Any = error.body
        kind, message = told["error"]["type"], told["error"]["message"]
        return Refusal(error.status_code, kind, message, type(error).__name__)

    def count(self, model: str, scenario: Scenario) -> int:
        """The tokens of a first question."""
        asked: Any = {"model": model, "messages": self.begin(scenario)}
        return self.sdk.messages.count_tokens(**asked).input_tokens

    def begin(self, scenario: Scenario) -> list[Any]:
        """See `Client`; the system prompt goes with the options."""
        blocks: list[Any] = [{"type": "text", "text": scenario.question}]
        for kind, content in scenario.media:
            source = {"type": "base64", "media_type": kind, "data": text64(content)}
            block = "image" if kind.startswith("image/") else "document"
            blocks.append({"type": block, "source": source})
        asked = blocks if scenario.media else scenario.question
        return [{"role": "user", "content": asked}]

    def ask(
        self, model: str, scenario: Scenario, messages: list[Any], *, stream: bool
    ) -> Answer:
        """See `Client`."""
        asked = {"model": model, "messages": messages, **asked_for(scenario)}
        if not stream:
            return _answer(self.sdk.messages.create(**asked))
        with self.sdk.messages.stream(**asked) as events:
            return _answer(events.get_final_message())

    def go_on(self, messages: list[Any], answer: Answer, turn: Turn) -> None:
        """See `Client`."""
        messages.append({"role": "assistant", "content": answer.said})
        blocks: list[Any] = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in (results(answer, turn) if turn.calls else ())
        ]
        if turn.reply:
            blocks.append({"type": "text", "text": turn.reply})
        messages.append({"role": "user", "content": blocks})


def asked_for(scenario: Scenario) -> dict[str, Any]:
    """What a scenario asks for besides the messages."""
    options: dict[str, Any] = {"max_tokens": scenario.limit}
    if scenario.system:
        block: Any = {"type": "text", "text": scenario.system}
        if scenario.marked:
            block["cache_control"] = {"type": "ephemeral"}
        options["system"] = [block] if scenario.marked else scenario.system
    if scenario.tools:
        options["tools"] = [
            {
                "name": tool.name,
                "description": tool.description,
                "input_schema": tool.schema,
            }
            for tool in scenario.tools
        ]
    if scenario.stop:
        options["stop_sequences"] = list(scenario.stop)
    if scenario.schema:
        form = {"type": "json_schema", "schema": scenario.schema}
        options["output_config"] = {"format": form}
    if scenario.thinking:
        options["thinking"] = {"type": "enabled", "budget_tokens": 2048}
    return options


def _answer(done: Any) -> Answer:
    texts, thoughts, calls, said = [], [], [], []
    for block in done.content:
        dumped = bare(block.model_dump(exclude_none=True), "parsed_output")
        if block.type == "text":
            texts.append(block.text)
            if not block.text:
                continue  # the service refuses empty blocks, so clients drop them
        elif block.type == "thinking":
            thoughts.append(block.thinking)
        elif block.type == "tool_use":
            calls.append(Called(block.id, block.name, block.input))
        said.append(dumped)
    return Answer(
        text="".join(texts),
        thoughts="".join(thoughts),
        calls=tuple(calls),
        ending=ENDINGS.get(done.stop_reason),
        sequence=done.stop_sequence,
        said=said,
        model=done.model,
        counts=_counts(done.usage),
    )


def _counts(usage: Any) -> dict[str, int]:
    cached = usage.cache_read_input_tokens or 0
    written = usage.cache_creation_input_tokens or 0
    details = getattr(usage, "output_tokens_details", None)
    return {
        "prompt": usage.input_tokens + cached + written,
        "completion": usage.output_tokens,
        "cached": cached,
        "written": written,
        "reasoning": (details and details.thinking_tokens) or 0,
    }
