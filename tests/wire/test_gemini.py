"""Gemini clients on Gemini channels: requests, whole answers and streams."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from google.genai import types
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)
from knight_tw.records import Usage
from knight_tw.wire import gemini, sse
from knight_tw.wire.gemini import GeminiPass
from knight_tw.wire.gemini_array import ArrayForm, JsonArray
from knight_tw.wire.gemini_parts import assemble
from knight_tw.wire.gemini_usage import read_metadata, searches_in, to_metadata

COUNTED = {"promptTokenCount": 9, "candidatesTokenCount": 4, "totalTokenCount": 13}
READ = Usage(prompt=9, completion=4, total=13)
ERROR = {"error": {"code": 503, "message": "busy", "status": "UNAVAILABLE"}}


def piece(*parts: Any, usage: Any = None, **candidate: Any) -> dict[str, Any]:
    """One object of a stream, or a whole answer."""
    content = {"parts": list(parts), "role": "model"}
    found: dict[str, Any] = {
        "candidates": [{"content": content, **candidate}],
        "modelVersion": "up",
        "responseId": "r",
    }
    return {**found, "usageMetadata": usage} if usage else found


def encoded(value: Any) -> bytes:
    """JSON as Google writes it: with blanks."""
    return json.dumps(value, ensure_ascii=False).encode()


def events(*values: Any) -> list[sse.Event]:
    """A stream's events."""
    decoder = sse.Decoder()
    data = b"".join(sse.encode(encoded(value)) for value in values)
    return [*decoder.feed(data), *decoder.close()]


HI = piece({"text": "Hi"})
END = piece({"text": "!"}, usage=COUNTED, finishReason="STOP")


def run(machine: Any, *values: Any) -> list[bytes]:
    """What a machine makes of a stream, its end included."""
    told = [out for event in events(*values) for out in machine.feed(event)]
    return [*told, *machine.close()]


class Requests(SynchronousTestCase):
    """What is read of a request."""

    def body(self, **members: Any) -> Any:
        """An undecoded body."""
        return {n: msgspec.Raw(msgspec.json.encode(v)) for n, v in members.items()}

    def test_what_an_action_needs(self) -> None:
        """Each action needs its own members; unknown actions need one of two."""
        for action, members in (
            ("generateContent", {"contents": [{}]}),
            ("countTokens", {"generate_content_request": {"contents": []}}),
            ("embedContent", {"content": {"parts": []}}),
            ("batchEmbedContents", {"requests": [{}]}),
            ("predict", {"instances": [{}]}),
            ("else", {"requests": [{}]}),
        ):
            gemini.validate(self.body(**members), action)
            error = self.assertRaises(InvalidRequest, gemini.validate, {}, action)
            self.assertEqual(error.param, gemini.NEEDED.get(action, ("contents",))[0])

    def test_limits(self) -> None:
        """Limits and numbers of candidates in both spellings, within bounds."""
        for config, limit, number in (
            ({"maxOutputTokens": 5, "candidateCount": 2}, 5, 2),
            ({"max_output_tokens": 5, "candidate_count": 2}, 5, 2),
            ({}, None, 1),
            (None, None, 1),
        ):
            for name in ("generationConfig", "generation_config"):
                body = self.body(**{name: config})
                self.assertEqual(gemini.output_limit(body), limit)
                self.assertEqual(gemini.choice_count(body), number)
        for config, param in (
            ({"maxOutputTokens": -1}, "generationConfig.maxOutputTokens"),
            ({"candidate_count": 999}, "generationConfig.candidate_count"),
            (5, "generationConfig"),
        ):
            body = self.body(contents=[{}], generationConfig=config)
            error = self.assertRaises(InvalidRequest, gemini.validate, body)
            self.assertEqual(error.param, param)

    def test_declined_thinking(self) -> None:
        """A budget of zero declines to think, in both spellings."""
        for config, wanted in (
            ({"thinkingConfig": {"thinkingBudget": 0}}, True),
            ({"thinking_config": {"thinking_budget": 0}}, True),
            ({"thinkingConfig": {"thinkingBudget": 5}}, False),
            ({"thinkingConfig": {"thinkingBudget": False}}, False),
            ({"thinkingConfig": 5}, False),
            ({}, False),
        ):
            body = self.body(generationConfig=config)
            self.assertEqual(gemini.declines_thinking(body), wanted)


class Usages(SynchronousTestCase):
    """`usageMetadata`."""

    def test_everything(self) -> None:
        """Tools count as prompt, thoughts as completion, kinds are told apart."""
        metadata = {
            "promptTokenCount": 10,
            "toolUsePromptTokenCount": 5,
            "cachedContentTokenCount": 4,
            "candidatesTokenCount": 7,
            "thoughtsTokenCount": 3,
            "totalTokenCount": 25,
            "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 2}],
            "toolUsePromptTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
            "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 1}],
            "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 6}],
        }
        self.assertEqual(
            read_metadata(metadata, 2),
            Usage(
                prompt=15,
                completion=10,
                cached=4,
                reasoning=3,
                image_out=6,
                audio_in=3,
                cached_audio=1,
                total=25,
                tool_calls={"google_search": 2},
            ),
        )

    def test_little(self) -> None:
        """A total alone tells the completion; zeros and nothing are no usage."""
        known = read_metadata({"promptTokenCount": 3, "totalTokenCount": 10})
        self.assertEqual(known, Usage(prompt=3, completion=7, total=10))
        for metadata in (None, {}, {"promptTokenCount": 0}, {"trafficType": "X"}):
            self.assertIsNone(read_metadata(metadata))

    def test_searches(self) -> None:
        """Queries are counted; pages without a query are one search."""
        for grounding, number in (
            ({"webSearchQueries": ["a", "b"]}, 2),
            ({"groundingChunks": [{}]}, 1),
            ({"webSearchQueries": 5}, 0),
            (None, 0),
        ):
            self.assertEqual(searches_in(grounding), number)

    def test_written(self) -> None:
        """Counts of our own in Google's words."""
        for usage in (READ, Usage(prompt=9, completion=4, reasoning=1)):
            metadata = to_metadata(usage)
            types.GenerateContentResponseUsageMetadata.model_validate(metadata)
            back = read_metadata(metadata)
            assert back is not None
            self.assertEqual((back.prompt, back.completion), (9, 4))
            self.assertEqual("thoughtsTokenCount" in metadata, bool(usage.reasoning))


class Whole(SynchronousTestCase):
    """Whole answers."""

    def test_bytes_stay(self) -> None:
        """An answer goes on as it came, and is read on the way."""
        call = {"functionCall": {"name": "f", "args": {"a": 1}}}
        odd = {"functionCall": {"name": 5}}
        body = encoded(
            piece({"text": "Hi"}, call, odd, usage=COUNTED, finishReason="STOP")
        )
        found = gemini.read_answer(body)
        self.assertEqual((found.body, found.usage), (body, READ))
        self.assertEqual(found.produced.text, 'Hif{"a": 1}')
        self.assertEqual(found.finish_reasons, ("STOP",))
        plain = gemini.read_answer(encoded({**HI, "candidates": [{}]}))
        self.assertEqual((plain.usage, plain.finish_reasons), (None, ("",)))

    def test_mapped_model(self) -> None:
        """Only the model's name changes, and only where there is one."""
        body = encoded({"candidates": [{"x": 1.50}], "modelVersion": "up"})
        shown = gemini.read_answer(body, model="shown").body
        self.assertEqual(json.loads(shown)["modelVersion"], "shown")
        self.assertIn(b'[{"x": 1.5}]', shown)
        bare = encoded({"candidates": [{}]})
        self.assertEqual(gemini.read_answer(bare, model="shown").body, bare)

    def test_blocked_prompts_are_answers(self) -> None:
        """The client is told as Gemini tells it."""
        body = encoded({"promptFeedback": {"blockReason": "SAFETY"}})
        self.assertEqual(gemini.read_answer(body).body, body)

    def test_what_is_no_answer(self) -> None:
        """Errors, nothing, and what cannot be read."""
        for body, kind in (
            (b" ", EmptyAnswer),
            (b"{}", EmptyAnswer),
            (encoded(ERROR), UpstreamRefused),
            (encoded([ERROR]), UpstreamRefused),
            (encoded({"candidates": 5}), BadUpstreamBody),
            (b"{", BadUpstreamBody),
        ):
            self.assertRaises(kind, gemini.read_answer, body)

    def test_other_actions(self) -> None:
        """Their bytes stay; what they report is read."""
        body = encoded({"embedding": {"values": [1]}, "usageMetadata": COUNTED})
        found = gemini.read_other(body)
        self.assertEqual((found.body, found.usage), (body, READ))
        for bad, kind in ((b"", EmptyAnswer), (encoded(ERROR), UpstreamRefused)):
            self.assertRaises(kind, gemini.read_other, bad)
        odd = encoded({"candidates": 5})
        self.assertEqual(gemini.read_other(odd).usage, None)


class Streams(SynchronousTestCase):
    """Streams on their way."""

    def test_bytes_stay(self) -> None:
        """Events go on as they came; the last usage counts."""
        first = {**HI, "usageMetadata": {"promptTokenCount": 9}}
        machine = GeminiPass()
        told = run(machine, first, END, HI)
        self.assertEqual(told, [sse.encode(encoded(v)) for v in (first, END)])
        self.assertEqual((machine.usage, machine.events), (READ, 2))
        self.assertTrue(machine.began and machine.finished)
        self.assertEqual(machine.produced.text, "Hi!")
        self.assertEqual(machine.finish_reasons, {0: "STOP"})

    def test_mapped_model(self) -> None:
        """Each event shows the client's name."""
        for out in run(GeminiPass("shown"), HI, END):
            self.assertEqual(json.loads(out[6:])["modelVersion"], "shown")

    def test_usage_may_come_late(self) -> None:
        """The end is there only when the usage is."""
        machine = GeminiPass()
        told = run(
            machine,
            piece({"text": "x"}, finishReason="STOP"),
            {"usageMetadata": COUNTED},
        )
        self.assertEqual((len(told), machine.usage), (2, READ))
        self.assertTrue(machine.finished)

    def test_all_candidates_have_to_end(self) -> None:
        """With several candidates the first one's end is not the last."""
        machine = GeminiPass(candidates=2)
        told = run(
            machine,
            END,
            piece({"text": "y"}, index=1),
            piece(index=1, finishReason="STOP", usage=COUNTED),
        )
        self.assertEqual(len(told), 3)
        many = {"candidates": [{"index": n} for n in range(200)]}
        flooded = GeminiPass()
        run(flooded, many)
        self.assertEqual(len(flooded.finish_reasons), 128)

    def test_stream_that_breaks_off(self) -> None:
        """Open candidates are ended properly, with the usage there is."""
        for machine, usage, counted in (
            (GeminiPass(), {"usageMetadata": COUNTED}, None),
            (GeminiPass("shown"), {}, READ),
            (GeminiPass(), {}, None),
        ):
            for event in events({**HI, **usage}):
                machine.feed(event)
            (last,) = machine.close(counted)
            answer = json.loads(last[6:])
            types.GenerateContentResponse.model_validate(answer)
            self.assertEqual(answer["candidates"][0]["finishReason"], "STOP")
            self.assertEqual(
                answer.get("usageMetadata"), COUNTED if usage or counted else None
            )
            self.assertEqual(machine.close(), [])
        silent = GeminiPass()
        run(silent, {"candidates": [{"index": 0}]})
        self.assertEqual((silent.began, silent.close()), (False, []))
        bare = GeminiPass()
        run(bare, {"candidates": [{"content": {"parts": [{"text": "x"}]}}]})
        self.assertTrue(bare.finished)

    def test_other_events(self) -> None:
        """Errors are raised; odd objects and blocked prompts go on; `[DONE]` ends."""
        for data, kind in (
            (encoded(ERROR), UpstreamRefused),
            (b"{", BadUpstreamBody),
            (b"[1,2]", BadUpstreamBody),
        ):
            self.assertRaises(kind, GeminiPass().feed, sse.Event(data, data))
        machine = GeminiPass()
        for value in ({"candidates": 5}, {"promptFeedback": {"blockReason": "X"}}):
            (event,) = events(value)
            self.assertEqual(machine.feed(event), [event.raw])
        self.assertTrue(machine.began)
        self.assertEqual(machine.feed(sse.Event(b" ", b"")), [])
        self.assertEqual(machine.feed(sse.Event(b"[DONE]", b"")), [])
        self.assertTrue(machine.finished)

    def test_searches_are_counted(self) -> None:
        """The last word of each candidate about its searches counts."""
        machine = GeminiPass()
        queries = {"webSearchQueries": ["a"]}
        more = {"webSearchQueries": ["a", "b"]}
        run(
            machine,
            piece({"text": "x"}, groundingMetadata=queries),
            piece(groundingMetadata=more, usage=COUNTED, finishReason="STOP"),
        )
        assert machine.usage is not None
        self.assertEqual(machine.usage.tool_calls, {"google_search": 2})

    def test_assembled(self) -> None:
        """A stream's objects add up to the whole answer."""
        signed = {"text": "", "thoughtSignature": "QUJD"}
        thought = {"text": "t", "thought": True}
        whole = assemble(
            [
                piece(thought),
                piece(thought),
                HI,
                HI,
                piece(signed),
                piece({"text": "n"}),
                END,
            ]
        )
        types.GenerateContentResponse.model_validate(whole)
        self.assertEqual(
            whole["candidates"][0]["content"]["parts"],
            [
                {"text": "tt", "thought": True},
                {"text": "HiHi", "thoughtSignature": "QUJD"},
                {"text": "n!"},
            ],
        )
        self.assertEqual(whole["candidates"][0]["finishReason"], "STOP")
        self.assertEqual(whole["usageMetadata"], COUNTED)
        self.assertEqual(
            assemble([{"promptFeedback": {}, "x": None}]), {"promptFeedback": {}}
        )
        two = assemble([{"candidates": [{"index": "x", "content": 5, "y": None}]}])
        self.assertEqual(two, {"candidates": [{"index": "x", "content": 5}]})


class Arrays(SynchronousTestCase):
    """Streams as one JSON array."""

    @given(st.integers(0, 4))
    @settings(max_examples=10, deadline=None)
    def test_an_array(self, number: int) -> None:
        """However many events there are, the pieces are one array."""
        values = [HI] * number + [END] * bool(number)
        machine = ArrayForm(GeminiPass())
        told = b"".join(run(machine, *values))
        self.assertEqual(json.loads(told), values)
        if number:
            self.assertIn(b"},\n{", told)
            self.assertEqual((machine.usage, machine.events), (READ, number + 1))
            self.assertTrue(machine.began and machine.finished)
            self.assertEqual(machine.produced.text, "Hi" * number + "!")

    def test_errors_are_the_last_element(self) -> None:
        """A stream that breaks off is an array all the same."""
        machine = ArrayForm(GeminiPass())
        (event,) = events(HI)
        told = [*machine.feed(event), *machine.failed(sse.encode(encoded(ERROR)))]
        self.assertEqual(json.loads(b"".join(told)), [HI, ERROR])

    def test_nothing(self) -> None:
        """No event is an empty array."""
        self.assertEqual(JsonArray().close(), b"[]")
