"""The Responses endpoints of OpenAI and Azure, for clients of every dialect."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.providers.azure import AZURE
from knight_tw.providers.openai import OPENAI
from knight_tw.records import Dialect, Mode
from tests.providers.attempts import prepared, target

OWN = "https://r.openai.azure.com"


class Responses(SynchronousTestCase):
    """Addresses and bodies."""

    def test_from_every_dialect(self) -> None:
        """Whatever the client speaks, the address and the model's place are these."""
        for provider, base_url, expected in (
            (OPENAI, "", "https://api.openai.com/v1/responses"),
            (OPENAI, "https://h/v1", "https://h/v1/responses"),
            (AZURE, OWN, f"{OWN}/openai/v1/responses?api-version=preview"),
            (AZURE, f"{OWN}/openai/v1", f"{OWN}/openai/v1/responses"),
        ):
            for mode in (Mode.CHAT, Mode.MESSAGES, Mode.GEMINI, Mode.RESPONSES):
                aim = target(
                    mode,
                    "gpt-5.2",
                    dialect=Dialect.RESPONSES,
                    type_id=provider.type_id,
                    base_url=base_url,
                )
                with self.subTest(name=provider.name, base_url=base_url, mode=mode):
                    found = prepared(provider, aim, model="client", input="q")
                    self.assertEqual(found, {"model": "gpt-5.2", "input": "q"})
                    self.assertEqual(provider.url(aim), expected)
