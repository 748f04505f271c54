"""What the real clients make of refusals, broken streams, lists and counts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.system.clients.answers import Refusal
from tests.system.matrix import Case
from tests.system.scenarios import SCENARIOS
from tests.system.stage import KINDS, model_of
from tests.system.test_clients import CHAT, CLAUDE, GEMINI, RESPONSES

PLAIN = SCENARIOS["plain"]

Words = Mapping[int, tuple[str, str]]
"""By status: the client's class for it, and the dialect's word; an empty word is the
provider's own, which OpenAI's dialect passes on."""

OPENAI: Words = {
    400: ("BadRequestError", ""),
    401: ("AuthenticationError", "new_api_error"),
    404: ("NotFoundError", "new_api_error"),
    429: ("RateLimitError", ""),
    500: ("InternalServerError", ""),
}
ANTHROPIC: Words = {
    400: ("BadRequestError", "invalid_request_error"),
    401: ("AuthenticationError", "authentication_error"),
    404: ("NotFoundError", "not_found_error"),
    429: ("RateLimitError", "rate_limit_error"),
    500: ("InternalServerError", "api_error"),
}
GOOGLE: Words = {
    400: ("ClientError", "INVALID_ARGUMENT"),
    401: ("ClientError", "UNAUTHENTICATED"),
    404: ("ClientError", "NOT_FOUND"),
    429: ("ClientError", "RESOURCE_EXHAUSTED"),
    500: ("ServerError", "INTERNAL"),
}


class Refusing:
    """Tests that every client's class has.

    Attributes:
        words: See `Words`.
        late: Status and word that the client shows for an error inside a stream.
    """

    words: Words
    late: tuple[int | None, str]

    def refused(self: Any, model: str, client: Any, *, stream: bool) -> Refusal:
        """The refusal of a call that must fail."""
        try:
            answer = client.ask(model, PLAIN, client.begin(PLAIN), stream=stream)
        except Exception as error:  # noqa: BLE001 - `refusal` raises what is none
            refusal: Refusal = client.refusal(error)
            return refusal
        raise AssertionError(f"answered {answer.text!r}")

    def says(self: Any, refusal: Refusal, status: int) -> None:
        """The refusal has the status, in the client's and the dialect's words."""
        known, kind = self.words[status]
        self.assertEqual((refusal.status, refusal.known), (status, known))
        self.assertIn(kind, refusal.kind)
        self.assertIn("request id", refusal.message)

    def test_bad_key(self: Any) -> None:
        """A key that nobody has is refused as such."""
        stranger = self.traits.make(self.stage.process.url, "sk-nobodys")
        self.addCleanup(stranger.close)
        for stream in (False, True):
            refusal = self.refused(model_of("chat"), stranger, stream=stream)
            self.says(refusal, 401)

    def test_unknown_model(self: Any) -> None:
        """A model that no channel serves does not exist."""
        for stream in (False, True):
            self.says(self.refused("nothing", self.client, stream=stream), 404)

    def test_the_providers_errors(self: Any) -> None:
        """A provider's status and message arrive in the client's dialect."""
        for kind in KINDS:
            for status in (400, 429, 500):
                for stream in (False, True):
                    model = model_of(kind, str(status))
                    refusal = self.refused(model, self.client, stream=stream)
                    self.says(refusal, status)
                    self.assertIn(f"the provider says {status}", refusal.message)

    def test_broken_streams(self: Any) -> None:
        """A provider that breaks off in the middle is an error, not an end."""
        for kind in KINDS:
            model = model_of(kind, "cut")
            refusal = self.refused(model, self.client, stream=True)
            self.assertEqual((refusal.status, refusal.kind), self.late)
            self.assertIn("upstream request failed", refusal.message)

    def test_models(self: Any) -> None:
        """The client lists the models, each once."""
        models = self.client.models()
        self.assertEqual(len(models), len(set(models)))
        for kind in KINDS:
            self.assertIn(model_of(kind), models)


class OpenAIChat(Refusing, Case):
    """`openai`, chat completions."""

    traits, words = CHAT, OPENAI
    late = (None, "new_api_error")


class OpenAIResponses(Refusing, Case):
    """`openai`, Responses."""

    traits, words = RESPONSES, OPENAI
    late = (None, "read_response_body_failed")


class Counting:
    """Tests of the clients that can have a prompt counted."""

    def test_count(self: Any) -> None:
        """Each kind of channel counts, by its provider if that can, free of charge."""
        name = f"counting-{type(self).__name__}"
        client = self.traits.make(self.stage.process.url, self.stage.token(name))
        self.addCleanup(client.close)
        for kind, channel in KINDS.items():
            self.stage.providers.take()
            self.assertGreater(client.count(model_of(kind), PLAIN), 0)
            native = channel.dialect.__name__ == self.native
            actions = [one.action for one in self.stage.providers.take()]
            self.assertEqual(len(actions), int(native))
        client.ask(model_of("chat"), PLAIN, client.begin(PLAIN), stream=False)
        self.assertEqual(len(self.stage.rows(name, 1)), 1)


class Anthropic(Refusing, Counting, Case):
    """`anthropic`."""

    traits, words = CLAUDE, ANTHROPIC
    late = (200, "api_error")
    native = KINDS["claude"].dialect.__name__


class GoogleGenAI(Refusing, Counting, Case):
    """`google-genai`."""

    traits, words = GEMINI, GOOGLE
    late = (502, "INTERNAL")
    native = KINDS["gemini"].dialect.__name__
