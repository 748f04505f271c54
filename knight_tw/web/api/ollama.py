"""`/api/channel/ollama`: models on the servers of Ollama channels (management API,
section 7.1)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.channels import ollama
from knight_tw.channels.ollama import Ollama
from knight_tw.errors import KnightError
from knight_tw.records import Channel
from knight_tw.storage import channels
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    encode,
    install,
    integer,
    json_body,
    not_found,
    ok,
    put_header,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

_STEP = ("status", "digest", "total", "completed")


@frozen
class OllamaPages:
    """Loads and deletes models."""

    _guard: Guard
    _db: Database
    _ollama: Ollama
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/channel/ollama/version/<int:channel_id>", methods=["GET"])
    @allow(Who.SENSITIVE_WRITE)
    async def version(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """The server's version."""
        channel = await self._channel(channel_id)
        return ok({"version": await self._ollama.version(channel)})

    @app.route("/api/channel/ollama/delete", methods=["DELETE"])
    @allow(Who.SENSITIVE_WRITE)
    async def delete(self, request: Request, viewer: Viewer) -> bytes:
        """Delete a model."""
        channel, model = await self._asked(request, viewer, "channel.ollama_delete")
        await self._ollama.delete(channel, model)
        return ok(message=f"{model} is deleted")

    @app.route("/api/channel/ollama/pull", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE, finishes=False)
    async def pull(self, request: Request, viewer: Viewer) -> bytes:
        """Load a model, and wait for it."""
        channel, model = await self._asked(request, viewer, "channel.ollama_pull")
        await self._ollama.pull(channel, model)
        return ok(message=f"{model} is loaded")

    @app.route("/api/channel/ollama/pull/stream", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE, finishes=False)
    async def watch_pull(self, request: Request, viewer: Viewer) -> bytes:
        """Load a model, and tell each step as an event."""
        channel, model = await self._asked(request, viewer, "channel.ollama_pull")
        put_header(request, "Content-Type", "text/event-stream")

        def told(step: Mapping[str, Any]) -> None:
            shown = {name: step[name] for name in _STEP if name in step}
            _event(request, encode(shown))

        try:
            await self._ollama.watch_pull(channel, model, told)
        except KnightError as error:
            _event(request, encode({"error": error.message}))
        return b"data: [DONE]\n\n"

    async def _asked(
        self, request: Request, viewer: Viewer, action: str
    ) -> tuple[Channel, str]:
        """Channel and model of a request, which is recorded."""
        body = json_body(request)
        model = text(body, "model_name", longest=255)
        channel = await self._channel(integer(body, "channel_id"))
        told = {"id": channel.id, "model": model}
        self._audit.write(request, viewer, action, told)
        return channel, model

    async def _channel(self, channel_id: int) -> Channel:
        channel = await self._db.read(channels.load, channel_id)
        if channel is None:
            raise not_found()
        if channel.type != ollama.TYPE:
            raise Refusal("this is only for Ollama channels", 400)
        return channel


def _event(request: Request, content: bytes) -> None:
    request.write(b"data: " + content + b"\n\n")  # type: ignore[no-untyped-call]
