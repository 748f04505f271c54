"""Tests of what the machine says about itself."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import machine
from knight_tw.machine import Processors


class ProcessorTests(SynchronousTestCase):
    """How busy the processors are."""

    def setUp(self) -> None:
        """A file in the kernel's form."""
        self.stat = Path(self.mktemp())
        self.ticks(100, 900)
        self.processors = Processors(self.stat)

    def ticks(self, worked: int, idle: int) -> None:
        """So many ticks since the start of the machine."""
        half = idle // 2
        text = f"cpu  {worked} 0 0 {half} {idle - half} 0 0 0 50 50\ncpu0 1 2 3 4\n"
        self.stat.write_text(text)

    def test_between(self) -> None:
        """The share is of the time since the last question."""
        self.ticks(130, 970)
        self.assertEqual(self.processors.percent(), 30.0)
        self.ticks(230, 970)
        self.assertEqual(self.processors.percent(), 100.0)

    def test_at_once(self) -> None:
        """No time has passed."""
        self.assertEqual(self.processors.percent(), 0.0)

    def test_elsewhere(self) -> None:
        """Where the kernel says nothing they are idle."""
        self.assertEqual(Processors(Path("/nowhere")).percent(), 0.0)


class MachineTests(SynchronousTestCase):
    """This very machine."""

    def test_memory(self) -> None:
        """Some of the memory is used."""
        self.assertTrue(0 < machine.memory_percent() < 100)
        found = machine.process_memory()
        self.assertTrue(0 < found["alloc"] <= found["total_alloc"])
        self.assertGreater(found["sys"], found["alloc"])

    def test_storage(self) -> None:
        """Used and free are no more than there is; nothing where nothing is."""
        found = machine.storage(".")
        self.assertLessEqual(found["used"] + found["free"], found["total"])
        self.assertTrue(0 < found["used_percent"] <= 100)
        self.assertEqual(machine.storage("/nowhere")["total"], 0)

    def test_kind(self) -> None:
        """In the reference's words."""
        system, processor = machine.kind()
        self.assertEqual(system, system.lower())
        self.assertNotEqual(processor, "x86_64")
        self.assertIsInstance(machine.in_container(), bool)
