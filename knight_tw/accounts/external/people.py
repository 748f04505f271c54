"""From a person elsewhere to an account here: found, made, bound.

The external id decides alone, never the name or address that comes with it. Two logins
of one new person at the same moment make one account: the second finds the first's.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import sqlalchemy as sa
from attrs import frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from knight_tw.accounts.access import default_sidebar
from knight_tw.accounts.external.policy import claim
from knight_tw.accounts.external.provider import NotAdmitted, Profile, Provider
from knight_tw.errors import KnightError
from knight_tw.options import Options
from knight_tw.records import ENABLED, ROLE_USER
from knight_tw.storage import external_queries, external_writes, user_queries
from knight_tw.storage.database import Database
from knight_tw.storage.external_queries import Owner
from knight_tw.storage.external_writes import IdentityTaken, Newcomer
from knight_tw.storage.user_queries import Identity
from knight_tw.storage.user_writes import NameTaken, NewAccount

log = Logger()

LONGEST_NAME, LONGEST_DISPLAY_NAME = 20, 20
LEAST_AGE = 90 * 86_400
"""Seconds that an account elsewhere must be old to take over a row that holds its user
name and does not know its own age."""


_NAME_TRIES = 10


class RegistrationClosed(KnightError):
    """The person has no account here, and nobody gets one now."""

    status, code = 403, "registration_closed"


@frozen
class Invitation:
    """Who brought a new account, and what both get for it."""

    inviter: Identity
    inviter_quota: int
    invitee_quota: int


@frozen
class Arrival:
    """A person at the door.

    Attributes:
        made: The account did not exist before.
        invitation: Of a new account that somebody invited.
        gift: Quota that a new account starts with, invitation apart.
        moved_name: A user name that was replaced by the id (older rows).
    """

    who: Identity
    made: bool = False
    gift: int = 0
    invitation: Invitation | None = None
    moved_name: str = ""


@frozen
class People:
    """Finds, makes and binds the accounts of people elsewhere."""

    _db: Database
    _options: Callable[[], Options]
    _clock: IReactorTime
    _random: random.Random

    async def arrived(
        self, provider: Provider, profile: Profile, aff_code: str = ""
    ) -> Arrival:
        """The account that the external one opens, made now if it may be.

        Args:
            aff_code: Referral code; counts for a new account.

        Raises:
            NotAdmitted: the account is disabled or deleted.
            RegistrationClosed: there is none, and none may be made.
        """
        known = await self._known(provider, profile)
        if known is not None:
            return known
        if not provider.registers:
            raise RegistrationClosed(
                f"no account is bound to this {provider.name} account yet"
            )
        if not self._options().flag("RegisterEnabled"):
            raise RegistrationClosed("registration is closed")
        return await self._made(provider, profile, aff_code)

    async def bind(self, provider: Provider, profile: Profile, user_id: int) -> None:
        """Let the external account open `user_id` from now on.

        Raises:
            IdentityTaken: it opens another one.
        """
        source, now = provider.source, self._now()
        named = None
        if provider.moves_names:
            named = await self._db.read(
                external_queries.owner_by_name, source, profile.username
            )
        if (
            named is not None
            and named.identity.id != user_id
            and self._is_theirs(profile, named)
        ):
            raise IdentityTaken("this external account belongs to another account")
        await self._db.run(external_writes.bind, source, profile.subject, user_id, now)

    async def _known(self, provider: Provider, profile: Profile) -> Arrival | None:
        found = await self._db.read(
            external_queries.owner, provider.source, profile.subject
        )
        if found is not None:
            return Arrival(_admitted(found.identity))
        if provider.moves_names:
            return await self._by_old_name(provider, profile)
        return None

    async def _by_old_name(
        self, provider: Provider, profile: Profile
    ) -> Arrival | None:
        """The account whose row holds the user name; it holds the id afterwards.

        User names can be given up and taken by somebody else: the account elsewhere
        must be older than ours.
        """
        found = await self._db.read(
            external_queries.owner_by_name, provider.source, profile.username
        )
        if found is None:
            return None
        if not self._is_theirs(profile, found):
            log.warn(
                "{slug} user {name} is younger than account {user_id} of that name",
                slug=provider.slug,
                name=profile.username,
                user_id=found.identity.id,
            )
            return None
        who = _admitted(found.identity)
        moved = await self._db.run(
            external_writes.move_name,
            provider.source,
            profile.username,
            profile.subject,
            who.id,
            self._now(),
        )
        if not moved:
            return None
        log.info(
            "account {user_id} is bound by id to {slug} user {name}",
            slug=provider.slug,
            name=profile.username,
            user_id=who.id,
        )
        return Arrival(who, moved_name=profile.username)

    def _is_theirs(self, profile: Profile, found: Owner) -> bool:
        began = _moment(claim(profile.claims, "created_at"))
        if began is None:
            return False
        if found.created_at:
            return began < found.created_at
        return began < self._now() - LEAST_AGE

    async def _made(
        self, provider: Provider, profile: Profile, aff_code: str
    ) -> Arrival:
        """The new account, or the one that another login of the person just made."""
        for _ in range(_NAME_TRIES):
            try:
                return await self._db.run(self._make, provider, profile, aff_code)
            except NameTaken:
                continue  # by somebody else at this moment; the next number is free
            except IdentityTaken:
                faster = await self._known(provider, profile)
                if faster is None:
                    raise
                return faster
        raise NameTaken("no free user name was found")

    def _make(
        self,
        connection: sa.Connection,
        provider: Provider,
        profile: Profile,
        aff_code: str,
    ) -> Arrival:
        """The new account, in a database thread.

        Raises:
            IdentityTaken, NameTaken: somebody was faster.
        """
        options = self._options()
        invitation = None
        inviter = external_queries.inviter(connection, aff_code)
        if inviter is not None:
            invitation = Invitation(
                inviter,
                options.integer("QuotaForInviter"),
                options.integer("QuotaForInvitee"),
            )
        new = Newcomer(
            account=_account(provider, profile, options, invitation),
            source=provider.source,
            subject=profile.subject,
            prefix=provider.prefix,
            inviter_quota=invitation.inviter_quota if invitation else 0,
        )
        user_id = external_writes.register(connection, new, self._random, self._now())
        who = user_queries.identity(connection, user_id)
        if who is None:
            raise KnightError("the new account is gone")
        return Arrival(who, True, options.integer("QuotaForNewUser"), invitation)

    def _now(self) -> int:
        return int(self._clock.seconds())


def _account(
    provider: Provider,
    profile: Profile,
    options: Options,
    invitation: Invitation | None,
) -> NewAccount:
    """What a new account starts with; it has no password."""
    setting = {"gotify_priority": 0, "sidebar_modules": default_sidebar(ROLE_USER)}
    invited = invitation.invitee_quota if invitation else 0
    return NewAccount(
        username=wished_name(profile.username),
        password="",
        display_name=_display_name(provider, profile),
        role=ROLE_USER,
        quota=options.integer("QuotaForNewUser") + invited,
        setting=msgspec.json.encode(setting).decode(),
        email=profile.email,
        inviter_id=invitation.inviter.id if invitation else 0,
    )


def wished_name(name: str) -> str:
    """The user name that a person brings, when it can be one here; else nothing.

    An address cannot: whoever logs in by address would find the name first.
    """
    usable = name and len(name) <= LONGEST_NAME and name.isprintable()
    return name if usable and "@" not in name else ""


def _display_name(provider: Provider, profile: Profile) -> str:
    name = "".join(filter(str.isprintable, profile.display_name)).strip()
    return (name or f"{provider.name} User")[:LONGEST_DISPLAY_NAME]


def _admitted(who: Identity) -> Identity:
    """The account, when it may be entered.

    Raises:
        NotAdmitted.
    """
    if who.deleted:
        raise NotAdmitted("the user has been deleted")
    if who.status != ENABLED:
        raise NotAdmitted("the account is disabled")
    return who


def _moment(text: object) -> float | None:
    """An ISO 8601 time as unix seconds; None for anything else."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
