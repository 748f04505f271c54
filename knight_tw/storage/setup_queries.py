"""The first start: whether the gateway is set up, and the one write that sets it up."""

from __future__ import annotations

from collections.abc import Mapping

import sqlalchemy as sa
from attrs import frozen

from knight_tw.errors import KnightError
from knight_tw.storage import options, user_queries, user_writes
from knight_tw.storage.schema import setups, tokens


class AlreadySetUp(KnightError):
    """The wizard has run before, perhaps a moment ago in another process."""

    status, code = 409, "already_exists"


def is_set_up(connection: sa.Connection) -> bool:
    """True once the wizard, or something in its place, has run."""
    return connection.execute(sa.select(setups.c.id).limit(1)).first() is not None


def adopt(connection: sa.Connection, version: str, now: int) -> bool:
    """True when the gateway is set up; a database that has a root user counts."""
    if is_set_up(connection):
        return True
    if not user_queries.root_exists(connection):
        return False
    _mark(connection, version, now)
    return True


@frozen
class SetUp:
    """What the first start writes.

    Attributes:
        root: The administrator to make; None, or one there is already, makes none.
        token_key: A relay key for a new root, without `sk-`; empty for none.
        rows: Options to write.
        first_rows: Options to write unless they have a row already.
    """

    root: user_writes.NewAccount | None
    rows: Mapping[str, str]
    first_rows: Mapping[str, str]
    version: str
    now: int
    token_key: str = ""


def complete(connection: sa.Connection, asked: SetUp) -> int:
    """Set the gateway up, in one go; exactly one of two wizards gets through.

    Returns:
        The id of the new root account, 0 when none was made.

    Raises:
        AlreadySetUp: somebody was faster.
        NameTaken: an account without role root has the name.
    """
    _mark(connection, asked.version, asked.now)
    user_id = 0
    if asked.root is not None and not user_queries.root_exists(connection):
        user_id = user_writes.create(connection, asked.root, "", asked.now)
    if user_id and asked.token_key:
        connection.execute(
            sa.insert(tokens).values(
                user_id=user_id,
                key=asked.token_key,
                name="Initial token",
                created_time=asked.now,
                accessed_time=asked.now,
                unlimited_quota=True,
            )
        )
    stored = options.load(connection)
    first = {key: text for key, text in asked.first_rows.items() if key not in stored}
    for key, text in {**first, **asked.rows}.items():
        options.save(connection, key, text, user_id, asked.now)
    return user_id


def _mark(connection: sa.Connection, version: str, now: int) -> None:
    """Insert the marker row; its fixed id can exist only once."""
    if is_set_up(connection):
        raise AlreadySetUp("the gateway is already set up")
    try:
        connection.execute(
            sa.insert(setups).values(id=1, version=version[:50], initialized_at=now)
        )
    except sa.exc.IntegrityError:
        raise AlreadySetUp("the gateway is already set up") from None
