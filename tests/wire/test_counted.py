"""The gateway's own count in answers."""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Usage
from knight_tw.wire.counted import with_usage


class Counted(SynchronousTestCase):
    """`with_usage`."""

    def test_missing(self) -> None:
        """An answer that reports nothing, or zeros, gets the count."""
        usage = Usage(prompt=3, total=3)
        for body in (
            b'{"data":[0.10]}',
            b'{"usage":null,"data":[0.10]}',
            b'{"data":[0.10],"usage":{"prompt_tokens":0,"total_tokens":0}}',
        ):
            found = with_usage(body, usage)
            self.assertIn(b"[0.10]", found)
            tokens = {"prompt_tokens": 3, "total_tokens": 3}
            self.assertEqual(json.loads(found)["usage"], tokens)

    def test_there(self) -> None:
        """What the provider reported stays; nothing counted changes nothing."""
        body = b'{"usage":{"total_tokens":1}}'
        self.assertEqual(with_usage(body, Usage(prompt=3, total=3)), body)
        self.assertEqual(with_usage(b"{}", Usage()), b"{}")
