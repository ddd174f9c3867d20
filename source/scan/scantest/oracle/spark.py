"""Real Spark as the oracle of the spark profile and of SQL's logic: reads jobs from stdin as __main__.py does.

{"op": "spark", "seed": 7, "queries": 20, "folder": "…"}

A seeded file is read by Spark with its Parquet filter pushdown off, and every filter is computed as a column of truths. What
Spark cannot read from Parquet it gets in a second file, mapped by the table of types written down here; then the values that
it returns are the mapped ones.
"""

from __future__ import annotations

import json
import os
import random
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import files  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.compute as pc  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import queries  # noqa: E402
from pyspark.sql import DataFrame, SparkSession  # noqa: E402

# What Spark's Parquet reader refuses or reads as something else.
UNREADABLE = ("float16", "fixed", "time", "ts_ns", "ts_ns_zone", "duration", "null", "uuid", "dec256_60", "dec256_76", "dec128_38_38")
NEVER = ("duration", "null")  # no Parquet form that Spark reads as what the profile sends
UNITS = {"s": 10**6, "ms": 10**3, "us": 1}
COMPILED = 24  # expressions at a time: of many more Spark compiles none


def sparks(t: pa.DataType) -> pa.DataType:
    """The type of the spark profile for a leaf."""
    wider = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20, 0), pa.float16(): pa.float32()}
    if t in wider:
        return wider[t]
    if pa.types.is_large_string(t) or pa.types.is_string_view(t):
        return pa.string()
    if pa.types.is_large_binary(t) or pa.types.is_binary_view(t) or pa.types.is_fixed_size_binary(t):
        return pa.binary()
    if pa.types.is_date64(t):
        return pa.date32()
    if pa.types.is_time(t):
        return pa.int64()
    if pa.types.is_timestamp(t):
        return pa.timestamp("us", "UTC" if t.tz else None)
    if pa.types.is_decimal(t):
        return pa.string() if t.precision > 38 else pa.decimal128(t.precision, t.scale)
    return t


def mapped(a: pa.Array, t: pa.DataType) -> pa.Array:
    """The value of the spark profile: times as nanoseconds of the day, timestamps floored to microseconds."""
    kind = a.type
    if pa.types.is_time(kind):
        return pc.multiply(a.view(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64()), 10**9 // queries.PER[kind.unit])
    if pa.types.is_timestamp(kind):
        raw = a.view(pa.int64())
        if kind.unit == "ns":
            # Integer division truncates; a negative rest moves one down.
            whole = pc.divide(raw, 1000)
            raw = pc.if_else(pc.less(pc.subtract(raw, pc.multiply(whole, 1000)), 0), pc.subtract(whole, 1), whole)
        else:
            raw = pc.multiply(raw, UNITS[kind.unit])
        return raw.cast(t)
    if pa.types.is_decimal(kind) and pa.types.is_string(t):
        return pa.array([None if v is None else format(v, "f") for v in a.to_pylist()], pa.string())
    return a.cast(t)


# ---- SQL


def sql_literal(v: Any, t: pa.DataType) -> str:
    if v is None:
        return f"CAST(NULL AS {sql_type(t)})"
    if isinstance(v, pa.Scalar):
        v = v.value
        if pa.types.is_date(t):
            return f"date_add(DATE'1970-01-01', {v})"
        if t.tz:
            return f"timestamp_micros({v})"
        return f"CAST(timestamp_micros({v}) AS TIMESTAMP_NTZ)"  # the session's zone is UTC
    if isinstance(v, bool):
        return str(v).upper()
    if isinstance(v, float):
        return f"CAST('{v!r}' AS DOUBLE)"
    if isinstance(v, Decimal):
        return f"CAST('{v:f}' AS {sql_type(t) if pa.types.is_decimal(t) else 'DECIMAL(38,1)'})"
    if isinstance(v, str):
        return f"CAST(X'{v.encode().hex()}' AS STRING)"
    if isinstance(v, bytes):
        return f"X'{v.hex()}'"
    return str(v)


def sql_type(t: pa.DataType) -> str:
    if pa.types.is_decimal(t):
        return f"DECIMAL({t.precision},{t.scale})"
    if pa.types.is_timestamp(t):
        return "TIMESTAMP" if t.tz else "TIMESTAMP_NTZ"
    names = {pa.bool_(): "BOOLEAN", pa.string(): "STRING", pa.binary(): "BINARY", pa.date32(): "DATE", pa.float32(): "FLOAT", pa.float64(): "DOUBLE"}
    return names.get(t, "BIGINT")


def term(rng: random.Random, c: queries.Column) -> tuple[list[Any], str]:
    """One condition, for the wire and in SQL; literals are of the column's own sort, so that Spark casts nothing."""
    name: Any = c.path[0] if len(c.path) == 1 else list(c.path)
    ref = ".".join(f"`{p}`" for p in c.path)
    if not queries.comparable(c.type):
        op = rng.choice(["is null", "is not null"])
        return [name, op], f"{ref} {op}"
    op = rng.choice(["=", "==", "!=", "<", "<=", ">", ">="] * 2 + ["in", "not in"] * 4 + ["is null", "is not null", "starts_with"])
    if op == "starts_with" and queries.is_text(c.type):
        prefix = (c.near(rng) or "a")[: rng.randint(0, 3)]
        return [name, op, prefix], f"startswith({ref}, {sql_literal(prefix, c.type)})"
    if op in ("is null", "is not null", "starts_with"):
        op = "is not null" if op == "starts_with" else op
        return [name, op], f"{ref} {op}"
    if op in ("in", "not in"):
        items = [literal(rng, c) for _ in range(rng.choice([1, 1, 2, 3, 5, 40]))]
        if rng.random() < 0.3:
            items.insert(rng.randint(0, len(items)), (None, None))
        return [name, op, [w for w, _ in items]], f"{ref} {op} ({', '.join(sql_literal(v, c.type) for _, v in items)})"
    wire, value = literal(rng, c)
    return [name, op, wire], f"{ref} {op} {sql_literal(value, c.type)}"


def literal(rng: random.Random, c: queries.Column) -> queries.Pair:
    while True:
        wire, value = queries.literal(rng, c.type, c.near(rng), own=True)
        if isinstance(value, bytes) and pa.types.is_string(c.type):
            continue  # binary against string is refused by Spark
        if isinstance(value, Decimal):
            whole = len(value.as_tuple().digits) + value.as_tuple().exponent
            if -value.as_tuple().exponent > c.type.scale or whole > c.type.precision - c.type.scale:
                continue  # not a value of the column's type
        return wire, value


def dnf(rng: random.Random, cols: list[queries.Column]) -> tuple[list[Any], str]:
    wire, sql = [], []
    for _ in range(rng.choice([1, 1, 1, 2])):
        terms = [term(rng, rng.choice(cols)) for _ in range(rng.choice([1, 1, 2]))]
        wire.append([w for w, _ in terms])
        sql.append("(" + " AND ".join(f"({s})" for _, s in terms) + ")")
    return wire, " OR ".join(sql)


# ---- jobs


def answer(spark: SparkSession, job: dict[str, Any]) -> dict[str, Any]:
    rng = random.Random(job["seed"])
    folder = Path(job["folder"])
    path, twin, expect = folder / f"{job['seed']}.parquet", folder / f"{job['seed']}.twin", folder / f"{job['seed']}.arrows"
    direct = job["seed"] % 2 == 0
    table = files.table(rng, job.get("rows", 300), UNREADABLE if direct else NEVER)
    codec = rng.choice(["snappy", "zstd", "gzip", "none"])  # Spark has no brotli
    int96 = {"use_deprecated_int96_timestamps": True} if direct and rng.random() < 0.4 else {"use_deprecated_int96_timestamps": False}
    files.write(rng, table, path, compression=codec, **int96)
    if not direct:
        pq.write_table(queries.converted(pq.ParquetFile(path).read(), sparks, mapped), twin)
    # Compiling the expressions takes longer than these few rows; one in four files tests the compiled form.
    compiled = job["seed"] % 4 == 0
    spark.conf.set("spark.sql.codegen.wholeStage", str(compiled).lower())
    spark.conf.set("spark.sql.codegen.factoryMode", "FALLBACK" if compiled else "NO_CODEGEN")
    frame = spark.read.parquet(str(path if direct else twin))
    frame.createOrReplaceTempView("t")
    # Spark's own form of the values is what its filters see, and what literals are made near.
    seen = frame.toArrow().combine_chunks().sort_by("row")
    cols = queries.columns(seen)
    usable = [c for c in cols if queries.comparable(c.type)]
    asked = [dnf(rng, cols if rng.random() < 0.2 else usable) for _ in range(job["queries"])]
    rows: list[list[int]] = []
    step = COMPILED if compiled else len(asked)
    for at in range(0, len(asked), step):
        part = [f"({sql}) AS q{i}" for i, (_, sql) in enumerate(asked[at : at + step])]
        truths = frame.selectExpr("row", *part).toArrow().sort_by("row")
        rows += [truths.filter(truths[f"q{i}"])["row"].to_pylist() for i in range(len(part))]
    kept = frame.where(asked[0][1]).select("row").toArrow().sort_by("row")["row"].to_pylist()
    out = [{"filters": wire, "rows": keeps} for (wire, _), keeps in zip(asked, rows, strict=True)]
    if kept != out[0]["rows"]:
        raise AssertionError(f"WHERE {asked[0][1]} is not its own column of truths")
    with pa.ipc.new_stream(expect, seen.schema) as stream:
        stream.write_table(seen)
    if job["seed"] % 3 == 0:
        path = written(rng, frame, folder / f"{job['seed']}.spark")
    twin.unlink(missing_ok=True)
    return {"path": str(path), "expect": str(expect), "queries": out}


def written(rng: random.Random, frame: DataFrame, folder: Path) -> Path:
    """The same rows in a file by Spark: its own timestamps, pages, bloom filters and row groups."""
    frame.sparkSession.conf.set("spark.sql.parquet.outputTimestampType", rng.choice(["INT96", "TIMESTAMP_MICROS"]))
    out = frame.coalesce(1).sortWithinPartitions("row").write
    for key, value in {
        "compression": rng.choice(["snappy", "zstd", "gzip", "lz4_raw", "none"]),
        "parquet.page.size": rng.choice([200, 1 << 20]),
        "parquet.block.size": rng.choice([4000, 128 << 20]),
        "parquet.enable.dictionary": rng.choice(["true", "false"]),
        "parquet.writer.version": rng.choice(["PARQUET_1_0", "PARQUET_2_0"]),
        "parquet.bloom.filter.enabled": rng.choice(["true", "false"]),
    }.items():
        out = out.option(key, value)
    out.parquet(str(folder))
    (part,) = folder.glob("part-*.parquet")
    return part


def session() -> SparkSession:
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    conf = {
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.parquet.filterPushdown": "false",
        "spark.sql.parquet.enableVectorizedReader": "false",  # it lacks encodings
        "spark.sql.parquet.datetimeRebaseModeInRead": "CORRECTED",
        "spark.sql.parquet.int96RebaseModeInRead": "CORRECTED",
        "spark.sql.shuffle.partitions": "1",
        "spark.sql.ansi.enabled": "true",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
    }
    builder = SparkSession.builder.master("local[1]").appName("oracle")
    for key, value in conf.items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("OFF")
    return made


def main() -> None:
    spark = session()
    for line in sys.stdin:
        job = json.loads(line)
        try:
            out = answer(spark, job)
        except Exception as err:  # noqa: BLE001  the test decides what a failure means
            out = {"path": "", "error": f"{type(err).__name__}: {err}"[:6000]}
        print(json.dumps({"job": job, **out}), flush=True)
    spark.stop()


if __name__ == "__main__":
    main()
