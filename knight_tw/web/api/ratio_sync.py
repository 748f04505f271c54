"""`/api/ratio_sync`: prices of other gateways beside the own ones, for root (management
API, section 12). What is taken over is saved through the options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.price_sync import DEFAULT_ENDPOINT, SECONDS, Peer, PriceSync
from knight_tw.storage import channel_queries
from knight_tw.storage.channel_queries import ChannelFilter
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    install,
    integer,
    invalid,
    json_body,
    ok,
    text,
)
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]

MOST_PEERS = 100

PRESETS: tuple[Row, ...] = (
    {
        "id": -100,
        "name": "basellm",
        "base_url": "https://basellm.github.io",
        "status": 1,
        "type": 0,
    },
    {
        "id": -101,
        "name": "models.dev",
        "base_url": "https://models.dev",
        "status": 1,
        "type": 0,
    },
)
"""Public lists that are offered beside the channels."""


@frozen
class RatioSync:
    """Fetches and compares prices."""

    _guard: Guard
    _db: Database
    _sync: PriceSync

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/ratio_sync/channels", methods=["GET"])
    @allow(Who.ROOT)
    async def channels(self, request: Request, viewer: Viewer) -> bytes:
        """Channels that have an address, and public lists."""
        rows = await self._db.read(channel_queries.select, ChannelFilter())
        names = ("id", "name", "base_url", "status", "type")
        found = [
            {name: row[name] for name in names}
            for row in reversed(rows)
            if (row["base_url"] or "").startswith(("http://", "https://"))
        ]
        return ok([*found, *PRESETS])

    @app.route("/api/ratio_sync/fetch", methods=["POST"])
    @allow(Who.ROOT)
    async def fetch(self, request: Request, viewer: Viewer) -> bytes:
        """How the prices of some peers differ from the own ones."""
        body = json_body(request)
        peers = [*_peers(body), *await self._channels(body)]
        if not peers:
            raise Refusal("there is no peer to ask", params={"field": "upstreams"})
        seconds = integer(body, "timeout", int(SECONDS), least=1)
        return ok(await self._sync.compare(peers, seconds), message=None)

    async def _channels(self, body: Mapping[str, Any]) -> list[Peer]:
        """The channels that the body names, as peers."""
        given = body.get("channel_ids") or []
        if not isinstance(given, list) or len(given) > MOST_PEERS:
            raise invalid("channel_ids", f"a list of at most {MOST_PEERS} ids")
        ids = [integer({"channel_ids": one}, "channel_ids") for one in given]
        if not ids:
            return []
        rows = await self._db.read(channel_queries.select, ChannelFilter(ids=ids))
        return [
            Peer(f"{row['name']}({row['id']})", row["base_url"])
            for row in rows
            if row["base_url"]
        ]


def _peers(body: Mapping[str, Any]) -> list[Peer]:
    """The peers that the body describes.

    Raises:
        Refusal: one has no name or address.
    """
    given = body.get("upstreams") or []
    if not isinstance(given, list) or len(given) > MOST_PEERS:
        raise invalid("upstreams", f"a list of at most {MOST_PEERS} peers")
    found = []
    for one in given:
        if not isinstance(one, Mapping):
            raise invalid("upstreams", "peers with name and base_url")
        address = text(one, "base_url", "")
        endpoint = text(one, "endpoint", "") or DEFAULT_ENDPOINT
        if not address.startswith(("http://", "https://")):
            raise invalid("upstreams", "addresses of http or https")
        found.append(Peer(text(one, "name"), address, endpoint))
    return found
