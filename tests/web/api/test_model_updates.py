"""Changes of upstreams' model lists: comparing, waiting, applying."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.channels.updates import difference
from knight_tw.jobs import Job
from knight_tw.records import Channel
from knight_tw.storage import job_queries
from tests.web.api.test_channels import Case
from tests.web.gateway import NOW, now

BASE = "http://127.0.0.1:41439"
CHECK = {"upstream_model_update_check_enabled": True}


class Differences(SynchronousTestCase):
    """Two lists compared."""

    def compare(
        self, models: str, offered: str, ignored: str = "", **mapping: str
    ) -> Any:
        """(added, removed)."""
        channel = Channel(
            1, 1, "c", 1, ("k",), models=tuple(models.split()), model_mapping=mapping
        )
        found = difference(channel, offered.split(), ignored.split())
        return " ".join(found.added), " ".join(found.removed)

    def test_lists(self) -> None:
        """New ones, gone ones, ignored ones."""
        self.assertEqual(self.compare("a b", "b c"), ("c", "a"))
        self.assertEqual(self.compare("a", "a c", "c"), ("", ""))

    def test_mapped_names(self) -> None:
        """A model counts by the name it is mapped to, through chains."""
        self.assertEqual(self.compare("mine", "a", mine="a"), ("", ""))
        self.assertEqual(self.compare("mine", "b", mine="x", x="b"), ("", ""))
        self.assertEqual(self.compare("mine", "b", mine="a"), ("b", "mine"))

    def test_a_cycle(self) -> None:
        """A mapping that goes in a circle leaves the name as it is."""
        self.assertEqual(self.compare("a", "a", a="b", b="a"), ("", ""))


class PageTests(Case):
    """`/api/channel/upstream_updates`."""

    def setUp(self) -> None:
        """A channel whose upstream has two more models."""
        super().setUp()
        listed = {"data": [{"id": name} for name in ("pt-ok", "new-1", "new-2")]}
        self.gateway.upstream.answers[f"{BASE}/v1/models"] = (200, listed)
        self.channel_id = self.add(models="pt-ok,pt-other")
        self.gateway.changes.clear()

    def add(self, settings: Any = None, **columns: Any) -> int:
        """A channel with that upstream."""
        text = json.dumps(settings) if settings else ""
        return self.gateway.add_channel(
            base_url=BASE,
            model_mapping='{"pt-other":"pt-ok"}',
            settings=text,
            **columns,
        )

    def ask(self, action: str, **body: Any) -> Any:
        """The answer to an action."""
        return self.root.post(f"/api/channel/upstream_updates/{action}", body)

    def test_detect(self) -> None:
        """What is new comes back and waits in the channel."""
        self.assertEqual(
            self.ask("detect", id=self.channel_id).data,
            {
                "channel_id": self.channel_id,
                "channel_name": "example",
                "add_models": ["new-1", "new-2"],
                "remove_models": [],
                "last_check_time": NOW,
                "auto_added_models": 0,
            },
        )
        settings = json.loads(self.gateway.channel(self.channel_id)["settings"])
        self.assertEqual(
            settings["upstream_model_update_last_detected_models"], ["new-1", "new-2"]
        )
        self.assertEqual(self.gateway.changes, [("channel", str(self.channel_id))])

    def test_added_at_once(self) -> None:
        """A channel can take new models by itself."""
        made = self.add(
            {"upstream_model_update_auto_sync_enabled": True}, models="pt-ok"
        )
        data = self.ask("detect", id=made).data
        self.assertEqual((data["auto_added_models"], data["add_models"]), (2, []))
        self.assertEqual(self.gateway.channel(made)["models"], "pt-ok,new-1,new-2")

    def test_apply(self) -> None:
        """Chosen models come in, the others go on waiting."""
        self.ask("detect", id=self.channel_id)
        data = self.ask(
            "apply",
            id=self.channel_id,
            add_models=["new-1"],
            remove_models=[],
            ignore_models=[],
        ).data
        self.assertEqual(data["models"], "pt-ok,pt-other,new-1")
        self.assertEqual(data["added_models"], ["new-1"])
        self.assertEqual(data["remaining_models"], ["new-2"])
        self.assertEqual(
            json.loads(data["settings"]),
            {
                "upstream_model_update_last_check_time": NOW,
                "upstream_model_update_last_detected_models": ["new-2"],
            },
        )
        self.assertEqual(
            self.gateway.channel(self.channel_id)["models"], data["models"]
        )

    def test_ignore_and_remove(self) -> None:
        """An ignored model is not found again; a removed one is gone."""
        self.ask(
            "apply",
            id=self.channel_id,
            ignore_models=["new-1"],
            remove_models=["pt-other"],
        )
        self.assertEqual(self.gateway.channel(self.channel_id)["models"], "pt-ok")
        self.assertEqual(
            self.ask("detect", id=self.channel_id).data["add_models"], ["new-2"]
        )

    def test_apply_all(self) -> None:
        """Everything that waits in watched channels."""
        watched = self.add(CHECK, models="pt-ok,gone")
        for channel_id in (watched, self.channel_id):
            self.ask("detect", id=channel_id)
        data = self.ask("apply_all").data
        self.assertEqual(
            [data[n] for n in ("processed_channels", "added_models", "removed_models")],
            [1, 2, 1],
        )
        self.assertEqual(self.gateway.channel(watched)["models"], "pt-ok,new-1,new-2")
        self.assertEqual(data["failed_channel_ids"], [])

    def test_detect_all(self) -> None:
        """A job that asks watched channels only."""
        self.add(CHECK, models="pt-ok")
        self.add(CHECK, models="pt-ok", type=36)
        data = self.ask("detect_all").data
        self.assertEqual(data["status"], "pending")
        row = now(self.gateway.db.read(job_queries.find, data["task_id"]))
        result = row["result"] if row else {}
        self.assertEqual(result["checked_channels"], 2)
        self.assertEqual(result["failed_channels"], 1)
        self.assertEqual(result["detected_add_models"], 2)

    def test_while_it_runs(self) -> None:
        """One such job at a time, by hand or by schedule."""
        self.assertFalse(now(self.gateway.updates.watch(self.gateway.jobs)))
        self.add(CHECK)
        self.assertTrue(now(self.gateway.updates.watch(self.gateway.jobs)))

        async def work(job: Job) -> None:
            await Deferred()

        now(self.gateway.jobs.start("model_update", work))
        self.assertFalse(now(self.gateway.updates.watch(self.gateway.jobs)))
        self.assertEqual(self.ask("detect_all").code, "job_running")
        self.gateway.background.cancel()

    def test_wrong_questions(self) -> None:
        """Channels must be there, names be names."""
        for answer, code in (
            (self.ask("detect", id=999), "not_found"),
            (self.ask("detect"), "missing_field"),
            (self.ask("apply", id=999), "not_found"),
            (self.ask("apply", id=self.channel_id, add_models="x"), "invalid_field"),
            (
                self.ask("apply", id=self.channel_id, add_models=["a,b"]),
                "invalid_field",
            ),
            (self.ask("apply", id=self.channel_id, add_models=[5]), "invalid_field"),
        ):
            self.assertEqual(answer.code, code)
