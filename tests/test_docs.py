"""The manual: complete, not stale, no dead links."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.dotenv import dotenv
from knight_tw.options.table import OPTIONS
from knight_tw.settings import NAMES, VARIABLES
from scripts import manual

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*(ROOT / "docs").glob("*.md"), *ROOT.glob("*.md")])
PACKAGE = re.compile(r"[A-Za-z0-9._-]+")
LINK = re.compile(r"\]\((?!https?:)([^)#\s]+)")


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


class Tables(SynchronousTestCase):
    """What is made from the code."""

    def test_no_table_is_stale(self) -> None:
        """`make manual` has been run since settings, options or providers changed."""
        self.assertEqual(manual.stale(), [], "run make manual")

    def test_each_variable_is_documented(self) -> None:
        """With its default, an example and a meaning."""
        page = text("docs/configuration.md")
        for variable in VARIABLES.values():
            self.assertIn(f"| `{variable.name}` |", page)
            self.assertTrue(variable.example and variable.meaning, variable.name)

    def test_each_option_is_documented(self) -> None:
        """By its key."""
        page = text("docs/options.md")
        for key in OPTIONS:
            self.assertIn(f"| `{key}` |", page)

    def test_a_bar_in_a_cell_is_escaped(self) -> None:
        """A value with a bar does not break its row."""
        self.assertEqual(
            list(manual.table(("A",), [("x|y",)])), ["| A |", "|---|", "| x\\|y |"]
        )

    def test_only_what_is_between_the_marks_changes(self) -> None:
        """The text of a person stays."""
        page = "# T\n<!-- made from: ignored -->\nold\n<!-- end -->\nafter\n"
        made = manual.renewed(page)
        self.assertTrue(made.startswith("# T\n<!-- made from: ignored -->\n`"))
        self.assertTrue(made.endswith(".\n<!-- end -->\nafter\n"))
        self.assertEqual(manual.renewed(made), made)


class Pages(SynchronousTestCase):
    """What people wrote."""

    def test_links_lead_somewhere(self) -> None:
        """Each relative link names a file that is there."""
        for page in PAGES:
            for target in LINK.findall(page.read_text(encoding="utf-8")):
                self.assertTrue(
                    (page.parent / target).exists(), f"{page.name}: {target}"
                )

    def test_the_index_lists_each_page(self) -> None:
        """No page is lost."""
        index = text("docs/index.md")
        for page in (ROOT / "docs").glob("*.md"):
            if page.name != "index.md":
                self.assertIn(f"\n{page.stem}\n", index)

    def test_each_dependency_has_its_reason(self) -> None:
        """In a table of `docs/dependencies.md`, which names no package that is gone."""
        tables = re.findall(r"^\| ([^|]+) \|", text("docs/dependencies.md"), re.M)
        named = {name.strip().lower() for cell in tables for name in cell.split(",")}
        self.assertEqual(named - {"package"}, dependencies())

    def test_make_targets_in_the_manual_exist(self) -> None:
        """A command that a page names can be typed."""
        targets = set(re.findall(r"^([a-z-]+):", text("Makefile"), re.MULTILINE))
        for page in PAGES:
            for target in re.findall(r"(?:^|`)make ([a-z-]+)", text_of(page), re.M):
                self.assertIn(target, targets, page.name)

    def test_the_example_file_names_real_variables(self) -> None:
        """Each line of `.env.example` can be taken as it stands."""
        lines = [
            line.removeprefix("# ")
            for line in text(".env.example").splitlines()
            if re.match(r"# [A-Z_]+=", line)
        ]
        self.assertGreater(len(lines), 8)
        for line in lines:
            (name,) = dotenv(line)
            self.assertIn(name, NAMES)


def dependencies() -> set[str]:
    """Every package that `setup.cfg` asks for, extras included, in lower case."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [setup["options"]["install_requires"]]
    lists += setup["options.extras_require"].values()
    lines = [line for one in lists for line in one.split("\n")]
    found = (PACKAGE.match(line) for line in lines)
    return {match[0].lower() for match in found if match}


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")
