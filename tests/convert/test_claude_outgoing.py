"""Requests of the middle form for Claude."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import claude
from knight_tw.convert.context import Context, Media
from knight_tw.errors import InvalidRequest, UnsupportedContent, UnsupportedParameter

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNk+A8AAQUBAScY42YA"
USER = {"role": "user", "content": "hi"}
SONNET, OPUS = "claude-sonnet-4-5", "claude-opus-4-8"

Body = dict[str, Any]


def context_of(model: str = SONNET, **known: Any) -> Context:
    """A context for a Claude channel."""
    return Context(model, **{"provider_type": 14} | known)


def sent(x: Body, context: Context | None = None) -> Body:
    """What Claude gets for `x`."""
    return claude.request_from_x({"messages": [USER]} | x, context or context_of())


def turns(*messages: Body, context: Context | None = None) -> list[Body]:
    """Claude's messages for those of the middle form."""
    found: list[Body] = sent({"messages": list(messages)}, context)["messages"]
    return found


def call(call_id: str, name: str = "f", arguments: str = "{}") -> Body:
    """A tool call."""
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


def tool(name: str = "f", **more: Any) -> Body:
    """A function tool."""
    return {"type": "function", "function": {"name": name} | more}


class Limits(SynchronousTestCase):
    """`max_tokens`, which Claude requires."""

    def test_what_is_said_wins(self) -> None:
        """The newer field before the older one, before the administrator's table."""
        table = {"default": 100, SONNET: 200}
        known = context_of(options={"claude.default_max_tokens": table})
        cases: list[tuple[Body, Context | None, int]] = [
            ({"max_completion_tokens": 5, "max_tokens": 6}, None, 5),
            ({"max_tokens": 6.0}, None, 6),
            ({"max_tokens": 0}, None, 8192),
            ({}, known, 200),
            ({}, context_of("x", options=known.options), 100),
            ({}, context_of(options={"claude.default_max_tokens": {}}), 8192),
        ]
        for x, context, limit in cases:
            self.assertEqual(sent(x, context)["max_tokens"], limit)


class System(SynchronousTestCase):
    """System text."""

    def test_later_system_text_is_hoisted(self) -> None:
        """All system and developer messages become blocks, in order, markers kept."""
        marker = {"type": "ephemeral"}
        part = {"type": "text", "text": "b", "prompt_cache_breakpoint": {"ttl": "1h"}}
        body = sent(
            {
                "messages": [
                    {"role": "system", "content": "a", "cache_control": marker},
                    USER,
                    {"role": "developer", "content": [part, {"type": "text"}][:1]},
                    {"role": "system", "content": ""},
                ]
            }
        )
        hour = {"type": "ephemeral", "ttl": "1h"}
        self.assertEqual(
            body["system"],
            [
                {"type": "text", "text": "a", "cache_control": marker},
                {"type": "text", "text": "b", "cache_control": hour},
            ],
        )
        self.assertEqual(body["messages"], [USER])

    def test_inline_system(self) -> None:
        """Models that take it keep later system text in its place, never between a
        call and its result."""
        context = context_of(options={"claude.inline_system_models": ["claude-son"]})
        found = turns(
            {"role": "system", "content": "first"},
            USER,
            {"role": "assistant", "content": None, "tool_calls": [call("c")]},
            {"role": "system", "content": "later"},
            {"role": "tool", "tool_call_id": "c", "content": "r"},
            {"role": "system", "content": "last"},
            context=context,
        )
        roles = [message["role"] for message in found]
        self.assertEqual(roles, ["user", "assistant", "user", "system"])
        texts = [block["text"] for block in found[-1]["content"]]
        self.assertEqual(texts, ["later", "last"])

    def test_only_text(self) -> None:
        """A picture in a system message is refused by its path."""
        content = [{"type": "image_url", "image_url": {"url": "https://e/x"}}]
        error = self.assertRaises(
            UnsupportedContent, turns, {"role": "system", "content": content}
        )
        self.assertEqual(error.param, "messages.0.content.0.type")


class Turns(SynchronousTestCase):
    """The order that Claude demands."""

    def test_missing_results_are_filled_in(self) -> None:
        """A call that nobody answered gets a result that says so, also at the end."""
        found = turns(
            USER,
            {"role": "assistant", "content": "", "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "b", "content": None, "is_error": True},
        )
        missing = {"type": "tool_result", "tool_use_id": "a", "content": "(no result)"}
        self.assertEqual(
            found[2]["content"],
            [
                {"type": "tool_result", "tool_use_id": "b", "content": ""}
                | {"is_error": True},
                {**missing, "is_error": True},
            ],
        )

    def test_stray_results_become_text(self) -> None:
        """A result of a call that is not there is a text, after the real results."""
        parts = [{"type": "text", "text": "x"}]
        found = turns(
            {"role": "assistant", "content": "", "tool_calls": [call("a")]},
            {"role": "tool", "tool_call_id": "z", "content": "lost"},
            {"role": "tool", "tool_call_id": "y", "content": parts},
            {"role": "tool", "tool_call_id": "a", "content": "r"},
            USER,
        )
        kinds = [b.get("text", b["type"]) for b in found[2]["content"]]
        strays = ["[result of z] lost", "[result of y]", "x"]
        self.assertEqual(kinds, ["tool_result", *strays, "hi"])

    def test_first_turn_is_the_users(self) -> None:
        """A user turn is put before an assistant's, and made up when there is none."""
        nothing = {"role": "user", "content": "..."}
        assistant = {"role": "assistant", "content": "a"}
        self.assertEqual(turns(assistant, USER)[0], nothing)
        self.assertEqual(turns({"role": "system", "content": "s"}), [nothing])

    def test_empty_messages(self) -> None:
        """Empty users say `...`, empty assistants are left out, no text is empty."""
        nothing = {"role": "user", "content": "..."}
        empty_part = {"type": "text", "text": ""}
        found = turns(
            {"role": "user", "content": ""},
            {"role": "user", "content": [empty_part]},
            {"role": "user", "content": []},
            {"role": "assistant", "content": None},
            {"role": "user", "content": [empty_part, {"type": "text", "text": "a"}]},
        )
        text = {"role": "user", "content": [{"type": "text", "text": "a"}]}
        self.assertEqual(found, [nothing, nothing, nothing, text])

    def test_an_empty_text_after_results_is_nothing(self) -> None:
        """The results alone are the turn."""
        found = turns(
            {"role": "assistant", "content": "", "tool_calls": [call("a")]},
            {"role": "tool", "tool_call_id": "a", "content": "r"},
            {"role": "user", "content": ""},
        )
        self.assertEqual(len(found[2]["content"]), 1)

    def test_the_end_of_a_begun_answer(self) -> None:
        """White space at the end of a last assistant turn is stripped."""
        found = turns(USER, {"role": "assistant", "content": "so \n"})
        self.assertEqual(found[1]["content"], [{"type": "text", "text": "so"}])
        self.assertEqual(turns(USER, {"role": "assistant", "content": " \n"}), [USER])
        details = [{"type": "reasoning.text", "text": "t", "signature": "ko1.a.S"}]
        thought = {"role": "assistant", "reasoning_details": details}
        self.assertEqual(turns(USER, thought)[1]["content"][0]["type"], "thinking")

    def test_a_marker_on_a_message(self) -> None:
        """It stands on the message's last block."""
        marker = {"cache_control": {"type": "ephemeral"}}
        found = turns(USER | marker)
        block = {"type": "text", "text": "hi"} | marker
        self.assertEqual(found[0]["content"], [block])
        result = {"role": "tool", "tool_call_id": "a", "content": "r"} | marker
        assistant = {"role": "assistant", "content": "", "tool_calls": [call("a")]}
        self.assertIn("cache_control", turns(assistant, result)[2]["content"][0])

    def test_wrong_roles(self) -> None:
        """An unknown role is refused by its path; names are reported."""
        error = self.assertRaises(InvalidRequest, turns, {"role": "odd"})
        self.assertEqual(error.param, "messages.0.role")
        context = context_of()
        turns(USER | {"name": "bob"}, context=context)
        self.assertEqual(context.dropped, ["name"])


class Assistants(SynchronousTestCase):
    """Assistant turns."""

    def test_order_of_blocks(self) -> None:
        """Own reasoning, text, refusal, calls; ids and arguments as Claude takes them.

        What another provider signed, and what nobody signed, is left out.
        """
        details = [
            {"type": "reasoning.text", "text": "t", "signature": "ko1.a.S", "index": 0},
            {"type": "reasoning.encrypted", "data": "ko1.a.E", "index": 1},
            {"type": "reasoning.text", "text": "g", "signature": "ko1.g.X", "index": 2},
            {"type": "reasoning.text", "text": "u", "index": 3}
            | {"format": "anthropic-claude-v1"},
            {"type": "reasoning.text", "text": "b", "signature": "B", "index": 4}
            | {"format": "anthropic-claude-v1"},
        ]
        message = {
            "role": "assistant",
            "reasoning_content": "unsigned",
            "reasoning_details": details,
            "content": [
                {"type": "text", "text": "x"},
                {"type": "refusal", "refusal": "no"},
            ],
            "refusal": "never",
            "tool_calls": [call("c.1", "a.b", "[1]")],
            "images": [{}],
        }
        context = context_of()
        found = turns(USER, message, USER, context=context)
        self.assertEqual(
            found[1]["content"],
            [
                {"type": "thinking", "thinking": "t", "signature": "S"},
                {"type": "redacted_thinking", "data": "E"},
                {"type": "thinking", "thinking": "b", "signature": "B"},
                {"type": "text", "text": "x"},
                {"type": "text", "text": "no"},
                {"type": "text", "text": "never"},
                {"type": "tool_use", "id": "c_1", "name": "a_b"}
                | {"input": {"_arguments": "[1]"}},
            ],
        )
        self.assertEqual(context.dropped, ["images"])

    def test_native_blocks(self) -> None:
        """Claude's own content comes back as it was, unless the client edited it."""
        blocks = [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
            {"type": "text", "text": "a"},
        ]
        kept = {"format": "anthropic-claude-v1", "content": blocks}
        message = {"role": "assistant", "content": "a", "native_blocks": kept}
        self.assertEqual(turns(USER, message, USER)[1]["content"], blocks)
        for edited in (
            {"content": "b"},
            {"tool_calls": [call("c")]},
            {"native_blocks": {**kept, "format": "google-gemini-v1"}},
            {"native_blocks": {**kept, "content": []}},
        ):
            found = turns(USER, message | edited, USER)[1]["content"]
            self.assertNotEqual(found, blocks)

    def test_pictures_are_refused(self) -> None:
        """An assistant cannot have shown a picture."""
        content = [{"type": "image_url", "image_url": {"url": "https://e/x"}}]
        message = {"role": "assistant", "content": content}
        error = self.assertRaises(UnsupportedContent, turns, USER, message)
        self.assertEqual(error.param, "messages.1.content.0.type")


class Media_(SynchronousTestCase):
    """Pictures and files."""

    def block(self, part: Body, context: Context | None = None) -> Body:
        """Claude's block for one part."""
        message = {"role": "user", "content": [part]}
        found: Body = turns(message, context=context)[0]["content"][0]
        return found

    def image(self, url: Any, context: Context | None = None) -> Body:
        """Claude's source for a picture."""
        part = {"type": "image_url", "image_url": url}
        found: Body = self.block(part, context)["source"]
        return found

    def test_pictures(self) -> None:
        """URLs stay URLs, content is sniffed, uploads stay where they are."""
        url = "https://example.com/a.png"
        self.assertEqual(self.image({"url": url}), {"type": "url", "url": url})
        self.assertEqual(self.image(url)["url"], url)
        source = self.image({"url": f"data:image/jpeg;base64,{PNG}"})
        self.assertEqual(source["media_type"], "image/png")
        self.assertEqual(self.image({"file_id": "f"})["file_id"], "f")

    def test_channels_that_take_bytes_only(self) -> None:
        """Bedrock gets what was downloaded; `media_urls` says what that must be."""
        url = "https://example.com/a.png"
        part = {"type": "image_url", "image_url": {"url": url}}
        file = {"type": "file", "file": {"file_url": "https://example.com/a.pdf"}}
        data = {"type": "image_url", "image_url": {"url": "data:image/png,x"}}
        content = [part, part, file, data, {"type": "text", "text": "a"}]
        x = {"messages": [{"role": "user", "content": content}]}
        aws = context_of(provider_type=33)
        self.assertEqual(claude.media_urls(x, aws), [url, "https://example.com/a.pdf"])
        self.assertEqual(claude.media_urls(x, context_of()), [])
        self.assertRaises(UnsupportedContent, self.block, part, aws)
        aws.media = {url: Media(b"GIF89a", "image/png")}
        self.assertEqual(self.block(part, aws)["source"]["media_type"], "image/gif")

    def test_pictures_that_claude_cannot_see(self) -> None:
        """Other types, and pictures without a source, are refused by their path."""
        part = {"type": "image_url", "image_url": {"url": "data:image/bmp;base64,AAAA"}}
        error = self.assertRaises(UnsupportedContent, self.block, part)
        self.assertEqual(error.param, "messages.0.content.0.image_url.url")
        for image in ({}, {"file_id": "f"}):
            part = {"type": "image_url", "image_url": image}
            aws = context_of(provider_type=33)
            self.assertRaises(UnsupportedContent, self.block, part, aws)
        part = {"type": "image_url", "image_url": 3}
        self.assertRaises(InvalidRequest, self.block, part)

    def test_documents(self) -> None:
        """PDFs, texts, pictures and URLs, with their titles and citations."""
        pdf, text = "JVBERi0=", "w7w="
        about = {"title": "t", "context": "c", "citations": True}
        table: list[tuple[Body, Body]] = [
            (
                {"file_data": pdf, "filename": "a.pdf", **about},
                {
                    "type": "document",
                    "source": {"type": "base64", "media_type": "application/pdf"}
                    | {"data": pdf},
                    "title": "t",
                    "context": "c",
                    "citations": {"enabled": True},
                },
            ),
            (
                {"file_data": f"data:text/plain;base64,{text}", "filename": "a.txt"},
                {
                    "type": "document",
                    "source": {"type": "text", "media_type": "text/plain", "data": "ü"},
                    "title": "a.txt",
                },
            ),
            (
                {"file_url": "https://e/a.pdf"},
                {
                    "type": "document",
                    "source": {"type": "url", "url": "https://e/a.pdf"},
                },
            ),
            (
                {"file_id": "f"},
                {"type": "document", "source": {"type": "file", "file_id": "f"}},
            ),
        ]
        for file, block in table:
            self.assertEqual(self.block({"type": "file", "file": file}), block)
        picture = {"type": "file", "file": {"file_data": PNG}}
        self.assertEqual(self.block(picture)["type"], "image")

    def test_downloaded_documents(self) -> None:
        """What a URL led to is sent as what it is."""
        url = "https://e/a.pdf"
        context = context_of(provider_type=33, media={url: Media(b"%PDF-1", "")})
        block = self.block({"type": "file", "file": {"file_url": url}}, context)
        self.assertEqual(block["source"]["media_type"], "application/pdf")

    def test_files_that_claude_cannot_read(self) -> None:
        """Other types, and files without content, are refused by their path."""
        zipped = {"file_data": "UEsDBA==", "filename": "a.zip"}
        for file in (zipped, {}):
            part = {"type": "file", "file": file}
            error = self.assertRaises(UnsupportedContent, self.block, part)
            self.assertIn("messages.0.content.0.file", str(error.param))
        self.assertRaises(InvalidRequest, self.block, {"type": "file"})

    def test_sound_and_films_are_refused(self) -> None:
        """Claude neither hears nor sees them."""
        for kind in ("input_audio", "video_url", "odd"):
            error = self.assertRaises(UnsupportedContent, self.block, {"type": kind})
            self.assertEqual(error.param, "messages.0.content.0.type")

    def test_results_with_pictures(self) -> None:
        """A tool's result keeps its parts, and a refusal among them is text."""
        parts = [
            {"type": "text", "text": "a"},
            {"type": "refusal", "refusal": "r"},
            {"type": "image_url", "image_url": {"url": f"data:;base64,{PNG}"}},
        ]
        found = turns(
            {"role": "assistant", "content": "", "tool_calls": [call("a")]},
            {"role": "tool", "tool_call_id": "a", "content": parts},
        )
        kinds = [block["type"] for block in found[2]["content"][0]["content"]]
        self.assertEqual(kinds, ["text", "text", "image"])


class Sampling(SynchronousTestCase):
    """Sampling, as far as models take it."""

    def kept(self, x: Body, model: str = SONNET) -> tuple[Body, list[str]]:
        """The sampling fields that are sent, and those that are reported."""
        context = context_of(model)
        body = sent(x, context)
        names = ("temperature", "top_p", "top_k")
        return {n: body[n] for n in names if n in body}, context.dropped

    def test_one_of_two(self) -> None:
        """`top_p` gives way to `temperature`, which is clamped."""
        x = {"temperature": 1.5, "top_p": 0.5, "top_k": 3}
        wanted = {"temperature": 1.0, "top_k": 3}
        self.assertEqual(self.kept(x), (wanted, ["top_p"]))
        self.assertEqual(self.kept({"top_p": 0.5}), ({"top_p": 0.5}, []))
        self.assertEqual(self.kept({"temperature": "hot"}), ({}, ["temperature"]))

    def test_with_thinking(self) -> None:
        """Only a large `top_p` goes together with thinking."""
        thinking = {"thinking": {"type": "enabled", "budget_tokens": 2000}}
        x = thinking | {"temperature": 0.5, "top_p": 0.95, "top_k": 3}
        self.assertEqual(self.kept(x), ({"top_p": 0.95}, ["temperature", "top_k"]))
        self.assertEqual(self.kept(thinking | {"top_p": 0.9}), ({}, ["top_p"]))

    def test_models_without_sampling(self) -> None:
        """Newer models get none; the administrator says which those are."""
        x = {"temperature": 0.5}
        self.assertEqual(self.kept(x, OPUS), ({}, ["temperature"]))
        bedrock = "us.anthropic.claude-opus-4-8-v1:0"
        self.assertEqual(self.kept(x, bedrock), ({}, ["temperature"]))
        self.assertEqual(self.kept(x, "anthropic/claude-opus-4.8")[0], {})


class Thinking(SynchronousTestCase):
    """How hard Claude shall think."""

    def asked(self, x: Body, model: str = SONNET, **known: Any) -> tuple[Any, Any]:
        """`thinking` and the effort that are sent."""
        body = sent({"max_tokens": 40000} | x, context_of(model, **known))
        return body.get("thinking"), body.get("output_config", {}).get("effort")

    def test_budgets(self) -> None:
        """Each strength is a number of tokens, bounded by the limit of the answer."""
        table = {"minimal": 1024, "low": 1280, "medium": 2048, "high": 4096}
        for name, budget in (table | {"xhigh": 16384, "max": 32000}).items():
            wanted = {"type": "enabled", "budget_tokens": budget}
            got = self.asked({"reasoning_effort": name})
            self.assertEqual(got, (wanted, None))
        small = {"reasoning_effort": "high", "max_tokens": 2000}
        self.assertEqual(self.asked(small)[0]["budget_tokens"], 1600)
        self.assertIsNone(self.asked(small | {"max_tokens": 1000})[0])
        self.assertEqual(
            self.asked({"reasoning_effort": "none"})[0], {"type": "disabled"}
        )

    def test_exact_budgets(self) -> None:
        """A number is sent as it is if it is smaller than the limit."""
        for number, wanted in ((3000, 3000), (50000, 32000)):
            got = self.asked({"reasoning": {"max_tokens": number}})[0]
            self.assertEqual(got["budget_tokens"], wanted)
        self.assertIsNone(self.asked({"reasoning": {"max_tokens": 500}})[0])
        enabled = self.asked({"reasoning": {"enabled": True, "exclude": True}})[0]
        self.assertEqual(
            (enabled["budget_tokens"], enabled["display"]), (2048, "omitted")
        )

    def test_adaptive_models(self) -> None:
        """They get an effort, the nearest one that they know."""
        shown = {"type": "adaptive", "display": "summarized"}
        table = [
            ({"reasoning_effort": "minimal"}, (shown, "low")),
            ({"reasoning_effort": "max"}, (shown, "max")),
            ({"reasoning": {"max_tokens": 3000}}, (shown, "medium")),
            ({"reasoning": {"enabled": True}}, (shown, None)),
            ({"reasoning_effort": "none"}, ({"type": "disabled"}, None)),
        ]
        for x, wanted in table:
            self.assertEqual(self.asked(x, OPUS), wanted)
        levels = {"relay.effort_levels": {"claude-opus": ["low", "high"]}}
        got = self.asked({"reasoning_effort": "max"}, OPUS, options=levels)
        self.assertEqual(got[1], "high")

    def test_explicit_objects(self) -> None:
        """An explicit `thinking` goes unchanged, an adaptive one with its effort."""
        own = {"type": "enabled", "budget_tokens": 99999}
        self.assertEqual(self.asked({"thinking": own}), (own, None))
        adaptive = {"type": "adaptive"}
        x = {"thinking": adaptive, "reasoning_effort": "low"}
        self.assertEqual(self.asked(x, OPUS), (adaptive, "low"))

    def test_where_claude_would_refuse(self) -> None:
        """No thinking when a tool is forced, or after calls without their thinking."""
        context = context_of()
        x = {"reasoning_effort": "high", "tools": [tool()], "max_tokens": 9000}
        body = sent(x | {"tool_choice": "required"}, context)
        self.assertNotIn("thinking", body)
        self.assertEqual(context.dropped, ["thinking"])
        assistant = {"role": "assistant", "content": "a", "tool_calls": [call("a")]}
        unsigned = {"messages": [USER, assistant]}
        self.assertNotIn("thinking", sent(x | unsigned))
        signed = {"type": "reasoning.text", "text": "", "signature": "ko1.a.S"}
        assistant = assistant | {"reasoning_details": [signed]}
        self.assertIn("thinking", sent(x | {"messages": [USER, assistant]}))
        done = [USER, {"role": "assistant", "content": "a"}, USER]
        self.assertIn("thinking", sent(x | {"messages": done}))

    def test_what_cannot_be_had_is_reported(self) -> None:
        """A limit that is too small for thinking leaves it out."""
        context = context_of()
        sent({"reasoning_effort": "high", "max_tokens": 1000}, context)
        self.assertEqual(context.dropped, ["thinking"])


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_functions(self) -> None:
        """Schemas are completed, strict ones closed, markers kept."""
        marker = {"type": "ephemeral"}
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        tools = [
            tool("a", description="d", parameters={"properties": {}}),
            tool("b", parameters=schema, strict=True) | {"cache_control": marker},
            {"type": "custom", "custom": {"name": "c"}},
        ]
        context = context_of()
        first, second, third = sent({"tools": tools}, context)["tools"]
        empty = {"type": "object", "properties": {}}
        wanted = {"name": "a", "description": "d", "input_schema": empty}
        self.assertEqual(first, wanted)
        self.assertEqual(second["strict"], True)
        self.assertEqual(second["cache_control"], marker)
        self.assertFalse(second["input_schema"]["additionalProperties"])
        self.assertEqual(third["input_schema"]["required"], ["input"])
        self.assertEqual(context.memory.custom_tools, {"c"})
        old = sent({"tools": [tools[1]]}, context_of("claude-3-haiku"))["tools"][0]
        self.assertNotIn("strict", old)

    def test_choices(self) -> None:
        """Every form of a choice; without tools there is none."""
        named = {"type": "function", "function": {"name": "f"}}
        some = {"mode": "required", "tools": [tool()]}
        table: list[tuple[Any, Any]] = [
            ("auto", {"type": "auto"}),
            ("required", {"type": "any"}),
            ("none", {"type": "none"}),
            (named, {"type": "tool", "name": "f"}),
            ({"type": "allowed_tools", "allowed_tools": some}, {"type": "any"}),
            ({"type": "allowed_tools"} | some, {"type": "any"}),
            (None, None),
        ]
        for choice, wanted in table:
            tools = [tool(), tool("g")]
            body = sent({"tools": tools, "tool_choice": choice})
            self.assertEqual(body.get("tool_choice"), wanted)
            only = isinstance(choice, dict) and choice["type"] == "allowed_tools"
            self.assertEqual(len(body["tools"]), 1 if only else 2)
            self.assertNotIn("tool_choice", sent({"tool_choice": choice}))

    def test_parallel_calls(self) -> None:
        """A choice is made up to say it, but not for `none`."""
        x = {"tools": [tool()], "parallel_tool_calls": False}
        wanted = {"type": "auto", "disable_parallel_tool_use": True}
        self.assertEqual(sent(x)["tool_choice"], wanted)
        none = sent(x | {"tool_choice": "none"})["tool_choice"]
        self.assertEqual(none, {"type": "none"})

    def test_web_search(self) -> None:
        """The amount of context is how often Claude may search."""
        place = {"city": "Rome", "odd": "x"}
        options: Body = {
            "search_context_size": "high",
            "user_location": {"type": "approximate", "approximate": place},
            "filters": {"allowed_domains": ["e.org"]},
        }
        (found,) = sent({"web_search_options": options})["tools"]
        self.assertEqual(
            found,
            {
                "type": "web_search_20250305",
                "name": "web_search",
                "max_uses": 10,
                "user_location": {"type": "approximate", "city": "Rome"},
                "allowed_domains": ["e.org"],
            },
        )
        (plain,) = sent({"web_search_options": {}})["tools"]
        self.assertEqual(plain["max_uses"], 5)

    def test_faults(self) -> None:
        """What cannot be read is refused by its path."""
        table: list[tuple[Body, str]] = [
            ({"tools": [{"type": "odd"}]}, "tools.0.function"),
            ({"tools": [{"function": {}}]}, "tools.0.function.name"),
            ({"tool_choice": "odd"}, "tool_choice"),
            ({"tool_choice": 3}, "tool_choice"),
            ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ]
        for x, param in table:
            error = self.assertRaises(InvalidRequest, sent, x)
            self.assertEqual(error.param, param)


class Formats(SynchronousTestCase):
    """The form of the answer."""

    def test_json(self) -> None:
        """Any JSON is asked for in words; no schema is as good as none."""
        for form in (
            {"type": "json_object"},
            {"type": "json_schema"},
            {"type": "json_schema", "json_schema": {"schema": 3}},
        ):
            (block,) = sent({"response_format": form})["system"]
            self.assertIn("valid JSON", block["text"])
        for form in ({"type": "text"}, "odd"):
            self.assertNotIn("system", sent({"response_format": form}))

    def test_models_without_structured_output(self) -> None:
        """They must call a tool whose input is the answer."""
        schema = {"properties": {"a": {"type": "string"}}}
        form = {"type": "json_schema", "json_schema": {"schema": schema}}
        context = context_of("claude-3-haiku")
        body = sent({"response_format": form}, context)
        self.assertEqual(body["tool_choice"], {"type": "tool", "name": "respond"})
        self.assertEqual(body["tools"][0]["input_schema"]["type"], "object")
        self.assertEqual(context.memory.answer_tool, "respond")
        option = {"claude.no_structured_output_models": ["claude-sonnet"]}
        context = context_of(options=option)
        x = {"response_format": form, "tools": [tool("respond")]}
        body = sent(x, context)
        self.assertEqual(body["tool_choice"], {"type": "any"})
        self.assertEqual(context.memory.answer_tool, "respond_")


class Rest(SynchronousTestCase):
    """Everything else."""

    def test_stops(self) -> None:
        """A text is a list of one; white space alone is refused by the API."""
        table: list[tuple[Any, Any]] = [
            ("a", ["a"]),
            (["a", " \n", 3], ["a"]),
            ([" "], None),
            (None, None),
        ]
        for stop, wanted in table:
            self.assertEqual(sent({"stop": stop}).get("stop_sequences"), wanted)

    def test_origin(self) -> None:
        """The user's id of the metadata wins; other metadata is reported."""
        context = context_of()
        body = sent({"user": "u", "metadata": {"user_id": "m", "k": "v"}}, context)
        self.assertEqual(body["metadata"], {"user_id": "m"})
        self.assertEqual(context.dropped, ["metadata"])
        self.assertEqual(sent({"user": "u"})["metadata"], {"user_id": "u"})
        self.assertTrue(sent({"stream": True})["stream"])

    def test_tiers(self) -> None:
        """OpenAI's tiers in Claude's words."""
        table = {"auto": "auto", "default": "standard_only", "flex": "auto"}
        for tier, wanted in table.items():
            self.assertEqual(sent({"service_tier": tier})["service_tier"], wanted)
        fast = sent({"service_tier": "fast"})
        self.assertEqual((fast["speed"], fast.get("service_tier")), ("fast", None))

    def test_what_is_refused(self) -> None:
        """Several answers and speech cannot be had."""
        for x, param in (
            ({"n": 2}, "n"),
            ({"modalities": ["text", "audio"]}, "modalities"),
        ):
            error = self.assertRaises(UnsupportedParameter, sent, x)
            self.assertEqual(error.param, param)

    def test_what_is_reported(self) -> None:
        """Fields without an equivalent, unless they ask for what happens anyway."""
        context = context_of()
        sent({"seed": 0, "verbosity": "low", "n": 1, "prediction": {"a": 1}}, context)
        self.assertEqual(context.dropped, ["seed", "prediction", "verbosity"])
        quiet = context_of()
        sent({"logprobs": False, "modalities": ["text"], "store": None}, quiet)
        self.assertEqual(quiet.dropped, [])

    def test_four_markers(self) -> None:
        """Of more than four markers the last four stay."""
        marker = {"cache_control": {"type": "ephemeral"}}
        text = {"type": "text", "text": "a"} | marker
        assistant = {"role": "assistant", "content": "", "tool_calls": [call("a")]}
        body = sent(
            {
                "tools": [tool() | marker],
                "messages": [
                    {"role": "system", "content": "s"} | marker,
                    {"role": "user", "content": [text]},
                    assistant,
                    {"role": "tool", "tool_call_id": "a", "content": [text]},
                    {"role": "user", "content": [text, text]},
                ],
            }
        )
        self.assertNotIn("cache_control", body["tools"][0])
        self.assertNotIn("cache_control", body["system"][0])
        self.assertIn("cache_control", body["messages"][0]["content"][0])
        last = body["messages"][2]["content"]
        self.assertIn("cache_control", last[0]["content"][0])
        self.assertEqual(["cache_control" in b for b in last], [False, True, True])
