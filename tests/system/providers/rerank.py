"""Rerankers: Cohere's second version and Jina. A document's score is its length."""

from __future__ import annotations

from collections.abc import Iterator

from tests.system.providers.heard import Heard, Json
from tests.system.providers.shapes import Shape

PATHS = {"/v2/rerank": "cohere", "/v1/rerank": "jina"}
REQUIRED = frozenset({"model", "query", "documents"})
SHAPES = {
    "cohere": Shape(REQUIRED | {"top_n", "max_tokens_per_doc", "priority"}, REQUIRED),
    "jina": Shape(REQUIRED | {"top_n", "return_documents", "truncation"}, REQUIRED),
}
TOKENS = 40
"""What Jina says each request used; Cohere counts searches."""


def check(body: Json) -> list[str]:
    """Why the provider refuses the request; empty when it does not."""
    return [*_checked(body)]


def _checked(body: Json) -> Iterator[str]:
    yield from SHAPES[body["provider"]].faults(
        {name: value for name, value in body.items() if name != "provider"}, "body"
    )
    if not all(isinstance(one, str) for one in body.get("documents") or ()):
        yield "documents: texts only"


def read(body: Json) -> Heard:
    """Only the model: these are no conversations."""
    return Heard(model=body["model"])


def answer(body: Json) -> Json:
    """The documents by score, the longest first, no more than asked for."""
    documents = body["documents"]
    order = sorted(range(len(documents)), key=lambda n: -len(documents[n]))
    results: list[Json] = [
        {"index": n, "relevance_score": len(documents[n]) / 100}
        for n in order[: body.get("top_n") or len(documents)]
    ]
    if body["provider"] == "cohere":
        units = {"billed_units": {"search_units": 1}, "api_version": {"version": "2"}}
        return {"id": "rerank-1", "results": results, "meta": units}
    for result in results:
        result["document"] = {"text": documents[result["index"]]}
    usage = {"total_tokens": TOKENS, "prompt_tokens": TOKENS}
    return {
        "model": body["model"],
        "object": "list",
        "usage": usage,
        "results": results,
    }


def failure(status: int, message: str) -> Json:
    """The body of an error."""
    return {"message": message}
