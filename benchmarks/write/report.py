"""The tables on the screen and the JSON beside them, from the same cells."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure.judge import Ratio, ratio
from benchmarks.measure.results import Verdict, judged
from benchmarks.write import targets
from benchmarks.write.rig import IN_MEMORY, OURS, REFERENCE
from benchmarks.write.rounds import FILE_BYTES, Cell, Sample
from benchmarks.write.writers import GROUP_BYTES

VERSIONS = ("pyarrow", "huggingface_hub", "numpy")
_MIB = 1 << 20


@dataclass
class Measured:
    """Everything of one run."""

    cells: list[Cell] = field(default_factory=list)
    peaks: list[Cell] = field(default_factory=list)
    flat: list[tuple[Cell, Cell]] = field(default_factory=list)
    """The same shape, and four times as much of it."""
    overlaps: list[Cell] = field(default_factory=list)
    """Jobs of several files."""

    def wrong(self) -> list[str]:
        return [text for cell in self.cells for text in cell.wrong]


def timing_table(cell: Cell) -> Iterator[str]:
    """The lines of one input: a writer each."""
    yield ""
    yield f"{cell.what.name} · {cell.what.rows:,} rows · {cell.what.arrow_bytes / 1e6:.0f} MB of Arrow"
    yield (
        f"  {'writer':<12}{'wall s':>8}{'CPU s':>8}{'client':>8}{'server':>8}{'krows/s':>9}{'file MB':>9}{'MB/s':>7}{'req':>5}{'early':>7}"
        f"{'krows per CPU s':>17}   hubflight ÷ pyarrow: rows per CPU s, per s"
    )
    for name, samples in cell.samples.items():
        wall, cpu, client, server = (_median(samples, key) for key in ("wall", "cpu", "client_cpu", "server_cpu"))
        rows, size = cell.what.rows / 1e3, cell.written[name] / 1e6
        line = f"  {name:<12}{wall:>8.2f}{cpu:>8.2f}{client:>8.2f}{server:>8.2f}{rows / wall:>9.0f}{size:>9.1f}{size / wall:>7.0f}"
        line += f"{_median(samples, 'requests'):>5.0f}{_median(samples, 'early'):>7.0%}{rows / cpu:>17.0f}"
        if name == OURS and REFERENCE in cell.samples:
            line += f"   {_ratio(cell, REFERENCE, OURS, 'cpu').text()}, {_ratio(cell, REFERENCE, OURS, 'wall').text()}"
        yield line
    yield f"  {cell.turns.noise()}"


def peak_table(cell: Cell) -> Iterator[str]:
    """Peaks of memory above idle."""
    yield ""
    yield f"{cell.what.name} · {cell.what.arrow_bytes / _MIB:.0f} MiB of Arrow · most memory above idle, MiB"
    for name, samples in cell.samples.items():
        client, server = _median(samples, "client_peak") / _MIB, _median(samples, "server_peak") / _MIB
        yield f"  {name:<12}{client + server:>8.0f}  (client {client:.0f}, server {server:.0f})"


def overlap_line(cell: Cell) -> str:
    """How much of a job's upload did not have to wait for its rows."""
    shares = sorted(sample.early for sample in cell.samples[OURS])
    share = f"{statistics.median(shares):.0%} of the uploads' time [{shares[0]:.0%}–{shares[-1]:.0%}]"
    return f"{cell.what.name}, {cell.what.rows:,} rows in files of {FILE_BYTES >> 20} MiB: {share} lay before the last batch was taken"


def tables(measured: Measured) -> Iterator[str]:
    """Every table, one kind after the other."""
    for cell in measured.cells:
        yield from timing_table(cell)
    for cell in (*measured.peaks, *(pair[0] for pair in measured.flat)):
        yield from peak_table(cell)
    yield ""
    yield from map(overlap_line, measured.overlaps)
    if measured.cells:
        yield "early: share of the time of all uploads that lay before the job's last batch was taken from its source"


def verdicts(measured: Measured) -> Iterator[Verdict]:
    """Every target, judged by what was measured."""
    for cell in measured.cells:
        for wrong in cell.wrong:
            yield Verdict(cell.what.name, "wrong rows or error", "equal rows", False, f"  ({wrong})")
        if {OURS, REFERENCE} <= cell.samples.keys():
            note = f"  ({cell.turns.noise()})" if cell.turns.loaded else ""
            yield judged(f"{cell.what.name}: rows per CPU second", _ratio(cell, REFERENCE, OURS, "cpu"), targets.CPU, note)
    for cell in measured.peaks:
        if OURS in cell.samples:
            each = _median(cell.samples[OURS], "server_peak") / len(cell.what.files)
            most = targets.STREAM_BYTES + targets.GROUP_SHARE * GROUP_BYTES
            what = f"{cell.what.name}: memory of a stage stream"
            yield Verdict(what, f"{each / _MIB:.0f} MiB", f"≤ {most / _MIB:.0f} MiB", each <= most)
        if {OURS, IN_MEMORY} <= cell.samples.keys():
            what = f"{cell.what.name}: memory of an in-memory writer"
            yield judged(what, _ratio(cell, IN_MEMORY, OURS, "peak"), targets.IN_MEMORY_SHARE)
    for small, large in measured.flat:
        found = ratio(*([max(sample.peak, 1) for sample in cell.samples[OURS]] for cell in (large, small)))
        grown = judged(f"{small.what.shape}: memory of four times the rows", found, 1.0)
        yield dataclasses.replace(
            grown, wanted=f"≤ {1 + targets.FLAT:g}×", met=found.low <= 1 + targets.FLAT and found.median <= 1.05 * (1 + targets.FLAT)
        )


def as_json(measured: Measured) -> dict[str, Any]:
    """Everything that was measured, each sample included."""
    return {
        "timings": [_cell(cell) for cell in measured.cells],
        "memory": [_cell(cell) for cell in measured.peaks],
        "overlap": [_cell(cell) for cell in measured.overlaps],
        "flatness": [[_cell(cell) for cell in pair] for pair in measured.flat],
    }


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "shape": cell.what.shape,
        "tasks": len(cell.what.files),
        "rows": cell.what.rows,
        "arrow_bytes": cell.what.arrow_bytes,
        "digest": cell.what.digest,
        "written": cell.written,
        "wrong": cell.wrong,
        "repeated_rounds": cell.turns.repeated,
        "loaded_rounds": cell.turns.loaded,
        "writers": {name: [dataclasses.asdict(sample) for sample in samples] for name, samples in cell.samples.items()},
    }


def _ratio(cell: Cell, theirs: str, ours: str, key: str) -> Ratio:
    return ratio(*([max(float(getattr(sample, key)), 1e-3) for sample in cell.samples[name]] for name in (theirs, ours)))


def _median(samples: Sequence[Sample], key: str) -> float:
    return float(statistics.median(getattr(sample, key) for sample in samples))
