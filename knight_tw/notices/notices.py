"""Who is told what, and how often: low balances, and administrators' channels.

A balance is low when a charge left less than the account's line. The ledger tells the
balances of a whole flush at once (`spent`), so a call pays nothing for it: the lines of
accounts that spend are remembered, unknown ones are read in one query, and an account
that was told lately is not looked at again. How many notices of a kind an account gets
is counted in the cache, for all processes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.background import Background
from knight_tw.errors import KnightError
from knight_tw.notices.ways import (
    CHANNEL_TEST,
    CHANNEL_UPDATE,
    LOW_BALANCE,
    MARK,
    Notice,
)
from knight_tw.notices.words import language, say
from knight_tw.options import Options
from knight_tw.records import ROLE_ADMIN, ROLE_ROOT, User
from knight_tw.storage import users
from knight_tw.storage.database import Database

MOST_LINES = 50_000
"""Accounts whose line is remembered."""

LINE_SECONDS = 600.0
"""How long a line is remembered; changes here and elsewhere are told at once."""

QUIET_SECONDS = 60.0
"""After a low balance was seen, so long the account is not looked at."""

MOST_SENDING = 100
"""Notices on their way; more are dropped."""

HOUR = 3600
_WANTS_MODELS = "upstream_model_update_notify_enabled"


class Counter(Protocol):
    """What is needed of `cache.Cache`."""

    def increment(self, key: str, ttl: float | None = None) -> int | Deferred[int]:
        """Adds 1 to a counter that lives `ttl` seconds from its first increment."""
        ...


class Sender(Protocol):
    """What is needed of `Sending`."""

    async def __call__(
        self, setting: Mapping[str, Any], email: str, notice: Notice
    ) -> None:
        """Returns when the receiver took the notice."""
        ...


@frozen
class Rate:
    """At most `count` notices of a kind in `minutes`, per account."""

    count: int
    minutes: int


@define(eq=False)
class Line:
    """Below which balance an account wants to be told; None = below the option's."""

    own: Decimal | None
    read_at: float
    quiet_until: float = 0.0


@define(eq=False)
class Notices:
    """Decides about notices and sends them in the background.

    Args:
        site: The address of the site for links, without a slash at its end.
    """

    _db: Database
    _cache: Counter
    _options: Callable[[], Options]
    _send: Sender
    _background: Background
    _clock: IReactorTime
    _site: Callable[[], str]
    _rate: Rate
    _lines: OrderedDict[int, Line] = field(factory=OrderedDict)
    _unread: dict[int, int] = field(factory=dict)
    _reading: bool = False
    _sending: int = 0
    _log: Logger = field(factory=Logger)

    # low balances ------------------------------------------------------------

    def spent(self, left: Mapping[int, int]) -> None:
        """Accounts were charged: id to what is left. Quick, and never raises."""
        now = self._clock.seconds()
        usual = self._options().integer("QuotaRemindThreshold")
        for user_id, balance in left.items():
            line = self._lines.get(user_id)
            if line is None or now - line.read_at > LINE_SECONDS:
                if len(self._unread) < MOST_LINES:
                    self._unread[user_id] = balance
            elif now >= line.quiet_until:
                self._judge(user_id, line, balance, usual)
        if self._unread and not self._reading:
            self._reading = True
            self._background.spawn("read warning lines", self._read())

    def forget(self, kind: str, ref: str) -> None:
        """An account changed: its line is read again (for `Snapshots.on_change`)."""
        if kind == "user" and ref.isdecimal():
            self._lines.pop(int(ref), None)

    def _judge(self, user_id: int, line: Line, balance: int, usual: int) -> None:
        if balance >= (usual if line.own is None else line.own):
            return
        line.quiet_until = self._clock.seconds() + QUIET_SECONDS
        self._spawn("low balance", self._warn(user_id, balance))

    async def _read(self) -> None:
        """The lines of accounts that spend and are not known."""
        try:
            while self._unread:
                asked, self._unread = self._unread, {}
                found = await self._db.read(users.find_all, list(asked))
                now = self._clock.seconds()
                usual = self._options().integer("QuotaRemindThreshold")
                for user_id, balance in asked.items():
                    line = _line_of(found.get(user_id), now)
                    self._remember(user_id, line)
                    self._judge(user_id, line, balance, usual)
        except KnightError as error:
            self._log.warn("warning lines were not read: {why}", why=error.message)
        finally:
            self._reading = False

    def _remember(self, user_id: int, line: Line) -> None:
        self._lines[user_id] = line
        self._lines.move_to_end(user_id)
        if len(self._lines) > MOST_LINES:
            self._lines.popitem(last=False)

    async def _warn(self, user_id: int, balance: int) -> None:
        user = await self._db.read(users.find, user_id)
        if user is not None:
            await self._tell(user, self._low_balance(_spoken(user), balance))

    def _low_balance(self, spoken: str, balance: int) -> Notice:
        link = f"{self._site()}/console/topup"
        title = say(spoken, "low.title")
        values = (title, amount(balance, self._options()), link, link)
        return Notice(LOW_BALANCE, title, say(spoken, "low.text", mark=MARK), values)

    # administrators ----------------------------------------------------------

    def channel_changed(self, channel_id: int, name: str, good: bool, why: str) -> None:
        """A channel was taken out of service, or (`good`) put back.

        Args:
            why: Without secrets.
        """
        what = "enabled" if good else "disabled"

        def notice(spoken: str) -> Notice:
            title = say(spoken, f"channel.{what}", name=name, id=channel_id)
            content = say(spoken, "channel.text", mark=MARK)
            return Notice(CHANNEL_UPDATE, title, content, (title, why))

        about = f"{channel_id}:{what}"
        self._spawn("channel notice", self._tell_all(self._roots, notice, about))

    def channels_tested(self, counts: Mapping[str, int]) -> None:
        """A run through all channels that a person started is over."""
        notice = _summary(CHANNEL_TEST, "tested", counts)
        self._spawn("channel notice", self._tell_all(self._roots, notice))

    def models_changed(self, counts: Mapping[str, int]) -> None:
        """A round found upstreams whose model lists differ from their channels'."""
        notice = _summary(CHANNEL_UPDATE, "models", counts)
        self._spawn("model notice", self._tell_all(self._watchers, notice, "models"))

    async def _roots(self) -> list[User]:
        return await self._db.read(users.of_role, ROLE_ROOT)

    async def _watchers(self) -> list[User]:
        """Administrators who want to know of model lists."""
        found = [*await self._roots(), *await self._db.read(users.of_role, ROLE_ADMIN)]
        return [one for one in found if one.setting.get(_WANTS_MODELS) is True]

    async def _tell_all(
        self,
        whom: Callable[[], Awaitable[list[User]]],
        notice: Callable[[str], Notice],
        about: str = "",
    ) -> None:
        for user in await whom():
            await self._tell(user, notice(_spoken(user)), about)

    # sending -----------------------------------------------------------------

    def _spawn(self, what: str, work: Any) -> None:
        if self._sending >= MOST_SENDING:
            work.close()
            self._log.warn("too many notices at once: {what} was dropped", what=what)
            return
        self._sending += 1
        self._background.spawn(what, self._counted(work))

    async def _counted(self, work: Any) -> None:
        try:
            await work
        except KnightError as error:
            self._log.warn("a notice was not sent: {why}", why=error.message)
        finally:
            self._sending -= 1

    async def _tell(self, user: User, notice: Notice, about: str = "") -> None:
        """Send a notice unless the account got enough of its kind lately."""
        kind = f"{notice.kind}:{about}" if about else notice.kind
        if not await self._may(user.id, kind):
            return
        try:
            await self._send(user.setting, user.email, notice)
        except KnightError as error:
            self._log.warn(
                "notice {kind} to user {user_id} was not sent: {why}",
                kind=notice.kind,
                user_id=user.id,
                why=error.message,
            )

    async def _may(self, user_id: int, kind: str) -> bool:
        hour = datetime.fromtimestamp(self._clock.seconds(), UTC)
        key = f"notify:{user_id}:{kind}:{hour:%Y%m%d%H}"
        answer = self._cache.increment(key, min(60.0 * self._rate.minutes, HOUR))
        number = await answer if isinstance(answer, Deferred) else answer
        return number <= self._rate.count


def _line_of(user: User | None, now: float) -> Line:
    """The line of an account; one that is gone is never told."""
    if user is None:
        return Line(Decimal("-Infinity"), now)
    own = user.setting.get("quota_warning_threshold")
    known = isinstance(own, int | float) and not isinstance(own, bool) and own > 0
    return Line(Decimal(own) if own is not None and known else None, now)


def _summary(kind: str, key: str, counts: Mapping[str, int]) -> Callable[[str], Notice]:
    """A notice of counts, in any language."""
    told = ", ".join(
        f"{number} {what.replace('_', ' ')}" for what, number in counts.items()
    )

    def notice(spoken: str) -> Notice:
        title = say(spoken, f"{key}.title")
        content = say(spoken, f"{key}.text", mark=MARK)
        return Notice(kind, title, content, (title, told))

    return notice


def _spoken(user: User) -> str:
    return language(str(user.setting.get("language") or ""))


def amount(quota: int, options: Options) -> str:
    """Quota as the site shows it: an amount of money, or the bare number."""
    shown = options.text("general_setting.quota_display_type")
    if shown == "TOKENS":
        return f"{quota} quota"
    money = Decimal(quota) / options.decimal("QuotaPerUnit")
    sign = "$"
    if shown == "CNY":
        money, sign = money * options.decimal("USDExchangeRate"), "¥"
    elif shown == "CUSTOM":
        money *= options.decimal("general_setting.custom_currency_exchange_rate")
        sign = options.text("general_setting.custom_currency_symbol")
    return f"{sign}{money:.6f}"
