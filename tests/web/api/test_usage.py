"""What a relay key tells about itself, over the real site."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.api.management import Management
from tests.web.gateway import NOW, Answer

KEY = "K" * 48
BILLING = ("/dashboard/billing/subscription", "/v1/dashboard/billing/subscription")


class Case(SynchronousTestCase):
    """A key of `ann` (2) with 1 000 units, 15 of them used."""

    def setUp(self) -> None:
        """The key."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("ann", quota=2_000_000, used_quota=500_000)
        self.token_id = self.add(key=KEY, name="mine", remain_quota=985, used_quota=15)

    def add(self, **columns: Any) -> int:
        """A key of `ann`."""
        return self.gateway.add_token(2, **columns)

    def get(self, path: str, key: str = KEY, **headers: str) -> Answer:
        """The answer to the key."""
        given = {"Authorization": f"Bearer sk-{key}"} if key else {}
        return self.gateway.ask("GET", path, None, {**given, **headers})

    def change(self, **columns: Any) -> None:
        """Set columns of the key."""
        table = schema.tokens
        self.gateway.execute(
            sa.update(table).where(table.c.id == self.token_id).values(**columns)
        )


class KeyPageTests(Case):
    """`/api/usage/token` and `/api/log/token`."""

    def test_usage(self) -> None:
        """Granted, used and left, in units; with and without a slash."""
        for path in ("/api/usage/token/", "/api/usage/token"):
            self.assertEqual(
                self.get(path).json,
                {
                    "code": True,
                    "message": "ok",
                    "data": {
                        "object": "token_usage",
                        "name": "mine",
                        "total_granted": 1000,
                        "total_used": 15,
                        "total_available": 985,
                        "unlimited_quota": False,
                        "model_limits": {},
                        "model_limits_enabled": False,
                        "expires_at": 0,
                    },
                },
            )

    def test_limits_and_expiry(self) -> None:
        """Models and the end of a key."""
        self.change(
            model_limits="m-1,m-2", model_limits_enabled=True, expired_time=NOW + 9
        )
        data = self.get("/api/usage/token/").json["data"]
        self.assertEqual(data["model_limits"], {"m-1": True, "m-2": True})
        self.assertEqual(data["expires_at"], NOW + 9)

    def test_exhausted_and_expired(self) -> None:
        """A key that may not call any more may still read."""
        self.change(status=4, remain_quota=0)
        self.assertEqual(self.get("/api/usage/token/").status, 200)
        self.change(status=3, expired_time=NOW - 9)
        self.assertEqual(self.get("/api/usage/token/").status, 200)

    def test_refusals(self) -> None:
        """No key, a wrong one, a disabled one, a disabled owner: in the envelope."""
        for path in ("/api/usage/token/", "/api/log/token"):
            for key in ("", "X" * 48, "!"):
                answer = self.get(path, key)
                self.assertEqual((answer.status, answer.json["success"]), (401, False))
        self.change(status=2)
        self.assertEqual(self.get("/api/usage/token/").status, 401)
        self.change(status=1)
        table = schema.users
        self.gateway.execute(sa.update(table).where(table.c.id == 2).values(status=2))
        self.assertEqual(self.get("/api/usage/token/").status, 403)

    def test_log(self) -> None:
        """The key's own rows, as users see them."""
        self.gateway.add_log(token_id=self.token_id, user_id=2, request_id="mine")
        self.gateway.add_log(token_id=self.token_id, user_id=2, request_id="newer")
        self.gateway.add_log(token_id=99, user_id=2, request_id="other")
        rows = self.get("/api/log/token").data
        self.assertEqual([row["request_id"] for row in rows], ["newer", "mine"])
        self.assertEqual([row["id"] for row in rows], [1, 2])
        self.assertNotIn("admin_info", rows[0]["other"])

    def test_key_in_the_query(self) -> None:
        """Older scripts put the key into the query."""
        answer = self.get(f"/api/log/token?key=sk-{KEY}", "")
        self.assertEqual(answer.data, [])

    def test_browsers_may_ask(self) -> None:
        """Pages of any origin may ask these two."""
        answer = self.get("/api/usage/token/", Origin="https://elsewhere.example")
        self.assertEqual(answer.get("Access-Control-Allow-Origin"), "*")

    def test_limited(self) -> None:
        """Questions count as critical."""
        gateway = Management(env={"CRITICAL_RATE_LIMIT_ENABLE": "true"})
        found = [gateway.ask("GET", "/api/log/token").status for _ in range(21)]
        self.assertEqual(found, [401] * 20 + [429])


class BillingTests(Case):
    """`/dashboard/billing/*` and the same below `/v1`."""

    def limit(self) -> Any:
        """The limit that a subscription shows."""
        found = [self.get(path).json for path in BILLING]
        self.assertEqual(found[0], found[1])
        self.assertEqual(
            set(found[0]),
            {"object", "has_payment_method", "soft_limit_usd", "hard_limit_usd",
             "system_hard_limit_usd", "access_until"},
        )  # fmt: skip
        return found[0]["hard_limit_usd"]

    def used(self) -> Any:
        """The usage in cents."""
        path = "/v1/dashboard/billing/usage?start_date=2026-01-01&end_date=2026-12-31"
        answer = self.get(path).json
        self.assertEqual(set(answer), {"object", "total_usage"})
        return answer["total_usage"]

    def test_of_the_key(self) -> None:
        """The key's own numbers, in dollars and cents."""
        self.assertEqual((self.limit(), self.used()), (0.002, 0.003))

    def test_of_the_owner(self) -> None:
        """The owner's numbers, when the option says so."""
        self.gateway.set_option("DisplayTokenStatEnabled", "false")
        self.assertEqual((self.limit(), self.used()), (5, 100))

    def test_other_units(self) -> None:
        """In the unit that the site displays."""
        key = "general_setting.quota_display_type"
        self.gateway.set_option(key, "TOKENS")
        self.assertEqual((self.limit(), self.used()), (1000, 1500))
        self.gateway.set_option("USDExchangeRate", "7")
        self.gateway.set_option(key, "CNY")
        self.assertEqual(self.limit(), 0.014)

    def test_unlimited(self) -> None:
        """A key without a limit shows a large one."""
        self.change(unlimited_quota=True, expired_time=NOW + 5)
        self.assertEqual(self.limit(), 100_000_000)
        self.assertEqual(self.get(BILLING[0]).json["access_until"], NOW + 5)

    def test_exhausted(self) -> None:
        """An exhausted key may still read."""
        self.change(status=4, remain_quota=0)
        self.assertEqual(self.limit(), 0.00003)

    def test_refusals(self) -> None:
        """In OpenAI's form, with the status."""
        for path in BILLING:
            for key in ("", "X" * 48):
                answer = self.get(path, key)
                self.assertEqual(answer.status, 401)
                self.assertEqual(answer.json["error"]["type"], "new_api_error")

    def test_other_methods(self) -> None:
        """A path is not there with another method."""
        answer = self.gateway.ask("POST", BILLING[0], {})
        self.assertEqual(answer.status, 405)
