"""The relay's route table."""

from twisted.trial.unittest import SynchronousTestCase

from knight_tw.records import Dialect, Mode
from knight_tw.web import routes


class Table(SynchronousTestCase):
    """Paths to dialects and kinds of work."""

    def test_work(self) -> None:
        """Each route of the table does its work in its dialect."""
        expected = {
            "/v1/chat/completions": (Dialect.CHAT, Mode.CHAT),
            "/v1/completions": (Dialect.CHAT, Mode.COMPLETIONS),
            "/v1/embeddings": (Dialect.CHAT, Mode.EMBEDDINGS),
            "/v1/moderations": (Dialect.CHAT, Mode.MODERATIONS),
            "/v1beta/openai/chat/completions": (Dialect.CHAT, Mode.CHAT),
            "/v1/images/generations": (Dialect.CHAT, Mode.IMAGES),
            "/v1/images/edits": (Dialect.CHAT, Mode.IMAGE_EDITS),
            "/v1/audio/speech": (Dialect.CHAT, Mode.SPEECH),
            "/v1/audio/transcriptions": (Dialect.CHAT, Mode.TRANSCRIPTIONS),
            "/v1/audio/translations": (Dialect.CHAT, Mode.TRANSLATIONS),
            "/v1/rerank": (Dialect.CHAT, Mode.RERANK),
            "/v1/alpha/search": (Dialect.CHAT, Mode.ALPHA_SEARCH),
        }
        for path, (dialect, mode) in expected.items():
            (route,) = routes.find(path)
            self.assertEqual((route.dialect, route.mode), (dialect, mode), path)

    def test_aliases_know_the_providers_path(self) -> None:
        """An alias is sent on under the path that providers know."""
        for path, served in (
            ("/v1beta/openai/chat/completions", "/v1/chat/completions"),
            ("/v1beta/openai/images/generations", "/v1/images/generations"),
            ("/v1/edits", "/v1/images/edits"),
            ("/rerank", "/v1/rerank"),
            ("/v2/rerank", "/v1/rerank"),
            ("/v1/engines/org/m/embeddings", "/v1/embeddings"),
        ):
            (route,) = routes.find(path)
            self.assertEqual(route.path, served)
            self.assertTrue(routes.claimed(path), path)
        self.assertEqual(route.argument, "org/m")

    def test_lists(self) -> None:
        """Model lists and single models, names with slashes included."""
        for path, answer, argument, dialect in (
            ("/v1/models", "models", "", Dialect.CHAT),
            ("/v1/models/org/model-1", "model", "org/model-1", Dialect.CHAT),
            ("/v1beta/models", "models", "", Dialect.GEMINI),
            (
                "/v1beta/models/gemini-2.5-pro",
                "model",
                "gemini-2.5-pro",
                Dialect.GEMINI,
            ),
            ("/v1beta/openai/models", "models", "", Dialect.CHAT),
        ):
            route = routes.find(path)[0]
            self.assertEqual(
                (route.answer, route.argument, route.dialect),
                (answer, argument, dialect),
                path,
            )

    def test_unserved(self) -> None:
        """Routes of providers that the gateway does not serve are known as such."""
        for path in ("/v1/files", "/v1/fine-tunes/x/cancel", "/v1/images/variations"):
            self.assertEqual(routes.find(path)[-1].answer, "unserved", path)

    def test_delete_of_a_model(self) -> None:
        """A model's path has its list answer and a refusal for DELETE."""
        methods = [route.methods for route in routes.find("/v1/models/m")]
        self.assertEqual(methods, [("GET", "HEAD"), ("DELETE",)])

    def test_claims(self) -> None:
        """The relay answers everything below its prefixes but the billing pages."""
        for path in ("/v1/nothing", "/v1beta/x", "/mj/x", "/fast/mj/x", "/v1"):
            self.assertTrue(routes.claimed(path), path)
        for path in ("/", "/api/mj/", "/v1/dashboard/billing/usage", "/v12"):
            self.assertFalse(routes.claimed(path), path)

    def test_dialect_of_unknown_paths(self) -> None:
        """A path without a route answers in the dialect of its neighbours."""
        self.assertIs(routes.dialect_of("/v1/messages/x"), Dialect.CLAUDE)
        self.assertIs(routes.dialect_of("/v1beta/x"), Dialect.GEMINI)
        self.assertIs(routes.dialect_of("/v1beta/openai/x"), Dialect.CHAT)
