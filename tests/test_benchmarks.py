"""The benchmark's arithmetic and tables; nothing is timed here."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import load, provider, report, wrk
from benchmarks.management import TIERS, Management, Refused
from benchmarks.measure import Outcome
from benchmarks.subjects import Subject
from benchmarks.workloads import WORKLOADS, Workload


def named(name: str) -> Workload:
    return next(one for one in WORKLOADS if one.name == name)


def outcome(**figures: Any) -> dict[str, Any]:
    plain = {
        "per_second": 1000.0,
        "failures": 0,
        "reason": "",
        "events": 0,
        "call_ms": {"p50": 1.0, "p99": 2.0},
        "core": 0.99,
        "cpu_us": 90.0,
    }
    return {**plain, **figures}


class Calls(SynchronousTestCase):
    """What is sent and how it is counted."""

    def test_a_request_is_whole(self) -> None:
        """Head, length and body fit together."""
        order = {"port": 1, "key": "sk-x", "body": named("chat").body()}
        head, _, body = load.request_bytes(order).partition(b"\r\n\r\n")
        self.assertIn(b"Authorization: Bearer sk-x\r\n", head)
        self.assertIn(b"Content-Length: %d" % len(body), head)
        self.assertEqual(json.loads(body)["model"], "gpt-4o-mini")

    def test_streams_order_their_events(self) -> None:
        """The provider finds the order near the start of the body."""
        body = named("streams").body().encode()
        found = provider.ORDER.search(body, 0, provider.NEAR_START)
        assert found is not None
        self.assertEqual((found[1], found[2]), (b"50", b"10000"))
        self.assertTrue(json.loads(body)["stream"])

    def test_each_dialect_asks_in_its_own_form(self) -> None:
        """Path, prompt, model and stream are where the dialect has them."""
        for name, path, member in (
            ("chat", "/v1/chat/completions", "messages"),
            ("converted", "/v1/messages", "messages"),
            ("responses", "/v1/responses", "input"),
            ("gemini", "/v1beta/models/gpt-4.1-mini:generateContent", "contents"),
        ):
            one = named(name)
            self.assertEqual(one.path, path)
            body = json.loads(one.body())
            self.assertIn("Say hello", json.dumps(body[member]))
            self.assertEqual("model" in body, name != "gemini")
            self.assertNotIn("stream", body)
        self.assertTrue(json.loads(named("converted-events").body())["stream"])
        self.assertEqual(
            named("gemini-events").path,
            "/v1beta/models/gpt-4.1-mini:streamGenerateContent?alt=sse",
        )

    def test_the_naive_proxy_knows_one_dialect(self) -> None:
        """It is left out of the others; nginx does not look."""
        naive = Subject("naive", None, (1, 0), dialects=("chat",))
        nginx = Subject("nginx", None, (1, 2))
        for name, expected in (
            ("chat", [True, True]),
            ("tls", [False, True]),
            ("converted", [False, True]),
        ):
            found = [one.takes(named(name)) for one in (naive, nginx)]
            self.assertEqual(found, expected, name)

    def test_long_prompts_are_long(self) -> None:
        """400 kB."""
        self.assertGreater(len(named("long").body()), 400_000)

    def test_the_provider_answers_in_json(self) -> None:
        """Also its events."""
        json.loads(provider.ANSWER_BODY)
        for event in (provider.EVENT % 1 + provider.STREAM_END).split(b"\n\n")[:-2]:
            json.loads(event.removeprefix(b"data: "))

    def test_percentiles(self) -> None:
        """Nearest rank, in milliseconds."""
        found = load.percentiles([n * 1_000_000 for n in range(101)])
        self.assertEqual(found, {"p50": 50.0, "p90": 90.0, "p99": 99.0, "max": 100.0})
        self.assertEqual(load.percentiles([]), {})

    def test_streams_begin_one_after_the_other(self) -> None:
        """So that they do not tick together; the first one is taken from the end."""
        self.assertEqual(load.start_times(4, 2.0), [1_500_000_000, 10**9, 5 * 10**8, 0])

    def test_what_wrk_says(self) -> None:
        """Failed calls do not count."""
        said = (
            'noise\noutcome {"calls":100,"microseconds":2000000,"failures":20,'
            '"p50":500.0,"p90":700.0,"p99":900.0,"max":1000.0}\n'
        )
        found = wrk.outcome(said)
        self.assertEqual((found["per_second"], found["call_ms"]["p50"]), (40.0, 0.5))
        self.assertRaises(ValueError, wrk.outcome, "unable to connect")


class Tables(SynchronousTestCase):
    """What is printed."""

    def lines(self, workload: str, **subjects: dict[str, Any]) -> str:
        found = report.Report(
            {
                "processor": "x",
                "cores": 2,
                "kernel": "6",
                "load_average": [0.1],
                "load_after": [0.2],
                "python": "3",
                "packages": {},
                "nginx": "n",
                "wrk": "w",
                "commit": "c",
            },
            {"quick": True, "rounds": 1, "seconds": 1},
        )
        for subject, figures in subjects.items():
            found.add(named(workload), subject.replace("_", " "), figures)
        return "\n".join(report.lines(found, WORKLOADS))

    def test_the_share_of_nginx(self) -> None:
        """Beside each figure."""
        said = self.lines(
            "chat",
            fast_lane=outcome(per_second=10_000.0),
            nginx=outcome(per_second=25_000.0),
        )
        self.assertRegex(said, r"fast lane +\| +10,000 +\| +0\.40 ")
        self.assertIn("0.40 of nginx: keeps the budget (0.3), the aim is 0.5", said)

    def test_a_missed_budget_is_said(self) -> None:
        """Loudly, also without nginx."""
        self.assertIn("MISSES", self.lines("chat", fast_lane=outcome()))

    def test_a_core_that_was_not_full(self) -> None:
        """The figure is not the subject's own, and the verdict says so."""
        said = self.lines("chat", fast_lane=outcome(core=0.32))
        self.assertIn("its core was 32% full: something else was the limit", said)
        self.assertNotIn("full:", self.lines("chat", fast_lane=outcome()))

    def test_a_budget_without_a_share(self) -> None:
        """Is judged as it is, also beside nginx."""
        said = self.lines(
            "converted-events",
            fast_lane=outcome(events_per_second=13_000.0),
            nginx=outcome(events_per_second=400_000.0),
        )
        self.assertIn("13,000 events/s: keeps the budget (12000)", said)

    def test_added_latency(self) -> None:
        """The provider's own is taken away."""
        said = self.lines(
            "latency",
            fast_lane=outcome(call_ms={"p50": 0.25, "p99": 1.0}),
            direct=outcome(call_ms={"p50": 0.05, "p99": 0.5}),
        )
        self.assertIn("added at p50, ms: 0.20: keeps the budget (0.3)", said)
        self.assertIn("added at p99, ms: 0.50: reaches the aim (0.6)", said)

    def test_medians_of_rounds(self) -> None:
        """One slow round does not decide."""
        three = Outcome([outcome(per_second=n) for n in (100.0, 900.0, 1000.0)])
        self.assertEqual(three.middle("per_second"), 900.0)
        self.assertIsNone(three.middle("late_ms.p99"))


class Gateway(BaseHTTPRequestHandler):
    """Answers the set-up as the gateway does, and remembers what was asked."""

    asked: ClassVar[list[tuple[str, str, str | None, Any]]] = []
    answers: ClassVar[dict[str, Any]] = {
        "/api/user/login": {"id": 7},
        "/api/token/": {"id": 3},
        "/api/token/3/key": {"key": "k" * 48},
    }

    def do_POST(self) -> None:
        """Any call."""
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        user = self.headers.get("New-Api-User")
        self.asked.append((self.path, self.headers.get("Cookie", ""), user, body))
        good = self.path != "/api/refused"
        data = self.answers.get(self.path)
        self.send_response(200)
        self.send_header("Set-Cookie", "session=abc.def; Path=/; HttpOnly")
        self.end_headers()
        self.wfile.write(json.dumps({"success": good, "data": data}).encode())

    def log_message(self, format: str, *words: Any) -> None:
        """Say nothing."""


class SetUp(SynchronousTestCase):
    """How the benchmark sets the gateway up."""

    def setUp(self) -> None:
        Gateway.asked.clear()
        server = HTTPServer(("127.0.0.1", 0), Gateway)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(server.server_close)
        self.addCleanup(server.shutdown)
        self.management = Management(server.server_port)

    def test_the_whole_set_up(self) -> None:
        """Wizard, login, twenty channels in three tiers, a token with a limit."""
        self.management.first_login()
        self.management.add_channels("gpt-4o", "http://127.0.0.1:1", 40)
        self.assertEqual(self.management.add_token(), "sk-" + "k" * 48)
        paths = [path for path, *_ in Gateway.asked]
        self.assertEqual(paths[:2], ["/api/setup", "/api/user/login"])
        channels = [
            b["channel"] for p, _, _, b in Gateway.asked if p == "/api/channel/"
        ]
        self.assertEqual(len(channels), 20)
        self.assertEqual(len({one["priority"] for one in channels}), len(TIERS))
        self.assertEqual({one["type"] for one in channels}, {40})
        for path, cookie, user, _ in Gateway.asked[2:]:
            self.assertEqual((cookie, user), ("session=abc.def", "7"), path)

    def test_a_refusal_is_not_overlooked(self) -> None:
        """`success: false` comes with status 200."""
        self.assertRaises(Refused, self.management.call, "POST", "/api/refused", {})
