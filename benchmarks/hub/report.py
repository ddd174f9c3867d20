"""The table on the screen and the JSON beside it, from the same cells."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator
from typing import Any

from benchmarks.hub.rounds import OURS, REFERENCE, Cell
from benchmarks.hub.targets import target
from benchmarks.measure.judge import Ratio, ratio
from benchmarks.measure.results import Verdict, judged

_BYTES_TARGET = 1.1
VERSIONS = ("pyarrow", "polars", "datasets", "huggingface_hub", "fsspec")


def table(cell: Cell) -> Iterator[str]:
    """The lines of one cell: a reader each."""
    size = cell.repository.size() / 1e6
    yield ""
    yield (
        f"{cell.repository.name} · {cell.case.name} · {cell.rtt_ms} ms · {cell.rows:,} rows · {len(cell.repository.files())} file(s), "
        f"{size:.0f} MB · wanted bytes {cell.column_bytes() / 1e6:.1f} MB"
    )
    yield (
        f"  {'reader':<20}{'wall s':>8}{'plan':>7}{'first':>7}{'again':>7}{'CPU s':>8}{'client':>8}{'server':>8}"
        f"{'hub req':>9}{'cdn req':>8}{'cdn MB':>9}   pyarrow ÷ it: wall, CPU (median [90 %])"
    )
    for name, samples in cell.samples.items():
        if not samples:
            continue
        traffic = cell.traffic[name]
        numbers = [_median(samples, key) for key in ("wall", "plan", "first", "warm", "cpu", "client_cpu", "server_cpu")]
        line = f"  {name:<20}{numbers[0]:>8.3f}{numbers[1]:>7.3f}{numbers[2]:>7.3f}{numbers[3]:>7.3f}"
        line += f"{numbers[4]:>8.2f}{numbers[5]:>8.2f}{numbers[6]:>8.2f}"
        line += f"{traffic.hub_requests:>9}{traffic.cdn_requests:>8}{traffic.cdn_bytes / 1e6:>9.1f}"
        if name == OURS:
            line += f"   {_wall(cell).text()}, {_cpu(cell).text()}"
        yield line
    plan, scan = cell.plan_traffic, cell.scan_traffic
    yield (
        f"  hubflight alone: plan {plan.hub_requests} + {plan.cdn_requests} requests, {plan.cdn_bytes / 1e6:.2f} MB of footers; "
        f"then scan {scan.hub_requests} + {scan.cdn_requests} requests, {scan.cdn_bytes / 1e6:.2f} MB; {cell.turns.noise()}"
    )


def verdicts(cells: list[Cell]) -> Iterator[Verdict]:
    """Every target of the issue, judged by what was measured."""
    for cell in cells:
        where = f"{cell.repository.name}, {cell.case.name}, {cell.rtt_ms} ms"
        for wrong in cell.wrong:
            yield Verdict(where, "wrong rows or error", "equal rows", False, f"  ({wrong})")
        wanted = target(cell.case.name, cell.rtt_ms)
        if wanted is not None and cell.samples[OURS]:
            yield judged(where, _wall(cell), wanted, f"  ({cell.turns.noise()})" if cell.turns.loaded else "")
        if cell.case.name == "2 columns" and cell.rtt_ms == 0 and cell.traffic:
            share = cell.scan_traffic.cdn_bytes / cell.column_bytes()
            yield Verdict(where + ", bytes", f"{share:.3f}", f"≤ {_BYTES_TARGET:g}× of what the columns occupy", share <= _BYTES_TARGET)


def as_json(cells: list[Cell]) -> dict[str, Any]:
    """Everything that was measured, each sample included."""
    return {"cells": [_cell(cell) for cell in cells]}


def _cell(cell: Cell) -> dict[str, Any]:
    ratios = {"wall_ratio": dataclasses.asdict(_wall(cell)), "cpu_ratio": dataclasses.asdict(_cpu(cell))} if cell.samples[OURS] else {}
    return {
        "repository": cell.repository.name,
        "bytes": cell.repository.size(),
        "case": cell.case.name,
        "rtt_ms": cell.rtt_ms,
        "rows": cell.rows,
        "digest": cell.digest,
        "column_bytes": cell.column_bytes(),
        "repeated_rounds": cell.turns.repeated,
        "loaded_rounds": cell.turns.loaded,
        "wrong": cell.wrong,
        **ratios,
        "plan_traffic": dataclasses.asdict(cell.plan_traffic),
        "scan_traffic": dataclasses.asdict(cell.scan_traffic),
        "readers": {
            name: {"traffic": dataclasses.asdict(traffic), "samples": [dataclasses.asdict(sample) for sample in cell.samples[name]]}
            for name, traffic in cell.traffic.items()
        },
    }


def _wall(cell: Cell) -> Ratio:
    return ratio([sample.wall for sample in cell.samples[REFERENCE]], [sample.wall for sample in cell.samples[OURS]])


def _cpu(cell: Cell) -> Ratio:
    return ratio([max(sample.cpu, 1e-3) for sample in cell.samples[REFERENCE]], [max(sample.cpu, 1e-3) for sample in cell.samples[OURS]])


def _median(samples: list[Any], key: str) -> float:
    return float(statistics.median(getattr(sample, key) for sample in samples))
