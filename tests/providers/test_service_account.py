"""Google's service accounts."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qs

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.errors import ChannelFault, UpstreamFailed
from knight_tw.providers.service_account import exchange_for, read_account, read_grant
from tests.providers.attempts import channel

ACCOUNT = {
    "type": "service_account",
    "project_id": "p1",
    "private_key_id": "k1",
    "private_key": "-----BEGIN-----\\nx\\n-----END-----",
    "client_email": "a@p1",
}


def decoded(segment: str) -> Any:
    """One part of a JWT."""
    return json.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


class Accounts(SynchronousTestCase):
    """Reading a key."""

    def test_members(self) -> None:
        """What is used of it; line breaks may be written as two characters."""
        for key in (json.dumps(ACCOUNT), json.dumps([ACCOUNT])):
            found = read_account(key)
            self.assertEqual(
                (found.project_id, found.email, found.key_id), ("p1", "a@p1", "k1")
            )
            self.assertEqual(found.private_key, "-----BEGIN-----\nx\n-----END-----")
            self.assertNotIn("BEGIN", repr(found))

    def test_no_account(self) -> None:
        """Anything else is the channel's fault, and says what is missing."""
        for key in ("", "AIza", "5", "[]", json.dumps([ACCOUNT, ACCOUNT]), "[" * 9999):
            self.assertRaises(ChannelFault, read_account, key)
        for name in ("project_id", "client_email", "private_key"):
            with self.assertRaises(ChannelFault) as caught:
                read_account(json.dumps({**ACCOUNT, name: 5}))
            self.assertIn(name, caught.exception.message)


class Exchanges(SynchronousTestCase):
    """Asking for a token."""

    def test_request(self) -> None:
        """A signed statement, in a form, to the address that it names."""
        signed: list[tuple[str, bytes]] = []

        def sign(pem: str, text: bytes) -> bytes:
            signed.append((pem, text))
            return b"\xff\xfe"

        made = exchange_for(channel(41), json.dumps(ACCOUNT)).request(1000.9, sign)
        self.assertEqual(made.url, "https://www.googleapis.com/oauth2/v4/token")
        form = parse_qs(made.body.decode())
        self.assertEqual(
            form["grant_type"], ["urn:ietf:params:oauth:grant-type:jwt-bearer"]
        )
        head, claims, signature = form["assertion"][0].split(".")
        self.assertEqual(decoded(head), {"alg": "RS256", "typ": "JWT", "kid": "k1"})
        self.assertEqual(
            decoded(claims),
            {
                "iss": "a@p1",
                "scope": "https://www.googleapis.com/auth/cloud-platform",
                "aud": made.url,
                "iat": 1000,
                "exp": 3100,
            },
        )
        self.assertEqual(signature, "__4")
        self.assertEqual(signed[0][1], f"{head}.{claims}".encode())
        self.assertTrue(signed[0][0].startswith("-----BEGIN-----\n"))
        self.assertNotIn("assertion", repr(made))

    def test_no_key_id(self) -> None:
        """The id of the key is left out when there is none."""
        key = json.dumps({k: v for k, v in ACCOUNT.items() if k != "private_key_id"})
        made = exchange_for(channel(41), key).request(0, lambda pem, text: b"")
        head = parse_qs(made.body.decode())["assertion"][0].split(".")[0]
        self.assertNotIn("kid", decoded(head))

    def test_names(self) -> None:
        """Channels and keys do not share tokens; the name holds no secret."""
        one, other = json.dumps(ACCOUNT), json.dumps({**ACCOUNT, "x": 1})
        names = {
            exchange_for(channel(41, id=number), key).name
            for number in (1, 2)
            for key in (one, other, one)
        }
        self.assertEqual(len(names), 4)
        self.assertFalse(any("BEGIN" in name for name in names))

    def test_grants(self) -> None:
        """The token, for half an hour at most."""
        for answer, seconds in (
            ({"access_token": "t", "expires_in": 3599}, 1800),
            ({"access_token": "t", "expires_in": 100}, 100),
            ({"access_token": "t"}, 1800),
        ):
            found = read_grant(json.dumps(answer).encode())
            self.assertEqual((found.token, found.seconds), ("t", seconds))
            self.assertNotIn("'t'", repr(found))
        for body in (b"", b"[]", b"{}", b'{"access_token":5}'):
            self.assertRaises(UpstreamFailed, read_grant, body)
