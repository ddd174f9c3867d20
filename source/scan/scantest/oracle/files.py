"""Seeded Parquet files, written by pyarrow with everything that its writer can vary."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import kinds
import pyarrow as pa
import pyarrow.parquet as pq

CODECS = ["snappy", "zstd", "gzip", "none", "lz4", "brotli"]
SORTABLE = (int, float, str, bytes, bool)


def table(rng: random.Random, most_rows: int, without: tuple[str, ...] = (), nested: int = 2) -> pa.Table:
    """A table of random types; the column `row` counts, wherever it stands. Kinds that begin like one of without are left out."""
    leaves = {n: k for n, k in kinds.leaves(rng).items() if not n.startswith(without)} if without else kinds.leaves(rng)
    rows = min(most_rows, rng.choice([0, 1, 7, 60, 60, 200, 200, 500, 1500]))
    chosen = {n: leaves[n] for n in rng.sample(list(leaves), rng.randint(2, 9))}
    for i in range(min(nested, rng.choice([0, 1, 1, 2]))):
        chosen[f"n{i}"] = kinds.nested(rng, leaves)
    if rng.random() < 0.4:  # a struct of flat leaves: paths that filters may name
        inner = rng.sample([n for n in leaves if not isinstance(leaves[n].type, pa.BaseExtensionType | pa.DictionaryType) and n != "null"], 3)
        chosen["st"] = kinds.Kind(pa.struct([pa.field(n, leaves[n].type) for n in inner]), lambda: {n: kinds.some(rng, leaves[n].make) for n in inner})
    names, arrays, fields = list(chosen), [], []
    names.insert(rng.randint(0, len(names)), "row")
    for name in names:
        if name == "row":
            arrays.append(pa.array(range(rows), pa.int64()))
            fields.append(pa.field("row", pa.int64(), nullable=rng.random() < 0.5))
            continue
        values = cells(rng, chosen[name], rows)
        arrays.append(kinds.column(chosen[name].type, values))
        required = None not in values and chosen[name].type != pa.null() and rng.random() < 0.3
        fields.append(pa.field(name, chosen[name].type, nullable=not required))
    return pa.table(arrays, schema=pa.schema(fields))


def cells(rng: random.Random, kind: kinds.Kind, rows: int) -> list[Any]:
    """A column's values: scattered, few, in runs, sorted, or all null."""
    nulls = rng.choice([0.0, 0.0, 0.1, 0.5, 0.95])
    shape = rng.choice(["any", "any", "few", "runs", "sorted", "sorted", "sorted", "void", "one"])
    if shape == "void":
        return [None] * rows
    if shape == "one":
        value = kind.make()
        return [None if rng.random() < nulls else value for _ in range(rows)]
    if shape in ("few", "runs"):
        pool = [kind.make() for _ in range(4)]
        if shape == "few":
            return [kinds.some(rng, lambda: rng.choice(pool), nulls) for _ in range(rows)]
        return [kinds.some(rng, lambda i=i: pool[i * 4 // max(rows, 1)], nulls / 4) for i in range(rows)]
    values = [kinds.some(rng, kind.make, nulls) for _ in range(rows)]
    if shape == "sorted" and all(v is None or isinstance(v, SORTABLE) for v in values):
        values.sort(key=lambda v: (v is None, v))
    return values


def settings(rng: random.Random, tab: pa.Table) -> dict[str, Any]:
    """Options of pyarrow's writer."""
    flat = [f for f in tab.schema if f.type.num_fields == 0 and not isinstance(f.type, pa.BaseExtensionType)]
    out: dict[str, Any] = {
        "compression": rng.choice(CODECS),
        "data_page_version": rng.choice(["1.0", "2.0"]),
        "data_page_size": rng.choice([64, 1000, 1 << 20]),
        "write_batch_size": rng.choice([3, 64, 1024]),
        "write_page_index": rng.random() < 0.6,
        "write_page_checksum": rng.random() < 0.4,
        "write_statistics": rng.choice([True, True, True, False]),
        "store_schema": rng.random() < 0.7,
        "store_decimal_as_integer": rng.random() < 0.4,
        "use_dictionary": rng.choice([True, True, False]),
        "dictionary_pagesize_limit": rng.choice([40, 1 << 20]),
        "version": rng.choice(["2.6", "2.6", "2.4"]),
    }
    if rng.random() < 0.15:
        out["compression"] = {f.name: rng.choice(CODECS) for f in flat}
    if rng.random() < 0.3:
        out["max_rows_per_page"] = rng.choice([1, 7, 50])
    if rng.random() < 0.15:
        out["use_deprecated_int96_timestamps"] = True
    if rng.random() < 0.1:
        out["write_statistics"] = [f.name for f in flat if rng.random() < 0.5]
    if rng.random() < 0.5:
        blooms = {f.name: {"ndv": rng.choice([2, 100, 1000]), "fpp": rng.choice([0.01, 0.5])} for f in flat if bloomable(f.type) and rng.random() < 0.7}
        out["bloom_filter_options"] = blooms or None
    if not out["use_dictionary"]:
        encodings = {f.name: e for f in flat if (e := encoding(rng, f.type))}
        out["column_encoding"] = encodings or None
    return out


def bloomable(kind: pa.DataType) -> bool:
    return not (pa.types.is_boolean(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind) or pa.types.is_float16(kind))


def encoding(rng: random.Random, kind: pa.DataType) -> str | None:
    if pa.types.is_boolean(kind):
        return rng.choice([None, "RLE", "PLAIN"])
    if pa.types.is_string(kind) or pa.types.is_binary(kind) or pa.types.is_large_string(kind) or pa.types.is_large_binary(kind):
        return rng.choice([None, "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "PLAIN"])
    if pa.types.is_fixed_size_binary(kind) or pa.types.is_float16(kind):
        return rng.choice([None, "BYTE_STREAM_SPLIT", "DELTA_BYTE_ARRAY"])
    if pa.types.is_floating(kind):
        return rng.choice([None, "BYTE_STREAM_SPLIT"])
    if pa.types.is_integer(kind) or pa.types.is_temporal(kind):
        return rng.choice([None, "DELTA_BINARY_PACKED", "BYTE_STREAM_SPLIT"])
    return None


def write(rng: random.Random, tab: pa.Table, path: Path, **fixed: Any) -> None:
    """Writes the table in row groups of very different sizes, some of them empty."""
    try:
        put(rng, tab, path, {**settings(rng, tab), **fixed})
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, OSError):
        # Some combinations pyarrow refuses (an encoding for a width, nanoseconds for an old version, slices of views): the plain way, then.
        pq.write_table(tab, path)


def put(rng: random.Random, tab: pa.Table, path: Path, options: dict[str, Any]) -> None:
    with pq.ParquetWriter(path, tab.schema, **options) as out:
        if rng.random() < 0.5 or tab.num_rows == 0:
            out.write_table(tab, row_group_size=rng.choice([1, 10, 100, 333, 100_000]) if tab.num_rows < 300 else rng.choice([100, 333, 100_000]))
            return
        at = 0
        while at < tab.num_rows:
            n = rng.choice([0, 1, 5, 40, 200, 1000])
            out.write_table(tab.slice(at, n))
            at += n
