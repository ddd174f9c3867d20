"""Reading with real Spark: `spark.read.format("hubflight")`."""

from __future__ import annotations

import datetime as dt
import decimal
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conftest import READER
from seeds import CHAT_FILES, FLIGHT_FILES

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import DataFrameReader, SparkSession

    from flightserver import FlightServer
    from hubserver import HubServer

pytestmark = [pytest.mark.server, pytest.mark.spark]


def test_importing_is_cheap_and_loads_neither_pyarrow_nor_grpc() -> None:
    code = "import sys, pyspark_hubflight, pyspark_hubflight_py, hubflight; print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "False"


def test_importing_survives_a_spark_without_data_sources() -> None:
    code = (
        "import sys; sys.modules['pyspark.sql.datasource'] = None\n"
        "import pyspark_hubflight, pyspark_hubflight_py\n"
        "print(hasattr(pyspark_hubflight, 'DefaultSource'), hasattr(pyspark_hubflight_py, 'DefaultSource'))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == ["False", "False"]


def test_a_dataset_loads_with_one_partition_per_file(read: DataFrameReader, seeds: dict[str, Any]) -> None:
    df = read.load("demo/flights")
    assert df.rdd.getNumPartitions() == FLIGHT_FILES
    assert df.count() == 6000
    assert [r.hour for r in df.limit(25).collect()] == seeds["flights"]["hour"].to_pylist()[:25]
    got = df.toArrow()
    assert got["carrier"].to_pylist() == seeds["flights"]["carrier"].to_pylist()
    assert got["day"].to_pylist() == seeds["flights"]["day"].to_pylist()


def test_config_split_and_revision_choose_what_is_read(
    read: DataFrameReader, seeds: dict[str, Any], tmp_path: Path, hub: HubServer
) -> None:
    assert read.load("demo/chat").count() == 900
    assert read.option("config", "gen").load("demo/chat").rdd.getNumPartitions() == CHAT_FILES
    assert read.option("config", "gen").load("demo/chat").count() == 300
    for i in (1, 2):
        (tmp_path / str(i) / "data").mkdir(parents=True)
        pq.write_table(pa.table({"a": [i] * i}), tmp_path / str(i) / "data/train-00000-of-00001.parquet")
    first = hub.import_folder(tmp_path / "1", "demo/revisions")
    hub.import_folder(tmp_path / "2", "demo/revisions")
    base = read.option("config", "default")
    assert [r.a for r in base.load("demo/revisions").collect()] == [2, 2]
    assert [r.a for r in base.load(f"demo/revisions@{first}").collect()] == [1]
    assert [r.a for r in base.option("revision", first).load("demo/revisions").collect()] == [1]


def test_splits(read: DataFrameReader) -> None:
    assert read.option("Split", "test").load("demo/flights").count() == 100


@pytest.mark.parametrize("text", ['["langdetect"]', "['langdetect']", "langdetect"])
def test_columns_in_every_notation(read: DataFrameReader, text: str) -> None:
    df = read.option("columns", text).load("demo/chat")
    assert df.columns == ["langdetect"]
    assert {r.langdetect: r["count"] for r in df.groupBy("langdetect").count().collect()} == {
        "en": 300, "zh-cn": 300, "de": 300,
    }  # fmt: skip


def test_columns_come_in_the_order_of_the_option(read: DataFrameReader) -> None:
    df = read.options(columns=str(["day", "hour"])).load("demo/flights")
    assert df.columns == ["day", "hour"]
    assert df.first() == (dt.date(2024, 1, 1), 0)


@pytest.mark.parametrize("text", ['[("langdetect", "=", "zh-cn")]', '[["langdetect","=","zh-cn"]]'])
def test_filters_in_both_notations(read: DataFrameReader, text: str) -> None:
    ids = [r.id for r in read.option("filters", text).load("demo/chat").select("id").collect()]
    assert ids == list(range(300, 600))


def test_filters_prune_partitions_and_keep_exactly_the_matching_rows(
    read: DataFrameReader, seeds: dict[str, Any]
) -> None:
    df = read.option("filters", "[('hour', '<', 60), ('carrier', 'not in', ['AA'])]").load("demo/flights")
    assert df.rdd.getNumPartitions() == 1
    want = seeds["flights"].filter((pc.field("hour") < 60) & ~pc.field("carrier").isin(["AA"]))
    assert df.toArrow()["dest.name"].to_pylist() == want["dest.name"].to_pylist()


def test_limit_and_zero_partitions(read: DataFrameReader) -> None:
    assert read.option("limit", "2000").load("demo/flights").count() == 2000
    none = read.option("limit", "0").load("demo/flights")
    assert none.count() == 0
    assert none.columns[0] == "hour"
    assert read.option("limit", "1000000").option("filters", "[('hour','=',-5)]").load("demo/flights").count() == 0


def test_data_files_of_a_data_dir_are_read_and_sizes_of_batches_change_no_row(
    read: DataFrameReader, server: FlightServer, seeds: dict[str, Any]
) -> None:
    options: dict[str, Any] = {
        "data_files": {"train": ["part-0.parquet", "part-2.parquet"]}, "Data_Dir": "gen", "batch_rows": 7,
        "BATCH_BYTES": "64KiB", "Compression": "zstd",
    }  # fmt: skip
    df = read.options(**options).load("demo/chat")
    assert df.rdd.getNumPartitions() == 2
    want = pa.concat_tables([seeds["chat"]["gen"].slice(0, 100), seeds["chat"]["gen"].slice(200)])
    assert df.toArrow()["id"].to_pylist() == want["id"].to_pylist()
    assert [row.conversations for row in df.select("conversations").limit(3).collect()] == [
        [(said["from"], said["value"]) for said in row] for row in want["conversations"].to_pylist()[:3]
    ]

    from pyspark_hubflight.source import DefaultSource

    given = {name: str(value) for name, value in options.items()}
    source = DefaultSource({"path": "demo/chat", "server": server.url, **given})
    reader = source.reader(source.schema())
    sizes = [batch.num_rows for part in reader.partitions() for batch in reader.read(part)]
    assert (sum(sizes), max(sizes)) == (200, 7)


def test_spark_sql_runs_over_it(spark: SparkSession, read: DataFrameReader) -> None:
    df = read.option("columns", '["langdetect"]').load("demo/chat")
    got = spark.sql("SELECT langdetect, count(*) AS n FROM {df} GROUP BY 1 ORDER BY 1", df=df).collect()
    assert [tuple(r) for r in got] == [("de", 300), ("en", 300), ("zh-cn", 300)]


def test_a_view_of_sql_is_read_and_a_table_of_the_catalog_refused_with_the_way_out(
    spark: SparkSession, server: FlightServer
) -> None:
    options = f"OPTIONS (path 'demo/flights', server '{server.url}', token '{READER}')"
    spark.sql(f"CREATE TEMPORARY VIEW flights_of_sql USING hubflight {options}")
    assert spark.sql("SELECT count(*) FROM flights_of_sql").first()[0] == 6000  # type: ignore[index]
    way_out = r"CREATE TEMPORARY VIEW name USING hubflight OPTIONS \(path 'ns/name'\)"
    with pytest.raises(Exception, match=rf"CREATE TABLE: Spark tells the source neither path.*{way_out}") as caught:
        spark.sql(f"CREATE TABLE flights_table USING hubflight {options}")
    assert READER not in str(caught.value)
    spark.sql(f"CREATE TABLE flights_table (hour INT) USING hubflight {options}")  # of which no source hears
    try:
        for statement in ("SELECT * FROM flights_table", "INSERT INTO flights_table VALUES (1)"):
            with pytest.raises(Exception, match=rf"the dataset is missing.*{way_out}"):
                spark.sql(statement).collect()
    finally:
        spark.sql("DROP TABLE flights_table")
    with pytest.raises(Exception, match="the dataset is missing"):
        spark.read.format("hubflight").load()
    with pytest.raises(Exception, match=r"takes one dataset and no list.*data_files"):
        spark.read.format("hubflight").load(["demo/flights", "demo/chat"])


def test_streams_of_spark_are_refused_with_the_way_out(
    spark: SparkSession, server: FlightServer, tmp_path: Path
) -> None:
    near = {"server": server.url, "token": READER}
    stream = spark.readStream.format("hubflight").options(**near).load("demo/flights")
    with pytest.raises(Exception, match=r"readStream: a dataset is read as it is at one commit: use spark\.read"):
        stream.writeStream.format("noop").option("checkpointLocation", str(tmp_path / "1")).start().awaitTermination(60)
    rate = spark.readStream.format("rate").load()
    writing = rate.writeStream.format("hubflight").options(**near).option("checkpointLocation", str(tmp_path / "2"))
    with pytest.raises(Exception, match=r"writeStream: write each batch.*foreachBatch"):
        writing.start("demo/flights").awaitTermination(60)


def test_two_scans_of_one_data_frame_agree(read: DataFrameReader) -> None:
    df = read.load("demo/flights")
    assert df.where("hour = 1").count() == 10
    assert df.count() == 6000
    assert df.where("hour = 2").count() == 10
    assert df.select("hour").distinct().join(df.select("hour").distinct(), "hour").count() == 600


def test_show_stops_early(read: DataFrameReader) -> None:
    rows = read.load("demo/chat").take(3)
    assert [r.id for r in rows] == [0, 1, 2]


def test_a_users_schema_is_a_projection_with_casts(read: DataFrameReader, seeds: dict[str, Any]) -> None:
    df = read.schema("carrier string, hour bigint").load("demo/flights")
    assert df.toArrow().schema.field("hour").type == pa.int64()
    assert [r.hour for r in df.limit(12).collect()] == [0] * 10 + [1] * 2
    nested = read.schema("conversations array<struct<value: string>>, id string").load("demo/chat")
    first = nested.collect()[0]
    want = seeds["chat"]["7M-core"].slice(0, 1).to_pylist()[0]
    assert [m.value for m in first.conversations] == [m["value"] for m in want["conversations"]]
    assert first.id == "0"


def test_types_round_trip(read: DataFrameReader, seeds: dict[str, Any]) -> None:
    df = read.load("demo/types")
    kinds = dict(df.dtypes)
    assert kinds["uint8"] == "smallint"
    assert kinds["uint32"] == "bigint"
    assert kinds["uint64"] == "decimal(20,0)"
    assert kinds["float16"] == "float"
    assert kinds["ts_ntz"] == kinds["ts_ms"] == kinds["ts_ns"] == "timestamp_ntz"
    assert kinds["ts_utc"] == kinds["ts_zone"] == "timestamp"
    assert all(field.nullable for field in df.schema.fields)
    got, want = df.toArrow(), seeds["types"]
    assert got["uint64"].to_pylist() == [decimal.Decimal(0), decimal.Decimal(2**64 - 1), None]
    assert got["ts_ns"].to_pylist() == [
        dt.datetime(2024, 1, 31, 12, 30, 15, 123456),
        dt.datetime(1969, 12, 31, 23, 59, 59, 999999),  # the floor, not the nearest to zero
        None,
    ]
    for name in want.column_names:
        if name in ("uint64", "ts_ns"):
            continue
        if name in ("ts_utc", "ts_zone"):
            assert got[name].cast(pa.timestamp("us", "UTC")).to_pylist() == (
                want[name].cast(pa.timestamp("us", "UTC")).to_pylist()
            )
            continue
        assert got[name].to_pylist() == want[name].to_pylist(), name


def test_both_names_answer(spark: SparkSession, server: FlightServer) -> None:
    for name in ("hubflight", "HubFlight", "hubflight_py"):
        df = spark.read.format(name).option("server", server.url).option("SPLIT", "test").load("demo/flights")
        assert df.count() == 100


def test_another_name_can_be_registered(spark: SparkSession, server: FlightServer) -> None:
    from pyspark_hubflight import register_as

    register_as("huggingface_of_the_tests")
    df = spark.read.format("huggingface_of_the_tests").option("server", server.url).load("demo/chat")
    assert df.count() == 900


def test_the_snapshot_is_pinned_at_load(read: DataFrameReader, tmp_path: Path, hub: HubServer) -> None:
    for i in (1, 2):
        (tmp_path / str(i) / "data").mkdir(parents=True)
        pq.write_table(pa.table({"a": [i]}), tmp_path / str(i) / "data/train-00000-of-00001.parquet")
    hub.import_folder(tmp_path / "1", "demo/pinned")
    df = read.load("demo/pinned")
    hub.import_folder(tmp_path / "2", "demo/pinned")
    assert [r.a for r in df.collect()] == [1]
    assert [r.a for r in read.load("demo/pinned").collect()] == [2]


@pytest.mark.parametrize(
    ("options", "path", "texts"),
    [
        ({"colums": "a"}, "demo/flights", ["[invalid] unknown read option 'colums': did you mean 'columns'?"]),
        ({"columns": '["hours"]'}, "demo/flights", ["[invalid]", 'did you mean "hour"? the columns are hour, carrier']),
        ({"filters": "[('hours', '=', 1)]"}, "demo/flights", ["[invalid]", 'mean "hour"? the columns are: hour']),
        ({}, "demo/nothing", ["[not_found]", "demo/nothing"]),
        ({"filters": "[('hour', '~', 1)]"}, "demo/flights", ["[invalid] filters, conjunction 1, term 1", "'~'"]),
        ({"filters": "[('hour', '=', 'one')]"}, "demo/flights", ["[invalid]", "hour", "int32"]),
        ({"filters": "lang = en"}, "demo/flights", ["neither a Python literal nor JSON"]),
        ({"split": "nothing"}, "demo/flights", ["nothing", "train"]),
        ({"pushdown": "true"}, "demo/flights", ["[unsupported]", "wrong rows", "filters"]),
        ({"endpoint": "https://hub.invalid"}, "demo/flights", ["[invalid] option endpoint"]),
        ({"token": "hf_revokedrevoked"}, "demo/secret", ["["]),
    ],
)
def test_errors_are_readable_at_load_and_hold_no_token(
    read: DataFrameReader, options: dict[str, str], path: str, texts: list[str]
) -> None:
    with pytest.raises(Exception, match="PYTHON_DATA_SOURCE_ERROR") as caught:
        read.options(**options).load(path)
    text = str(caught.value)
    for wanted in texts:
        assert wanted in text
    assert type(caught.value).__name__ == "AnalysisException"
    assert READER not in text
    assert "revokedrevoked" not in text
    assert "Traceback" not in text.split("hubflight.errors.")[-1]


def test_plans_and_partitions_show_no_token(
    spark: SparkSession, server: FlightServer, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = "hubflight-server-secret"
    df = spark.read.format("hubflight").option("server", server.url).options(token=READER, server_token=secret)
    loaded = df.load("demo/flights")
    loaded.explain("extended")
    assert loaded.count() == 6000
    shown = capsys.readouterr().out + str(loaded) + loaded._jdf.queryExecution().toString()
    assert "hubflight" in shown
    assert READER not in shown
    assert secret not in shown


def test_the_token_of_the_sessions_conf_reaches_a_data_source_as_an_option_only(
    spark: SparkSession, server: FlightServer
) -> None:
    """Why the README says so: Spark makes sources in processes of their own, which get the options and no conf."""
    reader = spark.read.format("hubflight").option("server", server.url)
    spark.conf.set("spark.hubflight.token", READER)
    try:
        with pytest.raises(Exception, match=r"\[(unauthenticated|denied|not_found)\]"):
            reader.load("demo/secret")
        token = spark.conf.get("spark.hubflight.token")
        assert token is not None
        assert reader.option("token", token).load("demo/secret").count() == 6000
    finally:
        spark.conf.unset("spark.hubflight.token")


def test_the_source_itself_shows_no_token_and_pickles_no_socket(server: FlightServer) -> None:
    import pickle

    from pyspark.sql.datasource import InputPartition

    from pyspark_hubflight.source import DefaultSource

    source = DefaultSource({"path": "demo/secret", "server": server.url, "token": READER})
    schema = source.schema()
    reader = pickle.loads(pickle.dumps(source.reader(schema)))  # noqa: S301
    parts = reader.partitions()
    assert isinstance(parts, list)
    for part in parts:
        copy: InputPartition = pickle.loads(pickle.dumps(part))  # noqa: S301
        assert READER not in repr(copy)
        assert READER.encode() not in pickle.dumps(part)
    assert READER not in repr(vars(source)) + repr(vars(reader))
    assert sum(batch.num_rows for part in parts for batch in reader.read(part)) == 6000
    assert list(reader.read(None)) == []
    assert list(reader.read(InputPartition(None))) == []
    stream = reader.read(parts[0])
    next(stream)
    stream.close()


def test_json_and_python_notations_agree_on_a_nested_path(read: DataFrameReader) -> None:
    paths = json.dumps([["conversations", "value"], "id"])
    df = read.option("columns", paths).load("demo/chat")
    assert df.columns == ["conversations", "id"]
    assert df.schema["conversations"].dataType.simpleString() == "array<struct<value:string>>"
