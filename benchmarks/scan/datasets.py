"""The files that are read, made once from a seed and kept, and the questions to them.

==========  =========================================================================================================
``flights`` 19 plain columns in the shape of nycflights13: 4 M rows in 4 row groups, ``time_hour`` sorted; integers, of which
            those of cancelled flights are null, and four strings of few values; the rows of ``make bench-hub``
``flat``    16 plain columns in the shape of taxi trips: 4 M rows in 4 row groups, three columns with 5 % nulls, ``pickup``
            sorted; integers, doubles and timestamps, two strings
``text``    web pages: 260 k rows in 4 groups; ``id`` sorted, ``url`` unique with a bloom filter, 300 to 3000 bytes of prose
``paged``   the same rows as ``text`` in pages of 64 KB instead of pyarrow's own
``chat``    instructions: 260 k rows in 4 groups; lists of structs of text; one row in ten ``zh-cn`` and one
            in a thousand of any ``source``, anywhere
``images``  3 k pictures of 20 to 200 KB that do not compress, in 3 groups; pages of about 2 MB
``onepage`` the same rows as ``images`` with one page in a row group: what pyarrow writes unless it is told otherwise
==========  =========================================================================================================

All have a page index and dictionaries where pyarrow finds them worth while; each is written with Snappy and with zstd.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.data.prose import passages
from benchmarks.hub import repositories

CODECS = ("snappy", "zstd")


@dataclass(frozen=True)
class Question:
    """What is asked of one file."""

    name: str
    columns: list[str] | None = None
    filters: list[list[Any]] | None = None
    """Triples of the wire, joined by AND."""


@dataclass(frozen=True)
class Recipe:
    """How a file is made, and how it is read."""

    rows: int
    groups: int
    rows_in: Callable[[int, int, int], pa.Table]
    """Rows ``[start, stop)`` of ``total``; the same rows whatever the borders are asked for, as long as they are multiples of ``STEP``."""
    questions: Callable[[int], tuple[Question, ...]]
    batch_rows: int
    """What all readers are asked for; about 2 MB."""
    options: dict[str, Any] = field(default_factory=dict)
    version: int = 1
    """Raised when the maker changes, so that kept files are made again."""


@dataclass(frozen=True)
class Dataset:
    """A made file."""

    name: str
    codec: str
    path: Path
    rows: int
    batch_rows: int
    questions: tuple[Question, ...]


def make(name: str, codec: str, cache: Path, scale: float) -> Dataset:
    """The file below ``cache``, made if it is missing; ``scale`` multiplies its rows."""
    recipe = RECIPES[name]
    rows = _scaled(recipe.rows, scale)
    path = cache / f"{name}-v{recipe.version}-x{scale:g}.{codec}.parquet"
    if not path.exists():
        group_rows = -(-rows // recipe.groups)
        _write(path, recipe, codec, (recipe.rows_in(start, min(start + group_rows, rows), rows) for start in range(0, rows, group_rows)))
    return Dataset(name, codec, path, rows, recipe.batch_rows, recipe.questions(rows))


def make_grouped(name: str, group_bytes: int, total_bytes: int, cache: Path, scale: float) -> Dataset:
    """Rows that take about ``total_bytes`` of Arrow memory, in row groups of about ``group_bytes``; Snappy."""
    recipe = RECIPES[name]
    sample = recipe.rows_in(0, 2_000, 2_000)
    rows = _scaled(total_bytes * sample.num_rows // sample.nbytes, scale)
    group_rows = -(-rows // (total_bytes // group_bytes))
    path = cache / f"{name}-groups-of-{group_bytes >> 20}-v{recipe.version}-x{scale:g}.snappy.parquet"
    if not path.exists():
        _write(path, recipe, "snappy", (_group(recipe, start, min(start + group_rows, rows), rows) for start in range(0, rows, group_rows)))
    return Dataset(name, "snappy", path, rows, recipe.batch_rows, ())


STEP = 10_000


def _group(recipe: Recipe, start: int, stop: int, total: int) -> pa.Table:
    # In pieces from fixed borders, so that the same rows come out whatever the size of the groups.
    first = start // STEP * STEP
    pieces = [recipe.rows_in(at, min(at + STEP, total), total) for at in range(first, stop, STEP)]
    return pa.concat_tables(pieces).slice(start - first, stop - start)


def _scaled(rows: int, scale: float) -> int:
    return max(int(rows * scale), 400)


def _write(path: Path, recipe: Recipe, codec: str, groups: Iterator[pa.Table]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished")
    writer: pq.ParquetWriter | None = None
    for table in groups:
        writer = writer or pq.ParquetWriter(unfinished, table.schema, compression=codec, write_page_index=True, **recipe.options)
        writer.write_table(table, row_group_size=table.num_rows)
    assert writer is not None
    writer.close()
    unfinished.rename(path)


# --- flights ---------------------------------------------------------------------------------------------------------------------

_FLIGHTS = repositories.RECIPES["flights-small"]


def _flights_questions(rows: int) -> tuple[Question, ...]:
    return (
        Question("full"),
        Question("2 of 19 columns", _FLIGHTS.two),
        Question("1 % sorted", None, _FLIGHTS.sorted_filter(rows)),
        Question("0.1 % scattered", None, [["carrier", "=", "VX"], ["dep_delay", ">", 90]]),
        Question("10 % scattered", None, [["distance", ">", 2242]]),
    )


# --- flat ------------------------------------------------------------------------------------------------------------------------

_FIRST_TRIP = np.datetime64("2024-01-01T00:00:00", "us")
_A_TRIP = np.timedelta64(500_000, "us")
"""Between two pickups."""
_PLACES = [f"{street} {number}" for street in ("Ash", "Beech", "Cedar", "Elm", "Fir") for number in range(1, 53)]


def _flat(start: int, stop: int, total: int) -> pa.Table:
    del total
    chance, rows = np.random.default_rng([3, start]), stop - start
    pickup = _FIRST_TRIP + np.arange(start, stop) * _A_TRIP
    distance = np.round(chance.gamma(1.5, 2.0, rows), 2)
    minutes = distance * 4 + chance.integers(1, 15, rows)
    fare = np.round((3 + distance * 3.5) * 2) / 2
    tip = np.round(fare * chance.choice([0, 0.1, 0.2, 0.25], rows), 2)
    tolls = np.where(chance.random(rows) < 0.06, 6.94, 0.0)

    def with_nulls(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind, mask=chance.random(rows) < 0.05)

    def pick(values: list[str], index: Any) -> pa.Array:
        return pa.DictionaryArray.from_arrays(pa.array(index, pa.int32()), pa.array(values)).cast(pa.string())

    return pa.table(
        {
            "vendor": pa.array(chance.integers(1, 3, rows), pa.int32()),
            "pickup": pa.array(pickup),
            "dropoff": pa.array(pickup + (minutes * 60).astype("timedelta64[s]")),
            "passengers": with_nulls(chance.integers(1, 7, rows), pa.int64()),
            "distance": pa.array(distance),
            "rate": with_nulls(chance.integers(1, 7, rows), pa.int32()),
            "flag": pick(["N", "Y"], (chance.random(rows) < 0.01).astype(np.int32)),
            "from_place": pa.array(chance.integers(1, 264, rows), pa.int32()),
            "to_place": pa.array(chance.integers(1, 264, rows), pa.int32()),
            "payment": pa.array(chance.integers(1, 5, rows), pa.int64()),
            "fare": pa.array(fare),
            "tip": pa.array(tip),
            "tolls": pa.array(tolls),
            "total": pa.array(np.round(fare + tip + tolls + 3.3, 2)),
            "surcharge": with_nulls(chance.choice([0.0, 2.5], rows), pa.float64()),
            "zone": pick(_PLACES, chance.integers(0, len(_PLACES), rows)),
        }
    )


def _flat_questions(rows: int) -> tuple[Question, ...]:
    first, count = int(rows * 0.495), max(rows // 100, 1)
    begin, end, needle = ({"$ts": str(_FIRST_TRIP + index * _A_TRIP)} for index in (first, first + count, int(rows * 0.61)))
    return (
        Question("full"),
        Question("2 of 16 columns", ["zone", "total"]),
        Question("1 % sorted", None, [["pickup", ">=", begin], ["pickup", "<", end]]),
        Question("0.1 % scattered", None, [["flag", "=", "Y"], ["distance", ">", 6.25]]),
        Question("10 % scattered", None, [["distance", ">", 6.25]]),
        Question("needle", None, [["pickup", "=", needle]]),
    )


# --- text ------------------------------------------------------------------------------------------------------------------------


def _text(start: int, stop: int, total: int) -> pa.Table:
    del total
    chance, rows = np.random.default_rng([5, start]), stop - start
    lengths = chance.integers(300, 3000, rows)
    return pa.table(
        {
            "id": pa.array(np.arange(start, stop)),
            "url": pa.array([_url(index) for index in range(start, stop)]),
            "text": pa.array(_slices(chance, lengths)),
            "language_score": pa.array(chance.random(rows)),
            "token_count": pa.array(lengths // 4 + chance.integers(0, 20, rows), pa.int32()),
        }
    )


def _url(index: int) -> str:
    scattered = index * 0x9E3779B97F4A7C15 % (1 << 64)  # odd, so that no two are equal, and neighbours are far apart
    return f"https://{scattered >> 56:02x}.example.org/{scattered:016x}/{index % 97}.html"


def _text_questions(rows: int) -> tuple[Question, ...]:
    first, count = int(rows * 0.37), max(rows // 100, 1)
    return (
        Question("full"),
        Question("2 of 5 columns", ["url", "token_count"]),
        Question("1 % sorted", None, [["id", ">=", first], ["id", "<", first + count]]),
        Question("0.1 % scattered", None, [["language_score", ">", 0.999]]),
        Question("10 % scattered", None, [["language_score", ">", 0.9]]),
        Question("needle", None, [["url", "=", _url(int(rows * 0.61))]]),
    )


def _paged_questions(rows: int) -> tuple[Question, ...]:
    return tuple(question for question in _text_questions(rows) if question.name in ("0.1 % scattered", "full"))


# --- chat ------------------------------------------------------------------------------------------------------------------------

_TURN = pa.struct([("from", pa.string()), ("value", pa.string())])
_SOURCES = [f"collection-{number:03d}" for number in range(1000)]


def _chat(start: int, stop: int, total: int) -> pa.Table:
    del total
    chance, rows = np.random.default_rng([11, start]), stop - start
    turns = chance.choice([0, 2, 4, 6], rows, p=[0.02, 0.78, 0.15, 0.05])
    count, borders = int(turns.sum()), np.concatenate([[0], np.cumsum(turns)])
    asks = (np.arange(count) - np.repeat(borders[:-1], turns)) % 2 == 0
    said = _slices(chance, np.where(asks, chance.integers(40, 160, count), chance.integers(200, 1800, count)))
    spoken = pa.StructArray.from_arrays(
        [pa.array(np.where(asks, "human", "gpt")), pa.array(said, pa.string(), mask=chance.random(count) < 0.01)], fields=list(_TURN)
    )
    return pa.table(
        {
            "id": pa.array(np.arange(start, stop)),
            "conversations": pa.ListArray.from_arrays(
                pa.array(borders, pa.int32()), spoken, mask=pa.array((turns == 0) & (chance.random(rows) < 0.5))
            ),
            "label": pa.array([""] * rows),
            "langdetect": pa.array(np.where(chance.random(rows) < 0.1, "zh-cn", "en")),
            "source": pa.array(np.array(_SOURCES)[chance.integers(0, len(_SOURCES), rows)]),
        }
    )


def _chat_questions(rows: int) -> tuple[Question, ...]:
    first, count = int(rows * 0.37), max(rows // 100, 1)
    return (
        Question("full"),
        Question("2 of 5 columns", ["id", "langdetect"]),
        Question("1 % sorted", None, [["id", ">=", first], ["id", "<", first + count]]),
        Question("0.1 % scattered", None, [["source", "=", "collection-417"]]),
        Question("10 % scattered", None, [["langdetect", "=", "zh-cn"]]),
        Question("needle", None, [["id", "=", int(rows * 0.61)]]),
    )


def _slices(chance: Any, lengths: Any) -> list[str]:
    text = _corpus()
    begins = chance.integers(0, len(text) - 3000, len(lengths))
    return [text[begin : begin + length] for begin, length in zip(begins.tolist(), lengths.tolist(), strict=True)]


@functools.cache
def _corpus() -> str:
    # ASCII only, so that every slice is one of whole characters.
    return " ".join(passage.text for passage in passages()).encode("ascii", "ignore").decode("ascii")


# --- images ----------------------------------------------------------------------------------------------------------------------


def _images(start: int, stop: int, total: int) -> pa.Table:
    del total
    chance, rows = np.random.default_rng([17, start]), stop - start
    sizes = chance.integers(20_000, 200_000, rows)
    picture = pa.array([chance.bytes(size) for size in sizes.tolist()], pa.binary())
    names = pa.array([f"{index:06d}.jpg" for index in range(start, stop)])
    return pa.table(
        {"image": pa.StructArray.from_arrays([picture, names], ["bytes", "path"]), "label": pa.array(chance.integers(0, 10, rows))}
    )


def _images_questions(rows: int) -> tuple[Question, ...]:
    del rows
    return (Question("full"), Question("1 of 2 columns", ["label"]), Question("10 % scattered", None, [["label", "=", 3]]))


def _full_only(rows: int) -> tuple[Question, ...]:
    del rows
    return (Question("full"),)


_BLOOM = {"bloom_filter_options": {"url": {"ndv": 70_000, "fpp": 0.01}}}
# pyarrow looks at a page's size only after each batch that it writes.
_PAGES_OF_64_KB = {"data_page_size": 64 << 10, "write_batch_size": 16}
_PAGES_OF_2_MB = {"write_batch_size": 16}

RECIPES = {
    "flights": Recipe(4_000_000, 4, _FLIGHTS.chunk, _flights_questions, 16_384, version=repositories.VERSION),
    "flat": Recipe(4_000_000, 4, _flat, _flat_questions, 16_384),
    "text": Recipe(260_000, 4, _text, _text_questions, 1_024, _BLOOM),
    "paged": Recipe(260_000, 4, _text, _paged_questions, 1_024, {**_BLOOM, **_PAGES_OF_64_KB}),
    "chat": Recipe(260_000, 4, _chat, _chat_questions, 1_024, version=2),
    "images": Recipe(3_000, 3, _images, _images_questions, 16, _PAGES_OF_2_MB),
    "onepage": Recipe(3_000, 3, _images, _full_only, 16),
}
