"""What is written: batches of 10,000 rows (Spark's default) as Arrow streams in files, one for each task."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from benchmarks.hub.repositories import RECIPES
from benchmarks.measure.digest import Digest

VERSION = 1
"""Raised when a maker changes, so that kept data is made again."""
BATCH_ROWS = 10_000
SHAPES = {"flights": ("flights-small", 4_000_000), "chat": ("chat-small", 240_000)}
"""Name to the recipe of the rows and how many there are: both about 200 MB of Arrow or more."""


@dataclass(frozen=True)
class Input:
    """The rows of one job, divided among its tasks."""

    shape: str
    files: tuple[Path, ...]
    rows: int
    arrow_bytes: int
    digest: str

    @property
    def name(self) -> str:
        return f"{self.shape}, {len(self.files)} task{'s' if len(self.files) > 1 else ''}"


def make(shape: str, tasks: int, cache: Path, scale: float) -> Input:
    """The rows below ``cache``, made if they are missing; ``scale`` multiplies their number."""
    recipe, rows = RECIPES[SHAPES[shape][0]], max(int(SHAPES[shape][1] * scale), 1000)
    folder = cache / f"{shape}-v{VERSION}-x{scale:g}-{tasks}"
    files = tuple(folder / f"task-{index}.arrows" for index in range(tasks))
    if not (folder / "whole").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for index, path in enumerate(files):
            _fill(path, _chunks(recipe, rows * index // tasks, rows * (index + 1) // tasks, rows))
        (folder / "whole").touch()
    digest, size = Digest(), 0
    for path in files:
        for batch in batches(path):
            digest.add(batch)
            size += batch.nbytes
    return Input(shape, files, digest.rows, size, digest.text())


def _chunks(recipe: object, start: int, stop: int, total: int) -> Iterator[pa.Table]:
    for at in range(start, stop, recipe.group_rows):  # type: ignore[attr-defined]
        yield recipe.chunk(at, min(at + recipe.group_rows, stop), total)  # type: ignore[attr-defined]


def _fill(path: Path, chunks: Iterator[pa.Table]) -> None:
    first = next(chunks)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, first.schema) as writer:
        for table in (first, *chunks):
            for batch in table.combine_chunks().to_batches(max_chunksize=BATCH_ROWS):
                writer.write_batch(batch)


def batches(path: Path) -> Iterator[pa.RecordBatch]:
    """The rows of a task, a batch in memory at a time."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        yield from reader


def schema(path: Path) -> pa.Schema:
    """The schema of a task's rows."""
    with pa.OSFile(str(path)) as source, pa.ipc.open_stream(source) as reader:
        return reader.schema
