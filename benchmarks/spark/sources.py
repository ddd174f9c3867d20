"""What is left when a source has next to no work: rows that are ready, and writers that drop what they get, at once or as Parquet.

They live in a module because Spark's workers import them by name, and the module imports nothing else: what it takes to
load is part of a cold start.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter, DataSourceReader, InputPartition, WriterCommitMessage


class ReadyBatches(DataSource):  # type: ignore[misc,unused-ignore]
    """The batches of Arrow files in a folder, mapped into memory: what a Python data source can give at most."""

    @classmethod
    def name(cls) -> str:
        return "ready_batches"

    def schema(self) -> Any:
        from pyspark.sql.pandas.types import from_arrow_schema

        with pa.ipc.open_file(pa.memory_map(str(self._files()[0]))) as opened:
            return from_arrow_schema(opened.schema.remove_metadata(), prefer_timestamp_ntz=True)

    def reader(self, schema: Any) -> DataSourceReader:
        return _Ready([str(path) for path in self._files()])

    def _files(self) -> list[Path]:
        return sorted(Path(self.options["path"]).glob("*.arrow"))


class _Ready(DataSourceReader):  # type: ignore[misc,unused-ignore]
    def __init__(self, files: list[str]) -> None:
        self._files = files

    def partitions(self) -> list[InputPartition]:
        return [InputPartition(path) for path in self._files]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        with pa.ipc.open_file(pa.memory_map(partition.value)) as opened:
            for index in range(opened.num_record_batches):
                yield opened.get_batch(index)


class DropRows(DataSource):  # type: ignore[misc,unused-ignore]
    """Takes the batches that Spark gives to a writer and drops them, so that nothing is left of a write but Spark's part."""

    @classmethod
    def name(cls) -> str:
        return "drop_rows"

    def writer(self, schema: Any, overwrite: bool) -> DataSourceArrowWriter:
        return _Drop()


class _Drop(DataSourceArrowWriter):  # type: ignore[misc,unused-ignore]
    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        for _ in iterator:
            pass
        return WriterCommitMessage()


class EncodeRows(DataSource):  # type: ignore[misc,unused-ignore]
    """Makes Parquet of the batches that Spark gives to a writer, as pyarrow does by itself, and drops that: no file, no hash, no Hub."""

    @classmethod
    def name(cls) -> str:
        return "encode_rows"

    def writer(self, schema: Any, overwrite: bool) -> DataSourceArrowWriter:
        return _Encode()


class _Encode(DataSourceArrowWriter):  # type: ignore[misc,unused-ignore]
    def write(self, iterator: Iterator[pa.RecordBatch]) -> WriterCommitMessage:
        import pyarrow.parquet as pq

        writer: pq.ParquetWriter | None = None
        for batch in iterator:
            writer = writer or pq.ParquetWriter(pa.MockOutputStream(), batch.schema)
            writer.write_batch(batch)
        if writer is not None:
            writer.close()
        return WriterCommitMessage()
