"""How much memory a full scan takes: the peak of a process that was just started, beyond what it had before the question."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure import turns
from benchmarks.scan.datasets import Dataset, Question, make_grouped
from benchmarks.scan.readers import ONE_CORE, OURS, THREADS, Readers

JUDGED = (OURS, THREADS)
"""Measured in every round: both with what they do unless told otherwise. The others once."""
SMALL, LARGE = 128 << 20, 2 << 30
"""Bytes of Arrow in a row group of the files that differ in nothing else."""
GROUPED = ("flat", "text")
_FULL = Question("full")


@dataclass(frozen=True)
class Peak:
    """In bytes."""

    bytes: int
    foreign: float = 0.0
    """Others' load does not change how much memory is taken."""


@dataclass
class Cell:
    """One file: peaks of every reader."""

    dataset: Dataset
    turns: turns.Turns[Peak] = field(default_factory=turns.Turns)

    @property
    def samples(self) -> dict[str, list[Peak]]:
        return self.turns.samples


@dataclass
class Flatness:
    """Two files of the same rows, in small and in large row groups: our peaks in turn, and pyarrow's beside them.

    On one core both are read alike, and their peaks must be; on several, row groups are decoded ahead of one another where there is more
    than one, and all that is asked is that large ones take no more.
    """

    small: Dataset
    large: Dataset
    turns: turns.Turns[Peak] = field(default_factory=turns.Turns)

    @property
    def samples(self) -> dict[str, list[Peak]]:
        return self.turns.samples


def run(readers: Readers, dataset: Dataset, rounds: int, names: Sequence[str]) -> Cell:
    """Peaks of those that can read the file."""
    cell = Cell(dataset)
    first = {name: _ask(readers, dataset, name) for name in names}
    good = [name for name, answer in first.items() if "error" not in answer]
    judged = [name for name in JUDGED if name in good]
    turns.take(judged, (), rounds if judged else 0, lambda name: _peak(readers, dataset, name), cell.turns)
    for name in good:
        cell.samples.setdefault(name, [_checked(first[name], dataset, name)])
    return cell


def flatness(readers: Readers, name: str, cache: Path, scale: float, rounds: int, say: Callable[[str], None]) -> Flatness:
    """Peaks on both files; the names in it are those of ``labels``."""
    say(f"{name} in row groups of {SMALL >> 20} MiB and {LARGE >> 20} MiB of Arrow, times {scale:g}")
    found = Flatness(make_grouped(name, SMALL, LARGE, cache, scale), make_grouped(name, LARGE, LARGE, cache, scale))
    measured = {
        label: (reader, dataset)
        for reader in (ONE_CORE, *JUDGED)
        for label, dataset in zip(labels(reader), (found.small, found.large), strict=True)
    }
    turns.take(
        [*labels(ONE_CORE), *labels(OURS)],
        labels(THREADS),
        rounds,
        lambda label: _peak(readers, measured[label][1], measured[label][0]),
        found.turns,
    )
    return found


def labels(reader: str) -> tuple[str, str]:
    """Small and large row groups."""
    return f"{reader}, small groups", f"{reader}, large groups"


def _peak(readers: Readers, dataset: Dataset, name: str) -> Peak:
    return _checked(_ask(readers, dataset, name), dataset, name)


def _checked(answer: dict[str, int], dataset: Dataset, name: str) -> Peak:
    if "error" in answer or answer["rows"] != dataset.rows:
        raise SystemExit(f"{name} gave {answer} for {dataset.path.name}; want {dataset.rows:,} rows")
    return Peak(int(answer["peak"]))


def _ask(readers: Readers, dataset: Dataset, name: str) -> dict[str, int]:
    readers.fresh(name)
    answer = readers.ask(name, dataset, _FULL, peak=True)
    readers.fresh(name)
    return answer
