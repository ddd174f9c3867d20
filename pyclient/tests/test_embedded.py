"""The server that nobody configured: started on first use, shared, replaced, and without anybody's token."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hubflight
from conftest import READER, WRITER
from hubflight import embedded
from hubflight.connection import resolve_server
from hubflight.options import Connecting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pyspark.sql import SparkSession

    from hubserver import HubServer

pytestmark = pytest.mark.server


@pytest.fixture
def place(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder of the test's own for embedded servers, which end with it; its path is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="hf-"))
    monkeypatch.setenv("HUBFLIGHT_EMBEDDED_DIR", str(folder / "run"))
    yield folder / "run"
    for lock in (folder / "run").glob("*.lock"):
        end(int(lock.read_text()), signal.SIGKILL)
    shutil.rmtree(folder)


def end(pid: int, how: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


def unlocked(place: Path) -> bool:
    """Whether the only server's lock is free."""
    (path,) = place.glob("*.lock")
    with path.open("r+b") as file, embedded._tried(file.fileno()) as free:
        return free


def bindable(address: embedded.Address) -> bool:
    """Whether an address on loopback is free again."""
    try:
        socket.create_server(("127.0.0.1", int(address.uri.rpartition(":")[2]))).close()
    except OSError:
        return False
    return True


def server_pid(place: Path) -> int:
    """The only server's process."""
    (lock,) = place.glob("*.lock")
    return int(lock.read_text())


def eventually(condition: Any, seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(condition())


def test_without_a_server_one_is_started_and_reads_and_writes(place: Path, hub: HubServer, seeds: Any) -> None:
    name = f"demo/own-{uuid.uuid4().hex[:8]}"
    client = hubflight.connect(token=WRITER, endpoint=hub.url)
    assert client.dataset("demo/flights").num_rows == 6000
    client.write(pa.table({"a": [1, 2]}), name, create_repo=True)
    assert client.dataset(name).to_table()["a"].to_pylist() == [1, 2]
    first = server_pid(place)
    again = hubflight.connect(endpoint=hub.url + "/").dataset("demo/chat").to_table()
    assert again.num_rows == 900
    assert server_pid(place) == first
    assert client.version()["hub_endpoint"].rstrip("/") == hub.url.rstrip("/")


def test_the_hub_comes_from_the_environment_and_private_data_needs_the_callers_token(
    place: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    with pytest.raises(hubflight.HubflightError) as caught:
        hubflight.connect().dataset("demo/secret").to_table()
    assert caught.value.kind in ("unauthenticated", "denied", "not_found")
    monkeypatch.setenv("HF_TOKEN", READER)
    assert hubflight.connect().dataset("demo/secret").num_rows == 6000
    # One caller's token is not there for the next.
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(hubflight.HubflightError):
        hubflight.connect().dataset("demo/secret").to_table()
    server_pid(place)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("given", ["HF_TOKEN", "the login file", "the option"])
def test_a_token_is_nowhere_but_in_the_call(
    place: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str
) -> None:
    if given == "HF_TOKEN":
        monkeypatch.setenv("HF_TOKEN", WRITER)
    elif given == "the login file":
        (tmp_path / "token").write_text(WRITER + "\n")
        monkeypatch.setenv("HF_HOME", str(tmp_path))
    # All that the server writes is below the place: its socket and locks, what it caches, what it spools.
    (place.parent / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(place.parent / "tmp"))
    monkeypatch.setenv("HUBFLIGHT_CACHE_DIR", str(place.parent / "cache"))
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("MY_SECRET", "of-somebody-else")
    client = hubflight.connect(token=WRITER if given == "the option" else None)
    assert client.dataset("demo/secret").to_table().num_rows == 6000
    client.write(pa.table({"a": [1]}), f"demo/own-{uuid.uuid4().hex[:8]}", create_repo=True)
    with pytest.raises(hubflight.DatasetNotFound):
        client.dataset("demo/nothing").to_table()
    process = Path(f"/proc/{server_pid(place)}")
    seen = (process / "environ").read_bytes() + (process / "cmdline").read_bytes()
    files = [file for file in place.parent.rglob("*") if file.is_file()]
    assert any(place.parent / "cache" in file.parents for file in files)
    for file in files:
        with contextlib.suppress(FileNotFoundError):
            seen += file.read_bytes()
    assert WRITER.encode() not in seen
    assert b"HF_" not in (process / "environ").read_bytes()
    assert b"of-somebody-else" not in seen
    assert WRITER not in repr(client.server)
    assert (place.stat().st_mode & 0o777, next(place.glob("*.sock")).stat().st_mode & 0o777) == (0o700, 0o600)


def test_sixteen_processes_at_once_start_one_server(place: Path) -> None:
    code = "from hubflight.embedded import locate, wanted; print(locate(wanted()).uri)"
    running = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(16)]
    told = {process.communicate(timeout=60)[0] for process in running}
    assert [process.returncode for process in running] == [0] * 16
    assert len(told) == 1
    server_pid(place)


def test_the_hubs_own_switches_are_obeyed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HUBFLIGHT_HUB_ENDPOINT", "HF_ENDPOINT", "HUGGINGFACE_CO_STAGING", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"
    ):  # fmt: skip
        monkeypatch.delenv(name, raising=False)
    plain = embedded.wanted()
    assert plain.endpoint is None
    for wrong in ("hub:1", "ftp://hub", "http://", "http://hub:port", "http://[::1"):
        with pytest.raises(hubflight.InvalidOption, match="not an http"):
            embedded.wanted(wrong)
    assert "HUBFLIGHT_HUB_OFFLINE" not in dict(plain.settings)
    monkeypatch.setenv("HUGGINGFACE_CO_STAGING", "yes")
    assert embedded.wanted().endpoint == "https://hub-ci.huggingface.co"
    assert embedded.wanted("http://127.0.0.1:1").endpoint == "http://127.0.0.1:1"
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:2/")
    assert embedded.wanted().endpoint == "http://127.0.0.1:2"
    monkeypatch.setenv("HUBFLIGHT_HUB_ENDPOINT", "http://127.0.0.1:3/")  # the server's own name for it comes first
    assert embedded.wanted().endpoint == "http://127.0.0.1:3"
    assert embedded.wanted("http://127.0.0.1:1").endpoint == "http://127.0.0.1:1"
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    assert embedded.wanted().settings == plain.settings
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert dict(embedded.wanted().settings)["HUBFLIGHT_HUB_OFFLINE"] == "true"


def test_offline_the_hub_is_not_asked_and_folders_are_read(
    place: Path, hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HUBFLIGHT_LOCAL_ROOTS", str(tmp_path))
    (tmp_path / "set" / "data").mkdir(parents=True)
    pq.write_table(pa.table({"id": [1, 2]}), tmp_path / "set" / "data" / "train.parquet")
    client = hubflight.connect(endpoint=hub.url)
    with pytest.raises(hubflight.Unsupported, match="HF_HUB_OFFLINE"):
        client.dataset("demo/flights").to_table()
    assert client.dataset(f"file://{tmp_path}/set").num_rows == 2


def test_it_outlives_the_process_that_started_it(place: Path) -> None:
    code = "import os, signal; from hubflight.embedded import *; locate(wanted()); os.killpg(0, signal.SIGKILL)"
    done = subprocess.run([sys.executable, "-c", code], start_new_session=True, check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    first = server_pid(place)
    embedded.locate(embedded.wanted())
    assert server_pid(place) == first
    os.kill(first, 0)


def test_a_crashed_one_is_replaced_and_a_stream_goes_on(place: Path, tmp_path: Path) -> None:
    (tmp_path / "set/data").mkdir(parents=True)
    table = pa.table({"i": range(20_000), "bytes": [os.urandom(1000) for _ in range(20_000)]})
    pq.write_table(table, tmp_path / "set/data/train.parquet", row_group_size=5000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HUBFLIGHT_LOCAL_ROOTS", str(tmp_path))
        dataset = hubflight.connect().dataset(f"file://{tmp_path}/set")
    stream = dataset.to_batches()
    got = [next(stream), next(stream)]
    first = server_pid(place)
    end(first, signal.SIGKILL)
    got += list(stream)
    assert pa.Table.from_batches(got).equals(table)
    assert server_pid(place) != first
    end(server_pid(place), signal.SIGKILL)
    assert dataset.count() == 20_000


def test_it_ends_when_idle_and_comes_back_when_needed(place: Path, monkeypatch: pytest.MonkeyPatch, seeds: Any) -> None:
    monkeypatch.setenv("HUBFLIGHT_EMBEDDED_IDLE", "300ms")
    monkeypatch.setenv("HUBFLIGHT_LOCAL_ROOTS", str(seeds["folder"]))
    dataset = hubflight.connect().dataset(str(seeds["folder"] / "flights"))
    plan = dataset.plan()
    assert eventually(lambda: not list(place.glob("*.lock")))
    assert not list(place.glob("*.sock"))
    # Tickets are as good for the next server.
    batches = [batch for part in plan.partitions for batch in hubflight.read_partition(dataset.server, part)]
    assert sum(batch.num_rows for batch in batches) == 6000


def test_an_upgraded_package_does_not_talk_to_an_old_server(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HUBFLIGHT_BINARY", str(shutil.copy(embedded.program(), str(tmp_path / "hubflight"))))
    old = embedded.locate(embedded.wanted())
    assert embedded.locate(embedded.wanted()) == old
    os.utime(tmp_path / "hubflight", (1, 1))  # another build
    other = embedded.locate(embedded.wanted())
    assert other != old
    (tmp_path / "BUILD").write_text("1234\n")  # as wheels have it: the digest decides, wherever the wheel lies
    digested = embedded.locate(embedded.wanted())
    shutil.copytree(tmp_path, tmp_path / "elsewhere")
    monkeypatch.setenv("HUBFLIGHT_BINARY", str(tmp_path / "elsewhere/hubflight"))
    assert embedded.locate(embedded.wanted()) == digested
    monkeypatch.setattr(hubflight, "__version__", "9.9")
    assert embedded.locate(embedded.wanted()) not in (old, other, digested)
    assert len(list(place.glob("*.sock"))) == 4


def test_another_hub_is_another_server(place: Path) -> None:
    found = {embedded.locate(embedded.wanted(e)).uri for e in (None, "http://127.0.0.1:1", "http://127.0.0.1:2/")}
    assert len(found) == 3
    for bad in ("ftp://x", "hub.example", "http://user:secret@host", "http://host/?token=secret"):
        with pytest.raises(hubflight.InvalidOption) as caught:
            embedded.wanted(bad)
        assert "secret" not in str(caught.value)


def test_on_loopback_it_wants_the_secret_of_the_private_folder(
    place: Path, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "_WINDOWS", False)
    real = embedded.wanted
    monkeypatch.setattr("hubflight.connection.wanted", lambda e: _tcp(real(e)))
    client = hubflight.connect(token=READER, endpoint=hub.url)
    assert client.dataset("demo/secret").num_rows == 6000
    (published,) = place.glob("*.json")
    assert published.stat().st_mode & 0o777 == 0o600
    address = embedded.locate(_tcp(real(hub.url)))
    assert address.uri.startswith("grpc://127.0.0.1:")
    with pytest.raises(hubflight.NotAuthenticated):
        hubflight.connect(address.uri, token=READER).dataset("demo/flights").to_table()
    # When it is dead, its port is nobody's, or somebody else's: nothing is sent there.
    end(server_pid(place), signal.SIGKILL)
    assert eventually(lambda: unlocked(place) and bindable(address))
    with socket.create_server(("127.0.0.1", int(address.uri.rpartition(":")[2]))) as stranger:
        stranger.settimeout(0.2)
        assert client.dataset("demo/secret").num_rows == 6000
        with pytest.raises(TimeoutError):
            stranger.accept()


def _tcp(spec: embedded.Embedded) -> embedded.Embedded:
    return embedded.Embedded(spec.endpoint, spec.roots, spec.settings, spec.idle, True)


def test_local_folders_are_home_and_working_directory_unless_configured(
    place: Path, monkeypatch: pytest.MonkeyPatch, seeds: Any, tmp_path: Path
) -> None:
    monkeypatch.delenv("HUBFLIGHT_LOCAL_ROOTS")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home/work").mkdir(parents=True)
    monkeypatch.chdir(seeds["folder"])
    assert set(embedded.wanted().roots) == {str(tmp_path / "home"), str(seeds["folder"])}
    assert hubflight.connect().dataset("./flights").num_rows == 6000
    monkeypatch.chdir(tmp_path / "home/work")
    assert embedded.wanted().roots == (str(tmp_path / "home"),)
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert embedded.wanted().roots == (str(tmp_path / "home"),)
    monkeypatch.setenv("HUBFLIGHT_LOCAL_ROOTS", f"{tmp_path}{os.pathsep}/nowhere")
    assert set(embedded.wanted().roots) == {str(tmp_path), "/nowhere"}
    with pytest.raises(hubflight.AccessDenied):
        hubflight.connect().dataset(f"{seeds['folder']}/flights").to_table()


def test_settings_of_the_environment_reach_the_server(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBFLIGHT_MEMORY_BUDGET", "nonsense")
    with pytest.raises(hubflight.InternalError, match=r"memory\.budget.*nonsense"):
        hubflight.connect().version()
    monkeypatch.setenv("HUBFLIGHT_MEMORY_BUDGET", "300MiB")
    assert hubflight.connect().version()["wire"] == [1]


def test_settings_that_the_server_does_not_take_are_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"HUBFLIGHT_CACHE_DIR": "/c", "HUBFLIGHT_HUB_CONNECTIONS": "3"}
    monkeypatch.setenv("HUBFLIGHT_HUB_ENDPOINT", "http://h")
    for name, value in taken.items():
        monkeypatch.setenv(name, value)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {k: v for k, v in taken.items() if "ENDPOINT" not in k}.items() <= dict(
            embedded.wanted().settings
        ).items()
        monkeypatch.setenv("HUBFLIGHT_AUTH_MODE", "")
        hubflight.connect()
    for name in (
        "HUBFLIGHT_SERVER_TOKEN",
        "HUBFLIGHT_SERVER_ADDRESS",
        "HUBFLIGHT_AUTH_MODE",
        "HUBFLIGHT_HUB_TOKEN_FILE",
    ):
        monkeypatch.setenv(name, "secret")
        with pytest.warns(UserWarning, match=f"{name}: without effect.*HUBFLIGHT_SERVER") as caught:
            hubflight.connect()
        assert "secret" not in str(caught[0].message)
        assert caught[0].filename == __file__
        monkeypatch.delenv(name)


def test_a_missing_program_is_a_clear_error(place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HUBFLIGHT_BINARY", str(tmp_path / "nothing"))
    with pytest.raises(hubflight.Unsupported, match="HUBFLIGHT_BINARY"):
        hubflight.connect().version()
    monkeypatch.delenv("HUBFLIGHT_BINARY")
    monkeypatch.setattr(embedded, "__file__", str(tmp_path / "a/b/hubflight/embedded.py"))
    with pytest.raises(hubflight.Unsupported, match=r"no hubflight program.*hubflight serve.*HUBFLIGHT_SERVER"):
        hubflight.connect().version()
    # Next to the sources, and in a wheel.
    for program in ("bin/hubflight", "a/b/hubflight/_bin/hubflight"):
        (tmp_path / program).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / program).write_bytes(b"")
        (tmp_path / "a").mkdir(exist_ok=True)
        (tmp_path / "a/pyproject.toml").touch()
        assert embedded.program() == str(tmp_path / program)


def test_a_program_that_does_not_run_is_a_clear_error(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("no program")
    broken.chmod(0o700)
    monkeypatch.setenv("HUBFLIGHT_BINARY", str(broken))
    with pytest.raises(hubflight.InternalError, match="could not be run"):
        hubflight.connect().version()
    broken.write_text("#!/bin/sh\necho 'it is not my day' >&2; exit 1\n")
    with pytest.raises(hubflight.InternalError, match="it is not my day"):
        hubflight.connect().version()


def test_a_folder_or_socket_of_somebody_else_is_refused(place: Path) -> None:
    place.mkdir(mode=0o755)
    with pytest.raises(hubflight.AccessDenied, match="HUBFLIGHT_EMBEDDED_DIR"):
        embedded.locate(embedded.wanted())
    place.chmod(0o700)
    embedded.locate(embedded.wanted())
    if os.geteuid() == 0:
        (path,) = place.glob("*.sock")
        os.chown(path, 65534, 65534)
        with pytest.raises(hubflight.AccessDenied, match="not this user's own"):
            embedded.locate(embedded.wanted())


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")
def test_another_users_process_is_not_let_in(place: Path) -> None:
    path = embedded.locate(embedded.wanted()).uri.removeprefix("grpc+unix://")
    for folder in (place.parent, place):
        folder.chmod(0o755)  # the second wall has to hold alone
    os.chmod(path, 0o666)  # noqa: S103
    code = (
        "import os, socket, sys; os.setuid(65534); s = socket.socket(socket.AF_UNIX); s.settimeout(5)\n"
        "s.connect(sys.argv[1]); s.sendall(b'PRI * HTTP/2.0\\r\\n\\r\\nSM\\r\\n\\r\\n'); print(len(s.recv(1)))"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=30)
    assert done.stdout.strip() == "0" or "ConnectionResetError" in done.stderr or "BrokenPipe" in done.stderr, done
    with socket.socket(socket.AF_UNIX) as own:
        own.settimeout(5)
        own.connect(path)
        assert own.recv(1)  # the settings of HTTP/2


def test_threads_share_it_and_it_pickles(place: Path, seeds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUBFLIGHT_LOCAL_ROOTS", str(seeds["folder"]))
    dataset = hubflight.connect().dataset(str(seeds["folder"] / "flights"))
    copy = pickle.loads(pickle.dumps(dataset))  # noqa: S301
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: copy.count(), range(16))) == {6000}
    server_pid(place)


def test_a_server_token_without_a_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HUBFLIGHT_SERVER", raising=False)
    with pytest.raises(hubflight.InvalidOption, match="server_token"):
        hubflight.connect(server_token="of-a-server")
    assert resolve_server(Connecting()).embedded is not None


def test_a_local_folder_is_refused_where_a_task_runs_on_another_machine(
    place: Path, seeds: Any, hub: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyspark_hubflight.source import DefaultSource

    local = DefaultSource({"path": str(seeds["folder"] / "flights")})
    remote = DefaultSource({"path": "demo/flights", "endpoint": hub.url})
    readers = [source.reader(source.schema()) for source in (local, remote)]
    (part, *_), (other, *_) = (reader.partitions() for reader in readers)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(embedded, "machine", lambda: "worker-7/0")
        task = pickle.loads(pickle.dumps(readers[0]))  # noqa: S301
        with pytest.raises(hubflight.Unsupported, match="hubflight serve"):
            next(task.read(part))
        assert next(readers[1].read(other)).num_rows  # of a Hub, every machine's server reads
    assert next(task.read(part)).num_rows


@pytest.mark.spark
def test_spark_reads_and_writes_without_a_server(spark: SparkSession, hub: HubServer, seeds: Any) -> None:
    def read() -> Any:
        return spark.read.format("hubflight").option("endpoint", hub.url).option("token", WRITER)

    df = read().load("demo/secret")
    assert df.count() == 6000
    assert df.toArrow()["carrier"].to_pylist() == seeds["flights"]["carrier"].to_pylist()
    name = f"demo/spark-own-{uuid.uuid4().hex[:8]}"
    write = df.limit(100).write.format("hubflight").option("endpoint", hub.url).option("token", WRITER)
    write.option("create_repo", "true").mode("append").save(name)
    assert read().load(name).count() == 100
    local = spark.read.format("hubflight").load(str(seeds["folder"] / "flights"))
    assert local.count() == 6000


def test_no_setting_of_the_users_own_reaches_the_tests() -> None:
    given = {
        "HUBFLIGHT_HUB_ENDPOINT": "http://127.0.0.1:1", "HUBFLIGHT_HUB_OFFLINE": "1", "HUBFLIGHT_SHARED_MEMORY": "off",
        "HUGGINGFACE_CO_STAGING": "1", "TRANSFORMERS_OFFLINE": "1", "HUBFLIGHT_BINARY": embedded.program(),
    }  # fmt: skip
    code = "import os, conftest; print(*(name for name in os.sys.argv[1:] if name in os.environ))"
    done = subprocess.run(
        [sys.executable, "-c", code, *given], env={**os.environ, **given}, cwd=Path(__file__).parent,
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.split() == ["HUBFLIGHT_BINARY"]
