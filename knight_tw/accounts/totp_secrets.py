"""TOTP secrets: made, shown to an authenticator app, kept in the database.

The reference keeps them as they are, which checking needs; so do we, and the database
can be handed back. With option `auth.encrypt_totp_secrets` new ones are sealed by a key
derived from `CRYPTO_SECRET` and marked by a prefix. Both forms are always read.
"""

from __future__ import annotations

import os
import random
import string
from base64 import b32encode, b64decode, b64encode
from urllib.parse import quote

from attrs import field, frozen
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from twisted.logger import Logger

log = Logger()

PURPOSE = b"knight totp secrets v1"
PREFIX = "enc:"
SECRET_BYTES = 20
"""The length of an HMAC-SHA1 key (RFC 4226, section 4); 32 characters of base32."""

CODES, _HALF = 4, 4
_ALPHABET = string.ascii_uppercase + string.digits
_NONCE = 12


@frozen
class TotpSecrets:
    """Turns secrets into what is stored, and back."""

    _cipher: AESGCM = field(repr=False)

    @classmethod
    def of(cls, secret: str) -> TotpSecrets:
        """With a key of its own, derived from the installation's secret."""
        derived = HKDF(SHA256(), 32, None, PURPOSE).derive(secret.encode())
        return cls(AESGCM(derived))

    def sealed(self, secret: str, user_id: int) -> str:
        """The secret as it is stored for that account, and for no other."""
        nonce = os.urandom(_NONCE)
        text = self._cipher.encrypt(nonce, secret.encode(), _name(user_id))
        return PREFIX + b64encode(nonce + text).decode()

    def plain(self, stored: str, user_id: int) -> str:
        """The secret; empty when it was sealed by another key or for another account.

        A log line says so, since no code of that account can be right then.
        """
        if not stored.startswith(PREFIX):
            return stored
        try:
            raw = b64decode(stored.removeprefix(PREFIX), validate=True)
            text = self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], _name(user_id))
        except (InvalidTag, ValueError):
            log.error(
                "the TOTP secret of user {user_id} cannot be read: was CRYPTO_SECRET"
                " changed?",
                user_id=user_id,
            )
            return ""
        return text.decode()


def new_secret(chance: random.Random) -> str:
    """A new secret in base32."""
    return b32encode(chance.randbytes(SECRET_BYTES)).decode()


def new_backup_codes(chance: random.Random) -> list[str]:
    """New backup codes, `XXXX-XXXX`."""
    return [f"{_word(chance)}-{_word(chance)}" for _ in range(CODES)]


def address(secret: str, issuer: str, account: str) -> str:
    """The `otpauth` URI that authenticator apps read from a picture.

    The label is `issuer:account`, each part escaped (Key URI format of Google
    Authenticator), so that no name can add parameters.
    """
    issuer = issuer.replace(":", " ").strip()
    label = f"{quote(issuer, safe='')}:{quote(account, safe='')}"
    asked = f"secret={secret}&issuer={quote(issuer, safe='')}&digits=6&period=30"
    return f"otpauth://totp/{label}?{asked}"


def _word(chance: random.Random) -> str:
    return "".join(chance.choices(_ALPHABET, k=_HALF))


def _name(user_id: int) -> bytes:
    return b"%d" % user_id
