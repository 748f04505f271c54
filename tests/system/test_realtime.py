"""Realtime sessions with the real `openai` client, through a gateway in its process."""

from __future__ import annotations

import importlib.util
import signal
import time
from pathlib import Path
from typing import Any

import openai
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from tests.system.process import Process

MODEL = "gpt-4o-realtime-preview"
CHARGE = 750
"""100 tokens in and 50 out: (100 + 50 * 4) * 2.5."""


class Sessions(SynchronousTestCase):
    """A gateway, a provider behind it, a client in front."""

    timeout = 120

    def setUp(self) -> None:
        if importlib.util.find_spec("websockets") is None:
            raise SkipTest("the realtime extra of the openai package is not installed")
        from tests.system.realtime import RealtimeProvider

        self.provider = RealtimeProvider()
        self.provider.start()
        self.addCleanup(self.provider.stop)
        self.process = Process(Path(self.mktemp()).absolute())
        self.addCleanup(self.process.stop)
        self.process.start()
        self.key = self.process.set_up()
        self.process.channel(self.provider.url, models=MODEL)
        self.client = self.connecting(self.key)

    def connecting(self, key: str) -> openai.OpenAI:
        """A client with a key."""
        client = openai.OpenAI(
            api_key=key, base_url=f"{self.process.url}/v1", max_retries=0
        )
        self.addCleanup(client.close)
        return client

    def turn(self, connection: Any) -> str:
        """Asks something; the answer's text."""
        item: Any = {
            "type": "message",
            "role": "user",
            "content": [{"type": "input_text", "text": "hello"}],
        }
        connection.conversation.item.create(item=item)
        connection.response.create()
        text = ""
        for event in connection:
            if event.type == "response.output_text.delta":
                text += event.delta
            if event.type == "response.done":
                break
        return text

    def row(self) -> dict[str, Any]:
        """The only log row, once it is there."""
        end = time.monotonic() + 10
        while not (rows := self.process.logs()) and time.monotonic() < end:
            time.sleep(0.05)
        (row,) = rows
        return row

    def closed_row(self) -> dict[str, Any]:
        """The same once the session is over."""
        end = time.monotonic() + 10
        while time.monotonic() < end:
            row = self.row()
            if "session" in row["other"]:
                break
            time.sleep(0.05)
        return row

    def test_conversation(self) -> None:
        """Two turns: the client sees every event, and pays once for each."""
        started = self.process.quota()
        with self.client.realtime.connect(model=MODEL) as connection:
            self.assertEqual(connection.recv().type, "session.created")
            connection.session.update(session={"type": "realtime"})
            self.assertEqual(connection.recv().type, "session.updated")
            for _ in range(2):
                self.assertEqual(self.turn(connection), "Hello there")
        row = self.closed_row()
        self.assertEqual(row["quota"], 2 * CHARGE)
        self.assertEqual((row["prompt_tokens"], row["completion_tokens"]), (200, 100))
        self.assertIn('"ws":true', row["other"].replace(" ", ""))
        self.assertEqual(self.process.quota(), started - 2 * CHARGE)
        self.assertEqual(self.provider.paths, [f"/v1/realtime?model={MODEL}"])
        self.assertEqual(self.provider.heard[0], "session.update")

    def test_azures_client(self) -> None:
        """Azure's client names a deployment and sends an `api-key`."""
        client = openai.AzureOpenAI(
            api_key=self.key,
            api_version="2025-04-01-preview",
            azure_endpoint=self.process.url,
            websocket_base_url=f"ws://127.0.0.1:{self.process.port}/v1",
        )
        self.addCleanup(client.close)
        with client.realtime.connect(model=MODEL) as connection:
            self.assertEqual(self.turn(connection), "Hello there")

    def test_refusal(self) -> None:
        """A wrong key is an HTTP error, before any session."""
        from websockets.exceptions import InvalidStatus

        with self.assertRaises(InvalidStatus) as caught:
            self.connecting("sk-wrong").realtime.connect(model=MODEL).enter()
        self.assertEqual(caught.exception.response.status_code, 401)
        self.assertIn(b"invalid_api_key", caught.exception.response.body)
        with self.assertRaises(InvalidStatus) as caught:
            self.client.realtime.connect(model="nothing").enter()
        self.assertEqual(caught.exception.response.status_code, 404)
        self.assertEqual(self.provider.paths, [])

    def test_killed(self) -> None:
        """After `kill -9` the row holds the turns that were settled by then."""
        started = self.process.quota()
        connection = self.client.realtime.connect(model=MODEL).enter()
        for _ in range(2):
            self.turn(connection)
        self.process.kill()
        connection.close()
        self.process.start()
        self.assertEqual(self.row()["quota"], 2 * CHARGE)
        self.assertEqual(self.process.quota(), started - 2 * CHARGE)

    def test_terminated(self) -> None:
        """An answer that is under way comes to its end, then the session does."""
        self.provider.hesitates = True
        connection = self.client.realtime.connect(model=MODEL).enter()
        self.assertEqual(connection.recv().type, "session.created")
        connection.response.create()
        self.assertEqual(connection.recv().type, "response.created")
        self.assertEqual(connection.recv().type, "response.output_text.delta")
        self.process.terminate()
        time.sleep(0.3)
        self.provider.go.set()
        kinds = [connection.recv().type, connection.recv().type]
        self.assertEqual(kinds, ["response.output_text.delta", "response.done"])
        from websockets.exceptions import ConnectionClosed

        with self.assertRaises(ConnectionClosed) as caught:
            connection.recv()
        assert caught.exception.rcvd is not None
        self.assertEqual(caught.exception.rcvd.code, 1012)
        self.assertIn(self.process.ended(), (0, -signal.SIGTERM))
        self.process.start()
        self.assertEqual(self.row()["quota"], CHARGE)
