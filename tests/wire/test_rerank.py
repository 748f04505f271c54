"""Reranking: requests and the common layout of answers."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import BadUpstreamBody, InvalidRequest
from knight_tw.wire import rerank, top

DOCUMENTS = ["zero", {"text": "one"}, {"image": "u"}]


def results(row: dict[str, Any], wanted: bool | None = None) -> dict[str, Any]:
    """The one result of an answer, as the client gets it."""
    answer = rerank.to_client(
        {"results": [row]}, model="m", documents=DOCUMENTS, return_documents=wanted
    )
    (own,) = answer["results"]
    assert isinstance(own, dict)
    return own


class Requests(SynchronousTestCase):
    """What clients send."""

    def test_validate(self) -> None:
        """A query and documents are needed."""
        rerank.validate(top.read_top(b'{"query":"q","documents":["d"]}'))
        for body, param in (
            (b'{"documents":["d"]}', "query"),
            (b'{"query":"q","documents":[]}', "documents"),
        ):
            with self.assertRaises(InvalidRequest) as caught:
                rerank.validate(top.read_top(body))
            self.assertEqual(caught.exception.param, param)

    def test_text(self) -> None:
        """A document is a text, or an object with one."""
        found = [rerank.text_of(document) for document in (*DOCUMENTS, 5)]
        self.assertEqual(found, ["zero", "one", None, None])


class Answers(SynchronousTestCase):
    """`to_client`."""

    def test_as_the_provider_likes(self) -> None:
        """A client that says nothing gets what the provider gives; texts as objects."""
        row = {"index": 0, "relevance_score": 0.5}
        self.assertEqual(results(row), row)
        self.assertEqual(results({**row, "document": ""}), row)
        expected = {**row, "document": {"text": "d"}}
        self.assertEqual(results({**row, "document": "d"}), expected)
        self.assertEqual(results(expected), expected)

    def test_no_documents(self) -> None:
        """Who does not want documents gets none."""
        row = {"index": 0, "relevance_score": 0.5}
        self.assertEqual(results({**row, "document": "d"}, False), row)

    def test_own_documents(self) -> None:
        """Where the provider gives none, the client's own are put in."""
        for index, document in (
            (0, {"text": "zero"}),
            (1, {"text": "one"}),
            (2, {"image": "u"}),
        ):
            row = {"index": index, "relevance_score": 1, "document": ""}
            self.assertEqual(results(row, True)["document"], document)
        for index in (3, -1, "x"):
            row = {"index": index, "relevance_score": 1}
            self.assertNotIn("document", results(row, True))

    def test_other_layouts(self) -> None:
        """`data` and `score` are other names; members that nobody knows stay."""
        answer = rerank.to_client(
            {"id": "i", "data": [{"index": 1, "score": 0.25, "x": 1}], "model": "own"},
            model="m",
        )
        result = {"index": 1, "x": 1, "relevance_score": 0.25}
        self.assertEqual(answer, {"id": "i", "model": "own", "results": [result]})

    def test_usage(self) -> None:
        """Tokens from wherever they stand; without any there is no usage."""
        both = {"prompt_tokens": 7, "total_tokens": 7}
        for more, usage in (
            ({"usage": {"total_tokens": 7}}, both),
            ({"usage": {"prompt_tokens": 7, "x": 1}}, {**both, "x": 1}),
            ({"meta": {"tokens": {"input_tokens": 7}}}, both),
            ({"meta": {"billed_units": {"input_tokens": 7, "search_units": 1}}}, both),
            ({"meta": {"billed_units": {"search_units": 1}}}, None),
            ({"usage": {"total_tokens": 0}}, None),
            ({}, None),
        ):
            answer = rerank.to_client({"results": [], **more}, model="m")
            self.assertEqual(answer.get("usage"), usage)
            self.assertEqual(answer["model"], "m")

    def test_unreadable(self) -> None:
        """An answer without results is none."""
        with self.assertRaises(BadUpstreamBody):
            rerank.to_client({"results": {}}, model="m")
