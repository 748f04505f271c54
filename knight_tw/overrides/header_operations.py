"""The operations of parameter overrides that work on headers.

Source: relay specification, section 9.1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from knight_tw.overrides.headers import FRAMING, check_name, check_value
from knight_tw.overrides.paths import parse
from knight_tw.overrides.work import Mode, Operation, Work, text_of

_APPEND, _ONLY = "$append", "$keep_only_declared"
_SIDES = ("json:", "header:")


def _name_and_value(operation: Operation) -> None:
    check_name(operation.get("path"))
    value = operation.get("value")
    if not isinstance(value, Mapping):
        check_value(_spelt(value))
        return
    for token, replacement in value.items():
        if token != _ONLY:
            _tokens(replacement)


def _name(operation: Operation) -> None:
    check_name(operation.get("path"))


def _both_names(operation: Operation) -> None:
    for side in ("from", "to"):
        check_name(operation.get(side) or operation.get("path"))


def _names(operation: Operation) -> None:
    if not _listed(operation.get("value")):
        raise ValueError("value must name a header")


def _sides(operation: Operation) -> None:
    for name in ("from", "to"):
        side = text_of(operation, name)
        kind, _, place = side.partition(":")
        if f"{kind}:" not in _SIDES:
            raise ValueError(f"{name} must begin with json: or header:")
        if kind == "json":
            parse(place)
        else:
            check_name(place)


def _set_header(work: Work, operation: Operation) -> bool:
    name, value = check_name(operation["path"]), operation["value"]
    if operation.get("keep_origin") and work.headers.get(name) is not None:
        return False
    if isinstance(value, Mapping):
        edited = ",".join(_edited(work.header(name) or "", value))
        work.headers[name] = check_value(edited) or None
    else:
        work.headers[name] = check_value(_spelt(value))
    return True


def _edited(header: str, edit: Mapping[str, Any]) -> list[str]:
    """The tokens of a comma list after an edit, each once, in order."""
    found: list[str] = []
    for token in filter(None, (part.strip() for part in header.split(","))):
        if token in edit:
            found += _tokens(edit[token])
        elif "*" in edit:
            found += _tokens(edit["*"])
        elif not edit.get(_ONLY):
            found.append(token)
    found += _tokens(edit.get(_APPEND))
    return list(dict.fromkeys(found))


def _tokens(value: Any) -> list[str]:
    if value is None:
        return []
    texts = value if isinstance(value, list) else [value]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("a token must be a text, a list of texts, or null")
    return [text.strip() for text in texts if text.strip()]


def _delete_header(work: Work, operation: Operation) -> bool:
    return work.headers.pop(check_name(operation["path"]), None) is not None


def _copy_header(work: Work, operation: Operation) -> bool:
    source, target = _ends(operation)
    value = work.header(source)
    if value is None:
        return False
    if operation.get("keep_origin") and work.headers.get(target) is not None:
        return False
    work.headers[target] = value
    return True


def _move_header(work: Work, operation: Operation) -> bool:
    source, target = _ends(operation)
    moved = _copy_header(work, operation)
    if moved and source != target:
        work.headers.pop(source, None)
    return moved


def _ends(operation: Operation) -> tuple[str, str]:
    path = operation.get("path")
    source = check_name(operation.get("from") or path)
    return source, check_name(operation.get("to") or path)


def _pass_headers(work: Work, operation: Operation) -> bool:
    passed = False
    for name in _listed(operation["value"]):
        value = work.context.client.get(name)
        kept = operation.get("keep_origin") and work.headers.get(name) is not None
        if value is not None and name not in FRAMING and not kept:
            work.headers[name] = value
            passed = True
    return passed


def _listed(value: Any) -> list[str]:
    """Header names of a text, a comma list, a list, or an object that holds one."""
    if isinstance(value, Mapping):
        value = next(
            (value[key] for key in ("headers", "names", "header") if key in value), None
        )
    if isinstance(value, str):
        value = [part for part in value.split(",") if part.strip()]
    if not isinstance(value, list | tuple):
        return []
    return [check_name(n.strip() if isinstance(n, str) else n) for n in value]


def _sync_fields(work: Work, operation: Operation) -> bool:
    source, target = operation["from"], operation["to"]
    value, other = _side(work, source), _side(work, target)
    if (value is None) == (other is None):
        return False
    if other is None:
        return _fill(work, target, value)
    return _fill(work, source, other)


def _side(work: Work, side: str) -> Any:
    kind, _, place = side.partition(":")
    if kind == "header":
        return work.header(check_name(place))
    return next(iter(work.document.read(parse(place))), None)


def _fill(work: Work, side: str, value: Any) -> bool:
    kind, _, place = side.partition(":")
    if kind == "json":
        return work.document.assign(parse(place), value)
    if isinstance(value, dict | list):
        return False
    work.headers[check_name(place)] = check_value(_spelt(value))
    return True


def _spelt(value: Any) -> str:
    """A text, or a number or boolean as JSON spells it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise ValueError("the value must be a text, a number or an object")


HEADER_MODES: Mapping[str, Mode] = {
    "set_header": Mode(_name_and_value, _set_header),
    "delete_header": Mode(_name, _delete_header),
    "copy_header": Mode(_both_names, _copy_header),
    "move_header": Mode(_both_names, _move_header),
    "pass_headers": Mode(_names, _pass_headers),
    "sync_fields": Mode(_sides, _sync_fields),
}
