"""Reranking with any provider: Cohere's request, and every answer in one layout."""

from __future__ import annotations

from typing import Any

from knight_tw.errors import InvalidRequest, UnsupportedContent
from knight_tw.providers.provider import Body, Target
from knight_tw.wire import rerank, top

TAKEN = ("query", "top_n", "max_tokens_per_doc", "priority")
"""Members of Cohere's request, version 2, beside the model and the documents."""

TAKEN_V1 = ("query", "top_n", "max_chunks_per_doc", "rank_fields", "return_documents")


def to_client(answer: dict[str, Any], target: Target) -> dict[str, Any]:
    """The answer in the layout of Jina and Cohere, with the documents as asked for.

    Raises:
        BadUpstreamBody: there are no results in it.
    """
    asked = dict(target.asked)
    documents = top.plain(asked, "documents")
    wanted = top.plain(asked, "return_documents")
    return rerank.to_client(
        answer,
        model=target.model,
        documents=documents if isinstance(documents, list) else (),
        return_documents=wanted if isinstance(wanted, bool) else None,
    )


def rewrite_cohere(body: Body, target: Target, version: str) -> None:
    """Cohere's request, in place; version 2 takes texts alone.

    Raises:
        InvalidRequest: `documents` is no list of texts and objects.
        UnsupportedContent: a document is a picture.
    """
    documents = top.plain(body, "documents")
    if not isinstance(documents, list):
        raise InvalidRequest("documents must be a list", param="documents")
    taken = TAKEN_V1 if version == "v1" else TAKEN
    own = {name: body[name] for name in taken if name in body}
    for name in body:
        if name not in (*own, "model", "documents", "return_documents"):
            target.dropped.append(name)
    body.clear()
    body.update(model=target.model, documents=_texts(documents), **own)


def _texts(documents: list[Any]) -> list[str]:
    texts = []
    for index, document in enumerate(documents):
        text = rerank.text_of(document)
        if text is None:
            raise UnsupportedContent(
                "the provider of this model ranks texts only",
                param=f"documents.{index}",
                retryable=True,
            )
        texts.append(text)
    return texts
