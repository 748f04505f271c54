"""What `make` calls."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from scripts import check_news, run_tests

ROOT = Path(__file__).resolve().parent.parent


class Summary(SynchronousTestCase):
    """The closing line of a test run."""

    def closing(self, line: str) -> str:
        found = run_tests.SUMMARY.match(line)
        assert found is not None, line
        return run_tests.counts(found["counts"] or "")

    def test_a_good_run(self) -> None:
        """What trial says when everything passed."""
        said = "PASSED (skips=2, successes=1203)\n"
        self.assertEqual(self.closing(said), "1203 passed, 0 failed, 2 skipped")

    def test_a_bad_run(self) -> None:
        """Failures, errors and unexpected successes are all failed tests."""
        said = "FAILED (failures=1, errors=2, unexpectedSuccesses=1, successes=7)\n"
        self.assertEqual(self.closing(said), "7 passed, 4 failed, 0 skipped")

    def test_an_empty_run(self) -> None:
        """No test at all."""
        self.assertEqual(self.closing("PASSED\n"), "0 passed, 0 failed, 0 skipped")

    def test_names_of_tests_are_no_summary(self) -> None:
        """Only trial's last line is."""
        self.assertIsNone(run_tests.SUMMARY.match("  test_PASSED (successes=1) ..."))


class Engines(SynchronousTestCase):
    """Which engines take part."""

    def test_an_address_in_any_form(self) -> None:
        """URLs and Go's form, as long as somebody answers."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            for address in (
                f"postgres://u@127.0.0.1:{port}/db",
                f"u:p@tcp(127.0.0.1:{port})/db",
                f"redis://127.0.0.1:{port}/0",
            ):
                self.assertTrue(run_tests.answers(address, 1), address)
        self.assertFalse(run_tests.answers(f"redis://127.0.0.1:{port}", 1))

    def test_an_engine_without_an_address_is_left_out(self) -> None:
        """Tests ask for the variable, so a server elsewhere does not count."""
        self.assertEqual(run_tests.left_out({}), ["PostgreSQL", "MariaDB", "Redis"])


class News(SynchronousTestCase):
    """The check of news fragments."""

    def complaints(self, **files: str) -> list[str]:
        folder = Path(self.mktemp())
        folder.mkdir()
        for name, text in files.items():
            (folder / name.replace("_", ".")).write_text(text)
        return check_news.complaints(folder)

    def test_good_fragments(self) -> None:
        """An issue, a kind, some text."""
        self.assertEqual(
            self.complaints(**{"3_feature_md": "x", "12_doc_2_md": "y"}), []
        )

    def test_a_wrong_kind(self) -> None:
        """Kinds are those of the changelog."""
        (said,) = self.complaints(**{"3_change_md": "x"})
        self.assertIn("3.change.md", said)

    def test_an_empty_fragment(self) -> None:
        """News say something."""
        self.assertEqual(
            self.complaints(**{"3_feature_md": " \n"}), ["3.feature.md: empty"]
        )

    def test_ours(self) -> None:
        """The fragments of this checkout are in order."""
        self.assertEqual(check_news.complaints(ROOT / "newsfragments"), [])


class FindingPython(SynchronousTestCase):
    """`scripts/python.sh`."""

    def find(self, scripts: dict[str, str], **more: str) -> tuple[int, str, str]:
        folder = Path(self.mktemp()).absolute()
        folder.mkdir()
        for name, text in scripts.items():
            (folder / name).write_text(f"#!/bin/sh\n{text}\n")
            (folder / name).chmod(0o755)
        done = subprocess.run(
            ["/bin/sh", str(ROOT / "scripts" / "python.sh")],
            env={"PATH": str(folder), **more},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    def test_a_command_that_does_not_work_is_passed_over(self) -> None:
        """Version switchers leave such commands on the path."""
        found = self.find({"python3.13": "exit 127", "python3.11": "echo /bin/py"})
        self.assertEqual(found, (0, "/bin/py\n", ""))

    def test_too_old(self) -> None:
        """One line: what is needed, what is there, what to do."""
        old = 'case "$2" in *platform*) echo 3.9.2;; esac'
        status, out, err = self.find({"python3": old})
        self.assertEqual((status, out, err.count("\n")), (1, "", 1))
        self.assertIn("Python 3.11 or later is needed; python3 here is 3.9.2", err)

    def test_none_at_all(self) -> None:
        """One line too."""
        status, _, err = self.find({})
        self.assertEqual((status, err.count("\n")), (1, 1))
        self.assertIn("none was found", err)

    def test_the_one_that_was_named(self) -> None:
        """PYTHON wins, and is named when it is no good."""
        scripts = {"mine": "echo /bin/mine", "python3.11": "echo /bin/py"}
        self.assertEqual(self.find(scripts, PYTHON="mine")[1], "/bin/mine\n")
        self.assertIn("PYTHON=other", self.find(scripts, PYTHON="other")[2])


class Make(SynchronousTestCase):
    """The Makefile itself."""

    def test_help_explains_each_target(self) -> None:
        """`make help` has a line for everything that can be typed."""
        text = (ROOT / "Makefile").read_text()
        phony = re.findall(r"^\.PHONY: (.*)$", text, re.MULTILINE)[0].split()
        said = subprocess.run(
            ["make", "--no-print-directory", "help"],
            cwd=ROOT,
            env={"PATH": os.environ["PATH"]},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for target in phony:
            self.assertRegex(said, rf"(?m)^  make {target} +\w")
