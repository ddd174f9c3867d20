"""Makes the data, starts what is needed, measures, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks.hub import report, repositories, rig, rounds
from benchmarks.hub.peers import PEERS
from benchmarks.measure import screen
from benchmarks.measure.digest import Digest
from benchmarks.measure.screen import Run, among, numbers, say, show
from benchmarks.measure.terms import expression


def main() -> int:
    arguments = _arguments()
    run = Run("hub", arguments)
    cache = arguments.cache.resolve()
    made = [_made(arguments, name) for name in arguments.repositories]
    cells: list[rounds.Cell] = []
    with (
        tempfile.TemporaryDirectory(prefix="hubflight-bench-") as scratch,
        rig.running(arguments.hubflight.resolve(), arguments.netdelay.resolve(), cache / "hub", Path(scratch), arguments.latencies) as rigs,
    ):
        for repository in made:
            for case in repository.cases:
                if arguments.cases and case.name not in arguments.cases:
                    continue
                rows, digest = _expected(repository, case)
                for rtt, one in rigs.items():
                    cell = rounds.Cell(repository, case, rtt, rows=rows, digest=digest)
                    rounds.run(one, cell, arguments.rounds, arguments.readers, say)
                    cells.append(cell)
                    show(report.table(cell))
    judged = list(report.verdicts(cells))
    tables = (line for cell in cells for line in report.table(cell))
    run.end(judged, tables, report.VERSIONS, report.as_json(cells))
    return 1 if any(cell.wrong for cell in cells) else 0


_CASES = ("full", "2 columns", "1 % filter")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads from a Hub through hubflight and beside it, judged by the targets.")
    parser.add_argument("--hubflight", type=Path, required=True, help="the server's binary")
    parser.add_argument("--netdelay", type=Path, required=True, help="the binary of benchmarks/netdelay")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made data and the Hub's repositories")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the table")
    parser.add_argument("--rounds", type=screen.rounds, default=9)
    parser.add_argument("--scale", type=screen.scale, default=1.0, help="multiplies the rows of every repository")
    parser.add_argument(
        "--repositories",
        type=among(repositories.RECIPES),
        default=list(repositories.RECIPES),
        help="comma-separated: " + ", ".join(repositories.RECIPES),
    )
    parser.add_argument(
        "--readers",
        type=among(PEERS, needed=(rounds.OURS, rounds.REFERENCE)),
        default=list(PEERS),
        help="comma-separated: " + ", ".join(PEERS),
    )
    parser.add_argument("--cases", type=among(_CASES), default=[], help="comma-separated: full, 2 columns, 1 %% filter (default: all)")
    parser.add_argument("--latencies", type=numbers, default=[0, 30], help="round trips in ms")
    return parser.parse_args()


def _made(arguments: argparse.Namespace, name: str) -> repositories.Repository:
    """The repository as a folder and in the Hub, both made at most once."""
    cache = arguments.cache.resolve()
    repository = repositories.make(name, cache, arguments.scale)
    done = cache / "hub" / f".imported-{repository.folder.name}"
    if not done.exists():
        say(f"importing {repository.folder.name}, {repository.size() / 1e6:.0f} MB")
        command = [
            str(arguments.hubflight.resolve()),
            "hub",
            "import",
            str(repository.folder),
            repository.dataset,
            "--dir",
            str(cache / "hub"),
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        for other in (cache / "hub").glob(f".imported-{name}-*"):
            other.unlink()  # the repository holds one scale at a time
        done.touch()
    return repository


def _expected(repository: repositories.Repository, case: repositories.Case) -> tuple[int, str]:
    """Rows and checksum by pyarrow from the files on disk."""
    wanted = expression(ds.field, case.filters, pa.scalar)
    digest = Digest()
    for batch in ds.dataset(repository.files(), format="parquet").to_batches(columns=case.columns, filter=wanted):
        digest.add(batch)
    return digest.rows, digest.text()


if __name__ == "__main__":
    sys.exit(main())
