"""Those who write a job: its tasks at the same time, a thread each, then one commit."""

from __future__ import annotations

import io
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.write.tasks import batches, schema

TOKEN = "hf_benchmark"  # noqa: S105  # any will do: the Hub is open
GROUP_BYTES, GROUP_ROWS = 128 << 20, 1 << 20
"""hubflight's row groups, of Arrow; pyarrow's are cut alike."""


@dataclass(frozen=True)
class Question:
    """One job."""

    hub: str
    server: str | None
    dataset: str
    tasks: list[str]
    nonce: str
    """Goes into the files' metadata, so that no file is one that the Hub knows already."""
    file_bytes: int | None = None
    """At how many bytes hubflight begins the next file of a task, if not at its usual size."""
    drained: list[float] = field(default_factory=list)
    """When each task's last batch had been taken, in seconds since the epoch; filled by the writer."""


class Writer(Protocol):
    """Writes a job to a repository that does not exist yet."""

    def write(self, question: Question) -> None: ...


class Hubflight:
    """Each task streams its batches to the Flight server, which does the rest."""

    def write(self, question: Question) -> None:
        from hubflight.connection import resolve_server
        from hubflight.options import parse_write
        from hubflight.writing import Job

        assert question.server is not None
        wanted = {"path": question.dataset, "create_repo": True, "token": TOKEN, "server": question.server}
        options = parse_write(wanted if question.file_bytes is None else {**wanted, "max_bytes_per_file": question.file_bytes})
        job = Job.begin(resolve_server(options.connecting), options, "overwrite", _marked(schema(Path(question.tasks[0])), question.nonce))

        def stage(index: int) -> list[Any]:
            return list(job.stage(_batches(question, index), index, "0"))

        job.commit([file for files in _each_task(question, stage) for file in files])


class Pyarrow:
    """``ParquetWriter`` to a file on disk in row groups of hubflight's size, uploaded ahead of one ``create_commit``."""

    def write(self, question: Question) -> None:
        from huggingface_hub import CommitOperationAdd, HfApi

        api = _repository(HfApi(endpoint=question.hub, token=TOKEN), question)
        with tempfile.TemporaryDirectory() as scratch:

            def stage(index: int) -> Any:
                path = Path(scratch) / f"{index}.parquet"
                self._encode(question, index, path)
                addition = CommitOperationAdd(path_in_repo=_name(question, index), path_or_fileobj=str(path))
                api.preupload_lfs_files(question.dataset, [addition], repo_type="dataset")
                return addition

            _commit(api, question, _each_task(question, stage))

    def _encode(self, question: Question, index: int, path: Path) -> None:
        kept: list[pa.RecordBatch] = []
        with pq.ParquetWriter(path, _schema(question), compression="snappy", write_page_index=True) as writer:

            def flush() -> None:
                writer.write_table(pa.Table.from_batches(kept), row_group_size=GROUP_ROWS)
                kept.clear()

            rows = size = 0
            for batch in _batches(question, index):
                kept.append(batch)
                rows, size = rows + batch.num_rows, size + batch.nbytes
                if rows >= GROUP_ROWS or size >= GROUP_BYTES:
                    flush()
                    rows = size = 0
            if kept:
                flush()


class InMemory:
    """What ``pyspark_huggingface`` does in a task: every batch a row group, into a ``BytesIO``, and a copy of it for the upload."""

    def write(self, question: Question) -> None:
        from huggingface_hub import CommitOperationAdd, HfApi

        api = _repository(HfApi(endpoint=question.hub, token=TOKEN), question)

        def stage(index: int) -> Any:
            with io.BytesIO() as file:
                with pq.ParquetWriter(file, _schema(question), use_content_defined_chunking=True, write_page_index=True) as writer:
                    for batch in _batches(question, index):
                        writer.write_batch(batch)
                addition = CommitOperationAdd(path_in_repo=_name(question, index), path_or_fileobj=file.getvalue())
                api.preupload_lfs_files(question.dataset, [addition], repo_type="dataset")
                return addition

        _commit(api, question, _each_task(question, stage))


WRITERS: dict[str, Callable[[], Writer]] = {"hubflight": Hubflight, "pyarrow": Pyarrow, "in memory": InMemory}


def _each_task(question: Question, stage: Callable[[int], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(question.tasks)) as pool:
        return list(pool.map(stage, range(len(question.tasks))))


def _repository(api: Any, question: Question) -> Any:
    api.create_repo(question.dataset, repo_type="dataset", private=True)
    return api


def _commit(api: Any, question: Question, additions: list[Any]) -> None:
    api.create_commit(question.dataset, additions, commit_message="Upload", repo_type="dataset")


def _name(question: Question, index: int) -> str:
    return f"data/train-{index:05d}-of-{len(question.tasks):05d}.parquet"


def _marked(plain: pa.Schema, nonce: str) -> pa.Schema:
    return plain.with_metadata({"measured": nonce})


def _schema(question: Question) -> pa.Schema:
    return _marked(schema(Path(question.tasks[0])), question.nonce)


def _batches(question: Question, index: int) -> Iterator[pa.RecordBatch]:
    for batch in batches(Path(question.tasks[index])):
        yield batch.replace_schema_metadata({"measured": question.nonce})
    question.drained.append(time.time())
