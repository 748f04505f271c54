"""Tests of TOTP codes."""

from __future__ import annotations

from base64 import b32encode

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.accounts.second_factor import accepted_step, totp
from knight_tw.storage.factor_queries import Factor

RFC_SECRET = b32encode(b"12345678901234567890").decode()


class TotpTests(SynchronousTestCase):
    """`totp`."""

    def test_rfc(self) -> None:
        """The vectors of RFC 6238, appendix B, SHA-1, cut to six digits."""
        for seconds, code in (
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ):
            self.assertEqual(totp(RFC_SECRET, seconds // 30), code)

    def test_spelling(self) -> None:
        """Lower case, blanks and missing padding are the same secret."""
        spelled = "gezd gnbv gy3t qojq gezd gnbv gy3t qojq"
        self.assertEqual(totp(spelled, 1), totp(RFC_SECRET, 1))
        self.assertRaises(ValueError, totp, "not base32 !", 1)


class StepTests(SynchronousTestCase):
    """`accepted_step`."""

    def test_drift(self) -> None:
        """One step either way, never a used one or one before it."""
        at, step = 3_000, 100
        fresh = Factor(1, RFC_SECRET, 0, 0, 0)
        for offset, accepted in (
            (-2, False),
            (-1, True),
            (0, True),
            (1, True),
            (2, False),
        ):
            code = totp(RFC_SECRET, step + offset)
            found = accepted_step(fresh, code, at)
            self.assertEqual(found, step + offset if accepted else None)
        used = Factor(1, RFC_SECRET, 0, 0, step * 30)
        for offset, accepted in ((-1, False), (0, False), (1, True)):
            code = totp(RFC_SECRET, step + offset)
            self.assertEqual(accepted_step(used, code, at) is not None, accepted)

    def test_broken_secret(self) -> None:
        """A secret that is not base32 accepts nothing."""
        broken = Factor(1, "enc:!!", 0, 0, 0)
        self.assertIsNone(accepted_step(broken, "000000", 3_000))
