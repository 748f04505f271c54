"""Notices as requests."""

from __future__ import annotations

import hmac
import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.notices.ways import (
    Errand,
    Notice,
    NoWay,
    errand,
    through_worker,
    way,
)

NOW = 1_700_000_000
NOTICE = Notice("quota_exceed", "low & out", "{{value}}: {{value}} left", ("a", "b"))


class NoticeTests(SynchronousTestCase):
    """`Notice.text`."""

    def test_marks(self) -> None:
        """Marks are replaced in order; further values are left out."""
        for content, values, expected in (
            ("{{value}} and {{value}}", ("a", "b", "c"), "a and b"),
            ("none", ("a",), "none"),
            ("{{value}}{{value}}.", ("a",), "a."),
            ("{{value}}", ("{{value}}",), "{{value}}"),
            ("100% {{value}} %s", ("{}",), "100% {} %s"),
        ):
            self.assertEqual(Notice("k", "t", content, values).text, expected)


class ErrandTests(SynchronousTestCase):
    """`errand`."""

    def test_webhook(self) -> None:
        """The body says all; without a secret it is not signed."""
        setting = {"notify_type": "webhook", "webhook_url": "https://a.example/x"}
        asked = errand(setting, NOTICE, NOW)
        self.assertEqual((asked.method, asked.url), ("POST", "https://a.example/x"))
        self.assertEqual(
            json.loads(asked.body),
            {
                "type": "quota_exceed",
                "title": "low & out",
                "content": "a: b left",
                "values": ["a", "b"],
                "timestamp": NOW,
            },
        )
        self.assertEqual([name for name, _ in asked.headers], ["Content-Type"])

    def test_signature(self) -> None:
        """The signature is the HMAC of the bytes that are sent."""
        setting = {
            "notify_type": "webhook",
            "webhook_url": "https://a.example",
            "webhook_secret": "s3",
        }
        asked = errand(setting, NOTICE, NOW)
        self.assertEqual(
            dict(asked.headers)["X-Webhook-Signature"],
            hmac.new(b"s3", asked.body, "sha256").hexdigest(),
        )
        self.assertNotIn(b"s3", asked.body)

    def test_bark(self) -> None:
        """Title and content stand escaped in the address."""
        setting = {
            "notify_type": "bark",
            "bark_url": "https://b.example/{{title}}/{{content}}?x={{title}}",
        }
        asked = errand(setting, NOTICE, NOW)
        self.assertEqual(
            asked.url,
            "https://b.example/low%20%26%20out/a%3A%20b%20left?x=low%20%26%20out",
        )
        self.assertEqual(asked.method, "GET")
        self.assertEqual(asked.headers, (("User-Agent", "OneAPI-Bark-Notify/1.0"),))

    def test_gotify(self) -> None:
        """The token stands in the address, priority in the body."""
        setting: dict[str, Any] = {
            "notify_type": "gotify",
            "gotify_url": "https://g.example/base/",
            "gotify_token": "to ken",
            "gotify_priority": 8,
        }
        asked = errand(setting, NOTICE, NOW)
        self.assertEqual(asked.url, "https://g.example/base/message?token=to%20ken")
        self.assertEqual(
            json.loads(asked.body),
            {"title": "low & out", "message": "a: b left", "priority": 8},
        )
        self.assertIn(("User-Agent", "NewAPI-Gotify-Notify/1.0"), asked.headers)
        for strange in (-1, 11, None, "x"):
            asked = errand({**setting, "gotify_priority": strange}, NOTICE, NOW)
            self.assertEqual(json.loads(asked.body)["priority"], 5)

    def test_nowhere(self) -> None:
        """Without an address there is no errand; e-mail is none."""
        for setting in (
            {},
            {"notify_type": "email"},
            {"notify_type": "webhook"},
            {"notify_type": "bark", "bark_url": 5},
            {"notify_type": "gotify", "gotify_url": "https://g.example"},
            {"notify_type": "pigeon"},
        ):
            with self.assertRaises(NoWay):
                errand(setting, NOTICE, NOW)

    def test_usual_way(self) -> None:
        """Who said nothing is told by e-mail."""
        self.assertEqual((way({}), way({"notify_type": "bark"})), ("email", "bark"))


class WorkerTests(SynchronousTestCase):
    """`through_worker`."""

    def test_wrapped(self) -> None:
        """The worker gets the request as JSON, with its key and the secret."""
        setting = {
            "notify_type": "webhook",
            "webhook_url": "https://a.example",
            "webhook_secret": "s3",
        }
        asked = errand(setting, NOTICE, NOW)
        wrapped = through_worker(asked, "https://worker.example", "wk")
        self.assertEqual(
            (wrapped.method, wrapped.url), ("POST", "https://worker.example")
        )
        body = json.loads(wrapped.body)
        self.assertEqual(sorted(body), ["body", "headers", "key", "method", "url"])
        self.assertEqual(
            (body["url"], body["key"], body["method"]),
            ("https://a.example", "wk", "POST"),
        )
        self.assertEqual(body["body"], json.loads(asked.body))
        self.assertEqual(body["headers"]["Authorization"], "Bearer s3")
        self.assertIn("X-Webhook-Signature", body["headers"])

    def test_without_body(self) -> None:
        """A request without a body stays one."""
        wrapped = through_worker(Errand("GET", "https://b.example"), "https://w.x", "")
        self.assertNotIn("body", json.loads(wrapped.body))
