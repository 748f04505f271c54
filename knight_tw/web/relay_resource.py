"""The relay as a resource of the general lane."""

from __future__ import annotations

from attrs import frozen
from twisted.web.resource import IResource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from knight_tw.protocols.reply import Surface
from knight_tw.protocols.web_reply import ClientAddress, serve


@implementer(IResource)
@frozen(eq=False, slots=False)
class RelayResource:
    """Answers every path below it as the fast lane would."""

    _surface: Surface
    _body_limit: int
    _client_address: ClientAddress
    isLeaf = True

    def render(self, request: Request) -> int:
        """Begin a call; the answer comes when it comes."""
        serve(request, self._surface, self._body_limit, self._client_address)
        return NOT_DONE_YET

    def getChildWithDefault(self, name: bytes, request: Request) -> IResource:
        """Itself, whatever the path."""
        return self

    def putChild(self, path: bytes, child: IResource) -> None:
        """A leaf has no children."""
        raise TypeError("the relay has no children")
