"""Vertex AI: three families of models, two kinds of keys."""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from knight_tw import providers
from knight_tw.errors import ChannelFault, UnsupportedContent, UnsupportedEndpoint
from knight_tw.providers.vertex import VERTEX, family, model_id, speaks_for
from knight_tw.records import Dialect, Mode
from knight_tw.wire.answers import read_plain
from tests.providers.attempts import channel, prepared, target
from tests.providers.test_service_account import ACCOUNT

KEY = json.dumps(ACCOUNT)
BY_KEY = {"settings": {"vertex_key_type": "api_key"}}
CLAUDE, GEMINI, CHAT = Dialect.CLAUDE, Dialect.GEMINI, Dialect.CHAT


def aim(model: str = "gemini-2.5-pro", mode: Mode = Mode.CHAT, **more: Any) -> Any:
    """An attempt on a Vertex channel."""
    usual: dict[str, Any] = {"key": KEY, "type_id": 41}
    usual["dialect"] = CHAT if mode in VERTEX.rewrites else family(model)
    return target(mode, model, **{**usual, **more})


class Addresses(SynchronousTestCase):
    """Where requests go."""

    def test_families(self) -> None:
        """Each family has its publisher and its actions; regions their hosts."""
        global_ = "https://aiplatform.googleapis.com/v1/projects/p1/locations/global"
        region = (
            "https://us-east5-aiplatform.googleapis.com/v1/projects/p1/"
            "locations/us-east5"
        )
        for model, other, stream, expected in (
            (
                "gemini-2.5-pro",
                "",
                False,
                f"{global_}/publishers/google/models/gemini-2.5-pro:generateContent",
            ),
            (
                "gemini-2.5-pro",
                "us-east5",
                True,
                f"{region}/publishers/google/models/gemini-2.5-pro:"
                "streamGenerateContent?alt=sse",
            ),
            (
                "claude-sonnet-4-20250514",
                "us-east5",
                False,
                f"{region}/publishers/anthropic/models/claude-sonnet-4@20250514:"
                "rawPredict",
            ),
            (
                "claude-opus-4-7",
                "global",
                True,
                f"{global_}/publishers/anthropic/models/claude-opus-4-7:"
                "streamRawPredict?alt=sse",
            ),
            (
                "meta/llama3-405b-instruct-maas",
                "us-central1",
                True,
                "https://us-central1-aiplatform.googleapis.com/v1beta1/projects/p1/"
                "locations/us-central1/endpoints/openapi/chat/completions",
            ),
        ):
            with self.subTest(model=model, other=other):
                found = VERTEX.url(aim(model, other=other, stream=stream))
                self.assertEqual(found, expected)

    def test_joint_regions(self) -> None:
        """Regions that stand for several have hosts of their own."""
        found = VERTEX.url(aim(other="eu"))
        self.assertTrue(
            found.startswith(
                "https://aiplatform.eu.rep.googleapis.com/v1/projects/p1/locations/eu/"
            )
        )

    def test_own_address(self) -> None:
        """A channel's address takes the same path."""
        found = VERTEX.url(aim(other="r", base_url="https://h/x/"))
        self.assertTrue(found.startswith("https://h/x/v1/projects/p1/locations/r/"))

    def test_regions_by_model(self) -> None:
        """The client's name decides, then the upstream's, then the default."""
        table = json.dumps({"mine": "a", "gemini-2.5-pro": "b", "default": "c"})
        for more, region in (
            ({"client_model": "mine"}, "a"),
            ({"client_model": "x"}, "b"),
            ({"model": "gemini-x"}, "c"),
        ):
            self.assertIn(f"/locations/{region}/", VERTEX.url(aim(**more, other=table)))
        for other in ("{", '{"x":"a"}', '{"default":5}', " "):
            self.assertIn("/locations/global/", VERTEX.url(aim(other=other)))

    def test_api_keys(self) -> None:
        """An API key stands in the URL, which needs no project."""
        root = "https://aiplatform.googleapis.com/v1/publishers"
        for model, stream, expected in (
            (
                "gemini-2.5-pro",
                False,
                "google/models/gemini-2.5-pro:generateContent?key=a%2Fb",
            ),
            (
                "claude-opus-4-7",
                True,
                "anthropic/models/claude-opus-4-7:streamRawPredict?alt=sse&key=a%2Fb",
            ),
        ):
            attempt = aim(model, key="a/b", stream=stream, **BY_KEY)
            self.assertEqual(VERTEX.url(attempt), f"{root}/{expected}")
            self.assertEqual(VERTEX.authorize(attempt), [])
        attempt = aim("llama-maas", key="k", **BY_KEY)
        self.assertRaises(UnsupportedEndpoint, VERTEX.url, attempt)

    def test_predictions(self) -> None:
        """Embeddings and pictures are predictions."""
        for model, mode in (
            ("text-embedding-005", Mode.EMBEDDINGS),
            ("imagen-4.0-generate-001", Mode.IMAGES),
        ):
            found = VERTEX.url(aim(model, mode))
            self.assertTrue(found.endswith(f"/google/models/{model}:predict"), found)
        for model, mode in (
            ("gemini-2.5-pro", Mode.IMAGES),
            ("claude-opus-4-7", Mode.COUNT_TOKENS),
        ):
            self.assertRaises(UnsupportedEndpoint, VERTEX.url, aim(model, mode))

    def test_bad_key(self) -> None:
        """A key that is no account is the channel's fault."""
        self.assertRaises(ChannelFault, VERTEX.url, aim(key="k"))
        self.assertRaises(ChannelFault, VERTEX.authorize, aim(key="k"))


class Families(SynchronousTestCase):
    """How a model is spoken to."""

    def test_dialects(self) -> None:
        """By the name."""
        for model, dialect in (
            ("claude-opus-4-7", CLAUDE),
            ("meta/llama3-405b-instruct-maas", CHAT),
            ("deepseek-ai/deepseek-r1-maas", CHAT),
            ("gemini-2.5-pro", GEMINI),
            ("text-embedding-005", GEMINI),
        ):
            self.assertEqual(speaks_for(channel(41), model, "", {}), (dialect,))

    def test_claude_names(self) -> None:
        """A date stands behind an `@`; names without one stay."""
        for name, expected in (
            ("claude-3-5-sonnet-20241022", "claude-3-5-sonnet-v2@20241022"),
            ("claude-3-haiku-20240307", "claude-3-haiku@20240307"),
            ("claude-opus-4-7", "claude-opus-4-7"),
            ("claude-x@20250101", "claude-x@20250101"),
        ):
            self.assertEqual(model_id(name), expected)


class Credentials(SynchronousTestCase):
    """What authorizes."""

    def test_token(self) -> None:
        """The exchanged token, and the project that pays."""
        expected = [("Authorization", "Bearer t"), ("x-goog-user-project", "p1")]
        self.assertEqual(VERTEX.authorize(aim(token="t")), expected)

    def test_exchange(self) -> None:
        """A service account is exchanged for a token, an API key is not."""
        assert VERTEX.exchange is not None
        self.assertIsNotNone(VERTEX.exchange(channel(41), KEY))
        self.assertIsNone(VERTEX.exchange(channel(41, **BY_KEY), "k"))


class Bodies(SynchronousTestCase):
    """What goes out."""

    def test_claude(self) -> None:
        """The version and the beta marks stand in the body, the model does not."""
        attempt = aim("claude-opus-4-7", headers={"anthropic-beta": "b,c"})
        found = prepared(VERTEX, attempt, model="m", stream=True, max_tokens=1)
        expected = {
            "stream": True,
            "max_tokens": 1,
            "anthropic_version": "vertex-2023-10-16",
            "anthropic_beta": ["b", "c"],
        }
        self.assertEqual(found, expected)

    def test_claude_as_given(self) -> None:
        """What the client put into the body stays."""
        given = {"anthropic_version": "v", "anthropic_beta": ["a"]}
        attempt = aim("claude-opus-4-7")
        self.assertEqual(prepared(VERTEX, attempt, **given), given)
        attempt = aim("claude-opus-4-7", headers={"anthropic-beta": "a,b"})
        found = prepared(VERTEX, attempt, **given)
        self.assertEqual(found["anthropic_beta"], ["a", "b"])

    def test_gemini(self) -> None:
        """Ids of calls and responses go, unless the option keeps them."""
        part = {"functionResponse": {"id": "1", "name": "f", "response": {}}}
        sent = {"model": "m", "contents": [{"role": "user", "parts": [part]}]}
        found = prepared(VERTEX, aim(), **sent)
        parts = found["contents"][0]["parts"]
        self.assertEqual(parts, [{"functionResponse": {"name": "f", "response": {}}}])
        self.assertNotIn("model", found)
        options = {"gemini.remove_function_response_id_enabled": False}
        found = prepared(VERTEX, aim(options=options), **sent)
        self.assertEqual(found["contents"][0]["parts"], [part])

    def test_open_models(self) -> None:
        """The model stands in the body."""
        found = prepared(VERTEX, aim("meta/llama-maas"), model="c", messages=[])
        self.assertEqual(found, {"model": "meta/llama-maas", "messages": []})

    def test_embeddings(self) -> None:
        """One instance for each input."""
        attempt = aim("text-embedding-005", Mode.EMBEDDINGS)
        found = prepared(
            VERTEX, attempt, input=["a", "b"], dimensions=8, task_type="CLUSTERING"
        )
        instances = [{"content": t, "task_type": "CLUSTERING"} for t in ("a", "b")]
        self.assertEqual(found["instances"], instances)
        self.assertEqual(found["parameters"], {"outputDimensionality": 8})
        found = prepared(VERTEX, attempt, input="a")
        self.assertEqual(found, {"instances": [{"content": "a"}]})

    def test_one_input_a_call(self) -> None:
        """Several inputs of a model that takes one may be tried elsewhere."""
        attempt = aim("gemini-embedding-001", Mode.EMBEDDINGS)
        self.assertEqual(len(prepared(VERTEX, attempt, input="a")["instances"]), 1)
        with self.assertRaises(UnsupportedContent) as caught:
            prepared(VERTEX, attempt, input=["a", "b"])
        self.assertTrue(caught.exception.retryable)

    def test_pictures(self) -> None:
        """As on the Gemini API."""
        attempt = aim("imagen-4.0-generate-001", Mode.IMAGES)
        found = prepared(VERTEX, attempt, prompt="p")
        self.assertEqual(found["instances"], [{"prompt": "p"}])


class Answers(SynchronousTestCase):
    """What comes back."""

    def test_embeddings(self) -> None:
        """Vectors and the sum of their tokens, when every one is counted."""
        attempt = aim("text-embedding-005", Mode.EMBEDDINGS)
        counted = {"values": [1.5], "statistics": {"token_count": 2}}
        for second, tokens in (
            ({"values": [2], "statistics": {"token_count": 3}}, 5),
            ({"values": [2], "statistics": 1}, None),
        ):
            rows = [{"embeddings": counted}, {"embeddings": second}]
            body = json.dumps({"predictions": rows}).encode()
            reading = providers.reading(VERTEX, attempt)
            found = read_plain(body, reading=reading)
            vectors = [row["embedding"] for row in json.loads(found.body)["data"]]
            self.assertEqual(vectors, [[1.5], [2]])
            usage = found.usage
            self.assertEqual(usage and usage.prompt, tokens)

    def test_chats(self) -> None:
        """Nothing is unwrapped there."""
        assert VERTEX.unwrap is not None
        self.assertIsNone(VERTEX.unwrap(aim()))
