"""What the routes of the management API read of requests, found in their own source.

Routes read members of the body and arguments of the query by the readers of
`api.answers` (`text(body, "name")`, `query(request, "p")`), or hand the request to
functions that do. Those calls are the description: nobody writes names and types a
second time, and what is described is what is read. Calls are followed through the
functions and methods of `knight_tw.web`, names into parameters and loops over tables.

`knight_tw/web/fields.json` is made from this (`make manual`), for the description of
the API: a running gateway does not read its own source.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import pkgutil
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from types import FunctionType, ModuleType
from typing import Any

from attrs import define, field
from klein import Klein

from knight_tw.web import api
from knight_tw.web.api import answers
from knight_tw.web.api.log_fields import Arguments
from knight_tw.web.route_table import Entry, written

Schema = dict[str, Any]

_PACKAGES = ("knight_tw.web.", "knight_tw.channels.", "knight_tw.accounts.passkeys")
"""Where functions are that may read a body."""

_DEEPEST = 6
"""Calls within calls that are followed."""

_BODY_READERS: Mapping[object, Schema] = {
    answers.text: {"type": "string"},
    answers.integer: {"type": "integer"},
    answers.flag: {"type": "boolean"},
}
_QUERY_READERS: Mapping[object, Schema] = {
    answers.query: {"type": "string"},
    answers.query_integer: {"type": "integer"},
    answers.query_flag: {"type": "boolean"},
}
_MANY: Mapping[object, Schema] = {
    Arguments.texts: {"type": "array", "items": {"type": "string"}},
    Arguments.numbers: {"type": "array", "items": {"type": "integer"}},
}
"""Readers of arguments that may be given several times, each under several names."""

_BOUNDS = {"least": "minimum", "most": "maximum", "longest": "maxLength"}
"""Keyword arguments of readers, and what they are in a JSON schema."""

_BODY = "body"
"""What the routes call the decoded body; its own methods are read too."""


@define
class Reads:
    """The members and arguments that a route looks for.

    Attributes:
        has_body: Whether it reads a JSON body at all.
        required: Members without which it refuses.
        paged: Whether it gives one page of a list.
    """

    body: dict[str, Schema] = field(factory=dict)
    query: dict[str, Schema] = field(factory=dict)
    required: set[str] = field(factory=set)
    has_body: bool = False
    optional_body: bool = False
    paged: bool = False

    def packed(self) -> dict[str, Any]:
        """What there is to say, as JSON."""
        told: dict[str, Any] = {
            "body": self.body if self.has_body else {},
            "query": self.query,
            "required": sorted(self.required) if self.has_body else [],
            "has_body": self.has_body,
            "optional_body": self.optional_body,
            "paged": self.paged,
        }
        return {name: value for name, value in told.items() if value}


def fields() -> dict[str, dict[str, Any]]:
    """What every route reads, by method and path; routes that read nothing are left
    out. In the form of `openapi.fields`."""
    found: dict[str, dict[str, Any]] = {}
    for entry in sorted(_entries(), key=lambda one: (one.path, one.method)):
        told = reads(entry.surface, entry.route).packed()
        if told:
            found[f"{entry.method} {entry.path}"] = told
    return found


def text() -> str:
    """The content of `fields.json`: one route in a line."""
    lines = (
        f"{json.dumps(name)}: {json.dumps(told, sort_keys=True)}"
        for name, told in fields().items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def _entries() -> Iterator[Entry]:
    for found in pkgutil.iter_modules(api.__path__):
        module = importlib.import_module(f"{api.__name__}.{found.name}")
        for surface in vars(module).values():
            own = isinstance(surface, type) and surface.__module__ == module.__name__
            app = vars(surface).get("app") if own else None
            if isinstance(app, Klein):
                yield from written(surface, app)


def reads(surface: type, route: Callable[..., Any]) -> Reads:
    """What the route of a surface reads; empty where there is no source."""
    found = Reads()
    function = _ours(route)
    if function is not None:
        _Reading(found).follow(_Place(function, surface, {}), 0, certain=True)
    return found


@define
class _Place:
    """A function, and what is known of its names while one route runs it.

    Attributes:
        owner: The class whose method it is, or that `self` is otherwise.
        texts: Parameters and loop variables, and the texts that they may be.
    """

    function: Any
    owner: type
    texts: dict[str, tuple[str, ...]]

    @property
    def key(self) -> object:
        """Places of one key read the same."""
        return self.function, tuple(sorted(self.texts.items()))

    def value(self, node: ast.expr) -> Any:
        """A literal, or the constant of a module that a name stands for."""
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self.function.__globals__.get(node.id)
        if not isinstance(node, ast.Attribute):
            return None
        if isinstance(node.value, ast.Name):
            if node.value.id == "self":
                return getattr(self.owner, node.attr, None)
            module = self.function.__globals__.get(node.value.id)
            if isinstance(module, ModuleType | type):
                return getattr(module, node.attr, None)
        return self._method(node.attr)

    def _method(self, name: str) -> Any:
        """The method of that name of a local value, when only one class that the
        function's module knows, surfaces apart, can be meant."""
        known = {
            found
            for found in self.function.__globals__.values()
            if isinstance(found, type)
            and found.__module__.startswith(_PACKAGES)
            and name in vars(found)
            and "app" not in vars(found)
        }
        return getattr(known.pop(), name) if len(known) == 1 else None

    def names(self, node: ast.expr | None) -> tuple[str, ...]:
        """The texts that an expression may be; empty when nobody knows."""
        if isinstance(node, ast.Constant):
            return (node.value,) if isinstance(node.value, str) else ()
        return self.texts.get(node.id, ()) if isinstance(node, ast.Name) else ()

    def loop(self, target: ast.expr, over: ast.expr) -> None:
        """Note what the variable of a loop over a constant may be."""
        if isinstance(over, ast.Call) and isinstance(over.func, ast.Attribute):
            # `TABLE.items()`, with the name as the first of a pair.
            over = over.func.value
        if isinstance(target, ast.Tuple):
            target = target.elts[0]
        found = self.value(over)
        if isinstance(over, ast.Tuple | ast.List):
            found = [name for part in over.elts for name in self.names(part)]
        if isinstance(found, Mapping | list | tuple) and isinstance(target, ast.Name):
            texts = tuple(name for name in found if isinstance(name, str))
            self.texts.setdefault(target.id, texts)

    def called(self, call: ast.Call, function: FunctionType) -> _Place:
        """The function that a call goes to, with the texts that are handed over."""
        parameters = list(inspect.signature(function).parameters)
        method = parameters[:1] in (["self"], ["cls"])
        handed = zip(parameters[1:] if method else parameters, call.args, strict=False)
        texts = {name: self.names(node) for name, node in handed if self.names(node)}
        owner = self.owner
        path = function.__qualname__.split(".")
        if len(path) == 2:
            owner = getattr(sys.modules[function.__module__], path[0], owner)
        return _Place(function, owner, texts)


@define
class _Reading:
    """Goes through the calls of one route."""

    _found: Reads
    _seen: set[object] = field(factory=set)

    def follow(self, place: _Place, depth: int, *, certain: bool) -> None:
        """Note what a function reads.

        Args:
            certain: Whether the route always comes here.
        """
        tree = _source(place.function)
        if tree is None or place.key in self._seen or depth > _DEEPEST:
            return
        self._seen.add(place.key)
        for node in ast.walk(tree):
            if isinstance(node, ast.For | ast.comprehension):
                place.loop(node.target, node.iter)
        sure = set(_certain(tree)) if certain else set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._call(place, node, depth, node in sure)
            elif isinstance(node, ast.Compare | ast.Subscript):
                self._untyped(place.names(_looked_up(node)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute):
                self._handed_on(place, node, depth)

    def _handed_on(self, place: _Place, node: ast.Attribute, depth: int) -> None:
        """Follow a method that is not called here but may be elsewhere."""
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            found = _ours(place.value(node))
            if found is not None:
                there = _Place(found, place.owner, {})
                self.follow(there, depth + 1, certain=False)

    def _call(self, place: _Place, call: ast.Call, depth: int, sure: bool) -> None:
        if _is_lookup(call):
            self._untyped(place.names(_argument(call, 0)))
            return
        called = place.value(call.func)
        function = _ours(called)
        if called.__hash__ is None:
            return
        if called in _BODY_READERS:
            self._member(place, call, _BODY_READERS[called], sure)
        elif called in _QUERY_READERS:
            self._arguments(place.names(_argument(call, 1)), _QUERY_READERS[called])
        elif called in _MANY:
            for node in call.args:
                self._arguments(place.names(node), _MANY[called])
        elif called is answers.paging:
            self._found.paged = True
        elif called in (answers.json_body, answers.body_bytes):
            self._found.has_body = True
            self._found.optional_body |= bool(call.keywords)
        elif function is not None and not _is_made_up(call):
            self.follow(place.called(call, function), depth + 1, certain=sure)

    def _arguments(self, names: tuple[str, ...], schema: Schema) -> None:
        for name in names:
            self._found.query.setdefault(name, schema)

    def _member(
        self, place: _Place, call: ast.Call, schema: Schema, sure: bool
    ) -> None:
        """Note a member of the body, with its bounds."""
        schema, default = dict(schema), len(call.args) > 2
        if isinstance(call.args[0], ast.Dict):
            # One element of a list, read as a member of its own.
            schema = {"type": "array", "items": schema}
        for keyword in call.keywords:
            if keyword.arg == "default":
                default = True
            elif keyword.arg in _BOUNDS:
                bound = place.value(keyword.value)
                if isinstance(bound, int):
                    schema[_BOUNDS[keyword.arg]] = bound
        names = place.names(_argument(call, 1))
        for name in names:
            if not self._found.body.get(name):
                self._found.body[name] = schema
        if sure and not default and len(names) == 1:
            self._found.required.update(names)

    def _untyped(self, names: tuple[str, ...]) -> None:
        for name in names:
            self._found.body.setdefault(name, {})


def _ours(called: Any) -> FunctionType | None:
    """A function of ours that may read requests, as it was written; else None."""
    plain = inspect.unwrap(called) if callable(called) else None
    plain = getattr(plain, "__func__", plain)
    if isinstance(plain, FunctionType) and plain.__module__.startswith(_PACKAGES):
        return plain
    return None


def _certain(function: ast.AST) -> Iterator[ast.Call]:
    """The calls that every run of a function makes, up to where it may have returned.

    What may be refused before is no matter: a request that is refused needed no more.
    """
    for statement in getattr(function, "body", []):
        if isinstance(statement, ast.If | ast.While):
            yield from _calls(statement.test)
        elif isinstance(statement, ast.For | ast.AsyncFor):
            yield from _calls(statement.iter)
        elif isinstance(statement, ast.Try | ast.With | ast.AsyncWith):
            yield from _certain(statement)
        else:
            yield from _calls(statement)
        if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
            return


def _calls(node: ast.AST) -> Iterator[ast.Call]:
    """The calls within an expression that are made whatever its values are."""
    if isinstance(node, ast.Call):
        yield node
    if isinstance(node, ast.Lambda | ast.GeneratorExp | ast.ListComp | ast.DictComp):
        return
    children: list[ast.AST] = list(ast.iter_child_nodes(node))
    if isinstance(node, ast.BoolOp):
        children = [node.values[0]]
    elif isinstance(node, ast.IfExp):
        children = [node.test]
    for child in children:
        yield from _calls(child)


def _is_made_up(call: ast.Call) -> bool:
    """Whether a function is called with members that are not the request's."""
    return any(isinstance(given, ast.Dict) for given in call.args)


def _is_lookup(call: ast.Call) -> bool:
    """Whether it is `body.get(…)`."""
    function = call.func
    return (
        isinstance(function, ast.Attribute)
        and function.attr == "get"
        and isinstance(function.value, ast.Name)
        and function.value.id == _BODY
    )


def _looked_up(node: ast.Compare | ast.Subscript) -> ast.expr | None:
    """The name in `body["name"]` and `"name" in body`."""
    if isinstance(node, ast.Subscript):
        return node.slice if _is_body(node.value) else None
    inside = isinstance(node.ops[0], ast.In | ast.NotIn)
    return node.left if inside and _is_body(node.comparators[0]) else None


def _is_body(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == _BODY


def _argument(call: ast.Call, place: int) -> ast.expr | None:
    return call.args[place] if len(call.args) > place else None


def _source(function: FunctionType) -> ast.AST | None:
    """The definition of a function."""
    return _definitions(function.__module__).get(function.__qualname__)


@cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """The functions and methods of a module by qualified name."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[module]))
    except (OSError, TypeError):
        return {}
    found: dict[str, ast.AST] = {}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            found[node.name] = node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef):
                    found[f"{node.name}.{inner.name}"] = inner
    return found
