"""Runs the coding agents that are installed, on every kind of channel.

    python -m tests.agents [FOLDER] [AGENT...]

FOLDER has the agents in `node_modules/.bin` (npm install PACKAGE in it); without one
the PATH is searched. An agent that is not there is left out, and named. Each is given a
task that needs two tool calls; the strict providers play the model. Prints a line per
run, and ends with 1 when one has failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from attrs import define, frozen

from tests.agents.agents import AGENTS, CONTENT, DONE, Agent
from tests.system.providers.heard import Heard
from tests.system.providers.server import Asked
from tests.system.scenarios import Ending, Tokens, ToolCall, Turn
from tests.system.stage import KINDS, Stage, model_of, stage

PATIENCE = 120
ROW = "{:8} {:10} {:8} {:>7} {:>9} {:>6} {:>8}  {}"


@define(eq=False)
class Model:
    """Plays the model: write, read, tell. Implements `Script`."""

    _agent: Agent
    _file: Path
    calls: int = 0

    def __call__(self, heard: Heard) -> tuple[Turn, int]:
        """The next step of a request that offers the tools; else a few words."""
        steps = self._steps(heard)
        done = sum(len(turn.results) for turn in heard.turns)
        if not steps or done >= len(steps):
            return Turn((DONE,), tokens=Tokens(900, 7, cached=600)), heard.spoken
        self.calls += 1
        pieces = ("One", " moment.") if done == 0 else ()
        turn = Turn(pieces, (steps[done],), ending=Ending.TOOLS)
        return turn, heard.spoken

    def _steps(self, heard: Heard) -> Sequence[ToolCall]:
        for steps in self._agent.steps:
            found = steps(self._file)
            if all(call.name in heard.tools for call in found):
                return found
        return ()


@frozen
class Run:
    """What came of one run."""

    agent: str
    kind: str
    version: str
    seconds: float
    asked: list[Asked]
    calls: int
    quota: int
    problem: str

    def line(self) -> str:
        """The row of the table."""
        return ROW.format(
            self.agent,
            self.kind,
            self.version,
            f"{self.seconds:.1f} s",
            len(self.asked),
            self.calls,
            self.quota,
            self.problem or "done",
        )


def main(words: list[str]) -> int:
    """Run what is installed; the exit status."""
    folder = Path(words[0]) / "node_modules" / ".bin" if words else None
    path = f"{folder}{os.pathsep}{os.environ['PATH']}" if folder else None
    print(
        ROW.format(
            "agent", "channel", "version", "time", "requests", "calls", "quota", ""
        )
    )
    failed = False
    for agent in AGENTS:
        if words[1:] and agent.name not in words[1:]:
            continue
        command = shutil.which(agent.name, path=path)
        if command is None:
            print(f"{agent.name:8} left out: npm install {agent.package}")
            continue
        version = _version(command)
        for kind in KINDS:
            run = _run(agent, command, kind, version)
            print(run.line(), flush=True)
            failed = failed or bool(run.problem)
    return int(failed)


def _version(command: str) -> str:
    told = subprocess.run(
        [command, "--version"], capture_output=True, text=True, check=False
    )
    words = [word for word in told.stdout.split() if word[:1].isdigit()]
    return words[0] if words else "?"


def _run(agent: Agent, command: str, kind: str, version: str) -> Run:
    """One agent on one kind of channel."""
    where = stage()
    with tempfile.TemporaryDirectory(prefix="knight-agent-") as folder:
        work, home = Path(folder) / "work", Path(folder) / "home"
        work.mkdir()
        home.mkdir()
        for name, content in agent.home.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_text(content)
        model = Model(agent, work / "hello.txt")
        where.providers.script = model
        where.providers.take()
        token = f"{agent.name}-{kind}"
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            **agent.environment(where.process.url, where.token(token), model_of(kind)),
        }
        told = [command, *agent.arguments(model_of(kind), where.process.url)]
        started = time.monotonic()
        status, said = _output(told, environment, work)
        seconds = time.monotonic() - started
        asked = where.providers.take()
        problem = _problem(status, said, asked, work / "hello.txt", where)
    rows = where.rows(token, len(asked))
    quota = sum(row["quota"] for row in rows)
    return Run(agent.name, kind, version, seconds, asked, model.calls, quota, problem)


def _output(
    command: list[str], environment: dict[str, str], work: Path
) -> tuple[int, str]:
    try:
        ended = subprocess.run(
            command,
            env=environment,
            cwd=work,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return -1, "it did not end"
    return ended.returncode, ended.stdout + ended.stderr


def _problem(
    status: int, said: str, asked: list[Asked], file: Path, where: Stage
) -> str:
    """Why the run has failed; empty when it has not."""
    refused = [text for one in asked for text in one.problems]
    if refused:
        return f"the provider refused: {refused[0]}"
    if not file.is_file() or file.read_text().strip() != CONTENT:
        return f"no file (exit {status}): {said[-600:]}"
    if status:
        return f"exit {status}: {said[-600:]}"
    if DONE not in said:
        return f"the answer did not arrive: {said[-600:]}"
    return ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
