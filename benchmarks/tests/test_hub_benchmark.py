"""The parts of `make bench-hub` that its numbers stand on: the checksum, the judging, the data, and one small run of everything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from benchmarks.demo.rows import read_files
from benchmarks.hub import __main__ as hub
from benchmarks.hub import repositories
from benchmarks.measure import judge
from benchmarks.measure.digest import Digest
from benchmarks.measure.terms import expression
from benchmarks.scan import __main__ as scan
from benchmarks.spark import __main__ as spark
from benchmarks.write import __main__ as write

ROOT = Path(__file__).resolve().parents[2]
TALK = pa.table(
    {
        "id": pa.array([1, None, 3, 4]),
        "talk": pa.array([[{"from": "a", "value": "x"}], None, [], [{"from": "b", "value": None}, None]]),
        "text": pa.array(["", None, "é", "long enough"]),
    }
)


def digest(table: pa.Table, rows: int) -> str:
    taken = Digest()
    for batch in table.to_batches(max_chunksize=rows):
        taken.add(batch)
    return taken.text()


def test_a_checksum_does_not_depend_on_batches_or_the_width_of_offsets() -> None:
    wide = TALK.set_column(2, "text", TALK["text"].cast(pa.large_string()))
    coded = TALK.set_column(2, "text", TALK["text"].dictionary_encode())
    assert digest(TALK, 4) == digest(TALK, 1) == digest(TALK, 3) == digest(wide, 2) == digest(coded, 2)


@pytest.mark.parametrize(
    "other",
    [
        TALK.take([1, 0, 2, 3]),
        TALK.slice(0, 3),
        TALK.select(["id", "talk"]),
        TALK.set_column(0, "id", pa.array([1, 0, 3, 4])),
        TALK.set_column(2, "text", pa.array([None, "", "é", "long enough"])),
        TALK.set_column(2, "text", pa.array(["", None, "él", "ong enough"])),
        TALK.set_column(1, "talk", pa.array([[{"from": "a", "value": "x"}], [], None, [{"from": "b", "value": None}, None]])),
    ],
    ids=["order", "rows", "columns", "null number", "null text", "border of texts", "null list"],
)
def test_a_checksum_sees_a_difference(other: pa.Table) -> None:
    assert digest(other, 4) != digest(TALK, 4)


def test_a_target_needs_the_favourable_end_and_nearly_the_median() -> None:
    assert judge.Ratio(1.44, 1.2, 1.6, 9).meets(1.5)
    assert not judge.Ratio(1.40, 1.2, 1.6, 9).meets(1.5)
    assert not judge.Ratio(1.49, 1.4, 1.495, 9).meets(1.5)


def test_a_ratio_is_that_of_each_round_so_that_a_slow_round_is_slow_for_both() -> None:
    found = judge.ratio([2.0, 20.0, 2.0], [1.0, 10.0, 1.0])
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.0)


_PATHS = {
    hub: ["--hubflight", "--netdelay", "--cache", "--results"],
    scan: ["--reader", "--hubflight", "--netdelay", "--cache", "--results"],
    spark: ["--hubflight", "--netdelay", "--cache", "--results"],
    write: ["--hubflight", "--cache", "--results"],
}


@pytest.mark.parametrize(
    ("benchmark", "option", "given"),
    [
        (hub, "--cases", "two columns"),
        (hub, "--repositories", "flights"),
        (hub, "--readers", "hubflight,pyarow"),
        (hub, "--readers", "hubflight"),
        (hub, "--rounds", "0"),
        (scan, "--parts", "timing"),
        (scan, "--questions", "full,1%"),
        (scan, "--codecs", ""),
        (spark, "--questions", "append"),
        (spark, "--scale", "0"),
        (write, "--shapes", "chats"),
        (write, "--writers", "memory"),
    ],
)
def test_what_would_measure_nothing_is_refused_before_anything_is_made(
    benchmark: Any, option: str, given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    needed = [word for name in _PATHS[benchmark] for word in (name, "x")]
    monkeypatch.setattr(sys, "argv", ["benchmark", *needed])
    benchmark._arguments()
    monkeypatch.setattr(sys, "argv", ["benchmark", *needed, option, given])
    with pytest.raises(SystemExit) as ended:
        benchmark._arguments()
    assert ended.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err


@pytest.mark.parametrize("name", ["flights-small", "chat-small"])
def test_the_filter_keeps_one_percent_in_few_row_groups(name: str, tmp_path: Path) -> None:
    made = repositories.make(name, tmp_path, 0.05)
    again = repositories.make(name, tmp_path / "again", 0.05)
    assert [path.read_bytes() for path in made.files()] == [path.read_bytes() for path in again.files()]
    table = read_files(made.folder / "data")
    assert tuple(case.name for case in made.cases) == hub._CASES
    filtered = next(case for case in made.cases if case.filters)
    kept = table.filter(expression(pc.field, filtered.filters, pa.scalar))
    assert kept.num_rows == pytest.approx(table.num_rows / 100, rel=0.05)
    wanted = sum(stop - start for ranges in made.ranges(filtered).values() for start, stop in ranges)
    assert 0 < wanted < made.size()


def test_a_small_run_measures_every_reader_and_finds_equal_rows(tmp_path: Path) -> None:
    netdelay = tmp_path / "netdelay"
    subprocess.run(["go", "build", "-o", str(netdelay), "./benchmarks/netdelay"], cwd=ROOT, check=True)  # noqa: S607
    binary = os.environ.get("HUBFLIGHT_BINARY", str(ROOT / "bin" / "hubflight"))
    command = [sys.executable, "-m", "benchmarks.hub", "--hubflight", binary, "--netdelay", str(netdelay)]
    command += ["--cache", str(tmp_path / "cache"), "--results", str(tmp_path / "results"), "--rounds", "1", "--scale", "0.01"]
    command += ["--repositories", "chat-small", "--cases", "1 % filter", "--latencies", "0,5"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = (tmp_path / "results").glob("*.json")
    cells = json.loads(written.read_text(encoding="utf-8"))["cells"]
    assert [cell["rtt_ms"] for cell in cells] == [0, 5]
    for cell in cells:
        assert cell["wrong"] == []
        assert all(reader["samples"] for reader in cell["readers"].values())
        assert all(reader["traffic"]["hub_requests"] > 0 for reader in cell["readers"].values())
