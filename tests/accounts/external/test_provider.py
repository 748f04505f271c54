"""What is believed of a provider's answer about a person."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.external.provider import Fields, ProfileUnusable, Provider
from knight_tw.storage.external_queries import Source

COLUMN, BINDINGS = Source("oidc", "oidc_id"), Source("company", provider_id=1)


def provider(source: Source = BINDINGS, **fields: str) -> Provider:
    """A provider that tells its people's ids as `sub`."""
    return Provider(
        slug=source.slug,
        name="Company",
        source=source,
        prefix="company_",
        enabled=True,
        fields=Fields(subject="sub", **fields),
    )


class Profiles(SynchronousTestCase):
    """`Provider.profile`."""

    def email(self, path: str, **claims: Any) -> str:
        """The address that is taken over."""
        return provider(email=path).profile({"sub": "1", **claims}).email

    def test_address(self) -> None:
        """An address is stored as every other one, in lower case."""
        self.assertEqual(
            self.email("email", email="Ann@Example.com"), "ann@example.com"
        )

    def test_no_address(self) -> None:
        """What could not be written to alone is no address."""
        for text in (
            "ann",
            "ann@localhost",
            "a@b.example,c@d.example",
            "a b@c.example",
        ):
            self.assertEqual(self.email("email", email=text), "", text)

    def test_unverified(self) -> None:
        """It counts what stands beside the address, wherever that is."""
        for mark in ({"email_verified": False}, {"verified": "false"}):
            user = {"email": "ann@example.com", **mark}
            self.assertEqual(self.email("email", **user), "", mark)
            self.assertEqual(self.email("data.user.email", data={"user": user}), "")
        user = {"email": "ann@example.com", "email_verified": True}
        self.assertEqual(self.email("user.email", user=user), "ann@example.com")

    def test_long_subject(self) -> None:
        """An id that the place for it would not hold is nobody's."""
        for source, longest in ((COLUMN, 191), (BINDINGS, 256)):
            known = provider(source).profile({"sub": "s" * longest})
            self.assertEqual(len(known.subject), longest)
            with self.assertRaises(ProfileUnusable):
                provider(source).profile({"sub": "s" * (longest + 1)})
