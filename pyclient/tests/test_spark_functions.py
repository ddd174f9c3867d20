"""`read` and `write`, the way of Spark 3.3 to 3.5; `make nightly-spark` runs them on the real 3.5."""

from __future__ import annotations

import subprocess
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest

import hubflight
from conftest import READER, WRITER
from pyspark_hubflight import read, write, write_parquet
from seeds import FLIGHT_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import SparkSession

    from flightserver import FlightServer

pytestmark = [pytest.mark.server, pytest.mark.spark]


@pytest.fixture
def near(server: FlightServer) -> dict[str, str]:
    return {"server": server.url, "token": WRITER}


def test_a_dataset_is_read_with_one_partition_per_file(
    spark: SparkSession, near: dict[str, str], seeds: dict[str, Any]
) -> None:
    df = read(spark, "demo/flights", **near)
    assert df.rdd.getNumPartitions() == FLIGHT_FILES
    rows = df.collect()
    assert [r.hour for r in rows] == seeds["flights"]["hour"].to_pylist()
    assert [r.carrier for r in rows] == seeds["flights"]["carrier"].to_pylist()
    assert [r.day for r in rows] == seeds["flights"]["day"].to_pylist()
    few = read(spark, "demo/flights", columns=["carrier", "hour"], filters=[("hour", "<", 60)], **near)
    assert few.columns == ["carrier", "hour"]
    assert few.count() == 600
    assert read(spark, "demo/flights", limit=0, **near).count() == 0
    assert [r.id for r in read(spark, "demo/chat", **near).limit(3).collect()] == [0, 1, 2]


def test_types_are_those_of_the_data_source(spark: SparkSession, near: dict[str, str], seeds: dict[str, Any]) -> None:
    df = read(spark, "demo/types", **near)
    kinds = dict(df.dtypes)
    assert (kinds["uint64"], kinds["ts_ms"], kinds["large_list"]) == ("decimal(20,0)", "timestamp_ntz", "array<string>")
    rows = df.collect()
    for name in ("uint8", "string", "large_string", "fixed", "date", "ts_ntz", "decimal", "fixed_list", "dictionary"):
        assert [r[name] for r in rows] == seeds["types"][name].to_pylist(), name


def test_writing_appends_overwrites_and_keeps_the_schema_of_nothing(spark: SparkSession, near: dict[str, str]) -> None:
    name = f"demo/functions-{uuid.uuid4().hex[:8]}"
    df = spark.range(0, 100, 1, 3).selectExpr("id", "cast(id as string) as text")
    result = write(df, name, create_repo=True, **near)
    assert (result.rows, len(result.paths)) == (100, 3)
    write(df, name, **near)
    assert read(spark, name, **near).count() == 200
    write(df.limit(0), name, mode="overwrite", **near)
    empty = read(spark, name, **near)
    assert (empty.count(), empty.columns) == (0, ["id", "text"])
    assert write(df, name, mode="ignore", **near).skipped
    with pytest.raises(hubflight.AlreadyExists):
        write(df, name, mode="ErrorIfExists", **near)


def test_what_is_wrong_is_said_before_a_task_runs(spark: SparkSession, near: dict[str, str]) -> None:
    with pytest.raises(hubflight.InvalidOption, match="did you mean 'columns'"):
        read(spark, "demo/flights", colums=["hour"], **near)
    with pytest.raises(hubflight.DatasetNotFound):
        read(spark, "demo/nothing", **near)
    with pytest.raises(hubflight.InvalidOption, match="mode"):
        write(spark.range(1), "demo/flights", mode="replace", **near)


def test_a_failed_task_commits_nothing(spark: SparkSession, near: dict[str, str]) -> None:
    name = f"demo/failing-{uuid.uuid4().hex[:8]}"
    write(spark.range(10), name, create_repo=True, **near)
    with pytest.raises(Exception, match=r"assert_true|USER_RAISED|is not true"):
        write(spark.range(1000).where("id < 990 or assert_true(id < 995) is null"), name, **near)
    assert read(spark, name, **near).count() == 10


@pytest.fixture
def conf(spark: SparkSession) -> Iterator[Callable[[str], None]]:
    """Sets the session's token."""
    yield lambda token: spark.conf.set("spark.hubflight.token", token)
    spark.conf.unset("spark.hubflight.token")


def test_the_token_of_the_sessions_conf_is_for_all_that_runs_in_the_driver(
    spark: SparkSession, server: FlightServer, conf: Callable[[str], None]
) -> None:
    name, df, near = f"demo/conf-{uuid.uuid4().hex[:8]}", spark.range(10), {"server": server.url}
    for nothing in (None, " "):
        if nothing is not None:
            conf(nothing)
        with pytest.raises(hubflight.HubflightError, match=r"\[(unauthenticated|denied|not_found)\]"):
            read(spark, "demo/secret", **near)
    conf(READER)
    assert read(spark, "demo/secret", **near).count() == 6000
    with pytest.raises(hubflight.HubflightError, match=r"\[(unauthenticated|denied)\]") as caught:
        write(df, name, create_repo=True, **near)
    assert READER not in str(caught.value)
    assert write(df, name, create_repo=True, Token=WRITER, **near).rows == 10  # an option comes first
    conf(WRITER)
    assert write(df, name, **near).rows == 10
    assert write_parquet(df, f"hf://datasets/{name}-parts", create_repo=True, server=server.url).rows == 10
    with pytest.raises(hubflight.HubflightError, match=r"\[(unauthenticated|denied)\]"):
        write_parquet(df, f"hf://datasets/{name}-parts", storage_options={"token": READER}, server=server.url)
    conf("of two\nlines")
    with pytest.raises(hubflight.InvalidOption, match="not a token") as refused:
        read(spark, "demo/secret", **near)
    assert "lines" not in str(refused.value)


PATCHED = """
import pyspark.sql
from pyspark.sql import DataFrameReader, DataFrameWriter
def members():
    classes = (DataFrameReader, DataFrameWriter)
    return {(of.__name__, name): member for of in classes for name, member in vars(of).items()}
before = members()
assert {("DataFrameReader", "load"), ("DataFrameWriter", "save")} <= set(before)
import pyspark_hubflight, hubflight
from pyspark_hubflight import read, write, write_parquet
after = members()
assert before.keys() == after.keys()
print([key for key in before if before[key] is not after[key]])
"""


def test_nothing_of_sparks_own_is_patched(spark: SparkSession, near: dict[str, str]) -> None:
    """Neither by the import, which another process looks at, nor by a read and a write."""
    done = subprocess.run([sys.executable, "-c", PATCHED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr

    reader, writer = type(spark.read), type(spark.range(1).write)
    before = [vars(of).copy() for of in (reader, writer)]
    assert {"format", "option", "load"} <= set(before[0])
    assert {"format", "option", "save"} <= set(before[1])
    assert read(spark, "demo/chat", limit=1, **near).count() == 1
    write(spark.range(1), f"demo/patched-{uuid.uuid4().hex[:8]}", create_repo=True, **near)
    for of, had in zip((reader, writer), before, strict=True):
        assert vars(of).keys() == had.keys()
        assert [name for name, member in vars(of).items() if member is not had[name]] == []
