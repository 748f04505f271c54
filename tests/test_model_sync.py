"""A public list of models: reading, comparing, fetching."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from knight_tw import model_sync
from knight_tw.errors import (
    BadUpstreamBody,
    KnightError,
    UpstreamFailed,
    UpstreamRefused,
)
from knight_tw.model_sync import (
    KEPT,
    PAUSE,
    Download,
    ModelSource,
    Place,
    Told,
    compared,
    plan,
    read_models,
    read_vendors,
)
from knight_tw.settings import Settings
from knight_tw.storage.model_sync_queries import Described

ROW = {
    "id": 1,
    "model_name": "m",
    "description": None,
    "icon": None,
    "tags": None,
    "vendor_id": 7,
    "endpoints": None,
    "status": 1,
    "name_rule": 0,
    "sync_official": 1,
}
"""A description that says little."""

_MEMBERS = ("data", "success", "model_name", "name", "status", "endpoints", "icon")
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_MEMBERS), inner, max_size=4)
    ),
    max_leaves=12,
)
"""Any JSON, with members that lists have."""


def models(*items: Any) -> dict[str, Any]:
    """What is read of some items."""
    return read_models(msgspec.json.encode(items))


def described(*rows: dict[str, Any], names: tuple[str, ...] = ()) -> Described:
    """Rows of a database whose vendor 7 is `Acme`."""
    return Described(names, [{**ROW, **row} for row in rows], {7: "Acme"})


def conflicts(row: dict[str, Any], said: dict[str, Any]) -> list[Any]:
    """The fields in which a row differs from the list."""
    found = compared(described(row), Told({"m": said}, {}))["conflicts"]
    return [tuple(one.values()) for one in found[0]["fields"]] if found else []


class Reading(SynchronousTestCase):
    """The forms of the two documents."""

    def test_members(self) -> None:
        """Members that are known count, trimmed; blank ones say nothing."""
        item = {
            "model_name": " m ",
            "description": "d ",
            "icon": "",
            "tags": None,
            "vendor_name": "Acme",
            "endpoints": {"openai": {"path": "/v1"}},
            "status": 0,
            "name_rule": 2,
            "unknown": [1],
        }
        expected = {
            "description": "d",
            "vendor": "Acme",
            "endpoints": '{"openai": {"path": "/v1"}}',
            "status": 0,
            "name_rule": 2,
        }
        self.assertEqual(models(item), {"m": expected})

    def test_envelope(self) -> None:
        """The list may stand in `data`."""
        for body in (b'[{"name":"v"}]', b'{"success":true,"data":[{"name":"v"}]}'):
            self.assertEqual(read_vendors(body), {"v": {}})

    def test_no_list(self) -> None:
        """Anything else is refused, and a failure in an envelope too."""
        for body in (
            b"",
            b"<html>",
            b"5",
            b"{}",
            b'{"data":{}}',
            b'{"success":false,"data":[]}',
            b'["\xff"]',
            b"[" * 100_000,
        ):
            with self.assertRaises(BadUpstreamBody, msg=body[:40]):
                read_models(body)

    def test_items_that_do_not_fit(self) -> None:
        """Wrong types, numbers out of range and texts too long are left out."""
        deep: list[Any] = []
        for _ in range(50):
            deep = [deep]
        for wrong in (
            "odd",
            {},
            {"model_name": 5},
            {"model_name": ""},
            {"model_name": "  "},
            {"model_name": "x" * 129},
            {"model_name": "a\0b"},
            {"model_name": "w", "tags": ["t"]},
            {"model_name": "w", "tags": "x" * 256},
            {"model_name": "w", "icon": "\n\0"},
            {"model_name": "w", "icon": "x" * 129},
            {"model_name": "w", "description": "x" * 10_001},
            {"model_name": "w", "vendor_name": "x" * 129},
            {"model_name": "w", "status": "1"},
            {"model_name": "w", "status": True},
            {"model_name": "w", "status": 3},
            {"model_name": "w", "name_rule": 4},
            {"model_name": "w", "endpoints": "no JSON"},
            {"model_name": "w", "endpoints": ["x" * 60_000]},
        ):
            self.assertEqual(models(wrong, {"model_name": "m"}), {"m": {}}, wrong)

    def test_the_longest_texts(self) -> None:
        """What just fits is kept."""
        item = {"model_name": "é" * 128, "tags": "x" * 255, "icon": "i" * 128}
        self.assertEqual(list(models(item)), ["é" * 128])

    def test_endpoints(self) -> None:
        """JSON as it is, or as text; blank text is none."""
        for given_, kept in (
            ('["openai"]', {"endpoints": '["openai"]'}),
            (["openai"], {"endpoints": '["openai"]'}),
            (" ", {}),
        ):
            found = models({"model_name": "m", "endpoints": given_})
            self.assertEqual(found, {"m": kept})

    def test_twice(self) -> None:
        """The first of two items with one name counts."""
        first, second = ({"model_name": "m", "tags": tag} for tag in "ab")
        self.assertEqual(models(first, second), {"m": {"tags": "a"}})

    @given(CONTENT)
    @settings(max_examples=100, deadline=None)
    def test_any_json(self, content: Any) -> None:
        """Whatever an answer holds, it is read or refused."""
        for read in (read_models, read_vendors):
            try:
                found = read(json.dumps(content).encode())
            except BadUpstreamBody:
                continue
            self.assertTrue(all(0 < len(name) <= 128 for name in found))


class Comparing(SynchronousTestCase):
    """The list beside the rows."""

    def test_missing(self) -> None:
        """Names that are offered, known to the list and in no row."""
        rows = ({"model_name": "m"}, {"id": 2, "model_name": "ab-", "name_rule": 1})
        here = described(*rows, names=("ab-1", "m", "n", "o"))
        told = Told({"ab-1": {}, "m": {}, "n": {}, "unused": {}}, {})
        self.assertEqual(compared(here, told), {"missing": ["n"], "conflicts": []})

    def test_fields(self) -> None:
        """Each field that the list has otherwise, with both values."""
        row = {"description": "a", "endpoints": "[]", "icon": "i"}
        said = {
            "description": "b",
            "icon": "i",
            "tags": "t",
            "vendor": "Other",
            "name_rule": 1,
            "status": 0,
            "endpoints": '["x"]',
        }
        expected = [
            ("description", "a", "b"),
            ("tags", "", "t"),
            ("vendor", "Acme", "Other"),
            ("name_rule", 0, 1),
            ("status", 1, 0),
            ("endpoints", "[]", '["x"]'),
        ]
        self.assertEqual(conflicts(row, said), expected)

    def test_what_is_not_said(self) -> None:
        """Silence is no conflict, and the same vendor neither."""
        self.assertEqual(conflicts({"description": "a"}, {"vendor": "Acme"}), [])

    def test_a_vendor_that_is_gone(self) -> None:
        """A row whose vendor was deleted has none."""
        found = conflicts({"vendor_id": 8}, {"vendor": "Acme"})
        self.assertEqual(found, [("vendor", "", "Acme")])

    def test_endpoints_by_meaning(self) -> None:
        """JSON that is spelled otherwise is the same; no JSON differs."""
        said = {"endpoints": '{"a":1,"b":2}'}
        self.assertEqual(conflicts({"endpoints": '{"b": 2, "a": 1}'}, said), [])
        self.assertEqual(len(conflicts({"endpoints": "{"}, said)), 1)

    def test_closed_rows(self) -> None:
        """A row with sync_official 0 is neither a conflict nor overwritten."""
        row, told = {"sync_official": 0}, Told({"m": {"tags": "t"}}, {})
        self.assertEqual(conflicts(row, told.models["m"]), [])
        planned = plan(described(row, names=("m",)), told, {"m": {"tags"}})
        self.assertEqual((planned.created, planned.updated), ([], {}))

    def test_plan(self) -> None:
        """Missing rows whole; of others the named fields that differ."""
        said = {"tags": "t", "icon": "i", "status": 1}
        here = described({}, {"id": 2, "model_name": "o"}, names=("m", "n"))
        told = Told({"m": said, "n": said, "o": said}, {})
        planned = plan(here, told, {"m": {"tags", "status"}, "o": set()})
        self.assertEqual(planned.updated, {1: {"tags": "t"}})
        self.assertEqual(planned.created, [{"model_name": "n", "name_rule": 0, **said}])


@define
class _Answer:
    status: int
    body: bytes
    etag: str = ""

    def get(self, name: str) -> str:
        """The ETag."""
        return self.etag if name == "etag" else ""

    def read(self, limit: int, timeout: float) -> Deferred[bytes]:
        """The body, unless it is too large."""
        if len(self.body) > limit:
            return fail(BadUpstreamBody("too large"))
        return succeed(self.body)


@define
class _Upstream:
    """Gives answers in their turn, the last one for ever."""

    answers: list[_Answer | KnightError]
    asked: list[tuple[str, str | None]] = field(factory=list)
    options: dict[str, Any] = field(factory=dict)

    def __call__(
        self,
        method: str,
        url: str,
        headers: list[tuple[str, str]],
        body: bytes,
        **options: Any,
    ) -> Deferred[Any]:
        """The next answer."""
        self.asked.append((url, dict(headers).get("If-None-Match")))
        self.options = options
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return fail(answer) if isinstance(answer, KnightError) else succeed(answer)


EMPTY = _Answer(200, b"[]")


class Fetching(SynchronousTestCase):
    """Tries, limits and what is kept."""

    def setUp(self) -> None:
        """A list whose parts are empty."""
        self.clock = Clock()

    def source(self, *answers: _Answer | KnightError) -> ModelSource:
        """A source with a scripted upstream, three tries and 100 bytes."""
        self.upstream = _Upstream(list(answers))
        download = Download("http://list/", 10, 3, 100)
        return ModelSource(self.upstream, execute, self.clock, download)

    def told(self, source: ModelSource, locale: str = "") -> Deferred[Told]:
        """What the list says."""
        return Deferred.fromCoroutine(source.told(source.place(locale)))

    def test_addresses(self) -> None:
        """The locale is a part of the path."""
        base = "http://list/api/newapi/"
        expected = Place("", base + "models.json", base + "vendors.json")
        self.assertEqual(Place.of("http://list/", ""), expected)
        url = Place.of("http://list", "zh").models_url
        self.assertEqual(url, "http://list/api/i18n/zh/newapi/models.json")

    def test_settings(self) -> None:
        """The environment names the address and the limits."""
        environment = {
            "SYNC_UPSTREAM_BASE": "http://mirror",
            "SYNC_HTTP_TIMEOUT_SECONDS": "4",
            "SYNC_HTTP_RETRY": "0",
            "SYNC_HTTP_MAX_MB": "1",
        }
        found = Download.of(Settings.from_env(environment))
        self.assertEqual(found, Download("http://mirror", 4, 1, 1024 * 1024))

    def test_both_parts(self) -> None:
        """Models and vendors are asked for, within the time."""
        source = self.source(
            _Answer(200, b'[{"model_name":"m"}]'), _Answer(200, b'[{"name":"v"}]')
        )
        told = self.successResultOf(self.told(source))
        self.assertEqual(told, Told({"m": {}}, {"v": {}}))
        urls = [url.rpartition("/")[2] for url, _ in self.upstream.asked]
        self.assertEqual(urls, ["models.json", "vendors.json"])
        self.assertEqual(self.upstream.options, {"first_byte_timeout": 10})

    def test_tries(self) -> None:
        """A failure that may pass is tried again after a pause."""
        source = self.source(UpstreamFailed("away"), _Answer(503, b""), EMPTY)
        told = self.told(source)
        self.assertNoResult(told)
        self.clock.pump([PAUSE, PAUSE])
        self.successResultOf(told)
        self.assertEqual(len(self.upstream.asked), 4)

    def test_the_last_try(self) -> None:
        """The last failure counts, with its status."""
        source = self.source(_Answer(500, b""))
        told = self.told(source)
        self.clock.pump([PAUSE, PAUSE])
        error = self.failureResultOf(told, UpstreamRefused).value
        self.assertEqual((error.status, len(self.upstream.asked)), (500, 3))

    def test_failures_that_stay(self) -> None:
        """A page that is not there, one too large, and one that is no list are not
        asked for again."""
        for answer in (
            _Answer(404, b""),
            _Answer(304, b""),
            _Answer(200, b" " * 101),
        ):
            self.failureResultOf(self.told(self.source(answer)), KnightError)
            self.assertEqual(len(self.upstream.asked), 1, answer.status)
        self.failureResultOf(self.told(self.source(_Answer(200, b"x"))), KnightError)

    def test_etags(self) -> None:
        """What did not change is not sent again."""
        first = _Answer(200, b'[{"model_name":"m"}]', '"1"')
        same = _Answer(304, b"")
        source = self.source(first, EMPTY, same, EMPTY, same, EMPTY)
        for expected in (None, '"1"', '"1"'):
            told = self.successResultOf(self.told(source))
            self.assertEqual(told.models, {"m": {}})
            self.assertEqual(self.upstream.asked[-2][1], expected)

    def test_few_are_kept(self) -> None:
        """The document that was used least lately is forgotten."""
        source = self.source(_Answer(200, b"[]", '"1"'))
        for locale in ("en", "zh", "en", "ja", "zh", "ja"):
            self.successResultOf(self.told(source, locale))
        marks = [mark for _, mark in self.upstream.asked]
        self.assertEqual(marks[4:], ['"1"'] * 2 + [None] * 4 + ['"1"'] * 2)
        self.assertEqual(KEPT, 4)


class Names(SynchronousTestCase):
    """What clients name."""

    def test_every_field(self) -> None:
        """All that is read is compared."""
        item = {
            "model_name": "m",
            "description": "d",
            "icon": "i",
            "tags": "t",
            "vendor_name": "v",
            "endpoints": [],
            "status": 1,
            "name_rule": 0,
        }
        self.assertEqual(set(models(item)["m"]), set(model_sync.FIELDS))
