"""Chat streams on their way to chat clients."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody, UpstreamRefused
from knight_tw.records import Usage
from knight_tw.wire import sse
from knight_tw.wire.answers import Reading
from knight_tw.wire.chat_pass import ChatPass
from knight_tw.wire.reshape import ForceFormat, ThinkingToContent

USAGE = {"prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13}
ZEROS = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
READ = Usage(prompt=9, completion=4, total=13)


def chunk(delta: Any = None, finish: str | None = None, **more: Any) -> bytes:
    """One chunk as a provider writes it."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    usual = {
        "id": "c1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "up",
        "choices": [choice],
    }
    return json.dumps({**usual, **more}).encode()


def framed(*chunks: bytes) -> bytes:
    """The stream of some chunks, without its end."""
    return b"".join(sse.encode(text) for text in chunks)


ROLE = chunk({"role": "assistant", "content": ""})
HEL, LO = chunk({"content": "Hel"}), chunk({"content": "lo"})
STOP = chunk(finish="stop")
COUNTS = chunk(choices=[], usage=USAGE)
ORDINARY = framed(ROLE, HEL, LO, STOP)


def run(
    machine: ChatPass, stream: bytes, *, size: int = 0, counted: Usage | None = None
) -> bytes:
    """What a client gets for a stream that arrives in pieces of `size`."""
    decoder, out = sse.Decoder(), b""
    step = size or len(stream) or 1
    for at in range(0, len(stream), step):
        for event in decoder.feed(stream[at : at + step]):
            out += b"".join(machine.feed(event))
    for event in decoder.close():
        out += b"".join(machine.feed(event))
    return out + b"".join(machine.close(counted))


def chunks(stream: bytes) -> list[Any]:
    """The chunks in a client's stream, which must end in `[DONE]`."""
    events = sse.Decoder().feed(stream)
    assert events[-1].data == b"[DONE]", stream
    return [msgspec.json.decode(event.data) for event in events[:-1]]


class Untouched(SynchronousTestCase):
    """Streams in which nothing has to change."""

    def test_bytes_stay(self) -> None:
        """An ordinary stream is passed on byte for byte."""
        machine = ChatPass(False)
        stream = ORDINARY + sse.DONE
        self.assertEqual(run(machine, stream), stream)
        self.assertEqual(machine.produced.text, "Hello")
        self.assertEqual((machine.events, machine.finished), (4, True))
        self.assertEqual(machine.finish_reasons, {0: "stop"})
        self.assertIsNone(machine.usage)

    def test_nulls_stay(self) -> None:
        """A null usage is no usage."""
        stream = framed(chunk({"content": "a"}, usage=None), STOP) + sse.DONE
        self.assertEqual(run(ChatPass(False), stream), stream)

    def test_usage_chunk_that_was_asked_for(self) -> None:
        """The provider's own usage chunk keeps its bytes."""
        stream = framed(HEL, STOP, COUNTS) + sse.DONE
        machine = ChatPass(True)
        self.assertEqual(run(machine, stream), stream)
        self.assertEqual(machine.usage, READ)

    def test_chunks_without_choices(self) -> None:
        """A chunk that carries neither choice nor usage nor error goes on."""
        first = chunk(choices=[], prompt_filter_results=[{"index": 0}])
        stream = framed(first, HEL, STOP) + sse.DONE
        self.assertEqual(run(ChatPass(False), stream), stream)

    def test_objects_that_are_no_chunks(self) -> None:
        """What a later version may add is for the client to judge."""
        stream = framed(b'{"choices":"later"}', HEL, STOP) + sse.DONE
        self.assertEqual(run(ChatPass(False), stream), stream)

    def test_same_name(self) -> None:
        """A model name that is right already changes nothing."""
        stream = ORDINARY + sse.DONE
        self.assertEqual(run(ChatPass(False, "up"), stream), stream)

    @settings(max_examples=60, deadline=None)
    @given(
        st.lists(st.sampled_from([ROLE, HEL, LO, STOP, COUNTS]), min_size=1),
        st.integers(1, 40),
        st.booleans(),
        st.sampled_from([None, "mine"]),
        st.booleans(),
    )
    def test_any_pieces(
        self, texts: list[bytes], size: int, asked: bool, name: str | None, done: bool
    ) -> None:
        """However a stream arrives, the client gets the same bytes."""
        stream = framed(*texts) + (sse.DONE if done else b"")
        at_once, cut = ChatPass(asked, name), ChatPass(asked, name)
        self.assertEqual(run(cut, stream, size=size), run(at_once, stream))
        self.assertEqual(cut.usage, at_once.usage)
        self.assertEqual(cut.produced.text, at_once.produced.text)


class UsageChunk(SynchronousTestCase):
    """Exactly one usage chunk for clients that ask, none for others."""

    def test_hidden(self) -> None:
        """A client that did not ask sees no usage chunk; it is read all the same."""
        machine = ChatPass(False)
        stream = framed(HEL, STOP, COUNTS) + sse.DONE
        self.assertEqual(run(machine, stream), framed(HEL, STOP) + sse.DONE)
        self.assertEqual(machine.usage, READ)

    def test_hidden_on_content(self) -> None:
        """Usage on a content chunk is taken out of it, the rest of it stays."""
        machine = ChatPass(False)
        last = chunk(finish="stop", usage=USAGE, x_own=1)
        found = chunks(run(machine, framed(HEL, last) + sse.DONE))
        self.assertNotIn("usage", found[1])
        self.assertEqual(found[1]["x_own"], 1)
        self.assertEqual(machine.usage, READ)

    def test_moved(self) -> None:
        """Usage on the last content chunk moves into a chunk before `[DONE]`."""
        last = chunk(finish="stop", usage=USAGE)
        found = chunks(run(ChatPass(True), framed(HEL, last) + sse.DONE))
        self.assertEqual([c.get("usage") for c in found], [None, None, USAGE])
        expected = {
            "id": "c1",
            "object": "chat.completion.chunk",
            "created": 7,
            "model": "up",
            "choices": [],
            "usage": USAGE,
        }
        self.assertEqual(found[2], expected)

    def test_cumulative(self) -> None:
        """Of usage on each chunk the last one is shown, once."""
        early = {"prompt_tokens": 9, "completion_tokens": 1, "total_tokens": 10}
        stream = framed(
            chunk({"content": "a"}, usage=early),
            chunk(finish="stop", usage=USAGE, object="chat.completion.done"),
        )
        machine = ChatPass(True)
        found = chunks(run(machine, stream + sse.DONE))
        self.assertEqual([c.get("usage") for c in found], [None, None, USAGE])
        self.assertEqual(found[2]["object"], "chat.completion.chunk")
        self.assertEqual(machine.usage, READ)

    def test_left_in_place(self) -> None:
        """Without a chunk of its own the usage stays where the provider put it."""
        stream = framed(HEL, chunk(finish="stop", usage=USAGE)) + sse.DONE
        machine = ChatPass(True, own_chunk=False)
        self.assertEqual(run(machine, stream), stream)
        self.assertEqual(machine.usage, READ)
        hidden = chunks(run(ChatPass(False, own_chunk=False), stream))
        self.assertNotIn("usage", hidden[1])

    def test_in_the_choice(self) -> None:
        """Usage inside a choice counts when there is none beside it."""
        choice = {"index": 0, "delta": {}, "finish_reason": "stop", "usage": USAGE}
        machine = ChatPass(True)
        found = chunks(run(machine, framed(HEL, chunk(choices=[choice])) + sse.DONE))
        self.assertEqual(machine.usage, READ)
        self.assertEqual(found[-1]["usage"], USAGE)

    def test_renamed(self) -> None:
        """The usage chunk has the client's model name too."""
        stream = framed(HEL, STOP, COUNTS) + sse.DONE
        found = chunks(run(ChatPass(True, "mine"), stream))
        self.assertEqual({c["model"] for c in found}, {"mine"})
        moved = framed(HEL, chunk(finish="stop", usage=USAGE)) + sse.DONE
        found = chunks(run(ChatPass(True, "mine"), moved))
        self.assertEqual([c["model"] for c in found], ["mine"] * 3)

    def test_counted(self) -> None:
        """A provider without usage, or with zeros, gets the one we counted."""
        zeros = chunk(choices=[], usage=ZEROS)
        for stream in (framed(HEL, STOP), framed(HEL, STOP, zeros)):
            machine = ChatPass(True)
            found = chunks(run(machine, stream + sse.DONE, counted=Usage(5, 3)))
            shown = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
            self.assertEqual([c.get("usage") for c in found], [None, None, shown])
            self.assertIsNone(machine.usage)

    def test_not_counted(self) -> None:
        """Without a count there is no usage chunk, or the provider's zeros."""
        stream = framed(HEL, STOP) + sse.DONE
        self.assertEqual(run(ChatPass(True), stream), stream)
        stream = framed(HEL, STOP, chunk(choices=[], usage=ZEROS)) + sse.DONE
        self.assertEqual(run(ChatPass(True), stream), stream)

    def test_counted_in_vain(self) -> None:
        """What the provider reported wins; nobody sees what was not asked for."""
        stream = framed(HEL, STOP, COUNTS) + sse.DONE
        self.assertEqual(run(ChatPass(True), stream, counted=Usage(1, 1)), stream)
        stream = framed(HEL, STOP) + sse.DONE
        self.assertEqual(run(ChatPass(False), stream, counted=Usage(1, 1)), stream)

    def test_zeros_do_not_hide_counts(self) -> None:
        """A later usage of zeros does not replace an earlier one."""
        machine = ChatPass(False)
        run(machine, framed(HEL, COUNTS, chunk(choices=[], usage=ZEROS)) + sse.DONE)
        self.assertEqual(machine.usage, READ)

    def test_own_spelling(self) -> None:
        """The provider's reading is applied; the bytes stay."""

        def complete(usage: dict[str, Any]) -> None:
            usage["prompt_tokens_details"] = {"cached_tokens": usage["hit"]}

        counts = chunk(choices=[], usage={**USAGE, "hit": 6})
        machine = ChatPass(True, reading=Reading(complete=complete))
        stream = framed(HEL, STOP, counts) + sse.DONE
        self.assertEqual(run(machine, stream), stream)
        assert machine.usage is not None
        self.assertEqual(machine.usage.cached, 6)

    def test_cached_tokens_of_llama(self) -> None:
        """llama.cpp counts cached tokens beside the usage."""
        counts = chunk(choices=[], usage=USAGE, timings={"cache_n": 3})
        machine = ChatPass(False)
        run(machine, framed(HEL, STOP, counts) + sse.DONE)
        assert machine.usage is not None
        self.assertEqual(machine.usage.cached, 3)


class Ends(SynchronousTestCase):
    """How streams end."""

    def test_without_done(self) -> None:
        """A stream that ends after its finish reason is completed."""
        self.assertEqual(run(ChatPass(False), ORDINARY), ORDINARY + sse.DONE)

    def test_without_finish(self) -> None:
        """Open choices get a finish reason before the end."""
        second = {"index": 1, "delta": {"content": "b"}, "finish_reason": None}
        machine = ChatPass(False)
        found = chunks(run(machine, framed(HEL, chunk(choices=[second]))))
        stops = [c["choices"][0] for c in found[2:]]
        self.assertEqual(
            stops,
            [
                {"index": 0, "delta": {}, "finish_reason": "stop"},
                {"index": 1, "delta": {}, "finish_reason": "stop"},
            ],
        )
        self.assertTrue(machine.finished)

    def test_completions_without_finish(self) -> None:
        """Legacy completions are completed in their own layout."""
        text = {"index": 0, "text": "hi", "finish_reason": None}
        stream = framed(chunk(choices=[text], object="text_completion"))
        machine = ChatPass(False)
        found = chunks(run(machine, stream))
        self.assertEqual(machine.produced.text, "hi")
        self.assertEqual(found[1]["object"], "text_completion")
        stop = {"index": 0, "text": "", "finish_reason": "stop"}
        self.assertEqual(found[1]["choices"], [stop])

    def test_nothing(self) -> None:
        """Nothing goes out for a stream that ended without having begun."""
        for stream in (b"", b": hello\n\n"):
            machine = ChatPass(True)
            self.assertEqual(run(machine, stream), b"")
            self.assertFalse(machine.began or machine.finished)

    def test_nothing_but_the_end(self) -> None:
        """An answer without content is ended as the provider ended it."""
        for stream in (sse.DONE, framed(COUNTS) + sse.DONE):
            self.assertEqual(run(ChatPass(False), stream), sse.DONE)

    def test_after_the_end(self) -> None:
        """Nothing counts after `[DONE]`."""
        machine = ChatPass(False)
        stream = framed(HEL, STOP) + sse.DONE
        self.assertEqual(run(machine, stream + framed(LO)), stream)
        self.assertEqual(machine.produced.text, "Hel")

    def test_empty_events(self) -> None:
        """Events without content are left out."""
        stream = b"data: \n\ndata: null\n\n" + framed(HEL, STOP) + sse.DONE
        unwrap = Reading(unwrap=lambda answer: answer)
        for reading in (Reading(), unwrap):
            machine = ChatPass(False, reading=reading)
            found = chunks(run(machine, b"data: \n\n" + framed(HEL, STOP) + sse.DONE))
            self.assertEqual(len(found), 2)
        self.assertEqual(run(ChatPass(False), stream), framed(HEL, STOP) + sse.DONE)

    def test_substance(self) -> None:
        """A role alone is no substance; text, sound, calls and an end are."""
        call = [{"index": 0, "function": {"name": "f", "arguments": ""}}]
        for text, began in (
            (ROLE, False),
            (COUNTS, False),
            (HEL, True),
            (STOP, True),
            (chunk({"audio": {"data": "UklGRg=="}}), True),
            (chunk({"tool_calls": call}), True),
        ):
            machine = ChatPass(False)
            for event in sse.Decoder().feed(b"\n" + framed(text)):
                machine.feed(event)
            self.assertEqual(machine.began, began)

    def test_odd_indexes(self) -> None:
        """Neither an odd index nor endless ones hurt."""
        odd = {"index": None, "delta": {"content": "a"}, "finish_reason": "stop"}
        many = [{"index": i, "delta": {}, "finish_reason": "stop"} for i in range(300)]
        machine = ChatPass(False)
        run(machine, framed(chunk(choices=[odd]), chunk(choices=many)) + sse.DONE)
        self.assertEqual(machine.finish_reasons[0], "stop")
        self.assertEqual(len(machine.finish_reasons), 128)


class Failures(SynchronousTestCase):
    """Errors inside streams."""

    def failed(self, stream: bytes, kind: type[Exception], **more: Any) -> Any:
        """The error of that kind to which an event after some content leads."""
        machine = ChatPass(False, **more)
        events = sse.Decoder().feed(b"\n" + framed(HEL) + stream)
        self.assertEqual(machine.feed(events[0]), [framed(HEL)])
        error = self.assertRaises(kind, machine.feed, events[1])
        self.assertFalse(machine.finished)
        return error

    def test_error_event(self) -> None:
        """A provider's error is raised with its own words."""
        text = b'{"error":{"message":"m","code":429}}'
        error = self.failed(framed(text), UpstreamRefused)
        self.assertEqual((error.status, error.message), (429, "m"))

    def test_error_beside_choices(self) -> None:
        """An error on a chunk with choices counts."""
        text = chunk({"content": ""}, "error", error={"message": "m"})
        self.failed(framed(text), UpstreamRefused)

    def test_error_that_is_no_chunk(self) -> None:
        """An error of another layout counts."""
        self.failed(framed(b'[{"error":{"message":"m"}}]'), UpstreamRefused)

    def test_own_error(self) -> None:
        """A provider's own form of an error is known."""
        reading = Reading(raised_error=lambda answer: (401, "own"))
        text = framed(b'{"base":1}')
        error = self.failed(text, UpstreamRefused, reading=reading)
        self.assertEqual(error.status, 401)

    def test_broken_json(self) -> None:
        """An event that is no JSON is a bad body, wrapped or not."""
        self.failed(b'data: {"a":\n\n', BadUpstreamBody)
        reading = Reading(unwrap=lambda answer: answer["data"])
        machine = ChatPass(False, reading=reading)
        [event] = sse.Decoder().feed(b'\ndata: {"a":\n\n')
        self.assertRaises(BadUpstreamBody, machine.feed, event)

    def test_finish_reason_that_is_an_error(self) -> None:
        """A provider's failure in place of a finish reason is a failure."""
        reading = Reading(finish_reasons={"network_error": "error"})
        text = framed(chunk(finish="network_error"))
        self.failed(text, UpstreamRefused, reading=reading)


class Changes(SynchronousTestCase):
    """What the client sees differently."""

    def test_model(self) -> None:
        """The client's name is written on each chunk, everything else stays."""
        text = (
            b'{"id":"c1","x":1.50,"model":"up","choices":[{"delta":{"content":"a"}}]}'
        )
        found = run(ChatPass(False, "mine"), framed(text, STOP) + sse.DONE)
        expected = text.replace(b'"up"', b'"mine"')
        self.assertTrue(found.startswith(sse.encode(expected)))

    def test_identity(self) -> None:
        """An id is given only where the provider has none."""
        stream = framed(chunk({"content": "a"}, id=""), STOP) + sse.DONE
        found = chunks(run(ChatPass(False, identity="chatcmpl-x"), stream))
        self.assertEqual([c["id"] for c in found], ["chatcmpl-x", "c1"])

    def test_finish_reasons(self) -> None:
        """The provider's own finish reasons become OpenAI's."""
        reading = Reading(finish_reasons={"sensitive": "content_filter"})
        machine = ChatPass(False, reading=reading)
        stream = framed(HEL, chunk(finish="sensitive")) + sse.DONE
        found = chunks(run(machine, stream))
        self.assertEqual(found[1]["choices"][0]["finish_reason"], "content_filter")
        self.assertEqual(machine.finish_reasons, {0: "content_filter"})

    def test_wrapping(self) -> None:
        """Chunks are read out of the provider's wrapping."""
        reading = Reading(unwrap=lambda answer: answer["data"])
        stream = framed(b'{"data":%b}' % HEL, b'{"data":%b}' % STOP) + sse.DONE
        machine = ChatPass(False, reading=reading)
        self.assertEqual(len(chunks(run(machine, stream))), 2)
        self.assertEqual(machine.produced.text, "Hel")

    def test_layout(self) -> None:
        """Changes of layout reach each chunk, the end, and the usage chunk."""
        thinking = chunk({"reasoning_content": "hm"}, x_own=1)
        reshape = [ThinkingToContent(), ForceFormat("id", 1, "m")]
        machine = ChatPass(True, "mine", reshape=reshape)
        found = chunks(run(machine, framed(thinking, COUNTS)))
        texts = [c["choices"][0]["delta"].get("content") for c in found[:-1]]
        self.assertEqual(texts, ["<think>\nhm", "\n</think>\n"])
        self.assertTrue(all("x_own" not in c for c in found))
        self.assertEqual(found[-1]["usage"], USAGE)
        self.assertEqual({c["model"] for c in found}, {"mine"})

    def test_layout_closed_after_done(self) -> None:
        """What a layout still holds goes out before `[DONE]`, through the others."""
        stream = framed(chunk({"reasoning_content": "hm"})) + sse.DONE
        reshape = [ThinkingToContent(), ForceFormat("id", 1, "m")]
        found = chunks(run(ChatPass(False, reshape=reshape), stream))
        self.assertEqual(found[-1]["choices"][0]["delta"], {"content": "\n</think>\n"})
        self.assertIn("logprobs", found[-1]["choices"][0])

    def test_usage_hidden_with_layout(self) -> None:
        """A layout never brings a hidden usage back."""
        stream = framed(chunk({"content": "a"}, "stop", usage=USAGE)) + sse.DONE
        reshape = [ForceFormat("id", 1, "m")]
        found = chunks(run(ChatPass(False, reshape=reshape), stream))
        self.assertNotIn("usage", found[0])

    def test_parts(self) -> None:
        """Content in parts counts as produced."""
        thinking = [{"type": "thinking", "thinking": [{"text": "hm"}]}]
        machine = ChatPass(False)
        stream = framed(chunk({"content": thinking}), STOP) + sse.DONE
        self.assertEqual(run(machine, stream), stream)
        self.assertEqual(machine.produced.text, "hm")
