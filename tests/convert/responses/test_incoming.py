"""Responses requests in the middle form."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.responses import request_to_x
from knight_tw.errors import InvalidRequest, UnsupportedContent, UnsupportedParameter
from knight_tw.records import Dialect

QWEN = 17
HI = {"role": "user", "content": "hi"}
FORMAT = "openai-responses-v1"
F: dict[str, Any] = {
    "type": "function",
    "name": "f",
    "parameters": None,
    "strict": None,
}
X = {"type": "function", "function": {"name": "f"}}


def converted(body: dict[str, Any], **known: Any) -> tuple[dict[str, Any], Context]:
    """The middle form of a request, `input` being a greeting unless it says more."""
    context = Context(**{"model": "m", "provider_type": QWEN} | known)
    return request_to_x({"input": "hi", **body}, context), context


def messages(*items: dict[str, Any], **known: Any) -> list[dict[str, Any]]:
    """The messages of some items."""
    found: list[dict[str, Any]] = converted({"input": list(items)}, **known)[0][
        "messages"
    ]
    return found


def call(name: str = "f", call_id: str = "c1", **more: Any) -> dict[str, Any]:
    """A function call item."""
    usual = {"type": "function_call", "call_id": call_id, "name": name}
    return {**usual, "arguments": "{}", **more}


def output(call_id: str = "c1", text: Any = "r") -> dict[str, Any]:
    """The item that answers a call."""
    return {"type": "function_call_output", "call_id": call_id, "output": text}


def thought(secret: str | None = None, *texts: str, **more: Any) -> dict[str, Any]:
    """A reasoning item."""
    item: dict[str, Any] = {"type": "reasoning", "id": "rs_1", **more}
    item["summary"] = [{"type": "summary_text", "text": text} for text in texts]
    return item if secret is None else {**item, "encrypted_content": secret}


def spoken(*texts: str, **more: Any) -> dict[str, Any]:
    """An assistant's message item."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "role": "assistant", "content": parts, **more}


class Refusing(SynchronousTestCase):
    """Requests that go no further."""

    def test_fields(self) -> None:
        """Each fault names the field at fault."""
        wrong: dict[str, Any] = {"type": "function", "name": 7}
        reference = {"type": "item_reference", "id": "x"}
        cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
            (
                {"previous_response_id": "r"},
                UnsupportedParameter,
                "previous_response_id",
            ),
            ({"conversation": "c"}, UnsupportedParameter, "conversation"),
            ({"prompt": {"id": "p"}}, UnsupportedParameter, "prompt"),
            ({"background": True}, UnsupportedParameter, "background"),
            ({"input": 7}, InvalidRequest, "input"),
            ({"input": []}, InvalidRequest, "input"),
            ({"input": ["x"]}, InvalidRequest, "input.0"),
            ({"input": [{"a": 1}]}, InvalidRequest, "input.0.type"),
            ({"input": [{"role": "god"}]}, InvalidRequest, "input.0.role"),
            ({"input": [reference]}, UnsupportedParameter, "input.0"),
            ({"input": [{**call(), "call_id": 7}]}, InvalidRequest, "input.0.call_id"),
            ({"input": [{**call(), "name": 7}]}, InvalidRequest, "input.0.name"),
            ({"input": [output(text=7)]}, InvalidRequest, "input.0.output"),
            ({"instructions": ["x"]}, InvalidRequest, "instructions"),
            ({"text": "json"}, InvalidRequest, "text"),
            ({"text": {"format": "json"}}, InvalidRequest, "text.format"),
            ({"reasoning": "high"}, InvalidRequest, "reasoning"),
            ({"tools": [wrong]}, InvalidRequest, "tools.0.name"),
            ({"tools": [{"name": "f"}]}, InvalidRequest, "tools.0.type"),
            ({"tool_choice": "maybe"}, InvalidRequest, "tool_choice"),
            ({"tool_choice": {"type": "mcp"}}, UnsupportedParameter, "tool_choice"),
        )
        for body, kind, param in cases:
            error: Any = self.assertRaises(kind, converted, body)
            self.assertEqual(error.param, param)

    def test_parts(self) -> None:
        """Parts that no other API sees are refused by their path."""
        cases: tuple[tuple[dict[str, Any], type[Exception], str], ...] = (
            ({"type": "input_image", "file_id": "f"}, UnsupportedContent, ".file_id"),
            ({"type": "input_image"}, InvalidRequest, ".image_url"),
            ({"type": "input_file"}, InvalidRequest, ""),
            ({"type": "input_smell"}, UnsupportedContent, ""),
            ({"type": 7}, InvalidRequest, ".type"),
            ({"type": "input_text"}, InvalidRequest, ".text"),
        )
        for part, kind, where in cases:
            item = {
                "role": "user",
                "content": [{"type": "input_text", "text": "a"}, part],
            }
            error: Any = self.assertRaises(kind, messages, item)
            self.assertEqual(error.param, f"input.0.content.1{where}")


class Messages(SynchronousTestCase):
    """Items to messages."""

    def test_text_is_the_user_s(self) -> None:
        """An input that is a text is one message."""
        x, context = converted({"instructions": ""})
        self.assertEqual(x["messages"], [HI])
        self.assertIs(context.memory.client, Dialect.RESPONSES)

    def test_instructions_come_first(self) -> None:
        """Instructions are a system message, OpenAI's reasoning models' developer's."""
        for known, role in (
            ({"model": "gpt-5", "provider_type": 1}, "developer"),
            ({"model": "gpt-5"}, "system"),
        ):
            x, _ = converted({"instructions": "Sys"}, **known)
            self.assertEqual(x["messages"], [{"role": role, "content": "Sys"}, HI])

    def test_later_system_messages_stay(self) -> None:
        """Messages of the system keep their place."""
        later = {"role": "developer", "content": "be brief"}
        self.assertEqual(messages(HI, later, HI), [HI, later, HI])

    def test_texts_run_together(self) -> None:
        """Texts alone are one text, a cache marker keeps them apart."""
        parts: list[dict[str, Any]] = [
            {"type": "input_text", "text": "a"},
            {"type": "input_text", "text": "b"},
        ]
        item = {"role": "user", "content": parts}
        self.assertEqual(messages(item), [{"role": "user", "content": "ab"}])
        marker = {"mode": "explicit"}
        parts[0]["prompt_cache_breakpoint"] = marker
        (message,) = messages(item)
        first = {"type": "text", "text": "a", "prompt_cache_breakpoint": marker}
        self.assertEqual(message["content"], [first, {"type": "text", "text": "b"}])

    def test_media(self) -> None:
        """Images, files and sound become chat's parts."""
        sound = {"data": "UklGRg==", "format": "wav"}
        file = {
            "filename": "a.pdf",
            "file_data": "data:application/pdf;base64,JVBERi0=",
        }
        parts = [
            {
                "type": "input_image",
                "image_url": "https://e.org/i.png",
                "detail": "low",
            },
            {"type": "input_image", "image_url": {"url": "https://e.org/j.png"}},
            {"type": "input_file", **file},
            {"type": "input_file", "file_url": "https://e.org/a.pdf", "file_id": None},
            {"type": "input_audio", "input_audio": sound},
        ]
        (message,) = messages({"role": "user", "content": parts})
        images = (
            {"url": "https://e.org/i.png", "detail": "low"},
            {"url": "https://e.org/j.png"},
        )
        self.assertEqual(
            message["content"],
            [
                *({"type": "image_url", "image_url": image} for image in images),
                {"type": "file", "file": file},
                {"type": "file", "file": {"file_url": "https://e.org/a.pdf"}},
                {"type": "input_audio", "input_audio": sound},
            ],
        )

    def test_assistant_pieces_are_one_message(self) -> None:
        """Reasoning, messages and calls in a row are one message."""
        items = (
            thought("E", "s"),
            spoken("One", phase="commentary"),
            call(),
            thought("F", "t", id="rs_2"),
            call("g", "c2", namespace="n"),
            spoken("Two", phase="final_answer"),
        )
        (message, *rest) = messages(*items, output("c2"), output("c1"), HI)
        self.assertEqual([m["role"] for m in rest], ["tool", "tool", "user"])
        self.assertEqual(message["content"], "One\n\nTwo")
        self.assertEqual(message["phase"], "final_answer")
        names = [c["function"]["name"] for c in message["tool_calls"]]
        self.assertEqual(names, ["f", "n__g"])
        self.assertEqual(message["reasoning_content"], "s\n\nt")
        self.assertEqual(
            [(d["index"], d.get("id")) for d in message["reasoning_details"]],
            [(0, None), (0, "rs_1"), (1, None), (1, "rs_2")],
        )

    def test_outputs_part_turns(self) -> None:
        """A call after an output belongs to the next message."""
        found = messages(HI, call(), output(), call("g", "c2"), output("c2"))
        roles = [message["role"] for message in found]
        self.assertEqual(roles, ["user", "assistant", "tool", "assistant", "tool"])
        self.assertIsNone(found[1]["content"])

    def test_outputs_may_be_lists(self) -> None:
        """An output with an image keeps its parts; texts alone are a text."""
        image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
        text = {"type": "input_text", "text": "see"}
        found = messages(call(), output(text=[text]), output(text=[text, image]))
        self.assertEqual(found[1]["content"], "see")
        self.assertEqual(found[2]["content"][1]["type"], "image_url")

    def test_custom_calls(self) -> None:
        """Free-form calls stay free-form, their outputs are results like others."""
        item = {
            "type": "custom_tool_call",
            "call_id": "c1",
            "name": "sh",
            "input": "ls",
        }
        done = {"type": "custom_tool_call_output", "call_id": "c1", "output": "a"}
        found = messages(item, {**item, "call_id": "c2", "input": None}, done)
        custom = {"name": "sh", "input": "ls"}
        calls = found[0]["tool_calls"]
        self.assertEqual(calls[0], {"id": "c1", "type": "custom", "custom": custom})
        self.assertEqual(calls[1]["custom"]["input"], "")
        result = {"role": "tool", "tool_call_id": "c1", "content": "a"}
        self.assertEqual(found[1], result)

    def test_arguments_are_text(self) -> None:
        """Arguments that came as an object are written."""
        (message,) = messages(call(arguments={"a": 1}))
        self.assertEqual(message["tool_calls"][0]["function"]["arguments"], '{"a":1}')

    def test_refusals_and_empty_messages(self) -> None:
        """A refusal is a part; an empty message is an empty text."""
        refusal = {"type": "refusal", "refusal": "no"}
        (message,) = messages({**spoken("a"), "content": [refusal]})
        self.assertEqual(message["content"], [refusal])
        self.assertEqual(messages(spoken())[0]["content"], "")
        self.assertEqual(messages({**spoken(), "content": None})[0]["content"], "")

    def test_traces_of_tools_are_reported(self) -> None:
        """What the provider's own tools left is dropped and reported by its kind."""
        items = [{"type": "web_search_call", "id": "w"}, {"type": "mcp_call"}, HI]
        x, context = converted({"input": items})
        self.assertEqual(x["messages"], [HI])
        self.assertEqual(context.dropped, ["input.web_search_call", "input.mcp_call"])

    def test_reasoning_without_a_message(self) -> None:
        """Reasoning whose message is missing goes nowhere."""
        self.assertEqual(messages(thought("E", "s"), HI), [HI])


class Reasoning(SynchronousTestCase):
    """Reasoning that comes back."""

    def details(self, *items: dict[str, Any]) -> list[dict[str, Any]]:
        """The details of the first message."""
        found: list[dict[str, Any]] = messages(*items)[0]["reasoning_details"]
        return found

    def test_own_secret_stays_bare(self) -> None:
        """An unwrapped secret is OpenAI's own, a wrapped one is unwrapped."""
        for secret in ("E", "ko1.o.E"):
            _, entry = self.details(thought(secret, "s"), spoken("x"))
            self.assertEqual((entry["data"], entry["format"]), ("E", FORMAT))

    def test_reasoning_text(self) -> None:
        """Raw reasoning is a text; it is shown when there is no summary."""
        content = [{"type": "reasoning_text", "text": "raw"}]
        (message,) = messages(thought(None, content=content, id=None), spoken("x"))
        self.assertEqual(message["reasoning_content"], "raw")
        self.assertEqual(message["reasoning_details"][0]["type"], "reasoning.text")

    def test_claude_s_thinking(self) -> None:
        """Claude's signature signs its text again."""
        (message,) = messages(thought("ko1.a.S", "think"), call())
        signed = {
            "type": "reasoning.text",
            "text": "think",
            "signature": "ko1.a.S",
            "format": "anthropic-claude-v1",
            "index": 0,
        }
        self.assertEqual(message["reasoning_details"], [signed])
        self.assertEqual(message["reasoning_content"], "think")

    def test_claude_s_redacted_thinking(self) -> None:
        """Without a summary it is redacted; an empty one is thinking without text."""
        (entry,) = self.details(thought("ko1.a.S"), call())
        self.assertEqual(
            (entry["type"], entry["data"]), ("reasoning.encrypted", "ko1.a.S")
        )
        (entry,) = self.details(thought("ko1.a.S", ""), call())
        self.assertEqual((entry["text"], entry["signature"]), ("", "ko1.a.S"))

    def test_gemini_s_signature_is_the_call_s(self) -> None:
        """Gemini's signature goes to the call behind the reasoning, once."""
        (message,) = messages(thought("ko1.g.S", "p"), call(), call("g", "c2"))
        first, second = message["tool_calls"]
        extra = {"google": {"thought_signature": "ko1.g.S"}}
        self.assertEqual(first["extra_content"], extra)
        self.assertNotIn("extra_content", second)
        (entry,) = message["reasoning_details"]
        self.assertEqual((entry["text"], entry.get("signature")), ("p", None))

    def test_gemini_s_signature_of_a_text(self) -> None:
        """Without a call the signature belongs to the text."""
        for tail in ([spoken("x")], [thought("ko1.g.T"), call()]):
            entries = self.details(thought("ko1.g.S"), spoken("y"), *tail)
            self.assertEqual(entries[0]["data"], "ko1.g.S")


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_functions(self) -> None:
        """A function keeps what it says."""
        tool = {"type": "function", "name": "f", "description": "d", "strict": False}
        x, _ = converted({"tools": [{**tool, "parameters": {"type": "object"}}]})
        function = {"name": "f", "description": "d", "parameters": {"type": "object"}}
        wanted = {"type": "function", "function": {**function, "strict": False}}
        self.assertEqual(x["tools"], [wanted])

    def test_free_form_tools(self) -> None:
        """A grammar lies deeper in chat."""
        grammar = {"type": "grammar", "syntax": "lark", "definition": "start: A"}
        tools = [
            {"type": "custom", "name": "a", "description": "d", "format": grammar},
            {"type": "custom", "name": "b", "format": {"type": "text"}},
            {"type": "custom", "name": "c"},
        ]
        x, _ = converted({"tools": tools})
        inner = {"syntax": "lark", "definition": "start: A"}
        form = {"type": "grammar", "grammar": inner}
        self.assertEqual(
            [tool["custom"] for tool in x["tools"]],
            [
                {"name": "a", "description": "d", "format": form},
                {"name": "b", "format": {"type": "text"}},
                {"name": "c"},
            ],
        )

    def test_search(self) -> None:
        """Web search becomes search options; filters are reported."""
        where = {"type": "approximate", "city": "Rome", "country": None}
        tool = {
            "type": "web_search",
            "search_context_size": "low",
            "user_location": where,
        }
        filters = {"allowed_domains": ["e.org"]}
        x, context = converted({"tools": [{**tool, "filters": filters}]})
        place = {"type": "approximate", "approximate": {"city": "Rome"}}
        options = {"search_context_size": "low", "user_location": place}
        self.assertEqual(x["web_search_options"], options)
        self.assertNotIn("tools", x)
        self.assertEqual(context.dropped, ["tools.web_search.filters"])
        x, context = converted(
            {"tools": [{"type": "web_search_preview", "filters": None}]}
        )
        self.assertEqual((x["web_search_options"], context.dropped), ({}, []))

    def test_namespaces_are_flattened(self) -> None:
        """Tools of a namespace get one name; the client's is remembered."""
        space = {"type": "namespace", "name": "n", "tools": [F]}
        x, context = converted({"tools": [space]})
        self.assertEqual(
            x["tools"], [{"type": "function", "function": {"name": "n__f"}}]
        )
        known = {"n__f": {"name": "f", "namespace": "n"}}
        self.assertEqual(context.memory.tool_names, known)
        nested = {"type": "namespace", "name": "o", "tools": [space]}
        _, context = converted({"tools": [nested]})
        self.assertEqual(context.dropped, ["tools.namespace"])

    def test_additional_tools(self) -> None:
        """Tools inside the input count like all others, a repeated one once."""
        custom = {"type": "custom", "name": "exec"}
        space = {"type": "namespace", "name": "n", "tools": [F]}
        item = {
            "type": "additional_tools",
            "role": "developer",
            "tools": [space, custom],
        }
        x, context = converted({"input": [item, HI, item]})
        self.assertEqual(x["messages"], [HI])
        names = [tool[tool["type"]]["name"] for tool in x["tools"]]
        self.assertEqual((names, context.dropped), (["n__f", "exec"], []))

    def test_other_tools_are_reported(self) -> None:
        """Tools that only OpenAI has are dropped; without others there is no choice."""
        body = {"tools": [{"type": "file_search"}], "tool_choice": "required"}
        x, context = converted({**body, "parallel_tool_calls": False})
        for name in ("tools", "tool_choice", "parallel_tool_calls"):
            self.assertNotIn(name, x)
        self.assertEqual(context.dropped, ["tools.file_search"])

    def test_choices(self) -> None:
        """The choice is written in chat's form."""
        space = {"type": "namespace", "name": "n", "tools": [{**F, "name": "g"}]}
        tools = [F, space, {"type": "custom", "name": "c"}, {"type": "web_search"}]
        named = {"type": "function", "function": {"name": "f"}}
        inner = {"type": "function", "function": {"name": "n__g"}}
        custom = {"type": "custom", "custom": {"name": "c"}}
        cases: tuple[tuple[Any, Any], ...] = (
            ("none", "none"),
            ({"type": "function", "name": "f"}, named),
            ({"type": "function", "name": "g"}, inner),
            ({"type": "function", "name": "g", "namespace": "n"}, inner),
            ({"type": "custom", "name": "c"}, custom),
            (
                {"type": "function", "name": "new"},
                {**named, "function": {"name": "new"}},
            ),
            ({"type": "web_search"}, None),
        )
        for choice, wanted in cases:
            x, _ = converted({"tools": tools, "tool_choice": choice})
            self.assertEqual(x.get("tool_choice"), wanted)

    def test_allowed_tools(self) -> None:
        """A list of allowed tools keeps those that chat has."""
        entries = [
            {"type": "function", "name": "f"},
            {"type": "mcp", "server_label": "x"},
        ]
        choice = {"type": "allowed_tools", "mode": "required", "tools": entries}
        x, context = converted({"tools": [F], "tool_choice": choice})
        allowed = {"mode": "required", "tools": [X]}
        wanted = {"type": "allowed_tools", "allowed_tools": allowed}
        self.assertEqual(x["tool_choice"], wanted)
        self.assertEqual(context.dropped, ["tool_choice.mcp"])
        choice = {"type": "allowed_tools", "tools": entries[1:]}
        x, _ = converted({"tools": [F], "tool_choice": choice})
        self.assertNotIn("tool_choice", x)


class Fields(SynchronousTestCase):
    """Everything beside messages and tools."""

    def test_same_fields(self) -> None:
        """Fields that chat has too are kept, nulls are not."""
        body = {"temperature": 0.5, "top_p": None, "metadata": {}, "user": "u"}
        x, context = converted(body)
        self.assertEqual((x["temperature"], x["metadata"], x["user"]), (0.5, {}, "u"))
        self.assertNotIn("top_p", x)
        self.assertEqual(context.dropped, [])

    def test_renamed_fields(self) -> None:
        """Limit, length of speech and parallel calls have other names or places."""
        body = {"max_output_tokens": 5, "text": {"verbosity": "low"}, "tools": [F]}
        x, _ = converted({**body, "parallel_tool_calls": False})
        self.assertEqual((x["max_completion_tokens"], x["verbosity"]), (5, "low"))
        self.assertIs(x["parallel_tool_calls"], False)

    def test_text(self) -> None:
        """The form of the answer, as chat says it."""
        form = {"type": "json_schema", "name": "o", "schema": {}, "description": None}
        x, _ = converted({"text": {"format": form}})
        spec = {"name": "o", "schema": {}}
        wanted = {"type": "json_schema", "json_schema": spec}
        self.assertEqual(x["response_format"], wanted)
        x, context = converted({"text": {"format": {"type": "json_object"}, "new": 1}})
        self.assertEqual(x["response_format"], {"type": "json_object"})
        self.assertEqual(context.dropped, ["text.new"])

    def test_reasoning(self) -> None:
        """The effort is chat's; what else is said about reasoning is reported."""
        reasoning = {"effort": "low", "summary": "auto", "mode": "pro", "context": None}
        x, context = converted({"reasoning": reasoning})
        self.assertEqual(x["reasoning_effort"], "low")
        self.assertEqual(context.dropped, ["reasoning.mode"])

    def test_logprobs(self) -> None:
        """A number of them, or asking for them, both ask."""
        asked = ["message.output_text.logprobs"]
        cases: tuple[tuple[dict[str, Any], Any, Any], ...] = (
            ({"top_logprobs": 2}, True, 2),
            ({"top_logprobs": 0}, None, None),
            ({"include": asked}, True, None),
            ({"include": asked, "top_logprobs": 0}, True, 0),
        )
        for body, logprobs, number in cases:
            x, context = converted(body)
            self.assertEqual(
                (x.get("logprobs"), x.get("top_logprobs")), (logprobs, number)
            )
            self.assertEqual(context.dropped, [])

    def test_storing(self) -> None:
        """Only OpenAI is told to store; others are not told not to."""
        for known, said, sent, dropped in (
            ({"provider_type": 1}, True, True, []),
            ({}, False, None, []),
            ({}, True, None, ["store"]),
        ):
            x, context = converted({"store": said}, **known)
            self.assertEqual((x.get("store"), context.dropped), (sent, dropped))

    def test_streaming(self) -> None:
        """A stream is asked for with its usage."""
        x, _ = converted({"stream": True})
        self.assertEqual(x["stream_options"], {"include_usage": True})
        self.assertNotIn("stream", converted({"stream": False})[0])

    def test_the_rest_is_reported(self) -> None:
        """What goes no further is named, unless it says what happens anyway."""
        body = {
            "truncation": "auto",
            "max_tool_calls": 3,
            "include": ["file_search_call.results", "reasoning.encrypted_content"],
            "stream_options": {"include_obfuscation": False},
            "kit": 1,
            "context_management": None,
        }
        _, context = converted(body)
        wanted = {"truncation", "max_tool_calls", "include", "stream_options", "kit"}
        self.assertEqual(set(context.dropped), wanted)
        usual = {"truncation": "disabled", "stream_options": {}, "background": False}
        self.assertEqual(converted({**usual, "include": "odd"})[1].dropped, [])

    def test_names_are_the_client_s(self) -> None:
        """Fields that the target drops are reported as the client calls them."""
        _, context = converted({})
        context.drop("max_completion_tokens")
        context.drop("response_format")
        self.assertEqual(context.dropped, ["max_output_tokens", "text.format"])
