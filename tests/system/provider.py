"""A scripted provider on a loopback port: OpenAI chat, with tools and streams."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city":"Paris"}'},
}


class Provider:
    """Answers `Hello` from its name, or a tool call when tools are offered.

    Attributes:
        bodies: What was asked, in order.
        pause: Seconds between the events of a stream.
    """

    def __init__(self, name: str = "provider") -> None:
        self.name = name
        self.bodies: list[dict[str, Any]] = []
        self.pause = 0.0
        self.failing = 0
        provider = self

        class Asked(_Asked):
            owner = provider

        self.sockets: set[socket.socket] = set()
        self._server = _Server(("127.0.0.1", 0), Asked)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection."""
        self._server.shutdown()
        self._server.server_close()
        for connection in list(self.sockets):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A gateway that was killed, or a closed provider: tests print nothing."""


class _Asked(BaseHTTPRequestHandler):
    """One connection; keeps it open between requests."""

    owner: Provider
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self) -> None:
        """Remember the connection, so that `Provider.stop` can cut it."""
        super().setup()
        self.owner.sockets.add(self.connection)

    def finish(self) -> None:
        """Forget it."""
        self.owner.sockets.discard(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""

    def do_POST(self) -> None:
        """Answer a chat request."""
        size = int(self.headers["Content-Length"])
        body = json.loads(self.rfile.read(size))
        self.owner.bodies.append(body)
        if self.owner.failing:
            self._json(self.owner.failing, {"error": {"message": "broken"}})
        elif body.get("stream"):
            self._stream(body)
        else:
            self._json(200, self._completion(body))

    def _message(self, body: dict[str, Any]) -> dict[str, Any]:
        asked = body["messages"][-1]
        if body.get("tools") and asked["role"] != "tool":
            return {"role": "assistant", "content": None, "tool_calls": [CALL]}
        return {"role": "assistant", "content": f"Hello from {self.owner.name}"}

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        message = self._message(body)
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        choice = {"index": 0, "message": message, "finish_reason": reason}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [choice],
            "usage": USAGE,
        }

    def _json(self, status: int, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
        self.wfile.flush()

    def _stream(self, body: dict[str, Any]) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for data in self._events(body):
            event = b"data: " + data + b"\n\n"
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
            if self.owner.pause:
                threading.Event().wait(self.owner.pause)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()

    def _events(self, body: dict[str, Any]) -> list[bytes]:
        message = self._message(body)
        pieces: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
        if message.get("tool_calls"):
            pieces.append({"tool_calls": [{"index": 0, **CALL}]})
        else:
            words = str(message["content"]).split(" ")
            pieces += [
                {"content": f"{' ' if n else ''}{w}"} for n, w in enumerate(words)
            ]
        reason = "tool_calls" if message.get("tool_calls") else "stop"
        chunks = [self._chunk(body, piece, None) for piece in pieces]
        chunks.append(self._chunk(body, {}, reason))
        if (body.get("stream_options") or {}).get("include_usage"):
            chunks.append(
                {**self._chunk(body, {}, None), "choices": [], "usage": USAGE}
            )
        return [*(json.dumps(chunk).encode() for chunk in chunks), b"[DONE]"]

    def _chunk(
        self, body: dict[str, Any], delta: dict[str, Any], reason: str | None
    ) -> dict[str, Any]:
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "delta": delta, "finish_reason": reason}],
        }
