"""A scripted provider of realtime sessions on a loopback port."""

from __future__ import annotations

import contextlib
import json
import threading
from typing import Any

from attrs import define, field
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import Server, ServerConnection, serve

USAGE = {
    "total_tokens": 150,
    "input_tokens": 100,
    "output_tokens": 50,
    "input_token_details": {"text_tokens": 100, "audio_tokens": 0, "cached_tokens": 0},
    "output_token_details": {"text_tokens": 50, "audio_tokens": 0},
}
WORDS = ("Hello ", "there")


@define(eq=False)
class RealtimeProvider:
    """Answers every `response.create` with two words.

    Attributes:
        heard: Types of the client's events, in order.
        paths: Request targets of the handshakes.
        hesitates: Answers stop before their last word until `go` is set.
    """

    heard: list[str] = field(factory=list)
    paths: list[str] = field(factory=list)
    hesitates: bool = False
    go: threading.Event = field(factory=threading.Event)
    port: int = 0
    _server: Server | None = None

    @property
    def url(self) -> str:
        """Its address, as a channel has it."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Listen."""
        self._server = serve(self._session, "127.0.0.1", 0, max_size=2**25)
        self.port = int(self._server.socket.getsockname()[1])
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        self.go.set()
        if self._server is not None:
            self._server.shutdown()

    def _session(self, connection: ServerConnection) -> None:
        request = connection.request
        self.paths.append(request.path if request else "")
        session = {"type": "realtime", "id": "sess_1", "model": "m"}
        self._say(connection, type="session.created", session=session)
        with contextlib.suppress(ConnectionClosed):
            for message in connection:
                event = json.loads(message)
                self.heard.append(event["type"])
                if event["type"] == "session.update":
                    self._say(connection, type="session.updated", session=session)
                elif event["type"] == "response.create":
                    self._answer(connection)

    def _answer(self, connection: ServerConnection) -> None:
        response: dict[str, Any] = {"id": "resp_1", "object": "realtime.response"}
        self._say(connection, type="response.created", response=response)
        for word in WORDS:
            if self.hesitates and word == WORDS[-1]:
                self.go.wait(20)
            self._say(connection, type="response.output_text.delta", delta=word)
        finished = {**response, "status": "completed", "usage": USAGE, "output": []}
        self._say(connection, type="response.done", response=finished)

    def _say(self, connection: ServerConnection, **event: Any) -> None:
        connection.send(json.dumps({"event_id": "e", **event}))
