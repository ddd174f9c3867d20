"""The tables on the screen and the JSON beside them, from the same cells."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure.judge import Ratio, ratio
from benchmarks.measure.results import Verdict, judged
from benchmarks.scan import memory, remote, timings
from benchmarks.scan.readers import ONE_CORE, OURS, THREADS
from benchmarks.scan.targets import FLAT, LINE, MEMORY, targets

VERSIONS = ("pyarrow", "duckdb", "polars", "numpy")
_MIB = 1 << 20


@dataclass
class Measured:
    """Everything of one run."""

    cells: list[timings.Cell] = field(default_factory=list)
    peaks: list[memory.Cell] = field(default_factory=list)
    flatness: list[memory.Flatness] = field(default_factory=list)
    remote: list[remote.Cell] = field(default_factory=list)

    def wrong(self) -> list[str]:
        return [text for cell in self.cells for text in cell.wrong]


def timing_table(cell: timings.Cell) -> Iterator[str]:
    """The lines of one question to one file: a reader each."""
    yield ""
    yield (
        f"{cell.dataset.name}.{cell.dataset.codec} · {cell.question.name} · {cell.rows:,} of {cell.dataset.rows:,} rows · "
        f"file {cell.dataset.path.stat().st_size / 1e6:.0f} MB · answer {cell.arrow_bytes / 1e6:.1f} MB of Arrow"
    )
    yield f"  {'reader':<18}{'wall ms':>10}{'CPU ms':>10}{'Arrow MB/s':>12}{'per CPU s':>11}   it ÷ hubflight 1 core: CPU, wall"
    for name, samples in cell.samples.items():
        wall, cpu = (statistics.median(getattr(sample, key) for sample in samples) for key in ("wall", "cpu"))
        line = (
            f"  {name:<18}{wall * 1e3:>10.2f}{cpu * 1e3:>10.2f}{cell.arrow_bytes / 1e6 / wall:>12.0f}{cell.arrow_bytes / 1e6 / cpu:>11.0f}"
        )
        if name in timings.COMPARED and ONE_CORE in cell.samples:
            line += f"   {_timing_ratio(cell, name, 'cpu').text()}, {_timing_ratio(cell, name, 'wall').text()}"
        yield line
    yield from (f"  cannot: {text}" for text in cell.cannot)
    yield f"  {cell.turns.noise()}"


def peak_table(cell: memory.Cell) -> Iterator[str]:
    """The lines of one file: a reader's peak each."""
    yield ""
    yield f"{cell.dataset.name}.{cell.dataset.codec} · memory of a full scan, above idle · batches of {cell.dataset.batch_rows:,} rows"
    for name, samples in cell.samples.items():
        beside = f"   it ÷ hubflight {_peak_ratio(cell.samples[name], cell.samples[OURS]).text()}" if name == THREADS else ""
        yield f"  {name:<18}{_median_peak(samples) / _MIB:>10.0f} MiB{beside}"


def flatness_table(found: memory.Flatness) -> Iterator[str]:
    """The peaks on small and on large row groups."""
    yield ""
    yield f"{found.small.name} · memory of a full scan by size of row group · {found.small.rows:,} rows"
    for label, samples in found.samples.items():
        yield f"  {label:<30}{_median_peak(samples) / _MIB:>10.0f} MiB"


def remote_table(cell: remote.Cell) -> Iterator[str]:
    """What the line carried for the scan and for a plain download."""
    width = remote.LINE.bytes_per_second
    yield ""
    yield (
        f"{cell.dataset.name}.{cell.dataset.codec} · {remote.STREAMS} files at a time, {cell.bytes / 1e6:.0f} MB in all, "
        f"over {width / 1e6:.0f} MB/s and {remote.LINE.rtt_ms} ms, nothing known before"
    )
    for name, samples in cell.samples.items():
        wall, cpu = (statistics.median(getattr(sample, key) for sample in samples) for key in ("wall", "cpu"))
        share = _line_ratio(cell, name).median
        yield f"  {name:<18}{wall * 1e3:>10.0f} ms{cpu * 1e3:>10.0f} ms CPU{cell.bytes / 1e6 / wall:>8.0f} MB/s{share:>8.0%} of the line"
    yield f"  {cell.turns.noise()}"


def tables(measured: Measured) -> Iterator[str]:
    """Every table, one kind after the other."""
    for cell in measured.cells:
        yield from timing_table(cell)
    for peaks in measured.peaks:
        yield from peak_table(peaks)
    for flat in measured.flatness:
        yield from flatness_table(flat)
    for distant in measured.remote:
        yield from remote_table(distant)


def verdicts(measured: Measured) -> Iterator[Verdict]:
    """Every target, judged by what was measured."""
    for cell in measured.cells:
        for wrong in cell.wrong:
            yield Verdict(cell.name, "wrong rows or error", "equal rows", False, f"  ({wrong})")
        for wanted in targets(cell.dataset.name, cell.question.name):
            if ONE_CORE in cell.samples and wanted.reader in cell.samples:
                note = f"  ({cell.turns.noise()})" if cell.turns.loaded else ""
                yield judged(f"{cell.name}: CPU of {wanted.reader}", _timing_ratio(cell, wanted.reader, "cpu"), wanted.times, note)
    for peaks in measured.peaks:
        if OURS in peaks.samples and THREADS in peaks.samples:
            what = f"{peaks.dataset.name}.{peaks.dataset.codec}, memory: {THREADS}'s"
            yield judged(what, _peak_ratio(peaks.samples[THREADS], peaks.samples[OURS]), MEMORY)
    for flat in measured.flatness:
        for reader, least in ((ONE_CORE, 1 - FLAT), (OURS, 0.0)):
            small, large = memory.labels(reader)
            found = _peak_ratio(flat.samples[large], flat.samples[small])
            grown = judged(f"{flat.small.name}, memory of {reader}: large row groups", found, least)
            met = grown.met and found.low <= 1 + FLAT and found.median <= (1 + FLAT) * 1.05
            yield dataclasses.replace(grown, wanted=f"{least:g} to {1 + FLAT:g}" if least else f"at most {1 + FLAT:g}", met=met)
    for far in measured.remote:
        yield judged(f"{far.dataset.name}.{far.dataset.codec}, four files over a line: its share", _line_ratio(far, remote.SCAN), LINE)


def as_json(measured: Measured) -> dict[str, Any]:
    """Everything that was measured, each sample included."""
    return {
        "timings": [_timing(cell) for cell in measured.cells],
        "memory": [{**_file(cell), **_samples(cell.turns)} for cell in measured.peaks],
        "remote": [{**_file(cell), "line": dataclasses.asdict(remote.LINE), **_samples(cell.turns)} for cell in measured.remote],
        "flatness": [{"dataset": flat.small.name, "rows": flat.small.rows, **_samples(flat.turns)} for flat in measured.flatness],
    }


def _timing(cell: timings.Cell) -> dict[str, Any]:
    others = [name for name in timings.COMPARED if name in cell.samples] if ONE_CORE in cell.samples else []
    return {
        **_file(cell),
        "question": cell.question.name,
        "columns": cell.question.columns,
        "filters": cell.question.filters,
        "rows": cell.rows,
        "digest": cell.digest,
        "arrow_bytes": cell.arrow_bytes,
        "wrong": cell.wrong,
        "cannot": cell.cannot,
        "ratios": {name: {key: dataclasses.asdict(_timing_ratio(cell, name, key)) for key in ("cpu", "wall")} for name in others},
        **_samples(cell.turns),
    }


def _file(cell: timings.Cell | memory.Cell | remote.Cell) -> dict[str, Any]:
    return {"dataset": cell.dataset.name, "codec": cell.dataset.codec, "file_bytes": cell.dataset.path.stat().st_size}


def _samples(turns: Any) -> dict[str, Any]:
    return {
        "repeated_rounds": turns.repeated,
        "loaded_rounds": turns.loaded,
        "readers": {name: [dataclasses.asdict(sample) for sample in samples] for name, samples in turns.samples.items()},
    }


def _timing_ratio(cell: timings.Cell, reader: str, key: str) -> Ratio:
    return ratio(*([getattr(sample, key) for sample in samples] for samples in cell.turns.together(reader, ONE_CORE)))


def _peak_ratio(theirs: Sequence[memory.Peak], ours: Sequence[memory.Peak]) -> Ratio:
    return ratio(*([max(peak.bytes, 1) for peak in peaks] for peaks in (theirs, ours)))


def _line_ratio(cell: remote.Cell, name: str) -> Ratio:
    return ratio([cell.rate(sample) for sample in cell.samples[name]], [remote.LINE.bytes_per_second] * len(cell.samples[name]))


def _median_peak(samples: Sequence[memory.Peak]) -> float:
    return statistics.median(sample.bytes for sample in samples)
