"""Which type holds what both hold."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage.widths import wider_type

CASES = [
    # has, wants, dialect, wider
    ("CHAR(48)", "VARCHAR(128)", "postgresql", "VARCHAR(128)"),
    ("VARCHAR(191)", "VARCHAR(64)", "mysql", None),
    ("VARCHAR(64)", "VARCHAR(64)", "mysql", None),
    ("VARCHAR(1024)", "TEXT", "mysql", "TEXT"),
    ("TEXT", "LONGTEXT", "mysql", "LONGTEXT"),
    ("LONGTEXT", "TEXT", "mysql", None),
    ("LONGTEXT", "VARCHAR(255)", "mysql", None),
    ("TEXT", "VARCHAR(255)", "postgresql", None),
    ("VARCHAR(1024)", "TEXT", "postgresql", "TEXT"),
    ("VARCHAR", "TEXT", "postgresql", None),
    ("INTEGER", "BIGINT", "postgresql", "BIGINT"),
    ("INTEGER(11)", "BIGINT UNSIGNED", "mysql", "BIGINT UNSIGNED"),
    ("BIGINT(20)", "BIGINT", "mysql", None),
    ("BIGINT", "INTEGER UNSIGNED", "mysql", None),
    ("TINYINT(1)", "BOOL", "mysql", None),
    ("NUMERIC(6, 2)", "NUMERIC(10, 6)", "postgresql", "NUMERIC(10, 6)"),
    ("DECIMAL(10, 2)", "NUMERIC(10, 6)", "mysql", "NUMERIC(14, 6)"),
    ("NUMERIC(12, 8)", "NUMERIC(10, 6)", "postgresql", None),
    ("NUMERIC", "NUMERIC(10, 6)", "postgresql", None),
    ("JSON", "JSON", "postgresql", None),
    ("DOUBLE", "DOUBLE", "mysql", None),
]


class WiderTypeTests(SynchronousTestCase):
    """`wider_type`."""

    def test_table(self) -> None:
        """Every pair gives the wider type, or nothing when the old one is enough."""
        for has, wants, dialect, wider in CASES:
            self.assertEqual(wider_type(has, wants, dialect), wider, (has, wants))
