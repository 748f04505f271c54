"""What an Ollama server does beside answering: loading and deleting models (providers
specification, section 7.7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import Deferred

from knight_tw.channels.discovery import first_usable_key
from knight_tw.channels.upstreams import Answer, ChannelClient, decoded
from knight_tw.errors import BadUpstreamBody, KnightError, UpstreamRefused
from knight_tw.providers.identity import identify
from knight_tw.records import Channel

TYPE = 4

PULL_SECONDS = 3600.0
"""How long loading a model may take."""

SILENCE_SECONDS = 300.0
"""How long a server may be silent while it loads one."""

MOST_LINE = 1024 * 1024


@frozen
class Ollama:
    """Asks Ollama servers."""

    _client: ChannelClient

    async def version(self, channel: Channel) -> str:
        """The server's version."""
        url, headers = _place(channel, "/api/version")
        body = await self._client.get(channel, url, headers)
        return str(decoded(body).get("version", ""))

    async def delete(self, channel: Channel, model: str) -> None:
        """Delete a model on the server."""
        url, headers = _place(channel, "/api/delete")
        await self._client.send("DELETE", channel, url, headers, {"name": model})

    async def pull(self, channel: Channel, model: str) -> None:
        """Have the server load a model; returns when it has."""
        url, headers = _place(channel, "/api/pull")
        body = await self._client.send(
            "POST",
            channel,
            url,
            headers,
            {"name": model, "stream": False},
            PULL_SECONDS,
        )
        told = decoded(body)
        if told.get("error"):
            raise UpstreamRefused(str(told["error"])[:500], upstream=True)

    async def watch_pull(
        self, channel: Channel, model: str, told: Callable[[dict[str, Any]], None]
    ) -> None:
        """The same, with each step (`status`, `digest`, `total`, `completed`) as it
        comes."""
        url, headers = _place(channel, "/api/pull")
        content = {"name": model, "stream": True}
        answer = await self._client.open(
            "POST", channel, url, headers, content, PULL_SECONDS
        )
        steps = _Steps(answer, told, Deferred(lambda _: answer.abort()))
        answer.deliver(steps, SILENCE_SECONDS)
        await steps.over


@define(eq=False)
class _Steps:
    """Splits a body into lines of JSON."""

    _answer: Answer
    _told: Callable[[dict[str, Any]], None]
    over: Deferred[None]
    _rest: bytes = b""

    def chunk(self, content: bytes) -> None:
        """A piece of the body."""
        *lines, self._rest = (self._rest + content).split(b"\n")
        if len(self._rest) > MOST_LINE:
            self._answer.abort()
            self._end(BadUpstreamBody("a line of the answer is too long"))
            return
        for line in lines:
            self._line(line)

    def ended(self, error: KnightError | None) -> None:
        """The end of the body."""
        if error is None:
            self._line(self._rest)
        self._end(error)

    def _line(self, line: bytes) -> None:
        if not line.strip() or self.over.called:
            return
        try:
            step = decoded(line)
        except BadUpstreamBody:
            return
        if step.get("error"):
            self._end(UpstreamRefused(str(step["error"])[:500], upstream=True))
            self._answer.abort()
        else:
            self._told(step)

    def _end(self, error: KnightError | None) -> None:
        if self.over.called:
            return
        if error is None:
            self.over.callback(None)
        else:
            self.over.errback(error)


def _place(channel: Channel, path: str) -> tuple[str, list[tuple[str, str]]]:
    """URL and headers for a path of a channel's server."""
    identity = identify(TYPE)
    base = channel.base_url or (identity.base_url if identity else "")
    key = first_usable_key(channel)
    return base.rstrip("/") + path, [("Authorization", f"Bearer {key}")]
