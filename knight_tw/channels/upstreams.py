"""Small JSON requests to the upstream of one channel: its proxy, its address guard, its
limits."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec
from attrs import frozen
from twisted.internet.defer import Deferred

from knight_tw.channels.drafts import GUARDED
from knight_tw.errors import BadUpstreamBody
from knight_tw.records import Channel
from knight_tw.wire import envelope

Headers = list[tuple[str, str]]

BODY_LIMIT = 8 * 1024 * 1024
"""Bytes of an answer that are read."""

SECONDS = 30.0
"""Until the answer's head, and for its body."""


class Answer(Protocol):
    """An upstream's answer."""

    @property
    def status(self) -> int: ...

    def read(self, limit: int, timeout: float | None = None) -> Deferred[bytes]:
        """The whole body."""
        ...

    def deliver(self, receiver: Any, idle_timeout: float) -> None:
        """The body piece by piece: `receiver.chunk(bytes)`, then once
        `receiver.ended(error or None)`."""
        ...

    def abort(self) -> None:
        """The rest is not wanted."""
        ...


class Send(Protocol):
    """`Upstream.send`."""

    def __call__(
        self,
        method: str,
        url: str,
        headers: Headers,
        body: bytes,
        *,
        proxy: str = "",
        guarded: bool = False,
        first_byte_timeout: float | None = None,
    ) -> Deferred[Any]: ...


@frozen
class ChannelClient:
    """Asks the upstreams of channels."""

    _send: Send

    async def get(
        self,
        channel: Channel,
        url: str,
        headers: Headers,
        *,
        guarded: bool = False,
    ) -> bytes:
        """The body of a good answer.

        Args:
            guarded: Watch the address even if the channel does not ask for it.

        Raises:
            UpstreamRefused: the provider answered with an error.
            UpstreamFailed, UpstreamTimeout: it could not be reached.
        """
        answer = await self._ask("GET", channel, url, headers, b"", guarded, SECONDS)
        return await _body(answer, SECONDS)

    async def send(
        self,
        method: str,
        channel: Channel,
        url: str,
        headers: Headers,
        content: Any,
        seconds: float = SECONDS,
    ) -> bytes:
        """The same for a request with a JSON body.

        Args:
            seconds: Until the answer's head, and for its body.
        """
        answer = await self.open(method, channel, url, headers, content, seconds)
        return await _body(answer, seconds)

    async def open(
        self,
        method: str,
        channel: Channel,
        url: str,
        headers: Headers,
        content: Any,
        seconds: float = SECONDS,
    ) -> Answer:
        """The answer to a request with a JSON body, its own body still to be read."""
        told = [*headers, ("Content-Type", "application/json")]
        encoded = msgspec.json.encode(content)
        return await self._ask(method, channel, url, told, encoded, False, seconds)

    async def _ask(
        self,
        method: str,
        channel: Channel,
        url: str,
        headers: Headers,
        body: bytes,
        guarded: bool,
        seconds: float,
    ) -> Answer:
        """A good answer."""
        answer: Answer = await self._send(
            method,
            url,
            [("Accept", "application/json"), *headers],
            body,
            proxy=str(channel.setting.get("proxy") or ""),
            guarded=guarded or bool(channel.settings.get(GUARDED)),
            first_byte_timeout=seconds,
        )
        if not 200 <= answer.status < 300:
            raise envelope.read_failure(answer.status, await _body(answer, SECONDS))
        return answer


async def _body(answer: Answer, seconds: float) -> bytes:
    return await answer.read(BODY_LIMIT, seconds)


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadUpstreamBody: it is none.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadUpstreamBody("the answer is not a JSON object") from None
