"""Tests of the rows of second factors and passkeys, on all engines."""

from __future__ import annotations

from datetime import UTC, datetime

import sqlalchemy as sa
from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults

from knight_tw.storage import (
    factor_queries,
    factor_writes,
    passkey_queries,
    schema,
    user_queries,
    user_writes,
)
from knight_tw.storage.factor_queries import LOCK_SECONDS, TRIES, Standing
from knight_tw.storage.passkey_queries import Passkey, PasskeyTaken, Use
from tests.engines import ConnectionCase, DatabaseCase, for_engines

NOW = 1_795_604_332
HASHES = ["$2a$one", "$2a$two"]
PASSKEY = Passkey(
    user_id=1,
    credential_id=b"\xfb\xffAb",
    public_key=b"\x01\x02",
    aaguid=b"\x11" * 16,
    attestation_type="none",
    sign_count=0,
    user_verified=True,
    backup_eligible=True,
    backup_state=False,
    transports=("usb",),
    attachment="cross-platform",
)


def add_user(connection: sa.Connection, name: str) -> int:
    """A new account's id."""
    new = user_writes.NewAccount(name, "", name, 1)
    return user_writes.create(connection, new, name[:4], NOW)


@for_engines
class TotpRowTests(ConnectionCase):
    """`factor_writes` and `factor_queries`."""

    def setUp(self) -> None:
        """An account."""
        super().setUp()
        self.user_id = add_user(self.connection, "ann")

    def enable(self) -> None:
        """Set up and enable."""
        factor_writes.prepare(self.connection, self.user_id, "S", HASHES, NOW)
        factor_writes.enable(self.connection, self.user_id, NOW - 30, NOW, "")

    def test_life(self) -> None:
        """Prepared, enabled, removed; each change of what counts raises the version."""
        connection, user_id = self.connection, self.user_id
        self.assertFalse(factor_writes.enable(connection, user_id, 0, NOW, ""))
        self.assertTrue(factor_writes.prepare(connection, user_id, "A", HASHES, NOW))
        self.assertTrue(factor_writes.prepare(connection, user_id, "B", HASHES, NOW))
        self.assertIsNone(factor_queries.find(connection, user_id))
        waiting = factor_queries.find(connection, user_id, enabled=False)
        self.assertEqual(waiting and waiting.secret, "B")
        self.assertTrue(factor_writes.enable(connection, user_id, NOW - 30, NOW, ""))
        self.assertFalse(factor_writes.prepare(connection, user_id, "C", HASHES, NOW))
        found = factor_queries.find(connection, user_id)
        self.assertEqual(found and found.last_used_at, NOW - 30)
        factor_writes.replace_codes(connection, user_id, ["$2a$new"], NOW, "")
        left = [text for _, text in factor_queries.backup_codes(connection, user_id)]
        self.assertEqual(left, ["$2a$new"])
        self.assertTrue(factor_writes.remove(connection, user_id, NOW))
        self.assertFalse(factor_writes.remove(connection, user_id, NOW))
        self.assertEqual(factor_queries.backup_codes(connection, user_id), [])
        who = user_queries.identity(connection, user_id)
        self.assertEqual(who and who.auth_version, 4)

    def test_tries(self) -> None:
        """The fifth try in a row locks; a locked factor counts none."""
        self.enable()
        for number in range(TRIES):
            factor = factor_queries.begin_try(self.connection, self.user_id, NOW)
            assert factor is not None
            self.assertEqual((factor.failed_attempts, factor.locked_until), (number, 0))
        for moment in (NOW, NOW + LOCK_SECONDS - 1):
            factor = factor_queries.begin_try(self.connection, self.user_id, moment)
            self.assertEqual(factor and factor.locked_until, NOW + LOCK_SECONDS)
        later = NOW + LOCK_SECONDS
        factor_queries.begin_try(self.connection, self.user_id, later)
        found = factor_queries.find(self.connection, self.user_id)
        self.assertEqual(found and found.failed_attempts, 1)

    def test_backup_code(self) -> None:
        """A code is used once, by its owner, and forgives wrong tries."""
        self.enable()
        factor_queries.begin_try(self.connection, self.user_id, NOW)
        code_id, _ = factor_queries.backup_codes(self.connection, self.user_id)[0]
        use = factor_queries.use_backup_code
        self.assertFalse(use(self.connection, self.user_id + 1, code_id, NOW))
        self.assertTrue(use(self.connection, self.user_id, code_id, NOW))
        self.assertFalse(use(self.connection, self.user_id, code_id, NOW))
        found = factor_queries.find(self.connection, self.user_id)
        self.assertEqual(found and found.failed_attempts, 0)

    def test_standing(self) -> None:
        """Living accounts, and those whose factor is enabled."""
        self.enable()
        second = add_user(self.connection, "bob")
        factor_writes.prepare(self.connection, second, "S", HASHES, NOW)
        gone = add_user(self.connection, "gone")
        user_writes.soft_delete(self.connection, gone, NOW)
        self.assertEqual(factor_queries.standing(self.connection), Standing(2, 1))


@for_engines
class PasskeyRowTests(ConnectionCase):
    """`passkey_queries`."""

    def setUp(self) -> None:
        """An account."""
        super().setUp()
        self.key = evolve(PASSKEY, user_id=add_user(self.connection, "ann"))

    def test_round_trip(self) -> None:
        """What is stored is found, by account and by credential id."""
        passkey_queries.store(self.connection, self.key, NOW, "")
        mine = passkey_queries.of_user(self.connection, self.key.user_id)
        self.assertEqual(mine, self.key)
        name = self.key.credential_id
        found = passkey_queries.by_credential(self.connection, name)
        self.assertEqual(found, self.key)
        row = self.rows(schema.passkey_credentials)[0]
        self.assertEqual(
            (row["credential_id"], row["public_key"]), ("+/9BYg==", "AQI=")
        )
        self.assertEqual(row["transports"], '["usb"]')

    def test_exact(self) -> None:
        """Credential ids that differ in the case of their text are different."""
        passkey_queries.store(self.connection, self.key, NOW, "")
        cased = b"\xfb\xff[b"  # +/9bYg==, where ours is +/9BYg==
        self.assertIsNone(passkey_queries.by_credential(self.connection, cased))

    def test_replaced(self) -> None:
        """An account has one; rows deleted softly are not in the way."""
        passkey_queries.store(self.connection, self.key, NOW, "")
        table = schema.passkey_credentials
        gone = datetime.fromtimestamp(NOW, UTC)
        self.connection.execute(sa.update(table).values(deleted_at=gone))
        self.assertIsNone(passkey_queries.of_user(self.connection, self.key.user_id))
        second = evolve(self.key, user_id=add_user(self.connection, "bob"))
        passkey_queries.store(self.connection, second, NOW, "")
        third = evolve(second, credential_id=b"third")
        passkey_queries.store(self.connection, third, NOW, "")
        self.assertEqual(
            passkey_queries.of_user(self.connection, second.user_id), third
        )
        self.assertEqual(len(self.rows(table)), 1)

    def test_taken(self) -> None:
        """One credential cannot be two accounts'."""
        passkey_queries.store(self.connection, self.key, NOW, "")
        second = evolve(self.key, user_id=add_user(self.connection, "bob"))
        with self.assertRaises(PasskeyTaken), self.connection.begin_nested():
            passkey_queries.store(self.connection, second, NOW, "")

    def test_counter(self) -> None:
        """It must grow, unless it is always zero; else the row is marked."""
        passkey_queries.store(self.connection, self.key, NOW, "")
        for count, good in ((0, True), (0, True), (5, True), (5, False), (0, False)):
            said = Use(count, True, True)
            used = passkey_queries.use(self.connection, self.key, said, NOW)
            self.assertEqual(used, good, count)
        row = self.rows(schema.passkey_credentials)[0]
        self.assertEqual((row["sign_count"], row["clone_warning"]), (5, True))
        self.assertTrue(row["backup_state"])

    def test_remove(self) -> None:
        """Taken away once."""
        passkey_queries.store(self.connection, self.key, NOW, "")
        remove = passkey_queries.remove
        self.assertTrue(remove(self.connection, self.key.user_id, NOW))
        self.assertFalse(remove(self.connection, self.key.user_id, NOW))


@for_engines
class RaceTests(DatabaseCase):
    """Several at once."""

    async def test_guesses(self) -> None:
        """Of twenty guesses at once five are looked at."""
        user_id = await self.db.run(add_user, "ann")
        await self.db.run(factor_writes.prepare, user_id, "S", HASHES, NOW)
        await self.db.run(factor_writes.enable, user_id, NOW - 30, NOW, "")
        tries = [
            Deferred.fromCoroutine(self.db.run(factor_queries.begin_try, user_id, NOW))
            for _ in range(20)
        ]
        factors = await gatherResults(tries)
        self.assertEqual(sum(one.locked_until <= NOW for one in factors), TRIES)

    async def test_setups(self) -> None:
        """Of set-ups at once none fails, and one secret is left."""
        user_id = await self.db.run(add_user, "ann")
        made = [
            Deferred.fromCoroutine(
                self.db.run(factor_writes.prepare, user_id, secret, HASHES, NOW)
            )
            for secret in "ABCDEF"
        ]
        self.assertTrue(all(await gatherResults(made)))
        codes = await self.db.read(factor_queries.backup_codes, user_id)
        self.assertEqual(len(codes), len(HASHES))

    async def test_assertions(self) -> None:
        """The same counter at once is taken once."""
        key = evolve(PASSKEY, user_id=await self.db.run(add_user, "ann"))
        await self.db.run(passkey_queries.store, key, NOW, "")
        said = Use(3, True, True)
        uses = [
            Deferred.fromCoroutine(self.db.run(passkey_queries.use, key, said, NOW))
            for _ in range(10)
        ]
        self.assertEqual(sum(await gatherResults(uses)), 1)
