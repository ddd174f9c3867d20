"""The data makers give the same bytes for the same seed, and data on which filters have something to prune."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from benchmarks.data import flights, instruct
from benchmarks.demo.rows import read_files


def digests(folder: Path) -> dict[str, str]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.parametrize("make", [flights.make, instruct.make])
def test_the_same_seed_gives_the_same_bytes(make: Callable[[Path, int], None], tmp_path: Path) -> None:
    make(tmp_path / "once", 1)
    make(tmp_path / "again", 1)
    assert digests(tmp_path / "once") == digests(tmp_path / "again")


def test_another_seed_gives_other_texts(tmp_path: Path) -> None:
    instruct.make(tmp_path / "1", 1)
    instruct.make(tmp_path / "2", 2)
    assert digests(tmp_path / "1") != digests(tmp_path / "2")


def test_flights_are_sorted_by_time_so_that_ranges_prune(tmp_path: Path) -> None:
    flights.make(tmp_path)
    times = read_files(tmp_path / "data")["time_hour"].combine_chunks()
    assert pc.all(pc.less_equal(times[:-1], times[1:])).as_py()
    assert all(pq.ParquetFile(path).num_row_groups == 8 for path in (tmp_path / "data").iterdir())


def test_a_filter_on_the_language_can_skip_files_and_most_row_groups(tmp_path: Path) -> None:
    instruct.make(tmp_path)
    groups = [list(languages(path)) for path in sorted((tmp_path / "7M-core").iterdir())]
    assert [any("zh-cn" in group for group in file) for file in groups] == [False, True, False, True]
    chinese = [group for file in groups for group in file if "zh-cn" in group]
    assert len(chinese) == 6
    # Some are mixed, so that rows still have to be filtered one by one.
    assert {len(group) for group in chinese} == {1, 2}


def languages(path: Path) -> list[set[str]]:
    """The distinct languages of each row group."""
    file = pq.ParquetFile(path)
    return [set(file.read_row_group(index, ["langdetect"])["langdetect"].to_pylist()) for index in range(file.num_row_groups)]
