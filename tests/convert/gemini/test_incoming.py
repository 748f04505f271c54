"""A client's Gemini requests in the middle form."""

from __future__ import annotations

import base64
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.gemini import request_from_x, request_to_x
from knight_tw.convert.gemini.names import camel
from knight_tw.errors import InvalidRequest, UnsupportedContent, UnsupportedParameter
from knight_tw.records import Dialect

WRAPPED = base64.b64encode(b"ko1.a.SIG").decode()


def x_of(context: Context | None = None, **body: Any) -> dict[str, Any]:
    """The middle form of a request."""
    body = {"contents": [{"parts": [{"text": "hi"}]}]} | body
    return request_to_x(body, context or Context(model="m"))


def messages(*contents: Any, context: Context | None = None) -> list[dict[str, Any]]:
    """The messages for some contents."""
    found: list[dict[str, Any]] = x_of(context, contents=list(contents))["messages"]
    return found


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    """A user's content."""
    return {"role": "user", "parts": list(parts)}


def model(*parts: dict[str, Any]) -> dict[str, Any]:
    """A model's content."""
    return {"role": "model", "parts": list(parts)}


def called(name: str = "f", **more: Any) -> dict[str, Any]:
    """A part with a call."""
    return {"functionCall": {"name": name, "args": {}, **more}}


def answered(name: str = "f", **more: Any) -> dict[str, Any]:
    """A part with a response."""
    return {"functionResponse": {"name": name, "response": {"output": "o"}, **more}}


class Names(SynchronousTestCase):
    """Both spellings."""

    def test_users_own_names_stay(self) -> None:
        """Fields become camel case, what is in arguments and schemas does not."""
        for given_value, wanted in (
            (
                {"function_call": {"args": {"a_b": 1}}},
                {"functionCall": {"args": {"a_b": 1}}},
            ),
            (
                [{"inline_data": {"mime_type": "x"}}],
                [{"inlineData": {"mimeType": "x"}}],
            ),
            (
                {"parameters_json_schema": {"a_b": {}}},
                {"parametersJsonSchema": {"a_b": {}}},
            ),
        ):
            self.assertEqual(camel(given_value), wanted)
        deep: Any = {"a_b": 1}
        for _ in range(100):
            deep = [deep]
        self.assertEqual(camel(deep), deep)


class Config(SynchronousTestCase):
    """`generationConfig` and the rest."""

    def test_snake_case(self) -> None:
        """Snake case is understood; losses are told in the client's words."""
        context = Context(model="m")
        x = x_of(
            context,
            system_instruction="S",
            generation_config={
                "max_output_tokens": 5.0,
                "top_k": 40.0,
                "temperature": 0,
                "stop_sequences": ["a"],
                "response_logprobs": True,
                "logprobs": 2,
                "audio_timestamp": True,
            },
            labels={"a": "b"},
        )
        self.assertEqual(x["messages"][0], {"role": "system", "content": "S"})
        wanted = {
            "model": "m",
            "max_tokens": 5,
            "top_k": 40,
            "temperature": 0,
            "stop": ["a"],
            "logprobs": True,
            "top_logprobs": 2,
        }
        self.assertEqual({k: v for k, v in x.items() if k != "messages"}, wanted)
        self.assertEqual(context.dropped, ["generationConfig.audioTimestamp", "labels"])
        context.drop("top_k")
        self.assertIn("topK", context.dropped)
        self.assertIs(context.memory.client, Dialect.GEMINI)

    def test_system_prompts(self) -> None:
        """Texts line by line, from a list or a single part; an empty one is none."""
        for instruction, wanted in (
            ({"parts": [{"text": "a"}, {"text": "b"}, {"inlineData": {}}]}, "a\nb"),
            ({"parts": {"text": "a"}}, "a"),
            ({"parts": []}, None),
            ("", None),
        ):
            first = x_of(systemInstruction=instruction)["messages"][0]
            got = first["content"] if first["role"] == "system" else None
            self.assertEqual(got, wanted)
        none = x_of(contents=[], systemInstruction="S")["messages"]
        self.assertEqual([m["role"] for m in none], ["system"])

    def test_safety(self) -> None:
        """Settings of safety go on; nulls are absent; likelihood without a number."""
        safety = [{"category": "A", "threshold": "OFF"}]
        config = {"responseLogprobs": True, "topP": None}
        x = x_of(safetySettings=safety, generationConfig=config)
        self.assertEqual(x["safety_settings"], safety)
        self.assertNotIn("top_logprobs", x)
        self.assertNotIn("top_p", x)

    def test_thinking(self) -> None:
        """Levels are names, budgets names and exact numbers."""
        for config, wanted in (
            ({"thinkingLevel": "HIGH"}, {"reasoning_effort": "high"}),
            ({"thinkingLevel": "THINKING_LEVEL_UNSPECIFIED"}, {}),
            ({"thinkingBudget": 0}, {"reasoning_effort": "none"}),
            (
                {"thinkingBudget": 5000},
                {"reasoning_effort": "high", "reasoning": {"max_tokens": 5000}},
            ),
            ({"thinkingBudget": -1}, {}),
            (
                {"thinkingBudget": -1, "includeThoughts": True},
                {"reasoning": {"enabled": True}},
            ),
            ({"includeThoughts": False}, {"reasoning": {"exclude": True}}),
        ):
            x = x_of(generationConfig={"thinkingConfig": config})
            got = {k: v for k, v in x.items() if k.startswith("reasoning")}
            self.assertEqual(got, wanted)

    def test_formats(self) -> None:
        """Either schema, none, and what only Gemini knows."""
        schema = {"type": "object"}
        for config, wanted in (
            ({"responseMimeType": "text/plain"}, None),
            ({"responseMimeType": "application/json"}, {"type": "json_object"}),
            (
                {"responseMimeType": "application/json", "responseJsonSchema": schema},
                {
                    "type": "json_schema",
                    "json_schema": {"name": "response", "schema": schema},
                },
            ),
            ({"responseSchema": schema}, None),
        ):
            x = x_of(generationConfig=config)
            self.assertEqual(x.get("response_format"), wanted)

    def test_modalities(self) -> None:
        """Speech with its voice, and images."""
        voice = {"voiceConfig": {"prebuiltVoiceConfig": {"voiceName": "Kore"}}}
        for config, wanted in (
            (
                {"responseModalities": ["AUDIO"], "speechConfig": voice},
                {
                    "modalities": ["text", "audio"],
                    "audio": {"voice": "Kore", "format": "wav"},
                },
            ),
            (
                {"responseModalities": ["AUDIO"]},
                {
                    "modalities": ["text", "audio"],
                    "audio": {"voice": "alloy", "format": "wav"},
                },
            ),
            (
                {"responseModalities": ["TEXT", "IMAGE"]},
                {"modalities": ["text", "image"]},
            ),
        ):
            x = x_of(generationConfig=config)
            got = {k: v for k, v in x.items() if k in ("modalities", "audio")}
            self.assertEqual(got, wanted)

    def test_refusals_name_the_field(self) -> None:
        """What cannot be read or honoured is refused with its path."""
        for body, kind, param in (
            ({"cachedContent": "c"}, UnsupportedParameter, "cachedContent"),
            ({"generationConfig": 5}, InvalidRequest, "generationConfig"),
            (
                {"generationConfig": {"topP": "1"}},
                InvalidRequest,
                "generationConfig.topP",
            ),
            (
                {"generationConfig": {"stopSequences": "a"}},
                InvalidRequest,
                "generationConfig.stopSequences",
            ),
            (
                {"generationConfig": {"responseMimeType": "text/x.enum"}},
                UnsupportedParameter,
                "generationConfig.responseMimeType",
            ),
            (
                {"generationConfig": {"thinkingConfig": {"thinkingLevel": "HUGE"}}},
                InvalidRequest,
                "generationConfig.thinkingConfig.thinkingLevel",
            ),
            ({"contents": "x"}, InvalidRequest, "contents"),
            ({"systemInstruction": 5}, InvalidRequest, "systemInstruction"),
            ({"contents": [{"role": "robot"}]}, InvalidRequest, "contents.0.role"),
            ({"contents": [{"parts": "x"}]}, InvalidRequest, "contents.0.parts"),
            (
                {"contents": [model({"functionCall": 5})]},
                InvalidRequest,
                "contents.0.parts.0.functionCall",
            ),
            (
                {"contents": [model({"functionCall": {}})]},
                InvalidRequest,
                "contents.0.parts.0.functionCall.name",
            ),
            (
                {"contents": [user({"functionResponse": 5})]},
                InvalidRequest,
                "contents.0.parts.0.functionResponse",
            ),
            (
                {"contents": [user({"inlineData": 5})]},
                InvalidRequest,
                "contents.0.parts.0.inlineData",
            ),
            (
                {"tools": [{"functionDeclarations": [{}]}]},
                InvalidRequest,
                "tools.0.functionDeclarations.0.name",
            ),
            ({"toolConfig": 5}, InvalidRequest, "toolConfig"),
        ):
            error = self.assertRaises(kind, x_of, **body)
            self.assertEqual(error.param, param)


class Tools(SynchronousTestCase):
    """Tools and the choice."""

    def test_declarations(self) -> None:
        """Both names of the schema, and none; other tools are reported."""
        context = Context(model="m")
        old = {"type": "OBJECT", "properties": {"a_b": {"type": "STRING"}}}
        own = {"type": "object", "properties": {"a": {"type": "STRING"}}}
        x = x_of(
            context,
            tools=[
                {
                    "functionDeclarations": [
                        {"name": "a", "description": "d", "parameters": old}
                    ]
                },
                {
                    "function_declarations": [
                        {"name": "b", "parameters_json_schema": own},
                        {"name": "c"},
                    ]
                },
                {"googleSearch": {}},
                {"codeExecution": {}},
            ],
        )
        found = {tool["function"]["name"]: tool["function"] for tool in x["tools"]}
        new = {"type": "object", "properties": {"a_b": {"type": "string"}}}
        self.assertEqual(
            found["a"], {"name": "a", "description": "d", "parameters": new}
        )
        self.assertEqual(found["b"]["parameters"], own)
        self.assertEqual(found["c"]["parameters"], {"type": "object", "properties": {}})
        self.assertEqual(x["web_search_options"], {})
        self.assertEqual(context.dropped, ["tools.codeExecution"])

    def test_choices(self) -> None:
        """Every mode, with and without names; none without functions."""
        named = {"type": "function", "function": {"name": "a"}}
        other = {"type": "function", "function": {"name": "b"}}
        declared = [{"functionDeclarations": [{"name": "a"}, {"name": "b"}]}]
        for mode, names, wanted in (
            ("AUTO", None, "auto"),
            ("any", None, "required"),
            ("NONE", ["a"], "none"),
            ("VALIDATED", None, "auto"),
            ("ANY", ["a"], named),
            ("ANY", ["a", "b"], {"mode": "required", "tools": [named, other]}),
            (None, ["a"], {"mode": "auto", "tools": [named]}),
        ):
            config = {
                "functionCallingConfig": {"mode": mode, "allowedFunctionNames": names}
            }
            choice = x_of(tools=declared, toolConfig=config)["tool_choice"]
            self.assertEqual(
                choice.get("allowed_tools", choice)
                if isinstance(choice, dict)
                else choice,
                wanted,
            )
            self.assertNotIn("tool_choice", x_of(toolConfig=config))
        bad = {"functionCallingConfig": {"mode": "SOME"}}
        self.assertRaises(InvalidRequest, x_of, tools=declared, toolConfig=bad)
        context = Context(model="m")
        x = x_of(context, tools=declared[0], toolConfig={"retrievalConfig": {}})
        self.assertNotIn("tool_choice", x)
        self.assertEqual(context.dropped, ["toolConfig.retrievalConfig"])


class Turns(SynchronousTestCase):
    """Contents as messages."""

    def test_matching_responses(self) -> None:
        """By id, by name and order, or not at all; each call is answered once."""
        found = messages(
            model(called("f"), called("g", id="own"), called("f")),
            user(
                answered("f"),
                answered("g", id="own"),
                answered("f", id="made-up"),
                answered("h", id="h1"),
                answered("h"),
            ),
        )
        ids = [call["id"] for call in found[0]["tool_calls"]]
        self.assertEqual(ids, ["call_g_0_0", "own", "call_g_0_2"])
        answers = [message["tool_call_id"] for message in found[1:]]
        self.assertEqual(answers, [*ids, "h1", "call_g_1_4"])

    def test_generated_ids_are_unique(self) -> None:
        """An id that the client gave itself is not given again."""
        found = messages(model(called(id="call_g_0_1"), called()))
        ids = [call["id"] for call in found[0]["tool_calls"]]
        self.assertEqual(ids, ["call_g_0_1", "call_g_0_1_"])

    def test_pieces_are_one_turn(self) -> None:
        """Google's chat client gives back each piece of a stream by itself."""
        found = messages(
            user({"text": "q"}),
            model({"text": "a", "thought": True}),
            model({"text": "b", "thought": True}),
            model({"text": "", "thought": True, "thoughtSignature": WRAPPED}),
            model({"text": "Hel"}),
            model({"text": "lo"}, called("f", id="1")),
            model(called("g", id="2")),
            {"role": "function", "parts": answered("f", id="1")},
            user(answered("g", id="2")),
        )
        self.assertEqual(
            [m["role"] for m in found], ["user", "assistant", "tool", "tool"]
        )
        turn = found[1]
        self.assertEqual((turn["content"], turn["reasoning_content"]), ("Hello", "ab"))
        self.assertEqual([c["id"] for c in turn["tool_calls"]], ["1", "2"])
        detail = turn["reasoning_details"][0]
        self.assertEqual(
            (detail["text"], detail["signature"], detail["format"]),
            ("ab", "ko1.a.SIG", "anthropic-claude-v1"),
        )

    def test_signatures(self) -> None:
        """Google's own are wrapped, wrapped ones keep their owner, dummies go."""
        sealed = base64.urlsafe_b64encode(b"ko1.o.ENC").decode()
        turn = messages(
            model(
                {"text": "t", "thought": True, "thoughtSignature": "-_8"},
                {"thought": True, "thoughtSignature": sealed},
                {"text": "x", "thoughtSignature": "QUJD"},
                {**called(), "thoughtSignature": "QUJD"},
                {
                    **called(),
                    "thoughtSignature": "context_engineering_is_the_way_to_go",
                },
                {**called(), "thoughtSignature": WRAPPED},
                {"text": "", "thought": True, "thoughtSignature": "QUJD"},
                {"text": "", "thought": True, "thoughtSignature": WRAPPED},
            )
        )[0]
        details = [
            {k: v for k, v in d.items() if k in ("text", "signature", "data")}
            for d in turn["reasoning_details"]
        ]
        self.assertEqual(
            details,
            [
                {"text": "t", "signature": "ko1.g.+/8="},
                {"data": "ko1.o.ENC"},
                {"data": "ko1.g.QUJD"},
                {"data": "ko1.a.SIG"},
                {"data": "ko1.g.QUJD"},
                {"text": "", "signature": "ko1.a.SIG"},
            ],
        )
        self.assertEqual(
            [d["index"] for d in turn["reasoning_details"]], list(range(6))
        )
        signed = {"google": {"thought_signature": "ko1.g.QUJD"}}
        extras = [call.get("extra_content") for call in turn["tool_calls"]]
        self.assertEqual(extras, [signed, None, None])

    def test_responses(self) -> None:
        """The text of a response: its only text, its error, or all of it as JSON."""
        image = {"inlineData": {"mimeType": "image/png", "data": "AAAA"}}
        for response, content, failed in (
            ({"output": "a"}, "a", False),
            ({"result": "a"}, "a", False),
            ({"output": 5}, '{"output":5}', False),
            ({"a": 1, "error": "b"}, '{"a":1,"error":"b"}', False),
            ({"error": "bad"}, "bad", True),
            ({"error": {"c": 1}}, '{"c":1}', True),
            (None, "", False),
            ([1], "[1]", False),
        ):
            found = messages(
                user({"functionResponse": {"name": "f", "response": response}})
            )[0]
            self.assertEqual(
                (found["content"], found.get("is_error", False)), (content, failed)
            )
        for response, texts in (({"output": "t"}, 1), (None, 0)):
            part = {
                "functionResponse": {
                    "name": "f",
                    "response": response,
                    "parts": [image],
                }
            }
            content = messages(user(part))[0]["content"]
            self.assertEqual(len(content), texts + 1)
            self.assertEqual(
                content[-1]["image_url"]["url"], "data:image/png;base64,AAAA"
            )

    def test_what_a_model_drew_or_ran(self) -> None:
        """Images are kept beside the text, code is fenced, the rest is reported."""
        context = Context(model="m")
        turn = messages(
            model(
                {"text": "a"},
                {"executableCode": {"language": "PYTHON", "code": "x = 1\n"}},
                {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
                {"text": "b"},
                {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
                {"inlineData": {"mimeType": "audio/wav", "data": "AAAA"}},
                {"fileData": {"fileUri": "gs://a"}},
                {"inlineData": {"data": "AAAA"}, "thought": True},
                {"unknown": 1},
            ),
            context=context,
        )[0]
        self.assertEqual(
            turn["content"], "a\n```python\nx = 1\n```\n```output\n1\n```\nb"
        )
        self.assertEqual(
            turn["images"][0]["image_url"]["url"], "data:image/png;base64,AAAA"
        )
        self.assertEqual(context.dropped, ["parts.audio", "parts.fileData"])
        self.assertEqual(messages(model())[0], {"role": "assistant", "content": ""})

    def test_user_turns(self) -> None:
        """An empty turn stays, code is fenced, unknown parts are reported."""
        context = Context(model="m")
        found = messages(
            user({"executableCode": {"code": None}}),
            user({"toolCall": {}, "thought": True}),
            user(answered(), {"text": "t"}),
            context=context,
        )
        self.assertEqual([m["role"] for m in found], ["tool", "user", "user", "user"])
        self.assertEqual(
            [m["content"] for m in found[1:]], ["```python\n\n```", "", "t"]
        )
        self.assertEqual(context.dropped, ["parts.toolCall"])


class Media(SynchronousTestCase):
    """Media in a user's content."""

    def test_kinds(self) -> None:
        """Each type becomes the part of its kind."""
        for part, wanted in (
            (
                {
                    "inlineData": {"mimeType": "image/png", "data": "AAAA"},
                    "mediaResolution": {"level": "MEDIA_RESOLUTION_LOW"},
                },
                {
                    "type": "image_url",
                    "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"},
                },
            ),
            (
                {"inlineData": {"mimeType": "video/mp4", "data": "AAAA"}},
                {
                    "type": "video_url",
                    "video_url": {"url": "data:video/mp4;base64,AAAA"},
                },
            ),
            (
                {"inlineData": {"data": "JVBERi0="}},
                {
                    "type": "file",
                    "file": {
                        "filename": "document.pdf",
                        "file_data": "data:application/pdf;base64,JVBERi0=",
                    },
                },
            ),
            (
                {"inlineData": {"mimeType": "audio/mpeg", "data": "AAAA"}},
                {
                    "type": "input_audio",
                    "input_audio": {"data": "AAAA", "format": "mp3"},
                },
            ),
            (
                {"inlineData": {"mimeType": "text/csv", "data": "YSxi"}},
                {"type": "text", "text": "a,b"},
            ),
            (
                {"fileData": {"mimeType": "image/png", "fileUri": "https://a/x"}},
                {
                    "type": "image_url",
                    "image_url": {"url": "https://a/x", "mime_type": "image/png"},
                },
            ),
            (
                {"fileData": {"fileUri": "https://a/x.jpg"}},
                {"type": "image_url", "image_url": {"url": "https://a/x.jpg"}},
            ),
            (
                {"fileData": {"fileUri": "https://youtu.be/x"}},
                {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}},
            ),
            (
                {"fileData": {"fileUri": "https://a/x.pdf"}},
                {"type": "file", "file": {"file_url": "https://a/x.pdf"}},
            ),
        ):
            content = messages(user(part, {"text": "t"}))[0]["content"]
            self.assertEqual(content[0], wanted)

    def test_what_is_not_understood(self) -> None:
        """Other sound, unknown bytes and unknown files are refused."""
        for part in (
            {"inlineData": {"mimeType": "audio/flac", "data": "AAAA"}},
            {"inlineData": {"data": "AAAA"}},
            {"fileData": {"fileUri": "https://a/x"}},
        ):
            self.assertRaises(UnsupportedContent, messages, user(part))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=6,
)
ARGS = st.dictionaries(st.text(), JSON, max_size=3)
TEXT = st.text(min_size=1).filter(lambda text: "![" not in text)


class RoundTrips(SynchronousTestCase):
    """A Gemini conversation to the middle form and back."""

    @given(TEXT, TEXT, st.lists(ARGS, min_size=1, max_size=3), TEXT)
    @settings(max_examples=60, deadline=None)
    def test_meaning_is_kept(
        self, ask: str, say: str, args: list[dict[str, Any]], out: str
    ) -> None:
        """Texts, calls with their ids and arguments, and responses come back."""
        given_contents = [
            user({"text": ask}),
            model(
                {"text": say},
                *(
                    {"functionCall": {"id": f"c{n}", "name": "f", "args": a}}
                    for n, a in enumerate(args)
                ),
            ),
            user(
                *(
                    {
                        "functionResponse": {
                            "id": f"c{n}",
                            "name": "f",
                            "response": {"output": f"={out}"},
                        }
                    }
                    for n in range(len(args))
                )
            ),
        ]
        context = Context(model="gemini-2.5-pro", provider_type=24)
        x = request_to_x({"contents": given_contents}, context)
        back = request_from_x(x, context)["contents"]
        kept = [
            a
            for a in args
            if not (len(a) == 1 and isinstance(a.get("_arguments"), str))
        ]
        if len(kept) == len(args):
            self.assertEqual(back, given_contents)
