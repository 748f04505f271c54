"""Cohere: addresses, and its own forms of embeddings and reranking."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.errors import BadUpstreamBody, InvalidRequest, UnsupportedEndpoint
from knight_tw.providers.cohere import COHERE, V1, V2
from knight_tw.records import Dialect, Mode
from knight_tw.wire.answers import read_plain
from tests.providers.attempts import prepared, target

ROOT = "https://api.cohere.ai"
OLD = {"settings": {"cohere_api": "v1"}}
ASKED = {
    "model": "c",
    "query": "q",
    "documents": ["a", {"text": "b"}],
    "return_documents": True,
}


def aim(mode: Mode = Mode.CHAT, model: str = "m", **more: Any) -> Any:
    """An attempt on a Cohere channel."""
    return target(mode, model, type_id=34, **more)


def answered(attempt: Any, answer: Any) -> Any:
    """The client's answer and the usage in it."""
    body = json.dumps(answer).encode()
    read = read_plain(body, reading=providers.reading(COHERE, attempt))
    return json.loads(read.body), read.usage


class Addresses(SynchronousTestCase):
    """Where requests go."""

    def test_versions(self) -> None:
        """The channel chooses the version, of every kind of work."""
        for mode, name in (
            (Mode.CHAT, "chat"),
            (Mode.MESSAGES, "chat"),
            (Mode.EMBEDDINGS, "embed"),
            (Mode.RERANK, "rerank"),
        ):
            attempt = aim(mode, dialect=Dialect.CHAT)
            self.assertEqual(COHERE.url(attempt), f"{ROOT}/v2/{name}")
            attempt = aim(mode, dialect=Dialect.CHAT, **OLD)
            self.assertEqual(COHERE.url(attempt), f"{ROOT}/v1/{name}")

    def test_other_work(self) -> None:
        """It has no other kind of work."""
        self.assertRaises(UnsupportedEndpoint, COHERE.url, aim(Mode.IMAGES))

    def test_chat_has_a_form_of_its_own(self) -> None:
        """Of the channel's version; the model's name is written."""
        assert COHERE.conversion is not None
        self.assertIs(COHERE.conversion(aim()), V2)
        self.assertIs(COHERE.conversion(aim(**OLD)), V1)
        self.assertEqual(prepared(COHERE, aim(), x=1), {"x": 1, "model": "m"})


class Embeddings(SynchronousTestCase):
    """OpenAI's embeddings by Cohere's."""

    def test_request(self) -> None:
        """Texts, what they are for, and the length of the vectors."""
        found = prepared(COHERE, aim(Mode.EMBEDDINGS), model="c", input="a")
        expected = {
            "model": "m",
            "texts": ["a"],
            "input_type": "search_document",
            "embedding_types": ["float"],
        }
        self.assertEqual(found, expected)
        found = prepared(
            COHERE,
            aim(Mode.EMBEDDINGS),
            input=["a", "b"],
            input_type="search_query",
            truncate="END",
            dimensions=256,
            user="u",
        )
        self.assertEqual((found["texts"], found["truncate"]), (["a", "b"], "END"))
        self.assertEqual(found["input_type"], "search_query")
        self.assertEqual((found["output_dimension"], "user" in found), (256, False))

    def test_pictures(self) -> None:
        """Cohere's own inputs pass in the place of texts."""
        found = prepared(COHERE, aim(Mode.EMBEDDINGS), images=["data:"])
        self.assertEqual((found["images"], "texts" in found), (["data:"], False))

    def test_version_1(self) -> None:
        """It knows no dimensions, and the client is told."""
        attempt = aim(Mode.EMBEDDINGS, **OLD)
        found = prepared(COHERE, attempt, input="a", dimensions=256)
        self.assertNotIn("output_dimension", found)
        self.assertEqual(attempt.dropped, ["dimensions"])

    def test_wrong_inputs(self) -> None:
        """Only texts are taken; the field at fault is named."""
        for value, param in (
            (None, "input"),
            ([], "input"),
            ({}, "input"),
            ([1, 2], "input.0"),
            (["a", [1]], "input.1"),
        ):
            with self.assertRaises(InvalidRequest) as caught:
                prepared(COHERE, aim(Mode.EMBEDDINGS), input=value)
            self.assertEqual(caught.exception.param, param)

    def test_answer(self) -> None:
        """The vectors, with the tokens that are billed."""
        meta = {"billed_units": {"input_tokens": 4, "images": 1}}
        answer = {"id": "i", "embeddings": {"float": [[0.5], [1]]}, "meta": meta}
        found, usage = answered(aim(Mode.EMBEDDINGS), answer)
        self.assertEqual([row["embedding"] for row in found["data"]], [[0.5], [1]])
        self.assertEqual((usage.prompt, usage.completion), (4, 0))
        found, usage = answered(aim(Mode.EMBEDDINGS), {"embeddings": [[0.5]]})
        self.assertEqual((len(found["data"]), usage), (1, None))
        for wrong in ({}, {"embeddings": 5}, {"embeddings": {"float": [["x"]]}}):
            with self.assertRaises(BadUpstreamBody):
                answered(aim(Mode.EMBEDDINGS), wrong)


class Reranking(SynchronousTestCase):
    """Jina's layout by Cohere's."""

    def test_request(self) -> None:
        """Texts alone; what this version does not know is reported."""
        attempt = aim(Mode.RERANK)
        found = prepared(COHERE, attempt, **ASKED, overlap_tokens=5)
        expected = {"model": "m", "query": "q", "documents": ["a", "b"]}
        self.assertEqual(found, expected)
        self.assertEqual(attempt.dropped, ["overlap_tokens"])
        found = prepared(COHERE, aim(Mode.RERANK), **ASKED, top_n=1)
        self.assertEqual(found["top_n"], 1)

    def test_version_1(self) -> None:
        """It gives documents back itself."""
        found = prepared(COHERE, aim(Mode.RERANK, **OLD), **ASKED)
        self.assertIs(found["return_documents"], True)

    def test_answer(self) -> None:
        """The client's documents are put in; a search unit has no tokens."""
        answer = {
            "id": "i",
            "results": [{"index": 1, "relevance_score": 0.5}],
            "meta": {"billed_units": {"search_units": 1}},
        }
        found, usage = answered(aim(Mode.RERANK, asked=ASKED), answer)
        self.assertEqual(found["results"][0]["document"], {"text": "b"})
        self.assertEqual((found["id"], found["model"], usage), ("i", "m", None))

    def test_wrong_documents(self) -> None:
        """A picture may be ranked elsewhere; what is no list is refused."""
        with self.assertRaises(InvalidRequest) as caught:
            prepared(COHERE, aim(Mode.RERANK), query="q", documents=[{"image": "u"}])
        found = caught.exception
        self.assertEqual((found.param, found.retryable), ("documents.0", True))
        with self.assertRaises(InvalidRequest):
            prepared(COHERE, aim(Mode.RERANK), query="q", documents={"a": 1})
