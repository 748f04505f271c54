"""Who imports whom: a module knows the layers below it and never those above."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

PACKAGE = Path(__file__).resolve().parent.parent / "knight_tw"

LAYERS: tuple[tuple[str, ...], ...] = (
    # 0: values
    (
        *("errors", "records", "requestid", "variables", "dotenv", "settings"),
        *("patterns", "status_ranges", "expression*", "options", "prices"),
        "price_rules",
    ),
    # 1: formats and decisions
    (
        *("wire", "convert", "providers", "price_book", "pricing", "routing*"),
        *("counting", "overrides", "rates", "words", "latency", "metrics"),
        "payments",
    ),
    # 2: databases, Redis, sockets, the event loop
    (
        *("background", "storage", "cache", "protocols", "upstream", "addresses"),
        "reactor",
    ),
    # 3: use cases
    (
        "jobs",
        "chores",
        "snapshots",
        "log_cleanup",
        "log_tail",
        "log_files",
        "feeds",
        "machine",
        "load",
        "nodes",
        "price_sync",
        "model_sync",
        "checkouts",
        "credentials",
        "ledger",
        "relay",
        "channels",
        "accounts",
        "notices",
    ),
    # 4: surfaces
    ("web",),
    # 5: the process
    (
        *("service", "relaying", "management", "secrets", "startup", "logging"),
        *("readings", "tap", "cli", "importing"),
    ),
)
"""Top-level modules and packages by layer; `*` is any rest; new ones are added here."""

PURE_LAYERS, CLOCKED = 2, frozenset({"requestid"})
"""The lowest layers are pure, with one exception that makes ids of the time."""

IMPURE = frozenset({"twisted", "sqlalchemy", "klein", "treq", "os", "time", "random"})
PASSED_IN = frozenset({"random.Random"})
"""Names a pure module may have of an impure one: the type of what is passed to it."""

OWNERS = {
    "httptools": {"protocols"},
    "txredisapi": {"cache"},
    "klein": {"web"},
    "werkzeug": {"web"},
    "autobahn": {"protocols"},
    "google_crc32c": {"ledger"},
    "bcrypt": {"accounts"},
    "webauthn": {"accounts"},
    "tiktoken": {"counting"},
    "brotli": {"protocols", "upstream", "web"},
    "zstandard": {"protocols", "upstream", "web"},
}
"""Third-party modules that few of ours may import."""


@frozen
class Import:
    """One import: where it stands, who imports, and what (dotted)."""

    where: str
    importer: str
    name: str

    @property
    def ours(self) -> str:
        """The top-level module of ours that is imported, or an empty string."""
        first, _, rest = self.name.partition(".")
        return rest.partition(".")[0] if first == PACKAGE.name else ""

    @property
    def package(self) -> str:
        """The package that is imported."""
        return self.name.partition(".")[0]


def imports() -> Iterator[Import]:
    """Every import of every module of the package, those in functions included."""
    for path in sorted(PACKAGE.rglob("*.py")):
        inside = path.relative_to(PACKAGE)
        importer = inside.parts[0].removesuffix(".py")
        for node, name in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            yield Import(f"{inside}:{node.lineno}", importer, name)


def _imported(tree: ast.AST) -> Iterator[tuple[ast.stmt, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                yield node, f"{'.' * node.level}{node.module or ''}.{alias.name}"


def layer(name: str) -> int:
    """The number of a module's layer; -1 when it is not written down."""
    for number, patterns in enumerate(LAYERS):
        if any(fnmatch(name, pattern) for pattern in patterns):
            return number
    return -1


class Layers(SynchronousTestCase):
    """The map of `docs/architecture.md`."""

    def setUp(self) -> None:
        found = [one for one in imports() if one.importer != "__init__"]
        self.lost = {one.importer for one in found if layer(one.importer) < 0}
        self.imports = [one for one in found if one.importer not in self.lost]

    def test_each_module_has_its_place(self) -> None:
        """A new module belongs to a layer, and says so here."""
        self.assertEqual(self.lost, set(), "add it to LAYERS")

    def test_nobody_imports_upwards(self) -> None:
        """Lower layers never import higher ones."""
        breaches = [
            f"{one.where} imports {one.ours}"
            for one in self.imports
            if one.ours and layer(one.ours) > layer(one.importer)
        ]
        self.assertEqual(breaches, [])

    def test_no_circles(self) -> None:
        """Within a layer too, a module never knows who knows it."""
        graph: dict[str, set[str]] = {}
        for one in self.imports:
            if layer(one.ours) >= 0 and one.ours != one.importer:
                graph.setdefault(one.importer, set()).add(one.ours)
        self.assertEqual(circle(graph), [])

    def test_pure_modules_stay_pure(self) -> None:
        """No sockets, databases, clocks or chance in values, formats and decisions."""
        breaches = [
            f"{one.where} imports {one.name}"
            for one in self.imports
            if layer(one.importer) < PURE_LAYERS
            and one.importer not in CLOCKED
            and one.package in IMPURE
            and one.name not in PASSED_IN
        ]
        self.assertEqual(breaches, [])

    def test_third_parties_have_owners(self) -> None:
        """A library that one part exists for is not used around it."""
        breaches = [
            f"{one.where} imports {one.name}"
            for one in self.imports
            if one.importer not in OWNERS.get(one.package, {one.importer})
        ]
        self.assertEqual(breaches, [])

    def test_imports_are_absolute(self) -> None:
        """So that grep finds them, and this test."""
        relative = [one.where for one in self.imports if one.name.startswith(".")]
        self.assertEqual(relative, [])


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of a circle of imports, or none."""
    done: set[str] = set()

    def walk(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for further in sorted(graph.get(name, ())):
            if found := walk(further, [*path, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])


class Circles(SynchronousTestCase):
    """The search for circles itself."""

    def test_a_circle_is_found(self) -> None:
        """From any entrance."""
        self.assertEqual(
            circle({"z": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a"}}),
            ["a", "b", "c", "a"],
        )

    def test_a_diamond_is_none(self) -> None:
        """Two ways to one module are no circle."""
        self.assertEqual(circle({"a": {"b", "c"}, "b": {"d"}, "c": {"d"}}), [])
