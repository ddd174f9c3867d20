"""First what was written is read and compared, then rounds of timings; peaks of memory with fresh processes."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from benchmarks.measure import turns
from benchmarks.measure.digest import Digest
from benchmarks.measure.load import Load, machine_cpu
from benchmarks.write.rig import IN_MEMORY, OURS, REFERENCE, Rig, Site, all_cpu, early, forget_peak, peak
from benchmarks.write.tasks import Input
from benchmarks.write.writers import TOKEN, Question

_DATASET, _BEFORE = "bench/written", "bench/before"
FILE_BYTES = 32 << 20
"""The size of files in a job that shall have several."""


@dataclass(frozen=True)
class Sample:
    """One job: seconds, CPU seconds of the writer's process and of the Flight server, bytes above idle of both."""

    wall: float
    client_cpu: float
    server_cpu: float
    client_peak: int
    server_peak: int
    requests: int
    early: float
    """The share of the uploads' time that lay before the job's last batch had been taken."""
    foreign: float

    @property
    def cpu(self) -> float:
        return self.client_cpu + self.server_cpu

    @property
    def peak(self) -> int:
        return self.client_peak + self.server_peak


@dataclass
class Cell:
    """One input: what every writer did with it."""

    what: Input
    turns: turns.Turns[Sample] = field(default_factory=turns.Turns)
    written: dict[str, int] = field(default_factory=dict)
    """Bytes of Parquet, by writer."""
    wrong: list[str] = field(default_factory=list)

    @property
    def samples(self) -> dict[str, list[Sample]]:
        return self.turns.samples


def run(rig: Rig, what: Input, rounds: int, names: Sequence[str], say: Callable[[str], None]) -> Cell:
    """Timings.  A writer whose files do not hold the rows is not measured.

    Each has written the same rows just before: what processes load and grow in their first job is in nobody's time.
    """
    cell = Cell(what)
    for name in names:
        _check(rig, cell, name)
    for wrong in cell.wrong:
        say(f"WRONG {wrong}")
    judged = [name for name in (OURS, REFERENCE) if name in cell.written]
    others = [name for name in cell.written if name not in judged]
    turns.take(judged, others, rounds if judged else 0, lambda name: measure(rig, what, name, before=what), cell.turns)
    return cell


def peaks(rig: Rig, what: Input, tiny: Input, rounds: int, names: Sequence[str]) -> Cell:
    """Peaks of processes that have just started; others' load does not change them.

    A writer's process has written ``tiny`` before, which is too little to matter: what it imports is there, and no more memory than that.
    """
    cell = Cell(what)

    def fresh(name: str) -> Sample:
        rig.retire(name)
        measure(rig, tiny, name)
        sample = measure(rig, what, name)
        rig.retire(name)
        return dataclasses.replace(sample, foreign=0.0)

    judged = [name for name in (OURS, IN_MEMORY) if name in names]
    turns.take(judged, [name for name in names if name not in judged], rounds, fresh, cell.turns)
    return cell


def overlap(rig: Rig, what: Input, rounds: int) -> Cell:
    """A job of several files for each task: the upload of one can run while the next is encoded."""
    cell = Cell(what)
    turns.take(
        [OURS], [], rounds, lambda name: dataclasses.replace(measure(rig, what, name, file_bytes=FILE_BYTES), foreign=0.0), cell.turns
    )
    return cell


_count = 0


def measure(
    rig: Rig, what: Input, name: str, before: Input | None = None, file_bytes: int | None = None, then: Callable[[Site], None] | None = None
) -> Sample:
    """Writes a job to a new Hub, after the job ``before`` of the same processes.  ``then`` may look at what is in it."""
    worker = rig.worker(name)

    def write(site: Site, job: Input, dataset: str) -> dict[str, Any]:
        answer = worker.ask(**dataclasses.asdict(_question(site, job, dataset, file_bytes)))
        if "error" in answer:
            raise SystemExit(f"{name} gave {answer} for {job.name}; see {worker.log}")
        return answer

    with rig.site(name) as site:
        if before:
            write(site, before, _BEFORE)
        site.begin()
        server = site.processes.get("server")
        client_idle = forget_peak(worker.process.pid)
        server_idle = forget_peak(server.pid) if server else 0
        ours, everybody, server_cpu = all_cpu(site, worker), machine_cpu(), site.cpu("server")
        answer = write(site, what, _DATASET)
        load = Load(all_cpu(site, worker) - ours, machine_cpu() - everybody, answer["wall"])
        sample = Sample(
            wall=answer["wall"],
            client_cpu=answer["cpu"],
            server_cpu=site.cpu("server") - server_cpu,
            client_peak=peak(worker.process.pid) - client_idle,
            server_peak=peak(server.pid) - server_idle if server else 0,
            requests=site.requests(),
            early=early(site.uploads(), answer["drained"]),
            foreign=load.foreign(),
        )
        if then:
            then(site)
        return sample


def _question(site: Site, job: Input, dataset: str, file_bytes: int | None) -> Question:
    global _count
    _count += 1
    return Question(site.hub, site.server, dataset, [str(path) for path in job.files], f"job {_count}", file_bytes)


def _check(rig: Rig, cell: Cell, name: str) -> None:
    def look(site: Site) -> None:
        digest, size = Digest(), 0
        with tempfile.TemporaryDirectory() as scratch:
            for path in _download(site, Path(scratch)):
                size += path.stat().st_size
                for batch in pq.ParquetFile(path).iter_batches():
                    digest.add(batch)
        if digest.text() == cell.what.digest:
            cell.written[name] = size
        else:
            cell.wrong.append(f"{name}: {digest.rows:,} rows, checksum {digest.text()}; want {cell.what.rows:,}, {cell.what.digest}")

    measure(rig, cell.what, name, then=look)


def _download(site: Site, folder: Path) -> list[Path]:
    from huggingface_hub import HfApi

    api = HfApi(endpoint=site.hub, token=TOKEN)
    names = sorted(name for name in api.list_repo_files(_DATASET, repo_type="dataset") if name.endswith(".parquet"))
    return [Path(api.hf_hub_download(_DATASET, name, repo_type="dataset", local_dir=folder)) for name in names]
