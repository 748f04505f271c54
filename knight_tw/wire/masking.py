"""Hides in a provider's message what its reader must not learn.

A provider's error text may name the address it was called at, the addresses behind it,
and the key that was used. Before it goes to a client these are replaced (relay
specification, section 5): of a URL the scheme and the top-level domain stay, domains,
IP addresses and everything that looks like a key become `***`, and the channel's own
key is taken out verbatim, whatever it looks like. Administrators' logs keep the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

STARS = "***"

_URL = re.compile(r"\b([A-Za-z][A-Za-z0-9+.-]{1,15})://([^\s\"'<>`\\)\]}]+)")

# Only endings that are no member names: `messages.0.content.type` is a path into a
# body, and the most useful word of a provider's message.
_ENDINGS = (
    "com|net|org|edu|gov|mil|io|ai|dev|cloud|biz|xyz|tech|tv|cc|cn|hk|tw|jp|kr|sg|uk"
    "|de|fr|nl|eu|us|ca|au|ru|br|local|internal|lan|localdomain|svc"
)
_DOMAIN = re.compile(
    r"(?<![\w.-])(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
    rf"(?:{_ENDINGS})(?![\w-])(?::\d{{1,5}})?"
)
_IPV4 = re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?::\d{1,5})?(?![\w])")
_IPV6 = re.compile(
    r"(?<![\w:.])\[?(?:(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}"
    r"|(?:[0-9A-Fa-f]{1,4}:){1,6}(?::[0-9A-Fa-f]{1,4}){1,6}"
    r"|(?:[0-9A-Fa-f]{1,4}:){1,7}:|::(?:[0-9A-Fa-f]{1,4}:){0,6}[0-9A-Fa-f]{1,4})"
    r"(?![\w:])(?:\](?::\d{1,5})?)?"
)
_KEYS = re.compile(
    r"(?<![A-Za-z0-9])(?:sk-[A-Za-z0-9_*.\-]{5,}[A-Za-z0-9_*\-]"
    r"|(?:gsk_|xai-|pplx-|r8_|hf_|nvapi-|jina_|ghp_|pat_)[A-Za-z0-9_*\-]{16,}"
    r"|AIza[A-Za-z0-9_*\-]{8,}|AKIA[A-Z0-9]{8,}"
    r"|eyJ[A-Za-z0-9_\-]{10,}(?:\.[A-Za-z0-9_\-]+)*)"
)
_AFTER_KEY = re.compile(
    r"(keys?\b[^\n]{0,32}?[\s:='\"`(\[])[A-Za-z0-9+/_\-]{32,}={0,2}", re.IGNORECASE
)
_ANYTHING = re.compile(r"[.:]|[-_A-Za-z0-9+/]{12}")

LEAST_KEY = 6
"""Parts of a credential shorter than this are not hidden: they are words."""


def mask(text: str, keys: Iterable[str] = ()) -> str:
    """`text` without addresses and keys; `keys` are hidden wherever they stand.

    A key of several parts (`id|secret`, one part a line) is hidden part by part too.
    """
    for key in keys:
        for part in _parts(key):
            text = text.replace(part, STARS)
    if _ANYTHING.search(text) is None:
        return text
    text = _URL.sub(_hidden_url, text)
    text = _DOMAIN.sub(STARS, text)
    text = _IPV4.sub(STARS, text)
    if ":" in text:
        text = _IPV6.sub(STARS, text)
    text = _KEYS.sub(STARS, text)
    return _AFTER_KEY.sub(rf"\1{STARS}", text)


def _parts(key: str) -> list[str]:
    parts = {key, *re.split(r"[|\r\n]+", key)}
    return sorted((p for p in parts if len(p) >= LEAST_KEY), key=len, reverse=True)


def _hidden_url(found: re.Match[str]) -> str:
    """`https://***.com/***` for any address; full stops that end a sentence stay."""
    scheme, rest = found.groups()
    address = rest.rstrip(".,;:!?")
    tail = rest[len(address) :]
    authority, slash, _ = address.partition("/")
    host = authority.rpartition("@")[2].partition(":")[0].partition("?")[0]
    ending = host.rpartition(".")[2] if "." in host else ""
    shown = f"{STARS}.{ending}" if ending.isalpha() else STARS
    more = f"/{STARS}" if slash or "?" in authority else ""
    return f"{scheme}://{shown}{more}{tail}"
