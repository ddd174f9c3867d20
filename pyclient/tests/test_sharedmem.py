"""Rows through shared memory: what both ends do with a segment, and reading and writing with the real server."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hubflight
from flightserver import FlightServer
from hubflight import sharedmem
from hubflight.sharedmem import Receiver, Sender, Unusable

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="shared memory is used on Linux alone")

HERE = "grpc+unix:///here.sock"  # nobody asks there: an address of the right kind
FILES, ROWS = 4, 40_000
SLOTS = 3  # of an upload


def always() -> bool:
    return True


def message(**said: object) -> pa.Buffer:
    return pa.py_buffer(json.dumps(said).encode())


def announced(sender: Sender) -> dict[str, Any]:
    named: dict[str, Any] = json.loads(sender.headers[sharedmem.HEADER])
    return named


@contextlib.contextmanager
def both() -> Iterator[tuple[Sender, Receiver]]:
    """Both ends of one segment, in one process."""
    with Sender(HERE) as sender:
        receiver = Receiver()
        assert receiver.take(message(segment=announced(sender)), pa.schema([])) is None
        yield sender, receiver
        receiver.end()


def through(sender: Sender, receiver: Receiver, batch: pa.RecordBatch) -> pa.RecordBatch:
    place = sender.put(batch, always)
    assert place is not None
    got = receiver.take(pa.py_buffer(place), batch.schema)
    assert got is not None
    return got


def numbered(i: int, rows: int = 1000) -> pa.RecordBatch:
    return pa.record_batch({"i": pa.array([i] * rows, pa.int64()), "text": [f"row {i}"] * rows})


def mappings() -> list[tuple[int, int]]:
    lines = Path("/proc/self/maps").read_text(encoding="ascii").splitlines()
    spans = [line.split()[0].split("-") for line in lines if "memfd:hubflight" in line]
    return [(int(first, 16), int(last, 16)) for first, last in spans]


def files() -> int:
    """How many files this process has open that are segments."""
    names = []
    for entry in os.scandir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            names.append(os.readlink(entry.path))
    return sum("memfd:hubflight" in name for name in names)


def is_shared(batch: pa.RecordBatch) -> bool:
    """Whether a batch lies in a segment."""
    addresses = [buffer.address for column in batch.columns for buffer in column.buffers() if buffer and buffer.size]
    spans = mappings()
    inside = [any(first <= address < last for first, last in spans) for address in addresses]
    assert all(inside) or not any(inside)
    return any(inside)


@pytest.fixture(autouse=True)
def share_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests' answers are shorter than those for which memory is shared."""
    monkeypatch.setattr(sharedmem, "INLINE_BYTES", 0)


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """Whatever a test does: in the end there is no mapping and no open file."""
    yield
    gc.collect()
    assert mappings() == []
    assert files() == 0


def test_batches_of_all_types_are_what_they_were(seeds: dict[str, Any]) -> None:
    tables = [seeds["types"].drop_columns(["dictionary"]), seeds["flights"], seeds["chat"]["gen"]]
    with both() as (sender, receiver):
        for table in tables:
            (batch,) = table.combine_chunks().to_batches()
            for piece in (batch, batch.slice(1), batch.slice(1, 1), batch.slice(0, 0)):
                got = through(sender, receiver, piece)
                got.validate(full=True)
                assert repr(got.to_pylist()) == repr(piece.to_pylist())  # as texts: there are NaNs
                assert got.schema.equals(piece.schema, check_metadata=True)


def test_what_does_not_fit_or_needs_a_dictionary_goes_inside_the_stream() -> None:
    with both() as (sender, receiver):
        assert sender.put(pa.record_batch({"text": ["x" * (7 << 20)]}), always) is None
        views = pa.array(["x" * 100] * 80_000, pa.string_view())  # whose size is that of a part, and is written whole
        assert sender.put(pa.record_batch({"v": views.slice(0, 1)}), always) is None
        assert sender.put(pa.record_batch({"d": pa.array(["u", "v"]).dictionary_encode()}), always) is None
        assert is_shared(through(sender, receiver, numbered(1)))


def test_batches_are_larger_where_there_are_slots_for_them() -> None:
    with Sender(HERE) as sender:
        assert sender.batch_bytes(1) == 1  # nobody has attached, even after a moment
        receiver = Receiver()
        receiver.take(message(segment=announced(sender)), pa.schema([]))
        most = sender.batch_bytes(1)
        row = pa.record_batch({"text": ["x" * 1000]})
        (full,) = pa.Table.from_batches([row] * (most // row.nbytes)).combine_chunks().to_batches()
        assert most >= full.nbytes > most - row.nbytes and is_shared(through(sender, receiver, full))
        receiver.end()
    with Sender("grpc://127.0.0.1:1") as sender:
        assert sender.batch_bytes(1) == 1


def test_the_server_is_awaited_once_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    receiver = Receiver()
    with Sender(HERE) as sender:

        def attach(_: float) -> None:
            receiver.take(message(segment=announced(sender)), pa.schema([]))

        monkeypatch.setattr(time, "sleep", attach)
        assert sender.batch_bytes(1) > 1
        receiver.end()
    with Sender(HERE) as sender:
        monkeypatch.setattr(time, "sleep", lambda _: None)
        assert sender.batch_bytes(1) == 1
        monkeypatch.setattr(time, "sleep", pytest.fail)
        assert sender.batch_bytes(1) == 1


def test_a_slot_is_used_again_when_its_batch_is_gone_and_not_before() -> None:
    with both() as (sender, receiver):
        kept = [through(sender, receiver, numbered(i)) for i in range(SLOTS)]
        assert sender.put(numbered(4), always) is None
        part = kept[1].column("text").slice(5, 1)  # an array keeps its batch's memory
        kept[1] = numbered(1)
        assert sender.put(numbered(4), always) is None
        assert part.to_pylist() == ["row 1"]
        del part
        for i in range(5, 100):
            assert through(sender, receiver, numbered(i)).equals(numbered(i))
        assert [batch.equals(numbered(i)) for i, batch in enumerate(kept)] == [True] * SLOTS


def test_large_batches_have_two_slots_and_leave_the_third_to_small_ones() -> None:
    large = pa.record_batch({"text": ["x" * (5 << 20)]})
    with both() as (sender, receiver):
        kept = [through(sender, receiver, large) for _ in range(2)]
        assert sender.put(large, lambda: False) is None
        kept.append(through(sender, receiver, numbered(1)))
        assert sender.put(numbered(2), lambda: False) is None
        assert [batch.num_rows for batch in kept] == [1, 1, 1000] and kept[0].equals(large)


def test_a_sender_waits_a_little_for_a_slot_but_not_for_a_stream_that_has_ended() -> None:
    with both() as (sender, receiver):
        kept = [through(sender, receiver, numbered(i)) for i in range(SLOTS)]
        asked: list[None] = []

        def once() -> bool:
            """Whoever asks finds a slot the next time."""
            asked.append(None)
            kept.clear()
            return True

        assert sender.put(numbered(4), once) is not None and len(asked) == 1
        kept += [through(sender, receiver, numbered(i)) for i in range(SLOTS - 1)]
        assert sender.put(numbered(5), lambda: False) is None
        assert sender.put(numbered(5), pytest.fail) is None  # who has waited in vain does not wait, nor ask
        kept.clear()
        receiver.end()


def test_batches_outlive_the_stream_and_the_sender() -> None:
    with both() as (sender, receiver):
        kept = through(sender, receiver, numbered(7))
        receiver.end()
    assert files() == 0  # any number of streams may have left batches
    assert kept.equals(numbered(7)) and is_shared(kept)


def test_what_was_received_cannot_be_written_to() -> None:
    with both() as (sender, receiver):
        got = through(sender, receiver, numbered(7))
        values = got.column("i").to_numpy(zero_copy_only=True)
        with pytest.raises(ValueError, match="read-only"):
            values[0] = 8
        line = next(x for x in Path("/proc/self/maps").read_text().splitlines() if holds(x, got))
        assert line.split()[1].startswith("r--")
        del values


def holds(line: str, batch: pa.RecordBatch) -> bool:
    first, last = line.split()[0].split("-")
    address: int = batch.column(0).buffers()[1].address
    return int(first, 16) <= address < int(last, 16)


def test_another_segment_than_was_meant_is_left_alone(tmp_path: Path) -> None:
    with Sender(HERE) as sender:
        named = announced(sender)
        (tmp_path / "file").write_bytes(bytes(named["size"]))
        plain = os.open(tmp_path / "file", os.O_RDWR)
        unsealed = os.memfd_create("hubflight-test")
        os.ftruncate(unsealed, named["size"])
        os.pwrite(unsealed, os.pread(named["fd"], 4096, 0), 0)
        queue = tmp_path / "queue"
        os.mkfifo(queue)
        waiting = os.open(queue, os.O_RDWR)
        wrong: list[Any] = [
            {**named, "nonce": "00" * 16},
            {**named, "nonce": "no"},
            {**named, "size": named["size"] + 4096},
            {**named, "pid": 1 << 30},
            {**named, "fd": plain},
            {**named, "fd": unsealed},
            {**named, "fd": waiting},
            {"pid": named["pid"]},
            "a text",
            None,
        ]
        for said in wrong:
            receiver = Receiver()
            assert receiver.take(message(segment=said), pa.schema([])) is None
            assert sender.put(numbered(0), always) is None, said
            with pytest.raises(Unusable, match="no segment"):
                receiver.take(message(slot=0, offset=0, length=8), pa.schema([]))
        for fd in (plain, unsealed, waiting):
            os.close(fd)
        assert Receiver().take(message(segment=named), pa.schema([])) is None
        assert sender.put(numbered(0), always) is not None


@pytest.mark.parametrize(
    "place",
    [
        {"slot": 4, "offset": 0, "length": 8},
        {"slot": -1, "offset": 0, "length": 8},
        {"slot": True, "offset": 0, "length": 8},
        {"slot": 0, "offset": 4, "length": 8},
        {"slot": 0, "offset": 0, "length": (6 << 20) + 8},
        {"slot": 0, "offset": 1 << 62, "length": 8},
        {"slot": 0, "offset": 0},
    ],
)
def test_a_place_outside_the_slots_is_not_looked_at(place: dict[str, Any]) -> None:
    with both() as (_, receiver), pytest.raises(Unusable, match="a slot was announced as"):
        receiver.take(message(**place), numbered(0).schema)


def test_a_place_that_holds_no_batch_is_refused_and_other_messages_mean_nothing() -> None:
    with both() as (_, receiver):
        with pytest.raises(Unusable, match="holds no batch"):
            receiver.take(message(slot=0, offset=0, length=64), numbered(0).schema)
        assert receiver.take(message(other=1), numbered(0).schema) is None
        assert receiver.take(pa.py_buffer(b"\xff no object"), numbered(0).schema) is None


def test_what_a_fork_has_seen_is_never_overwritten() -> None:
    with both() as (sender, receiver):
        kept = [through(sender, receiver, numbered(i)) for i in range(SLOTS - 1)]
        go, tell = os.pipe()
        child = os.fork()
        if child == 0:  # it looks at its batches when its parent has gone on reading
            os.read(go, 1)
            right = all(batch.equals(numbered(i)) for i, batch in enumerate(kept))
            kept.clear()  # which gives nothing back: the slots were its parent's
            os._exit(0 if right else 1)
        kept.clear()
        for i in range(10, 60):
            assert through(sender, receiver, numbered(i)).equals(numbered(i))
        os.write(tell, b".")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        for i in range(60, 90):
            assert through(sender, receiver, numbered(i)).equals(numbered(i))
        more = through(sender, receiver, numbered(0))
        assert sender.put(numbered(0), always) is None  # those that the fork has seen stay in use
        del more
        os.close(go)
        os.close(tell)


@pytest.mark.parametrize(("uri", "switch"), [("grpc://127.0.0.1:1", ""), (HERE, "off"), (HERE, "OFF"), (HERE, "0")])
def test_there_is_none_over_tcp_and_where_it_is_switched_off(
    uri: str, switch: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUBFLIGHT_SHARED_MEMORY", switch)
    with Sender(uri) as sender:
        assert sender.headers == {} and sender.put(numbered(0), always) is None


def test_where_no_memory_can_be_made_uploads_go_on_without(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError("no memory")

    monkeypatch.setattr(os, "posix_fallocate", refuse)
    with Sender(HERE) as sender:
        assert sender.headers == {} and sender.put(numbered(0), always) is None


class Local:
    """A server with a unix socket over a folder of the test's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        socket = folder / "socket"
        self.server = FlightServer(folder, "--server.unix", str(socket), "--local.roots", str(folder))
        self.client = hubflight.connect(f"grpc+unix://{socket}")

    def dataset(self, *tables: pa.Table, name: str = "set", **options: Any) -> hubflight.Dataset:
        (self.folder / name / "data").mkdir(parents=True, exist_ok=True)
        for i, table in enumerate(tables):
            pq.write_table(table, self.folder / name / f"data/train-{i:05d}-of-{len(tables):05d}.parquet")
        return self.client.dataset(f"file://{self.folder}/{name}", **options)


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    running = Local(tmp_path_factory.mktemp("local"))
    running.server.start()
    yield running
    running.server.stop()


@pytest.fixture(scope="module")
def long(local: Local) -> hubflight.Dataset:
    """Files of several dozen batches each, which no buffer on the way can hold; numbers say where a row was."""
    return local.dataset(*(numbers(i) for i in range(FILES)), batch_bytes=1 << 19)


def numbers(file: int) -> pa.Table:
    first = file * ROWS
    return pa.table(
        {"i": pa.array(range(first, first + ROWS), pa.int64()), "text": [f"{i:0400d}" for i in range(ROWS)]}
    )


def rows_of(batches: list[pa.RecordBatch]) -> list[int]:
    return [i for batch in batches for i in batch.column("i").to_pylist()]


@pytest.mark.server
def test_reading_gives_the_same_rows_as_without(local: Local, seeds: dict[str, Any]) -> None:
    for name in ("types", "flights", "chat"):
        table = seeds["chat"]["gen"] if name == "chat" else seeds[name]
        dataset = local.dataset(table, name=name, batch_rows=7 if table.num_rows < 1000 else 500)
        for _ in range(50):  # a short stream is sometimes over before this side has attached
            kept = list(dataset.to_batches())
            if any(is_shared(batch) for batch in kept):
                break
        else:
            assert name == "types"  # which has a dictionary
        plain = dataset.to_table()  # whole tables come inside the stream
        assert not any(is_shared(batch) for batch in plain.to_batches())
        got = pa.Table.from_batches(kept)
        got.validate(full=True)
        assert repr(got.to_pylist()) == repr(plain.to_pylist())
        assert got.schema.equals(plain.schema, check_metadata=True)


@pytest.mark.server
def test_slots_are_used_again_as_batches_are_dropped(long: hubflight.Dataset) -> None:
    shared, where, rows = 0, set(), 0
    for batch in long.to_batches(parallel=1):
        if is_shared(batch):
            shared += 1
            where.add(batch.column("i").buffers()[1].address)
        rows += batch.num_rows
    assert rows == FILES * ROWS
    # Of four slots a stream. How many batches come inside the stream after all depends on how busy the machine is.
    assert shared > 2 * 4 * FILES
    assert len(where) <= 4 * FILES


@pytest.mark.server
def test_batches_that_are_kept_stay_what_they_are(long: hubflight.Dataset) -> None:
    kept = list(long.to_batches())
    shared = [is_shared(batch) for batch in kept]
    assert any(shared) and not all(shared)  # what found no slot came inside the stream, in its turn
    for _ in range(3):
        assert sum(batch.num_rows for batch in long.to_batches()) == FILES * ROWS
    assert rows_of(kept) == list(range(FILES * ROWS))
    assert files() == 0


@pytest.mark.server
@pytest.mark.parametrize("parallel", [1, 4])
def test_closing_early_leaves_nothing_once_batches_are_gone(long: hubflight.Dataset, parallel: int) -> None:
    stream: Any = long.to_batches(parallel=parallel)
    batch = next(stream)
    stream.close()
    first = batch.column("i").to_pylist()
    assert first == list(range(len(first)))  # what is left is for nothing_is_left to see


@pytest.mark.server
def test_a_restart_in_the_middle_costs_no_row_and_no_kept_batch(local: Local, long: hubflight.Dataset) -> None:
    stream = long.to_batches(parallel=2)
    got = [next(stream)]
    while not is_shared(got[-1]):
        got.append(next(stream))
    kept = len(got) - 1
    local.server.stop(signal.SIGKILL)
    back = threading.Timer(0.2, local.server.start)
    back.start()
    got += stream
    back.join()
    assert rows_of(got) == list(range(FILES * ROWS))
    assert is_shared(got[kept])


@pytest.mark.server
def test_a_reader_that_cannot_attach_gets_its_rows_inside_the_stream(
    long: hubflight.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no mappings left")

    monkeypatch.setattr(pa, "memory_map", refuse)
    got = list(long.to_batches())
    assert rows_of(got) == list(range(FILES * ROWS))
    assert not any(is_shared(batch) for batch in got)


@pytest.mark.server
def test_a_place_that_holds_no_batch_is_read_again_without_shared_memory(
    long: hubflight.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    read = pa.ipc.read_record_batch

    def damaged(buffer: pa.Buffer, schema: pa.Schema) -> pa.RecordBatch:
        calls.append(buffer)
        return read(buffer if len(calls) < 5 else buffer.slice(8), schema)

    monkeypatch.setattr(pa.ipc, "read_record_batch", damaged)
    got = list(long.to_batches(parallel=1))
    assert rows_of(got) == list(range(FILES * ROWS))
    assert len(calls) > 5
    calls.clear()


@pytest.mark.server
def test_a_fork_in_the_middle_of_a_stream_keeps_its_batches(long: hubflight.Dataset) -> None:
    stream = long.to_batches(parallel=1)
    kept: list[pa.RecordBatch] = []
    while sum(is_shared(batch) for batch in kept) < 3:
        kept.append(next(stream))
    go, tell = os.pipe()
    child = os.fork()
    if child == 0:
        os.read(go, 1)
        rows = rows_of(kept)
        os._exit(0 if rows == list(range(len(rows))) else 1)
    count = sum(batch.num_rows for batch in kept)
    kept.clear()
    rest = rows_of(list(stream))
    assert rest == list(range(count, FILES * ROWS))
    os.write(tell, b".")
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    os.close(go)
    os.close(tell)


class Uploads:
    """Counts the batches of uploads that went through shared memory and those that did not; changes nothing else."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.shared = self.inside = 0
        put = Sender.put

        def counted(sender: Sender, batch: pa.RecordBatch, going: Any) -> bytes | None:
            place = put(sender, batch, going)
            self.shared, self.inside = self.shared + (place is not None), self.inside + (place is None)
            return place

        monkeypatch.setattr(Sender, "put", counted)


@pytest.mark.server
def test_writing_gives_the_same_rows_as_without(
    local: Local, seeds: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = Uploads(monkeypatch)
    long = pa.concat_tables([numbers(i) for i in range(FILES)])
    types = pa.concat_tables([seeds["types"].drop_columns(["dictionary"])] * 100)
    for name, table in (("long", long), ("chat", seeds["chat"]["gen"]), ("types", types)):
        pieces = table.to_batches(max_chunksize=max(1, table.num_rows // 50))
        for switch in ("off", "on"):
            monkeypatch.setenv("HUBFLIGHT_SHARED_MEMORY", switch)
            target = f"file://{local.folder}/written/{name}-{switch}"
            for _ in range(50):  # a short upload is sometimes over before the server has attached
                local.client.write(iter(pieces), target, mode="overwrite", create_repo=True)
                if switch == "off" or uploads.shared:
                    break
            assert bool(uploads.shared) == (switch == "on"), (name, uploads.inside)
        uploads.shared = 0
        written = [local.client.dataset(f"file://{local.folder}/written/{name}-{switch}") for switch in ("on", "off")]
        given, plain = (dataset.to_table() for dataset in written)
        assert given.equals(plain, check_metadata=False)
        assert given.num_rows == table.num_rows and given.schema.names == table.schema.names


@pytest.mark.server
def test_an_upload_that_is_given_up_leaves_nothing(local: Local) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield from numbers(0).to_batches(max_chunksize=1000)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        local.client.write(rows(), f"file://{local.folder}/written/broken", mode="overwrite", create_repo=True)


@pytest.mark.server
@pytest.mark.spark
def test_sparks_tasks_read_and_write_like_that(
    local: Local, long: hubflight.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark.sql.types import LongType, StringType, StructField, StructType

    from hubflight.options import parse_write
    from hubflight.writing import Job
    from pyspark_hubflight.reader import Reader
    from pyspark_hubflight.writer import StagedMessage, Writer

    schema = StructType([StructField("i", LongType()), StructField("text", StringType())])
    reader = Reader(local.client.server, {"v": 1, "dataset": f"file://{local.folder}/set"}, schema, None)
    parts = reader.partitions()
    assert len(parts) == FILES
    shared = rows = 0
    for part in parts:
        for batch in reader.read(part):
            shared, rows = shared + is_shared(batch), rows + batch.num_rows
    assert rows == FILES * ROWS and shared

    uploads = Uploads(monkeypatch)
    options = parse_write({"path": f"file://{local.folder}/written/spark", "create_repo": True})
    job = Job.begin(local.client.server, options, "append", numbers(0).schema)
    writer = Writer(job, overwrite=False)
    message = writer.write(iter([batch for i in range(FILES) for batch in numbers(i).to_batches(max_chunksize=1000)]))
    assert isinstance(message, StagedMessage) and uploads.shared
    writer.commit([message])
    assert local.client.dataset(f"file://{local.folder}/written/spark").to_table().num_rows == FILES * ROWS


@pytest.mark.server
def test_the_first_batches_of_an_answer_come_inside_the_stream(
    long: hubflight.Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharedmem, "INLINE_BYTES", 5 << 20)
    inside, shared = 0, 0
    for batch in long.to_batches(parallel=1):
        if not is_shared(batch):
            inside += batch.nbytes
        shared += is_shared(batch)
    assert inside > FILES * (4 << 20)
    assert shared > 0
