"""The repositories that are read, made once from a seed and kept, and the cases: which rows and columns are asked for.

================  =========================================================================================
``flights-small``  19 plain columns, sorted by ``time_hour``; 4 files of 16 MB, row groups of 131,072
``chat-small``     lists of structs of text, sorted by ``langdetect``; 4 files of about 25 MB, groups of 5,000
``flights-large``  one file above 500 MB, row groups of about a million rows (pyarrow's default)
``chat-large``     one file above 500 MB, row groups of 20,000
================  =========================================================================================
"""

from __future__ import annotations

import datetime
import functools
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data.layout import shard_paths, write_card
from benchmarks.data.prose import passages
from benchmarks.measure.terms import Terms, moment

VERSION = 1
"""Raised when a maker changes, so that kept data is made again."""


@dataclass(frozen=True)
class Case:
    """One question to a repository."""

    name: str
    columns: list[str] | None
    filters: Terms | None


@dataclass(frozen=True)
class Repository:
    """A made repository: its folder, its files as ranges, its cases."""

    name: str
    folder: Path
    cases: tuple[Case, ...]

    @property
    def dataset(self) -> str:
        return f"bench/{self.name}"

    def files(self) -> list[Path]:
        return sorted((self.folder / "data").glob("*.parquet"))

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.files())

    def ranges(self, case: Case) -> dict[str, list[tuple[int, int]]]:
        """The bytes that hold the wanted columns of the row groups that statistics cannot skip: path to half-open ranges."""
        return {path.relative_to(self.folder).as_posix(): list(_ranges(path, case)) for path in self.files()}


@dataclass(frozen=True)
class _Recipe:
    files: int
    rows: int
    """In one file."""
    group_rows: int
    chunk: Callable[[int, int, int], pa.Table]
    """Rows ``[start, stop)`` of ``total``."""
    sorted_filter: Callable[[int], Terms]
    two: list[str]


def make(name: str, cache: Path, scale: float) -> Repository:
    """The repository below ``cache``, made if it is missing; ``scale`` multiplies its rows."""
    recipe = RECIPES[name]
    rows = max(int(recipe.rows * scale), 1000)
    folder = cache / f"{name}-v{VERSION}-x{scale:g}"
    if not (folder / "README.md").exists():
        shutil.rmtree(folder, ignore_errors=True)
        _fill(folder, recipe, rows)
    cases = (
        Case("full", None, None),
        Case("2 columns", recipe.two, None),
        Case("1 % filter", None, recipe.sorted_filter(rows * recipe.files)),
    )
    return Repository(name, folder, cases)


def _fill(folder: Path, recipe: _Recipe, rows: int) -> None:
    for index, path in enumerate(shard_paths(folder / "data", "train", recipe.files)):
        path.parent.mkdir(parents=True, exist_ok=True)
        writer: pq.ParquetWriter | None = None
        for start in range(index * rows, (index + 1) * rows, recipe.group_rows):
            stop = min(start + recipe.group_rows, (index + 1) * rows)
            table = recipe.chunk(start, stop, rows * recipe.files)
            writer = writer or pq.ParquetWriter(path, table.schema, compression="snappy", write_page_index=True)
            writer.write_table(table, row_group_size=recipe.group_rows)
        if writer is not None:
            writer.close()
    # Last, so that a card says that the data is whole.
    write_card(folder, ("pretty_name: made for measuring",), "# Made for measuring\n\nBy `python -m benchmarks.hub`; not real data.")


def _ranges(path: Path, case: Case) -> Iterator[tuple[int, int]]:
    if case.columns is None and case.filters is None:
        yield 0, path.stat().st_size
        return
    footer = pq.read_metadata(path)
    for group in range(footer.num_row_groups):
        described = footer.row_group(group)
        chunks = [described.column(index) for index in range(described.num_columns)]
        if not all(_may_match(chunks, term) for term in case.filters or []):
            continue
        for chunk in chunks:
            if case.columns is None or chunk.path_in_schema.split(".")[0] in case.columns:
                start = chunk.dictionary_page_offset if chunk.has_dictionary_page else chunk.data_page_offset
                yield start, start + chunk.total_compressed_size


def _may_match(chunks: list[Any], term: list[Any]) -> bool:
    column, operator, literal = term
    wanted = moment(literal)
    known = next(chunk.statistics for chunk in chunks if chunk.path_in_schema == column)
    return bool({"=": known.min <= wanted <= known.max, ">=": known.max >= wanted, "<": known.min < wanted}[operator])


# --- flights ---------------------------------------------------------------------------------------------------------------------

_EPOCH = datetime.datetime(2013, 1, 1, tzinfo=datetime.timezone.utc)
_CARRIERS = ["9A", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
_AN_HOUR = 40
"""Flights that leave within one hour."""


def _flights(start: int, stop: int, total: int) -> pa.Table:
    del total
    chance, rows = np.random.default_rng([13, start]), stop - start
    hours = np.arange(start, stop) // _AN_HOUR
    at = np.datetime64(_EPOCH.replace(tzinfo=None), "us") + hours.astype("timedelta64[h]")
    days = at.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    cancelled = chance.random(rows) < 0.025
    hour, minute = hours % 24, chance.integers(0, 12, rows) * 5
    place = chance.integers(0, 105, rows)
    delay = (chance.exponential(25, rows) - 12).astype(np.int64)
    airtime = place * 3 + 30 + chance.integers(0, 25, rows)
    arrived = delay + chance.integers(-20, 15, rows)
    clock = hour * 100 + minute
    landing = (hour * 60 + minute + airtime + 25) % 1440
    landing_clock = landing // 60 * 100 + landing % 60

    def when(values: Any) -> pa.Array:
        return pa.array(values, pa.int64(), mask=cancelled)

    def pick(values: list[str], index: Any) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(values)).cast(pa.string())

    return pa.table(
        {
            "year": pa.array(at.astype("datetime64[Y]").astype(np.int64) + 1970),
            "month": pa.array(months.astype(np.int64) % 12 + 1),
            "day": pa.array((days - months.astype("datetime64[D]")).astype(np.int64) + 1),
            "dep_time": when((clock + delay) % 2400),
            "sched_dep_time": pa.array(clock),
            "dep_delay": when(delay),
            "arr_time": when((landing_clock + arrived) % 2400),
            "sched_arr_time": pa.array(landing_clock),
            "arr_delay": when(arrived),
            "carrier": pick(_CARRIERS, chance.integers(0, 16, rows)),
            "flight": pa.array(chance.integers(1, 8500, rows)),
            "tailnum": pick([f"N{number}{'ABJKUW'[number % 6]}" for number in range(10_000, 14_044)], chance.integers(0, 4044, rows)),
            "origin": pick(["EWR", "JFK", "LGA"], chance.integers(0, 3, rows)),
            "dest": pick([f"{chr(65 + n // 21)}{chr(65 + n % 21)}X" for n in range(105)], place),
            "air_time": when(airtime),
            "distance": pa.array(place * 23 + 80),
            "hour": pa.array(hour),
            "minute": pa.array(minute),
            "time_hour": pa.array(at).cast(pa.timestamp("us", "UTC")),
        }
    )


def _one_percent_of_time(rows: int) -> Terms:
    first, hours = int(rows * 0.495) // _AN_HOUR, max(rows // 100 // _AN_HOUR, 1)
    bounds = [(_EPOCH + datetime.timedelta(hours=hour)).strftime("%Y-%m-%dT%H:%M:%SZ") for hour in (first, first + hours)]
    return [["time_hour", ">=", {"$ts": bounds[0]}], ["time_hour", "<", {"$ts": bounds[1]}]]


# --- chat ------------------------------------------------------------------------------------------------------------------------

_TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
_LANGUAGES = (("de", 0.12), ("en", 0.60), ("es", 0.10), ("fr", 0.08), ("ja", 0.04), ("ko", 0.01), ("zh-cn", 0.05))
_SOURCES = [f"crawl-{number:03d}" for number in range(200)]


def _chat(start: int, stop: int, total: int) -> pa.Table:
    chance, rows = np.random.default_rng([7, start]), stop - start
    text = _corpus()
    turns = np.where(chance.random(rows) < 0.1, 4, 2)
    count = int(turns.sum())
    first_turns = np.concatenate([[0], np.cumsum(turns)])
    asks = (np.arange(count) - np.repeat(first_turns[:-1], turns)) % 2 == 0
    lengths = np.where(asks, chance.integers(40, 160, count), chance.integers(200, 1400, count))
    begins = chance.integers(0, len(text) - 1400, count)
    values = [text[begin : begin + length] for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True)]
    spoken = pa.StructArray.from_arrays([pa.array(np.where(asks, "human", "gpt")), pa.array(values)], fields=list(_TURN))
    borders = np.cumsum([share for _, share in _LANGUAGES])[:-1] * total
    language = np.searchsorted(borders, np.arange(start, stop), side="right")
    return pa.table(
        {
            "id": pa.array(np.arange(start, stop)),
            "conversations": pa.ListArray.from_arrays(pa.array(first_turns, pa.int32()), spoken),
            "label": pa.array([""] * rows),
            "langdetect": pa.array(np.array([name for name, _ in _LANGUAGES])[language]),
            "source": pa.array(np.array(_SOURCES)[chance.integers(0, len(_SOURCES), rows)]),
        }
    )


@functools.cache
def _corpus() -> str:
    # ASCII only, so that every slice is one of whole characters.
    return " ".join(passage.text for passage in passages()).encode("ascii", "ignore").decode("ascii")


def _one_language(rows: int) -> Terms:
    del rows
    return [["langdetect", "=", "ko"]]


_FLIGHTS_TWO, _CHAT_TWO = ["carrier", "arr_delay"], ["id", "langdetect"]
RECIPES = {
    "flights-small": _Recipe(4, 1_000_000, 131_072, _flights, _one_percent_of_time, _FLIGHTS_TWO),
    "chat-small": _Recipe(4, 60_000, 5_000, _chat, _one_language, _CHAT_TWO),
    "flights-large": _Recipe(1, 33_000_000, 1_048_576, _flights, _one_percent_of_time, _FLIGHTS_TWO),
    "chat-large": _Recipe(1, 1_000_000, 20_000, _chat, _one_language, _CHAT_TWO),
}


def as_json(case: Case) -> dict[str, Any]:
    """The case as part of a read command of the wire, without what is default."""
    command = {"columns": case.columns, "filters": case.filters}
    return json.loads(json.dumps({key: value for key, value in command.items() if value is not None}))  # type: ignore[no-any-return]
