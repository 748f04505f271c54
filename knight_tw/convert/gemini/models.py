"""What Gemini models take, told by their names.

Names come as Google writes them (`gemini-2.5-pro-preview-06-05`), with `models/` or a
publisher in front. A name without a number (`gemini-flash-latest`) is taken for a model
that thinks by a budget, which newer ones understand as well.
"""

from __future__ import annotations

import re
from typing import Final

from knight_tw.convert import channels
from knight_tw.convert.context import Context
from knight_tw.options.groups import IMAGINE_MODELS

_VERSION = re.compile(r"gemini-(\d+)(?:\.(\d+))?")
_SILENT = re.compile(r"-(?:image|tts|embedding|native-audio)\b")

PRO_BUDGETS: Final = (128, 32768)
LITE_BUDGETS: Final = (512, 24576)
BUDGETS: Final = (0, 24576)
"""Smallest and largest thinking budget: of 2.5-pro, of flash-lite, of the others."""


def version(model: str) -> tuple[int, int]:
    """The number in the name; 2.5 when there is none."""
    found = _VERSION.search(model)
    return (int(found[1]), int(found[2] or 0)) if found else (2, 5)


def is_third(context: Context) -> bool:
    """True for Gemini 3 and later: levels of thinking, required signatures."""
    return version(context.model) >= (3, 0)


def thinks(context: Context) -> bool:
    """True when the model takes a `thinkingConfig`."""
    number = version(context.model)
    if number >= (3, 0):
        return True
    return number >= (2, 5) and not _SILENT.search(context.model)


def budgets(model: str) -> tuple[int, int]:
    """The smallest and the largest thinking budget."""
    if "2.5-pro" in model:
        return PRO_BUDGETS
    return LITE_BUDGETS if "2.5-flash-lite" in model else BUDGETS


def clamped(budget: int, model: str) -> int:
    """A budget within what the model takes."""
    least, most = budgets(model)
    return min(max(budget, least), most)


def no_budget(model: str) -> int:
    """The budget that comes closest to no thinking: only 2.5-pro has to think."""
    return PRO_BUDGETS[0] if budgets(model) == PRO_BUDGETS else 0


def draws(context: Context) -> bool:
    """True for the models that answer with images."""
    names = context.prefixed("gemini.supported_imagine_models", IMAGINE_MODELS)
    return context.model.removeprefix("models/") in names


def takes_ids(context: Context) -> bool:
    """True when calls and responses may carry ids; Vertex refuses them."""
    return context.provider_type != channels.VERTEX


def mixes_tools(context: Context) -> bool:
    """True when Google's own tools may stand beside functions."""
    return is_third(context)


def wants_placeholder(context: Context) -> bool:
    """True when a call without its signature gets the documented placeholder."""
    allowed = context.options.get("gemini.function_call_thought_signature_enabled")
    return is_third(context) and allowed is not False
