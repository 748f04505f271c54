"""`/api/channel`: what asks the upstreams of channels - tests, model lists, balances
(management API, sections 7.1, 7.5 and 7.6)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.channels import balance, schedule
from knight_tw.channels.balance import Balances
from knight_tw.channels.columns import columns
from knight_tw.channels.discovery import Discovery, draft
from knight_tw.channels.drafts import guarded, read_keys
from knight_tw.channels.testing import ChannelTester, Tester, TestResult
from knight_tw.errors import KnightError
from knight_tw.jobs import JobRunning, Jobs, Work
from knight_tw.records import ROLE_ROOT, Channel
from knight_tw.storage import channel_queries, channels
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import (
    Refusal,
    flag,
    from_error,
    install,
    integer,
    json_body,
    missing,
    not_found,
    ok,
    query,
    query_flag,
    text,
)
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow
from knight_tw.wire.masking import mask


@frozen
class ChannelWork:
    """Tests channels, reads their model lists and balances."""

    _guard: Guard
    _db: Database
    _tester: ChannelTester
    _discovery: Discovery
    _balances: Balances
    _jobs: Jobs
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/channel/test/<int:channel_id>", methods=["GET"])
    @allow(Who.OPERATE)
    async def test(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """Test one channel with a real small call."""
        channel = await self._channel(channel_id)
        result = await self._tester.test(
            channel,
            query(request, "model"),
            endpoint=query(request, "endpoint_type"),
            stream=query_flag(request, "stream"),
            tester=Tester(viewer.id, viewer.username, viewer.group),
            judge=False,
        )
        return _tested(channel, result)

    @app.route("/api/channel/test_draft", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def test_draft(self, request: Request, viewer: Viewer) -> bytes:
        """Test a channel as it stands in a form; request and answer come back too."""
        body = json_body(request)
        form = body.get("channel", body)
        if not isinstance(form, Mapping):
            raise missing("channel")
        channel = await self._drafted(form, viewer)
        result = await self._tester.test(
            channel,
            text(body, "model", ""),
            endpoint=text(body, "endpoint_type", ""),
            stream=flag(body, "stream", False),
            tester=Tester(viewer.id, viewer.username, viewer.group),
            judge=False,
        )
        return _tested(channel, result, detailed=True)

    @app.route("/api/channel/test", methods=["GET"])
    @allow(Who.OPERATE)
    async def test_all(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to test every channel that is not disabled by hand."""
        return await self._begin(
            request,
            viewer,
            schedule.JOB,
            lambda job: self._tester.run(job, False, tell=True),
        )

    @app.route("/api/channel/update_balance/<int:channel_id>", methods=["GET"])
    @allow(Who.OPERATE)
    async def update_balance(
        self, request: Request, viewer: Viewer, channel_id: int
    ) -> bytes:
        """The balance of one channel, asked for now."""
        channel = await self._channel(channel_id)
        return ok(balance=await self._balances.update(channel))

    @app.route("/api/channel/update_balance", methods=["GET"])
    @allow(Who.OPERATE)
    async def update_balances(self, request: Request, viewer: Viewer) -> bytes:
        """Begin to ask for every channel's balance."""
        return await self._begin(request, viewer, balance.JOB, self._balances.run)

    @app.route("/api/channel/fetch_models/<int:channel_id>", methods=["GET"])
    @allow(Who.OPERATE)
    async def models(self, request: Request, viewer: Viewer, channel_id: int) -> bytes:
        """The models that the upstream of a channel lists."""
        return ok(await self._discovery.models(await self._channel(channel_id)))

    @app.route("/api/channel/fetch_models", methods=["POST"])
    @allow(Who.SENSITIVE_WRITE)
    async def models_of_draft(self, request: Request, viewer: Viewer) -> bytes:
        """The models that an upstream lists, before its channel is saved."""
        channel = await self._drafted(json_body(request), viewer)
        watched = viewer.role < ROLE_ROOT
        return ok(await self._discovery.models(channel, guarded=watched))

    async def _begin(
        self, request: Request, viewer: Viewer, kind: str, work: Work
    ) -> bytes:
        """Start a job; the newer dialect is told which."""
        try:
            payload = {"manual": True, "username": viewer.username}
            row = await self._jobs.start(kind, work, payload)
        except JobRunning as running:
            told = {name: running.row[name] for name in ("task_id", "status", "type")}
            raise Refusal(
                running.message,
                status=409 if viewer.modern else 200,
                code="job_running",
                members={"data": told} if viewer.modern else None,
            ) from None
        self._audit.write(request, viewer, f"channel.{kind}")
        if not viewer.modern:
            return ok()
        return ok({"task_id": row["task_id"], "status": "pending", "type": kind})

    async def _channel(self, channel_id: int) -> Channel:
        channel = await self._db.read(channels.load, channel_id)
        if channel is None:
            raise not_found()
        return channel

    async def _drafted(self, form: Mapping[str, Any], viewer: Viewer) -> Channel:
        """The channel in a form; without a key, with that of the channel it edits."""
        values = columns(form)
        if form.get("proxy") is not None:
            values |= columns({"setting": {"proxy": form["proxy"]}})
        if form.get("advanced_custom") is not None:
            settings = {"advanced_custom": form["advanced_custom"]}
            values |= columns({"settings": settings})
        values = guarded({}, values, root=viewer.role >= ROLE_ROOT)
        keys = read_keys(values, form.get("key"))
        if keys:
            return draft({**values, "key": keys[0]})
        edited = integer(form, "channel_id", None) or integer(form, "id", None)
        row = await self._db.read(channel_queries.find, edited) if edited else None
        if row is None:
            raise missing("key")
        return channels.to_record({**row, **values})


def _tested(channel: Channel, result: TestResult, *, detailed: bool = False) -> bytes:
    """The answer about a test.

    Raises:
        Refusal: the test failed.
    """
    told: dict[str, Any] = {"time": round(result.seconds, 3)}
    if detailed:
        told["request"] = {"path": result.request.path, "body": result.request.body}
    error = result.error
    if error is None:
        answer = result.answer
        if detailed and answer is not None:
            told |= {"response": answer.preview, "usage": _usage(answer.usage)}
        return ok(**told)
    raise _failed(channel, error, told)


def _usage(usage: Any) -> dict[str, int]:
    return {"prompt_tokens": usage.prompt, "completion_tokens": usage.completion}


def _failed(channel: Channel, error: KnightError, told: dict[str, Any]) -> Refusal:
    """The refusal of a failed test, in the form of its own that the route has."""
    refusal = from_error(error)
    if error.upstream:
        refusal.message = mask(refusal.message, channel.keys)
    refusal.members = {**told, "error_code": error.code}
    return refusal
