"""Tests on several engines are made, skipped or failed as the variables say."""

from __future__ import annotations

import os
import sys
from unittest import SkipTest

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.engines import (
    KINDS,
    ConnectionCase,
    for_engines,
    fresh_database,
    server_address,
)


@for_engines
class SampleTests(ConnectionCase):
    """One case for every engine."""

    def test_dialect(self) -> None:
        """The connection is to the engine that the class is named after."""
        self.assertEqual(self.connection.dialect.name, self.kind)

    def test_own_rows(self) -> None:
        """Each test starts without rows, whatever others did."""
        self.assertEqual(self.rows(schema.options), [])
        self.insert(schema.options, key=self.id()[:100], value="")

    test_own_rows_again = test_own_rows


class VariableTests(SynchronousTestCase):
    """The variables."""

    def setUp(self) -> None:
        """No servers named."""
        self.patch(os, "environ", {})

    def test_classes(self) -> None:
        """A class for each engine."""
        module = sys.modules[__name__]
        kinds = [
            getattr(module, name).kind
            for name in vars(module)
            if name.startswith("SampleTests")
        ]
        self.assertEqual(sorted(kinds), sorted(KINDS))

    def test_skipped(self) -> None:
        """Without a server the reason says how to get one."""
        error = self.assertRaises(SkipTest, server_address, "mysql")
        self.assertIn("KNIGHT_TEST_MYSQL", str(error))

    def test_required(self) -> None:
        """Where servers are required, a missing one is a failure."""
        os.environ["KNIGHT_TEST_REQUIRED"] = "1"
        self.assertRaises(AssertionError, server_address, "postgresql")

    def test_sqlite(self) -> None:
        """SQLite needs none."""
        self.assertTrue(sa.make_url(fresh_database("sqlite")).database)
