"""Request bodies with their `Content-Encoding` undone (relay specification, 15), and
the forms in them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred

from knight_tw.errors import BodyUnreadable
from knight_tw.protocols.coding import CodingError, TooLarge, UnknownCoding, decoded
from knight_tw.wire import forms
from knight_tw.wire.forms import Form

AT_ONCE = 32 * 1024
"""Compressed bytes up to which a body is decoded on the spot; more go to a thread."""

READ_AT_ONCE = 1024 * 1024
"""The same for forms, in which boundaries are looked for."""

InThread = Callable[..., Deferred[Any]]
"""Runs a function in a thread for work that only takes processor time."""


@frozen(eq=False)
class Inflater:
    """Decodes bodies up to `limit` bytes."""

    _in_thread: InThread
    _limit: int

    async def __call__(self, body: bytes, coding: str) -> bytes:
        """The body in the clear.

        Raises:
            BodyUnreadable: 415 unknown coding, 413 too large, 400 broken.
        """
        try:
            if len(body) <= AT_ONCE:
                return decoded(body, coding, self._limit)
            inflated: bytes = await self._in_thread(decoded, body, coding, self._limit)
            return inflated
        except UnknownCoding as error:
            raise BodyUnreadable(str(error), status=415) from None
        except TooLarge as error:
            raise BodyUnreadable(str(error), status=413) from None
        except CodingError as error:
            raise BodyUnreadable(str(error)) from None

    async def form(self, body: bytes, content_type: str) -> Form:
        """The form in a body.

        Raises:
            InvalidRequest: it cannot be read.
        """
        if len(body) <= READ_AT_ONCE:
            return forms.read(body, content_type)
        found: Form = await self._in_thread(forms.read, body, content_type)
        return found
