"""What calls of the real clients cost: the usage of each provider's own place."""

from __future__ import annotations

import json
from typing import Any

from tests.system.matrix import Case
from tests.system.scenarios import SCENARIOS
from tests.system.stage import KINDS, Kind, charge, model_of
from tests.system.test_clients import CHAT, CLAUDE, GEMINI, RESPONSES

CHARGED = ("cached", "thinking", "empty", "length")


class Charging:
    """The test that every client's class has."""

    def test_charges(self: Any) -> None:
        """Each answer is charged once, by what its provider has reported."""
        name = f"charges-{type(self).__name__}"
        self.client = self.traits.make(self.stage.process.url, self.stage.token(name))
        self.addCleanup(self.client.close)
        wanted: list[tuple[str, bool, int, dict[str, int]]] = []
        for scenario in CHARGED:
            for kind, channel in KINDS.items():
                for stream in (False, True):
                    self.converse(kind, SCENARIOS[scenario], stream=stream)
                    for turn in SCENARIOS[scenario].turns:
                        cost = charge(turn.tokens, channel)
                        counts = _counts(turn.tokens, channel)
                        wanted.append((model_of(kind), stream, cost, counts))
        rows = self.stage.rows(name, len(wanted))
        found = [
            (row["model_name"], row["is_stream"], row["quota"], _told(row))
            for row in reversed(rows)
        ]
        self.assertEqual(found, wanted)


def _counts(tokens: Any, kind: Kind) -> dict[str, int]:
    """The counts of a log row; of a Claude channel the prompt is without the cache."""
    written = tokens.written if kind.tells_written else 0
    prompt = tokens.prompt - (tokens.cached + written) * kind.splits
    return {
        "prompt": prompt,
        "completion": tokens.completion,
        "cached": tokens.cached,
        "written": written,
        "written_5m": tokens.written_5m * kind.splits,
        "written_1h": tokens.written_1h * kind.splits,
    }


def _told(row: dict[str, Any]) -> dict[str, int]:
    other = json.loads(row["other"])
    return {
        "prompt": row["prompt_tokens"],
        "completion": row["completion_tokens"],
        "cached": other.get("cache_tokens", 0),
        "written": other.get("cache_creation_tokens", 0),
        "written_5m": other.get("cache_creation_tokens_5m", 0),
        "written_1h": other.get("cache_creation_tokens_1h", 0),
    }


class OpenAIChat(Charging, Case):
    """`openai`, chat completions."""

    traits = CHAT


class OpenAIResponses(Charging, Case):
    """`openai`, Responses."""

    traits = RESPONSES


class Anthropic(Charging, Case):
    """`anthropic`."""

    traits = CLAUDE


class GoogleGenAI(Charging, Case):
    """`google-genai`."""

    traits = GEMINI
