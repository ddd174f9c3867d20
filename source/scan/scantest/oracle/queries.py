"""What is asked of a file: filters in the wire's form and as pyarrow takes them, projections, and pyarrow's answer."""

from __future__ import annotations

import base64
import contextlib
import datetime as dt
import functools
import math
import operator
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

PER = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}


def retype(t: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """A type with another one for each of its leaves; list views become lists."""
    if isinstance(t, pa.BaseExtensionType):
        return retype(t.storage_type, leaf)
    if pa.types.is_dictionary(t):
        return leaf(t.value_type)
    if pa.types.is_struct(t):
        return pa.struct([f.with_type(retype(f.type, leaf)) for f in t])
    if pa.types.is_map(t):
        return pa.map_(retype(t.key_type, leaf), t.item_field.with_type(retype(t.item_type, leaf)), t.keys_sorted)
    if pa.types.is_list(t) or pa.types.is_list_view(t):
        return pa.list_(t.value_field.with_type(retype(t.value_type, leaf)))
    if pa.types.is_large_list(t):
        return pa.large_list(t.value_field.with_type(retype(t.value_type, leaf)))
    if pa.types.is_fixed_size_list(t):
        return pa.list_(t.value_field.with_type(retype(t.value_type, leaf)), t.list_size)
    return leaf(t)


def rebuild(a: pa.Array, t: pa.DataType, leaf: Callable[[pa.Array, pa.DataType], pa.Array]) -> pa.Array:
    """The same values in a type of the same nesting; leaf converts what has none."""
    if isinstance(a, pa.ExtensionArray):
        a = a.storage
    if pa.types.is_dictionary(a.type):
        a = a.dictionary_decode()
    if a.type == t:
        return a
    if pa.types.is_struct(t):
        children = [rebuild(a.field(i), f.type, leaf) for i, f in enumerate(t)]
        return pa.StructArray.from_arrays(children, fields=list(t), mask=a.is_null())
    if pa.types.is_map(t):
        entries = rebuild(a.keys, t.key_type, leaf), rebuild(a.items, t.item_type, leaf)
        return pa.MapArray.from_arrays(a.offsets, *entries, type=t, mask=a.is_null())
    if pa.types.is_list_view(a.type):
        # What was read from a file lies in order; a null list has no offset of its own.
        ends = np.append([0], np.cumsum(a.sizes.to_numpy()))
        values = rebuild(a.values, t.value_type, leaf)
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values, type=t, mask=a.is_null())
    if pa.types.is_fixed_size_list(t):
        values = rebuild(a.values.slice(a.offset * t.list_size, len(a) * t.list_size), t.value_type, leaf)
        return pa.FixedSizeListArray.from_arrays(values, type=t, mask=a.is_null())
    if pa.types.is_list(t) or pa.types.is_large_list(t):
        if pa.types.is_fixed_size_list(a.type):
            a = a.cast(pa.list_(a.type.value_field))
        of = pa.ListArray if pa.types.is_list(t) else pa.LargeListArray
        offsets = a.offsets.cast(pa.int32() if pa.types.is_list(t) else pa.int64())
        return of.from_arrays(offsets, rebuild(a.values, t.value_type, leaf), type=t, mask=a.is_null())
    return leaf(a, t)


def plain_leaf(t: pa.DataType) -> pa.DataType:
    if pa.types.is_string_view(t):
        return pa.string()
    if pa.types.is_binary_view(t):
        return pa.binary()
    if pa.types.is_decimal32(t) or pa.types.is_decimal64(t):
        return pa.decimal128(t.precision, t.scale)
    return t


def plain(table: pa.Table) -> pa.Table:
    """Dictionaries decoded, extensions as their storage, views and short decimals in the form that every client knows."""
    return converted(table, plain_leaf, lambda a, t: a.cast(t))


def converted(table: pa.Table, retyped: Callable[[pa.DataType], pa.DataType], leaf: Callable[[pa.Array, pa.DataType], pa.Array]) -> pa.Table:
    """A table of one chunk in other types."""
    table = table.combine_chunks()
    fields = [f.with_type(retype(f.type, retyped)) for f in table.schema]
    arrays = [rebuild(c.chunk(0) if c.num_chunks else pa.nulls(0, c.type), f.type, leaf) for c, f in zip(table.columns, fields, strict=True)]
    if not arrays:
        return table
    return pa.table(arrays, schema=pa.schema(fields, table.schema.metadata))


# ---- literals: (the wire's JSON, what pyarrow gets)

Pair = tuple[Any, Any]


def number(v: float) -> Pair:
    if math.isnan(v) or math.isinf(v) or (v == 0 and math.copysign(1, v) < 0):
        return {"$f": {"nan": "nan", "inf": "inf", "-inf": "-inf"}.get(str(v), "-0.0")}, v
    return v, v


def moment(rng: random.Random, value: int, t: pa.DataType) -> Pair:
    """A timestamp or date, near value, as text for the wire and as a scalar for pyarrow."""
    if pa.types.is_date(t):
        day = value if pa.types.is_date32(t) else value // 86_400_000
        text = (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
        return rng.choice([text, {"$date": text}]), pa.scalar(day, pa.date32())
    per = PER[t.unit]
    seconds, rest = divmod(value, per)
    text = (dt.datetime(1970, 1, 1) + dt.timedelta(seconds=seconds)).isoformat()
    if rest:
        text += "." + f"{rest * (10**9 // per):09d}".rstrip("0")
    if t.tz is not None:
        text += "Z"
    return rng.choice([text, {"$ts": text}]), pa.scalar(value, t)


def clock(rng: random.Random, value: int, t: pa.DataType) -> Pair:
    per = PER[t.unit]
    seconds, rest = divmod(value, per)
    text = f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    if rest:
        text += "." + f"{rest * (10**9 // per):09d}".rstrip("0")
    return rng.choice([text, {"$time": text}]), pa.scalar(value, t)


def exact(rng: random.Random, v: Decimal, tagged: bool = False) -> Pair:
    text = format(v, "f")
    return {"$dec": text} if tagged or rng.random() < 0.6 else text, v


def literal(rng: random.Random, t: pa.DataType, near: Any, own: bool = False) -> Pair:
    """A literal that a column of type t can be compared with; near is one of its values, as Python or as stored integer.

    own asks for one of the column's own sort: pyarrow takes no lists of mixed sorts.
    """
    if pa.types.is_boolean(t):
        v = rng.random() < 0.5
        return v, v
    if pa.types.is_integer(t):
        bits, signed = t.bit_width, pa.types.is_signed_integer(t)
        v = near if near is not None and rng.random() < 0.7 else rng.choice([0, -1, 300, 2**24 + 1, 2**53 + 1, 2**63 - 1, 2**63, -(2**63), 2**bits - 1, 2 ** (bits - signed) - 1])
        v += rng.choice([0, 0, 0, 1, -1])
        if own or rng.random() < 0.8:
            v = max(-(2**63), min(2**63 - 1, v))
        kind = 0.0 if own else rng.random()
        if kind < 0.75:
            return v, v
        if kind < 0.95:
            return number(rng.choice([float(v), float(v) + 0.5, 0.1, 1e30, math.nan, math.inf, -0.0]))
        return exact(rng, Decimal(v) + rng.choice([Decimal(0), Decimal("0.5")]), tagged=True)
    if pa.types.is_floating(t):
        v = near if near is not None and rng.random() < 0.6 else rng.choice([0.0, -0.0, math.nan, math.inf, -math.inf, 0.1, 0.99, 2.0, 1e308, 5e-324, 16777217.0])
        v = float(v)
        if v == v and rng.random() < 0.1:
            v = math.nextafter(v, 0)
        if v == v and not math.isinf(v) and not own and rng.random() < 0.15:
            return int(v), int(v)
        return number(v)
    if pa.types.is_decimal(t):
        unit = Decimal((0, (1,), -t.scale))
        v = near if near is not None and rng.random() < 0.8 else rng.choice([Decimal(0), Decimal("1.50"), Decimal("-0.005"), Decimal(10) ** (t.precision - t.scale)])
        kind = 0.0 if own else rng.random()
        if kind < 0.65:
            return exact(rng, v + rng.choice([0, 0, 0, 1, -1]) * unit if len(v.as_tuple().digits) < 27 else v)
        if kind < 0.85:
            return int(v), int(v)
        return number(float(v)) if abs(v) < 10**15 else (int(v), int(v))
    if pa.types.is_date(t) or pa.types.is_timestamp(t):
        per = 1 if pa.types.is_date(t) else PER[t.unit]
        if pa.types.is_date64(t):
            per = 86_400_000
        v = near if near is not None and rng.random() < 0.8 else rng.choice([0, -per, 1_704_067_200 * per if pa.types.is_timestamp(t) else 19_723 * per])
        return moment(rng, v + rng.choice([0, 0, 0, per, -per, 1 if pa.types.is_timestamp(t) else per]), t)
    if pa.types.is_time(t):
        top = 86_400 * PER[t.unit]
        return clock(rng, (near if near is not None else 0) % top, t)
    if is_text(t):
        v = near if near is not None and rng.random() < 0.7 else rng.choice(["", "a", "b", "zzz", "\x00", "é", "y" * 64])
        v = v + rng.choice(["", "", "", "\x00", "a"])
        if rng.random() < 0.1:
            return {"$bin": base64.b64encode(v.encode()).decode()}, v.encode()
        return v, v
    if is_bytes(t):
        v = near if near is not None and rng.random() < 0.8 else rng.choice([b"", b"a", b"\xff", b"aa"])
        return {"$bin": base64.b64encode(v).decode()}, v
    raise TypeError(t)


def is_text(t: pa.DataType) -> bool:
    return pa.types.is_string(t) or pa.types.is_large_string(t)


def is_bytes(t: pa.DataType) -> bool:
    return pa.types.is_binary(t) or pa.types.is_large_binary(t) or pa.types.is_fixed_size_binary(t)


def comparable(t: pa.DataType) -> bool:
    return not (pa.types.is_nested(t) or pa.types.is_null(t) or pa.types.is_duration(t))


# ---- filters


class Column:
    """A filterable place: a top-level column, or a field below structs; with its values."""

    def __init__(self, path: list[str], array: pa.Array) -> None:
        self.path, self.type = path, array.type
        t = array.type
        if pa.types.is_temporal(t) and comparable(t):
            # As stored integers: Python's own types know no nanoseconds.
            array = array.view(pa.int32() if t.bit_width == 32 else pa.int64())
        values = array.drop_null()
        self.values = [] if not comparable(t) else values.to_pylist()

    def near(self, rng: random.Random) -> Any:
        return rng.choice(self.values) if self.values else None


def columns(table: pa.Table) -> list[Column]:
    out = []

    def walk(path: list[str], a: pa.Array) -> None:
        out.append(Column(path, a))
        if pa.types.is_struct(a.type):
            for f, child in zip(a.type, a.flatten(), strict=True):
                walk([*path, f.name], child)

    for name, c in zip(table.column_names, table.columns, strict=True):
        walk([name], c.chunk(0) if c.num_chunks else pa.nulls(0, c.type))
    return out


Term = tuple[list[Any], tuple[Any, str, Any]]


def term(rng: random.Random, c: Column) -> Term:
    """One condition: the wire's form, and the triple for pyarrow."""
    name: Any = c.path[0] if len(c.path) == 1 else list(c.path)
    ref: Any = c.path[0] if len(c.path) == 1 else tuple(c.path)
    ops = ["=", "==", "!=", "<", "<=", ">", ">="] * 2 + ["in", "not in"] * 4 + ["is null", "is not null"]
    op = rng.choice(ops) if comparable(c.type) else rng.choice(["is null", "is not null"])
    if is_text(c.type) and rng.random() < 0.12:
        prefix = (c.near(rng) or "a")[: rng.randint(0, 3)]
        return [name, "starts_with", prefix], (ref, "starts_with", prefix)
    if op in ("is null", "is not null"):
        return [name, op], (ref, op, None)
    if op in ("in", "not in"):
        own = rng.random() < 0.85
        items = [literal(rng, c.type, c.near(rng), own) for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 60]))]
        if rng.random() < 0.25:
            items.insert(rng.randint(0, len(items)), (None, None))
        values = [v for _, v in items]
        if items and own and (pa.types.is_decimal(c.type) or is_text(c.type) or is_bytes(c.type)):
            # Typed: pyarrow guesses a decimal's type from the first item only, and gives up on a list of nothing but None.
            with contextlib.suppress(pa.ArrowException):
                values = pa.array(values, c.type)
        return [name, op, [w for w, _ in items]], (ref, op, values)
    if op in ("=", "!=") and rng.random() < 0.05:
        return [name, op, None], (ref, op, None)
    wire, value = literal(rng, c.type, c.near(rng))
    return [name, op, wire], (ref, op, value)


def expression(t: tuple[Any, str, Any]) -> ds.Expression:
    """A triple as pyarrow understands it; the wire's own operators as the functions they stand for."""
    ref, op, value = t
    field = pc.field(*ref) if isinstance(ref, tuple) else pc.field(ref)
    if op == "is null":
        return field.is_null()
    if op == "is not null":
        return field.is_valid()
    if op == "starts_with":
        return pc.starts_with(field, value)
    return pq.filters_to_expression([[t]])


def strange(t: pa.DataType) -> bool:
    """Types for which pyarrow's comparison has no kernel at all."""
    views = pa.types.is_string_view(t) or pa.types.is_binary_view(t)
    return views or isinstance(t, pa.BaseExtensionType) or pa.types.is_float16(t)


def dnf(rng: random.Random, cols: list[Column]) -> tuple[list[Any], Callable[[], ds.Expression]]:
    """A filter as the wire has it, and what makes pyarrow's expression of it, which may already fail."""
    wire, ors = [], []
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        terms = [term(rng, rng.choice(cols)) for _ in range(rng.choice([1, 1, 2, 3]))]
        wire.append([w for w, _ in terms])
        ors.append([v for _, v in terms])

    def make() -> ds.Expression:
        if all(t[1] not in ("is null", "is not null", "starts_with") for a in ors for t in a):
            return pq.filters_to_expression(ors)
        ands = [functools.reduce(operator.and_, map(expression, a)) for a in ors]
        return functools.reduce(operator.or_, ands)

    return wire, make


# ---- projections


def below(t: pa.DataType) -> list[pa.Field]:
    if pa.types.is_struct(t):
        return list(t)
    if pa.types.is_list(t) or pa.types.is_large_list(t) or pa.types.is_fixed_size_list(t):
        return below(t.value_type)
    return []


def projection(rng: random.Random, schema: pa.Schema) -> list[Any]:
    """Columns in any order, some of them paths through structs and lists."""
    out: list[Any] = []

    def pick(path: list[str], t: pa.DataType) -> None:
        kids = below(t)
        if not kids or rng.random() < 0.3:
            out.append(path[0] if len(path) == 1 else path if rng.random() < 0.5 else ".".join(path))
            return
        for f in rng.sample(kids, rng.randint(1, len(kids))):
            pick([*path, f.name], f.type)

    for f in rng.sample(list(schema), rng.randint(1, len(schema))):
        pick([f.name], f.type)
    rng.shuffle(out)
    return out


# ---- answers


def answer(path: Path, wire_filters: Any, make: Callable[[], ds.Expression]) -> dict[str, Any]:
    """The rows that pyarrow keeps, by its own reading of the file, or how it fails."""
    try:
        kept = pq.read_table(path, columns=["row"], filters=make(), use_threads=False)
    except Exception as err:  # noqa: BLE001  every way to fail is an answer
        return {"filters": wire_filters, "error": f"{type(err).__name__}: {err}"[:300]}
    return {"filters": wire_filters, "rows": kept["row"].to_pylist()}


def ask(rng: random.Random, table: pa.Table, path: Path, count: int) -> list[dict[str, Any]]:
    """count queries of a file: about one in five has no filter, one in two a projection."""
    cols = columns(table)
    # Mostly columns that can be compared, and that pyarrow has kernels for: most answers should say something.
    usable = [c for c in cols if comparable(c.type)]
    originals = {f.name: f.type for f in pq.read_schema(path)}
    easy = [c for c in usable if not strange(originals[c.path[0]])]
    out = []
    for i in range(count):
        query: dict[str, Any] = {}
        if i % 5 or i == 0:
            luck = rng.random()
            wire, make = dnf(rng, cols if luck < 0.1 else usable if luck < 0.25 else easy or usable)
            query = answer(path, wire, make)
        if rng.random() < 0.5:
            query["columns"] = projection(rng, table.schema)
        out.append(query)
    return out
