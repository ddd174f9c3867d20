"""What was written is read by everybody else: datasets, pyarrow, DuckDB, Polars, Spark's own Parquet reader.

Every reader gets the files as the Hub serves them and has to find the rows that were given, value by value.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import math
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

from conftest import READER, WRITER

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from flightserver import FlightServer
    from hubflight import Client
    from hubserver import HubServer

pytestmark = pytest.mark.server

ROWS = 500
UTC = dt.timezone.utc


@pytest.fixture
def name() -> str:
    return f"demo/interop-{uuid.uuid4().hex[:8]}"


def plain(value: Any) -> Any:
    """A value without what readers differ in: tuples and key-value structs for maps, types of text, NaN."""
    if isinstance(value, float):
        return "NaN" if math.isnan(value) else repr(value)
    if isinstance(value, bool | int | str | decimal.Decimal) or value is None:
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, tuple) and len(value) == 2:
        return {"key": plain(value[0]), "value": plain(value[1])}
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, list):
        return [plain(v) for v in value]
    if isinstance(value, dt.datetime):  # pandas' Timestamp too, which has nanoseconds
        nanos = getattr(value, "nanosecond", 0)
        value = value.astimezone(UTC) if value.tzinfo else value
        return (value.strftime("%Y-%m-%d %H:%M:%S.%f"), nanos)
    return value


def column(rows: list[Any], nulls: bool = True) -> list[Any]:
    """As many values as there are rows, with a null now and then."""
    return [None if nulls and i % 7 == 3 else rows[i % len(rows)] for i in range(ROWS)]


def stamps(unit: str, zone: str | None) -> pa.Array:
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    at = [0, -1, 1_700_000_000 * per_second + 1, -1_000_000_000 * per_second - 1, 9_000_000_000 * per_second]
    return pa.array(column(at), pa.int64()).cast(pa.timestamp(unit, zone))


def everything() -> pa.Table:
    """All types that the writer takes, each with its extremes and with nulls."""
    item = {"n": 1, "s": "x", "in": [1, None]}
    pairs = [[("a", 1), ("b", None)], [], [("ü", -5)]]
    columns: dict[str, pa.Array] = {
        "id": pa.array(range(ROWS), pa.int64()),
        "nothing": pa.nulls(ROWS),
        "bool": pa.array(column([True, False])),
        **{f"int{b}": pa.array(column([-(2 ** (b - 1)), 0, 2 ** (b - 1) - 1]), f"int{b}") for b in (8, 16, 32, 64)},
        **{f"uint{b}": pa.array(column([0, 1, 2**b - 1]), f"uint{b}") for b in (8, 16, 32, 64)},
        "half": pa.array(column([0.5, -0.0, 65504.0, float("inf")]), pa.float16()),
        "single": pa.array(column([0.5, -0.0, float("nan"), 3.4e38]), pa.float32()),
        "double": pa.array(column([5e-324, -0.0, float("nan"), float("-inf"), 0.1]), pa.float64()),
        "text": pa.array(column(["", "ä", "日本", "a\0b", "x" * 3000])),
        "large_text": pa.array(column(["", "l"]), pa.large_string()),
        "raw": pa.array(column([b"", b"\xff\x00"])),
        "large_raw": pa.array(column([b"", b"\x01"]), pa.large_binary()),
        "fixed": pa.array(column([b"abcd", b"\0\0\0\0"]), pa.binary(4)),
        "day": pa.array(column([dt.date(1, 1, 1), dt.date(1969, 12, 31), dt.date(9999, 12, 31)]), pa.date32()),
        "day64": pa.array(column([dt.date(1969, 12, 31), dt.date(2024, 2, 29)]), pa.date64()),
        "time_s": pa.array(column([dt.time(0), dt.time(23, 59, 59)]), pa.time32("s")),
        "time_ms": pa.array(column([dt.time(0), dt.time(23, 59, 59, 999000)]), pa.time32("ms")),
        "time_us": pa.array(column([dt.time(0), dt.time(23, 59, 59, 999999)]), pa.time64("us")),
        "at_s": stamps("s", None),
        "at_ms": stamps("ms", None),
        "at_us": stamps("us", None),
        "at_ns": stamps("ns", None),
        "utc_us": stamps("us", "UTC"),
        "berlin_ms": stamps("ms", "Europe/Berlin"),
        "amount": pa.array(column([decimal.Decimal("-0.01"), decimal.Decimal("9999999.99")]), pa.decimal128(9, 2)),
        "money": pa.array(column([decimal.Decimal("1e20"), decimal.Decimal("-0.00001")]), pa.decimal128(38, 5)),
        "list": pa.array(column([[], [1], [None, 2, 3]]), pa.list_(pa.int32())),
        "large_list": pa.array(column([[], ["a", None]]), pa.large_list(pa.string())),
        "triple": pa.array(column([[1.0, 2.0, None]]), pa.list_(pa.float64(), 3)),
        "record": pa.array(column([item, {"n": None, "s": None, "in": None}])),
        "records": pa.array(column([[], [item, None, item]])),
        "pairs": pa.array(column(pairs), pa.map_(pa.string(), pa.int64())),
    }
    return pa.table(columns)


# What a reader has no type for.
UNREADABLE = {
    "datasets": {"pairs", "fixed"},
    "spark": {"nothing", "half", "time_s", "time_ms", "time_us", "at_ns"},
}


def equal(reader: str, got: pa.Table, want: pa.Table) -> None:
    """Every column of want, value by value, in order."""
    assert got.num_rows == want.num_rows, reader
    for field in (c for c in want.column_names if c not in UNREADABLE.get(reader, ())):
        found, given = got.column(field).to_pylist(), want.column(field).to_pylist()
        for i, (a, b) in enumerate(zip(found, given, strict=True)):
            assert plain(a) == plain(b), f"{reader}: row {i} of {field}"


def inside(hub: HubServer, home: Path, program: str, *arguments: str) -> Any:
    """What a program of its own with the Hub's environment prints as JSON: datasets reads that when it is imported."""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env={**hub.environment(home), "HF_TOKEN": READER},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout.splitlines()[-1])


LOAD = """
import json, sys
import pyarrow.parquet as pq
from datasets import load_dataset
name, out = sys.argv[1:]
ds = load_dataset(name, split="train")
pq.write_table(ds.with_format("arrow")[:], out)
print(json.dumps({"rows": len(ds), "features": json.loads(json.dumps(ds.features.to_dict()))}))
"""


def test_every_reader_finds_every_type(client: Client, hub: HubServer, name: str, tmp_path: Path) -> None:
    want = everything()
    client.write(want, name, create_repo=True, max_bytes_per_file=15_000, row_group_size=70)
    paths = hub.parquet_files(READER, name, tmp_path / "hub")
    assert len(paths) > 1

    got = pa.concat_tables([pq.read_table(p) for p in paths])
    equal("pyarrow", got, want)
    for field in want.schema:  # Arrow's own readers find Arrow's own types, but for those that Parquet has not
        expected = {
            pa.date64(): pa.date32(),
            pa.timestamp("s"): pa.timestamp("ms"),
            pa.time32("s"): pa.time32("ms"),
        }.get(field.type, field.type)
        found = str(got.schema.field(field.name).type).replace("element", "item")
        assert found.replace(f" ('{field.name}')", "") == str(expected)  # pyarrow's own name for a map's entries

    listing = ", ".join(f"'{p}'" for p in paths)
    equal("duckdb", duckdb.sql(f"select * from read_parquet([{listing}])").to_arrow_table(), want)
    equal("polars", pl.read_parquet([str(p) for p in paths]).to_arrow(), want)

    # Of 256 bits, which only Arrow's readers have: others refuse the file.
    big = decimal.Decimal("1234567890123456789012345678901234567890.12345")
    wide = pa.table({"wide": pa.array(column([big, -big]), pa.decimal256(76, 5))})
    client.write(wide, name + "-w", create_repo=True)
    equal("pyarrow", pq.read_table(hub.parquet_files(READER, name + "-w", tmp_path / "wide")[0]), wide)

    # datasets refuses a dataset with a type that it does not have, whichever columns are asked for.
    client.write(want.drop_columns(sorted(UNREADABLE["datasets"])), name + "-d", create_repo=True)
    out = tmp_path / "datasets.parquet"
    assert inside(hub, tmp_path / "home", LOAD, name + "-d", str(out))["rows"] == ROWS
    equal("datasets", pq.read_table(out), want)


@pytest.mark.spark
def test_sparks_own_reader_finds_every_type_that_it_has(
    spark: SparkSession, client: Client, hub: HubServer, name: str, tmp_path: Path
) -> None:
    want = everything().drop_columns(sorted(UNREADABLE["spark"]))
    client.write(want, name, create_repo=True, max_bytes_per_file=15_000, row_group_size=70)
    frame = spark.read.parquet(*(str(p) for p in hub.parquet_files(READER, name, tmp_path / "hub")))
    equal("spark", frame.orderBy("id").toArrow(), want)


@pytest.mark.spark
def test_everybody_finds_what_spark_wrote(
    spark: SparkSession, server: FlightServer, hub: HubServer, name: str, tmp_path: Path
) -> None:
    from test_spark_write import frame

    given = frame(spark, rows=ROWS)
    sink = given.write.format("hubflight").option("server", server.url).option("token", WRITER)
    sink.option("create_repo", "true").mode("append").save(name)
    paths = hub.parquet_files(READER, name, tmp_path / "hub")
    assert len(paths) == 3
    own = spark.read.parquet(*(str(p) for p in paths))
    assert own.columns == given.columns
    assert own.dtypes == given.dtypes
    assert own.orderBy("id").collect() == given.orderBy("id").collect()

    # Spark's own files are what it means by these rows.
    spark.conf.set("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS")
    given.orderBy("id").coalesce(1).write.parquet(str(tmp_path / "spark"))
    spark.conf.unset("spark.sql.parquet.outputTimestampType")
    want = pq.read_table(tmp_path / "spark")
    equal("pyarrow", pa.concat_tables([pq.read_table(p) for p in paths]), want)
    listing = ", ".join(f"'{p}'" for p in paths)
    equal("duckdb", duckdb.sql(f"select * from read_parquet([{listing}])").to_arrow_table(), want)
    equal("polars", pl.read_parquet([str(p) for p in paths]).to_arrow(), want)
    sink = given.drop("pairs").write.format("hubflight").option("server", server.url).option("token", WRITER)
    sink.option("create_repo", "true").mode("append").save(name + "-d")
    out = tmp_path / "datasets.parquet"
    assert inside(hub, tmp_path / "home", LOAD, name + "-d", str(out))["rows"] == ROWS
    equal("datasets", pq.read_table(out), want)


FEATURES: dict[str, Any] = {
    "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
    "image": {"_type": "Image"},
    "tokens": {"feature": {"dtype": "int32", "_type": "Value"}, "_type": "List"},
    "text": {"dtype": "string", "_type": "Value"},
}


def test_the_features_of_a_dataset_are_kept(client: Client, hub: HubServer, name: str, tmp_path: Path) -> None:
    table = pa.table(
        {
            "label": pa.array([0, 1, None], pa.int64()),
            "image": pa.array([{"bytes": b"\x89PNG", "path": "a.png"}, None, {"bytes": None, "path": "b.png"}]),
            "tokens": pa.array([[1, 2], [], None], pa.list_(pa.int32())),
            "text": ["a", "b", None],
        }
    ).replace_schema_metadata({"huggingface": json.dumps({"info": {"features": FEATURES}}), "pandas": "{}"})
    client.write(table, name, create_repo=True)
    (path,) = hub.parquet_files(READER, name, tmp_path / "hub")
    kept = pq.read_schema(path).metadata
    assert json.loads(kept[b"huggingface"])["info"]["features"] == FEATURES
    assert b"pandas" not in kept
    out = tmp_path / "datasets.parquet"
    found = inside(hub, tmp_path / "home", LOAD, name, str(out))
    assert {k: v["_type"] for k, v in found["features"].items()} == {k: v["_type"] for k, v in FEATURES.items()}
    assert found["features"]["label"]["names"] == ["no", "yes"]
    equal("datasets", pq.read_table(out), table)


def test_bloom_filters_and_features_are_as_they_are_asked_for(
    client: Client, hub: HubServer, name: str, tmp_path: Path
) -> None:
    words = [f"word {i * 7919 % 5000}" for i in range(5000)]
    table = pa.table({"id": range(5000), "word": words, "in": [{"n": i} for i in range(5000)]})
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": {}}})})
    options: dict[str, Any] = {"bloom_columns": "word,in.n", "keep_features": False, "row_group_bytes": "100k"}
    client.write(table, name, create_repo=True, **options)
    (path,) = hub.parquet_files(READER, name, tmp_path / "hub")
    assert b"huggingface" not in (pq.read_schema(path).metadata or {})
    footer = pq.read_metadata(path)
    assert footer.num_row_groups > 1
    for group in range(footer.num_row_groups):
        columns = [footer.row_group(group).column(i) for i in range(footer.num_columns)]
        assert {c.path_in_schema for c in columns if c.bloom_filter_offset} == {"word", "in.n"}

    def may_hold(word: str) -> int:
        probed = duckdb.sql(f"select bloom_filter_excludes from parquet_bloom_probe('{path}', 'word', '{word}')")
        return sum(not excluded for (excluded,) in probed.fetchall())

    assert all(may_hold(word) >= 1 for word in words[:20])
    assert sum(may_hold(f"nothing {i}") for i in range(20)) < 20


SPLITS = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
out = {}
for config in get_dataset_config_names(sys.argv[1]):
    out[config] = {split: ds["id"][:] for split, ds in load_dataset(sys.argv[1], config).items()}
print(json.dumps(out))
"""


def test_the_hub_and_datasets_see_exactly_the_commits_and_splits(
    client: Client, hub: HubServer, name: str, tmp_path: Path
) -> None:
    def rows(*ids: int) -> pa.Table:
        return pa.table({"id": pa.array(ids, pa.int64())})

    client.write(rows(1, 2), name, create_repo=True, commit_message="first")
    client.write(rows(3), name, split="train_sft")
    client.write(rows(4), name, split="test")
    client.write(rows(5), name, config="gen")
    client.write(rows(6), name)
    before = {"default": {"train": [1, 2, 6], "train_sft": [3], "test": [4]}, "gen": {"train": [5]}}
    assert inside(hub, tmp_path / "before", SPLITS, name) == before

    large = pa.table({"id": pa.array(range(10, 20_010), pa.int64()), "s": [uuid.uuid4().hex for _ in range(20_000)]})
    result = client.write(large, name, mode="overwrite", max_bytes_per_file=200_000, max_operations_per_commit=2)
    assert len(result.commits) > 1
    after = inside(hub, tmp_path / "after", SPLITS, name)
    assert after == {**before, "default": {**before["default"], "train": list(range(10, 20_010))}}

    commits = HfApi(endpoint=hub.url, token=READER).list_repo_commits(name, repo_type="dataset")
    ours = [c for c in commits if "hubflight job=" in c.message]
    assert [c.commit_id for c in ours[: len(result.commits)]] == list(reversed(result.commits))
    assert len(ours) == 5 + len(result.commits)
    assert ours[-1].title == "first"
    n = len(result.commits)
    assert [c.title for c in ours[:n]] == [
        f"Upload using PySpark (part {i:05d}-of-{n:05d})" for i in reversed(range(n))
    ]
