"""Passkeys: what a browser is asked, and whether its answer is right (WebAuthn 2).

A ceremony is two requests. The first hands out a challenge; the second brings back what
the authenticator signed over it. The challenge is the token of a flow (`flows`), raw:
so it is random, lives two minutes, serves once, and an answer names its flow by itself,
which older consoles need, since they send nothing but the credential.

The library that reads and checks answers is loaded when the first one comes, and runs
in a thread: a signature takes a millisecond, and loading takes fifty.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import msgspec
from attrs import frozen
from twisted.logger import Logger

from knight_tw.errors import KnightError
from knight_tw.options import Options
from knight_tw.storage.passkey_queries import Passkey, Use

log = Logger()

CHALLENGE_SECONDS = 120
LONGEST = 65_536
"""Bytes of a credential that are worth a look; real ones have a few thousand."""

ALGORITHMS = (-7, -8, -36, -257, -258, -259, -37, -38, -39)
"""COSE numbers of the signatures we take, the favourites first: ES256, EdDSA, ES512,
then RSA."""

_PLAIN_HOSTS = ("localhost",)
"""Hosts that browsers trust without TLS."""


class NoPasskeys(KnightError):
    """Passkeys are off, or this address cannot have any."""

    status, code = 409, "not_configured"


class PasskeyRefused(KnightError):
    """What came back is not the answer to the challenge."""

    status, code = 401, "wrong_credentials"


@frozen
class RelyingParty:
    """Who asks: the site as browsers know it.

    Attributes:
        id: A domain name; a passkey is good for it and for nothing else.
        origins: The addresses of our pages, e.g. `https://gateway.example`.
        verification: `required`, `preferred` or `discouraged`: whether the person must
            show a PIN, finger or face.
        attachment: `platform`, `cross-platform`, or empty for either.
    """

    id: str
    name: str
    origins: tuple[str, ...]
    verification: str
    attachment: str

    @classmethod
    def of(cls, options: Options, host: str, secure: bool) -> RelyingParty:
        """The site as the options say it, else as the request was addressed.

        Args:
            host: Header `Host`.
            secure: Whether the request came over TLS.

        Raises:
            NoPasskeys: passkeys are off, the site has no domain name, or no address
                that a browser trusts.
        """
        if not options.flag("passkey.enabled"):
            raise NoPasskeys("passkeys are switched off")
        here = f"{'https' if secure else 'http'}://{host.strip().lower()}"
        site = options.text("ServerAddress").strip() or here
        domain = _host(options.text("passkey.rp_id") or site)
        if not _is_domain(domain):
            raise NoPasskeys("passkeys need a domain name, not an address")
        named = [part.strip() for part in options.text("passkey.origins").split(",")]
        origins = [_origin(address) for address in named if address] or [_origin(site)]
        loose = options.flag("passkey.allow_insecure_origin")
        trusted = tuple(each for each in origins if each and _trusted(each, loose))
        if not trusted:
            raise NoPasskeys("passkeys need https")
        return cls(
            id=domain,
            name=options.text("passkey.rp_display_name") or options.text("SystemName"),
            origins=trusted,
            verification=options.text("passkey.user_verification") or "preferred",
            attachment=options.text("passkey.attachment_preference"),
        )

    def packed(self) -> dict[str, Any]:
        """What the second request needs of this, for the flow's payload."""
        return {
            "id": self.id,
            "origins": list(self.origins),
            "verification": self.verification,
        }

    def creation(
        self, token: str, user_id: int, name: str, shown: str, known: Passkey | None
    ) -> dict[str, Any]:
        """What `navigator.credentials.create` is called with.

        Args:
            token: Of the flow; it is the challenge.
            known: The passkey that the account has; its authenticator is left out.
        """
        selection: dict[str, Any] = {
            "requireResidentKey": True,
            "residentKey": "required",
            "userVerification": self.verification,
        }
        if self.attachment:
            selection["authenticatorAttachment"] = self.attachment
        asked: dict[str, Any] = {
            "rp": {"name": self.name, "id": self.id},
            "user": {"name": name, "displayName": shown, "id": _b64(b"%d" % user_id)},
            "challenge": token,
            "pubKeyCredParams": [
                {"type": "public-key", "alg": number} for number in ALGORITHMS
            ],
            "timeout": CHALLENGE_SECONDS * 1000,
            "authenticatorSelection": selection,
        }
        if known is not None:
            asked["excludeCredentials"] = [_descriptor(known)]
        return {"publicKey": asked}

    def request(self, token: str, known: Passkey | None = None) -> dict[str, Any]:
        """What `navigator.credentials.get` is called with.

        Args:
            known: The passkey that is wanted; None for any that the person picks.
        """
        asked: dict[str, Any] = {
            "challenge": token,
            "timeout": CHALLENGE_SECONDS * 1000,
            "rpId": self.id,
            "userVerification": self.verification,
        }
        if known is not None:
            asked["allowCredentials"] = [_descriptor(known)]
        return {"publicKey": asked}


@frozen
class Answered:
    """The credential of the second request, as far as it is read without trust.

    Attributes:
        token: The flow that it belongs to.
        credential: As the browser gave it.
    """

    token: str
    credential: Mapping[str, Any]

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Answered:
        """From `{flow_token, credential}`, or from a bare credential.

        Raises:
            PasskeyRefused: it has not the form of one.
        """
        credential = body.get("credential", body)
        if not isinstance(credential, Mapping):
            raise PasskeyRefused("this is no passkey", param="credential")
        response = credential.get("response")
        packed = response.get("clientDataJSON") if isinstance(response, dict) else None
        if not isinstance(packed, str) or len(packed) > LONGEST:
            raise PasskeyRefused("this is no passkey", param="credential")
        token = body.get("flow_token") if "credential" in body else None
        if token is None:
            token = _challenge(packed)
        if not isinstance(token, str):
            raise PasskeyRefused("the challenge is missing", param="flow_token")
        return cls(token, credential)

    @property
    def credential_id(self) -> bytes:
        """The id of the credential; empty when it has none."""
        return _raw(self.credential.get("rawId") or self.credential.get("id"))

    @property
    def user_id(self) -> int | None:
        """The account that the authenticator names; None when it names none."""
        response = self.credential["response"]
        handle = _raw(response.get("userHandle"))
        if not handle:
            return None
        # A handle that is no number names no account.
        return int(handle) if handle.isdigit() and len(handle) < 19 else 0


def created(answer: Answered, asked: Mapping[str, Any], user_id: int) -> Passkey:
    """The new passkey of an account; runs in a thread.

    Args:
        asked: `RelyingParty.packed` of the first request.

    Raises:
        PasskeyRefused: the answer is not right.
    """
    import webauthn
    from webauthn.helpers.cose import COSEAlgorithmIdentifier
    from webauthn.helpers.structs import CredentialDeviceType

    found = _checked(
        lambda: webauthn.verify_registration_response(
            credential=_bounded(answer),
            expected_challenge=_raw(answer.token),
            expected_rp_id=str(asked["id"]),
            expected_origin=[str(origin) for origin in asked["origins"]],
            require_user_verification=asked["verification"] == "required",
            supported_pub_key_algs=[COSEAlgorithmIdentifier(n) for n in ALGORITHMS],
        )
    )
    response = answer.credential["response"]
    return Passkey(
        user_id=user_id,
        credential_id=found.credential_id,
        public_key=found.credential_public_key,
        aaguid=bytes.fromhex(found.aaguid.replace("-", "")),
        attestation_type=str(getattr(found.fmt, "value", found.fmt)),
        sign_count=found.sign_count,
        user_verified=found.user_verified,
        backup_eligible=(
            found.credential_device_type is CredentialDeviceType.MULTI_DEVICE
        ),
        backup_state=found.credential_backed_up,
        transports=_texts(response.get("transports")),
        attachment=_word(answer.credential.get("authenticatorAttachment")),
    )


def asserted(answer: Answered, asked: Mapping[str, Any], passkey: Passkey) -> Use:
    """What the authenticator of `passkey` signed; runs in a thread.

    Whether its counter grew is for `passkey_queries.use` to say, so that a wrong
    signature never marks a passkey as copied.

    Raises:
        PasskeyRefused: the answer is not right.
    """
    import webauthn

    found = _checked(
        lambda: webauthn.verify_authentication_response(
            credential=_bounded(answer),
            expected_challenge=_raw(answer.token),
            expected_rp_id=str(asked["id"]),
            expected_origin=[str(origin) for origin in asked["origins"]],
            credential_public_key=passkey.public_key,
            credential_current_sign_count=0,
            require_user_verification=asked["verification"] == "required",
        )
    )
    if found.credential_id != passkey.credential_id:
        raise PasskeyRefused("this is another passkey")
    return Use(found.new_sign_count, found.user_verified, found.credential_backed_up)


def _checked(check: Callable[[], Any]) -> Any:
    try:
        return check()
    except PasskeyRefused:
        raise
    except Exception as error:  # noqa: BLE001 - one answer to whatever it was
        # The library reads what anybody may send with parsers of four kinds (JSON,
        # CBOR, COSE, X.509), and lets their exceptions through.
        log.info(
            "a passkey was refused: {kind}: {why}",
            kind=type(error).__name__,
            why=str(error)[:200],
        )
        raise PasskeyRefused("the passkey was not accepted") from None


def _bounded(answer: Answered) -> dict[str, Any]:
    if len(msgspec.json.encode(answer.credential)) > LONGEST:
        raise PasskeyRefused("the passkey is too long")
    return dict(answer.credential)


def _challenge(packed: str) -> str | None:
    """The challenge within `clientDataJSON`."""
    try:
        client = msgspec.json.decode(_raw(packed), type=dict[str, Any])
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    found = client.get("challenge")
    return found if isinstance(found, str) else None


def _descriptor(passkey: Passkey) -> dict[str, Any]:
    found: dict[str, Any] = {
        "type": "public-key",
        "id": _b64(passkey.credential_id),
    }
    if passkey.transports:
        found["transports"] = list(passkey.transports)
    return found


def _host(address: str) -> str:
    """The host of an address or of `host:port`, in lower case."""
    text = address.strip().lower()
    try:
        return urlsplit(text if "//" in text else f"//{text}").hostname or ""
    except ValueError:
        return ""


def _origin(address: str) -> str:
    """`scheme://host[:port]` as browsers write it; empty for what is no address."""
    try:
        parts = urlsplit(address.strip().lower())
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    usual = 443 if parts.scheme == "https" else 80
    tail = "" if port in (None, usual) else f":{port}"
    return f"{parts.scheme}://{parts.hostname}{tail}"


def _trusted(origin: str, loose: bool) -> bool:
    return loose or origin.startswith("https://") or _host(origin) in _PLAIN_HOSTS


def _is_domain(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return bool(host)
    return False


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(map(_word, value[:8])) if isinstance(value, list) else ()


def _word(value: Any) -> str:
    return value[:32] if isinstance(value, str) else ""


def _b64(raw: bytes) -> str:
    return urlsafe_b64encode(raw).rstrip(b"=").decode()


def _raw(text: Any) -> bytes:
    """What base64url text stands for; empty for anything else."""
    if not isinstance(text, str):
        return b""
    try:
        return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
