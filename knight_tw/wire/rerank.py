"""Reranking: the client's request, and answers in one layout (specification, 7.17).

The layout is Jina's and Cohere's: `results` of `{index, relevance_score, document}`,
the best first. Providers differ in whether a document comes back, and as what; the
client gets it as it asked: `return_documents` true or false, or as the provider likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from knight_tw.errors import BadUpstreamBody
from knight_tw.wire import top
from knight_tw.wire.answers import UNREADABLE, objects
from knight_tw.wire.usage import first_count


def validate(body: Mapping[str, Any]) -> None:
    """Refuse a request without a query or documents.

    Raises:
        InvalidRequest: `param` is the member that is missing.
    """
    top.require(body, "query")
    top.require(body, "documents")


def text_of(document: Any) -> str | None:
    """The text of a client's document, None for a picture or what is none."""
    if isinstance(document, Mapping):
        document = document.get("text")
    return document if isinstance(document, str) else None


def to_client(
    answer: Mapping[str, Any],
    *,
    model: str,
    documents: Sequence[Any] = (),
    return_documents: bool | None = None,
) -> dict[str, Any]:
    """A provider's answer in the common layout; members that nobody knows stay.

    The usage is left out when the provider reported no tokens.

    Args:
        model: The name to show when the provider shows none.
        documents: The client's own, for providers that give none back.
        return_documents: What the client said about them, None when nothing.

    Raises:
        BadUpstreamBody: there are no results.
    """
    found = answer.get("results", answer.get("data"))
    if not isinstance(found, list):
        raise BadUpstreamBody(UNREADABLE)
    results = [_result(row, documents, return_documents) for row in objects(found)]
    own = {k: v for k, v in answer.items() if k not in ("data", "usage", "results")}
    own["model"] = own.get("model") or model
    own["results"] = results
    usage = _usage(answer)
    return own if usage is None else {**own, "usage": usage}


def _result(
    row: Mapping[str, Any], documents: Sequence[Any], wanted: bool | None
) -> dict[str, Any]:
    own = {k: v for k, v in row.items() if k not in ("document", "score")}
    own.setdefault("relevance_score", row.get("score"))
    if wanted is False:
        return own
    given = row.get("document")
    index = row.get("index")
    known = isinstance(index, int) and 0 <= index < len(documents)
    if not given and wanted and isinstance(index, int) and known:
        given = documents[index]
    if given:
        own["document"] = {"text": given} if isinstance(given, str) else given
    return own


def _usage(answer: Mapping[str, Any]) -> dict[str, Any] | None:
    """All tokens of a rerank are the prompt's; None when none are reported."""
    for place in (_object(answer, "usage"), _tokens(answer)):
        count = first_count(place, "total_tokens", "prompt_tokens", "input_tokens")
        if count:
            return {**place, "prompt_tokens": count, "total_tokens": count}
    return None


def _tokens(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The counts in a `meta` like Cohere's; a search unit has no tokens."""
    meta = _object(answer, "meta")
    for name in ("tokens", "billed_units"):
        count = first_count(_object(meta, name), "input_tokens", "total_tokens")
        if count:
            return {"total_tokens": count}
    return {}


def _object(obj: Mapping[str, Any], name: str) -> dict[str, Any]:
    value = obj.get(name)
    return dict(value) if isinstance(value, Mapping) else {}
