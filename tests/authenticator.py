"""A passkey authenticator in software: one EC P-256 credential (WebAuthn 2)."""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

import cbor2
from attrs import define, field
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256

USER_PRESENT, USER_VERIFIED, BACKUP_ELIGIBLE, BACKED_UP, ATTESTED = 1, 4, 8, 16, 64


@define
class Authenticator:
    """Signs what a page of `origin` asks for.

    Attributes:
        counts: Whether its counter grows; platform authenticators always say zero.
        flags: What it says about the person.
    """

    origin: str = "https://gateway.example"
    credential_id: bytes = b"\xfb\xff credential of a test"
    counts: bool = True
    flags: int = USER_PRESENT | USER_VERIFIED | BACKUP_ELIGIBLE | BACKED_UP
    counter: int = 0
    handle: bytes = b""
    key: ec.EllipticCurvePrivateKey = field(
        factory=lambda: ec.generate_private_key(ec.SECP256R1())
    )

    def create(self, asked: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """What `navigator.credentials.create` gives for `{publicKey}`.

        Args:
            changes: Members of `clientDataJSON` to falsify.
        """
        options = asked["publicKey"]
        self.handle = _raw(options["user"]["id"])
        client = self._client("webauthn.create", options["challenge"], changes)
        attested = (
            b"\x11" * 16
            + len(self.credential_id).to_bytes(2, "big")
            + self.credential_id
            + self._public_key()
        )
        said = self._said(options["rp"]["id"], ATTESTED) + attested
        attestation = cbor2.dumps({"fmt": "none", "attStmt": {}, "authData": said})
        return self._credential(
            {
                "clientDataJSON": _b64(client),
                "attestationObject": _b64(attestation),
                "transports": ["internal", "hybrid"],
            }
        )

    def get(self, asked: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """What `navigator.credentials.get` gives for `{publicKey}`."""
        options = asked["publicKey"]
        self.counter += self.counts
        client = self._client("webauthn.get", options["challenge"], changes)
        said = self._said(options["rpId"], 0)
        signed = said + sha256(client).digest()
        return self._credential(
            {
                "clientDataJSON": _b64(client),
                "authenticatorData": _b64(said),
                "signature": _b64(self.key.sign(signed, ec.ECDSA(SHA256()))),
                "userHandle": _b64(self.handle),
            }
        )

    def _client(self, kind: str, challenge: str, changes: dict[str, Any]) -> bytes:
        content = {
            "type": kind,
            "challenge": challenge,
            "origin": self.origin,
            "crossOrigin": False,
        }
        return json.dumps(content | changes).encode()

    def _said(self, rp_id: str, more: int) -> bytes:
        flags = bytes([self.flags | more])
        return sha256(rp_id.encode()).digest() + flags + self.counter.to_bytes(4, "big")

    def _public_key(self) -> bytes:
        point = self.key.public_key().public_numbers()
        x, y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
        return cbor2.dumps({1: 2, 3: -7, -1: 1, -2: x, -3: y})

    def _credential(self, response: dict[str, Any]) -> dict[str, Any]:
        name = _b64(self.credential_id)
        return {
            "id": name,
            "rawId": name,
            "type": "public-key",
            "authenticatorAttachment": "platform",
            "clientExtensionResults": {},
            "response": response,
        }


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
