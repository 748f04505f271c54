"""Whatever a client sends, no route of the account side crashes."""

from __future__ import annotations

import json

import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.gateway import Gateway

ROUTES = [
    ("GET", "/"),
    ("GET", "/api/setup"),
    ("POST", "/api/setup"),
    ("GET", "/api/status"),
    ("POST", "/api/user/login"),
    ("POST", "/api/user/login/2fa"),
    ("POST", "/api/user/auth/refresh"),
    ("POST", "/api/user/auth/logout"),
    ("GET", "/api/user/logout"),
    ("GET", "/api/user/sessions"),
    ("POST", "/api/verify"),
    ("GET", "/api/user/self"),
    ("PUT", "/api/user/self"),
    ("PUT", "/api/user/setting"),
    ("POST", "/api/user/aff_transfer"),
    ("PUT", "/api/user/prefs"),
    ("GET", "/api/user/"),
    ("GET", "/api/user/search"),
    ("POST", "/api/user/"),
    ("PUT", "/api/user/"),
    ("POST", "/api/user/manage"),
    ("POST", "/api/topup"),
    ("PUT", "/api/option/"),
    ("PUT", "/api/option/batch"),
    ("GET", "/api/option/history"),
]
NAMES = [
    "username",
    "password",
    "confirmPassword",
    "display_name",
    "original_password",
    "language",
    "sidebar_modules",
    "role",
    "id",
    "user_id",
    "quota",
    "value",
    "mode",
    "action",
    "key",
    "changes",
    "version",
    "code",
    "flow_token",
    "method",
    "scope",
    "notify_type",
    "quota_warning_threshold",
    "webhook_url",
    "group",
    "remark",
    "SelfUseModeEnabled",
    "ServerAddress",
]
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=30),
    st.sampled_from(
        ["\0", "a\0b", "ü" * 300, "add_quota", "override", "2fa", "webhook"]
    ),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3)
    ),
    max_leaves=5,
)
bodies = st.dictionaries(st.sampled_from(NAMES), values, max_size=6).map(
    lambda body: json.dumps(body).encode("utf-8", "surrogatepass")
)
header_bytes = st.binary(max_size=40).map(
    lambda raw: raw.replace(b"\r", b"").replace(b"\n", b"")
)
HEADERS = [
    b"Authorization",
    b"Cookie",
    b"New-Api-User",
    b"X-Auth-Session",
    b"X-Security-Proof",
    b"X-Forwarded-For",
    b"X-Forwarded-Proto",
    b"X-Knight-Status",
    b"X-Api-Compat",
    b"Accept-Encoding",
    b"User-Agent",
    b"Origin",
    b"Referer",
    b"Accept",
    b"Upgrade",
]


class FuzzTests(SynchronousTestCase):
    """Random input."""

    def setUp(self) -> None:
        """A gateway with root, by bearer session and access token."""
        self.gateway = Gateway()
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.script = self.gateway.script(1)

    def check(self, raw: bytes, peer: str = "127.0.0.1") -> None:
        """The request is answered, and not with a crash."""
        answer = self.gateway.send(raw, peer)
        self.assertLess(answer.status, 500, (raw, answer.body))
        if answer.status >= 400 and answer.body[:1] == b"{":
            self.assertTrue({"error", "code"} & set(answer.json))

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(ROUTES), bodies | st.binary(max_size=60))
    def test_bodies(self, route: tuple[str, str], body: bytes) -> None:
        """Bodies of any content, by root's access token."""
        head = (
            f"{route[0]} {route[1]} HTTP/1.1\r\nHost: a\r\n"
            f"Authorization: {self.script.headers['Authorization']}\r\n"
            f"Content-Length: {len(body)}\r\n\r\n"
        )
        self.check(head.encode() + body)
        self.restore()

    def restore(self) -> None:
        """Undo what a body may have changed about root's way in."""
        users = schema.users
        again = sa.update(users).where(users.c.id == 1)
        self.gateway.execute(
            again.values(access_token="A" * 32, role=100, status=1, deleted_at=None)
        )

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(ROUTES),
        st.lists(st.tuples(st.sampled_from(HEADERS), header_bytes), max_size=5),
    )
    def test_headers(
        self, route: tuple[str, str], headers: list[tuple[bytes, bytes]]
    ) -> None:
        """Headers of any bytes."""
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        first = f"{route[0]} {route[1]} HTTP/1.1\r\nHost: a\r\n".encode()
        self.check(first + lines + b"\r\n")

    @settings(max_examples=100, deadline=None)
    @given(
        st.sampled_from(["/api/user/", "/api/user/sessions/", "/api/", "/"]),
        st.binary(max_size=20),
        st.sampled_from(["GET", "DELETE", "PATCH", "OPTIONS", "HEAD"]),
    )
    def test_paths(self, prefix: str, rest: bytes, method: str) -> None:
        """Paths and queries of any bytes, escaped or not."""
        escaped = "".join(f"%{byte:02x}" for byte in rest)
        for tail in (escaped, f"?p={escaped}&keyword={escaped}", "9" * 25, "%00"):
            head = f"{method} {prefix}{tail} HTTP/1.1\r\nHost: a\r\n"
            token = self.script.headers["Authorization"]
            self.check(f"{head}Authorization: {token}\r\n\r\n".encode())
