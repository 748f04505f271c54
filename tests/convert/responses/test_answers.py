"""Whole Responses answers, to the middle form and from it."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from knight_tw.convert.responses import response_from_x, response_to_x
from knight_tw.errors import EmptyAnswer, UpstreamRefused
from tests.convert.responses.sdk import accepted

OPENAI = "openai-responses-v1"
ANTHROPIC = "anthropic-claude-v1"
GOOGLE = "google-gemini-v1"
ENCRYPTED = {"include": ["reasoning.encrypted_content"]}


def answer(*output: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A provider's answer."""
    usual = {"id": "resp_1", "created_at": 5, "status": "completed", "model": "up"}
    return {**usual, "output": list(output), **more}


def spoken(*parts: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A message item."""
    return {"type": "message", "role": "assistant", "content": list(parts), **more}


def text(said: str, **more: Any) -> dict[str, Any]:
    """A text part."""
    return {"type": "output_text", "text": said, "annotations": [], **more}


def read(given: dict[str, Any], **known: Any) -> dict[str, Any]:
    """The choice of the middle form for an answer."""
    x = response_to_x(given, Context(**{"model": "m"} | known))
    choice: dict[str, Any] = x["choices"][0]
    return choice


class ToX(SynchronousTestCase):
    """A provider's answers."""

    def test_head(self) -> None:
        """Id, time, tier and the shown name."""
        given = answer(spoken(text("a")), created_at=5.0, service_tier="flex")
        x = response_to_x(given, Context("m"))
        self.assertEqual((x["id"], x["created"], x["model"]), ("chatcmpl-1", 5, "m"))
        self.assertEqual((x["object"], x["service_tier"]), ("chat.completion", "flex"))
        x = response_to_x(
            {**answer(), "id": None, "created_at": None}, Context("", created=7)
        )
        self.assertTrue(x["id"].startswith("chatcmpl-"))
        self.assertEqual((x["created"], x["model"]), (7, "up"))

    def test_messages(self) -> None:
        """Texts run together, between two messages stands a blank line."""
        items = (
            spoken(text("a"), text("b")),
            spoken(),
            spoken(text("c"), phase="final_answer"),
        )
        message = read(answer(*items))["message"]
        self.assertEqual(message["content"], "ab\n\nc")
        self.assertEqual((message["phase"], message["refusal"]), ("final_answer", None))

    def test_refusals(self) -> None:
        """A refusal stands where chat has it."""
        refusal = {"type": "refusal", "refusal": "no"}
        message = read(answer(spoken(refusal, {"type": "new"})))["message"]
        self.assertEqual((message["content"], message["refusal"]), (None, "no"))

    def test_citations(self) -> None:
        """Annotations count from the beginning of the content."""
        url = {
            "type": "url_citation",
            "url": "u",
            "title": "t",
            "start_index": 0,
            "end_index": 1,
        }
        file = {"type": "file_citation", "file_id": "f", "filename": "n", "index": 0}
        bare = {"type": "url_citation", "url": "v"}
        part = text("bc", annotations=[url, file, bare])
        message = read(answer(spoken(text("a")), spoken(part)))["message"]
        cited = {"url": "u", "title": "t", "start_index": 3, "end_index": 4}
        other = {"url": "v", "title": "", "start_index": 3, "end_index": 3}
        self.assertEqual(
            message["annotations"],
            [{"type": "url_citation", "url_citation": one} for one in (cited, other)],
        )
        self.assertEqual(
            message["citations"], [{**file, "start_index": 3, "end_index": 5}]
        )

    def test_reasoning(self) -> None:
        """Summaries are shown, else the reasoning itself; the secret is wrapped."""
        summary = [{"type": "summary_text", "text": "s"}]
        content = [{"type": "reasoning_text", "text": "raw"}]
        first = {"type": "reasoning", "summary": summary, "content": content}
        second = {"type": "reasoning", "summary": [], "content": content}
        message = read(answer(first, {**second, "encrypted_content": "E", "id": 7}))[
            "message"
        ]
        self.assertEqual(message["reasoning_content"], "s\n\nraw")
        entry = message["reasoning_details"][-1]
        wanted = {
            "type": "reasoning.encrypted",
            "data": "ko1.o.E",
            "format": OPENAI,
            "index": 1,
        }
        self.assertEqual(entry, wanted)

    def test_calls(self) -> None:
        """Calls of functions, and of free-form tools as the client offered them."""
        call = {
            "type": "function_call",
            "call_id": "c1",
            "name": "a_b",
            "arguments": {"x": 1},
        }
        custom = {
            "type": "custom_tool_call",
            "id": "i",
            "name": "sh",
            "input": 'say "hi"',
        }
        context = Context("m")
        context.memory.sent_names["a_b"] = "a.b"
        given = answer(call, custom, {**custom, "name": "py", "input": None})
        context.memory.x = {"tools": [{"type": "custom", "custom": {"name": "sh"}}]}
        x = response_to_x(given, context)
        first, second, third = x["choices"][0]["message"]["tool_calls"]
        self.assertEqual(first["function"], {"name": "a.b", "arguments": '{"x":1}'})
        self.assertEqual(second["custom"], {"name": "sh", "input": 'say "hi"'})
        self.assertEqual((second["id"], second["type"]), ("i", "custom"))
        self.assertEqual(third["function"], {"name": "py", "arguments": '{"input":""}'})
        self.assertEqual(x["choices"][0]["finish_reason"], "tool_calls")

    def test_images(self) -> None:
        """Generated images are a list, or in the text if the channel says so."""
        image = {
            "type": "image_generation_call",
            "result": "AAAA",
            "output_format": "webp",
        }
        given = answer(spoken(text("a")), image, {**image, "result": None})
        message = read(given)["message"]
        url = "data:image/webp;base64,AAAA"
        self.assertEqual(
            message["images"], [{"type": "image_url", "image_url": {"url": url}}]
        )
        message = read(given, settings={"gemini_image_output": "markdown"})["message"]
        self.assertEqual(message["content"], f"a![image]({url})")

    def test_logprobs(self) -> None:
        """Log probabilities of all texts are the choice's."""
        token = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
        choice = read(answer(spoken(text("a", logprobs=[token]))))
        self.assertEqual(choice["logprobs"], {"content": [token], "refusal": None})

    def test_ends(self) -> None:
        """Status and reason say how it ended, the provider's word is kept."""
        cases: tuple[tuple[dict[str, Any], str, Any], ...] = (
            ({}, "stop", "completed"),
            ({"status": None}, "stop", None),
            (
                {
                    "status": "incomplete",
                    "incomplete_details": {"reason": "content_filter"},
                },
                "content_filter",
                "content_filter",
            ),
            ({"status": "incomplete"}, "length", "incomplete"),
        )
        for more, reason, native in cases:
            choice = read(answer(spoken(text("a")), **more))
            self.assertEqual(choice["finish_reason"], reason)
            self.assertEqual(choice.get("native_finish_reason"), native)

    def test_usage(self) -> None:
        """The usage has the number of searches; without one there is none."""
        usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
        given = answer({"type": "web_search_call"}, usage=usage)
        x = response_to_x(given, Context("m"))
        self.assertEqual(x["usage"]["server_tool_use"], {"web_search_requests": 1})
        self.assertNotIn("usage", response_to_x(answer(), Context("m")))

    def test_native(self) -> None:
        """Clients that want it get the provider's own items."""
        item = {"type": "web_search_call", "id": "w"}
        message = read(answer(item), native=True)["message"]
        self.assertEqual(
            message["native_blocks"], {"format": OPENAI, "content": [item]}
        )

    def test_failures(self) -> None:
        """Failed, cancelled and empty answers are errors."""
        error = {"code": "rate_limit_exceeded", "message": "slow"}
        for given, status in (
            (answer(status="failed", error=error), 429),
            (answer(status="cancelled"), 502),
            ({"error": {"type": "t", "message": "m"}}, 502),
        ):
            raised = self.assertRaises(
                UpstreamRefused, response_to_x, given, Context("m")
            )
            self.assertEqual(raised.status, status)
        self.assertRaises(EmptyAnswer, response_to_x, {}, Context("m"))


def written(
    message: dict[str, Any], request: dict[str, Any] | None = None, **choice: Any
) -> dict[str, Any]:
    """The Responses answer for a message; the client's types accept it."""
    context = Context("m", created=9)
    context.memory.request = request or {}
    usual = {"index": 0, "finish_reason": "stop", "message": message}
    x = {
        "id": "chatcmpl-1",
        "created": 5,
        "model": "up",
        "choices": [{**usual, **choice}],
    }
    return accepted(response_from_x(x, context))


def called(name: str = "f", **more: Any) -> dict[str, Any]:
    """A tool call."""
    function = {"name": name, "arguments": "{}"}
    return {"id": "c1", "type": "function", "function": function, **more}


class FromX(SynchronousTestCase):
    """Answers for Responses clients."""

    def test_request_is_echoed(self) -> None:
        """The answer repeats what was asked, with the defaults that were not said."""
        tools = [{"type": "function", "name": "f", "parameters": {}, "strict": False}]
        request = {
            "tools": tools,
            "text": {"verbosity": "low"},
            "store": False,
            "user": "u",
        }
        reasoning = {"effort": "low", "summary": None}
        found = written({}, {**request, "reasoning": reasoning, "temperature": None})
        self.assertEqual(
            (found["tools"], found["store"], found["user"]), (tools, False, "u")
        )
        text_said = {"format": {"type": "text"}, "verbosity": "low"}
        self.assertEqual((found["text"], found["reasoning"]), (text_said, reasoning))
        self.assertEqual(
            (found["tool_choice"], found["parallel_tool_calls"]), ("auto", True)
        )
        self.assertEqual(
            (found["id"], found["created_at"], found["model"]), ("resp_1", 5, "m")
        )
        self.assertEqual((found["output"], found["usage"]), ([], None))
        self.assertEqual(found["completed_at"], 5)

    def test_tier_is_shown_if_known(self) -> None:
        """A tier that clients do not know is left out."""
        for tier, shown in (("flex", "flex"), ("on_demand", None)):
            x = {"id": None, "choices": [{"message": None}], "service_tier": tier}
            found = accepted(response_from_x(x, Context("m", created=9)))
            self.assertEqual(found.get("service_tier"), shown)
            self.assertEqual(found["created_at"], 9)
            self.assertGreater(len(found["id"]), len("resp_"))

    def test_message(self) -> None:
        """Text with its citations and log probabilities, a refusal, the phase."""
        cited = {"url": "u", "title": None, "start_index": 0, "end_index": 1}
        notes = [{"type": "url_citation", "url_citation": cited}, {"type": "other"}]
        token = {"token": "a", "logprob": -1.0, "bytes": [97], "top_logprobs": []}
        message = {"content": "a", "refusal": "no", "annotations": notes}
        message["phase"] = "final_answer"
        found = written(message, logprobs={"content": [token]})
        (item,) = found["output"]
        note = {"type": "url_citation", "url": "u", "title": "", "start_index": 0}
        said = {
            "type": "output_text",
            "text": "a",
            "annotations": [{**note, "end_index": 1}],
        }
        refusal = {"type": "refusal", "refusal": "no"}
        self.assertEqual(item["content"], [{**said, "logprobs": [token]}, refusal])
        self.assertEqual((item["id"], item["phase"]), ("msg_1", "final_answer"))

    def test_refusal_that_is_the_text(self) -> None:
        """A refusal that only repeats the text is not said twice."""
        found = written(
            {"content": "no", "refusal": "no"}, finish_reason="content_filter"
        )
        self.assertEqual(len(found["output"][0]["content"]), 1)
        self.assertEqual(found["incomplete_details"], {"reason": "content_filter"})
        self.assertEqual(found["output"][0]["status"], "incomplete")

    def test_calls(self) -> None:
        """Calls carry the client's names, free-form ones the client's kind."""
        context = Context("m")
        memory = context.memory
        memory.tool_names = {"n__g": {"name": "g", "namespace": "n"}, "h": "other"}
        memory.custom_tools = {"sh"}
        shell = called("sh", function={"name": "sh", "arguments": '{"input":"ls"}'})
        custom = {"id": "c3", "type": "custom", "custom": {"name": "py", "input": None}}
        calls = [called(), called("n__g"), called("h"), shell, custom]
        calls[0] = {**calls[0], "id": None}
        choice = {"finish_reason": "tool_calls", "message": {"tool_calls": calls}}
        found = accepted(response_from_x({"id": "x", "choices": [choice]}, context))
        output = found["output"]
        self.assertEqual(
            [i["id"] for i in output],
            [f"fc_x_{n}" for n in range(3)] + ["ctc_x_3", "ctc_x_4"],
        )
        self.assertTrue(output[0]["call_id"].startswith("call_"))
        self.assertEqual((output[1]["name"], output[1]["namespace"]), ("g", "n"))
        self.assertEqual(output[2]["name"], "other")
        self.assertEqual(
            (output[3]["type"], output[3]["input"]), ("custom_tool_call", "ls")
        )
        self.assertEqual((output[4]["name"], output[4]["input"]), ("py", ""))
        self.assertEqual(found["status"], "completed")

    def test_images(self) -> None:
        """Images in data URLs are items, others have no form here."""
        images = [
            {"image_url": {"url": "data:image/png;base64,AA"}},
            {"image_url": "http://x"},
        ]
        (item,) = written({"images": [images[1], images[0]]})["output"]
        self.assertEqual(
            (item["type"], item["result"]), ("image_generation_call", "AA")
        )

    def test_nothing(self) -> None:
        """Without a choice there is no answer."""
        self.assertRaises(EmptyAnswer, response_from_x, {"choices": []}, Context("m"))


class Reasoning(SynchronousTestCase):
    """Reasoning of other providers in reasoning items."""

    def items(self, message: dict[str, Any], **request: Any) -> list[dict[str, Any]]:
        """The output for a message, encrypted reasoning being asked for."""
        output: list[dict[str, Any]] = written(message, {**ENCRYPTED, **request})[
            "output"
        ]
        return output

    def test_text_alone(self) -> None:
        """Reasoning without details is one item without a secret."""
        (item,) = self.items({"reasoning_content": "why"})
        wanted = {"id": "rs_1", "type": "reasoning"}
        self.assertEqual(
            item, {**wanted, "summary": [{"type": "summary_text", "text": "why"}]}
        )

    def test_each_signed_piece_is_an_item(self) -> None:
        """Claude's pieces stay apart, redacted ones have no summary."""
        details = [
            {
                "type": "reasoning.text",
                "text": "a",
                "signature": "S",
                "format": ANTHROPIC,
                "index": 0,
            },
            {
                "type": "reasoning.encrypted",
                "data": "ko1.a.R",
                "format": ANTHROPIC,
                "index": 1,
            },
            {"type": "reasoning.text", "text": "", "signature": "ko1.a.T", "index": 2},
        ]
        found = self.items({"reasoning_content": "a", "reasoning_details": details})
        self.assertEqual([item["id"] for item in found], ["rs_1", "rs_1_1", "rs_1_2"])
        secrets = [item["encrypted_content"] for item in found]
        self.assertEqual(secrets, ["ko1.a.S", "ko1.a.R", "ko1.a.T"])
        texts = [[part["text"] for part in item["summary"]] for item in found]
        self.assertEqual(texts, [["a"], [], [""]])

    def test_secrets_only_if_asked_for(self) -> None:
        """A client that did not ask for secrets gets the texts alone."""
        details = [
            {"type": "reasoning.text", "text": "a", "signature": "ko1.a.S", "index": 0},
            {"type": "reasoning.encrypted", "data": "ko1.a.R", "index": 1},
        ]
        (item,) = written({"reasoning_details": details})["output"]
        self.assertNotIn("encrypted_content", item)

    def test_hidden_reasoning(self) -> None:
        """A client that wants no summary gets none, its secrets all the same."""
        detail = {
            "type": "reasoning.text",
            "text": "a",
            "signature": "ko1.a.S",
            "index": 0,
        }
        hidden = {"reasoning": {"summary": "none"}}
        context = Context("m")
        context.memory.request = {**ENCRYPTED, **hidden}
        message = {"reasoning_content": "a", "reasoning_details": [detail]}
        x = {"id": "1", "choices": [{"message": message}]}
        (item,) = response_from_x(x, context)["output"]
        self.assertEqual((item["summary"], item["encrypted_content"]), ([], "ko1.a.S"))

    def test_secret_behind_a_text(self) -> None:
        """A secret that is not Claude's signs the text before it."""
        details = [
            {"type": "reasoning.text", "text": "a", "format": GOOGLE, "index": 0},
            {
                "type": "reasoning.encrypted",
                "data": "ko1.g.S",
                "format": GOOGLE,
                "index": 1,
            },
            {
                "type": "reasoning.encrypted",
                "data": "ko1.g.T",
                "format": GOOGLE,
                "index": 2,
            },
        ]
        first, second = self.items({"reasoning_details": details})
        self.assertEqual(
            (first["summary"][0]["text"], first["encrypted_content"]), ("a", "ko1.g.S")
        )
        self.assertEqual(
            (second["summary"], second["encrypted_content"]), ([], "ko1.g.T")
        )

    def test_text_beside_a_secret(self) -> None:
        """Text that is in no entry goes with a secret, unless that is redacted."""
        secret = {"type": "reasoning.encrypted", "data": "ko1.g.S", "index": 0}
        (item,) = self.items({"reasoning_content": "a", "reasoning_details": [secret]})
        self.assertEqual(item["summary"][0]["text"], "a")
        secret = {**secret, "data": "ko1.a.R"}
        first, second = self.items({"reasoning": "a", "reasoning_details": [secret]})
        self.assertEqual((first["summary"][0]["text"], second["summary"]), ("a", []))

    def test_unknown_secrets_are_left_out(self) -> None:
        """A bare value of an unknown provider cannot come back and is not shown."""
        secret = {"type": "reasoning.encrypted", "data": "S", "index": 0}
        self.assertEqual(self.items({"reasoning_details": [secret]}), [])

    def test_gemini_s_calls(self) -> None:
        """A call's signature goes to the text before it, else to an item of its own."""
        extra = {"google": {"thought_signature": "S"}}
        call = called(extra_content=extra)
        reasoned = {"reasoning_content": "p", "tool_calls": [call, called()]}
        first, *_ = found = self.items(reasoned)
        self.assertEqual(first["encrypted_content"], "ko1.g.S")
        self.assertEqual([item["type"] for item in found][1:], ["function_call"] * 2)
        found = self.items({"content": "x", "tool_calls": [called(), call]})
        kinds = ["message", "function_call", "reasoning", "function_call"]
        self.assertEqual([item["type"] for item in found], kinds)
        self.assertEqual(
            (found[2]["summary"], found[2]["encrypted_content"]), ([], "ko1.g.S")
        )
        bare = written({"tool_calls": [call]})["output"]
        self.assertEqual([item["type"] for item in bare], ["function_call"])
