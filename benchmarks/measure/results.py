"""What is written down: verdicts, the machine, and the files in ``benchmarks/results``."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.measure.judge import LEAST_ROUNDS, Ratio


@dataclass(frozen=True)
class Verdict:
    """One target: what was measured, what was wanted."""

    what: str
    measured: str
    wanted: str
    met: bool
    note: str = ""

    def line(self) -> str:
        return f"{'PASS' if self.met else 'MISS'}  {self.what:<54} {self.measured:<22} target {self.wanted}{self.note}"


def judged(what: str, measured: Ratio, target: float, note: str = "") -> Verdict:
    """The verdict of a ratio that has to reach a target; with too few rounds it is marked as a hint."""
    if measured.rounds < LEAST_ROUNDS:
        note += f"  (a hint: {measured.rounds} of {LEAST_ROUNDS} rounds)"
    return Verdict(what, measured.text(), f"≥ {target:g}×", measured.meets(target), note)


def machine(packages: Iterable[str]) -> dict[str, Any]:
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
        "packages": {name: metadata.version(name) for name in packages},
    }


def settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that decided what was measured: paths of this machine are none of them."""
    return {name: value for name, value in vars(arguments).items() if not isinstance(value, Path)}


def write(folder: Path, name: str, document: dict[str, Any], lines: Iterable[str]) -> Path:
    """``NAME-TIME.json`` and ``.txt`` in the folder; gives their path without the ending."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / datetime.datetime.now(datetime.timezone.utc).strftime(f"{name}-%Y%m%dT%H%M%SZ")
    path.with_name(path.name + ".json").write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    path.with_name(path.name + ".txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path
