"""Processes that are forked from one that has read, or reads."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flightserver import FlightServer

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(sys.platform == "win32", reason="there are no forks"),
]

# In a process of its own, because a child that hangs has to be ended. The child ends as every program does, when the
# interpreter closes what it was left.
SCRIPT = """
import os, sys
import hubflight

dataset = hubflight.connect(sys.argv[1]).dataset(sys.argv[2])
rows = dataset.to_batches(parallel=int(sys.argv[3]))
kept = []
{before}
child = os.fork()
if child == 0:
    try:
        {child}
    except hubflight.HubflightError as error:
        print(error.kind, "spawn" in str(error))
    sys.exit(0)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print("ended", status, sum(batch.num_rows for batch in [*kept, *rows]))
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FlightServer, Path]]:
    folder = tmp_path_factory.mktemp("forks")
    (folder / "set/data").mkdir(parents=True)
    (folder / "server").mkdir()
    for number in range(3):
        pq.write_table(pa.table({"text": ["x" * 2000] * 20_000}), folder / f"set/data/train-{number}.parquet")
    server = FlightServer(folder / "server", "--local.roots", str(folder)).start()
    yield server, folder / "set"
    server.stop()


def run(place: tuple[FlightServer, Path], before: str, child: str, parallel: int = 1) -> list[str]:
    server, folder = place
    script = SCRIPT.format(before=before, child=child)
    done = subprocess.run(
        [sys.executable, "-c", script, server.url, f"file://{folder}", str(parallel)],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Exception ignored" not in done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "before", ["dataset.plan()", "kept += rows", "kept.append(next(rows)); rows.close(); rows = []"]
)
def test_the_child_of_a_process_that_has_read_reads(place: tuple[FlightServer, Path], before: str) -> None:
    answer = run(place, before, "print(sum(batch.num_rows for batch in dataset.to_batches()))")
    assert answer[0] == "60000"
    assert answer[1].startswith("ended 0")


def test_children_of_a_process_that_has_asked_just_now_ask(place: tuple[FlightServer, Path]) -> None:
    before = """
for _ in range(7):
    dataset.count()
    child = os.fork()
    if child == 0:
        os._exit(dataset.count() != 60_000)
    kept.append(os.waitpid(child, 0)[1])
assert kept == [0] * 7, kept
kept.clear()
"""
    assert run(place, before, "pass") == ["ended 0 60000"]


@pytest.mark.parametrize("parallel", [1, 3])
@pytest.mark.parametrize(
    ("child", "said"),
    [
        ("print(dataset.count())", ["unsupported True"]),
        ("print(hubflight.connect(sys.argv[1]).version())", ["unsupported True"]),
        ("print(sum(batch.num_rows for batch in rows))", ["unsupported True"]),
        ("rows.close()", []),
        ("del rows", []),
        ("pass", []),
    ],
    ids=["ask", "connect", "go on", "close", "drop", "end"],
)
def test_the_child_of_a_process_that_reads_is_refused_what_would_not_end(
    place: tuple[FlightServer, Path], child: str, said: list[str], parallel: int
) -> None:
    answer = run(place, "kept.append(next(rows))", child, parallel)
    assert answer == [*said, "ended 0 60000"]
