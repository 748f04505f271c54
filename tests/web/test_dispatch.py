"""Tests of the tree of management routes."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.dispatch import Routes


class FindTests(SynchronousTestCase):
    """`Routes.find`."""

    def setUp(self) -> None:
        """Routes of several surfaces under one prefix."""
        self.routes: Routes[str] = Routes()
        for rule, methods, target in (
            ("/api/user/", ("GET", "POST"), "users"),
            ("/api/user/<int:user_id>", ("GET", "DELETE"), "users"),
            ("/api/user/self", ("GET",), "self"),
            ("/api/user/<int:user_id>/2fa", ("DELETE",), "factors"),
            ("/api/user/topup", ("GET",), "orders"),
            ("/api/user/topup", ("POST",), "codes"),
            ("/api/models", ("GET",), "mine"),
            ("/api/models/", ("GET", "POST"), "catalogue"),
            ("/api/files/<path:rest>", ("GET",), "files"),
        ):
            self.routes.add(rule, methods, target)

    def test_table(self) -> None:
        """Exact segments win, a trailing slash is the same, methods tell apart."""
        for method, path, expected in (
            ("GET", "/api/user/", "users"),
            ("GET", "/api/user", "users"),
            ("GET", "/api/user/7", "users"),
            ("GET", "/api/user/7/", "users"),
            ("GET", "/api/user/self", "self"),
            ("DELETE", "/api/user/7/2fa", "factors"),
            ("GET", "/api/user/topup", "orders"),
            ("POST", "/api/user/topup", "codes"),
            ("POST", "/api/user/topup/", "codes"),
            ("GET", "/api/models", "mine"),
            ("GET", "/api/models/", "catalogue"),
            ("POST", "/api/models", "catalogue"),
            ("GET", "/api/files/a/b/c", "files"),
            ("GET", "/api/files", None),
            ("GET", "/api/user/7/other", None),
            ("GET", "/api/user//2fa", None),
            ("GET", "/api/nothing", None),
            ("GET", "/", None),
            ("GET", "", None),
        ):
            self.assertEqual(self.routes.find(method, path), expected, (method, path))

    def test_exact_leads_nowhere(self) -> None:
        """A variable segment that has the method wins over an exact one without."""
        self.assertEqual(self.routes.find("DELETE", "/api/user/self"), "users")

    def test_other_method(self) -> None:
        """A known path with an unknown method leads to a surface that says 405."""
        self.assertEqual(self.routes.find("PATCH", "/api/user/7"), "users")

    def test_twice(self) -> None:
        """Two surfaces with one route are a mistake that stops the start."""
        self.assertRaises(ValueError, self.routes.add, "/api/user/", ("GET",), "other")
