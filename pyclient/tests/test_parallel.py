"""Reading several files at once, progress, and the ways into other libraries."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import hubflight
from flightserver import FlightServer
from hubflight import parallel, reading
from hubflight.progress import Bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from hubflight import Client

pytestmark = pytest.mark.server

FILES, ROWS = 6, 20_000


@pytest.fixture
def wide(tmp_path: Path) -> Iterator[tuple[FlightServer, hubflight.Dataset, pa.Table]]:
    """A server of the test's own with six files that no buffer on the way can hold."""
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "server").mkdir()
    table = pa.table({"i": range(FILES * ROWS), "text": ["x" * 2000] * (FILES * ROWS)})
    for i in range(FILES):
        pq.write_table(table.slice(i * ROWS, ROWS), tmp_path / f"set/data/train-{i}-of-{FILES}.parquet")
    server = FlightServer(tmp_path / "server", "--local.roots", str(tmp_path / "set")).start()
    yield server, hubflight.connect(server.url).dataset(f"file://{tmp_path}/set"), table
    server.stop()


def threads() -> int:
    return sum(thread.name.startswith("hubflight-read") for thread in threading.enumerate())


@pytest.mark.parametrize("parallel", [1, 2, 4, 99])
def test_rows_come_in_order_however_many_files_are_read_at_once(wide: Any, parallel: int) -> None:
    _, dataset, table = wide
    got = pa.Table.from_batches(dataset.to_batches(parallel=parallel))
    assert got["i"].to_pylist() == table["i"].to_pylist()
    assert threads() == 0


def test_without_an_order_all_rows_come_once(wide: Any) -> None:
    _, dataset, table = wide
    got = pa.Table.from_batches(dataset.to_batches(ordered=False))
    assert sorted(got["i"].to_pylist()) == table["i"].to_pylist()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_streams_that_are_read_at_once_have_a_connection_each(wide: Any) -> None:
    server, dataset, _ = wide
    port = f":{int(server.url.rpartition(':')[2]):04X}"

    def connections() -> int:
        rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
        return sum(row[1].endswith(port) and row[3] == "01" for row in rows)

    batches = dataset.to_batches(parallel=3)
    next(batches)
    deadline = time.monotonic() + 60
    while connections() < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert connections() == 3
    batches.close()


def test_closing_ends_all_streams_at_once(wide: Any) -> None:
    server, dataset, _ = wide
    stream = dataset.to_batches()
    next(stream)
    assert threads() > 1
    since = time.monotonic()
    stream.close()
    assert threads() == 0
    assert time.monotonic() - since < 5
    deadline = time.monotonic() + 60
    while server.log().count("rpc=DoGet") < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    ended = [line for line in server.log().splitlines() if "rpc=DoGet" in line]
    assert len(ended) <= 4  # no further file was begun
    assert not all("code=OK" in line for line in ended)


def test_what_waits_for_a_slow_consumer_is_bounded(wide: Any) -> None:
    _, dataset, table = wide
    before = pa.total_allocated_bytes()
    stream = dataset.to_batches(parallel=2)
    next(stream)
    time.sleep(0.5)
    # Two files, two batches of about 2 MiB each and what gRPC has in hand, of 240 MB.
    assert pa.total_allocated_bytes() - before < table.nbytes / 2
    stream.close()


def test_an_error_in_one_file_is_raised_once_and_ends_the_others(wide: Any, tmp_path: Path) -> None:
    _, dataset, _ = wide
    dataset.plan()
    path = tmp_path / f"set/data/train-3-of-{FILES}.parquet"
    pq.write_table(pa.table({"i": [1], "text": ["another"]}), path)
    with pytest.raises(hubflight.SnapshotChanged, match="train-3"):
        list(dataset.to_batches())
    assert threads() == 0


def test_a_restart_in_the_middle_costs_no_row(wide: Any) -> None:
    server, dataset, table = wide
    stream = dataset.to_batches()
    got = [next(stream)]
    server.stop()
    back = threading.Timer(0.5, server.start)
    back.start()
    got += list(stream)
    back.join()
    assert pa.Table.from_batches(got)["i"].to_pylist() == table["i"].to_pylist()


def test_polars_duckdb_and_loops(client: Client, seeds: dict[str, Any]) -> None:
    import duckdb

    dataset = client.dataset("demo/flights", columns=["hour", "carrier"])
    total = pc.sum(seeds["flights"]["hour"]).as_py()
    assert dataset.to_polars()["hour"].sum() == total
    con = duckdb.connect()
    made = dataset.to_duckdb(con, 'fl"ights')
    assert made.aggregate("count(*), sum(hour)").fetchall() == [(6000, total)]
    assert con.execute('select count(*) from "fl""ights"').fetchall() == [(6000,)]
    rows = iter(dataset)
    assert next(rows) == {"hour": 0, "carrier": seeds["flights"]["carrier"][0].as_py()}
    assert sum(row["hour"] for row in rows) == total


def test_a_bar_is_shown_on_a_terminal_and_nowhere_else(client: Client, capsys: pytest.CaptureFixture[str]) -> None:
    dataset = client.dataset("demo/flights")
    dataset.to_table()
    assert capsys.readouterr().err == ""
    dataset.to_table(progress=True)
    assert "6.00k" in capsys.readouterr().err
    with Bar("read", -1, "rows") as bar:
        bar.add(5)
    assert capsys.readouterr().err == ""


def test_a_parallel_reader_by_tickets_as_in_ray(client: Client, seeds: dict[str, Any]) -> None:
    """A process for each ticket, as Ray's read tasks are: what crosses is plain data."""
    import multiprocessing

    plan = client.dataset("demo/flights", columns=["hour"]).plan()
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        sums = pool.starmap(_sum_of, [(client.server, part) for part in plan.partitions])
    assert sum(sums) == pc.sum(seeds["flights"]["hour"]).as_py()


def _sum_of(server: hubflight.Server, partition: hubflight.Partition) -> int:
    return sum(pc.sum(batch["hour"]).as_py() for batch in hubflight.read_partition(server, partition))


def test_a_pause_before_the_next_attempt_ends_with_the_reading(monkeypatch: pytest.MonkeyPatch) -> None:
    pausing = threading.Event()

    class Slow:
        def wait(self, *_: object) -> float:
            pausing.set()
            return 3600.0

    monkeypatch.setattr(reading, "PATIENT", Slow())
    stop = reading.Stop()
    server = hubflight.connect("grpc://127.0.0.1:1").server  # nobody is there
    rows = reading.read_partition(server, reading.Partition(b"ticket"), stop=stop)
    thread = threading.Thread(target=list, args=(rows,), daemon=True)
    thread.start()
    assert pausing.wait(60)
    stop.give()
    thread.join(30)
    assert not thread.is_alive()


def test_at_the_end_of_the_interpreter_nothing_waits_for_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    may = threading.Event()

    def read(partition: hubflight.Partition, stop: reading.Stop) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"i": [1]})
        may.wait(20)

    reader = parallel._Reading(read, [hubflight.Partition(b"")] * 2, 2, True)
    next(reader.batches())
    monkeypatch.setattr(sys, "is_finalizing", lambda: True)
    since = time.monotonic()
    reader.end()
    assert time.monotonic() - since < 10
    monkeypatch.undo()
    may.set()
    reader.end()
    assert threads() == 0


def test_where_the_machine_has_no_more_threads_those_that_run_end(wide: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, dataset, _ = wide
    start, started = threading.Thread.start, 0

    def few(thread: threading.Thread) -> None:
        nonlocal started
        if thread.name.startswith("hubflight-read"):
            started += 1
            if started == 3:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", few)
    with pytest.raises(RuntimeError, match="new thread"):
        next(dataset.to_batches(parallel=4))
    assert started == 3
    assert threads() == 0
