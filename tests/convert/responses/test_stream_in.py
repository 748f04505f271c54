"""Responses streams as chat chunks."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from openai._models import construct_type
from openai.lib.streaming.chat import ChatCompletionStreamState
from openai.types.chat import ChatCompletionChunk
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import chat
from knight_tw.convert.context import Context
from knight_tw.convert.responses import StreamToX, response_to_x
from knight_tw.errors import BadUpstreamBody, EmptyAnswer, UpstreamRefused
from knight_tw.wire import sse, top
from knight_tw.wire.assembly import Assembly
from knight_tw.wire.responses_assembly import restream
from tests.convert.streaming import events_of, written

Json = dict[str, Any]

CREATED = {
    "type": "response.created",
    "response": {
        "id": "resp_1",
        "created_at": 5,
        "model": "up",
        "status": "in_progress",
    },
}
USAGE = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}


def ended(*output: Json, kind: str = "completed", **more: Any) -> Json:
    """The terminal event."""
    response = {"id": "resp_1", "status": kind, "output": list(output), "usage": USAGE}
    return {"type": f"response.{kind}", "response": {**response, **more}}


def added(item: Any, place: int = 0) -> Json:
    """An item appears."""
    return {"type": "response.output_item.added", "output_index": place, "item": item}


def done(item: Any, place: int = 0) -> Json:
    """An item is done."""
    return {"type": "response.output_item.done", "output_index": place, "item": item}


def delta(kind: str, text: Any, place: int | None = 0, **more: Any) -> Json:
    """A piece of an item."""
    return {
        "type": f"response.{kind}.delta",
        "output_index": place,
        "delta": text,
        **more,
    }


def said(text: str, place: int = 0, part: int = 0, **more: Any) -> Json:
    """A piece of text."""
    return delta("output_text", text, place, content_index=part, **more)


def spoken(*texts: str, **more: Any) -> Json:
    """A message item."""
    parts = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
    return {"type": "message", "id": "msg_1", "content": parts, **more}


def call(**more: Any) -> Json:
    """A function call item."""
    usual = {"type": "function_call", "id": "fc_1", "call_id": "c1", "name": "f"}
    return {**usual, "arguments": "", **more}


def custom(**more: Any) -> Json:
    """A free-form call item."""
    usual = {"type": "custom_tool_call", "id": "ct_1", "call_id": "c1", "name": "sh"}
    return {**usual, "input": "", **more}


def chunks(*events: Json, context: Context | None = None) -> list[Json]:
    """The chunks of a stream that works."""
    machine = StreamToX(context or Context("m"))
    found = [c for event in events_of(list(events)) for c in machine.feed(event)]
    found += machine.close()
    if machine.error is not None:
        raise machine.error
    return found


def message(*events: Json, context: Context | None = None) -> Json:
    """The message that a stream's chunks make up."""
    parts = Assembly()
    for chunk in chunks(*events, context=context):
        parts.feed(chunk)
    found: Json = parts.close()["choices"][0]["message"]
    return found


def deltas(*events: Json, context: Context | None = None) -> list[Json]:
    """What the chunks between the first and the last add."""
    found = chunks(*events, context=context)
    choices = [chunk["choices"][0]["delta"] for chunk in found if chunk["choices"]]
    return choices[1:-1]


class Texts(SynchronousTestCase):
    """Messages."""

    def test_frame(self) -> None:
        """A role at first, then the reason, then the usage."""
        found = chunks(CREATED, said("Hi"), ended(spoken("Hi"), service_tier="x"))
        first, second, third, last = found
        head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 5}
        for chunk in found:
            self.assertEqual({**chunk, **head, "model": "m"}, chunk)
        self.assertEqual(
            first["choices"][0]["delta"], {"role": "assistant", "content": ""}
        )
        self.assertEqual(second["choices"][0]["delta"], {"content": "Hi"})
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        self.assertEqual(
            third["choices"], [{**end, "native_finish_reason": "completed"}]
        )
        self.assertEqual((last["choices"], last["usage"]["total_tokens"]), ([], 3))

    def test_two_messages(self) -> None:
        """Between two messages stands a blank line; the last phase goes out once."""
        found = message(
            CREATED,
            said("a", 0),
            done(spoken("a", phase="commentary"), 0),
            said("b", 1),
            said("c", 1, 1),
            done(spoken("b", "c", phase="final_answer"), 1),
            ended(),
        )
        self.assertEqual(
            (found["content"], found["phase"]), ("a\n\nbc", "final_answer")
        )

    def test_what_no_delta_said(self) -> None:
        """Text comes from the done item, or the whole response, if it was not sent."""
        for events in (
            (done(spoken("abc")),),
            (said("a"), done(spoken("abc"))),
            (said("a"), ended(spoken("abc"))),
            (done(spoken("abc")), ended(spoken("abc"))),
            (said("abc"), done(spoken("abc")), done(spoken("abc"))),
        ):
            self.assertEqual(message(CREATED, *events)["content"], "abc")

    def test_refusals(self) -> None:
        """A refusal's pieces, and the rest of it."""
        item = {
            "type": "message",
            "content": [{"type": "refusal", "refusal": "no way"}],
        }
        found = message(
            CREATED, delta("refusal", "no"), delta("refusal", ""), done(item)
        )
        self.assertEqual(found["refusal"], "no way")

    def test_logprobs(self) -> None:
        """Log probabilities stand beside their text."""
        token = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
        found = chunks(CREATED, said("a", logprobs=[token]), said("", logprobs=[token]))
        logprobs = {"content": [token], "refusal": None}
        self.assertEqual(found[1]["choices"][0]["logprobs"], logprobs)

    def test_annotations(self) -> None:
        """Each annotation goes out once, with an index, from its event or its item."""
        note: Json = {
            "type": "url_citation",
            "url": "u",
            "title": "t",
            "start_index": 0,
        }
        note["end_index"] = 1
        file = {"type": "file_citation", "file_id": "f", "index": 0}
        item = spoken("bc")
        item["content"][0]["annotations"] = [note, file]
        event = {"type": "response.output_text.annotation.added", "output_index": 1}
        event |= {"content_index": 0, "annotation": note}
        odd = {**event, "annotation": None}
        found = deltas(CREATED, said("a", 0), said("bc", 1), event, odd, done(item, 1))
        cited = {"url": "u", "title": "t", "start_index": 3, "end_index": 4}
        entry = {"type": "url_citation", "url_citation": cited, "index": 0}
        self.assertEqual(found[2], {"annotations": [entry]})
        self.assertEqual(
            found[3],
            {"citations": [{**file, "start_index": 3, "end_index": 5, "index": 1}]},
        )
        self.assertEqual(len(found), 4)

    def test_images(self) -> None:
        """Generated images are a list, or in the text if the channel says so."""
        item = {"type": "image_generation_call", "id": "ig", "result": "AAAA"}
        empty = {**item, "result": None}
        url = "data:image/png;base64,AAAA"
        found = message(CREATED, done(empty, 1), done(item), ended())
        self.assertEqual(found["images"][0]["image_url"], {"url": url})
        known = Context("m", settings={"gemini_image_output": "markdown"})
        found = message(CREATED, done(item), context=known)
        self.assertEqual(found["content"], f"![image]({url})")


class Reasoning(SynchronousTestCase):
    """Reasoning items."""

    def test_parts_and_items(self) -> None:
        """A blank line stands between parts; each item has an entry of its own."""
        summary = "reasoning_summary_text"
        found = deltas(
            CREATED,
            delta(summary, "a", summary_index=0),
            delta(summary, "b", summary_index=0),
            delta(summary, "c", summary_index=1),
            delta(summary, "", summary_index=1),
            delta(summary, "d", 1, summary_index=0),
        )
        entry = {"type": "reasoning.summary", "format": "openai-responses-v1"}
        self.assertEqual(
            found,
            [
                {
                    "reasoning_content": "a",
                    "reasoning_details": [{**entry, "summary": "a", "index": 0}],
                },
                {
                    "reasoning_content": "b",
                    "reasoning_details": [{"summary": "b", "index": 0}],
                },
                {
                    "reasoning_content": "\n\nc",
                    "reasoning_details": [{"summary": "\n\nc", "index": 0}],
                },
                {
                    "reasoning_content": "\n\nd",
                    "reasoning_details": [{**entry, "summary": "d", "index": 1}],
                },
            ],
        )

    def test_raw_reasoning(self) -> None:
        """Raw reasoning is shown; beside a summary it is not."""
        raw = delta("reasoning_text", "raw", content_index=0)
        found = deltas(CREATED, raw)
        self.assertEqual(found[0]["reasoning_details"][0]["type"], "reasoning.text")
        summary = delta("reasoning_summary_text", "s", summary_index=0)
        self.assertEqual(message(CREATED, summary, raw)["reasoning_content"], "s")

    def test_secrets(self) -> None:
        """The secret is an entry of its own, once, wrapped."""
        item = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "encrypted_content": "E",
        }
        summary = delta("reasoning_summary_text", "s", summary_index=0)
        found = deltas(
            CREATED, summary, done(item), done({**item, "id": 7}, 1), ended(item)
        )
        entry = {
            "type": "reasoning.encrypted",
            "data": "ko1.o.E",
            "format": "openai-responses-v1",
        }
        self.assertEqual(
            found[1], {"reasoning_details": [{**entry, "id": "rs_1", "index": 1}]}
        )
        self.assertEqual(found[2], {"reasoning_details": [{**entry, "index": 2}]})
        self.assertEqual(len(found), 3)

    def test_what_no_delta_said(self) -> None:
        """Reasoning comes from the item if there were no deltas."""
        summary = [{"type": "summary_text", "text": text} for text in ("a", "b")]
        content = [{"type": "reasoning_text", "text": "raw"}]
        item = {"type": "reasoning", "summary": summary, "content": content}
        self.assertEqual(message(CREATED, done(item))["reasoning_content"], "a\n\nb")
        item = {"type": "reasoning", "content": content}
        self.assertEqual(message(CREATED, done(item))["reasoning_content"], "raw")


class Calls(SynchronousTestCase):
    """Tool calls."""

    ARGUMENTS = "function_call_arguments"

    def arguments(self, *events: Json) -> list[str]:
        """The arguments of each call."""
        found = message(CREATED, *events)["tool_calls"]
        return [one["function"]["arguments"] for one in found]

    def test_pieces(self) -> None:
        """Id and name come once, each call has an index."""
        found = deltas(
            CREATED,
            added(call()),
            delta(self.ARGUMENTS, '{"a"'),
            delta(self.ARGUMENTS, ""),
            added(call(id="fc_2", call_id="c2", name="g"), 1),
            delta(self.ARGUMENTS, "{}", 1),
            delta(self.ARGUMENTS, ":1}"),
            ended(),
        )
        calls = [one["tool_calls"][0] for one in found]
        self.assertEqual([one["index"] for one in calls], [0, 0, 1, 1, 0])
        self.assertEqual(
            [one.get("id") for one in calls], ["c1", None, "c2", None, None]
        )
        self.assertEqual(calls[0]["function"], {"name": "f", "arguments": ""})

    def test_rests(self) -> None:
        """Done events and items add only what was not sent."""
        whole = {"type": "response.function_call_arguments.done", "output_index": 0}
        whole["arguments"] = '{"a":1}'
        piece = delta(self.ARGUMENTS, '{"a"')
        item = call(arguments='{"a":1}')
        for events in (
            (added(call()), piece, whole, done(item)),
            (added(call()), whole),
            (added(call()), piece, done(item)),
            (done(item),),
            (ended(item),),
            (added(call()), piece, ended(item)),
            (added(call()), whole, done(item), ended(item)),
            (whole, added(call()), done(item), whole),
        ):
            self.assertEqual(self.arguments(*events), ['{"a":1}'])

    def test_early_pieces_wait(self) -> None:
        """Pieces of an item that has not appeared are kept until it does."""
        by_id = delta(self.ARGUMENTS, "{", None, item_id="fc_1")
        rest = delta(self.ARGUMENTS, "}", None, item_id="fc_1")
        early = (by_id, added(call(), 0), rest)
        self.assertEqual(self.arguments(*early, ended()), ["{}"])
        by_index = delta(self.ARGUMENTS, "{}", 0)
        self.assertEqual(self.arguments(by_index, added(call()), ended()), ["{}"])
        nameless = call(name=None)
        late = (by_index, added(nameless), done(call()))
        self.assertEqual(self.arguments(*late, ended()), ["{}"])

    def test_early_pieces_are_bounded(self) -> None:
        """Of an item that never appears only so much is kept."""
        machine = StreamToX(Context("m"))
        (piece,) = events_of([delta(self.ARGUMENTS, "x")])
        for _ in range(5000):
            machine.feed(piece)
        (appears,) = events_of([added(call())])
        found = machine.feed(appears)
        self.assertEqual(len(found), 4096 + 1)

    def test_no_arguments(self) -> None:
        """A call without arguments has an empty object."""
        self.assertEqual(self.arguments(added(call()), ended(call())), ["{}"])
        self.assertEqual(self.arguments(added(call())), ["{}"])

    def test_ids_change(self) -> None:
        """A provider that gives each event another item id is understood."""
        found = self.arguments(
            added(call(id="x1")),
            delta(self.ARGUMENTS, "{}", 0, item_id="x2"),
            done(call(id="x3", arguments="{}")),
            ended(call(id="x4", arguments="{}")),
        )
        self.assertEqual(found, ["{}"])

    def test_names_are_own(self) -> None:
        """Names that were changed for OpenAI change back."""
        context = Context("m")
        context.memory.sent_names["a_b"] = "a.b"
        found = message(CREATED, added(call(name="a_b")), context=context)
        self.assertEqual(found["tool_calls"][0]["function"]["name"], "a.b")

    def test_offered_free_form_calls(self) -> None:
        """A free-form call whose tool was offered as one stays one."""
        context = Context("m")
        context.memory.x = {"tools": [{"type": "custom", "custom": {"name": "sh"}}]}
        found = deltas(
            CREATED,
            added(custom()),
            delta("custom_tool_call_input", "l"),
            done(custom(input='ls "x"')),
            context=context,
        )
        calls = [one["tool_calls"][0] for one in found]
        self.assertEqual(calls[0]["type"], "custom")
        self.assertEqual([one["custom"]["input"] for one in calls], ["", "l", 's "x"'])

    def test_other_free_form_calls(self) -> None:
        """Others are calls of a function with one argument, escaped piece by piece."""
        piece = delta("custom_tool_call_input", 'say "')
        for events in (
            (added(custom()), piece, done(custom(input='say "hi"\n'))),
            (done(custom(input='say "hi"\n')), ended()),
        ):
            self.assertEqual(self.arguments(*events), ['{"input":"say \\"hi\\"\\n"}'])
        self.assertEqual(
            self.arguments(added(custom()), piece), ['{"input":"say \\""}']
        )


class Ends(SynchronousTestCase):
    """How streams end."""

    def test_reasons(self) -> None:
        """The reason as in whole answers; calls are a reason of their own."""
        incomplete = {"incomplete_details": {"reason": "content_filter"}}
        for events, reason in (
            ((ended(),), "stop"),
            ((ended(call()),), "tool_calls"),
            ((ended(kind="incomplete", **incomplete),), "content_filter"),
            ((said("a"),), "stop"),
        ):
            found = [c["choices"][0] for c in chunks(CREATED, *events) if c["choices"]]
            self.assertEqual(found[-1]["finish_reason"], reason)

    def test_marker(self) -> None:
        """`[DONE]` ends a stream that has no other end."""
        machine = StreamToX(Context("m"))
        stream = [*events_of([CREATED, said("a")]), sse.Event(b"[DONE]", b"")]
        found = [chunk for event in stream for chunk in machine.feed(event)]
        self.assertEqual(found[-1]["choices"][0]["finish_reason"], "stop")
        self.assertTrue(machine.finished)
        self.assertEqual(machine.close(), [])
        self.assertEqual(machine.feed(stream[0]), [])

    def test_tools_are_counted(self) -> None:
        """Uses of the provider's tools are known at the end, searches in the usage."""
        item = {"type": "web_search_call", "id": "w"}
        for last in (ended(), ended(item)):
            context = Context("m")
            machine = StreamToX(context)
            events = events_of([CREATED, done(item), last])
            found = [chunk for event in events for chunk in machine.feed(event)]
            self.assertEqual(context.used, {"web_search": 1})
            used = {"web_search_requests": 1}
            self.assertEqual(found[-1]["usage"]["server_tool_use"], used)

    def test_native(self) -> None:
        """Clients that want it get the provider's own items at the end."""
        item = spoken("a")
        found = message(CREATED, done(item), ended(), context=Context("m", native=True))
        self.assertEqual(found["native_blocks"]["content"], [item])

    def test_failures(self) -> None:
        """Errors of every form end the stream; nothing goes on after them."""
        error = {"code": "rate_limit_exceeded", "message": "slow"}
        failed = {
            "type": "response.failed",
            "response": {"status": "failed", "error": error},
        }
        cases = (
            (failed, 429),
            ({"type": "error", **error}, 429),
            ({"type": "error", "error": {"type": "server_error", "message": "m"}}, 502),
            ({"type": "x", "response": {"status": "cancelled"}}, 502),
            ({"error": {"type": "t", "message": "m"}}, 502),
        )
        for event, status in cases:
            machine = StreamToX(Context("m"))
            for one in events_of([CREATED, event, said("a")]):
                machine.feed(one)
            assert isinstance(machine.error, UpstreamRefused)
            self.assertEqual(machine.error.status, status)
            self.assertEqual(machine.close(), [])

    def test_garbage_and_nothing(self) -> None:
        """What is no JSON is an error, and so is nothing at all."""
        machine = StreamToX(Context("m"))
        machine.feed(sse.Event(b" ", b""))
        self.assertEqual(machine.feed(sse.Event(b"{", b"")), [])
        self.assertIsInstance(machine.error, BadUpstreamBody)
        machine = StreamToX(Context("m"))
        self.assertEqual(machine.close(), [])
        self.assertIsInstance(machine.error, EmptyAnswer)

    def test_odd_events_do_no_harm(self) -> None:
        """Unknown events and members of unexpected types are left out."""
        odd: list[Json] = [
            {"type": "response.new", "x": 1},
            added(None),
            added({"type": "message"}),
            done(None),
            delta("output_text", 7),
            delta("function_call_arguments", 7),
            done({"type": "message", "content": [{"type": "new"}]}, 3),
            done({"type": "function_call", "arguments": 7, "call_id": "c"}, 4),
        ]
        found = message(CREATED, *odd, ended())
        self.assertEqual(found["content"], "")
        self.assertEqual(found["tool_calls"][0]["function"]["arguments"], "{}")


ITEMS = st.lists(
    st.one_of(
        st.builds(lambda *t: spoken(*t), st.text(min_size=1), st.text(min_size=1)),
        st.builds(
            lambda texts, secret: {
                "type": "reasoning",
                "id": "rs",
                "summary": [{"type": "summary_text", "text": text} for text in texts],
                "encrypted_content": secret,
            },
            st.lists(st.text(min_size=1), min_size=1, max_size=3),
            st.sampled_from([None, "E"]),
        ),
        st.builds(
            lambda n: call(call_id=f"c{n}", arguments=f'{{"n":{n}}}'),
            st.integers(0, 99),
        ),
        st.builds(lambda text: custom(input=text), st.text()),
    ),
    max_size=6,
)


class Agreement(SynchronousTestCase):
    """Streams and whole answers say the same."""

    @given(ITEMS, st.integers(1, 60))
    @settings(max_examples=60, deadline=None)
    def test_stream_is_the_whole(self, items: list[Json], size: int) -> None:
        """However it is cut, a stream makes up the message of the whole answer."""
        items = [{**item, "id": f"{item['id']}{n}"} for n, item in enumerate(items)]
        whole = {"id": "resp_1", "created_at": 5, "status": "completed", "model": "m"}
        whole |= {"output": items, "usage": USAGE}
        wanted = response_to_x(whole, Context("m"))
        machine, parts, decoder = StreamToX(Context("m")), Assembly(), sse.Decoder()
        stream = restream(whole)
        for at in range(0, len(stream), size):
            for event in decoder.feed(stream[at : at + size]):
                for chunk in machine.feed(event):
                    parts.feed(chunk)
        got = parts.close()
        one, other = (x["choices"][0]["message"] for x in (got, wanted))
        for name in ("reasoning_content", "tool_calls"):
            self.assertEqual(one.get(name), other.get(name))
        self.assertEqual(one["content"] or None, other["content"])
        self.assertEqual(got["usage"], wanted["usage"])
        reasons = [x["choices"][0]["finish_reason"] for x in (got, wanted)]
        self.assertEqual(*reasons)

    def test_chat_client_reads_it(self) -> None:
        """OpenAI's own chat client puts the chunks together."""
        reasoned: Json = {"type": "reasoning", "id": "rs", "encrypted_content": "E"}
        reasoned["summary"] = [{"type": "summary_text", "text": "why"}]
        whole: Json = {"id": "resp_1", "status": "completed", "usage": USAGE}
        whole["output"] = [reasoned, spoken("Hi"), call(arguments="{}")]
        decoded = sse.Decoder().feed(restream(whole))
        machine = StreamToX(Context("m"))
        found = [chunk for event in decoded for chunk in machine.feed(event)]
        state: Any = ChatCompletionStreamState()
        for chunk in written(chat, found, Context("m")):
            state.handle_chunk(construct_type(type_=ChatCompletionChunk, value=chunk))
        said_by = state.current_completion_snapshot.choices[0].message
        self.assertEqual((said_by.content, said_by.reasoning_content), ("Hi", "why"))
        self.assertEqual(said_by.tool_calls[0].function.arguments, "{}")
        details = said_by.reasoning_details
        self.assertEqual([detail["index"] for detail in details], [0, 1])
        self.assertEqual(details[1]["data"], "ko1.o.E")
        self.assertIsInstance(top.encode(found), bytes)
