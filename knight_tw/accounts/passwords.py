"""Password hashes: bcrypt, always in a thread of the CPU pool.

Stored hashes may be `$2a$`, `$2b$` or `$2y$`, as other programs write them; ours are
`$2a$` of cost 10, so that the database can be handed back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

import bcrypt
from attrs import field, frozen
from twisted.internet.defer import Deferred

from knight_tw.errors import InvalidRequest

T = TypeVar("T")

SHORTEST, LONGEST, LONGEST_BYTES = 8, 64, 72
"""Characters of a new password, and bytes of any: bcrypt looks at no more."""

COST = 10


class CpuPool(Protocol):
    """Runs a function in a thread that may be busy; never the reactor's own pool."""

    def __call__(self, work: Callable[..., T], *args: Any) -> Deferred[T]:
        """The result of `work(*args)`."""
        ...


class BadPassword(InvalidRequest):
    """A new password that is too short or too long."""

    code = "invalid_field"


def check_new(password: str, field: str = "password") -> None:
    """Returns when `password` may be set.

    Raises:
        BadPassword: outside of 8 to 64 characters, over 72 bytes, or with a NUL.
    """
    fits = SHORTEST <= len(password) <= LONGEST
    if not fits or len(password.encode("utf-8", "surrogatepass")) > LONGEST_BYTES:
        raise BadPassword(
            f"the password must have {SHORTEST} to {LONGEST} characters"
            f" and at most {LONGEST_BYTES} bytes",
            param=field,
        )
    if "\0" in password:
        raise BadPassword("the password must not contain a NUL", param=field)


@frozen
class Passwords:
    """Makes and checks password hashes without holding up the reactor."""

    _run: CpuPool
    _cost: int = COST
    _nobody: str = field(init=False)

    @_nobody.default
    def _unmatchable(self) -> str:
        # A well-formed hash of nothing anybody knows, of the cost that real ones have.
        return f"$2a${self._cost:02d}$" + "N" * 21 + "u" + "N" * 31

    async def hash(self, password: str) -> str:
        """The hash to store; the password was checked by `check_new`."""
        return await self._run(_hash, password, self._cost)

    async def matches(self, password: str, stored: str) -> bool:
        """True when `stored` is a hash of `password`.

        An empty or foreign `stored` never matches, and takes as long as one that could.
        """
        usable = stored.startswith(("$2a$", "$2b$", "$2y$"))
        matched = await self._run(
            _matches, password, stored if usable else self._nobody
        )
        return matched and usable


def _hash(password: str, cost: int) -> str:
    salt = bcrypt.gensalt(cost, prefix=b"2a")
    return bcrypt.hashpw(password.encode(), salt).decode()


def _matches(password: str, stored: str) -> bool:
    raw = password.encode("utf-8", "replace")
    try:
        matched = bcrypt.checkpw(raw[:LONGEST_BYTES], stored.encode())
    except ValueError:
        return False
    return matched and len(raw) <= LONGEST_BYTES
