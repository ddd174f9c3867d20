"""What the README shows works: its Python blocks run, in order and as they stand, against a running server and Hub."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.data import flights
from benchmarks.demo import services
from benchmarks.demo.rows import read_files

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)

# What is asserted after the block that mentions the key, in the same interpreter.
AFTER = {
    "to_honolulu": "assert spark.read.format('hubflight').load('demo/to_honolulu').count() == 707",
    "july": "assert july.column_names == ['carrier', 'dep_delay'] and july.num_rows == 29_425, july",
    "duckdb": "assert flights.num_rows == 336_776",
    "december": "assert len(late) == early.height and early['len'].sum() == 28_135 and sum(counts) == 336_776, (late, early, counts)",
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[services.Running, Path]]:
    scratch = tmp_path_factory.mktemp("readme")
    flights.make(scratch / "flights")
    binary = Path(os.environ.get("HUBFLIGHT_BINARY", ROOT / "bin" / "hubflight"))
    with services.running(binary, scratch, {"demo/flights": scratch / "flights"}) as running:
        yield running, scratch


def test_every_test_that_the_readme_names_is_there() -> None:
    rows = re.findall(r"^\|(.*)\|$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE)
    named = [re.findall(r"`(test_\w+)`", row) for row in rows if "`test_" in row]
    assert len(named) > 15
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "pyclient" / "tests").glob("test_*.py")]
    there = {name for source in sources for name in re.findall(r"^def (test_\w+)\(", source, re.MULTILINE)}
    assert [name for names in named for name in names if name not in there] == []


def test_the_readme_has_examples_for_spark_pyarrow_and_duckdb() -> None:
    assert [key for key in AFTER if any(key in block for block in BLOCKS)] == list(AFTER)
    assert len(BLOCKS) == len(AFTER)


@pytest.mark.parametrize("block", BLOCKS, ids=list(AFTER))
def test_an_example_of_the_readme_runs_as_it_stands(service: tuple[services.Running, Path], block: str) -> None:
    running, scratch = service
    code = "\n".join([block, *(check for key, check in AFTER.items() if key in block)])
    environment = {**running.client_environment(scratch), "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=scratch, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert running.token not in done.stdout + done.stderr


def test_the_numbers_that_the_examples_assert_are_those_of_the_data(tmp_path: Path) -> None:
    flights.make(tmp_path)
    table = read_files(tmp_path / "data").to_pandas()
    assert (table["dest"] == "HNL").sum() == 707
    assert (table["month"] == 7).sum() == 29_425
    assert (table["month"] == 12).sum() == 28_135
    assert len(table) == 336_776
