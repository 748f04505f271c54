"""The first start: an administrator, and the options that the set-up decides.

Done by the wizard (`POST /api/setup`), or by `INITIAL_ROOT_PASSWORD`, or not at all
when the database already has a root user.
"""

from __future__ import annotations

import re

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.accounts.passwords import BadPassword, Passwords, check_new
from knight_tw.errors import InvalidRequest
from knight_tw.records import ROLE_ROOT
from knight_tw.settings import Settings
from knight_tw.storage import setup_queries, user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.setup_queries import AlreadySetUp, SetUp
from knight_tw.storage.user_writes import NewAccount

log = Logger()

ROOT_QUOTA = 100_000_000
FIRST_OPTIONS = {"RetryTimes": "2"}
"""Better starting values than the defaults, which old databases rely on."""

LONGEST_NAME = 12
_TOKEN_KEY = re.compile(r"[0-9A-Za-z]{48}\Z")


@define
class FirstStart:
    """Knows whether the gateway is set up, and sets it up once."""

    _db: Database
    _passwords: Passwords
    _clock: IReactorTime
    _version: str
    _done: bool = field(default=False, init=False)

    async def done(self) -> bool:
        """True once somebody, here or in another process, has set the gateway up."""
        if not self._done:
            self._done = await self._db.read(setup_queries.is_set_up)
        return self._done

    async def root_exists(self) -> bool:
        """True when there is a root user already."""
        return await self._db.read(user_queries.root_exists)

    async def begin(self, settings: Settings, address: str) -> bool:
        """True when the gateway is set up; else the log says how to do it.

        A database with a root user counts as set up. `INITIAL_ROOT_PASSWORD` makes one.

        Args:
            address: Where the wizard can be reached, for the log.
        """
        try:
            adopted = await self._db.run(
                setup_queries.adopt, self._version, int(self._clock.seconds())
            )
        except AlreadySetUp:
            adopted = True
        self._done = adopted
        if not adopted and settings.initial_root_password:
            await self._from_settings(settings)
        if not self._done:
            log.warn("not set up yet: open {address} to make root", address=address)
        return self._done

    async def _from_settings(self, settings: Settings) -> None:
        key = settings.initial_root_token.removeprefix("sk-")
        if key and not _TOKEN_KEY.match(key):
            raise InvalidRequest("INITIAL_ROOT_TOKEN: expected 48 letters and digits")
        try:
            await self.complete(
                "root",
                settings.initial_root_password,
                {},
                access_token=settings.initial_root_access_token or None,
                token_key=key,
            )
        except AlreadySetUp:
            self._done = True
            return
        except BadPassword as error:
            raise InvalidRequest(f"INITIAL_ROOT_PASSWORD: {error.message}") from None
        log.info("the user root was made from INITIAL_ROOT_PASSWORD")

    async def complete(
        self,
        username: str,
        password: str,
        options: dict[str, str],
        *,
        access_token: str | None = None,
        token_key: str = "",
    ) -> int:
        """Set the gateway up; the id of the root account made, 0 when there was one.

        Args:
            username, password: Empty when a root user exists.
            options: Keys and checked texts to write besides `FIRST_OPTIONS`.

        Raises:
            BadPassword: too short or too long.
            AlreadySetUp: somebody was faster.
        """
        root = None
        if username:
            root = await self._root(username, password, access_token)
        made = await self._db.run(
            setup_queries.complete,
            SetUp(
                root=root,
                rows=options,
                first_rows=FIRST_OPTIONS,
                version=self._version,
                now=int(self._clock.seconds()),
                token_key=token_key,
            ),
        )
        self._done = True
        log.info("the gateway is set up")
        return made

    async def _root(
        self, username: str, password: str, access_token: str | None
    ) -> NewAccount:
        check_new(password)
        return NewAccount(
            username=username,
            password=await self._passwords.hash(password),
            display_name="Root User",
            role=ROLE_ROOT,
            quota=ROOT_QUOTA,
            access_token=access_token,
        )
