"""Tests of the lists of drawings and tasks."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.api.shapes import PAGE, misfit
from tests.web.api.watched import Watched
from tests.web.gateway import NOW

DRAWING = {
    "id": int,
    "code": int,
    "user_id": int,
    "action": str,
    "mj_id": str,
    "prompt": str,
    "prompt_en": str,
    "description": str,
    "state": str,
    "submit_time": int,
    "start_time": int,
    "finish_time": int,
    "image_url": str,
    "video_url": str,
    "video_urls": str,
    "status": str,
    "progress": str,
    "fail_reason": str,
    "channel_id": int,
    "quota": int,
    "buttons": str,
    "properties": str,
}
TASK = {
    "id": int,
    "created_at": int,
    "updated_at": int,
    "task_id": str,
    "platform": str,
    "user_id": int,
    "group": str,
    "channel_id": int,
    "quota": int,
    "action": str,
    "status": str,
    "fail_reason": str,
    "submit_time": int,
    "start_time": int,
    "finish_time": int,
    "progress": str,
    "properties": dict,
    "data": (list, dict),
}
FAILED = {**TASK, "result_url": str}


class WorksTests(SynchronousTestCase):
    """Everybody's and the own ones."""

    def setUp(self) -> None:
        """Two tasks and a drawing of Ann's."""
        self.gateway = Watched()
        self.gateway.set_up()
        self.gateway.add_user("adm", 10)
        self.ann = self.gateway.add_user("ann")
        self.gateway.add_user("bob")
        self.adm = self.gateway.bearer("adm")
        self.own = self.gateway.bearer("ann")
        self.other = self.gateway.bearer("bob")
        self.add_task(
            task_id="task_1",
            platform="suno",
            status="SUCCESS",
            properties=json.dumps({"input": "a song"}),
            data=json.dumps([{"id": "up1"}]),
        )
        self.add_task(
            task_id="task_2",
            platform="55",
            status="FAILURE",
            fail_reason="no such thing",
            properties="{}",
            data=json.dumps({"id": "up2"}),
        )
        self.add_drawing(mj_id="123", image_url="https://cdn.test/a.png")

    def add_task(self, **columns: Any) -> None:
        """A task of Ann's."""
        row = {"user_id": self.ann, "channel_id": 4, "submit_time": NOW, "group": "g"}
        row |= {"private_data": json.dumps({"key": "secret"}), **columns}
        self.gateway.execute(sa.insert(schema.tasks).values(**row))

    def add_drawing(self, **columns: Any) -> None:
        """A drawing of Ann's."""
        row = {"user_id": self.ann, "channel_id": 4, "submit_time": NOW * 1000}
        self.gateway.execute(sa.insert(schema.midjourneys).values(**row, **columns))

    def test_half_a_character(self) -> None:
        """What a provider cut in the middle of a character is shown all the same."""
        self.add_task(task_id="task_3", data='{"title": "a song \\ud83d"}')
        for client, path in ((self.adm, "/api/task/"), (self.own, "/api/task/self")):
            data = client.get(path).data["items"][0]["data"]
            self.assertEqual(data, {"title": "a song \ud83d"})

    def test_tasks_of_all(self) -> None:
        """Administrators see the owner's name and the channel."""
        data = self.adm.get("/api/task/?p=1&page_size=10").data
        self.assertEqual(misfit(data, PAGE), "")
        failed, done = data["items"]
        self.assertEqual(misfit(done, {**TASK, "username": str}), "")
        self.assertEqual(misfit(failed, {**FAILED, "username": str}), "")
        self.assertEqual((done["username"], done["channel_id"]), ("ann", 4))
        self.assertEqual(done["data"], [{"id": "up1"}])

    def test_own_tasks(self) -> None:
        """Their owner sees neither; nobody sees what is private."""
        answer = self.own.get("/api/task/self")
        self.assertNotIn(b"secret", answer.body)
        failed, done = answer.data["items"]
        self.assertEqual(misfit(done, TASK), "")
        self.assertEqual(misfit(failed, FAILED), "")
        self.assertEqual(done["channel_id"], 0)

    def test_result_url(self) -> None:
        """The provider's address of the result is kept among what is private."""
        private = json.dumps({"result_url": "https://cdn.test/x.mp4", "key": "k"})
        self.add_task(task_id="task_3", status="SUCCESS", private_data=private)
        first = self.own.get("/api/task/self").data["items"][0]
        self.assertEqual(first["result_url"], "https://cdn.test/x.mp4")

    def test_task_filters(self) -> None:
        """Platform and status; the channel only for administrators."""
        asked = "platform=suno&status=SUCCESS"
        data = self.own.get(f"/api/task/self?{asked}").data
        self.assertEqual(data["total"], 1)
        self.assertEqual(self.adm.get("/api/task/?channel_id=5").data["total"], 0)
        self.assertEqual(self.own.get("/api/task/self?channel_id=5").data["total"], 2)
        later = f"start_timestamp={NOW + 1}"
        self.assertEqual(self.own.get(f"/api/task/self?{later}").data["items"], [])

    def test_nobody_elses(self) -> None:
        """Others see nothing, and the site's lists are for administrators."""
        for what in ("task", "mj"):
            data = self.other.get(f"/api/{what}/self").data
            self.assertEqual((data["total"], data["items"]), (0, []))
            self.assertEqual(self.other.get(f"/api/{what}/").status, 403)
            self.assertEqual(self.gateway.ask("GET", f"/api/{what}/self").status, 401)

    def test_drawings(self) -> None:
        """The picture is shown through our own address while the option says so."""
        self.gateway.set_option("ServerAddress", "https://gate.example.com/")
        for client, path in ((self.adm, "/api/mj/"), (self.own, "/api/mj/self")):
            data = client.get(path).data
            self.assertEqual(misfit(data, {**PAGE, "items": [DRAWING]}), "")
            url = data["items"][0]["image_url"]
            self.assertEqual(url, "https://gate.example.com/mj/image/123")
        self.gateway.set_option("MjForwardUrlEnabled", "false")
        url = self.own.get("/api/mj/self").data["items"][0]["image_url"]
        self.assertEqual(url, "https://cdn.test/a.png")

    def test_drawing_times(self) -> None:
        """Times of drawings are in milliseconds."""
        for start, total in ((NOW * 1000, 1), (NOW * 1000 + 1, 0)):
            data = self.own.get(f"/api/mj/self?start_timestamp={start}").data
            self.assertEqual(data["total"], total)
