"""Cursors, histograms, facets and exports of the log, over the real site."""

from __future__ import annotations

import base64
import csv
import io
import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.web.api import log_export
from tests.web.api.management import Management
from tests.web.gateway import NOW, Answer, Channel, Client, parse


class Case(SynchronousTestCase):
    """`root`, and `ann` (2) with seven rows of her own, one a minute."""

    def setUp(self) -> None:
        """Log in."""
        self.gateway = Management()
        self.gateway.set_up()
        self.gateway.add_user("ann")
        self.root = self.gateway.bearer("root")
        self.ann = self.gateway.bearer("ann")
        for number in range(7):
            self.gateway.add_log(
                user_id=2,
                username="ann",
                created_at=NOW - 60 * (6 - number),
                request_id=f"r-{number}",
                model_name="m-1" if number % 3 else "m-2",
                type=5 if number == 0 else 2,
                content="=SUM(A1)" if number == 1 else "",
            )
        self.gateway.add_log(user_id=9, username="bob", request_id="bob")


class CursorTests(Case):
    """`/api/log/cursor`."""

    def walk(self, client: Client, path: str, side: str, cursor: str = "") -> list[Any]:
        """All stretches from a cursor on, as lists of request ids."""
        found = []
        for _ in range(9):
            data = client.get(f"{path}?limit=3&cursor={cursor}").data
            found.append([item["request_id"] for item in data["items"]])
            cursor = data[side]
            if cursor is None:
                break
        return found

    def test_to_the_end(self) -> None:
        """From stretch to stretch, each row once, the own ones only."""
        found = self.walk(self.ann, "/api/log/self/cursor", "next")
        self.assertEqual(found, [["r-6", "r-5", "r-4"], ["r-3", "r-2", "r-1"], ["r-0"]])
        self.assertEqual(self.walk(self.root, "/api/log/cursor", "next")[0][0], "bob")

    def test_and_back(self) -> None:
        """Back from the end to the beginning."""
        path = "/api/log/self/cursor"
        first = self.ann.get(f"{path}?limit=3").data
        self.assertIsNone(first["prev"])
        second = self.ann.get(f"{path}?limit=3&cursor={first['next']}").data
        back = self.ann.get(f"{path}?limit=3&cursor={second['prev']}").data
        self.assertEqual(
            [item["request_id"] for item in back["items"]], ["r-6", "r-5", "r-4"]
        )
        self.assertIsNone(back["prev"])
        again = self.ann.get(f"{path}?limit=3&cursor={back['next']}").data
        self.assertEqual(again["items"][0]["request_id"], "r-3")

    def test_total(self) -> None:
        """The total comes with the first stretch."""
        data = self.ann.get("/api/log/self/cursor?limit=2").data
        self.assertEqual(data["approx_total"], 7)
        more = self.ann.get(f"/api/log/self/cursor?cursor={data['next']}").data
        self.assertIsNone(more["approx_total"])

    def test_nothing(self) -> None:
        """An empty stretch leads nowhere."""
        data = self.ann.get("/api/log/self/cursor?model=none").data
        self.assertEqual(
            data, {"items": [], "next": None, "prev": None, "approx_total": 0}
        )

    def test_wrong_cursors(self) -> None:
        """Only cursors of ours."""
        for text in ("before:x", "beside:5", "before:0", "before:99999999999999999999"):
            cursor = base64.urlsafe_b64encode(text.encode()).decode()
            answer = self.ann.get(f"/api/log/self/cursor?cursor={cursor}")
            self.assertEqual(answer.code, "invalid_field", text)
        self.assertEqual(
            self.ann.get("/api/log/self/cursor?cursor=%ff").code, "invalid_field"
        )

    def test_administrators_only(self) -> None:
        """Everybody's rows are for administrators."""
        for name in ("cursor", "histogram", "facets", "export", "explain/r-1"):
            self.assertEqual(self.ann.get(f"/api/log/{name}").status, 403)


class SumTests(Case):
    """Histograms and facets."""

    def test_histogram(self) -> None:
        """Every bucket of the range, empty ones too."""
        query = f"start_timestamp={NOW - 599}&end_timestamp={NOW}&buckets=10"
        rows = self.ann.get(f"/api/log/self/histogram?{query}").data
        self.assertEqual([row["count"] for row in rows], [0, 0, 0] + [1] * 7)
        self.assertEqual(rows[3]["errors"], 1)
        self.assertEqual(set(rows[0]), {"ts", "count", "errors", "quota"})

    def test_usual_range(self) -> None:
        """Without a range the last day, in 60 buckets."""
        rows = self.root.get("/api/log/histogram").data
        self.assertEqual((len(rows), sum(row["count"] for row in rows)), (60, 8))
        many = self.root.get("/api/log/histogram?buckets=9999").data
        self.assertLessEqual(len(many), 200)

    def test_wrong_range(self) -> None:
        """A range does not end before it begins."""
        query = "start_timestamp=9&end_timestamp=5"
        answer = self.root.get(f"/api/log/histogram?{query}")
        self.assertEqual(answer.code, "invalid_field")

    def test_facets(self) -> None:
        """The commonest values first; channels and people only for administrators."""
        data = self.ann.get("/api/log/self/facets?fields=model,type").data
        self.assertEqual(
            data["model"], [{"value": "m-1", "count": 4}, {"value": "m-2", "count": 3}]
        )
        self.assertEqual(set(data), {"model", "type"})
        self.assertNotIn("channel", self.ann.get("/api/log/self/facets").data)
        self.assertIn("username", self.root.get("/api/log/facets").data)
        for fields in ("channel", "nonsense"):
            answer = self.ann.get(f"/api/log/self/facets?fields={fields}")
            self.assertEqual(answer.code, "invalid_field")


class ExplainTests(Case):
    """`/api/log/explain`."""

    def test_record(self) -> None:
        """The decision record of a call, when there is one."""
        told = {"candidates": [], "draws": []}
        self.gateway.add_log(request_id="x", other={"admin_info": {"explain": told}})
        self.assertEqual(self.root.get("/api/log/explain/x").data, told)
        for name in ("r-1", "unknown"):
            self.assertEqual(
                self.root.get(f"/api/log/explain/{name}").code, "not_found"
            )

    def test_our_own_ids(self) -> None:
        """Request ids begin with more digits than a number of the database has."""
        name = "20261125192200627820491zl726Dk9"
        self.gateway.add_log(request_id=name, other={"admin_info": {"explain": {}}})
        self.assertEqual(self.root.get(f"/api/log/explain/{name}").data, {})


class ExportTests(Case):
    """`/api/log/export`."""

    def test_csv(self) -> None:
        """All rows, newest first, no cell a formula."""
        answer = self.ann.get("/api/log/self/export")
        self.assertEqual(answer.get("Content-Type"), "text/csv; charset=utf-8")
        self.assertRegex(
            answer.get("Content-Disposition"), r'filename="usage-log_[0-9TZ-]+\.csv"'
        )
        rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
        self.assertEqual([row["request_id"] for row in rows][:2], ["r-6", "r-5"])
        self.assertEqual(len(rows), 7)
        self.assertEqual(rows[5]["content"], "'=SUM(A1)")
        self.assertNotIn("id", rows[0])
        self.assertNotIn("admin_info", rows[0]["other"])

    def test_for_spreadsheets(self) -> None:
        """A mark for UTF-8, when asked for."""
        body = self.ann.get("/api/log/self/export?bom=1").body
        self.assertTrue(body.startswith(b"\xef\xbb\xbfcreated_at"))

    def test_lines(self) -> None:
        """JSON, a row per line; administrators see ids and more."""
        answer = self.root.get("/api/log/export?format=jsonl&username=ann")
        rows = [json.loads(line) for line in answer.body.splitlines()]
        self.assertEqual(len(rows), 7)
        self.assertIn("id", rows[0])
        self.assertIn("admin_info", rows[0]["other"])

    def test_unknown_format(self) -> None:
        """There are two formats."""
        answer = self.ann.get("/api/log/self/export?format=xls")
        self.assertEqual(answer.code, "invalid_field")

    def test_many_rows(self) -> None:
        """More rows than are read at once, each once."""
        self.patch(log_export, "ROWS_AT_ONCE", 2)
        rows = self.ann.get("/api/log/self/export?format=jsonl").body.splitlines()
        self.assertEqual(len({json.loads(row)["request_id"] for row in rows}), 7)

    def test_a_slow_client(self) -> None:
        """No more is read while the client does not take what is there."""
        self.patch(log_export, "ROWS_AT_ONCE", 2)
        reads: list[int] = []
        original = log_export.Writer.rows

        def rows(writer: Any, some: Any) -> bytes:
            reads.append(len(some))
            if len(reads) == 2:
                transport.producer.pauseProducing()
            return original(writer, some)

        self.patch(log_export.Writer, "rows", rows)
        transport = Channel("203.0.113.9")
        channel = self.gateway.site.buildProtocol(IPv4Address("TCP", "h", 1))
        channel.makeConnection(transport)
        head = "".join(f"{n}: {v}\r\n" for n, v in self.ann.headers.items())
        path = "/api/log/self/export?format=jsonl"
        channel.dataReceived(f"GET {path} HTTP/1.1\r\nHost: h\r\n{head}\r\n".encode())
        self.assertEqual(reads, [2, 2])
        transport.producer.resumeProducing()
        self.assertEqual(reads, [2, 2, 2, 1])
        answer: Answer = parse(transport.value())
        self.assertEqual(len(answer.body.splitlines()), 7)
