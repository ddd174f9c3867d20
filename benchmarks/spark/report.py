"""The table on the screen, the targets, and the JSON, from the same cells."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.measure.judge import Ratio, ratio
from benchmarks.measure.results import Verdict, judged
from benchmarks.spark.rounds import EMBEDDED, FLOORS, OURS, READY, REFERENCE, Cell, Sample

VERSIONS = ("pyspark", "pyarrow", "pyspark_huggingface", "datasets", "huggingface_hub")
# How many times faster than pyspark_huggingface, by question and milliseconds of round trip.
_FASTER = {
    ("full", 0): 1.0, ("full", 30): 1.3, ("2 columns", 0): 1.5, ("2 columns", 30): 2.0, ("1 % filter", 0): 1.5, ("1 % filter", 30): 2.0,
    ("cold load + plan", 0): 2.0, ("cold load + plan", 30): 2.0, ("append", 0): 2.0, ("append", 30): 2.0,
}  # fmt: skip
_OF_READY, _MEMORY, _BYTES = 1 / 1.1, 2.0, 1.1


def table(cell: Cell) -> Iterator[str]:
    """The lines of one cell: a reader each."""
    yield ""
    rows = f"{cell.rows:,} rows · " if cell.rows else ""
    size = f"{cell.repository.size() / 1e6:.0f} MB"
    yield f"{cell.repository.name} · {cell.question} · {cell.rtt_ms} ms · {rows}{size} · {cell.turns.noise()}"
    yield (
        f"  {'reader':<22}{'wall s':>8}{'load s':>8}{'krows/s':>9}{'CPU s':>8}{'worker MiB':>12}{'requests':>10}{'MB':>8}"
        "   pyspark_huggingface ÷ it"
    )
    for name, samples in cell.samples.items():
        if not samples:
            continue
        wall = _median(samples, "wall")
        line = f"  {name:<22}{wall:>8.3f}{_median(samples, 'load'):>8.3f}{cell.rows / wall / 1e3:>9.0f}{_median(samples, 'cpu'):>8.2f}"
        line += f"{max(sample.python_peak for sample in samples) / 2**20:>12.0f}"
        if name in cell.traffic:
            served = cell.traffic[name]
            line += f"{served.hub_requests + served.cdn_requests:>10}{(served.hub_bytes + served.cdn_bytes) / 1e6:>8.1f}"
        else:
            line += " " * 18
        if _paired(cell, name, REFERENCE):
            line += f"   {_ratio(cell, REFERENCE, name).text()}"
        yield line


def verdicts(cells: list[Cell]) -> Iterator[Verdict]:
    """Every target of the issue; the embedded server, which is the same program, is judged by what it alone does: starting."""
    for cell in cells:
        where = f"{cell.repository.name}, {cell.question}, {cell.rtt_ms} ms"
        for wrong in cell.wrong:
            yield Verdict(where, "wrong rows or error", "equal rows", False, f"  ({wrong})")
        for name in (OURS, EMBEDDED):
            if _paired(cell, name, REFERENCE):
                yield from _beside(cell, name, where if name == OURS else f"{where}, embedded")
        if cell.question == "full" and _paired(cell, OURS, READY):
            yield judged(f"{where}, of ready batches", _ratio(cell, READY, OURS), _OF_READY)
        if cell.question == "2 columns" and OURS in cell.traffic:
            share = cell.traffic[OURS].cdn_bytes / cell.column_bytes
            yield Verdict(f"{where}, bytes", f"{share:.3f}", f"≤ {_BYTES:g}× of what the columns occupy", share <= _BYTES)


def _paired(cell: Cell, name: str, other: str) -> bool:
    """Whether two were measured in the same rounds."""
    return name != other and 0 < len(cell.samples.get(name, ())) == len(cell.samples.get(other, ()))


def _beside(cell: Cell, name: str, where: str) -> Iterator[Verdict]:
    wanted = _FASTER.get((cell.question, cell.rtt_ms))
    if wanted is not None:
        note = _of_floor(cell, wanted) + (f"  ({cell.turns.noise()})" if cell.turns.loaded else "")
        yield judged(where, _ratio(cell, REFERENCE, name), wanted, note)
    if cell.question == "full":
        theirs, ours = (max(sample.python_peak for sample in cell.samples[reader]) for reader in (REFERENCE, name))
        yield Verdict(f"{where}, largest Python worker", f"{ours / theirs:.2f}", f"≤ {1 / _MEMORY:g}× of theirs", ours * _MEMORY <= theirs)


def _of_floor(cell: Cell, wanted: float) -> str:
    """What the ratio would be for a source that has nothing left to do, and whether even that misses the target."""
    floor = FLOORS.get(cell.question, READY)
    if not _paired(cell, floor, REFERENCE):
        return ""
    most = _ratio(cell, REFERENCE, floor)
    return f"  ({floor}: {most.text()}{'' if most.meets(wanted) else ', out of reach here'})"


def as_json(cells: list[Cell]) -> dict[str, Any]:
    """Everything that was measured, each sample included."""
    return {"cells": [_cell(cell) for cell in cells]}


def _cell(cell: Cell) -> dict[str, Any]:
    return {
        "repository": cell.repository.name,
        "question": cell.question,
        "rtt_ms": cell.rtt_ms,
        "rows": cell.rows,
        "column_bytes": cell.column_bytes,
        "repeated_rounds": cell.turns.repeated,
        "loaded_rounds": cell.turns.loaded,
        "wrong": cell.wrong,
        "traffic": {name: dataclasses.asdict(served) for name, served in cell.traffic.items()},
        "samples": {name: [dataclasses.asdict(sample) for sample in samples] for name, samples in cell.samples.items()},
    }


def _ratio(cell: Cell, theirs: str, ours: str) -> Ratio:
    return ratio(*([sample.wall for sample in cell.samples[name]] for name in (theirs, ours)))


def _median(samples: list[Sample], key: str) -> float:
    return float(statistics.median(getattr(sample, key) for sample in samples))
