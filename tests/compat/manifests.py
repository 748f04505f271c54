"""Test classes that check every line of a manifest, one class per database."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from twisted.trial.unittest import SynchronousTestCase

from tests.compat.originals import ALL, Opened, manifest, opened, title

C = TypeVar("C", bound="type[ManifestCase]")

Line = tuple[str, Callable[[], None]]
"""What a line of a manifest is called, and its check."""


class ManifestCase(SynchronousTestCase):
    """Tests over the lines of one manifest; `original` names it."""

    original: ClassVar[str] = ""

    @property
    def opened(self) -> Opened:
        """The database, opened once per process."""
        return opened(self.original)

    @property
    def truth(self) -> dict[str, Any]:
        """The manifest."""
        return manifest(self.original)

    def each(self, lines: Iterable[Line]) -> None:
        """Checks every line; a failure names each line that does not hold, and why."""
        failed = []
        for name, check in lines:
            try:
                check()
            except AssertionError as error:
                failed.append(f"{name}: {error}")
        if failed:
            self.fail(f"{self.original}\n" + "\n".join(failed))


def for_originals(case: C) -> C:
    """Puts a class for each database into the module; the class itself has no tests."""
    module = sys.modules[case.__module__]
    tests = {name: getattr(case, name) for name in dir(case) if name.startswith("test")}
    for name in tests:
        delattr(case, name)
    for original in ALL:
        members = {"original": original, "__module__": case.__module__, **tests}
        made = f"{title(original)}{case.__name__.removeprefix('Every')}"
        members["__doc__"] = f"{case.__doc__} ({original})"
        setattr(module, made, type(made, (case,), members))
    return case
