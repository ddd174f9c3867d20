"""Writes seeded Parquet files with pyarrow, and what pyarrow reads from them.

usage: oracle.py FOLDER CASES [FILE ...]

For every case there is a Parquet file, and a line of cases.jsonl that says what
is asked of it; the answer of pyarrow is an Arrow stream beside it. Files named
on the command line are read whole.
"""

import datetime as dt
import decimal
import json
import math
import pathlib
import random
import sys
import uuid

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

WORDS = ["", "a", "b", "de", "zh-cn", "en", "é", "zzz", "the quick brown fox", "x" * 300]


def some(rng: random.Random, make, nulls: float = 0.15):
    return None if rng.random() < nulls else make()


def leaf_types(rng: random.Random):
    utc = dt.timezone.utc
    day = lambda: dt.date(2020, 1, 1) + dt.timedelta(days=rng.randint(-30000, 30000))
    when = lambda: dt.datetime(2024, 1, 1) + dt.timedelta(microseconds=rng.randint(-(10**15), 10**15))
    digits = lambda p: decimal.Decimal(rng.randint(-(10**p) + 1, 10**p - 1))
    whole = lambda bits, signed: (
        lambda: rng.choice([0, 1, rng.randint(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)]) if signed else rng.choice([0, 1, rng.randint(0, 2**bits - 1), 2**bits - 1])
    )
    reals = [0.0, -0.0, 1.5, -2.25, 1e30, -1e30, math.inf, -math.inf]
    real = lambda: rng.choice([*reals, rng.uniform(-100, 100)])
    return {
        "int8": (pa.int8(), whole(8, True)),
        "int16": (pa.int16(), whole(16, True)),
        "int32": (pa.int32(), whole(32, True)),
        "int64": (pa.int64(), whole(64, True)),
        "uint8": (pa.uint8(), whole(8, False)),
        "uint16": (pa.uint16(), whole(16, False)),
        "uint32": (pa.uint32(), whole(32, False)),
        "uint64": (pa.uint64(), whole(64, False)),
        "float16": (pa.float16(), lambda: rng.choice([0.0, 1.5, -2.25, 100.0])),
        "float32": (pa.float32(), lambda: rng.choice([0.0, -0.0, 1.5, -2.25, 1e10, math.inf])),
        "float64": (pa.float64(), real),
        "nanny": (pa.float64(), lambda: rng.choice([math.nan, 1.0, -1.0])),
        "bool": (pa.bool_(), lambda: rng.random() < 0.5),
        "string": (pa.string(), lambda: rng.choice(WORDS)),
        "large_string": (pa.large_string(), lambda: rng.choice(WORDS)),
        "binary": (pa.binary(), lambda: rng.choice(WORDS).encode()),
        "large_binary": (pa.large_binary(), lambda: rng.choice(WORDS).encode()),
        "fixed": (pa.binary(5), lambda: bytes(rng.randint(0, 255) for _ in range(5))),
        "dictionary": (pa.dictionary(pa.int8(), pa.string()), lambda: rng.choice(WORDS)),
        "date32": (pa.date32(), day),
        "date64": (pa.date64(), day),
        "time_s": (pa.time32("s"), lambda: dt.time(rng.randint(0, 23), rng.randint(0, 59))),
        "time_ms": (pa.time32("ms"), lambda: dt.time(rng.randint(0, 23), rng.randint(0, 59), 1, 5000)),
        "time_us": (pa.time64("us"), lambda: dt.time(rng.randint(0, 23), 1, 2, rng.randint(0, 999999))),
        "time_ns": (pa.time64("ns"), lambda: dt.time(rng.randint(0, 23), 1, 2, rng.randint(0, 999999))),
        "ts_s": (pa.timestamp("s"), lambda: when().replace(microsecond=0)),
        "ts_ms": (pa.timestamp("ms"), lambda: when().replace(microsecond=0)),
        "ts_us": (pa.timestamp("us"), when),
        "ts_ns": (pa.timestamp("ns"), when),
        "ts_utc": (pa.timestamp("us", "UTC"), lambda: when().replace(tzinfo=utc)),
        "ts_zone": (pa.timestamp("ns", "Europe/Berlin"), lambda: when().replace(tzinfo=utc)),
        "ts_s_zone": (pa.timestamp("s", "+02:00"), lambda: when().replace(microsecond=0, tzinfo=utc)),
        "duration": (pa.duration("us"), lambda: dt.timedelta(microseconds=rng.randint(-(10**12), 10**12))),
        "duration_s": (pa.duration("s"), lambda: dt.timedelta(seconds=rng.randint(-(10**6), 10**6))),
        "dec5": (pa.decimal128(5, 2), lambda: digits(5).scaleb(-2)),
        "dec18": (pa.decimal128(18, 4), lambda: digits(18).scaleb(-4)),
        "dec38": (pa.decimal128(38, 10), lambda: digits(28)),
        "dec256": (pa.decimal256(60, 5), lambda: digits(40)),
        "dec256_small": (pa.decimal256(20, 5), lambda: digits(12)),
        "null": (pa.null(), lambda: None),
        "uuid": (pa.uuid(), lambda: uuid.UUID(int=rng.getrandbits(128)).bytes),
        "json": (pa.json_(), lambda: json.dumps({"a": rng.randint(0, 9)})),
    }


FILTERABLE = {
    "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "float32", "float64", "bool", "string", "large_string", "dictionary",
}  # fmt: skip


def nested(rng: random.Random, leaves, depth: int = 0):
    """A random type and a maker of its values."""
    kind = rng.choice(["leaf", "leaf", "struct", "list", "large_list", "fixed_list", "map"] if depth < 3 else ["leaf"])
    if kind == "leaf":
        return leaves[rng.choice([k for k in leaves if k not in ("uuid", "json", "dictionary", "null")])]
    if kind == "struct":
        kids = {f"f{i}": nested(rng, leaves, depth + 1) for i in range(rng.randint(1, 3))}
        typ = pa.struct([pa.field(k, t) for k, (t, _) in kids.items()])
        return typ, lambda: {k: some(rng, m) for k, (_, m) in kids.items()}
    if kind == "map":
        t, m = nested(rng, leaves, depth + 1)
        return pa.map_(pa.string(), t), lambda: [(f"k{i}", some(rng, m)) for i in range(rng.randint(0, 3))]
    t, m = nested(rng, leaves, depth + 1)
    if kind == "fixed_list":
        return pa.list_(t, 2), lambda: [some(rng, m), some(rng, m)]
    make = lambda: [some(rng, m) for _ in range(rng.choice([0, 0, 1, 2, 5]))]
    return (pa.list_(t) if kind == "list" else pa.large_list(t)), make


def column(typ, values):
    if isinstance(typ, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(typ, pa.array(values, typ.storage_type))
    if pa.types.is_float16(typ):
        import numpy as np

        return pa.array([None if v is None else np.float16(v) for v in values], typ)
    return pa.array(values, typ)


def literal(v):
    if isinstance(v, float) and (math.isinf(v) or math.isnan(v) or str(v) == "-0.0"):
        return {"$f": {"inf": "inf", "-inf": "-inf", "nan": "nan", "-0.0": "-0.0"}[str(v)]}
    return v


def plain(table: pa.Table) -> pa.Table:
    """Dictionaries decoded, extensions as their storage, one chunk."""
    cols, fields = [], []
    for f, c in zip(table.schema, table.columns):
        if pa.types.is_dictionary(f.type):
            c = c.cast(f.type.value_type)
        if isinstance(f.type, pa.BaseExtensionType):
            c = pa.chunked_array([x.storage for x in c.chunks], f.type.storage_type)
        cols.append(c)
        fields.append(pa.field(f.name, c.type))
    if not cols:
        return table
    return pa.table(cols, schema=pa.schema(fields)).combine_chunks()


def save(table: pa.Table, path: pathlib.Path) -> None:
    with pa.ipc.new_stream(path, table.schema) as out:
        out.write_table(table)


def make(seed: int, folder: pathlib.Path) -> dict:
    rng = random.Random(seed)
    leaves = leaf_types(rng)
    names = rng.sample(list(leaves), rng.randint(2, 9))
    rows = rng.choice([0, 1, 7, 100, 1500])
    nulls = rng.choice([0.0, 0.15, 0.9])
    kinds = {n: leaves[n] for n in names}
    for i in range(rng.randint(0, 3)):
        kinds[f"n{i}"] = nested(rng, leaves)
    ordered = rng.random() < 0.5
    cols = {}
    for n, (typ, maker) in kinds.items():
        values = [some(rng, maker, nulls) for _ in range(rows)]
        if ordered and n in FILTERABLE:
            values.sort(key=lambda v: (v is None, v))
        cols[n] = column(typ, values)
    table = pa.table(cols)
    path = folder / f"{seed}.parquet"
    kwargs = {}
    if rng.random() < 0.3:
        kwargs["store_schema"] = False
    if rng.random() < 0.3:
        kwargs["use_dictionary"] = False
    if rng.random() < 0.2:
        kwargs["write_statistics"] = False
    if rng.random() < 0.2:
        kwargs["use_deprecated_int96_timestamps"] = True
    try:
        pq.write_table(
            table, path, row_group_size=rng.choice([1, 10, 333, 100000]), compression=rng.choice(["snappy", "zstd", "gzip", "none", "lz4", "brotli"]),
            data_page_version=rng.choice(["1.0", "2.0"]), data_page_size=rng.choice([100, 1 << 20]), write_page_checksum=rng.random() < 0.5,
            write_page_index=rng.random() < 0.5, store_decimal_as_integer=rng.random() < 0.3, **kwargs,
        )  # fmt: skip
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid) as err:
        return {"seed": seed, "skip": f"not writable: {err}"}
    case = {"seed": seed, "file": path.name, "expect": f"{seed}.arrows"}
    mode = rng.choice(["all", "columns", "filter", "filter"])
    usable = [n for n in names if n in FILTERABLE]
    try:
        if mode == "filter" and usable and rows:
            dnf = []
            for _ in range(rng.randint(1, 2)):
                term = []
                for _ in range(rng.randint(1, 2)):
                    n = rng.choice(usable)
                    pool = [v for v in cols[n].to_pylist() if v is not None] or ([""] if "string" in n or n == "dictionary" else [1])
                    op = rng.choice(["=", "==", "!=", "<", "<=", ">", ">=", "in", "not in"])
                    if n == "bool" and op not in ("=", "!="):
                        op = "="
                    value = rng.sample(pool, min(len(pool), rng.randint(1, 3))) if "in" in op else rng.choice(pool)
                    if n.startswith("float") and "in" in op:
                        value = [v for v in value if v != 0] or [1.0]
                    term.append((n, op, value))
                dnf.append(term)
            case["filters"] = [[[n, op, [literal(x) for x in v] if isinstance(v, list) else literal(v)] for n, op, v in t] for t in dnf]
            expr = pq.filters_to_expression(dnf)
            whole = pq.ParquetFile(path).read()
            whole = pa.table([c.cast(c.type.value_type) if pa.types.is_dictionary(c.type) else c for c in whole.columns], names=whole.column_names)
            mask = pc.fill_null(pc.is_in(pa.nulls(0, pa.int8()), pa.array([1], pa.int8())), False)
            # Row by row, not through pyarrow's own pruning, which loses rows.
            import pyarrow.acero as acero

            keep = acero.Declaration.from_sequence([
                acero.Declaration("table_source", acero.TableSourceNodeOptions(whole.append_column("__row", pa.array(range(rows), pa.int64())))),
                acero.Declaration("filter", acero.FilterNodeOptions(expr)),
                acero.Declaration("project", acero.ProjectNodeOptions([pc.field("__row")], ["__row"])),
            ]).to_table(use_threads=False)
            out = pq.ParquetFile(path).read().take(keep["__row"])
            del mask
        elif mode == "columns":
            chosen = rng.sample(list(kinds), rng.randint(1, len(kinds)))
            case["columns"] = chosen
            out = pq.ParquetFile(path).read().select(chosen)
        else:
            out = pq.ParquetFile(path).read()
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as err:
        return {"seed": seed, "skip": f"pyarrow: {err}"}
    save(plain(out), folder / case["expect"])
    return case


def whole(path: pathlib.Path, folder: pathlib.Path, n: int) -> dict:
    case = {"seed": -1 - n, "file": str(path), "expect": f"whole{n}.arrows"}
    try:
        save(plain(pq.ParquetFile(path).read()), folder / case["expect"])
    except Exception as err:  # noqa: BLE001
        return {**case, "skip": f"pyarrow: {err}"}
    return case


def main() -> None:
    folder, count = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    with open(folder / "cases.jsonl", "w") as out:
        for seed in range(count):
            out.write(json.dumps(make(seed, folder)) + "\n")
        for n, name in enumerate(sys.argv[3:]):
            out.write(json.dumps(whole(pathlib.Path(name), folder, n)) + "\n")


if __name__ == "__main__":
    main()
