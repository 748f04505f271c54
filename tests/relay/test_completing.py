"""Text completions on channels that only chat, in both lanes."""

from __future__ import annotations

import json
from typing import Any

from openai.types import Completion
from twisted.trial.unittest import SynchronousTestCase

from tests.relay.gateway import (
    DONE,
    Gateway,
    Response,
    chat,
    delta,
    refusal,
    stream,
    usage_event,
    whole,
)

OPENAI, ANTHROPIC, PERPLEXITY = 1, 14, 27
"""Channel types: one that completes, and two that only chat, in two dialects."""


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, *script: Any, kind: int = PERPLEXITY, **values: Any) -> Gateway:
        """A gateway whose only channel chats."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.option("relay.completions_to_chat", "true")
        gateway.option("SelfUseModeEnabled", "true")
        gateway.channel(*script, type=kind, **values)
        return gateway

    def ask(self, gateway: Gateway, **members: Any) -> Response:
        """Asks for a completion."""
        body = {"model": "gpt-4o", "prompt": "Once", **members}
        return gateway.request("/v1/completions", body)

    def events(self, answer: Response) -> list[Any]:
        """The events of a stream, the last one apart."""
        datas = [part[6:] for part in answer.body.split(b"\n\n") if part]
        assert datas[-1] == b"[DONE]"
        return [json.loads(one) for one in datas[:-1]]

    def test_whole(self) -> None:
        """The prompt is the user's message, the answer's text is the choice's."""
        gateway = self.gateway(chat(" upon a time"))
        answer = self.ask(gateway, max_tokens=9, temperature=0.5)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/chat/completions")
        self.assertEqual(sent.json["messages"], [{"role": "user", "content": "Once"}])
        self.assertEqual((sent.json["max_tokens"], sent.json["temperature"]), (9, 0.5))
        self.assertNotIn("prompt", sent.json)
        self.assertEqual(answer.status, 200)
        Completion.model_validate(answer.json)
        self.assertEqual(answer.json["object"], "text_completion")
        self.assertEqual(answer.json["choices"][0]["text"], " upon a time")
        self.assertEqual(answer.json["usage"]["total_tokens"], 15)
        (row,) = gateway.logs()
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (10, 5))
        self.assertEqual(row["other"]["request_path"], "/v1/completions")

    def test_stream(self) -> None:
        """Chunks have texts; the usage chunk comes when it was asked for."""
        gateway = self.gateway(stream())
        answer = self.ask(gateway, stream=True, stream_options={"include_usage": True})
        role = delta(choices=[{"index": 0, "delta": {"role": "assistant"}}])
        end = {"index": 0, "delta": {}, "finish_reason": "stop"}
        gateway.provider.answers[0].arrived(
            role + delta("a") + delta("b") + delta(choices=[end]) + usage_event() + DONE
        )
        events = self.events(answer)
        texts = [c["text"] for event in events for c in event["choices"]]
        self.assertEqual("".join(texts), "ab")
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], "stop")
        self.assertEqual(events[-1]["usage"]["total_tokens"], 15)
        self.assertEqual(gateway.logs()[0]["completion_tokens"], 5)

    def test_stream_without_usage(self) -> None:
        """Without being asked for there is none, and the charge is the same."""
        gateway = self.gateway(stream())
        answer = self.ask(gateway, stream=True)
        gateway.provider.answers[0].arrived(delta("a") + usage_event() + DONE)
        self.assertNotIn(b"usage", answer.body)
        self.assertEqual(gateway.logs()[0]["completion_tokens"], 5)

    def test_counted_when_none_is_reported(self) -> None:
        """The completion is counted from the text."""
        gateway = self.gateway(stream())
        self.ask(gateway, stream=True)
        gateway.provider.answers[0].arrived(delta("hello world") + DONE)
        (row,) = gateway.logs()
        self.assertEqual(row["other"]["evidence"], "counted")
        self.assertEqual(row["completion_tokens"], 2)

    def test_another_dialect(self) -> None:
        """A channel that speaks Claude gets a message and its text comes back."""
        said = {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "gpt-4o",
            "content": [{"type": "text", "text": "upon"}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 4, "output_tokens": 2},
        }
        gateway = self.gateway(whole(said), kind=ANTHROPIC)
        answer = self.ask(gateway, max_tokens=9)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/messages")
        self.assertEqual(sent.json["max_tokens"], 9)
        Completion.model_validate(answer.json)
        self.assertEqual(answer.json["choices"][0]["text"], "upon")
        self.assertEqual(answer.json["choices"][0]["finish_reason"], "stop")
        self.assertEqual(gateway.logs()[0]["completion_tokens"], 2)

    def test_not_streamed_after_all(self) -> None:
        """A provider that answers whole is streamed to the client."""
        gateway = self.gateway(chat("ab"))
        events = self.events(self.ask(gateway, stream=True))
        texts = [c["text"] for event in events for c in event["choices"]]
        self.assertEqual("".join(texts), "ab")

    def test_streamed_without_being_asked(self) -> None:
        """A stream that nobody asked for becomes one answer."""
        gateway = self.gateway(stream())
        answer = self.ask(gateway)
        provided = gateway.provider.answers[0]
        provided.arrived(delta("a") + delta("b") + usage_event() + DONE)
        provided.finished(None)
        self.assertEqual(answer.json["choices"][0]["text"], "ab")

    def test_choices(self) -> None:
        """`n` is chat's `n`; each choice has its text."""
        choices = [
            {"index": i, "message": {"content": t}, "finish_reason": "stop"}
            for i, t in enumerate("ab")
        ]
        gateway = self.gateway(chat(choices=choices))
        answer = self.ask(gateway, n=2)
        self.assertEqual(gateway.provider.sent[0].json["n"], 2)
        self.assertEqual([c["text"] for c in answer.json["choices"]], ["a", "b"])

    def test_what_chat_cannot_say(self) -> None:
        """It is left out and named, in the header and the row."""
        gateway = self.gateway(chat())
        answer = self.ask(gateway, echo=True, best_of=3, logprobs=2, suffix="end")
        (sent,) = gateway.provider.sent
        gone = {"echo", "best_of", "logprobs", "suffix"}
        self.assertEqual(gone & set(sent.json), set())
        named = set(answer.head["x-knight-dropped-params"].split(","))
        self.assertEqual(named, gone)
        self.assertEqual(set(gateway.logs()[0]["other"]["dropped_params"]), gone)

    def test_several_prompts(self) -> None:
        """One is taken; several are the client's fault, and nothing is charged."""
        gateway = self.gateway(chat())
        self.assertEqual(self.ask(gateway, prompt=["Once"]).status, 200)
        answer = self.ask(gateway, prompt=["a", "b"])
        self.assertEqual((answer.status, answer.error["param"]), (400, "prompt"))
        self.assertEqual(answer.error["code"], "unsupported_parameter")
        self.assertEqual(len(gateway.logs()), 1)

    def test_errors(self) -> None:
        """A provider's refusal is the client's answer, whole or within the stream."""
        gateway = self.gateway(refusal(400, "too long"))
        answer = self.ask(gateway)
        self.assertEqual(answer.status, 400)
        self.assertIn("too long", answer.error["message"])
        gateway.provider.script = [stream()]
        broken = self.ask(gateway, stream=True)
        provided = gateway.provider.answers[-1]
        provided.arrived(delta("a") + b'data: {"error": {"message": "no"}}\n\n')
        events = self.events(broken)
        self.assertEqual(events[0]["choices"][0]["text"], "a")
        self.assertIn("no", events[1]["error"]["message"])

    def test_overrides(self) -> None:
        """The channel's own changes see the chat request, its system prompt too."""
        gateway = self.gateway(
            chat(),
            param_override='{"top_p": 0.5}',
            setting='{"system_prompt": "Be brief."}',
        )
        self.ask(gateway)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.json["top_p"], 0.5)
        self.assertEqual(sent.json["messages"][0]["content"], "Be brief.")

    def test_off(self) -> None:
        """Without the option such a channel does not serve the route."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.channel(chat(), type=PERPLEXITY)
        answer = self.ask(gateway)
        self.assertEqual(
            (answer.status, answer.error["code"]), (400, "unsupported_endpoint")
        )

    def test_channels_that_complete(self) -> None:
        """They get what the client sent, byte for byte."""
        said = {
            "id": "c",
            "choices": [{"text": "x", "index": 0, "finish_reason": "stop"}],
        }
        gateway = self.gateway(whole(said), kind=OPENAI)
        self.assertEqual(self.ask(gateway).json, said)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/completions")
        self.assertEqual(sent.json, {"model": "gpt-4o", "prompt": "Once"})


class FastTests(Cases, SynchronousTestCase):
    """In the fast lane."""


class GeneralTests(Cases, SynchronousTestCase):
    """In the general lane."""

    fast = False
