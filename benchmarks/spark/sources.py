"""Two data sources to compare with; they live in a module because Spark's workers import them by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark_huggingface.huggingface import HuggingFaceDatasets  # type: ignore[import-untyped,unused-ignore]
from pyspark_huggingface.huggingface_sink import HuggingFaceDatasetsWriter  # type: ignore[import-untyped,unused-ignore]


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


class WorkingHuggingFace(HuggingFaceDatasets):  # type: ignore[misc,unused-ignore]
    """pyspark_huggingface whose writer lists the split: as released it fails there, after having uploaded everything."""

    @classmethod
    def name(cls) -> str:
        return "huggingface_working"

    def writer(self, schema: Any, overwrite: bool) -> Any:
        from pyspark_huggingface.huggingface_sink import HuggingFaceSink

        made = HuggingFaceSink(self.options).writer(schema, overwrite)
        made.__class__ = _WorkingWriter
        return made


class _WorkingWriter(HuggingFaceDatasetsWriter):  # type: ignore[misc,unused-ignore]
    def _list_split(self, api: Any) -> Iterator[Any]:
        from huggingface_hub.errors import EntryNotFoundError

        try:
            for found in api.list_repo_tree(self.repo_id, self.data_dir, repo_type=self.repo_type, revision=self.revision):
                if found.path.startswith(self.prefix):
                    yield found
        except EntryNotFoundError:
            return
