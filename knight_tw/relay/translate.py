"""How one attempt speaks to its provider: the request body, and the way back.

A `Translation` is a pure value made per attempt from the client's call and the target.
Between equal dialects the bytes stay; between others `convert` does the work.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen

from knight_tw.protocols.body import Machine
from knight_tw.records import Usage
from knight_tw.wire.produced import Produced


@frozen(eq=False)
class Whole:
    """An answer that came in one piece, ready for the client.

    Attributes:
        body: What the client gets.
        usage: What the provider reported, None when nothing or only zeros.
        produced: What is counted when nothing was reported.
        content_type: Of the body; empty = JSON.
        verbatim: The body is the provider's own, and so is its content type.
        tells_usage: Clients read the usage: one that was counted is written into it.
    """

    body: bytes
    usage: Usage | None
    produced: Produced
    content_type: str = ""
    verbatim: bool = False
    tells_usage: bool = False


class Translation(Protocol):
    """One attempt's formats."""

    def whole(self, answer: bytes) -> Whole:
        """The client's form of a complete answer.

        Raises:
            BadUpstreamBody: it cannot be parsed.
            UpstreamRefused, EmptyAnswer: it is an error, or nothing.
        """
        ...

    def assembled(self, stream: bytes) -> Whole:
        """The same, of a complete stream of server-sent events nobody asked for."""
        ...

    def restreamed(self, whole: Whole) -> bytes:
        """The client's event stream for an answer that should have been streamed."""
        ...

    def machine(self) -> Machine:
        """A fresh machine for a streamed answer."""
        ...
