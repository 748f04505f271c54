"""`/api/models/sync_upstream`: descriptions of models from a public list, for
administrators (management API, section 12)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs
from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from knight_tw import model_sync
from knight_tw.model_sync import FIELDS, LOCALES, ModelSource, Overwrite
from knight_tw.storage.database import Database
from knight_tw.web.api.answers import install, invalid, json_body, ok, query, text
from knight_tw.web.api.audit import Audit
from knight_tw.web.auth import Guard, Viewer, Who, allow

MOST_MODELS = 10_000
"""Models of which fields may be overwritten at once."""


@frozen
class ModelSync:
    """Compares the own descriptions with the list and takes over what is wanted."""

    _guard: Guard
    _db: Database
    _source: ModelSource
    _clock: IReactorTime
    _audit: Audit

    app: ClassVar = Klein()
    install(app)

    @app.route("/api/models/sync_upstream/preview", methods=["GET"])
    @allow(Who.ADMIN)
    async def preview(self, request: Request, viewer: Viewer) -> bytes:
        """What the list could add, and where it differs; nothing is written."""
        place = self._source.place(_locale(query(request, "locale")))
        told = await self._source.told(place)
        found = await self._db.read(model_sync.preview, told)
        return ok({**found, "source": attrs.asdict(place)})

    @app.route("/api/models/sync_upstream", methods=["POST"])
    @allow(Who.ADMIN)
    async def synchronise(self, request: Request, viewer: Viewer) -> bytes:
        """Create the missing descriptions, overwrite the fields that the body names."""
        body = json_body(request, optional=True)
        place = self._source.place(_locale(text(body, "locale", "")))
        overwrite = _overwrite(body)
        told = await self._source.told(place)
        now = int(self._clock.seconds())
        done = await self._db.run(model_sync.synchronise, told, overwrite, now)
        counts = {name: n for name, n in done.items() if isinstance(n, int)}
        noted = {"locale": place.locale, **counts}
        self._audit.write(request, viewer, "model.sync_upstream", noted)
        return ok({**done, "source": attrs.asdict(place)})


def _locale(given: str) -> str:
    """A locale of the list, or none.

    Raises:
        Refusal: the list has no such locale.
    """
    locale = given.strip().lower()
    if locale and locale not in LOCALES:
        raise invalid("locale", "one of " + ", ".join(LOCALES))
    return locale


def _overwrite(body: Mapping[str, Any]) -> Overwrite:
    """The fields to overwrite, by model.

    Raises:
        Refusal: they are not `[{model_name, fields: [known fields]}]`.
    """
    given = body.get("overwrite") or []
    if not isinstance(given, list) or len(given) > MOST_MODELS:
        raise invalid("overwrite", f"a list of at most {MOST_MODELS} models")
    found: dict[str, set[str]] = {}
    for one in given:
        if not isinstance(one, Mapping):
            raise invalid("overwrite", "models with model_name and fields")
        name, fields = text(one, "model_name").strip(), one.get("fields") or []
        if not isinstance(fields, list) or any(f not in FIELDS for f in fields):
            raise invalid("fields", "a list of " + ", ".join(FIELDS))
        found.setdefault(name, set()).update(fields)
    return found
