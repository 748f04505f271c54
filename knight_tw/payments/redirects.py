"""Where a payment page may send the browser afterwards: here, or to trusted domains."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from knight_tw.payments.orders import PaymentRefused

LONGEST = 2048
_SCHEMES = ("http", "https")
_PORTS = {"http": 80, "https": 443}


def checked(url: str, field: str, site: str, domains: Sequence[str]) -> str:
    """`url`, when it is an address of the site or of a trusted domain.

    Args:
        field: The member that holds it, for the refusal.
        site: `ServerAddress`; the same scheme, host and port are the site.
        domains: `TRUSTED_REDIRECT_DOMAINS`; their subdomains are trusted too, by https.

    Raises:
        PaymentRefused: it leads elsewhere, or browsers may read it in another way.
    """
    place = _place(url)
    if place is None or not (_same(place, _place(site)) or _trusted(place, domains)):
        raise PaymentRefused(
            f"{field} leads to an address that is not trusted", param=field
        )
    return url


def _place(url: str) -> SplitResult | None:
    """The address, unless somebody could read it in another way than we do."""
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \\")
    if not plain or len(url) > LONGEST:
        return None
    try:
        place = urlsplit(url)
        port = place.port
    except ValueError:
        return None
    if place.scheme not in _SCHEMES or not place.hostname or "@" in place.netloc:
        return None
    return place if port != 0 else None


def _same(place: SplitResult, site: SplitResult | None) -> bool:
    return site is not None and _origin(place) == _origin(site)


def _origin(place: SplitResult) -> tuple[str, str, int]:
    port = place.port or _PORTS[place.scheme]
    return place.scheme, place.hostname or "", port


def _trusted(place: SplitResult, domains: Sequence[str]) -> bool:
    host = (place.hostname or "").rstrip(".")
    names = [name.strip().strip(".").lower() for name in domains]
    return place.scheme == "https" and any(
        name and (host == name or host.endswith(f".{name}")) for name in names
    )
