"""The operations of parameter overrides: what each mode checks and does.

An operation tells whether it changed the body. A target that is missing changes
nothing. Source: relay specification, section 9.1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from knight_tw import patterns
from knight_tw.errors import KnightError
from knight_tw.overrides.conditions import check_conditions, equal, met_by
from knight_tw.overrides.header_operations import HEADER_MODES
from knight_tw.overrides.paths import Document, parse, plain
from knight_tw.overrides.work import Apply, Mode, Operation, Work, text_of

REPLY_STATUS = range(100, 512)


def _path(operation: Operation) -> None:
    parse(text_of(operation, "path"))


def _from_to(operation: Operation) -> None:
    parse(text_of(operation, "from"))
    parse(text_of(operation, "to"))


def _path_and_text(operation: Operation) -> None:
    _path(operation)
    if not text_of(operation, "value"):
        raise ValueError("value must not be empty")


def _replacement(operation: Operation) -> None:
    _path(operation)
    if not text_of(operation, "from"):
        raise ValueError("from must not be empty")
    text_of(operation, "to", "")


def _pattern(operation: Operation) -> None:
    _replacement(operation)
    patterns.compiled(operation["from"])


def _addition(operation: Operation) -> None:
    _path(operation)
    if "value" not in operation:
        raise ValueError("value is missing")


def _filter(operation: Operation) -> None:
    if operation.get("path"):
        _path(operation)
    value = operation.get("value")
    if isinstance(value, str) and value:
        return
    if not isinstance(value, Mapping) or not {"type", "where", "conditions"} & set(
        value
    ):
        raise ValueError("value must be a type, or an object with type or where")
    where = value.get("where", {})
    if not isinstance(where, Mapping):
        raise ValueError("where must be an object")
    for path in where:
        parse(path)
    check_conditions({"logic": "AND", **value})


def _reply(operation: Operation) -> None:
    value = operation.get("value")
    if isinstance(value, str) and value:
        return
    if not isinstance(value, Mapping):
        raise ValueError("value must be a message or an object")
    if not isinstance(value.get("message", value.get("msg")), str):
        raise ValueError("message is missing")
    status = value.get("status_code", value.get("status", 400))
    if isinstance(status, bool) or status not in REPLY_STATUS:
        raise ValueError("status must be from 100 to 511")


def _set(work: Work, operation: Operation) -> bool:
    steps, keep = parse(operation["path"]), bool(operation.get("keep_origin"))
    return work.document.assign(steps, operation.get("value"), keep=keep)


def _delete(work: Work, operation: Operation) -> bool:
    slots = work.document.slots(parse(operation["path"]))
    for container, key in slots:
        del container[key]
    return bool(slots)


def _copy(work: Work, operation: Operation) -> bool:
    found = work.document.read(parse(operation["from"]))
    return bool(found) and work.document.assign(parse(operation["to"]), found[0])


def _move(work: Work, operation: Operation) -> bool:
    found = work.document.read(parse(operation["from"]))
    if not found:
        return False
    moved = work.document.copied(found[0])
    _delete(work, {"path": operation["from"]})
    work.document.assign(parse(operation["to"]), moved)
    return True


def _add(front: bool) -> Apply:
    def apply(work: Work, operation: Operation) -> bool:
        slots = work.document.slots(parse(operation["path"]))
        for container, key in slots:
            value = work.document.copied(operation["value"])
            keep = bool(operation.get("keep_origin"))
            container[key] = _added(plain(container[key]), value, front, keep, work)
        return bool(slots)

    return apply


def _added(old: Any, new: Any, front: bool, keep: bool, work: Work) -> Any:
    if isinstance(old, list):
        more = new if isinstance(new, list) else [new]
        return [*more, *old] if front else [*old, *more]
    if isinstance(old, str) and isinstance(new, str):
        work.document.grown(len(old))
        return new + old if front else old + new
    if isinstance(old, dict) and isinstance(new, dict):
        return {**new, **old} if keep else {**old, **new}
    raise ValueError("the value cannot be added to what is there")


def _texts(change: Callable[[str, Operation, int], str]) -> Apply:
    """An operation on every text at a path; other things are left alone."""

    def apply(work: Work, operation: Operation) -> bool:
        changed = False
        for container, key in work.document.slots(parse(operation["path"])):
            old = plain(container[key])
            if isinstance(old, str):
                new = change(old, operation, work.document.room)
                work.document.grown(max(len(new) - len(old), 0))
                container[key] = new
                changed = changed or new != old
        return changed

    return apply


def _ensure_prefix(text: str, operation: Operation, room: int) -> str:
    value: str = operation["value"]
    return text if text.startswith(value) else value + text


def _ensure_suffix(text: str, operation: Operation, room: int) -> str:
    value: str = operation["value"]
    return text if text.endswith(value) else text + value


def _replace(text: str, operation: Operation, room: int) -> str:
    old, new = operation["from"], operation.get("to", "")
    if len(text) + text.count(old) * (len(new) - len(old)) > room:
        raise OverflowError
    return text.replace(old, new)


def _regex_replace(text: str, operation: Operation, room: int) -> str:
    pattern = patterns.compiled(operation["from"])
    return pattern.replaced(text, operation.get("to", ""), room)


def _prune(work: Work, operation: Operation) -> bool:
    value = operation["value"]
    wanted: Operation = {"type": value} if isinstance(value, str) else value
    deep = bool(wanted.get("recursive", True))
    if not operation.get("path"):
        return _prune_body(work.document.body, wanted, deep)
    changed = False
    for container, key in work.document.slots(parse(operation["path"])):
        root = plain(container[key])
        if _pruned(root, wanted, deep):
            container[key] = root
            changed = True
    return changed


def _prune_body(body: dict[str, Any], wanted: Operation, deep: bool) -> bool:
    """Prune the whole body; members in which nothing is removed stay as they are."""
    opened = {key: plain(value) for key, value in body.items()}
    kept = {key: value for key, value in opened.items() if not _fits(value, wanted)}
    changed = len(kept) < len(opened)
    for key in opened:
        if key not in kept:
            del body[key]
        elif deep and _pruned(kept[key], wanted, deep):
            body[key] = kept[key]
            changed = True
    return changed


def _pruned(root: Any, wanted: Operation, deep: bool) -> bool:
    """Removes what fits from inside `root`; True when something did."""
    if not isinstance(root, dict | list):
        return False
    keys = list(root) if isinstance(root, dict) else list(range(len(root)))
    changed = False
    for key in reversed(keys):
        value = plain(root[key])
        if _fits(value, wanted):
            del root[key]
            changed = True
        elif deep and _pruned(value, wanted, deep):
            root[key] = value
            changed = True
    return changed


def _fits(value: Any, wanted: Operation) -> bool:
    if not isinstance(value, dict):
        return False
    if "type" in wanted and not equal(plain(value.get("type")), wanted["type"]):
        return False
    inside = Document(value)
    for path, expected in wanted.get("where", {}).items():
        if not any(equal(found, expected) for found in inside.read(parse(path))):
            return False
    return met_by(wanted, value)


def _return_error(work: Work, operation: Operation) -> bool:
    value = operation["value"]
    told: Mapping[str, Any] = {"message": value} if isinstance(value, str) else value
    status = told.get("status_code", told.get("status", 400))
    error = KnightError(
        told.get("message", told.get("msg", "")),
        status=status,
        code=str(told.get("code", "invalid_request")),
        type=str(told.get("type", "invalid_request_error")),
    )
    if not told.get("skip_retry", True):
        error.retryable = None
    raise error


MODES: Mapping[str, Mode] = {
    "set": Mode(_path, _set),
    "delete": Mode(_path, _delete),
    "move": Mode(_from_to, _move),
    "copy": Mode(_from_to, _copy),
    "append": Mode(_addition, _add(front=False)),
    "prepend": Mode(_addition, _add(front=True)),
    "trim_prefix": Mode(
        _path_and_text, _texts(lambda text, op, _: text.removeprefix(op["value"]))
    ),
    "trim_suffix": Mode(
        _path_and_text, _texts(lambda text, op, _: text.removesuffix(op["value"]))
    ),
    "ensure_prefix": Mode(_path_and_text, _texts(_ensure_prefix)),
    "ensure_suffix": Mode(_path_and_text, _texts(_ensure_suffix)),
    "trim_space": Mode(_path, _texts(lambda text, op, _: text.strip())),
    "to_lower": Mode(_path, _texts(lambda text, op, _: text.lower())),
    "to_upper": Mode(_path, _texts(lambda text, op, _: text.upper())),
    "replace": Mode(_replacement, _texts(_replace)),
    "regex_replace": Mode(_pattern, _texts(_regex_replace)),
    "prune_objects": Mode(_filter, _prune),
    "return_error": Mode(_reply, _return_error),
    **HEADER_MODES,
}
"""Every kind of operation by name."""


def check(operation: Any) -> Mode:
    """The mode of an operation that can be carried out.

    Raises:
        ValueError: what is wrong with it, for the administrator.
    """
    if not isinstance(operation, Mapping):
        raise ValueError("an operation must be an object")
    name = text_of(operation, "mode")
    mode = MODES.get(name)
    if mode is None:
        raise ValueError(f"unknown mode {name[:40]}")
    mode.check(operation)
    check_conditions(operation)
    return mode


def targets(operation: Operation) -> set[str]:
    """The top-level members of the body that an operation may change; `*` = any."""
    mode = operation["mode"]
    if mode == "sync_fields":
        sides = (operation["from"], operation["to"])
        places = [side[5:] for side in sides if side.startswith("json:")]
    elif mode in HEADER_MODES:
        places = []
    elif mode == "move":
        places = [operation["from"], operation["to"]]
    elif mode == "copy":
        places = [operation["to"]]
    else:
        places = [operation.get("path") or "*"]
    return {parse(place)[0] for place in places}
