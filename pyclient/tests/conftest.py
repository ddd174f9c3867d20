"""Fixtures: the program, the embedded Hub with seeded datasets, a server over it, one Spark session.

The program is HUBFLIGHT_BINARY, else it is built once with go. Nothing here touches a user's own Hub or tokens.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pyspark.sql import DataFrameReader, SparkSession

    from flightserver import FlightServer
    from hubflight import Client
    from hubserver import HubServer

WRITER, READER = "hf_writerofthetests", "hf_readerofthetests"

_home = tempfile.TemporaryDirectory(prefix="hubflight-tests-")
# Of a user's own settings nothing counts here: one of them alone would make the tests ask another Hub.
_CHOICES = ("HUBFLIGHT_BINARY", "HUBFLIGHT_WHEELS", "HUBFLIGHT_SPARK_CLUSTER")
for _name in [n for n in os.environ if n.startswith(("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "HUBFLIGHT_"))]:
    if _name not in _CHOICES:
        del os.environ[_name]
os.environ["HF_HOME"] = _home.name
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ["HF_HUB_DISABLE_XET"] = "1"  # read when huggingface_hub is imported, by whichever test comes first
# Spark's workers get the environment of the JVM's start: servers that they start are ended after the last test.
os.environ["HUBFLIGHT_EMBEDDED_DIR"] = os.path.join(_home.name, "run")
os.environ["HUBFLIGHT_LOCAL_ROOTS"] = tempfile.gettempdir()
# A program that is built with -race writes what it finds there; most are killed, and no exit code would tell of it.
os.environ["GORACE"] = f"atexit_sleep_ms=0 log_path={_home.name}/race"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A data race in any program that the tests have started fails the run."""
    for report in Path(_home.name).glob("race.*"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        sys.stderr.write(f"\nFAILED: a program that the tests started has met a data race:\n{report.read_text()}")


def pytest_unconfigure() -> None:
    """Ends embedded servers that tests have started."""
    for lock in Path(_home.name, "run").glob("*.lock"):
        with contextlib.suppress(ValueError, ProcessLookupError):
            os.kill(int(lock.read_text()), signal.SIGKILL)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Builds the program before the first test that runs it."""
    if "HUBFLIGHT_BINARY" in os.environ:
        return
    if item.get_closest_marker("server") or item.path.name == "test_embedded_hub.py":
        root = Path(__file__).parents[2]
        target = Path(_home.name) / "hubflight"
        subprocess.run(["go", "build", "-o", str(target), "./cmd/hubflight"], cwd=root, check=True)
        os.environ["HUBFLIGHT_BINARY"] = str(target)


@pytest.fixture(scope="session")
def seeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The rows of the seeded datasets, and the folder they were imported from."""
    from seeds import chat, flights, types

    folder = tmp_path_factory.mktemp("seeds")
    return {
        "folder": folder,
        "flights": flights(folder / "flights"),
        "chat": chat(folder / "chat"),
        "types": types(folder / "types"),
    }


@pytest.fixture(scope="session")
def hub(tmp_path_factory: pytest.TempPathFactory, seeds: dict[str, Any]) -> Iterator[HubServer]:
    """`hubflight hub` with demo/flights, demo/chat and demo/types, and a private copy of the first."""
    from hubserver import HubServer, binary

    directory = tmp_path_factory.mktemp("hub")
    with HubServer(directory, {WRITER: "write", READER: "read"}) as running:
        for name in ("flights", "chat", "types"):
            running.import_folder(seeds["folder"] / name, f"demo/{name}")
        source = str(seeds["folder"] / "flights")
        command = [binary(), "hub", "import", source, "demo/secret", "--private", "--dir", str(directory)]
        subprocess.run(command, check=True, capture_output=True)
        yield running


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, hub: HubServer, seeds: dict[str, Any]) -> Iterator[FlightServer]:
    """`hubflight serve` over the embedded Hub and the folder of the seeds. No test stops this one."""
    from flightserver import FlightServer

    running = FlightServer(
        tmp_path_factory.mktemp("server"), "--hub.endpoint", hub.url, "--local.roots", str(seeds["folder"])
    ).start()
    yield running
    running.stop()


@pytest.fixture
def client(server: FlightServer) -> Client:
    import hubflight

    return hubflight.connect(server.url, token=WRITER)


@pytest.fixture(scope="session")
def spark() -> Iterator[SparkSession]:
    """A session whose zone is not the machine's, so that a mistaken conversion shows."""
    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    from pyspark.sql import SparkSession

    session = (
        SparkSession.builder.master("local[4]")
        .config("spark.ui.enabled", "false")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.sql.session.timeZone", "America/Los_Angeles")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.warehouse.dir", _home.name)
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("OFF")
    yield session
    session.stop()


@pytest.fixture
def read(spark: SparkSession, server: FlightServer) -> DataFrameReader:
    """`spark.read.format("hubflight")` with the server and a reading token."""
    return spark.read.format("hubflight").option("server", server.url).option("token", READER)
