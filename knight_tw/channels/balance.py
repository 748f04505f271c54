"""What is left of the money at a channel's provider (providers specification, 9)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime

from knight_tw.channels.discovery import first_usable_key
from knight_tw.channels.health import ChannelHealth, View
from knight_tw.channels.upstreams import ChannelClient, Headers, decoded
from knight_tw.errors import BadUpstreamBody, InvalidRequest, KnightError
from knight_tw.jobs import Job
from knight_tw.providers.identity import identify
from knight_tw.records import ENABLED, Channel
from knight_tw.storage import channel_queries, channels
from knight_tw.storage.database import Database

JOB = "update_balances"
OPENAI, CUSTOM = 1, 8
_DAYS_BACK = 100


@frozen
class _Source:
    """Where one type tells its balance.

    Attributes:
        path: Below the channel's own address, or the type's.
        read: The balance in US dollars, from the answer and the exchange rate.
    """

    path: str
    read: Callable[[Mapping[str, Any], Decimal], Any]
    header: str = "Authorization"


def _deepseek(answer: Mapping[str, Any], rate: Decimal) -> Decimal:
    found = {entry["currency"]: entry for entry in answer["balance_infos"]}
    if "CNY" in found:
        return Decimal(str(found["CNY"]["total_balance"])) / rate
    return Decimal(str(found["USD"]["total_balance"]))


_SOURCES: Mapping[int, _Source] = {
    10: _Source(
        "/api/report/getUserOverview", lambda a, _: a["data"]["totalPoints"], "Api-Key"
    ),
    12: _Source("/dashboard/billing/credit_grants", lambda a, _: a["total_remaining"]),
    13: _Source("/dashboard/billing/credit_grants", lambda a, _: a["total_available"]),
    20: _Source(
        "/v1/credits",
        lambda a, _: (
            Decimal(str(a["data"]["total_credits"]))
            - Decimal(str(a["data"]["total_usage"]))
        ),
    ),
    25: _Source(
        "/v1/users/me/balance",
        lambda a, rate: Decimal(str(a["data"]["available_balance"])) / rate,
    ),
    40: _Source("/v1/user/info", lambda a, _: a["data"]["totalBalance"]),
    43: _Source("/user/balance", _deepseek),
}


@define(eq=False)
class Balances:
    """Asks providers for balances and stores them."""

    _db: Database
    _view: View
    _clock: IReactorTime
    _client: ChannelClient
    _health: ChannelHealth

    async def update(self, channel: Channel) -> Decimal:
        """The balance of one channel in US dollars, now stored.

        Raises:
            InvalidRequest: not known for this type, or the channel has several keys.
            KnightError: the provider did not say.
        """
        if channel.multi_key:
            raise InvalidRequest("the balance of several keys cannot be asked for")
        try:
            amount = Decimal(str(await self._ask(channel)))
        except (KeyError, TypeError, InvalidOperation, ZeroDivisionError):
            raise BadUpstreamBody("the answer does not tell a balance") from None
        values = {
            "balance": amount,
            "balance_updated_time": int(self._clock.seconds()),
        }
        await self._db.run(channel_queries.record, channel.id, values)
        return amount

    async def run(self, job: Job) -> dict[str, int]:
        """Update every enabled channel that can tell; one whose money is gone is
        disabled, if the rules allow it."""
        rows = await self._db.read(channels.load_all)
        chosen = [one for one in rows if one.status == ENABLED and tells(one)]
        job.total = len(chosen)
        for what in ("updated", "failed", "disabled"):
            job.count(what, 0)
        for channel in chosen:
            try:
                amount = await self.update(channel)
            except KnightError:
                job.count("failed")
            else:
                job.count("updated")
                if amount <= 0 and channel.auto_ban:
                    gone = await self._health.disable(
                        channel, 0, "the balance is used up"
                    )
                    job.count("disabled", int(gone))
            job.advance()
        return dict(job.counts)

    async def _ask(self, channel: Channel) -> Any:
        key = first_usable_key(channel)
        if channel.type in (OPENAI, CUSTOM):
            return await self._openai(channel, key)
        source = _SOURCES.get(channel.type)
        if source is None:
            raise InvalidRequest("not implemented for this type of channel")
        value = key if source.header == "Api-Key" else f"Bearer {key}"
        answer = await self._get(channel, source.path, [(source.header, value)])
        rate = self._view.options.decimal("USDExchangeRate")
        return source.read(answer, rate)

    async def _openai(self, channel: Channel, key: str) -> Decimal:
        headers = [("Authorization", f"Bearer {key}")]
        limit = await self._get(channel, "/v1/dashboard/billing/subscription", headers)
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        start = now.replace(day=1)
        if not limit.get("has_payment_method"):
            start = now - timedelta(days=_DAYS_BACK)
        span = f"start_date={start:%Y-%m-%d}&end_date={now:%Y-%m-%d}"
        used = await self._get(channel, f"/v1/dashboard/billing/usage?{span}", headers)
        total = Decimal(str(used["total_usage"])) / 100
        return Decimal(str(limit["hard_limit_usd"])) - total

    async def _get(
        self, channel: Channel, path: str, headers: Headers
    ) -> dict[str, Any]:
        identity = identify(channel.type)
        base = channel.base_url or (identity.base_url if identity else "")
        if not base:
            raise InvalidRequest("the channel has no address")
        url = base.rstrip("/") + path
        return decoded(await self._client.get(channel, url, headers))


def tells(channel: Channel) -> bool:
    """True when a balance can be asked for."""
    known = channel.type in _SOURCES or channel.type in (OPENAI, CUSTOM)
    return known and not channel.multi_key
