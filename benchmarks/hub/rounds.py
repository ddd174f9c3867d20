"""The order of measurements: first every reader once with its rows checked, then rounds of A and B in turn."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.hub.peers import OVER_TCP, PEERS, Question
from benchmarks.hub.repositories import Case, Repository
from benchmarks.hub.rig import Rig, Traffic
from benchmarks.measure import turns
from benchmarks.measure.load import Load, machine_cpu

OURS, REFERENCE = "hubflight", "pyarrow"
_MOST_REPEATS = 12


@dataclass(frozen=True)
class Sample:
    """Mean of the repeats of one timing, in seconds; CPU of the reader's process and of the Flight server."""

    wall: float
    plan: float
    first: float
    client_cpu: float
    server_cpu: float
    foreign: float
    warm: float
    """The same question again, to a reader and a server that keep what they learnt."""

    @property
    def cpu(self) -> float:
        return self.client_cpu + self.server_cpu


@dataclass
class Cell:
    """One case of one repository at one latency: what every reader did."""

    repository: Repository
    case: Case
    rtt_ms: int
    turns: turns.Turns[Sample] = field(default_factory=lambda: turns.Turns({name: [] for name in PEERS}))
    traffic: dict[str, Traffic] = field(default_factory=dict)
    """Of one question to a reader that knew nothing."""
    plan_traffic: Traffic = field(default_factory=Traffic)
    """Of hubflight's plan alone."""
    scan_traffic: Traffic = field(default_factory=Traffic)
    """Of hubflight's scan, with the plan and the footers known."""
    rows: int = 0
    digest: str = ""
    wrong: list[str] = field(default_factory=list)

    @property
    def samples(self) -> dict[str, list[Sample]]:
        return self.turns.samples

    def column_bytes(self) -> int:
        """What the wanted column chunks occupy."""
        return sum(stop - start for ranges in self.repository.ranges(self.case).values() for start, stop in ranges)


def run(rig: Rig, cell: Cell, rounds: int, names: list[str], say: Callable[[str], None]) -> None:
    """Fills the cell.  A reader that gave other rows than pyarrow's local reading of the files is not measured."""
    repeats = {name: _check(rig, cell, name, say) for name in names}
    good = {name: count for name, count in repeats.items() if count}
    if OURS not in good or REFERENCE not in good:
        return
    others = good.keys() - {OURS, REFERENCE}
    turns.take((OURS, REFERENCE), others, rounds, lambda name: _measure(rig, cell, name, good[name]), cell.turns)


def _check(rig: Rig, cell: Cell, name: str, say: Callable[[str], None]) -> int:
    """One cold question with checksum and traffic; gives how often a timing is to be repeated, 0 if the rows were wrong."""
    _forget(rig, name)
    before = rig.traffic()
    answer = _ask(rig, cell, name, checked=True)
    cell.traffic[name] = rig.traffic() - before
    if "error" in answer:
        cell.wrong.append(f"{name}: {answer['error']}")
    elif name != "download" and (answer["rows"], answer["digest"]) != (cell.rows, cell.digest):
        cell.wrong.append(f"{name}: {answer['rows']:,} rows, checksum {answer['digest']}; want {cell.rows:,}, {cell.digest}")
    else:
        if name == OURS:
            _split_traffic(rig, cell)
        # The first question pays for imports; this one tells how long a timing is.
        return turns.repeats(_measure(rig, cell, name, 1).wall, _MOST_REPEATS)
    say(f"WRONG {cell.wrong[-1]}")
    return 0


def _split_traffic(rig: Rig, cell: Cell) -> None:
    _forget(rig, OURS)
    before = rig.traffic()
    rig.worker(OURS).ask(what="plan", question=_question(rig, cell, OURS, checked=False))
    planned = rig.traffic()
    _ask(rig, cell, OURS, checked=False)
    cell.plan_traffic, cell.scan_traffic = planned - before, rig.traffic() - planned


def _measure(rig: Rig, cell: Cell, name: str, repeats: int) -> Sample:
    worker, load, server_cpu = rig.worker(name), Load(), 0.0
    answers: list[dict[str, Any]] = []
    for _ in range(repeats):
        _forget(rig, name)
        ours, everybody, server = rig.ours(worker), machine_cpu(), rig.server_cpu()
        answers.append(_ask(rig, cell, name, checked=False))
        server_cpu += rig.server_cpu() - server
        load.ours += rig.ours(worker) - ours
        load.all += machine_cpu() - everybody
        load.wall += answers[-1].get("wall", 0.0)
        _same_rows(cell, name, answers[-1])
    warm = _ask(rig, cell, name, checked=False)
    _same_rows(cell, name, warm)
    rig.stop_server()

    def mean(key: str) -> float:
        return float(sum(answer[key] for answer in answers)) / repeats

    return Sample(mean("wall"), mean("plan"), mean("first"), mean("cpu"), server_cpu / repeats, load.foreign(), warm["wall"])


def _same_rows(cell: Cell, name: str, answer: dict[str, Any]) -> None:
    # Wrong once means that no number of this run is worth anything.
    if "error" in answer or (name != "download" and answer["rows"] != cell.rows):
        raise SystemExit(f"{name} gave {answer} for {cell.repository.name}, {cell.case.name}; want {cell.rows:,} rows")


def _forget(rig: Rig, name: str) -> None:
    rig.worker(name).ask(what="forget")
    if name.startswith(OURS):
        rig.restart_server()
    else:
        rig.stop_server()


def _ask(rig: Rig, cell: Cell, name: str, checked: bool) -> dict[str, Any]:
    return rig.worker(name).ask(what="read", checked=checked, question=_question(rig, cell, name, checked))


def _question(rig: Rig, cell: Cell, name: str, checked: bool) -> dict[str, Any]:
    repository, case = cell.repository, cell.case
    ranges = {path: [[start, stop] for start, stop in found] for path, found in repository.ranges(case).items()}
    server = rig.server_tcp if name == OVER_TCP else rig.server_address
    return dataclasses.asdict(Question(repository.dataset, rig.hub, server, case.columns, case.filters, ranges, ordered=checked))
