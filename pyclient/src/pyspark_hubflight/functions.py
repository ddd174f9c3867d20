"""`read` and `write` as plain functions, for Spark 3.3 to 3.5, which has no data sources in Python.

They are built on ``mapInArrow`` and change nothing of Spark's own. They work on Spark 4 too, where
``format("hubflight")`` is the better way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame, SparkSession

    from hubflight.connection import Server
    from hubflight.writing import WriteResult

__all__ = ["read", "write"]


def read(spark: SparkSession, path: str | PathLike[str], **options: Any) -> DataFrame:
    """A DataFrame over a dataset, one partition for each data file; the options are those of the data source.

    The plan is made now, and every action reads its snapshot. Without the option ``token`` it is that of the session's
    conf ``spark.hubflight.token``, if there is one.
    """
    from hubflight.connection import Connection, connect_to
    from hubflight.options import parse_read
    from hubflight.reading import Plan
    from pyspark_hubflight.conf import with_token
    from pyspark_hubflight.schemas import arrow_schema, spark_schema

    if not any(name.lower() == "profile" for name in options):
        options["profile"] = "spark"
    parsed = parse_read({"path": path, **with_token(options, spark)})
    server = connect_to(parsed.connecting, parsed.command["dataset"])
    with Connection(server) as connection:
        plan = Plan.of(connection, parsed.command)
    schema = spark_schema(plan.schema)
    if not plan.partitions:
        return spark.createDataFrame([], schema)
    tickets = [(bytearray(part.ticket), list(part.locations)) for part in plan.partitions]
    # A task for each: Spark merges partitions after shuffles only.
    parts = spark.sparkContext.parallelize(tickets, len(tickets))
    frame = spark.createDataFrame(parts, "ticket binary, locations array<string>")
    return frame.mapInArrow(_reading(server, arrow_schema(schema)), schema)


def _reading(server: Server, target: pa.Schema) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def batches(tickets: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from hubflight.casting import Caster
        from hubflight.reading import Partition, read_partition

        caster = None
        for chunk in tickets:
            for row in chunk.to_pylist():
                partition = Partition(row["ticket"], tuple(row["locations"]))
                for batch in read_partition(server, partition, interruptible=False):
                    caster = caster or Caster(batch.schema, target, "read")
                    yield caster.cast(batch)

    return batches


def write(df: DataFrame, path: str | PathLike[str], mode: str = "append", **options: Any) -> WriteResult:
    """Writes a DataFrame as files of a dataset's split: tasks upload, then the driver commits.

    Args:
        df: the DataFrame.
        path: the dataset.
        mode: ``append``, ``overwrite``, ``errorifexists`` (or ``error``) or ``ignore``.
        options: the write options of the data source; ``token`` as for `read`.
    """
    from hubflight.connection import connect_to
    from hubflight.options import parse_mode, parse_write
    from hubflight.writing import Job, WriteResult
    from pyspark_hubflight.conf import with_token
    from pyspark_hubflight.parquet import run_job, written_schema

    mode = parse_mode(mode)
    parsed = parse_write({"path": path, **with_token(options, df.sparkSession)})
    job = Job.begin(connect_to(parsed.connecting, parsed.dataset), parsed, mode, written_schema(df))
    if job.skipped is not None:
        return WriteResult(skipped=job.skipped)
    return run_job(df, job, keep_schema=mode != "append")
