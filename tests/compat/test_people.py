"""Everybody of every manifest logs in, or does not, and sees what they own."""

from __future__ import annotations

from functools import partial

from knight_tw.accounts.second_factor import STEP_SECONDS, totp
from tests.compat.gateways import Pages, pages
from tests.compat.manifests import ManifestCase, for_originals
from tests.compat.originals import Row
from tests.web.gateway import Answer

PAGE = 100


@for_originals
class EveryPerson(ManifestCase):
    """Logins, access tokens, second factors and the log page."""

    @property
    def pages(self) -> Pages:
        """The management API over the database."""
        return pages(self.original)

    def second_step(self, user: Row, code: str) -> Answer:
        """Password, then a code."""
        first = self.pages.login(user["username"], user["password"])
        self.assertTrue(first.data["require_2fa"])
        cookies = "; ".join(f"{k}={v}" for k, v in first.cookies().items())
        return self.pages.ask(
            "POST", "/api/user/login/2fa", {"code": code}, {"Cookie": cookies}
        )

    def login(self, user: Row) -> None:
        """Somebody logs in with the password, and the code if there must be one."""
        if user["needs_totp"]:
            self.pages.clock.advance(STEP_SECONDS * 3)
            step = int(self.pages.clock.seconds()) // STEP_SECONDS
            answer = self.second_step(user, totp(user["totp_secret"], step))
        else:
            answer = self.pages.login(user["username"], user["password"])
        if user["can_log_in"]:
            self.assertEqual(answer.data["id"], user["id"])
            self.assertEqual(answer.data["role"], user["role"])
        else:
            self.assertEqual(answer.code, "wrong_credentials")

    def test_logins(self) -> None:
        """Who could log in can, by the same password; who could not cannot."""
        self.each(
            (user["username"], partial(self.login, user))
            for user in self.truth["users"]
        )

    def test_wrong_password(self) -> None:
        """Another password is refused."""
        root = self.truth["users"][0]
        answer = self.pages.login(root["username"], root["password"] + "x")
        self.assertEqual(answer.code, "wrong_credentials")

    def access_token(self, user: Row) -> None:
        """The token shows its owner, with what they own."""
        headers = {
            "Authorization": user["access_token"],
            "New-Api-User": str(user["id"]),
        }
        answer = self.pages.ask("GET", "/api/user/self", None, headers)
        if not user["can_log_in"]:
            self.assertIs(answer.json["success"], False)
            return
        for name in ("id", "username", "group", "role"):
            self.assertEqual(answer.data[name], user[name])
        # Other tests may have made calls meanwhile.
        owned = answer.data["quota"] + answer.data["used_quota"]
        self.assertEqual(owned, user["quota"] + user["used_quota"])

    def test_access_tokens(self) -> None:
        """Access tokens open the same accounts."""
        self.each(
            (user["username"], partial(self.access_token, user))
            for user in self.truth["users"]
            if user["access_token"]
        )

    def backup_code(self, user: Row, code: str) -> None:
        """A backup code is good unless it was used."""
        answer = self.second_step(user, code)
        if code == user["used_backup_code"]:
            self.assertEqual(answer.code, "wrong_code")
        else:
            self.assertEqual(answer.data["id"], user["id"])

    def test_backup_codes(self) -> None:
        """Backup codes that are left are good, the used one is not."""
        self.each(
            (f"{user['username']} {code}", partial(self.backup_code, user, code))
            for user in self.truth["users"]
            for code in user.get("backup_codes", ())
        )

    def shown(self) -> list[Row]:
        """All rows of the log page, up to the time of the manifest, as root sees it."""
        root = self.truth["users"][0]
        data = self.pages.login(root["username"], root["password"]).data
        headers = {"Authorization": f"Bearer {data['access_token']}"}
        path = f"/api/log/?page_size={PAGE}&end_timestamp={self.truth['made_at']}"
        rows: list[Row] = []
        total = 1
        while len(rows) < total:
            page = len(rows) // PAGE + 1
            data = self.pages.ask("GET", f"{path}&p={page}", None, headers).data
            rows, total = rows + data["items"], data["total"]
        return rows

    def log_page(self, rows: list[Row], expected: Row) -> None:
        """The page shows the rows of one type and user, with their amounts."""
        kind, owner = expected["type"], expected["user_id"]
        mine = [row for row in rows if (row["type"], row["user_id"]) == (kind, owner)]
        quota = sum(row["quota"] for row in mine)
        self.assertEqual((len(mine), quota), (expected["n"], expected["sum"]))

    def test_log_page(self) -> None:
        """Log rows are shown: every type of every user, with the amounts."""
        upgraded = self.opened.one_api
        expected = [
            row | ({"type": 4} if upgraded and row["type"] == 5 else {})
            for row in self.truth["logs_by_type_and_user"]
        ]
        rows = self.shown()
        self.each(
            (f"type {row['type']}, user {row['user_id']}", check)
            for row in expected
            for check in [partial(self.log_page, rows, row)]
        )
