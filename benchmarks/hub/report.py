"""The table on the screen and the JSON beside it, from the same cells."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.hub.judge import LEAST_ROUNDS, Ratio, ratio, target
from benchmarks.hub.rounds import OURS, REFERENCE, Cell

_BYTES_TARGET = 1.1
_VERSIONS = ("pyarrow", "polars", "datasets", "huggingface_hub", "fsspec")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One target: what was measured, what was wanted."""

    what: str
    measured: str
    wanted: str
    met: bool
    note: str = ""

    def line(self) -> str:
        return f"{'PASS' if self.met else 'MISS'}  {self.what:<44} {self.measured:<22} target {self.wanted}{self.note}"


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
        f"then scan {scan.hub_requests} + {scan.cdn_requests} requests, {scan.cdn_bytes / 1e6:.2f} MB; {_noise(cell)}"
    )


def verdicts(cells: list[Cell]) -> Iterator[Verdict]:
    """Every target of the issue, judged by what was measured."""
    for cell in cells:
        where = f"{cell.repository.name}, {cell.case.name}, {cell.rtt_ms} ms"
        for wrong in cell.wrong:
            yield Verdict(where, "wrong rows or error", "equal rows", False, f"  ({wrong})")
        wanted = target(cell.case.name, cell.rtt_ms)
        if wanted is not None and cell.samples[OURS]:
            measured = _wall(cell)
            note = f"  ({_noise(cell)})" if cell.loaded else ""
            if measured.rounds < LEAST_ROUNDS:
                note += f"  (a hint: {measured.rounds} of {LEAST_ROUNDS} rounds)"
            yield Verdict(where, measured.text(), f"≥ {wanted:g}×", measured.meets(wanted), note)
        if cell.case.name == "2 columns" and cell.rtt_ms == 0 and cell.traffic:
            share = cell.scan_traffic.cdn_bytes / cell.column_bytes()
            yield Verdict(where + ", bytes", f"{share:.3f}", f"≤ {_BYTES_TARGET:g}× of what the columns occupy", share <= _BYTES_TARGET)


def as_json(cells: list[Cell], judged: list[Verdict], settings: dict[str, Any]) -> str:
    """Everything that was measured, each sample included."""
    return json.dumps(
        {
            "machine": machine(),
            "settings": settings,
            "verdicts": [dataclasses.asdict(verdict) for verdict in judged],
            "cells": [_cell(cell) for cell in cells],
        },
        indent=1,
        ensure_ascii=False,
    )


def machine() -> dict[str, Any]:
    """What ran where."""
    model = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines() if "model name" in line),
        "",
    )
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()  # noqa: S607
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": commit,
        "packages": {name: metadata.version(name) for name in _VERSIONS},
    }


def _cell(cell: Cell) -> dict[str, Any]:
    judged = {"wall_ratio": dataclasses.asdict(_wall(cell)), "cpu_ratio": dataclasses.asdict(_cpu(cell))} if cell.samples[OURS] else {}
    return {
        "repository": cell.repository.name,
        "bytes": cell.repository.size(),
        "case": cell.case.name,
        "rtt_ms": cell.rtt_ms,
        "rows": cell.rows,
        "digest": cell.digest,
        "column_bytes": cell.column_bytes(),
        "repeated_rounds": cell.repeated,
        "loaded_rounds": cell.loaded,
        "wrong": cell.wrong,
        **judged,
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


def _noise(cell: Cell) -> str:
    return f"{cell.repeated} rounds repeated, {cell.loaded} kept under foreign load"


def _median(samples: list[Any], key: str) -> float:
    return float(statistics.median(getattr(sample, key) for sample in samples))
