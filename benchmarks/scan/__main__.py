"""Makes the files, asks every reader, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measure import results
from benchmarks.scan import datasets, memory, readers, remote, report, timings


def main() -> int:
    arguments = _arguments()
    # Ends as an interrupt does: through everything that stops what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    measured = report.Measured()
    with (
        tempfile.TemporaryDirectory(prefix="hubflight-bench-") as scratch,
        readers.running(arguments.reader.resolve(), Path(scratch)) as asked,
    ):
        if "timings" in arguments.parts:
            _time(arguments, asked, measured)
        if "memory" in arguments.parts:
            _weigh(arguments, asked, measured)
        if "flatness" in arguments.parts:
            _flatten(arguments, asked, measured)
        if "remote" in arguments.parts:
            _reach(arguments, Path(scratch), measured)
    found = list(report.verdicts(measured))
    _say("")
    _show(verdict.line() for verdict in found)
    _say(f"\n{sum(verdict.met for verdict in found)} of {len(found)} targets met, {time.monotonic() - began:.0f} s")
    _write(arguments, measured, found)
    return 1 if measured.wrong() else 0


def _time(arguments: argparse.Namespace, asked: readers.Readers, measured: report.Measured) -> None:
    for dataset in _made(arguments):
        for question in dataset.questions:
            if not arguments.questions or question.name in arguments.questions:
                measured.cells.append(timings.run(asked, dataset, question, arguments.rounds, arguments.readers, _say))
                _show(report.timing_table(measured.cells[-1]))


def _weigh(arguments: argparse.Namespace, asked: readers.Readers, measured: report.Measured) -> None:
    for dataset in _made(arguments):
        measured.peaks.append(memory.run(asked, dataset, arguments.rounds, arguments.readers))
        _show(report.peak_table(measured.peaks[-1]))


def _flatten(arguments: argparse.Namespace, asked: readers.Readers, measured: report.Measured) -> None:
    for name in memory.GROUPED:
        if name in arguments.datasets:
            measured.flatness.append(memory.flatness(asked, name, arguments.cache.resolve(), arguments.scale, arguments.rounds, _say))
            _show(report.flatness_table(measured.flatness[-1]))


def _reach(arguments: argparse.Namespace, scratch: Path, measured: report.Measured) -> None:
    programs = remote.Programs(arguments.reader.resolve(), arguments.hubflight.resolve(), arguments.netdelay.resolve())
    for dataset in _made(arguments):
        if dataset.name in _DISTANT:
            folder = scratch / f"remote-{dataset.name}-{dataset.codec}"
            folder.mkdir()
            measured.remote.append(remote.run(programs, dataset, arguments.rounds, folder))
            _show(report.remote_table(measured.remote[-1]))


def _made(arguments: argparse.Namespace) -> list[datasets.Dataset]:
    cache = arguments.cache.resolve()
    return [datasets.make(name, codec, cache, arguments.scale) for name in arguments.datasets for codec in arguments.codecs]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads Parquet files with hubflight's scan and beside it, judged by the targets.")
    parser.add_argument("--reader", type=Path, required=True, help="the binary of benchmarks/scan/reader")
    parser.add_argument("--hubflight", type=Path, required=True, help="the program, for its embedded Hub")
    parser.add_argument("--netdelay", type=Path, required=True, help="the binary of benchmarks/netdelay")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made files")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the tables")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the rows of every file")
    parser.add_argument("--datasets", type=_names, default=list(datasets.RECIPES), help="comma-separated: " + ", ".join(datasets.RECIPES))
    parser.add_argument("--codecs", type=_names, default=list(datasets.CODECS), help="comma-separated: " + ", ".join(datasets.CODECS))
    parser.add_argument("--questions", type=_names, default=[], help="comma-separated names as in the tables, %% included (default: all)")
    parser.add_argument("--readers", type=_names, default=list(readers.NAMES), help="comma-separated: " + ", ".join(readers.NAMES))
    parser.add_argument("--parts", type=_names, default=list(_PARTS), help="comma-separated: " + ", ".join(_PARTS))
    return parser.parse_args()


_PARTS = ("timings", "memory", "flatness", "remote")
_DISTANT = ("flat", "text", "images")
"""What is read over a line."""


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _write(arguments: argparse.Namespace, measured: report.Measured, found: list[results.Verdict]) -> None:
    lines = [str(report.machine())]
    lines += [line for cell in measured.cells for line in report.timing_table(cell)]
    lines += [line for cell in measured.peaks for line in report.peak_table(cell)]
    lines += [line for flat in measured.flatness for line in report.flatness_table(flat)]
    lines += [line for cell in measured.remote for line in report.remote_table(cell)]
    lines += ["", *(verdict.line() for verdict in found)]
    written = results.write(arguments.results, "scan", report.as_json(measured, found, results.settings(arguments)), lines)
    _say(f"written: {written}.json and .txt")


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        _say(line)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
