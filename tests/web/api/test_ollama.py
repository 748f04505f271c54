"""`/api/channel/ollama` over the real site."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from knight_tw.channels import ollama
from knight_tw.channels.ollama import Ollama
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.errors import UpstreamFailed
from knight_tw.storage import channels
from tests.web.api.test_channels import Case
from tests.web.gateway import now

BASE = "http://ollama:11434"


class OllamaTests(Case):
    """Versions, loading, deleting."""

    def setUp(self) -> None:
        """An Ollama channel."""
        super().setUp()
        self.made = self.gateway.add_channel(type=4, base_url=f"{BASE}/")
        self.answers = self.gateway.upstream.answers

    def ask(self, path: str, **body: Any) -> Any:
        """The answer to an action."""
        told = {"channel_id": self.made, "model_name": "llama3", **body}
        method = "DELETE" if path == "delete" else "POST"
        return self.root.ask(method, f"/api/channel/ollama/{path}", told)

    def test_version(self) -> None:
        """The server's version."""
        self.answers[f"{BASE}/api/version"] = (200, {"version": "0.9"})
        path = f"/api/channel/ollama/version/{self.made}"
        self.assertEqual(self.root.get(path).data, {"version": "0.9"})

    def test_delete(self) -> None:
        """A model is deleted by name."""
        self.answers[f"{BASE}/api/delete"] = (200, b"")
        self.assertTrue(self.ask("delete").json["success"])
        sent = self.gateway.upstream.sent[-1]
        self.assertEqual(
            (sent["method"], sent["body"]), ("DELETE", b'{"name":"llama3"}')
        )

    def test_pull(self) -> None:
        """A model is loaded; what the server says against it is told."""
        url = f"{BASE}/api/pull"
        self.answers[url] = (200, {"status": "success"})
        self.assertTrue(self.ask("pull").json["success"])
        self.answers[url] = (200, {"error": "no such model"})
        self.assertEqual(self.ask("pull").json["message"], "no such model")

    def test_steps(self) -> None:
        """Each step is an event; the end is marked."""
        lines = (
            b'{"status":"pulling","total":9,"completed":3,"x":1}\nodd\n{"status":"ok"}'
        )
        self.answers[f"{BASE}/api/pull"] = (200, lines)
        answer = self.ask("pull/stream")
        self.assertEqual(answer.get("Content-Type"), "text/event-stream")
        self.assertEqual(
            answer.body,
            b'data: {"status":"pulling","total":9,"completed":3}\n\n'
            b'data: {"status":"ok"}\n\ndata: [DONE]\n\n',
        )

    def test_failures_on_the_way(self) -> None:
        """A failure is an event too."""
        wrong: tuple[Any, ...] = (
            (200, b'{"error":"disk full"}\n{"status":"late"}\n'),
            UpstreamFailed("disk full"),
        )
        for answer in wrong:
            self.answers[f"{BASE}/api/pull"] = answer
            self.assertEqual(
                self.ask("pull/stream").body,
                b'data: {"error":"disk full"}\n\ndata: [DONE]\n\n',
            )

    def test_a_line_without_end(self) -> None:
        """No line is kept beyond its bound."""
        self.patch(ollama, "MOST_LINE", 10)
        self.answers[f"{BASE}/api/pull"] = (200, b"x" * 50)
        self.assertIn(b"too long", self.ask("pull/stream").body)

    def test_a_client_that_leaves(self) -> None:
        """The server is not asked any further when nobody listens."""
        aborted: list[bool] = []

        class Slow:
            status = 200

            def deliver(self, receiver: Any, idle_timeout: float) -> None:
                """Never comes."""

            def abort(self) -> None:
                """Cut."""
                aborted.append(True)

        def send(*asked: Any, **options: Any) -> Deferred[Any]:
            answer: Deferred[Any] = Deferred()
            answer.callback(Slow())
            return answer

        channel = now(self.gateway.db.read(channels.load, self.made))
        assert channel is not None
        server = Ollama(ChannelClient(send))
        work = server.watch_pull(channel, "m", lambda step: None)
        waiting: Deferred[None] = Deferred.fromCoroutine(work)
        waiting.cancel()
        self.failureResultOf(waiting)
        self.assertEqual(aborted, [True])

    def test_refusals(self) -> None:
        """Only Ollama channels, by those who may; names are needed."""
        other = self.gateway.add_channel()
        for answer in (
            self.ask("pull", channel_id=other),
            self.root.get(f"/api/channel/ollama/version/{other}"),
        ):
            self.assertEqual(answer.status, 400)
        self.assertEqual(self.ask("pull", channel_id=99).code, "not_found")
        self.assertEqual(self.ask("delete", model_name=None).code, "missing_field")
        self.strict()
        path = f"/api/channel/ollama/version/{self.made}"
        self.assertEqual(self.adm.get(path).status, 403)
