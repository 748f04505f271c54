"""The `google-genai` client; it has no accumulator, so chunks are joined here."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from attrs import define, field
from google import genai
from google.genai import errors, types

from tests.system.clients.answers import Answer, Called, Refusal, results
from tests.system.scenarios import Ending, Scenario, Turn

ENDINGS = {
    "STOP": Ending.END,
    "MAX_TOKENS": Ending.LENGTH,
    "SAFETY": Ending.REFUSAL,
}


@define(eq=False)
class GeminiClient:
    """Implements `Client`."""

    _url: str
    _key: str
    sdk: genai.Client = field(init=False)

    def __attrs_post_init__(self) -> None:
        options = types.HttpOptions(
            base_url=self._url,
            timeout=30_000,
            retry_options=types.HttpRetryOptions(attempts=1),
        )
        self.sdk = genai.Client(api_key=self._key, http_options=options)

    def close(self) -> None:
        """See `Client`."""
        self.sdk.close()

    def models(self) -> list[str]:
        """See `Client`."""
        return [(m.name or "").removeprefix("models/") for m in self.sdk.models.list()]

    def refusal(self, error: Exception) -> Refusal:
        """See `Client`."""
        if not isinstance(error, errors.APIError):
            raise error
        kind, message = str(error.status), str(error.message)
        return Refusal(error.code, kind, message, type(error).__name__)

    def count(self, model: str, scenario: Scenario) -> int:
        """The tokens of a first question."""
        contents = self.begin(scenario)
        counted = self.sdk.models.count_tokens(model=model, contents=contents)
        return counted.total_tokens or 0

    def begin(self, scenario: Scenario) -> list[Any]:
        """See `Client`; the system prompt goes with the options."""
        parts = [types.Part(text=scenario.question)]
        for kind, content in scenario.media:
            parts.append(types.Part.from_bytes(data=content, mime_type=kind))
        return [types.Content(role="user", parts=parts)]

    def ask(
        self, model: str, scenario: Scenario, messages: list[Any], *, stream: bool
    ) -> Answer:
        """See `Client`."""
        asked: Any = {
            "model": model,
            "contents": messages,
            "config": asked_for(scenario),
        }
        if stream:
            return _answer(self.sdk.models.generate_content_stream(**asked))
        return _answer([self.sdk.models.generate_content(**asked)])

    def go_on(self, messages: list[Any], answer: Answer, turn: Turn) -> None:
        """See `Client`; without ids the order tells whose the results are."""
        messages.append(answer.said)
        told = results(answer, turn) if turn.calls else []
        if not all(call.id for call, _ in told):
            told.reverse()
        parts = [
            types.Part(
                function_response=types.FunctionResponse(
                    id=call.id, name=call.name, response={"output": text}
                )
            )
            for call, text in told
        ]
        if turn.reply:
            parts.append(types.Part(text=turn.reply))
        messages.append(types.Content(role="user", parts=parts))


def asked_for(scenario: Scenario) -> types.GenerateContentConfig:
    """What a scenario asks for besides the messages."""
    options: dict[str, Any] = {
        "max_output_tokens": scenario.limit,
        "automatic_function_calling": types.AutomaticFunctionCallingConfig(
            disable=True
        ),
    }
    if scenario.system:
        options["system_instruction"] = scenario.system
    if scenario.tools:
        declared = [
            types.FunctionDeclaration(
                name=tool.name,
                description=tool.description,
                parameters_json_schema=tool.schema,
            )
            for tool in scenario.tools
        ]
        options["tools"] = [types.Tool(function_declarations=declared)]
    if scenario.stop:
        options["stop_sequences"] = list(scenario.stop)
    if scenario.schema:
        options["response_mime_type"] = "application/json"
        options["response_json_schema"] = scenario.schema
    if scenario.thinking:
        options["thinking_config"] = types.ThinkingConfig(
            include_thoughts=True, thinking_budget=4096
        )
    return types.GenerateContentConfig(**options)


def _answer(chunks: Iterable[types.GenerateContentResponse]) -> Answer:
    parts: list[types.Part] = []
    word, model, usage = "", None, None
    for chunk in chunks:
        model = chunk.model_version or model
        usage = chunk.usage_metadata or usage
        for candidate in chunk.candidates or ():
            word = candidate.finish_reason.value if candidate.finish_reason else word
            for part in (candidate.content and candidate.content.parts) or ():
                _join(parts, part)
    calls = tuple(
        Called(call.id, call.name or "", call.args or {})
        for call in (part.function_call for part in parts)
        if call
    )
    texts = [part for part in parts if part.text is not None]
    return Answer(
        text="".join(part.text or "" for part in texts if not part.thought),
        thoughts="".join(part.text or "" for part in texts if part.thought),
        calls=calls,
        ending=Ending.TOOLS if calls and word == "STOP" else ENDINGS.get(word),
        said=types.Content(role="model", parts=parts),
        model=model,
        counts=_counts(usage) if usage else {},
    )


def _join(parts: list[types.Part], part: types.Part) -> None:
    """Adds a part; text goes on the last part when that is text of its kind."""
    if part.text is None or not parts:
        if part.text != "" or part.thought_signature:
            parts.append(part)
        return
    last = parts[-1]
    alike = last.text is not None and bool(last.thought) == bool(part.thought)
    if alike and not last.thought_signature:
        joined = (last.text or "") + part.text
        parts[-1] = part.model_copy(update={"text": joined})
    elif part.text or part.thought_signature:
        parts.append(part)


def _counts(usage: Any) -> dict[str, int]:
    reasoning = usage.thoughts_token_count or 0
    return {
        "prompt": usage.prompt_token_count or 0,
        "completion": (usage.candidates_token_count or 0) + reasoning,
        "cached": usage.cached_content_token_count or 0,
        "reasoning": reasoning,
    }
