"""The parts of `make bench-write` that its numbers stand on: the rows, the judging of memory, and one small run of every writer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.measure.turns import Turns
from benchmarks.write import report, tasks
from benchmarks.write.rig import IN_MEMORY, OURS, early, forget_peak, peak, uploads
from benchmarks.write.rounds import Cell, Sample

ROOT = Path(__file__).resolve().parents[2]
_MIB = 1 << 20


@pytest.mark.parametrize("shape", list(tasks.SHAPES))
def test_tasks_share_the_rows_in_order_whatever_their_number(shape: str, tmp_path: Path) -> None:
    one, four = (tasks.make(shape, count, tmp_path, 0.01) for count in (1, 4))
    again = tasks.make(shape, 1, tmp_path / "again", 0.01)
    assert one.rows == four.rows > 2000
    assert one.digest == again.digest
    assert max(batch.num_rows for batch in tasks.batches(one.files[0])) <= tasks.BATCH_ROWS


def test_a_peak_is_what_was_taken_since_it_was_forgotten() -> None:
    before = forget_peak(os.getpid())
    taken = bytearray(64 * _MIB)
    taken[::4096] = b"x" * len(taken[::4096])
    del taken
    assert 48 * _MIB < peak(os.getpid()) - before < 128 * _MIB


def test_memory_above_what_a_stream_may_take_is_a_miss(tmp_path: Path) -> None:
    what = tasks.make("flights", 1, tmp_path, 0.001)
    for server, met in ((220 * _MIB, True), (230 * _MIB, False)):
        samples = {OURS: [_sample(server)] * 9, IN_MEMORY: [_sample(4 * 210 * _MIB)] * 9}
        found = list(report.verdicts(report.Measured(peaks=[Cell(what, Turns(samples))])))
        assert [verdict.met for verdict in found] == [met, False], found


def test_the_share_of_uploads_before_a_moment_is_taken_from_the_log() -> None:
    line = "time={} level=DEBUG msg=request origin={} method={} path=/x status=200 sent=0 took={}\n"
    log = line.format("1970-01-01T00:00:12.000Z", "cdn", "PUT", "2s") + line.format("1970-01-01T00:01:50.500Z", "cdn", "PUT", "1m0.5s")
    log += line.format("1970-01-01T00:00:30.000Z", "hub", "POST", "9s") + line.format("1970-01-01T00:00:30.000Z", "cdn", "GET", "9s")
    log += line.format("1970-01-01T01:00:02.000Z", "cdn", "PUT", "1.5ms")
    found = uploads(log)
    assert [(round(begin, 4), round(end, 4)) for begin, end in found] == [(10, 12), (50, 110.5), (3601.9985, 3602)]
    assert early([(10, 12), (50, 100)], 11) == 1 / 52
    assert early([(10, 12), (50, 100)], 60) == 12 / 52
    assert early([(10, 12)], 9) == 0 == early([], 9)


def _sample(size: int) -> Sample:
    return Sample(wall=1.0, client_cpu=1.0, server_cpu=0.0, client_peak=0, server_peak=size, requests=1, early=0.0, foreign=0.0)


def test_a_small_run_measures_every_writer_and_finds_the_rows_in_the_repository(tmp_path: Path) -> None:
    binary = os.environ.get("HUBFLIGHT_BINARY", str(ROOT / "bin" / "hubflight"))
    command = [sys.executable, "-m", "benchmarks.write", "--hubflight", binary, "--cache", str(tmp_path / "cache")]
    command += ["--results", str(tmp_path / "results"), "--rounds", "1", "--scale", "0.01", "--shapes", "chat", "--tasks", "2"]
    command += ["--parts", "timings"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = (tmp_path / "results").glob("*.json")
    (cell,) = json.loads(written.read_text(encoding="utf-8"))["timings"]
    assert cell["wrong"] == []
    assert set(cell["written"]) == {"hubflight", "pyarrow", "in memory"}
    for samples in cell["writers"].values():
        assert all(0 <= sample["early"] <= 1 for sample in samples)
        assert all(sample["requests"] > 3 and sample["client_cpu"] + sample["server_cpu"] > 0 for sample in samples)
