"""What the two lanes offer a call, and what a call offers the lanes.

The relay speaks only to `Reply`; the listening protocol and the `twisted.web` resource
each have one. `Surface` is the other direction: who answers the paths that a lane does
not answer itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from twisted.internet.interfaces import IPushProducer

from knight_tw.errors import KnightError
from knight_tw.records import Head

Headers = list[tuple[str, str]]


class Reply(Protocol):
    """Where one answer is written. After `gone` every method is silent."""

    @property
    def begun(self) -> bool:
        """True once a byte of the answer's head has been written."""
        ...

    @property
    def gone(self) -> bool:
        """True once the client has left."""
        ...

    def whole(self, status: int, headers: Headers, body: bytes) -> None:
        """The complete answer with its `Content-Length`, in one write."""
        ...

    def begin(self, status: int, headers: Headers) -> None:
        """The head of an answer whose length is unknown (chunked for HTTP/1.1)."""
        ...

    def write(self, chunk: bytes) -> None:
        """A piece of the body, given to the kernel at once when it takes it."""
        ...

    def end(self) -> None:
        """The answer is complete."""
        ...

    def abort(self) -> None:
        """The answer cannot be completed: the connection is cut."""
        ...

    def on_gone(self, told: Callable[[], None]) -> None:
        """`told()` is called once when the client leaves before `end` or `whole`."""
        ...

    def attach(self, producer: IPushProducer) -> None:
        """`producer` is paused while the client reads too slowly, until `end`."""
        ...


class Exchange(Protocol):
    """One request on its way in."""

    def body(self, whole: bytes) -> None:
        """The request body has arrived (transfer coding undone, content coding not)."""
        ...

    def refuse(self, error: KnightError) -> None:
        """The body cannot be had (too large, broken framing): answer `error`."""
        ...


class Surface(Protocol):
    """The relay, as the listening protocol sees it."""

    def claims(self, path: str) -> bool:
        """True when the fast lane answers this path, whatever the method."""
        ...

    def open(self, head: Head, reply: Reply) -> Exchange:
        """Begin a call from its head alone; the credential is checked here.

        The answer may be written before the body has come; the lane then closes the
        connection after it.
        """
        ...
