"""AWS signatures, by the test vectors that AWS publishes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.providers.sigv4 import Secret, canonical_request, sign, signing_key

ACCESS, KEY = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
SECRET = Secret(ACCESS, KEY, "us-east-1")
NOW = 1440938160.7
"""2015-08-30T12:36:00Z, as in the test suite."""

HOST = "https://example.amazonaws.com"
SUITE = (
    # AWS Signature Version 4 test suite: name, method, path and query, signature.
    (
        "get-vanilla",
        "GET",
        "/",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-vanilla-query-order-key-case",
        "GET",
        "/?Param2=value2&Param1=value1",
        "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
    ),
    (
        "get-relative",
        "GET",
        "/example/..",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-slash-dot-slash",
        "GET",
        "/./",
        "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
    ),
    (
        "get-space",
        "GET",
        "/example space/",
        "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741",
    ),
    (
        "get-slashes",
        "GET",
        "//example//",
        "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
    ),
    (
        "get-utf8",
        "GET",
        "/ሴ",
        "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85",
    ),
    (
        "post-vanilla",
        "POST",
        "/",
        "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
    ),
)

BEDROCK = "https://bedrock-runtime.us-east-1.amazonaws.com/model/"
MODEL = "us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke"
SIGNED_BY_AMAZON = (
    # The same by Amazon's own library, for what the suite does not have.
    (
        f"{BEDROCK}{MODEL}",
        [("Content-Type", "application/json")],
        b'{"a":1}',
        "content-type;host;x-amz-date",
        "df1aac87edcbfbf6a2f7ee3cdc1dda3bd2bb93c65dae16673aacc35a04f778ce",
    ),
    (
        f"{HOST}/",
        [("My-Header1", "  a   b  c ")],
        b'{"a":1}',
        "host;my-header1;x-amz-date",
        "4dc2ffc9a90a699a245fa4888ee07037a5d73f55b3d0a865d41190e02981d332",
    ),
)


def authorization(headers: list[tuple[str, str]]) -> str:
    """The header of the signature, which must be the only one of its name."""
    (found,) = (value for name, value in headers if name == "Authorization")
    return found


class Signatures(SynchronousTestCase):
    """`sign`."""

    def test_published(self) -> None:
        """AWS's test suite."""
        for name, method, path, signature in SUITE:
            with self.subTest(name=name):
                found = sign(SECRET, "service", method, HOST + path, [], b"", NOW)
                expected = (
                    f"AWS4-HMAC-SHA256 Credential={ACCESS}/20150830/us-east-1/service/"
                    f"aws4_request, SignedHeaders=host;x-amz-date, "
                    f"Signature={signature}"
                )
                self.assertEqual(authorization(found), expected)
                self.assertEqual(found[0], ("X-Amz-Date", "20150830T123600Z"))

    def test_bodies_and_headers(self) -> None:
        """Paths encoded twice, the body, and headers with blanks in them."""
        for url, headers, body, names, signature in SIGNED_BY_AMAZON:
            found = authorization(
                sign(SECRET, "service", "POST", url, headers, body, NOW)
            )
            self.assertIn(f"SignedHeaders={names},", found)
            self.assertTrue(found.endswith(f"Signature={signature}"), found)

    def test_session_token(self) -> None:
        """The token of a session is sent and signed."""
        secret = Secret(ACCESS, KEY, "us-east-1", "TOKEN")
        found = sign(secret, "bedrock", "GET", f"{HOST}/", [], b"", NOW)
        self.assertIn(("X-Amz-Security-Token", "TOKEN"), found)
        signature = "36c8a340bb0def2d7f3ba664b3f5346eaa7977e2f8e2bc91957338b97c69eaba"
        self.assertIn(signature, authorization(found))

    def test_signing_key(self) -> None:
        """The derived key of AWS's documentation."""
        found = signing_key(SECRET, "iam", "20150830").hex()
        expected = "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9"
        self.assertEqual(found, expected)

    def test_earlier_headers_go(self) -> None:
        """An authorization that stood there gives way; others stay, unsigned some."""
        headers = [("authorization", "x"), ("Accept", "a"), ("x-amz-date", "y")]
        found = sign(SECRET, "service", "GET", f"{HOST}/", headers, b"", NOW)
        self.assertEqual(found[0], ("Accept", "a"))
        self.assertEqual(len(found), 3)
        self.assertNotIn("accept", authorization(found))

    def test_hosts(self) -> None:
        """A port is part of the host unless the scheme implies it; a given one wins."""
        for url, host in (
            ("https://H:443/", "h"),
            ("http://h:80/", "h"),
            ("https://u:p@h:8443/", "h:8443"),
        ):
            _, text = canonical_request("GET", url, [], b"")
            self.assertIn(f"\nhost:{host}\n", text)
        _, text = canonical_request("GET", "https://h/", [("Host", "own")], b"")
        self.assertIn("\nhost:own\n", text)

    def test_repeated_headers(self) -> None:
        """Values of one name are joined."""
        headers = [("A", "1"), ("a", "2")]
        names, text = canonical_request("GET", "https://h", headers, b"")
        self.assertEqual(names, "a;host")
        self.assertIn("\na:1,2\n", text)

    def test_secrets_are_not_shown(self) -> None:
        """The text of a key pair holds no secret."""
        self.assertNotIn(KEY, repr(SECRET))
