"""What pyspark_huggingface 2.1 gets wrong, or cannot do, with real Spark: each case is right here.

Beside the tests here: the types in `test_spark_read`, the hub of the option `endpoint` in `test_embedded`.
"""

from __future__ import annotations

import datetime as dt
import decimal
import json
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import WRITER
from flightserver import FlightServer
from hubserver import HubServer

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import DataFrame, DataFrameReader, DataFrameWriter, SparkSession

    from hubflight import Client

pytestmark = [pytest.mark.server, pytest.mark.spark]


@pytest.fixture
def write(server: FlightServer) -> Callable[[DataFrame], DataFrameWriter]:
    """`df.write.format("hubflight")` with the server and a writing token."""
    return lambda df: df.write.format("hubflight").option("server", server.url).option("token", WRITER)


@pytest.fixture
def name() -> str:
    return f"demo/migration-{uuid.uuid4().hex[:8]}"


def files(hub: HubServer, name: str) -> list[str]:
    from huggingface_hub import HfApi

    found = HfApi(endpoint=hub.url, token=WRITER).list_repo_files(name, repo_type="dataset")
    return sorted(path for path in found if path.endswith(".parquet"))


def commits(hub: HubServer, name: str) -> int:
    from huggingface_hub import HfApi

    return len(HfApi(endpoint=hub.url, token=WRITER).list_repo_commits(name, repo_type="dataset"))


# Columns that the other source cannot read and `seeds.types` does not hold.
ODD: dict[str, tuple[pa.Array, str, list[Any]]] = {
    "view": (pa.array(["a", None], pa.string_view()), "string", ["a", None]),
    "bytes_view": (pa.array([b"a", None], pa.binary_view()), "binary", [b"a", None]),
    "ts_s": (pa.array([1, None], pa.timestamp("s")), "timestamp_ntz", [dt.datetime(1970, 1, 1, 0, 0, 1), None]),
    "date64": (pa.array([dt.date(2024, 2, 29), None], pa.date64()), "date", [dt.date(2024, 2, 29), None]),
    "time_us": (pa.array([dt.time(12, 30, 15, 123456), None], pa.time64("us")), "bigint", [45015123456000, None]),
    "time_ns": (pa.array([45015123456789, None], pa.time64("ns")), "bigint", [45015123456789, None]),
    "time_ms": (pa.array([dt.time(0, 0, 1), None], pa.time32("ms")), "bigint", [10**9, None]),
    "large_texts": (pa.array([["a"], None], pa.list_(pa.large_string())), "array<string>", [["a"], None]),
    "nested": (
        pa.array([{"a": 255, "b": [b"xy"]}, None], pa.struct({"a": pa.uint8(), "b": pa.large_list(pa.binary(2))})),
        "struct<a:smallint,b:array<binary>>",
        [(255, [b"xy"]), None],
    ),
}


def test_types_that_spark_does_not_have_are_read(read: DataFrameReader, hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    table = pa.table({column: array for column, (array, _, _) in ODD.items()})
    pq.write_table(table, tmp_path / "data/train-00000-of-00001.parquet")
    hub.import_folder(tmp_path, "demo/odd")
    df = read.load("demo/odd")
    assert dict(df.dtypes) == {column: kind for column, (_, kind, _) in ODD.items()}
    rows = df.collect()
    for column, (_, _, want) in ODD.items():
        assert [row[column] for row in rows] == want, column


def test_int96_timestamps_that_spark_wrote_are_read(
    spark: SparkSession, read: DataFrameReader, hub: HubServer, tmp_path: Path
) -> None:
    df = spark.sql("select timestamp'1969-12-31 23:59:59.123456 UTC' as t union all select timestamp'2024-02-29 12:00'")
    spark.conf.set("spark.sql.parquet.outputTimestampType", "INT96")
    try:
        df.coalesce(1).write.parquet(str(tmp_path / "data"))
    finally:
        spark.conf.unset("spark.sql.parquet.outputTimestampType")
    (written,) = (tmp_path / "data").glob("*.parquet")
    assert pq.ParquetFile(written).schema.column(0).physical_type == "INT96"
    hub.import_folder(tmp_path, "demo/int96")
    got = read.load("demo/int96")
    assert got.dtypes == [("t", "timestamp")]
    assert got.orderBy("t").toArrow()["t"].cast(pa.timestamp("us", "UTC")).to_pylist() == [
        dt.datetime(1969, 12, 31, 23, 59, 59, 123456, dt.timezone.utc),
        dt.datetime(2024, 2, 29, 20, 0, tzinfo=dt.timezone.utc),  # noon in the session's zone
    ]


def test_every_type_of_spark_comes_back_as_it_was_written(
    spark: SparkSession, read: DataFrameReader, write: Any, name: str
) -> None:
    df = spark.sql("""
        select true as boolean, cast(1 as tinyint) as byte, cast(2 as smallint) as short, 3 as integer,
               cast(4 as bigint) as long, cast(0.5 as float) as single, double('NaN') as double,
               cast(1.25 as decimal(38, 18)) as amount, 'é😀' as text, cast('c' as char(3)) as fixed,
               cast('v' as varchar(5)) as limited, X'00FF' as raw, date'1582-10-15' as day,
               timestamp'1900-01-01 00:00:00.000001 UTC' as moment, timestamp_ntz'9999-12-31 23:59:59.999999' as wall,
               array(array(1, null), null) as lists, map('k', struct(1 as a, array('x') as b)) as pairs,
               named_struct('a', cast(null as int), 'b', named_struct('c', date'2024-02-29')) as nested
    """)
    nulls = spark.createDataFrame([(None,) * len(df.columns)], df.schema) if _nullable(df) else df.limit(0)
    both = df.union(nulls)
    write(both).option("create_repo", "true").mode("append").save(name)
    got = read.load(name)
    assert dict(got.dtypes) == dict(df.dtypes)
    want = [repr(row) for row in both.collect()]  # NaN equals itself as text
    assert sorted(repr(row) for row in got.collect()) == sorted(want)


def test_types_of_spark_that_come_back_as_others_or_as_themselves_without_a_value(
    spark: SparkSession, read: DataFrameReader, write: Any, hub: HubServer, name: str
) -> None:
    """TIME, which Spark has from 4.1 on, comes back as the README says; void as void."""
    spark.conf.set("spark.sql.timeType.enabled", "true")
    try:
        df = spark.sql("select time'12:30:15.123456' as at, array(time'00:00:00') as ats, null as nothing")
        write(df).option("create_repo", "true").mode("append").save(name)
    finally:
        spark.conf.unset("spark.sql.timeType.enabled")
    got = read.load(name)
    assert got.dtypes == [("at", "bigint"), ("ats", "array<bigint>"), ("nothing", "void")]
    assert [tuple(row) for row in got.collect()] == [(45015123456000, [0], None)]
    from huggingface_hub import HfFileSystem

    (path,) = files(hub, name)
    with HfFileSystem(endpoint=hub.url, token=WRITER).open(f"datasets/{name}/{path}") as opened:
        assert pq.read_schema(opened).field("at").type == pa.time64("ns")


def _nullable(df: DataFrame) -> bool:
    for field in df.schema.fields:
        field.nullable = True
    return True


@pytest.mark.parametrize(
    ("column", "texts"),
    [
        ("interval '1-2' year to month as span", ["'span'", "cast it", "months"]),
        ("array(interval '1-2' year to month) as spans", ["'spans'", "cast it"]),
        ("interval '1 02:03:04' day to second as span", ["column=span", "cast the column"]),
        ("parse_json('1') as doc", ["'doc'", "to_json"]),
        ("array(st_geomfromwkb(X'0101000000000000000000F03F0000000000000040')) as at", ["'at'", "st_asbinary"]),
    ],
)
def test_what_no_file_can_hold_is_refused_by_its_column_before_a_byte_is_sent(
    spark: SparkSession, write: Any, hub: HubServer, name: str, column: str, texts: list[str]
) -> None:
    with pytest.raises(Exception, match="unsupported") as caught:
        write(spark.sql(f"select 1 as id, {column}")).option("create_repo", "true").mode("append").save(name)
    for text in texts:
        assert text in str(caught.value)
    from huggingface_hub import HfApi

    assert not HfApi(endpoint=hub.url, token=WRITER).repo_exists(name, repo_type="dataset")


def test_an_append_is_one_commit_that_touches_no_file_which_is_there(
    spark: SparkSession, read: DataFrameReader, write: Any, hub: HubServer, name: str
) -> None:
    write(spark.range(0, 10, 1, 2)).option("create_repo", "true").mode("append").save(name)
    before, history = files(hub, name), commits(hub, name)
    write(spark.range(10, 30, 1, 2)).mode("append").save(name)
    assert commits(hub, name) == history + 1
    assert set(before) < set(files(hub, name))
    assert sorted(r.id for r in read.load(name).collect()) == list(range(30))


def test_overwriting_a_split_leaves_those_whose_names_begin_alike(
    spark: SparkSession, read: DataFrameReader, write: Any, hub: HubServer, name: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    for i, split in enumerate(("train", "train_sft", "train_gen")):
        table = pa.table({"id": pa.array([i], pa.int64())})
        pq.write_table(table, tmp_path / f"data/{split}-00000-of-00001.parquet")
    hub.import_folder(tmp_path, name)
    history = commits(hub, name)
    write(spark.range(100, 103, 1, 1)).mode("overwrite").save(name)
    assert commits(hub, name) == history + 1
    assert [path for path in files(hub, name) if "train_" in path] == [
        "data/train_gen-00000-of-00001.parquet",
        "data/train_sft-00000-of-00001.parquet",
    ]
    assert [r.id for r in read.load(name).collect()] == [100, 101, 102]
    for i, split in ((1, "train_sft"), (2, "train_gen")):
        assert [r.id for r in read.option("split", split).load(name).collect()] == [i]


def test_the_cause_of_a_failed_commit_is_what_the_user_sees(spark: SparkSession, tmp_path: Path) -> None:
    refusal = "hub POST /commit/ every: status 403"
    with HubServer(tmp_path / "hub", {WRITER: "write"}, faults=refusal) as hub:
        (tmp_path / "server").mkdir()
        server = FlightServer(tmp_path / "server", "--hub.endpoint", hub.url).start()
        writing = spark.range(5).write.format("hubflight").options(server=server.url, token=WRITER)
        with pytest.raises(Exception, match="Failed to commit") as caught:
            writing.option("create_repo", "true").mode("append").save("demo/refused")
        server.stop()
    text = str(caught.value)
    assert "AttributeError" not in text
    assert "[denied]" in text and "403" in text
    assert WRITER not in text


def test_a_filtered_copy_keeps_the_features_of_the_dataset(
    read: DataFrameReader, write: Any, hub: HubServer, name: str, tmp_path: Path
) -> None:
    """Spark has neither class labels nor images nor 8 bits without a sign; what is appended has them again."""
    image = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    features = {
        "label": {"names": ["no", "yes"], "_type": "ClassLabel"},
        "picture": {"_type": "Image"},
        "small": {"dtype": "uint8", "_type": "Value"},
    }
    schema = pa.schema([("label", pa.int64()), ("picture", image), ("small", pa.uint8())])
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pictures = [{"bytes": bytes([i]) * 50, "path": f"{i}.png"} for i in range(4)]
    table = pa.table([[0, 1, 0, 1], pictures, [0, 1, 254, 255]], schema=schema)
    (tmp_path / "data").mkdir()
    pq.write_table(table, tmp_path / "data/train-00000-of-00001.parquet")
    hub.import_folder(tmp_path, name)

    df = read.load(name)
    assert df.schema["picture"].dataType.simpleString() == "struct<bytes:binary,path:string>"
    assert bytes(df.head(1)[0].picture.bytes) == pictures[0]["bytes"]
    write(df.where("label = 1")).mode("append").save(name)
    added = [path for path in files(hub, name) if path != "data/train-00000-of-00001.parquet"]
    assert len(added) == 1
    from huggingface_hub import HfFileSystem

    with HfFileSystem(endpoint=hub.url, token=WRITER).open(f"datasets/{name}/{added[0]}") as opened:
        written = pq.read_table(opened)
    assert written.schema.field("small").type == pa.uint8()
    assert json.loads(written.schema.metadata[b"huggingface"])["info"]["features"] == features
    assert written["small"].to_pylist() == [1, 255]
    assert read.load(name).count() == 6


def test_a_value_that_the_dataset_cannot_hold_is_refused_and_not_cut(
    spark: SparkSession, write: Any, client: Client, hub: HubServer, name: str, tmp_path: Path
) -> None:
    (tmp_path / "data").mkdir()
    pq.write_table(pa.table({"small": pa.array([1], pa.uint8())}), tmp_path / "data/train-00000-of-00001.parquet")
    hub.import_folder(tmp_path, name)
    with pytest.raises(Exception, match="small"):
        write(spark.sql("select cast(256 as smallint) as small")).mode("append").save(name)
    assert client.dataset(name).to_table()["small"].to_pylist() == [1]


def test_spark_tasks_read_what_decimal_and_binary_columns_hold(read: DataFrameReader, seeds: dict[str, Any]) -> None:
    row = read.option("columns", "['decimal', 'fixed', 'large_binary']").load("demo/types").first()
    assert row is not None
    assert (row.decimal, bytes(row.fixed), bytes(row.large_binary)) == (decimal.Decimal("1.50"), b"abcd", b"\x01")
