"""Tests of what passkeys cost those who have none."""

from __future__ import annotations

import subprocess
import sys

from twisted.trial.unittest import SynchronousTestCase


class MemoryTests(SynchronousTestCase):
    """The library that reads passkeys."""

    def test_not_loaded(self) -> None:
        """It is loaded with the first passkey: not when the gateway starts."""
        asked = (
            "import sys, knight_tw.service;"
            "print([name for name in sys.modules"
            " if name.split('.')[0] == 'webauthn'])"
        )
        told = subprocess.run(
            [sys.executable, "-c", asked], capture_output=True, check=True
        )
        self.assertEqual(told.stdout.strip(), b"[]")
