"""Makes the data, starts what is needed, measures, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.hub import repositories, rig
from benchmarks.measure import screen
from benchmarks.measure.screen import Run, among, numbers, say, show
from benchmarks.spark import report, rounds

REPOSITORIES = ("flights-small", "chat-small")
QUESTIONS = ("scan", "show", "write", "cold")


def main() -> int:
    arguments = _arguments()
    run = Run("spark", arguments)
    made = [repositories.make(name, arguments.cache.resolve(), arguments.scale) for name in arguments.repositories]
    cells: list[rounds.Cell] = []
    with tempfile.TemporaryDirectory(prefix="hubflight-bench-") as scratch:
        # A Hub of this run's own, because the run writes to it.
        hub = Path(scratch) / "repositories"
        for repository in made:
            say(f"importing {repository.folder.name}, {repository.size() / 1e6:.0f} MB")
            command = [str(arguments.hubflight.resolve()), "hub", "import", str(repository.folder), repository.dataset, "--dir", str(hub)]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with rig.running(arguments.hubflight.resolve(), arguments.netdelay.resolve(), hub, Path(scratch), arguments.latencies) as rigs:
            for one in rigs.values():
                bench = rounds.Bench(one, arguments.readers, say)
                try:
                    for cell in _cells(bench, made, arguments):
                        cells.append(cell)
                        show(report.table(cell))
                finally:
                    bench.close()
    judged = list(report.verdicts(cells))
    tables = (line for cell in cells for line in report.table(cell))
    run.end(judged, tables, report.VERSIONS, report.as_json(cells))
    return 1 if any(cell.wrong for cell in cells) else 0


def _cells(bench: rounds.Bench, made: list[repositories.Repository], arguments: argparse.Namespace) -> Iterator[rounds.Cell]:
    for repository in made:
        if "scan" in arguments.questions:
            for case in rounds.cases(repository):
                yield bench.scans(repository, case, arguments.rounds)
        if "show" in arguments.questions:
            yield bench.show(repository, arguments.rounds)
        if "write" in arguments.questions:
            yield bench.writes(repository, arguments.rounds)
    for repository in made:  # last: it ends the sessions
        if "cold" in arguments.questions:
            yield bench.cold(repository, arguments.rounds)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads and writes with Spark through hubflight and beside it, judged by the targets.")
    parser.add_argument("--hubflight", type=Path, required=True, help="the server's binary")
    parser.add_argument("--netdelay", type=Path, required=True, help="the binary of benchmarks/netdelay")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made data")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the table")
    parser.add_argument("--rounds", type=screen.rounds, default=9)
    parser.add_argument("--scale", type=screen.scale, default=1.0, help="multiplies the rows of every repository")
    parser.add_argument(
        "--repositories",
        type=among(repositories.RECIPES),
        default=list(REPOSITORIES),
        help="comma-separated: " + ", ".join(repositories.RECIPES),
    )
    parser.add_argument(
        "--readers", type=among(rounds.READERS), default=list(rounds.READERS), help="comma-separated: " + ", ".join(rounds.READERS)
    )
    parser.add_argument("--questions", type=among(QUESTIONS), default=list(QUESTIONS), help="comma-separated: " + ", ".join(QUESTIONS))
    parser.add_argument("--latencies", type=numbers, default=[0, 30], help="round trips in ms")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
