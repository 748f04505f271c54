"""Tests of what a route does when its client leaves in the middle."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.auth import Viewer, Who, allow, mark


class Request:
    """As much of a request as the decorators look at."""

    def __init__(self, method: bytes) -> None:
        self.method = method


class Guard:
    """Lets everybody in."""

    async def admit(self, request: Any, who: Who) -> None:
        """The caller."""


class Surface:
    """Routes that write in two steps."""

    _guard = Guard()

    def __init__(self) -> None:
        self.first: Deferred[None] = Deferred()
        self.done: list[str] = []

    async def steps(self) -> bytes:
        """The second step must follow the first."""
        await self.first
        self.done.append("second")
        return b""

    @allow(Who.USER)  # type: ignore[arg-type]  # a guard of the test's own
    async def usual(self, request: Any, viewer: Viewer) -> bytes:
        """Goes by its method."""
        return await self.steps()

    @allow(Who.USER, finishes=True)  # type: ignore[arg-type]
    async def keeping(self, request: Any, viewer: Viewer) -> bytes:
        """Goes on, whatever its method."""
        return await self.steps()

    @allow(Who.USER, finishes=False)  # type: ignore[arg-type]
    async def stopping(self, request: Any, viewer: Viewer) -> bytes:
        """Stops, whatever its method."""
        return await self.steps()

    @mark(Who.ANYONE)
    async def public(self, request: Any) -> bytes:
        """Asks nobody who he is."""
        return await self.steps()


class LeavingTests(SynchronousTestCase):
    """The client leaves between two steps."""

    def after(self, route: str, method: bytes) -> list[str]:
        """What is done of a route whose client left."""
        surface = Surface()
        work = getattr(surface, route)(Request(method))
        answer = Deferred.fromCoroutine(work)
        answer.cancel()
        if not surface.first.called:
            surface.first.callback(None)
        self.failureResultOf(answer, CancelledError)
        return surface.done

    def test_writes_go_on(self) -> None:
        """What is not a reading goes on to its end."""
        for route in ("usual", "keeping", "public"):
            for method in (b"POST", b"PUT", b"DELETE"):
                self.assertEqual(self.after(route, method), ["second"], route)

    def test_readings_stop(self) -> None:
        """Nobody needs the answer."""
        self.assertEqual(self.after("usual", b"GET"), [])
        self.assertEqual(self.after("public", b"GET"), [])

    def test_said_otherwise(self) -> None:
        """A route may know better."""
        self.assertEqual(self.after("keeping", b"GET"), ["second"])
        self.assertEqual(self.after("stopping", b"POST"), [])
