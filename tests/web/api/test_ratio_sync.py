"""`/api/ratio_sync` over the real site."""

from __future__ import annotations

from typing import Any

from knight_tw.errors import UpstreamFailed
from tests.web.api.test_channels import Case

PEER = {"id": 0, "name": "peer", "base_url": "http://peer", "endpoint": "/api/pricing"}


class RatioSyncTests(Case):
    """Peers and what they say."""

    def fetch(self, **body: Any) -> Any:
        """The answer about peers."""
        return self.root.post("/api/ratio_sync/fetch", body)

    def test_channels(self) -> None:
        """Channels with an address, the newest first, and the public lists."""
        self.gateway.add_channel(name="a", base_url="http://a")
        self.gateway.add_channel(name="b", base_url="https://b")
        self.gateway.add_channel(name="c", base_url="")
        data = self.root.get("/api/ratio_sync/channels").data
        self.assertEqual([one["id"] for one in data], [2, 1, -100, -101])
        self.assertEqual(set(data[0]), {"id", "name", "base_url", "status", "type"})

    def test_differences(self) -> None:
        """Prices that differ, and which peers answered."""
        self.gateway.set_option("ModelRatio", '{"m":1}')
        items = [{"model_name": "m", "quota_type": 0, "model_ratio": 2}]
        answers = self.gateway.upstream.answers
        answers["http://peer/api/pricing"] = (200, {"data": items})
        answers["http://a/api/pricing"] = UpstreamFailed("connection refused")
        self.gateway.add_channel(name="a", base_url="http://a")
        answer = self.fetch(channel_ids=[1], upstreams=[PEER], timeout=2).json
        self.assertNotIn("message", answer)
        told = answer["data"]["differences"]["m"]["model_ratio"]
        self.assertEqual((told["current"], told["upstreams"]["peer"]), (1, 2))
        self.assertEqual(
            answer["data"]["test_results"],
            [
                {"name": "peer", "status": "success"},
                {"name": "a(1)", "status": "error", "error": "connection refused"},
            ],
        )

    def test_refused_peers(self) -> None:
        """A peer that answers with an error is told so."""
        data = self.fetch(upstreams=[PEER]).data
        self.assertEqual(data["test_results"][0]["status"], "error")

    def test_wrong_questions(self) -> None:
        """Some peers, with name and address; root only."""
        for body in (
            {},
            {"channel_ids": [], "upstreams": []},
            {"channel_ids": "x"},
            {"channel_ids": ["x"]},
            {"upstreams": [5]},
            {"upstreams": [{"name": "x", "base_url": "ftp://x"}]},
            {"upstreams": [{"base_url": "http://x"}]},
            {"upstreams": [PEER], "timeout": 0},
        ):
            code = self.fetch(**body).code
            self.assertIn(code, ("invalid_field", "missing_field"), body)
        self.assertEqual(self.adm.get("/api/ratio_sync/channels").status, 403)
