"""JSON Schema as the targets take it (conversion specification, 2.4).

A schema is walked by its keywords: below `properties` and `$defs` stand names, not
keywords, and what stands in `enum`, `const`, `default` and examples is no schema at
all. All functions give copies; what they are given stays as it is.

Gemini once took only a subset of OpenAPI's schemas, with types in capitals and
`nullable`. Clients still write it, and channels can ask for it
(`settings.gemini_legacy_schema`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from knight_tw.convert.tools import compact
from knight_tw.errors import InvalidRequest

Schema = dict[str, Any]

DEEPEST = 64
"""Levels of a schema in Gemini's old form; what lies deeper is any object."""

_DEEPEST_READ = 128
_MOST_NODES = 20_000
"""Schemas within one schema, `$ref` followed: more is an attack."""

_NAMED = ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas")
_LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    *("additionalProperties", "items", "not", "if", "then", "else", "contains"),
    *("propertyNames", "unevaluatedItems", "unevaluatedProperties"),
)

_CLAUDE_REFUSES = (
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minLength", "maxLength", "maxItems", "uniqueItems", "minProperties"),
    "maxProperties",
)

_OPENAPI = frozenset(
    {
        "default",
        "description",
        "enum",
        "example",
        "format",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "propertyOrdering",
        "required",
        "title",
    }
)
"""Keywords that Gemini's old form takes as they are; the others are walked."""

_STRING_FORMATS = frozenset({"enum", "date-time"})
_WHOLE = frozenset(
    {"maxItems", "minItems", "maxLength", "minLength", "maxProperties", "minProperties"}
)
"""64-bit numbers, which Google's JSON may spell as texts."""

_SNAKE: Mapping[str, str] = {
    "any_of": "anyOf",
    "max_items": "maxItems",
    "min_items": "minItems",
    "max_length": "maxLength",
    "min_length": "minLength",
    "max_properties": "maxProperties",
    "min_properties": "minProperties",
    "property_ordering": "propertyOrdering",
    "additional_properties": "additionalProperties",
}


def read_schema(value: Any, param: str) -> Schema:
    """A schema that a client sent, an empty one when it is absent.

    Raises:
        InvalidRequest: it is no object.
    """
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    raise InvalidRequest(f"{param} must be an object", param=param)


def declares_nothing(schema: Mapping[str, Any]) -> bool:
    """True for the schema of a tool without parameters: an object of no properties."""
    if schema.get("type", "object") not in ("object", "OBJECT"):
        return False
    rest = schema.keys() - {
        *("type", "properties", "required", "additionalProperties", "$schema"),
        *("title", "description", "propertyOrdering"),
    }
    return not (rest or schema.get("properties") or schema.get("required"))


def strict(schema: Mapping[str, Any]) -> Schema:
    """The schema as Claude's structured output takes it.

    Objects are closed; limits that Claude refuses are told in the description instead.

    Raises:
        InvalidRequest: it is nested too deeply.
    """
    return _closed(dict(schema), 0)


def _closed(schema: Schema, depth: int) -> Schema:
    copy = _walked(schema, lambda below: _closed(below, depth + 1), depth)
    copy.pop("$schema", None)
    told = []
    for name in [*_CLAUDE_REFUSES, "minItems"]:
        if name not in copy or (name == "minItems" and copy[name] in (0, 1)):
            continue
        told.append(f"({name}: {compact(copy.pop(name))})")
    if told:
        said = copy.get("description")
        texts = [said] if isinstance(said, str) and said else []
        copy["description"] = " ".join([*texts, *told])
    if _is_object(copy):
        copy["additionalProperties"] = False
    return copy


def _is_object(schema: Mapping[str, Any]) -> bool:
    kind = schema.get("type")
    named = "object" in kind if isinstance(kind, list) else kind == "object"
    return named or "properties" in schema


def _walked(schema: Schema, change: Callable[[Schema], Schema], depth: int) -> Schema:
    """A copy in which each schema directly below was changed."""
    if depth > _DEEPEST_READ:
        raise InvalidRequest("the schema is nested too deeply")
    copy = dict(schema)
    for name, value in schema.items():
        if name in _NAMED and isinstance(value, dict):
            copy[name] = {
                key: change(below) if isinstance(below, dict) else below
                for key, below in value.items()
            }
        elif isinstance(value, list) and (name in _LISTED or name == "items"):
            copy[name] = [
                change(below) if isinstance(below, dict) else below for below in value
            ]
        elif name in _SINGLE and isinstance(value, dict):
            copy[name] = change(value)
    return copy


def from_openapi(schema: Mapping[str, Any]) -> Schema:
    """JSON Schema of Gemini's old form; what is JSON Schema already stays.

    Types become lower case at every level, `nullable` a second type; keywords in snake
    case and numbers spelt as texts become ordinary.

    Raises:
        InvalidRequest: it is nested too deeply.
    """
    return _opened(dict(schema), 0)


def _opened(schema: Schema, depth: int) -> Schema:
    renamed = {_SNAKE.get(name, name): value for name, value in schema.items()}
    copy = _walked(renamed, lambda below: _opened(below, depth + 1), depth)
    copy.pop("propertyOrdering", None)
    for name in _WHOLE & copy.keys():
        if isinstance(copy[name], str) and copy[name].isdecimal():
            copy[name] = int(copy[name])
    kind = copy.get("type")
    if isinstance(kind, str):
        copy["type"] = kind.lower()
        if kind == "TYPE_UNSPECIFIED":
            del copy["type"]
    elif isinstance(kind, list):
        copy["type"] = [k.lower() if isinstance(k, str) else k for k in kind]
    if copy.pop("nullable", None) is True:
        _allow_null(copy)
    return copy


def _allow_null(schema: Schema) -> None:
    kind = schema.get("type")
    if isinstance(kind, str) and kind != "null":
        schema["type"] = [kind, "null"]
    elif isinstance(kind, list) and "null" not in kind:
        schema["type"] = [*kind, "null"]
    elif kind is None and isinstance(schema.get("anyOf"), list):
        schema["anyOf"] = [*schema["anyOf"], {"type": "null"}]
    enum = schema.get("enum")
    if isinstance(enum, list) and None not in enum:
        schema["enum"] = [*enum, None]


def to_openapi(schema: Mapping[str, Any]) -> Schema:
    """The schema in Gemini's old form: less is said, nothing is refused.

    Raises:
        InvalidRequest: it grows beyond bounds when its references are followed.
    """
    return _Lowering(schema).lower(dict(schema), 0, ())


@define
class _Lowering:
    """One schema on its way to OpenAPI's subset; `$ref` is followed in the root."""

    _root: Mapping[str, Any]
    _nodes: int = field(default=0, init=False)

    def lower(self, schema: Schema, depth: int, refs: tuple[str, ...]) -> Schema:
        """The schema in OpenAPI's subset.

        Args:
            refs: The references that led here; meeting one again ends the descent.
        """
        self._nodes += 1
        if self._nodes > _MOST_NODES:
            raise InvalidRequest("the schema is too large")
        if depth > DEEPEST:
            return {"type": "OBJECT"}
        schema, refs = self._followed(schema, refs)
        if "$ref" in schema:
            return {"type": "OBJECT"}
        schema = self._merged(schema, depth, refs)
        out = {name: value for name, value in schema.items() if name in _OPENAPI}
        self._choices(schema, out, depth, refs)
        _one_type(schema.get("type"), out)
        self._children(schema, out, depth, refs)
        _values(schema, out)
        return out

    def _followed(
        self, schema: Schema, refs: tuple[str, ...]
    ) -> tuple[Schema, tuple[str, ...]]:
        """The schema with its reference replaced by what it names.

        A reference that was met before, or leads nowhere, stays.
        """
        while isinstance(ref := schema.get("$ref"), str) and ref not in refs:
            found = self._resolve(ref)
            if found is None:
                break
            beside = {name: v for name, v in schema.items() if name != "$ref"}
            schema, refs = {**found, **beside}, (*refs, ref)
        return schema, refs

    def _resolve(self, ref: str) -> Schema | None:
        """What a reference within the schema names, None when there is nothing."""
        if not ref.startswith("#"):
            return None
        place: Any = self._root
        for step in ref[1:].split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, list) and name.isdecimal():
                place = place[int(name)] if int(name) < len(place) else None
            else:
                place = place.get(name) if isinstance(place, Mapping) else None
        return dict(place) if isinstance(place, Mapping) else None

    def _merged(self, schema: Schema, depth: int, refs: tuple[str, ...]) -> Schema:
        """The schema with the branches of `allOf` laid into it."""
        branches = schema.get("allOf")
        if not isinstance(branches, list):
            return schema
        whole = {name: value for name, value in schema.items() if name != "allOf"}
        for branch in branches:
            self._nodes += 1
            reachable = depth <= DEEPEST and self._nodes <= _MOST_NODES
            if not isinstance(branch, dict) or not reachable:
                continue
            branch, below = self._followed(branch, refs)
            if "$ref" not in branch:
                _lay_into(whole, self._merged(branch, depth + 1, below))
        return whole

    def _choices(
        self, schema: Schema, out: Schema, depth: int, refs: tuple[str, ...]
    ) -> None:
        """`anyOf` and `oneOf`; a branch that is only null makes the rest nullable."""
        for name in ("anyOf", "oneOf"):
            branches = schema.get(name)
            if not isinstance(branches, list):
                continue
            objects = [b for b in branches if isinstance(b, dict)]
            kept = [b for b in objects if b.get("type") not in ("null", ["null"])]
            if len(kept) < len(objects):
                out["nullable"] = True
            lowered = [self.lower(branch, depth + 1, refs) for branch in kept]
            if len(lowered) == 1:
                out.update({**lowered[0], **out})
            elif lowered:
                out["anyOf"] = lowered

    def _children(
        self, schema: Schema, out: Schema, depth: int, refs: tuple[str, ...]
    ) -> None:
        properties = schema.get("properties")
        if isinstance(properties, dict):
            out["properties"] = {
                name: self.lower(below, depth + 1, refs)
                for name, below in properties.items()
                if isinstance(below, dict)
            }
            out.setdefault("type", "OBJECT")
        items = schema.get("items")
        tuples = items if isinstance(items, list) else schema.get("prefixItems")
        if isinstance(tuples, list) and tuples and not isinstance(items, dict):
            items = tuples[0]
        if isinstance(items, dict):
            out["items"] = self.lower(items, depth + 1, refs)
            out.setdefault("type", "ARRAY")


def _lay_into(whole: Schema, branch: Schema) -> None:
    """Lay a branch of `allOf` into the schema: properties and names add up."""
    for name, value in branch.items():
        known = whole.get(name)
        if name == "properties" and isinstance(known, dict) and isinstance(value, dict):
            whole[name] = {**value, **known}
        elif name == "required" and isinstance(known, list) and isinstance(value, list):
            whole[name] = [*known, *(v for v in value if v not in known)]
        else:
            whole.setdefault(name, value)


def _one_type(kind: Any, out: Schema) -> None:
    """Write the type in capitals; of several all but null become a choice."""
    names = kind if isinstance(kind, list) else [kind]
    kinds = [name.upper() for name in names if isinstance(name, str)]
    if "NULL" in kinds and len(kinds) > 1:
        kinds.remove("NULL")
        out["nullable"] = True
    if len(kinds) == 1:
        out["type"] = kinds[0]
    elif kinds:
        out.setdefault("anyOf", [{"type": name} for name in kinds])


def _values(schema: Schema, out: Schema) -> None:
    """`enum`, `format` and `required` within what the old form allows."""
    values = [schema["const"]] if "const" in schema else out.get("enum")
    if isinstance(values, list):
        if None in values:
            out["nullable"] = True
        out["enum"] = [_text(value) for value in values if value is not None]
        out["type"] = "STRING"
    if out.get("type") == "STRING" and out.get("format") not in _STRING_FORMATS:
        out.pop("format", None)
    if isinstance(out.get("required"), list):
        known = out.get("properties", {})
        out["required"] = [name for name in out["required"] if name in known]
        if not out["required"]:
            del out["required"]


def _text(value: Any) -> str:
    return value if isinstance(value, str) else compact(value)
