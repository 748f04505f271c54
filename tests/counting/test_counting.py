"""Tests of knight_tw.counting: texts and whole request bodies."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from types import SimpleNamespace
from typing import Any
from unittest import SkipTest

import msgspec
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import counting
from knight_tw.counting import encodings, prompts
from knight_tw.records import Dialect, Mode

MODEL = "gpt-4o"
HELLO = "hello world, this is a test"
"""Seven tokens."""


def raw(body: Any) -> dict[str, Raw]:
    return msgspec.json.decode(msgspec.json.encode(body), type=dict[str, Raw])


def estimate(
    body: Any,
    mode: Mode = Mode.CHAT,
    dialect: Dialect = Dialect.CHAT,
    model: str = MODEL,
    media: bool = True,
) -> int:
    return counting.estimate(raw(body), mode, dialect, model, media=media)


class TextTests(SynchronousTestCase):
    def test_known_counts(self) -> None:
        """Counts are those of the published vocabularies."""
        for text, model, tokens in (
            (HELLO, "gpt-4o", 7),
            ("", "gpt-4o", 0),
            ("antidisestablishmentarianism", "gpt-4", 6),
            ("antidisestablishmentarianism", "gpt-4o", 6),
            ("お誕生日おめでとう", "gpt-4", 9),
            ("お誕生日おめでとう", "gpt-4o", 8),
            ("<|endoftext|>", "gpt-4o", 7),
        ):
            self.assertEqual(counting.estimate_text(text, model), tokens, (text, model))

    def test_loaded_once(self) -> None:
        """A vocabulary is built once."""
        counting.load("gpt-4o")
        self.assertIs(
            encodings.encoding("o200k_base"), encodings.encoding("o200k_base")
        )

    def test_loaded_once_by_threads(self) -> None:
        """Threads that need one at the same time share it: each would take memory."""
        made: list[str] = []

        def slowly(name: str, **options: Any) -> SimpleNamespace:
            made.append(name)
            time.sleep(0.05)
            return SimpleNamespace(**options)

        self.patch(encodings, "_built", cache(encodings._built.__wrapped__))
        self.patch(tiktoken, "Encoding", slowly)
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(encodings.encoding, ["cl100k_base"] * 4))
        self.assertEqual(made, ["cl100k_base"])
        self.assertEqual({id(one) for one in found}, {id(found[0])})

    def test_vocabulary_of_a_model(self) -> None:
        """Each model has its vocabulary, unknown ones the newest."""
        for model, name in (
            ("gpt-4o-mini", "o200k_base"),
            ("o3", "o200k_base"),
            ("gpt-oss-120b", "o200k_base"),
            ("gpt-4-turbo", "cl100k_base"),
            ("text-embedding-3-small", "cl100k_base"),
            ("text-davinci-003", "cl100k_base"),
            ("claude-opus-5", "o200k_base"),
        ):
            self.assertEqual(encodings.name_for(model), name, model)

    def test_beginning_of_a_text(self) -> None:
        """Of an answer kept in part the rest counts in proportion, rounded up."""
        self.assertEqual(counting.estimate_text(HELLO, MODEL, len(HELLO) * 2), 14)
        self.assertEqual(counting.estimate_text(HELLO, MODEL, len(HELLO)), 7)
        self.assertEqual(counting.estimate_text("", MODEL, 10), 0)

    def test_beyond_the_limit(self) -> None:
        """Beyond the limit texts count in proportion, however many there are."""
        self.patch(counting, "MAX_COUNTED", 100)
        long = "word " * 40
        self.assertApproximates(counting.estimate_text(long, MODEL), 41, 2)
        body = {"input": ["word " * 20, "word " * 20, "word " * 20]}
        self.assertApproximates(estimate(body, Mode.EMBEDDINGS), 63, 4)

    def test_damaged_file(self) -> None:
        """A rank file that was changed is not used."""
        bad = encodings._Vocabulary("0" * 64, "x")
        self.patch(encodings, "_VOCABULARIES", {"cl100k_base": bad})
        with self.assertRaises(encodings.RanksDamaged):
            encodings._built.__wrapped__("cl100k_base")

    def test_without_a_network(self) -> None:
        """The first count of a process needs no connection."""
        if subprocess.run(["unshare", "-rn", "true"], check=False).returncode:
            raise SkipTest("this system cannot take the network away")
        program = (
            "from knight_tw import counting; counting.load();"
            f"print(counting.estimate_text({HELLO!r}, 'gpt-4o'))"
        )
        command = ["unshare", "-rn", sys.executable, "-c", program]
        output = subprocess.run(command, check=True, capture_output=True).stdout
        self.assertEqual(output.strip(), b"7")

    @settings(max_examples=40, deadline=None)
    @given(st.text(max_size=200))
    def test_a_token_is_at_least_a_byte(self, text: str) -> None:
        """No text has more tokens than bytes."""
        tokens = counting.estimate_text(text, MODEL)
        self.assertLessEqual(tokens, len(text.encode()))
        self.assertEqual(tokens == 0, text == "")


class ChatTests(SynchronousTestCase):
    def test_messages(self) -> None:
        """A message costs its frame, role, name and text, the answer its opening."""
        one = {"messages": [{"role": "user", "content": HELLO}]}
        self.assertEqual(estimate(one), 3 + 3 + 1 + 7)
        named = {"messages": [{"role": "user", "name": "hello", "content": None}]}
        self.assertEqual(estimate(named), 3 + 3 + 1 + 1)

    def test_parts(self) -> None:
        """Texts in parts count, unknown parts do not."""
        parts = [{"type": "text", "text": HELLO}, {"type": "new"}, 5, HELLO]
        body = {"messages": [{"content": parts}, "odd"]}
        self.assertEqual(estimate(body), 3 + 3 + 14)

    def test_calls_and_tools(self) -> None:
        """Calls count by name and arguments, tools by their JSON."""
        call = {"function": {"name": "hello", "arguments": HELLO}}
        custom = {"custom": {"name": "hello", "input": HELLO}}
        body = {
            "messages": [{"tool_calls": [call, custom], "reasoning_content": HELLO}]
        }
        self.assertEqual(estimate(body), 3 + 3 + 7 + 2 * 8)
        legacy = {"messages": [{"function_call": call["function"]}]}
        self.assertEqual(estimate(legacy), 3 + 3 + 8)
        function = {"name": "f", "parameters": {"type": "object"}}
        plain = counting.estimate_text(msgspec.json.encode(function).decode(), MODEL)
        for tools in (
            {"tools": [{"type": "function", "function": function}]},
            {"functions": [function]},
            {"response_format": {"type": "json_schema", "json_schema": function}},
        ):
            self.assertEqual(estimate({"messages": [], **tools}), 3 + plain)

    def test_pictures_and_sound(self) -> None:
        """Pictures count by size and detail, sound by its length, files by the page."""
        for part, tokens in (
            ({"type": "image_url", "image_url": {"url": "https://x/y.png"}}, 765),
            ({"type": "image_url", "image_url": {"url": "x", "detail": "low"}}, 85),
            ({"type": "image_url", "image_url": "https://x/y.png"}, 765),
            ({"type": "input_audio", "input_audio": {"data": "A" * 64_000,
                                                     "format": "wav"}}, 28),
            ({"type": "input_audio", "input_audio": {}}, 0),
            ({"type": "input_audio"}, 0),
            ({"type": "file", "file": {"file_data": "A" * 200_000}}, 3 * 258),
            ({"type": "file", "file": {"file_id": "f"}}, 0),
        ):  # fmt: skip
            body = {"messages": [{"content": [part]}]}
            self.assertEqual(estimate(body), 6 + tokens, part)

    def test_pictures_not_looked_at(self) -> None:
        """Without media each picture counts the same."""
        part = {"type": "image_url", "image_url": {"url": "https://x/y.png"}}
        body = {"messages": [{"content": [part, part]}]}
        self.assertEqual(estimate(body, media=False), 6 + 2 * 255)


class ResponsesTests(SynchronousTestCase):
    def estimate(self, body: Any) -> int:
        return estimate(body, Mode.RESPONSES, Dialect.RESPONSES)

    def test_text(self) -> None:
        """Instructions and a plain input count."""
        self.assertEqual(self.estimate({"instructions": HELLO, "input": HELLO}), 17)

    def test_items(self) -> None:
        """Messages, calls, results and reasoning count."""
        items = [
            {"role": "user", "content": [{"type": "input_text", "text": HELLO}]},
            {"type": "function_call", "name": "hello", "arguments": HELLO},
            {"type": "function_call_output", "output": HELLO},
            {"type": "function_call_output", "output": [{"text": HELLO}]},
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": HELLO}]},
            {"content": [{"type": "input_image", "image_url": "https://x/y"}]},
            {"content": [{"type": "input_file", "file_data": "A"}]},
        ]
        tokens = 3 + 7 * 3 + 1 + 5 * 7 + 1 + 765 + 258
        self.assertEqual(self.estimate({"input": items}), tokens)

    def test_tools_and_format(self) -> None:
        """Tools and an answer format count as JSON."""
        tool = {"type": "function", "name": "f"}
        plain = counting.estimate_text(msgspec.json.encode(tool).decode(), MODEL)
        body = {"tools": [tool], "text": {"format": tool}}
        self.assertEqual(self.estimate(body), 3 + 2 * plain)


class ClaudeTests(SynchronousTestCase):
    def estimate(self, body: Any) -> int:
        return estimate(body, Mode.MESSAGES, Dialect.CLAUDE, "claude-opus-5")

    def test_texts(self) -> None:
        """System, messages, thinking, calls and results count, nested ones too."""
        blocks = [
            {"type": "text", "text": HELLO},
            {"type": "thinking", "thinking": HELLO, "signature": "s" * 999},
            {"type": "tool_use", "name": "hello", "input": {"a": 1}},
            {"type": "tool_use", "input": HELLO},
            {"type": "tool_result", "content": [{"type": "text", "text": HELLO}]},
            {"type": "tool_result", "content": HELLO},
            {"type": "document", "source": {"type": "text", "data": HELLO}},
            {"type": "document", "source": {"type": "content", "content": HELLO}},
            {"type": "document", "source": None},
        ]
        body = {
            "system": [{"type": "text", "text": HELLO}],
            "messages": [{"role": "user", "content": blocks}],
        }
        call = counting.estimate_text('{"a":1}', MODEL) + 1
        self.assertEqual(self.estimate(body), 3 + 7 + 3 + 1 + 7 * 7 + call)

    def test_media(self) -> None:
        """Pictures count by Claude's rule, other documents by the page."""
        for block, tokens in (
            ({"type": "image", "source": {"type": "url", "url": "https://x"}}, 1399),
            ({"type": "image", "source": {"type": "base64", "data": "AAAA"}}, 1399),
            ({"type": "document", "source": {"type": "base64", "data": "A"}}, 258),
            ({"type": "document", "source": {"type": "url", "url": "u"}}, 258),
        ):
            body = {"messages": [{"content": [block]}]}
            self.assertEqual(self.estimate(body), 6 + tokens, block)

    def test_tools(self) -> None:
        """Tools count as JSON."""
        tool = {"name": "f", "input_schema": {}}
        plain = counting.estimate_text(msgspec.json.encode(tool).decode(), MODEL)
        self.assertEqual(self.estimate({"tools": [tool], "messages": []}), 3 + plain)

    def test_endless_nesting(self) -> None:
        """Results in results are followed to a depth, not for ever."""
        content: Any = HELLO
        for _ in range(prompts.MAX_DEPTH + 5):
            content = [{"type": "tool_result", "content": content}]
        self.assertEqual(self.estimate({"messages": [{"content": content}]}), 6)


class GeminiTests(SynchronousTestCase):
    def estimate(self, body: Any) -> int:
        return estimate(body, Mode.GEMINI, Dialect.GEMINI, "gemini-2.5-flash")

    def test_texts(self) -> None:
        """Either spelling of the members counts, and every place of contents."""
        turn = {"role": "user", "parts": [{"text": HELLO}]}
        for body, texts in (
            ({"contents": [turn, turn]}, 2),
            ({"contents": HELLO}, 1),
            ({"systemInstruction": turn}, 1),
            ({"system_instruction": turn}, 1),
            ({"content": turn}, 1),
            ({"requests": [{"content": turn}, {"content": turn}]}, 2),
            ({"instances": [{"prompt": HELLO}]}, 1),
        ):
            self.assertEqual(self.estimate(body), 7 * texts, body)

    def test_calls(self) -> None:
        """Calls, results and declarations count."""
        arguments = counting.estimate_text('{"a":1}', MODEL)
        parts = [
            {"functionCall": {"name": "hello", "args": {"a": 1}}},
            {"function_call": {"name": "hello", "args": {"a": 1}}},
            {"functionResponse": {"name": "hello", "response": {"a": 1}}},
            {"function_response": {"name": "hello", "response": {}}},
        ]
        self.assertEqual(self.estimate({"contents": [{"parts": parts}]}),
                         4 + 3 * arguments)  # fmt: skip
        declared = {"functionDeclarations": [{"a": 1}]}
        self.assertEqual(self.estimate({"tools": [declared]}), arguments)

    def test_media(self) -> None:
        """Files count by their media type."""
        for file, tokens in (
            ({"inlineData": {"mimeType": "image/png", "data": "A"}}, 1032),
            ({"fileData": {"mimeType": "image/png", "fileUri": "gs://x"}}, 1032),
            ({"inline_data": {"mime_type": "audio/wav", "data": "A" * 64_000}}, 28),
            ({"inlineData": {"mimeType": "application/pdf", "data": "A"}}, 258),
            ({"fileData": {"mimeType": "video/mp4", "fileUri": "gs://x"}}, 0),
        ):
            body = {"contents": [{"parts": [file]}]}
            self.assertEqual(self.estimate(body), tokens, file)


class OtherModeTests(SynchronousTestCase):
    def test_modes(self) -> None:
        """Each kind of work has its own prompt."""
        for mode, body, tokens in (
            (Mode.COMPLETIONS, {"prompt": HELLO, "suffix": HELLO}, 14),
            (Mode.COMPLETIONS, {"prompt": [HELLO, HELLO]}, 14),
            (Mode.COMPLETIONS, {"prompt": [1, 2, 3]}, 3),
            (Mode.EMBEDDINGS, {"input": [[1, 2], [3]]}, 3),
            (Mode.EMBEDDINGS, {"input": HELLO}, 7),
            (Mode.MODERATIONS, {"input": [{"type": "text", "text": HELLO}]}, 7),
            (Mode.IMAGES, {"prompt": HELLO, "n": 2}, 7),
            (Mode.IMAGE_EDITS, {"prompt": HELLO}, 7),
            (Mode.RERANK, {"query": HELLO, "documents": [HELLO, {"text": HELLO}]}, 21),
            (Mode.SPEECH, {"input": HELLO}, 7),
            (Mode.TRANSCRIPTIONS, {"file": "x"}, 3),
        ):
            self.assertEqual(estimate(body, mode), tokens, (mode, body))

    def test_characters(self) -> None:
        """Older speech models count characters."""
        spoken = {"input": "汉字 ok"}
        self.assertEqual(estimate(spoken, Mode.SPEECH, model="tts-1"), 5)
        self.assertEqual(estimate({"input": 5}, Mode.SPEECH, model="tts-1"), 0)

    def test_nothing_to_read(self) -> None:
        """A dialect without a prompt in its body has none."""
        self.assertEqual(estimate({"a": HELLO}, Mode.REALTIME, Dialect.REALTIME), 0)

    def test_unreadable(self) -> None:
        """A body that cannot be read counts by its bytes."""
        deep = Raw(b"[" * 4000 + b"]" * 4000)
        body = {"messages": deep}
        tokens = counting.estimate(body, Mode.CHAT, Dialect.CHAT, MODEL)
        self.assertEqual(tokens, (8000 + len('{"messages":}')) // 4)

    @settings(max_examples=80, deadline=None)
    @given(
        st.dictionaries(
            st.sampled_from(
                ["messages", "input", "contents", "system", "tools", "prompt", "text"]
            ),
            st.recursive(
                st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=5),
                lambda inner: st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        ["content", "role", "type", "parts", "function", "source",
                         "image_url", "file", "text", "tool_calls", "inlineData"]
                    ),
                    inner | st.sampled_from(["image", "document", "tool_use", "file"]),
                    max_size=4,
                ),
                max_leaves=10,
            ),
        ),
        st.sampled_from(list(Mode)),
        st.sampled_from(list(Dialect)),
    )  # fmt: skip
    def test_any_body(self, body: Any, mode: Mode, dialect: Dialect) -> None:
        """Whatever a client sends, there is a count."""
        self.assertGreaterEqual(estimate(body, mode, dialect), 0)


class AudioTests(SynchronousTestCase):
    def test_realtime(self) -> None:
        """A minute heard and a minute spoken."""
        self.assertEqual(counting.heard_for(60), 1667)
        self.assertEqual(counting.spoken_for(60), 834)

    def test_speech(self) -> None:
        """A file counts by begun seconds, else by its bytes."""
        self.assertEqual(counting.timed(59.2), 1000)
        self.assertEqual(counting.timed(0.1), 17)
        self.assertEqual(counting.timed(-1), 0)
        self.assertEqual(counting.speech_tokens(48_000 * 3, "pcm"), 50)
        self.assertEqual(counting.speech_tokens(1001, "mp3"), 2)
        self.assertEqual(counting.speech_tokens(1001, "mp3", 6.0), 100)
