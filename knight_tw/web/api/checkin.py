"""The daily gift, and one-api's summary of the last seven days."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.captcha import Turnstile
from knight_tw.options import Options
from knight_tw.storage import checkins
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import Refusal, client_ip, install, invalid, ok, query
from knight_tw.web.api.audit import SYSTEM, Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

DAYS = 7
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])\Z")
_SUMS = (
    ("RequestCount", "count"),
    ("Quota", "quota"),
    ("PromptTokens", "prompt_tokens"),
    ("CompletionTokens", "completion_tokens"),
)


@frozen(eq=False)
class CheckinApi:
    """The routes of check-in; a day is one of the server's zone."""

    _db: Database
    _guard: Guard
    _captcha: Turnstile
    _audit: Audit
    _options: Callable[[], Options]
    _changed: Callable[[str, str], Awaitable[None]]
    _balances_changed: Callable[[int], None]
    _random: random.Random
    _now: Callable[[], float]

    app = Klein()
    install(app)

    @app.route("/api/user/checkin", methods=["GET"])
    @allow(Who.USER)
    async def months(self, request: Request, viewer: Viewer) -> bytes:
        """The gifts of a month, and sums of all."""
        least, most = self._bounds()
        today = self._today()
        month = query(request, "month") or today[:7]
        if not _MONTH.match(month):
            raise invalid("month", "YYYY-MM")
        rows = await self._db.read(checkins.of_month, viewer.id, month)
        number, quota, taken = await self._db.read(checkins.sums, viewer.id, today)
        stats = {
            "total_quota": quota,
            "total_checkins": number,
            "checkin_count": len(rows),
            "checked_in_today": taken,
            "records": rows,
        }
        shown = {"enabled": True, "min_quota": least, "max_quota": most, "stats": stats}
        return ok(shown, message=None)

    @app.route("/api/user/checkin", methods=["POST"])
    @allow(Who.USER)
    async def check_in(self, request: Request, viewer: Viewer) -> bytes:
        """Take today's gift, a random amount between the two options."""
        least, most = self._bounds()
        await self._captcha.check(query(request, "turnstile"), client_ip(request))
        today, quota = self._today(), self._random.randint(least, most)
        now = int(self._now())
        await self._db.run(checkins.take, viewer.id, today, quota, now)
        self._balances_changed(viewer.id)
        told = {"op": {"action": "user.checkin", "params": {"date": today}}}
        what = "daily gift"
        self._audit.note(request, SYSTEM, viewer.id, viewer.username, what, told, quota)
        await self._changed("user", str(viewer.id))
        return ok({"quota_awarded": quota, "checkin_date": today}, "checked in")

    @app.route("/api/user/dashboard", methods=["GET"])
    @allow(Who.USER)
    async def dashboard(self, request: Request, viewer: Viewer) -> bytes:
        """The own calls of the last seven days, by day and model (one-api)."""
        today = self._local(self._now()).replace(hour=0, minute=0, second=0)
        first = int((today - timedelta(days=DAYS - 1)).timestamp())
        rows = await self._db.read(checkins.usage_since, viewer.id, first)
        days: dict[tuple[str, str], dict[str, Any]] = {}
        for row in rows:
            day, model = f"{self._local(row['bucket_ts']):%Y-%m-%d}", row["model_name"]
            sums = days.setdefault(
                (day, model),
                {"Day": day, "ModelName": model, **{name: 0 for name, _ in _SUMS}},
            )
            for name, column in _SUMS:
                sums[name] += int(row[column])
        return ok([days[key] for key in sorted(days)])

    def _bounds(self) -> tuple[int, int]:
        """The least and the largest gift.

        Raises:
            Refusal: there are no gifts.
        """
        options = self._options()
        if not options.flag("checkin_setting.enabled"):
            raise Refusal("check-in is not enabled", code="not_configured")
        least = options.integer("checkin_setting.min_quota")
        return least, max(least, options.integer("checkin_setting.max_quota"))

    def _today(self) -> str:
        return f"{self._local(self._now()):%Y-%m-%d}"

    def _local(self, seconds: float) -> datetime:
        return datetime.fromtimestamp(int(seconds)).astimezone()
