"""Facts about channels and models."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert import channels
from knight_tw.convert.context import Context


class Takes(SynchronousTestCase):
    """What may be sent where."""

    def test_settings_override(self) -> None:
        """`settings.accepts` wins over what the type says, either way."""
        table = [
            (channels.takes_reasoning, "reasoning_content", channels.DEEPSEEK),
            (channels.takes_cache_control, "cache_control", channels.OPENROUTER),
        ]
        for takes, name, kind in table:
            self.assertTrue(takes(Context("m", kind)))
            self.assertFalse(takes(Context("m", channels.OPENAI)))
            for said in (True, False):
                context = Context("m", kind, settings={"accepts": {name: said}})
                self.assertEqual(takes(context), said)

    def test_breakpoints(self) -> None:
        """OpenAI's own models from gpt-5.6 on take its cache marker."""
        table = {"gpt-5.6": True, "gpt-6": True, "gpt-5.5": False, "o3": False}
        for model, wanted in table.items():
            self.assertEqual(channels.takes_breakpoints(Context(model)), wanted)
        self.assertFalse(channels.takes_breakpoints(Context("gpt-6", 20)))

    def test_bytes(self) -> None:
        """Bedrock and Vertex fetch no URLs; a channel may be told not to either."""
        forced = Context("m", 14, settings={"download_media": True})
        self.assertTrue(channels.needs_bytes(forced))
        for kind, wanted in ((channels.AWS, True), (channels.ANTHROPIC, False)):
            self.assertEqual(channels.needs_bytes(Context("m", kind)), wanted)


class Models(SynchronousTestCase):
    """OpenAI's models."""

    def test_reasoning_models(self) -> None:
        """The o series but for its first two, and gpt-5 and later."""
        for model in ("o1", "o3-mini", "gpt-5", "gpt-5.2-codex", "gpt-12"):
            self.assertTrue(channels.reasons(model), model)
        for model in ("o1-mini", "o1-preview", "gpt-4.1", "qwen-max"):
            self.assertFalse(channels.reasons(model), model)
        self.assertTrue(channels.takes_developer(Context("gpt-5", channels.AZURE)))
        self.assertFalse(channels.takes_developer(Context("gpt-5", 20)))

    def test_models_that_never_reason(self) -> None:
        """Known older models refuse to be told; unknown ones are told."""
        for model in ("gpt-4.1", "gpt-3.5-turbo", "chatgpt-4o-latest", "ft:gpt-4o:x"):
            self.assertTrue(channels.never_reasons(model), model)
        for model in ("gpt-5", "o3", "my-model"):
            self.assertFalse(channels.never_reasons(model), model)
