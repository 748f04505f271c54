"""`/api/models/sync_upstream` over the real site."""

from __future__ import annotations

from typing import Any

from knight_tw.errors import UpstreamFailed
from knight_tw.model_sync import PAUSE
from knight_tw.storage import schema
from tests.web.api.shapes import misfit
from tests.web.api.test_catalogue import Case as Catalogue

PATH = "/api/models/sync_upstream"
BASE = "https://basellm.github.io/llm-metadata/api"
MODELS, VENDORS = f"{BASE}/newapi/models.json", f"{BASE}/newapi/vendors.json"
ITEM = {"model_name": "gpt", "tags": "t", "icon": "i", "vendor_name": "OpenAI"}
SOURCE = {"locale": str, "models_url": str, "vendors_url": str}
PREVIEW = {
    "missing": [str],
    "conflicts": [
        {
            "model_name": str,
            "fields": [{"field": str, "local": str, "upstream": str}],
        }
    ],
    "source": SOURCE,
}
DONE = {
    "created_models": int,
    "created_vendors": int,
    "updated_models": int,
    "skipped_models": int,
    "created_list": [str],
    "updated_list": [str],
    "source": SOURCE,
}


class Case(Catalogue):
    """Two models on offer, and a list that knows `gpt`."""

    def setUp(self) -> None:
        """Script the list."""
        super().setUp()
        self.answers = self.gateway.upstream.answers
        self.tell([ITEM], [{"name": "OpenAI", "icon": "o"}])
        self.gateway.add_channel(models="gpt,other")

    def tell(self, models: Any, vendors: Any) -> None:
        """What the list says."""
        self.answers[MODELS] = (200, {"success": True, "data": models})
        self.answers[VENDORS] = (200, vendors)

    def described(self) -> list[dict[str, Any]]:
        """The rows of models."""
        return self.gateway.rows(schema.models.select())

    def own(self, **columns: Any) -> None:
        """An own description of `gpt`."""
        body = {"model_name": "gpt", "tags": "own", **columns}
        self.assertTrue(self.adm.post("/api/models/", body).data)
        self.gateway.notes.clear()


class Previews(Case):
    """`GET …/preview`."""

    def preview(self, query: str = "") -> Any:
        """What it finds."""
        return self.adm.get(f"{PATH}/preview{query}").data

    def test_missing(self) -> None:
        """Models on offer that the list knows; nothing is written."""
        found = self.preview()
        self.assertEqual(misfit(found, PREVIEW), "")
        self.assertEqual((found["missing"], found["conflicts"]), (["gpt"], []))
        expected = {"locale": "", "models_url": MODELS, "vendors_url": VENDORS}
        self.assertEqual(found["source"], expected)
        self.assertEqual(self.described(), [])
        self.assertEqual(self.gateway.audited(), [])

    def test_conflicts(self) -> None:
        """Rows that the list describes otherwise."""
        self.own(icon="i")
        found = self.preview()
        self.assertEqual(misfit(found, PREVIEW), "")
        told = [
            {"field": "tags", "local": "own", "upstream": "t"},
            {"field": "vendor", "local": "", "upstream": "OpenAI"},
        ]
        self.assertEqual(found["missing"], [])
        self.assertEqual(found["conflicts"], [{"model_name": "gpt", "fields": told}])

    def test_locales(self) -> None:
        """A locale has a list of its own; another word is refused."""
        for name in ("models", "vendors"):
            self.answers[f"{BASE}/i18n/ja/newapi/{name}.json"] = (200, [])
        found = self.preview("?locale=ja")
        self.assertEqual((found["missing"], found["source"]["locale"]), ([], "ja"))
        code = self.adm.get(f"{PATH}/preview?locale=../x").code
        self.assertEqual(code, "invalid_field")

    def test_a_list_that_fails(self) -> None:
        """The caller hears what the other server said."""
        self.answers[VENDORS] = (404, b"gone")
        answer = self.adm.get(f"{PATH}/preview", **{"X-Knight-Status": "real"})
        self.assertEqual((answer.status, answer.code), (502, "upstream_failed"))
        self.assertEqual(answer.json["params"], {"status": 404})


class Synchronisations(Case):
    """`POST`."""

    def test_created(self) -> None:
        """Without a body the missing models are created, and it is recorded."""
        answer = self.adm.ask("POST", PATH)
        self.assertEqual(misfit(answer.data, DONE), "")
        self.assertEqual(answer.data["created_list"], ["gpt"])
        counts = [answer.data[name] for name in list(DONE)[:4]]
        self.assertEqual(counts, [1, 1, 0, 1])
        listed = self.adm.get("/api/vendors/").data["items"]
        self.assertEqual(
            [(one["name"], one["icon"]) for one in listed], [("OpenAI", "o")]
        )
        self.assertEqual(self.gateway.audited(), ["model.sync_upstream"])
        noted = self.gateway.notes[0]["other"]["op"]["params"]
        self.assertEqual((noted["created_models"], noted["locale"]), (1, ""))

    def test_overwritten(self) -> None:
        """The fields that the body names, twice the same model too."""
        self.own(icon="x")
        overwrite = [
            {"model_name": "gpt", "fields": ["tags"]},
            {"model_name": "gpt", "fields": ["vendor"]},
            {"model_name": "nobody", "fields": ["tags"]},
            {"model_name": "other", "fields": None},
        ]
        data = self.adm.post(PATH, {"overwrite": overwrite}).data
        self.assertEqual(misfit(data, DONE), "")
        self.assertEqual((data["updated_list"], data["skipped_models"]), (["gpt"], 2))
        (row,) = self.described()
        self.assertEqual((row["tags"], row["icon"]), ("t", "x"))
        self.assertTrue(row["vendor_id"])

    def test_closed(self) -> None:
        """A row with sync_official 0 is left alone."""
        self.own(sync_official=0)
        body = {"overwrite": [{"model_name": "gpt", "fields": ["tags"]}]}
        self.assertEqual(self.adm.post(PATH, body).data["updated_list"], [])
        self.assertEqual(self.described()[0]["tags"], "own")

    def test_a_list_that_fails(self) -> None:
        """Nothing is written when a part of the list cannot be had."""
        for broken in ((404, b""), (200, b"<html>"), (200, {"success": False})):
            self.answers[VENDORS] = broken
            self.assertEqual(self.adm.post(PATH).code, "upstream_failed", broken)
        self.assertEqual((self.described(), self.gateway.audited()), ([], []))

    def test_tried_again(self) -> None:
        """A server that is away is asked three times."""
        self.answers[MODELS] = UpstreamFailed("connection refused")
        pending = self.gateway.upstream.sent
        with self.assertRaisesRegex(AssertionError, "no answer"):
            self.adm.post(PATH)
        self.gateway.clock.pump([PAUSE, PAUSE])
        self.assertEqual([one["url"] for one in pending], [MODELS] * 3)
        self.assertEqual(self.described(), [])

    def test_wrong_questions(self) -> None:
        """Models with known fields; administrators only."""
        for body in (
            {"locale": "xx"},
            {"locale": 5},
            {"overwrite": "gpt"},
            {"overwrite": ["gpt"]},
            {"overwrite": [{"fields": ["tags"]}]},
            {"overwrite": [{"model_name": "gpt", "fields": "tags"}]},
            {"overwrite": [{"model_name": "gpt", "fields": ["id"]}]},
            {"overwrite": [{"model_name": "gpt", "fields": [{}]}]},
            {"overwrite": [{}] * 10_001},
        ):
            code = self.adm.post(PATH, body).code
            self.assertIn(code, ("invalid_field", "missing_field"), body)
        self.assertEqual(self.gateway.upstream.sent, [])
        self.assertEqual(self.ann.post(PATH).status, 403)
        self.assertEqual(self.ann.get(f"{PATH}/preview").status, 403)
