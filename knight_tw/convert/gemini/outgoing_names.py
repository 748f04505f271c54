"""Function names as Gemini takes them (conversion specification, 2.7)."""

from __future__ import annotations

import re
from typing import Final

from knight_tw.convert import tools
from knight_tw.convert.context import Context

LIMIT: Final = 64
"""Most characters of a function's name."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")


def sent_name(name: str, context: Context) -> str:
    """The name as Gemini takes it; a changed one is remembered (`tools.own_name`).

    A name begins with a letter or `_`; after that dots and colons are taken, too.
    """
    memory = context.memory
    if _NAME.fullmatch(name) and memory.sent_names.get(name, name) == name:
        return name
    sent = tools.sent_name(name, memory, LIMIT - 1)
    if not _NAME.fullmatch(sent):
        memory.sent_names.pop(sent, None)
        sent = f"_{sent}"
    memory.sent_names[sent] = name
    return sent
