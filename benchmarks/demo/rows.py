"""Comparison of tables row by row: same columns, same types up to what Spark cannot say, same rows in the same order."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq


class Mismatch(Exception):
    """Two tables differ; the text shows the first difference."""


def read_files(folder: Path, pattern: str = "*.parquet") -> pa.Table:
    """The oracle: what pyarrow reads from the files in byte order of their names, which is the order of a split."""
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob(pattern))])


def compare(got: pa.Table, want: pa.Table) -> str:
    """Raises Mismatch at the first difference; answers the sentence that says how much was equal."""
    if got.column_names != want.column_names:
        raise Mismatch(f"columns differ\ngot  {got.column_names}\nwant {want.column_names}")
    if got.num_rows != want.num_rows:
        raise Mismatch(f"got {got.num_rows:,} rows, want {want.num_rows:,}")
    for name in want.column_names:
        _compare_column(name, _plain(got.schema.field(name).type, got[name]), want[name])
    return f"{want.num_rows:,} rows × {want.num_columns} columns"


def _plain(kind: pa.DataType, column: pa.ChunkedArray) -> pa.ChunkedArray:
    # Spark names the session's zone Etc/UTC, and pandas' and polars' strings are large; the values are the same.
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return column.cast(pa.timestamp(kind.unit, "UTC"))
    return column


def _compare_column(name: str, got: pa.ChunkedArray, want: pa.ChunkedArray) -> None:
    if not _same_type(got.type, want.type):
        raise Mismatch(f"column {name}: got type {got.type}, want {want.type}")
    # Names and nullability of list children may differ, hence by storage and not by type.
    if got.cast(want.type).equals(want):
        return
    for row, (mine, theirs) in enumerate(zip(got.to_pylist(), want.to_pylist(), strict=True)):
        if mine != theirs and not (mine != mine and theirs != theirs):  # NaN equals NaN here
            raise Mismatch(f"column {name}, row {row:,}:\ngot  {_short(mine)}\nwant {_short(theirs)}")


def _same_type(got: pa.DataType, want: pa.DataType) -> bool:
    if pa.types.is_list(got) and pa.types.is_list(want):
        return _same_type(got.value_type, want.value_type)
    if pa.types.is_struct(got) and pa.types.is_struct(want):
        mine, theirs = list(got), list(want)
        return [field.name for field in mine] == [field.name for field in theirs] and all(
            _same_type(one.type, other.type) for one, other in zip(mine, theirs, strict=True)
        )
    return bool(got == want)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
