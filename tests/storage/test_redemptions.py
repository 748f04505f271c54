"""Codes exchanged for quota, and gifts taken, on each engine."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred, gatherResults

from knight_tw.errors import KnightError, NotFound
from knight_tw.storage import checkins, redemptions
from knight_tw.storage.checkins import AlreadyTaken
from knight_tw.storage.redemptions import CodeRefused
from knight_tw.storage.schema import knight_usage, users
from knight_tw.storage.schema import redemptions as codes
from tests.engines import ConnectionCase, DatabaseCase, for_engines

KEY = "0123456789abcdef0123456789abcdef"
NOW = 1_000_000


@for_engines
class RedeemTests(ConnectionCase):
    """`redeem`."""

    def setUp(self) -> None:
        """An account with 10 units."""
        super().setUp()
        self.ann = self.insert(users, username="ann", password="", quota=10)

    def code(self, **values: Any) -> int:
        """A code worth 500."""
        return self.insert(codes, **{"key": KEY, "quota": 500, "status": 1, **values})

    def redeem(self, key: str = KEY) -> int:
        """What the code gave."""
        return redemptions.redeem(self.connection, key, self.ann, NOW)

    def test_good_code(self) -> None:
        """It raises the balance and is used up."""
        self.code()
        self.assertEqual(self.redeem(), 500)
        self.assertEqual(self.rows(users)[0]["quota"], 510)
        (row,) = self.rows(codes)
        self.assertEqual(
            (row["status"], row["redeemed_time"], row["used_user_id"]),
            (3, NOW, self.ann),
        )
        with self.assertRaises(CodeRefused):
            self.redeem()
        self.assertEqual(self.rows(users)[0]["quota"], 510)

    def test_expiry(self) -> None:
        """A code is good to the last second of its time."""
        self.code(expired_time=NOW)
        self.assertEqual(self.redeem(), 500)
        self.code(key="x" * 32, expired_time=NOW - 1)
        with self.assertRaises(CodeRefused):
            self.redeem("x" * 32)

    def test_worthless_codes(self) -> None:
        """Disabled, used and negative codes give nothing."""
        for number, values in enumerate(
            ({"status": 2}, {"status": 3}, {"quota": 0}, {"quota": -5})
        ):
            key = f"{number:032}"
            self.code(key=key, **values)
            with self.assertRaises(CodeRefused, msg=repr(values)):
                self.redeem(key)
        self.assertEqual(self.rows(users)[0]["quota"], 10)

    def test_deleted_code(self) -> None:
        """A deleted code gives nothing."""
        self.assertTrue(redemptions.delete(self.connection, self.code(), NOW))
        with self.assertRaises(CodeRefused):
            self.redeem()

    def test_case(self) -> None:
        """A code counts to the letter, on engines that know no case, too."""
        self.code()
        with self.assertRaises(CodeRefused):
            self.redeem(KEY.upper())

    def test_unknown_code(self) -> None:
        """No code, or half of one, is refused the same way."""
        for key in ("", KEY[:16], "' OR 1=1 --", "x" * 100):
            with self.assertRaises(CodeRefused):
                self.redeem(key)

    def test_null_expiry(self) -> None:
        """A code of a table that is older than the column never expires."""
        number = self.code()
        self.connection.execute(
            sa.update(codes).where(codes.c.id == number).values(expired_time=None)
        )
        self.assertEqual(self.redeem(), 500)


@for_engines
class ListTests(ConnectionCase):
    """`search`, `update`, `delete`."""

    def setUp(self) -> None:
        """Codes of every status."""
        super().setUp()
        for name, status, expired in (
            ("Gift one", 1, 0),
            ("gift two", 1, NOW + 5),
            ("gift old", 1, NOW - 5),
            ("gift off", 2, 0),
            ("gift gone", 3, 0),
            ("a 100%", 1, 0),
        ):
            self.insert(
                codes,
                key=f"{len(self.rows(codes)):032}",
                name=name,
                status=status,
                expired_time=expired,
                quota=1,
            )

    def names(self, keyword: str = "", status: str = "") -> list[str]:
        """What a search finds."""
        rows, total = redemptions.search(self.connection, keyword, status, NOW, 0, 100)
        self.assertEqual(total, len(rows))
        return [row["name"] for row in rows]

    def test_all(self) -> None:
        """Without conditions every code, newest first."""
        self.assertEqual(len(self.names()), 6)
        self.assertEqual(self.names()[0], "a 100%")

    def test_by_name(self) -> None:
        """Names are found by their beginning in any case; % stands for itself."""
        self.assertEqual(len(self.names("gift")), 5)
        self.assertEqual(self.names("GIFT TWO"), ["gift two"])
        self.assertEqual(self.names("two"), [])
        self.assertEqual(self.names("%"), [])
        self.assertEqual(self.names("a 100%"), ["a 100%"])

    def test_by_id(self) -> None:
        """A number is an id, too."""
        number = self.rows(codes)[1]["id"]
        self.assertEqual(self.names(str(number)), ["gift two"])
        self.assertEqual(self.names("9" * 30), [])

    def test_by_status(self) -> None:
        """Usable, disabled, used, expired; anything else is no condition."""
        for status, expected in (
            ("1", ["a 100%", "gift two", "Gift one"]),
            ("2", ["gift off"]),
            ("3", ["gift gone"]),
            ("expired", ["gift old"]),
        ):
            self.assertEqual(self.names(status=status), expected)
        self.assertEqual(len(self.names(status="x")), 6)

    def test_pages(self) -> None:
        """The total is of all pages."""
        rows, total = redemptions.search(self.connection, "", "", NOW, 4, 4)
        self.assertEqual((len(rows), total), (2, 6))

    def test_used_status_stays(self) -> None:
        """A used code cannot be made good again, but renamed."""
        number = self.rows(codes)[4]["id"]
        with self.assertRaises(CodeRefused):
            redemptions.update(self.connection, number, {"status": 1})
        row = redemptions.update(self.connection, number, {"name": "new"})
        self.assertEqual((row["name"], row["status"]), ("new", 3))

    def test_deleted(self) -> None:
        """A deleted code is gone for all purposes."""
        number = self.rows(codes)[0]["id"]
        self.assertTrue(redemptions.delete(self.connection, number, NOW))
        self.assertFalse(redemptions.delete(self.connection, number, NOW))
        self.assertIsNone(redemptions.find(self.connection, number))
        with self.assertRaises(NotFound):
            redemptions.update(self.connection, number, {"name": "x"})

    def test_delete_invalid(self) -> None:
        """Used, disabled and expired ones go, good ones stay."""
        self.assertEqual(redemptions.delete_invalid(self.connection, NOW), 3)
        self.assertEqual(len(self.names()), 3)
        self.assertEqual(redemptions.delete_invalid(self.connection, NOW), 0)


@for_engines
class CheckinTests(ConnectionCase):
    """`checkins`."""

    def setUp(self) -> None:
        """An account."""
        super().setUp()
        self.ann = self.insert(users, username="ann", password="", quota=10)

    def test_once_a_day(self) -> None:
        """Each day gives once."""
        checkins.take(self.connection, self.ann, "2026-11-25", 5, NOW)
        with self.assertRaises(AlreadyTaken):
            checkins.take(self.connection, self.ann, "2026-11-25", 5, NOW)
        checkins.take(self.connection, self.ann, "2026-11-26", 7, NOW)
        self.assertEqual(self.rows(users)[0]["quota"], 22)
        self.assertEqual(
            checkins.sums(self.connection, self.ann, "2026-11-26"), (2, 12, True)
        )
        self.assertEqual(
            checkins.sums(self.connection, self.ann, "2026-11-27"), (2, 12, False)
        )

    def test_month(self) -> None:
        """A month has its own days, the latest first."""
        for day in ("2026-10-31", "2026-11-01", "2026-11-30", "2026-12-01"):
            checkins.take(self.connection, self.ann, day, 5, NOW)
        rows = checkins.of_month(self.connection, self.ann, "2026-11")
        self.assertEqual(
            [row["checkin_date"] for row in rows], ["2026-11-30", "2026-11-01"]
        )

    def test_usage(self) -> None:
        """Hours of one account, without the calls that failed."""
        key = {"token_id": 1, "channel_id": 1, "use_group": "default"}
        for user, bucket, model, status, count in (
            (self.ann, 7200, "m", 200, 3),
            (self.ann, 7200, "m", 500, 9),
            (self.ann, 3600, "m", 200, 9),
            (99, 7200, "m", 200, 9),
        ):
            self.insert(
                knight_usage,
                **key,
                user_id=user,
                bucket_ts=bucket,
                model_name=model,
                status=status,
                count=count,
            )
        (row,) = checkins.usage_since(self.connection, self.ann, 7000)
        self.assertEqual((row["bucket_ts"], row["model_name"]), (7200, "m"))
        self.assertEqual(int(row["count"]), 3)


@for_engines
class RaceTests(DatabaseCase):
    """Many at the same moment."""

    async def outcomes(self, calls: list[Any]) -> list[Any]:
        """The result, or the code of the refusal, of each."""

        async def outcome(call: Any) -> Any:
            try:
                return await call
            except KnightError as error:
                return error.code

        found: list[Any] = await gatherResults(
            [Deferred.fromCoroutine(outcome(call)) for call in calls]
        )
        return found

    async def _people(self) -> None:
        def write(connection: sa.Connection) -> None:
            for number in (1, 2):
                connection.execute(
                    sa.insert(users).values(
                        id=number,
                        username=f"u{number}",
                        password="",
                        aff_code=f"{number}",
                    )
                )
            connection.execute(sa.insert(codes).values(key=KEY, quota=500, status=1))

        await self.db.run(write)

    async def _quotas(self) -> list[int]:
        def read(connection: sa.Connection) -> list[int]:
            return list(connection.scalars(sa.select(users.c.quota)))

        return await self.db.read(read)

    async def test_one_code(self) -> None:
        """Of ten submits by two people one is credited, once."""
        await self._people()
        calls = [
            self.db.run(redemptions.redeem, KEY, number % 2 + 1, NOW)
            for number in range(10)
        ]
        found = await self.outcomes(calls)
        self.assertEqual(sorted(map(str, found)), ["500"] + ["code_used"] * 9)
        self.assertEqual(sum(await self._quotas()), 500)

    async def test_one_day(self) -> None:
        """Of ten check-ins of one day one is a gift."""
        await self._people()
        calls = [self.db.run(checkins.take, 1, "2026-11-25", 5, NOW) for _ in range(10)]
        found = await self.outcomes(calls)
        self.assertEqual(found.count(None), 1)
        self.assertEqual(sum(await self._quotas()), 5)
