"""Claude clients' requests in the middle form."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import claude
from knight_tw.convert.context import Context
from knight_tw.errors import InvalidRequest, UnsupportedContent, UnsupportedParameter
from knight_tw.records import Dialect

USER = {"role": "user", "content": "hi"}

Body = dict[str, Any]


def read(body: Body, context: Context | None = None) -> Body:
    """The middle form of a Claude request."""
    return claude.request_to_x({"messages": [USER]} | body, context or Context("m"))


def messages(*given: Body, context: Context | None = None) -> list[Body]:
    """The messages of the middle form for Claude's."""
    found: list[Body] = read({"messages": list(given)}, context)["messages"]
    return found


class Fields(SynchronousTestCase):
    """What stands beside the messages."""

    def test_plain_fields(self) -> None:
        """They keep their meaning under chat's names."""
        context = Context("mapped")
        body: Body = {
            "model": "asked",
            "max_tokens": 9,
            "temperature": 0,
            "top_p": 0.5,
            "top_k": 3,
            "stop_sequences": ["a"],
            "stream": True,
            "metadata": {"user_id": "u"},
            "service_tier": "standard_only",
        }
        x = read(body, context)
        del x["messages"]
        wanted = {"model": "mapped", "max_tokens": 9, "temperature": 0, "top_p": 0.5}
        more = {"top_k": 3, "stop": ["a"], "stream": True, "user": "u"}
        self.assertEqual(x, wanted | more | {"service_tier": "default"})
        self.assertIs(context.memory.client, Dialect.CLAUDE)
        self.assertEqual(read({"speed": "fast"})["service_tier"], "fast")
        self.assertNotIn("max_tokens", read({"max_tokens": 0}))

    def test_reasoning(self) -> None:
        """An effort beats a budget, which is carried exactly as well."""
        budget = {"type": "enabled", "budget_tokens": 3000}
        high = {"effort": "high"}
        table: list[tuple[Body, Any, Any]] = [
            ({}, None, None),
            ({"thinking": budget}, "medium", {"max_tokens": 3000}),
            ({"thinking": budget, "output_config": high}, "high", None),
            ({"output_config": high}, "high", None),
            ({"thinking": {"type": "disabled"}}, "none", None),
            ({"thinking": {"type": "between_tools"}}, "low", None),
            ({"thinking": {"type": "adaptive"}}, None, {"enabled": True}),
            ({"thinking": {"type": "enabled"}}, None, {"enabled": True}),
            (
                {"thinking": {"type": "adaptive", "display": "omitted"}},
                None,
                {"enabled": True, "exclude": True},
            ),
        ]
        for body, effort, reasoning in table:
            x = read(body)
            got = x.get("reasoning_effort"), x.get("reasoning")
            self.assertEqual(got, (effort, reasoning))

    def test_format(self) -> None:
        """A schema becomes a response format, under both of its names."""
        form = {"type": "json_schema", "schema": {"type": "object"}}
        for body in ({"output_config": {"format": form}}, {"output_format": form}):
            spec = read(body)["response_format"]["json_schema"]
            wanted = {"name": "response", "schema": form["schema"], "strict": True}
            self.assertEqual(spec, wanted)
        self.assertNotIn("response_format", read({"output_format": {"type": "x"}}))

    def test_what_is_reported(self) -> None:
        """Fields that only Claude has."""
        context = Context("m")
        read({"container": "c", "mcp_servers": [1], "inference_geo": None}, context)
        self.assertEqual(context.dropped, ["container", "mcp_servers"])

    def test_faults(self) -> None:
        """What cannot be read is refused by its path."""
        form = {"format": {"type": "json_schema"}}
        table: list[tuple[Body, str]] = [
            ({"messages": 3}, "messages"),
            ({"messages": [{"role": "odd"}]}, "messages.0.role"),
            ({"system": [{"type": "image"}]}, "system.0.type"),
            ({"output_config": {"effort": "huge"}}, "output_config.effort"),
            ({"output_config": form}, "output_config.format.schema"),
            ({"thinking": "yes"}, "thinking"),
        ]
        for body, param in table:
            error = self.assertRaises(InvalidRequest, read, body)
            self.assertEqual(error.param, param)


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_functions(self) -> None:
        """Examples join the description, markers stay, `strict` only if said."""
        marker = {"type": "ephemeral"}
        schema = {"type": "object", "properties": {"a": {}}}
        own: Body = {"name": "f", "input_schema": schema, "cache_control": marker}
        tools = [
            own | {"description": "d", "input_examples": [{"a": 1}]},
            {"type": "custom", "name": "g", "strict": True},
        ]
        first, second = read({"tools": tools})["tools"]
        described = 'd\n\nExamples of the input:\n{"a":1}'
        function = {"name": "f", "description": described, "parameters": schema}
        self.assertEqual(
            first,
            {"type": "function", "function": function, "cache_control": marker},
        )
        empty = {"type": "object", "properties": {}}
        wanted = {"name": "g", "parameters": empty, "strict": True}
        self.assertEqual(second["function"], wanted)

    def test_own_tools(self) -> None:
        """A web search has an equivalent, others are reported, or refused if forced."""
        place = {"type": "approximate", "city": "Rome"}
        search: Body = {"type": "web_search_20250305", "name": "web_search"}
        search |= {"max_uses": 3, "user_location": place, "allowed_domains": ["e"]}
        bash = {"type": "bash_20250124", "name": "bash"}
        context = Context("m")
        x = read({"tools": [search, bash], "tool_choice": {"type": "any"}}, context)
        self.assertEqual(
            x["web_search_options"],
            {
                "search_context_size": "medium",
                "user_location": {
                    "type": "approximate",
                    "approximate": {"city": "Rome"},
                },
                "filters": {"allowed_domains": ["e"]},
            },
        )
        self.assertEqual(context.dropped, ["tools.bash_20250124"])
        self.assertNotIn("tool_choice", x)
        for uses, size in ((1, "low"), (6, "high")):
            found = read({"tools": [search | {"max_uses": uses}]})
            got = found["web_search_options"]["search_context_size"]
            self.assertEqual(got, size)
        (bare, odd) = (
            {"type": "web_search_20250305"} | more
            for more in ({}, {"max_uses": "x", "user_location": 3})
        )
        for tool in (bare, odd):
            self.assertEqual(read({"tools": [tool]})["web_search_options"], {})
        forced = {"tools": [bash], "tool_choice": {"type": "tool", "name": "bash"}}
        error = self.assertRaises(UnsupportedParameter, read, forced)
        self.assertEqual(error.param, "tool_choice")

    def test_choices(self) -> None:
        """Every form of a choice, and calls at once."""
        named = {"type": "function", "function": {"name": "f"}}
        table: list[tuple[Body, Any]] = [
            ({"type": "auto"}, "auto"),
            ({"type": "any"}, "required"),
            ({"type": "none"}, "none"),
            ({"type": "tool", "name": "f"}, named),
        ]
        for choice, wanted in table:
            tools = [{"name": "f", "input_schema": {}}]
            x = read({"tools": tools, "tool_choice": choice})
            self.assertEqual(x["tool_choice"], wanted)
            self.assertNotIn("parallel_tool_calls", x)
            alone = choice | {"disable_parallel_tool_use": True}
            x = read({"tools": tools, "tool_choice": alone})
            self.assertIs(x["parallel_tool_calls"], False)

    def test_faults(self) -> None:
        """What cannot be read is refused by its path."""
        table: list[tuple[Any, str]] = [
            ("auto", "tool_choice"),
            ({"type": "odd"}, "tool_choice.type"),
            ({"type": "tool"}, "tool_choice.name"),
        ]
        for choice, param in table:
            error = self.assertRaises(InvalidRequest, read, {"tool_choice": choice})
            self.assertEqual(error.param, param)
        error = self.assertRaises(InvalidRequest, read, {"tools": [{}]})
        self.assertEqual(error.param, "tools.0.name")


class Users(SynchronousTestCase):
    """User turns."""

    def test_results_come_first(self) -> None:
        """Each result is a message of its own, in order, before what else is said."""
        marker = {"cache_control": {"type": "ephemeral"}}
        png = {"type": "base64", "media_type": "image/png", "data": "AAAA"}
        texts = [{"type": "text", "text": t} for t in "ab"]
        image = {"type": "image", "source": png}
        result = {"type": "tool_result", "tool_use_id": "1"}
        found = messages(
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "before"},
                    result | {"content": texts} | marker,
                    result | {"tool_use_id": "2", "content": [image]},
                    result | {"tool_use_id": "3", "is_error": True},
                ],
            }
        )
        url = {"url": "data:image/png;base64,AAAA"}
        tool = {"role": "tool", "tool_call_id": "1", "content": "a\nb"}
        part = {"type": "image_url", "image_url": url}
        self.assertEqual(
            found,
            [
                tool | marker,
                tool | {"tool_call_id": "2", "content": [part]},
                tool | {"tool_call_id": "3", "content": "", "is_error": True},
                {"role": "user", "content": "before"},
            ],
        )

    def test_results_alone(self) -> None:
        """A turn of results has no user message; an empty turn has."""
        result = {"type": "tool_result", "tool_use_id": "1", "content": "r"}
        found = messages({"role": "user", "content": [result]})
        self.assertEqual([m["role"] for m in found], ["tool"])
        empty = {"role": "user", "content": ""}
        for content in ("", [], [{"type": "text", "text": ""}]):
            self.assertEqual(messages({"role": "user", "content": content}), [empty])

    def test_blocks(self) -> None:
        """Every block that others can see, with its marker on what becomes of it."""
        marker = {"cache_control": {"type": "ephemeral"}}
        text = {"type": "text", "text": "t"}
        pdf = {"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="}
        document: Body = {"type": "document", "source": pdf}
        file = {"filename": "document.pdf"}
        file["file_data"] = "data:application/pdf;base64,JVBERi0="
        plain = {"type": "text", "media_type": "text/plain", "data": "body"}
        parts = {"type": "content", "content": [text]}
        search = {"type": "search_result", "title": "T", "source": "S"}
        table: list[tuple[Body, list[Body]]] = [
            (text | marker, [text | marker]),
            (
                {"type": "image", "source": {"type": "url", "url": "u"}},
                [{"type": "image_url", "image_url": {"url": "u"}}],
            ),
            (
                document | {"context": "c"} | marker,
                [
                    {"type": "text", "text": "c"},
                    {"type": "file", "file": file} | marker,
                ],
            ),
            (
                document | {"source": {"type": "url", "url": "u"}, "title": "n"},
                [{"type": "file", "file": {"filename": "n", "file_url": "u"}}],
            ),
            (document | {"source": plain}, [{"type": "text", "text": "body"}]),
            (
                document | {"source": parts, "title": "n"},
                [{"type": "text", "text": "n"}, text],
            ),
            (document | {"source": parts}, [text]),
            (search | {"content": [text]}, [{"type": "text", "text": "T\nS\nt"}]),
            (
                {"type": "tool_reference", "tool_name": "f"},
                [{"type": "text", "text": "f"}],
            ),
        ]
        other = {"type": "text", "text": "other"}
        for block, wanted in table:
            (found,) = messages({"role": "user", "content": [block, other]})
            self.assertEqual(found["content"], [*wanted, other])

    def test_citations_are_reported(self) -> None:
        """Nobody else cites documents."""
        context = Context("m")
        source = {"type": "text", "data": "x"}
        block = {"type": "document", "source": source, "citations": {"enabled": True}}
        messages({"role": "user", "content": [block]}, context=context)
        self.assertEqual(context.dropped, ["citations"])

    def test_what_only_claude_sees(self) -> None:
        """Uploads and unknown blocks are refused by their path."""
        upload = {"type": "file", "file_id": "f"}
        table: list[tuple[Body, str]] = [
            ({"type": "image", "source": upload}, "source.type"),
            ({"type": "document", "source": upload}, "source.type"),
            ({"type": "image"}, "source"),
            ({"type": "odd"}, "type"),
        ]
        for block, param in table:
            message = {"role": "user", "content": [block]}
            error = self.assertRaises(UnsupportedContent, messages, message)
            self.assertEqual(error.param, f"messages.0.content.0.{param}")

    def test_a_marker_on_the_request(self) -> None:
        """It stands on the last part of the last message."""
        marker = {"type": "ephemeral"}
        (message,) = read({"cache_control": marker})["messages"]
        part = {"type": "text", "text": "hi", "cache_control": marker}
        self.assertEqual(message["content"], [part])
        empty = {"role": "user", "content": ""}
        x = read({"cache_control": marker, "messages": [empty]})
        self.assertEqual(x["messages"], [empty])


class Assistants(SynchronousTestCase):
    """Assistant turns."""

    def turn(self, *blocks: Body, context: Context | None = None) -> Body:
        """The message for an assistant turn."""
        message = {"role": "assistant", "content": list(blocks)}
        return messages(message, context=context)[0]

    def test_taken_apart(self) -> None:
        """Reasoning, text and calls, none of them lost; own blocks reported."""
        context = Context("m")
        found = self.turn(
            {"type": "thinking", "thinking": "t", "signature": "S"},
            {"type": "redacted_thinking", "data": "E"},
            {"type": "text", "text": "a"},
            {"type": "server_tool_use", "id": "s", "name": "x", "input": {}},
            {"type": "web_search_tool_result", "content": []},
            {"type": "text", "text": "b"},
            {"type": "tool_use", "id": "1", "name": "f", "input": {"k": 1}},
            context=context,
        )
        function = {"name": "f", "arguments": '{"k":1}'}
        own = "anthropic-claude-v1"
        self.assertEqual(
            found,
            {
                "role": "assistant",
                "content": "ab",
                "reasoning_content": "t",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "t", "signature": "ko1.a.S"}
                    | {"format": own, "index": 0},
                    {"type": "reasoning.encrypted", "data": "ko1.a.E"}
                    | {"format": own, "index": 1},
                ],
                "tool_calls": [{"id": "1", "type": "function", "function": function}],
            },
        )
        lost = ["server_tool_use", "web_search_tool_result"]
        self.assertEqual(context.dropped, lost)

    def test_nothing(self) -> None:
        """A turn that says nothing is an empty text; calls alone have no content."""
        empty = {"role": "assistant", "content": ""}
        self.assertEqual(self.turn(), empty)
        self.assertEqual(self.turn({"type": "text", "text": ""}), empty)
        call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
        self.assertIsNone(self.turn(call)["content"])

    def test_markers(self) -> None:
        """A marker keeps the texts apart."""
        marker = {"cache_control": {"type": "ephemeral"}}
        text = {"type": "text", "text": "a"}
        found = self.turn(text, text | marker)
        self.assertEqual(found["content"], [text, text | marker])

    def test_signatures_of_gemini(self) -> None:
        """They go back on the call that follows, or stay by themselves."""
        thought = {"type": "thinking", "thinking": "p", "signature": "ko1.g.A"}
        empty = {"type": "thinking", "thinking": "", "signature": "ko1.g.B"}
        call = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
        found = self.turn(thought, call, empty, call, empty)
        signatures = [
            call["extra_content"]["google"]["thought_signature"]
            for call in found["tool_calls"]
        ]
        self.assertEqual(signatures, ["ko1.g.A", "ko1.g.B"])
        text, kept = found["reasoning_details"]
        self.assertEqual(text["format"], "google-gemini-v1")
        self.assertNotIn("signature", text)
        self.assertEqual(kept["data"], "ko1.g.B")

    def test_system_in_between(self) -> None:
        """A system message stays at its place."""
        found = messages(USER, {"role": "system", "content": "s"}, USER)
        self.assertEqual([m["role"] for m in found], ["user", "system", "user"])


TEXTS = st.text(min_size=1, max_size=8).filter(lambda text: text.strip() == text)
CALL = st.builds(
    lambda name, value: {"type": "tool_use", "name": name, "input": {"v": value}},
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
    st.none() | st.integers(0, 99) | TEXTS,
)
TEXT = st.builds(lambda text: {"type": "text", "text": text}, TEXTS)
THOUGHT = st.builds(
    lambda text, sign: {"type": "thinking", "thinking": text, "signature": sign},
    TEXTS,
    st.from_regex(r"[A-Za-z0-9+/]{1,12}", fullmatch=True),
)


@st.composite
def conversations(draw: st.DrawFn) -> list[Body]:
    """Turns as Claude's clients write them, every call with its result."""
    found: list[Body] = [{"role": "user", "content": draw(TEXTS)}]
    for _ in range(draw(st.integers(0, 3))):
        thoughts = draw(st.lists(THOUGHT, max_size=2))
        texts = draw(st.lists(TEXT, max_size=1))
        calls = draw(st.lists(CALL, max_size=3))
        own = [{**c, "id": f"t{len(found)}_{n}"} for n, c in enumerate(calls)]
        blocks = [*thoughts, *texts, *own] or [draw(TEXT)]
        found.append({"role": "assistant", "content": blocks})
        results = [
            {"type": "tool_result", "tool_use_id": c["id"], "content": draw(TEXTS)}
            for c in own
        ]
        found.append({"role": "user", "content": [*results, draw(TEXT)]})
    return found


class RoundTrip(SynchronousTestCase):
    """There and back again."""

    @settings(max_examples=60, deadline=None)
    @given(conversations())
    def test_a_conversation_survives(self, given_: list[Body]) -> None:
        """To the middle form and back, every block is in its place, unchanged."""
        context = Context("claude-sonnet-4-5", 14)
        x = claude.request_to_x({"messages": given_}, context)
        back = claude.request_from_x(x, context)["messages"]

        def spelt_out(messages: list[Body]) -> list[Body]:
            return [
                {**m, "content": [{"type": "text", "text": m["content"]}]}
                if isinstance(m["content"], str)
                else m
                for m in messages
            ]

        self.assertEqual(spelt_out(back), spelt_out(given_))
