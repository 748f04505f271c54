"""The worked examples of the conversion specification, each pair run.

A file is `NAME.in.DIALECT.KIND.json` or `NAME.out.DIALECT.KIND.json`; KIND is
`request`, `response`, `stream` or `stream.outline`. Streams are lists of events. In an
outline the events that carry a whole response object are shown without it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import SkipTest

import msgspec
from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.context import Context
from tests.convert.streaming import events_of, objects_of, streamed

EXAMPLES = Path(__file__).with_name("examples")
DIALECTS = ("chat", "claude", "gemini", "responses")

CREATED = 1790000000

# What an attempt knows besides the body: the mapped model and the channel's type.
TARGETS: dict[str, dict[str, Any]] = {
    "claude2chat_req": {"model": "gpt-5.2"},
    "claude2chat_req_b": {"model": "deepseek-chat", "provider_type": 43},
    "claude2gemini_req": {"model": "gemini-2.5-pro", "provider_type": 24},
    "chat2claude_tools": {"model": "claude-sonnet-4-5", "provider_type": 14},
    "chat2claude_reason": {"model": "claude-opus-4-8", "provider_type": 14},
    "gemini2claude_req": {"model": "claude-sonnet-4-5", "provider_type": 14},
    "chat2gemini": {"model": "gemini-2.5-flash", "provider_type": 24},
    "chat2gemini_b": {"model": "gemini-3-pro-preview", "provider_type": 24},
    "gemini2chat_req": {"model": "gpt-5.2"},
    "gemini2chat_req_b": {"model": "gpt-4.1"},
    "responses2chat_req": {"model": "qwen-max", "provider_type": 17},
    "chat2responses_req": {"model": "gpt-5.2"},
    "chat2claude_stream": {"model": "m", "estimate": 10},
    "gemini2chat_stream": {"model": "g"},
    "gemini2claude_resp": {"model": "gemini-3-pro-preview"},
}
DROPPED = {
    "chat2claude_tools": ["seed"],
    "chat2claude_reason": ["temperature"],
    "gemini2chat_req_b": ["stopSequences[4]"],
    "chat2responses_req": ["stop"],
}
ARGUMENTS_DONE = "response.function_call_arguments.done"
"""The event that also names the tool, which the examples leave out."""

IN_MIDDLE_FORM = {"responses2chat_req"}
"""Examples whose outcome is the middle form, before it is fitted to a channel."""


@frozen
class Example:
    """One pair: what comes in, in which dialect, and what shall come out."""

    name: str
    source: str
    target: str
    kind: str
    given: Any
    wanted: Any


def examples() -> Iterator[Example]:
    """All pairs, in the order of their names."""
    for path in sorted(EXAMPLES.glob("*.in.*.json")):
        name, _, source, kind = path.name.removesuffix(".json").split(".", 3)
        (other,) = EXAMPLES.glob(f"{name}.out.*.json")
        target = other.name.split(".")[2]
        yield Example(
            name,
            source,
            target,
            kind.partition(".")[0],
            msgspec.json.decode(path.read_bytes()),
            msgspec.json.decode(other.read_bytes()),
        )


def dialect(name: str) -> ModuleType:
    """The module of a dialect; a test is skipped until it is there."""
    try:
        module = importlib.import_module(f"knight_tw.convert.{name}")
    except ModuleNotFoundError:
        raise SkipTest(f"no conversion of {name}") from None
    if not hasattr(module, "StreamFromX"):
        raise SkipTest(f"no conversion of {name}")
    return module


class Examples(SynchronousTestCase):
    """Every pair of the specification."""

    def run_example(self, example: Example) -> None:
        """Convert what is given and compare it with what is wanted."""
        known: dict[str, Any] = {"created": CREATED, "request_id": "r"}
        wanted = example.wanted
        model = wanted.get("model", "") if isinstance(wanted, dict) else ""
        known |= {"model": model} | TARGETS.get(example.name, {})
        context = Context(**known)
        source, target = dialect(example.source), dialect(example.target)
        if example.kind == "request":
            got = source.request_to_x(example.given, context)
            if example.name not in IN_MIDDLE_FORM:
                got = target.request_from_x(got, context)
            self.assertEqual(context.dropped, DROPPED.get(example.name, []))
        elif example.kind == "response":
            got = target.response_from_x(
                source.response_to_x(example.given, context), context
            )
        else:
            events = events_of(example.given)
            got = objects_of(streamed(source, target, events, context))
        self.compare(got, wanted)

    def compare(self, got: Any, wanted: Any) -> None:
        """Equal but for time stamps, and for whole responses left out of outlines."""
        if isinstance(wanted, list):
            self.assertEqual(len(got), len(wanted), msgspec.json.encode(got))
            for one, other in zip(got, wanted, strict=True):
                self.compare(one, other)
            return
        left_out = {"created", "created_at", "completed_at"}
        if "response" not in wanted:
            left_out.add("response")
        if wanted.get("type") == ARGUMENTS_DONE:
            left_out.add("name")
        got, wanted = (
            {name: value for name, value in body.items() if name not in left_out}
            for body in (got, wanted)
        )
        self.assertEqual(got, wanted)


def _add(example: Example) -> None:
    def test(self: Examples) -> None:
        self.run_example(example)

    test.__doc__ = f"{example.name}: {example.source} {example.kind} as specified."
    setattr(Examples, f"test_{example.name}", test)


for _example in examples():
    _add(_example)
