"""Who is told what, and how often."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.background import Background
from knight_tw.cache import MemoryCache
from knight_tw.notices import notices
from knight_tw.notices.notices import Notices, Rate, amount
from knight_tw.notices.sending import NotTaken
from knight_tw.notices.ways import Notice
from knight_tw.options import Options
from knight_tw.storage.database import memory_database
from knight_tw.storage.schema import users


@define
class Sent:
    """Stands for `Sending`."""

    told: list[tuple[str, Notice]] = field(factory=list)
    failing: bool = False
    waiting: Deferred[None] | None = None

    async def __call__(self, setting: Any, email: str, notice: Notice) -> None:
        """Keep the notice."""
        if self.waiting is not None:
            await self.waiting
        if self.failing:
            raise NotTaken("no")
        self.told.append((email, notice))


class _Case(SynchronousTestCase):
    def setUp(self) -> None:
        """Ann wants to know below 500, Bob as the site says (1000), root is root."""
        self.clock = Clock()
        self.clock.advance(1_795_600_000 - 1_795_600_000 % 3600)
        self.db = memory_database(self.clock)
        self.options = Options.from_rows({"QuotaPerUnit": "1000"})
        self.sent = Sent()
        self.notices = Notices(
            self.db,
            MemoryCache(self.clock),
            lambda: self.options,
            self.sent,
            Background(),
            self.clock,
            lambda: "https://site.example",
            Rate(2, 10),
        )
        self.ann = self.user("ann", quota_warning_threshold=500)
        self.bob = self.user("bob")
        self.root = self.user("root", role=100)

    def user(self, name: str, role: int = 1, **setting: Any) -> int:
        """A new account; its id."""

        def write(connection: sa.Connection) -> int:
            made = connection.execute(
                sa.insert(users).values(
                    username=name,
                    password="",
                    role=role,
                    email=f"{name}@example.com",
                    aff_code=name,
                    setting=json.dumps(setting),
                )
            )
            return int(made.inserted_primary_key[0])

        return self.successResultOf(Deferred.fromCoroutine(self.db.run(write)))

    def names(self) -> list[str]:
        """Who was told, in order."""
        return [email.partition("@")[0] for email, _ in self.sent.told]


class LowBalanceTests(_Case):
    """`Notices.spent`."""

    def test_below_the_own_line(self) -> None:
        """Below the own line, or the site's, not at it."""
        self.notices.spent({self.ann: 500, self.bob: 1000})
        self.assertEqual(self.names(), [])
        self.notices.spent({self.ann: 499, self.bob: 999})
        self.assertEqual(self.names(), ["ann", "bob"])

    def test_content(self) -> None:
        """The notice says how much is left and where to top up."""
        self.notices.spent({self.ann: 250})
        _, notice = self.sent.told[0]
        self.assertEqual(notice.kind, "quota_exceed")
        self.assertIn("$0.250000 left", notice.text)
        self.assertIn("https://site.example/console/topup", notice.text)
        self.assertEqual(len(notice.values), 4)

    def test_language(self) -> None:
        """The notice is in the account's language."""
        self.notices.spent({self.user("li", language="zh-CN"): 5})
        self.assertIn("剩余额度为 $0.005000", self.sent.told[0][1].text)

    def test_quiet_for_a_while(self) -> None:
        """Whoever goes on spending is not told with each flush."""
        for _ in range(50):
            self.notices.spent({self.ann: 5})
            self.clock.advance(0.1)
        self.assertEqual(self.names(), ["ann"])

    def test_rate(self) -> None:
        """Two in ten minutes, then again two."""
        for _ in range(9):
            self.notices.spent({self.ann: 5})
            self.clock.advance(61)
        self.assertEqual(len(self.names()), 2)
        self.clock.advance(61)
        self.notices.spent({self.ann: 5})
        self.assertEqual(len(self.names()), 3)

    def test_accounts_do_not_share_their_rate(self) -> None:
        """One who is told often does not silence another."""
        for _ in range(3):
            self.notices.spent({self.ann: 5})
            self.clock.advance(61)
        self.notices.spent({self.bob: 5})
        self.assertEqual(self.names(), ["ann", "ann", "bob"])

    def test_changed_line(self) -> None:
        """A line that its owner moved counts at once."""
        self.notices.spent({self.ann: 600})

        def write(connection: sa.Connection) -> None:
            setting = json.dumps({"quota_warning_threshold": 700})
            connection.execute(
                sa.update(users).where(users.c.id == self.ann).values(setting=setting)
            )

        self.successResultOf(Deferred.fromCoroutine(self.db.run(write)))
        self.notices.spent({self.ann: 600})
        self.assertEqual(self.names(), [])
        self.notices.forget("user", str(self.ann))
        self.notices.spent({self.ann: 600})
        self.assertEqual(self.names(), ["ann"])

    def test_strange_lines(self) -> None:
        """A line that is no positive number is the site's."""
        for number, line in enumerate((0, -5, "7", True, None, [1])):
            user = self.user(f"u{number}", quota_warning_threshold=line)
            self.notices.spent({user: 999})
        self.assertEqual(len(self.names()), 6)

    def test_gone(self) -> None:
        """An account that does not exist is not told."""
        self.notices.spent({999: -5})
        self.assertEqual(self.names(), [])

    def test_site_line(self) -> None:
        """The site's line is today's."""
        self.notices.spent({self.bob: 1500})
        self.options = Options.from_rows({"QuotaRemindThreshold": "2000"})
        self.notices.spent({self.bob: 1500})
        self.assertEqual(self.names(), ["bob"])

    def test_known_lines_cost_no_query(self) -> None:
        """An account that spends on is read once."""
        self.notices.spent({self.ann: 600})
        reads: list[Any] = []
        self.patch(notices.users, "find_all", lambda *a: reads.append(a) or {})
        for _ in range(20):
            self.notices.spent({self.ann: 600})
        self.assertEqual(reads, [])

    def test_memory_is_bounded(self) -> None:
        """The longest known line is forgotten first."""
        self.patch(notices, "MOST_LINES", 2)
        self.notices.spent({self.ann: 600})
        self.notices.spent({self.bob: 6000})
        self.notices.spent({self.root: 6000})
        self.assertEqual(list(self.notices._lines), [self.bob, self.root])

    def test_failure(self) -> None:
        """A receiver that fails hurts nobody else."""
        self.sent.failing = True
        self.notices.spent({self.ann: 5})
        self.sent.failing = False
        self.notices.spent({self.bob: 5})
        self.assertEqual(self.names(), ["bob"])

    def test_too_many_at_once(self) -> None:
        """Notices on their way are limited; the rest is dropped, later ones go."""
        self.patch(notices, "MOST_SENDING", 1)
        self.sent.waiting = Deferred()
        self.notices.spent({self.ann: 5, self.bob: 5})
        self.sent.waiting.callback(None)
        self.assertEqual(self.names(), ["ann"])
        self.notices.spent({self.root: 5})
        self.assertEqual(self.names(), ["ann", "root"])


class AdministratorTests(_Case):
    """Notices to root."""

    def test_channel_changed(self) -> None:
        """Root hears that a channel was disabled, and why."""
        self.notices.channel_changed(7, "main", False, "status_code=401")
        self.assertEqual(self.names(), ["root"])
        notice = self.sent.told[0][1]
        self.assertEqual(notice.kind, "channel_update")
        self.assertIn("Channel main (#7) was disabled", notice.text)
        self.assertIn("status_code=401", notice.text)

    def test_channels_do_not_share_their_rate(self) -> None:
        """One channel that comes and goes does not hide another."""
        for _ in range(4):
            self.notices.channel_changed(7, "main", False, "")
        self.notices.channel_changed(8, "other", False, "")
        self.assertEqual(len(self.names()), 3)

    def test_tested(self) -> None:
        """The end of a run says what came out."""
        self.notices.channels_tested({"tested": 3, "failed": 1})
        notice = self.sent.told[0][1]
        self.assertEqual(notice.kind, "channel_test")
        self.assertIn("3 tested, 1 failed", notice.text)

    def test_back(self) -> None:
        """A channel that comes back is another notice."""
        self.notices.channel_changed(7, "main", True, "it answers again")
        self.assertIn("was enabled again", self.sent.told[0][1].text)

    def test_models(self) -> None:
        """Model lists concern those administrators who asked for it."""
        self.user("adm", 10, upstream_model_update_notify_enabled=True)
        self.user("ben", 10)
        self.user("cat", 1, upstream_model_update_notify_enabled=True)
        self.notices.models_changed({"detected_add_models": 2})
        self.assertEqual(self.names(), ["adm"])
        self.assertIn("2 detected add models", self.sent.told[0][1].text)

    def test_disabled_root(self) -> None:
        """A disabled root account is not told."""

        def write(connection: sa.Connection) -> None:
            connection.execute(
                sa.update(users).where(users.c.id == self.root).values(status=2)
            )

        self.successResultOf(Deferred.fromCoroutine(self.db.run(write)))
        self.notices.channels_tested({})
        self.assertEqual(self.names(), [])


class AmountTests(SynchronousTestCase):
    """`amount`."""

    def test_units(self) -> None:
        """As the site shows quota."""
        unit = {"QuotaPerUnit": "500000"}
        for kind, more, expected in (
            ("USD", {}, "$0.500000"),
            ("TOKENS", {}, "250000 quota"),
            ("CNY", {"USDExchangeRate": "7.3"}, "¥3.650000"),
            (
                "CUSTOM",
                {
                    "general_setting.custom_currency_symbol": "€",
                    "general_setting.custom_currency_exchange_rate": "0.5",
                },
                "€0.250000",
            ),
        ):
            rows = {"general_setting.quota_display_type": kind, **unit, **more}
            self.assertEqual(amount(250_000, Options.from_rows(rows)), expected)
