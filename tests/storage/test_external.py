"""External ids in the database, on every engine, and races for them."""

from __future__ import annotations

import random
from typing import Any

import sqlalchemy as sa
from twisted.internet.defer import Deferred, DeferredList

from knight_tw.storage import (
    external_queries,
    external_writes,
    oauth_queries,
    schema,
    user_queries,
    user_writes,
)
from knight_tw.storage.external_queries import Source
from knight_tw.storage.external_writes import IdentityTaken, LastWayIn, Newcomer
from knight_tw.storage.oauth_queries import SlugTaken
from knight_tw.storage.user_writes import NewAccount
from tests.engines import ConnectionCase, DatabaseCase, for_engines

NOW = 1_795_604_332
GITHUB, OIDC = Source("github", "github_id"), Source("oidc", "oidc_id")
COMPANY = Source("company", provider_id=9)
SOURCES = (GITHUB, OIDC, COMPANY)


def add(connection: sa.Connection, name: str, **columns: Any) -> int:
    """A new account's id."""
    chance = random.Random(name)  # noqa: S311
    new = NewAccount(name, columns.pop("password", ""), name, 1)
    made = user_writes.create_with_code(connection, new, chance, NOW)
    if columns:
        user_writes.update(connection, made, columns)
    return made


def newcomer(name: str, subject: str, source: Source = GITHUB) -> Newcomer:
    """Somebody who is not known yet."""
    return Newcomer(NewAccount(name, "", name, 1), source, subject, "github_")


@for_engines
class Bindings(ConnectionCase):
    """`external_queries` and `external_writes`."""

    def add(self, name: str, **columns: Any) -> int:
        """A new account's id."""
        return add(self.connection, name, **columns)

    def bind(self, source: Source, subject: str, user_id: int) -> None:
        """Bind now."""
        external_writes.bind(self.connection, source, subject, user_id, NOW)

    def owner(self, source: Source, subject: str) -> int:
        """Whose the id is; 0 = nobody's."""
        found = external_queries.owner(self.connection, source, subject)
        return 0 if found is None else found.identity.id

    def test_bound(self) -> None:
        """An id opens the account that it was bound to, exactly as it is written."""
        for source in SOURCES:
            ann = self.add(f"ann-{source.slug}")
            self.bind(source, "AbC", ann)
            self.assertEqual(self.owner(source, "AbC"), ann)
            for other in ("abc", "AbC ", "AbCd", ""):
                self.assertEqual(self.owner(source, other), 0, (source, other))

    def test_age(self) -> None:
        """The owner comes with the age of the account."""
        self.bind(GITHUB, "1", self.add("ann"))
        found = external_queries.owner(self.connection, GITHUB, "1")
        assert found is not None
        self.assertEqual(found.created_at, NOW)

    def test_taken(self) -> None:
        """An id that opens an account cannot be bound to another."""
        for source in SOURCES:
            ann, bob = self.add(f"a-{source.slug}"), self.add(f"b-{source.slug}")
            self.bind(source, "5", ann)
            with self.assertRaises(IdentityTaken):
                self.bind(source, "5", bob)
            self.bind(source, "5", ann)
            self.assertEqual(self.owner(source, "5"), ann)

    def test_taken_by_an_old_row(self) -> None:
        """A row of another program, without a claim, owns its id too."""
        old, new = self.add("old", github_id="5"), self.add("new")
        with self.assertRaises(IdentityTaken):
            self.bind(GITHUB, "5", new)
        self.assertEqual(self.owner(GITHUB, "5"), old)

    def test_taken_by_a_deleted_account(self) -> None:
        """Deletion does not set an id free."""
        for source in SOURCES:
            gone, bob = self.add(f"g-{source.slug}"), self.add(f"b-{source.slug}")
            self.bind(source, "5", gone)
            user_writes.soft_delete(self.connection, gone, NOW)
            with self.assertRaises(IdentityTaken):
                self.bind(source, "5", bob)
            found = external_queries.owner(self.connection, source, "5")
            assert found is not None
            self.assertTrue(found.identity.deleted)

    def test_free_after_removal(self) -> None:
        """An account that is removed for good sets its ids free."""
        for source in SOURCES:
            gone, bob = self.add(f"g-{source.slug}"), self.add(f"b-{source.slug}")
            self.bind(source, "5", gone)
            user_writes.hard_delete(self.connection, gone)
            self.bind(source, "5", bob)
            self.assertEqual(self.owner(source, "5"), bob)

    def test_left_behind(self) -> None:
        """What other programs leave behind of removed accounts is taken over."""
        for source in SOURCES:
            gone, bob = self.add(f"g-{source.slug}"), self.add(f"b-{source.slug}")
            self.bind(source, "X", gone)
            users = schema.users
            self.connection.execute(sa.delete(users).where(users.c.id == gone))
            self.assertEqual(self.owner(source, "X"), 0)
            self.bind(source, "X", bob)
            self.assertEqual(self.owner(source, "X"), bob)

    def test_blanked_elsewhere(self) -> None:
        """A claim whose column another program blanked is nobody's."""
        ann, bob = self.add("ann"), self.add("bob")
        self.bind(GITHUB, "5", ann)
        user_writes.update(self.connection, ann, {"github_id": ""})
        self.bind(GITHUB, "5", bob)
        self.assertEqual(self.owner(GITHUB, "5"), bob)

    def test_replaced(self) -> None:
        """A new id at the same provider takes the old one's place."""
        for source in SOURCES:
            ann, bob = self.add(f"a-{source.slug}"), self.add(f"b-{source.slug}")
            self.bind(source, "1", ann)
            self.bind(source, "2", ann)
            self.assertEqual(self.owner(source, "1"), 0)
            self.assertEqual(self.owner(source, "2"), ann)
            self.bind(source, "1", bob)

    def test_living_before_deleted(self) -> None:
        """Of two old rows with one id the living account is the owner."""
        gone = self.add("gone", github_id="5")
        user_writes.soft_delete(self.connection, gone, NOW)
        living = self.add("living", github_id="5")
        self.assertEqual(self.owner(GITHUB, "5"), living)

    def test_old_names(self) -> None:
        """A stored user name is found whatever its case; one of digits never."""
        old = self.add("old", github_id="Octo")
        self.add("victim", github_id="583231")
        named = external_queries.owner_by_name
        found = named(self.connection, GITHUB, "oCTO")
        assert found is not None
        self.assertEqual(found.identity.id, old)
        for name in ("583231", "", "oct", "Octo "):
            self.assertIsNone(named(self.connection, GITHUB, name), name)

    def test_move_name(self) -> None:
        """The name gives way to the id, once."""
        old = self.add("old", github_id="Octo")
        move = external_writes.move_name
        self.assertTrue(move(self.connection, GITHUB, "octo", "1", old, NOW))
        self.assertFalse(move(self.connection, GITHUB, "octo", "2", old, NOW))
        self.assertEqual(self.owner(GITHUB, "1"), old)

    def test_register(self) -> None:
        """A newcomer gets an account with the id bound."""
        chance = random.Random(1)  # noqa: S311
        for source in SOURCES:
            new = newcomer(f"n-{source.slug}", "5", source)
            made = external_writes.register(self.connection, new, chance, NOW)
            self.assertEqual(self.owner(source, "5"), made)

    def test_register_taken(self) -> None:
        """The second newcomer of one id is refused."""
        chance = random.Random(1)  # noqa: S311
        for source in SOURCES:
            first, second = (newcomer(f"{n}-{source.slug}", "5", source) for n in "ab")
            external_writes.register(self.connection, first, chance, NOW)
            with self.assertRaises(IdentityTaken):
                external_writes.register(self.connection, second, chance, NOW)

    def test_register_names(self) -> None:
        """A name that is taken becomes prefix and number, and the next one after."""
        chance = random.Random(1)  # noqa: S311
        top = self.add("octo")
        self.add(f"github_{top + 2}")
        made = external_writes.register(
            self.connection, newcomer("octo", "5"), chance, NOW
        )
        row = user_queries.account(self.connection, made)
        assert row is not None
        self.assertEqual(row["username"], f"github_{top + 3}")

    def test_unbind(self) -> None:
        """An unbound id opens nothing, and may be bound again."""
        for source in SOURCES:
            ann = self.add(f"a-{source.slug}")
            self.bind(source, "5", ann)
            unbind = external_writes.unbind
            self.assertTrue(unbind(self.connection, source, ann, keep_a_way=False))
            self.assertFalse(unbind(self.connection, source, ann, keep_a_way=False))
            self.assertEqual(self.owner(source, "5"), 0)
            self.bind(source, "5", self.add(f"b-{source.slug}"))

    def test_last_way_in(self) -> None:
        """The only binding of an account without a password stays."""
        for number, source in enumerate(SOURCES):
            ann = self.add(f"a{number}")
            self.bind(source, "5", ann)
            with self.assertRaises(LastWayIn):
                external_writes.unbind(self.connection, source, ann, keep_a_way=True)
            self.bind(SOURCES[number - 1], "6", ann)
            external_writes.unbind(self.connection, source, ann, keep_a_way=True)

    def test_other_ways_in(self) -> None:
        """A password or a living passkey is another way; a removed passkey is not."""
        other = external_queries.has_other_way
        self.assertTrue(other(self.connection, self.add("p", password="x"), COMPANY))
        key = self.add("key")
        self.assertFalse(other(self.connection, key, COMPANY))
        passkeys = schema.passkey_credentials
        self.insert(
            passkeys,
            user_id=key,
            credential_id="c",
            public_key="k",
        )
        self.assertTrue(other(self.connection, key, COMPANY))
        gone = external_writes._moment(NOW)
        self.connection.execute(sa.update(passkeys).values(deleted_at=gone))
        self.assertFalse(other(self.connection, key, COMPANY))

    def test_custom_bindings(self) -> None:
        """They are listed with what consoles show of the provider."""
        values = {"name": "Company", "slug": "company", "icon": "c.svg"}
        made = oauth_queries.create(self.connection, values, NOW)
        ann = self.add("ann")
        self.bind(Source("company", provider_id=made["id"]), "77", ann)
        self.bind(COMPANY, "of a provider that is gone", ann)
        self.assertEqual(
            external_queries.custom_bindings(self.connection, ann),
            [
                {
                    "provider_id": made["id"],
                    "provider_name": "Company",
                    "provider_slug": "company",
                    "provider_icon": "c.svg",
                    "provider_user_id": "77",
                }
            ],
        )

    def test_inviter(self) -> None:
        """A referral code is somebody's to the letter."""
        host = self.add("host", aff_code="AbCd")
        found = external_queries.inviter(self.connection, "AbCd")
        assert found is not None
        self.assertEqual(found.id, host)
        for code in ("abcd", "AbCd ", ""):
            self.assertIsNone(external_queries.inviter(self.connection, code), code)
        user_writes.soft_delete(self.connection, host, NOW)
        self.assertIsNone(external_queries.inviter(self.connection, "AbCd"))

    def test_use_once(self) -> None:
        """Something that counts once counts for the first."""
        use = external_writes.use_once
        self.assertTrue(use(self.connection, "p", "t", NOW + 9, NOW))
        self.assertFalse(use(self.connection, "p", "t", NOW + 9, NOW))
        self.assertTrue(use(self.connection, "p", "u", NOW + 9, NOW))

    def test_providers(self) -> None:
        """Custom providers are made, found, changed and removed with their bindings."""
        values = {"name": "Company", "slug": "company"}
        row = oauth_queries.create(self.connection, values, NOW)
        self.assertEqual(row["scopes"] or "", row["scopes"])
        with self.assertRaises(SlugTaken), self.connection.begin_nested():
            oauth_queries.create(self.connection, values, NOW)
        found = oauth_queries.by_slug(self.connection, "company")
        self.assertEqual(found, row)
        self.assertIsNone(oauth_queries.by_slug(self.connection, "Company"))
        changed = oauth_queries.update(self.connection, row["id"], {"name": "Co"}, NOW)
        assert changed is not None
        self.assertEqual((changed["name"], changed["slug"]), ("Co", "company"))
        self.assertIsNone(oauth_queries.update(self.connection, 999, {}, NOW))
        ann = self.add("ann")
        self.bind(Source("company", provider_id=row["id"]), "1", ann)
        self.assertEqual(oauth_queries.delete(self.connection, row["id"]), 1)
        self.assertEqual(self.rows(schema.user_oauth_bindings), [])
        self.assertIsNone(oauth_queries.delete(self.connection, row["id"]))

    def test_bindings_left_behind(self) -> None:
        """A new provider lets nobody in by what was bound to its number before."""
        values = {"name": "Company", "slug": "company", "id": 71}
        self.bind(Source("gone", provider_id=71), "1", self.add("ann"))
        oauth_queries.create(self.connection, values, NOW)
        self.assertEqual(self.owner(Source("company", provider_id=71), "1"), 0)


@for_engines
class Races(DatabaseCase):
    """Several at once, in transactions of their own."""

    async def together(self, work: Any, *arguments: tuple[Any, ...]) -> list[Any]:
        """What each of the calls at the same time returned or raised."""
        running = [Deferred.fromCoroutine(self.db.run(work, *one)) for one in arguments]
        results = await DeferredList(running, consumeErrors=True)
        return [value if good else value.value for good, value in results]

    async def test_two_accounts_one_id(self) -> None:
        """Of accounts that claim one id at once exactly one gets it."""
        for source in SOURCES:
            ids = [await self.db.run(add, f"{source.slug}{n}") for n in range(4)]
            outcomes = await self.together(
                external_writes.bind, *((source, "5", one, NOW) for one in ids)
            )
            self.assertEqual(outcomes.count(None), 1, outcomes)
            refused = [one for one in outcomes if one is not None]
            self.assertTrue(all(isinstance(one, IdentityTaken) for one in refused))
            found = await self.db.read(external_queries.owner, source, "5")
            assert found is not None
            self.assertEqual(found.identity.id, ids[outcomes.index(None)])

    async def test_two_newcomers(self) -> None:
        """Of the same person arriving several times at once one gets an account."""
        for source in SOURCES:
            chances = [random.Random(n) for n in range(4)]  # noqa: S311
            outcomes = await self.together(
                external_writes.register,
                *(
                    (newcomer(f"x{source.slug}", "5", source), chance, NOW)
                    for chance in chances
                ),
            )
            made = [one for one in outcomes if isinstance(one, int)]
            self.assertEqual(len(made), 1, outcomes)
            users = schema.users

            def names(connection: sa.Connection, table: Any = users) -> list[str]:
                return list(connection.scalars(sa.select(table.c.username)))

            found = await self.db.read(names)
            self.assertEqual(sum(f"x{source.slug}" in name for name in found), 1)

    async def test_two_unbindings(self) -> None:
        """Two bindings unbound at once: one stays, as the only way in."""
        ann = await self.db.run(add, "ann")
        await self.db.run(external_writes.bind, GITHUB, "1", ann, NOW)
        await self.db.run(external_writes.bind, COMPANY, "1", ann, NOW)

        def unbind(connection: sa.Connection, source: Source) -> bool:
            return external_writes.unbind(connection, source, ann, keep_a_way=True)

        outcomes = await self.together(unbind, (GITHUB,), (COMPANY,))
        self.assertEqual(outcomes.count(True), 1, outcomes)

    async def test_once(self) -> None:
        """Of many who bring the same thing at once one is the first."""
        outcomes = await self.together(
            external_writes.use_once, *(("p", "t", NOW + 9, NOW) for _ in range(5))
        )
        self.assertEqual(outcomes.count(True), 1)
