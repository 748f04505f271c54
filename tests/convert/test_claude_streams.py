"""Claude streams, both ways."""

from __future__ import annotations

import itertools
from typing import Any

from anthropic.types import Message, RawMessageStreamEvent
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionChunk
from pydantic import TypeAdapter
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import claude
from knight_tw.convert.context import Context, Memory
from knight_tw.errors import BadUpstreamBody, ClaudeRefused, EmptyAnswer
from knight_tw.wire import claude_assembly, sse, top
from knight_tw.wire.assembly import Assembly
from knight_tw.wire.claude_assembly import restream
from tests.convert.streaming import chunks_of, events_of, objects_of, written

Body = dict[str, Any]


def start(**more: Any) -> Body:
    """A `message_start`."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "up"}
    return {"type": "message_start", "message": message | {"content": []} | more}


def block(index: int, content: Body, *deltas: Body, stop: bool = True) -> list[Body]:
    """A content block with its deltas."""
    events: list[Body] = [
        {"type": "content_block_start", "index": index, "content_block": content},
        *(
            {"type": "content_block_delta", "index": index, "delta": delta}
            for delta in deltas
        ),
    ]
    end = {"type": "content_block_stop", "index": index}
    return [*events, end] if stop else events


def ending(reason: str | None = "end_turn", **more: Any) -> list[Body]:
    """The end of a message."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return [
        {"type": "message_delta", "delta": delta} | more,
        {"type": "message_stop"},
    ]


def text(value: str) -> Body:
    """A text delta."""
    return {"type": "text_delta", "text": value}


def deltas_of(events: list[Body], context: Context | None = None) -> list[Body]:
    """The deltas of the chunks for Claude's events, valid for OpenAI's client."""
    chunks = chunks_of(claude, events, context or Context("m"))
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk, strict=True)
    return [c["choices"][0]["delta"] for c in chunks if c["choices"]]


class ToX(SynchronousTestCase):
    """From Claude."""

    def test_texts_and_citations(self) -> None:
        """Citations come at the end of their block, numbered through the stream."""
        web = {"type": "web_search_result_location", "url": "u", "title": None}
        cited = {"type": "citations_delta", "citation": web}
        events = [
            start(),
            {"type": "ping"},
            *block(0, {"type": "text", "text": "ä"}, text("b"), text("")),
            *block(1, {"type": "text", "text": "", "citations": [web]}, text("cd")),
            *block(
                2, {"type": "text", "text": "", "citations": None}, text("e"), cited
            ),
            *block(3, {"type": "text", "text": ""}, {"type": "citations_delta"}),
            *ending(),
        ]
        found = deltas_of(events)
        words = "".join(delta.get("content", "") for delta in found)
        self.assertEqual(words, "äbcde")
        notes = [d["annotations"][0] for d in found if "annotations" in d]
        spans = [(n["index"], n["url_citation"]["start_index"]) for n in notes]
        self.assertEqual(spans, [(0, 2), (1, 4)])

    def test_several_thoughts(self) -> None:
        """Pieces have indexes of their own; constants go out once; a piece whose text
        is hidden is signed all the same."""
        thinking = {"type": "thinking", "thinking": "", "signature": ""}
        sign = {"type": "signature_delta", "signature": "S"}
        found = deltas_of(
            [
                start(),
                *block(0, thinking, think("a"), think("b"), sign),
                *block(1, {"type": "redacted_thinking", "data": "E"}),
                *block(2, thinking | {"thinking": "c"}, sign, sign),
                *block(3, thinking, think(""), sign),
                *ending(),
            ]
        )
        shown = "".join(delta.get("reasoning_content", "") for delta in found)
        self.assertEqual(shown, "ab\n\nc")
        entries = [e for d in found for e in d.get("reasoning_details", ())]
        self.assertEqual([e["index"] for e in entries], [0, 0, 0, 1, 2, 2, 3])
        self.assertEqual(entries[1], {"text": "b", "index": 0})
        self.assertEqual(entries[5], {"signature": "ko1.a.SS", "index": 2})
        self.assertEqual(
            (entries[6]["text"], entries[6]["type"]), ("", "reasoning.text")
        )

    def test_calls(self) -> None:
        """Calls are numbered among themselves; arguments may come with the opening,
        or not at all."""
        use = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
        piece = {"type": "input_json_delta", "partial_json": ""}
        own = {"type": "server_tool_use", "id": "s", "name": "x", "input": {}}
        found = deltas_of(
            [
                start(),
                *block(0, {"type": "text", "text": "a"}),
                *block(1, own, piece | {"partial_json": "{}"}),
                *block(2, use, piece),
                *block(3, use | {"id": None, "input": {"a": 1}}),
                *block(4, use, piece | {"partial_json": '{"b":'}, stop=False),
                *ending("tool_use"),
            ]
        )
        calls = [call for delta in found for call in delta.get("tool_calls", ())]
        self.assertEqual([call["index"] for call in calls], [0, 0, 1, 1, 2, 2])
        arguments = [call["function"]["arguments"] for call in calls]
        self.assertEqual(arguments, ["", "{}", "", '{"a":1}', "", '{"b":'])
        self.assertTrue(calls[2]["id"].startswith("toolu_"))

    def test_the_forced_tool_is_the_answer(self) -> None:
        """Its input is streamed as content."""
        context = Context("m", memory=Memory(answer_tool="respond"))
        use = {"type": "tool_use", "id": "1", "name": "respond", "input": {}}
        piece = {"type": "input_json_delta", "partial_json": '{"a":1}'}
        events = [start(), *block(0, use, piece), *ending("tool_use")]
        chunks = chunks_of(claude, events, context)
        self.assertEqual(chunks[1]["choices"][0]["delta"], {"content": '{"a":1}'})
        self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "stop")

    def test_usage(self) -> None:
        """Counts of the start stand until something that is not zero comes."""
        first = {"input_tokens": 9, "cache_read_input_tokens": 3, "output_tokens": 1}
        last = {"input_tokens": 0, "output_tokens": 20}
        events = [start(usage=first), *ending(usage=last)]
        *_, end, usage = chunks_of(claude, events, Context("m"))
        self.assertEqual(end["choices"][0]["finish_reason"], "stop")
        self.assertEqual(usage["choices"], [])
        counts = usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]
        self.assertEqual(counts, (12, 20))

    def test_stop_sequence(self) -> None:
        """The sequence stands beside the reason."""
        delta = {"stop_reason": "stop_sequence", "stop_sequence": "X"}
        event = {"type": "message_delta", "delta": delta}
        *_, end = chunks_of(claude, [start(), event], Context("m"))
        choice = end["choices"][0]
        got = choice["stop_sequence"], choice["native_finish_reason"]
        self.assertEqual(got, ("X", "stop_sequence"))

    def test_a_stream_that_breaks_off(self) -> None:
        """What is open is closed; the reason is `stop`, or that there are calls."""
        use = {"type": "tool_use", "id": "1", "name": "f", "input": {}}
        events = [start(), *block(0, use, stop=False)]
        *_, arguments, end = chunks_of(claude, events, Context("m"))
        delta = arguments["choices"][0]["delta"]
        self.assertEqual(delta["tool_calls"][0]["function"]["arguments"], "{}")
        self.assertEqual(end["choices"][0]["finish_reason"], "tool_calls")

    def test_a_message_that_goes_on(self) -> None:
        """Blocks in the start are whole; a second start changes nothing."""
        use = {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}
        found = deltas_of(
            [
                start(content=[use]),
                start(),
                *block(0, {"type": "text", "text": "b"}),
                *ending(),
            ]
        )
        roles = [delta for delta in found if "role" in delta]
        self.assertEqual(len(roles), 1)
        self.assertEqual(found[2]["tool_calls"][0]["function"]["arguments"], '{"a":1}')
        self.assertEqual(found[3], {"content": "b"})

    def test_odd_events(self) -> None:
        """Unknown events, blocks and deltas lead to nothing, and break nothing."""
        events: list[Body] = [
            {"type": "message_start"},
            {"type": "unheard_of"},
            {"type": "content_block_start", "index": 0},
            {"type": "content_block_delta", "index": 7, "delta": text("x")},
            {"type": "content_block_stop", "index": 7},
            *block(1, {"type": "fallback"}, {"type": "odd_delta"}),
            *block(
                2, {"type": "text", "text": "a"}, think("x"), {"type": "text_delta"}
            ),
            {"type": "message_delta"},
        ]
        found = deltas_of(events)
        self.assertEqual([d for d in found if d.get("content")], [{"content": "a"}])

    def test_without_a_start(self) -> None:
        """A stream that begins with a block gets an id."""
        events = block(0, {"type": "text", "text": "a"})
        chunks = chunks_of(claude, events, Context("m"))
        self.assertTrue(chunks[0]["id"].startswith("msg_"))

    def test_own_content(self) -> None:
        """Clients that ask for it get the content array whole, before the end."""
        use = {"type": "server_tool_use", "id": "s", "name": "x", "input": {}}
        piece = {"type": "input_json_delta", "partial_json": '{"q":1}'}
        events = [start(), *block(0, use, piece), *ending()]
        found = deltas_of(events, Context("m", native=True))
        kept = {"format": "anthropic-claude-v1", "content": [use | {"input": {"q": 1}}]}
        self.assertEqual(found[-2], {"native_blocks": kept})

    def failure(self, *events: Body | bytes) -> BaseException | None:
        """The machine's error after these events; nothing is written after it."""
        machine = claude.StreamToX(Context("m"))
        for event in events:
            raw = event if isinstance(event, bytes) else top.encode(event)
            machine.feed(sse.Event(raw, b""))
        self.assertEqual(machine.feed(events_of([start()])[0]), [])
        self.assertEqual(machine.close(), [])
        return machine.error

    def test_errors(self) -> None:
        """An error event keeps its type; what is no JSON, or nothing, is a failure."""
        error = {"type": "overloaded_error", "message": "busy"}
        found = self.failure(start(), {"type": "error", "error": error})
        self.assertIsInstance(found, ClaudeRefused)
        self.assertIsInstance(self.failure(b"{broken"), BadUpstreamBody)
        machine = claude.StreamToX(Context("m"))
        self.assertEqual(machine.feed(sse.Event(b" ", b"")), [])
        self.assertEqual(machine.close(), [])
        self.assertIsInstance(machine.error, EmptyAnswer)

    def test_the_end_is_the_end(self) -> None:
        """Nothing counts after `message_stop`."""
        machine = claude.StreamToX(Context("m"))
        for event in events_of([start(), *ending()]):
            machine.feed(event)
        self.assertTrue(machine.finished)
        self.assertEqual(machine.feed(events_of([start()])[0]), [])
        self.assertEqual(machine.close(), [])


def think(value: str) -> Body:
    """A thinking delta."""
    return {"type": "thinking_delta", "thinking": value}


def chunk(delta: Body, reason: str | None = None, **more: Any) -> Body:
    """A chat chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason} | more
    return {"id": "chatcmpl-1", "model": "up", "choices": [choice]}


def call(index: int, arguments: str = "", **more: Any) -> Body:
    """A piece of a tool call."""
    name = {"name": more.pop("name")} if "name" in more else {}
    function = name | {"arguments": arguments}
    return {"tool_calls": [{"index": index, "function": function} | more]}


EVENT: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)


def accumulated(events: list[Body]) -> Body:
    """The message that a client puts together; every event is valid for Anthropic's."""
    opened(events)
    whole = claude_assembly.Assembly()
    for event in events:
        EVENT.validate_python(event, strict=True)
        whole.feed(event)
    message = whole.close()
    Message.model_validate(message, strict=True)
    return message


def opened(events: list[Body]) -> list[Body]:
    """The blocks of a stream as they were opened; its grammar is checked."""
    found, current = [], None
    assert events[0]["type"] == "message_start", events[0]
    assert [e["type"] for e in events[-2:]] == ["message_delta", "message_stop"]
    for event in events[1:-2]:
        kind = event["type"]
        if kind == "content_block_start":
            assert current is None and event["index"] == len(found), event
            current = event["index"]
            found.append(event["content_block"])
        else:
            assert event["index"] == current, event
            if kind == "content_block_stop":
                current = None
    assert current is None
    return found


class FromX(SynchronousTestCase):
    """To Claude's clients."""

    def stream(self, *chunks: Body, context: Context | None = None) -> list[Body]:
        """The events for these chunks."""
        return written(claude, chunks, context or Context("shown", estimate=5))

    def message(self, *chunks: Body) -> Body:
        """What Anthropic's client makes of them."""
        return accumulated(self.stream(*chunks))

    def test_text(self) -> None:
        """The head, one block, the reason and the estimate where nothing is known."""
        first, *_, delta, _ = self.stream(chunk({"content": "a"}), chunk({}, "stop"))
        message = first["message"]
        self.assertEqual((message["id"], message["model"]), ("msg_1", "shown"))
        counts = {"input_tokens": 5, "output_tokens": 0}
        self.assertEqual(message["usage"], counts)
        self.assertEqual(delta["usage"]["input_tokens"], 5)
        self.assertEqual(delta["delta"]["stop_reason"], "end_turn")

    def test_nothing_said(self) -> None:
        """An answer without content has one empty text; no chunk, no answer."""
        events = self.stream(chunk({"role": "assistant", "content": ""}))
        self.assertEqual(opened(events), [{"type": "text", "text": ""}])
        self.assertEqual(self.stream(), [])

    def test_usage(self) -> None:
        """Usage of any chunk is told at the end."""
        usage = {"prompt_tokens": 9, "completion_tokens": 3}
        *_, delta, _ = self.stream(chunk({"content": "a"}) | {"usage": usage})
        self.assertEqual(delta["usage"]["input_tokens"], 9)
        self.assertEqual(delta["usage"]["output_tokens"], 3)

    def test_mixed_fields(self) -> None:
        """Reasoning, text, calls and the reason of one chunk, in this order."""
        both = {"reasoning_content": "r", "content": "t"} | call(
            0, "{}", id="1", name="f"
        )
        message = self.message(chunk(both, "tool_calls"))
        kinds = [b["type"] for b in message["content"]]
        self.assertEqual(kinds, ["thinking", "text", "tool_use"])
        self.assertEqual(message["stop_reason"], "tool_use")

    def test_interleaved_calls(self) -> None:
        """The first call is live, others follow when it is over, by index."""
        message = self.message(
            chunk(call(0, id="a")),
            chunk(call(0, '{"x"', name="f")),
            chunk(call(2, "{}", id="c", name="h")),
            chunk(call(1, '{"y":', id="b", name="g")),
            chunk(call(0, ":1}")),
            chunk(call(1, "2}")),
            chunk({}, "tool_calls"),
        )
        found = [(b["id"], b["name"], b["input"]) for b in message["content"]]
        wanted = [("a", "f", {"x": 1}), ("b", "g", {"y": 2}), ("c", "h", {})]
        self.assertEqual(found, wanted)

    def test_arguments_as_an_object(self) -> None:
        """Some providers send the arguments parsed."""
        function = {"name": "f", "arguments": {"x": 1}}
        piece = {"index": 0, "id": "a", "function": function}
        message = self.message(chunk({"tool_calls": [piece]}))
        self.assertEqual(message["content"][0]["input"], {"x": 1})

    def test_text_after_calls(self) -> None:
        """It stands behind all calls that came before it."""
        message = self.message(
            chunk(call(0, "{}", id="a", name="f")),
            chunk(call(1, "{}", id="b", name="g")),
            chunk({"content": "t"}),
        )
        kinds = [b.get("name", b["type"]) for b in message["content"]]
        self.assertEqual(kinds, ["f", "g", "text"])

    def test_a_live_call_is_streamed(self) -> None:
        """Its arguments leave piece by piece, as soon as id and name are known."""
        writing = claude.StreamFromX(Context("m"))
        writing.feed(chunk(call(0, '{"a"', id="1")))
        events = objects_of(writing.feed(chunk(call(0, name="f"))))
        self.assertEqual(len(events), 2)
        (delta,) = objects_of(writing.feed(chunk(call(0, ":1}"))))
        self.assertEqual(delta["delta"]["partial_json"], ":1}")

    def test_calls_without_ids(self) -> None:
        """An id is made; a call without name and id is none; text may come between."""
        message = self.message(
            chunk(call(0, "{}", name="f")),
            chunk({"content": "t"}),
            chunk({"tool_calls": [{"index": 1, "function": {}}]}),
            chunk(call(2, name="g")),
        )
        kinds = [b["type"] for b in message["content"]]
        self.assertEqual(kinds, ["text", "tool_use", "tool_use"])
        self.assertTrue(message["content"][1]["id"].startswith("toolu_"))

    def test_calls_that_are_over(self) -> None:
        """More arguments for a call that is over break the stream; none do not."""
        writing = claude.StreamFromX(Context("m"))
        writing.feed(chunk(call(0, "{}", id="1", name="f")))
        writing.feed(chunk({"content": "t"}))
        self.assertEqual(writing.feed(chunk(call(0))), [])
        self.assertRaises(BadUpstreamBody, writing.feed, chunk(call(0, "x")))

    def test_free_form_calls(self) -> None:
        """Their text is the one argument of a function."""
        custom = {"custom": {"name": "c", "input": "x"}}
        piece = {"index": 0, "id": "1", "type": "custom"} | custom
        more = {"index": 0, "custom": {"input": "y"}}
        message = self.message(
            chunk({"tool_calls": [piece]}), chunk({"tool_calls": [more]})
        )
        self.assertEqual(message["content"][0]["input"], {"input": "xy"})

    def test_reasoning_of_claude(self) -> None:
        """Signed pieces are blocks of their own, their signatures bare."""
        own = {"format": "anthropic-claude-v1"}
        kind = {"type": "reasoning.text"} | own
        hidden = {"type": "reasoning.encrypted", "data": "ko1.a.E", "index": 2} | own
        message = self.message(
            chunk({"reasoning_details": [kind | {"text": "a", "index": 0}]}),
            chunk({"reasoning_details": [{"text": "b", "index": 0}]}),
            chunk({"reasoning_details": [{"signature": "ko1.a.S", "index": 0}]}),
            chunk({"reasoning_details": [kind | {"text": "c", "index": 1}]}),
            chunk({"reasoning_details": [hidden, hidden | {"data": ""}]}),
            chunk({"reasoning_content": "d"}),
            chunk({"reasoning_details": [kind | {"text": "e", "index": 4}]}),
            chunk({"reasoning_details": [kind | {"text": "f", "index": 5}]}),
        )
        found = [
            (b["type"], b.get("thinking") or b.get("data"), b.get("signature"))
            for b in message["content"]
        ]
        wanted = [
            ("thinking", "ab", "S"),
            ("thinking", "c", ""),
            ("redacted_thinking", "E", None),
            ("thinking", "de", ""),
            ("thinking", "f", ""),
        ]
        self.assertEqual(found, wanted)

    def test_reasoning_of_others(self) -> None:
        """Their signatures are wrapped, on the thought or on an empty block."""
        sealed = {"type": "reasoning.encrypted", "data": "ko1.g.A"}
        message = self.message(
            chunk({"reasoning_content": "p", "reasoning_details": [sealed]}),
            chunk({"content": "t"}),
            chunk({"reasoning_details": [sealed | {"data": "ko1.g.B"}]}),
        )
        found = [(b["type"], b.get("signature")) for b in message["content"]]
        wanted = [("thinking", "ko1.g.A"), ("text", None), ("thinking", "ko1.g.B")]
        self.assertEqual(found, wanted)

    def test_signatures_of_calls(self) -> None:
        """Gemini's stands on the open thought, else on an empty block before it."""
        google = {"extra_content": {"google": {"thought_signature": "A"}}}
        message = self.message(
            chunk({"reasoning_content": "p"}),
            chunk(call(0, "{}", id="1", name="f", **google)),
            chunk(call(1, "{}", id="2", name="g", **google)),
        )
        found = [(b["type"], b.get("signature")) for b in message["content"]]
        signed = ("thinking", "ko1.g.A")
        use = ("tool_use", None)
        self.assertEqual(found, [signed, use, signed, use])

    def test_annotations(self) -> None:
        """They are cited in the open text; afterwards they have lost their place."""
        place = {"url": "u", "title": "T", "start_index": 1, "end_index": 3}
        note = {"type": "url_citation", "url_citation": place}
        message = self.message(
            chunk({"content": "0123", "annotations": [note, {}]}),
            chunk({"annotations": [{"url_citation": {"url": "v"}}]}),
            chunk({"reasoning_content": "x"}),
            chunk({"annotations": [note]}),
        )
        cited = [c["cited_text"] for c in message["content"][0]["citations"]]
        self.assertEqual(cited, ["12", ""])

    def test_refusals(self) -> None:
        """A refusal is text and gives the reason."""
        message = self.message(chunk({"refusal": "no"}), chunk({}, "stop"))
        self.assertEqual(message["content"][0]["text"], "no")
        self.assertEqual(message["stop_reason"], "refusal")

    def test_other_choices(self) -> None:
        """Only the first choice is told; odd deltas are nothing."""
        other = {"choices": [{"index": 1, "delta": {"content": "x"}}, {"delta": 3}]}
        message = self.message(other, chunk({"content": "a"}), {"choices": []})
        self.assertEqual([b["text"] for b in message["content"]], ["a"])

    def test_closing_twice(self) -> None:
        """The end is written once."""
        writing = claude.StreamFromX(Context("m"))
        writing.feed(chunk({"content": "a"}))
        self.assertNotEqual(writing.close(), [])
        self.assertEqual(writing.close(), [])


WORDS = st.text(min_size=1, max_size=6)
SIGNS = st.from_regex(r"[A-Za-z0-9+/]{1,8}", fullmatch=True)
BLOCKS = st.one_of(
    st.builds(lambda t: {"type": "text", "text": t}, WORDS),
    st.builds(
        lambda t, s: {"type": "thinking", "thinking": t, "signature": s}, WORDS, SIGNS
    ),
    st.builds(lambda d: {"type": "redacted_thinking", "data": d}, SIGNS),
    st.builds(
        lambda v: {"type": "tool_use", "name": "f", "input": v},
        st.dictionaries(WORDS, st.integers(0, 9) | WORDS, max_size=2),
    ),
)


@st.composite
def answers(draw: st.DrawFn) -> Body:
    """Whole answers of Claude."""
    blocks = draw(st.lists(BLOCKS, min_size=1, max_size=5))
    content = [
        {**b, "id": f"toolu_{n}"} if b["type"] == "tool_use" else b
        for n, b in enumerate(blocks)
    ]
    called = any(b["type"] == "tool_use" for b in content)
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "up",
        "content": content,
        "stop_reason": "tool_use" if called else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": draw(st.integers(1, 99)), "output_tokens": 7},
    }


class Whole(SynchronousTestCase):
    """A stream says what the whole answer says."""

    @settings(max_examples=60, deadline=None)
    @given(answers(), st.lists(st.integers(1, 99), min_size=1, max_size=5))
    def test_any_pieces_give_the_whole(self, answer: Body, sizes: list[int]) -> None:
        """However the bytes are cut, the chunks put together are the whole answer."""
        context = Context("m", created=1)
        stream, at, cuts = restream(answer), 0, itertools.cycle(sizes)
        decoder, reading, whole = sse.Decoder(), claude.StreamToX(context), Assembly()
        while at < len(stream):
            size = next(cuts)
            for event in decoder.feed(stream[at : at + size]):
                for piece in reading.feed(event):
                    whole.feed(piece)
            at += size
        self.assertTrue(reading.finished)
        got, wanted = whole.close(), claude.response_to_x(answer, context)
        self.assertEqual(got["usage"], wanted["usage"])
        (got_choice,), (choice,) = got["choices"], wanted["choices"]
        self.assertEqual(got_choice["finish_reason"], choice["finish_reason"])
        for name in ("reasoning_content", "reasoning_details", "tool_calls"):
            self.assertEqual(
                got_choice["message"].get(name), choice["message"].get(name)
            )
        said = choice["message"]["content"] or ""
        self.assertEqual(got_choice["message"]["content"], said)

    @settings(max_examples=40, deadline=None)
    @given(answers())
    def test_there_and_back(self, answer: Body) -> None:
        """Claude's stream through the middle form is Claude's stream again."""
        context = Context("", created=1)
        events = objects_of([restream(answer)])
        back = written(claude, chunks_of(claude, events, context), context)
        opened(back)
        message = accumulated(back)

        def said(content: list[Body]) -> list[Body]:
            found: list[Body] = []
            for one in content:
                known = {k: v for k, v in one.items() if v is not None}
                text = known.get("text")
                if text is not None and found and "text" in found[-1]:
                    found[-1]["text"] += text
                else:
                    found.append(known)
            return found

        self.assertEqual(said(message["content"]), said(answer["content"]))
        self.assertEqual(message["stop_reason"], answer["stop_reason"])
        self.assertEqual(message["usage"]["output_tokens"], 7)
