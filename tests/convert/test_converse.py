"""Bedrock's Converse beside the middle form."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import converse
from knight_tw.convert.context import Media
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UnsupportedContent,
    UnsupportedParameter,
    UpstreamRefused,
)
from knight_tw.wire.assembly import Assembly
from knight_tw.wire.sse import Event
from tests.convert.converse import (
    ANSWER,
    CALL,
    PARAMETERS,
    PNG,
    PNG_URL,
    STREAM,
    TOOL,
    context,
    delta,
    events,
)

SPEC = {
    "toolSpec": {
        "name": "weather",
        "description": "D",
        "inputSchema": {"json": PARAMETERS},
    }
}
HI = {"role": "user", "content": "hi"}
SAID = {"role": "user", "content": [{"text": "hi"}]}


def sent(*messages: Any, at: Any = None, **fields: Any) -> dict[str, Any]:
    """The Converse request for messages and fields."""
    x = {"model": "m", "messages": list(messages or (HI,)), **fields}
    return converse.request_from_x(x, at or context())


def blocks(*parts: Any, at: Any = None) -> Any:
    """The blocks of one user message."""
    return sent({"role": "user", "content": list(parts)}, at=at)["messages"][0][
        "content"
    ]


class Requests(SynchronousTestCase):
    """Fields of `request_from_x`."""

    def test_plain(self) -> None:
        """A text, the system prompt, limits and sampling."""
        found = sent(
            {"role": "developer", "content": "S"},
            HI,
            max_tokens=10,
            temperature=1.7,
            top_p=0.5,
            top_k=3,
            stop="END",
            stream=True,
        )
        expected = {
            "messages": [SAID],
            "system": [{"text": "S"}],
            "inferenceConfig": {
                "maxTokens": 10,
                "temperature": 1,
                "topP": 0.5,
                "stopSequences": ["END"],
            },
            "additionalModelRequestFields": {"inferenceConfig": {"topK": 3}},
        }
        self.assertEqual(found, expected)

    def test_limits(self) -> None:
        """The newer name wins; what is no number does not count."""
        found = sent(max_completion_tokens=5, max_tokens=9, stop=["", 5, "a"])
        config = {"maxTokens": 5, "stopSequences": ["a"]}
        self.assertEqual(found["inferenceConfig"], config)
        found = sent(max_tokens=0, temperature=True, top_p="x", stop=[""])
        self.assertNotIn("inferenceConfig", found)

    def test_top_k_of_others(self) -> None:
        """Where a model has `top_k` is known of Amazon's own alone."""
        for at, more in (
            (context("mistral"), {}),
            (context(), {"additionalModelRequestFields": {"a": 1}}),
        ):
            found = sent(at=at, top_k=3, **more)
            self.assertEqual(
                found.get("additionalModelRequestFields"),
                more.get("additionalModelRequestFields"),
            )
            self.assertEqual(at.dropped, ["top_k"])

    def test_losses(self) -> None:
        """What has no equivalent is reported, what says nothing is not."""
        at = context()
        sent(at=at, seed=7, logprobs=False, user="", reasoning_effort="low")
        self.assertEqual(at.dropped, ["seed", "reasoning_effort"])

    def test_fields_of_its_own(self) -> None:
        """Converse's own fields pass."""
        guard = {"guardrailIdentifier": "g"}
        found = sent(guardrailConfig=guard, requestMetadata=None)
        self.assertEqual(found["guardrailConfig"], guard)
        self.assertNotIn("requestMetadata", found)

    def test_refused(self) -> None:
        """Several answers, or a spoken one, are refused."""
        for field in ({"n": 2}, {"modalities": ["text", "audio"]}):
            with self.assertRaises(UnsupportedParameter) as caught:
                sent(**field)
            self.assertEqual(caught.exception.param, next(iter(field)))
        sent(n=1, modalities=["text"])


class Tools(SynchronousTestCase):
    """Tools, the choice among them, and the form of the answer."""

    def test_choices(self) -> None:
        """Each choice in Converse's words."""
        for choice, expected in (
            (None, None),
            ("auto", {"auto": {}}),
            ("required", {"any": {}}),
            (
                {"type": "function", "function": {"name": "weather"}},
                {"tool": {"name": "weather"}},
            ),
        ):
            config = sent(tools=[TOOL], tool_choice=choice)["toolConfig"]
            self.assertEqual(config["tools"], [SPEC])
            self.assertEqual(config.get("toolChoice"), expected)

    def test_allowed(self) -> None:
        """Only the tools that are allowed are offered."""
        other = {"type": "function", "function": {"name": "other"}}
        choice = {"type": "allowed_tools", "mode": "required", "tools": [other]}
        for form in (choice, {"type": "allowed_tools", "allowed_tools": choice}):
            config = sent(tools=[TOOL, other], tool_choice=form)["toolConfig"]
            self.assertEqual(
                [t["toolSpec"]["name"] for t in config["tools"]], ["other"]
            )
            self.assertEqual(config["toolChoice"], {"any": {}})
        schema = {"type": "object", "properties": {}}
        spec = {"name": "other", "inputSchema": {"json": schema}}
        self.assertEqual(config["tools"], [{"toolSpec": spec}])

    def test_none(self) -> None:
        """No tools at all, unless the history has calls that need them."""
        found = sent(tools=[TOOL], tool_choice="none")
        self.assertNotIn("toolConfig", found)
        at = context()
        turn = {"role": "assistant", "tool_calls": [CALL]}
        found = sent(HI, turn, at=at, tools=[TOOL], tool_choice="none")
        self.assertEqual(found["toolConfig"], {"tools": [SPEC]})
        self.assertEqual(at.dropped, ["tool_choice"])

    def test_no_tools(self) -> None:
        """A choice without tools is left out."""
        self.assertNotIn("toolConfig", sent(tool_choice="required"))

    def test_parallel(self) -> None:
        """One call at a time cannot be asked for."""
        at = context()
        sent(at=at, tools=[TOOL], parallel_tool_calls=False)
        self.assertEqual(at.dropped, ["parallel_tool_calls"])

    def test_custom(self) -> None:
        """A free-form tool is offered as a function, and remembered."""
        at = context()
        tool = {"type": "custom", "custom": {"name": "run"}}
        (found,) = sent(at=at, tools=[tool])["toolConfig"]["tools"]
        self.assertEqual(found["toolSpec"]["name"], "run")
        self.assertEqual(at.memory.custom_tools, {"run"})

    def test_wrong(self) -> None:
        """The field at fault is named."""
        for fields, param in (
            ({"tools": [{"type": "x"}]}, "tools.0.function"),
            ({"tools": [{"function": {}}]}, "tools.0.function.name"),
            ({"tool_choice": "x"}, "tool_choice"),
            ({"tool_choice": 5}, "tool_choice"),
            ({"tool_choice": {"type": "function"}}, "tool_choice"),
        ):
            with (
                self.subTest(fields=fields),
                self.assertRaises(InvalidRequest) as caught,
            ):
                sent(**fields)
            self.assertEqual(caught.exception.param, param)

    def test_forms(self) -> None:
        """JSON is asked for in the system prompt, or as the input of a tool."""
        schema = {"properties": {"a": {}}}
        wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        for form, model, text in (
            ({"type": "json_object"}, "nova", "one valid JSON object"),
            ({"type": "json_schema", "json_schema": {}}, "nova", "one valid JSON"),
            (wanted, "mistral", '{"properties":{"a":{}}}'),
        ):
            found = sent(at=context(model), response_format=form)
            self.assertIn(text, found["system"][0]["text"])
            self.assertNotIn("toolConfig", found)
        for form in ({"type": "text"}, None, "x"):
            self.assertNotIn("system", sent(response_format=form))

    def test_forced_form(self) -> None:
        """Amazon's own models are made to call a tool whose input is the answer."""
        schema = {"type": "object", "properties": {"a": {}}}
        form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        at = context()
        config = sent(at=at, response_format=form)["toolConfig"]
        self.assertEqual(config["toolChoice"], {"tool": {"name": "respond"}})
        spec = config["tools"][0]["toolSpec"]
        self.assertEqual(spec["inputSchema"], {"json": schema})
        self.assertEqual(at.memory.answer_tool, "respond")
        taken = {"type": "function", "function": {"name": "respond"}}
        at = context()
        config = sent(at=at, tools=[taken], response_format=form)["toolConfig"]
        names = [tool["toolSpec"]["name"] for tool in config["tools"]]
        self.assertEqual(names, ["respond", "respond_"])
        self.assertEqual(config["toolChoice"], {"any": {}})
        self.assertEqual(at.memory.answer_tool, "respond_")


class Messages(SynchronousTestCase):
    """Turns."""

    def test_tool_loop(self) -> None:
        """Calls and results keep their ids; results and the next text are one turn."""
        found = sent(
            HI,
            {"role": "assistant", "content": "ok", "tool_calls": [CALL]},
            {"role": "tool", "tool_call_id": "call.1", "content": "21"},
            {"role": "user", "content": "and?"},
        )["messages"]
        used = {"toolUseId": "call_1", "name": "weather", "input": {"city": "Rome"}}
        result = {"toolUseId": "call_1", "content": [{"text": "21"}]}
        expected = [
            SAID,
            {"role": "assistant", "content": [{"text": "ok"}, {"toolUse": used}]},
            {"role": "user", "content": [{"toolResult": result}, {"text": "and?"}]},
        ]
        self.assertEqual(found, expected)

    def test_failed_and_missing_results(self) -> None:
        """A failure is told; a call without a result gets one."""
        other = {**CALL, "id": "c2"}
        found = sent(
            HI,
            {"role": "assistant", "tool_calls": [CALL, other]},
            {
                "role": "tool",
                "tool_call_id": "call.1",
                "is_error": True,
                "content": [{"type": "image_url", "image_url": {"url": PNG_URL}}],
            },
        )["messages"][-1]["content"]
        image = {"image": {"format": "png", "source": {"bytes": PNG}}}
        first = {"toolUseId": "call_1", "content": [image], "status": "error"}
        second = {
            "toolUseId": "c2",
            "content": [{"text": "(no result)"}],
            "status": "error",
        }
        self.assertEqual(found, [{"toolResult": first}, {"toolResult": second}])

    def test_stray_results(self) -> None:
        """The result of a call that is not there is a text; an empty one says so."""
        found = sent(HI, {"role": "tool", "tool_call_id": "x", "content": ""})
        content = [{"text": "hi"}, {"text": "[result of x]"}, {"text": "..."}]
        self.assertEqual(found["messages"], [{"role": "user", "content": content}])

    def test_edges(self) -> None:
        """The user begins; empty turns say nothing or are left out."""
        nothing = {"role": "user", "content": [{"text": "..."}]}
        answer = {"role": "assistant", "content": [{"text": "a"}]}
        found = sent({"role": "assistant", "content": "a"})["messages"]
        self.assertEqual(found, [nothing, answer])
        found = sent({"role": "user", "content": "  "})["messages"]
        self.assertEqual(found, [nothing])
        found = sent(HI, {"role": "assistant", "content": None})["messages"]
        self.assertEqual(found, [SAID])
        refused = {"role": "assistant", "content": "", "refusal": "no"}
        found = sent(HI, refused)["messages"]
        self.assertEqual(found[1]["content"], [{"text": "no"}])
        self.assertEqual(converse.request_from_x({}, context())["messages"], [nothing])

    def test_names_and_roles(self) -> None:
        """Names are reported, unknown roles refused."""
        at = context()
        sent({**HI, "name": "Bob"}, at=at)
        self.assertEqual(at.dropped, ["name"])
        with self.assertRaises(InvalidRequest) as caught:
            sent({"role": "wizard", "content": "x"})
        self.assertEqual(caught.exception.param, "messages.0.role")

    def test_cache_marks(self) -> None:
        """Where a client wants to cache, for models that can."""
        part = {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}
        system = {"role": "system", "content": [part]}
        point = {"cachePoint": {"type": "default"}}
        found = sent(system, {"role": "user", "content": [part]})
        self.assertEqual(found["system"], [{"text": "a"}, point])
        self.assertEqual(found["messages"][0]["content"], [{"text": "a"}, point])
        found = sent(system, at=context("mistral"))
        self.assertEqual(found["system"], [{"text": "a"}])


class Parts(SynchronousTestCase):
    """Media."""

    def test_media(self) -> None:
        """Each kind as bytes with its format."""
        wav = "UklGRgAAAABXQVZF"
        at = context(media={"https://h/v": Media(b"\0\0\0\0ftypmp42", "video/mp4")})
        found = blocks(
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": PNG_URL},
            {"type": "input_audio", "input_audio": {"data": wav, "format": "wav"}},
            {"type": "video_url", "video_url": {"url": "https://h/v"}},
            at=at,
        )
        self.assertEqual(
            found[1], {"image": {"format": "png", "source": {"bytes": PNG}}}
        )
        self.assertEqual(
            found[2], {"audio": {"format": "wav", "source": {"bytes": wav}}}
        )
        self.assertEqual(found[3]["video"]["format"], "mp4")

    def test_documents(self) -> None:
        """Names of the characters allowed, each once; never without a text."""
        pdf = "data:application/pdf;base64,JVBERi0xLjQK"
        at = context(media={"https://h/t": Media(b"text", "text/csv")})
        found = blocks(
            {"type": "file", "file": {"file_data": pdf, "filename": "a/b_c.pdf"}},
            {"type": "file", "file": {"file_data": pdf, "filename": "a b c.pdf"}},
            {"type": "file", "file": {"file_url": "https://h/t"}},
            {"type": "file", "file": {"file_data": "data:text/plain;base64,YQ=="}},
            {"type": "file", "file": {"file_data": PNG_URL}},
            at=at,
        )
        names = [b["document"]["name"] for b in found if "document" in b]
        self.assertEqual(names, ["a b c", "a b c 2", "document", "document 2"])
        formats = [b["document"]["format"] for b in found if "document" in b]
        self.assertEqual(formats, ["pdf", "pdf", "csv", "txt"])
        self.assertIn("image", found[4])
        self.assertEqual(found[-1], {"text": "..."})

    def test_unseen(self) -> None:
        """What Converse cannot take is named."""
        for part, error, param in (
            ({"type": "x"}, UnsupportedContent, "type"),
            ({"type": "image_url"}, UnsupportedContent, "type"),
            (
                {"type": "image_url", "image_url": {"url": "https://gone"}},
                UnsupportedContent,
                "image_url.url",
            ),
            (
                {"type": "image_url", "image_url": {"url": "data:image/tiff,II*%00"}},
                UnsupportedContent,
                "image_url.url",
            ),
            ({"type": "input_audio"}, InvalidRequest, "input_audio"),
            (
                {"type": "input_audio", "input_audio": {}},
                InvalidRequest,
                "input_audio.data",
            ),
            (
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": 5}},
                UnsupportedContent,
                "input_audio",
            ),
            ({"type": "file"}, InvalidRequest, "file"),
            ({"type": "file", "file": {"file_id": "f"}}, UnsupportedContent, "file"),
            (
                {"type": "file", "file": {"file_data": "UEsDBA=="}},
                UnsupportedContent,
                "file",
            ),
        ):
            with self.subTest(part=part), self.assertRaises(error) as caught:
                blocks(part)
            self.assertEqual(caught.exception.param, f"messages.0.content.0.{param}")

    def test_downloads(self) -> None:
        """Every URL that is no data, once."""
        parts = [
            {"type": "text", "text": "a"},
            {"type": "image_url", "image_url": {"url": PNG_URL}},
            {"type": "image_url", "image_url": {"url": "https://i"}},
            {"type": "image_url", "image_url": "https://i"},
            {"type": "file", "file": {}, "file_url": "https://f"},
            {"type": "video_url", "video_url": {"url": 5}},
        ]
        x = {"messages": [{"role": "user", "content": parts}]}
        found = converse.media_urls(x, context())
        self.assertEqual(found, ["https://i", "https://f"])


def streamed(events_: list[Event], at: Any = None) -> tuple[list[Any], Any]:
    """The chunks of a stream, and the machine."""
    machine = converse.StreamToX(at or context())
    chunks = [chunk for event in events_ for chunk in machine.feed(event)]
    return chunks + machine.close(), machine


class Answers(SynchronousTestCase):
    """`response_to_x` and `StreamToX`."""

    def test_whole(self) -> None:
        """Text, reasoning, calls, the reason and the usage."""
        x = converse.response_to_x(ANSWER, context("shown"))
        (choice,) = x["choices"]
        call = {**CALL, "id": "u1"}
        expected = {
            "role": "assistant",
            "content": "Hello you",
            "refusal": None,
            "reasoning_content": "t1",
            "tool_calls": [call],
        }
        self.assertEqual(choice["message"], expected)
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertEqual(choice["native_finish_reason"], "tool_use")
        self.assertEqual((x["model"], x["created"]), ("shown", 5))
        usage = x["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["total_tokens"]), (15, 19))
        self.assertEqual(usage["prompt_tokens_details"]["cached_tokens"], 5)

    def test_stream_is_the_same(self) -> None:
        """A stream's chunks make up the whole answer."""
        chunks, machine = streamed(STREAM, context("shown"))
        self.assertEqual((machine.finished, machine.error), (True, None))
        assembly = Assembly()
        for chunk in chunks:
            assembly.feed(chunk)
        found = assembly.close()
        whole = converse.response_to_x(ANSWER, context("shown"))
        message = whole["choices"][0]["message"]
        streamed_message = found["choices"][0]["message"]
        for name in ("content", "reasoning_content", "tool_calls"):
            self.assertEqual(streamed_message[name], message[name])
        self.assertEqual(found["choices"][0]["finish_reason"], "tool_calls")
        self.assertEqual(found["usage"], whole["usage"])
        self.assertEqual(machine.feed(STREAM[1]), [])

    def test_reasons(self) -> None:
        """Amazon's words in OpenAI's."""
        for native, reason in (
            ("end_turn", "stop"),
            ("max_tokens", "length"),
            ("guardrail_intervened", "content_filter"),
            ("malformed_tool_use", "stop"),
            ("tool_use", "stop"),
            (None, "stop"),
        ):
            content = {"message": {"content": [{"text": "a"}]}}
            answer = {"output": content, "stopReason": native}
            choice = converse.response_to_x(answer, context())["choices"][0]
            self.assertEqual(choice["finish_reason"], reason)
            self.assertEqual(choice.get("native_finish_reason"), native)

    def test_usage_without_a_cache(self) -> None:
        """Counts that are not reported are left out."""
        answer = {**ANSWER, "usage": {"inputTokens": 3, "outputTokens": 1}}
        usage = converse.response_to_x(answer, context())["usage"]
        expected = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
        self.assertEqual(usage, expected)

    def test_forced_form(self) -> None:
        """The input of the forced tool is the content."""
        at = context()
        at.memory.answer_tool = "respond"
        used = {"toolUseId": "u", "name": "respond", "input": {"a": 1}}
        answer = {
            "output": {"message": {"content": [{"toolUse": used}]}},
            "stopReason": "tool_use",
        }
        choice = converse.response_to_x(answer, at)["choices"][0]
        self.assertEqual(choice["message"]["content"], '{"a":1}')
        self.assertEqual(choice["finish_reason"], "stop")
        start = {"contentBlockIndex": 0, "start": {"toolUse": used}}
        chunks, _ = streamed(
            events(
                ("contentBlockStart", start),
                delta(0, toolUse={"input": '{"a":1}'}),
                ("messageStop", {"stopReason": "tool_use"}),
                ("metadata", {}),
            ),
            at,
        )
        self.assertEqual(chunks[1]["choices"][0]["delta"], {"content": '{"a":1}'})
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")

    def test_errors(self) -> None:
        """An error or nothing is no answer."""
        self.assertRaises(
            UpstreamRefused, converse.response_to_x, {"error": "x"}, context()
        )
        for answer in ({}, {"output": 5}, {"output": {"message": {"content": 5}}}):
            self.assertRaises(
                BadUpstreamBody, converse.response_to_x, answer, context()
            )
        bare = converse.response_to_x(
            {"output": {"message": {"content": []}}}, context()
        )
        self.assertIsNone(bare["choices"][0]["message"]["content"])
        self.assertNotIn("usage", bare)

    def test_broken_streams(self) -> None:
        """Nothing is an empty answer, nonsense an error; a missing end is completed."""
        _, machine = streamed([])
        self.assertIsInstance(machine.error, EmptyAnswer)
        chunks, machine = streamed([Event(b"{", b"", "messageStart")])
        self.assertIsInstance(machine.error, BadUpstreamBody)
        self.assertEqual(chunks, [])
        chunks, machine = streamed([STREAM[0], STREAM[5]])
        self.assertTrue(machine.finished)
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")
        self.assertNotIn("native_finish_reason", chunks[-1]["choices"][0])

    def test_odd_events(self) -> None:
        """Unknown events, empty pieces and starts without tools lead to nothing."""
        chunks, _ = streamed(
            events(
                ("newEvent", {}),
                ("messageStart", {}),
                ("messageStart", {}),
                ("contentBlockStart", {"contentBlockIndex": 0}),
                ("contentBlockDelta", {"contentBlockIndex": 0}),
                delta(0, text=""),
                delta(0, toolUse={"input": ""}),
                delta(1, reasoningContent={"text": "a"}),
                delta(2, reasoningContent={"text": "b"}),
                ("messageStop", {"stopReason": "end_turn"}),
                ("messageStop", {"stopReason": "end_turn"}),
            )
        )
        deltas = [chunk["choices"][0]["delta"] for chunk in chunks]
        thoughts = [{"reasoning_content": "a"}, {"reasoning_content": "\n\nb"}]
        self.assertEqual(deltas, [{"role": "assistant", "content": ""}, *thoughts, {}])

    def test_calls_without_arguments(self) -> None:
        """A call is there when its start is; ids are made up where there are none."""
        start = {"contentBlockIndex": 0, "start": {"toolUse": {"name": "f"}}}
        chunks, _ = streamed(
            events(
                ("contentBlockStart", start),
                delta(0, toolUse={"input": ""}),
                ("messageStop", {"stopReason": "tool_use"}),
            )
        )
        (call,) = chunks[1]["choices"][0]["delta"]["tool_calls"]
        self.assertTrue(call["id"].startswith("call_"))
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "tool_calls")
