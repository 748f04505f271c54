"""Passkeys as stored: at most one row of `passkey_credentials` per account.

Credential ids, public keys and AAGUIDs are base64 of the standard alphabet, padded, as
the reference keeps them; here they are bytes.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from attrs import frozen

from knight_tw.errors import KnightError
from knight_tw.storage import user_writes
from knight_tw.storage.schema import passkey_credentials as keys
from knight_tw.storage.schema import users

REASON = "passkey_changed"
"""`revoked_reason` of the sessions that a change ends."""


class PasskeyTaken(KnightError):
    """The credential is another account's."""

    status, code = 409, "already_exists"


@frozen
class Passkey:
    """A credential and what its authenticator said about it.

    Attributes:
        public_key: COSE.
        transports: How it can be reached (`internal`, `usb`, …).
        attachment: `platform`, `cross-platform` or empty.
        last_used_at: Unix seconds, 0 when never.
    """

    user_id: int
    credential_id: bytes
    public_key: bytes
    aaguid: bytes
    attestation_type: str
    sign_count: int
    user_verified: bool
    backup_eligible: bool
    backup_state: bool
    transports: Sequence[str] = ()
    attachment: str = ""
    last_used_at: int = 0


def of_user(connection: sa.Connection, user_id: int) -> Passkey | None:
    """The account's passkey."""
    asked = sa.select(keys).where(
        keys.c.user_id == user_id, keys.c.deleted_at.is_(None)
    )
    return _passkey(connection.execute(asked).first())


def by_credential(connection: sa.Connection, credential_id: bytes) -> Passkey | None:
    """The passkey with exactly that credential id."""
    asked = sa.select(keys).where(
        keys.c.credential_id == _text(credential_id), keys.c.deleted_at.is_(None)
    )
    found = _passkey(connection.execute(asked).first())
    # MySQL's comparison ignores case, base64 does not.
    return None if found is None or found.credential_id != credential_id else found


def store(connection: sa.Connection, passkey: Passkey, now: int, keep: str) -> None:
    """Makes it the account's passkey, in place of one it had.

    The account's sessions end, except for the one called `keep`.

    Raises:
        PasskeyTaken: another account has that credential.
    """
    user_id = passkey.user_id
    _lock(connection, user_id)
    connection.execute(sa.delete(keys).where(keys.c.user_id == user_id))
    # A row that the reference deleted softly would be in the way of the unique index.
    connection.execute(
        sa.delete(keys).where(
            keys.c.credential_id == _text(passkey.credential_id),
            keys.c.deleted_at.is_not(None),
        )
    )
    row = {**_row(passkey), "created_at": _moment(now), "updated_at": _moment(now)}
    try:
        connection.execute(sa.insert(keys).values(row))
    except sa.exc.IntegrityError:
        raise PasskeyTaken("this passkey is another account's") from None
    user_writes.secure(connection, user_id, {}, REASON, now, keep)


@frozen
class Use:
    """What an authenticator said when it was used."""

    sign_count: int
    user_verified: bool
    backup_state: bool


def use(connection: sa.Connection, passkey: Passkey, said: Use, now: int) -> bool:
    """Remember a use; False when its counter did not grow: there may be a copy.

    Then the row is marked instead. Authenticators without a counter always say zero.
    """
    mine = (
        keys.c.user_id == passkey.user_id,
        keys.c.credential_id == _text(passkey.credential_id),
        keys.c.deleted_at.is_(None),
    )
    stored = sa.func.coalesce(keys.c.sign_count, 0)
    grown = stored < said.sign_count
    if said.sign_count == 0:
        grown = stored == 0
    used = connection.execute(
        sa.update(keys)
        .where(*mine, grown)
        .values(
            sign_count=said.sign_count,
            user_present=True,
            user_verified=said.user_verified,
            backup_state=said.backup_state,
            last_used_at=_moment(now),
            updated_at=_moment(now),
        )
    )
    if used.rowcount == 1:
        return True
    marked = {"clone_warning": True, "updated_at": _moment(now)}
    connection.execute(sa.update(keys).where(*mine).values(marked))
    return False


def remove(connection: sa.Connection, user_id: int, now: int, keep: str = "") -> bool:
    """Takes the account's passkey away; False when it has none."""
    _lock(connection, user_id)
    mine = keys.c.user_id == user_id
    living = sa.delete(keys).where(mine, keys.c.deleted_at.is_(None))
    if not connection.execute(living).rowcount:
        return False
    user_writes.secure(connection, user_id, {}, REASON, now, keep)
    return True


def _lock(connection: sa.Connection, user_id: int) -> None:
    own = sa.select(users.c.id).where(users.c.id == user_id)
    connection.execute(own.with_for_update())


def _row(passkey: Passkey) -> dict[str, Any]:
    return {
        "user_id": passkey.user_id,
        "credential_id": _text(passkey.credential_id),
        "public_key": _text(passkey.public_key),
        "aa_guid": _text(passkey.aaguid),
        "attestation_type": passkey.attestation_type,
        "sign_count": passkey.sign_count,
        "clone_warning": False,
        "user_present": True,
        "user_verified": passkey.user_verified,
        "backup_eligible": passkey.backup_eligible,
        "backup_state": passkey.backup_state,
        "transports": msgspec.json.encode(list(passkey.transports)).decode(),
        "attachment": passkey.attachment,
    }


def _passkey(row: sa.Row[Any] | None) -> Passkey | None:
    if row is None:
        return None
    used = row.last_used_at
    return Passkey(
        user_id=row.user_id,
        credential_id=_bytes(row.credential_id),
        public_key=_bytes(row.public_key),
        aaguid=_bytes(row.aa_guid),
        attestation_type=row.attestation_type or "",
        sign_count=row.sign_count or 0,
        user_verified=bool(row.user_verified),
        backup_eligible=bool(row.backup_eligible),
        backup_state=bool(row.backup_state),
        transports=_transports(row.transports),
        attachment=row.attachment or "",
        last_used_at=0 if used is None else int(used.timestamp()),
    )


def _transports(text: str | None) -> tuple[str, ...]:
    try:
        return tuple(msgspec.json.decode(text or "[]", type=list[str]))
    except msgspec.DecodeError:
        return ()


def _text(raw: bytes) -> str:
    return b64encode(raw).decode()


def _bytes(text: str | None) -> bytes:
    try:
        return b64decode(text or "")
    except ValueError:
        return b""


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
