"""Whole answers, Gemini's to chat and chat's to Gemini."""

from __future__ import annotations

import base64
from typing import Any

from google.genai import types
from openai.types.chat import ChatCompletion
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.gemini import response_from_x, response_to_x
from knight_tw.errors import (
    BadUpstreamBody,
    EmptyAnswer,
    InvalidRequest,
    UpstreamRefused,
)

PNG = "iVBORw0KGgoAAAAA"
PNG_URL = f"data:image/png;base64,{PNG}"
SAMPLES = base64.b64encode(bytes(range(10))).decode()
SPOKEN = {"mimeType": "audio/L16;codec=pcm;rate=24000", "data": SAMPLES}


def answer(*parts: dict[str, Any], **candidate: Any) -> dict[str, Any]:
    """A Gemini answer with one candidate."""
    content = {"role": "model", "parts": list(parts)}
    candidate = {"content": content, "finishReason": "STOP", "index": 0} | candidate
    return {"responseId": "r", "modelVersion": "gemini", "candidates": [candidate]}


def chat(value: dict[str, Any], context: Context | None = None) -> dict[str, Any]:
    """The chat completion for it, judged by OpenAI's own types."""
    found = response_to_x(value, context or Context(model="", created=7))
    ChatCompletion.model_validate(found)
    return found


def message(*parts: dict[str, Any], **known: Any) -> dict[str, Any]:
    """The message for some parts."""
    found: dict[str, Any] = chat(answer(*parts), Context(model="m", **known))
    return dict(found["choices"][0]["message"])


def gemini(context: Context | None = None, **choice: Any) -> dict[str, Any]:
    """The Gemini answer for one choice, judged by Google's own types."""
    usual = {"index": 0, "finish_reason": "stop", "message": {"content": "hi"}}
    x = {"id": "c", "model": "up", "choices": [usual | choice]}
    found = response_from_x(x, context or Context(model="m"))
    types.GenerateContentResponse.model_validate(found)
    return found


def parts(**said: Any) -> list[dict[str, Any]]:
    """The parts for a message."""
    found: list[dict[str, Any]] = gemini(message=said)["candidates"][0]["content"][
        "parts"
    ]
    return found


class ToChat(SynchronousTestCase):
    """Gemini's answer as a chat completion."""

    def test_texts_are_joined_as_they_are(self) -> None:
        """No separator, and a part that is a line break stays."""
        self.assertEqual(
            message({"text": "a"}, {"text": "\n"}, {"text": "b"})["content"], "a\nb"
        )

    def test_reasoning(self) -> None:
        """Thoughts in a row are one entry; signatures are entries of their own."""
        found = message(
            {"text": "a", "thought": True},
            {"text": "b", "thought": True, "thoughtSignature": "QUJD"},
            {"text": "c", "thought": True},
            {"text": "x", "thoughtSignature": "WFla"},
        )
        self.assertEqual((found["content"], found["reasoning_content"]), ("x", "abc"))
        self.assertEqual(
            [
                (d.get("text") or d["data"], d["index"])
                for d in found["reasoning_details"]
            ],
            [("ab", 0), ("ko1.g.QUJD", 1), ("c", 2), ("ko1.g.WFla", 3)],
        )

    def test_calls(self) -> None:
        """Calls get ids if they have none; names that were changed come back."""
        context = Context(model="m")
        context.memory.sent_names["_1"] = "1"
        value = answer(
            {"functionCall": {"name": "_1"}},
            {"functionCall": {"id": "x", "name": "g", "args": {"_arguments": "{bad"}}},
            {"functionCall": 5},
        )
        choice = chat(value, context)["choices"][0]
        first, second = choice["message"]["tool_calls"]
        self.assertRegex(first["id"], "^call_g_[0-9a-f]{16}$")
        self.assertEqual(first["function"], {"name": "1", "arguments": "{}"})
        self.assertEqual((second["id"], second["function"]["arguments"]), ("x", "{bad"))
        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertIsNone(choice["message"]["content"])

    def test_calls_in_pieces(self) -> None:
        """Pieces of a call, should they come in one answer, are put together."""
        value = [{"jsonPath": '$["a"]', "stringValue": "x"}]
        found = message(
            {"functionCall": {"name": "f", "willContinue": True}},
            {"functionCall": {"partialArgs": value, "willContinue": True}},
            {"functionCall": {"partialArgs": [{"jsonPath": "$.b!["}]}},
            {"functionCall": {"id": 5, "name": "g", "willContinue": True}},
        )
        calls = [call["function"] for call in found["tool_calls"]]
        self.assertEqual([c["arguments"] for c in calls], ['{"a":"x"}', "{}"])

    def test_images(self) -> None:
        """In the text, or beside it where the channel says so; drafts are left out."""
        image = {"inlineData": {"mimeType": "image/png", "data": PNG}}
        self.assertEqual(
            message({"text": "a"}, image)["content"], f"a![image]({PNG_URL})"
        )
        beside = message(
            {**image, "thought": True},
            image,
            settings={"gemini_image_output": "images"},
        )
        self.assertEqual(
            beside["images"], [{"type": "image_url", "image_url": {"url": PNG_URL}}]
        )
        self.assertIsNone(beside["content"])
        broken = answer({"inlineData": {"data": 5}})
        self.assertRaises(BadUpstreamBody, response_to_x, broken, Context(model="m"))
        odd = answer({"inlineData": 5})
        self.assertRaises(BadUpstreamBody, response_to_x, odd, Context(model="m"))

    def test_speech(self) -> None:
        """Samples become a WAV file, or stay samples; unasked they are linked."""
        for audio, size in (
            ({"format": "wav"}, 54),
            ({"format": "pcm16"}, 10),
            (None, 54),
        ):
            context = Context(model="m", created=7)
            context.memory.x = {"modalities": ["audio"], "audio": audio}
            value = answer({"inlineData": SPOKEN})
            found = chat(value, context)["choices"][0]["message"]["audio"]
            data = base64.b64decode(found["data"])
            self.assertEqual((len(data), data[-10:]), (size, bytes(range(10))))
            self.assertEqual((found["expires_at"], found["transcript"]), (3607, ""))
            if size == 54:
                self.assertEqual(int.from_bytes(data[40:44], "little"), 10)
        context = Context(model="m")
        context.memory.x = {"modalities": ["audio"]}
        mp3 = {"inlineData": {"mimeType": "audio/mp3", "data": "SUQzBAAA"}}
        found = chat(answer(mp3), context)["choices"][0]["message"]["audio"]
        self.assertEqual(found["data"], "SUQzBAAA")
        self.assertTrue(
            message({"inlineData": SPOKEN})["content"].startswith("[media](data:audio/")
        )

    def test_code_and_files(self) -> None:
        """Code is fenced on lines of its own, a file is linked."""
        found = message(
            {"text": "a"},
            {"executableCode": {"language": "LANGUAGE_UNSPECIFIED", "code": "x"}},
            {"codeExecutionResult": {"output": "1\n"}},
            {"text": "b"},
            {"fileData": {"fileUri": "gs://b/f", "displayName": "f"}},
            {"fileData": {}},
            {"unknown": 1},
            {"text": ""},
            {"text": "", "thought": True, "thoughtSignature": 5},
        )
        self.assertEqual(
            found["content"], "a\n```python\nx\n```\n```output\n1\n```\nb[f](gs://b/f)"
        )

    def test_reasons(self) -> None:
        """Gemini's word stays beside chat's; a filter says why in words."""
        for reason, wanted in (
            ("MAX_TOKENS", "length"),
            ("SAFETY", "content_filter"),
            ("NEW", "stop"),
            (None, "stop"),
        ):
            value = answer({"text": "x"}, finishReason=reason, finishMessage="why")
            choice = chat(value)["choices"][0]
            self.assertEqual(choice["finish_reason"], wanted)
            self.assertEqual(choice.get("native_finish_reason"), reason)
            refusal = "why" if wanted == "content_filter" else None
            self.assertEqual(choice["message"]["refusal"], refusal)

    def test_what_is_no_answer(self) -> None:
        """Errors, blocked prompts, nothing at all, and failed tries without content."""
        for value, kind, code in (
            (
                {
                    "error": {
                        "code": 429,
                        "message": "m",
                        "status": "RESOURCE_EXHAUSTED",
                    }
                },
                UpstreamRefused,
                "RESOURCE_EXHAUSTED",
            ),
            (
                {"promptFeedback": {"blockReason": "SAFETY"}},
                InvalidRequest,
                "prompt_blocked",
            ),
            ({"usageMetadata": {}}, EmptyAnswer, "empty_response"),
            (
                answer(finishReason="MALFORMED_FUNCTION_CALL"),
                EmptyAnswer,
                "empty_response",
            ),
        ):
            error = self.assertRaises(kind, chat, value)
            self.assertEqual(error.code, code)
        self.assertIsNone(chat(answer())["choices"][0]["message"]["content"])
        kept = chat(answer({"text": "x"}, finishReason="MALFORMED_RESPONSE"))
        self.assertEqual(kept["choices"][0]["finish_reason"], "stop")

    def test_head(self) -> None:
        """Id, time, model and every candidate."""
        value = answer({"text": "x"})
        value |= {
            "createTime": "2026-05-04T20:01:02.264968Z",
            "usageMetadata": {"trafficType": "X"},
        }
        value["candidates"].append({"index": 1, "content": {"parts": [{"text": "y"}]}})
        found = chat(value)
        self.assertEqual(
            (found["id"], found["created"], found["model"]),
            ("chatcmpl-r", 1777924862, "gemini"),
        )
        self.assertEqual(
            [c["message"]["content"] for c in found["choices"]], ["x", "y"]
        )
        self.assertNotIn("usage", found)
        plain = chat(
            {"candidates": [{"index": "x"}]},
            Context(model="m", created=7, request_id="q"),
        )
        self.assertEqual(
            (plain["id"], plain["created"], plain["model"]), ("chatcmpl-q", 7, "m")
        )

    def test_logprobs(self) -> None:
        """Chosen tokens with their rivals."""
        likely = {
            "chosenCandidates": [
                {"token": "é", "logProbability": -0.5},
                {"token": "b"},
            ],
            "topCandidates": [{"candidates": [{"token": "x", "logProbability": -1}]}],
        }
        found = chat(answer({"text": "x"}, logprobsResult=likely))["choices"][0][
            "logprobs"
        ]
        first, second = found["content"]
        self.assertEqual(
            (first["token"], first["logprob"], first["bytes"]), ("é", -0.5, [195, 169])
        )
        self.assertEqual(
            first["top_logprobs"], [{"token": "x", "logprob": -1, "bytes": [120]}]
        )
        self.assertEqual(second["top_logprobs"], [])

    def test_native_parts(self) -> None:
        """Clients that want them get Gemini's own parts, thoughts included."""
        given = [
            {"text": "t", "thought": True},
            {"text": "x", "thoughtSignature": "QUJD"},
        ]
        kept = message(*given, native=True)["native_blocks"]
        self.assertEqual(kept, {"format": "google-gemini-v1", "content": given})


class Sources(SynchronousTestCase):
    """Grounding and citations."""

    def grounded(self, *given: dict[str, Any], **metadata: Any) -> Any:
        """The annotations of an answer."""
        value = answer(*given, groundingMetadata=metadata)
        return chat(value)["choices"][0]["message"].get("annotations")

    def test_places_in_code_points(self) -> None:
        """Byte offsets in a part become code points of the content."""
        chunks = [
            {"web": {"uri": "https://a", "title": "A"}},
            {"maps": {}},
            {"web": {"uri": "https://b"}},
        ]
        for segment, start, end in (
            ({"startIndex": 2, "endIndex": 5, "text": "bcd"}, 1, 4),
            ({"partIndex": 1, "startIndex": 0, "endIndex": 2, "text": "ü"}, 4, 5),
            ({"startIndex": 90, "endIndex": 95, "text": "cd"}, 2, 4),
            ({"startIndex": 0, "endIndex": 1, "text": "zz"}, 0, 0),
            ({"endIndex": 3}, 0, 2),
            (None, 0, 0),
        ):
            support = {"segment": segment, "groundingChunkIndices": [0, 1, 2, 9, "x"]}
            found = self.grounded(
                {"text": "ébcd"},
                {"text": "ü!"},
                groundingChunks=chunks,
                groundingSupports=[support],
            )
            spans = [
                (e["url_citation"]["start_index"], e["url_citation"]["end_index"])
                for e in found
            ]
            self.assertEqual(spans, [(start, end)] * 2, segment)
            self.assertEqual([e["url_citation"]["title"] for e in found], ["A", ""])

    def test_pages_without_a_place(self) -> None:
        """They are listed with both indexes 0; other metadata says nothing."""
        found = self.grounded(
            {"text": "x"}, groundingChunks=[{"web": {"uri": "https://a", "title": "A"}}]
        )
        place = {"url": "https://a", "title": "A", "start_index": 0, "end_index": 0}
        self.assertEqual(found, [{"type": "url_citation", "url_citation": place}])
        self.assertIsNone(self.grounded({"text": "x"}, webSearchQueries=["q"]))
        self.assertIsNone(
            self.grounded({"text": "x"}, groundingChunks=5, groundingSupports=[{}])
        )

    def test_citations(self) -> None:
        """Gemini's own entries with their place, each once."""
        cited = {"startIndex": 2, "endIndex": 3, "uri": "https://a"}
        value = answer({"text": "éb"}, citationMetadata={"citations": [cited, cited]})
        found = chat(value)["choices"][0]["message"]["citations"]
        self.assertEqual(found, [{**cited, "start_index": 1, "end_index": 2}])

    def test_there_and_back(self) -> None:
        """Annotations become chunks and supports again; a page is listed once."""
        content = "ébcd"
        places = [
            ("https://a", "A", 1, 3),
            ("https://a", "A", 0, 0),
            ("https://b", None, 3, 4),
        ]
        entries = [
            {
                "type": "url_citation",
                "url_citation": {
                    "url": u,
                    "title": t,
                    "start_index": s,
                    "end_index": e,
                },
            }
            for u, t, s, e in places
        ]
        said = {
            "content": content,
            "annotations": [*entries, {"type": "file_citation"}],
        }
        found = gemini(message=said)["candidates"][0]["groundingMetadata"]
        self.assertEqual(
            found["groundingChunks"],
            [
                {"web": {"uri": "https://a", "title": "A"}},
                {"web": {"uri": "https://b", "title": ""}},
            ],
        )
        self.assertEqual(
            found["groundingSupports"],
            [
                {
                    "segment": {"startIndex": 2, "endIndex": 4, "text": "bc"},
                    "groundingChunkIndices": [0],
                },
                {
                    "segment": {"startIndex": 4, "endIndex": 5, "text": "d"},
                    "groundingChunkIndices": [1],
                },
            ],
        )
        listed = gemini(message={"content": "", "annotations": entries[1:2]})
        self.assertEqual(
            list(listed["candidates"][0]["groundingMetadata"]), ["groundingChunks"]
        )


class FromChat(SynchronousTestCase):
    """A chat completion as Gemini's answer."""

    def test_nothing_is_a_part(self) -> None:
        """An empty answer has one empty text."""
        for said in ({"content": None}, {"content": ""}, {}):
            self.assertEqual(parts(**said), [{"text": ""}])
        self.assertEqual(
            gemini(message=5)["candidates"][0]["content"]["parts"], [{"text": ""}]
        )

    def test_reasons(self) -> None:
        """The native word wins; a refusal stands in words where it is one."""
        for choice, wanted in (
            ({"finish_reason": "length"}, {"finishReason": "MAX_TOKENS"}),
            (
                {"finish_reason": "stop", "native_finish_reason": "RECITATION"},
                {"finishReason": "RECITATION"},
            ),
            (
                {
                    "finish_reason": "content_filter",
                    "native_finish_reason": "refusal",
                    "message": {"content": "x", "refusal": "why"},
                },
                {"finishReason": "SAFETY", "finishMessage": "why"},
            ),
            ({"message": {"content": None, "refusal": "no"}}, {"finishReason": "STOP"}),
        ):
            found = gemini(**choice)["candidates"][0]
            self.assertEqual(
                {k: v for k, v in found.items() if k.startswith("finish")}, wanted
            )
        self.assertEqual(parts(content=None, refusal="no"), [{"text": "no"}])

    def test_calls(self) -> None:
        """Ids, arguments that are no JSON, signatures, legacy and free-form calls."""
        signed = {"google": {"thought_signature": "ko1.g.QUJD"}}
        call = {
            "id": "1",
            "type": "function",
            "function": {"name": "f", "arguments": "{bad"},
            "extra_content": signed,
        }
        custom = {
            "type": "custom",
            "custom": {"name": "c", "input": "text"},
            "extra_content": {"google": {}},
        }
        self.assertEqual(
            parts(tool_calls=[call, custom]),
            [
                {
                    "functionCall": {
                        "id": "1",
                        "name": "f",
                        "args": {"_arguments": "{bad"},
                    },
                    "thoughtSignature": "QUJD",
                },
                {"functionCall": {"name": "c", "args": {"input": "text"}}},
            ],
        )
        legacy = parts(function_call={"name": "f", "arguments": "{}"})
        self.assertEqual(legacy, [{"functionCall": {"name": "f", "args": {}}}])

    def test_reasoning(self) -> None:
        """Signed as it was; foreign signatures are encoded once more."""
        wrapped = base64.b64encode(b"ko1.a.S").decode()
        text = {
            "type": "reasoning.text",
            "text": "t",
            "signature": "ko1.a.S",
            "format": "anthropic-claude-v1",
            "index": 0,
        }
        secret = {
            "type": "reasoning.encrypted",
            "data": "ko1.a.S",
            "format": "anthropic-claude-v1",
            "index": 1,
        }
        own = {
            "type": "reasoning.encrypted",
            "data": "ko1.g.QUJD",
            "format": "google-gemini-v1",
            "index": 2,
        }
        unknown = {
            "type": "reasoning.encrypted",
            "data": "S",
            "format": "else",
            "index": 3,
        }
        found = parts(
            content="x",
            reasoning_content="t",
            reasoning_details=[text, secret, own, unknown],
        )
        self.assertEqual(
            found,
            [
                {"text": "t", "thought": True, "thoughtSignature": wrapped},
                {"thought": True, "thoughtSignature": wrapped},
                {"text": "x", "thoughtSignature": "QUJD"},
            ],
        )
        empty = {"type": "reasoning.text", "index": 4}
        self.assertEqual(parts(content="x", reasoning_details=[empty]), [{"text": "x"}])
        bare = parts(content="x", reasoning_content="t", reasoning_details=[secret])
        self.assertEqual(bare[0], {"text": "t", "thought": True})

    def test_media(self) -> None:
        """Images and sound as bytes; links stay links, broken ones go."""
        images = [
            {"image_url": {"url": url}}
            for url in (
                PNG_URL,
                "https://a/x",
                "data:image/png;base64,AA.A",
                "",
                "data:x",
            )
        ]
        found = parts(content=None, images=images, audio={"data": SAMPLES})
        self.assertEqual(
            found,
            [
                {"inlineData": {"mimeType": "image/png", "data": PNG}},
                {"fileData": {"fileUri": "https://a/x"}},
                {"inlineData": {"mimeType": "audio/wav", "data": SAMPLES}},
            ],
        )

    def test_broken_media(self) -> None:
        """What is no base64 far behind its beginning is left out, too."""
        url = f"data:image/png;base64,{'A' * 80}.AAA"
        self.assertEqual(
            parts(content="x", images=[{"image_url": url}]), [{"text": "x"}]
        )

    def test_the_rest(self) -> None:
        """Logprobs, usage, names and native parts."""
        token = {
            "token": "a",
            "logprob": -1,
            "bytes": [97],
            "top_logprobs": [{"token": "b", "logprob": -2}],
        }
        found = gemini(logprobs={"content": [token]})
        candidate = found["candidates"][0]
        self.assertEqual(
            candidate["logprobsResult"]["topCandidates"][0]["candidates"][0]["token"],
            "b",
        )
        self.assertEqual((found["modelVersion"], found["responseId"]), ("m", "c"))
        self.assertNotIn("usageMetadata", found)
        bare = {"token": "a", "logprob": -1}
        plain = gemini(logprobs={"content": [bare]})["candidates"][0]["logprobsResult"]
        self.assertEqual(list(plain), ["chosenCandidates"])
        given = [{"text": "native"}]
        kept = {"format": "google-gemini-v1", "content": given}
        self.assertEqual(parts(content="x", native_blocks=kept), given)
