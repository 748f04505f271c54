"""Which models a provider offers."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody, ChannelFault, UpstreamRefused
from knight_tw.providers.discovery import listing, next_page, read_models
from tests.providers.attempts import channel

BEARER = {"Authorization": "Bearer k"}
VERSION = {"x-api-key": "k", "anthropic-version": "2023-06-01"}


class Asking(SynchronousTestCase):
    """`listing`."""

    def test_requests(self) -> None:
        """Each type has its path and its credential."""
        for type_id, more, url, headers in (
            (1, {}, "https://api.openai.com/v1/models", BEARER),
            (1, {"base_url": "https://h/v1"}, "https://h/v1/models", BEARER),
            (4, {}, "http://localhost:11434/api/tags", BEARER),
            (14, {}, "https://api.anthropic.com/v1/models", VERSION),
            (
                17,
                {},
                "https://dashscope.aliyuncs.com/compatible-mode/v1/models",
                BEARER,
            ),
            (
                24,
                {},
                "https://generativelanguage.googleapis.com/v1beta/models?pageSize=100",
                {"x-goog-api-key": "k"},
            ),
            (26, {}, "https://open.bigmodel.cn/api/paas/v4/models", BEARER),
            (34, {}, "https://api.cohere.ai/v1/models?page_size=1000", BEARER),
            (38, {}, "https://api.jina.ai/v1/models", BEARER),
            (
                25,
                {"base_url": "kimi-coding-plan"},
                "https://api.kimi.com/coding/v1/models",
                BEARER,
            ),
        ):
            with self.subTest(type_id=type_id):
                found = listing(channel(type_id, **more), "k")
                assert found is not None
                self.assertEqual((found.url, dict(found.headers)), (url, headers))

    def test_pages(self) -> None:
        """A list of several pages goes on where the last one ended."""
        found = listing(channel(24, base_url="https://g"), "k", "a/b")
        assert found is not None
        expected = "https://g/v1beta/models?pageSize=100&pageToken=a%2Fb"
        self.assertEqual(found.url, expected)
        for type_id, query in (
            (14, "after_id=a%2Fb"),
            (34, "page_size=1000&page_token=a%2Fb"),
        ):
            found = listing(channel(type_id, base_url="https://h"), "k", "a/b")
            assert found is not None
            self.assertEqual(found.url, f"https://h/v1/models?{query}")

    def test_no_list(self) -> None:
        """Types without a list, or without a provider, have none."""
        for type_id in (3, 8, 2, 33, 41, 99):
            self.assertIsNone(listing(channel(type_id), "k"))

    def test_no_address(self) -> None:
        """A channel without an address cannot be asked."""
        self.assertRaises(ChannelFault, listing, channel(47), "k")


def body(value: Any) -> bytes:
    """An answer."""
    return json.dumps(value).encode()


class Answers(SynchronousTestCase):
    """`read_models` and `next_page`."""

    def test_names(self) -> None:
        """Names are read from their place, once each, in order."""
        rows = [{"id": "b"}, {"id": "a"}, {"id": "b"}, {"id": 5}, {}, "c", 7]
        self.assertEqual(read_models(1, body({"data": rows})), ["b", "a", "c"])
        rows = [{"name": "llama3"}]
        self.assertEqual(read_models(4, body({"models": rows})), ["llama3"])
        self.assertEqual(read_models(34, body({"models": rows})), ["llama3"])
        rows = [{"name": "models/gemini-x"}]
        self.assertEqual(read_models(24, body({"models": rows})), ["gemini-x"])

    def test_failures(self) -> None:
        """Errors and other answers are told apart."""
        answer = body({"error": {"message": "m"}})
        self.assertRaises(UpstreamRefused, read_models, 1, answer)
        for answer in (b"<html>", b"{}", body({"models": []})):
            self.assertRaises(BadUpstreamBody, read_models, 1, answer)

    def test_next_page(self) -> None:
        """A list that has pages says where it goes on."""
        for type_id, answer, page in (
            (24, {"models": [], "nextPageToken": "t"}, "t"),
            (24, {}, ""),
            (1, {"nextPageToken": "t"}, ""),
            (14, {"data": [], "has_more": True, "last_id": "l"}, "l"),
            (14, {"data": [], "has_more": False, "last_id": "l"}, ""),
            (34, {"models": [], "next_page_token": "n"}, "n"),
        ):
            self.assertEqual(next_page(type_id, body(answer)), page)
