"""Makes the rows, has every writer write them, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from benchmarks.measure import screen
from benchmarks.measure.screen import Run, among, numbers, say, show
from benchmarks.write import report, rig, rounds, tasks, writers

_PARTS = ("timings", "memory")


def main() -> int:
    arguments = _arguments()
    run = Run("write", arguments)
    measured = report.Measured()
    with tempfile.TemporaryDirectory(prefix="hubflight-bench-") as scratch:
        asked = rig.Rig(arguments.hubflight.resolve(), Path(scratch))
        try:
            _measure(arguments, asked, measured)
        finally:
            asked.close()
    found = list(report.verdicts(measured))
    run.end(found, report.tables(measured), report.VERSIONS, report.as_json(measured))
    return 1 if measured.wrong() else 0


def _measure(arguments: argparse.Namespace, asked: rig.Rig, measured: report.Measured) -> None:
    cache = arguments.cache.resolve()
    for shape in arguments.shapes:
        for count in arguments.tasks:
            what = tasks.make(shape, count, cache, arguments.scale)
            if "timings" in arguments.parts:
                measured.cells.append(rounds.run(asked, what, arguments.rounds, arguments.writers, say))
                show(report.timing_table(measured.cells[-1]))
        if "memory" in arguments.parts:
            _weigh(arguments, asked, shape, measured)


def _weigh(arguments: argparse.Namespace, asked: rig.Rig, shape: str, measured: report.Measured) -> None:
    """One task with the rows of the timings, and with four times as many: files of the size at which writers begin the next one."""
    cache = arguments.cache.resolve()
    tiny, small, large = (tasks.make(shape, 1, cache, arguments.scale * times) for times in (0.01, 1, 4))
    pair = (
        rounds.peaks(asked, small, tiny, arguments.rounds, [rig.OURS]),
        rounds.peaks(asked, large, tiny, arguments.rounds, arguments.writers),
    )
    several = [tasks.make(shape, count, cache, arguments.scale) for count in arguments.tasks if count > 1]
    measured.flat.append(pair)
    measured.peaks += [pair[1], *(rounds.peaks(asked, what, tiny, arguments.rounds, [rig.OURS]) for what in several)]
    for cell in (pair[0], *measured.peaks[-1 - len(several) :]):
        show(report.peak_table(cell))
    measured.overlaps.append(rounds.overlap(asked, large, min(arguments.rounds, 3)))
    say(report.overlap_line(measured.overlaps[-1]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes to a Hub through hubflight and beside it, judged by the targets.")
    parser.add_argument("--hubflight", type=Path, required=True, help="the server's binary")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made rows")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the tables")
    parser.add_argument("--rounds", type=screen.rounds, default=9)
    parser.add_argument("--scale", type=screen.scale, default=1.0, help="multiplies the rows")
    parser.add_argument(
        "--shapes", type=among(tasks.SHAPES), default=list(tasks.SHAPES), help="comma-separated: " + ", ".join(tasks.SHAPES)
    )
    parser.add_argument("--tasks", type=numbers, default=[1, 4], help="how many at a time")
    parser.add_argument(
        "--writers", type=among(writers.WRITERS), default=list(writers.WRITERS), help="comma-separated: " + ", ".join(writers.WRITERS)
    )
    parser.add_argument("--parts", type=among(_PARTS), default=list(_PARTS), help="comma-separated: " + ", ".join(_PARTS))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
