"""The parts of `make bench-spark` that its numbers stand on: the judging, the processes, and a small run with real Spark."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.hub import repositories
from benchmarks.hub.rig import Traffic
from benchmarks.measure.processes import clean_environment
from benchmarks.measure.turns import Turns
from benchmarks.spark import processes, report
from benchmarks.spark.rounds import EMBEDDED, ENCODE, FLOORS, OURS, READY, REFERENCE, Cell, Sample, cases

ROOT = Path(__file__).resolve().parents[2]
_MIB = 1 << 20


@pytest.fixture
def flights(tmp_path: Path) -> repositories.Repository:
    return repositories.make("flights-small", tmp_path, 0.01)


def _sample(wall: float, size: int = _MIB) -> Sample:
    return Sample(wall=wall, load=0.0, cpu=0.0, python_peak=size, foreign=0.0)


def test_time_memory_and_ready_batches_are_judged_each_by_its_target(flights: repositories.Repository) -> None:
    samples = {OURS: [_sample(1.0, 51)] * 9, REFERENCE: [_sample(0.9, 100)] * 9, READY: [_sample(0.93)] * 9, EMBEDDED: [_sample(1.0)] * 3}
    found = list(report.verdicts([Cell(flights, "full", 0, turns=Turns(samples))]))
    assert [(verdict.wanted, verdict.met) for verdict in found] == [("≥ 1×", False), ("≤ 0.5× of theirs", False), ("≥ 0.909091×", True)]
    better = {**samples, OURS: [_sample(0.8, 50)] * 9}
    assert all(verdict.met for verdict in report.verdicts([Cell(flights, "full", 0, turns=Turns(better))]))


@pytest.mark.parametrize(("question", "floor"), [("cold load + plan", READY), ("2 columns", READY), ("append", ENCODE)])
def test_a_target_says_what_a_source_without_work_of_its_own_would_reach(
    flights: repositories.Repository, question: str, floor: str
) -> None:
    samples = {OURS: [_sample(0.6)] * 9, REFERENCE: [_sample(1.0)] * 9, floor: [_sample(0.5)] * 9}
    (found,) = report.verdicts([Cell(flights, question, 30, turns=Turns(samples))])
    assert (found.measured, found.wanted, found.met) == ("1.67 [1.67–1.67]", "≥ 2×", False)
    assert found.note == f"  ({floor}: 2.00 [2.00–2.00])"
    samples[floor] = [_sample(0.55)] * 9
    (found,) = report.verdicts([Cell(flights, question, 30, turns=Turns(samples))])
    assert found.note == f"  ({floor}: 1.82 [1.82–1.82], out of reach here)"


def test_without_its_floor_measured_in_the_same_rounds_a_target_says_nothing_of_it(flights: repositories.Repository) -> None:
    samples = {OURS: [_sample(0.6)] * 9, REFERENCE: [_sample(1.0)] * 9, READY: [_sample(0.5)] * 3}
    for question in ("cold load + plan", "append"):
        (found,) = report.verdicts([Cell(flights, question, 30, turns=Turns(samples))])
        assert found.note == ""


def test_bytes_beyond_the_columns_and_wrong_rows_are_misses(flights: repositories.Repository) -> None:
    cell = Cell(flights, "2 columns", 0, column_bytes=100, traffic={OURS: Traffic(cdn_bytes=111)}, wrong=["hubflight: 3 rows, want 4"])
    assert [verdict.met for verdict in report.verdicts([cell])] == [False, False]
    cell = Cell(flights, "2 columns", 0, column_bytes=100, traffic={OURS: Traffic(cdn_bytes=110)})
    assert [verdict.met for verdict in report.verdicts([cell])] == [True]


def test_the_filter_of_flights_has_no_moment_and_keeps_one_percent(flights: repositories.Repository, tmp_path: Path) -> None:
    large = repositories.make("flights-small", tmp_path, 0.3)
    case = next(case for case in cases(large) if case.name == "1 % filter")
    assert [term[0] for term in case.filters or []] == ["year", "month"]
    wanted = sum(stop - start for ranges in large.ranges(case).values() for start, stop in ranges)
    assert 0 < wanted < large.size()
    assert [case.filters is None for case in cases(flights)] == [True, True, False]


def test_readers_find_the_modules_that_run_from_their_sources_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "from_sources.py").touch()
    environment = {**clean_environment(tmp_path), "PYTHONPATH": str(tmp_path)}
    subprocess.run([sys.executable, "-c", "import from_sources"], env=environment, check=True)
    assert list(tmp_path.glob("__pycache__/from_sources.*.pyc"))


def test_a_tree_of_processes_has_the_cpu_of_those_that_have_ended() -> None:
    before = processes.cpu_of_tree(os.getpid())
    subprocess.run([sys.executable, "-c", "import time\nwhile time.process_time() < 0.3: pass"], check=True)
    assert processes.cpu_of_tree(os.getpid()) - before > 0.25


@pytest.mark.skipif(not os.environ.get("HUBFLIGHT_SPARK_CLUSTER"), reason="nightly: make nightly-spark; a dozen sessions of Spark")
def test_a_small_run_measures_with_real_spark_and_finds_equal_rows(tmp_path: Path) -> None:
    netdelay = tmp_path / "netdelay"
    subprocess.run(["go", "build", "-o", str(netdelay), "./benchmarks/netdelay"], cwd=ROOT, check=True)  # noqa: S607
    binary = os.environ.get("HUBFLIGHT_BINARY", str(ROOT / "bin" / "hubflight"))
    command = [sys.executable, "-m", "benchmarks.spark", "--hubflight", binary, "--netdelay", str(netdelay)]
    command += ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results"), "--rounds", "1", "--scale", "0.01"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = (tmp_path / "results").glob("*.json")
    cells = json.loads(written.read_text(encoding="utf-8"))["cells"]
    questions = {(cell["repository"], cell["question"], cell["rtt_ms"]) for cell in cells}
    assert len(questions) == 2 * 2 * 6
    for cell in cells:
        assert cell["wrong"] == []
        assert all(cell["samples"].values())
        assert cell["traffic"][OURS]["hub_requests"] + cell["traffic"][OURS]["cdn_requests"] > 0
        assert cell["samples"][OURS][0]["python_peak"] > _MIB
        assert FLOORS.get(cell["question"], READY) in cell["samples"]
    verdicts = json.loads(written.read_text(encoding="utf-8"))["verdicts"]
    faster = [verdict for verdict in verdicts if verdict["wanted"] in ("≥ 1×", "≥ 1.3×", "≥ 1.5×", "≥ 2×")]
    assert len(faster) == 2 * 2 * 5 * 2  # with one round the embedded server is judged, too
    assert all("ready batches: " in verdict["note"] or "encode rows: " in verdict["note"] for verdict in faster)
