"""The set-up wizard (`/api/setup`): open to everybody until it has run once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from attrs import frozen
from klein import Klein
from twisted.web.server import Request

from knight_tw.accounts.first_start import LONGEST_NAME, FirstStart
from knight_tw.options import OptionRefused, Options
from knight_tw.web.api.answers import (
    Refusal,
    flag,
    install,
    invalid,
    json_body,
    ok,
    text,
)
from knight_tw.web.auth import Who, mark

Changed = Callable[[str, str], Awaitable[None]]
"""Told (kind, reference) of a write that caches must learn of."""

_ENGINES = {"postgresql": "postgres"}
"""Names of engines that the reference writes differently."""


@frozen(eq=False)
class SetupApi:
    """The routes of the wizard.

    Args:
        engine: The main database: `sqlite`, `mysql` or `postgresql`.
    """

    _start: FirstStart
    _engine: str
    _options: Callable[[], Options]
    _changed: Changed

    app = Klein()
    install(app)

    @app.route("/api/setup", methods=["GET"])
    @mark(Who.ANYONE)
    async def state(self, request: Request) -> bytes:
        """Whether the wizard has run; before that also what it would find."""
        if await self._start.done():
            found = {"status": True, "root_init": False, "database_type": ""}
        else:
            found = {
                "status": False,
                "root_init": await self._start.root_exists(),
                "database_type": _ENGINES.get(self._engine, self._engine),
            }
        return ok(found, message=None)

    @app.route("/api/setup", methods=["POST"])
    @mark(Who.ANYONE)
    async def run(self, request: Request) -> bytes:
        """Make root, unless there is one, and set the gateway up."""
        if await self._start.done():
            raise Refusal("the gateway is already set up", code="already_exists")
        body = json_body(request)
        options = {
            name: "true" if flag(body, name, False) else "false"
            for name in ("SelfUseModeEnabled", "DemoSiteEnabled")
        }
        address = text(body, "ServerAddress", "")
        if address:
            options["ServerAddress"] = self._checked("ServerAddress", address)
        username = password = ""
        if not await self._start.root_exists():
            username = text(body, "username").strip()
            password = text(body, "password")
            if not 1 <= len(username) <= LONGEST_NAME:
                raise invalid("username", f"1 to {LONGEST_NAME} characters")
            if password != text(body, "confirmPassword", ""):
                raise Refusal(
                    "the two passwords differ", params={"field": "confirmPassword"}
                )
        await self._start.complete(username, password, options)
        await self._changed("option", "")
        return ok(message="the gateway is set up")

    def _checked(self, key: str, value: str) -> str:
        try:
            return self._options().check(key, value)
        except OptionRefused as refused:
            raise invalid(key, refused.message) from None
