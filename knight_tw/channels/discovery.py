"""Which models an upstream has (providers specification, section 10)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from knight_tw import overrides
from knight_tw.channels.upstreams import ChannelClient
from knight_tw.errors import InvalidRequest
from knight_tw.providers import discovery
from knight_tw.records import Channel
from knight_tw.storage import channels, schema

MOST_PAGES = 50


@frozen
class Discovery:
    """Reads model lists of upstreams."""

    _client: ChannelClient

    async def models(self, channel: Channel, *, guarded: bool = False) -> list[str]:
        """Names of the upstream's models, each once, in its order.

        Args:
            guarded: Watch the address even if the channel does not ask for it.

        Raises:
            InvalidRequest: the type has no list.
            KnightError: the upstream did not give one.
        """
        key = first_usable_key(channel)
        found: dict[str, None] = {}
        page = ""
        for _ in range(MOST_PAGES):
            asked = discovery.listing(channel, key, page)
            if asked is None:
                raise InvalidRequest("this type of channel has no model list")
            headers = [*asked.headers, *extra_headers(channel, key)]
            body = await self._client.get(channel, asked.url, headers, guarded=guarded)
            found.update(dict.fromkeys(discovery.read_models(channel.type, body)))
            page = discovery.next_page(channel.type, body)
            if not page:
                break
        return list(found)


def first_usable_key(channel: Channel) -> str:
    """The first enabled key of a channel, else its first, else nothing."""
    for index, key in enumerate(channel.keys):
        if index not in channel.key_status:
            return key
    return channel.keys[0] if channel.keys else ""


def extra_headers(channel: Channel, key: str) -> list[tuple[str, str]]:
    """The channel's header overrides that do not depend on a client's request."""
    override = overrides.headers(channel.header_override, key, (), channel_test=True)
    return list(override.items())


def draft(values: Mapping[str, Any]) -> Channel:
    """A channel that is not stored (yet), from the columns that are known."""
    columns = dict.fromkeys(schema.channels.c.keys())
    return channels.to_record({**columns, "id": 0, "type": 0, "status": 1, **values})
