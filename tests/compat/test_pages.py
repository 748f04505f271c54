"""The pages show every row of an older database, NULL in later columns included."""

from __future__ import annotations

from functools import partial
from typing import Any

import sqlalchemy as sa

from knight_tw.routing import RoutingTable
from knight_tw.storage import channels, schema
from tests.compat.gateways import Pages, pages
from tests.compat.manifests import ManifestCase, for_originals
from tests.web.gateway import now

LISTS = {
    "channels": "/api/channel/",
    "users": "/api/user/",
    "logs": "/api/log/",
}
"""Pages that show all rows of a table to root."""

OWN = ("/api/token/", "/api/user/self", "/api/log/self", "/api/option/")
"""Pages that must answer, whatever they show."""


@for_originals
class EveryPage(ManifestCase):
    """The management API over the database."""

    @property
    def pages(self) -> Pages:
        """The gateway."""
        return pages(self.original)

    def setUp(self) -> None:
        """Root logs in."""
        root = self.truth["users"][0]
        data = self.pages.login(root["username"], root["password"]).data
        self.headers = {"Authorization": f"Bearer {data['access_token']}"}

    def get(self, path: str) -> Any:
        """The data of a page."""
        return self.pages.ask("GET", path, None, self.headers).data

    def listed(self, table: str, path: str) -> None:
        """The page counts at least the rows of the manifest, and shows them."""
        data = self.get(f"{path}?p=1&page_size=100")
        expected = self.truth["rows_per_table"][table]
        self.assertGreaterEqual(data["total"], expected)
        self.assertEqual(len(data["items"]), min(data["total"], 100))

    def test_lists(self) -> None:
        """Channels, accounts and log rows are listed."""
        self.each(
            (table, partial(self.listed, table, path)) for table, path in LISTS.items()
        )

    def test_own(self) -> None:
        """Root's own pages and the options answer."""
        self.each((path, partial(self.get, path)) for path in OWN)

    def test_unknown_status(self) -> None:
        """A channel of status 0 is shown as it is, and not chosen."""
        table, rows = schema.channels, self.opened.by_key("channels").values()
        channel = next(row for row in rows if row["status"] == 1)
        here = table.c.id == channel["id"]
        broken = {"status": 0, "channel_info": None, "settings": None, "setting": None}
        self.pages.execute(sa.update(table).where(here).values(broken))
        kept = {name: channel[name] for name in broken}
        undo = sa.update(table).where(here).values(kept)
        self.addCleanup(self.pages.execute, undo)
        self.assertEqual(self.get(f"/api/channel/{channel['id']}")["status"], 0)
        routes = RoutingTable.build(now(self.pages.db.read(channels.load_all)))
        group, model = channel["group"].split(",")[0], channel["models"].split(",")[0]
        self.assertFalse(routes.serves(channel["id"], group, model))
