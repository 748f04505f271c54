"""The prices that ship with the gateway: `model-ratios.csv`, one model a row.

An empty cell means that the table has no entry of that kind for the model. The last
rows are names that older generations shipped. The column `completion_ratio` is what the
rules of `pricing.rules` give; it is there to be compared with, and is no default entry.
Source: billing specification, section 2.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType


@cache
def shipped(column: str) -> Mapping[str, str]:
    """Model to decimal text for one column, in the file's order, empty cells left out.

    Raises:
        KeyError: there is no such column.
    """
    text = files(__name__).joinpath("model-ratios.csv").read_text("utf-8")
    rows = csv.DictReader(text.splitlines())
    return MappingProxyType({row["model"]: row[column] for row in rows if row[column]})
