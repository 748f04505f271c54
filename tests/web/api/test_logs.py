"""`/api/log` and `/api/data` over the real site."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import sqlalchemy as sa
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.storage import schema
from tests.web.api.management import Management
from tests.web.api.shapes import misfit
from tests.web.gateway import NOW

ROW = {
    "id": int,
    "user_id": int,
    "created_at": int,
    "type": int,
    "content": str,
    "username": str,
    "token_name": str,
    "model_name": str,
    "quota": int,
    "prompt_tokens": int,
    "completion_tokens": int,
    "use_time": int,
    "is_stream": bool,
    "channel": int,
    "channel_name": str,
    "token_id": int,
    "group": str,
    "ip": str,
    "request_id": str,
    "other": str,
}
"""A log row as the reference shows it."""

SECRET = {
    "model_ratio": 1,
    "channel_name": "main",
    "admin_info": {"use_channel": ["1"]},
    "audit_info": {"path": "/x"},
}


class Case(SynchronousTestCase):
    """`root`, and `ann` (2) with three rows of her own."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.root = self.gateway.bearer("root")
        self.ann = self.gateway.bearer("ann")
        self.channel = self.gateway.add_channel(name="main")
        self.gateway.notes.clear()
        for number in range(3):
            self.gateway.add_log(
                user_id=2,
                username="ann",
                created_at=NOW - 10 * number,
                request_id=f"r-{number}",
                channel_id=self.channel,
                other=SECRET,
            )
        self.gateway.add_log(
            user_id=1,
            username="root",
            type=5,
            quota=0,
            content="status_code=500, boom",
            model_name="gpt-4o",
            request_id="failed",
            status=500,
            session_id="s",
            upstream_request_id="u",
        )

    def total(self, query: str) -> int:
        """How many rows a filter takes."""
        found: int = self.root.get(f"/api/log/?{query}").data["total"]
        return found


class Lists(Case):
    """Pages."""

    def test_shape(self) -> None:
        """A row has exactly the reference's members, the channel's name included."""
        data = self.root.get("/api/log/?p=1&page_size=3&username=ann").data
        self.assertEqual(misfit(data["items"][0], ROW), "")
        self.assertEqual(data["items"][0]["channel_name"], "main")
        self.assertEqual((data["page"], data["page_size"], data["total"]), (1, 3, 3))

    def test_members_of_ours(self) -> None:
        """Status, session and the upstream's id come along when there are any."""
        item = self.root.get("/api/log/?type=5").data["items"][0]
        told = (item["status"], item["session_id"], item["upstream_request_id"])
        self.assertEqual(told, (500, "s", "u"))

    def test_filters(self) -> None:
        """Every argument narrows; 0 and nothing do not."""
        for query, total in (
            ("", 4),
            ("type=0&channel=0&model_name=", 4),
            ("type=5", 1),
            ("type=2&type=5", 4),
            ("username=ann", 3),
            ("username=an%25", 3),
            ("token_name=logkey", 4),
            ("model_name=pt-ok", 3),
            ("model_name=gpt%25", 1),
            (f"channel={self.channel}", 3),
            ("group=default", 4),
            ("group=vip", 0),
            ("request_id=r-1", 1),
            ("upstream_request_id=u", 1),
            ("session_id=s", 1),
            ("status_code=500", 1),
            (f"start_timestamp={NOW - 10}", 3),
            (f"start_timestamp={NOW - 10}&end_timestamp={NOW - 10}", 1),
            ("min_cost=1", 3),
            ("q=BOOM", 1),
        ):
            self.assertEqual(self.total(query), total, query)

    def test_too_many_values(self) -> None:
        """An argument is not repeated without end."""
        query = "&".join(f"request_id=r{n}" for n in range(51))
        self.assertEqual(self.root.get(f"/api/log/?{query}").code, "invalid_field")

    def test_own_rows(self) -> None:
        """People see their own rows, numbered by place, without channels."""
        data = self.ann.get("/api/log/self?p=1&page_size=2").data
        self.assertEqual(misfit(data["items"][0], ROW), "")
        self.assertEqual([item["id"] for item in data["items"]], [1, 2])
        self.assertEqual(data["total"], 3)
        self.assertEqual(data["items"][0]["channel_name"], "")
        self.assertEqual(json.loads(data["items"][0]["other"]), {"model_ratio": 1})
        second = self.ann.get("/api/log/self?p=2&page_size=2").data
        self.assertEqual([item["id"] for item in second["items"]], [3])

    def test_own_rows_only(self) -> None:
        """Another's name does not open another's rows."""
        data = self.ann.get("/api/log/self?username=root&channel=999").data
        self.assertEqual(data["total"], 3)

    def test_unreadable_details(self) -> None:
        """What cannot be read is not shown to users."""
        table = schema.logs
        for other in ("{broken", "[1]", None):
            self.gateway.execute(sa.update(table).values(other=other))
            items = self.ann.get("/api/log/self").data["items"]
            self.assertEqual({item["other"] for item in items}, {""}, other)

    def test_administrators_only(self) -> None:
        """Everybody's rows are for administrators."""
        for path in ("/api/log/", "/api/log/stat", "/api/log/search"):
            self.assertEqual(self.ann.get(path).status, 403)

    def test_search(self) -> None:
        """A keyword is looked for in text and model."""
        for client, path, keyword, total in (
            (self.root, "search", "boom", 1),
            (self.root, "search", "gpt-4", 1),
            (self.root, "search", "", 4),
            (self.ann, "self/search", "pt-o", 3),
            (self.ann, "self/search", "boom", 0),
        ):
            data = client.get(f"/api/log/{path}?keyword={keyword}").data
            self.assertEqual(data["total"], total, keyword)

    def test_plain_list(self) -> None:
        """one-api's scripts get the bare array."""
        answer = self.root.get("/api/log/?p=0", **{"X-Api-Compat": "one-api"})
        self.assertEqual(len(answer.data), 4)


class Sums(Case):
    """Quota and pace."""

    def test_stat(self) -> None:
        """Quota of served calls, and calls and tokens of the last minute."""
        data = self.root.get("/api/log/stat?type=2&username=ann").data
        self.assertEqual(data, {"quota": 45, "rpm": 3, "tpm": 45})
        own = self.ann.get("/api/log/self/stat").data
        self.assertEqual(own, {"quota": 45, "rpm": 3, "tpm": 45})

    def test_range(self) -> None:
        """Quota follows the range, the pace does not."""
        query = f"start_timestamp={NOW - 25}&end_timestamp={NOW - 5}"
        data = self.ann.get(f"/api/log/self/stat?{query}").data
        self.assertEqual(data, {"quota": 30, "rpm": 3, "tpm": 45})

    def test_other_types(self) -> None:
        """Only served calls cost."""
        data = self.root.get("/api/log/stat?type=5").data
        self.assertEqual(data, {"quota": 0, "rpm": 0, "tpm": 0})


class Deleting(Case):
    """`DELETE /api/log/`."""

    def test_old_rows(self) -> None:
        """Rows older than the moment go in the background; their count comes back."""
        path = f"/api/log/?target_timestamp={NOW - 5}"
        self.assertEqual(self.root.delete(path).data, 2)
        self.assertEqual(self.total(""), 2)
        self.assertEqual(self.gateway.audited(), ["log.clean"])

    def test_refusals(self) -> None:
        """A moment must be named, by an administrator."""
        for query in ("", "?target_timestamp=0", "?target_timestamp=x"):
            self.assertEqual(
                self.root.delete(f"/api/log/{query}").code, "missing_field"
            )
        self.assertEqual(self.ann.delete("/api/log/?target_timestamp=5").status, 403)


class Usage(Case):
    """`/api/data`."""

    WHOLE: ClassVar = {
        "id": int,
        "user_id": int,
        "username": str,
        "model_name": str,
        "created_at": int,
        "use_group": str,
        "token_id": int,
        "channel_id": int,
        "node_name": str,
        "token_used": int,
        "count": int,
        "quota": int,
    }

    def setUp(self) -> None:
        """An hour's sums of `ann`."""
        super().setUp()
        self.hour = NOW - NOW % 3600
        token = self.gateway.add_token(2, name="logkey")
        self.sum(user_id=2, username="ann", token_id=token, channel_id=self.channel)
        self.sum(user_id=2, username="ann", model_name="pt-other", quota=5)
        self.span = f"start_timestamp={self.hour - 60}&end_timestamp={self.hour + 60}"

    def sum(self, **columns: Any) -> None:
        """A row of hourly sums."""
        row = {
            "model_name": "pt-ok",
            "created_at": self.hour,
            "use_group": "default",
            "node_name": "node",
            "token_used": 30,
            "count": 2,
            "quota": 30,
            **columns,
        }
        self.gateway.execute(sa.insert(schema.quota_data).values(**row))

    def test_per_model(self) -> None:
        """Sums per model; without a user nothing about users."""
        rows = self.root.get(f"/api/data/?{self.span}").data
        self.assertEqual(misfit(rows, [self.WHOLE]), "")
        self.assertEqual([row["model_name"] for row in rows], ["pt-ok", "pt-other"])
        self.assertEqual((rows[0]["user_id"], rows[0]["username"]), (0, ""))
        named = self.root.get(f"/api/data/?{self.span}&username=ann").data
        self.assertEqual((named[0]["user_id"], named[0]["username"]), (2, "ann"))

    def test_per_user(self) -> None:
        """Sums per user."""
        rows = self.root.get(f"/api/data/users?{self.span}").data
        self.assertEqual(misfit(rows, [self.WHOLE]), "")
        self.assertEqual(
            [(row["username"], row["quota"]) for row in rows], [("ann", 35)]
        )

    def test_own(self) -> None:
        """The own sums, of up to 30 days."""
        rows = self.ann.get(f"/api/data/self?{self.span}").data
        self.assertEqual(misfit(rows, [self.WHOLE]), "")
        self.assertEqual(len(self.ann.get("/api/data/self").data), 2)
        long = f"start_timestamp={NOW - 31 * 86_400}&end_timestamp={NOW}"
        self.assertEqual(self.ann.get(f"/api/data/self?{long}").code, "invalid_field")

    def test_flow(self) -> None:
        """The ways calls took; empty members are left out."""
        rows = self.root.get(f"/api/data/flow?{self.span}").data
        self.assertEqual(rows[0]["token_name"], "logkey")
        self.assertEqual(rows[0]["channel_name"], "main")
        self.assertEqual(
            set(rows[1]),
            {"user_id", "username", "node_name", "use_group", "model_name",
             "token_used", "count", "quota"},
        )  # fmt: skip

    def test_own_flow(self) -> None:
        """The own ways, without channels."""
        rows = self.ann.get(f"/api/data/flow/self?{self.span}").data
        self.assertEqual(
            set(rows[0]),
            {"token_id", "token_name", "use_group", "model_name", "token_used",
             "count", "quota"},
        )  # fmt: skip

    def test_administrators_only(self) -> None:
        """Everybody's sums are for administrators."""
        for path in ("", "users", "flow"):
            self.assertEqual(self.ann.get(f"/api/data/{path}").status, 403)
