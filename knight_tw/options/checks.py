"""What a new option value must keep beyond its shape: the rules of the options
specification, sections 1 and 4. Each function takes the value as `Option.read` gives it
and raises ValueError with a text for the administrator."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from ipaddress import ip_network
from typing import Any
from urllib.parse import urlsplit

from knight_tw import patterns
from knight_tw.options import kinds

COLORS = (
    "blue", "green", "cyan", "purple", "pink", "red", "orange", "amber", "yellow",
    "lime", "light-green", "teal", "light-blue", "indigo", "violet", "grey", "slate",
)  # fmt: skip
ANNOUNCEMENT_TYPES = ("default", "ongoing", "success", "warning", "error")
SAFETY_LEVELS = (
    "",
    "OFF",
    "BLOCK_NONE",
    "BLOCK_ONLY_HIGH",
    "BLOCK_MEDIUM_AND_ABOVE",
    "BLOCK_LOW_AND_ABOVE",
    "HARM_BLOCK_THRESHOLD_UNSPECIFIED",
)
MAX_RULES = 100

_SCRIPT = re.compile(r"<script|<iframe|javascript:|onload=|onerror=|onclick=", re.I)
_SLUG = re.compile(r"[A-Za-z0-9_-]+")
_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_RATE_LIMIT_MOST = 2_147_483_647


def rate_limits(value: Any) -> None:
    """Group to [all requests, successful ones]."""
    kinds.map_of(_rate_limit)(value)


def _rate_limit(value: Any) -> None:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("must be [requests, successful requests]")
    kinds.whole(0, _RATE_LIMIT_MOST)(value[0])
    kinds.whole(1, _RATE_LIMIT_MOST)(value[1])


def has_default(value: Any) -> None:
    """A map by model must say what holds for all others."""
    if "default" not in value:
        raise ValueError("the key default is missing")


def clean(value: str) -> None:
    """No markup that runs in the reader's browser."""
    if _SCRIPT.search(value):
        raise ValueError("contains script")


def short(limit: int) -> kinds.Shape:
    """A text of at most `limit` characters that runs nothing."""

    def check(value: Any) -> None:
        kinds.text(value)
        if len(value) > limit:
            raise ValueError(f"must have at most {limit} characters")
        clean(value)

    return check


def web_address(limit: int) -> kinds.Shape:
    """An absolute http or https URL of at most `limit` characters."""

    def check(value: Any) -> None:
        short(limit)(value)
        try:
            parts = urlsplit(value)
        except ValueError:
            raise ValueError("must be an http or https address") from None
        if parts.scheme not in ("http", "https") or not parts.netloc:
            raise ValueError("must be an http or https address")

    return check


def optional_address(value: str) -> None:
    """Blank, or an absolute http or https URL."""
    if value:
        web_address(2000)(value)


def _moment(value: Any) -> None:
    kinds.text(value)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise ValueError("must be an RFC 3339 date") from None
    if "T" not in value.upper() or moment.tzinfo is None:
        raise ValueError("must be an RFC 3339 date with a time zone")


def _slug(value: Any) -> None:
    short(100)(value)
    if not _SLUG.fullmatch(value):
        raise ValueError("may hold only letters, digits, _ and -")


def items(limit: int, of: kinds.Shape) -> kinds.Shape:
    """A list of at most `limit` things."""
    every = kinds.list_of(of)

    def check(value: Any) -> None:
        every(value)
        if len(value) > limit:
            raise ValueError(f"must have at most {limit} items")

    return check


api_links = items(
    50,
    kinds.fields(
        ("url", "route", "description", "color"),
        url=web_address(500),
        route=short(100),
        description=short(200),
        color=kinds.one_of(*COLORS),
    ),
)

announcements = items(
    100,
    kinds.fields(
        ("content", "publishDate"),
        content=short(500),
        publishDate=_moment,
        type=kinds.one_of(*ANNOUNCEMENT_TYPES, ""),
        extra=short(200),
    ),
)

questions = items(
    100,
    kinds.fields(("question", "answer"), question=short(200), answer=short(1000)),
)

_uptime_groups = items(
    20,
    kinds.fields(
        ("categoryName", "url", "slug"),
        categoryName=short(50),
        url=web_address(500),
        slug=_slug,
        description=short(200),
    ),
)


def uptime_groups(value: Any) -> None:
    """Status page groups with different names."""
    _uptime_groups(value)
    names = [group["categoryName"] for group in value]
    if len(set(names)) != len(names):
        raise ValueError("categoryName must be unique")


def pattern(value: Any) -> None:
    """A regular expression that compiles."""
    kinds.text(value)
    patterns.compiled(value)


_KEY_SOURCES = ("gjson", "request_header", "context_int", "context_string")

affinity_rules = items(
    MAX_RULES,
    kinds.fields(
        ("name",),
        name=short(100),
        model_regex=kinds.list_of(pattern),
        path_regex=kinds.list_of(pattern),
        user_agent_include=kinds.list_of(kinds.text),
        key_sources=kinds.list_of(
            kinds.fields(
                ("type",),
                type=kinds.one_of(*_KEY_SOURCES),
                key=kinds.text,
                path=kinds.text,
            )
        ),
        value_regex=pattern,
        ttl_seconds=kinds.whole(0),
        param_override_template=kinds.map_of(kinds.anything),
        skip_retry_on_failure=kinds.flag,
        include_using_group=kinds.flag,
        include_model_name=kinds.flag,
        include_rule_name=kinds.flag,
    ),
)

responses_policy = kinds.fields(
    enabled=kinds.flag,
    all_channels=kinds.flag,
    channel_ids=kinds.list_of(kinds.whole(0)),
    channel_types=kinds.list_of(kinds.whole(0)),
    model_patterns=kinds.list_of(pattern),
)


def ports(value: Any) -> None:
    """A list of ports and port ranges, each as text or number."""
    kinds.list_of(_port)(value)


def _port(value: Any) -> None:
    match = _PORTS.fullmatch(str(value))
    if match is None or not 1 <= int(match[1]) <= int(match[2] or match[1]) <= 65535:
        raise ValueError("must be a port or a range of ports")


def networks(value: Any) -> None:
    """A list of addresses and CIDR networks."""
    kinds.list_of(_network)(value)


def _network(value: Any) -> None:
    kinds.text(value)
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise ValueError("must be an IP address or a CIDR network") from None


def discounts(value: Mapping[str, Any]) -> None:
    """Amount to factor, both numbers; the factor raises no price."""
    for amount, factor in value.items():
        kinds.read_number(amount)
        if factor > 1:
            raise ValueError(f"{amount}: must not be above 1")


def distinct_names(value: Any) -> None:
    """A list of different, non-empty names."""
    if any(not name.strip() for name in value) or len(set(value)) != len(value):
        raise ValueError("names must be different and not empty")
