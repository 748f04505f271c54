"""Small things that are easily forgotten, through the whole relay, in both lanes."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.relay.gateway import (
    DONE,
    Gateway,
    chat,
    completion,
    delta,
    question,
    stream,
    usage_event,
    whole,
)
from tests.relay.test_clouds import AMAZON, CLAUDE, EVENTS
from tests.wire.test_eventstream import chunk

GEMINI, ANTHROPIC, BEDROCK = 24, 14, 33
HUGE = b"1e999"
"""JSON, and beyond every number of ours."""

SET = {"path": "x.b", "mode": "set", "value": 1}

PNG = b64encode(
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (512).to_bytes(4, "big") * 2 + b"\0" * 20
).decode()


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, *script: Any, **values: Any) -> Gateway:
        """A gateway with one channel."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.option("SelfUseModeEnabled", "true")
        gateway.channel(*script, **values)
        return gateway

    # Gemini's countTokens -----------------------------------------------------------

    def count(self, gateway: Gateway, body: Any) -> Any:
        """What the provider was sent."""
        answer = gateway.request("/v1beta/models/gemini-x:countTokens", body)
        self.assertEqual(answer.json, {"totalTokens": 5})
        return gateway.provider.sent[-1]

    def test_counted_model(self) -> None:
        """A whole request that is counted names the provider's model."""
        gateway = self.gateway(
            whole({"totalTokens": 5}),
            type=GEMINI,
            models="gemini-x",
            model_mapping='{"gemini-x": "gemini-y"}',
        )
        contents = [{"role": "user", "parts": [{"text": "x"}]}]
        inner = {"model": "models/gemini-x", "contents": contents}
        for name in ("generateContentRequest", "generate_content_request"):
            sent = self.count(gateway, {name: inner})
            self.assertIn("/gemini-y:countTokens", sent.url)
            changed = {**inner, "model": "models/gemini-y"}
            self.assertEqual(sent.json, {name: changed})
        plain = {"contents": contents}
        self.assertEqual(self.count(gateway, plain).json, plain)

    def test_counted_model_without_a_mapping(self) -> None:
        """Without a mapping the bytes are the client's."""
        gateway = self.gateway(
            whole({"totalTokens": 5}), type=GEMINI, models="gemini-x"
        )
        body = b'{"generateContentRequest": {"model": "models/gemini-x", "x":1.0}}'
        self.assertEqual(self.count(gateway, body).body, body)

    # pictures in JSON edits -----------------------------------------------------------

    def test_pictures_of_edits_count(self) -> None:
        """The pictures to work on are estimated when no usage comes."""
        said = {"created": 1, "data": [{"b64_json": "eA=="}]}
        counts = []
        for given in (
            {},
            {"image": f"data:image/png;base64,{PNG}"},
            {"images": [{"image_url": f"data:image/png;base64,{PNG}"}] * 2},
            {"image": [PNG], "mask": {"file_id": "f"}},
        ):
            gateway = self.gateway(whole(said), models="gpt-image-1")
            body = {"model": "gpt-image-1", "prompt": "x", **given}
            self.assertEqual(gateway.request("/v1/images/edits", body).status, 200)
            counts.append(gateway.logs()[0]["prompt_tokens"])
        none, one, two, masked = counts
        self.assertEqual(one - none, 255)
        self.assertEqual(two - none, 510)
        self.assertGreater(masked, one)

    # numbers that nothing can hold ----------------------------------------------------

    def asked(self, member: bytes) -> bytes:
        """A chat request with one more member."""
        return json.dumps(question()).encode()[:-1] + b', "x": ' + member + b"}"

    def test_passes_through(self) -> None:
        """What nobody has to understand goes through as it is, both ways."""
        said = json.dumps(completion()).encode()[:-1] + b', "x": 1e999}'
        gateway = self.gateway(whole(said))
        body = self.asked(HUGE)
        answer = gateway.request(body=body)
        self.assertEqual((answer.status, answer.body), (200, said))
        self.assertEqual(gateway.provider.sent[0].body, body)

    def test_in_a_stream(self) -> None:
        """A chunk with one goes through, too."""
        gateway = self.gateway(stream())
        answer = gateway.chat(stream=True)
        chunk = delta("hi")[:-3] + b', "x": 1e999}\n\n'
        gateway.provider.answers[0].arrived(chunk + usage_event() + DONE)
        self.assertIn(b"1e999", answer.body)
        self.assertTrue(answer.complete)

    def test_a_client_that_must_be_understood(self) -> None:
        """Where the request is translated or overridden it is the client's fault."""
        for values in (
            {"type": ANTHROPIC},
            {"param_override": json.dumps({"operations": [SET]})},
        ):
            gateway = self.gateway(chat(), **values)
            member = b'{"a": 1e999}'
            answer = gateway.request(body=self.asked(member))
            self.assertEqual(
                (answer.status, answer.error["code"]), (400, "invalid_request")
            )
            self.assertEqual(gateway.provider.sent, [])
            self.assertEqual(gateway.relaying.meter.channels[1].failed, 1)

    def test_an_upstream_that_must_be_understood(self) -> None:
        """Where the answer is translated it is the provider's fault."""
        said = json.dumps(completion()).encode()[:-1] + b', "x": 1e999}'
        for streamed in (False, True):
            gateway = self.gateway(stream() if streamed else whole(said))
            body = {**question(), "max_tokens": 9, "stream": streamed}
            answer = gateway.request("/v1/messages", body)
            if streamed:
                chunk = delta("hi")[:-3] + b', "x": 1e999}\n\n'
                gateway.provider.answers[0].arrived(chunk + DONE)
            self.assertEqual(answer.status, 502)
            self.assertEqual(answer.json["error"]["type"], "api_error")

    def test_integers_without_end(self) -> None:
        """Integers of any length are copied, not counted."""
        gateway = self.gateway(chat(), param_override='{"top_p": 0.5}')
        digits = b"9" * 400
        self.assertEqual(gateway.request(body=self.asked(digits)).status, 200)
        self.assertIn(digits, gateway.provider.sent[0].body)
        claude = self.gateway(chat(), type=ANTHROPIC)
        answer = claude.request(body=self.asked(digits))
        self.assertNotEqual(answer.error["code"], "internal_error")

    # streams that nobody asked for ----------------------------------------------------

    def test_amazon_frames(self) -> None:
        """A stream in Amazon's frames in the place of one answer is read as such."""
        gateway = self.gateway(
            AMAZON, type=BEDROCK, models=CLAUDE, key="AKID|SECRET|us-east-1"
        )
        answers = []
        for path in ("/v1/messages", "/v1/chat/completions"):
            body = {**question(), "model": CLAUDE, "max_tokens": 9}
            answers.append(gateway.request(path, body))
            provided = gateway.provider.answers[-1]
            provided.arrived(b"".join(map(chunk, EVENTS)))
            provided.finished(None)
        own, translated = answers
        self.assertEqual(own.json["content"][0]["text"], "hello")
        message = translated.json["choices"][0]["message"]
        self.assertEqual(message["content"], "hello")
        self.assertEqual([row["completion_tokens"] for row in gateway.logs()], [5, 5])

    # websockets asked for without an upgrade ----------------------------------------

    def test_no_upgrade(self) -> None:
        """A plain GET of a websocket's path is told what to send, in OpenAI's shape."""
        gateway = self.gateway(chat())
        answer = gateway.request("/v1/realtime?model=gpt-4o", method="GET")
        self.assertEqual(answer.status, 426)
        self.assertEqual(answer.error["code"], "upgrade_not_supported")
        self.assertEqual(answer.head["upgrade"], "websocket")
        posted = gateway.request("/v1/realtime", {"x": 1})
        self.assertEqual(posted.status, 405)
        self.assertEqual(posted.head["allow"], "GET, HEAD")


class FastTests(Cases, SynchronousTestCase):
    """In the fast lane."""


class GeneralTests(Cases, SynchronousTestCase):
    """In the general lane."""

    fast = False
