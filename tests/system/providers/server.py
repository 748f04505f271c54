"""The strict providers on one loopback port, told apart by the path."""

from __future__ import annotations

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import ModuleType
from typing import Any, Protocol

from attrs import define, field, frozen

from tests.system.providers import chat, claude, gemini, rerank, responses
from tests.system.providers.heard import Heard, Json
from tests.system.scenarios import Turn, after, asking

PATHS = {
    "/v1/chat/completions": chat,
    "/v1/responses": responses,
    "/v1/messages": claude,
}
ACTION = re.compile(r"/v1beta/models/(?P<model>[^:]+):(?P<action>\w+)\Z")
BROKEN = re.compile(r"-fails-(?P<how>\w+)\Z")
"""How a model's name ends that answers with a status, or breaks (`cut`)."""


@frozen
class Asked:
    """One request, as it came."""

    dialect: ModuleType
    body: Json
    problems: list[str]
    headers: dict[str, str]
    action: str = ""

    @property
    def heard(self) -> Heard:
        """What it says."""
        heard: Heard = self.dialect.read(self.body)
        return heard


class Script(Protocol):
    """What is answered: the next turn, and how many turns there were before."""

    def __call__(self, heard: Heard) -> tuple[Turn, int]: ...


def scenario_turn(heard: Heard) -> tuple[Turn, int]:
    """The turn of the scenario that the conversation began with.

    Raises:
        LookupError: nothing begins so.
    """
    scenario = asking(heard.question)
    if scenario is None:
        raise LookupError(f"nobody asked {heard.question!r}")
    return after(scenario, heard.spoken), heard.spoken


@define(eq=False)
class Providers:
    """All providers behind one address.

    Attributes:
        script: Finds the answers to conversations.
        asked: What they were asked.
    """

    script: Script = scenario_turn
    asked: list[Asked] = field(factory=list)
    url: str = ""
    _server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        """Listen."""
        providers = self

        class Connection(_Connection):
            owner = providers

        self._server = _Server(("127.0.0.1", 0), Connection)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()

    def take(self) -> list[Asked]:
        """What was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked

    def turn(self, asked: Asked) -> tuple[Turn, int]:
        """The answer to a request."""
        return self.script(asked.heard)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tests print nothing."""


class _Connection(BaseHTTPRequestHandler):
    """One connection; stays open between requests."""

    owner: Providers
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""

    def do_POST(self) -> None:
        """Answer one request, or refuse it."""
        body: Json = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        found = ACTION.match(path)
        if found:
            action = found["action"]
            named = {"model": found["model"], "stream": action.startswith("stream")}
            body = gemini.camel(body) | named
            self._answer(Asked(gemini, body, gemini.check(body), headers, action))
        elif path.endswith("/count_tokens"):
            body |= {"max_tokens": 1}
            self._answer(Asked(claude, body, claude.check(body), headers, "count"))
        elif path in rerank.PATHS:
            body |= {"provider": rerank.PATHS[path]}
            self._answer(Asked(rerank, body, rerank.check(body), headers, "rerank"))
        elif path in PATHS:
            dialect = PATHS[path]
            self._answer(Asked(dialect, body, dialect.check(body), headers))
        else:
            self._whole(404, {"error": {"message": f"nothing at {path}"}})

    def _answer(self, asked: Asked) -> None:
        self.owner.asked.append(asked)
        broken = BROKEN.search(asked.body["model"])
        how = broken["how"] if broken else ""
        if asked.problems:
            failure = asked.dialect.failure(400, "; ".join(asked.problems))
            return self._whole(400, failure)
        if how.isdigit():
            text = f"the provider says {how}"
            return self._whole(int(how), asked.dialect.failure(int(how), text))
        if asked.action.startswith("count"):
            return self._whole(200, asked.dialect.count(asked.body))
        if asked.action == "rerank":
            return self._whole(200, rerank.answer(asked.body))
        try:
            turn, spoken = self.owner.turn(asked)
        except LookupError as error:
            return self._whole(400, asked.dialect.failure(400, str(error)))
        if asked.body.get("stream"):
            return self._stream(asked.dialect.events(turn, spoken, asked.body), how)
        return self._whole(200, asked.dialect.answer(turn, spoken, asked.body))

    def _whole(self, status: int, value: Json) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()

    def _stream(self, events: list[tuple[str, Json | str]], how: str) -> None:
        """All events; of a provider that breaks, the half of them."""
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for name, data in events[: len(events) // 2] if how == "cut" else events:
            text = data if isinstance(data, str) else json.dumps(data)
            event = f"event: {name}\n" * bool(name) + f"data: {text}\n\n"
            content = event.encode()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(content), content))
            self.wfile.flush()
        if how == "cut":
            self.close_connection = True
            with contextlib.suppress(OSError):
                self.connection.shutdown(2)
            return
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()
