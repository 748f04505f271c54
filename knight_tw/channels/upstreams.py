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
        return await self._ask("GET", channel, url, headers, b"", guarded)

    async def post(
        self, channel: Channel, url: str, headers: Headers, body: Any
    ) -> bytes:
        """The same for a request with a JSON body."""
        told = [*headers, ("Content-Type", "application/json")]
        encoded = msgspec.json.encode(body)
        return await self._ask("POST", channel, url, told, encoded, False)

    async def delete(
        self, channel: Channel, url: str, headers: Headers, body: Any
    ) -> bytes:
        """The same for a deletion with a JSON body."""
        told = [*headers, ("Content-Type", "application/json")]
        encoded = msgspec.json.encode(body)
        return await self._ask("DELETE", channel, url, told, encoded, False)

    async def _ask(
        self,
        method: str,
        channel: Channel,
        url: str,
        headers: Headers,
        body: bytes,
        guarded: bool,
    ) -> bytes:
        answer: Answer = await self._send(
            method,
            url,
            [("Accept", "application/json"), *headers],
            body,
            proxy=str(channel.setting.get("proxy") or ""),
            guarded=guarded or bool(channel.settings.get(GUARDED)),
            first_byte_timeout=SECONDS,
        )
        content = await answer.read(BODY_LIMIT, SECONDS)
        if not 200 <= answer.status < 300:
            raise envelope.read_failure(answer.status, content)
        return content


def decoded(body: bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        BadUpstreamBody: it is none.
    """
    try:
        return msgspec.json.decode(body, type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadUpstreamBody("the answer is not a JSON object") from None
