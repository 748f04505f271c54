"""Who may call what: every route of the management API against every kind of caller.

The routes are those of the service's own wiring, so a new one is in these tests as soon
as it is wired. Each refused request must leave the database as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import ROLE_ADMIN
from knight_tw.storage import logs, schema, token_queries, user_writes
from knight_tw.web.auth import Who
from knight_tw.web.route_table import Entry, Part
from tests.web.api.rows import log_row, token_row
from tests.web.gateway import Answer, now
from tests.web.whole import Whole

KEY = "k" * 48
ROLES = {"user": 1, "admin": 10, "root": 100}
DASHBOARD = frozenset(Who) - {Who.ANYONE, Who.KEY, Who.SESSION}
SHUT = {
    "AUTH_UNAUTHORIZED",
    "AUTH_TOKEN_EXPIRED",
    "AUTH_SESSION_REVOKED",
    "AUTH_USER_DISABLED",
    "AUTH_USER_INVALID",
    "AUTH_INSUFFICIENT_PRIVILEGE",
}
"""Codes that the guard gives."""

INTERACTIVE = ("POST", "/api/verify")
"""The route that refuses access tokens with the guard's code, but by itself."""


def sample(part: Part) -> str:
    """Something that stands for a variable part."""
    return "1" if part.kind == "int" else "x"


def body_of(entry: Entry) -> Any:
    """A body that no route finds anything in."""
    return None if entry.method == "GET" else {}


class AccessCase(SynchronousTestCase):
    """The whole gateway with `ann` (2), `adm` (3) and root (1)."""

    def setUp(self) -> None:
        """People, and a token key of ann's."""
        self.gateway = Whole(folder=Path(self.mktemp()))
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.gateway.add_user("adm", ROLE_ADMIN)
        row = token_row(user_id=2, key=KEY)
        now(self.gateway.db.run(token_queries.create, [row], 100))
        self.entries = self.gateway.entries()

    def ask(self, entry: Entry, headers: dict[str, str]) -> Answer | None:
        """The answer to a request; None for a stream, or one that waits for others."""
        path = entry.at(sample)
        try:
            return self.gateway.ask(entry.method, path, body_of(entry), headers)
        except AssertionError as error:
            if str(error) == "no answer":
                return None
            raise

    def check(
        self,
        headers: dict[str, str],
        expected: Callable[[Entry], tuple[int, str]],
        skipped: Collection[tuple[str, str]] = (),
    ) -> None:
        """Every route answers these headers with the status and code expected.

        Args:
            expected: (0, "") where the guard lets the request in.
        """
        image = self.gateway.image()
        wrong: list[tuple[Any, ...]] = []
        for entry in self.entries:
            # Routes of a session's own cookies have rules of their own (test_session).
            if entry.who is Who.SESSION or (entry.method, entry.rule) in skipped:
                continue
            answer, (status, code) = self.ask(entry, headers), expected(entry)
            if answer is not None and "no-store" not in answer.get("Cache-Control"):
                wrong.append((entry.method, entry.rule, "may be cached"))
            found = _verdict(entry, answer)
            if found != (status, code):
                wrong.append((entry.method, entry.rule, entry.who, found, code))
            if status:
                same = self.gateway.image() == image
                self.assertTrue(same, f"{entry.method} {entry.rule} wrote something")
            self.gateway.restore(image)
        self.assertEqual(wrong, [])
        self.flushLoggedErrors()


def _verdict(entry: Entry, answer: Answer | None) -> tuple[int, str]:
    """Status and code of a refusal by the guard, else (0, "").

    Routes for token keys refuse in more than one shape: "key" stands for all codes.
    """
    if answer is None or answer.status not in (401, 403):
        return 0, ""
    if entry.who is Who.KEY:
        return answer.status, "key"
    code = answer.json.get("code", "")
    return (answer.status, code) if code in SHUT else (0, "")


def refused_everywhere(code: str) -> Callable[[Entry], tuple[int, str]]:
    """401 with `code` wherever a dashboard credential is needed."""

    def expected(entry: Entry) -> tuple[int, str]:
        return (401, code) if entry.who in DASHBOARD else (0, "")

    return expected


def by_role(
    role: int, missing: frozenset[Who] = frozenset()
) -> Callable[[Entry], tuple[int, str]]:
    """403 above the role, and for the permissions that are missing."""

    def expected(entry: Entry) -> tuple[int, str]:
        who = entry.who
        assert who is not None
        if who.least > role or who in missing:
            return 403, "AUTH_INSUFFICIENT_PRIVILEGE"
        return 0, ""

    return expected


def without_keys(
    expected: Callable[[Entry], tuple[int, str]],
) -> Callable[[Entry], tuple[int, str]]:
    """As `expected`, and routes for token keys find none."""

    def found(entry: Entry) -> tuple[int, str]:
        return (401, "key") if entry.who is Who.KEY else expected(entry)

    return found


class MarkerTests(AccessCase):
    """What every route must say of itself."""

    def test_who(self) -> None:
        """Every route says who may call it."""
        forgot = [(e.method, e.rule) for e in self.entries if e.who is None]
        self.assertEqual(forgot, [])

    def test_summary(self) -> None:
        """Every route says what it does."""
        silent = [e.route.__qualname__ for e in self.entries if not e.route.__doc__]
        self.assertEqual(silent, [])

    def test_below_api(self) -> None:
        """Every route is where the root resource looks for it."""
        begins = ("/api/", "/dashboard/", "/v1/dashboard/")
        lost = [e.rule for e in self.entries if not e.rule.startswith(begins)]
        self.assertEqual(lost, [])


class GuestTests(AccessCase):
    """Those without a good credential."""

    def test_guest(self) -> None:
        """No credential."""
        self.check({}, without_keys(refused_everywhere("AUTH_UNAUTHORIZED")))

    def test_bad_tokens(self) -> None:
        """Unknown tokens, whatever they look like."""
        expected = without_keys(refused_everywhere("AUTH_UNAUTHORIZED"))
        for given in ("nonsense", "Bearer a.b.c", "Bearer sk-nonsense"):
            self.check({"Authorization": given}, expected)

    def test_token_key(self) -> None:
        """A key for calls of models opens no dashboard route."""
        self.check(
            {"Authorization": f"Bearer sk-{KEY}"},
            refused_everywhere("AUTH_UNAUTHORIZED"),
        )

    def test_cookie_alone(self) -> None:
        """A cookie without New-Api-User, as a foreign page could send it."""
        headers = self.gateway.browser("root").headers
        del headers["New-Api-User"]
        self.check(headers, without_keys(refused_everywhere("AUTH_UNAUTHORIZED")))

    def test_foreign_id(self) -> None:
        """A cookie with somebody else's id, or with none that is a number."""
        headers = self.gateway.browser("root").headers
        expected = without_keys(refused_everywhere("AUTH_UNAUTHORIZED"))
        for given in ("2", "root"):
            self.check({**headers, "New-Api-User": given}, expected)

    def test_ended_session(self) -> None:
        """A session that was ended."""
        client = self.gateway.bearer("root")
        client.post("/api/user/auth/logout")
        expected = without_keys(refused_everywhere("AUTH_SESSION_REVOKED"))
        self.check(client.headers, expected)

    def test_disabled(self) -> None:
        """A disabled account."""
        client = self.gateway.script(1)
        now(self.gateway.db.run(user_writes.update, 1, {"status": 2}))
        expected = without_keys(refused_everywhere("AUTH_USER_DISABLED"))
        self.check(client.headers, expected)


class RoleTests(AccessCase):
    """Those who are somebody."""

    def test_user(self) -> None:
        """Users get what is for users."""
        expected = without_keys(by_role(ROLES["user"]))
        self.check(self.gateway.bearer("ann").headers, expected)
        self.check(self.gateway.browser("ann").headers, expected)
        self.check(self.gateway.script(2).headers, expected, [INTERACTIVE])

    def test_admin(self) -> None:
        """Administrators get all but root's routes and secrets."""
        missing = frozenset({Who.SECRET_VIEW})
        expected = without_keys(by_role(ROLES["admin"], missing))
        self.check(self.gateway.bearer("adm").headers, expected)

    def test_strict_admin(self) -> None:
        """With `authz.strict_admin` they lack the writing of secrets too."""
        self.gateway.set_option("authz.strict_admin", "true")
        missing = frozenset({Who.SECRET_VIEW, Who.SENSITIVE_WRITE})
        expected = without_keys(by_role(ROLES["admin"], missing))
        self.check(self.gateway.browser("adm").headers, expected)

    def test_root(self) -> None:
        """Root gets everything."""
        expected = without_keys(by_role(ROLES["root"]))
        self.check(self.gateway.bearer("root").headers, expected)
        self.check(self.gateway.script(1).headers, expected, [INTERACTIVE])


class OwnerTests(AccessCase):
    """What belongs to somebody else is not there."""

    def setUp(self) -> None:
        """`bob` (4) beside `ann`, who has a token, a session, a log row and a
        document."""
        super().setUp()
        self.gateway.add_user("bob")
        self.ann = self.gateway.bearer("ann")
        self.sid = self.ann.get("/api/user/sessions").data[0]["sid"]
        self.ann.put("/api/user/prefs", {"secret": "ann's document"})
        row = log_row(user_id=2, username="ann", content="ann's line", type=2)
        now(self.gateway.db.run(logs.insert, [row]))
        bound = {"user_id": 2, "provider_id": 1, "provider_user_id": "ann's account"}
        self.gateway.execute(sa.insert(schema.user_oauth_bindings).values(bound))
        self.bob = self.gateway.bearer("bob")
        self.marks = (
            KEY,
            KEY[:4] + "*",
            self.sid,
            "ann's line",
            "ann's document",
        )

    def foreign(self, part: Part) -> str:
        """What names something of ann's: her rows are the first of their kind."""
        return self.sid if part.name == "sid" else "1"

    def kept(self) -> dict[str, list[Any]]:
        """Every row, those apart that tell other processes to look again."""
        return {
            table.name: self.gateway.rows(sa.select(table))
            for table in schema.metadata.sorted_tables
            if table is not schema.knight_changes
        }

    def test_parts(self) -> None:
        """Users' routes change and show nothing of another by its id."""
        kept = self.kept()
        for entry in self.entries:
            if entry.who is not Who.USER or not entry.parts:
                continue
            path = entry.at(self.foreign)
            body = {"name": "taken", "status": 2, "id": 1}
            answer = self.bob.ask(
                entry.method, path, None if entry.method == "GET" else body
            )
            self.assertFalse(any(mark.encode() in answer.body for mark in self.marks))
            self.assertEqual(self.kept(), kept, path)

    def test_bodies(self) -> None:
        """Nor by an id in the body."""
        kept = self.kept()
        for method, path, body in (
            ("PUT", "/api/token/", {"id": 1, "name": "taken"}),
            ("PUT", "/api/token/?status_only=1", {"id": 1, "status": 2}),
            ("POST", "/api/token/batch", {"ids": [1]}),
            ("POST", "/api/token/batch/keys", {"ids": [1]}),
            ("POST", "/api/token/bulk", {"ids": [1], "op": "delete"}),
        ):
            answer = self.bob.ask(method, path, body)
            self.assertNotIn(KEY.encode(), answer.body)
            self.assertEqual(self.kept(), kept, path)

    def test_lists(self) -> None:
        """Users' lists show their own, whatever they ask for."""
        asked = "?username=ann&user_id=2&scope=site&keyword=name&q=ann&p=1"
        for entry in self.entries:
            if entry.who is not Who.USER or entry.method != "GET" or entry.parts:
                continue
            try:
                answer = self.bob.get(entry.rule + asked)
            except AssertionError:
                # A stream that has nothing to tell yet.
                continue
            for mark in self.marks:
                self.assertNotIn(mark.encode(), answer.body, entry.rule)

    def test_own(self) -> None:
        """What is looked for in these tests is there for its owner."""
        found = b"".join(
            self.ann.get(path).body
            for path in (
                "/api/token/",
                "/api/user/sessions",
                "/api/log/self",
                "/api/user/prefs",
            )
        )
        for mark in self.marks[1:]:
            self.assertIn(mark.encode(), found)

    def test_higher_roles(self) -> None:
        """Administrators' routes about users change nobody of a higher role."""
        admin = self.gateway.bearer("adm")
        kept = self.kept()
        for entry in self.entries:
            if not entry.rule.startswith("/api/user/<int:user_id>"):
                continue
            answer = admin.ask(entry.method, entry.at(lambda _: "1"))
            self.assertEqual(answer.code, "forbidden_target", entry.rule)
            self.assertEqual(self.kept(), kept, entry.rule)


class FloorTests(AccessCase):
    """The least that areas of the API must ask for, whatever their routes say."""

    FLOORS: ClassVar[Mapping[str, int]] = {
        "/api/option": 100,
        "/api/custom-oauth-provider": 100,
        "/api/performance": 100,
        "/api/ratio_sync": 100,
        "/api/system-": 100,
        "/api/channel": 10,
        "/api/redemption": 10,
        "/api/models/": 10,
        "/api/vendors": 10,
        "/api/group/": 10,
        "/api/prefill_group": 10,
        "/api/jobs": 10,
        "/api/user/<int:user_id>": 10,
        "/api/user/search": 10,
        "/api/user/manage": 10,
        "/api/user/2fa/stats": 10,
        "/api/user/": 1,
        "/api/token": 1,
        "/api/log/self": 1,
        "/api/data/self": 1,
        "/api/log/token": 0,
        "/api/log": 10,
        "/api/data": 1,
        "/api/stats": 1,
        "/api/verify": 1,
        "/api/search": 1,
        "/api/events": 1,
    }
    """The longest beginning of a path counts."""

    OPEN: ClassVar[frozenset[str]] = frozenset(
        {
            "/api/user/login",
            "/api/user/login/2fa",
            "/api/user/passkey/login/begin",
            "/api/user/passkey/login/finish",
            "/api/user/register",
            "/api/user/reset",
            "/api/user/groups",
            "/api/user/logout",
            "/api/user/auth/refresh",
            "/api/user/auth/logout",
            "/api/user/epay/notify",
        }
    )
    """Paths below `/api/user/` for those who are nobody yet, or who have proved by
    other means what they say."""

    def test_floors(self) -> None:
        """No route asks for less than its area."""
        low = []
        for entry in self.entries:
            floors = [f for f in self.FLOORS if entry.rule.startswith(f)]
            if not floors or entry.rule in self.OPEN:
                continue
            floor = self.FLOORS[max(floors, key=len)]
            if entry.who is None or entry.who.least < floor:
                low.append((entry.method, entry.rule, entry.who))
        self.assertEqual(low, [])
