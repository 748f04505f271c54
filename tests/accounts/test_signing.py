"""Tests of signed cookies and bearer tokens."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from hashlib import sha256
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.signing import (
    ACCESS,
    COOKIE_SECONDS,
    PROOF,
    Claims,
    Expired,
    Signer,
    Unreadable,
    looks_like_bearer,
)

NOW = 1_795_604_332
SIGNER = Signer("a test secret")
CLAIMS = Claims(7, "sid-1", 3, 1)


def decoded(part: str) -> Any:
    """The JSON of a part of a token."""
    return json.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))


class CookieTests(SynchronousTestCase):
    """`cookie` and `read_cookie`."""

    @settings(max_examples=50, deadline=None)
    @given(
        st.dictionaries(
            st.text(max_size=10).filter(lambda name: name != "t"),
            st.one_of(st.text(max_size=20), st.integers(-(2**40), 2**40)),
            max_size=5,
        )
    )
    def test_round_trip(self, content: dict[str, Any]) -> None:
        """What was put in comes out, with the time of issue."""
        value = SIGNER.cookie(content, NOW)
        self.assertRegex(value, r"\A[-_.A-Za-z0-9]+\Z")
        self.assertEqual(SIGNER.read_cookie(value, NOW), {**content, "t": NOW})

    @settings(max_examples=100, deadline=None)
    @given(st.data())
    def test_changed(self, data: st.DataObject) -> None:
        """A cookie with any other character in any place is not ours."""
        value = SIGNER.cookie({"id": 7}, NOW)
        # The last character of base64 may hold unused bits; those before cannot.
        place = data.draw(st.integers(0, len(value) - 2))
        other = data.draw(st.sampled_from("AZaz09-_."))
        if other != value[place] and value[place + 1 : place + 2] not in ("", "."):
            changed = value[:place] + other + value[place + 1 :]
            self.assertRaises(Unreadable, SIGNER.read_cookie, changed, NOW)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=200))
    def test_nonsense(self, value: str) -> None:
        """Any text is either ours or Unreadable."""
        self.assertRaises(Unreadable, SIGNER.read_cookie, value, NOW)

    def test_age(self) -> None:
        """A cookie lives thirty days and does not come from the future."""
        value = SIGNER.cookie({"id": 7}, NOW)
        last = NOW + COOKIE_SECONDS - 1
        self.assertEqual(SIGNER.read_cookie(value, last)["id"], 7)
        self.assertRaises(Expired, SIGNER.read_cookie, value, last + 1)
        self.assertRaises(Expired, SIGNER.read_cookie, value, NOW - 60)


class BearerTests(SynchronousTestCase):
    """`bearer` and `read_bearer`."""

    def token(self, use: str = ACCESS, **more: Any) -> str:
        """A token of fifteen minutes."""
        return SIGNER.bearer(CLAIMS, use, NOW, 900, "jti-1", **more)

    def test_claims(self) -> None:
        """The claims are those of the specification."""
        head, payload, _ = self.token().split(".")
        self.assertEqual(decoded(head), {"alg": "HS256", "typ": "JWT"})
        self.assertEqual(
            decoded(payload),
            {
                "iss": "new-api",
                "aud": ["new-api-dashboard"],
                "sub": "7",
                "sid": "sid-1",
                "uv": 3,
                "sv": 1,
                "token_use": "access",
                "iat": NOW,
                "nbf": NOW - 5,
                "exp": NOW + 900,
                "jti": "jti-1",
            },
        )

    def test_signature(self) -> None:
        """HS256 with the key derived from the secret for the purpose."""
        signed, _, signature = self.token().rpartition(".")
        key = hmac.digest(b"a test secret", b"new-api/auth/access/v1", sha256)
        expected = urlsafe_b64encode(hmac.digest(key, signed.encode(), sha256))
        self.assertEqual(signature.encode(), expected.rstrip(b"="))

    def test_round_trip(self) -> None:
        """A token is read until five seconds after its end."""
        token = self.token()
        self.assertEqual(SIGNER.read_bearer(token, ACCESS, NOW + 905), CLAIMS)
        self.assertRaises(Expired, SIGNER.read_bearer, token, ACCESS, NOW + 906)
        self.assertEqual(SIGNER.read_bearer(token, ACCESS, NOW - 10), CLAIMS)
        self.assertRaises(Unreadable, SIGNER.read_bearer, token, ACCESS, NOW - 11)

    def test_proof(self) -> None:
        """A proof carries how it was given and what for, and is no access token."""
        claims = Claims(7, "sid-1", 0, 0, "2fa", ("channel.key.read",))
        proof = SIGNER.bearer(claims, PROOF, NOW, 300, "x")
        self.assertEqual(SIGNER.read_bearer(proof, PROOF, NOW), claims)
        self.assertRaises(Unreadable, SIGNER.read_bearer, proof, ACCESS, NOW)
        self.assertRaises(Unreadable, SIGNER.read_bearer, self.token(), PROOF, NOW)

    def test_other_secret(self) -> None:
        """Another secret's token is not ours."""
        token = Signer("another").bearer(CLAIMS, ACCESS, NOW, 900, "x")
        self.assertRaises(Unreadable, SIGNER.read_bearer, token, ACCESS, NOW)

    def forged(self, head: dict[str, Any], body: dict[str, Any]) -> str:
        """A token of any content with the right signature."""
        parts = [
            urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()
            for part in (head, body)
        ]
        signed = ".".join(parts)
        key = hmac.digest(b"a test secret", b"new-api/auth/access/v1", sha256)
        signature = hmac.digest(key, signed.encode(), sha256)
        return f"{signed}.{urlsafe_b64encode(signature).rstrip(b'=').decode()}"

    def test_content(self) -> None:
        """Even with the right signature algorithm, issuer and audience must be ours."""
        head = {"alg": "HS256", "typ": "JWT"}
        body = decoded(self.token().split(".")[1])
        self.assertEqual(
            SIGNER.read_bearer(self.forged(head, body), ACCESS, NOW), CLAIMS
        )
        for other_head, other_body in (
            ({"alg": "none"}, body),
            ({"alg": "HS512"}, body),
            (head, {**body, "iss": "other"}),
            (head, {**body, "aud": "other"}),
            (head, {**body, "token_use": "refresh"}),
            (head, {**body, "sub": "x"}),
            (head, {**body, "exp": "soon"}),
            (head, {**body, "nbf": None}),
            (head, {}),
        ):
            token = self.forged(other_head, other_body)
            self.assertRaises(Unreadable, SIGNER.read_bearer, token, ACCESS, NOW)
        text_audience = self.forged(head, {**body, "aud": "new-api-dashboard"})
        self.assertEqual(SIGNER.read_bearer(text_audience, ACCESS, NOW), CLAIMS)

    @settings(max_examples=100, deadline=None)
    @given(st.text(max_size=200))
    def test_nonsense(self, token: str) -> None:
        """Any text is Unreadable."""
        self.assertRaises(Unreadable, SIGNER.read_bearer, token, ACCESS, NOW)

    def test_form(self) -> None:
        """Access tokens, base64 without a dot, are never taken for a bearer token."""
        self.assertTrue(looks_like_bearer(self.token()))
        for text in ("", "a.b", "a.b.c.d", "A+/=" * 8):
            self.assertFalse(looks_like_bearer(text))
