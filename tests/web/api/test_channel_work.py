"""Tests, model lists and balances of channels over the real site."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred

from knight_tw.errors import NoPrice, UpstreamFailed, UpstreamRefused
from knight_tw.storage import job_queries
from tests.web.api.test_channels import FORM, Case
from tests.web.gateway import NOW, now

MODELS = {"data": [{"id": "pt-ok"}, {"id": "pt-listed"}, {"id": "pt-ok"}]}
BASE = "http://127.0.0.1:41439"


class Tests(Case):
    """`GET /api/channel/test`."""

    def test_good(self) -> None:
        """Seconds come back; the tester has a log row."""
        made = self.gateway.add_channel()
        answer = self.adm.get(f"/api/channel/test/{made}?model=pt-other").json
        self.assertEqual(set(answer), {"success", "message", "time"})
        self.assertEqual(self.gateway.notes[-1]["model_name"], "pt-other")

    def test_failed(self) -> None:
        """Message and code of the failure, the key hidden; the channel stays."""
        made = self.gateway.add_channel(name="bad")
        self.gateway.set_option("AutomaticDisableChannelEnabled", "true")
        self.gateway.probe.errors["bad"] = UpstreamRefused(
            "bad key sk-example-key", status=401, code="invalid_api_key", upstream=True
        )
        answer = self.adm.get(f"/api/channel/test/{made}")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json["error_code"], "invalid_api_key")
        self.assertIn("time", answer.json)
        self.assertNotIn("sk-example-key", answer.json["message"])
        self.assertEqual(self.gateway.channel(made)["status"], 1)

    def test_no_price(self) -> None:
        """A model without a price has a code of its own."""
        made = self.gateway.add_channel(name="bad")
        self.gateway.probe.errors["bad"] = NoPrice("no price")
        answer = self.adm.get(f"/api/channel/test/{made}")
        self.assertEqual(answer.code, "model_price_error")

    def test_wrong_questions(self) -> None:
        """Unknown channels, endpoints and types."""
        self.assertEqual(self.adm.get("/api/channel/test/99").code, "not_found")
        made = self.gateway.add_channel()
        path = f"/api/channel/test/{made}?endpoint_type=nonsense"
        self.assertEqual(self.adm.get(path).code, "invalid_field")
        task = self.gateway.add_channel(type=36)
        self.assertEqual(
            self.adm.get(f"/api/channel/test/{task}").code, "invalid_field"
        )

    def test_all(self) -> None:
        """A run is a job; a second one is refused while it goes on."""
        self.gateway.add_channel()
        self.gateway.probe.waiting = waiting = Deferred()
        data = self.adm.get("/api/channel/test").data
        self.assertEqual(data["status"], "pending")
        again = self.adm.get("/api/channel/test")
        self.assertEqual((again.status, again.code), (409, "job_running"))
        self.assertEqual(again.json["data"]["task_id"], data["task_id"])
        waiting.callback(None)
        row = now(self.gateway.db.read(job_queries.find, data["task_id"]))
        self.assertEqual(row and row["result"]["succeeded"], 1)

    def test_all_in_the_older_dialect(self) -> None:
        """Older consoles are told nothing but success, or the refusal with 200."""
        self.gateway.add_channel()
        self.gateway.probe.waiting = Deferred()
        browser = self.gateway.browser("root")
        answer = browser.get("/api/channel/test").json
        self.assertEqual(answer, {"success": True, "message": ""})
        again = browser.get("/api/channel/test")
        self.assertEqual((again.status, again.json["success"]), (200, False))
        self.gateway.background.cancel()

    def test_draft(self) -> None:
        """A channel in a form is tested without being saved; more comes back."""
        body = {"channel": FORM, "model": "m", "stream": True}
        answer = self.root.post("/api/channel/test_draft", body).json
        self.assertEqual(answer["response"], "hello")
        self.assertEqual(answer["usage"]["prompt_tokens"], 8)
        self.assertIs(answer["request"]["body"]["stream"], True)
        self.assertEqual(self.listed()["total"], 0)

    def test_wrong_draft(self) -> None:
        """A form that could not be saved cannot be tested."""
        for channel in ({**FORM, "key": ""}, {**FORM, "base_url": "x"}, 5):
            body = {"channel": channel}
            answer = self.root.post("/api/channel/test_draft", body)
            self.assertIn(answer.code, ("missing_field", "invalid_field"))


class ModelLists(Case):
    """`/api/channel/fetch_models`."""

    def setUp(self) -> None:
        """An upstream with a list."""
        super().setUp()
        self.gateway.upstream.answers[f"{BASE}/v1/models"] = (200, MODELS)

    def test_saved(self) -> None:
        """The upstream of a channel is asked with its key, headers and proxy."""
        made = self.gateway.add_channel(
            base_url=BASE,
            header_override='{"X-Extra": "k {api_key}", "X-C": "{client_header:A}"}',
            setting='{"proxy": "http://proxy:1"}',
        )
        data = self.adm.get(f"/api/channel/fetch_models/{made}").data
        self.assertEqual(data, ["pt-ok", "pt-listed"])
        sent = self.gateway.upstream.sent[0]
        self.assertEqual(sent["headers"]["Authorization"], "Bearer sk-example-key")
        names = {name.lower(): value for name, value in sent["headers"].items()}
        self.assertEqual(names["x-extra"], "k sk-example-key")
        self.assertNotIn("x-c", names)
        self.assertEqual((sent["proxy"], sent["guarded"]), ("http://proxy:1", False))

    def test_unsaved(self) -> None:
        """A form's first key is used; for anybody but root the guard watches."""
        body = {"base_url": BASE, "type": 1, "key": "sk-1\nsk-2"}
        for client, guarded in ((self.root, False), (self.adm, True)):
            data = client.post("/api/channel/fetch_models", body).data
            self.assertEqual(data, ["pt-ok", "pt-listed"])
            sent = self.gateway.upstream.sent[-1]
            self.assertEqual(sent["headers"]["Authorization"], "Bearer sk-1")
            self.assertEqual(sent["guarded"], guarded)

    def test_edited(self) -> None:
        """Without a key, that of the channel being edited is used."""
        made = self.gateway.add_channel(key="sk-stored")
        body = {"channel_id": made, "base_url": BASE, "type": 1, "key": ""}
        self.root.post("/api/channel/fetch_models", body)
        sent = self.gateway.upstream.sent[-1]
        self.assertEqual(sent["headers"]["Authorization"], "Bearer sk-stored")

    def test_permission(self) -> None:
        """Asking any address needs `sensitive_write`."""
        self.strict()
        answer = self.adm.post("/api/channel/fetch_models", {"type": 1, "key": "k"})
        self.assertEqual(answer.status, 403)

    def test_failures(self) -> None:
        """An unreachable or odd upstream, a type without a list, no key."""
        made = self.gateway.add_channel(base_url=BASE)
        path = f"/api/channel/fetch_models/{made}"
        url = f"{BASE}/v1/models"
        wrong: tuple[Any, ...] = (
            (401, {"error": {"message": "bad key"}}),
            (200, {"data": 5}),
            UpstreamFailed("connection refused"),
        )
        for answer in wrong:
            self.gateway.upstream.answers[url] = answer
            self.assertEqual(self.adm.get(path).code, "upstream_failed", answer)
        task = self.gateway.add_channel(type=36)
        self.assertEqual(
            self.adm.get(f"/api/channel/fetch_models/{task}").code, "invalid_field"
        )
        body = {"base_url": BASE, "type": 1, "key": ""}
        answer = self.root.post("/api/channel/fetch_models", body)
        self.assertEqual(answer.code, "missing_field")

    def test_gemini_pages(self) -> None:
        """A list of several pages is read to its end."""
        made = self.gateway.add_channel(type=24, base_url=BASE)
        first = f"{BASE}/v1beta/models?pageSize=100"
        self.gateway.upstream.answers |= {
            first: (200, {"models": [{"name": "models/a"}], "nextPageToken": "p2"}),
            f"{first}&pageToken=p2": (200, {"models": [{"name": "models/b"}]}),
        }
        data = self.adm.get(f"/api/channel/fetch_models/{made}").data
        self.assertEqual(data, ["a", "b"])


class BalanceTests(Case):
    """`/api/channel/update_balance`."""

    def balance(self, url: str, answer: Any, **columns: Any) -> Any:
        """The balance that an upstream tells."""
        made = self.gateway.add_channel(base_url=BASE, **columns)
        self.gateway.upstream.answers[f"{BASE}{url}"] = (200, answer)
        return self.adm.get(f"/api/channel/update_balance/{made}")

    def test_openai(self) -> None:
        """The limit less what was used this month."""
        span = "start_date=2026-11-01&end_date=2026-11-25"
        url = f"{BASE}/v1/dashboard/billing/usage?{span}"
        self.gateway.upstream.answers[url] = (200, {"total_usage": 250})
        subscription = {"hard_limit_usd": 12.5, "has_payment_method": True}
        answer = self.balance("/v1/dashboard/billing/subscription", subscription)
        self.assertEqual(answer.json, {"success": True, "message": "", "balance": 10})
        row = self.gateway.channel(1)
        self.assertEqual((row["balance"], row["balance_updated_time"]), (10, NOW))

    def test_others(self) -> None:
        """Each type tells it in its own way."""
        rate = self.gateway.options.decimal("USDExchangeRate")
        credits = {"data": {"total_credits": 5.5, "total_usage": 1.25}}
        money = {"balance_infos": [{"currency": "USD", "total_balance": "3.5"}]}
        yuan = {"data": {"available_balance": float(rate * 2)}}
        for kind, url, told, expected in (
            (20, "/v1/credits", credits, 4.25),
            (43, "/user/balance", money, 3.5),
            (25, "/v1/users/me/balance", yuan, 2),
            (40, "/v1/user/info", {"data": {"totalBalance": "7"}}, 7),
        ):
            answer = self.balance(url, told, type=kind)
            self.assertAlmostEqual(answer.json["balance"], expected, msg=str(kind))

    def test_refusals(self) -> None:
        """Other types, several keys, odd answers."""
        several = {"is_multi_key": True}
        for answer, code in (
            (self.balance("/x", {}, type=14), "invalid_field"),
            (self.balance("/x", {}, channel_info=several), "invalid_field"),
            (self.balance("/v1/credits", {"data": 5}, type=20), "upstream_failed"),
            (self.adm.get("/api/channel/update_balance/999"), "not_found"),
        ):
            self.assertEqual(answer.code, code)

    def test_all(self) -> None:
        """Everybody's balance is asked for; who has none left goes out of service."""
        empty = self.gateway.add_channel(type=20, base_url=BASE)
        self.gateway.add_channel(type=43, base_url=f"{BASE}/other")
        told = {"data": {"total_credits": 5, "total_usage": 5}}
        self.gateway.upstream.answers[f"{BASE}/v1/credits"] = (200, told)
        task_id = self.adm.get("/api/channel/update_balance").data["task_id"]
        row = now(self.gateway.db.read(job_queries.find, task_id))
        self.assertEqual(
            row and row["result"], {"updated": 1, "failed": 1, "disabled": 1}
        )
        found = self.gateway.channel(empty)
        self.assertEqual(found["status"], 3)
        self.assertIn("balance", json.loads(found["other_info"])["status_reason"])
