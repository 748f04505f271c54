"""Whole Claude answers, both ways."""

from __future__ import annotations

from typing import Any

from anthropic.types import Message
from openai.types.chat import ChatCompletion
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import claude
from knight_tw.convert.context import Context, Memory
from knight_tw.errors import BadUpstreamBody, ClaudeRefused, EmptyAnswer

Body = dict[str, Any]


def to_x(content: list[Body], context: Context | None = None, **more: Any) -> Body:
    """The chat completion object for a Claude answer, valid for OpenAI's client."""
    answer: Body = {"id": "msg_1", "type": "message", "role": "assistant"}
    answer |= {"model": "upstream", "content": content, "stop_reason": "end_turn"}
    x = claude.response_to_x(answer | more, context or Context("shown", created=7))
    ChatCompletion.model_validate(x, strict=True)
    return x


def from_x(message: Body, context: Context | None = None, **choice: Any) -> Body:
    """The Claude answer for a chat message, valid for Anthropic's client."""
    choice = {"index": 0, "finish_reason": "stop", "message": message} | choice
    x = {"id": "chatcmpl-1", "model": "upstream", "choices": [choice]}
    answer = claude.response_from_x(x, context or Context("shown"))
    Message.model_validate(answer, strict=True)
    return answer


class ToX(SynchronousTestCase):
    """From Claude."""

    def message(self, *content: Body, **more: Any) -> Body:
        """The message of the only choice."""
        found: Body = to_x(list(content), **more)["choices"][0]["message"]
        return found

    def test_head(self) -> None:
        """The id is Claude's, the model the client's, the time the given one."""
        x = to_x([])
        got = x["id"], x["object"], x["created"], x["model"]
        self.assertEqual(got, ("msg_1", "chat.completion", 7, "shown"))
        self.assertEqual(to_x([], Context(""))["model"], "upstream")
        self.assertTrue(to_x([], id=None)["id"].startswith("msg_"))
        self.assertIsNone(x["choices"][0]["message"]["content"])

    def test_several_thoughts(self) -> None:
        """Texts are joined by a blank line, details keep their order; hidden ones and
        those without a text too."""
        message = self.message(
            {"type": "thinking", "thinking": "a", "signature": "1"},
            {"type": "redacted_thinking", "data": "E"},
            {"type": "thinking", "thinking": "", "signature": "2"},
            {"type": "thinking", "thinking": "b"},
        )
        self.assertEqual(message["reasoning_content"], "a\n\nb")
        entries = [
            (entry["index"], entry.get("signature") or entry.get("data"))
            for entry in message["reasoning_details"]
        ]
        signed = [(0, "ko1.a.1"), (1, "ko1.a.E"), (2, "ko1.a.2"), (3, None)]
        self.assertEqual(entries, signed)

    def test_citations(self) -> None:
        """Web pages annotate the block's span in code points, others are kept."""
        web = {"type": "web_search_result_location", "url": "https://e", "title": "E"}
        page = {"type": "page_location", "cited_text": "x"}
        message = self.message(
            {"type": "text", "text": "äö "},
            {"type": "text", "text": "cited", "citations": [web, page, "odd"]},
        )
        span = {"start_index": 3, "end_index": 8}
        cited = {"url": "https://e", "title": "E"} | span
        note = {"type": "url_citation", "url_citation": cited}
        self.assertEqual(message["annotations"], [note])
        self.assertEqual(message["citations"], [page | span])

    def test_refusals(self) -> None:
        """The refusal is Claude's explanation, else the text."""
        details = {"stop_details": {"type": "refusal", "explanation": "why"}}
        text = {"type": "text", "text": "no"}
        refused = {"stop_reason": "refusal"}
        choice = to_x([text], **refused, **details)["choices"][0]
        self.assertEqual(choice["message"]["refusal"], "why")
        self.assertEqual(choice["finish_reason"], "content_filter")
        self.assertEqual(choice["native_finish_reason"], "refusal")
        self.assertEqual(self.message(text, **refused)["refusal"], "no")
        self.assertIsNone(self.message(**refused)["refusal"])

    def test_stop_sequence(self) -> None:
        """The sequence stands beside the reason."""
        ended = {"stop_reason": "stop_sequence", "stop_sequence": "END"}
        choice = to_x([], **ended)["choices"][0]
        self.assertEqual(choice["stop_sequence"], "END")
        self.assertEqual(choice["finish_reason"], "stop")

    def test_tiers(self) -> None:
        """Claude's tiers in OpenAI's words, unknown ones not at all."""
        for tier, wanted in (("standard", "default"), ("batch", None)):
            x = to_x([], usage={"input_tokens": 1, "service_tier": tier})
            self.assertEqual(x.get("service_tier"), wanted)
        self.assertNotIn("usage", to_x([], usage=None))

    def test_own_blocks(self) -> None:
        """They go to clients that ask for them, and only there."""
        own = {"type": "server_tool_use", "id": "s", "name": "x", "input": {}}
        self.assertNotIn("native_blocks", self.message(own))
        message = self.message(own, context=Context("m", native=True))
        kept = {"format": "anthropic-claude-v1", "content": [own]}
        self.assertEqual(message["native_blocks"], kept)

    def test_the_forced_tool_is_the_answer(self) -> None:
        """Its input is the content; nothing looks like a call."""
        context = Context("m", memory=Memory(answer_tool="respond"))
        call = {"type": "tool_use", "id": "1", "name": "respond", "input": {"a": 1}}
        choice = to_x([call], context, stop_reason="tool_use")["choices"][0]
        self.assertEqual(choice["message"]["content"], '{"a":1}')
        self.assertNotIn("tool_calls", choice["message"])
        self.assertEqual(choice["finish_reason"], "stop")

    def test_names_come_back(self) -> None:
        """A tool whose name was changed is called by its own again."""
        context = Context("m", memory=Memory(sent_names={"a_b": "a.b"}))
        call = {"type": "tool_use", "id": "1", "name": "a_b", "input": {}}
        message = to_x([call], context)["choices"][0]["message"]
        self.assertEqual(message["tool_calls"][0]["function"]["name"], "a.b")

    def test_faults(self) -> None:
        """Errors in a 200 keep their type; what is no answer is unreadable."""
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}
        context = Context("m")
        found = self.assertRaises(ClaudeRefused, claude.response_to_x, error, context)
        self.assertEqual(found.status, 529)
        self.assertRaises(BadUpstreamBody, claude.response_to_x, {"a": 1}, context)


class FromX(SynchronousTestCase):
    """To Claude's clients."""

    def test_ids(self) -> None:
        """Chat's prefix is replaced, Claude's stays, a missing id is made."""
        table = {"chatcmpl-5": "msg_5", "msg_5": "msg_5", "gen-5": "msg_gen-5"}
        for given, wanted in table.items():
            x = {"id": given, "choices": [{"message": {}}]}
            answer = claude.response_from_x(x, Context("m"))
            self.assertEqual(answer["id"], wanted)
        x = {"choices": [{"message": {}}]}
        made = claude.response_from_x(x, Context("m"))["id"]
        self.assertEqual(len(made), 20)

    def test_nothing(self) -> None:
        """An empty answer is one empty text; no choice is no answer."""
        answer = from_x({"content": None})
        self.assertEqual(answer["content"], [{"type": "text", "text": ""}])
        self.assertEqual(answer["usage"]["input_tokens"], 0)
        empty: Body = {"choices": []}
        for x in (empty, {}):
            context = Context("m")
            self.assertRaises(EmptyAnswer, claude.response_from_x, x, context)

    def test_reasoning(self) -> None:
        """Claude's own is bare, others' wrapped, unsigned has an empty signature."""
        claude_format, other = "anthropic-claude-v1", "openai-responses-v1"
        own = {"type": "reasoning.text", "text": "t", "format": claude_format}
        hidden = {"type": "reasoning.encrypted", "format": claude_format}
        summary = {"type": "reasoning.summary", "summary": "s", "format": other}
        sealed = {"type": "reasoning.encrypted", "data": "E", "format": other}
        table: list[tuple[Body, list[Body]]] = [
            (
                {
                    "reasoning_details": [
                        own | {"signature": "ko1.a.S"},
                        own | {"signature": "S"},
                        own,
                        hidden | {"data": "ko1.a.E"},
                        hidden | {"data": ""},
                    ]
                },
                [
                    {"type": "thinking", "thinking": "t", "signature": "S"},
                    {"type": "thinking", "thinking": "t", "signature": "S"},
                    {"type": "thinking", "thinking": "t", "signature": ""},
                    {"type": "redacted_thinking", "data": "E"},
                ],
            ),
            (
                {"reasoning_content": "s", "reasoning_details": [summary, sealed]},
                [{"type": "thinking", "thinking": "s", "signature": "ko1.o.E"}],
            ),
            (
                {"reasoning_details": [sealed]},
                [{"type": "thinking", "thinking": "", "signature": "ko1.o.E"}],
            ),
            (
                {"reasoning_details": [{"text": "u", "signature": "U"}]},
                [{"type": "thinking", "thinking": "u", "signature": "U"}],
            ),
            (
                {"reasoning": "r"},
                [{"type": "thinking", "thinking": "r", "signature": ""}],
            ),
        ]
        text = {"type": "text", "text": "a"}
        for message, wanted in table:
            answer = from_x(message | {"content": "a"})
            self.assertEqual(answer["content"], [*wanted, text])

    def test_signatures_of_gemini(self) -> None:
        """The first call's stands on the thought, else before the call."""

        def call(number: str, signature: str) -> Body:
            function = {"name": "f", "arguments": "{}"}
            google = {"google": {"thought_signature": signature}}
            return {"id": number, "function": function, "extra_content": google}

        calls = [call("1", "ko1.g.A"), call("2", "B"), {"id": "3", "function": {}}]
        content = from_x({"reasoning_content": "p", "tool_calls": calls})["content"]
        marks = [block.get("signature") for block in content]
        self.assertEqual(marks, ["ko1.g.A", None, "ko1.g.B", None, None])
        content = from_x({"tool_calls": calls[:1]})["content"]
        empty = {"type": "thinking", "thinking": "", "signature": "ko1.g.A"}
        self.assertEqual(content[0], empty)

    def test_calls(self) -> None:
        """Broken arguments travel on, ids are made fit, and so is the reason."""
        function = {"name": "f", "arguments": "{broken"}
        answer = from_x({"tool_calls": [{"id": "a.1", "function": function}, "odd"]})
        use = {"type": "tool_use", "id": "a_1", "name": "f"}
        self.assertEqual(
            answer["content"], [use | {"input": {"_arguments": "{broken"}}]
        )
        self.assertEqual(answer["stop_reason"], "tool_use")

    def test_refusals(self) -> None:
        """A refusal is text, once, and the reason."""
        answer = from_x({"content": None, "refusal": "no"})
        self.assertEqual(answer["content"], [{"type": "text", "text": "no"}])
        self.assertEqual(answer["stop_reason"], "refusal")
        self.assertEqual(len(from_x({"content": "no", "refusal": "no"})["content"]), 1)

    def test_annotations(self) -> None:
        """The text is cut at the spans; odd spans are cited nowhere."""

        def note(start: Any, end: Any, url: str = "https://e") -> Body:
            place = {"url": url, "title": "E", "start_index": start, "end_index": end}
            return {"type": "url_citation", "url_citation": place}

        odd = [note(0, 0), note(2, 99), note(None, 3), note(4, 6, ""), {}, "odd"]
        notes = [note(4, 8), note(1, 3), note(2, 5), note(1, 3), *odd]
        answer = from_x({"content": "0123456789", "annotations": notes})
        texts = [(b["text"], len(b.get("citations", ()))) for b in answer["content"]]
        wanted = [("0", 0), ("12", 2), ("3", 0), ("4567", 1), ("89", 0)]
        self.assertEqual(texts, wanted)
        citation = answer["content"][1]["citations"][0]
        self.assertEqual(
            (citation["cited_text"], citation["encrypted_index"]), ("12", "")
        )
        notes = [note(0, 1), note(1, 2)]
        whole = from_x({"content": "01", "annotations": notes})["content"]
        self.assertEqual([len(b["citations"]) for b in whole], [1, 1])

    def test_reasons(self) -> None:
        """The stop sequence is told; of several choices the first counts."""
        answer = from_x({"content": "a"}, stop_sequence="X")
        got = answer["stop_reason"], answer["stop_sequence"]
        self.assertEqual(got, ("stop_sequence", "X"))
        answer = from_x({"content": "a"}, native_finish_reason="pause_turn")
        self.assertEqual(answer["stop_reason"], "pause_turn")
