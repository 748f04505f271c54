"""Several arrivals of one person at once, on every engine."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock

from knight_tw.accounts.external.built_in import OIDC, Addresses, make
from knight_tw.accounts.external.people import Arrival, People
from knight_tw.accounts.external.provider import Profile, Provider
from knight_tw.options import Options
from knight_tw.storage import external_writes, schema, user_writes
from knight_tw.storage.external_queries import Source
from knight_tw.storage.user_writes import NewAccount
from tests.engines import DatabaseCase, for_engines

NOW = 1_795_604_332
OPTIONS = Options.from_rows({"QuotaForInviter": "7", "QuotaForInvitee": "5"})


@for_engines
class Arrivals(DatabaseCase):
    """`People` with real transactions."""

    def setUp(self) -> None:
        """Nobody is known."""
        super().setUp()
        clock = Clock()
        clock.advance(NOW)
        self.people = People(self.db, lambda: OPTIONS, clock, random.Random(3))  # noqa: S311

    async def together(
        self, provider: Provider, *people: Profile, aff_code: str = ""
    ) -> list[Arrival]:
        """What becomes of people who arrive at the same time."""
        running = [
            Deferred.fromCoroutine(self.people.arrived(provider, one, aff_code))
            for one in people
        ]
        return list(await gatherResults(running))

    def providers(self) -> tuple[Provider, ...]:
        """A provider with a column, and one with bindings."""
        oidc = make(OIDC, OPTIONS, Addresses())
        custom = Provider(
            slug="company",
            name="Company",
            source=Source("company", provider_id=9),
            prefix="company_",
            enabled=True,
        )
        return oidc, custom

    async def test_one_account(self) -> None:
        """They all get the one account that is made, whoever makes it."""
        for provider in self.providers():
            person = Profile("AbC", username=f"ida-{provider.slug}")
            arrivals = await self.together(provider, *[person] * 4)
            self.assertEqual(len({arrival.who.id for arrival in arrivals}), 1)
            self.assertEqual(sum(arrival.made for arrival in arrivals), 1)

    async def test_different_people(self) -> None:
        """People with ids that differ in case alone get accounts of their own."""
        for provider in self.providers()[:1]:
            people = [Profile(subject) for subject in ("x", "X", "y")]
            arrivals = await self.together(provider, *people)
            self.assertEqual(len({arrival.who.id for arrival in arrivals}), 3)

    async def test_same_name(self) -> None:
        """Of people who wish for one name one gets it; the others are numbered."""
        provider = self.providers()[0]
        people = [Profile(str(number), username="ida") for number in range(4)]
        arrivals = await self.together(provider, *people)
        names = {arrival.who.username for arrival in arrivals}
        self.assertEqual(len(names), 4)
        self.assertIn("ida", names)

    async def test_invitations(self) -> None:
        """Each invited account counts for the inviter, none twice."""

        def host(connection: sa.Connection) -> int:
            new = NewAccount("host", "", "Host", 1)
            return user_writes.create(connection, new, "Host", NOW)

        inviter = await self.db.run(host)
        provider = self.providers()[0]
        people = [Profile(str(number // 2)) for number in range(6)]
        await self.together(provider, *people, aff_code="Host")

        def rewards(connection: sa.Connection) -> Any:
            users = schema.users.c
            asked = sa.select(users.aff_count, users.aff_quota, users.aff_history)
            return tuple(connection.execute(asked.where(users.id == inviter)).one())

        self.assertEqual(await self.db.read(rewards), (3, 21, 21))

    async def test_bind_against_arrival(self) -> None:
        """Who binds an id while its person arrives: one of them has it after."""

        def ann(connection: sa.Connection) -> int:
            return user_writes.create(
                connection, NewAccount("ann", "", "", 1), "a", NOW
            )

        user_id = await self.db.run(ann)
        oidc = self.providers()[0]
        binding = Deferred.fromCoroutine(self.people.bind(oidc, Profile("1"), user_id))
        taken: list[Any] = []
        binding.addErrback(
            lambda f: taken.append(f.trap(external_writes.IdentityTaken))
        )
        (arrival,) = await self.together(oidc, Profile("1"))
        await binding
        self.assertEqual(arrival.who.id == user_id, not taken)
