"""What a client understood of an answer, in no dialect's words."""

from __future__ import annotations

import base64
from typing import Any, Protocol

from attrs import field, frozen

from tests.system.scenarios import Ending, Scenario, Turn


@frozen
class Called:
    """A tool call as the client got it."""

    id: str | None
    name: str
    arguments: dict[str, Any]


@frozen
class Answer:
    """One answer.

    Attributes:
        counts: `prompt`, `completion`, `cached`, `written`, `reasoning`, as far as the
            dialect has a place for them; the prompt with cached and written tokens.
        said: The model's turn as the client hands it over, to be sent back unchanged.
    """

    text: str
    ending: Ending | None
    said: Any
    model: str | None
    thoughts: str = ""
    calls: tuple[Called, ...] = ()
    sequence: str | None = None
    counts: dict[str, int] = field(factory=dict)


@frozen
class Refusal:
    """An error as the client shows it.

    Attributes:
        kind: The dialect's word: `error.type`, or Gemini's status.
        known: The class that the client has for this status.
    """

    status: int | None
    kind: str
    message: str
    known: str


class Client(Protocol):
    """A client of one dialect, with the gateway's address and a key in it."""

    def begin(self, scenario: Scenario) -> list[Any]:
        """The messages of the first question."""
        ...

    def ask(
        self, model: str, scenario: Scenario, messages: list[Any], *, stream: bool
    ) -> Answer:
        """The answer, by the client's own accumulator when streamed."""
        ...

    def go_on(self, messages: list[Any], answer: Answer, turn: Turn) -> None:
        """Adds the model's turn, the results of its calls and the next words."""
        ...

    def models(self) -> list[str]:
        """Names of the models listed."""
        ...

    def refusal(self, error: Exception) -> Refusal:
        """What an error of the client says; any other error is raised."""
        ...

    def close(self) -> None:
        """Let go of the connections."""
        ...


def text64(content: bytes) -> str:
    """Base64."""
    return base64.b64encode(content).decode()


def data_url(kind: str, content: bytes) -> str:
    """A data URL."""
    return f"data:{kind};base64,{text64(content)}"


def results(answer: Answer, turn: Turn) -> list[tuple[Called, str]]:
    """The calls with what the tools say, the last call first.

    Tools that run side by side end in any order; ids tell which is whose.
    """
    pairs = zip(answer.calls, (call.result for call in turn.calls), strict=True)
    return list(pairs)[::-1]


def bare(value: Any, *without: str) -> Any:
    """A dumped object without fields that a client adds for itself."""
    if isinstance(value, dict):
        return {k: bare(v, *without) for k, v in value.items() if k not in without}
    if isinstance(value, list):
        return [bare(one, *without) for one in value]
    return value
