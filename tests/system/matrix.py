"""Every scenario through one client, on every kind of channel, whole and streamed.

`fill` gives a test class one method for each cell, so that a failure names it.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from attrs import frozen
from twisted.trial.unittest import SynchronousTestCase

from tests.system.clients.answers import Answer, Client
from tests.system.providers.heard import Heard, signature
from tests.system.providers.server import Asked
from tests.system.scenarios import SCENARIOS, Ending, Scenario, Turn
from tests.system.stage import ALL_KINDS, KINDS, Kind, Stage, model_of, stage


@frozen
class Traits:
    """What a client's dialect has no words for.

    Attributes:
        make: The client, of an address and a key.
        stops: It can name stop sequences; `tells_stop`: and is told which was met.
        marks: It can mark what to keep in the cache.
        gemini: It speaks Gemini's dialect itself.
    """

    make: Callable[[str, str], Client]
    stops: bool = True
    tells_stop: bool = False
    marks: bool = False
    gemini: bool = False


@cache
def lasting(make: Callable[[str, str], Client], url: str, key: str) -> Client:
    """A client that all tests share: making one takes longer than most of them."""
    client = make(url, key)
    atexit.register(client.close)
    return client


class Case(SynchronousTestCase):
    """A test with a client in front of the stage."""

    traits: Traits
    timeout = 60

    def setUp(self) -> None:
        self.stage: Stage = stage()
        self.stage.providers.take()
        self.client: Any = lasting(
            self.traits.make, self.stage.process.url, self.stage.key
        )

    def converse(self, kind: str, scenario: Scenario, *, stream: bool) -> list[Answer]:
        """All answers of a scenario, each as the scenario has it."""
        messages = self.client.begin(scenario)
        answers: list[Answer] = []
        for turn in scenario.turns:
            answer = self.client.ask(model_of(kind), scenario, messages, stream=stream)
            self.agrees(answer, turn, ALL_KINDS[kind], scenario)
            self.assertEqual(answer.model, model_of(kind))
            answers.append(answer)
            if turn is not scenario.turns[-1]:
                self.client.go_on(messages, answer, turn)
        return answers

    # what the client understood --------------------------------------------------

    def agrees(
        self, answer: Answer, turn: Turn, kind: Kind, scenario: Scenario
    ) -> None:
        """The answer says what the turn says, as far as the dialects have words."""
        self.assertEqual(answer.text, turn.text)
        shown = turn.thoughts if scenario.thinking and kind.shows else ""
        self.assertEqual(answer.thoughts, shown)
        self.assertEqual(
            [(call.name, call.arguments) for call in answer.calls],
            [(call.name, dict(call.arguments)) for call in turn.calls],
        )
        self.assertEqual(answer.ending, self.ending(turn, kind))
        if answer.ending is Ending.SEQUENCE:
            self.assertEqual(answer.sequence, turn.sequence)
        tokens = turn.tokens
        told = {
            "prompt": tokens.prompt,
            "completion": tokens.completion,
            "cached": tokens.cached,
            "written": tokens.written if kind.tells_written else 0,
            "reasoning": tokens.reasoning,
        }
        self.assertEqual(answer.counts, {name: told[name] for name in answer.counts})

    def ending(self, turn: Turn, kind: Kind) -> Ending:
        """How the end looks to this client; only Claude names the stop sequence."""
        met = turn.ending is Ending.SEQUENCE
        if met and not (self.traits.tells_stop and kind is KINDS["claude"]):
            return Ending.END
        return turn.ending

    # what the provider understood --------------------------------------------------

    def arrived(self, kind: str, scenario: Scenario, *, stream: bool) -> None:
        """The provider got every request once, in its dialect, with all it says."""
        asked = self.stage.providers.take()
        self.assertEqual([one.problems for one in asked], [[]] * len(scenario.turns))
        self.assertEqual({one.dialect for one in asked}, {ALL_KINDS[kind].dialect})
        first, last = asked[0].heard, asked[-1].heard
        self.assertEqual(first.stream, stream)
        self.question_arrived(first, kind, scenario)
        self.history_arrived(last, scenario)
        self.signatures_arrived(asked, ALL_KINDS[kind], scenario)

    def question_arrived(self, heard: Heard, kind: str, scenario: Scenario) -> None:
        """Everything of the first request."""
        self.assertEqual(heard.model, ALL_KINDS[kind].model)
        self.assertEqual(heard.system, scenario.system)
        self.assertEqual(heard.turns[0].media, list(scenario.media))
        self.assertEqual(
            heard.tools,
            {t.name: self.schema(t.schema, kind) for t in scenario.tools},
        )
        can_stop = self.traits.stops and kind != "responses"
        self.assertEqual(heard.stop, scenario.stop if can_stop else ())
        self.assertEqual(heard.schema, scenario.schema)
        self.assertEqual(heard.limit, scenario.limit)
        if ALL_KINDS[kind].reasons:
            self.assertEqual(heard.thinking, scenario.thinking)
        if scenario.marked and self.traits.marks and kind == "claude":
            self.assertEqual(heard.marks, 1)

    def schema(self, schema: Mapping[str, Any], kind: str) -> dict[str, Any]:
        """A tool's schema as the provider gets it.

        Converted for Gemini, a tool without arguments has none.
        """
        empty = kind.startswith("gemini") and not schema["properties"]
        return {} if empty and not self.traits.gemini else dict(schema)

    def history_arrived(self, heard: Heard, scenario: Scenario) -> None:
        """Words, calls and results of all turns, in their order."""
        spoken = scenario.turns[:-1]
        words = [("user", scenario.question)]
        for turn in spoken:
            words += [("assistant", turn.text), ("user", turn.reply)]
        self.assertEqual([(t.role, t.text) for t in heard.turns], words)
        calls = [call for turn in spoken for call in turn.calls]
        self.assertEqual(
            heard.answered(), [(dict(c.arguments), c.result) for c in calls]
        )

    def signatures_arrived(
        self, asked: list[Asked], kind: Kind, scenario: Scenario
    ) -> None:
        """Each signature of a turn comes back with every later request."""
        if not (scenario.thinking and kind.signer):
            return
        for n, one in enumerate(asked):
            turns = [t for t in one.heard.turns if t.role == "assistant"]
            signatures = [t.signatures for t in turns]
            self.assertEqual(
                signatures, [[signature(kind.signer, i)] for i in range(n)]
            )


def cells() -> Iterator[tuple[str, str, bool]]:
    """Scenario, kind of channel, streamed: every combination that is tried."""
    for name, scenario in SCENARIOS.items():
        for kind in ALL_KINDS if scenario.thinking else KINDS:
            for stream in (False, True):
                yield name, kind, stream


def fill(case: type[Case]) -> type[Case]:
    """The class with a test method for each cell."""
    for name, kind, stream in cells():
        method = _method(name, kind, stream)
        setattr(case, method.__name__, method)
    return case


def _method(name: str, kind: str, stream: bool) -> Callable[[Case], None]:
    def test(self: Case) -> None:
        scenario = SCENARIOS[name]
        self.converse(kind, scenario, stream=stream)
        self.arrived(kind, scenario, stream=stream)

    how = "streamed" if stream else "whole"
    test.__name__ = f"test_{name.replace('-', '_')}_on_{kind}_{how}"
    test.__doc__ = f"Scenario {name} on a {kind} channel, {how}."
    return test
