"""What a provider understood of a request, whatever its dialect."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from attrs import define, field

Json = dict[str, Any]

SIGNER = "signature of {who}, answer {nth}, never to be changed, {{}}"


def signature(who: str, nth: int) -> str:
    """The signature of a provider's answer, plain base64."""
    return base64.b64encode(SIGNER.format(who=who, nth=nth).encode()).decode()


def signed(who: str, value: object) -> bool:
    """True for a signature that the provider has made."""
    return value in {signature(who, nth) for nth in range(8)}


@define
class Said:
    """What one side said until the other spoke.

    Attributes:
        media: Media types and contents (bytes, or the URL).
        calls: Ids, names and arguments.
        results: Ids (or names, where there are none) and texts.
    """

    role: str
    text: str = ""
    thoughts: str = ""
    signatures: list[str] = field(factory=list)
    media: list[tuple[str, bytes | str]] = field(factory=list)
    calls: list[tuple[str, str, Json]] = field(factory=list)
    results: list[tuple[str, str]] = field(factory=list)


@define
class Heard:
    """A request.

    Attributes:
        tools: Names and schemas.
        thinking: Reasoning was asked for.
        marks: How many cache markers there are.
    """

    model: str = ""
    stream: bool = False
    system: str = ""
    turns: list[Said] = field(factory=list)
    tools: dict[str, Json] = field(factory=dict)
    stop: tuple[str, ...] = ()
    schema: Json | None = None
    limit: int | None = None
    thinking: bool = False
    marks: int = 0

    def turn(self, role: str) -> Said:
        """The turn that a piece of a role belongs to: the last one, or a new one."""
        if not self.turns or self.turns[-1].role != role:
            self.turns.append(Said(role))
        return self.turns[-1]

    @property
    def question(self) -> str:
        """The first words of the user."""
        return self.turns[0].text if self.turns else ""

    @property
    def spoken(self) -> int:
        """How often the model has spoken."""
        return sum(1 for turn in self.turns if turn.role == "assistant")

    def answered(self) -> list[tuple[Json, str]]:
        """Arguments of each call and the result it got, in the order of the calls."""
        pairs = []
        for turn, following in zip(self.turns, self.turns[1:], strict=False):
            left = list(following.results)
            for ident, name, arguments in turn.calls:
                for key in (ident, name):
                    found = next((r for r in left if r[0] == key), None)
                    if found is not None:
                        left.remove(found)
                        pairs.append((arguments, found[1]))
                        break
        return pairs


def data_url(url: str) -> tuple[str, bytes | str]:
    """Media type and content of a data URL; other URLs stay as they are."""
    head, comma, data = url.partition(",")
    if not (comma and head.startswith("data:") and head.endswith(";base64")):
        return ("", url)
    return (head[5:-7], decoded(data))


def decoded(data: str) -> bytes:
    """Base64, or empty when it is none."""
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b""


def arguments_of(text: str) -> Json:
    """The JSON object of a call."""
    value = json.loads(text or "{}")
    return value if isinstance(value, dict) else {"": value}


def compact(value: Mapping[str, Any]) -> str:
    """The JSON text of arguments, as providers write it."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
