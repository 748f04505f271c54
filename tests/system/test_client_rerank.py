"""The real `cohere` client through a running gateway: ranking, both versions of it."""

from __future__ import annotations

from typing import Any

import cohere
import httpx
from cohere.core import ApiError
from twisted.trial.unittest import SynchronousTestCase

from tests.system.stage import RERANKERS, model_of, stage

DOCUMENTS = ["short", "the longest of them all", "a middling one"]
RANKED = [(1, 0.23), (2, 0.14)]
"""The best two: index and score."""


class Cohere(SynchronousTestCase):
    """`cohere`, on Cohere's and Jina's channels."""

    timeout = 60

    def setUp(self) -> None:
        self.stage = stage()
        self.stage.providers.take()
        self.client = self.client_with(self.stage.key)

    def client_with(self, key: str) -> Any:
        """A client with a key of the gateway."""
        http = httpx.Client(timeout=30)
        self.addCleanup(http.close)
        return cohere.ClientV2(
            api_key=key,
            base_url=self.stage.process.url,
            httpx_client=http,
            max_retries=0,
        )

    def rank(self, kind: str, fault: str = "", client: Any = None) -> Any:
        """The best two documents."""
        return (client or self.client).rerank(
            model=model_of(kind, fault), query="q", documents=DOCUMENTS, top_n=2
        )

    def test_second_version(self) -> None:
        """Both kinds of channel rank, and get no field that they do not know."""
        for kind, channel in RERANKERS.items():
            found = self.rank(kind).results
            self.assertEqual([(r.index, r.relevance_score) for r in found], RANKED)
            (asked,) = self.stage.providers.take()
            self.assertEqual(asked.body["model"], channel.model)
            self.assertEqual(asked.problems, [])

    def test_first_version(self) -> None:
        """The older client gets the documents back when it wants them."""
        with httpx.Client(timeout=30) as http:
            client = cohere.Client(
                api_key=self.stage.key,
                base_url=self.stage.process.url,
                httpx_client=http,
                max_retries=0,
            )
            for kind in RERANKERS:
                found = client.rerank(
                    model=model_of(kind),
                    query="q",
                    documents=DOCUMENTS,
                    top_n=2,
                    return_documents=True,
                ).results
                texts = [r.document and r.document.text for r in found]
                self.assertEqual(texts, [DOCUMENTS[index] for index, _ in RANKED])

    def test_refusals(self) -> None:
        """Errors have the provider's status, a stranger's key 401, no channel 404."""
        for kind in RERANKERS:
            for status in (400, 429, 500):
                with self.assertRaises(ApiError) as caught:
                    self.rank(kind, str(status))
                self.assertEqual(caught.exception.status_code, status)
        with self.assertRaises(ApiError) as caught:
            self.rank("cohere", client=self.client_with("sk-nobodys"))
        self.assertEqual(caught.exception.status_code, 401)
        with self.assertRaises(ApiError) as caught:
            self.rank("nothing")
        self.assertEqual(caught.exception.status_code, 404)

    def test_charges(self) -> None:
        """What Jina has counted is charged."""
        client = self.client_with(self.stage.token("ranking"))
        self.rank("jina", client=client)
        (row,) = self.stage.rows("ranking", 1)
        self.assertEqual((row["prompt_tokens"], row["quota"]), (40, 80))
