"""Tests of what accounts and sessions do in the database, on every engine."""

from __future__ import annotations

import random

import sqlalchemy as sa

from knight_tw.errors import NotFound
from knight_tw.storage import (
    checkins,
    factor_queries,
    oauth_queries,
    option_queries,
    options,
    pref_queries,
    prefill_queries,
    schema,
    session_queries,
    setup_queries,
    user_queries,
    user_writes,
)
from knight_tw.storage.session_queries import Issue, Quotas, Refresh, Rotation, Session
from knight_tw.storage.setup_queries import AlreadySetUp, SetUp
from knight_tw.storage.user_queries import Search
from knight_tw.storage.user_writes import NameTaken, NewAccount
from tests.engines import ConnectionCase, for_engines

NOW = 1_795_604_332
MANY = Quotas(50, 100, 86_400)


def session(sid: str, user_id: int, began: int = NOW, version: int = 1) -> Session:
    """A session of thirty days."""
    return Session(
        sid=sid,
        user_id=user_id,
        version=1,
        user_auth_version=version,
        status=session_queries.ACTIVE,
        login_method="password",
        ip="203.0.113.9",
        user_agent="probe",
        created_at=began,
        last_active_at=began,
        expires_at=began + 30 * 86_400,
    )


@for_engines
class UserTests(ConnectionCase):
    """`user_queries` and `user_writes`."""

    def make(self, name: str, **columns: object) -> int:
        """A new account."""
        new = NewAccount(name, "hash", name.title(), 1)
        chance = random.Random(name)  # noqa: S311
        made = user_writes.create_with_code(self.connection, new, chance, NOW)
        user_writes.update(self.connection, made, columns)
        return made

    def test_create(self) -> None:
        """A new account has the originals' starting values."""
        made = self.make("ann")
        row = user_queries.account(self.connection, made)
        assert row is not None
        self.assertEqual((row["status"], row["group"]), (1, "default"))
        self.assertEqual((row["auth_version"], row["created_at"]), (1, NOW))
        self.assertEqual((row["email"], row["remark"], row["setting"]), ("", "", ""))
        self.assertIsNone(row["deleted_at"])
        self.assertIsNone(row["access_token"])
        self.assertIsNone(user_queries.account(self.connection, made + 1))

    def test_null_columns(self) -> None:
        """A row of an older program reads with zero values."""
        made = self.make("old")
        nothing = dict.fromkeys(
            ("email", "setting", "remark", "created_at", "aff_code", "quota"), None
        )
        user_writes.update(self.connection, made, nothing)
        row = user_queries.account(self.connection, made)
        assert row is not None
        self.assertEqual((row["email"], row["created_at"], row["quota"]), ("", 0, 0))
        self.assertIsNone(row["aff_code"])

    def test_names(self) -> None:
        """A name is taken once, by deleted accounts too."""
        ann, bob = self.make("ann"), self.make("bob")
        user_writes.soft_delete(self.connection, ann, NOW)
        self.assertRaises(NameTaken, self.make, "ann")
        with self.assertRaises(NameTaken):
            user_writes.update(self.connection, bob, {"username": "ann"})
        user_writes.update(self.connection, bob, {"username": "bob"})

    def test_login_name(self) -> None:
        """Name first, then the address in any case; deleted ones never."""
        ann = self.make("ann", email="Ann@Example.com")
        self.make("x@y.z")
        bob = self.make("bob", email="x@y.z")
        for name, expected in (
            ("ann", ann),
            ("ann@example.com", ann),
            ("ANN@EXAMPLE.COM", ann),
            ("nobody", None),
            ("nobody@example.com", None),
        ):
            found = user_queries.by_login_name(self.connection, name)
            self.assertEqual(found and found[0].id, expected, name)
        found = user_queries.by_login_name(self.connection, "x@y.z")
        assert found is not None
        self.assertNotEqual(found[0].id, bob)
        user_writes.soft_delete(self.connection, ann, NOW)
        self.assertIsNone(user_queries.by_login_name(self.connection, "ann"))

    def test_access_token(self) -> None:
        """Compared to the letter; 28 characters are found in a padded column too."""
        ann = self.make("ann", access_token="A" * 28)
        for token, found in (("A" * 28, True), ("a" * 28, False), ("A" * 27, False)):
            who = user_queries.identity_by_access_token(self.connection, token)
            self.assertEqual(who is not None and who.id == ann, found, token)

    def test_search(self) -> None:
        """Conditions and order are those of every engine; LIKE signs are letters."""
        self.make("ann", quota=5, email="a@b.c")
        self.make("bob", group="vip", quota=9)
        self.make("c_%", quota=1)
        for asked, expected in (
            (Search(), ["c_%", "bob", "ann"]),
            (Search(keyword="A@B"), ["ann"]),
            (Search(keyword="_%"), ["c_%"]),
            (Search(keyword="%"), ["c_%"]),
            (Search(group="vip"), ["bob"]),
            (Search(sort="quota", ascending=True), ["c_%", "ann", "bob"]),
            (Search(sort="group"), ["bob", "c_%", "ann"]),
            (Search(status=1), ["c_%", "bob", "ann"]),
            (Search(status=2), []),
        ):
            rows, total = user_queries.search(self.connection, asked, 0, 10)
            self.assertEqual([row["username"] for row in rows], expected, asked)
            self.assertEqual(total, len(expected))
        rows, total = user_queries.search(self.connection, Search(), 1, 1)
        self.assertEqual(([row["username"] for row in rows], total), (["bob"], 3))

    def test_search_by_id(self) -> None:
        """Digits mean the whole id too, however many there are."""
        ann = self.make("ann")
        rows, _ = user_queries.search(self.connection, Search(keyword=str(ann)), 0, 9)
        self.assertEqual([row["id"] for row in rows], [ann])
        rows, _ = user_queries.search(self.connection, Search(keyword="9" * 40), 0, 9)
        self.assertEqual(rows, [])

    def test_secure(self) -> None:
        """A change of credentials raises the version and ends all sessions but one."""
        ann = self.make("ann")
        for sid in ("one", "two"):
            session_queries.issue(self.connection, session(sid, ann), sid, MANY)
        version = user_writes.secure(
            self.connection, ann, {"password": "new"}, "changed", NOW, "one"
        )
        self.assertEqual(version, 2)
        alive = session_queries.alive(self.connection, ann, NOW)
        self.assertEqual([(s.sid, s.user_auth_version) for s in alive], [("one", 2)])
        self.assertEqual(user_queries.password_hash(self.connection, ann), "new")

    def test_quota(self) -> None:
        """Balances change by statements; the difference is told."""
        ann = self.make("ann", quota=10, aff_quota=7)
        user_writes.add_quota(self.connection, ann, -3)
        self.assertEqual(user_writes.set_quota(self.connection, ann, 20), 13)
        moved = user_writes.transfer_aff_quota(self.connection, ann, 8)
        self.assertFalse(moved)
        moved = user_writes.transfer_aff_quota(self.connection, ann, 7)
        self.assertTrue(moved)
        row = user_queries.account(self.connection, ann)
        assert row is not None
        self.assertEqual((row["quota"], row["aff_quota"]), (27, 0))
        self.assertRaises(NotFound, user_writes.add_quota, self.connection, ann + 99, 1)

    def test_setting(self) -> None:
        """A broken document is replaced, a good one is added to."""
        ann = self.make("ann", setting="{broken")
        user_writes.merge_setting(self.connection, ann, {"language": "en"})
        user_writes.merge_setting(self.connection, ann, {"notify_type": "email"})
        row = user_queries.account(self.connection, ann)
        assert row is not None
        self.assertEqual(
            user_writes.read_setting(row["setting"]),
            {"language": "en", "notify_type": "email", "gotify_priority": 0},
        )

    def test_aff_code(self) -> None:
        """An account without a code gets one, and keeps it."""
        ann = self.make("ann", aff_code=None)
        chance = random.Random(1)  # noqa: S311
        code = user_writes.aff_code(self.connection, ann, chance)
        self.assertEqual(len(code), 4)
        again = user_writes.aff_code(self.connection, ann, chance)
        self.assertEqual(again, code)

    def test_taken_codes(self) -> None:
        """A code that somebody has is not given again."""

        class Stubborn(random.Random):
            """Draws the same letter always."""

            def choices(self, population, *args, k=1, **kwargs):  # type: ignore[no-untyped-def]
                return ["a"] * k

        self.make("ann", aff_code="aaaa")
        code = user_writes.free_aff_code(self.connection, Stubborn())
        self.assertEqual(code, "aaaaa")

    def test_hard_delete(self) -> None:
        """Nothing of the account is left."""
        ann = self.make("ann")
        session_queries.issue(self.connection, session("one", ann), "h", MANY)
        pref_queries.save(self.connection, ann, {"own": 1}, NOW)
        checkins.take(self.connection, ann, "2026-11-25", 5, NOW)
        user_writes.hard_delete(self.connection, ann)
        self.assertIsNone(user_queries.account(self.connection, ann))
        self.assertIsNone(session_queries.find(self.connection, "one"))
        self.assertEqual(self.rows(schema.knight_prefs), [])
        self.assertEqual(self.rows(schema.checkins), [])

    def test_strong_factor(self) -> None:
        """An enabled secret counts, one that is being set up does not."""
        ann = self.make("ann")
        self.assertFalse(user_queries.has_strong_factor(self.connection, ann))
        values = {"user_id": ann, "secret": "s", "is_enabled": False}
        self.connection.execute(sa.insert(schema.two_fas).values(values))
        self.assertFalse(user_queries.has_strong_factor(self.connection, ann))
        self.connection.execute(sa.update(schema.two_fas).values(is_enabled=True))
        self.assertTrue(user_queries.has_strong_factor(self.connection, ann))


@for_engines
class SessionTests(ConnectionCase):
    """`session_queries`."""

    def setUp(self) -> None:
        """An account."""
        super().setUp()
        new = NewAccount("ann", "hash", "Ann", 1)
        self.ann = user_writes.create(self.connection, new, "aaaa", NOW)

    def issue(self, sid: str, granted: Quotas = MANY, began: int = NOW) -> Issue:
        """Begin a session whose refresh hash is `first`."""
        made = session(sid, self.ann, began)
        return session_queries.issue(self.connection, made, "first", granted)

    def refresh(self, given: str, fresh: str, now: int = NOW) -> Rotation:
        """Refresh session `one`."""
        asked = Refresh("one", given, fresh, now, now + 1_000, 30)
        return session_queries.refresh(self.connection, asked)[0]

    def test_quotas(self) -> None:
        """Sessions alive at once, and sessions begun in the window, are limited."""
        two = Quotas(2, 100, 60)
        self.assertIs(self.issue("one", two), Issue.MADE)
        self.assertIs(self.issue("two", two), Issue.MADE)
        self.assertIs(self.issue("three", two), Issue.TOO_MANY_ACTIVE)
        self.assertIsNone(session_queries.find(self.connection, "three"))
        daily = Quotas(50, 2, 60)
        self.assertIs(self.issue("three", daily), Issue.TOO_MANY_ISSUED)
        self.assertIs(self.issue("three", daily, NOW + 60), Issue.MADE)

    def test_rotation(self) -> None:
        """Current, previous within and after the grace, and unknown secrets."""
        self.issue("one")
        self.assertIs(self.refresh("first", "second"), Rotation.ROTATED)
        self.assertIs(self.refresh("first", "x", NOW + 30), Rotation.JUST_ROTATED)
        self.assertIs(self.refresh("guess", "x"), Rotation.UNKNOWN)
        self.assertIs(self.refresh("second", "third", NOW + 40), Rotation.ROTATED)
        self.assertIs(self.refresh("second", "x", NOW + 71), Rotation.REUSED)
        self.assertIs(self.refresh("third", "x", NOW + 71), Rotation.UNKNOWN)

    def test_prolonged(self) -> None:
        """A refresh moves the end of the session."""
        self.issue("one")
        self.refresh("first", "second", NOW + 5)
        found = session_queries.find(self.connection, "one")
        assert found is not None
        self.assertEqual(
            (found.last_active_at, found.expires_at), (NOW + 5, NOW + 1_005)
        )

    def test_changed_owner(self) -> None:
        """A session made before a change of its owner is not refreshed."""
        self.issue("one")
        self.connection.execute(sa.update(schema.users).values(auth_version=2))
        self.assertIs(self.refresh("first", "second"), Rotation.UNKNOWN)

    def test_revoke(self) -> None:
        """Only the owner's living session is ended, once."""
        self.issue("one")
        for sid, user_id, ended in (
            ("one", self.ann + 1, False),
            ("two", self.ann, False),
            ("one", self.ann, True),
            ("one", self.ann, False),
        ):
            found = session_queries.revoke(self.connection, sid, user_id, "x", NOW)
            self.assertEqual(found, ended)

    def test_revoke_by_secret(self) -> None:
        """The current or the previous secret ends a session."""
        for secret, ended in (("guess", False), ("first", True)):
            if session_queries.find(self.connection, "one") is None:
                self.issue("one")
            found = session_queries.revoke_by_secret(
                self.connection, "one", secret, NOW
            )
            self.assertEqual(found, ended)

    def test_prune(self) -> None:
        """Ended sessions are kept for a while, living ones for ever."""
        self.issue("ended")
        session_queries.revoke(self.connection, "ended", self.ann, "x", NOW)
        self.issue("alive")
        self.issue("over", began=NOW - 31 * 86_400)
        self.assertEqual(session_queries.prune(self.connection, NOW, 86_400 * 2), 0)
        self.assertEqual(session_queries.prune(self.connection, NOW, 3_600), 1)
        self.assertEqual(session_queries.prune(self.connection, NOW + 3_601, 3_600), 1)
        self.assertIsNotNone(session_queries.find(self.connection, "alive"))
        since = session_queries.issued_since(self.connection, NOW - 1)
        self.assertEqual(since, 1)

    def test_long_texts(self) -> None:
        """What a browser sends is cut to the columns."""
        made = session("one", self.ann)
        long = Session(
            **{
                name: getattr(made, name)
                for name in made.__slots__
                if name not in ("ip", "user_agent", "__weakref__")
            },
            ip="1" * 100,
            user_agent="ü" * 5_000,
        )
        session_queries.issue(self.connection, long, "first", MANY)
        found = session_queries.find(self.connection, "one")
        assert found is not None
        self.assertEqual((len(found.ip), len(found.user_agent)), (64, 512))


@for_engines
class FactorTests(ConnectionCase):
    """`factor_queries`."""

    def setUp(self) -> None:
        """An account with a factor."""
        super().setUp()
        values = {"user_id": 7, "secret": "S", "is_enabled": True}
        self.connection.execute(sa.insert(schema.two_fas).values(values))

    def test_accept(self) -> None:
        """A step is accepted once, whoever asks at the same moment."""
        self.assertTrue(factor_queries.accept(self.connection, 7, 0.0, NOW))
        self.assertFalse(factor_queries.accept(self.connection, 7, 0.0, NOW))
        found = factor_queries.find(self.connection, 7)
        assert found is not None
        self.assertEqual(found.last_used_at, NOW)
        self.assertTrue(factor_queries.accept(self.connection, 7, NOW, NOW + 30))
        self.assertFalse(factor_queries.accept(self.connection, 8, 0.0, NOW))


@for_engines
class SetupTests(ConnectionCase):
    """`setup_queries`."""

    def test_once(self) -> None:
        """The marker lets one set-up through."""
        asked = SetUp(
            NewAccount("root", "hash", "Root", 100),
            {"SelfUseModeEnabled": "true"},
            {"RetryTimes": "2"},
            "v",
            NOW,
            "k" * 48,
        )
        self.assertFalse(setup_queries.adopt(self.connection, "v", NOW))
        root = setup_queries.complete(self.connection, asked)
        self.assertTrue(setup_queries.is_set_up(self.connection))
        self.assertTrue(setup_queries.adopt(self.connection, "v", NOW))
        self.assertRaises(AlreadySetUp, setup_queries.complete, self.connection, asked)
        stored = options.load(self.connection)
        self.assertEqual(stored, {"SelfUseModeEnabled": "true", "RetryTimes": "2"})
        row = user_queries.account(self.connection, root)
        assert row is not None
        self.assertEqual(row["aff_code"], "")

    def test_race(self) -> None:
        """A marker that another process wrote a moment ago is not written twice."""
        self.connection.execute(
            sa.insert(schema.setups).values(id=1, version="v", initialized_at=NOW)
        )
        self.patch(setup_queries, "is_set_up", lambda connection: False)
        asked = SetUp(None, {}, {}, "v", NOW)
        self.assertRaises(AlreadySetUp, setup_queries.complete, self.connection, asked)


@for_engines
class RestTests(ConnectionCase):
    """Options in batches, preferences, providers."""

    def test_options(self) -> None:
        """All or none, with the version that was seen."""
        rows: dict[str, str | None] = {"A": "1", "MyToken": "hidden"}
        version = option_queries.save_all(self.connection, rows, (), 7, NOW, 0)
        self.assertIsNotNone(version)
        lost = option_queries.save_all(self.connection, {"A": "2"}, (), 7, NOW, 0)
        self.assertIsNone(lost)
        self.assertEqual(options.load(self.connection)["A"], "1")
        option_queries.save_all(self.connection, {"A": None}, ("A",), 7, NOW)
        past, total = option_queries.past(self.connection, "", 0, 10)
        self.assertEqual(total, 3)
        self.assertEqual(past[0]["old_value"], None)
        self.assertEqual(past[0]["username"], "")
        values = {row["new_value"] for row in past}
        self.assertEqual(values, {None, "1"})

    def test_prefs(self) -> None:
        """A document is replaced."""
        self.assertEqual(pref_queries.load(self.connection, 7), {})
        for document in ({"a": "ü"}, {"b": [1]}):
            pref_queries.save(self.connection, 7, document, NOW)
            self.assertEqual(pref_queries.load(self.connection, 7), document)

    def test_prefill_groups(self) -> None:
        """Names are unique; items are a document."""
        values = {"name": "one", "type": "tag", "items": "[1]", "description": ""}
        row = prefill_queries.create(self.connection, values, NOW)
        self.assertEqual((row["items"], row["created_time"]), ("[1]", NOW))
        with self.assertRaises(prefill_queries.GroupExists):
            prefill_queries.create(self.connection, values, NOW)
        changed = prefill_queries.update(self.connection, row["id"], {"type": "x"}, NOW)
        assert changed is not None
        self.assertEqual((changed["type"], changed["name"]), ("x", "one"))
        self.assertEqual(len(prefill_queries.every(self.connection, "x")), 1)
        self.assertTrue(prefill_queries.delete(self.connection, row["id"], NOW))
        self.assertFalse(prefill_queries.delete(self.connection, row["id"], NOW))
        self.assertEqual(prefill_queries.every(self.connection, ""), [])

    def test_providers(self) -> None:
        """Only enabled providers are public."""
        providers = schema.custom_oauth_providers
        for slug, enabled in (("a", True), ("b", False)):
            values = {"name": slug, "slug": slug, "enabled": enabled}
            self.connection.execute(sa.insert(providers).values(values))
        (found,) = oauth_queries.public_providers(self.connection)
        self.assertEqual(found["slug"], "a")
