"""Tests of the daily gift, and of one-api's dashboard."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage.schema import knight_usage
from tests.web.api.door import Door
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW

PATH = "/api/user/checkin"
DAY = f"{datetime.fromtimestamp(NOW).astimezone():%Y-%m-%d}"


class CheckinTests(SynchronousTestCase):
    """Both routes of check-in."""

    def setUp(self) -> None:
        """A gateway that gives 1000 to 2000 a day."""
        self.door = Door()
        self.door.set_up()
        self.door.set_option("checkin_setting.enabled", "true")
        self.door.set_option("checkin_setting.max_quota", "2000")
        self.ann_id = self.door.add_user("ann", quota=10)
        self.ann = self.door.bearer("ann")
        self.door.notes.clear()

    def test_gift(self) -> None:
        """Today's gift comes once, raises the balance and is logged."""
        answer = self.ann.post(PATH)
        quota = answer.data["quota_awarded"]
        self.assertEqual(answer.data, {"quota_awarded": quota, "checkin_date": DAY})
        self.assertTrue(1000 <= quota <= 2000)
        self.assertEqual(self.door.row(self.ann_id)["quota"], 10 + quota)
        self.assertEqual(self.door.balances, [self.ann_id])
        (note,) = self.door.notes
        self.assertEqual((note["type"], note["quota"]), (4, quota))
        self.assertEqual(self.ann.post(PATH).code, "already_exists")
        self.assertEqual(self.door.row(self.ann_id)["quota"], 10 + quota)

    def test_next_day(self) -> None:
        """Tomorrow there is another."""
        self.ann.post(PATH)
        self.door.clock.advance(86_400)
        self.ann = self.door.bearer("ann")
        self.assertTrue(self.ann.post(PATH).json["success"])
        stats = self.ann.get(PATH).data["stats"]
        self.assertEqual(stats["total_checkins"], 2)

    def test_month(self) -> None:
        """The shape that the consoles read, without a message."""
        quota = self.ann.post(PATH).data["quota_awarded"]
        answer = self.ann.get(f"{PATH}?month={DAY[:7]}")
        self.assertNotIn("message", answer.json)
        self.assertEqual(
            answer.data,
            {
                "enabled": True,
                "min_quota": 1000,
                "max_quota": 2000,
                "stats": {
                    "total_quota": quota,
                    "total_checkins": 1,
                    "checkin_count": 1,
                    "checked_in_today": True,
                    "records": [{"checkin_date": DAY, "quota_awarded": quota}],
                },
            },
        )
        other = self.ann.get(f"{PATH}?month=2001-01").data["stats"]
        self.assertEqual((other["records"], other["total_checkins"]), ([], 1))

    def test_bad_month(self) -> None:
        """What is no month is refused."""
        for month in ("2026", "2026-13", "x", "2026-1", "%27"):
            self.assertEqual(
                self.ann.get(f"{PATH}?month={month}").code, "invalid_field"
            )

    def test_off(self) -> None:
        """While it is off both routes say so."""
        self.door.set_option("checkin_setting.enabled", "false")
        for answer in (self.ann.get(PATH), self.ann.post(PATH)):
            self.assertEqual((answer.status, answer.code), (200, "not_configured"))

    def test_captcha(self) -> None:
        """With the check on a right answer is needed."""
        self.door.set_option("TurnstileSiteKey", "site")
        self.door.set_option("TurnstileCheckEnabled", "true")
        self.assertEqual(self.ann.post(PATH).code, "captcha_failed")
        self.assertTrue(self.ann.post(f"{PATH}?turnstile=right").json["success"])

    def test_bounds_the_wrong_way_round(self) -> None:
        """A maximum below the minimum counts as the minimum."""
        self.door.set_option("checkin_setting.max_quota", "1")
        self.assertEqual(self.ann.post(PATH).data["quota_awarded"], 1000)


class DashboardTests(SynchronousTestCase):
    """`GET /api/user/dashboard`."""

    def test_days_and_models(self) -> None:
        """The last seven days by day and model, the caller's alone."""
        door = Door()
        door.set_up()
        ann = door.add_user("ann")
        hour = NOW - NOW % 3600
        for user, bucket, model in (
            (ann, hour, "m"),
            (ann, hour - 3600, "m"),
            (ann, hour, "n"),
            (ann, hour - 8 * 86_400, "m"),
            (ann + 1, hour, "m"),
        ):
            door.execute(
                sa.insert(knight_usage).values(
                    user_id=user,
                    bucket_ts=bucket,
                    token_id=1,
                    channel_id=1,
                    model_name=model,
                    use_group="default",
                    status=200,
                    count=2,
                    quota=10,
                    prompt_tokens=3,
                    completion_tokens=4,
                )
            )
        rows = door.bearer("ann").get("/api/user/dashboard").data
        shape = {
            "Day": str,
            "ModelName": str,
            "RequestCount": int,
            "Quota": int,
            "PromptTokens": int,
            "CompletionTokens": int,
        }
        self.assertEqual(misfit(rows, [shape]), "")
        self.assertEqual(sum(row["RequestCount"] for row in rows), 6)
        self.assertEqual({row["ModelName"] for row in rows}, {"m", "n"})

    def test_nothing(self) -> None:
        """Without calls the list is empty."""
        door = Door()
        door.set_up()
        self.assertEqual(door.bearer("root").get("/api/user/dashboard").data, [])
