"""What a synchronisation with a public list reads and writes, on three engines."""

from __future__ import annotations

from datetime import UTC, datetime
from threading import Event
from typing import Any

from sqlalchemy import Connection
from twisted.internet.defer import ensureDeferred, gatherResults

from knight_tw.model_sync import Told, preview, synchronise
from knight_tw.storage import channel_queries
from knight_tw.storage import model_sync_queries as queries
from knight_tw.storage.model_sync_queries import Plan
from knight_tw.storage.schema import models, vendors
from tests.engines import ConnectionCase, DatabaseCase, for_engines
from tests.web.api.rows import NOW, channel_row

TOLD = Told(
    {
        "gpt": {
            "description": "größer 模型",
            "tags": "t",
            "vendor": "OpenAI",
            "endpoints": '["openai"]',
            "status": 1,
        },
        "gemini": {"vendor": "Google", "icon": "g"},
    },
    {"OpenAI": {"icon": "o", "description": "d"}},
)

GONE = datetime.fromtimestamp(NOW, UTC)


@for_engines
class Synchronising(ConnectionCase):
    """One transaction."""

    def offer(self, names: str) -> None:
        """A channel with some models."""
        channel_queries.insert(self.connection, [channel_row(models=names)])

    def synchronise(self, **overwrite: set[str]) -> Any:
        """What was written."""
        return synchronise(self.connection, TOLD, overwrite, NOW)

    def model(self, name: str) -> Any:
        """The rows of a name."""
        return [row for row in self.rows(models) if row["model_name"] == name]

    def test_created(self) -> None:
        """Missing models come with their vendors, new ones as the list has them."""
        self.offer("gpt,gemini,other")
        google = self.insert(vendors, name="Google")
        done = self.synchronise()
        self.assertEqual(
            done,
            {
                "created_models": 2,
                "created_vendors": 1,
                "updated_models": 0,
                "skipped_models": 1,
                "created_list": ["gemini", "gpt"],
                "updated_list": [],
            },
        )
        (row,) = self.model("gpt")
        made = {row["id"]: row for row in self.rows(vendors)}[row["vendor_id"]]
        self.assertEqual(made["name"], "OpenAI")
        self.assertEqual((made["icon"], made["status"]), ("o", 1))
        self.assertEqual(made["created_time"], NOW)
        expected = {
            "description": "größer 模型",
            "tags": "t",
            "icon": "",
            "endpoints": '["openai"]',
            "status": 1,
            "sync_official": 1,
            "name_rule": 0,
            "created_time": NOW,
            "updated_time": NOW,
            "deleted_at": None,
        }
        self.assertEqual({key: row[key] for key in expected}, expected)
        self.assertEqual(self.model("gemini")[0]["vendor_id"], google)

    def test_again(self) -> None:
        """The second time there is nothing to do."""
        self.offer("gpt")
        self.synchronise()
        done = self.synchronise(gpt={"tags", "vendor"})
        self.assertEqual(done["created_list"] + done["updated_list"], [])
        self.assertEqual((done["created_vendors"], done["skipped_models"]), (0, 1))
        self.assertEqual(len(self.model("gpt")), 1)

    def test_overwritten(self) -> None:
        """Only the named fields of a row change."""
        self.insert(models, model_name="gpt", description="own", tags="own", status=0)
        done = self.synchronise(gpt={"tags", "vendor"})
        self.assertEqual(done["updated_list"], ["gpt"])
        self.assertEqual((done["updated_models"], done["created_vendors"]), (1, 1))
        (row,) = self.model("gpt")
        self.assertEqual((row["tags"], row["description"]), ("t", "own"))
        self.assertEqual((row["status"], row["updated_time"]), (0, NOW))
        self.assertEqual(row["vendor_id"], self.rows(vendors)[0]["id"])

    def test_closed(self) -> None:
        """A row with sync_official 0 stays as it is, and no vendor comes for it."""
        self.offer("gpt")
        self.insert(models, model_name="gpt", tags="own", sync_official=0)
        before = self.rows(models)
        done = self.synchronise(gpt={"tags", "vendor"})
        self.assertEqual(done["skipped_models"], 1)
        self.assertEqual(self.rows(models), before)
        self.assertEqual(self.rows(vendors), [])

    def test_closed_meanwhile(self) -> None:
        """A row that was closed or deleted after it was read stays as it is."""
        closed = self.insert(models, model_name="a", sync_official=0)
        gone = self.insert(models, model_name="b", deleted_at=GONE)
        open_row = self.insert(models, model_name="c")
        updated = {n: {"tags": "t"} for n in (closed, gone, open_row)}
        written = queries.write(self.connection, Plan([], updated, {}), NOW)
        self.assertEqual(written.updated, {open_row})
        self.assertEqual([row["tags"] for row in self.rows(models)], ["", "", "t"])

    def test_deleted_rows(self) -> None:
        """A deleted description or vendor is not there: new ones come beside it."""
        self.offer("gpt")
        self.insert(models, model_name="gpt", deleted_at=GONE)
        old = self.insert(vendors, name="OpenAI", deleted_at=GONE)
        done = self.synchronise()
        self.assertEqual((done["created_list"], done["created_vendors"]), (["gpt"], 1))
        alive = [row for row in self.model("gpt") if row["deleted_at"] is None]
        self.assertEqual(len(alive), 1)
        self.assertNotEqual(alive[0]["vendor_id"], old)

    def test_preview(self) -> None:
        """A preview names what would come and what differs."""
        self.offer("gpt,gemini")
        self.insert(models, model_name="gemini", icon="own")
        found = preview(self.connection, TOLD)
        self.assertEqual(found["missing"], ["gpt"])
        fields = [one["field"] for one in found["conflicts"][0]["fields"]]
        self.assertEqual(fields, ["icon", "vendor"])


@for_engines
class Together(DatabaseCase):
    """Two administrators at once."""

    async def test_created_once(self) -> None:
        """Several synchronisations create a row once."""
        await self.db.run(channel_queries.insert, [channel_row(models="gpt")])
        runs = [self.db.run(synchronise, TOLD, {}, NOW) for _ in range(3)]
        done = await gatherResults([ensureDeferred(run) for run in runs])
        self.assertEqual(sum(one["created_models"] for one in done), 1)
        self.assertEqual(sum(one["created_vendors"] for one in done), 1)

    async def test_one_at_a_time(self) -> None:
        """The second transaction reads when the first is over."""
        await self.db.run(channel_queries.insert, [channel_row(models="gpt")])
        begun, overtaken, seen = Event(), Event(), []

        def first(connection: Connection) -> None:
            synchronise(connection, TOLD, {}, NOW)
            begun.set()
            seen.append(overtaken.wait(0.2))

        def second(connection: Connection) -> None:
            begun.wait(5)
            seen.append(synchronise(connection, TOLD, {}, NOW)["created_list"])
            overtaken.set()

        runs = [ensureDeferred(self.db.run(work)) for work in (first, second)]
        await gatherResults(runs)
        self.assertEqual(seen, [False, []])
