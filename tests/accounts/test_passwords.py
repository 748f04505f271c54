"""Tests of password hashes."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadable import isInIOThread
from twisted.python.threadpool import ThreadPool
from twisted.trial.unittest import SynchronousTestCase, TestCase

from knight_tw.accounts import passwords
from knight_tw.accounts.passwords import BadPassword, Passwords, check_new


def inline(work, *args):  # type: ignore[no-untyped-def]  # stands for a thread pool
    """Run at once."""
    return succeed(work(*args))


class CheckTests(SynchronousTestCase):
    """`check_new`."""

    def test_table(self) -> None:
        """8 to 64 characters, at most 72 bytes, no NUL."""
        for good in ("x" * 8, "x" * 64, "ü" * 36, "pass word"):
            check_new(good)
        for bad in ("", "x" * 7, "x" * 65, "ü" * 37, "abcdefg\0"):
            refused = self.assertRaises(BadPassword, check_new, bad)
            self.assertEqual(refused.param, "password")


class HashTests(SynchronousTestCase):
    """`hash` and `matches`."""

    def setUp(self) -> None:
        """The cheapest cost."""
        self.passwords = Passwords(inline, 4)

    def hashed(self, password: str) -> str:
        """A stored hash."""
        return self.successResultOf(self.passwords.hash(password))

    def matches(self, password: str, stored: str) -> bool:
        """Whether they match."""
        return self.successResultOf(self.passwords.matches(password, stored))

    def test_form(self) -> None:
        """A `$2a$` string of 60 characters, another one each time."""
        first, second = self.hashed("example-pass"), self.hashed("example-pass")
        self.assertTrue(first.startswith("$2a$04$"))
        self.assertEqual(len(first), 60)
        self.assertNotEqual(first, second)

    def test_cost(self) -> None:
        """Cost 10 unless a test says otherwise."""
        stored = self.successResultOf(Passwords(inline).hash("example-pass"))
        self.assertTrue(stored.startswith("$2a$10$"))

    def test_matches(self) -> None:
        """Only the very password matches, in each spelling of the algorithm."""
        stored = self.hashed("example-pass")
        for prefix in ("$2a$", "$2b$", "$2y$"):
            self.assertTrue(self.matches("example-pass", prefix + stored[4:]))
            self.assertFalse(self.matches("example-pasS", prefix + stored[4:]))

    def test_never(self) -> None:
        """Empty and foreign hashes match nothing, however long the password."""
        for stored in (
            "",
            "$1$abc",
            "plain",
            "$2a$",
            "$2a$04$short",
            "$2x$04$" + "a" * 53,
        ):
            for password in ("", "plain", "x" * 100, "\ud800"):
                self.assertFalse(self.matches(password, stored), stored)

    def test_too_long(self) -> None:
        """A password over 72 bytes does not match by its beginning."""
        stored = self.hashed("x" * 72)
        self.assertTrue(self.matches("x" * 72, stored))
        self.assertFalse(self.matches("x" * 73, stored))

    def test_unknown_costs_as_much(self) -> None:
        """An account without a hash is compared with one of the same cost."""
        seen: list[str] = []

        def spy(work, *args):  # type: ignore[no-untyped-def]  # stands for a pool
            seen.append(args[-1])
            return inline(work, *args)

        watched = Passwords(spy, 4)
        self.assertFalse(self.successResultOf(watched.matches("x", "")))
        self.assertTrue(seen[0].startswith("$2a$04$"))
        self.assertEqual(len(seen[0]), 60)


class ThreadTests(TestCase):
    """Where the work is done."""

    async def test_not_in_the_reactor(self) -> None:
        """Hashing runs in the pool's thread."""
        pool = ThreadPool(0, 1)
        pool.start()
        self.addCleanup(pool.stop)
        where: list[bool] = []
        real = passwords._hash

        def hashed(password: str, cost: int) -> str:
            where.append(isInIOThread())
            return real(password, cost)

        self.patch(passwords, "_hash", hashed)
        made = Passwords(lambda f, *a: deferToThreadPool(reactor, pool, f, *a), 4)
        stored = await made.hash("example-pass")
        self.assertTrue(await made.matches("example-pass", stored))
        self.assertEqual(where, [False])
