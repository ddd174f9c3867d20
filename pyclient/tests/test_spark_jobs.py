"""Jobs of many tasks with real Spark: busy and restarted servers, early ends, damaged files, and why filters are not
taken over from a query.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import flight

from flightserver import FlightServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

pytestmark = [pytest.mark.server, pytest.mark.spark]


@pytest.fixture
def serve(spark: SparkSession, tmp_path: Path) -> Iterator[Any]:
    """Starts a server of the test's own over a local folder of files; gives it and the folder's DataFrame."""
    started: list[FlightServer] = []

    def start(tables: list[pa.Table], *flags: str, **options: str) -> tuple[FlightServer, DataFrame]:
        (tmp_path / "set/data").mkdir(parents=True)
        (tmp_path / "server").mkdir()
        for i, table in enumerate(tables):
            path = tmp_path / f"set/data/train-{i:05d}-of-{len(tables):05d}.parquet"
            pq.write_table(table, path, row_group_size=1000)
        server = FlightServer(tmp_path / "server", "--local.roots", str(tmp_path / "set"), *flags).start()
        started.append(server)
        reader = spark.read.format("hubflight").option("server", server.url).options(**options)
        return server, reader.load(f"file://{tmp_path}/set")

    yield start
    for server in started:
        server.stop()


def wide(start: int, rows: int) -> pa.Table:
    """Rows of two kilobytes, so that no buffer on the way holds a file."""
    return pa.table({"i": range(start, start + rows), "text": ["x" * 2000] * rows})


def test_two_hundred_tasks_finish_on_a_server_that_does_one_thing_at_a_time(serve: Any, tmp_path: Path) -> None:
    files = [wide(0, 50_000), *(wide(10 * n, 10) for n in range(5000, 5199))]
    server, df = serve(files, "--scan.slots", "1", "--server.max_streams", "1")
    assert df.rdd.getNumPartitions() == 200
    with flight.connect(server.url) as client:
        command = json.dumps({"v": 1, "dataset": f"file://{tmp_path}/set"})
        endpoints = client.get_flight_info(flight.FlightDescriptor.for_command(command)).endpoints
        held = client.do_get(endpoints[0].ticket)  # the only stream, until somebody was turned away
        held.read_chunk()

        def let_go() -> None:
            deadline = time.monotonic() + 120
            while "server.max_streams" not in server.log() and time.monotonic() < deadline:
                time.sleep(0.05)
            held.cancel()

        waiting = threading.Thread(target=let_go)
        waiting.start()
        got = df.selectExpr("count(*)", "sum(i)").first()
        waiting.join()
    assert tuple(got) == (51_990, sum(range(51_990)))
    assert "server.max_streams" in server.log()


class Gate:
    """A relay in front of a server that stops after some megabytes of answers until it is opened."""

    def __init__(self, server: FlightServer, most: int) -> None:
        self.full, self.opened = threading.Event(), threading.Event()
        self._to, self._left = ("127.0.0.1", int(server.url.rpartition(":")[2])), most
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"grpc://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            near = self._listener.accept()[0]
            try:
                far = socket.create_connection(self._to)
            except OSError:  # nobody is there just now
                near.close()
                continue
            threading.Thread(target=self._pump, args=(near, far, False), daemon=True).start()
            threading.Thread(target=self._pump, args=(far, near, True), daemon=True).start()

    def _pump(self, here: socket.socket, there: socket.socket, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(1 << 16):
                self._left -= len(data) if answers else 0
                if self._left < 0 and answers:
                    self.full.set()
                    self.opened.wait()
                there.sendall(data)
        for end in (here, there):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_a_server_that_is_killed_in_the_middle_costs_a_resume_and_no_task(spark: SparkSession, serve: Any) -> None:
    server, _ = serve([wide(20000 * n, 20000) for n in range(2)])
    gate = Gate(server, 20 << 20)  # of 80 MB
    df = spark.read.format("hubflight").option("server", gate.url).load(f"file://{server.directory.parent}/set")
    answers: list[Any] = []
    group = "of-the-restart"

    def run() -> None:
        spark.sparkContext.setJobGroup(group, group)
        answers.extend(df.selectExpr("count(*)", "count(distinct i)", "sum(i)").collect())

    running = threading.Thread(target=run)
    running.start()
    assert gate.full.wait(120)
    server.stop(signal.SIGKILL)
    server.start()
    gate.opened.set()
    running.join(120)
    assert [tuple(row) for row in answers] == [(40000, 40000, sum(range(40000)))]
    _, _, since = server.log().rpartition("msg=serving")
    assert since.count("rpc=DoGet") >= 1  # what was cut went on at the new server
    tracker = spark.sparkContext.statusTracker()
    jobs = [info for number in tracker.getJobIdsForGroup(group) if (info := tracker.getJobInfo(number)) is not None]
    stages = [at for job in jobs for number in job.stageIds if (at := tracker.getStageInfo(number)) is not None]
    assert stages
    assert all(stage.numFailedTasks == 0 for stage in stages)


def test_a_data_frame_outlives_the_server_that_planned_it(serve: Any) -> None:
    server, df = serve([pa.table({"i": range(100)}) for _ in range(3)])
    assert df.count() == 300
    server.stop()
    server.start()
    assert df.where("i < 10").count() == 30


def test_show_ends_the_stream_after_the_first_rows(serve: Any) -> None:
    server, df = serve([wide(0, 20000), wide(20000, 20000)])
    assert [r.i for r in df.take(3)] == [0, 1, 2]
    deadline = time.monotonic() + 10
    while "rpc=DoGet" not in server.log() and time.monotonic() < deadline:
        time.sleep(0.02)
    streams = [line for line in server.log().splitlines() if "rpc=DoGet" in line]
    assert len(streams) == 1  # of two files
    assert "code=OK" not in streams[0]


def test_large_files_are_split_by_the_option(serve: Any) -> None:
    _, df = serve([wide(0, 8000)], max_partition_bytes="1")
    assert df.rdd.getNumPartitions() == 8
    assert [r.i for r in df.select("i").collect()] == list(range(8000))


def test_a_damaged_file_is_one_paragraph_with_its_name(spark: SparkSession, serve: Any, tmp_path: Path) -> None:
    _, df = serve([pa.table({"i": range(1000), "s": ["abc" * 30] * 1000})])
    assert df.count() == 1000
    path = tmp_path / "set/data/train-00000-of-00001.parquet"
    content, status = bytearray(path.read_bytes()), path.stat()
    content[100:400] = b"\xff" * 300
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(Exception, match=r"train-00000-of-00001\.parquet") as caught:
        df.selectExpr("sum(length(s))").collect()
    text = str(caught.value)
    ours = text[text.index("hubflight.errors.") :].split("\n\n")[0].strip()
    assert "During handling" not in text
    assert "Traceback" not in ours
    assert ours.count("\n") <= 1, ours


# The reader that takes filters over, as Spark's documentation has it: a source of four rows.
def test_filters_taken_over_from_a_query_give_wrong_rows(spark: SparkSession) -> None:
    """The reason why the option `pushdown` is refused. If this fails, Spark has been repaired: offer it since then."""
    from pyspark.sql.datasource import DataSource, DataSourceReader, EqualTo, Filter, InputPartition
    from pyspark.sql.types import StructType

    class FourReader(DataSourceReader):
        wanted: tuple[int, ...] = (1, 2, 3, 4)

        def partitions(self) -> list[InputPartition]:
            return [InputPartition(self.wanted)]

        def read(self, partition: InputPartition) -> Iterator[tuple[int]]:
            yield from ((i,) for i in partition.value)

        def pushFilters(self, filters: list[Filter]) -> Iterator[Filter]:
            for one in filters:
                if isinstance(one, EqualTo):
                    self.wanted = tuple(i for i in self.wanted if i == one.value)
                else:
                    yield one

    class Four(DataSource):
        @classmethod
        def name(cls) -> str:
            return "four_rows"

        def schema(self) -> str:
            return "id int"

        def reader(self, schema: StructType) -> DataSourceReader:
            return FourReader()

    spark.dataSource.register(Four)
    spark.conf.set("spark.sql.python.filterPushdown.enabled", "true")
    try:
        df = spark.read.format("four_rows").load()
        assert df.where("id = 1").count() == 1
        assert df.count() == 1, "4 rows are right: Spark has been repaired"
    finally:
        spark.conf.unset("spark.sql.python.filterPushdown.enabled")
