"""Other gateways' prices: reading their forms, comparing."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import price_sync
from knight_tw.errors import BadUpstreamBody
from knight_tw.price_sync import Peer, differences, read

URL = "https://peer.example/api/pricing"

_NAMES = ("data", "models", "m", "cost", "input", "pricing", "model_name", "id")
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_NAMES), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Any JSON, with members that price lists have."""


def told(content: Any, url: str = URL) -> Any:
    """The prices in an answer."""
    return read(url, msgspec.json.encode(content))


class Forms(SynchronousTestCase):
    """The forms that peers answer in."""

    def test_addresses(self) -> None:
        """Endpoints are paths, whole addresses, or a word."""
        base = "https://peer.example/"
        self.assertEqual(Peer("p", base).url, URL)
        self.assertEqual(Peer("p", base, "x/y").url, "https://peer.example/x/y")
        self.assertEqual(Peer("p", base, "https://a/b").url, "https://a/b")
        url = Peer("p", base, "openrouter").url
        self.assertEqual(url, "https://openrouter.ai/api/v1/models")

    def test_tables(self) -> None:
        """Tables by field."""
        prices = told({"data": {"model_ratio": {"m": 1.5, "x": "?"}, "other": 5}})
        self.assertEqual(prices, {"model_ratio": {"m": Decimal("1.5")}})

    def test_items(self) -> None:
        """A list of models; a price per call stands alone."""
        items = [
            {"model_name": "m", "quota_type": 0, "model_ratio": 2, "model_price": 0},
            {"model_name": "c", "quota_type": 1, "model_price": 0.1, "model_ratio": 0},
            {"model_name": "e", "billing_mode": "tiered_expr", "billing_expr": "p"},
            "odd",
        ]
        self.assertEqual(
            told({"success": True, "data": items}),
            {
                "model_ratio": {"m": 2},
                "model_price": {"c": Decimal("0.1")},
                "billing_mode": {"e": "tiered_expr"},
                "billing_expr": {"e": "p"},
            },
        )

    def test_openrouter(self) -> None:
        """Dollars per token; variants are left out."""
        pricing = {"prompt": "0.000002", "completion": "0.000008",
                   "input_cache_read": "0.0000005"}  # fmt: skip
        items = [
            {"id": "acme/m", "pricing": pricing},
            {"id": "acme/m:free", "pricing": {"prompt": "0"}},
            {"id": "acme/n", "pricing": {"prompt": "-1"}},
        ]
        self.assertEqual(
            told({"data": items}, price_sync.OPENROUTER_URL),
            {
                "model_ratio": {"m": 1},
                "completion_ratio": {"m": 4},
                "cache_ratio": {"m": Decimal("0.25")},
            },
        )

    def test_models_dev(self) -> None:
        """Dollars per million tokens, by provider; the first one counts."""
        answer = {
            "a": {"models": {"m": {"cost": {"input": 3, "output": 15}}, "free": {}}},
            "b": {"models": {"m": {"cost": {"input": 9, "output": 9}}}},
        }
        self.assertEqual(
            told(answer, "https://models.dev/api.json"),
            {"model_ratio": {"m": Decimal("1.5")}, "completion_ratio": {"m": 5}},
        )

    def test_no_prices(self) -> None:
        """Anything else is refused."""
        for body in (b"", b"[1]", b'{"data": 5}', b'{"data": {}}', b"[" * 10_000):
            self.assertRaises(BadUpstreamBody, read, URL, body)

    @given(CONTENT)
    @settings(max_examples=60, deadline=None)
    def test_any_answer(self, content: Any) -> None:
        """Whatever a peer answers, it is read or refused."""
        for url in (URL, price_sync.OPENROUTER_URL, "https://models.dev/api.json"):
            for value in (content, {"data": content}):
                try:
                    told(value, url)
                except BadUpstreamBody:
                    continue


class Comparing(SynchronousTestCase):
    """What differs."""

    def test_values(self) -> None:
        """A peer's value, `same`, or nothing; models that agree are left out."""
        local: price_sync.Prices = {"model_ratio": {"m": Decimal(1), "same": 2}}
        found = differences(
            local,
            {
                "a": {"model_ratio": {"m": Decimal(3), "same": Decimal(2)}},
                "b": {"model_ratio": {"m": Decimal("1.0000000001")}},
                "c": {},
            },
        )
        self.assertEqual(
            found,
            {
                "m": {
                    "model_ratio": {
                        "current": 1,
                        "upstreams": {"a": 3, "b": "same", "c": None},
                        "confidence": {"a": True, "b": True, "c": True},
                    }
                }
            },
        )

    def test_confidence(self) -> None:
        """The ratio of unpriced models is no price."""
        peer = {
            "model_ratio": {"m": Decimal("37.5")},
            "completion_ratio": {"m": Decimal(1)},
        }
        found = differences({}, {"p": peer})
        self.assertEqual(found["m"]["model_ratio"]["confidence"], {"p": False})
        self.assertIsNone(found["m"]["model_ratio"]["current"])

    def test_expressions(self) -> None:
        """Texts are compared as they are."""
        peer: price_sync.Prices = {"billing_expr": {"m": "p * 2"}}
        self.assertEqual(differences(peer, {"p": peer}), {})
        self.assertIn("m", differences({"billing_expr": {"m": "p"}}, {"p": peer}))
