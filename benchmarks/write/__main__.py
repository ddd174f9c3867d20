"""Makes the rows, has every writer write them, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from benchmarks.measure import results
from benchmarks.write import report, rig, rounds, tasks, writers

_PARTS = ("timings", "memory")


def main() -> int:
    arguments = _arguments()
    # Ends as an interrupt does: through everything that stops what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    measured = report.Measured()
    with tempfile.TemporaryDirectory(prefix="hubflight-bench-") as scratch:
        asked = rig.Rig(arguments.hubflight.resolve(), Path(scratch))
        try:
            _measure(arguments, asked, measured)
        finally:
            asked.close()
    found = list(report.verdicts(measured))
    _say("")
    _show(verdict.line() for verdict in found)
    _say(f"\n{sum(verdict.met for verdict in found)} of {len(found)} targets met, {time.monotonic() - began:.0f} s")
    _write(arguments, measured, found)
    return 1 if measured.wrong() else 0


def _measure(arguments: argparse.Namespace, asked: rig.Rig, measured: report.Measured) -> None:
    cache = arguments.cache.resolve()
    for shape in arguments.shapes:
        for count in arguments.tasks:
            what = tasks.make(shape, count, cache, arguments.scale)
            if "timings" in arguments.parts:
                measured.cells.append(rounds.run(asked, what, arguments.rounds, arguments.writers, _say))
                _show(report.timing_table(measured.cells[-1]))
        if "memory" in arguments.parts:
            _weigh(arguments, asked, shape, measured)


def _weigh(arguments: argparse.Namespace, asked: rig.Rig, shape: str, measured: report.Measured) -> None:
    """One task with the rows of the timings, and with four times as many: files of the size at which writers begin the next one."""
    cache = arguments.cache.resolve()
    small, large = (tasks.make(shape, 1, cache, arguments.scale * times) for times in (1, 4))
    pair = (
        rounds.peaks(asked, small, arguments.rounds, [rig.OURS]),
        rounds.peaks(asked, large, arguments.rounds, arguments.writers),
    )
    several = [tasks.make(shape, count, cache, arguments.scale) for count in arguments.tasks if count > 1]
    measured.flat.append(pair)
    measured.peaks += [pair[1], *(rounds.peaks(asked, what, arguments.rounds, [rig.OURS]) for what in several)]
    for cell in (pair[0], *measured.peaks[-1 - len(several) :]):
        _show(report.peak_table(cell))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Writes to a Hub through hubflight and beside it, judged by the targets.")
    parser.add_argument("--hubflight", type=Path, required=True, help="the server's binary")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made rows")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the tables")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the rows")
    parser.add_argument("--shapes", type=_names, default=list(tasks.SHAPES), help="comma-separated: " + ", ".join(tasks.SHAPES))
    parser.add_argument("--tasks", type=lambda text: [int(n) for n in text.split(",")], default=[1, 4], help="how many at a time")
    parser.add_argument("--writers", type=_names, default=list(writers.WRITERS), help="comma-separated: " + ", ".join(writers.WRITERS))
    parser.add_argument("--parts", type=_names, default=list(_PARTS), help="comma-separated: " + ", ".join(_PARTS))
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _write(arguments: argparse.Namespace, measured: report.Measured, found: list[results.Verdict]) -> None:
    lines = [str(report.machine())]
    lines += [line for cell in measured.cells for line in report.timing_table(cell)]
    lines += [line for cell in measured.peaks for line in report.peak_table(cell)]
    lines += [line for pair in measured.flat for line in report.peak_table(pair[0])]
    lines += ["", *(verdict.line() for verdict in found)]
    written = results.write(arguments.results, "write", report.as_json(measured, found, results.settings(arguments)), lines)
    _say(f"written: {written}.json and .txt")


def _show(lines: Iterable[str]) -> None:
    for line in lines:
        _say(line)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
