"""The registry and what holds for every provider."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.providers import identity
from knight_tw.providers.addresses import CHATTING
from knight_tw.providers.provider import Provider, bearer, no_change
from knight_tw.records import Dialect, Mode
from tests.providers.attempts import channel, target

ROOT = "https://provider.test/x"
CHAT, RESPONSES = Dialect.CHAT, Dialect.RESPONSES
CLAUDE, GEMINI = Dialect.CLAUDE, Dialect.GEMINI


def of(type_id: int) -> Provider:
    """A provider that must exist."""
    provider = providers.find(type_id)
    assert provider is not None
    return provider


class Registry(SynchronousTestCase):
    """Finding providers."""

    def test_find(self) -> None:
        """Ids have one provider each; others have none."""
        ids = [provider.type_id for provider in providers.ALL]
        self.assertEqual(len(ids), len(set(ids)))
        self.assertEqual(of(1).name, "OpenAI")
        for type_id in (0, 2, 28, 36, 61, -1):
            self.assertIsNone(providers.find(type_id))

    def test_every_openai_like_type(self) -> None:
        """No type of the specification that speaks OpenAI's form is missing."""
        expected = {1, 3, 6, 7, 8, 9, 10, 12, 13, 17, 19, 20, 22, 25, 26, 27, 31, 35}
        expected |= {39, 40, 42, 43, 44, 45, 46, 47, 48, 53, 58, 59, 60}
        self.assertTrue(expected <= {provider.type_id for provider in providers.ALL})

    def test_every_type_with_a_form_of_its_own(self) -> None:
        """Nor of those that speak another dialect, or one of their own."""
        for type_id, spoken in (
            (14, (CLAUDE,)),
            (24, (GEMINI,)),
            (33, (CLAUDE, CHAT)),
            (34, (CHAT,)),
            (38, (CHAT,)),
            (41, (GEMINI, CLAUDE, CHAT)),
        ):
            self.assertEqual(of(type_id).speaks, spoken)

    def test_names_are_those_shown(self) -> None:
        """A provider has the name and address of the identity table."""
        for provider in providers.ALL:
            known = identity.identify(provider.type_id)
            assert known is not None
            self.assertEqual(provider.name, known.name)
            if known.base_url:
                self.assertEqual(provider.base_url, known.base_url)

    def test_each_kind_has_a_url(self) -> None:
        """Whatever kind of work a provider claims, it has an address for it."""
        # Where a route or the model's name decides alone, their own tests say it.
        for provider in set(providers.ALL) - {of(41), of(58)}:
            for mode in provider.modes - {Mode.COUNT_TOKENS}:
                for dialect in provider.speaks if mode in CHATTING else (CHAT,):
                    with self.subTest(name=provider.name, mode=mode, dialect=dialect):
                        aim = target(
                            mode,
                            "imagen" if mode is Mode.IMAGES else "m",
                            key="key|secret|us-east-1",
                            dialect=dialect,
                            type_id=provider.type_id,
                            base_url=ROOT,
                            other="account",
                        )
                        url = provider.url(aim)
                        self.assertIn("://provider.test/x", url)

    def test_models(self) -> None:
        """Default lists name no model twice."""
        for provider in providers.ALL:
            self.assertEqual(len(provider.models), len(set(provider.models)))

    def test_usage_is_asked_for(self) -> None:
        """Just these types are sent `stream_options`."""
        asked = {p.type_id for p in providers.ALL if p.stream_options}
        expected = {1, 3, 17, 25, 26, 35, 39, 40, 43, 45, 46, 48, 53, 58, 59, 60}
        self.assertEqual(asked & expected, expected)
        self.assertFalse(asked & {6, 7, 8, 9, 10, 12, 13, 19, 20, 22, 27, 31, 42, 47})

    def test_for_channel(self) -> None:
        """Ids that forks use otherwise need what the type cannot do without."""
        for type_id, more, known in (
            (1, {}, True),
            (58, {}, False),
            (58, {"settings": {"advanced_custom": {"advanced_routes": []}}}, True),
            (59, {}, False),
            (60, {}, False),
            (60, {"base_url": ROOT}, True),
            (99, {}, False),
        ):
            found = providers.for_channel(channel(type_id, **more))
            self.assertEqual(found is not None, known)

    def test_defaults(self) -> None:
        """A provider that says nothing sends the body as it is, with a Bearer."""
        aim = target()
        self.assertIsNone(no_change({}, aim))
        self.assertEqual(bearer(aim), [("Authorization", "Bearer key")])


class Spoken(SynchronousTestCase):
    """`dialects`."""

    def spoken(self, type_id: int, model: str = "m", **more: Any) -> Any:
        """The native dialects of a channel."""
        options = more.pop("options", None)
        return providers.dialects(
            of(type_id), channel(type_id, **more), model, options=options
        )

    def test_usual(self) -> None:
        """Most providers speak the same to everybody."""
        self.assertEqual(self.spoken(1), (CHAT, RESPONSES))
        self.assertEqual(self.spoken(42), (CHAT,))
        self.assertEqual(self.spoken(60), (CHAT, RESPONSES, CLAUDE, GEMINI))

    def test_by_model(self) -> None:
        """Ali speaks Claude for the models that the setting names."""
        self.assertEqual(self.spoken(17, "qwen3-max"), (CHAT, RESPONSES, CLAUDE))
        self.assertEqual(self.spoken(17, "yi-large"), (CHAT, RESPONSES))
        options = {"ali_anthropic_messages_models": "yi, "}
        self.assertIn(CLAUDE, self.spoken(17, "yi-large", options=options))

    def test_by_address(self) -> None:
        """VolcEngine's coding plan speaks Claude, its ordinary address Responses."""
        self.assertEqual(self.spoken(45), (CHAT, RESPONSES))
        found = self.spoken(45, base_url="doubao-coding-plan")
        self.assertEqual(found, (CHAT, CLAUDE))

    def test_by_channel(self) -> None:
        """A channel can take dialects away, not add them."""
        for listed, expected in (
            (["openai"], (CHAT,)),
            (["openai-response", "embeddings"], (RESPONSES,)),
            (["anthropic"], ()),
            ([], (CHAT, RESPONSES)),
            ("openai", (CHAT, RESPONSES)),
        ):
            settings = {"supported_endpoints": listed}
            self.assertEqual(self.spoken(1, settings=settings), expected)


class Readings(SynchronousTestCase):
    """`reading`."""

    def test_of_an_attempt(self) -> None:
        """How answers are read is what the provider says for this attempt."""
        found = providers.reading(of(43), target(type_id=43))
        self.assertIs(found.complete, of(43).read_usage)
        self.assertIsNone(found.unwrap)
        settings = {"openrouter_enterprise": True}
        found = providers.reading(of(20), target(type_id=20, settings=settings))
        self.assertIsNotNone(found.unwrap)
        found = providers.reading(of(20), target(type_id=20))
        self.assertIsNone(found.unwrap)

    def test_reranking(self) -> None:
        """Every provider's reranking is brought into one layout, unwrapped or not."""
        settings = {"openrouter_enterprise": True}
        row = {"index": 0, "relevance_score": 1}
        for type_id, more, answer in (
            (1, {}, {"data": [{"index": 0, "score": 1}]}),
            (20, {"settings": settings}, {"success": True, "data": {"results": [row]}}),
        ):
            aim = target(Mode.RERANK, type_id=type_id, **more)
            unwrap = providers.reading(of(type_id), aim).unwrap
            assert unwrap is not None
            self.assertEqual(unwrap(answer), {"model": "m", "results": [row]})


class Identities(SynchronousTestCase):
    """The identity table."""

    def test_names(self) -> None:
        """Every id of the specification has a name, unused ones say so."""
        self.assertEqual(identity.name_of(14), "Anthropic")
        self.assertEqual(identity.name_of(24).lower(), "google gemini")
        self.assertEqual(identity.name_of(28), "unknown type 28")
        self.assertIsNone(identity.identify(61))
        ids = [known.id for known in identity.ALL]
        self.assertEqual(ids, sorted(set(range(61)) - {28, 29, 30, 32}))

    def test_endpoint_types(self) -> None:
        """The model's name and the channels' types say how it can be asked."""
        for model, types, expected in (
            ("gpt-4o", [1], ["openai"]),
            ("gemini-2.5-flash", [24], ["gemini", "openai"]),
            ("claude", [1, 14, 1], ["openai", "anthropic"]),
            ("text-embedding-3-small", [1], ["embeddings"]),
            ("bge-reranker", [47], ["jina-rerank"]),
            ("gpt-image-1", [1], ["image-generation", "openai"]),
            ("gpt-5-openai-compact", [1], ["openai-response-compact"]),
            ("m", [], []),
        ):
            with self.subTest(model=model):
                self.assertEqual(identity.endpoint_types(model, types), expected)
