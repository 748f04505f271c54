"""`/api/channel/codex` and `/api/channel/<id>/codex`: the logins of ChatGPT
subscriptions (management API, section 7.1)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw.accounts.limits import Limits, Mark
from knight_tw.cache import Cache
from knight_tw.channels import codex
from knight_tw.channels.codex import CREDITS, USAGE, Codex
from knight_tw.records import Channel
from knight_tw.storage import channel_queries, channels
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    client_ip,
    encode,
    install,
    json_body,
    not_found,
    ok,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

Row = dict[str, Any]
Changed = Callable[[str, str], Awaitable[None]]

STATE_SECONDS = 600.0
"""How long a login may take."""


@frozen
class CodexPages:
    """Credentials of subscriptions."""

    _guard: Guard
    _db: Database
    _clock: IReactorTime
    _cache: Cache
    _limits: Limits
    _codex: Codex
    _changed: Changed
    _audit: Audit
    _secret: Callable[[int], str] = secrets.token_urlsafe

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/channel/codex/oauth/start", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def start(self, request: Request, viewer: Viewer) -> bytes:
        """Where to log in, for a channel that is to be made."""
        return await self._start(request, viewer, 0)

    @app.route("/api/channel/codex/oauth/complete", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def complete(self, request: Request, viewer: Viewer) -> bytes:
        """The credential of a login, to be put into the form of a channel."""
        found = await self._complete(request, viewer, 0)
        self._audit.write(request, viewer, "channel.codex_login", {})
        return ok({**_told(found), "key": json.dumps(found)})

    @app.route("/api/channel/<int:channel_id>/codex/oauth/start", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def start_for(
        self, request: Request, viewer: Viewer, channel_id: int
    ) -> bytes:
        """Where to log in, for a channel that there is."""
        await self._channel(channel_id)
        return await self._start(request, viewer, channel_id)

    @app.route("/api/channel/<int:channel_id>/codex/oauth/complete", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def complete_for(
        self, request: Request, viewer: Viewer, channel_id: int
    ) -> bytes:
        """The credential of a login becomes the channel's."""
        await self._channel(channel_id)
        found = await self._complete(request, viewer, channel_id)
        await self._store(channel_id, found, None)
        told = {"id": channel_id}
        self._audit.write(request, viewer, "channel.codex_login", told)
        return ok({**_told(found), "channel_id": channel_id})

    @app.route("/api/channel/<int:channel_id>/codex/refresh", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def refresh(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """Renew the channel's credential."""
        channel = await self._channel(channel_id)
        found = await self._codex.refresh(channel, self._clock.seconds())
        await self._store(channel_id, found, channel.keys[0])
        self._audit.write(request, viewer, "channel.codex_refresh", {"id": channel_id})
        return ok({**_told(found), "channel_id": channel_id})

    @app.route("/api/channel/<int:channel_id>/codex/usage", methods=["GET"])
    @allow(Who.READ)
    async def usage(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """What is left of the subscription's windows."""
        return await self._page(channel_id, USAGE)

    @app.route(
        "/api/channel/<int:channel_id>/codex/usage/reset-credits", methods=["GET"]
    )
    @allow(Who.READ)
    async def credits(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """How often a window may be begun anew."""
        return await self._page(channel_id, CREDITS)

    @app.route("/api/channel/<int:channel_id>/codex/usage/reset", methods=["POST"])
    @allow(Who.OPERATE)
    async def reset(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """Not offered: OpenAI does not document how a window is begun anew."""
        await self._channel(channel_id)
        raise Refusal("windows cannot be reset from here", code="not_configured")

    async def _start(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """Remembers who logs in for what, under a state that nobody guesses."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        state, verifier = self._secret(32), self._secret(64)
        kept = {"user": viewer.id, "channel": channel_id, "verifier": verifier}
        done = self._cache.set(_key(state), encode(kept).decode(), STATE_SECONDS)
        if isinstance(done, Deferred):
            await done
        return ok({"authorize_url": codex.authorize_url(state, verifier)})

    async def _complete(self, request: Request, viewer: Viewer, channel_id: int) -> Row:
        """The credential behind what was pasted, if this very login began here."""
        await self._limits.check(Mark.CRITICAL, client_ip(request))
        code, state = codex.pasted(text(json_body(request), "input", longest=8_192))
        kept = self._cache.get(_key(state))
        if isinstance(kept, Deferred):
            kept = await kept
        known = json.loads(kept or "{}")
        if (known.get("user"), known.get("channel")) != (viewer.id, channel_id):
            raise Refusal("begin the login anew", code="code_expired")
        gone = self._cache.delete(_key(state))
        if isinstance(gone, Deferred):
            await gone
        now = self._clock.seconds()
        return await self._codex.exchange(code, known["verifier"], now)

    async def _store(self, channel_id: int, found: Row, old: str | None) -> None:
        """Writes a credential, unless somebody wrote another one meanwhile."""
        key = json.dumps(found)

        def decide(row: Row) -> Mapping[str, Any]:
            if old is not None and (row["key"] or "").strip() != old.strip():
                raise Refusal("the key was changed meanwhile", code="version_conflict")
            return {"key": key}

        if await self._db.run(channel_queries.change, channel_id, decide) is None:
            raise not_found("channel")
        await self._changed("channel", str(channel_id))

    async def _page(self, channel_id: int, path: str) -> bytes:
        channel = await self._channel(channel_id)
        answer = await self._codex.page(channel, path)
        good = 200 <= answer.status < 300
        return encode(
            {
                "success": good,
                "message": "" if good else f"OpenAI answered {answer.status}",
                "upstream_status": answer.status,
                "data": answer.content,
            }
        )

    async def _channel(self, channel_id: int) -> Channel:
        channel = await self._db.read(channels.load, channel_id)
        if channel is None:
            raise not_found("channel")
        if channel.type != codex.TYPE:
            raise Refusal("this is only for ChatGPT subscriptions", 400)
        if len(channel.keys) != 1:
            raise Refusal("the channel must have one key")
        return channel


def _key(state: str) -> str:
    return f"codex:{state}"


def _told(found: Mapping[str, Any]) -> Row:
    """What is said of a credential: nothing of it is secret."""
    return {
        "account_id": found["account_id"],
        "email": found["email"],
        "expires_at": found["expired"],
        "last_refresh": found["last_refresh"],
    }
