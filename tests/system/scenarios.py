"""Conversations as values: what a client asks, what a provider answers, turn by turn.

Neither dialects nor clients are named here. A provider recognises a scenario by the
first question, and the turn by how often the model has spoken before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, Final

from attrs import frozen

PNG: Final = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108020000009077"
    "53de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000000049"
    "454e44ae426082"
)
PDF: Final = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n"
)

ALL_SCRIPTS: Final = 'naïve — 中文 العربية עברית 👩‍👩‍👧 🚀 é "quoted" \\back\\ \ttab'


class Ending(Enum):
    """Why an answer ended, in no provider's words."""

    END = "end"
    LENGTH = "length"
    TOOLS = "tools"
    REFUSAL = "refusal"
    SEQUENCE = "sequence"


@frozen
class Tokens:
    """Usage as OpenAI counts: the prompt holds cached and written tokens, the
    completion holds reasoning."""

    prompt: int
    completion: int
    cached: int = 0
    written_5m: int = 0
    written_1h: int = 0
    reasoning: int = 0

    @property
    def written(self) -> int:
        """Tokens written to the cache, for however long."""
        return self.written_5m + self.written_1h


@frozen
class ToolCall:
    """A call that the model makes, and what the client's tool says to it."""

    name: str
    arguments: Mapping[str, Any]
    result: str


@frozen
class Turn:
    """One answer of the model, and the text that the client says next.

    Attributes:
        pieces: The text as it is streamed; likewise `reasoning`.
        sequence: The stop sequence that ended it.
        reply: The client's next words; results of calls go before them.
    """

    pieces: tuple[str, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    reasoning: tuple[str, ...] = ()
    ending: Ending = Ending.END
    sequence: str | None = None
    tokens: Tokens = Tokens(19, 7)
    reply: str = ""

    @property
    def text(self) -> str:
        """The whole text."""
        return "".join(self.pieces)

    @property
    def thoughts(self) -> str:
        """The whole reasoning."""
        return "".join(self.reasoning)


@frozen
class Tool:
    """A tool that the client offers."""

    name: str
    description: str
    schema: Mapping[str, Any]


@frozen
class Scenario:
    """A conversation.

    Attributes:
        media: Attachments of the first question: media type and content.
        schema: The JSON Schema that the answer must keep to.
        marked: The client marks its system prompt for the cache, if it can.
    """

    question: str
    turns: tuple[Turn, ...]
    system: str = ""
    tools: tuple[Tool, ...] = ()
    media: tuple[tuple[str, bytes], ...] = ()
    stop: tuple[str, ...] = ()
    schema: Mapping[str, Any] | None = None
    thinking: bool = False
    marked: bool = False
    limit: int = 4000


WEATHER: Final = Tool(
    "get_weather",
    "Current weather of a city",
    {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "Name of the city"},
            "unit": {"type": "string", "enum": ["c", "f"]},
        },
        "required": ["city"],
    },
)
FILES: Final = Tool(
    "list_files", "Files of the project", {"type": "object", "properties": {}}
)
WRITE: Final = Tool(
    "write_file",
    "Writes a file",
    {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "lines": {"type": "array", "items": {"type": "string"}},
            "mode": {"type": "object", "properties": {"bits": {"type": "integer"}}},
        },
        "required": ["path", "lines"],
    },
)
PERSON: Final[Mapping[str, Any]] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def _weather(city: str, result: str) -> ToolCall:
    return ToolCall("get_weather", {"city": city, "unit": "c"}, result)


def _calls(*calls: ToolCall, **values: Any) -> Turn:
    return Turn(calls=calls, ending=Ending.TOOLS, **values)


SCENARIOS: Final[Mapping[str, Scenario]] = {
    "plain": Scenario("Greet me.", (Turn(("Hello", " to", " you", ".")),), limit=321),
    "scripts": Scenario(
        f"Repeat {ALL_SCRIPTS}",
        (Turn(tuple(ALL_SCRIPTS[n : n + 3] for n in range(0, len(ALL_SCRIPTS), 3))),),
    ),
    "system": Scenario(
        "Who are you?", (Turn(("A", " stone.")),), system="Be a stone.\nSay so: ü."
    ),
    "multi-turn": Scenario(
        "One?",
        (
            Turn(("First", " answer."), reply="Two?"),
            Turn(("Second",), tokens=Tokens(40, 3), reply="Three?"),
            Turn(("Third.",), tokens=Tokens(60, 4)),
        ),
    ),
    "tool": Scenario(
        "Weather in Paris?",
        (
            _calls(_weather("Paris", "21 C, sunny"), tokens=Tokens(80, 21)),
            Turn(("It is", " 21 C."), tokens=Tokens(120, 9)),
        ),
        tools=(WEATHER,),
    ),
    "tool-and-words": Scenario(
        "Weather in Lyon?",
        (
            _calls(_weather("Lyon", "18 C"), reply="And be brief."),
            Turn(("18 C.",), tokens=Tokens(100, 5)),
        ),
        tools=(WEATHER, FILES),
    ),
    "parallel-tools": Scenario(
        "Weather in Paris and Tokyo?",
        (
            _calls(
                _weather("Paris", "21 C"),
                _weather("Tokyo", "17 C"),
                pieces=("Let me look", " at both."),
                tokens=Tokens(82, 44),
            ),
            Turn(("Paris 21 C,", " Tokyo 17 C."), tokens=Tokens(160, 12)),
        ),
        tools=(WEATHER,),
    ),
    "arguments": Scenario(
        "Write two files.",
        (
            _calls(
                ToolCall(
                    "write_file",
                    {
                        "path": "/tmp/ü.txt",
                        "lines": [ALL_SCRIPTS, "", '{"a": [1]}'],
                        "mode": {"bits": 420},
                    },
                    "written",
                ),
                ToolCall("list_files", {}, "ü.txt"),
            ),
            Turn(("Done.",), tokens=Tokens(230, 2)),
        ),
        tools=(WRITE, FILES),
    ),
    "thinking": Scenario(
        "Where is it warmer?",
        (
            _calls(
                _weather("Paris", "21 C"),
                reasoning=("I need", " the weather", " of Paris."),
                tokens=Tokens(70, 40, reasoning=18),
            ),
            _calls(
                _weather("Tokyo", "17 C"),
                reasoning=("Now", " Tokyo."),
                tokens=Tokens(130, 32, reasoning=9),
            ),
            Turn(
                ("In", " Paris."),
                reasoning=("21 is more", " than 17."),
                tokens=Tokens(190, 25, reasoning=11),
            ),
        ),
        tools=(WEATHER,),
        thinking=True,
    ),
    "image": Scenario(
        "What does the picture show?",
        (Turn(("One", " dot."), tokens=Tokens(300, 6)),),
        media=(("image/png", PNG),),
    ),
    "pdf": Scenario(
        "What does the document say?",
        (Turn(("Nothing",), tokens=Tokens(700, 3)),),
        media=(("application/pdf", PDF),),
    ),
    "structured": Scenario(
        "Who is Ada?",
        (Turn(('{"name":', ' "Ada",', ' "age": 36}'), tokens=Tokens(40, 13)),),
        schema=PERSON,
    ),
    "stop": Scenario(
        "Count.",
        (Turn(("one two", " three"), ending=Ending.SEQUENCE, sequence="END"),),
        stop=("END", "\n\nHuman:"),
    ),
    "length": Scenario(
        "Tell a long story.",
        (Turn(("Once upon", " a"), ending=Ending.LENGTH, tokens=Tokens(18, 16)),),
        limit=16,
    ),
    "refusal": Scenario(
        "Do something bad.",
        (Turn(("I will", " not."), ending=Ending.REFUSAL, tokens=Tokens(25, 6)),),
    ),
    "cached": Scenario(
        "Say it again.",
        (
            Turn(
                ("Again",),
                tokens=Tokens(13_200, 300, 10_000, 2_000, 1_000),
            ),
        ),
        system="A long text.",
        marked=True,
    ),
    "empty": Scenario("Say nothing.", (Turn(tokens=Tokens(17, 1)),)),
}


def after(scenario: Scenario, spoken: int) -> Turn:
    """The turn that follows `spoken` answers of the model."""
    return scenario.turns[min(spoken, len(scenario.turns) - 1)]


def asking(question: str) -> Scenario | None:
    """The scenario that begins with a question."""
    for scenario in SCENARIOS.values():
        if scenario.question == question:
            return scenario
    return None


def fragments(text: str, sizes: Sequence[int] = (1, 5, 2, 8, 3)) -> list[str]:
    """A text in uneven pieces, as models stream arguments."""
    pieces: list[str] = []
    position = 0
    while position < len(text):
        size = sizes[len(pieces) % len(sizes)]
        pieces.append(text[position : position + size])
        position += size
    return pieces
