"""Flow tokens and one-time codes."""

from __future__ import annotations

import random
from typing import Any, TypeVar

import sqlalchemy as sa
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.flows import Flows
from knight_tw.storage import flow_queries
from knight_tw.storage.database import memory_database
from knight_tw.storage.schema import auth_flows
from tests.engines import DatabaseCase, for_engines

T = TypeVar("T")


class FlowTests(SynchronousTestCase):
    """On one database in memory."""

    def setUp(self) -> None:
        """Flows at a known time."""
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.db = memory_database(self.clock)
        self.flows = Flows(self.db, self.clock, random.Random(1), "secret")  # noqa: S311

    def now(self, work: Any) -> Any:
        """The result of work that ends at once."""
        return self.successResultOf(Deferred.fromCoroutine(work))

    def stored(self) -> list[Any]:
        """The rows of the table."""

        def read(connection: sa.Connection) -> list[Any]:
            return list(connection.execute(sa.select(auth_flows)))

        rows: list[Any] = self.now(self.db.read(read))
        return rows

    def test_token_brings_all_back(self) -> None:
        """What was given at the start is there at the end."""
        token = self.now(
            self.flows.start(
                "oauth_state",
                provider="github",
                intent="bind",
                user_id=7,
                session_id="s",
                payload={"aff": "ABCD"},
                ttl=600,
            )
        )
        flow = self.now(self.flows.take("oauth_state", token))
        self.assertEqual(
            (flow.provider, flow.intent, flow.user_id, flow.session_id),
            ("github", "bind", 7, "s"),
        )
        self.assertEqual(flow.payload, {"aff": "ABCD"})
        self.assertEqual(flow.expires_at, 1_000_600)

    def test_token_serves_once(self) -> None:
        """The second who brings it gets nothing."""
        token = self.now(self.flows.start("p", ttl=600))
        self.assertIsNotNone(self.now(self.flows.take("p", token)))
        self.assertIsNone(self.now(self.flows.take("p", token)))
        self.assertIsNone(self.now(self.flows.peek("p", token)))

    def test_peek_leaves_it(self) -> None:
        """A look does not use a token up."""
        token = self.now(self.flows.start("p", ttl=600))
        self.assertIsNotNone(self.now(self.flows.peek("p", token)))
        self.assertIsNotNone(self.now(self.flows.take("p", token)))

    def test_token_serves_one_purpose(self) -> None:
        """For another purpose it is unknown."""
        token = self.now(self.flows.start("p", ttl=600))
        self.assertIsNone(self.now(self.flows.take("q", token)))

    def test_token_expires(self) -> None:
        """At the end of its time it is worth nothing."""
        token = self.now(self.flows.start("p", ttl=600))
        self.clock.advance(600)
        self.assertIsNone(self.now(self.flows.peek("p", token)))
        self.assertIsNone(self.now(self.flows.take("p", token)))

    def test_strange_tokens(self) -> None:
        """Empty, endless and unencodable texts are unknown tokens."""
        for token in ("", "x" * 100_000, "\ud800", "\0"):
            self.assertIsNone(self.now(self.flows.take("p", token)))

    def test_neither_token_nor_code_is_stored(self) -> None:
        """The table holds digests."""
        token = self.now(self.flows.start("p", ttl=600))
        code = self.now(self.flows.give_code("c", "a@example.com", ttl=600))
        text = repr(self.stored())
        self.assertNotIn(token, text)
        self.assertNotIn(f"'{code}'", text)
        self.assertNotIn("a@example.com", text)

    def test_right_code(self) -> None:
        """A code opens its subject's flow once, whatever its case and blanks."""
        code = self.now(
            self.flows.give_code("c", "a@b", user_id=3, payload={"n": 1}, ttl=600)
        )
        self.assertRegex(code, "^[0-9a-f]{6}$")
        flow = self.now(self.flows.take_code("c", "a@b", f" {code.upper()} "))
        self.assertEqual((flow.user_id, flow.payload), (3, {"n": 1}))
        self.assertIsNone(self.now(self.flows.take_code("c", "a@b", code)))

    def test_code_of_somebody_else(self) -> None:
        """A code does not open the flow of another subject."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        self.now(self.flows.give_code("c", "x@y", ttl=600))
        self.assertIsNone(self.now(self.flows.take_code("c", "x@y", code)))

    def test_four_wrong_codes(self) -> None:
        """After four wrong ones the right one is still good."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        for _ in range(4):
            self.assertIsNone(self.now(self.flows.check_code("c", "a@b", "zzzzzz")))
        self.assertIsNotNone(self.now(self.flows.take_code("c", "a@b", code)))

    def test_five_wrong_codes(self) -> None:
        """After five wrong ones the right one is worthless."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        for _ in range(5):
            self.assertIsNone(self.now(self.flows.check_code("c", "a@b", "zzzzzz")))
        self.assertIsNone(self.now(self.flows.take_code("c", "a@b", code)))
        self.assertEqual(self.stored(), [])

    def test_right_checks_do_not_count(self) -> None:
        """Checking a right code often does not void it."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        for _ in range(9):
            self.assertIsNotNone(self.now(self.flows.check_code("c", "a@b", code)))

    def test_code_expires(self) -> None:
        """A code dies at the end of its time."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        self.clock.advance(601)
        self.assertIsNone(self.now(self.flows.check_code("c", "a@b", code)))

    def test_newer_code(self) -> None:
        """A newer code replaces the older one and its count of wrong tries."""
        older = self.now(self.flows.give_code("c", "a@b", ttl=600))
        for _ in range(4):
            self.now(self.flows.check_code("c", "a@b", "zzzzzz"))
        newer = self.now(self.flows.give_code("c", "a@b", ttl=600))
        self.assertIsNone(self.now(self.flows.check_code("c", "a@b", older)))
        self.assertIsNotNone(self.now(self.flows.take_code("c", "a@b", newer)))
        self.assertEqual(len(self.stored()), 1)

    def test_replaced_code_cannot_be_spent(self) -> None:
        """A code checked before a newer one was given opens nothing any more."""
        older = self.now(self.flows.give_code("c", "a@b", ttl=600))
        flow = self.now(self.flows.check_code("c", "a@b", older))
        self.now(self.flows.give_code("c", "a@b", ttl=600))
        spent = self.now(self.db.run(flow_queries.spend, flow, 1_000_001))
        self.assertFalse(spent)

    def test_given_again_after_use(self) -> None:
        """A subject that used its code gets a new one."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        self.now(self.flows.take_code("c", "a@b", code))
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        self.assertIsNotNone(self.now(self.flows.take_code("c", "a@b", code)))

    def test_void_code(self) -> None:
        """A code that could not be sent is taken back."""
        code = self.now(self.flows.give_code("c", "a@b", ttl=600))
        self.now(self.flows.void_code("c", "a@b"))
        self.assertIsNone(self.now(self.flows.take_code("c", "a@b", code)))

    def test_another_secret(self) -> None:
        """Digests of another secret are others."""
        token = self.now(self.flows.start("p", ttl=600))
        other = Flows(self.db, self.clock, random.Random(2), "another")  # noqa: S311
        self.assertIsNone(self.now(other.take("p", token)))

    def test_tidy(self) -> None:
        """What expired over an hour ago is deleted, also beyond a thousand rows."""
        for _ in range(1_003):
            self.now(self.flows.start("p", ttl=60))
        self.clock.advance(60 + 3_601)
        token = self.now(self.flows.start("p", ttl=60))
        self.now(self.flows.tidy())
        self.assertEqual(len(self.stored()), 1)
        self.assertIsNotNone(self.now(self.flows.take("p", token)))


@for_engines
class FlowRaceTests(DatabaseCase):
    """Many at once, on each engine."""

    def setUp(self) -> None:
        """Flows on a real database."""
        super().setUp()
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.flows = Flows(self.db, self.clock, random.Random(1), "secret")  # noqa: S311

    async def test_one_takes_the_token(self) -> None:
        """Of ten that bring one token at the same moment one gets the flow."""
        token = await self.flows.start("p", payload={"n": 1}, ttl=600)
        calls = [self.flows.take("p", token) for _ in range(10)]
        found = await gatherResults([Deferred.fromCoroutine(call) for call in calls])
        self.assertEqual([f.payload for f in found if f is not None], [{"n": 1}])

    async def test_one_takes_the_code(self) -> None:
        """Of ten that bring one code at the same moment one gets the flow."""
        code = await self.flows.give_code("c", "a@b", ttl=600)
        calls = [self.flows.take_code("c", "a@b", code) for _ in range(10)]
        found = await gatherResults([Deferred.fromCoroutine(call) for call in calls])
        self.assertEqual(sum(f is not None for f in found), 1)

    async def test_wrong_tries_are_all_counted(self) -> None:
        """Ten wrong codes at once void the code as ten in a row do."""
        code = await self.flows.give_code("c", "a@b", ttl=600)
        calls = [self.flows.check_code("c", "a@b", f"{n:06}z") for n in range(10)]
        await gatherResults([Deferred.fromCoroutine(call) for call in calls])
        self.assertIsNone(await self.flows.check_code("c", "a@b", code))

    async def test_codes_given_at_once(self) -> None:
        """Of several codes given at once for one subject one is good."""
        calls = [self.flows.give_code("c", "a@b", ttl=600) for _ in range(4)]
        codes = await gatherResults([Deferred.fromCoroutine(call) for call in calls])
        good = [await self.flows.check_code("c", "a@b", code) for code in codes]
        self.assertEqual(sum(flow is not None for flow in good), 1)

    async def test_tidy(self) -> None:
        """Old rows go, living ones stay."""
        await self.flows.start("p", ttl=60)
        self.clock.advance(4_000)
        token = await self.flows.start("p", ttl=60)
        await self.flows.tidy()
        self.assertIsNotNone(await self.flows.take("p", token))
