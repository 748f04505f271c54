"""Fails when a news fragment is misnamed, empty, or cannot be rendered."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAME = re.compile(
    r"(\d+|\+[\w-]+)\.(feature|bugfix|security|removal|doc|misc)(\.\d+)?\.md"
)


def complaints(folder: Path) -> list[str]:
    """What is wrong with the fragments in `folder`, one line each."""
    fragments = [path for path in folder.iterdir() if not path.name.startswith(".")]
    misnamed = [
        f"{path.name}: not <issue>.<kind>.md with a kind of news"
        for path in fragments
        if not NAME.fullmatch(path.name)
    ]
    empty = [
        f"{path.name}: empty" for path in fragments if not path.read_text().strip()
    ]
    return misnamed + empty


def main() -> int:
    """Check the fragments; returns the exit status."""
    found = complaints(ROOT / "newsfragments")
    for line in found:
        sys.stderr.write(f"newsfragments/{line}\n")
    draft = subprocess.run(
        [sys.executable, "-m", "towncrier", "build", "--draft", "--version", "next"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if draft.returncode:
        sys.stderr.write(draft.stderr or draft.stdout)
    return 1 if found or draft.returncode else 0


if __name__ == "__main__":
    sys.exit(main())
