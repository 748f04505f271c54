"""The description of the management API in OpenAPI 3.1.

It is made from the routes themselves: paths, methods and who may call them are read
from the surfaces (`route_table`), summaries from docstrings, and the members and
arguments from `fields.json`, which `make manual` makes from the source.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec

from knight_tw.web.api import answers
from knight_tw.web.auth import USER_HEADER, Who
from knight_tw.web.route_table import Entry, Part

Schema = dict[str, Any]

_JSON = "application/json"
_LARGEST_ID = 2**53 - 1


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


_ENVELOPE, _PAGE = _ref("Envelope"), _ref("PageEnvelope")
_FAILURES = {"$ref": "#/components/responses/Failure"}

_TEXT, _EVENTS, _CSV = "text/plain", "text/event-stream", "text/csv"
_OTHERS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"(/v1)?/dashboard/billing/.*", _JSON),
        (r"/api/(openapi\.json|channel/export|usage/token/)", _JSON),
        (r"/api/user/([a-z-]+/)?(pay|amount)", _JSON),
        (r"/api/option/waffo-pancake/.*", _JSON),
        (r"/api/.*/webhook(/.*)?|/api/.*/notify", _TEXT),
        (r"/api/.*/stream", _EVENTS),
        (r"/api/log/(self/)?export", _CSV),
    )
)
"""Routes whose success is not, or not only, the envelope, and what it is instead."""

_PAGING: tuple[tuple[str, Schema], ...] = (
    ("p", {"type": "integer", "minimum": 1, "default": 1}),
    ("page_size", {"type": "integer", "minimum": 1, "maximum": 100, "default": 10}),
)

_SECURITY: Mapping[str, Schema] = {
    "session": {
        "type": "apiKey",
        "in": "cookie",
        "name": "session",
        "description": f"The cookie of a login; needs the header {USER_HEADER} too.",
    },
    "user": {
        "type": "apiKey",
        "in": "header",
        "name": USER_HEADER,
        "description": "The id of the account whose cookie is sent.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "`access_token` of a login; 15 minutes.",
    },
    "access_token": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The personal access token, with or without `Bearer`.",
    },
    "key": {
        "type": "http",
        "scheme": "bearer",
        "description": "A key for calls of models, `sk-…`.",
    },
}
_DASHBOARD: tuple[Schema, ...] = (
    {"bearer": []},
    {"access_token": []},
    {"session": [], "user": []},
)


_CODES = sorted((*answers.ALWAYS_REAL, *answers.REAL_ON_REQUEST))
_SUCCESS: Schema = {
    "type": "object",
    "required": ["success"],
    "properties": {
        "success": {"const": True},
        "message": {"type": "string"},
        "data": {"description": "What the route is for."},
    },
}
_REFUSAL: Schema = {
    "type": "object",
    "required": ["success", "message", "code", "params"],
    "properties": {
        "success": {"const": False},
        "message": {"type": "string", "description": "For people."},
        "code": {"type": "string", "enum": _CODES},
        "params": {
            "type": "object",
            "description": "`field` and `rule` of what is not valid, and the like.",
        },
    },
}
_LIST: Schema = {
    "type": "object",
    "required": ["total", "items"],
    "properties": {
        "page": {"type": "integer"},
        "page_size": {"type": "integer"},
        "total": {"type": "integer"},
        "items": {"type": "array"},
    },
}
_NO_ROUTE: Schema = {
    "type": "object",
    "required": ["error"],
    "properties": {"error": {"type": "object", "required": ["message", "type"]}},
}
_LIST_DATA: Schema = {
    "anyOf": [
        _ref("Page"),
        {"type": "array", "description": "With `X-Api-Compat: one-api`."},
    ]
}


def _envelope(data: Schema) -> Schema:
    """The envelope around data of that schema, or a refusal."""
    told = {"required": ["data"], "properties": {"data": data}}
    return {"oneOf": [{"allOf": [_ref("Success"), told]}, _ref("Refusal")]}


_SCHEMAS: Mapping[str, Schema] = {
    "Envelope": {"oneOf": [_ref("Success"), _ref("Refusal")]},
    "PageEnvelope": _envelope(_LIST_DATA),
    "Success": _SUCCESS,
    "Refusal": _REFUSAL,
    "Page": _LIST,
    "NoRoute": _NO_ROUTE,
}


def description(entries: Iterable[Entry], version: str) -> Schema:
    """The document for these routes.

    Args:
        version: Of the gateway.
    """
    read, entries = fields(), list(entries)
    declared = [entry.gives for entry in entries if entry.gives is not None]
    shapes, schemas = msgspec.json.schema_components(
        declared, ref_template="#/components/schemas/{name}"
    )
    data = dict(zip(map(str, declared), shapes, strict=True))
    paths: dict[str, Schema] = {}
    for entry in entries:
        told = read.get(f"{entry.method} {entry.path}", {})
        described = _operation(entry, told, data.get(str(entry.gives)))
        paths.setdefault(entry.path, {})[entry.method.lower()] = described
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Knight Omega management API",
            "version": version,
            "description": (
                "Every answer is the envelope `Envelope` unless a route says otherwise."
                " A failure has `success: false`, a `code` and `params`; its HTTP"
                " status is 200 for business errors, or the status that fits when the"
                " header `X-Knight-Status: real` is sent."
            ),
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "securitySchemes": dict(_SECURITY),
            "schemas": {**schemas, **_SCHEMAS},
            "responses": {"Failure": _failure()},
        },
    }


def fields() -> dict[str, Any]:
    """What each route reads of its requests, by method and path (`scripts.reads`)."""
    raw = resources.files("knight_tw.web").joinpath("fields.json").read_bytes()
    return msgspec.json.decode(raw, type=dict[str, Any])


def _operation(entry: Entry, read: Mapping[str, Any], data: Schema | None) -> Schema:
    who = entry.who or Who.ANYONE
    summary, _, rest = (entry.route.__doc__ or "").strip().partition("\n\n")
    told: Schema = {
        "operationId": f"{entry.surface.__name__}.{entry.route.__name__}"
        f".{entry.method.lower()}{entry.path.replace('/', '.')}",
        "tags": [_tag(entry.path)],
        "summary": " ".join(summary.split()),
        "x-who": who.label,
        "security": _security(who),
        "responses": _responses(entry, read, data),
    }
    if rest:
        told["description"] = " ".join(rest.split())
    parameters = [_path_parameter(part) for part in entry.parts]
    parameters += _query_parameters(read)
    if parameters:
        told["parameters"] = parameters
    if read.get("has_body") and entry.method != "GET":
        told["requestBody"] = _body(read)
    return told


def _tag(path: str) -> str:
    """The part of the API that a path belongs to: what follows `/api/`."""
    segments = path.strip("/").split("/")
    return segments[1] if segments[0] == "api" and len(segments) > 1 else segments[0]


def _security(who: Who) -> list[Schema]:
    if who is Who.KEY:
        return [{"key": []}]
    if who is Who.SESSION:
        return [{"session": []}, {}]
    if who is Who.ANYONE:
        return [{}, *_DASHBOARD]
    return list(_DASHBOARD)


def _path_parameter(part: Part) -> Schema:
    schema: Schema = {"type": "string", "minLength": 1}
    if part.kind == "int":
        schema = {"type": "integer", "minimum": 0, "maximum": _LARGEST_ID}
    return {"name": part.name, "in": "path", "required": True, "schema": schema}


def _query_parameters(read: Mapping[str, Any]) -> list[Schema]:
    named: dict[str, Schema] = dict(_PAGING) if read.get("paged") else {}
    for name, schema in read.get("query", {}).items():
        named.setdefault(name, schema)
    return [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in named.items()
    ]


def _body(read: Mapping[str, Any]) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(read.get("body", {}))}
    if read.get("required"):
        schema["required"] = list(read["required"])
    needed = not read.get("optional_body", False)
    return {"required": needed, "content": {_JSON: {"schema": schema}}}


def _responses(entry: Entry, read: Mapping[str, Any], data: Schema | None) -> Schema:
    good: Schema = {"description": "The answer, or a business error."}
    found = (kind for path, kind in _OTHERS if path.fullmatch(entry.path))
    kind = next(found, None)
    if kind is None:
        schema = _PAGE if read.get("paged") else _ENVELOPE
        if data is not None:
            schema = _envelope(data)
        good["content"] = {_JSON: {"schema": schema}}
        return {"200": good, "default": _FAILURES}
    if kind == _JSON:
        good["content"] = {_JSON: {"schema": {"type": "object"}}}
        return {"200": good, "default": _FAILURES}
    good["content"] = {kind: {}, _JSON: {"schema": _ENVELOPE}}
    bad = _failure()
    bad["content"] = {kind: {}, **bad["content"]}
    return {"200": good, "default": bad}


def _failure() -> Schema:
    schema = {"anyOf": [_ref("Refusal"), _ref("NoRoute")]}
    return {
        "description": "A refusal in the envelope, or a path that no route has.",
        "headers": {
            "Retry-After": {
                "description": "Seconds, with 429 and 503.",
                "schema": {"type": "integer"},
            }
        },
        "content": {_JSON: {"schema": schema}},
    }
