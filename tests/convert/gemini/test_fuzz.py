"""Whatever clients and providers send: an answer or an error of ours, never a crash."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import gemini
from knight_tw.convert.context import Context
from knight_tw.convert.gemini import embeddings
from knight_tw.errors import KnightError
from tests.convert.streaming import events_of

GEMINI = (
    *("contents", "parts", "role", "text", "thought", "thoughtSignature", "args"),
    *("functionCall", "functionResponse", "name", "id", "response", "inlineData"),
    *("fileData", "mimeType", "data", "fileUri", "candidates", "content", "index"),
    *("finishReason", "usageMetadata", "generationConfig", "tools", "toolConfig"),
    *("functionDeclarations", "parameters", "functionCallingConfig", "mode"),
    *("allowedFunctionNames", "thinkingConfig", "groundingMetadata", "error"),
    *("groundingChunks", "groundingSupports", "segment", "citationMetadata"),
    *("citations", "logprobsResult", "chosenCandidates", "topCandidates", "web"),
    *("uri", "partialArgs", "willContinue", "jsonPath", "executableCode", "code"),
    *("promptTokensDetails", "modality", "groundingChunkIndices", "topP", "seed"),
    *("responseSchema", "responseMimeType", "stopSequences", "systemInstruction"),
)
CHAT = (
    *("messages", "role", "content", "type", "text", "image_url", "url", "file"),
    *("file_data", "input_audio", "tool_calls", "function", "name", "arguments"),
    *("tool_call_id", "id", "reasoning_details", "signature", "data", "format"),
    *("index", "extra_content", "google", "thought_signature", "tools", "parameters"),
    *("tool_choice", "allowed_tools", "response_format", "json_schema", "schema"),
    *("reasoning", "thinking", "stop", "extra_body", "modalities", "audio", "images"),
    *("choices", "delta", "message", "finish_reason", "usage", "logprobs"),
    *("annotations", "url_citation", "start_index", "native_blocks", "refusal"),
    *("native_finish_reason", "custom", "function_call", "safety_settings"),
)
WORDS = (
    *("user", "model", "assistant", "tool", "system", "text", "image_url", "function"),
    *("QUJD", "ko1.a.X", "ko1.g.QUJD", "image/png", "audio/wav", "$.a[1]", "stop"),
    *("STOP", "SAFETY", "google-gemini-v1", "anthropic-claude-v1", "application/json"),
    *("json_schema", "reasoning.text", "reasoning.encrypted", "ANY", "allowed_tools"),
    *("data:image/png;base64,AAAA", "https://a.example/x", "custom", ""),
)


def trees(names: tuple[str, ...]) -> st.SearchStrategy[Any]:
    """JSON built of the names and words that mean something here."""
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-2, 2**40),
        st.floats(allow_nan=False, allow_infinity=False),
        st.sampled_from(WORDS),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.lists(inner, max_size=3),
            st.dictionaries(st.sampled_from(names), inner, max_size=6),
        ),
        max_leaves=20,
    )


def objects(names: tuple[str, ...], *roots: str) -> st.SearchStrategy[Any]:
    """Objects that have some of these members."""
    members = {root: trees(names) for root in roots}
    return st.fixed_dictionaries({}, optional=members)


def part() -> st.SearchStrategy[Any]:
    """A part of a content, more or less."""
    return st.dictionaries(st.sampled_from(GEMINI[3:16]), trees(GEMINI), max_size=3)


def message(*extra: str) -> st.SearchStrategy[Any]:
    """A message, more or less."""
    return st.fixed_dictionaries(
        {"role": st.sampled_from(WORDS[:5])},
        optional={name: trees(CHAT) for name in ("content", "tool_calls", *extra)},
    )


def candidate() -> st.SearchStrategy[Any]:
    """A candidate, more or less."""
    content = st.fixed_dictionaries({"parts": st.lists(part(), max_size=4)})
    more = ("finishReason", "groundingMetadata", "citationMetadata", "logprobsResult")
    return st.fixed_dictionaries(
        {"content": content}, optional={name: trees(GEMINI) for name in more}
    )


class Fuzz(SynchronousTestCase):
    """Random input of the right vocabulary."""

    def survive(self, what: Any, *values: Any) -> None:
        """Call it; an error of ours is a fine answer."""
        try:
            what(*values)
        except KnightError as error:
            self.assertTrue(error.message)

    @given(
        st.lists(part(), max_size=4),
        objects(GEMINI, *GEMINI[20:26], "systemInstruction"),
    )
    @settings(max_examples=30, deadline=None)
    def test_requests_of_clients(self, parts: list[Any], more: dict[str, Any]) -> None:
        """A Gemini client's request."""
        turns = [{"role": role, "parts": parts} for role in ("user", "model", "user")]
        body = {"contents": turns, **more}
        self.survive(gemini.request_to_x, body, Context(model="m"))
        self.survive(
            embeddings.embeddings_to_openai,
            {"content": turns[0], **more},
            Context(model="m"),
        )

    @given(
        st.lists(
            message("reasoning_details", "native_blocks", "images", "refusal"),
            max_size=4,
        ),
        objects(
            CHAT,
            "tools",
            "tool_choice",
            "response_format",
            "extra_body",
            "modalities",
            "audio",
            "stop",
            "reasoning",
            "safety_settings",
        ),
    )
    @settings(max_examples=30, deadline=None)
    def test_requests_for_providers(
        self, messages: list[Any], more: dict[str, Any]
    ) -> None:
        """A request of the middle form."""
        x = {"messages": messages, **more}
        for model in ("gemini-3-pro", "gemini-2.5-pro"):
            self.survive(gemini.request_from_x, x, Context(model=model))
        gemini.media_urls(x, Context(model="m"))

    @given(
        st.lists(candidate(), max_size=3),
        objects(GEMINI, "usageMetadata", "error", "promptFeedback", "responseId"),
    )
    @settings(max_examples=30, deadline=None)
    def test_answers_of_providers(
        self, candidates: list[Any], more: dict[str, Any]
    ) -> None:
        """A provider's answer, whole and streamed."""
        answer = {"candidates": candidates, **more}
        self.survive(gemini.response_to_x, answer, Context(model="m", native=True))
        stream = gemini.StreamToX(Context(model="m", native=True))
        for event in events_of([answer, answer]):
            stream.feed(event)
        stream.close()

    @given(
        st.lists(
            message(
                "reasoning_details",
                "images",
                "audio",
                "annotations",
                "function_call",
                "native_blocks",
                "refusal",
            ),
            max_size=3,
        ),
        objects(CHAT, "logprobs", "finish_reason", "native_finish_reason", "index"),
        objects(CHAT, "usage", "id", "model"),
    )
    @settings(max_examples=30, deadline=None)
    def test_answers_for_clients(
        self, said: list[Any], choice: dict[str, Any], head: dict[str, Any]
    ) -> None:
        """An answer of the middle form, whole and streamed."""
        whole = [{"message": one, **choice} for one in said]
        self.survive(
            gemini.response_from_x, {"choices": whole, **head}, Context(model="m")
        )
        stream = gemini.StreamFromX(Context(model="m"))
        for one in said:
            stream.feed({"choices": [{"delta": one, **choice}], **head})
        stream.close()
