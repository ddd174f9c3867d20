"""Makes the files, asks every reader, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import screen
from benchmarks.measure.screen import Run, among, say, show
from benchmarks.scan import datasets, memory, readers, remote, report, timings


def main() -> int:
    arguments = _arguments()
    run = Run("scan", arguments)
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
    run.end(found, report.tables(measured), report.VERSIONS, report.as_json(measured))
    return 1 if measured.wrong() else 0


def _time(arguments: argparse.Namespace, asked: readers.Readers, measured: report.Measured) -> None:
    for dataset in _made(arguments):
        for question in dataset.questions:
            if not arguments.questions or question.name in arguments.questions:
                measured.cells.append(timings.run(asked, dataset, question, arguments.rounds, arguments.readers, say))
                show(report.timing_table(measured.cells[-1]))


def _weigh(arguments: argparse.Namespace, asked: readers.Readers, measured: report.Measured) -> None:
    for dataset in _made(arguments):
        measured.peaks.append(memory.run(asked, dataset, arguments.rounds, arguments.readers))
        show(report.peak_table(measured.peaks[-1]))


def _flatten(arguments: argparse.Namespace, asked: readers.Readers, measured: report.Measured) -> None:
    for name in memory.GROUPED:
        if name in arguments.datasets:
            measured.flatness.append(memory.flatness(asked, name, arguments.cache.resolve(), arguments.scale, arguments.rounds, say))
            show(report.flatness_table(measured.flatness[-1]))


def _reach(arguments: argparse.Namespace, scratch: Path, measured: report.Measured) -> None:
    programs = remote.Programs(arguments.reader.resolve(), arguments.hubflight.resolve(), arguments.netdelay.resolve())
    for dataset in _made(arguments):
        if dataset.name in _DISTANT:
            folder = scratch / f"remote-{dataset.name}-{dataset.codec}"
            folder.mkdir()
            measured.remote.append(remote.run(programs, dataset, arguments.rounds, folder))
            show(report.remote_table(measured.remote[-1]))


def _made(arguments: argparse.Namespace) -> list[datasets.Dataset]:
    cache = arguments.cache.resolve()
    return [datasets.make(name, codec, cache, arguments.scale) for name in arguments.datasets for codec in arguments.codecs]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads Parquet files with hubflight's scan and beside it, judged by the targets.")
    known = dict.fromkeys(question.name for recipe in datasets.RECIPES.values() for question in recipe.questions(1000))
    parser.add_argument("--reader", type=Path, required=True, help="the binary of benchmarks/scan/reader")
    parser.add_argument("--hubflight", type=Path, required=True, help="the program, for its embedded Hub")
    parser.add_argument("--netdelay", type=Path, required=True, help="the binary of benchmarks/netdelay")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made files")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the tables")
    parser.add_argument("--rounds", type=screen.rounds, default=9)
    parser.add_argument("--scale", type=screen.scale, default=1.0, help="multiplies the rows of every file")
    parser.add_argument(
        "--datasets", type=among(datasets.RECIPES), default=list(datasets.RECIPES), help="comma-separated: " + ", ".join(datasets.RECIPES)
    )
    parser.add_argument(
        "--codecs", type=among(datasets.CODECS), default=list(datasets.CODECS), help="comma-separated: " + ", ".join(datasets.CODECS)
    )
    parser.add_argument(
        "--questions", type=among(known), default=[], help="comma-separated names as in the tables, %% included (default: all)"
    )
    parser.add_argument(
        "--readers", type=among(readers.NAMES), default=list(readers.NAMES), help="comma-separated: " + ", ".join(readers.NAMES)
    )
    parser.add_argument("--parts", type=among(_PARTS), default=list(_PARTS), help="comma-separated: " + ", ".join(_PARTS))
    return parser.parse_args()


_PARTS = ("timings", "memory", "flatness", "remote")
_DISTANT = ("flat", "text", "images")
"""What is read over a line."""


if __name__ == "__main__":
    sys.exit(main())
