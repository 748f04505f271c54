"""Pictures, speech, transcripts and embeddings through the real `openai` client.

The provider reads forms by a parser of its own, and is as strict as the real one about
what it was sent.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
from attrs import define, field
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.formparser import parse_form_data

from tests.system.process import Process

WAV = (
    Path(__file__).parent.parent / "wire" / "recordings" / "tone.wav"
).read_bytes()  # fmt: skip
PICTURE = base64.b64encode(b"\x89PNG\r\n\x1a\npicture").decode()
USAGE = {
    "input_tokens": 50,
    "output_tokens": 1000,
    "total_tokens": 1050,
    "input_tokens_details": {"text_tokens": 10, "image_tokens": 40},
}
HEARD = {"type": "tokens", "input_tokens": 14, "output_tokens": 6, "total_tokens": 20}
MODELS = "gpt-image-1,tts-1,whisper-1,gpt-4o-transcribe,text-embedding-3-small"


@define(eq=False)
class Provider:
    """A provider of everything but chat.

    Attributes:
        asked: (path, fields, files by name) of each request.
    """

    asked: list[tuple[str, dict[str, Any], dict[str, list[bytes]]]] = field(
        factory=list
    )
    url: str = ""
    _server: Any = None

    def start(self) -> None:
        """Listen."""
        provider = self

        class Asked(_Asked):
            owner = provider

        self._server = _Server(("127.0.0.1", 0), Asked)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that the gateway has closed: tests print nothing."""


class _Asked(BaseHTTPRequestHandler):
    owner: Provider
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""

    def do_POST(self) -> None:
        """Read what is asked and answer it."""
        fields, files = self._read()
        path = self.path
        self.owner.asked.append((path, fields, files))
        streamed = fields.get("stream") in (True, "true")
        if path.startswith("/v1/images/"):
            self._pictures(path, streamed)
        elif path == "/v1/audio/speech":
            self._speech(fields)
        elif path == "/v1/embeddings":
            row = {"object": "embedding", "index": 0, "embedding": [0.5, -1.0]}
            usage = {"prompt_tokens": 8, "total_tokens": 8}
            self._json({"object": "list", "data": [row], "usage": usage})
        elif streamed:
            said = {"type": "transcript.text.delta", "delta": "hi"}
            last = {"type": "transcript.text.done", "text": "hi", "usage": HEARD}
            self._events(said, last)
        elif fields.get("response_format") == "srt":
            self._answer("text/plain", b"1\n00:00:00,000 --> 00:00:01,000\nhi\n")
        else:
            self._json({"text": "hi"})

    def _read(self) -> tuple[dict[str, Any], dict[str, list[bytes]]]:
        kind = self.headers["Content-Type"]
        if kind == "application/json":
            size = int(self.headers["Content-Length"])
            return json.loads(self.rfile.read(size)), {}
        environ = {
            "wsgi.input": self.rfile,
            "CONTENT_TYPE": kind,
            "CONTENT_LENGTH": self.headers["Content-Length"],
            "REQUEST_METHOD": "POST",
        }
        _, form, files = parse_form_data(environ, silent=False)
        found = {name: [f.read() for f in files.getlist(name)] for name in files}
        return dict(form), found

    def _pictures(self, path: str, streamed: bool) -> None:
        kind = "image_edit" if path.endswith("edits") else "image_generation"
        if not streamed:
            data = [{"b64_json": PICTURE}]
            self._json({"created": 1, "data": data, "usage": USAGE})
            return
        common = {"b64_json": PICTURE, "created_at": 1, "size": "1024x1024"}
        preview = {"type": f"{kind}.partial_image", "partial_image_index": 0, **common}
        self._events(preview, {"type": f"{kind}.completed", "usage": USAGE, **common})

    def _speech(self, fields: dict[str, Any]) -> None:
        if fields.get("stream_format") == "sse":
            sound = base64.b64encode(WAV).decode()
            done = {"type": "speech.audio.done", "usage": USAGE}
            self._events({"type": "speech.audio.delta", "audio": sound}, done)
        else:
            self._answer("audio/wav", WAV)

    def _json(self, value: Any) -> None:
        self._answer("application/json", json.dumps(value).encode())

    def _events(self, *events: dict[str, Any]) -> None:
        pieces = (
            f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events
        )
        self._answer("text/event-stream", "".join(pieces).encode())

    def _answer(self, kind: str, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


class Client(SynchronousTestCase):
    """What a user with the `openai` client sees."""

    timeout = 120

    def setUp(self) -> None:
        self.provider = Provider()
        self.provider.start()
        self.addCleanup(self.provider.stop)
        self.process = Process(Path(self.mktemp()).absolute())
        self.addCleanup(self.process.stop)
        self.process.start()
        key = self.process.set_up()
        self.process.channel(self.provider.url, models=MODELS)
        ratios = json.dumps(dict.fromkeys(MODELS.split(","), 1))
        self.process.call("PUT", "/api/option/", {"key": "ModelRatio", "value": ratios})
        self.client = openai.OpenAI(
            api_key=key, base_url=f"{self.process.url}/v1", max_retries=0
        )
        self.addCleanup(self.client.close)

    def test_everything(self) -> None:
        """One process, one of each; every call is charged once."""
        self.pictures()
        self.speech()
        self.transcripts()
        self.embeddings()
        rows = self.settled(len(self.provider.asked))
        self.assertEqual(len(rows), len(self.provider.asked))
        self.assertTrue(all(row["quota"] > 0 for row in rows))

    def settled(self, count: int) -> list[dict[str, Any]]:
        """The log once it has `count` rows."""
        end = time.monotonic() + 10
        while len(rows := self.process.logs()) < count and time.monotonic() < end:
            time.sleep(0.05)
        return rows

    def pictures(self) -> None:
        """Generated and edited, whole and streamed."""
        images: Any = self.client.images
        made = images.generate(model="gpt-image-1", prompt="a cat")
        self.assertEqual(made.data[0].b64_json, PICTURE)
        self.assertEqual(made.usage.output_tokens, 1000)
        kinds = [
            event.type
            for event in images.generate(
                model="gpt-image-1", prompt="p", stream=True, partial_images=1
            )
        ]
        self.assertEqual(
            kinds, ["image_generation.partial_image", "image_generation.completed"]
        )
        files = [("a.png", b"one\r\n--", "image/png"), ("b.webp", b"two")]
        images.edit(model="gpt-image-1", prompt="h\u00fct", image=files, n=1)
        path, fields, found = self.provider.asked[-1]
        self.assertEqual(path, "/v1/images/edits")
        self.assertEqual(
            fields, {"model": "gpt-image-1", "prompt": "h\u00fct", "n": "1"}
        )
        self.assertEqual(found, {"image[]": [b"one\r\n--", b"two"]})
        events = list(images.edit(image=files[0], prompt="p", stream=True))
        self.assertEqual(events[-1].type, "image_edit.completed")
        self.assertEqual(self.provider.asked[-1][2], {"image": [b"one\r\n--"]})

    def speech(self) -> None:
        """As bytes, as they come, and as events."""
        create: Any = self.client.audio.speech.create
        whole = create(model="tts-1", voice="alloy", input="hi", response_format="wav")
        self.assertEqual(whole.content, WAV)
        self.assertEqual(whole.response.headers["content-type"], "audio/wav")
        streaming: Any = self.client.audio.speech.with_streaming_response
        with streaming.create(model="tts-1", voice="alloy", input="hi") as coming:
            self.assertEqual(b"".join(coming.iter_bytes()), WAV)
        events = create(model="tts-1", voice="alloy", input="hi", stream_format="sse")
        self.assertIn(b"speech.audio.done", events.content)

    def transcripts(self) -> None:
        """As JSON, as subtitles, as a stream; translated."""
        audio: Any = self.client.audio
        file = ("a.wav", WAV)
        heard = audio.transcriptions.create(
            model="whisper-1", file=file, timestamp_granularities=["word", "segment"]
        )
        self.assertEqual(heard.text, "hi")
        _, fields, files = self.provider.asked[-1]
        self.assertEqual(fields["model"], "whisper-1")
        self.assertEqual(files, {"file": [WAV]})
        srt = audio.transcriptions.create(
            model="whisper-1", file=file, response_format="srt"
        )
        self.assertIn("-->", srt)
        stream = audio.transcriptions.create(
            model="gpt-4o-transcribe", file=file, stream=True
        )
        self.assertEqual([event.type for event in stream][-1], "transcript.text.done")
        done = audio.translations.create(model="whisper-1", file=file)
        self.assertEqual(done.text, "hi")
        with self.assertRaises(openai.NotFoundError):
            audio.transcriptions.create(model="unknown", file=file)

    def embeddings(self) -> None:
        """The client asks for base64 by itself."""
        made = self.client.embeddings.create(model="text-embedding-3-small", input="x")
        self.assertEqual(made.data[0].embedding, [0.5, -1.0])
