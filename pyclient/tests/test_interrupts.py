"""Ctrl-C: what waits for a server ends at once, and what is not known then is said."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hubflight
from flightserver import FlightServer
from hubflight import interrupts
from hubflight.connection import Connection
from hubflight.interrupts import Aside, aside
from hubflight.writing import Job
from hubserver import HubServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AFTER = 0.5  # seconds that are waited for, and then no longer


class Silent:
    """A server with a dataset of one file that no buffer on the way can hold; it may fall silent."""

    def __init__(self, directory: Path) -> None:
        (directory / "set/data").mkdir(parents=True)
        (directory / "server").mkdir()
        pq.write_table(pa.table({"text": ["x" * 2000] * 20_000}), directory / "set/data/train.parquet")
        self.server = FlightServer(directory / "server", "--local.roots", str(directory)).start()
        self.client = hubflight.connect(self.server.url)
        self.name = f"file://{directory}/set"

    def fall(self) -> None:
        self._send(signal.SIGSTOP)

    def speak(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, how: signal.Signals) -> None:
        assert self.server._process is not None
        self.server._process.send_signal(how)


@pytest.fixture
def silent(tmp_path: Path) -> Iterator[Silent]:
    it = Silent(tmp_path)
    yield it
    it.speak()
    it.server.stop()


@contextlib.contextmanager
def interrupted(by: signal.Signals = signal.SIGINT) -> Iterator[None]:
    """Sends this process a signal, which is to end what waits."""
    since = time.monotonic()
    timer = threading.Timer(AFTER, os.kill, (os.getpid(), by))
    timer.start()
    try:
        yield
        timer.join()
    finally:
        timer.cancel()
        assert AFTER <= time.monotonic() - since < AFTER + 20


def threads() -> int:
    """Those that are there beside the one that is kept."""
    kept = interrupts._calls._worker
    asides = [thread for thread in threading.enumerate() if thread.name == "hubflight-aside"]
    return sum(kept is None or thread is not kept.thread for thread in asides)


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert condition()


@pytest.mark.server
@pytest.mark.parametrize(
    "ask",
    [
        lambda dataset: dataset.schema,
        lambda dataset: dataset.plan(),
        lambda dataset: dataset.count(),
        lambda dataset: dataset.splits(),
        lambda dataset: dataset.to_table(),
    ],
    ids=["schema", "plan", "count", "splits", "to_table"],
)
def test_a_question_ends_with_ctrl_c(silent: Silent, ask: Callable[[hubflight.Dataset], Any]) -> None:
    silent.fall()
    with pytest.raises(KeyboardInterrupt), interrupted():
        ask(silent.client.dataset(silent.name))
    silent.speak()
    ask(silent.client.dataset(silent.name))
    eventually(lambda: threads() == 0)


@pytest.mark.server
@pytest.mark.parametrize("taken", [0, 1])
def test_a_stream_ends_with_ctrl_c(silent: Silent, taken: int) -> None:
    (partition,) = silent.client.dataset(silent.name).plan().partitions
    batches = hubflight.read_partition(silent.client.server, partition)
    for _ in range(taken):
        next(batches)
    silent.fall()
    with pytest.raises(KeyboardInterrupt), interrupted():
        for _ in batches:
            pass
    silent.speak()
    eventually(lambda: threads() == 0)
    eventually(lambda: "rpc=DoGet" in silent.server.log())  # it has ended there, too
    assert sum(batch.num_rows for batch in hubflight.read_partition(silent.client.server, partition)) == 20_000
    eventually(lambda: threads() == 0)


@pytest.mark.server
def test_what_the_handler_of_a_signal_raises_is_raised_and_nothing_is_tried_again(silent: Silent) -> None:
    def alarm(*_: object) -> None:
        raise TimeoutError("enough")

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        silent.fall()
        with pytest.raises(TimeoutError, match="enough"), interrupted(signal.SIGALRM):
            silent.client.dataset(silent.name).count()
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.server
@pytest.mark.parametrize("raised", [KeyboardInterrupt, TimeoutError])
@pytest.mark.parametrize("sent", [0, 3])
def test_an_upload_ends_with_ctrl_c(
    silent: Silent, monkeypatch: pytest.MonkeyPatch, sent: int, raised: type[BaseException]
) -> None:
    def handler(*_: object) -> None:
        raise raised("enough")

    batch, real = pa.record_batch({"text": ["x" * 2000] * 1000}), Job.abort

    def batches() -> Iterator[pa.RecordBatch]:
        for number in range(500):
            if number == sent:
                silent.fall()
                timer.start()
            yield batch

    def abort(job: Job) -> None:
        assert time.monotonic() - since < 20
        silent.speak()
        real(job)

    def working() -> list[str]:
        names = ("hubflight-put-results", "hubflight-abandoned")
        return [thread.name for thread in threading.enumerate() if thread.name in names]

    monkeypatch.setattr(Job, "abort", abort)
    timer = threading.Timer(2 * AFTER, os.kill, (os.getpid(), signal.SIGINT))
    since = time.monotonic()
    before = signal.signal(signal.SIGINT, handler)
    try:
        with pytest.raises(raised, match="enough"):
            silent.client.write(pa.RecordBatchReader.from_batches(batch.schema, batches()), silent.name, mode="append")
    finally:
        signal.signal(signal.SIGINT, before)
    eventually(lambda: threads() == 0 and not working())
    assert silent.client.dataset(silent.name).count() == 20_000
    table = pa.Table.from_batches([batch])
    silent.client.write(table, silent.name, mode="append")
    assert silent.client.dataset(silent.name).count() == 21_000


@pytest.mark.server
def test_an_interrupted_commit_says_how_to_ask_for_it_and_may_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    real = Connection.commit

    def commit(connection: Connection, *args: Any) -> Any:
        with interrupted():
            return real(connection, *args)

    monkeypatch.setattr(Connection, "commit", commit)
    with HubServer(tmp_path / "hub", faults="hub POST /commit/ #1: delay 4s\n") as hub:
        server = FlightServer(tmp_path / "server", "--hub.endpoint", hub.url).start()
        try:
            client = hubflight.connect(server.url)
            with pytest.raises(KeyboardInterrupt) as caught:
                client.write(pa.table({"a": [1, 2]}), "demo/slow", create_repo=True)
            assert re.search(r"unknown_outcome.*hubflight jobs show [-0-9a-f]{36} demo/slow", str(caught.value))
            eventually(lambda: server.log().count("rpc=DoAction") == 2)  # begin and commit, and no abort before
            assert client.dataset("demo/slow").count() == 2
        finally:
            server.stop()


def test_in_other_threads_and_where_nobody_listens_a_call_stays_where_it_is() -> None:
    def where() -> threading.Thread:
        return aside(threading.current_thread)

    found: list[threading.Thread] = []
    other = threading.Thread(target=lambda: found.append(where()))
    other.start()
    other.join()
    assert found == [other]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert where() is threading.main_thread()
    finally:
        signal.signal(signal.SIGINT, before)
    assert where() is not threading.main_thread()
    with Aside(False) as calls:
        assert calls.run(threading.current_thread) is threading.main_thread()


def test_the_outcome_of_an_interrupted_call_is_not_taken_for_the_next_ones() -> None:
    may, did = threading.Event(), threading.Event()

    def late() -> str:
        may.wait(20)
        did.set()
        return "the first"

    def meanwhile() -> str:
        may.set()
        did.wait(20)
        eventually(lambda: threads() == 1)
        return "the second"

    with Aside() as calls:
        with pytest.raises(KeyboardInterrupt), interrupted():
            calls.run(late)
        assert calls.run(meanwhile) == "the second"
        with pytest.raises(ZeroDivisionError):
            calls.run(lambda: 1 // 0)
        assert threads() == 1
    eventually(lambda: threads() == 0)


def test_a_call_whose_thread_is_ended_just_before_is_made_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = threading.Thread.is_alive
    ended: list[threading.Thread] = []

    def is_alive(thread: threading.Thread) -> bool:
        alive = real(thread)
        if thread.name == "hubflight-aside" and not ended:
            ended.append(thread)
            other = threading.Thread(target=calls.close)
            other.start()
            other.join()
            thread.join(20)
        return alive

    with Aside() as calls:
        assert calls.run(lambda: "one") == "one"
        monkeypatch.setattr(threading.Thread, "is_alive", is_alive)
        assert calls.run(lambda: "another") == "another"
    assert ended


def test_closing_from_another_thread_does_not_wait_for_the_call() -> None:
    closed = threading.Event()

    def close() -> None:
        calls.close()
        closed.set()

    with Aside() as calls:
        other = threading.Timer(0.1, close)
        other.start()
        assert calls.run(lambda: closed.wait(20))
    other.join()


def test_where_no_thread_can_be_started_a_call_stays_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with Aside() as calls:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            for _ in range(2):
                assert calls.run(threading.current_thread) is threading.main_thread()
            with pytest.raises(ZeroDivisionError):
                calls.run(lambda: 1 // 0)
        assert calls.run(threading.current_thread) is not threading.main_thread()


@pytest.mark.server
@pytest.mark.parametrize("last", ["", "1 / 0"], ids=["end", "error"])
@pytest.mark.parametrize("parallel", [1, 2])
def test_a_script_ends_with_a_stream_half_read(tmp_path: Path, parallel: int, last: str) -> None:
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "server").mkdir()
    for number in range(3):
        pq.write_table(pa.table({"text": ["x" * 2000] * 20_000}), tmp_path / f"set/data/train-{number}.parquet")
    server = FlightServer(tmp_path / "server", "--local.roots", str(tmp_path)).start()
    try:
        script = (
            "import hubflight\n"
            f"dataset = hubflight.connect({server.url!r}).dataset('file://{tmp_path}/set')\n"
            f"batches = dataset.to_batches(parallel={parallel})\n"
            "print(next(batches).num_rows > 0, flush=True)\n" + last
        )
        ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=25, check=False)
    finally:
        server.stop()
    assert ended.stdout == "True\n", ended.stderr
    assert ended.returncode == bool(last), ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_the_handler_of_a_signal_may_ask_something_itself() -> None:
    heard: list[str] = []
    asked = threading.Event()

    def ask(*_: object) -> None:
        heard.append(aside(lambda: "asked"))
        asked.set()

    before = signal.signal(signal.SIGALRM, ask)
    try:
        with interrupted(signal.SIGALRM):
            assert aside(lambda: asked.wait(20) and "answered") == "answered"
    finally:
        signal.signal(signal.SIGALRM, before)
    assert heard == ["asked"]


def test_a_fork_asks_in_a_thread_of_its_own() -> None:
    kept = aside(threading.get_native_id)
    assert aside(threading.get_native_id) == kept
    child = os.fork()
    if not child:
        signal.alarm(10)
        os._exit(int(aside(threading.get_native_id) in (kept, threading.get_native_id())))
    assert os.waitpid(child, 0)[1] == 0
    assert aside(threading.get_native_id) == kept
