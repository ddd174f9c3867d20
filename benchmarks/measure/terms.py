"""Filters of the wire for Python readers: triples joined by AND, in whatever language of expressions a reader has."""

from __future__ import annotations

import datetime
import functools
import operator
from collections.abc import Callable
from typing import Any

Terms = list[list[Any]]
"""``[column, operator, literal]``; a timestamp is ``{"$ts": "…"}``."""

_SIGNS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    ">": operator.gt,
    ">=": operator.ge,
    "<": operator.lt,
    "<=": operator.le,
}


def moment(literal: Any) -> Any:
    """A literal of the wire as Python has it."""
    if isinstance(literal, dict):
        return datetime.datetime.fromisoformat(literal["$ts"].replace("Z", "+00:00"))
    return literal


def expression(field: Callable[[str], Any], terms: Terms | None, scalar: Callable[[Any], Any] = lambda value: value) -> Any:
    """The terms over what ``field`` makes of a column's name and ``scalar`` of a value; ``None`` if there are none."""
    found = [_SIGNS[sign](field(column), scalar(moment(given))) for column, sign, given in terms or []]
    return functools.reduce(operator.and_, found) if found else None
