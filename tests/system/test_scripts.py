"""Scripts as administrators and users write them, one for each group of routes.

They run against one gateway process per database, with Redis beside the servers.
"""

from __future__ import annotations

import atexit
import json
import os
import shutil
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from attrs import define
from twisted.trial.unittest import SynchronousTestCase

from tests import engines
from tests.system.process import PASSWORD, Process
from tests.system.provider import Provider

CHARGE = 38
"""10 tokens in and 5 out of gpt-4o: (10 + 5 * 4) * 1.25 = 37.5, rounded."""


LEAST = 625
"""What a key must have for any call: option `PreConsumedQuota`, 500 tokens, at 1.25."""

PRICED = ("gpt-4o", "m-channels", "m-second", "m-copied", "m-keys")


@define
class Person:
    """Somebody with a session of their own."""

    process: Process
    cookie: str
    user_id: int

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Status and answer."""
        headers = {"Cookie": self.cookie, "New-Api-User": str(self.user_id)}
        status, answer, _ = self.process.ask(method, path, body, **headers)
        return status, answer

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """`data` of an answer that must succeed."""
        status, answer = self.ask(method, path, body)
        assert status == 200 and answer["success"], f"{method} {path}: {answer}"
        return answer.get("data")


@cache
def gateway(kind: str) -> tuple[Process, Provider, str]:
    """The gateway on one kind of database; its provider; a key of root's."""
    folder = Path(tempfile.mkdtemp(prefix="knight-scripts-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    told = {"LEDGER_FLUSH_SECONDS": "0.05"}
    if kind != "sqlite":
        told["SQL_DSN"] = engines.fresh_database(kind)
        told["REDIS_CONN_STRING"] = os.environ.get("KNIGHT_TEST_REDIS", "")
        # Databases number their accounts alike, and counters go by account.
        told["REDIS_KEY_PREFIX"] = f"scripts-{kind}-{os.getpid()}:"
    process, provider = Process(folder, told), Provider()
    atexit.register(process.stop)
    process.start()
    key = process.set_up()
    ratios = json.dumps(dict.fromkeys(PRICED, 1.25))
    process.call("PUT", "/api/option/", {"key": "ModelRatio", "value": ratios})
    process.channel(provider.url)
    return process, provider, key


class Script(SynchronousTestCase):
    """A script against the gateway of the class's database."""

    kind: ClassVar[str] = "sqlite"
    timeout = 120

    def setUp(self) -> None:
        """Root's session, and names that no other script uses."""
        if self.kind != "sqlite":
            engines.server_address(self.kind)
        self.process, self.provider, self.key = gateway(self.kind)
        self.call = self.process.call
        self.tag = self._testMethodName.removeprefix("test_")[:12]

    def person(self, name: str) -> Person:
        """A new account, logged in."""
        told = {"username": name, "password": PASSWORD, "display_name": name}
        self.call("POST", "/api/user/", told)
        return self.login(name)

    def login(self, name: str, password: str = PASSWORD) -> Person:
        """A session of an account."""
        told = {"username": name, "password": password}
        status, answer, headers = self.process.ask("POST", "/api/user/login", told)
        self.assertEqual((status, answer["success"]), (200, True), answer)
        return Person(self.process, headers["Cookies"], answer["data"]["id"])

    def refused(self, answer: tuple[Any, ...], code: str) -> None:
        """An answer that must be a refusal with that code."""
        self.assertEqual((answer[1]["success"], answer[1]["code"]), (False, code))

    def chat(self, key: str, model: str = "gpt-4o") -> tuple[int, Any]:
        """One call of the relay."""
        told = {"model": model, "messages": [{"role": "user", "content": "hi"}]}
        status, answer, _ = self.process.ask(
            "POST", "/v1/chat/completions", told, Authorization=f"Bearer {key}"
        )
        return status, answer

    def until(self, read: Any, wanted: Any) -> None:
        """Wait until `read()` is `wanted`, ten seconds at most."""
        end = time.monotonic() + 10
        while read() != wanted and time.monotonic() < end:
            time.sleep(0.05)
        self.assertEqual(read(), wanted)


@engines.for_engines
class Management(Script):
    """One script for each group of routes."""

    def test_site(self) -> None:
        """A monitor reads the public pages, without a credential."""
        self.assertTrue(self.call("GET", "/api/setup")["status"])
        status = self.call("GET", "/api/status")
        self.assertTrue(status["setup"])
        told = {"key": "Notice", "value": "closed on Sunday"}
        self.call("PUT", "/api/option/", told)
        self.assertEqual(self.call("GET", "/api/notice"), "closed on Sunday")
        self.assertEqual(self.process.ask("GET", "/livez")[0], 200)
        self.assertEqual(self.process.ask("GET", "/readyz")[0], 200)

    def test_accounts(self) -> None:
        """An administrator makes, finds, changes, stops and deletes an account."""
        ann = self.person("ann-accounts")
        found = self.call("GET", "/api/user/search?keyword=ann-acc")["items"]
        self.assertEqual([user["id"] for user in found], [ann.user_id])
        told = {"id": ann.user_id, "group": "vip", "quota": 500, "remark": "pays"}
        self.call("PUT", "/api/user/", {**found[0], **told, "password": ""})
        one = self.call("GET", f"/api/user/{ann.user_id}")
        self.assertEqual(
            (one["group"], one["quota"], one["remark"]), ("vip", 500, "pays")
        )
        ann = self.login("ann-accounts")
        self.call("POST", "/api/user/manage", {"id": ann.user_id, "action": "disable"})
        self.assertEqual(ann.ask("GET", "/api/user/self")[0], 401)
        self.call("POST", "/api/user/manage", {"id": ann.user_id, "action": "enable"})
        self.assertEqual(self.login("ann-accounts").user_id, ann.user_id)
        self.call("DELETE", f"/api/user/{ann.user_id}")
        self.refused(self.process.ask("GET", f"/api/user/{ann.user_id}"), "not_found")

    def test_own_account(self) -> None:
        """A user changes name, password and settings, and asks for an access token."""
        bob = self.person("bob-own")
        bob.call("PUT", "/api/user/self", {"display_name": "Bob"})
        self.assertEqual(bob.call("GET", "/api/user/self")["display_name"], "Bob")
        told = {"password": "another-Password-2", "original_password": PASSWORD}
        bob.call("PUT", "/api/user/self", told)
        bob = self.login("bob-own", "another-Password-2")
        token = bob.call("GET", "/api/user/token")
        status, answer, _ = self.process.ask(
            "GET",
            "/api/user/self",
            Authorization=token,
            Cookie="",
            **{"New-Api-User": str(bob.user_id)},
        )
        self.assertEqual((status, answer["data"]["username"]), (200, "bob-own"))
        bob.call("PUT", "/api/user/prefs", {"theme": "dark"})
        self.assertEqual(bob.call("GET", "/api/user/prefs"), {"theme": "dark"})
        self.assertEqual(len(bob.call("GET", "/api/user/aff")), 4)
        self.assertEqual(bob.ask("GET", "/api/user/")[0], 403)

    def test_tokens(self) -> None:
        """A user's key with a limit: used, exhausted, filled up, deleted."""
        eve = self.person("eve-tokens")
        told = {"id": eve.user_id, "action": "add_quota", "mode": "add", "value": 10**6}
        self.call("POST", "/api/user/manage", told)
        made = eve.call("POST", "/api/token/", {"name": "a", "remain_quota": LEAST + 9})
        path = f"/api/token/{made['id']}"
        key = "sk-" + eve.call("POST", f"{path}/key")["key"]
        self.assertEqual(self.chat(key)[0], 200)
        self.until(lambda: eve.call("GET", path)["remain_quota"], LEAST + 9 - CHARGE)
        self.assertEqual(self.chat(key)[0], 403)
        filled = {"id": made["id"], "remain_quota": 10 * LEAST}
        eve.call("PUT", "/api/token/", filled)
        self.assertEqual(self.chat(key)[0], 200)
        self.until(lambda: eve.call("GET", "/api/user/self")["used_quota"], 2 * CHARGE)
        usage = self.process.ask(
            "GET", "/api/usage/token/", Authorization=f"Bearer {key}"
        )[1]["data"]
        self.assertEqual(usage["total_used"], 2 * CHARGE)
        bill = self.process.ask(
            "GET", "/v1/dashboard/billing/usage", Authorization=f"Bearer {key}"
        )[1]
        self.assertEqual(bill["object"], "list")
        self.refused(self.process.ask("GET", path), "not_found")
        eve.call("DELETE", path)
        self.assertEqual(self.chat(key)[0], 401)

    def test_channels(self) -> None:
        """Channels in a batch, found, tagged, stopped, copied, tested, deleted."""
        channel = {
            "name": "batch",
            "type": 1,
            "key": "sk-one\nsk-two\n\nsk-three",
            "base_url": self.provider.url,
            "models": "m-channels,m-second",
            "group": "default,vip",
        }
        self.call("POST", "/api/channel/", {"mode": "batch", "channel": channel})
        path = "/api/channel/search?keyword=batch&model=m-channels"
        found = self.call("GET", path)["items"]
        ids = [row["id"] for row in found]
        self.assertEqual(len(ids), 3)
        self.assertEqual({row["key"] for row in found}, {""})
        told = {"ids": ids, "tag": "spare"}
        self.assertEqual(self.call("POST", "/api/channel/batch/tag", told), 3)
        self.call("POST", "/api/channel/tag/disabled", {"tag": "spare"})
        self.assertEqual(self.chat(self.key, "m-channels")[0], 503)
        self.call("POST", f"/api/channel/{ids[0]}/status", {"status": 1})
        self.until(lambda: self.chat(self.key, "m-channels")[0], 200)
        tested = self.process.ask("GET", f"/api/channel/test/{ids[0]}")[1]
        self.assertTrue(tested["success"], tested)
        copy = self.call("POST", f"/api/channel/copy/{ids[0]}?suffix=-again")["id"]
        told = {"id": copy, "models": "m-copied", "priority": 7}
        self.call("PUT", "/api/channel/", told)
        one = self.call("GET", f"/api/channel/{copy}")
        self.assertEqual((one["name"], one["models"]), ("batch-again", "m-copied"))
        self.assertEqual(self.call("POST", "/api/channel/batch", {"ids": ids}), 3)
        self.call("DELETE", f"/api/channel/{copy}")
        self.assertEqual(self.call("GET", path)["total"], 0)

    def test_many_keys(self) -> None:
        """One channel with several keys, each stopped and started."""
        channel = {
            "name": "keys",
            "type": 1,
            "key": "sk-one\nsk-two",
            "base_url": self.provider.url,
            "models": "m-keys",
            "group": "default",
        }
        told = {
            "mode": "multi_to_single",
            "multi_key_mode": "polling",
            "channel": channel,
        }
        self.call("POST", "/api/channel/", told)
        (row,) = self.call("GET", "/api/channel/search?keyword=keys")["items"]
        act = {"channel_id": row["id"], "action": "disable_key", "key_index": 0}
        self.call("POST", "/api/channel/multi_key/manage", act)
        act = {"channel_id": row["id"], "action": "get_key_status"}
        state = self.call("POST", "/api/channel/multi_key/manage", act)
        self.assertEqual([key["status"] for key in state["keys"]], [2, 1])
        self.assertEqual(self.chat(self.key, "m-keys")[0], 200)
        self.call("DELETE", f"/api/channel/{row['id']}")

    def test_options(self) -> None:
        """Options are set one by one and together; a wrong one changes nothing."""
        told = {"key": "RetryTimes", "value": "3"}
        self.call("PUT", "/api/option/", told)
        rows = {row["key"]: row["value"] for row in self.call("GET", "/api/option/")}
        self.assertEqual(rows["RetryTimes"], "3")
        self.refused(
            self.process.ask(
                "PUT", "/api/option/", {"key": "RetryTimes", "value": "x"}
            ),
            "invalid_field",
        )
        changes = [
            {"key": "RetryTimes", "value": "4"},
            {"key": "QuotaForNewUser", "value": "x"},
        ]
        self.process.ask("PUT", "/api/option/batch", {"changes": changes})
        rows = {row["key"]: row["value"] for row in self.call("GET", "/api/option/")}
        self.assertEqual(rows["RetryTimes"], "3")
        known = self.call("GET", "/api/option/catalog")["options"]
        self.assertGreater(len(known), 100)
        newest = self.call("GET", "/api/option/history?key=RetryTimes")["items"][0]
        self.assertEqual(newest["new_value"], "3")

    def test_logs(self) -> None:
        """Calls are found, summed up, walked through and exported."""
        self.call("POST", "/api/token/", {"name": "log", "unlimited_quota": True})
        (made,) = self.call("GET", "/api/token/search?keyword=log")["items"]
        key = "sk-" + self.call("POST", f"/api/token/{made['id']}/key")["key"]
        for _ in range(3):
            self.assertEqual(self.chat(key)[0], 200)
        path = "/api/log/?token_name=log&type=2"
        self.until(lambda: self.call("GET", path)["total"], 3)
        self.assertEqual(
            {row["quota"] for row in self.call("GET", path)["items"]}, {CHARGE}
        )
        total = self.call("GET", "/api/log/stat?token_name=log&type=2")
        self.assertEqual(total["quota"], 3 * CHARGE)
        first = self.call("GET", "/api/log/cursor?token=log&type=2&limit=2")
        rest = self.call(
            "GET", f"/api/log/cursor?token=log&type=2&limit=2&cursor={first['next']}"
        )
        self.assertEqual([len(first["items"]), len(rest["items"])], [2, 1])
        facets = self.call("GET", "/api/log/facets?token=log&type=2&fields=model")
        self.assertEqual(facets["model"], [{"value": "gpt-4o", "count": 3}])
        status, file, _ = self.process.ask(
            "GET", "/api/log/export?token=log&type=2&format=csv"
        )
        self.assertEqual((status, len(file.splitlines())), (200, 4))
        own = self.process.ask("GET", "/api/log/token", Authorization=f"Bearer {key}")
        self.assertEqual(len(own[1]["data"]), 3)

    def test_models(self) -> None:
        """Model rows, vendors and prefill groups are made, found and deleted."""
        self.call("POST", "/api/vendors/", {"name": "Acme"})
        (vendor,) = self.call("GET", "/api/vendors/search?keyword=Acme")["items"]
        told = {"model_name": "acme-1", "vendor_id": vendor["id"], "tags": "new"}
        self.call("POST", "/api/models/", told)
        (model,) = self.call("GET", "/api/models/search?keyword=acme-1")["items"]
        self.call("PUT", "/api/models/", {**model, "description": "a model"})
        one = self.call("GET", f"/api/models/{model['id']}")
        self.assertEqual(one["description"], "a model")
        self.refused(self.process.ask("POST", "/api/models/", told), "name_taken")
        group = {"name": "usual", "type": "model", "items": ["gpt-4o"]}
        self.call("POST", "/api/prefill_group/", group)
        (kept,) = self.call("GET", "/api/prefill_group/?type=model")
        self.call("DELETE", f"/api/prefill_group/{kept['id']}")
        self.call("DELETE", f"/api/models/{model['id']}")
        self.call("DELETE", f"/api/vendors/{vendor['id']}")
        status, prices, _ = self.process.ask("GET", "/api/pricing")
        self.assertIn("gpt-4o", [item["model_name"] for item in prices["data"]])
        self.assertEqual(status, 200)

    def test_jobs(self) -> None:
        """All channels are tested in the background; the job can be watched."""
        self.call("GET", "/api/channel/test")
        self.until(
            lambda: self.call("GET", "/api/jobs?kind=test_channels")["items"][0][
                "status"
            ],
            "succeeded",
        )
        job = self.call("GET", "/api/jobs?kind=test_channels")["items"][0]
        self.assertEqual(self.call("GET", f"/api/jobs/{job['id']}")["id"], job["id"])
        listed = self.call("GET", "/api/system-task/list?limit=5")
        self.assertIn(job["id"], [task["task_id"] for task in listed])


@engines.for_engines
class BadInput(Script):
    """The same refusals on all databases, and nothing written."""

    def test_bodies(self) -> None:
        """What is not a JSON object is told so; members are named."""
        before = self.call("GET", "/api/token/")["total"]
        for body in (None, [], "x", 5):
            answer = self.process.ask("POST", "/api/token/", body)
            self.assertEqual(answer[0], 400)
            self.refused(answer, "malformed_body")
        for field, value in (
            ("name", 5),
            ("name", "n" * 60),
            ("name", "a\0b"),
            ("remain_quota", -1),
            ("remain_quota", 10**30),
            ("remain_quota", "many"),
            ("expired_time", [1]),
            ("unlimited_quota", "perhaps"),
            ("group", "no-such-group"),
        ):
            told = {"name": "bad", "remain_quota": 5, field: value}
            answer = self.process.ask("POST", "/api/token/", told)
            self.assertFalse(answer[1]["success"], (field, value))
            self.assertIn(field, answer[1]["message"])
        self.assertEqual(self.call("GET", "/api/token/")["total"], before)

    def test_ids(self) -> None:
        """Unknown and impossible ids are not found."""
        for number in ("0", "999999999", str(10**17)):
            for kind in ("token", "channel", "user", "models", "vendors"):
                answer = self.process.ask("GET", f"/api/{kind}/{number}")
                self.refused(answer, "not_found")
        for number in ("-1", "x", str(2**80), "%00", "%ff"):
            self.assertEqual(self.process.ask("GET", f"/api/token/{number}")[0], 404)

    def test_wildcards(self) -> None:
        """Patterns in searches are text where the API does not say otherwise."""
        for keyword in ("%25", "_", "%25_%25", "%5C", "%27"):
            found = self.call("GET", f"/api/user/search?keyword={keyword}")
            self.assertEqual(found["total"], 0, keyword)
