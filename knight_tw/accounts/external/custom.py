"""Providers that administrators describe themselves: `custom_oauth_providers`.

A row becomes the same `Provider` value as a built-in one. Slugs are unique, the
built-in names and the words of our own paths are not to be had.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from twisted.logger import Logger

from knight_tw.accounts.external import policy
from knight_tw.accounts.external.built_in import SOURCES
from knight_tw.accounts.external.policy import PolicyError
from knight_tw.accounts.external.provider import Fields, Provider, Style
from knight_tw.storage.external_queries import Source

log = Logger()

AUTO, IN_BODY, IN_HEADER = 0, 1, 2
"""`auth_style`: where the client's credentials stand; automatic is in the body."""

RESERVED = frozenset({*SOURCES, "email", "state"})
"""Slugs that are not to be had."""

LONGEST_PREFIX = 10
_SLUG = re.compile(r"[a-z0-9-]{1,64}\Z")


def is_slug(text: str) -> bool:
    """True for lower-case letters, digits and hyphens, at most 64."""
    return _SLUG.match(text) is not None


def from_row(row: Mapping[str, Any]) -> Provider:
    """The provider of a row of `custom_oauth_providers`."""
    slug = row["slug"]
    enabled, admitted = bool(row["enabled"]), None
    try:
        admitted = policy.parse(row["access_policy"] or "")
    except PolicyError as error:
        # Written past us: whoever it was to keep out must not come in.
        log.warn("the policy of {slug} is unreadable: {why}", slug=slug, why=str(error))
        enabled = False
    return Provider(
        slug=slug,
        name=row["name"] or slug,
        source=Source(slug, provider_id=row["id"]),
        prefix=f"{slug[:LONGEST_PREFIX]}_",
        enabled=enabled,
        client_id=row["client_id"] or "",
        client_secret=row["client_secret"] or "",
        token_endpoint=row["token_endpoint"] or "",
        user_endpoint=row["user_info_endpoint"] or "",
        style=Style.BASIC if row["auth_style"] == IN_HEADER else Style.FORM,
        redirect=f"/oauth/{slug}",
        fields=Fields(
            subject=row["user_id_field"] or "sub",
            username=row["username_field"] or "preferred_username",
            display_name=row["display_name_field"] or "name",
            email=row["email_field"] or "email",
        ),
        guarded=True,
        policy=admitted,
        denied=row["access_denied_message"] or "",
    )
