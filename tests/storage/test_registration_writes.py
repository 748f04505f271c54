"""Accounts made and addresses bound, by many at once."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater

from knight_tw.accounts.flows import Flows
from knight_tw.errors import KnightError
from knight_tw.storage import registration_writes, user_writes
from knight_tw.storage.registration_writes import Joining
from knight_tw.storage.schema import tokens, users
from knight_tw.storage.user_writes import NewAccount
from tests.engines import ConnectionCase, DatabaseCase, engine_for, for_engines

NOW = 1_000_000


def account(name: str, **more: Any) -> NewAccount:
    """A new account of that name."""
    return NewAccount(name, "hash", name, 1, **more)


class _Same(random.Random):
    """Chance that makes the same referral code twice, then others."""

    def choices(self, population: Any, **options: Any) -> list[Any]:
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls <= 2:
            return list("Same")
        return super().choices(population, **options)


@for_engines
class JoinTests(ConnectionCase):
    """`join` in one transaction."""

    def join(self, new: Joining, seed: int = 1) -> registration_writes.Joined:
        """The account that was made."""
        chance = random.Random(seed)  # noqa: S311
        return registration_writes.join(self.connection, new, chance, NOW)

    def test_invited(self) -> None:
        """Shares of both, counted on top of what is there."""
        ann = self.join(Joining(account("ann"))).user_id
        user_writes.update(self.connection, ann, {"aff_code": "AnnA", "aff_quota": 5})
        new = Joining(account("bob", quota=100), None, "AnnA", 7, 3)
        joined = self.join(new, 2)
        rows = {row["username"]: row for row in self.rows(users)}
        self.assertEqual(rows["bob"]["quota"], 107)
        self.assertEqual(rows["bob"]["inviter_id"], ann)
        self.assertEqual(rows["ann"]["aff_quota"], 8)
        self.assertEqual(joined.inviter.username, "ann")

    def test_token(self) -> None:
        """A first token belongs to the new account."""
        joined = self.join(Joining(account("ann"), token={"name": "t", "key": "k"}))
        (row,) = self.rows(tokens)
        self.assertEqual((row["user_id"], row["name"]), (joined.user_id, "t"))

    def test_unlucky_code(self) -> None:
        """A referral code that is in use is not given a second time."""
        self.join(Joining(account("ann")), 1)
        self.join(Joining(account("bob")), 1)
        codes = [row["aff_code"] for row in self.rows(users)]
        self.assertEqual(len(set(codes)), 2)

    def test_owner_of(self) -> None:
        """An address leads to its only enabled owner."""
        ann = self.join(Joining(account("ann", email="Ann@example.com"))).user_id
        found = registration_writes.owner_of(self.connection, "ann@example.com")
        self.assertEqual(found.id, ann)
        self.join(Joining(account("bob", email="ann@Example.com")), 2)
        self.assertIsNone(
            registration_writes.owner_of(self.connection, "ann@example.com")
        )

    def test_owner_of_the_same_letters(self) -> None:
        """An address that MySQL takes for another's opens nothing of the other's."""
        self.join(Joining(account("ann", email="ann\u00e9@example.com")))
        found = registration_writes.owner_of(self.connection, "anne@example.com")
        self.assertIsNone(found)


@for_engines
class RaceTests(DatabaseCase):
    """Ten people at the same moment."""

    def setUp(self) -> None:
        """Flows on a real database."""
        super().setUp()
        clock = Clock()
        clock.advance(NOW)
        self.flows = Flows(self.db, clock, random.Random(1))  # noqa: S311

    async def outcomes(self, *calls: Any) -> list[str]:
        """`ok` or the code of the refusal, of each."""

        async def outcome(call: Any) -> str:
            try:
                await call
            except KnightError as error:
                return error.code
            return "ok"

        found: list[str] = await gatherResults(
            [Deferred.fromCoroutine(outcome(call)) for call in calls]
        )
        return found

    def join(self, new: Joining, chance: random.Random) -> Any:
        """A registration."""
        return self.db.run(registration_writes.join, new, chance, NOW)

    async def test_one_name(self) -> None:
        """One gets the name, all others are told that it is taken."""
        calls = [
            self.join(Joining(account("ann")), random.Random(n))  # noqa: S311
            for n in range(10)
        ]
        found = await self.outcomes(*calls)
        self.assertEqual(sorted(found), ["name_taken"] * 9 + ["ok"])

    async def test_deadlock(self) -> None:
        """Those who wait for a name that is given back may deadlock, and try again."""
        engine = engine_for(self.place)
        self.addCleanup(engine.dispose)
        first = engine.connect()
        self.addCleanup(first.close)
        user_writes.create(first, account("ann"), "AnnA", NOW)
        calls = self.outcomes(
            *(
                self.join(Joining(account("ann")), random.Random(n))  # noqa: S311
                for n in range(4)
            )
        )
        waiting = Deferred.fromCoroutine(calls)
        await deferLater(reactor, 0.3)
        first.rollback()
        found = await waiting
        self.assertEqual(sorted(found), ["name_taken"] * 3 + ["ok"])

    async def test_one_code(self) -> None:
        """Different people who draw the same referral code all get an account."""
        calls = [self.join(Joining(account(f"n{n}")), _Same(n)) for n in range(10)]
        self.assertEqual(await self.outcomes(*calls), ["ok"] * 10)

        def codes(connection: sa.Connection) -> set[str]:
            return set(connection.scalars(sa.select(users.c.aff_code)))

        self.assertEqual(len(await self.db.read(codes)), 10)

    async def test_one_address(self) -> None:
        """A code that proves an address makes one account with it."""
        code = await self.flows.give_code("email_code", "a@example.com", ttl=600)
        proof = await self.flows.check_code("email_code", "a@example.com", code)
        calls = [
            self.join(
                Joining(account(f"n{n}", email="a@example.com"), proof),
                random.Random(n),  # noqa: S311
            )
            for n in range(10)
        ]
        found = await self.outcomes(*calls)
        self.assertEqual(sorted(found), ["ok"] + ["wrong_code"] * 9)

    async def test_invitations_all_count(self) -> None:
        """Ten invited at once are ten rewards."""
        chance = random.Random(99)  # noqa: S311
        ann = await self.db.run(user_writes.create, account("ann"), "AnnA", NOW)
        calls = [
            self.join(
                Joining(account(f"n{n}"), None, "AnnA", 0, 3),
                random.Random(chance.random()),  # noqa: S311
            )
            for n in range(10)
        ]
        self.assertEqual(await self.outcomes(*calls), ["ok"] * 10)

        def rewards(connection: sa.Connection) -> tuple[int, int]:
            asked = sa.select(users.c.aff_count, users.c.aff_quota)
            return tuple(connection.execute(asked.where(users.c.id == ann)).one())

        self.assertEqual(await self.db.read(rewards), (10, 30))
