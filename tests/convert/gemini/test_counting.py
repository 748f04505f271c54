"""The model of a whole request whose prompt Gemini counts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.gemini import with_model
from knight_tw.errors import InvalidRequest
from knight_tw.wire import top

CONTENTS = b'{"contents":[ {"parts":[{"text":"x"}]} ]'


class ModelTests(SynchronousTestCase):
    """`with_model`."""

    def changed(self, body: bytes) -> bytes:
        """The body for the model `y`."""
        return top.encode(with_model(top.read_top(body), "y"))

    def test_named(self) -> None:
        """The provider's name stands in its place, everything else as it was."""
        inner = CONTENTS + b',"model":"models/x","n":1.0}'
        for name in (b"generateContentRequest", b"generate_content_request"):
            body = b'{"%s":%s,"z":1}' % (name, inner)
            wanted = body.replace(b"models/x", b"models/y")
            self.assertEqual(self.changed(body), wanted)

    def test_nothing_to_change(self) -> None:
        """Contents alone, a request without a model, and the right one."""
        for body in (
            CONTENTS + b"}",
            b'{"generateContentRequest":' + CONTENTS + b"}}",
            b'{"generateContentRequest":' + CONTENTS + b',"model":"models/y"}}',
        ):
            self.assertEqual(self.changed(body), body)

    def test_no_object(self) -> None:
        """What is no request is refused."""
        with self.assertRaises(InvalidRequest):
            self.changed(b'{"generateContentRequest":5}')
