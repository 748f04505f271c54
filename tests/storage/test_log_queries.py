"""The log pages' queries."""

from __future__ import annotations

from typing import Any

from knight_tw.storage import log_queries as queries
from knight_tw.storage import logs
from knight_tw.storage.log_queries import LogFilter
from tests.engines import ConnectionCase, for_engines
from tests.web.api.rows import NOW, log_row

HOUR, DAY = 3600, 86_400


@for_engines
class LogQueries(ConnectionCase):
    """Pages, sums and deletion."""

    def setUp(self) -> None:
        """Twelve days of rows of two users, one a day each, the oldest first."""
        super().setUp()
        self.connection.execute(logs.logs.delete())
        rows: list[dict[str, Any]] = []
        for day in range(12):
            at = NOW - (11 - day) * DAY
            rows.append(log_row(created_at=at, request_id=f"a{day}", quota=day))
            rows.append(
                log_row(
                    created_at=at + 1,
                    user_id=12,
                    username="other",
                    model_name="gpt-4o" if day % 2 else "gpt-4o-mini",
                    request_id=f"b{day}",
                    type=5 if day == 3 else 2,
                    token_id=6,
                    content="boom_1" if day == 3 else "",
                    status=500 if day == 3 else 200,
                )
            )
        logs.insert(self.connection, rows)

    def ids(self, offset: int = 0, limit: int = 100, **chosen: Any) -> list[str]:
        """Request ids of one page."""
        rows, _ = queries.page(
            self.connection, LogFilter(**chosen), offset, limit, 1000
        )
        return [row["request_id"] for row in rows]

    def test_newest_first(self) -> None:
        """A page begins with the newest row."""
        self.assertEqual(self.ids(limit=3), ["b11", "a11", "b10"])

    def test_one_users_day(self) -> None:
        """User and range together: only that day's row of that user."""
        start = NOW - 5 * DAY
        found = self.ids(user_id=11, start=start, end=start + HOUR)
        self.assertEqual(found, ["a6"])

    def test_range_includes_its_ends(self) -> None:
        """Rows at the very start and end belong to the range."""
        self.assertEqual(self.ids(start=NOW, end=NOW), ["a11"])

    def test_nothing_that_new(self) -> None:
        """A range after every row is empty."""
        self.assertEqual(self.ids(start=NOW + 10 * DAY), [])

    def test_a_row_written_late(self) -> None:
        """A row that an outage delayed is found in the range of its own time."""
        late = log_row(created_at=NOW - 2 * DAY + 5, request_id="late")
        logs.insert(self.connection, [late])
        start = NOW - 2 * DAY
        self.assertIn("late", self.ids(start=start, end=start + HOUR))

    def test_rows_that_were_imported(self) -> None:
        """Older rows that came in later, many of them, hide nothing."""
        before = [
            log_row(created_at=NOW - 20 * DAY + n * 60, request_id="old")
            for n in range(2000)
        ]
        logs.insert(self.connection, before)
        start = NOW - 19 * DAY
        found = self.ids(start=start, user_id=12)
        self.assertEqual(len(found), 12)
        self.assertEqual(len(self.ids(limit=9999, start=start)), 2000 - 1440 + 24)
        self.assertEqual(len(self.ids(limit=9999, end=start)), 1441)

    def test_names_with_wildcards(self) -> None:
        """A `%` in a model's name stands for anything; several values are any of."""
        self.assertEqual(len(self.ids(models=("gpt-4o%",))), 12)
        self.assertEqual(len(self.ids(models=("gpt-4o",))), 6)
        self.assertEqual(len(self.ids(models=("gpt-4o", "gpt-4o-m%"))), 12)

    def test_other_filters(self) -> None:
        """Type, status, text, token and request."""
        self.assertEqual(self.ids(kinds=(5,)), ["b3"])
        self.assertEqual(self.ids(status_codes=(500,)), ["b3"])
        self.assertEqual(self.ids(content="oom_"), ["b3"])
        self.assertEqual(self.ids(keyword="boom"), ["b3"])
        self.assertEqual(len(self.ids(token_id=6)), 12)
        self.assertEqual(self.ids(request_ids=("a4", "a5")), ["a5", "a4"])
        self.assertEqual(self.ids(usernames=("caller",), least_cost=11), ["a11"])

    def test_pattern_characters_are_literal(self) -> None:
        """An underscore in a search is no pattern."""
        self.assertEqual(self.ids(content="b__m"), [])

    def test_count_is_bounded(self) -> None:
        """Rows are counted up to the bound, estimated beyond only for everything."""
        total = queries.page(self.connection, LogFilter(kinds=(2,)), 0, 5, 7)[1]
        self.assertEqual(total, 7)
        total = queries.page(self.connection, LogFilter(), 0, 5, 7)[1]
        self.assertEqual(total, 24)

    def test_the_last_page_needs_no_count(self) -> None:
        """A page that is not full says how many rows there are."""
        rows, total = queries.page(self.connection, LogFilter(user_id=11), 10, 5, 5)
        self.assertEqual((len(rows), total), (2, 12))

    def test_beyond_the_last_page(self) -> None:
        """An empty page still counts."""
        rows, total = queries.page(self.connection, LogFilter(user_id=11), 50, 5, 99)
        self.assertEqual((rows, total), ([], 12))

    def test_window_goes_on_and_back(self) -> None:
        """A window continues below an id, and goes back above one."""
        chosen = LogFilter(user_id=11)
        first = queries.window(self.connection, chosen, 2)
        after = queries.window(self.connection, chosen, 2, before=first[-1]["id"])
        self.assertEqual([row["request_id"] for row in after], ["a9", "a8"])
        back = queries.window(self.connection, chosen, 2, after=after[0]["id"])
        self.assertEqual([row["id"] for row in back], [row["id"] for row in first])

    def test_sums(self) -> None:
        """Only served calls cost; the pace is that of the last moments."""
        spent = queries.spent(self.connection, LogFilter(user_id=11, start=NOW - DAY))
        self.assertEqual(spent, 21)
        pace = queries.pace(self.connection, LogFilter(), NOW - 60)
        self.assertEqual(pace, (2, 30))
        self.assertEqual(queries.pace(self.connection, LogFilter(), NOW + DAY), (0, 0))

    def test_histogram(self) -> None:
        """Buckets of equal width with calls, errors and quota, empty ones left out."""
        chosen = LogFilter(start=NOW - 11 * DAY, end=NOW + 10)
        found = queries.histogram(self.connection, chosen, 4 * DAY)
        self.assertEqual([row[1:3] for row in found], [(8, 1), (8, 0), (8, 0)])
        self.assertEqual(found[0][0], NOW - 11 * DAY)
        self.assertEqual(found[0][3], 0 + 1 + 2 + 3 + 4 * 15)

    def test_facets(self) -> None:
        """The commonest values come first."""
        found = queries.facet(self.connection, LogFilter(), "model", 2)
        self.assertEqual(found[0], ("pt-ok", 12))
        self.assertEqual(len(found), 2)

    def test_by_request(self) -> None:
        """A call's row, or nothing."""
        row = queries.by_request(self.connection, "b3")
        self.assertEqual(row and row["type"], 5)
        self.assertIsNone(queries.by_request(self.connection, "none"))

    def test_delete_older_in_pieces(self) -> None:
        """Deletion takes the oldest rows, so many at a time."""
        moment = NOW - 9 * DAY
        self.assertEqual(queries.older_than(self.connection, moment), 4)
        self.assertEqual(queries.delete_older(self.connection, moment, 3), 3)
        self.assertEqual(queries.delete_older(self.connection, moment, 3), 1)
        self.assertEqual(queries.delete_older(self.connection, moment, 3), 0)
        self.assertEqual(len(self.ids()), 20)
