"""Writing with real Spark: `df.write.format("hubflight")` and `write_parquet`."""

from __future__ import annotations

import re
import uuid
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import hubflight
from conftest import READER, WRITER
from hubflight import Client

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import DataFrame, DataFrameReader, DataFrameWriter, SparkSession

    from flightserver import FlightServer
    from hubserver import HubServer

pytestmark = [pytest.mark.server, pytest.mark.spark]


@pytest.fixture
def write(server: FlightServer) -> Callable[[DataFrame], DataFrameWriter]:
    """`df.write.format("hubflight")` with the server and a writing token."""
    return lambda df: df.write.format("hubflight").option("server", server.url).option("token", WRITER)


@pytest.fixture
def name() -> str:
    return f"demo/spark-{uuid.uuid4().hex[:8]}"


def frame(spark: SparkSession, start: int = 0, rows: int = 1000, partitions: int = 3) -> DataFrame:
    return spark.range(start, start + rows, 1, partitions).selectExpr(
        "id",
        "cast(id as string) as text",
        "if(id % 7 = 0, null, timestamp_seconds(id)) as moment",
        "array(struct(id as n, 'x' as s), null) as items",
        "map('k', id) as pairs",
        "cast(id as decimal(12, 2)) as amount",
        "cast(cast(id as string) as binary) as raw",
        "date_add(date'1969-12-31', cast(id as int)) as day",
        "cast(timestamp_seconds(id) as timestamp_ntz) as wall",
        "cast(id as float) as single",
        "cast(id % 100 as tinyint) as tiny",
        "id % 2 = 0 as even",
    )


def same(got: DataFrame, want: DataFrame) -> None:
    """Equal rows, in order of id."""
    assert got.columns == want.columns
    assert got.orderBy("id").collect() == want.orderBy("id").collect()


def test_an_append_twice_adds_its_rows_twice(spark: SparkSession, read: DataFrameReader, write: Any, name: str) -> None:
    write(frame(spark)).option("create_repo", "true").mode("append").save(name)
    same(read.load(name), frame(spark))
    write(frame(spark, 1000)).mode("append").save(name)
    same(read.load(name), frame(spark, 0, 2000))
    assert read.load(name).rdd.getNumPartitions() == 6


def test_an_overwrite_leaves_only_the_new_rows(
    spark: SparkSession, read: DataFrameReader, write: Any, name: str
) -> None:
    write(frame(spark)).option("create_repo", "true").mode("append").save(name)
    new = frame(spark, 50, 20).select("id", "text")
    write(new).mode("overwrite").save(name)
    same(read.load(name), new)


def test_what_was_read_can_be_filtered_and_written_back(read: DataFrameReader, write: Any, name: str) -> None:
    chosen = read.option("filters", '[("langdetect", "=", "zh-cn")]').load("demo/chat")
    write(chosen).option("create_repo", "true").mode("append").save(name)
    same(read.load(name), chosen)


def test_configs_and_splits_are_written_apart(
    spark: SparkSession, read: DataFrameReader, write: Any, name: str
) -> None:
    write(frame(spark, rows=10)).option("create_repo", "true").mode("append").save(name)
    write(frame(spark, rows=20)).option("split", "test").mode("append").save(name)
    write(frame(spark, rows=30)).option("config", "more").mode("append").save(name)
    assert read.load(name).count() == 10
    assert read.option("split", "test").load(name).count() == 20
    assert read.option("config", "more").option("split", "train").load(name).count() == 30


def test_empty_partitions_and_empty_frames(spark: SparkSession, read: DataFrameReader, write: Any, name: str) -> None:
    write(frame(spark).where("id < 5")).option("create_repo", "true").mode("append").save(name)
    assert read.load(name).rdd.getNumPartitions() == 1
    write(frame(spark).where("id < 0")).mode("append").save(name)
    assert read.load(name).count() == 5
    write(frame(spark).where("id < 0")).mode("overwrite").save(name)
    empty = read.load(name)
    assert empty.count() == 0
    assert empty.columns == frame(spark).columns


def test_the_default_mode_is_refused_by_spark_with_its_own_text(spark: SparkSession, write: Any, name: str) -> None:
    with pytest.raises(Exception, match='cannot be written in the "ErrorIfExists" mode') as caught:
        write(frame(spark)).save(name)
    assert "Append" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "texts"),
    [
        ({"create_repoo": "true"}, ["unknown write option 'create_repoo': did you mean 'create_repo'?"]),
        ({}, ["[not_found]"]),
        ({"create_repo": "true", "token": READER}, ["["]),
        ({"create_repo": "perhaps"}, ["option create_repo: true or false is needed"]),
    ],
)
def test_errors_before_the_first_row_are_readable_and_hold_no_token(
    spark: SparkSession, write: Any, name: str, options: dict[str, str], texts: list[str]
) -> None:
    with pytest.raises(Exception, match="PYTHON_DATA_SOURCE_ERROR") as caught:
        write(frame(spark)).options(**options).mode("append").save(name)
    text = str(caught.value)
    for wanted in texts:
        assert wanted in text
    assert WRITER not in text
    assert READER not in text


def test_a_column_that_does_not_fit_is_named(spark: SparkSession, write: Any, name: str) -> None:
    write(frame(spark)).option("create_repo", "true").mode("append").save(name)
    with pytest.raises(Exception, match="amounts"):
        write(frame(spark).withColumnRenamed("amount", "amounts")).mode("append").save(name)


def test_columns_that_differ_in_case_only_are_refused_unless_spark_tells_them_apart(
    spark: SparkSession, server: FlightServer, client: Client, write: Any, name: str
) -> None:
    import pyspark_hubflight

    df = spark.range(3).toDF("id").selectExpr("id", "id + 1 as ID")
    near: dict[str, Any] = {"server": server.url, "token": WRITER, "create_repo": True}
    error = "the columns 'id' and 'ID' differ in case only"
    with pytest.raises(Exception, match=rf"{error}.*spark.sql.caseSensitive and use pyspark_hubflight.write"):
        write(df).option("create_repo", "true").mode("append").save(name)
    for function, path in ((pyspark_hubflight.write, name), (pyspark_hubflight.write_parquet, f"hf://datasets/{name}")):
        with pytest.raises(hubflight.InvalidOption, match=error):
            function(df, path, **near)
        with pytest.raises(hubflight.DatasetNotFound):  # nothing was sent, and no repository made
            client.dataset(name).plan()
    spark.conf.set("spark.sql.caseSensitive", "true")
    try:
        pyspark_hubflight.write(df, name, **near)
    finally:
        spark.conf.unset("spark.sql.caseSensitive")
    assert client.dataset(name).schema.names == ["id", "ID"]


def test_a_failed_task_commits_nothing(spark: SparkSession, client: Client, write: Any, name: str) -> None:
    write(frame(spark)).option("create_repo", "true").mode("append").save(name)
    head = client.dataset(name).plan().facts["sha"]
    broken = frame(spark).where("id < 990 or assert_true(id < 995) is null")
    with pytest.raises(Exception, match=r"assert_true|USER_RAISED|is not true"):
        write(broken).mode("append").save(name)
    assert client.dataset(name).plan().facts["sha"] == head


def test_write_parquet_makes_numbered_parts(
    spark: SparkSession, read: DataFrameReader, server: FlightServer, hub: HubServer, name: str, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    from pyspark_hubflight import write_parquet

    options: dict[str, Any] = {"server": server.url, "storage_options": {"token": WRITER}}
    path = f"hf://datasets/{name}"
    with pytest.raises(hubflight.DatasetNotFound):
        write_parquet(frame(spark), path, **options)
    options["bloom_filter_options"] = {"text": {"ndv": 1000, "fpp": 0.05}, "id": True, "amount": False}
    result = write_parquet(frame(spark), path, create_repo=True, compression="zstd", row_group_size=100, **options)
    assert result.rows == 1000
    assert sorted(result.paths) == [f"part-{i:05d}.parquet" for i in range(3)]
    group = pq.read_metadata(hub.parquet_files(READER, name, tmp_path)[0]).row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    if hasattr(columns[0], "bloom_filter_offset"):  # known to pyarrow since its version 23
        assert {c.path_in_schema for c in columns if c.bloom_filter_offset} == {"text", "id"}
    same(read.load(name), frame(spark))

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        again = write_parquet(frame(spark, 0, 500, 2), path, **options)
    assert again.stale == ["part-00002.parquet"]
    assert sum("longer write" in str(w.message) for w in seen) == 1

    write_parquet(frame(spark, 0, 500, 2), path, mode="overwrite", **options)
    same(read.load(name), frame(spark, 0, 500))
    write_parquet(frame(spark, 500, 100, 1), path, mode="append", **options)
    same(read.load(name), frame(spark, 0, 600))
    with pytest.raises(hubflight.AlreadyExists):
        write_parquet(frame(spark), path, mode="error", **options)


def test_write_parquet_counts_its_files_on_a_terminal_and_nowhere_else(
    spark: SparkSession, server: FlightServer, name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    from pyspark_hubflight import write_parquet

    options: dict[str, Any] = {"server": server.url, "token": WRITER, "create_repo": True}
    write_parquet(frame(spark), f"hf://datasets/{name}/quiet", **options)
    assert "files" not in capfd.readouterr().err
    write_parquet(frame(spark, 0, 400, 2), f"hf://datasets/{name}/shown", progress=True, **options)
    counts = re.findall(r"write: ([\d.]+) files", capfd.readouterr().err)
    assert float(counts[-1]) == 2, counts


def test_write_parquet_makes_one_file_of_the_given_name(
    spark: SparkSession, read: DataFrameReader, server: FlightServer, hub: HubServer, name: str
) -> None:
    from huggingface_hub import HfFileSystem

    from pyspark_hubflight import write_parquet

    filesystem = HfFileSystem(endpoint=hub.url, token=WRITER)
    result = write_parquet(
        frame(spark), f"hf://datasets/{name}/data.parquet", server=server.url, filesystem=filesystem, create_repo=True
    )
    assert result.paths == ["data.parquet"]
    same(read.load(name), frame(spark))
    other = HfFileSystem(endpoint="https://hub.invalid", token=WRITER)
    with pytest.raises(hubflight.InvalidOption, match="endpoint"):
        write_parquet(frame(spark), f"hf://datasets/{name}/data.parquet", server=server.url, filesystem=other)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"compresion": "zstd"}, "unknown argument 'compresion': did you mean 'compression'?"),
        ({"version": "1.0"}, "version='1.0': the server writes the files and cannot do that"),
        ({"use_deprecated_int96_timestamps": True}, "use_deprecated_int96_timestamps=True"),
        ({"bloom_filter_options": ["id"]}, "bloom_filter_options is a dict"),
        ({"bloom_filter_options": {"id": 1}}, "bloom_filter_options of 'id': true, false or a dict"),
        ({"bloom_filter_options": {"id": {"fpp": 0.001}}}, "fpp=0.001 of 'id': the server's filters are made for 0.01"),
        ({"mode": "replace"}, "append, overwrite, errorifexists (or error) or ignore is needed, not 'replace'"),
        ({"storage_options": {"key": 1}}, "only token and endpoint are known"),
        ({"filesystem": object()}, "only a Hub filesystem"),
        ({"path": "hf://buckets/demo/some/data"}, "is a bucket: only dataset repositories can be read and written"),
    ],
)
def test_write_parquet_refuses_what_it_cannot_do_by_name(
    spark: SparkSession, server: FlightServer, name: str, arguments: dict[str, Any], error: str
) -> None:
    from pyspark_hubflight import write_parquet

    with pytest.raises(hubflight.HubflightError) as caught:
        write_parquet(frame(spark), **{"path": f"hf://datasets/{name}", "server": server.url, **arguments})
    assert error in str(caught.value)


def footers(hub: HubServer, name: str) -> dict[str, Any]:
    """The footers of a repository's Parquet files, by path."""
    import pyarrow.parquet as pq
    from huggingface_hub import HfFileSystem

    filesystem = HfFileSystem(endpoint=hub.url, token=WRITER, use_listings_cache=False)
    found = {}
    for path in filesystem.find(f"datasets/{name}"):
        if path.endswith(".parquet"):
            with filesystem.open(path) as opened:
                found[path] = pq.read_metadata(opened)
    return found


def test_write_options_in_any_case_reach_the_files_the_commits_and_the_repository(
    spark: SparkSession, read: DataFrameReader, write: Any, hub: HubServer, name: str
) -> None:
    from huggingface_hub import HfApi

    df = spark.range(0, 12_000, 1, 1).selectExpr("id", "sha2(cast(id as string), 256) as text", "id % 5 as few")
    options = {
        "Create_Repo": "true", "PRIVATE": "False", "Row_Group_Size": "2000", "Compression": "zstd",
        "COMPRESSION_LEVEL": "9", "use_Dictionary": "['few']", "Data_Page_Size": "1KiB", "Write_Page_Index": "FALSE",
        "Write_Statistics": "('id',)", "Max_Bytes_Per_File": "150KB", "MAX_Operations_per_commit": "2",
        "Commit_Message": "many options", "Publish": "Switch", "replace_FORMAT": "true",
    }  # fmt: skip
    write(df).options(**options).mode("append").save(name)
    same(read.load(name), df)

    found = footers(hub, name)
    assert len(found) > 2  # as many as the size asks for
    for footer in found.values():
        groups = [footer.row_group(i) for i in range(footer.num_row_groups)]
        assert [group.num_rows for group in groups[:-1]] == [2000] * (len(groups) - 1)
        assert groups[-1].num_rows <= 2000
        for group in groups:
            ids, text, few = (group.column(i) for i in range(3))
            assert [column.compression for column in (ids, text, few)] == ["ZSTD"] * 3
            assert [column.has_dictionary_page for column in (ids, text, few)] == [False, False, True]
            assert [column.is_stats_set for column in (ids, text, few)] == [True, False, False]
            assert not any(column.has_column_index or column.has_offset_index for column in (ids, text, few))
            # A header for each kilobyte: of one page, it would be less than 100 bytes.
            assert ids.total_uncompressed_size - 8 * group.num_rows > 10 * (8 * group.num_rows // 1024)

    api = HfApi(endpoint=hub.url, token=WRITER)
    assert api.dataset_info(name).private is False
    titles = [c.title for c in api.list_repo_commits(name, repo_type="dataset") if c.title.startswith("many options")]
    assert len(titles) > 2  # of at most two operations each
    assert titles[::-1] == [f"many options (part {i:05d}-of-{len(titles):05d})" for i in range(len(titles))]


def test_a_write_replaces_files_of_another_format_only_if_it_is_told_to(
    spark: SparkSession, read: DataFrameReader, write: Any, hub: HubServer, name: str, tmp_path: Path
) -> None:
    from huggingface_hub import HfApi

    (tmp_path / "data").mkdir()
    (tmp_path / "data/train.csv").write_text("id\n1\n")
    hub.import_folder(tmp_path, name)
    df = spark.range(3)
    with pytest.raises(Exception, match=r"\[unsupported\]"):
        write(df).mode("append").save(name)
    write(df).option("Replace_Format", "True").mode("append").save(name)
    same(read.load(name), df)
    paths = HfApi(endpoint=hub.url, token=WRITER).list_repo_files(name, repo_type="dataset")
    assert not [path for path in paths if path.endswith(".csv")]


def test_what_a_write_has_done_is_one_line_of_the_drivers_output(
    server: FlightServer, client: Client, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """As the driver's Python process runs it; that Spark shows the line is seen in `test_wheel`."""
    import pyarrow as pa
    from pyspark.sql.types import LongType, StructField, StructType

    from pyspark_hubflight.source import DefaultSource

    batch = pa.RecordBatch.from_pydict({"id": range(10)})

    def line(*batches: pa.RecordBatch, overwrite: bool = False, **options: str) -> str:
        source = DefaultSource({"path": name, "server": server.url, "token": WRITER, **options})
        writer = source.writer(StructType([StructField("id", LongType())]), overwrite)
        writer.commit([writer.write(iter(batches))])
        told = capsys.readouterr()
        assert told.out == ""
        return told.err

    written = line(batch, create_repo="true")
    head = client.dataset(name).plan().facts["sha"]
    assert written == f"hubflight: {name}: 10 rows, 1 file, 1 commit, head {head}\n"
    proposed = line(batch, batch, create_pr="true")
    assert re.fullmatch(
        rf"hubflight: {name}: 20 rows, 1 file, 1 commit, head [0-9a-f]{{40}}, pull request 1\n", proposed
    )
    assert client.dataset(name).num_rows == 10
    assert client.dataset(name, revision="refs/pr/1").num_rows == 30
    assert line() == f"hubflight: {name}: no rows, hence no commit\n"
    assert line(overwrite=True).startswith(f"hubflight: {name}: 0 rows, 1 file, 1 commit, head ")
