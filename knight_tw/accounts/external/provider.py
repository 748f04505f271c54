"""What the gateway knows about a provider of logins, and what it says of a person."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from knight_tw.accounts.external import policy
from knight_tw.accounts.external.policy import Policy
from knight_tw.errors import KnightError
from knight_tw.notices.letters import BadAddress, address
from knight_tw.storage.external_queries import Source

LONGEST_IN_COLUMN, LONGEST_SUBJECT = 191, 256
"""Characters of an external id in a column of `users`, and in a binding; longer ones
are nobody's, since MySQL would not store them."""

LONGEST_EMAIL = 50


class ProfileUnusable(KnightError):
    """The provider's answer does not say who the person is."""

    status, code = 502, "upstream_failed"


class NotAdmitted(KnightError):
    """The provider knows the person, and the site does not want them."""

    status, code = 403, "login_closed"


class Style(enum.Enum):
    """How a provider is told the code, and who we are."""

    JSON = "JSON body with client id and secret"
    FORM = "form with client id and secret"
    BASIC = "form, client id and secret as HTTP Basic"


@frozen(kw_only=True)
class Fields:
    """Dotted paths into a provider's answer about a person; empty = not told."""

    subject: str
    username: str = ""
    display_name: str = ""
    email: str = ""


@frozen
class Profile:
    """What a provider says of a person.

    Attributes:
        subject: Their id there; never changes.
        email: Lower case; empty unless it is usable as an address of ours.
        claims: The whole answer.
    """

    subject: str
    username: str = ""
    display_name: str = ""
    email: str = ""
    claims: Mapping[str, Any] = {}


@frozen(kw_only=True)
class Provider:
    """A way to log in with an account elsewhere.

    Attributes:
        slug: Its name in paths and log rows.
        source: Where the ids of its people are kept.
        prefix: Begins the names of new accounts whose own name is not free.
        enabled: Switched on, and set up.
        registers: Unknown people may get an account.
        redirect: Path that the browser came back to, below our address; empty when the
            provider does not want to be told.
        guarded: The address guard decides whether its addresses may be reached.
        policy, denied: Who may come in, and what the others are told.
        needs: Claims without which an answer is not believed.
        moves_names: Older rows hold the user name instead of the id.
    """

    slug: str
    name: str
    source: Source
    prefix: str
    enabled: bool
    registers: bool = True
    client_id: str = ""
    client_secret: str = ""
    token_endpoint: str = ""
    user_endpoint: str = ""
    style: Style = Style.FORM
    redirect: str = ""
    fields: Fields = Fields(subject="id")
    needs: tuple[str, ...] = ()
    guarded: bool = False
    policy: Policy | None = None
    denied: str = ""
    moves_names: bool = False

    def profile(self, claims: Mapping[str, Any]) -> Profile:
        """The person that an answer describes.

        Raises:
            ProfileUnusable: without an id, or without a claim that must be there.
            NotAdmitted: the policy keeps the person out.
        """
        subject = _text(claims, self.fields.subject)
        lacking = [name for name in self.needs if not _text(claims, name)]
        longest = LONGEST_IN_COLUMN if self.source.column else LONGEST_SUBJECT
        if not subject or len(subject) > longest or lacking:
            what = ", ".join(lacking) or self.fields.subject
            raise ProfileUnusable(f"{self.name} did not say who you are ({what})")
        failed = self.policy.failing(claims) if self.policy else None
        if failed is not None:
            told = policy.message(self.denied or DENIED, self.name, failed, claims)
            raise NotAdmitted(told)
        return Profile(
            subject=subject,
            username=_text(claims, self.fields.username),
            display_name=_text(claims, self.fields.display_name),
            email=_email(claims, self.fields.email),
            claims=claims,
        )


DENIED = "your {{provider}} account does not meet the requirements of this site"
"""What people are told whom a policy keeps out, unless the administrator says else."""


def _text(claims: Mapping[str, Any], path: str) -> str:
    """A claim that is a text or a whole number, as text; empty otherwise."""
    found = policy.claim(claims, path) if path else None
    if isinstance(found, bool) or not isinstance(found, str | int):
        return ""
    return str(found).replace("\0", "").strip()


def _email(claims: Mapping[str, Any], path: str) -> str:
    """An address that the provider does not call unverified, there or at the top."""
    try:
        found = address(_text(claims, path))
    except BadAddress:
        return ""
    if "." not in found.rpartition("@")[2] or len(found) > LONGEST_EMAIL:
        return ""
    beside = path.rpartition(".")[0]
    paths = {f"{beside}.{name}" if beside else name for name in _VERIFIED} | _VERIFIED
    marks = [policy.claim(claims, one) for one in paths]
    return "" if False in marks or "false" in marks else found


_VERIFIED = frozenset({"email_verified", "verified"})
"""Claims that say whether an address is the person's."""
