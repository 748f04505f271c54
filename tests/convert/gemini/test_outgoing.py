"""Requests of the middle form as Gemini requests."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context, Media
from knight_tw.convert.gemini import media_urls, request_from_x
from knight_tw.convert.gemini.signing import PLACEHOLDER
from knight_tw.errors import InvalidRequest, UnsupportedContent

PNG = "iVBORw0KGgoAAAAA"
PNG_URL = f"data:image/png;base64,{PNG}"
FUNCTION = {"name": "f", "parameters": {"type": "object", "properties": {"a": {}}}}
SIGNED = {"google": {"thought_signature": "ko1.g.QUJD"}}


def context_of(model: str = "gemini-2.5-flash", **known: Any) -> Context:
    """A Gemini channel."""
    return Context(model=model, **{"provider_type": 24, **known})


def sent(context: Context | None = None, **x: Any) -> dict[str, Any]:
    """The Gemini request for a request of the middle form."""
    x = {"messages": [{"role": "user", "content": "hi"}]} | x
    return request_from_x(x, context or context_of())


def contents(*messages: dict[str, Any], **known: Any) -> list[dict[str, Any]]:
    """The contents for some messages, judged by Google's own types."""
    found: list[dict[str, Any]] = sent(context_of(**known), messages=list(messages))[
        "contents"
    ]
    for content in found:
        types.Content.model_validate(content)
    return found


def call(call_id: str = "c1", name: str = "f", **more: Any) -> dict[str, Any]:
    """A tool call."""
    function = {"name": name, "arguments": '{"a":1}'}
    return {"id": call_id, "type": "function", "function": function, **more}


def result(content: Any, call_id: str = "c1", **more: Any) -> dict[str, Any]:
    """A tool's result."""
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


def user(*parts: dict[str, Any]) -> dict[str, Any]:
    """A user message of parts."""
    return {"role": "user", "content": list(parts)}


class Config(SynchronousTestCase):
    """`generationConfig` and its neighbours."""

    def test_numbers_are_kept(self) -> None:
        """Zeros are sent like any number; limits below one are not."""
        config = sent(
            temperature=0,
            top_p=0,
            top_k=0,
            seed=0,
            n=1,
            max_tokens=0,
            logprobs=True,
        )["generationConfig"]
        self.assertEqual(
            config,
            {
                "temperature": 0,
                "topP": 0,
                "topK": 0,
                "seed": 0,
                "candidateCount": 1,
                "responseLogprobs": True,
            },
        )

    def test_likelihood(self) -> None:
        """How many rivals of each token are told, if any are asked for."""
        config = sent(logprobs=True, top_logprobs=3)["generationConfig"]
        self.assertEqual(config, {"responseLogprobs": True, "logprobs": 3})

    def test_wrong_types_are_refused(self) -> None:
        """A field that is no number, a stop that is no text: 400 with its name."""
        for name, value in (("temperature", "1"), ("seed", True), ("stop", 5)):
            error = self.assertRaises(InvalidRequest, sent, **{name: value})
            self.assertEqual(error.param, name)

    def test_five_stops(self) -> None:
        """A sixth stop sequence and those after it are dropped and reported."""
        context = context_of()
        config = sent(context, stop=["1", "", "2", "3", "4", "5", "6", "7"])
        self.assertEqual(
            config["generationConfig"]["stopSequences"], ["1", "2", "3", "4", "5"]
        )
        self.assertEqual(context.dropped, ["stop[5]", "stop[6]"])

    def test_formats(self) -> None:
        """JSON with and without a schema, in the old form if the channel asks."""
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        mime = {"responseMimeType": "application/json"}
        old = context_of(settings={"gemini_legacy_schema": True})
        lowered = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
        for context, value, wanted in (
            (None, form, {**mime, "responseJsonSchema": schema}),
            (old, form, {**mime, "responseSchema": lowered}),
            (None, {"type": "json_object"}, mime),
            (None, {"type": "json_schema"}, mime),
            (None, {"type": "json_schema", "json_schema": {}}, mime),
            (None, {"type": "text"}, None),
        ):
            got = sent(context, response_format=value).get("generationConfig")
            self.assertEqual(got, wanted)

    def test_modalities(self) -> None:
        """Speech, images, and models that always draw."""
        draws = context_of("gemini-2.5-flash-image")
        google = {"google": {"image_config": {"aspect_ratio": "1:1"}}}
        voice = {"prebuiltVoiceConfig": {"voiceName": "Kore"}}
        for context, x, wanted in (
            (
                None,
                {"modalities": ["text", "audio"], "audio": {"voice": "Kore"}},
                {
                    "responseModalities": ["AUDIO"],
                    "speechConfig": {"voiceConfig": voice},
                },
            ),
            (None, {"modalities": ["audio"]}, {"responseModalities": ["AUDIO"]}),
            (
                None,
                {"modalities": ["image"], "extra_body": google},
                {
                    "responseModalities": ["TEXT", "IMAGE"],
                    "imageConfig": {"aspectRatio": "1:1"},
                },
            ),
            (draws, {}, {"responseModalities": ["TEXT", "IMAGE"]}),
        ):
            self.assertEqual(sent(context, **x)["generationConfig"], wanted)

    def test_safety(self) -> None:
        """The client's settings, else the administrator's thresholds by category."""
        own = [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
        google = {"google": {"safetySettings": own}}
        self.assertEqual(sent(safety_settings=own)["safetySettings"], own)
        self.assertEqual(sent(extra_body=google)["safetySettings"], own)
        table = {"default": "", "HARM_CATEGORY_HARASSMENT": "BLOCK_NONE"}
        context = context_of(options={"gemini.safety_settings": table})
        self.assertEqual(sent(context)["safetySettings"], own)
        context = context_of(options={"gemini.safety_settings": {"default": ""}})
        self.assertNotIn("safetySettings", sent(context))
        off = {entry["threshold"] for entry in sent()["safetySettings"]}
        self.assertEqual(off, {"OFF"})

    def test_googles_own_fields(self) -> None:
        """`extra_body.google` in either spelling; unknown members are reported."""
        context = context_of()
        body = sent(
            context,
            reasoning_effort="high",
            extra_body={
                "google": {
                    "thinking_config": {"thinking_budget": 7},
                    "cachedContent": "cachedContents/1",
                    "labels": {"a": "b"},
                }
            },
        )
        self.assertEqual(body["cachedContent"], "cachedContents/1")
        self.assertEqual(
            body["generationConfig"], {"thinkingConfig": {"thinkingBudget": 7}}
        )
        self.assertEqual(context.dropped, ["extra_body.google.labels"])

    def test_what_gemini_cannot_be_told(self) -> None:
        """Fields without an equivalent are reported, unless they ask for nothing."""
        context = context_of()
        sent(context, user="u", store=True, metadata={}, service_tier="auto")
        self.assertEqual(context.dropped, ["store", "user"])


class Thinking(SynchronousTestCase):
    """`thinkingConfig`."""

    def thinking(self, model: str, **x: Any) -> Any:
        """What is sent to a model."""
        config = sent(context_of(model), **x).get("generationConfig", {})
        return config.get("thinkingConfig")

    def test_levels_and_budgets(self) -> None:
        """Levels for Gemini 3, budgets for 2.5, within each model's bounds."""
        shown = {"includeThoughts": True}
        for model, x, wanted in (
            (
                "gemini-3-pro-preview",
                {"reasoning_effort": "max"},
                {"thinkingLevel": "XHIGH", **shown},
            ),
            (
                "gemini-3-flash",
                {"reasoning_effort": "none"},
                {"thinkingLevel": "MINIMAL"},
            ),
            (
                "gemini-3-flash",
                {"reasoning": {"max_tokens": 2000}},
                {"thinkingLevel": "LOW", **shown},
            ),
            ("gemini-2.5-pro", {"reasoning_effort": "none"}, {"thinkingBudget": 128}),
            ("gemini-2.5-flash", {"reasoning_effort": "none"}, {"thinkingBudget": 0}),
            (
                "gemini-2.5-pro",
                {"reasoning_effort": "high"},
                {"thinkingBudget": 26214, **shown},
            ),
            (
                "gemini-2.5-flash-lite",
                {"reasoning": {"max_tokens": 5}},
                {"thinkingBudget": 512, **shown},
            ),
            ("gemini-flash-latest", {"reasoning": {"enabled": True}}, shown),
            (
                "gemini-2.5-flash",
                {"reasoning": {"effort": "low", "exclude": True}},
                {"thinkingBudget": 4915},
            ),
            (
                "gemini-2.5-flash",
                {"thinking": {"type": "disabled"}},
                {"thinkingBudget": 0},
            ),
            ("gemini-2.5-flash", {}, None),
            ("gemini-2.0-flash", {"reasoning_effort": "none"}, None),
        ):
            self.assertEqual(self.thinking(model, **x), wanted, (model, x))

    def test_models_that_do_not_think(self) -> None:
        """For them the wish is dropped and reported."""
        for x, name in (
            ({"reasoning_effort": "low"}, "reasoning_effort"),
            ({"reasoning": {"enabled": True}}, "reasoning"),
        ):
            for model in ("gemini-2.0-flash", "gemini-2.5-flash-image"):
                context = context_of(model)
                sent(context, **x)
                self.assertEqual(context.dropped, [name])

    def test_levels_of_a_model(self) -> None:
        """The administrator may tell which levels a model knows."""
        table = {"gemini-3-pro": ["low", "high"]}
        context = context_of("gemini-3-pro", options={"relay.effort_levels": table})
        config = sent(context, reasoning_effort="medium")["generationConfig"]
        self.assertEqual(config["thinkingConfig"]["thinkingLevel"], "LOW")


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_names_that_gemini_does_not_take(self) -> None:
        """They are changed, the same everywhere, and remembered."""
        context = context_of()
        body = sent(
            context,
            tools=[{"type": "function", "function": {"name": "1 a"}}],
            tool_choice={"type": "function", "function": {"name": "1 a"}},
            messages=[{"role": "assistant", "tool_calls": [call(name="1 a")]}],
        )
        named = body["tools"][0]["functionDeclarations"][0]["name"]
        self.assertEqual(named, "_1_a")
        calling = body["toolConfig"]["functionCallingConfig"]
        self.assertEqual(calling["allowedFunctionNames"], [named])
        part = body["contents"][0]["parts"][0]
        self.assertEqual(part["functionCall"]["name"], named)
        self.assertEqual(context.memory.sent_names, {"_1_a": "1 a"})
        clash = sent(
            context,
            tools=[
                {"type": "function", "function": {"name": n}} for n in ("a b", "a_b")
            ],
        )
        names = [f["name"] for f in clash["tools"][0]["functionDeclarations"]]
        self.assertEqual(len(set(names)), 2)
        dotted = sent(tools=[{"type": "function", "function": {"name": "a.b:c"}}])
        self.assertEqual(
            dotted["tools"], [{"functionDeclarations": [{"name": "a.b:c"}]}]
        )

    def test_choices(self) -> None:
        """Every kind of choice, and what is none."""
        offered = [{"type": "function", "function": FUNCTION}]
        names = [{"type": "function", "function": {"name": "f"}}]
        must = {"mode": "ANY", "allowedFunctionNames": ["f"]}
        may = {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}
        for choice, wanted in (
            ("auto", {"mode": "AUTO"}),
            ("required", {"mode": "ANY"}),
            ("none", {"mode": "NONE"}),
            ({"type": "custom", "custom": {"name": "f"}}, must),
            (
                {
                    "type": "allowed_tools",
                    "allowed_tools": {"mode": "required", "tools": names},
                },
                must,
            ),
            ({"type": "allowed_tools", "mode": "auto", "tools": [{"name": "f"}]}, may),
        ):
            config = sent(tools=offered, tool_choice=choice)["toolConfig"]
            self.assertEqual(config["functionCallingConfig"], wanted)
        for choice in ("some", 5, {"type": "function"}):
            error = self.assertRaises(
                InvalidRequest, sent, tools=offered, tool_choice=choice
            )
            self.assertEqual(error.param, "tool_choice")
        self.assertNotIn("toolConfig", sent(tool_choice="auto"))

    def test_strict_functions(self) -> None:
        """They are validated when the administrator wants it and nothing is forced."""
        context = context_of(options={"gemini.strict_tools_validated": True})
        offered = [{"type": "function", "function": {**FUNCTION, "strict": True}}]
        for choice, mode in (
            (None, "VALIDATED"),
            ("auto", "VALIDATED"),
            ("required", "ANY"),
        ):
            body = sent(context, tools=offered, tool_choice=choice)
            self.assertEqual(
                body["toolConfig"], {"functionCallingConfig": {"mode": mode}}
            )
        self.assertNotIn("toolConfig", sent(tools=offered))

    def test_googles_own_tools(self) -> None:
        """They stand beside functions only from Gemini 3 on, else they are reported."""
        own = {"type": "function", "function": {"name": "codeExecution"}}
        x: dict[str, Any] = {"web_search_options": {}, "tools": [own]}
        entries = [{"codeExecution": {}}, {"googleSearch": {}}]
        self.assertEqual(sent(**x)["tools"], entries)
        x["tools"] = [own, {"type": "function", "function": FUNCTION}]
        third = sent(context_of("gemini-3-pro"), **x)["tools"]
        self.assertEqual(third[1:], entries)
        context = context_of()
        self.assertEqual(len(sent(context, **x)["tools"]), 1)
        self.assertEqual(context.dropped, ["tools.codeExecution", "web_search_options"])

    def test_declarations(self) -> None:
        """Free-form tools become functions; schemas go in the form asked for."""
        custom = {"type": "custom", "custom": {"name": "c", "description": "d"}}
        context = context_of(settings={"gemini_legacy_schema": True})
        found = sent(
            context,
            tools=[
                custom,
                {
                    "type": "function",
                    "function": {"name": "g", "parameters": {"anyOf": [{}]}},
                },
            ],
            parallel_tool_calls=False,
        )["tools"][0]["functionDeclarations"]
        self.assertEqual((found[0]["name"], found[0]["description"]), ("c", "d"))
        self.assertEqual(found[0]["parameters"]["type"], "OBJECT")
        self.assertEqual(found[1], {"name": "g"})
        self.assertEqual(context.memory.custom_tools, {"c"})
        self.assertEqual(context.dropped, ["parallel_tool_calls"])
        untyped = {
            "type": "function",
            "function": {"name": "g", "parameters": {"required": ["a"]}},
        }
        declared = sent(tools=[untyped])["tools"][0]["functionDeclarations"][0]
        self.assertEqual(
            declared["parametersJsonSchema"], {"type": "object", "required": ["a"]}
        )
        self.assertRaises(InvalidRequest, sent, tools=[{"type": "function"}])


class Messages(SynchronousTestCase):
    """Contents."""

    def test_neighbours_are_one(self) -> None:
        """Messages of one role that follow each other are one content."""
        one, two = {"role": "user", "content": "1"}, {"role": "user", "content": "2"}
        self.assertEqual(
            contents(one, two),
            [{"role": "user", "parts": [{"text": "1"}, {"text": "2"}]}],
        )

    def test_nothing_is_something(self) -> None:
        """A request without content gets a text; names are reported."""
        context = context_of()
        system = {"role": "system", "content": "S", "name": "n"}
        body = sent(context, messages=[system, {"role": "user", "content": ""}])
        self.assertEqual(
            body["contents"], [{"role": "user", "parts": [{"text": "..."}]}]
        )
        self.assertEqual(context.dropped, ["name"])

    def test_wrong_messages(self) -> None:
        """Unknown roles and system messages with pictures are refused by path."""
        image = {"type": "image_url", "image_url": {"url": PNG_URL}}
        for message, kind, param in (
            ({"role": "robot"}, InvalidRequest, "messages.0.role"),
            (
                {"role": "system", "content": [image]},
                UnsupportedContent,
                "messages.0.content.0.type",
            ),
            (
                {"role": "tool", "content": "x"},
                InvalidRequest,
                "messages.0.tool_call_id",
            ),
            (
                user({"type": "hologram"}),
                UnsupportedContent,
                "messages.0.content.0.type",
            ),
        ):
            error = self.assertRaises(kind, contents, message)
            self.assertEqual(error.param, param)

    def test_results_are_objects(self) -> None:
        """A result is an object: its own, or the value or text under a name."""
        for content, more, wanted in (
            ('{"a": 1}', {}, {"a": 1}),
            ("[1]", {}, {"output": [1]}),
            ("words", {}, {"output": "words"}),
            ("", {}, {"output": ""}),
            (None, {}, {"output": ""}),
            ("bad", {"is_error": True}, {"error": "bad"}),
            (
                [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}],
                {},
                {"output": "a\nb"},
            ),
        ):
            found = contents(
                {"role": "assistant", "tool_calls": [call()]}, result(content, **more)
            )
            response = found[1]["parts"][0]["functionResponse"]
            self.assertEqual(response, {"id": "c1", "name": "f", "response": wanted})

    def test_results_follow_the_calls(self) -> None:
        """One response for each call, in their order; the missing and the strays."""
        found = contents(
            {"role": "assistant", "tool_calls": [call("a"), call("b"), call("a")]},
            result("2", "b"),
            result("9", "z"),
            result("1", "a"),
            {"role": "user", "content": "go"},
        )
        parts = found[1]["parts"]
        answers = [part["functionResponse"]["response"] for part in parts[:3]]
        self.assertEqual(
            answers, [{"output": 1}, {"output": 2}, {"error": "no result"}]
        )
        self.assertEqual(parts[3:], [{"text": "[result of z] 9"}, {"text": "go"}])

    def test_results_with_pictures(self) -> None:
        """From Gemini 3 on they are inside the response, before that beside it."""
        image = {"type": "image_url", "image_url": {"url": PNG_URL}}
        stored = {"type": "image_url", "image_url": {"url": "gs://b/a.png"}}
        inline = {"inlineData": {"mimeType": "image/png", "data": PNG}}
        far = {"fileData": {"fileUri": "gs://b/a.png", "mimeType": "image/png"}}
        turn = {"role": "assistant", "tool_calls": [call()]}
        third = contents(turn, result([image, stored]), model="gemini-3-pro")[1][
            "parts"
        ]
        self.assertEqual(third[0]["functionResponse"]["parts"], [inline])
        self.assertEqual(
            third[0]["functionResponse"]["response"], {"output": "(see attached)"}
        )
        self.assertEqual(third[1:], [far])
        second = contents(turn, result([image]))[1]["parts"]
        self.assertEqual(second[1:], [inline])
        third = contents(turn, result([stored]), model="gemini-3-pro")[1]["parts"]
        self.assertNotIn("parts", third[0]["functionResponse"])
        stray = contents(result([image], "z"))[0]["parts"]
        self.assertEqual(stray, [{"text": "[result of z] (see attached)"}, inline])

    def test_ids_go_in_pairs(self) -> None:
        """Both ids or none: none for generated ones, none at all for Vertex."""
        for call_id, kind, wanted in (
            ("c1", 24, True),
            ("call_g_1_0", 24, False),
            ("c1", 41, False),
        ):
            found = contents(
                {"role": "assistant", "tool_calls": [call(call_id)]},
                result("x", call_id),
                provider_type=kind,
            )
            asked = found[0]["parts"][0]["functionCall"]
            answer = found[1]["parts"][0]["functionResponse"]
            self.assertEqual(("id" in asked, "id" in answer), (wanted, wanted))

    def test_markdown_images(self) -> None:
        """Images in the text become parts between its pieces; broken ones stay."""
        first = {"role": "assistant", "content": f"![x]({PNG_URL})"}
        alone = contents(first)[0]["parts"]
        self.assertEqual([list(part) for part in alone], [["inlineData"]])
        text = f"a![x]({PNG_URL})b![y](data:image/png;base64,!!!!)c"
        message = {
            "role": "assistant",
            "content": text,
            "images": [{"image_url": {"url": PNG_URL}}],
        }
        inline = {"inlineData": {"mimeType": "image/png", "data": PNG}}
        parts = contents({"role": "user", "content": "q"}, message)[1]["parts"]
        broken = "b![y](data:image/png;base64,!!!!)c"
        self.assertEqual(parts, [{"text": "a"}, inline, {"text": broken}, inline])

    def test_refusals_and_lists(self) -> None:
        """An assistant's list of parts, a refusal as text; sound is reported."""
        context = context_of()
        message = {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "refusal", "refusal": "b"},
            ],
            "refusal": "c",
            "audio": {"id": "x"},
        }
        body = sent(context, messages=[message, {"role": "assistant", "content": ""}])
        texts = [part["text"] for part in body["contents"][0]["parts"]]
        self.assertEqual(texts, ["a", "b", "c"])
        self.assertEqual(context.dropped, ["audio"])


class Signatures(SynchronousTestCase):
    """Where Google's signatures stand."""

    def assistant(self, model: str = "gemini-3-pro", **message: Any) -> Any:
        """The parts of an assistant message."""
        turn = {"role": "assistant", **message}
        return contents(turn, model=model)[0]["parts"]

    def detail(self, **more: Any) -> dict[str, Any]:
        """An entry of `reasoning_details`."""
        return {"format": "google-gemini-v1", "index": 0, **more}

    def test_calls(self) -> None:
        """A call keeps its own; without one the first gets the placeholder."""
        calls = [call("a", extra_content=SIGNED), call("b")]
        parts = self.assistant(tool_calls=calls)
        self.assertEqual(parts[0]["thoughtSignature"], "QUJD")
        self.assertNotIn("thoughtSignature", parts[1])
        for extra in ({}, {"google": {"thought_signature": "ko1.a.X"}}, {"google": 1}):
            parts = self.assistant(tool_calls=[call(extra_content=extra), call("b")])
            self.assertEqual(parts[0]["thoughtSignature"], PLACEHOLDER)
            self.assertNotIn("thoughtSignature", parts[1])
        old = self.assistant("gemini-2.5-pro", tool_calls=[call()])
        self.assertNotIn("thoughtSignature", old[0])

    def test_no_placeholder_when_switched_off(self) -> None:
        """The administrator may do without it."""
        options = {"gemini.function_call_thought_signature_enabled": False}
        turn = {"role": "assistant", "tool_calls": [call()]}
        found = contents(turn, model="gemini-3-pro", options=options)
        self.assertNotIn("thoughtSignature", found[0]["parts"][0])

    def test_signed_thoughts(self) -> None:
        """Thoughts signed by Google go back, all others stay out."""
        own = self.detail(type="reasoning.text", text="t", signature="ko1.g.QUJD")
        foreign = {**own, "signature": "ko1.a.X", "index": 1}
        unsigned = self.detail(type="reasoning.text", text="u", index=2)
        parts = self.assistant(content="x", reasoning_details=[own, foreign, unsigned])
        thought = {"text": "t", "thought": True, "thoughtSignature": "QUJD"}
        self.assertEqual(parts, [thought, {"text": "x"}])

    def test_loose_signatures(self) -> None:
        """They go on the text, else on the first call, else on a part of their own."""
        loose = self.detail(type="reasoning.encrypted", data="ko1.g.QUJD")
        more = {**loose, "data": "ko1.g.WFla", "index": 1}
        text = self.assistant(content="x", reasoning_details=[loose])
        self.assertEqual(text, [{"text": "x", "thoughtSignature": "QUJD"}])
        parts = self.assistant(tool_calls=[call()], reasoning_details=[loose])
        self.assertEqual(parts[0]["thoughtSignature"], "QUJD")
        parts = self.assistant(
            content="x", tool_calls=[call()], reasoning_details=[loose, more]
        )
        self.assertEqual([p["thoughtSignature"] for p in parts], ["QUJD", "WFla"])
        alone = self.assistant(content=None, reasoning_details=[loose])
        self.assertEqual(alone, [{"text": "", "thoughtSignature": "QUJD"}])

    def test_native_parts(self) -> None:
        """Gemini's own parts come back as they are, unless the client edited them."""
        content = [
            {"text": "t", "thought": True},
            {"text": "x"},
            {"functionCall": {"name": "f", "args": {}}, "thoughtSignature": "QUJD"},
        ]
        kept = {"format": "google-gemini-v1", "content": content}
        calls = [call("call_g_0")]
        same = self.assistant(content="x", native_blocks=kept, tool_calls=calls)
        self.assertEqual(same, content)
        for message in (
            {"content": "y", "tool_calls": calls},
            {"content": "x", "tool_calls": []},
            {"content": "x", "native_blocks": {**kept, "format": "else"}},
            {"content": "x", "native_blocks": {**kept, "content": []}},
        ):
            found = self.assistant(**{"native_blocks": kept, **message})
            self.assertNotEqual(found, content)
        named = {"functionCall": {"id": "other", "name": "f"}}
        other = {**kept, "content": [{"text": "x"}, named]}
        found = self.assistant(content="x", native_blocks=other, tool_calls=calls)
        self.assertNotEqual(found, other["content"])


class Media_(SynchronousTestCase):
    """Media in user messages."""

    def part(self, part: dict[str, Any], **known: Any) -> Any:
        """Gemini's part for a user's."""
        return contents(user(part), **known)[0]["parts"][0]

    def test_kinds(self) -> None:
        """Images, files, texts, sound and video as bytes, with their true types."""
        wav = "UklGRgAAAABXQVZF"
        for part, mime, data in (
            ({"type": "image_url", "image_url": {"url": PNG_URL}}, "image/png", PNG),
            ({"type": "image_url", "image_url": PNG_URL}, "image/png", PNG),
            (
                {"type": "file", "file": {"filename": "a.csv", "file_data": "YSxi"}},
                "text/plain",
                "YSxi",
            ),
            (
                {"type": "input_audio", "input_audio": {"data": wav, "format": "mp3"}},
                "audio/wav",
                wav,
            ),
            (
                {
                    "type": "input_audio",
                    "input_audio": {"data": "AAAA", "format": "mp3"},
                },
                "audio/mp3",
                "AAAA",
            ),
            (
                {
                    "type": "video_url",
                    "video_url": {"url": "data:video/mp4;base64,AAAA"},
                },
                "video/mp4",
                "AAAA",
            ),
        ):
            wanted = {"inlineData": {"mimeType": mime, "data": data}}
            self.assertEqual(self.part(part), wanted)

    def test_what_lies_at_google(self) -> None:
        """Google's own addresses go by reference, with the type if it is known."""
        for url, more, wanted in (
            ("gs://b/a.pdf", {}, {"mimeType": "application/pdf"}),
            ("https://youtu.be/x", {}, {}),
            (
                "https://generativelanguage.googleapis.com/v1beta/files/x",
                {"mime_type": "image/png"},
                {"mimeType": "image/png"},
            ),
        ):
            part = {"type": "image_url", "image_url": {"url": url, **more}}
            self.assertEqual(self.part(part), {"fileData": {"fileUri": url, **wanted}})

    def test_downloads(self) -> None:
        """Other addresses are named beforehand and sent as bytes."""
        image = {"type": "image_url", "image_url": {"url": "https://a.example/x"}}
        again = {"type": "image_url", "image_url": "https://a.example/x"}
        pdf = {"type": "file", "file": {"file_url": "http://a.example/y"}}
        near = {"type": "video_url", "video_url": {"url": "https://youtu.be/x"}}
        data = {"type": "file", "file": {"file_data": "AAAA", "file_url": "http://z"}}
        x = {"messages": [user(image, again, pdf, near, data, {"type": "text"}), 5]}
        urls = ["https://a.example/x", "http://a.example/y"]
        self.assertEqual(media_urls(x, context_of()), urls)
        self.assertEqual(media_urls({}, context_of()), [])
        media = {urls[0]: Media(b"GIF89a", "")}
        part = self.part(image, media=media)
        self.assertEqual(part["inlineData"]["mimeType"], "image/gif")
        self.assertRaises(UnsupportedContent, self.part, pdf, media=media)

    def test_resolution(self) -> None:
        """`detail` is a resolution from Gemini 3 on, nothing before."""
        for model, detail, level in (
            ("gemini-3-pro", "high", "MEDIA_RESOLUTION_HIGH"),
            ("gemini-3-pro", "original", "MEDIA_RESOLUTION_ULTRA_HIGH"),
            ("gemini-3-pro", "auto", None),
            ("gemini-2.5-pro", "high", None),
        ):
            image = {"url": PNG_URL, "detail": detail}
            part = self.part({"type": "image_url", "image_url": image}, model=model)
            self.assertEqual(part.get("mediaResolution"), level and {"level": level})

    def test_what_gemini_cannot_see(self) -> None:
        """Other types, missing URLs and broken parts are refused."""
        bmp = "data:image/bmp;base64,Qk0="
        for part, kind in (
            ({"type": "image_url", "image_url": {"url": bmp}}, UnsupportedContent),
            ({"type": "image_url", "image_url": {"file_id": "f"}}, UnsupportedContent),
            ({"type": "image_url", "image_url": 5}, InvalidRequest),
            ({"type": "file", "file": {"file_id": "f"}}, UnsupportedContent),
        ):
            self.assertRaises(kind, self.part, part)


class Judged(SynchronousTestCase):
    """Whole requests, judged by Google's own types."""

    @given(
        st.lists(
            st.one_of(
                st.builds(lambda t: {"role": "user", "content": t}, st.text()),
                st.builds(lambda t: {"role": "system", "content": t}, st.text()),
                st.builds(
                    lambda t, ids: {
                        "role": "assistant",
                        "content": t,
                        "tool_calls": [call(i) for i in ids],
                    },
                    st.none() | st.text(),
                    st.lists(st.sampled_from("abc"), max_size=2),
                ),
                st.builds(result, st.text(), st.sampled_from("abcd")),
            ),
            max_size=6,
        )
    )
    @settings(max_examples=100, deadline=None)
    def test_any_conversation(self, messages: list[dict[str, Any]]) -> None:
        """Roles alternate and each call is answered right after its turn."""
        found = contents(*messages)
        roles = [content["role"] for content in found]
        self.assertTrue(all(a != b for a, b in pairwise(roles)))
        for content, following in zip(found, [*found[1:], None], strict=True):
            asked = [
                p["functionCall"]["name"]
                for p in content["parts"]
                if "functionCall" in p
            ]
            if asked:
                assert following is not None
                answers = [p for p in following["parts"] if "functionResponse" in p]
                self.assertEqual(len(answers), len(asked))
