"""JSON Schema for Claude's strict output and for Gemini's old form."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from knight_tw.convert.schema import (
    declares_nothing,
    from_openapi,
    read_schema,
    strict,
    to_openapi,
)
from knight_tw.errors import InvalidRequest

TYPES = st.sampled_from(["string", "integer", "number", "boolean", "null"])
SCHEMAS = st.recursive(
    st.builds(lambda kind: {"type": kind}, TYPES),
    lambda inner: st.one_of(
        st.builds(lambda items: {"type": "array", "items": items}, inner),
        st.builds(lambda any_of: {"anyOf": any_of}, st.lists(inner, min_size=1)),
        st.builds(
            lambda properties: {
                "type": "object",
                "properties": properties,
                "required": sorted(properties),
                "minProperties": 1,
            },
            st.dictionaries(st.sampled_from(["a", "type", "minimum", "$ref"]), inner),
        ),
    ),
    max_leaves=8,
)


def deep(levels: int) -> dict[str, Any]:
    """A schema nested so deeply."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(levels):
        schema = {"type": "array", "items": schema}
    return schema


def keywords(schema: Any) -> set[str]:
    """All keywords in use, names of properties left out."""
    if isinstance(schema, list):
        return set().union(*map(keywords, schema)) if schema else set()
    if not isinstance(schema, dict):
        return set()
    found = set(schema)
    for name, value in schema.items():
        if name == "properties":
            found |= keywords(list(value.values()))
        elif name in ("items", "anyOf"):
            found |= keywords(value)
    return found


class Strict(SynchronousTestCase):
    """Claude's structured output."""

    def test_limits_are_told(self) -> None:
        """Objects are closed; what Claude refuses is told in the description."""
        given_schema = {
            "$schema": "https://json-schema.org/draft",
            "type": "object",
            "properties": {
                "n": {
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 9,
                    "description": "How many",
                },
                "minimum": {"type": "string"},
                "l": {"type": "array", "items": {"properties": {}}, "minItems": 2},
                "one": {"type": "array", "items": True, "minItems": 1},
            },
            "$defs": {"d": {"type": ["object", "null"]}},
        }
        kept = copy.deepcopy(given_schema)
        closed = {"additionalProperties": False}
        self.assertEqual(
            strict(given_schema),
            {
                "type": "object",
                "properties": {
                    "n": {
                        "type": "integer",
                        "description": "How many (minimum: 0) (maximum: 9)",
                    },
                    "minimum": {"type": "string"},
                    "l": {
                        "type": "array",
                        "items": {"properties": {}, **closed},
                        "description": "(minItems: 2)",
                    },
                    "one": {"type": "array", "items": True, "minItems": 1},
                },
                "$defs": {"d": {"type": ["object", "null"], **closed}},
                **closed,
            },
        )
        self.assertEqual(given_schema, kept)

    def test_depth_is_bounded(self) -> None:
        """A schema that is nested without end is refused, not followed."""
        self.assertEqual(strict(deep(100)), deep(100))
        self.assertRaises(InvalidRequest, strict, deep(200))


class FromOpenApi(SynchronousTestCase):
    """Gemini's old form as JSON Schema."""

    def test_types_and_null(self) -> None:
        """Types become lower case at every level, `nullable` a type."""
        self.assertEqual(
            from_openapi(
                {
                    "type": "OBJECT",
                    "properties": {
                        "a": {"type": "STRING", "nullable": True, "enum": ["x"]},
                        "b": {"type": "ARRAY", "items": {"type": "INTEGER"}},
                        "c": {"any_of": [{"type": "NUMBER"}], "nullable": True},
                        "d": {"type": ["STRING", "NULL"], "nullable": True},
                        "e": {"type": ["STRING"], "nullable": True},
                        "f": {"type": "TYPE_UNSPECIFIED", "nullable": False},
                        "type": {"type": "BOOLEAN"},
                    },
                    "propertyOrdering": ["a"],
                    "min_properties": "2",
                }
            ),
            {
                "type": "object",
                "properties": {
                    "a": {"type": ["string", "null"], "enum": ["x", None]},
                    "b": {"type": "array", "items": {"type": "integer"}},
                    "c": {"anyOf": [{"type": "number"}, {"type": "null"}]},
                    "d": {"type": ["string", "null"]},
                    "e": {"type": ["string", "null"]},
                    "f": {},
                    "type": {"type": "boolean"},
                },
                "minProperties": 2,
            },
        )

    @given(SCHEMAS)
    @settings(max_examples=50, deadline=None)
    def test_json_schema_stays(self, schema: dict[str, Any]) -> None:
        """What is JSON Schema already is not changed."""
        self.assertEqual(from_openapi(schema), schema)


class ToOpenApi(SynchronousTestCase):
    """JSON Schema in Gemini's old form."""

    def test_examples(self) -> None:
        """Each construct has its nearest form."""
        text = {"type": "STRING"}
        for given_schema, wanted in (
            ({"type": ["string", "null"]}, {**text, "nullable": True}),
            ({"type": ["string", "integer"]}, {"anyOf": [text, {"type": "INTEGER"}]}),
            ({"const": 5}, {**text, "enum": ["5"]}),
            ({"enum": [1, None, "a"]}, {**text, "nullable": True, "enum": ["1", "a"]}),
            (
                {"oneOf": [{"type": "string"}, {"type": "null"}]},
                {**text, "nullable": True},
            ),
            (
                {"anyOf": [{"type": "string"}, {"type": "number"}]},
                {"anyOf": [text, {"type": "NUMBER"}]},
            ),
            ({"anyOf": [{"type": "null"}]}, {"nullable": True}),
            (
                {"allOf": [{"type": "string"}, {"maxLength": 3}, True], "title": "t"},
                {**text, "maxLength": 3, "title": "t"},
            ),
            ({"type": "string", "format": "uri"}, text),
            (
                {"type": "string", "format": "date-time"},
                {**text, "format": "date-time"},
            ),
            (
                {"type": "integer", "format": "int32"},
                {"type": "INTEGER", "format": "int32"},
            ),
            ({"type": "number", "exclusiveMinimum": 0}, {"type": "NUMBER"}),
            (
                {"type": "array", "items": [{"type": "string"}, {"type": "null"}]},
                {"type": "ARRAY", "items": text},
            ),
            ({"prefixItems": [{"type": "string"}]}, {"type": "ARRAY", "items": text}),
            (
                {
                    "properties": {"a": {"type": "string"}, "b": True},
                    "required": ["a", "z"],
                },
                {"type": "OBJECT", "properties": {"a": text}, "required": ["a"]},
            ),
            (
                {"type": "object", "properties": {}, "required": ["z"]},
                {"type": "OBJECT", "properties": {}},
            ),
        ):
            self.assertEqual(to_openapi(given_schema), wanted, given_schema)

    def test_references_are_followed(self) -> None:
        """`$ref` is replaced; one that leads into itself or nowhere ends there."""
        schema = {
            "type": "object",
            "properties": {
                "node": {"$ref": "#/$defs/a~1b", "description": "here"},
                "gone": {"$ref": "#/$defs/none"},
                "far": {"$ref": "https://a.example/schema"},
                "second": {"$ref": "#/anyOf/1"},
                "wrong": {"$ref": "#/anyOf/9"},
            },
            "$defs": {
                "a/b": {
                    "type": "object",
                    "properties": {"next": {"$ref": "#/$defs/a~1b"}},
                }
            },
            "anyOf": [{"type": "null"}, {"type": "integer"}],
        }
        anything = {"type": "OBJECT"}
        self.assertEqual(
            to_openapi(schema)["properties"],
            {
                "node": {
                    "type": "OBJECT",
                    "properties": {"next": anything},
                    "description": "here",
                },
                "gone": anything,
                "far": anything,
                "second": {"type": "INTEGER"},
                "wrong": anything,
            },
        )

    def test_all_of_adds_up(self) -> None:
        """Branches of `allOf`, references too, add their properties and names."""
        schema = {
            "allOf": [
                {"$ref": "#/$defs/base"},
                {"properties": {"b": {"type": "string"}}, "required": ["b", "a"]},
                {"$ref": "#/nowhere"},
            ],
            "$defs": {
                "base": {
                    "type": "object",
                    "properties": {"a": {"type": "integer"}},
                    "required": ["a"],
                }
            },
        }
        self.assertEqual(
            to_openapi(schema),
            {
                "type": "OBJECT",
                "properties": {"a": {"type": "INTEGER"}, "b": {"type": "STRING"}},
                "required": ["a", "b"],
            },
        )

    def test_growth_is_bounded(self) -> None:
        """Deep schemas are cut, those that multiply by references are refused."""
        lowered = to_openapi(deep(80))
        for _ in range(64):
            lowered = lowered["items"]
        self.assertEqual(lowered["items"], {"type": "OBJECT"})
        names = [f"d{n}" for n in range(20)]
        twice = {
            name: {"anyOf": [{"$ref": f"#/$defs/{below}"}] * 3}
            for name, below in pairwise(names)
        }
        bomb = {"$ref": "#/$defs/d0", "$defs": {**twice, "d19": {"type": "string"}}}
        self.assertRaises(InvalidRequest, to_openapi, bomb)
        chain = {
            f"c{n}": {"allOf": [{"$ref": f"#/$defs/c{n + 1}"}]} for n in range(900)
        }
        to_openapi({"$ref": "#/$defs/c0", "$defs": {**chain, "c900": {}}})
        every = {name: {"allOf": v["anyOf"]} for name, v in twice.items()}
        to_openapi({"$ref": "#/$defs/d0", "$defs": every})

    @given(SCHEMAS)
    @settings(max_examples=100, deadline=None)
    def test_only_known_keywords(self, schema: dict[str, Any]) -> None:
        """Nothing but the subset's keywords is left, and types are single capitals."""
        lowered = to_openapi(schema)
        known = {"type", "properties", "items", "anyOf", "nullable", "required"}
        self.assertLessEqual(keywords(lowered), known | {"minProperties", "enum"})


class Reading(SynchronousTestCase):
    """Schemas that clients send."""

    def test_what_is_no_object(self) -> None:
        """An absent schema is empty, another value is refused with its path."""
        self.assertEqual(read_schema(None, "p"), {})
        self.assertEqual(read_schema({"type": "string"}, "p"), {"type": "string"})
        error = self.assertRaises(InvalidRequest, read_schema, [], "p")
        self.assertEqual(error.param, "p")

    def test_schemas_that_declare_nothing(self) -> None:
        """An object without properties declares nothing, other schemas do."""
        for schema in ({}, {"type": "object"}, {"type": "OBJECT", "properties": {}}):
            self.assertTrue(declares_nothing(schema))
        for schema in ({"type": "string"}, {"properties": {"a": {}}}, {"anyOf": []}):
            self.assertFalse(declares_nothing(schema))
