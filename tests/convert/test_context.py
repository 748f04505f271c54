"""What a conversion gets besides the body."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context


class Ids(SynchronousTestCase):
    """New ids."""

    def test_ids_are_new_and_repeatable(self) -> None:
        """Each id differs; the same request makes the same ids, another others."""
        first, again = Context("m", request_id="a"), Context("m", request_id="a")
        ids = [first.ids("call_") for _ in range(3)]
        self.assertEqual(len(set(ids)), 3)
        self.assertTrue(all(len(i) == 21 and i.startswith("call_") for i in ids))
        self.assertEqual(ids[0], again.ids("call_"))
        self.assertNotEqual(ids[0], Context("m", request_id="b").ids("call_"))

    def test_the_answer_goes_on_with_the_ids(self) -> None:
        """A request's and its answer's ids never meet; losses are kept apart."""
        context = Context("m", request_id="a")
        taken = context.ids("x")
        context.drop("seed")
        answering = context.answering("shown")
        self.assertEqual(answering.model, "shown")
        self.assertNotEqual(answering.ids("x"), taken)
        self.assertIs(answering.memory, context.memory)
        self.assertEqual(answering.dropped, [])


class Losses(SynchronousTestCase):
    """The loss report."""

    def test_names_are_the_clients(self) -> None:
        """A field is reported once, as the client calls it, with what is behind it."""
        context = Context("m")
        context.memory.field_names["stop"] = "stopSequences"
        for name in ("stop[4]", "stop", "seed", "stop.x", "seed", "[odd"):
            context.drop(name)
        wanted = ["stopSequences[4]", "stopSequences", "seed", "stopSequences.x"]
        self.assertEqual(context.dropped, [*wanted, "[odd"])


class Settings(SynchronousTestCase):
    """Options and settings."""

    def test_accepts(self) -> None:
        """Only yes and no count."""
        context = Context("m", settings={"accepts": {"a": True, "b": False, "c": 1}})
        said = [context.accepts(name) for name in "abcd"]
        self.assertEqual(said, [True, False, None, None])
        self.assertIsNone(Context("m").accepts("a"))

    def test_prefixes(self) -> None:
        """An option that is not set has its default; empty names do not count."""
        context = Context("m", options={"o": ["a", "", 3]})
        self.assertEqual(context.prefixed("o"), ("a",))
        self.assertEqual(context.prefixed("p", ("d",)), ("d",))
