"""Makes the data, starts what is needed, measures, prints and writes the results; see the package's text."""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from benchmarks.hub import report, repositories, rig, rounds
from benchmarks.hub.peers import PEERS
from benchmarks.measure import results
from benchmarks.measure.digest import Digest
from benchmarks.measure.terms import expression


def main() -> int:
    arguments = _arguments()
    # Ends as an interrupt does: through everything that stops what was started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    cache = arguments.cache.resolve()
    made = [_made(arguments, name) for name in arguments.repositories]
    cells: list[rounds.Cell] = []
    judged: list[results.Verdict] = []
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
                    rounds.run(one, cell, arguments.rounds, arguments.readers, _say)
                    cells.append(cell)
                    _show(report.table(cell))
    judged = list(report.verdicts(cells))
    _say("")
    _show(verdict.line() for verdict in judged)
    missed = sum(not verdict.met for verdict in judged)
    _say(f"\n{len(judged) - missed} of {len(judged)} targets met, {time.monotonic() - began:.0f} s")
    _write(arguments, cells, judged)
    return 1 if any(cell.wrong for cell in cells) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Reads from a Hub through hubflight and beside it, judged by the targets.")
    parser.add_argument("--hubflight", type=Path, required=True, help="the server's binary")
    parser.add_argument("--netdelay", type=Path, required=True, help="the binary of benchmarks/netdelay")
    parser.add_argument("--cache", type=Path, required=True, help="folder that keeps the made data and the Hub's repositories")
    parser.add_argument("--results", type=Path, required=True, help="folder for the JSON and the table")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the rows of every repository")
    parser.add_argument(
        "--repositories", type=_names, default=list(repositories.RECIPES), help="comma-separated: " + ", ".join(repositories.RECIPES)
    )
    parser.add_argument("--readers", type=_names, default=list(PEERS), help="comma-separated: " + ", ".join(PEERS))
    parser.add_argument("--cases", type=_names, default=[], help="comma-separated: full, 2 columns, 1 %% filter (default: all)")
    parser.add_argument("--latencies", type=lambda text: [int(ms) for ms in text.split(",")], default=[0, 30], help="round trips in ms")
    return parser.parse_args()


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _made(arguments: argparse.Namespace, name: str) -> repositories.Repository:
    """The repository as a folder and in the Hub, both made at most once."""
    cache = arguments.cache.resolve()
    repository = repositories.make(name, cache, arguments.scale)
    done = cache / "hub" / f".imported-{repository.folder.name}"
    if not done.exists():
        _say(f"importing {repository.folder.name}, {repository.size() / 1e6:.0f} MB")
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


def _write(arguments: argparse.Namespace, cells: list[rounds.Cell], judged: list[results.Verdict]) -> None:
    lines = [str(report.machine()), *(line for cell in cells for line in report.table(cell)), "", *(verdict.line() for verdict in judged)]
    written = results.write(arguments.results, "hub", report.as_json(cells, judged, results.settings(arguments)), lines)
    _say(f"written: {written}.json and .txt")


def _show(lines: Any) -> None:
    for line in lines:
        _say(line)


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
