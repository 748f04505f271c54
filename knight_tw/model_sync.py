"""Descriptions of models from a public list, compared with the own ones (management
API, section 12).

Reading and comparing are pure; `ModelSource` fetches. The list has two parts, models
and vendors, each a JSON array or an object with one in `data`. What it says of a model
counts if it fits our columns; a member that is absent, null or blank says nothing, so
it neither conflicts with a row nor empties a column of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Set
from typing import Annotated, Any, TypeVar

import msgspec
import sqlalchemy as sa
from attrs import define, field, frozen
from msgspec import UNSET, Meta, UnsetType
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from knight_tw.channels.upstreams import Send
from knight_tw.errors import (
    BadUpstreamBody,
    KnightError,
    UpstreamFailed,
    UpstreamRefused,
    UpstreamTimeout,
)
from knight_tw.relay.inflating import InThread
from knight_tw.settings import Settings
from knight_tw.storage import model_sync_queries
from knight_tw.storage.model_sync_queries import VENDOR, Described, Plan

Row = dict[str, Any]
Overwrite = Mapping[str, Set[str]]
"""Model name to the fields that the list may overwrite."""

FIELDS = ("description", "icon", "tags", VENDOR, "name_rule", "status", "endpoints")
"""What is compared, by the names that clients use."""

LOCALES = ("en", "zh", "ja")

KEPT = 4
"""Documents that are kept for the case that they did not change: two locales."""

PAUSE = 0.5
"""Seconds before a failed download is tried again."""

_Name = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[^\x00]*$")]
_Short = Annotated[str, Meta(max_length=128, pattern=r"^[^\x00]*$")]
_Tags = Annotated[str, Meta(max_length=255, pattern=r"^[^\x00]*$")]
_Long = Annotated[str, Meta(max_length=10_000, pattern=r"^[^\x00]*$")]
_Status = Annotated[int, Meta(ge=0, le=2)]
_Rule = Annotated[int, Meta(ge=0, le=3)]

_ENDPOINTS_BYTES = 60_000
"""Below what MySQL's TEXT holds."""

_T = TypeVar("_T")


class _Model(msgspec.Struct, frozen=True):
    """A model as the list has it."""

    model_name: _Name
    description: _Long | None = None
    icon: _Short | None = None
    tags: _Tags | None = None
    vendor_name: _Short | None = None
    endpoints: Any = None
    status: _Status | None = None
    name_rule: _Rule | None = None


class _Vendor(msgspec.Struct, frozen=True):
    """A vendor as the list has it."""

    name: _Name
    description: _Long | None = None
    icon: _Short | None = None
    status: _Status | None = None


class _Envelope(msgspec.Struct, frozen=True):
    """A list in an answer of a management API."""

    data: list[Any]
    success: bool | UnsetType = UNSET


@frozen
class Told:
    """What a list says: field to value, by model and by vendor."""

    models: Mapping[str, Row]
    vendors: Mapping[str, Row]


def read(models: bytes, vendors: bytes) -> Told:
    """What the two documents of a list say.

    Raises:
        BadUpstreamBody: one of them is no list.
    """
    return Told(read_models(models), read_vendors(vendors))


def read_models(body: bytes) -> dict[str, Row]:
    """The models of a document; those that do not fit are left out.

    Raises:
        BadUpstreamBody: it is no list.
    """
    found: dict[str, Row] = {}
    for item in _fitting(body, _Model):
        try:
            endpoints = _endpoints(item.endpoints)
        except ValueError:
            continue
        said = {
            "description": item.description,
            "icon": item.icon,
            "tags": item.tags,
            VENDOR: item.vendor_name,
            "name_rule": item.name_rule,
            "status": item.status,
            "endpoints": endpoints,
        }
        _put(found, item.model_name, said)
    return found


def read_vendors(body: bytes) -> dict[str, Row]:
    """The same for vendors."""
    found: dict[str, Row] = {}
    for item in _fitting(body, _Vendor):
        said = {
            "description": item.description,
            "icon": item.icon,
            "status": item.status,
        }
        _put(found, item.name, said)
    return found


def _put(found: dict[str, Row], name: str, said: Row) -> None:
    """Keep what is said about a name for the first time."""
    trimmed = {
        key: value.strip() if isinstance(value, str) else value
        for key, value in said.items()
    }
    if name.strip():
        told = {key: value for key, value in trimmed.items() if value not in (None, "")}
        found.setdefault(name.strip(), told)


def _fitting(body: bytes, kind: type[_T]) -> Iterator[_T]:
    """The items of a document that are of a kind."""
    try:
        answer = msgspec.json.decode(body, type=_Envelope | list[Any])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadUpstreamBody("the answer is not a list of models") from None
    if isinstance(answer, _Envelope):
        if answer.success is False:
            raise BadUpstreamBody("the answer says that it failed")
        answer = answer.data
    for item in answer:
        try:
            yield msgspec.convert(item, kind)
        except msgspec.ValidationError:
            continue


def _endpoints(value: Any) -> str | None:
    """JSON as text, given as text or as it is.

    Raises:
        ValueError: it is none, or too long.
    """
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    try:
        if isinstance(value, str):
            json.loads(value)
            written = value
        else:
            written = json.dumps(value, ensure_ascii=False)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\0" in written or len(written.encode()) > _ENDPOINTS_BYTES:
        raise ValueError("does not fit the column")
    return written


def preview(connection: sa.Connection, told: Told) -> Row:
    """What `compared` finds now; in the thread of a transaction."""
    return compared(model_sync_queries.described(connection), told)


def compared(described: Described, told: Told) -> Row:
    """`{missing, conflicts}`: models that the list could add, and rows that it
    describes otherwise."""
    missing = [name for name in described.undescribed() if name in told.models]
    conflicts = [
        {"model_name": row["model_name"], "fields": fields}
        for row in described.rows
        if (fields := _differences(row, described.vendors, told))
    ]
    return {"missing": missing, "conflicts": conflicts}


def _differences(row: Row, vendors: Mapping[int, str], told: Told) -> list[Row]:
    """`{field, local, upstream}` of what the list says otherwise; nothing of a row that
    is closed to it."""
    if row["sync_official"] == 0:
        return []
    local = {name: row.get(name) or "" for name in FIELDS}
    local |= {name: row[name] or 0 for name in ("status", "name_rule")}
    local[VENDOR] = vendors.get(row["vendor_id"] or 0, "")
    said = told.models.get(row["model_name"], {})
    return [
        {"field": name, "local": local[name], "upstream": said[name]}
        for name in FIELDS
        if name in said and not _same(name, local[name], said[name])
    ]


def _same(name: str, local: Any, upstream: Any) -> bool:
    """Equal; of JSON the meaning counts."""
    if local == upstream or name != "endpoints":
        return bool(local == upstream)
    try:
        return bool(json.loads(local) == json.loads(upstream))
    except (ValueError, RecursionError):
        return False


def plan(described: Described, told: Told, overwrite: Overwrite) -> Plan:
    """What the list adds, and what it may overwrite."""
    created = [
        {"status": 1, "name_rule": 0, **told.models[name], "model_name": name}
        for name in described.undescribed()
        if name in told.models
    ]
    updated: dict[int, Row] = {}
    for row in described.rows:
        allowed = overwrite.get(row["model_name"], frozenset())
        if allowed:
            differences = _differences(row, described.vendors, told)
            values = {
                one["field"]: one["upstream"]
                for one in differences
                if one["field"] in allowed
            }
            if values:
                updated[row["id"]] = values
    return Plan(created, updated, told.vendors)


def synchronise(
    connection: sa.Connection, told: Told, overwrite: Overwrite, now: int
) -> Row:
    """What was written, as the route answers it; in the thread of a transaction.

    Skipped are models that are offered but unknown to the list, and names of
    `overwrite` of which no row was changed.
    """
    model_sync_queries.one_at_a_time(connection)
    described = model_sync_queries.described(connection)
    planned = plan(described, told, overwrite)
    written = model_sync_queries.write(connection, planned, now)
    created = [row["model_name"] for row in planned.created]
    names = {row["id"]: row["model_name"] for row in described.rows}
    updated = list(dict.fromkeys(names[one] for one in sorted(written.updated)))
    wanted = {*described.undescribed(), *overwrite}
    return {
        "created_models": len(created),
        "created_vendors": written.vendors,
        "updated_models": len(updated),
        "skipped_models": len(wanted - {*created, *updated}),
        "created_list": created,
        "updated_list": updated,
    }


@frozen
class Place:
    """Where a list is.

    Attributes:
        locale: One of `LOCALES`, or empty: the list as it was written.
    """

    locale: str
    models_url: str
    vendors_url: str

    @classmethod
    def of(cls, address: str, locale: str) -> Place:
        """The list of a locale below an address."""
        within = f"/i18n/{locale}" if locale else ""
        folder = f"{address.rstrip('/')}/api{within}/newapi"
        return cls(locale, f"{folder}/models.json", f"{folder}/vendors.json")


@frozen
class Download:
    """How documents are fetched.

    Attributes:
        seconds: For one try, from the request to the last byte.
        tries: How often at most.
        limit: Bytes of a document.
    """

    address: str
    seconds: float
    tries: int
    limit: int

    @classmethod
    def of(cls, settings: Settings) -> Download:
        """What the environment says."""
        return cls(
            settings.sync_upstream_base,
            settings.sync_http_timeout_seconds,
            max(1, settings.sync_http_retry),
            settings.sync_http_max_mb * 1024 * 1024,
        )


@define(eq=False)
class ModelSource:
    """Fetches the list that the environment names.

    The address is the operator's own, so that the address guard, which is for what
    users and channels name, does not stand before a mirror in the own network.
    """

    _send: Send
    _in_thread: InThread
    _clock: IReactorTime
    _download: Download
    _kept: dict[str, tuple[str, bytes]] = field(factory=dict, init=False)
    """ETag and body by URL, the one used last at the end."""

    def place(self, locale: str) -> Place:
        """Where the list of a locale is."""
        return Place.of(self._download.address, locale)

    async def told(self, place: Place) -> Told:
        """What the list says.

        Raises:
            UpstreamFailed, UpstreamTimeout, UpstreamRefused, BadUpstreamBody: a part of
                it cannot be had.
        """
        models = await self._document(place.models_url)
        vendors = await self._document(place.vendors_url)
        # Megabytes of JSON: too long a turn for the reactor.
        told: Told = await self._in_thread(read, models, vendors)
        return told

    async def _document(self, url: str) -> bytes:
        """A document, after some tries."""
        for _ in range(self._download.tries - 1):
            try:
                return await self._fetched(url)
            except (UpstreamFailed, UpstreamTimeout, UpstreamRefused) as error:
                if not _passing(error):
                    raise
            await deferLater(self._clock, PAUSE)
        return await self._fetched(url)

    async def _fetched(self, url: str) -> bytes:
        """A document, the kept one if it did not change."""
        seconds, began = self._download.seconds, self._clock.seconds()
        kept = self._kept.get(url)
        headers = [("Accept", "application/json")]
        if kept is not None:
            headers.append(("If-None-Match", kept[0]))
        answer = await self._send("GET", url, headers, b"", first_byte_timeout=seconds)
        left = max(began + seconds - self._clock.seconds(), 0.1)
        body: bytes = await answer.read(self._download.limit, left)
        if answer.status == 304 and kept is not None:
            body = self._keep(url, *kept)
        elif answer.status != 200:
            why = f"the list of models answered {answer.status}"
            raise UpstreamRefused(why, status=answer.status, upstream=True)
        elif etag := answer.get("etag"):
            self._keep(url, etag, body)
        return body

    def _keep(self, url: str, etag: str, body: bytes) -> bytes:
        self._kept.pop(url, None)
        self._kept[url] = (etag, body)
        while len(self._kept) > KEPT:
            del self._kept[next(iter(self._kept))]
        return body


def _passing(error: KnightError) -> bool:
    """True for failures that may be over soon."""
    return error.status == 429 or error.status >= 500
