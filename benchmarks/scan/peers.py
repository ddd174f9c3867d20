"""The Python readers: each answers a question with parts that can be counted, and that become Arrow batches where rows are compared.

All of them stream: a part is counted and let go, because what is measured is reading, not keeping.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from benchmarks.measure.terms import Terms, expression, moment


@dataclass(frozen=True)
class Asked:
    """A question as it crosses the pipe."""

    path: str
    columns: list[str] | None
    filters: Terms | None
    batch_rows: int


class Peer(Protocol):
    """A reader; one instance lives as long as its process, and has imported what it needs."""

    def parts(self, asked: Asked) -> Iterator[Any]:
        """The answer, in the file's order."""

    def rows(self, part: Any) -> int:
        """How many rows a part has."""

    def batches(self, part: Any) -> list[pa.RecordBatch]:
        """The part as Arrow."""


class PyArrow:
    """``ParquetFile.iter_batches``; with a filter, which that does not know, a dataset of the one file."""

    def __init__(self, threads: bool) -> None:
        import pyarrow.dataset
        import pyarrow.parquet

        self._datasets, self._parquet, self._threads = pyarrow.dataset, pyarrow.parquet, threads

    def parts(self, asked: Asked) -> Iterator[Any]:
        if asked.filters is None:
            with self._parquet.ParquetFile(asked.path) as file:
                yield from file.iter_batches(batch_size=asked.batch_rows, columns=asked.columns, use_threads=self._threads)
            return
        wanted = expression(self._datasets.field, asked.filters, pa.scalar)
        found = self._datasets.dataset(asked.path, format="parquet")
        yield from found.to_batches(columns=asked.columns, filter=wanted, use_threads=self._threads)

    def rows(self, part: Any) -> int:
        return int(part.num_rows)

    def batches(self, part: Any) -> list[pa.RecordBatch]:
        return [part]


class DuckDB:
    """``SELECT … FROM read_parquet(…)`` as a stream of Arrow batches, in the file's order, with all cores."""

    def __init__(self) -> None:
        import duckdb

        self._connection = duckdb.connect()

    def parts(self, asked: Asked) -> Iterator[Any]:
        columns = ", ".join(f'"{name}"' for name in asked.columns) if asked.columns else "*"
        terms = [f'"{column}" {sign} ?' for column, sign, _ in asked.filters or []]
        where = " WHERE " + " AND ".join(terms) if terms else ""
        given = [asked.path, *(moment(literal) for *_, literal in asked.filters or [])]
        query = f"SELECT {columns} FROM read_parquet(?){where}"  # noqa: S608 - names of our own files
        yield from self._connection.execute(query, given).to_arrow_reader(asked.batch_rows)

    def rows(self, part: Any) -> int:
        return int(part.num_rows)

    def batches(self, part: Any) -> list[pa.RecordBatch]:
        return [part]


class Polars:
    """A lazy scan collected batch by batch, in the file's order, with all cores."""

    def __init__(self) -> None:
        import polars

        self._polars = polars

    def parts(self, asked: Asked) -> Iterator[Any]:
        frame = self._polars.scan_parquet(asked.path)
        wanted = expression(self._polars.col, asked.filters)
        if wanted is not None:
            frame = frame.filter(wanted)
        if asked.columns is not None:
            frame = frame.select(asked.columns)
        yield from frame.collect_batches(chunk_size=asked.batch_rows, maintain_order=True)

    def rows(self, part: Any) -> int:
        return int(part.height)

    def batches(self, part: Any) -> list[pa.RecordBatch]:
        batches: list[pa.RecordBatch] = part.to_arrow().to_batches()
        return batches


PEERS: dict[str, Callable[[], Peer]] = {
    "pyarrow 1 thread": lambda: PyArrow(threads=False),
    "pyarrow": lambda: PyArrow(threads=True),
    "duckdb": DuckDB,
    "polars": Polars,
}
"""By the name in the report."""
