"""Chat chunks as Responses streams."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import responses
from knight_tw.convert.context import Context
from knight_tw.convert.responses import StreamFromX, response_from_x
from knight_tw.errors import BadUpstreamBody, UpstreamFailed
from knight_tw.records import Dialect
from knight_tw.wire import envelope, sse
from knight_tw.wire.assembly import Assembly
from tests.convert.responses.sdk import accepted, accumulated
from tests.convert.streaming import objects_of, written

Json = dict[str, Any]

ENCRYPTED = {"include": ["reasoning.encrypted_content"]}
ANTHROPIC = "anthropic-claude-v1"
USAGE = {"prompt_tokens": 2, "completion_tokens": 4, "total_tokens": 6}


def chunk(delta: Json | None = None, finish: str | None = None, **more: Any) -> Json:
    """One chunk of the middle form."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    head = {
        "id": "chatcmpl-9",
        "object": "chat.completion.chunk",
        "created": 5,
        "model": "m",
    }
    return {**head, "choices": [{**choice, **more}]}


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk(finish="stop")
COUNTS: Json = {**chunk(), "choices": [], "usage": USAGE}


def piece(text: str = "", index: int = 0, **more: Any) -> Json:
    """A piece of a tool call."""
    call = {"index": index, "function": {"arguments": text}, **more}
    return chunk({"tool_calls": [call]})


def opened(index: int = 0, name: str = "f", text: str = "", **more: Any) -> Json:
    """The first piece of a tool call."""
    function = {"name": name, "arguments": text}
    call = {"index": index, "id": f"c{index}", "type": "function", "function": function}
    return chunk({"tool_calls": [{**call, **more}]})


def context_of(request: Json | None = None) -> Context:
    """The context of an answer to a request."""
    context = Context("m", created=9, request_id="r")
    context.memory.request = request or {}
    return context


def events(
    *chunks: Json, request: Json | None = None, context: Context | None = None
) -> list[Json]:
    """The events of a stream; the client's types accept them and their sequence."""
    found = written(responses, chunks, context or context_of(request))
    accumulated(found)
    accepted(found[-1]["response"])
    return found


def final(
    *chunks: Json, request: Json | None = None, context: Context | None = None
) -> Json:
    """The response at the end of a stream."""
    found: Json = events(*chunks, request=request, context=context)[-1]["response"]
    return found


def kinds(found: list[Json]) -> list[str]:
    """The types of events without what is the same in all."""
    return [event["type"].removeprefix("response.") for event in found]


class Frames(SynchronousTestCase):
    """The beginning and the end."""

    def test_sequence(self) -> None:
        """A text is framed by the events that the client's helper needs."""
        found = events(ROLE, chunk({"content": "Hi"}), STOP, COUNTS)
        wanted = [
            *("created", "in_progress", "output_item.added", "content_part.added"),
            *("output_text.delta", "output_text.done", "content_part.done"),
            *("output_item.done", "completed"),
        ]
        self.assertEqual(kinds(found), wanted)
        begun = found[0]["response"]
        self.assertEqual(
            (begun["status"], begun["output"], begun["usage"]),
            ("in_progress", [], None),
        )
        self.assertEqual(begun["id"], "resp_9")
        self.assertEqual(found[-1]["response"]["usage"]["total_tokens"], 6)

    def test_client_accumulates(self) -> None:
        """The client's helper ends with the very response."""
        found = events(ROLE, chunk({"content": "Hi"}), opened(text="{}"), STOP, COUNTS)
        response = accumulated(found)
        self.assertEqual(response.output_text, "Hi")
        self.assertEqual(response.output[1].arguments, "{}")

    def test_nothing(self) -> None:
        """Without a chunk there is no stream; an empty answer is one."""
        machine = StreamFromX(context_of())
        self.assertEqual(machine.close(), [])
        self.assertEqual(
            kinds(events(ROLE, STOP)), ["created", "in_progress", "completed"]
        )

    def test_ends_once(self) -> None:
        """After the end nothing is written."""
        machine = StreamFromX(context_of())
        machine.feed(ROLE)
        self.assertTrue(machine.close())
        self.assertEqual(machine.close(), [])
        self.assertEqual(machine.feed(ROLE), [])

    def test_incomplete(self) -> None:
        """A reason that cuts off, or none at all, makes the response incomplete."""
        for reason, details in (
            ("length", {"reason": "max_output_tokens"}),
            ("content_filter", {"reason": "content_filter"}),
            (None, None),
        ):
            last = [chunk(finish=reason)] if reason else []
            found = events(ROLE, chunk({"content": "a"}), *last)
            self.assertEqual(found[-1]["type"], "response.incomplete")
            response = found[-1]["response"]
            self.assertEqual(response["incomplete_details"], details)
            self.assertEqual(response["output"][0]["status"], "incomplete")

    def test_without_a_head(self) -> None:
        """Missing ids and times are made up, other choices are left out."""
        bare = {
            "choices": [
                {"index": 1, "delta": {"content": "x"}},
                {"delta": {"content": "a"}},
            ]
        }
        response = final(bare, chunk(None, "stop"))
        self.assertEqual(response["created_at"], 9)
        self.assertEqual(response["output"][0]["content"][0]["text"], "a")

    def test_errors_can_follow(self) -> None:
        """What an error event needs is there at any time."""
        machine = StreamFromX(context_of())
        error = UpstreamFailed("broke off")

        def told() -> Json:
            written = envelope.in_stream(
                error,
                Dialect.RESPONSES,
                response=machine.response,
                sequence_number=machine.sequence_number,
            )
            (event,) = sse.Decoder().feed(written)
            found: Json = json.loads(event.data)
            return found

        self.assertEqual(told()["type"], "error")
        machine.feed(ROLE)
        machine.feed(chunk({"content": "a"}))
        machine.feed(opened())
        found = told()
        self.assertEqual(
            (found["type"], found["sequence_number"]), ("response.failed", 9)
        )
        self.assertEqual(found["response"]["id"], "resp_9")
        self.assertEqual(len(found["response"]["output"]), 1)


class Texts(SynchronousTestCase):
    """Messages."""

    def test_logprobs(self) -> None:
        """Log probabilities go with their text and are whole at the end."""
        token = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
        found = events(chunk({"content": "a"}, logprobs={"content": [token]}), STOP)
        at = kinds(found).index("output_text.delta")
        self.assertEqual(found[at]["logprobs"], [token])
        part = found[-1]["response"]["output"][0]["content"][0]
        self.assertEqual(part["logprobs"], [token])

    def test_annotations(self) -> None:
        """Citations count from the message's own beginning."""

        def note(start: int) -> Json:
            cited = {
                "url": "u",
                "title": "t",
                "start_index": start,
                "end_index": start + 1,
            }
            entry = {"type": "url_citation", "url_citation": cited, "index": 0}
            return chunk({"annotations": [entry, {"type": "file_citation"}]})

        found = events(
            note(0),
            chunk({"content": "ab"}),
            note(0),
            opened(),
            chunk({"content": "cd"}),
            note(3),
            note(3),
            STOP,
        )
        added = [event for event in found if event["type"].endswith("annotation.added")]
        self.assertEqual([event["annotation_index"] for event in added], [0, 0, 1])
        output = found[-1]["response"]["output"]
        self.assertEqual(
            [item["id"] for item in output], ["msg_9", "fc_9_0", "msg_9_1"]
        )
        self.assertEqual(output[2]["content"][0]["annotations"][0]["start_index"], 1)

    def test_refusals(self) -> None:
        """A refusal is a part of its own, unless it only repeats the text."""
        found = events(chunk({"refusal": "n"}), chunk({"refusal": "o"}), STOP)
        wanted = ["refusal.delta", "refusal.delta", "refusal.done", "content_part.done"]
        self.assertEqual(kinds(found)[4:8], wanted)
        response = final(
            chunk({"content": "a"}),
            chunk({"refusal": "no"}),
            chunk({"content": "b"}),
            STOP,
        )
        (item,) = response["output"]
        told = [part.get("text") or part.get("refusal") for part in item["content"]]
        self.assertEqual(told, ["a", "no", "b"])
        response = final(chunk({"content": "no"}), chunk({"refusal": "no"}), STOP)
        self.assertEqual(len(response["output"][0]["content"]), 1)

    def test_citing_a_refusal(self) -> None:
        """A refusal has no citations."""
        note = {"type": "url_citation", "url_citation": {"url": "u", "start_index": 0}}
        found = events(chunk({"refusal": "no"}), chunk({"annotations": [note]}), STOP)
        self.assertNotIn("output_text.annotation.added", kinds(found))

    def test_phase(self) -> None:
        """The phase stands in the whole message."""
        response = final(
            chunk({"content": "a"}),
            chunk({"phase": "commentary"}),
            chunk({"content": "b"}),
            STOP,
        )
        self.assertEqual(response["output"][0]["phase"], "commentary")

    def test_images(self) -> None:
        """An image is an item that is added and done."""
        image = {"image_url": {"url": "data:image/png;base64,AA"}, "index": 0}
        odd = {"image_url": {"url": "https://e.org/i.png"}}
        found = events(chunk({"content": "a"}), chunk({"images": [odd, image]}), STOP)
        kind = [item["type"] for item in found[-1]["response"]["output"]]
        self.assertEqual(kind, ["message", "image_generation_call"])


class Reasoning(SynchronousTestCase):
    """Reasoning items."""

    def items(self, *chunks: Json, request: Json | None = None) -> list[Json]:
        """The output of a stream, encrypted reasoning being asked for."""
        output: list[Json] = final(*chunks, STOP, request=request or ENCRYPTED)[
            "output"
        ]
        return output

    def signed(self, **detail: Any) -> Json:
        """A chunk with one entry."""
        return chunk({"reasoning_details": [detail]})

    def test_events(self) -> None:
        """A summary has one part, opened and closed."""
        found = events(
            chunk({"reasoning_content": "a"}),
            chunk({"reasoning": "b"}),
            chunk({"content": "x"}),
            STOP,
        )
        wanted = [
            *("output_item.added", "reasoning_summary_part.added"),
            *("reasoning_summary_text.delta", "reasoning_summary_text.delta"),
            *("reasoning_summary_text.done", "reasoning_summary_part.done"),
            "output_item.done",
        ]
        self.assertEqual(kinds(found)[2:9], wanted)
        item = found[8]["item"]
        self.assertEqual(item["summary"], [{"type": "summary_text", "text": "ab"}])

    def test_signatures_part_items(self) -> None:
        """Each signed piece is an item, with its own text exactly."""
        text = {"type": "reasoning.text", "format": ANTHROPIC}
        found = self.items(
            chunk(
                {
                    "reasoning_content": "a",
                    "reasoning_details": [{**text, "text": "a", "index": 0}],
                }
            ),
            self.signed(signature="ko1.a.S", index=0),
            chunk(
                {
                    "reasoning_content": "\n\nb",
                    "reasoning_details": [{**text, "text": "b", "index": 1}],
                }
            ),
            chunk(
                {
                    "reasoning_content": "c",
                    "reasoning_details": [{"text": "c", "index": 1}],
                }
            ),
            self.signed(signature="T", index=1),
        )
        texts = [item["summary"][0]["text"] for item in found]
        self.assertEqual(texts, ["a", "bc"])
        secrets = [item["encrypted_content"] for item in found]
        self.assertEqual(secrets, ["ko1.a.S", "ko1.a.T"])
        self.assertEqual([item["id"] for item in found], ["rs_9", "rs_9_1"])

    def test_redacted(self) -> None:
        """Redacted thinking is an item without a summary, after what is open."""
        found = self.items(
            chunk({"reasoning_content": "a"}),
            self.signed(
                type="reasoning.encrypted", data="ko1.a.R", format=ANTHROPIC, index=1
            ),
        )
        self.assertEqual([len(item["summary"]) for item in found], [1, 0])
        self.assertNotIn("encrypted_content", found[0])

    def test_signature_without_text(self) -> None:
        """Thinking that is not shown keeps its signature, on an empty summary."""
        (item,) = self.items(self.signed(signature="ko1.a.S", index=0))
        self.assertEqual(item["summary"], [{"type": "summary_text", "text": ""}])

    def test_unknown_signatures(self) -> None:
        """A value of an unknown provider, or none at all, is left out."""
        entries = (self.signed(signature="S"), self.signed(signature=None, text=""))
        self.assertEqual(self.items(*entries), [])

    def test_secrets_only_if_asked_for(self) -> None:
        """A client that did not ask for secrets gets the texts alone."""
        chunks = (
            chunk({"reasoning_content": "a"}),
            self.signed(signature="ko1.a.S", index=0),
            self.signed(type="reasoning.encrypted", data="ko1.a.R", index=1),
            opened(extra_content={"google": {"thought_signature": "S"}}),
        )
        first, second = self.items(*chunks, request={"store": False})
        self.assertNotIn("encrypted_content", first)
        self.assertEqual(second["type"], "function_call")

    def test_hidden(self) -> None:
        """A client that wants no summary gets none."""
        context = context_of({"reasoning": {"summary": "none"}})
        found = written(responses, [chunk({"reasoning_content": "a"}), STOP], context)
        self.assertEqual(found[-1]["response"]["output"], [])

    def test_gemini_s_calls(self) -> None:
        """A call's signature closes the reasoning before it, else it is alone."""
        extra = {"google": {"thought_signature": "S"}}
        first, _ = self.items(
            chunk({"reasoning_content": "p"}), opened(extra_content=extra)
        )
        self.assertEqual(
            (first["summary"][0]["text"], first["encrypted_content"]), ("p", "ko1.g.S")
        )
        found = self.items(chunk({"content": "x"}), opened(extra_content=extra))
        kind = [item["type"] for item in found]
        self.assertEqual(kind, ["message", "reasoning", "function_call"])
        self.assertEqual(found[1]["summary"], [])


class Calls(SynchronousTestCase):
    """Tool calls."""

    def test_live_and_kept(self) -> None:
        """The first call is live, others are written when it is closed, by index."""
        found = events(
            opened(),
            opened(1, "g", "{"),
            piece('{"a"'),
            opened(2, "h"),
            piece("}", 1),
            piece(":1}"),
            STOP,
        )
        calls = found[-1]["response"]["output"]
        told = [(one["name"], one["call_id"], one["arguments"]) for one in calls]
        wanted = [("f", "c0", '{"a":1}'), ("g", "c1", "{}"), ("h", "c2", "{}")]
        self.assertEqual(told, wanted)
        self.assertEqual([one["id"] for one in calls], ["fc_9_0", "fc_9_1", "fc_9_2"])
        places = [event["output_index"] for event in found if "output_index" in event]
        self.assertEqual(places, sorted(places))
        ends = [event for event in found if event["type"].endswith("arguments.done")]
        self.assertEqual([event["arguments"] for event in ends], [t[2] for t in told])

    def test_late_names(self) -> None:
        """A call waits for its id and name."""
        found = events(
            piece('{"a"'),
            chunk({"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f"}}]}),
            piece(":1}"),
            STOP,
        )
        (item,) = found[-1]["response"]["output"]
        self.assertEqual((item["name"], item["arguments"]), ("f", '{"a":1}'))

    def test_missing_ids(self) -> None:
        """A call without an id gets one at the end."""
        function = {"name": "f", "arguments": "{}"}
        response = final(
            chunk({"tool_calls": [{"index": 0, "function": function}]}), STOP
        )
        self.assertTrue(response["output"][0]["call_id"].startswith("call_"))

    def test_repeated_names(self) -> None:
        """A provider that repeats id and name in every piece is understood."""
        response = final(
            opened(text="{"),
            opened(text="}"),
            chunk({"tool_calls": [{"index": 0}]}),
            STOP,
        )
        self.assertEqual(response["output"][0]["arguments"], "{}")

    def test_call_after_a_text(self) -> None:
        """A kept call goes on live once the one before it is closed."""
        found = events(
            opened(), opened(1, "g"), chunk({"content": "x"}), piece("{}", 1), STOP
        )
        kind = [item["type"] for item in found[-1]["response"]["output"]]
        self.assertEqual(kind, ["function_call", "message", "function_call"])

    def test_cut_off(self) -> None:
        """What was cut off is incomplete in its last call alone."""
        output = final(opened(), opened(1, "g"), chunk(finish="length"))["output"]
        self.assertEqual(
            [item["status"] for item in output], ["completed", "incomplete"]
        )

    def test_late_pieces(self) -> None:
        """A piece of a call that is over is a fault; an empty one is nothing."""
        machine = StreamFromX(context_of())
        for one in (opened(text="{}"), chunk({"content": "x"}), piece("")):
            machine.feed(one)
        self.assertRaises(BadUpstreamBody, machine.feed, piece("late"))

    def test_names_are_the_client_s(self) -> None:
        """Tools of a namespace are named as the client offered them."""
        context = context_of()
        context.memory.tool_names = {"n__f": {"name": "f", "namespace": "n"}}
        (item,) = final(opened(0, "n__f"), STOP, context=context)["output"]
        self.assertEqual((item["name"], item["namespace"]), ("f", "n"))

    def test_free_form_calls(self) -> None:
        """Free-form input comes as it is, or is unpacked at the end."""
        context = context_of()
        context.memory.custom_tools = {"sh"}
        live = {
            "index": 0,
            "id": "c0",
            "type": "custom",
            "custom": {"name": "py", "input": "a"},
        }
        more = {"index": 0, "custom": {"input": "b"}}
        found = events(
            chunk({"tool_calls": [live]}),
            chunk({"tool_calls": [more]}),
            opened(1, "sh", '{"input":'),
            piece('"ls"}', 1),
            STOP,
            context=context,
        )
        deltas = [
            event["delta"] for event in found if event["type"].endswith("input.delta")
        ]
        self.assertEqual(deltas, ["a", "b", "ls"])
        ends = [
            event["input"] for event in found if event["type"].endswith("input.done")
        ]
        self.assertEqual(ends, ["ab", "ls"])
        output = found[-1]["response"]["output"]
        self.assertEqual([item["id"] for item in output], ["ctc_9_0", "ctc_9_1"])


DELTAS = st.lists(
    st.one_of(
        st.builds(lambda t: {"content": t}, st.text(min_size=1)),
        st.builds(lambda t: {"reasoning_content": t}, st.text(min_size=1)),
    ),
    max_size=8,
)
ARGUMENTS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(['{"a"', ":1", "}", ""])), max_size=12
)


class Agreement(SynchronousTestCase):
    """Streams and whole answers say the same."""

    @given(DELTAS, ARGUMENTS, st.sampled_from(["stop", "length", "tool_calls"]))
    @settings(max_examples=60, deadline=None)
    def test_stream_is_the_whole(
        self, deltas: list[Json], arguments: list[tuple[int, str]], reason: str
    ) -> None:
        """Texts, reasoning, calls and the end are those of the whole answer."""
        chunks = [chunk(delta) for delta in deltas]
        known: set[int] = set()
        for index, text in arguments:
            first = index not in known
            known.add(index)
            chunks.append(
                opened(index, f"f{index}", text) if first else piece(text, index)
            )
        chunks += [chunk(finish=reason), COUNTS]
        parts = Assembly()
        for one in chunks:
            parts.feed(one)
        x = {**parts.close(), "id": "chatcmpl-9"}
        wanted = response_from_x(x, context_of())
        got = final(*chunks)
        for read in (_texts, _reasoning, _calls):
            self.assertEqual(read(got), read(wanted))
        for name in ("id", "status", "incomplete_details", "usage"):
            self.assertEqual(got[name], wanted[name])

    @given(DELTAS)
    @settings(max_examples=20, deadline=None)
    def test_events_are_framed(self, deltas: list[Json]) -> None:
        """Every event has a name, which is its type."""
        machine = StreamFromX(context_of())
        pieces = [p for delta in deltas for p in machine.feed(chunk(delta))]
        pieces += machine.close()
        for event in sse.Decoder().feed(b"".join(pieces)):
            self.assertEqual(event.event, json.loads(event.data)["type"])
        self.assertEqual(len(objects_of(pieces)), machine.sequence_number)


def _texts(response: Json) -> str:
    items = [item for item in response["output"] if item["type"] == "message"]
    return "".join(part["text"] for item in items for part in item["content"])


def _reasoning(response: Json) -> str:
    items = [item for item in response["output"] if item["type"] == "reasoning"]
    return "".join(part["text"] for item in items for part in item["summary"])


def _calls(response: Json) -> list[tuple[str, str, str]]:
    items = [item for item in response["output"] if item["type"] == "function_call"]
    found = [(item["name"], item["call_id"], item["arguments"]) for item in items]
    return sorted(found)
