"""Claude Code, Codex CLI and Gemini CLI as values: how each is run without a terminal.

Each is given a home of its own, so that nothing of the user's is read or written.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from attrs import frozen

from tests.system.scenarios import ToolCall

CONTENT = "hello from the gateway"
TASK = f"Write the line '{CONTENT}' into hello.txt, then read the file."
DONE = "The file is written."

Steps = Callable[[Path], tuple[ToolCall, ToolCall]]


@frozen
class Agent:
    """One agent.

    Attributes:
        package: Where it comes from, in npm.
        dialect: The kind of channel that speaks its own dialect.
        arguments: Its command line for a model and an address.
        environment: Variables for an address, a key and a model.
        home: Files of its home folder, by name.
        steps: Writing and reading, by tools that it may offer: the first pair of
            which it offers both is used.
    """

    name: str
    package: str
    dialect: str
    arguments: Callable[[str, str], list[str]]
    environment: Callable[[str, str, str], Mapping[str, str]]
    steps: tuple[Steps, ...]
    home: Mapping[str, str] = {}


def _call(name: str, **arguments: Any) -> ToolCall:
    return ToolCall(name, arguments, "")


def _claude_arguments(model: str, url: str) -> list[str]:
    tools = ["--allowedTools", "Write,Read", "--output-format", "json"]
    return ["-p", TASK, "--model", model, *tools]


def _claude_environment(url: str, key: str, model: str) -> Mapping[str, str]:
    return {
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": key,
        "ANTHROPIC_DEFAULT_HAIKU_MODEL": model,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    }


def _codex_arguments(model: str, url: str) -> list[str]:
    settings = {
        "model_provider": "knight",
        "model_providers.knight.name": "Knight Omega",
        "model_providers.knight.base_url": f"{url}/v1",
        "model_providers.knight.env_key": "KNIGHT_KEY",
        "model_providers.knight.wire_api": "responses",
    }
    told = [f'{name}="{value}"' for name, value in settings.items()]
    flags = [word for pair in told for word in ("-c", pair)]
    free = ["--dangerously-bypass-approvals-and-sandbox", "--skip-git-repo-check"]
    return ["exec", *flags, *free, "--json", "-m", model, TASK]


def _gemini_arguments(model: str, url: str) -> list[str]:
    free = ["--approval-mode", "yolo", "--skip-trust"]
    return ["-m", model, *free, "--output-format", "json", "-p", TASK]


def _gemini_environment(url: str, key: str, model: str) -> Mapping[str, str]:
    return {
        "GOOGLE_GEMINI_BASE_URL": url,
        "GEMINI_API_KEY": key,
        "GEMINI_TELEMETRY_ENABLED": "false",
    }


def _shell(path: Path) -> tuple[str, str]:
    return (
        f"printf '%s\\n' {shlex.quote(CONTENT)} > {shlex.quote(str(path))}",
        f"cat {shlex.quote(str(path))}",
    )


def _words(path: Path) -> tuple[ToolCall, ToolCall]:
    write, read = (["bash", "-lc", line] for line in _shell(path))
    return _call("shell", command=write), _call("shell", command=read)


def _line(name: str, field: str) -> Steps:
    def steps(path: Path) -> tuple[ToolCall, ToolCall]:
        write, read = (_call(name, **{field: line}) for line in _shell(path))
        return write, read

    return steps


def _files(write: str, read: str) -> Steps:
    def steps(path: Path) -> tuple[ToolCall, ToolCall]:
        told = str(path)
        return (
            _call(write, file_path=told, content=f"{CONTENT}\n"),
            _call(read, file_path=told),
        )

    return steps


_GEMINI_SETTINGS = {"security": {"auth": {"selectedType": "gemini-api-key"}}}

AGENTS = (
    Agent(
        "claude",
        "@anthropic-ai/claude-code",
        "claude",
        _claude_arguments,
        _claude_environment,
        (_files("Write", "Read"),),
    ),
    Agent(
        "codex",
        "@openai/codex",
        "responses",
        _codex_arguments,
        lambda url, key, model: {"KNIGHT_KEY": key},
        (_line("exec_command", "cmd"), _line("shell_command", "command"), _words),
    ),
    Agent(
        "gemini",
        "@google/gemini-cli",
        "gemini",
        _gemini_arguments,
        _gemini_environment,
        (_files("write_file", "read_file"),),
        home={".gemini/settings.json": json.dumps(_GEMINI_SETTINGS)},
    ),
)
