"""Pictures, speech, transcripts, rerankings and embeddings through the whole relay."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import UpstreamFailed
from knight_tw.protocols.answer import Answer
from knight_tw.storage import schema
from knight_tw.wire import forms
from tests.relay.gateway import Gateway, Provider, Response, Source, refusal, whole

RECORDINGS = Path(__file__).parent.parent / "wire" / "recordings"
MODELS = (
    "dall-e-3,gpt-image-1,flux,tts-1,whisper-1,gpt-4o-transcribe,rerank-1,"
    "text-embedding-3-small,gemini-embedding-001,imagen-4,search-1,spoken"
)
WAV = (RECORDINGS / "tone.wav").read_bytes()
"""0.6 seconds: one begun second, 17 tokens."""

PNG = b"\x89PNG\r\n\x1a\n" + bytes(8) + b"\0\0\2\0\0\0\2\0" + b"\r\n--x"
BOUNDARY = "b-1"


def picture(number: int = 1, **members: Any) -> dict[str, Any]:
    """An answer with pictures."""
    return {"created": 7, "data": [{"b64_json": "aGk="}] * number, **members}


IMAGE_USAGE = {
    "input_tokens": 50,
    "output_tokens": 1000,
    "total_tokens": 1050,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}
IMAGE_QUOTA = (10 + 40 * 2 + 1000 * 8) * 5 // 2
"""Of gpt-image-1 for this usage."""


def form(*parts: tuple[str, str | bytes] | tuple[str, bytes, str]) -> dict[str, Any]:
    """Arguments of a request with a form: fields, and files with their names."""
    pieces = []
    for part in parts:
        name, value, *rest = part
        data = value.encode() if isinstance(value, str) else value
        pieces.append(forms.Part(name, data, rest[0] if rest else None))
    made = forms.Form(BOUNDARY, tuple(pieces), {p.name: p for p in pieces})
    body = made.encode(made.fields)
    return {"body": body, "headers": {"Content-Type": made.content_type}}


def events(*values: Any) -> bytes:
    """Events of a stream."""
    return b"".join(b"data: " + json.dumps(v).encode() + b"\n\n" for v in values)


def coming(kind: str = "text/event-stream", status: int = 200) -> Any:
    """An answer that the test feeds."""

    def make(provider: Provider) -> Answer:
        source = Source()
        provider.sources.append(source)
        told = [("content-type", kind)]
        return Answer(source, provider.clock, status, told, [])

    return make


def plain(data: bytes, kind: str) -> Any:
    """An answer in one piece that is no JSON."""

    def make(provider: Provider) -> Answer:
        return Answer(None, provider.clock, 200, [("content-type", kind)], [data])

    return make


class Cases:
    """What holds in both lanes."""

    fast = True

    def gateway(self, *script: Any, **channel: Any) -> Gateway:
        """A gateway with one channel for all models, unpriced ones free to use."""
        case: Any = self
        gateway = Gateway(case, self.fast)
        gateway.option("SelfUseModeEnabled", "true")
        gateway.option("RetryTimes", "1")
        gateway.option("ModelPrice", json.dumps({"flux": 0.01, "dall-e-3": 0.04}))
        ratios = {"text-embedding-3-small": 1, "rerank-1": 1, "spoken": 1, "tts-1": 7.5}
        ratios |= {"gemini-embedding-001": 1, "imagen-4": 1, "search-1": 1}
        more = {"gpt-image-1": 2.5, "whisper-1": 15, "gpt-4o-transcribe": 1.25}
        gateway.option("ModelRatio", json.dumps(ratios | more))
        gateway.channel(*script, **{"models": MODELS, **channel})
        return gateway

    def one(self, gateway: Gateway) -> dict[str, Any]:
        """The only charge."""
        rows = gateway.logs()
        self.assertEqual(len(rows), 1)
        return rows[0]

    def evidence(self, gateway: Gateway) -> tuple[int, str]:
        """What was charged, and by what."""
        row = self.one(gateway)
        return row["quota"], row["other"]["evidence"]

    # pictures -----------------------------------------------------------------

    def test_priced_pictures(self) -> None:
        """Price, size and quality; example 7 of the billing specification."""
        gateway = self.gateway(whole(picture()))
        body = {"model": "dall-e-3", "prompt": "a cat", "size": "1792x1024"}
        answer = gateway.request("/v1/images/generations", {**body, "quality": "hd"})
        self.assertEqual(answer.json, picture())
        self.assertEqual(self.evidence(gateway), (60_000, "counted"))
        self.assertEqual(
            gateway.provider.sent[0].url, "http://up1.test/v1/images/generations"
        )
        ratios = self.one(gateway)["other"]["image_ratios"]
        self.assertEqual(ratios, {"n": 1, "size": 2, "quality": 1.5})

    def test_only_what_was_delivered_is_charged(self) -> None:
        """Three were asked for, two came, one of three as an error."""
        answer = picture(2)
        answer["data"].append({"error": {"code": "x"}})
        gateway = self.gateway(whole(answer))
        body = {"model": "flux", "prompt": "p", "n": 3}
        gateway.request("/v1/images/generations", body)
        self.assertEqual(self.evidence(gateway), (10_000, "counted"))

    def test_pictures_by_tokens(self) -> None:
        """The usage of the answer; the default model; the format is not sent."""
        gateway = self.gateway(whole(picture(usage=IMAGE_USAGE)))
        body = {"prompt": "p", "response_format": "url", "x": 1.50}
        answer = gateway.request("/v1beta/openai/images/generations", body)
        self.assertEqual(answer.status, 200)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.json, {"prompt": "p", "x": 1.5, "model": "gpt-image-1"})
        self.assertEqual(answer.head["x-knight-dropped-params"], "response_format")
        self.assertEqual(self.evidence(gateway), (IMAGE_QUOTA, "provider"))
        row = self.one(gateway)
        self.assertEqual(row["other"]["image_output"], 40)

    def test_pictures_without_usage(self) -> None:
        """A picture of a model priced by tokens counts 1584 of them."""
        gateway = self.gateway(whole(picture(2)))
        body = {"model": "gpt-image-1", "prompt": "a cat", "n": 2}
        gateway.request("/v1/images/generations", body)
        row = self.one(gateway)
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (2, 3168))
        self.assertEqual(row["quota"], (2 + 3168 * 8) * 5 // 2)
        self.assertEqual(row["other"]["evidence"], "counted")

    def test_no_picture_is_no_answer(self) -> None:
        """The next channel is asked; nothing is charged for the first."""
        gateway = self.gateway(whole({"created": 1, "data": []}), priority=9)
        gateway.channel(whole(picture()), models=MODELS)
        body = {"model": "flux", "prompt": "p"}
        self.assertEqual(gateway.request("/v1/images/generations", body).status, 200)
        self.assertEqual(self.one(gateway)["channel_id"], 2)

    def test_bad_picture_requests(self) -> None:
        """400 that names the member."""
        gateway = self.gateway(whole(picture()))
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"model": "flux", "size": "1024\u00d71024"}, "size"),
            ({"model": "flux", "n": 129}, "n"),
            ({"model": "flux", "n": "2"}, "n"),
            ({"model": "dall-e-3", "size": "512x512"}, "size"),
            ({"model": "dall-e-3", "n": 2}, "n"),
            ({"model": "flux", "stream": "yes"}, "stream"),
        )
        for body, param in cases:
            answer = gateway.request("/v1/images/generations", body)
            self.assertEqual((answer.status, answer.error["param"]), (400, param))
        self.assertEqual(gateway.provider.sent, [])

    def test_streamed_pictures(self) -> None:
        """Events go on as they come, the last one after the charge."""
        gateway = self.gateway(coming())
        body = {"model": "gpt-image-1", "prompt": "p", "stream": True}
        answer = gateway.request("/v1/images/generations", body)
        preview = events({"type": "image_generation.partial_image", "b64_json": "eA=="})
        last = events(
            {"type": "image_generation.completed", "b64_json": "eA==",
             "usage": IMAGE_USAGE}
        )  # fmt: skip
        feed = gateway.provider.answers[0]
        feed.arrived(preview)
        self.assertEqual(answer.body, preview)
        feed.arrived(last)
        self.assertEqual(answer.body, preview + last)
        self.assertTrue(answer.complete)
        self.assertEqual(self.evidence(gateway), (IMAGE_QUOTA, "provider"))
        self.assertEqual(
            gateway.provider.sent[0].headers["accept"], "text/event-stream"
        )

    def test_pictures_that_break_off(self) -> None:
        """What was delivered is charged; the client reads an error."""
        gateway = self.gateway(coming())
        body = {"model": "gpt-image-1", "prompt": "a cat", "stream": True}
        answer = gateway.request("/v1/images/generations", body)
        feed = gateway.provider.answers[0]
        feed.arrived(
            events({"type": "image_generation.partial_image", "b64_json": "x"})
        )
        feed.arrived(events({"type": "error", "error": {"message": "bad"}}))
        self.assertIn(b'"error"', answer.body)
        row = self.one(gateway)
        self.assertEqual(row["quota"], (2 + 100 * 8) * 5 // 2)
        self.assertEqual(row["other"]["interrupted"]["by"], "provider")

    def test_pictures_that_should_have_been_streamed(self) -> None:
        """An answer in one piece becomes events, and the other way round."""
        gateway = self.gateway(whole(picture(2, usage=IMAGE_USAGE)))
        body = {"model": "gpt-image-1", "prompt": "p", "n": 2}
        answer = gateway.request("/v1/images/generations", {**body, "stream": True})
        self.assertEqual(answer.body.count(b"event: image_generation.completed"), 2)
        self.assertEqual(answer.body.count(b'"usage"'), 1)
        gateway.provider.script = [plain(answer.body, "text/event-stream")]
        back = gateway.request("/v1/images/generations", body)
        self.assertEqual(back.json, picture(2, usage=IMAGE_USAGE))

    def test_edits_in_a_form(self) -> None:
        """Files keep their bytes; their names and types are those that providers
        take; the model is the channel's."""
        gateway = self.gateway(
            whole(picture(usage=IMAGE_USAGE)),
            model_mapping=json.dumps({"gpt-image-1": "gpt-image-1-x"}),
        )
        asked = form(
            ("model", "gpt-image-1"),
            ("prompt", "h\u00fct"),
            ("n", "1"),
            ("response_format", "b64_json"),
            ("image[0]", PNG, "a.jpg"),
            ("image[1]", b"\r\n", "b"),
            ("mask", PNG, "m.webp"),
        )
        answer = gateway.request("/v1/images/edits", **asked)
        self.assertEqual(answer.status, 200)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/images/edits")
        found = forms.read(sent.body, sent.headers["content-type"])
        self.assertEqual(
            dict(found.fields), {"model": "gpt-image-1-x", "prompt": "h\u00fct", "n": 1}
        )
        self.assertEqual(
            [(p.name, p.filename, p.content_type, p.data) for p in found.files()],
            [
                ("image[]", "a.jpg", "image/jpeg", PNG),
                ("image[]", "b", "image/png", b"\r\n"),
                ("mask", "m.webp", "image/webp", PNG),
            ],
        )
        self.assertEqual(self.evidence(gateway), (IMAGE_QUOTA, "provider"))

    def test_edits_in_json(self) -> None:
        """The bytes of a JSON edit stay; the older path means the same."""
        gateway = self.gateway(whole(picture(usage=IMAGE_USAGE)))
        body = b'{"model": "gpt-image-1", "images": [{"image_url": "x"}], "k": 1.0}'
        self.assertEqual(gateway.request("/v1/edits", body).status, 200)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.body, body)
        self.assertEqual(sent.url, "http://up1.test/v1/images/edits")

    def test_each_attempt_gets_the_form(self) -> None:
        """A second channel sees what the first one saw."""
        gateway = self.gateway(refusal(500), priority=9)
        gateway.channel(whole(picture(usage=IMAGE_USAGE)), models=MODELS)
        asked = form(("prompt", "p"), ("image", PNG, "a.png"))
        self.assertEqual(gateway.request("/v1/images/edits", **asked).status, 200)
        first, second = gateway.provider.sent
        self.assertEqual(first.body, second.body)
        self.assertIn(b'name="image"', first.body)
        self.assertIn(b"gpt-image-1", first.body)

    def test_an_override_changes_fields(self) -> None:
        """Parameters of the channel apply to the fields of a form."""
        gateway = self.gateway(
            whole(picture()),
            param_override=json.dumps({"quality": "low", "k": {"a": 1}}),
        )
        asked = form(("model", "flux"), ("quality", "high"), ("image", PNG, "a.png"))
        gateway.request("/v1/images/edits", **asked)
        (sent,) = gateway.provider.sent
        found = forms.read(sent.body, sent.headers["content-type"])
        self.assertEqual(
            dict(found.fields), {"model": "flux", "quality": "low", "k": '{"a":1}'}
        )

    def test_pass_through_forms(self) -> None:
        """A channel that passes bodies on gets the client's own bytes."""
        gateway = self.gateway(
            whole(picture()), setting='{"pass_through_body_enabled": true}'
        )
        asked = form(("model", "flux"), ("image[7]", PNG, "a.png"))
        gateway.request("/v1/images/edits", **asked)
        self.assertEqual(gateway.provider.sent[0].body, asked["body"])

    def test_words_in_a_form(self) -> None:
        """What is forbidden in a prompt is so in a form, and can be replaced."""
        gateway = self.gateway(whole(picture()))
        gateway.option("SensitiveWords", "badword")
        asked = form(("model", "flux"), ("prompt", "a badword"), ("image", PNG, "a"))
        refused = gateway.request("/v1/images/edits", **asked)
        self.assertEqual(refused.error["code"], "sensitive_words_detected")
        gateway.option("StopOnSensitiveEnabled", "false")
        self.assertEqual(gateway.request("/v1/images/edits", **asked).status, 200)
        (sent,) = gateway.provider.sent
        found = forms.read(sent.body, sent.headers["content-type"])
        self.assertEqual(found.fields["prompt"], "a **###**")
        self.assertEqual(found.files()[0].data, PNG)

    def test_azure(self) -> None:
        """The deployment's path; the form keeps the model."""
        gateway = self.gateway(whole({"text": "hi"}), type=3, other="v1")
        self.hear(gateway)
        (sent,) = gateway.provider.sent
        self.assertEqual(
            sent.url,
            "http://up1.test/openai/deployments/whisper-1/audio/transcriptions"
            "?api-version=v1",
        )
        self.assertEqual(sent.headers["api-key"], "sk-up-1")
        found = forms.read(sent.body, sent.headers["content-type"])
        self.assertEqual(found.fields["model"], "whisper-1")

    # speech -------------------------------------------------------------------

    def speak(self, gateway: Gateway, **members: Any) -> Response:
        """Asks for speech."""
        body = {"input": "h\u00e9llo", "voice": "alloy", **members}
        answer = gateway.request("/v1/audio/speech", body)
        gateway.clock.advance(0)
        return answer

    def test_speech(self) -> None:
        """The recording goes on as it comes, with the provider's type; `tts` models
        cost characters alone."""
        gateway = self.gateway(coming("audio/wav"))
        answer = self.speak(gateway, response_format="wav")
        feed = gateway.provider.answers[0]
        feed.arrived(WAV[:5000])
        self.assertEqual(answer.head["content-type"], "audio/wav")
        self.assertEqual(answer.body, WAV[:4999])
        self.assertFalse(answer.complete)
        feed.arrived(WAV[5000:])
        feed.finished(None)
        self.assertEqual(answer.body, WAV)
        self.assertTrue(answer.complete)
        row = self.one(gateway)
        self.assertEqual(row["quota"], round(5 * 7.5 + 0.01))
        self.assertEqual(row["other"]["text_input"], 5)
        self.assertEqual(row["other"]["audio_output"], 17)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.json["model"], "tts-1")
        self.assertEqual(sent.headers["accept"], "*/*")

    def test_speech_by_its_length(self) -> None:
        """A model without a price for sound charges the seconds as output; by its bytes
        when they cannot be read."""
        gateway = self.gateway(plain(bytes(96_001), "audio/pcm"))
        self.speak(gateway, model="spoken", response_format="pcm")
        row = self.one(gateway)
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (2, 50))
        gateway.provider.script = [plain(bytes(96_001), "audio/x")]
        self.speak(gateway, model="spoken")
        self.assertEqual(gateway.logs()[1]["completion_tokens"], 97)

    def test_speech_that_breaks_off(self) -> None:
        """The connection is cut, what was heard is charged."""
        gateway = self.gateway(coming("audio/wav"))
        answer = self.speak(gateway, model="spoken", response_format="wav")
        feed = gateway.provider.answers[0]
        feed.arrived(WAV[:5000])
        feed.finished(UpstreamFailed("gone"))
        self.assertFalse(answer.complete)
        self.assertNotIn(b"error", answer.raw)
        row = self.one(gateway)
        self.assertEqual(row["completion_tokens"], 17)
        self.assertEqual(row["other"]["interrupted"]["by"], "provider")

    def test_speech_that_never_comes(self) -> None:
        """An error in JSON, or nothing: the next channel."""
        error = {"error": {"message": "no voice", "type": "t"}}
        for bad in (whole(error), plain(b"", "audio/mpeg"), refusal(500)):
            gateway = self.gateway(bad, priority=9)
            gateway.channel(plain(WAV, "audio/wav"), models=MODELS)
            self.assertEqual(self.speak(gateway).body, WAV)
            self.assertEqual(self.one(gateway)["channel_id"], 2)

    def test_speech_in_events(self) -> None:
        """`stream_format: sse`: the usage of the last event is charged."""
        gateway = self.gateway(coming())
        answer = self.speak(gateway, model="spoken", stream_format="sse")
        sound = base64.b64encode(WAV).decode()
        usage = {"input_tokens": 14, "output_tokens": 101, "total_tokens": 115}
        pieces = [
            events({"type": "speech.audio.delta", "audio": sound}),
            events({"type": "speech.audio.done", "usage": usage}),
        ]
        for piece in pieces:
            gateway.provider.answers[0].arrived(piece)
        self.assertEqual(answer.body, b"".join(pieces))
        self.assertEqual(self.evidence(gateway), (115, "provider"))

    def test_speech_in_events_without_usage(self) -> None:
        """The sound in the events is measured."""
        sound = base64.b64encode(WAV).decode()
        stream = events(
            {"type": "speech.audio.delta", "audio": sound},
            {"type": "speech.audio.done"},
        )
        gateway = self.gateway(plain(stream, "text/event-stream"))
        self.speak(gateway, model="spoken", stream_format="sse")
        self.assertEqual(self.one(gateway)["completion_tokens"], 17)
        gateway.provider.script = [plain(stream, "text/event-stream")]
        answer = self.speak(gateway, model="spoken", response_format="wav")
        self.assertEqual((answer.head["content-type"], answer.body), ("audio/wav", WAV))
        gateway.provider.script = [plain(WAV, "audio/wav")]
        again = self.speak(gateway, model="spoken", stream_format="sse")
        self.assertIn(b"event: speech.audio.delta", again.body)

    def test_speech_needs_a_text(self) -> None:
        """400 that names it."""
        gateway = self.gateway(plain(WAV, "audio/wav"))
        answer = self.speak(gateway, input="")
        self.assertEqual((answer.status, answer.error["param"]), (400, "input"))

    # transcripts --------------------------------------------------------------

    def hear(self, gateway: Gateway, *parts: Any, kind: str = "transcriptions") -> Any:
        """Sends a recording."""
        asked = form(*parts, ("file", WAV, "a.wav"))
        return gateway.request(f"/v1/audio/{kind}", **asked)

    def test_transcript(self) -> None:
        """The form is rebuilt with the channel's model; without usage the recording's
        length is charged."""
        gateway = self.gateway(
            whole({"text": "hi"}), model_mapping=json.dumps({"whisper-1": "w"})
        )
        answer = self.hear(
            gateway, ("language", "en"), ("timestamp_granularities[]", "word")
        )
        self.assertEqual(answer.json, {"text": "hi"})
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/audio/transcriptions")
        found = forms.read(sent.body, sent.headers["content-type"])
        fields = {"language": "en", "timestamp_granularities[]": "word", "model": "w"}
        self.assertEqual(dict(found.fields), fields)
        (part,) = found.files("file")
        self.assertEqual((part.filename, part.data), ("a.wav", WAV))
        self.assertEqual(self.evidence(gateway), (17 * 15, "counted"))

    def test_transcript_with_usage(self) -> None:
        """Tokens, or seconds, as the provider reports them."""
        usage = {
            "type": "tokens",
            "input_tokens": 14,
            "output_tokens": 6,
            "total_tokens": 20,
            "input_token_details": {"text_tokens": 0, "audio_tokens": 14},
        }
        gateway = self.gateway(whole({"text": "hi", "usage": usage}))
        self.hear(gateway, ("model", "gpt-4o-transcribe"), kind="translations")
        row = self.one(gateway)
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (14, 6))
        self.assertEqual(row["other"]["evidence"], "provider")
        lasting = {"text": "hi", "usage": {"type": "duration", "seconds": 60}}
        gateway.provider.script = [whole(lasting)]
        self.hear(gateway)
        row = gateway.logs()[1]
        self.assertEqual((row["prompt_tokens"], row["quota"]), (1000, 15_000))

    def test_transcript_as_text(self) -> None:
        """Subtitles and texts go on with the provider's content type, also empty."""
        for kind, told, text in (
            ("srt", "application/x-subrip", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n"),
            ("text", "text/plain; charset=utf-8", b"\n"),
            ("vtt", "text/vtt", b"WEBVTT\n"),
        ):
            gateway = self.gateway(plain(text, told))
            answer = self.hear(gateway, ("response_format", kind))
            self.assertEqual(answer.head["content-type"], told)
            self.assertEqual(answer.body, text)
            self.assertEqual(self.evidence(gateway), (255, "counted"))

    def test_streamed_transcript(self) -> None:
        """Events go on as they come."""
        gateway = self.gateway(coming())
        answer = self.hear(gateway, ("model", "gpt-4o-transcribe"), ("stream", "true"))
        usage = {"input_tokens": 14, "output_tokens": 6, "total_tokens": 20}
        said = events({"type": "transcript.text.delta", "delta": "hi"})
        last = events({"type": "transcript.text.done", "text": "hi", "usage": usage})
        gateway.provider.answers[0].arrived(said)
        self.assertEqual(answer.body, said)
        gateway.provider.answers[0].arrived(last)
        self.assertEqual(answer.body, said + last)
        self.assertEqual(self.one(gateway)["completion_tokens"], 6)
        self.assertTrue(self.one(gateway)["is_stream"])

    def test_transcripts_in_the_other_form(self) -> None:
        """A stream that nobody asked for, and one that was not given."""
        stream = events(
            {"type": "transcript.text.delta", "delta": "h"},
            {"type": "transcript.text.delta", "delta": "i"},
            {"type": "transcript.text.done", "text": "hi"},
        )
        gateway = self.gateway(plain(stream, "text/event-stream"))
        self.assertEqual(self.hear(gateway).json, {"text": "hi"})
        gateway.provider.script = [plain(stream, "text/event-stream")]
        text = self.hear(gateway, ("response_format", "text"))
        self.assertEqual(text.body, b"hi")
        gateway.provider.script = [whole({"text": "hi"})]
        answer = self.hear(gateway, ("stream", "1"))
        self.assertIn(b"event: transcript.text.done", answer.body)

    def test_bad_recordings(self) -> None:
        """No form, no file, two models."""
        gateway = self.gateway(whole({"text": "hi"}))
        path = "/v1/audio/transcriptions"
        self.assertEqual(gateway.request(path, {"model": "whisper-1"}).status, 400)
        missing = gateway.request(path, **form(("model", "whisper-1")))
        self.assertEqual((missing.status, missing.error["param"]), (400, "file"))
        twice = self.hear(gateway, ("model", "whisper-1"), ("model", "x"))
        self.assertEqual((twice.status, twice.error["param"]), (400, "model"))
        broken = form(("file", WAV, "a.wav"))
        broken["body"] = broken["body"][:-10]
        self.assertEqual(gateway.request(path, **broken).status, 400)
        self.assertEqual(gateway.provider.sent, [])

    def test_a_poor_caller_is_measured(self) -> None:
        """Near the limit the recording's length decides, not its size."""
        for quota, status in ((100_000, 200), (7499, 403)):
            gateway = self.gateway(whole({"text": "hi"}))
            gateway.change(schema.users, quota=quota)
            self.assertEqual(self.hear(gateway).status, status)

    # rerankings ---------------------------------------------------------------

    def test_rerank(self) -> None:
        """Three paths, one layout; counted when the provider counts nothing."""
        results = [{"index": 0, "relevance_score": 0.5}]
        for path in ("/v1/rerank", "/rerank", "/v2/rerank"):
            gateway = self.gateway(whole({"results": results}))
            body = {"model": "rerank-1", "query": "a cat", "documents": ["a dog"]}
            answer = gateway.request(path, body)
            self.assertEqual(gateway.provider.sent[0].url, "http://up1.test/v1/rerank")
            self.assertEqual(answer.json["results"], results)
            usage = {"prompt_tokens": 4, "total_tokens": 4}
            self.assertEqual(answer.json["usage"], usage)
            self.assertEqual(self.evidence(gateway), (4, "counted"))
            bad = gateway.request(path, {**body, "documents": []})
            self.assertEqual((bad.status, bad.error["param"]), (400, "documents"))

    def test_rerank_on_cohere(self) -> None:
        """In Cohere's form, and back."""
        given = {"results": [{"index": 1, "relevance_score": 0.9}], "id": "r"}
        gateway = self.gateway(whole(given), type=34)
        body = {"model": "rerank-1", "query": "q", "documents": ["a", {"text": "b"}]}
        answer = gateway.request("/v1/rerank", {**body, "return_documents": True})
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v2/rerank")
        self.assertEqual(sent.json["documents"], ["a", "b"])
        self.assertEqual(answer.json["results"][0]["document"], {"text": "b"})

    # embeddings ---------------------------------------------------------------

    def test_engine_in_the_path(self) -> None:
        """The path names the model when the body does not."""
        given = {"data": [], "usage": {"prompt_tokens": 3, "total_tokens": 3}}
        gateway = self.gateway(whole(given))
        path = "/v1/engines/text-embedding-3-small/embeddings"
        self.assertEqual(gateway.request(path, {"input": "x"}).status, 200)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/embeddings")
        body = {"input": "x", "model": "text-embedding-3-small"}
        self.assertEqual(sent.json, body)
        other = {"input": "x", "model": "gemini-embedding-001"}
        gateway.request(path, other)
        self.assertEqual(gateway.provider.sent[1].json, other)

    def test_openai_embeddings_elsewhere(self) -> None:
        """On Gemini, Cohere and Jina channels, with a usage in any case."""
        body = {"model": "gemini-embedding-001", "input": ["a cat", "a dog"]}
        cases: tuple[tuple[int, Any, str], ...] = (
            (
                24,
                {"embeddings": [{"values": [1.0]}, {"values": [2.0]}]},
                "/v1beta/models/gemini-embedding-001:batchEmbedContents",
            ),
            (34, {"embeddings": {"float": [[1.0], [2.0]]}}, "/v2/embed"),
            (
                38,
                {"data": [{"embedding": [1.0]}, {"embedding": [2.0], "index": 1}]},
                "/v1/embeddings",
            ),
        )
        for kind, given, path in cases:
            gateway = self.gateway(whole(given), type=kind)
            answer = gateway.request("/v1/embeddings", body)
            self.assertEqual(gateway.provider.sent[0].url, f"http://up1.test{path}")
            vectors = [row["embedding"] for row in answer.json["data"]]
            self.assertEqual(vectors, [[1.0], [2.0]])
            usage = {"prompt_tokens": 4, "total_tokens": 4}
            self.assertEqual(answer.json["usage"], usage)
            self.assertEqual(self.evidence(gateway), (4, "counted"))

    def test_gemini_embeddings_natively(self) -> None:
        """The client's own bytes on a Gemini channel; the prompt is counted."""
        given = {"embedding": {"values": [1.0]}}
        gateway = self.gateway(whole(given), type=24)
        path = "/v1beta/models/gemini-embedding-001:embedContent"
        body = b'{"content": {"parts": [{"text": "a cat"}]}, "taskType":"X"}'
        answer = gateway.request(path, body)
        self.assertEqual(answer.json, given)
        (sent,) = gateway.provider.sent
        self.assertEqual((sent.url, sent.body), (f"http://up1.test{path}", body))
        self.assertEqual(self.evidence(gateway), (2, "counted"))

    def test_gemini_embeddings_converted(self) -> None:
        """On a channel that knows OpenAI's alone; what has no equal is reported."""
        usage = {"prompt_tokens": 9, "total_tokens": 9}
        row = {"object": "embedding", "index": 0, "embedding": [1.0]}
        gateway = self.gateway(whole({"data": [row], "usage": usage}))
        content = {"parts": [{"text": "a"}, {"text": "b"}]}
        path = "/v1beta/models/text-embedding-3-small"
        body = {"content": content, "taskType": "X", "outputDimensionality": 8}
        answer = gateway.request(f"{path}:embedContent", body)
        self.assertEqual(answer.json["embedding"], {"values": [1.0]})
        self.assertEqual(answer.head["x-knight-dropped-params"], "taskType")
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/embeddings")
        self.assertEqual(
            sent.json,
            {"model": "text-embedding-3-small", "input": ["a\nb"], "dimensions": 8},
        )
        self.assertEqual(self.evidence(gateway), (9, "provider"))
        batch = {"requests": [{"content": content, "model": "models/x"}]}
        answer = gateway.request(f"{path}:batchEmbedContents", batch)
        self.assertEqual(answer.json["embeddings"], [{"values": [1.0]}])

    def test_gemini_embeddings_on_a_channel_of_embeddings(self) -> None:
        """Cohere and Jina have no chat of Gemini's, but embeddings."""
        given = {"data": [{"embedding": [1.0]}]}
        gateway = self.gateway(whole(given), type=38)
        path = "/v1beta/models/gemini-embedding-001:embedContent"
        answer = gateway.request(path, {"content": {"parts": [{"text": "a"}]}})
        self.assertEqual(answer.json["embedding"], {"values": [1.0]})

    def test_gemini_embeddings_on_vertex(self) -> None:
        """It speaks Gemini, but embeds in a way of its own."""
        values = {"embeddings": {"values": [1.0], "statistics": {"token_count": 3}}}
        gateway = self.gateway(
            whole({"predictions": [values]}),
            type=41,
            settings='{"vertex_key_type": "api_key"}',
        )
        path = "/v1beta/models/gemini-embedding-001:embedContent"
        answer = gateway.request(path, {"content": {"parts": [{"text": "a"}]}})
        self.assertEqual(answer.json["embedding"], {"values": [1.0]})
        (sent,) = gateway.provider.sent
        self.assertIn("/models/gemini-embedding-001:predict?key=", sent.url)
        self.assertEqual(sent.json, {"instances": [{"content": "a"}]})
        self.assertEqual(self.evidence(gateway), (3, "provider"))

    def test_gemini_errors_have_its_shape(self) -> None:
        """What cannot be embedded is named, in Gemini's dialect."""
        gateway = self.gateway(whole({}))
        path = "/v1beta/models/text-embedding-3-small:embedContent"
        body = {"content": {"parts": [{"inlineData": {"data": "x"}}]}}
        answer = gateway.request(path, body)
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.json["error"]["status"], "INVALID_ARGUMENT")
        predict = gateway.request("/v1beta/models/imagen-4:predict", {"instances": [1]})
        self.assertEqual(predict.status, 400)
        reason = predict.json["error"]["details"][0]["reason"]
        self.assertEqual(reason, "unsupported_endpoint")

    def test_predict(self) -> None:
        """Imagen natively: by the number of pictures that came."""
        given = {"predictions": [{"bytesBase64Encoded": "aGk="}] * 2}
        gateway = self.gateway(whole(given), type=24)
        path = "/v1beta/models/imagen-4:predict"
        body = {"instances": [{"prompt": "a cat"}], "parameters": {"sampleCount": 4}}
        answer = gateway.request(path, body)
        self.assertEqual(answer.json, given)
        self.assertEqual(gateway.provider.sent[0].url, f"http://up1.test{path}")
        row = self.one(gateway)
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (2, 516))

    def test_pictures_of_imagen(self) -> None:
        """OpenAI's pictures on a Gemini channel."""
        given = {"predictions": [{"bytesBase64Encoded": "aGk="}]}
        gateway = self.gateway(whole(given), type=24)
        body = {"model": "imagen-4", "prompt": "p", "size": "1024x1024"}
        answer = gateway.request("/v1/images/generations", body)
        self.assertEqual(answer.json["data"], [{"b64_json": "aGk="}])
        self.assertIn(":predict", gateway.provider.sent[0].url)

    # the rest -----------------------------------------------------------------

    def test_alpha_search(self) -> None:
        """The body as it is, to the gateways that have it; the input is charged."""
        gateway = self.gateway(whole({"results": []}), type=60)
        body = b'{"model": "search-1", "q": 1.0}'
        self.assertEqual(gateway.request("/v1/alpha/search", body).status, 200)
        (sent,) = gateway.provider.sent
        self.assertEqual(sent.url, "http://up1.test/v1/alpha/search")
        self.assertEqual(sent.body, body)
        self.assertEqual(self.one(gateway)["other"]["evidence"], "counted")

    def test_unserved_work_is_told(self) -> None:
        """A channel without such work: 400 that other channels may answer."""
        gateway = self.gateway(whole({}), type=43)
        answer = self.speak(gateway)
        self.assertEqual(answer.status, 400)
        self.assertEqual(answer.error["code"], "unsupported_endpoint")
        self.assertEqual(gateway.logs(), [])


class FastLane(Cases, SynchronousTestCase):
    """By our own protocol."""


class GeneralLane(Cases, SynchronousTestCase):
    """By `twisted.web`."""

    fast = False
