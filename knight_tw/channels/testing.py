"""Testing channels: one by hand, or all in one bounded run that also disables and
re-enables them (relay specification, section 12; providers specification, section 8).

The real call is made by a `Probe`, which the relay provides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from knight_tw.channels.health import ChannelHealth, View, reason_of
from knight_tw.channels.probes import UNTESTABLE, TestRequest, test_request
from knight_tw.errors import ChannelFault, KnightError, UpstreamTimeout
from knight_tw.jobs import Job
from knight_tw.records import AUTO_DISABLED, ENABLED, Channel, Usage
from knight_tw.storage import channel_queries, channels
from knight_tw.storage.database import Database

TEST_SECONDS = 120.0
"""A test that takes longer has failed."""

AT_ONCE = 4
"""Channels that a run tests at the same time, when no pause between them is set."""

RECOVERING_KEYS = 5
"""Disabled keys of one channel that a run tries again."""

TOKEN_NAME = "model test"  # noqa: S105 - what the log row shows as the token
CONSUME = 2


@frozen
class ProbeAnswer:
    """What a good answer brought.

    Attributes:
        other: Members for `other` of the log row: the price and what happened.
        preview: The beginning of the answer, for people.
    """

    usage: Usage = field(factory=Usage)
    other: Mapping[str, Any] = field(factory=dict)
    preview: str = ""


class Probe(Protocol):
    """Makes a real small call; the relay provides it."""

    async def __call__(
        self, channel: Channel, key_index: int, request: TestRequest
    ) -> ProbeAnswer:
        """Send `request` to `channel` with that key and read the whole answer.

        Nothing is held or charged. Header overrides by wildcard or client header are
        left out.

        Raises:
            KnightError: what a caller would have got.
        """
        ...


@frozen
class Tester:
    """Who asked for a test: the log row belongs to this account."""

    user_id: int
    username: str
    group: str


@frozen
class TestResult:
    """What a test came to; `error` is None when the channel answered."""

    __test__ = False  # for test runners: not a test case

    request: TestRequest
    seconds: float
    error: KnightError | None = None
    answer: ProbeAnswer | None = None
    changed: str = ""
    """`disabled` or `enabled` when the result changed the channel."""


@define(eq=False)
class ChannelTester:
    """Tests channels with real calls."""

    _db: Database
    _view: View
    _clock: IReactorTime
    _probe: Probe
    _health: ChannelHealth
    _note: Callable[[dict[str, Any]], None]
    _pause: float = 0.0
    told: Callable[[Mapping[str, int]], None] | None = None
    """Told the counts of each run that a person began."""
    _log: Logger = field(factory=Logger)

    async def test(
        self,
        channel: Channel,
        model: str = "",
        *,
        endpoint: str = "",
        stream: bool = False,
        key_index: int | None = None,
        tester: Tester | None = None,
        judge: bool = True,
    ) -> TestResult:
        """Test one channel; response time and moment are stored.

        Args:
            key_index: Which key; the first enabled one when not given.
            tester: Who gets the log row; nobody when None.
            judge: Also disable or re-enable by what the rules say.

        Raises:
            InvalidRequest: the channel cannot be tested so.
        """
        request = test_request(channel, model, endpoint, stream)
        index = _first_usable(channel) if key_index is None else key_index
        result = await self._try(channel, index, request)
        if channel.id:
            await self._db.run(
                channel_queries.record, channel.id, self._measured(result)
            )
        if tester is not None and self._view.options.flag("LogConsumeEnabled"):
            self._note(self._row(channel, result, tester))
        return await self._judge(channel, index, result) if judge else result

    async def run(
        self, job: Job, recovery_only: bool, *, tell: bool = False
    ) -> dict[str, int]:
        """Test every channel that is not disabled by hand; how many tests came to what.

        Args:
            recovery_only: Only what was disabled automatically.
            tell: Administrators want to know of the end.
        """
        rows = await self._db.read(channels.load_all)
        chosen = [one for one in rows if _in_run(one, recovery_only)]
        for what in ("tested", "succeeded", "failed", "disabled", "enabled"):
            job.count(what, 0)
        job.total = len(chosen)
        walk = iter(chosen)
        workers = 1 if self._pause else AT_ONCE
        running = [
            Deferred.fromCoroutine(self._walk(walk, job, recovery_only))
            for _ in range(min(workers, len(chosen)))
        ]
        try:
            await defer.gatherResults(running, consumeErrors=True)
        except defer.FirstError as first:
            first.subFailure.raiseException()
        job.check()
        if tell and self.told is not None:
            self.told(job.counts)
        return dict(job.counts)

    async def _walk(
        self, walk: Iterator[Channel], job: Job, recovery_only: bool
    ) -> None:
        """Test what `walk` still has, one after the other."""
        for channel in walk:
            if job.cancelled:
                return
            for index in self._keys(channel, recovery_only):
                self._count(job, await self.test(channel, key_index=index))
            job.done += 1
            if self._pause:
                await deferLater(self._clock, self._pause, lambda: None)

    def _count(self, job: Job, result: TestResult) -> None:
        job.count("tested")
        job.count("succeeded" if result.error is None else "failed")
        if result.changed:
            job.count(result.changed)

    def _keys(self, channel: Channel, recovery_only: bool) -> list[int]:
        """Which keys of a channel a run tests: one that is in use and, when they may
        come back, some of those that were disabled automatically."""
        if not channel.multi_key:
            return [0]
        status = channel.key_status
        usable = [i for i in range(len(channel.keys)) if i not in status]
        failed = [i for i in sorted(status) if status[i] == AUTO_DISABLED]
        if not self._view.options.flag("AutomaticEnableChannelEnabled"):
            failed = []
        return ([] if recovery_only else usable[:1]) + failed[:RECOVERING_KEYS]

    async def _try(
        self, channel: Channel, index: int, request: TestRequest
    ) -> TestResult:
        began = self._clock.seconds()
        call = Deferred.fromCoroutine(self._probe(channel, index, request))
        call.addTimeout(TEST_SECONDS, self._clock, _too_late)
        answer, error = None, None
        try:
            answer = await call
        except KnightError as refused:
            error = refused
        except CancelledError:
            raise
        except Exception:  # noqa: BLE001 - a fault in one provider must not end a run
            self._log.failure("test of channel {id} crashed", id=channel.id)
            error = KnightError("internal error")
        return TestResult(request, self._clock.seconds() - began, error, answer)

    def _measured(self, result: TestResult) -> dict[str, int]:
        """The columns that a test stores."""
        return {
            "test_time": int(self._clock.seconds()),
            "response_time": round(result.seconds * 1000),
        }

    async def _judge(
        self, channel: Channel, index: int, result: TestResult
    ) -> TestResult:
        """Disable or re-enable by the result; the result with what changed."""
        error = result.error or self._too_slow(result)
        if error is None:
            back = await self._health.recovered(channel, index)
            return _with(result, "enabled" if back else "")
        if channel.status == ENABLED and self._health.fatal(channel, error):
            gone = await self._health.disable(channel, index, reason_of(channel, error))
            return _with(result, "disabled" if gone else "")
        return result

    def _too_slow(self, result: TestResult) -> KnightError | None:
        limit = self._view.options.decimal("ChannelDisableThreshold")
        if not limit or Decimal(result.seconds) <= limit:
            return None
        return ChannelFault(
            f"the test took {result.seconds:.2f} s, more than {limit} s",
            code="channel:response_time_exceeded",
        )

    def _row(
        self, channel: Channel, result: TestResult, tester: Tester
    ) -> dict[str, Any]:
        """The log row of a test; nothing is charged."""
        answer = result.answer or ProbeAnswer()
        other = {"request_path": result.request.path, **answer.other}
        if result.error is not None:
            other["error_code"] = result.error.code
        return {
            "user_id": tester.user_id,
            "username": tester.username,
            "created_at": int(self._clock.seconds()),
            "type": CONSUME,
            "content": reason_of(channel, result.error) if result.error else "",
            "token_name": TOKEN_NAME,
            "model_name": result.request.model,
            "quota": 0,
            "prompt_tokens": answer.usage.prompt,
            "completion_tokens": answer.usage.completion,
            "use_time": int(result.seconds),
            "is_stream": result.request.stream,
            "channel_id": channel.id,
            "group": tester.group,
            "other": other,
        }


def _with(result: TestResult, changed: str) -> TestResult:
    return TestResult(
        result.request, result.seconds, result.error, result.answer, changed
    )


def _too_late(value: Any, seconds: float) -> Any:
    raise UpstreamTimeout(f"no complete answer within {seconds:.0f} s")


def _first_usable(channel: Channel) -> int:
    """The first enabled key, else the first."""
    every: Sequence[int] = range(len(channel.keys))
    return next((i for i in every if i not in channel.key_status), 0)


def _in_run(channel: Channel, recovery_only: bool) -> bool:
    """True for a channel that a run tests."""
    if channel.type in UNTESTABLE or not channel.keys:
        return False
    if recovery_only:
        failed = AUTO_DISABLED in channel.key_status.values()
        return channel.status == AUTO_DISABLED or (channel.status == ENABLED and failed)
    return channel.status in (ENABLED, AUTO_DISABLED)
