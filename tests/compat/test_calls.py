"""Every token of every manifest is tried, and every model that the channels served."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import sqlalchemy as sa

from knight_tw.storage import schema, tokens
from tests.compat.gateways import Relay
from tests.compat.manifests import ManifestCase, for_originals
from tests.compat.originals import Row
from tests.relay.gateway import chat, whole

MODEL = "gpt-4o-mini"
CHAT = "/v1/chat/completions"

CLAUDE = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-live",
    "content": [{"type": "text", "text": "hi"}],
    "stop_reason": "end_turn",
    "usage": {"input_tokens": 10, "output_tokens": 5},
}
GEMINI = {
    "candidates": [
        {
            "content": {"role": "model", "parts": [{"text": "hi"}]},
            "finishReason": "STOP",
        }
    ],
    "usageMetadata": {
        "promptTokenCount": 10,
        "candidatesTokenCount": 5,
        "totalTokenCount": 15,
    },
}
SPOKEN: dict[int, tuple[str, Any]] = {
    14: ("/v1/messages", whole(CLAUDE)),
    24: ("/v1beta/models/", whole(GEMINI)),
}
"""Where a channel type is called, and its answer; all others as OpenAI."""


@for_originals
class EveryCall(ManifestCase):
    """Tokens work as they did, channels lead to who they led to."""

    def setUp(self) -> None:
        """The relay over the database, with a scripted provider."""
        self.relay = Relay(self, original=self.opened)

    @property
    def where(self) -> str:
        """The address of the channels that answered."""
        return str(self.truth["live_channels_point_at"])

    def found(self, token: Row) -> None:
        """A key finds its token and owner; neither, when they are deleted."""
        reading = self.relay.db.read(tokens.find_by_key, token["key"])
        found = self.relay.done(reading)
        if token.get("deleted_at"):
            self.assertIsNone(found)
            return
        mine, owner = found
        self.assertEqual(mine.id, token["id"])
        self.assertEqual(owner is None, self.deleted(self.owner(token)))

    def owner(self, token: Row) -> Row:
        """The manifest's user."""
        users = self.truth["users"]
        return next(user for user in users if user["id"] == token["user_id"])

    def deleted(self, user: Row) -> bool:
        """By new-api's mark, or by one-api's, which the upgrade has translated."""
        left = user["status"] == 3 and self.opened.one_api
        return bool(user.get("deleted_at")) or left

    def test_keys(self) -> None:
        """Keys find their tokens and owners."""
        self.each(
            (f"token {token['id']}, {token['what']}", partial(self.found, token))
            for token in self.truth["tokens"]
        )

    def works(self, token: Row) -> bool:
        """Whether a call must succeed.

        The manifests do not try one-api's own tokens `default`: they work for whoever
        has a balance.
        """
        owner = self.owner(token)
        able = owner["status"] == 1 and owner["quota"] > 0
        untried = token["what"] == "default" and able
        return bool(token["works_from_loopback"]) or untried

    def call(self, token: Row) -> None:
        """A call from this machine succeeds, or is refused before anybody is asked."""
        self.relay.provider.sent.clear()
        response = self.relay.ask(token["key"], MODEL)
        sent = [request.url for request in self.relay.provider.sent]
        if self.works(token):
            self.assertEqual(response.status, 200, response.raw)
            self.assertEqual(sent, [f"{self.where}{CHAT}"])
        else:
            self.assertIn(response.status, (401, 403, 429), response.raw)
            self.assertEqual(sent, [])

    def test_calls(self) -> None:
        """Tokens work as they did."""
        self.each(
            (f"token {token['id']}, {token['what']}", partial(self.call, token))
            for token in self.truth["tokens"]
        )

    def price(self, models: list[str]) -> None:
        """Gives prices to models for which the database has none."""
        options = schema.options
        here = options.c.key == "ModelRatio"
        stored = sa.select(options.c.value).where(here)
        text = self.relay.done(self.relay.db.read(lambda c: c.scalar(stored)))
        prices = {**dict.fromkeys(models, 30), **json.loads(text)}
        changed = sa.update(options).where(here).values(value=json.dumps(prices))
        self.relay.done(self.relay.db.run(lambda c: c.execute(changed)))
        self.relay.done(self.relay.snapshots.reload())

    def model(self, model: str) -> None:
        """A call reaches the provider that served the model, the way its type says."""
        channel = self.serving(model)
        kind = self.opened.by_key("channels")[channel["id"]]["type"]
        path, answer = SPOKEN.get(kind, (CHAT, chat()))
        token = next(t for t in self.truth["tokens"] if t["what"] == "unlimited")
        self.relay.provider.sent.clear()
        response = self.relay.ask(token["key"], model, answer)
        self.assertEqual(response.status, 200, response.raw)
        self.assertEqual(response.json["choices"][0]["message"]["content"], "hi")
        (sent,) = self.relay.provider.sent
        self.assertTrue(sent.url.startswith(f"{self.where}{path}"), sent.url)
        said = str(sent.headers)
        keys = channel["key"].split("\n")
        self.assertTrue(any(key in said for key in keys), said)

    def serving(self, model: str) -> Row:
        """The live channel of a model."""
        for channel in self.live():
            if model in channel["models"].split(","):
                return channel
        raise AssertionError(model)

    def live(self) -> list[Row]:
        """The channels that the manifest's calls reached, and that still may be."""
        return [
            channel
            for channel in self.truth["channels"]
            if channel.get("live")
            and channel["status"] == 1
            and "default" in channel["group"].split(",")
        ]

    def test_models(self) -> None:
        """Models of the calls that went well go where they went."""
        made = [call.split() for call in self.truth["relayed_calls"]]
        good = {words[1] for words in made if words[0] == CHAT and words[-1] == "200"}
        served = {m for channel in self.live() for m in channel["models"].split(",")}
        models = sorted(good & served)
        self.assertIn("gpt-4o", models)
        self.price(models)
        self.each((model, partial(self.model, model)) for model in models)
