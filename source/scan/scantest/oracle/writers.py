"""Seeded files by other writers than pyarrow: each has its own pages, encodings and statistics."""

from __future__ import annotations

import random
from pathlib import Path

import duckdb
import files
import polars as pl
import pyarrow as pa
import queries

# Kinds that a writer, or the way to it, does not take.
REFUSED = {
    "duckdb": ("float16", "null", "dec256", "time64_ns", "duration", "uuid", "json", "bool8", "ts_s_zone", "ts_ms_zone", "ts_ns_zone"),
    "polars": ("fixed", "dec256", "time", "uuid", "json", "bool8", "null", "ts_s", "date64", "duration", "dec32", "dec64"),
}


def write(writer: str, rng: random.Random, path: Path, rows: int) -> None:
    table = queries.plain(files.table(rng, rows, REFUSED[writer], nested=1))
    if writer == "duckdb":
        by_duckdb(rng, table, path)
    else:
        by_polars(rng, table, path)


def by_duckdb(rng: random.Random, table: pa.Table, path: Path) -> None:
    with duckdb.connect() as db:
        db.execute("SET TimeZone='UTC'")
        db.register("t", table)
        codec = rng.choice(["snappy", "zstd", "gzip", "lz4_raw", "brotli", "uncompressed"])
        options = f"FORMAT parquet, CODEC '{codec}', ROW_GROUP_SIZE {rng.choice([2048, 122880])}, PARQUET_VERSION {rng.choice(['V1', 'V2'])}"
        db.execute(f"COPY (SELECT * FROM t ORDER BY row) TO '{path}' ({options})")


def by_polars(rng: random.Random, table: pa.Table, path: Path) -> None:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    frame.write_parquet(
        path,
        compression=rng.choice(["snappy", "zstd", "gzip", "lz4", "brotli", "uncompressed"]),
        row_group_size=rng.choice([50, 1000, None]),
        data_page_size=rng.choice([100, 1 << 20]),
        statistics=rng.choice([True, "full", False]),
    )
