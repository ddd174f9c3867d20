"""How long a question takes: every reader's rows are checked, then timings are taken in rounds, then rows are checked again."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks.measure import turns
from benchmarks.measure.digest import Digest
from benchmarks.measure.load import Load, cpu_seconds, machine_cpu
from benchmarks.measure.terms import expression
from benchmarks.scan.datasets import Dataset, Question
from benchmarks.scan.readers import LIBRARY, ONE_CORE, ONE_THREAD, Readers
from benchmarks.scan.targets import targets

COMPARED = (LIBRARY, ONE_THREAD)
"""Whose ratio to one of our cores is shown, whether or not there is a target for it."""
_MOST_REPEATS = 500


@dataclass(frozen=True)
class Sample:
    """Mean of the repeats of one timing, in seconds."""

    wall: float
    cpu: float
    foreign: float


@dataclass
class Cell:
    """One question to one file: what every reader did."""

    dataset: Dataset
    question: Question
    rows: int = 0
    digest: str = ""
    arrow_bytes: int = 0
    """What the answer takes as Arrow; the same number for all, so that throughputs compare."""
    turns: turns.Turns[Sample] = field(default_factory=turns.Turns)
    wrong: list[str] = field(default_factory=list)
    cannot: list[str] = field(default_factory=list)
    """Peers that fail on this file, and how."""

    @property
    def samples(self) -> dict[str, list[Sample]]:
        return self.turns.samples

    @property
    def name(self) -> str:
        return f"{self.dataset.name}.{self.dataset.codec}, {self.question.name}"


def run(readers: Readers, dataset: Dataset, question: Question, rounds: int, names: Sequence[str], say: Callable[[str], None]) -> Cell:
    """Measures everybody who gives the right rows; who does not is named in the cell."""
    cell = Cell(dataset, question)
    _expect(cell)
    good = [name for name in names if _right(readers, cell, name, say)]
    often = {name: turns.repeats(_ask(readers, cell, name, 1)["wall"], _MOST_REPEATS) for name in good}
    # What no target is about need not be measured in every round.
    wanted = {ONE_CORE, *(target.reader for target in targets(dataset.name, question.name))}
    judged = [name for name in good if name in wanted]
    others = [name for name in good if name not in judged]
    turns.take(judged, others, rounds if judged else 0, lambda name: _measure(readers, cell, name, often[name]), cell.turns)
    for name in judged:
        _right(readers, cell, name, say)
    return cell


def _expect(cell: Cell) -> None:
    """Rows and checksum by pyarrow, which every reader has to give."""
    wanted = expression(ds.field, cell.question.filters, pa.scalar)
    digest = Digest()
    for batch in ds.dataset(cell.dataset.path, format="parquet").to_batches(columns=cell.question.columns, filter=wanted):
        digest.add(batch)
        cell.arrow_bytes += batch.nbytes
    cell.rows, cell.digest = digest.rows, digest.text()


def _right(readers: Readers, cell: Cell, name: str, say: Callable[[str], None]) -> bool:
    answer = readers.check(name, cell.dataset, cell.question)
    if "error" in answer:
        found = f"{cell.name}: {name}: {answer['error']}"
        (cell.wrong if name.startswith("hubflight") else cell.cannot).append(found)
        say(f"CANNOT {found}")
    elif (answer["rows"], answer["digest"]) != (cell.rows, cell.digest):
        cell.wrong.append(f"{cell.name}: {name}: {answer['rows']:,} rows, checksum {answer['digest']}; want {cell.rows:,}, {cell.digest}")
        say(f"WRONG {cell.wrong[-1]}")
    else:
        return True
    return False


def _measure(readers: Readers, cell: Cell, name: str, repeats: int) -> Sample:
    pids = (os.getpid(), readers.pid(name))
    ours, everybody = sum(map(cpu_seconds, pids)), machine_cpu()
    answer = _ask(readers, cell, name, repeats)
    load = Load(sum(map(cpu_seconds, pids)) - ours, machine_cpu() - everybody, answer["wall"] * repeats)
    return Sample(answer["wall"], max(answer["cpu"], 1e-6), load.foreign())


def _ask(readers: Readers, cell: Cell, name: str, repeats: int) -> dict[str, Any]:
    answer = readers.ask(name, cell.dataset, cell.question, repeats=repeats)
    # Wrong once means that no number of this run is worth anything.
    if "error" in answer or answer["rows"] != cell.rows:
        raise SystemExit(f"{name} gave {answer} for {cell.name}; want {cell.rows:,} rows")
    return answer
