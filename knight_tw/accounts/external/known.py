"""Which providers there are today."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from knight_tw.accounts.external import built_in, custom
from knight_tw.accounts.external.built_in import Addresses
from knight_tw.accounts.external.provider import NotAdmitted, Provider
from knight_tw.options import Options
from knight_tw.storage import oauth_queries
from knight_tw.storage.database import Database


@frozen
class KnownProviders:
    """Built-in providers as the options have them, custom ones from the database."""

    _db: Database
    _options: Callable[[], Options]
    _addresses: Addresses

    async def with_codes(self, slug: str) -> Provider | None:
        """The provider of that name, switched on or not, that sends people back with
        a code."""
        if slug in built_in.WITH_CODES:
            return self.built_in(slug)
        if not custom.is_slug(slug) or slug in custom.RESERVED:
            return None
        row = await self._db.read(oauth_queries.by_slug, slug)
        return None if row is None else custom.from_row(row)

    def built_in(self, slug: str) -> Provider:
        """The built-in provider of that name, switched on or not."""
        return built_in.make(slug, self._options(), self._addresses)


def require_open(provider: Provider) -> None:
    """Returns for a provider that is switched on.

    Raises:
        NotAdmitted.
    """
    if not provider.enabled:
        raise NotAdmitted(f"the login by {provider.name} is switched off")
