"""A full scan of four files over a line of 200 MB/s and 30 ms: is the line the only thing that is waited for?

A plain download of the same files, as many at a time, says what the line gives; it is measured beside every third scan.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.data.layout import shard_paths, write_card
from benchmarks.measure import turns
from benchmarks.measure.distant import DistantHub, Link, distant_hub
from benchmarks.measure.load import Load, cpu_seconds, machine_cpu
from benchmarks.measure.processes import Worker, clean_environment
from benchmarks.scan.datasets import Dataset

SCAN, DOWNLOAD = "remote", "download"
"""The words of ``benchmarks/scan/reader``."""
STREAMS = 4
"""Files, and so streams; as in the reader."""
LINE = Link(rtt_ms=30, bytes_per_second=200e6)
_NAME = "bench/remote"


@dataclass(frozen=True)
class Programs:
    """What runs."""

    reader: Path
    hubflight: Path
    netdelay: Path


@dataclass(frozen=True)
class Sample:
    """Seconds of one reading of all files."""

    wall: float
    cpu: float
    foreign: float


@dataclass
class Cell:
    """One kind of file, four times."""

    dataset: Dataset
    bytes: int
    turns: turns.Turns[Sample] = field(default_factory=turns.Turns)

    @property
    def samples(self) -> dict[str, list[Sample]]:
        return self.turns.samples

    def rate(self, sample: Sample) -> float:
        """Bytes of files per second."""
        return self.bytes / sample.wall


def run(programs: Programs, dataset: Dataset, rounds: int, scratch: Path) -> Cell:
    """Measures the scan in every round; nothing is known from the round before."""
    cell = Cell(dataset, dataset.path.stat().st_size * STREAMS)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(_served(programs.hubflight, dataset, scratch))
        hub = distant_hub(stack, programs.hubflight, programs.netdelay, folder, scratch, LINE)
        workers = {name: _worker(stack, programs.reader, name, hub, scratch) for name in (SCAN, DOWNLOAD)}
        wanted = {SCAN: dataset.rows * STREAMS, DOWNLOAD: cell.bytes}
        turns.take((SCAN,), (DOWNLOAD,), rounds, lambda name: _measure(workers[name], hub, dataset, wanted[name]), cell.turns)
    return cell


@contextlib.contextmanager
def _served(hubflight: Path, dataset: Dataset, scratch: Path) -> Iterator[Path]:
    made, folder = scratch / "remote-made", scratch / "remote-hub"
    for path in shard_paths(made / "data", "train", STREAMS):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(dataset.path)
    write_card(made, ("pretty_name: made for measuring",), "# Made for measuring")
    subprocess.run(
        [hubflight, "hub", "import", made, _NAME, "--dir", folder], env=clean_environment(scratch), check=True, capture_output=True
    )
    try:
        yield folder
    finally:
        shutil.rmtree(made)
        shutil.rmtree(folder)


def _worker(stack: contextlib.ExitStack, reader: Path, name: str, hub: DistantHub, scratch: Path) -> Worker:
    worker = Worker([str(reader), name, hub.endpoint], clean_environment(scratch), scratch / f"{name}.log")
    stack.callback(worker.close)
    return worker


def _measure(worker: Worker, hub: DistantHub, dataset: Dataset, wanted: int) -> Sample:
    pids = (os.getpid(), worker.process.pid, *hub.pids)
    ours, everybody = sum(map(cpu_seconds, pids)), machine_cpu()
    answer = worker.ask(path=_NAME, batch_rows=dataset.batch_rows)
    if "error" in answer or answer["rows"] != wanted:
        raise SystemExit(f"reading {dataset.path.name} {STREAMS} times over a line gave {answer}; want {wanted:,} rows")
    load = Load(sum(map(cpu_seconds, pids)) - ours, machine_cpu() - everybody, answer["wall"])
    return Sample(answer["wall"], answer["cpu"], load.foreign())
