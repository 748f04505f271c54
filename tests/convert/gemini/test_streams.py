"""Gemini streams to chat chunks and back."""

from __future__ import annotations

import base64
from typing import Any

from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from openai.lib.streaming._deltas import accumulate_delta
from openai.types.chat import ChatCompletionChunk
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import gemini
from knight_tw.convert.context import Context
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.wire import sse, top
from knight_tw.wire.gemini_parts import assemble
from tests.convert.streaming import chunks_of, events_of, objects_of, written

USAGE = {"promptTokenCount": 4, "candidatesTokenCount": 6, "totalTokenCount": 10}
USED = {"prompt_tokens": 4, "completion_tokens": 6, "total_tokens": 10}


def piece(
    *parts: dict[str, Any], usage: bool = False, **candidate: Any
) -> dict[str, Any]:
    """One object of a Gemini stream."""
    content = {"role": "model", "parts": list(parts)}
    found: dict[str, Any] = {
        "responseId": "r",
        "modelVersion": "g",
        "candidates": [{"index": 0, "content": content, **candidate}],
    }
    return {**found, "usageMetadata": USAGE} if usage else found


def call(**function: Any) -> dict[str, Any]:
    """A part with a call or a piece of one."""
    return {"functionCall": function}


def partial(path: str, more: bool = True, **value: Any) -> dict[str, Any]:
    """A part with a value for a place in a call's arguments."""
    entry = {"jsonPath": path, **value}
    if value.pop("goes_on", False):
        entry = {k: v for k, v in entry.items() if k != "goes_on"} | {
            "willContinue": True
        }
    return call(partialArgs=[entry], willContinue=more)


def chunks(
    *pieces: dict[str, Any], context: Context | None = None
) -> list[dict[str, Any]]:
    """The chunks for a stream, judged by OpenAI's own types."""
    found = chunks_of(gemini, list(pieces), context or Context(model="m", created=7))
    for chunk in found:
        ChatCompletionChunk.model_validate(chunk)
    return found


def assembled(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that OpenAI's own client puts together, and why it ended."""
    message: dict[str, Any] = {}
    ending: dict[str, Any] = {}
    for chunk in found:
        for choice in chunk["choices"]:
            message = accumulate_delta(message, choice["delta"])
            ending = {k: v for k, v in choice.items() if k != "delta"}
    for call in message.get("tool_calls", ()):
        del call["index"]
    message = {"refusal": None, **message, "content": message["content"] or None}
    return {**ending, "logprobs": None, "message": message}


def deltas(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the chunks of the first choice say."""
    choices = [c["choices"][0] for c in found if c["choices"]]
    return [choice["delta"] for choice in choices]


class ToChat(SynchronousTestCase):
    """Gemini's events as chunks."""

    def test_usage_may_come_late(self) -> None:
        """The end waits for it; what follows then does not count."""
        stream = gemini.StreamToX(Context(model="m"))
        events = events_of(
            [
                piece({"text": "x"}, finishReason="STOP"),
                {"usageMetadata": USAGE},
                piece({"text": "late"}),
            ]
        )
        found = [stream.feed(event) for event in events]
        self.assertEqual([len(chunks) for chunks in found], [2, 2, 0])
        self.assertEqual(found[1][0]["choices"][0]["native_finish_reason"], "STOP")
        self.assertEqual(found[1][1]["usage"], USED)
        self.assertTrue(stream.finished)
        self.assertEqual(stream.close(), [])

    def test_stream_that_breaks_off(self) -> None:
        """Without a reason it ends with `stop`, with calls `tool_calls`."""
        for part, wanted in (({"text": "x"}, "stop"), (call(name="f"), "tool_calls")):
            last = chunks(piece(part))[-1]["choices"][0]
            self.assertEqual(last["finish_reason"], wanted)
            self.assertNotIn("native_finish_reason", last)
        self.assertEqual(chunks(), [])

    def test_signed_thoughts(self) -> None:
        """Constants of an entry go out once; a signature is an entry of its own."""
        found = deltas(
            chunks(
                piece({"text": "a", "thought": True}),
                piece({"text": "b", "thought": True}),
                piece(
                    {"text": "", "thoughtSignature": "QUJD"},
                    finishReason="STOP",
                    usage=True,
                ),
            )
        )
        entries = [d["reasoning_details"][0] for d in found if "reasoning_details" in d]
        self.assertEqual(
            entries,
            [
                {
                    "type": "reasoning.text",
                    "text": "a",
                    "format": "google-gemini-v1",
                    "index": 0,
                },
                {"text": "b", "index": 0},
                {
                    "type": "reasoning.encrypted",
                    "data": "ko1.g.QUJD",
                    "format": "google-gemini-v1",
                    "index": 1,
                },
            ],
        )

    def test_calls_in_pieces(self) -> None:
        """Vertex's pieces open a call at once and give its arguments when complete."""
        found = deltas(
            chunks(
                piece(
                    {**call(name="f", willContinue=True), "thoughtSignature": "QUJD"}
                ),
                piece(partial("$.a.b[0]", stringValue="x", goes_on=True)),
                piece(partial("$.a.b[0]", stringValue="y")),
                piece(partial("$.a['c d']", numberValue=5)),
                piece(
                    partial("$.n", nullValue="NULL_VALUE"),
                    partial("$.t", boolValue=True),
                ),
                piece(partial("bad", stringValue="z"), partial("$.e")),
                piece(call()),
                piece(call()),
                piece(call(name="g", willContinue=True, args={"q": 1})),
                piece(call(name="h")),
                piece(
                    call(
                        name="i", partialArgs=[{"jsonPath": "$.x", "stringValue": "1"}]
                    ),
                    finishReason="STOP",
                    usage=True,
                ),
            )
        )
        calls = [d["tool_calls"][0] for d in found if "tool_calls" in d]
        self.assertEqual(
            [c["function"].get("name") for c in calls],
            ["f", None, "g", None, "h", "i", None],
        )
        self.assertEqual([c["index"] for c in calls], [0, 0, 1, 1, 2, 3, 3])
        self.assertEqual(
            calls[0]["extra_content"]["google"]["thought_signature"], "ko1.g.QUJD"
        )
        arguments = [c["function"]["arguments"] for c in calls]
        self.assertEqual(
            arguments,
            [
                "",
                '{"a":{"b":["xy"],"c d":5},"n":null,"t":true}',
                "",
                '{"q":1}',
                "{}",
                "",
                '{"x":"1"}',
            ],
        )

    def test_pieces_that_cannot_be(self) -> None:
        """A place that does not fit, or is too far, is a broken answer."""
        deep = "$" + ".a" * 101
        for paths in (("$.a[0]", "$.a.b"), ("$.a[200000]",), (deep,)):
            stream = gemini.StreamToX(Context(model="m"))
            pieces = [call(name="f", willContinue=True)]
            pieces += [partial(path, stringValue="x") for path in paths]
            pieces += (
                [partial("$.a.b", stringValue="y")] if paths[0] == "$.a[0]" else []
            )
            for event in events_of([piece(part) for part in pieces]):
                stream.feed(event)
            if paths[0] != "$.a[0]":
                self.assertIsInstance(stream.error, BadUpstreamBody)
                self.assertEqual(stream.close(), [])

    def test_candidates(self) -> None:
        """Each candidate has its own state, and all have to end."""
        context = Context(model="m")
        context.memory.x = {"n": 2}
        second = piece({"text": "y"}, index=1, finishReason="STOP", usage=True)
        found = chunks(
            piece({"text": "x"}, finishReason="STOP", usage=True),
            piece(call(name="f"), index=1),
            second,
            context=context,
        )
        reasons = {
            c["choices"][0]["index"]: c["choices"][0]["finish_reason"]
            for c in found
            if c["choices"]
        }
        self.assertEqual(reasons, {0: "stop", 1: "tool_calls"})
        many = [{"candidates": [{"index": n} for n in range(200)]}]
        self.assertEqual(len(chunks(*many)), 256)

    def test_errors(self) -> None:
        """The provider's error, a blocked prompt, broken JSON and failed tries."""
        for pieces, kind in (
            (
                [{"error": {"code": 503, "message": "m", "status": "UNAVAILABLE"}}],
                UpstreamRefused,
            ),
            ([{"promptFeedback": {"blockReason": "SAFETY"}}], InvalidRequest),
            ([piece(finishReason="MALFORMED_FUNCTION_CALL", usage=True)], EmptyAnswer),
            ([piece(finishReason="MALFORMED_RESPONSE")], EmptyAnswer),
        ):
            self.assertRaises(kind, chunks_of, gemini, pieces, Context(model="m"))
        stream = gemini.StreamToX(Context(model="m"))
        self.assertEqual(stream.feed(sse.Event(b"{", b"")), [])
        self.assertIsInstance(stream.error, BadUpstreamBody)
        self.assertEqual(stream.feed(sse.Event(b"{}", b"")), [])

    def test_what_comes_last(self) -> None:
        """Sources, numbered, the refusal and native parts stand before the reason."""
        grounding = {"groundingChunks": [{"web": {"uri": "https://a", "title": "A"}}]}
        found = chunks(
            piece(
                {"text": "x"},
                groundingMetadata=grounding,
                citationMetadata={"citationSources": [{"uri": "https://b"}]},
            ),
            piece(finishReason="SAFETY", finishMessage="why", usage=True),
            context=Context(model="m", native=True),
        )
        told = deltas(found)
        self.assertEqual(told[2]["annotations"][0]["index"], 0)
        self.assertEqual(told[2]["citations"][0]["index"], 0)
        self.assertEqual(told[3], {"refusal": "why"})
        self.assertEqual(told[4]["native_blocks"]["content"], [{"text": "x"}])

    def test_speech_and_likelihood(self) -> None:
        """Sound in groups of three bytes after a file's head; logprobs with chunks."""
        context = Context(model="m", created=7)
        context.memory.x = {"modalities": ["audio"], "audio": {"format": "wav"}}
        data = [b"\x01", b"\x02", b"\x03\x04"]
        mime = "audio/pcm;rate=16000"
        pieces = [
            piece(
                {"inlineData": {"mimeType": mime, "data": base64.b64encode(d).decode()}}
            )
            for d in data
        ]
        likely = {"chosenCandidates": [{"token": "a", "logProbability": -1}]}
        found = chunks(
            *pieces,
            piece(finishReason="STOP", logprobsResult=likely, usage=True),
            context=context,
        )
        sound = [d["audio"] for d in deltas(found) if "audio" in d]
        joined = base64.b64decode("".join(s.get("data", "") for s in sound))
        self.assertEqual((joined[:4], joined[44:]), (b"RIFF", b"\x01\x02\x03\x04"))
        self.assertEqual(int.from_bytes(joined[24:28], "little"), 16000)
        self.assertIn("id", sound[0])
        logprobs = [
            c["choices"][0]["logprobs"]
            for c in found
            if c["choices"] and "logprobs" in c["choices"][0]
        ]
        self.assertEqual(logprobs[0]["content"][0]["token"], "a")


class FromChat(SynchronousTestCase):
    """Chunks as Gemini's events."""

    def stream(
        self, *said: Any, usage: Any = None, reason: str | None = "stop"
    ) -> list[dict[str, Any]]:
        """The objects for some deltas, judged by Google's own types."""
        head = {"id": "c", "model": "up"}
        found = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in said]
        if reason:
            found.append(
                {
                    **head,
                    "choices": [{"index": 0, "delta": {}, "finish_reason": reason}],
                }
            )
        if usage:
            found.append({**head, "choices": [], "usage": usage})
        told = written(gemini, found, Context(model="m"))
        for value in told:
            types.GenerateContentResponse.model_validate(value)
        return told

    def parts(self, *said: Any) -> list[dict[str, Any]]:
        """All parts but those of the last object."""
        told = self.stream(*said)[:-1]
        return [p for value in told for p in value["candidates"][0]["content"]["parts"]]

    def test_reason_and_usage_come_last(self) -> None:
        """Earlier objects have neither; the end waits for the usage or the close."""
        for usage in (USED, None):
            told = self.stream(
                {"role": "assistant", "content": ""}, {"content": "Hi"}, usage=usage
            )
            self.assertEqual(len(told), 2)
            self.assertNotIn("finishReason", told[0]["candidates"][0])
            self.assertNotIn("usageMetadata", told[0])
            self.assertEqual(told[1]["candidates"][0]["finishReason"], "STOP")
            self.assertEqual("usageMetadata" in told[1], usage is not None)
            self.assertEqual(
                (told[1]["modelVersion"], told[1]["responseId"]), ("m", "c")
            )
        self.assertEqual(self.stream(reason=None), [])

    def test_reasoning(self) -> None:
        """Thoughts, their signatures, and what is encrypted, in their order."""
        wrapped = base64.b64encode(b"ko1.a.S").decode()
        claude = {"format": "anthropic-claude-v1", "index": 0}
        told = self.parts(
            {
                "reasoning_content": "t",
                "reasoning_details": [
                    {"type": "reasoning.text", "text": "t", **claude}
                ],
            },
            {"reasoning_details": [{"signature": "S", "index": 0}]},
            {
                "reasoning_details": [
                    {"type": "reasoning.encrypted", "data": "S", **claude, "index": 1}
                ]
            },
            {
                "reasoning_details": [
                    {
                        "type": "reasoning.encrypted",
                        "data": "ko1.g.QUJD",
                        "format": "google-gemini-v1",
                        "index": 2,
                    }
                ]
            },
            {"reasoning_details": [{"signature": "unknown", "index": 9}]},
        )
        self.assertEqual(
            told,
            [
                {"text": "t", "thought": True},
                {"text": "", "thought": True, "thoughtSignature": wrapped},
                {"thought": True, "thoughtSignature": wrapped},
                {"text": "", "thoughtSignature": "QUJD"},
            ],
        )

    def test_calls_are_whole(self) -> None:
        """Pieces are kept until the end; ids, names and signatures are the first."""
        signed = {"google": {"thought_signature": "ko1.g.QUJD"}}
        told = self.stream(
            {
                "tool_calls": [
                    {"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}
                ]
            },
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "a",
                        "extra_content": signed,
                        "function": {"name": "f", "arguments": '{"x"'},
                    }
                ]
            },
            {
                "tool_calls": [
                    {
                        "index": 0,
                        "id": "",
                        "function": {"name": None, "arguments": ":1}"},
                    }
                ]
            },
            {
                "tool_calls": [
                    {"id": "c", "type": "custom", "custom": {"name": "h", "input": "t"}}
                ]
            },
            reason="tool_calls",
        )
        self.assertEqual(len(told), 1)
        self.assertEqual(
            told[0]["candidates"][0]["content"]["parts"],
            [
                {
                    "functionCall": {"id": "a", "name": "f", "args": {"x": 1}},
                    "thoughtSignature": "QUJD",
                },
                {"functionCall": {"id": "b", "name": "g", "args": {}}},
                {"functionCall": {"id": "c", "name": "h", "args": {"input": "t"}}},
            ],
        )
        legacy = self.stream({"function_call": {"name": "f", "arguments": "{}"}})
        self.assertEqual(
            legacy[0]["candidates"][0]["content"]["parts"][0]["functionCall"]["name"],
            "f",
        )
        flood = [
            {
                "tool_calls": [
                    {"index": n, "function": {"name": "f"}} for n in range(1500)
                ]
            }
        ]
        self.assertEqual(
            len(self.stream(*flood)[0]["candidates"][0]["content"]["parts"]), 1000
        )

    def test_refusals(self) -> None:
        """A refusal is the text where there is none, and stands beside a filter."""
        told = self.stream({"refusal": "n"}, {"refusal": "o"})
        self.assertEqual(told[0]["candidates"][0]["content"]["parts"], [{"text": "no"}])
        told = self.stream({"content": "x"}, {"refusal": "no"}, reason="content_filter")
        last = told[1]["candidates"][0]
        self.assertEqual(
            (last["finishReason"], last["finishMessage"]), ("SAFETY", "no")
        )
        self.assertEqual(last["content"]["parts"], [{"text": ""}])

    def test_media_sources_likelihood(self) -> None:
        """Images, sound and logprobs go out at once, sources at the end."""
        url = "data:image/png;base64,iVBORw0KGgoAAAAA"
        told = self.parts(
            {"images": [{"image_url": {"url": url}}]},
            {"audio": {"data": "AAAA"}},
            {"audio": {"id": "x"}},
        )
        self.assertEqual(
            [p["inlineData"]["mimeType"] for p in told],
            ["image/png", "audio/L16;codec=pcm;rate=24000"],
        )
        cited = {
            "type": "url_citation",
            "url_citation": {"url": "https://a", "start_index": 0, "end_index": 1},
        }
        last = self.stream({"content": "xy"}, {"annotations": [cited]})[-1][
            "candidates"
        ][0]
        self.assertEqual(
            last["groundingMetadata"]["groundingSupports"][0]["segment"]["text"], "x"
        )
        token = {"token": "a", "logprob": -1}
        chunk = {
            "choices": [{"index": 0, "delta": {}, "logprobs": {"content": [token]}}]
        }
        told = written(gemini, [chunk], Context(model="m"))
        self.assertEqual(
            told[0]["candidates"][0]["logprobsResult"]["chosenCandidates"][0]["token"],
            "a",
        )

    def test_choices_are_bounded(self) -> None:
        """Choices beyond 128 are left out; after the end nothing comes."""
        chunk = {
            "choices": [
                {"index": n, "delta": {}, "finish_reason": "stop"} for n in range(200)
            ],
            "usage": USED,
        }
        stream = gemini.StreamFromX(Context(model="m"))
        told = objects_of([*stream.feed(chunk), *stream.feed(chunk), *stream.close()])
        self.assertEqual([len(value["candidates"]) for value in told], [128])


TEXT = st.text(min_size=1, max_size=8)
PARTS = st.lists(
    st.one_of(
        st.builds(lambda t: {"text": t}, TEXT),
        st.builds(lambda t: {"text": t, "thought": True}, TEXT),
        st.builds(lambda: {"text": "", "thoughtSignature": "QUJD"}),
        st.builds(lambda n: call(id=n, name="f", args={"a": n}), TEXT),
        st.builds(lambda t: {"executableCode": {"code": t}}, TEXT),
    ),
    min_size=1,
    max_size=8,
)


class Properties(SynchronousTestCase):
    """What holds for all streams."""

    @given(PARTS, st.lists(st.integers(1, 40), min_size=1, max_size=5))
    @settings(max_examples=60, deadline=None)
    def test_any_chunking(self, parts: list[dict[str, Any]], sizes: list[int]) -> None:
        """However the bytes are cut, the same chunks come out."""
        stream = [*map(piece, parts), piece(finishReason="STOP", usage=True)]
        data = b"".join(sse.encode(top.encode(value)) for value in stream)
        decoder, machine = sse.Decoder(), gemini.StreamToX(Context(model="m"))
        found, at, turn = [], 0, 0
        while at < len(data):
            size = sizes[turn % len(sizes)]
            for event in decoder.feed(data[at : at + size]):
                found += machine.feed(event)
            at, turn = at + size, turn + 1
        self.assertEqual(found, chunks(*stream, context=Context(model="m")))

    @given(PARTS)
    @settings(max_examples=100, deadline=None)
    def test_streamed_is_whole(self, parts: list[dict[str, Any]]) -> None:
        """A stream adds up to the conversion of the whole answer."""
        whole = piece(*parts, finishReason="STOP", usage=True)
        stream = [*map(piece, parts), piece(finishReason="STOP", usage=True)]
        context = Context(model="m", created=7)
        found = chunks(*stream, context=context)
        wanted = gemini.response_to_x(whole, context)
        self.assertEqual(assembled(found), wanted["choices"][0])
        self.assertEqual(found[-1]["usage"], wanted["usage"])

    @given(PARTS)
    @settings(max_examples=60, deadline=None)
    def test_written_is_whole(self, parts: list[dict[str, Any]]) -> None:
        """Chat to Gemini: the stream adds up to what the whole answer says."""
        stream = [*map(piece, parts), piece(finishReason="STOP", usage=True)]
        context = Context(model="m", created=7)
        told = written(gemini, chunks(*stream, context=context), context)
        got = assemble(told)
        types.GenerateContentResponse.model_validate(got)
        wanted = gemini.response_from_x(
            gemini.response_to_x(
                piece(*parts, finishReason="STOP", usage=True), context
            ),
            context,
        )
        self.assertEqual(told_by(got), told_by(wanted))


def told_by(answer: dict[str, Any]) -> Any:
    """Text, thoughts, calls, reason and usage of an answer."""
    candidate = answer["candidates"][0]
    parts = candidate["content"]["parts"]
    texts = [
        "".join(p.get("text", "") for p in parts if bool(p.get("thought")) == t)
        for t in (False, True)
    ]
    calls = [p["functionCall"] for p in parts if "functionCall" in p]
    return texts, calls, candidate["finishReason"], answer["usageMetadata"]
