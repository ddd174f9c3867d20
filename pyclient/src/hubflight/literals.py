"""The texts that people write for `columns` and `filters`, and the literals of the wire contract.

A text is read as JSON if it is JSON, else as a Python literal (``[("lang", "=", "zh-cn")]``, which is also how Spark
passes on a list given to ``option``). Python text is parsed to a syntax tree of which only literals are accepted; it
is never evaluated. Sizes and depths are bounded, and errors say where.
"""

from __future__ import annotations

import ast
import base64
import datetime as dt
import decimal
import difflib
import json
import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from hubflight.errors import InvalidOption

__all__ = ["encode_columns", "encode_data_files", "encode_filters", "encode_value", "nearest", "parse_literal"]

MAX_TEXT = 64 * 1024  # bytes of an option's text; the server's bound for filters is the same
MAX_DEPTH = 16  # brackets inside brackets; filters need 4
MAX_DIGITS = 400  # of one integer: beyond any column type, and below Python's own limit

_COMPARISONS = ("=", "==", "!=", "<", "<=", ">", ">=", "starts_with")
_SETS = ("in", "not in")
_PAIRS = ("is null", "is not null")
_OPERATORS = _COMPARISONS + _SETS + _PAIRS


def nearest(name: str, known: Iterable[str]) -> str:
    """``: did you mean 'x'?`` for the closest of ``known``, or an empty text."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f": did you mean {found[0]!r}?" if found else ""


def parse_literal(text: str, what: str) -> Any:
    """The value that ``text`` writes, in JSON or in Python notation; ``what`` names the option in errors.

    Results consist of str, bytes, int, float, bool, None, list, tuple and dict with string keys.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_TEXT:
        raise InvalidOption(f"[invalid] {what}: the text is longer than {MAX_TEXT} bytes")
    text = text.strip()
    try:
        value = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_unique_keys, parse_int=_integer)
    except _RefusedLiteral as exc:
        raise InvalidOption(f"[invalid] {what}: {exc}") from None
    except (ValueError, RecursionError):
        return _parse_python(text, what)
    _check_depth(value, what)
    return value


class _RefusedLiteral(Exception):
    """Valid notation for something that is not accepted (its base is not ValueError, so that it is not retried)."""


def _no_constant(name: str) -> NoReturn:
    raise _RefusedLiteral(f'{name} is not accepted: write {{"$f": "nan"}}, {{"$f": "inf"}} or {{"$f": "-inf"}}')


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise _RefusedLiteral(f"an integer of {len(digits)} digits")
    return int(digits)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    out: dict[str, Any] = {}
    for key, value in pairs:
        if key in out:
            raise _RefusedLiteral(f"the key {key!r} appears twice")
        out[key] = value
    return out


def _check_depth(value: Any, what: str, depth: int = 0) -> None:
    if depth > MAX_DEPTH:
        raise InvalidOption(f"[invalid] {what}: nested deeper than {MAX_DEPTH}")
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_depth(item, what, depth + 1)
    elif isinstance(value, dict):
        for item in value.values():
            _check_depth(item, what, depth + 1)


def _parse_python(text: str, what: str) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\d" in a user's text is not our warning
            tree = ast.parse(text, mode="eval")
    except SyntaxError as exc:
        raise InvalidOption(
            f"[invalid] {what}: neither a Python literal nor JSON: {exc.msg} at line {exc.lineno}, column {exc.offset} "
            f"of {_clip(text)}"
        ) from None
    except (ValueError, MemoryError, RecursionError):
        raise InvalidOption(f"[invalid] {what}: neither a Python literal nor JSON: {_clip(text)}") from None
    return _literal(tree.body, what, 0)


_NAMES: dict[str, bool | None] = {"true": True, "false": False, "null": None}  # JSON's, inside Python notation


def _literal(node: ast.expr, what: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise InvalidOption(f"[invalid] {what}: nested deeper than {MAX_DEPTH}")
    match node:
        case ast.Constant(value=value) if value is None or isinstance(value, (str, bytes, bool, int, float)):
            return value
        case ast.Name(id=name) if name in _NAMES:
            return _NAMES[name]
        case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=ast.Constant(value=number)) if isinstance(
            number, (int, float)
        ) and not isinstance(number, bool):
            return -number if isinstance(sign, ast.USub) else number
        case ast.List(elts=items) | ast.Set(elts=items):
            return [_literal(item, what, depth + 1) for item in items]
        case ast.Tuple(elts=items):
            return tuple(_literal(item, what, depth + 1) for item in items)
        case ast.Dict(keys=keys, values=values):
            out: dict[str, Any] = {}
            for key, item in zip(keys, values, strict=True):
                if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                    raise InvalidOption(f"[invalid] {what}: the keys of an object are strings{_at(key or node)}")
                if key.value in out:
                    raise InvalidOption(f"[invalid] {what}: the key {key.value!r} appears twice{_at(key)}")
                out[key.value] = _literal(item, what, depth + 1)
            return out
        case _:
            raise InvalidOption(
                f"[invalid] {what}: only literals are accepted, not {type(node).__name__.lower()}{_at(node)}: strings "
                'need quotes; dates and decimals are written as strings ("2024-01-31", "1.50")'
            )


def _at(node: ast.expr) -> str:
    return f" at line {node.lineno}, column {node.col_offset + 1}"


def _clip(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else text[:limit] + "…"


def encode_columns(value: object) -> list[Any] | None:
    """`columns` as the wire has it: a list of names and paths; None for all columns.

    Accepts a text (Python or JSON list, one quoted name, or bare names ``text`` and ``a,b``) or a sequence of names
    and of paths. An empty list is refused: use `count` to count rows.
    """
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("[", "(", "'", '"'):
            value = parse_literal(text, "columns")
        else:
            value = [name.strip() for name in text.split(",")]
    if isinstance(value, str):
        value = [value]
    if not isinstance(value, Iterable) or isinstance(value, (bytes, Mapping)):
        raise InvalidOption(f"[invalid] columns: a list of column names is needed, not {_clip(value)}")
    out = [_column(item, f"columns, item {i}") for i, item in enumerate(value, 1)]
    if not out:
        raise InvalidOption(
            "[invalid] columns: the list is empty: name at least one column, or count rows with count()"
        )
    return out


def _column(value: object, where: str) -> Any:
    if isinstance(value, str):
        if value == "":
            raise InvalidOption(f"[invalid] {where}: the column name is empty")
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(part, str) and part for part in value):
        return list(value)
    raise InvalidOption(f"[invalid] {where}: a column is a name or a path (a list of names), not {_clip(value)}")


def encode_filters(value: object) -> list[list[Any]] | None:
    """`filters` as the wire has it, always as an OR of ANDs; None for no filter.

    Accepts a text or Python values, in pyarrow's shapes: one ``(column, op, value)``, a list of them (AND), or a list
    of such lists (OR). Values may be anything with a wire literal, see `encode_value`.
    """
    if value is None:
        return None
    if isinstance(value, str):
        value = parse_literal(value, "filters")
    if _is_term(value):
        value = [value]
    if not isinstance(value, (list, tuple)) or not value:
        raise InvalidOption(f'[invalid] filters: a list such as [("lang", "=", "en")] is needed, not {_clip(value)}')
    if _is_term(value[0]):
        value = [value]
    out = []
    for i, conjunction in enumerate(value, 1):
        if not isinstance(conjunction, (list, tuple)) or not conjunction or _is_term(conjunction):
            raise InvalidOption(
                f"[invalid] filters, conjunction {i}: a non-empty list of (column, op, value) is needed, not "
                f"{_clip(conjunction)}: filters are a list of triples (AND) or a list of lists of triples (OR of ANDs)"
            )
        out.append([_term(term, f"filters, conjunction {i}, term {j}") for j, term in enumerate(conjunction, 1)])
    return out


def _is_term(value: object) -> bool:
    """Whether this is meant as one comparison: a column, then a text."""
    return (
        isinstance(value, (list, tuple))
        and len(value) in (2, 3)
        and isinstance(value[1], str)
        and (isinstance(value[0], str) or (isinstance(value[0], (list, tuple)) and _all_strings(value[0])))
    )


def _all_strings(value: Iterable[object]) -> bool:
    return all(isinstance(item, str) for item in value)


def _term(term: object, where: str) -> list[Any]:
    if not isinstance(term, (list, tuple)) or not _is_term(term):
        raise InvalidOption(f"[invalid] {where}: (column, op, value) is needed, not {_clip(term)}")
    column, op = _column(term[0], where), term[1]
    if op not in _OPERATORS:
        hint = nearest(op, _OPERATORS) or ": one of " + ", ".join(_OPERATORS)
        raise InvalidOption(f"[invalid] {where}: unknown operator {_clip(op)}{hint}")
    if op in _PAIRS:
        if len(term) != 2:
            raise InvalidOption(f'[invalid] {where}: (column, "{op}") has no value')
        return [column, op]
    if len(term) != 3:
        raise InvalidOption(f"[invalid] {where}: (column, {op!r}, value) is needed; the value is missing")
    if op in _SETS:
        if isinstance(term[2], (str, bytes, Mapping)) or not isinstance(term[2], Iterable):
            raise InvalidOption(f"[invalid] {where}: {op!r} needs a list of values, not {_clip(term[2])}")
        return [column, op, [encode_value(item, where) for item in term[2]]]
    return [column, op, encode_value(term[2], where)]


def encode_value(value: Any, where: str = "value") -> Any:
    """One literal of wire.md §1, ready for `json.dumps`.

    None, bool, int (any size), finite float, str; Decimal, bytes, date, datetime, time, nan, the infinities and -0.0
    as one-key objects, which are also accepted ready-made; numpy, pandas and pyarrow scalars as what they hold.
    """
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, decimal.Decimal):
        if not value.is_finite():
            raise InvalidOption(f"[invalid] {where}: {value} is not a decimal number")
        return {"$dec": format(value, "f")}
    if isinstance(value, (bytes, bytearray, memoryview)):
        return {"$bin": base64.b64encode(bytes(value)).decode("ascii")}
    if isinstance(value, dt.datetime):  # pandas.Timestamp too, whose isoformat has nanoseconds
        return {"$ts": value.isoformat()}
    if isinstance(value, dt.date):
        return {"$date": value.isoformat()}
    if isinstance(value, dt.time):
        return {"$time": value.isoformat()}
    if isinstance(value, Mapping):
        return _tagged(value, where)
    return _foreign(value, where)


def _float(value: float) -> Any:
    if math.isnan(value):
        return {"$f": "nan"}
    if math.isinf(value):
        return {"$f": "inf" if value > 0 else "-inf"}
    if value == 0 and math.copysign(1, value) < 0:
        return {"$f": "-0.0"}
    return float(value)


_TAGS = ("$dec", "$f", "$bin", "$date", "$ts", "$time")


def _tagged(value: Mapping[Any, Any], where: str) -> dict[str, str]:
    if len(value) == 1:
        ((tag, text),) = value.items()
        if tag in _TAGS and isinstance(text, str):
            return {tag: text}
    raise InvalidOption(
        f"[invalid] {where}: {_clip(dict(value))} is not a literal: one of {', '.join(_TAGS)} with a text"
    )


def _foreign(value: Any, where: str) -> Any:
    """Scalars of numpy and pyarrow, recognised without importing either."""
    module = type(value).__module__.partition(".")[0]
    if module == "numpy" and type(value).__name__ == "datetime64":
        text = str(value)  # item() would give an integer for nanoseconds
        if text == "NaT":
            return None
        return {"$ts": text} if "T" in text else {"$date": text}
    if module == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return encode_value(value.item(), where)
    if module == "pyarrow" and hasattr(value, "as_py"):
        return encode_value(value.as_py(), where)
    raise InvalidOption(f"[invalid] {where}: a {type(value).__name__} cannot be compared with a column: {_clip(value)}")


def encode_data_files(value: object) -> Any:
    """`data_files` as the wire has it: a string, a list of strings, or an object split → string or list."""
    if isinstance(value, str) and value.strip()[:1] in ("[", "{", "(", "'", '"'):
        value = parse_literal(value, "data_files")
    if isinstance(value, str) and value:
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) and item for item in value):
        return list(value)
    if isinstance(value, Mapping) and value and _all_strings(value):
        if any(isinstance(files, Mapping) for files in value.values()):
            raise InvalidOption("[invalid] data_files: an object maps a split to a pattern or a list of patterns")
        return {split: encode_data_files(files) for split, files in value.items()}
    raise InvalidOption(
        "[invalid] data_files: a pattern, a list of patterns, or an object split → patterns is needed, "
        f"not {_clip(value)}"
    )
