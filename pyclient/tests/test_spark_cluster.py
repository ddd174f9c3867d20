"""A cluster: executors in processes of their own, tasks that fail, tasks that are run twice, executors that die.

Every run of the suite kills one executor; `make nightly-spark` (HUBFLIGHT_SPARK_CLUSTER=1) starts a real
standalone cluster and goes through all of it, with a server and with embedded ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conftest import WRITER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flightserver import FlightServer
    from hubserver import HubServer

pytestmark = [pytest.mark.server, pytest.mark.spark]
STEPS = [f"{what} {how}" for what in ("read", "write") for how in ("fail", "slow", "kill")]

# The driver, in a process of its own, because the suite has a session. A task misbehaves by its attempt and partition.
DRIVER = """
import json, os, signal, sys, time
from pathlib import Path
import pyarrow as pa
from pyspark import TaskContext
from pyspark.sql import SparkSession

master, options, name, folder = sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4]
steps = json.loads(sys.argv[5])
builder = SparkSession.builder.master(master).config("spark.ui.enabled", "false").config("spark.cores.max", "4")
for key, value in {
    "spark.driver.host": "127.0.0.1", "spark.driver.bindAddress": "127.0.0.1", "spark.executor.memory": "512m",
    "spark.speculation": "true", "spark.speculation.interval": "200ms", "spark.speculation.quantile": "0.5",
    "spark.speculation.multiplier": "1.2", "spark.speculation.minTaskRuntime": "500ms",
    # Programs this short are over before the better compiler pays.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
    "spark.executor.extraJavaOptions": "-XX:TieredStopAtLevel=1", "spark.sql.shuffle.partitions": "2",
}.items():
    builder = builder.config(key, value)
spark = builder.getOrCreate()
spark.sparkContext.setLogLevel("OFF")


def misbehave(how):
    # In the middle of a partition: rows have gone downstream already.
    def run(batches):
        context = TaskContext.get()
        first = context.attemptNumber() == 0
        for number, batch in enumerate(batches):
            yield batch
            if first and how == "fail" and context.partitionId() in (0, 2):
                raise ValueError("of the test")
            if first and how == "slow" and context.partitionId() == 3:
                time.sleep(20)
            if how == "kill" and context.partitionId() == 1:
                try:
                    Path(folder, "killed").mkdir()
                except FileExistsError:
                    continue
                executor = int(Path(f"/proc/{os.getppid()}/stat").read_text().rpartition(")")[2].split()[1])
                os.kill(executor, signal.SIGKILL)
                time.sleep(60)
        Path(folder, f"{how}-{context.partitionId()}-{context.attemptNumber()}").touch()
    return run


def read(path):
    return spark.read.format("hubflight").options(columns='["hour", "carrier"]', **options).load(path)


out = {"executors": spark.range(8).repartition(8).rdd.mapPartitions(lambda _: [os.getppid()]).distinct().count()}
for step in steps:
    what, how = step.split()
    df = read("demo/flights")
    shaped = df.mapInArrow(misbehave(how), df.schema)
    if what == "read":
        out[step] = list(shaped.selectExpr("count(*)", "sum(hour)").first())
    else:
        writing = shaped.write.format("hubflight").options(**options).option("create_repo", "true")
        writing.mode("append").save(f"{name}-{how}")
        got = read(f"{name}-{how}")
        out[step] = [*got.selectExpr("count(*)", "sum(hour)").first(), got.rdd.getNumPartitions()]
    out.setdefault("ran", {})[step] = sorted(path.name for path in Path(folder).iterdir())
    for path in Path(folder).iterdir():
        path.rmdir() if path.is_dir() else path.unlink()
print(json.dumps(out))
spark.stop()
"""


@pytest.fixture(scope="module")
def master(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a standalone master with two workers of two cores."""
    import pyspark

    folder = tmp_path_factory.mktemp("cluster")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"spark://127.0.0.1:{port}"
    program = Path(pyspark.__file__).parent / "bin" / "spark-class"
    environment = {
        **os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1",
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }  # fmt: skip
    environment.pop("PYTEST_CURRENT_TEST", None)
    started: list[subprocess.Popen[bytes]] = []

    def start(name: str, *arguments: str) -> None:
        command = [str(program), *arguments]
        with (folder / f"{name}.log").open("wb") as log:
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=folder))

    def said(name: str, text: str) -> bool:
        return text in (folder / f"{name}.log").read_text(errors="replace")

    deploy = "org.apache.spark.deploy"
    try:
        start("master", f"{deploy}.master.Master", "--host", "127.0.0.1", "--port", str(port), "--webui-port", "0")
        for i in (1, 2):
            # A host each, because a task is not run a second time on the host that it is slow on.
            where = ["--host", f"127.0.0.{i}", "--webui-port", "0", "--work-dir", str(folder / f"worker-{i}")]
            start(f"worker-{i}", f"{deploy}.worker.Worker", *where, "--cores", "2", "--memory", "1g", url)
        deadline = time.monotonic() + 300
        while not all(said(f"worker-{i}", "Successfully registered") for i in (1, 2)):
            assert time.monotonic() < deadline, (folder / "worker-1.log").read_text(errors="replace")
            time.sleep(0.2)
        yield url
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


@pytest.mark.skipif(not os.environ.get("HUBFLIGHT_SPARK_CLUSTER"), reason="nightly: make nightly-spark")
@pytest.mark.parametrize("embedded", [False, True], ids=["a server", "embedded"])
def test_failed_slow_and_killed_tasks_change_no_row(
    master: str, hub: HubServer, server: FlightServer, seeds: dict[str, Any], tmp_path: Path, embedded: bool
) -> None:
    place = {"endpoint": hub.url} if embedded else {"server": server.url}
    _run(master, place, seeds, tmp_path, STEPS)


def test_an_executor_that_is_killed_while_it_reads_and_writes_changes_no_row(
    hub: HubServer, seeds: dict[str, Any], tmp_path: Path
) -> None:
    # Master and workers inside the driver, executors in processes of their own; each finds the one embedded server.
    _run("local-cluster[2,2,512]", {"endpoint": hub.url}, seeds, tmp_path, ["write kill"])


def _run(master: str, place: dict[str, str], seeds: dict[str, Any], folder: Path, steps: list[str]) -> None:
    import pyspark

    name = f"demo/cluster-{uuid.uuid4().hex[:8]}"
    arguments = [master, json.dumps({**place, "token": WRITER}), name, str(folder), json.dumps(steps)]
    environment = {
        **os.environ, "PYSPARK_PYTHON": sys.executable, "SPARK_HOME": str(Path(pyspark.__file__).parent),
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", DRIVER, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    got = json.loads(done.stdout.splitlines()[-1])
    ran = {step: set(names) for step, names in got.pop("ran").items()}
    whole = [6000, sum(seeds["flights"]["hour"].to_pylist())]
    assert got.pop("executors") >= 2
    assert got == {step: whole if step.startswith("read") else [*whole, 4] for step in steps}
    # What was to go wrong went wrong: an empty test would pass as well.
    happened = {"fail": {"fail-0-1", "fail-2-1"}, "slow": {"slow-3-1"}, "kill": {"killed"}}
    assert all(happened[step.split()[1]] <= ran[step] for step in steps), ran
    assert WRITER not in done.stderr
