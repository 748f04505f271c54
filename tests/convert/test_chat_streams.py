"""Chat streams, both ways."""

from __future__ import annotations

from typing import Any

from openai.types.chat import ChatCompletionChunk
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import chat
from knight_tw.convert.context import Context, Memory
from knight_tw.errors import BadUpstreamBody, EmptyAnswer, UpstreamRefused
from knight_tw.wire import sse, top
from tests.convert.streaming import objects_of

Body = dict[str, Any]


def chunk(delta: Body, reason: str | None = None, **more: Any) -> Body:
    """A provider's chunk."""
    choice = {"index": 0, "delta": delta, "finish_reason": reason}
    head = {"id": "1", "object": "chat.completion.chunk", "created": 3, "model": "up"}
    return head | {"choices": [choice]} | more


def read(*events: Body | bytes, context: Context | None = None) -> list[Body]:
    """The chunks of the middle form, valid for OpenAI's client.

    Its type of streamed calls does not know the free-form ones.
    """
    machine = chat.StreamToX(context or Context("m"))
    found: list[Body] = []
    for event in events:
        data = event if isinstance(event, bytes) else top.encode(event)
        found += machine.feed(sse.Event(data, b""))
    found += machine.close()
    if machine.error is not None:
        raise machine.error
    for one in found:
        if not any("custom" in piece for piece in calls_of([one])):
            ChatCompletionChunk.model_validate(one, strict=True)
    return found


def call(index: int | None, arguments: str = "", **more: Any) -> Body:
    """A piece of a tool call."""
    name = {"name": more.pop("name")} if "name" in more else {}
    piece = {"function": name | {"arguments": arguments}} | more
    return {"tool_calls": [piece if index is None else {"index": index} | piece]}


def calls_of(chunks: list[Body]) -> list[Body]:
    """The pieces of calls in chunks."""
    choices = [choice for c in chunks for choice in c["choices"]]
    return [p for c in choices for p in c["delta"].get("tool_calls", ())]


class ToX(SynchronousTestCase):
    """From providers."""

    def test_usage_comes_last(self) -> None:
        """Wherever it is reported, and zeros do not replace it."""
        counts = {"prompt_tokens": 3, "completion_tokens": 4}
        zeros = {"prompt_tokens": 0}
        first = chunk({"content": "a"}, usage=counts)
        *_, end, usage = read(first, chunk({}, "stop", usage=zeros), b"[DONE]")
        self.assertEqual(end["choices"][0]["finish_reason"], "stop")
        self.assertEqual((usage["choices"], usage["usage"]["total_tokens"]), ([], 7))
        inner = chunk({"content": "a"})
        inner["choices"][0]["usage"] = counts
        self.assertEqual(read(inner)[-1]["usage"]["prompt_tokens"], 3)

    def test_head(self) -> None:
        """All chunks have the first one's head, with the client's model."""
        for model, wanted in (("m", "m"), ("", "up")):
            found = read(
                chunk({"content": "a"}),
                chunk({"content": "b"}, id="2"),
                context=Context(model),
            )
            heads = {(c["id"], c["created"], c["model"]) for c in found}
            self.assertEqual(heads, {("1", 3, wanted)})
        bare = {"choices": [{"delta": {"content": "a"}}]}
        self.assertTrue(read(bare)[0]["id"].startswith("chatcmpl-"))

    def test_reasons(self) -> None:
        """One for each choice: OpenAI's word, made up where there is none."""
        odd = read(chunk({"content": "a"}, "eos"), chunk({}, "stop"))
        choice = odd[0]["choices"][0]
        self.assertEqual(choice["native_finish_reason"], "eos")
        self.assertEqual(len(odd), 1)
        *_, end = read(chunk(call(0, id="1", name="f")))
        self.assertEqual(end["choices"][0]["finish_reason"], "tool_calls")

    def test_calls(self) -> None:
        """Id, type and name come once, however often a provider says them."""
        found = calls_of(
            read(
                chunk(call(3, '{"a"', id="1", name="f", type=None)),
                chunk(call(3, ":1}", id="1", name="f")),
                chunk(call(4, id="", name="g", extra_content={"google": {}})),
                chunk({"tool_calls": [{"index": 4, "function": {"arguments": {}}}]}),
            )
        )
        self.assertEqual([p["index"] for p in found], [0, 0, 1, 1])
        first = {"name": "f", "arguments": '{"a"'}
        wanted = {"index": 0, "id": "1", "type": "function", "function": first}
        self.assertEqual(found[0], wanted)
        self.assertEqual(found[1], {"index": 0, "function": {"arguments": ":1}"}})
        self.assertTrue(found[2]["id"].startswith("call_"))
        self.assertEqual(found[2]["extra_content"], {"google": {}})
        self.assertEqual(found[3]["function"], {"arguments": "{}"})

    def test_calls_without_an_index(self) -> None:
        """A new id is a new call, no id goes on with the last one."""
        found = calls_of(
            read(
                chunk(call(None, "{", id="1", name="f")),
                chunk(call(None, "}")),
                chunk(call(None, "{}", id="2", name="g")),
                chunk(call(None, "", id="1")),
            )
        )
        self.assertEqual([p["index"] for p in found], [0, 0, 1, 0])
        found = calls_of(read(chunk(call(None, "{", name="f")), chunk(call(None, "}"))))
        self.assertEqual([p["index"] for p in found], [0, 0])

    def test_legacy_and_free_form_calls(self) -> None:
        """Both are tool calls."""
        legacy = {"function_call": {"name": "f", "arguments": "{}"}}
        (piece,) = calls_of(read(chunk(legacy)))
        self.assertEqual(piece["function"], legacy["function_call"])
        custom = {"index": 0, "id": "1", "custom": {"name": "c", "input": "x"}}
        (piece,) = calls_of(read(chunk({"tool_calls": [custom]})))
        self.assertEqual(piece, custom | {"type": "custom"})

    def test_odd_chunks(self) -> None:
        """Whole answers at the end, empty deltas and odd choices say nothing."""
        done = chunk({}, "stop") | {"object": "chat.completion.done"}
        done["choices"][0] |= {"delta": {"content": "ab"}}
        quiet = chunk({"content": None})
        logged = chunk({"content": "b"})
        logged["choices"][0]["logprobs"] = {"content": []}
        odd = {"choices": [{"index": "x", "delta": 3}], "id": None}
        found = read(b"", chunk({"content": "a"}), quiet, logged, odd, done)
        texts = [c["choices"][0]["delta"].get("content") for c in found]
        self.assertEqual(texts, ["a", "b", None])
        self.assertIn("logprobs", found[1]["choices"][0])

    def test_failures(self) -> None:
        """Errors, nonsense and nothing at all are failures, and nothing follows."""
        self.assertRaises(UpstreamRefused, read, {"error": {"message": "x"}})
        self.assertRaises(BadUpstreamBody, read, b"{", chunk({"content": "a"}))
        self.assertRaises(EmptyAnswer, read)
        self.assertRaises(EmptyAnswer, read, b"[DONE]")

    def test_the_end_is_the_end(self) -> None:
        """Nothing counts after `[DONE]`."""
        found = read(chunk({"content": "a"}), b"[DONE]", chunk({"content": "b"}))
        self.assertEqual(len(found), 2)


class FromX(SynchronousTestCase):
    """To clients."""

    def write(self, *chunks: Body, context: Context | None = None) -> list[bytes]:
        """The events for chunks of the middle form."""
        machine = chat.StreamFromX(context or Context("m"))
        pieces = [piece for one in chunks for piece in machine.feed(one)]
        self.assertNotEqual(machine.close() if not chunks else [b""], [])
        return [*pieces, *machine.close()]

    def test_usage(self) -> None:
        """Clients that ask for it get it before `[DONE]`, and null before that."""
        usage = {"id": "1", "choices": [], "usage": {"prompt_tokens": 1}}
        pieces = self.write(chunk({"content": "a"}), usage)
        self.assertIn(b'"usage":null', pieces[0])
        self.assertEqual(objects_of(pieces[1:2]), [usage])
        self.assertEqual(pieces[2:], [sse.DONE])
        quiet = Context("m", include_usage=False)
        pieces = self.write(chunk({"content": "a"}), usage, context=quiet)
        self.assertNotIn(b"usage", b"".join(pieces))
        self.assertEqual(len(pieces), 2)

    def test_nothing(self) -> None:
        """No chunk, no answer; the end is written once."""
        machine = chat.StreamFromX(Context("m"))
        self.assertEqual(machine.close(), [])
        machine.feed(chunk({"content": "a"}))
        self.assertEqual(machine.close(), [sse.DONE])
        self.assertEqual(machine.close(), [])

    def test_native_blocks(self) -> None:
        """Only clients that ask for them get them; the chunk goes with them."""
        kept = chunk({"native_blocks": {}})
        self.assertEqual(len(self.write(kept)), 1)
        native = Context("m", native=True)
        self.assertEqual(len(self.write(kept, context=native)), 2)

    def test_free_form_calls(self) -> None:
        """They are written whole before the reason; other calls go on as they come."""
        context = Context("m", memory=Memory(custom_tools={"c"}))
        pieces = self.write(
            chunk(call(0, '{"input"', id="1", name="c", type="function")),
            chunk(call(1, "{}", id="2", name="f", type="function")),
            chunk(call(0, ':"x"}')),
            chunk({}, "tool_calls"),
            context=context,
        )
        first, second, _ = objects_of(pieces)
        self.assertEqual(calls_of([first])[0]["id"], "2")
        custom = {"name": "c", "input": "x"}
        wanted = {"index": 0, "id": "1", "type": "custom", "custom": custom}
        self.assertEqual(calls_of([second]), [wanted])
        pieces = self.write(chunk(call(0, "", id="1", name="c")), context=context)
        self.assertEqual(calls_of(objects_of(pieces))[0]["type"], "custom")

    def test_other_choices_keep_their_calls(self) -> None:
        """The end of one choice does not write the calls of another."""
        context = Context("m", memory=Memory(custom_tools={"c"}))
        second = chunk(call(0, "", id="1", name="c"))
        second["choices"][0]["index"] = 1
        pieces = self.write(second, chunk({}, "stop"), context=context)
        kinds = [len(calls_of([one])) for one in objects_of(pieces)]
        self.assertEqual(kinds, [0, 1])

    def test_legacy_clients(self) -> None:
        """They get the first call as `function_call`."""
        context = Context("m", memory=Memory(legacy_functions=True))
        pieces = self.write(
            chunk(call(0, "{}", id="1", name="f")),
            chunk(call(1, "{}", id="2", name="g")),
            chunk({}, "tool_calls"),
            context=context,
        )
        first, end = objects_of(pieces)
        wanted = {"function_call": {"name": "f", "arguments": "{}"}}
        self.assertEqual(first["choices"][0]["delta"], wanted)
        self.assertEqual(end["choices"][0]["finish_reason"], "function_call")
