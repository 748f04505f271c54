"""From a relay credential to a `Caller`: who makes the call and in which group.

Tokens and their owners are kept in a bounded memory keyed by the SHA-256 of the key, so
that a call costs no database. An entry is dropped when its token or user is announced
as changed, and read again after `SYNC_FREQUENCY`. What a call may *spend* is decided by
the ledger, which is told each fresh reading.

Checks and their order: relay specification, section 4.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from knight_tw.accounts.credentials import Credential
from knight_tw.errors import (
    AccessDenied,
    GroupDenied,
    GroupDeprecated,
    InvalidKey,
    InvalidRequest,
    KnightError,
    QuotaExhausted,
    TokenExpired,
    UserDisabled,
)
from knight_tw.options import Options
from knight_tw.records import (
    DISABLED,
    ENABLED,
    ROLE_ADMIN,
    TOKEN_EXHAUSTED,
    TOKEN_EXPIRED,
    Caller,
    Channel,
    Token,
    User,
)
from knight_tw.storage import tokens as stored_tokens
from knight_tw.storage.database import Database

AUTO = "auto"


class Purse(Protocol):
    """What the ledger offers here: it is told balances and tells what is left."""

    def moment(self) -> int:
        """A mark to be taken before a reading begins."""
        ...

    def learn(
        self,
        user_id: int,
        quota: int,
        token_id: int,
        remain: int,
        unlimited: bool,
        began: int | None = None,
    ) -> None:
        """A fresh reading of both balances."""
        ...

    def token_left(self, token_id: int) -> int | None:
        """What the token has left, None when unknown."""
        ...


class View(Protocol):
    """The snapshots that decide about groups and pins."""

    @property
    def options(self) -> Options:
        """Today's options."""
        ...

    @property
    def channels(self) -> Mapping[int, Channel]:
        """All channels by id."""
        ...


@define(eq=False)
class _Known:
    """One remembered credential, with its caller as of one options snapshot."""

    token: Token
    user: User | None
    read_at: float
    options: Options | None = None
    caller: Caller | None = None


@define
class Callers:
    """Admits relay calls. `admit` answers at once for a remembered key."""

    _db: Database
    _view: View
    _purse: Purse
    _clock: IReactorTime
    _expired: Callable[[int, int], None]
    """Told (token id, status) when a token is found expired or exhausted."""
    _max_age: float = 60.0
    _limit: int = 100_000
    _known: OrderedDict[bytes, _Known] = field(factory=OrderedDict)
    _reading: dict[bytes, list[Deferred[_Known]]] = field(factory=dict)

    def admit(self, credential: Credential, client: str) -> Caller | Deferred[Caller]:
        """The caller behind a credential, after every check.

        Raises (or the Deferred fails with):
            InvalidKey, TokenExpired, QuotaExhausted, AccessDenied, UserDisabled,
            GroupDenied, GroupDeprecated, InvalidRequest, DatabaseAway.
        """
        digest = sha256(credential.key.encode()).digest()
        known = self._known.get(digest)
        if known is None or self._clock.seconds() - known.read_at > self._max_age:
            return Deferred.fromCoroutine(self._admit(digest, credential, client))
        self._known.move_to_end(digest)
        return self._check(known, credential, client)

    async def _admit(
        self, digest: bytes, credential: Credential, client: str
    ) -> Caller:
        known = await self._read(digest, credential.key)
        return self._check(known, credential, client)

    async def holder(self, credential: Credential) -> tuple[Token, User]:
        """Token and owner for reading only: expired and exhausted ones are accepted.

        Raises:
            InvalidKey: unknown or disabled. UserDisabled: the owner may not act.
        """
        digest = sha256(credential.key.encode()).digest()
        known = await self._read(digest, credential.key)
        if known.token.status == DISABLED:
            raise InvalidKey("this API key is disabled")
        return known.token, _owner(known)

    def forget(self, *, user_id: int = 0, token_id: int = 0) -> None:
        """Drop what is remembered of one user, one token, or (both 0) everything."""
        if not (user_id or token_id):
            self._known.clear()
            return
        stale = [
            digest
            for digest, known in self._known.items()
            if known.token.id == token_id or known.token.user_id == user_id
        ]
        for digest in stale:
            del self._known[digest]

    async def _read(self, digest: bytes, key: str) -> _Known:
        """The row from the database; many calls with one new key read it once."""
        waiting = self._reading.get(digest)
        if waiting is not None:
            mine: Deferred[_Known] = Deferred()
            waiting.append(mine)
            return await mine
        self._reading[digest] = []
        try:
            known = await self._load(digest, key)
        except BaseException as error:
            for waiter in self._reading.pop(digest):
                waiter.errback(error)
            raise
        for waiter in self._reading.pop(digest):
            waiter.callback(known)
        return known

    async def _load(self, digest: bytes, key: str) -> _Known:
        began = self._purse.moment()
        found = await self._db.read(stored_tokens.find_by_key, key)
        if found is None:
            self._known.pop(digest, None)
            raise InvalidKey("invalid API key")
        token, user = found
        if user is not None:
            self._purse.learn(
                user.id,
                user.quota,
                token.id,
                token.remain_quota,
                token.unlimited_quota,
                began,
            )
        known = _Known(token, user, self._clock.seconds())
        self._known[digest] = known
        self._known.move_to_end(digest)
        while len(self._known) > self._limit:
            self._known.popitem(last=False)
        return known

    def _check(self, known: _Known, credential: Credential, client: str) -> Caller:
        """Every check of the specification's table, then the caller."""
        token = known.token
        self._check_token(token)
        if token.allow_ips and not _allowed(client, token.allow_ips):
            raise AccessDenied("this API key may not be used from your address")
        owner = _owner(known)
        options = self._view.options
        caller = known.caller
        if caller is None or known.options is not options:
            caller = known.caller = _caller(owner, token, options)
            known.options = options
        if not credential.pin:
            return caller
        return self._pinned(caller, credential.pin)

    def _check_token(self, token: Token) -> None:
        """Status, time and remainder of a token."""
        if token.status != ENABLED:
            raise _refusal(token.status)
        if token.expired_time != -1 and token.expired_time < self._clock.seconds():
            self._expired(token.id, TOKEN_EXPIRED)
            raise _refusal(TOKEN_EXPIRED)
        if token.unlimited_quota:
            return
        left = self._purse.token_left(token.id)
        if (token.remain_quota if left is None else left) <= 0:
            self._expired(token.id, TOKEN_EXHAUSTED)
            raise _refusal(TOKEN_EXHAUSTED)

    def _pinned(self, caller: Caller, pin: str) -> Caller:
        if caller.user.role < ROLE_ADMIN:
            raise AccessDenied("only administrators may choose a channel")
        channel = self._view.channels.get(int(pin)) if pin.isdecimal() else None
        if channel is None:
            raise InvalidRequest("invalid channel id")
        if channel.status != ENABLED:
            raise AccessDenied("the channel is disabled")
        return Caller(
            caller.user, caller.token, caller.group, caller.auto_groups, channel.id
        )


def _owner(known: _Known) -> User:
    if known.user is None or known.user.status != ENABLED:
        raise UserDisabled("the owner of this API key is disabled")
    return known.user


def _refusal(status: int) -> KnightError:
    if status == TOKEN_EXPIRED:
        return TokenExpired("this API key has expired")
    if status == TOKEN_EXHAUSTED:
        return QuotaExhausted("this API key has used up its quota")
    return InvalidKey("this API key is disabled")


def _caller(user: User, token: Token, options: Options) -> Caller:
    """The effective group of a token (relay specification, section 4, end)."""
    usable = usable_groups(user.group, options)
    if token.group and token.group not in usable and token.group != AUTO:
        raise GroupDenied(f"you may not use the group {token.group}")
    group = token.group or user.group
    if group == AUTO:
        walk = auto_groups(token.auto_groups, usable, options)
        if not walk:
            raise GroupDenied("no group that you may use is in the automatic list")
        return Caller(user, token, group, walk)
    if token.group and token.group not in options.json("GroupRatio"):
        raise GroupDeprecated(f"the group {token.group} no longer exists")
    return Caller(user, token, group)


def usable_groups(user_group: str, options: Options) -> dict[str, str]:
    """Groups an account of `user_group` may use, with their descriptions.

    The global map, changed by the special entries for the group (`-:name` removes,
    `+:name` or `name` adds), plus the account's own group.
    """
    usable: dict[str, str] = dict(options.json("UserUsableGroups"))
    usable.setdefault(user_group, user_group)
    special = options.json("group_ratio_setting.group_special_usable_group")
    for name, text in special.get(user_group, {}).items():
        if name.startswith("-:"):
            usable.pop(name[2:], None)
        else:
            usable[name.removeprefix("+:")] = text
    return usable


def auto_groups(
    own: Sequence[str], usable: Mapping[str, str], options: Options
) -> tuple[str, ...]:
    """The ordered groups that `auto` walks: the token's own list, else the global one,
    filtered by what the owner may use now."""
    if own:
        most = options.integer("MaxTokenAutoGroups")
        return tuple(g for g in own if g in usable)[:most]
    return tuple(g for g in options.json("AutoGroups") if g in usable)


def _allowed(client: str, entries: Sequence[str]) -> bool:
    """True when an address or network of the list holds the client's address."""
    try:
        address = ipaddress.ip_address(client)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any(_holds(entry, mapped or address) for entry in entries)


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False
