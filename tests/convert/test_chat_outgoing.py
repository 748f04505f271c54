"""Requests of the middle form as plain chat."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import channels, chat
from knight_tw.convert.context import Context, Media
from knight_tw.errors import InvalidRequest, UnsupportedContent, UnsupportedParameter
from knight_tw.records import Dialect

USER = {"role": "user", "content": "hi"}
MARKER = {"cache_control": {"type": "ephemeral"}}
TEXT = {"type": "text", "text": "a"}
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}

Body = dict[str, Any]


def sent(x: Body, context: Context | None = None) -> Body:
    """What the channel gets for `x`."""
    return chat.request_from_x({"messages": [USER]} | x, context or Context("gpt-4.1"))


def messages(*given: Body, context: Context | None = None) -> list[Body]:
    """The messages for those of the middle form."""
    found: list[Body] = sent({"messages": list(given)}, context)["messages"]
    return found


def call(call_id: str, name: str = "f") -> Body:
    """A tool call."""
    function = {"name": name, "arguments": "{}"}
    return {"id": call_id, "type": "function", "function": function}


def other(kind: int = 40, model: str = "m", **settings: Any) -> Context:
    """A channel that is not OpenAI's."""
    return Context(model, kind, settings=settings)


class Fields(SynchronousTestCase):
    """What stands beside the messages."""

    def test_extensions_are_taken_out(self) -> None:
        """Nothing that plain chat does not know is left; what it knows stays."""
        context = Context("gpt-4.1")
        context.memory.field_names["safety_settings"] = "safetySettings"
        body = sent(
            {
                "model": "x",
                "seed": 1,
                "logit_bias": None,
                "thinking": {"type": "disabled"},
                "safety_settings": [1],
                "extra_body": {"google": {"image_config": {}}},
                "cache_control": {},
                "top_k": 3,
            },
            context,
        )
        self.assertEqual(body, {"model": "gpt-4.1", "seed": 1, "messages": [USER]})
        lost = ["top_k", "safetySettings", "extra_body.google.image_config"]
        self.assertEqual(context.dropped, lost)

    def test_cached_content(self) -> None:
        """What another provider keeps cannot be asked for here."""
        x = {"extra_body": {"google": {"cached_content": "c"}}}
        error = self.assertRaises(UnsupportedParameter, sent, x)
        self.assertEqual(error.param, "cachedContent")

    def test_limits(self) -> None:
        """Each kind of channel gets the limit under the name that it knows."""
        table: list[tuple[Body, Context, Body]] = [
            ({"max_tokens": 5}, Context("m"), {"max_completion_tokens": 5}),
            ({"max_completion_tokens": 5}, other(), {"max_tokens": 5}),
            ({"max_tokens": 0}, other(), {}),
        ]
        for x, context, wanted in table:
            body = sent(x, context)
            found = {n: v for n, v in body.items() if n.startswith("max_")}
            self.assertEqual(found, wanted)

    def test_reasoning(self) -> None:
        """A name for most, a number for OpenRouter, nothing for older models."""
        budget = {"reasoning": {"max_tokens": 3000, "exclude": True}}
        table: list[tuple[Body, Context, Body]] = [
            (budget, Context("gpt-5"), {"reasoning_effort": "medium"}),
            ({"reasoning": {"enabled": True}}, Context("gpt-5"), {}),
            ({"reasoning_effort": "none"}, Context("gpt-4.1"), {}),
            ({"reasoning_effort": "low"}, Context("gpt-4.1"), {}),
            ({"reasoning_effort": "low"}, other(), {"reasoning_effort": "low"}),
            (budget, other(20), budget),
            (
                {"reasoning_effort": "low"},
                other(20),
                {"reasoning": {"effort": "low"}},
            ),
            (
                {"reasoning": {"enabled": True}},
                other(20),
                {"reasoning": {"enabled": True}},
            ),
        ]
        for x, context, wanted in table:
            body = sent(x, context)
            found = {n: v for n, v in body.items() if n.startswith("reasoning")}
            self.assertEqual(found, wanted)
        context = Context("gpt-4.1")
        sent({"reasoning_effort": "low"}, context)
        self.assertEqual(context.dropped, ["reasoning_effort"])

    def test_sampling(self) -> None:
        """OpenAI's reasoning models take none, unless they do not reason."""
        x = {"temperature": 0.5, "top_p": 0.5, "top_k": 3}
        none = x | {"reasoning_effort": "none"}
        table: list[tuple[Body, Context, list[str]]] = [
            (x, Context("gpt-5"), ["top_k", "temperature", "top_p"]),
            (x, Context("gpt-5-chat"), ["top_k"]),
            (none, Context("gpt-5.2"), ["top_k"]),
            (none, Context("o3"), ["top_k", "temperature", "top_p"]),
            (x, Context("gpt-4.1"), ["top_k"]),
            (x, other(), []),
        ]
        for given, context, lost in table:
            body = sent(given, context)
            self.assertEqual(context.dropped, lost)
            kept = {n for n in ("temperature", "top_p", "top_k") if n in body}
            self.assertEqual(kept, {"temperature", "top_p", "top_k"} - set(lost))

    def test_stops(self) -> None:
        """One is a text; OpenAI takes four."""
        table: list[tuple[Any, Any]] = [
            ("a", "a"),
            (["a"], "a"),
            (["a", "b"], ["a", "b"]),
            ([], None),
            (list("abcdef"), list("abcd")),
        ]
        for stop, wanted in table:
            self.assertEqual(sent({"stop": stop}).get("stop"), wanted)
        self.assertEqual(len(sent({"stop": list("abcdef")}, other())["stop"]), 6)
        context = Context("m")
        sent({"stop": list("abcdef")}, context)
        self.assertEqual(context.dropped, ["stop[4]", "stop[5]"])

    def test_streams(self) -> None:
        """Usage is always asked for; options without a stream are refused."""
        body = sent({"stream": True})
        self.assertEqual(body["stream_options"], {"include_usage": True})
        body = sent({"stream": False, "stream_options": {"include_usage": True}})
        self.assertNotIn("stream_options", body)

    def test_json(self) -> None:
        """Providers demand that the messages speak of JSON."""
        form = {"response_format": {"type": "json_object"}}
        said = sent(form | {"messages": [{"role": "user", "content": "as JSON"}]})
        self.assertEqual(len(said["messages"]), 1)
        self.assertEqual(sent(form)["messages"][0]["role"], "system")
        first = sent(form, Context("gpt-5"))["messages"][0]
        self.assertEqual(first["role"], "developer")

    def test_origin(self) -> None:
        """Claude clients' users keep caches apart; only OpenAI stores."""
        context = Context("m")
        self.assertNotIn("prompt_cache_key", sent({"user": "u"}, context))
        context.memory.client = Dialect.CLAUDE
        self.assertEqual(len(sent({"user": "u"}, context)["prompt_cache_key"]), 32)
        key = {"prompt_cache_key": "k", "user": "u"}
        self.assertEqual(sent(key, context)["prompt_cache_key"], "k")
        for store, lost in ((True, ["store"]), (False, [])):
            context = other()
            self.assertNotIn("store", sent({"store": store}, context))
            self.assertEqual(context.dropped, lost)
        self.assertIs(sent({"store": False})["store"], False)

    def test_search(self) -> None:
        """The filter that chat does not have is reported."""
        options = {"search_context_size": "low", "filters": {"allowed_domains": ["e"]}}
        context = Context("m")
        body = sent({"web_search_options": options}, context)
        self.assertEqual(body["web_search_options"], {"search_context_size": "low"})
        self.assertEqual(context.dropped, ["web_search_options.filters"])


class Tools(SynchronousTestCase):
    """Tools and the choice among them."""

    def test_functions(self) -> None:
        """Names are made fit, markers stay where they are taken."""
        tool = {"type": "function", "function": {"name": "a.b"}} | MARKER
        context = Context("m")
        (found,) = sent({"tools": [tool]}, context)["tools"]
        self.assertEqual(found, {"type": "function", "function": {"name": "a_b"}})
        self.assertEqual(context.memory.sent_names, {"a_b": "a.b"})
        (found,) = sent({"tools": [tool]}, other(20))["tools"]
        self.assertIn("cache_control", found)

    def test_free_form(self) -> None:
        """OpenAI has them, others get functions that stand for them."""
        custom = {"type": "custom", "custom": {"name": "c"}}
        x = {"tools": [custom], "tool_choice": custom}
        body = sent(x)
        self.assertEqual((body["tools"], body["tool_choice"]), ([custom], custom))
        body = sent(x, other())
        self.assertEqual(body["tools"][0]["function"]["name"], "c")
        function = {"type": "function", "function": {"name": "c"}}
        self.assertEqual(body["tool_choice"], function)

    def test_choices(self) -> None:
        """A choice among some tools leaves just them where it is not known."""
        f, g = ({"type": "function", "function": {"name": n}} for n in "fg")
        some = {"mode": "required", "tools": [f]}
        choice = {"type": "allowed_tools", "allowed_tools": some}
        x = {"tools": [f, g], "tool_choice": choice}
        self.assertEqual(sent(x)["tool_choice"], choice)
        body = sent(x, other())
        self.assertEqual((body["tools"], body["tool_choice"]), ([f], "required"))
        self.assertEqual(
            sent({"tools": [f], "tool_choice": "auto"})["tool_choice"], "auto"
        )

    def test_no_tools(self) -> None:
        """Without tools there is no choice, and nothing to call at once."""
        x = {"tools": [], "tool_choice": "auto", "parallel_tool_calls": True}
        self.assertEqual(set(sent(x)), {"model", "messages"})

    def test_faults(self) -> None:
        """What cannot be read is refused by its path."""
        error = self.assertRaises(InvalidRequest, sent, {"tools": [{"type": "x"}]})
        self.assertEqual(error.param, "tools.0.function")


class Systems(SynchronousTestCase):
    """The system prompt."""

    def test_roles(self) -> None:
        """`developer` for OpenAI's reasoning models, `system` for other providers."""
        for context, role in (
            (Context("gpt-5"), "developer"),
            (Context("gpt-4.1"), "developer"),
            (other(), "system"),
        ):
            (first, _) = messages(
                {"role": "developer", "content": "s"}, USER, context=context
            )
            self.assertEqual(first["role"], role)

    def test_blocks(self) -> None:
        """Texts are joined by a blank line, unless a marker must be kept."""
        system = {"role": "system", "content": [TEXT | MARKER, TEXT]}
        self.assertEqual(messages(system)[0]["content"], "a\n\na")
        found = messages(system, context=other(17))[0]["content"]
        self.assertEqual(found, [TEXT | MARKER, TEXT])


class Users(SynchronousTestCase):
    """User messages and what tool results carry."""

    def test_attachments(self) -> None:
        """Pictures of results follow the last result, before what the user says."""
        found = messages(
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [call("1"), call("2")],
            },
            {"role": "tool", "tool_call_id": "1", "content": [IMAGE]},
            {"role": "tool", "tool_call_id": "2", "content": [TEXT, TEXT]},
            USER,
        )
        self.assertEqual([m["content"] for m in found[1:3]], ["(see attached)", "a\na"])
        title = {"type": "text", "text": "[from tool call 1]"}
        said = {"type": "text", "text": "hi"}
        self.assertEqual(found[3]["content"], [title, IMAGE, said])

    def test_attachments_without_a_user(self) -> None:
        """They become a user message of their own, before whoever speaks next."""
        result = {"role": "tool", "tool_call_id": "1", "content": [TEXT, IMAGE]}
        for rest in ([], [{"role": "assistant", "content": "b"}]):
            found = messages(result, *rest)
            self.assertEqual(found[1]["role"], "user")
            self.assertEqual(found[0]["content"], "a")

    def test_errors(self) -> None:
        """A failed result says so, once."""
        result = {"role": "tool", "tool_call_id": "1", "is_error": True}
        for content, wanted in (
            ("x", "Error: x"),
            ("Error: x", "Error: x"),
            (None, "Error: "),
        ):
            (found,) = messages(result | {"content": content})
            self.assertEqual(found["content"], wanted)

    def test_ids(self) -> None:
        """Ids that are too long are cut alike on both sides."""
        long = "x" * 80
        first, second = messages(
            {"role": "assistant", "content": None, "tool_calls": [call(long)]},
            {"role": "tool", "tool_call_id": long, "content": "r"},
        )
        cut = first["tool_calls"][0]["id"]
        self.assertEqual((len(cut), second["tool_call_id"]), (57, cut))

    def test_markers(self) -> None:
        """Each kind of channel gets its own marker, or none."""
        found = {"cache_control": {"type": "ephemeral"}}
        explicit = {"prompt_cache_breakpoint": {"mode": "explicit"}}
        user = {"role": "user", "content": [TEXT | MARKER]}
        table = [
            (other(20), [TEXT | found]),
            (Context("gpt-5.6"), [TEXT | explicit]),
            (Context("gpt-5"), "a"),
            (other(20, accepts={"cache_control": False}), "a"),
        ]
        for context, wanted in table:
            self.assertEqual(messages(user, context=context)[0]["content"], wanted)
        whole = USER | MARKER
        part = {"type": "text", "text": "hi"} | MARKER
        self.assertEqual(messages(whole, context=other(20))[0]["content"], [part])
        own = {"role": "user", "content": [TEXT | explicit]}
        (found_,) = messages(own, context=Context("gpt-6"))
        self.assertEqual(found_["content"], [TEXT | explicit])
        (found_,) = messages(own, context=other(20))
        self.assertEqual(found_["content"], [TEXT | MARKER])

    def test_parts(self) -> None:
        """Pictures lose what only we know; films need a channel that takes them."""
        video = {"type": "video_url", "video_url": {"url": "u"}}
        user = {"role": "user", "content": [video]}
        error = self.assertRaises(UnsupportedContent, messages, user)
        self.assertEqual(error.param, "messages.0.content.0.type")
        takes = other(accepts={"video_url": True})
        self.assertEqual(messages(user, context=takes)[0]["content"], [video])
        url = {"url": "u", "detail": "low", "mime_type": "image/png"}
        for image in (url, "u"):
            part = {"type": "image_url", "image_url": image}
            (found,) = messages({"role": "user", "content": [part]})
            self.assertNotIn("mime_type", found["content"][0]["image_url"])
        part = {"type": "image_url", "image_url": {"file_id": "f"}}
        user = {"role": "user", "content": [part]}
        self.assertRaises(UnsupportedContent, messages, user)

    def test_files(self) -> None:
        """A file given by URL goes by its content; a picture as a picture."""
        url, picture = "https://e/a.pdf?x=1", "https://e/b"
        files = [{"file": {"file_url": u}, "type": "file"} for u in (url, picture, url)]
        inline = {"type": "file", "file": {"file_url": "data:application/pdf,x"}}
        user = {"role": "user", "content": [*files, inline, TEXT]}
        x = {"messages": [user]}
        context = Context("m")
        self.assertEqual(chat.media_urls(x, context), [url, picture])
        context.media = {
            url: Media(b"%PDF-", ""),
            picture: Media(b"\x89PNG\r\n\x1a\n", ""),
        }
        first, second, *_ = messages(user, context=context)[0]["content"]
        self.assertEqual(first["file"]["filename"], "a.pdf")
        self.assertTrue(first["file"]["file_data"].startswith("data:application/pdf"))
        self.assertEqual(second["type"], "image_url")
        data = {"type": "file", "file": {"file_data": "x", "title": "t"}}
        (found,) = messages({"role": "user", "content": [data]})
        wanted = {"file_data": "x", "filename": "document.pdf"}
        self.assertEqual(found["content"][0]["file"], wanted)
        user = {"role": "user", "content": [{"type": "file"}]}
        error = self.assertRaises(InvalidRequest, messages, user)
        self.assertEqual(error.param, "messages.0.content.0.file")

    def test_faults(self) -> None:
        """An unknown role is refused by its path; empty contents are texts."""
        error = self.assertRaises(InvalidRequest, messages, {"role": "odd"})
        self.assertEqual(error.param, "messages.0.role")
        self.assertEqual(messages({"role": "user", "content": []})[0]["content"], "")


class Assistants(SynchronousTestCase):
    """Assistant messages."""

    def test_strict(self) -> None:
        """OpenAI gets text and calls alone; what is lost is reported."""
        context = Context("m")
        message = {
            "role": "assistant",
            "content": [TEXT, TEXT],
            "reasoning_content": "r",
            "phase": "commentary",
            "images": [1],
            "native_blocks": {},
            "tool_calls": [call("1") | {"extra_content": {}}],
        }
        (found,) = messages(message, context=context)
        plain = {"role": "assistant", "content": "aa", "tool_calls": [call("1")]}
        self.assertEqual(found, plain)
        self.assertEqual(context.dropped, ["images"])

    def test_marked_texts(self) -> None:
        """A marker keeps the texts apart."""
        message = {"role": "assistant", "content": [TEXT | MARKER]}
        (found,) = messages(message, context=other(20))
        self.assertEqual(found["content"], [TEXT | MARKER])

    def test_nothing(self) -> None:
        """An assistant that said nothing has an empty text, unless it refused."""
        (found,) = messages({"role": "assistant", "content": None})
        self.assertEqual(found["content"], "")
        (found,) = messages({"role": "assistant", "content": "", "refusal": "no"})
        self.assertIsNone(found["content"])

    def test_reasoning(self) -> None:
        """Some channels want it back; OpenRouter with its signatures, unwrapped."""
        detail = {"type": "reasoning.text", "text": "r", "signature": "ko1.a.S"}
        message: Body = {"role": "assistant", "content": "a", "reasoning_content": "r"}
        message["reasoning_details"] = [detail, "odd"]
        (found,) = messages(message, context=other(channels.DEEPSEEK))
        self.assertEqual(found["reasoning_content"], "r")
        self.assertNotIn("reasoning_details", found)
        (found,) = messages(message, context=other(channels.OPENROUTER))
        self.assertEqual(found["reasoning_details"], [detail | {"signature": "S"}])
        bare = {"role": "assistant", "content": "a"}
        (found,) = messages(bare, context=other(channels.OPENROUTER))
        self.assertEqual(found, bare)

    def test_free_form_calls(self) -> None:
        """OpenAI has them, others get functions that stand for them."""
        custom = {"id": "1", "type": "custom", "custom": {"name": "c", "input": "x"}}
        message = {"role": "assistant", "content": None, "tool_calls": [custom]}
        (found,) = messages(message)
        self.assertEqual(found["tool_calls"], [custom])
        (found,) = messages(message, context=other())
        function = {"name": "c", "arguments": '{"input":"x"}'}
        self.assertEqual(found["tool_calls"][0]["function"], function)
