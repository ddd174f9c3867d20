"""The parts of `make bench-scan` that its numbers stand on: the files, the checks that a wrong answer fails, the targets; a small run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.measure.digest import Digest
from benchmarks.measure.terms import expression
from benchmarks.scan import datasets, memory, readers, remote, report, targets, timings

ROOT = Path(__file__).resolve().parents[2]
SCALE = 0.01
_OF_CANCELLED = ["dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"]
"""Columns that have no value for a flight that did not leave."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    binary = tmp_path_factory.mktemp("reader") / "reader"
    subprocess.run(["go", "build", "-o", str(binary), "./benchmarks/scan/reader"], cwd=ROOT, check=True)  # noqa: S607
    return binary


@pytest.fixture(scope="module")
def programs(reader: Path) -> remote.Programs:
    found = remote.Programs(reader, reader.with_name("hubflight"), reader.with_name("netdelay"))
    for binary, package in ((found.hubflight, "./cmd/hubflight"), (found.netdelay, "./benchmarks/netdelay")):
        subprocess.run(["go", "build", "-o", str(binary), package], cwd=ROOT, check=True)  # noqa: S607
    return found


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def asked(reader: Path, tmp_path: Path) -> Iterator[readers.Readers]:
    with readers.running(reader, tmp_path) as found:
        yield found


def test_the_files_are_what_their_names_say(cache: Path) -> None:
    made = {name: datasets.make(name, "snappy", cache, SCALE) for name in datasets.RECIPES}
    footers = {name: pq.read_metadata(dataset.path) for name, dataset in made.items()}
    assert footers["flights"].num_columns == 19
    assert pq.read_schema(made["flights"].path).types.count(pa.string()) == 4
    assert pq.read_schema(made["flat"].path).types.count(pa.string()) == 2
    assert footers["flat"].num_columns == 16
    assert [footers[name].num_row_groups for name in ("flights", "flat", "text", "chat")] == [4, 4, 4, 4]
    tables = {name: pq.read_table(dataset.path) for name, dataset in made.items()}
    assert [name for name in tables["flights"].column_names if tables["flights"][name].null_count > 0] == _OF_CANCELLED
    assert sum(tables["flat"][name].null_count > 0 for name in tables["flat"].column_names) == 3
    assert pc.count_distinct(tables["text"]["url"]).as_py() == tables["text"].num_rows
    assert tables["paged"].equals(tables["text"])
    assert tables["onepage"].equals(tables["images"])
    assert made["paged"].path.stat().st_size > made["text"].path.stat().st_size


def test_a_file_made_again_is_the_same_and_the_size_of_row_groups_changes_no_row(tmp_path: Path) -> None:
    once, again = (datasets.make("chat", "zstd", tmp_path / folder, SCALE) for folder in ("once", "again"))
    assert once.path.read_bytes() == again.path.read_bytes()
    small, large = (datasets.make_grouped("flat", size, 64 << 20, tmp_path, 0.1) for size in (4 << 20, 64 << 20))
    assert pq.read_metadata(small.path).num_row_groups == 16
    assert pq.read_metadata(large.path).num_row_groups == 1
    assert pq.read_table(small.path).equals(pq.read_table(large.path))


@pytest.mark.parametrize("name", list(datasets.RECIPES))
def test_a_question_keeps_as_many_rows_and_columns_as_it_says(name: str, cache: Path) -> None:
    made = datasets.make(name, "snappy", cache, SCALE)
    table = pq.read_table(made.path)
    for question in made.questions:
        wanted = expression(pc.field, question.filters, pa.scalar)
        kept = table.num_rows if wanted is None else table.filter(wanted).num_rows
        if question.name == "needle":
            assert kept == 1
        elif "%" in question.name:
            share = float(question.name.split()[0]) / 100 * table.num_rows
            # Of the few that are scattered over a small file, chance decides: three deviations.
            assert kept == pytest.approx(share, abs=3 * share**0.5 + 1)
            assert kept > 0
        else:
            columns = len(question.columns or table.column_names)
            assert question.name == ("full" if question.columns is None else f"{columns} of {table.num_columns} columns")
            assert kept == table.num_rows


@pytest.mark.parametrize("name", ["flights", "flat", "text", "chat"])
def test_what_a_kind_of_file_can_be_asked_it_is(name: str) -> None:
    asked = [question.name for question in _questions(name)]
    kinds = ("full", "columns", "1 % sorted", "0.1 % scattered", "10 % scattered", *(() if name == "flights" else ("needle",)))
    assert len(asked) == len(kinds)
    assert all(found.endswith(kind) for found, kind in zip(asked, kinds, strict=True))


def test_every_reader_gives_the_same_rows_to_every_question(asked: readers.Readers, cache: Path) -> None:
    for name in datasets.RECIPES:
        made = datasets.make(name, "zstd", cache, SCALE)
        for question in made.questions:
            answers = {reader: asked.check(reader, made, question) for reader in readers.NAMES}
            assert not [answer for answer in answers.values() if "error" in answer], answers
            assert len({(answer["rows"], answer["digest"]) for answer in answers.values()}) == 1, (name, question, answers)


def test_a_fast_wrong_answer_is_not_measured(asked: readers.Readers, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = datasets.make("chat", "snappy", cache, SCALE)
    honest = asked.check

    def lie(name: str, dataset: datasets.Dataset, question: datasets.Question) -> dict[str, object]:
        answer = honest(name, dataset, question)
        return {**answer, "digest": Digest().text()} if name == readers.ONE_CORE else answer

    monkeypatch.setattr(asked, "check", lie)
    cell = timings.run(asked, made, made.questions[0], 1, (readers.ONE_CORE, readers.THREADS), print)
    assert len(cell.wrong) == 1
    assert "checksum" in cell.wrong[0]
    assert readers.ONE_CORE not in cell.samples
    assert [verdict.met for verdict in report.verdicts(report.Measured([cell]))] == [False]


def test_what_a_target_is_about_is_measured_in_every_round_and_the_rest_is_compared_where_it_was(
    asked: readers.Readers, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.measure.turns.repeats", lambda once, most: 1)
    made = datasets.make("text", "snappy", cache, SCALE)
    names = (readers.ONE_CORE, readers.OURS, readers.LIBRARY, readers.ONE_THREAD)
    by_question = {question.name: timings.run(asked, made, question, 4, names, print) for question in made.questions[:2]}
    rounds = {name: {reader: len(samples) for reader, samples in cell.samples.items()} for name, cell in by_question.items()}
    assert rounds["full"] == {readers.ONE_CORE: 4, readers.OURS: 2, readers.LIBRARY: 4, readers.ONE_THREAD: 4}
    assert rounds["2 of 5 columns"] == {readers.ONE_CORE: 4, readers.OURS: 2, readers.LIBRARY: 2, readers.ONE_THREAD: 4}
    cell = by_question["2 of 5 columns"]
    ours, library = cell.samples[readers.ONE_CORE], cell.samples[readers.LIBRARY]
    assert cell.turns.together(readers.LIBRARY, readers.ONE_CORE) == [library, [ours[0], ours[3]]]
    assert any("[" in line for line in report.timing_table(cell) if readers.LIBRARY in line)
    assert [verdict.what for verdict in report.verdicts(report.Measured([cell]))] == [f"{cell.name}: CPU of {readers.ONE_THREAD}"]


def test_a_timing_with_another_number_of_rows_ends_the_run(asked: readers.Readers, cache: Path) -> None:
    made = datasets.make("chat", "snappy", cache, SCALE)
    cell = timings.Cell(made, made.questions[0], rows=made.rows + 1)
    with pytest.raises(SystemExit, match="want"):
        timings._ask(asked, cell, readers.ONE_CORE, 1)


def test_the_targets_are_those_of_the_issue() -> None:
    wanted = {(name, question.name): targets.targets(name, question.name) for name in datasets.RECIPES for question in _questions(name)}
    library = {key: found.times for key, several in wanted.items() for found in several if found.reader == readers.LIBRARY}
    assert library == {
        ("flights", "full"): 2.5,
        ("flat", "full"): 2.5,
        ("text", "full"): 1.4,
        ("paged", "full"): 1.4,
        ("chat", "full"): 1.4,
        ("flights", "1 % sorted"): 40,
        ("flat", "1 % sorted"): 40,
        ("text", "1 % sorted"): 40,
        ("chat", "1 % sorted"): 40,
        ("paged", "0.1 % scattered"): 10,
    }
    assert all(targets.Target(readers.ONE_THREAD, 0.95) in several for several in wanted.values())


def _questions(name: str) -> tuple[datasets.Question, ...]:
    return datasets.RECIPES[name].questions(1000)


@pytest.mark.parametrize(("large", "met"), [(100, [True, True]), (119, [True, True]), (70, [False, True]), (130, [False, False])])
def test_memory_is_flat_within_a_fifth_and_no_more_on_several_cores(large: int, met: list[bool], cache: Path) -> None:
    made = datasets.make("chat", "snappy", cache, SCALE)
    found = memory.Flatness(made, made)
    for reader in (readers.ONE_CORE, readers.OURS):
        for label, peak in zip(memory.labels(reader), (100, large), strict=True):
            found.samples[label] = [memory.Peak(peak << 20)] * 9
    assert [verdict.met for verdict in report.verdicts(report.Measured(flatness=[found]))] == met


def test_a_small_run_measures_time_memory_and_distance(programs: remote.Programs, tmp_path: Path) -> None:
    names = [readers.ONE_CORE, readers.OURS, readers.LIBRARY, readers.ONE_THREAD, readers.THREADS]
    command = [sys.executable, "-m", "benchmarks.scan", "--reader", str(programs.reader), "--cache", str(tmp_path / "cache")]
    command += ["--results", str(tmp_path / "results"), "--rounds", "1", "--scale", "0.003", "--readers", ",".join(names)]
    command += ["--datasets", "flat", "--codecs", "zstd", "--questions", "1 % sorted"]
    command += ["--hubflight", str(programs.hubflight), "--netdelay", str(programs.netdelay)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (written,) = (tmp_path / "results").glob("*.json")
    found = json.loads(written.read_text(encoding="utf-8"))
    for cell in (*found["timings"], *found["memory"]):
        assert set(cell["readers"]) == set(names)
        assert all(samples for samples in cell["readers"].values())
    assert [(cell["question"], cell["rows"]) for cell in found["timings"]] == [("1 % sorted", 120)]
    flat_readers = (readers.ONE_CORE, readers.OURS, readers.THREADS)
    assert [set(flat["readers"]) for flat in found["flatness"]] == [{label for name in flat_readers for label in memory.labels(name)}]
    assert [set(far["readers"]) for far in found["remote"]] == [{remote.SCAN, remote.DOWNLOAD}]
    assert len(found["verdicts"]) == 6
