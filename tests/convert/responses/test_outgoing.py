"""Requests of the middle form as Responses requests."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.responses import media_urls, request_from_x
from knight_tw.errors import InvalidRequest, UnsupportedContent, UnsupportedParameter

HI = {"role": "user", "content": "hi"}
SAID_HI = {"type": "message", "role": "user", "content": "hi"}
OPENAI = "openai-responses-v1"


def converted(x: dict[str, Any], **known: Any) -> tuple[dict[str, Any], Context]:
    """The Responses request for a greeting, unless `x` says more."""
    context = Context(**{"model": "gpt-5.2"} | known)
    return request_from_x({"messages": [HI], **x}, context), context


def items(*messages: dict[str, Any], **known: Any) -> list[dict[str, Any]]:
    """The input items of some messages."""
    body, _ = converted({"messages": list(messages)}, **known)
    found: list[dict[str, Any]] = body["input"]
    return found


def calling(*ids: str, content: Any = None, **more: Any) -> dict[str, Any]:
    """An assistant's message that calls `f`."""
    calls = [
        {"id": one, "type": "function", "function": {"name": "f", "arguments": "{}"}}
        for one in ids
    ]
    return {"role": "assistant", "content": content, "tool_calls": calls, **more}


def result(call_id: str, content: Any = "r", **more: Any) -> dict[str, Any]:
    """A tool's message."""
    return {"role": "tool", "tool_call_id": call_id, "content": content, **more}


class Refusing(SynchronousTestCase):
    """Requests that have no form here."""

    def test_fields(self) -> None:
        """Each fault names the field at fault."""
        wrong = {"type": "function", "function": {"name": 7}}
        cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
            ({"n": 2}, UnsupportedParameter, "n"),
            ({"modalities": ["text", "audio"]}, UnsupportedParameter, "modalities"),
            ({"messages": [{"role": "god"}]}, InvalidRequest, "messages.0.role"),
            ({"tools": [{"type": "x"}]}, InvalidRequest, "tools.0.type"),
            ({"tools": [wrong]}, InvalidRequest, "tools.0.function.name"),
            ({"tools": [TOOL], "tool_choice": 7}, InvalidRequest, "tool_choice"),
        )
        for x, kind, param in cases:
            error: Any = self.assertRaises(kind, converted, x)
            self.assertEqual(error.param, param)

    def test_parts(self) -> None:
        """Parts that the API does not see are refused by their path."""
        cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
            ({"type": "input_audio", "input_audio": {}}, UnsupportedContent, ""),
            ({"type": "video_url", "video_url": {}}, UnsupportedContent, ""),
            ({"type": "image_url", "image_url": {}}, InvalidRequest, ".image_url.url"),
            ({"type": "file"}, InvalidRequest, ".file"),
        )
        for part, kind, where in cases:
            message = {"role": "user", "content": [part]}
            error: Any = self.assertRaises(kind, items, message)
            self.assertEqual(error.param, f"messages.0.content.0{where}")


class Items(SynchronousTestCase):
    """Messages to items."""

    def test_leading_system_is_instructions(self) -> None:
        """System messages in front are instructions, later ones stay in place."""
        parts = [{"type": "text", "text": "A"}, {"type": "text", "text": "B"}]
        leading = [
            {"role": "system", "content": parts},
            {"role": "developer", "content": "C"},
        ]
        later = {"role": "developer", "content": "D"}
        body, _ = converted({"messages": [*leading, HI, later]})
        self.assertEqual(body["instructions"], "A\n\nB\n\nC")
        last = {"type": "message", "role": "developer", "content": "D"}
        self.assertEqual(body["input"], [SAID_HI, last])

    def test_system_alone(self) -> None:
        """Somebody has to speak to the system."""
        body, _ = converted({"messages": [{"role": "system", "content": "S"}]})
        self.assertEqual(body["input"][0]["content"], "...")

    def test_user_parts(self) -> None:
        """Text, images and files, with what clients say about a file."""
        file = {
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERi0=",
        }
        parts: list[dict[str, Any]] = [
            {"type": "text", "text": "q", "cache_control": {"type": "ephemeral"}},
            {"type": "image_url", "image_url": "https://e.org/i.png"},
            {
                "type": "image_url",
                "image_url": {"url": "https://e.org/j.png", "detail": "low"},
            },
            {"type": "file", "file": file},
            {
                "type": "file",
                "file": {"file_url": "https://e.org/b.pdf"},
                "title": "b.pdf",
                "context": "read",
            },
            {"type": "refusal", "refusal": "no"},
        ]
        (item,) = items({"role": "user", "content": parts})
        self.assertEqual(
            item["content"],
            [
                {"type": "input_text", "text": "q"},
                {
                    "type": "input_image",
                    "image_url": "https://e.org/i.png",
                    "detail": "auto",
                },
                {
                    "type": "input_image",
                    "image_url": "https://e.org/j.png",
                    "detail": "low",
                },
                {"type": "input_file", **file},
                {"type": "input_text", "text": "read"},
                {
                    "type": "input_file",
                    "file_url": "https://e.org/b.pdf",
                    "filename": "b.pdf",
                },
                {"type": "input_text", "text": "no"},
            ],
        )
        self.assertEqual(media_urls({"messages": [item]}, Context("m")), [])

    def test_empty_content(self) -> None:
        """A message without parts is an empty text."""
        self.assertEqual(items({"role": "user", "content": []})[0]["content"], "")

    def test_cache_markers(self) -> None:
        """Newer models take markers, Claude's become OpenAI's."""
        own = {"mode": "explicit", "ttl": "30m"}
        parts = [
            {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
            {"type": "text", "text": "b", "prompt_cache_breakpoint": own},
        ]
        (item,) = items({"role": "user", "content": parts}, model="gpt-5.6")
        markers = [part["prompt_cache_breakpoint"] for part in item["content"]]
        self.assertEqual(markers, [{"mode": "explicit"}, own])

    def test_accepted_media(self) -> None:
        """A channel may be said to take sound and video."""
        sound = {"type": "input_audio", "input_audio": {"data": "x", "format": "wav"}}
        video = {"type": "video_url", "video_url": {"url": "https://e.org/v.mp4"}}
        settings = {"accepts": {"audio": True, "video_url": True}}
        (item,) = items({"role": "user", "content": [sound, video]}, settings=settings)
        self.assertEqual(item["content"], [sound, video])

    def test_assistant(self) -> None:
        """Text, refusals and the phase; what cannot be said is reported."""
        parts = [
            {"type": "text", "text": "a"},
            {"type": "text", "text": ""},
            {"type": "refusal", "refusal": "no"},
            {"type": "image_url", "image_url": {"url": "x"}},
        ]
        message = {"role": "assistant", "content": parts, "phase": "commentary"}
        message |= {"name": "n", "images": [{}], "audio": {"id": "x"}, "refusal": "no"}
        body, context = converted({"messages": [HI, message]})
        said = [
            {"type": "output_text", "text": "a"},
            {"type": "refusal", "refusal": "no"},
        ]
        item = {"type": "message", "role": "assistant", "content": said}
        self.assertEqual(body["input"], [SAID_HI, {**item, "phase": "commentary"}])
        names = ("name", "image_url", "images", "audio")
        self.assertEqual(context.dropped, list(names))

    def test_refusal_alone(self) -> None:
        """A refusal without text is said; an empty message is not."""
        refused = {"role": "assistant", "content": None, "refusal": "no"}
        found = items(HI, refused, {"role": "assistant", "content": ""}, HI)
        said = [{"type": "refusal", "refusal": "no"}]
        self.assertEqual(found[1]["content"], said)
        self.assertEqual(len(found), 3)

    def test_calls_and_results(self) -> None:
        """Calls and results, in their own order, whatever the content's form."""
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}
        text = {"type": "text", "text": "see"}
        found = items(
            HI,
            calling("c1", "c2", content="Look"),
            result("c2", [text, image]),
            result("c1", None),
        )
        kinds = ["message", "message", "function_call", "function_call"]
        kinds += ["function_call_output", "function_call_output"]
        self.assertEqual([item["type"] for item in found], kinds)
        self.assertEqual(found[4]["output"][1]["type"], "input_image")
        self.assertEqual(found[5], {"type": kinds[-1], "call_id": "c1", "output": ""})

    def test_long_ids_are_cut_alike(self) -> None:
        """An id that is too long is the same on the call and on its result."""
        found = items(HI, calling("x" * 80), result("x" * 80))
        self.assertEqual(found[1]["call_id"], found[2]["call_id"])
        self.assertEqual(len(found[1]["call_id"]), 57)

    def test_names_are_fitted(self) -> None:
        """A name with other characters is changed, and known again."""
        call = {
            "id": "c",
            "type": "function",
            "function": {"name": "a.b", "arguments": ""},
        }
        tool = {"type": "function", "function": {"name": "a.b"}}
        choice = {"type": "function", "function": {"name": "a.b"}}
        history = [HI, {"role": "assistant", "tool_calls": [call]}, result("c")]
        x = {"messages": history, "tools": [tool], "tool_choice": choice}
        body, context = converted(x)
        self.assertEqual(body["input"][1]["name"], "a_b")
        self.assertEqual(body["input"][1]["arguments"], "{}")
        self.assertEqual(body["tools"][0]["name"], "a_b")
        self.assertEqual(body["tool_choice"], {"type": "function", "name": "a_b"})
        self.assertEqual(context.memory.sent_names, {"a_b": "a.b"})

    def test_custom_calls(self) -> None:
        """A free-form call keeps its input, its result has a type of its own."""
        call = {"id": "c", "type": "custom", "custom": {"name": "sh", "input": "ls"}}
        found = items(HI, {"role": "assistant", "tool_calls": [call]}, result("c"))
        wanted = {
            "type": "custom_tool_call",
            "call_id": "c",
            "name": "sh",
            "input": "ls",
        }
        self.assertEqual(found[1], wanted)
        self.assertEqual(found[2]["type"], "custom_tool_call_output")

    def test_missing_results(self) -> None:
        """A call that nobody answered gets an output, as the API wants one."""
        for history in ([HI, calling("c")], [HI, calling("c"), HI]):
            found = items(*history)
            self.assertEqual(found[2]["output"], "(no result)")

    def test_results_without_a_call(self) -> None:
        """A result that nobody asked for is told by the user."""
        text = {"type": "text", "text": "a"}
        for content in ("a", [text]):
            (_, item) = items(HI, result("new", content))
            texts = [part["text"] for part in item["content"]]
            self.assertEqual((item["role"], texts), ("user", ["[result of new]", "a"]))

    def test_errors_say_so(self) -> None:
        """A failed result begins with `Error: `, once."""
        text = {"type": "text", "text": "boom"}
        image = {"type": "image_url", "image_url": {"url": "x"}}
        cases: tuple[tuple[Any, Any], ...] = (
            ("boom", "Error: boom"),
            ("Error: boom", "Error: boom"),
            ([text], "Error: boom"),
            ([{**text, "text": "Error: boom"}], "Error: boom"),
            ([image], "Error:"),
        )
        for content, wanted in cases:
            found = items(HI, calling("c"), result("c", content, is_error=True))[2][
                "output"
            ]
            said = found if isinstance(found, str) else found[0]["text"]
            self.assertEqual(said, wanted)


class Reasoning(SynchronousTestCase):
    """Reasoning that goes back to OpenAI."""

    def thoughts(self, *details: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
        """The reasoning items for a message with these details."""
        message = calling("c", reasoning_details=list(details), **more)
        found = items(HI, message, result("c"))
        return [item for item in found if item["type"] == "reasoning"]

    def test_items_come_back(self) -> None:
        """Summaries and the secret behind them are one item, its secret unwrapped."""
        summary = {"type": "reasoning.summary", "format": OPENAI, "index": 0}
        secret = {"type": "reasoning.encrypted", "format": OPENAI, "id": "rs_1"}
        found = self.thoughts(
            {**summary, "summary": "s1"},
            {**summary, "summary": "s2"},
            {**secret, "data": "ko1.o.ENC", "index": 0},
            {**secret, "data": "E2", "id": 7, "index": 1},
        )
        texts = [{"type": "summary_text", "text": text} for text in ("s1", "s2")]
        item = {"type": "reasoning", "id": "rs_1", "summary": texts}
        second = {"type": "reasoning", "summary": [], "encrypted_content": "E2"}
        self.assertEqual(found, [{**item, "encrypted_content": "ENC"}, second])

    def test_items_of_a_stream(self) -> None:
        """Entries that a stream left without constants, or doubled, are read."""
        found = self.thoughts(
            {
                "type": "reasoning.summary",
                "format": OPENAI * 2,
                "summary": "a",
                "index": 0,
            },
            {"summary": "b", "index": 0},
            {"data": "ko1.o.E", "index": 0},
        )
        self.assertEqual([part["text"] for part in found[0]["summary"]], ["a", "b"])
        self.assertEqual(found[0]["encrypted_content"], "E")

    def test_claude_clients_carry_it_as_a_signature(self) -> None:
        """A wrapped signature is OpenAI's, whatever the format says."""
        detail = {"type": "reasoning.text", "format": "anthropic-claude-v1", "index": 0}
        found = self.thoughts({**detail, "text": "t", "signature": "ko1.o.E"})
        self.assertEqual(found[0]["encrypted_content"], "E")
        self.assertEqual(found[0]["summary"][0]["text"], "t")

    def test_foreign_reasoning_is_left_out(self) -> None:
        """Nothing of other providers, and no text without a secret, is sent."""
        details = [
            {
                "type": "reasoning.text",
                "text": "x",
                "signature": "ko1.a.S",
                "format": OPENAI,
            },
            {"type": "reasoning.encrypted", "data": "ko1.g.S", "format": OPENAI},
            {"type": "reasoning.text", "text": "y", "format": "google-gemini-v1"},
            {"type": "reasoning.summary", "summary": "z", "format": OPENAI},
        ]
        self.assertEqual(self.thoughts(*details), [])

    def test_gemini_clients_carry_it_on_the_call(self) -> None:
        """A wrapped signature on a call is an item in front of it, once."""
        extra = {"google": {"thought_signature": "ko1.o.E"}}
        for details, number in (((), 1), (({"data": "ko1.o.E", "format": OPENAI},), 1)):
            message = calling("c", "d", reasoning_details=list(details))
            message["tool_calls"][0]["extra_content"] = extra
            message["tool_calls"][1]["extra_content"] = {
                "google": {"thought_signature": "ko1.g.S"}
            }
            found = items(HI, message, result("c"), result("d"))
            kinds = [item["type"] for item in found]
            self.assertEqual(kinds.count("reasoning"), number)
            self.assertEqual(kinds[1:3], ["reasoning", "function_call"])


class Native(SynchronousTestCase):
    """The provider's own items in a client's history."""

    OUTPUT = (
        {"type": "web_search_call", "id": "ws_1"},
        {"type": "message", "content": [{"type": "output_text", "text": "one"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "two"}]},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
    )

    def history(
        self, text: str, call_id: str, name: str = OPENAI
    ) -> list[dict[str, Any]]:
        """The items of a history with native blocks."""
        native = {"format": name, "content": list(self.OUTPUT)}
        message = calling(call_id, content=text, native_blocks=native)
        return items(HI, message, result(call_id))[1:-1]

    def test_untouched_answers_go_back_whole(self) -> None:
        """Native items are used while the client has edited neither text nor calls."""
        self.assertEqual(self.history("one\n\ntwo", "c"), list(self.OUTPUT))

    def test_edited_answers_are_rebuilt(self) -> None:
        """Another text, another call or another format: the message counts."""
        for text, call_id, name in (
            ("three", "c", OPENAI),
            ("one\n\ntwo", "d", OPENAI),
            ("one\n\ntwo", "c", "anthropic-claude-v1"),
        ):
            found = self.history(text, call_id, name)
            self.assertEqual(
                [item["type"] for item in found], ["message", "function_call"]
            )


TOOL = {
    "type": "function",
    "function": {"name": "f", "description": "d", "strict": True},
}


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_functions(self) -> None:
        """A function lies flat, with a schema and a word about strictness."""
        body, _ = converted({"tools": [TOOL], "parallel_tool_calls": False})
        tool = {"type": "function", "name": "f", "description": "d", "strict": True}
        self.assertEqual(
            body["tools"],
            [{**tool, "parameters": {"type": "object", "properties": {}}}],
        )
        self.assertIs(body["parallel_tool_calls"], False)

    def test_free_form_tools(self) -> None:
        """A grammar lies flat."""
        grammar = {"syntax": "lark", "definition": "start: A"}
        forms: tuple[tuple[Any, Any], ...] = (
            ({"type": "grammar", "grammar": grammar}, {"type": "grammar", **grammar}),
            ({"type": "text"}, {"type": "text"}),
            (None, None),
        )
        for form, wanted in forms:
            tool = {"type": "custom", "custom": {"name": "c", "format": form}}
            body, _ = converted({"tools": [tool]})
            self.assertEqual(body["tools"][0].get("format"), wanted)

    def test_search(self) -> None:
        """Search options become the tool, with or without a place."""
        place = {"city": "Rome"}
        for where in ({"type": "approximate", "approximate": place}, place):
            options = {"search_context_size": "low", "user_location": where}
            filters = {"allowed_domains": ["e.org"]}
            body, _ = converted({"web_search_options": {**options, "filters": filters}})
            tool = {
                "type": "web_search",
                "search_context_size": "low",
                "filters": filters,
            }
            wanted = {**tool, "user_location": {"type": "approximate", **place}}
            self.assertEqual(body["tools"], [wanted])
        body, _ = converted({"web_search_options": {}})
        self.assertEqual(body["tools"], [{"type": "web_search"}])

    def test_no_tools_no_choice(self) -> None:
        """Without tools there is nothing to choose."""
        body, _ = converted({"tool_choice": "auto", "parallel_tool_calls": True})
        self.assertEqual({"tool_choice", "parallel_tool_calls"} & body.keys(), set())

    def test_choices(self) -> None:
        """The choice lies flat."""
        reference = {"type": "function", "function": {"name": "f"}}
        flat = {"type": "function", "name": "f"}
        allowed = {"mode": "required", "tools": [reference]}
        entries = {"type": "allowed_tools", "mode": "required", "tools": [flat]}
        cases: tuple[tuple[Any, Any], ...] = (
            ("required", "required"),
            (reference, flat),
            (flat, flat),
            ({"type": "allowed_tools", "allowed_tools": allowed}, entries),
            ({"type": "allowed_tools", **allowed}, entries),
        )
        for choice, wanted in cases:
            body, _ = converted({"tools": [TOOL], "tool_choice": choice})
            self.assertEqual(body["tool_choice"], wanted)


class Fields(SynchronousTestCase):
    """Everything beside messages and tools."""

    def test_limits(self) -> None:
        """The newer limit wins, small ones are raised, none is none."""
        cases: tuple[tuple[dict[str, Any], Any], ...] = (
            ({"max_completion_tokens": 100, "max_tokens": 50}, 100),
            ({"max_tokens": 5}, 16),
            ({"max_tokens": 0}, None),
            ({}, None),
        )
        for x, wanted in cases:
            self.assertEqual(converted(x)[0].get("max_output_tokens"), wanted)

    def test_storing(self) -> None:
        """Nothing is stored unless the client says so."""
        for said, sent in ((None, False), (True, True), (False, False)):
            self.assertIs(converted({"store": said})[0]["store"], sent)

    def test_text(self) -> None:
        """The form of the answer lies flat beside the verbosity."""
        spec = {"name": "o", "schema": {}, "strict": None}
        form = {"type": "json_schema", "json_schema": spec}
        body, _ = converted({"response_format": form, "verbosity": "low"})
        wanted = {"type": "json_schema", "name": "o", "schema": {}}
        self.assertEqual(body["text"], {"format": wanted, "verbosity": "low"})
        body, _ = converted({"response_format": {"type": "json_object"}})
        self.assertEqual(body["text"], {"format": {"type": "json_object"}})

    def test_logprobs(self) -> None:
        """Log probabilities are included."""
        x = {"logprobs": True, "top_logprobs": 2, "temperature": 1}
        body, _ = converted(x, model="gpt-4.1")
        self.assertEqual(body["include"], ["message.output_text.logprobs"])
        self.assertEqual((body["top_logprobs"], body["temperature"]), (2, 1))
        self.assertNotIn("top_logprobs", converted({"logprobs": True}, model="m")[0])

    def test_reasoning_models_refuse_sampling(self) -> None:
        """Reasoning models get no sampling fields unless they do not reason."""
        x = {"temperature": 0.5, "top_p": 0.5, "logprobs": True, "top_logprobs": 2}
        body, context = converted(x)
        self.assertEqual({"temperature", "top_p", "top_logprobs"} & body.keys(), set())
        self.assertEqual(body["include"], ["reasoning.encrypted_content"])
        self.assertEqual(context.dropped, ["temperature", "top_p", "top_logprobs"])
        body, _ = converted({**x, "reasoning_effort": "none"})
        self.assertEqual(body["temperature"], 0.5)

    def test_reasoning(self) -> None:
        """Efforts as they are, budgets as efforts, with a summary unless excluded."""
        cases: tuple[tuple[dict[str, Any], Any], ...] = (
            ({"reasoning_effort": "high"}, {"effort": "high", "summary": "auto"}),
            (
                {"reasoning": {"max_tokens": 3000}},
                {"effort": "medium", "summary": "auto"},
            ),
            ({"reasoning": {"enabled": True}}, {"summary": "auto"}),
            ({"reasoning": {"effort": "low", "exclude": True}}, {"effort": "low"}),
            ({}, None),
        )
        for x, wanted in cases:
            body, _ = converted(x)
            self.assertEqual(body.get("reasoning"), wanted)
            self.assertEqual(body["include"], ["reasoning.encrypted_content"])

    def test_levels(self) -> None:
        """An effort that the model does not know is moved to the nearest."""
        options = {"relay.effort_levels": {"gpt-5": ["low", "high"]}}
        body, _ = converted({"reasoning_effort": "max"}, options=options)
        self.assertEqual(body["reasoning"]["effort"], "high")

    def test_plain_models(self) -> None:
        """Models that never reason are not asked for reasoning, nor for its secrets."""
        plain = (
            *("gpt-4.1", "gpt-4o-mini-2024-07-18", "gpt-3.5-turbo-16k", "gpt-4-0613"),
            *("gpt-5-chat-latest", "gpt-5.2-chat-latest", "chatgpt-4o-latest"),
            "ft:gpt-4.1-mini-2025-04-14:me::id",
        )
        for model in plain:
            body, context = converted({"reasoning_effort": "high"}, model=model)
            self.assertEqual({"include", "reasoning"} & body.keys(), set(), model)
            self.assertEqual(context.dropped, ["reasoning_effort"])
        for model in ("gpt-5", "o3", "grok-4", "gpt-4.1-ours", "qwen3-max"):
            body, _ = converted({"reasoning_effort": "high"}, model=model)
            self.assertIn("reasoning", body, model)
        _, context = converted({"reasoning_effort": "none"}, model="gpt-4.1")
        self.assertEqual(context.dropped, [])

    def test_streaming(self) -> None:
        """A stream is asked for without chat's options."""
        options = {"include_usage": True}
        body, context = converted({"stream": True, "stream_options": options})
        self.assertEqual((body["stream"], context.dropped), (True, []))
        self.assertNotIn("stream_options", body)

    def test_the_rest_is_reported(self) -> None:
        """What has no equivalent is named, unless it says what happens anyway."""
        x = {
            "stop": "x",
            "seed": 0,
            "top_k": 1,
            "logit_bias": {},
            "modalities": ["text"],
        }
        self.assertEqual(converted(x)[1].dropped, ["stop", "seed", "top_k"])
        body, context = converted({"user": "u", "metadata": {"a": "b"}})
        self.assertEqual((body["user"], body["metadata"]), ("u", {"a": "b"}))
        self.assertEqual(context.memory.x["user"], "u")
