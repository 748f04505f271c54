"""Dashboard sessions: rows of `user_sessions`.

A session lives while its status is `active`, its time is not over, and the
`auth_version` that it was made with is still its owner's. Only a hash of the refresh
secret is stored; each rotation keeps the previous one valid for a moment, so that two
tabs that refresh at once both succeed.
"""

from __future__ import annotations

import enum
from typing import Any

import sqlalchemy as sa
from attrs import frozen

from knight_tw.records import ENABLED
from knight_tw.storage.schema import user_sessions as sessions
from knight_tw.storage.schema import users
from knight_tw.storage.user_queries import Identity, identity

ACTIVE, REVOKED = "active", "revoked"
REUSED = "refresh_reused"
"""`revoked_reason` of a session whose old refresh secret came back too late."""

_USER_AGENT_LENGTH, _IP_LENGTH = 512, 64


@frozen
class Session:
    """A row of `user_sessions`, without its secrets."""

    sid: str
    user_id: int
    version: int
    user_auth_version: int
    status: str
    login_method: str
    ip: str
    user_agent: str
    created_at: int
    last_active_at: int
    expires_at: int

    def alive(self, now: int) -> bool:
        """True while neither revoked nor over."""
        return self.status == ACTIVE and self.expires_at > now


@frozen
class Quotas:
    """How many sessions one user may have.

    Attributes:
        active: Sessions alive at once.
        issued: Sessions made within the last `window` seconds.
    """

    active: int
    issued: int
    window: int


class Issue(enum.Enum):
    """What became of a new session."""

    MADE = "made"
    TOO_MANY_ACTIVE = "too many active"
    TOO_MANY_ISSUED = "too many issued"


def issue(
    connection: sa.Connection, session: Session, refresh_hash: str, quotas: Quotas
) -> Issue:
    """Insert a session unless its owner has too many; nothing is written otherwise."""
    now, mine = session.created_at, sessions.c.user_id == session.user_id
    alive = _count(connection, mine, *_alive(now))
    if alive >= quotas.active:
        return Issue.TOO_MANY_ACTIVE
    recent = sessions.c.created_at > now - quotas.window
    if _count(connection, mine, recent) >= quotas.issued:
        return Issue.TOO_MANY_ISSUED
    connection.execute(
        sa.insert(sessions).values(
            sid=session.sid,
            user_id=session.user_id,
            version=session.version,
            user_auth_version=session.user_auth_version,
            status=session.status,
            refresh_hash=refresh_hash,
            previous_refresh_hash="",
            login_method=session.login_method,
            ip=session.ip[:_IP_LENGTH],
            user_agent=session.user_agent[:_USER_AGENT_LENGTH],
            created_at=now,
            last_active_at=session.last_active_at,
            expires_at=session.expires_at,
            revoked_reason="",
        )
    )
    return Issue.MADE


def find(connection: sa.Connection, sid: str) -> Session | None:
    """The session of that id, whatever its state."""
    row = connection.execute(sa.select(sessions).where(sessions.c.sid == sid)).first()
    return None if row is None or row.sid != sid else _session(row)


def with_owner(
    connection: sa.Connection, sid: str, user_id: int
) -> tuple[Session | None, Identity | None]:
    """The session of that id and the account of that id, whatever their states."""
    return find(connection, sid), identity(connection, user_id)


def alive(connection: sa.Connection, user_id: int, now: int) -> list[Session]:
    """A user's living sessions, the latest used first."""
    rows = connection.execute(
        sa.select(sessions)
        .where(sessions.c.user_id == user_id, *_alive(now))
        .order_by(sessions.c.last_active_at.desc(), sessions.c.sid)
    )
    return [_session(row) for row in rows]


class Rotation(enum.Enum):
    """What a refresh secret turned out to be."""

    ROTATED = "rotated"
    JUST_ROTATED = "just rotated"
    REUSED = "reused"
    UNKNOWN = "unknown"


@frozen
class Refresh:
    """A request to prolong a session; the secrets are hashes.

    Attributes:
        given, fresh: What the client has, and what it is to have from now on.
        grace: How many seconds `given` stays good beside `fresh`.
    """

    sid: str
    given: str
    fresh: str
    now: int
    expires_at: int
    grace: int


def refresh(
    connection: sa.Connection, asked: Refresh
) -> tuple[Rotation, Session | None, Identity | None]:
    """Rotate the refresh secret of a living session; the session and its owner.

    A session whose owner is gone, disabled or changed since is left as it is and
    returned with `UNKNOWN`.
    """
    session = find(connection, asked.sid)
    who = None if session is None else identity(connection, session.user_id)
    if session is None or who is None or not _valid(session, who, asked.now):
        return Rotation.UNKNOWN, session, who
    rotation = _rotate(connection, asked)
    return rotation, find(connection, asked.sid), who


def _valid(session: Session, who: Identity, now: int) -> bool:
    same = session.user_auth_version == who.auth_version
    return session.alive(now) and same and not who.deleted and who.status == ENABLED


def _rotate(connection: sa.Connection, asked: Refresh) -> Rotation:
    """Replace the hash `given` by `fresh`, or say what else `given` is.

    The hash before the current one is accepted during the grace without a further
    rotation; later it revokes the session, since somebody else may hold a copy.
    """
    mine = sessions.c.sid == asked.sid
    rotated = connection.execute(
        sa.update(sessions)
        .where(mine, sessions.c.refresh_hash == asked.given, *_alive(asked.now))
        .values(
            refresh_hash=asked.fresh,
            previous_refresh_hash=asked.given,
            previous_valid_until=asked.now + asked.grace,
            last_active_at=asked.now,
            expires_at=asked.expires_at,
        )
    )
    if rotated.rowcount == 1:
        return Rotation.ROTATED
    was_previous = sessions.c.previous_refresh_hash == asked.given
    until = connection.execute(
        sa.select(sessions.c.previous_valid_until).where(mine, was_previous)
    ).scalar()
    if until is None:
        return Rotation.UNKNOWN
    if until >= asked.now:
        return Rotation.JUST_ROTATED
    _revoke(connection, REUSED, asked.now, mine)
    return Rotation.REUSED


def revoke(
    connection: sa.Connection, sid: str, user_id: int, reason: str, now: int
) -> bool:
    """True when the user's living session `sid` was ended."""
    own = (sessions.c.sid == sid, sessions.c.user_id == user_id)
    return _revoke(connection, reason, now, *own, *_alive(now)) == 1


def revoke_by_secret(
    connection: sa.Connection, sid: str, refresh_hash: str, now: int
) -> bool:
    """True when the living session `sid` with that refresh secret was ended."""
    secret = sa.or_(
        sessions.c.refresh_hash == refresh_hash,
        sessions.c.previous_refresh_hash == refresh_hash,
    )
    mine = sessions.c.sid == sid
    return _revoke(connection, "logout", now, mine, secret, *_alive(now)) == 1


def revoke_all(
    connection: sa.Connection, user_id: int, reason: str, now: int, keep: str = ""
) -> int:
    """How many living sessions of the user were ended; the one called `keep` stays."""
    own = (sessions.c.user_id == user_id, sessions.c.sid != keep)
    return _revoke(connection, reason, now, *own, *_alive(now))


def follow(connection: sa.Connection, sid: str, user_id: int) -> None:
    """Let session `sid` outlive the change that just raised its owner's version."""
    version = (
        sa.select(users.c.auth_version).where(users.c.id == user_id).scalar_subquery()
    )
    connection.execute(
        sa.update(sessions)
        .where(sessions.c.sid == sid, sessions.c.user_id == user_id)
        .values(user_auth_version=version)
    )


def issued_since(connection: sa.Connection, moment: int) -> int:
    """How many sessions, of all users, began after `moment`."""
    return _count(connection, sessions.c.created_at > moment)


def prune(connection: sa.Connection, now: int, keep_revoked: int) -> int:
    """Delete what ended more than `keep_revoked` seconds ago; how many rows it was."""
    old = sa.and_(
        sessions.c.status == REVOKED, sessions.c.revoked_at < now - keep_revoked
    )
    over = sa.and_(
        sessions.c.status == ACTIVE, sessions.c.expires_at < now - keep_revoked
    )
    return connection.execute(sa.delete(sessions).where(sa.or_(old, over))).rowcount


def _alive(now: int) -> tuple[sa.ColumnElement[bool], sa.ColumnElement[bool]]:
    return sessions.c.status == ACTIVE, sessions.c.expires_at > now


def _count(connection: sa.Connection, *conditions: sa.ColumnElement[bool]) -> int:
    counted = sa.select(sa.func.count()).select_from(sessions).where(*conditions)
    return int(connection.execute(counted).scalar_one())


def _revoke(
    connection: sa.Connection,
    reason: str,
    now: int,
    *conditions: sa.ColumnElement[bool],
) -> int:
    ended = sa.update(sessions).where(*conditions)
    return connection.execute(
        ended.values(status=REVOKED, revoked_at=now, revoked_reason=reason)
    ).rowcount


def _session(row: sa.Row[Any]) -> Session:
    return Session(
        sid=row.sid,
        user_id=row.user_id,
        version=row.version,
        user_auth_version=row.user_auth_version,
        status=row.status,
        login_method=row.login_method,
        ip=row.ip or "",
        user_agent=row.user_agent or "",
        created_at=row.created_at or 0,
        last_active_at=row.last_active_at,
        expires_at=row.expires_at,
    )
