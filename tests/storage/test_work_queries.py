"""The lists of drawings and tasks."""

from __future__ import annotations

from typing import Any

from knight_tw.storage import schema
from knight_tw.storage import work_queries as queries
from knight_tw.storage.work_queries import DrawingFilter, TaskFilter
from tests.engines import ConnectionCase, for_engines


@for_engines
class WorkQueries(ConnectionCase):
    """Pages and filters."""

    def setUp(self) -> None:
        """Three tasks and three drawings of two users."""
        super().setUp()
        self.insert(schema.users, id=1, username="ann", password="", aff_code="a")
        for number, user in ((1, 1), (2, 2), (3, 1)):
            self.insert(
                schema.tasks,
                id=number,
                task_id=f"task_{number}",
                platform="suno" if number == 1 else "55",
                user_id=user,
                channel_id=number,
                action="MUSIC",
                status="SUCCESS" if number == 1 else "FAILURE",
                submit_time=number * 100,
                data='[{"a": 1}]',
                properties="{}",
                private_data="{}",
            )
            self.insert(
                schema.midjourneys,
                id=number,
                mj_id=f"mj{number}",
                user_id=user,
                channel_id=number,
                submit_time=number * 100_000,
            )

    def tasks(
        self, offset: int = 0, limit: int = 9, **chosen: Any
    ) -> tuple[list[int], int]:
        """Ids of a page of tasks and their number."""
        rows, total = queries.task_page(
            self.connection, TaskFilter(**chosen), offset, limit
        )
        return [row["id"] for row in rows], total

    def drawings(self, **chosen: Any) -> list[int]:
        """Ids of drawings."""
        rows, _ = queries.drawings(self.connection, DrawingFilter(**chosen), 0, 9)
        return [row["id"] for row in rows]

    def test_page(self) -> None:
        """The newest first, and how many there are."""
        self.assertEqual(self.tasks(1, 1), ([2], 3))

    def test_task_filters(self) -> None:
        """Each filter takes what it names."""
        for chosen, ids in (
            ({"user_id": 1}, [3, 1]),
            ({"platform": "suno"}, [1]),
            ({"task_id": "task_2"}, [2]),
            ({"status": "FAILURE", "user_id": 1}, [3]),
            ({"action": "LYRICS"}, []),
            ({"channel_id": 3}, [3]),
            ({"start": 200}, [3, 2]),
            ({"start": 200, "end": 200}, [2]),
        ):
            self.assertEqual(self.tasks(**chosen)[0], ids, chosen)

    def test_names(self) -> None:
        """Tasks come with their users' names; who is gone has none."""
        rows, _ = queries.task_page(self.connection, TaskFilter(), 0, 9)
        self.assertEqual([row["username"] for row in rows], ["ann", "", "ann"])

    def test_drawing_filters(self) -> None:
        """Each filter takes what it names."""
        for chosen, ids in (
            ({}, [3, 2, 1]),
            ({"user_id": 2}, [2]),
            ({"mj_id": "mj3"}, [3]),
            ({"channel_id": 1}, [1]),
            ({"start": 150_000, "end": 250_000}, [2]),
        ):
            self.assertEqual(self.drawings(**chosen), ids, chosen)
