"""The secret that signs sessions: from the settings, or made once and kept."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from knight_tw.startup import CannotStart

NAME = "session_secret"
_SHORTEST = 16


def session_secret(configured: str, folder: Path) -> str:
    """`SESSION_SECRET`, else the one kept in the data folder, made when missing.

    The file is readable by its owner alone. Two processes that start at once end up
    with the same one, since only one of them can create it.

    Raises:
        CannotStart: the file cannot be read, written, or holds no secret.
    """
    if configured:
        return configured
    path = folder / NAME
    try:
        _create(path)
        secret = path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise CannotStart(f"cannot read or write {path}: {error}") from None
    if len(secret) < _SHORTEST:
        raise CannotStart(f"{path} holds no secret: delete it to have one made")
    return secret


def _create(path: Path) -> None:
    """A file with a new secret, unless there is one; it appears with its content."""
    if path.exists():
        return
    draft = path.with_name(f"{NAME}.{os.getpid()}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(48) + "\n")
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
