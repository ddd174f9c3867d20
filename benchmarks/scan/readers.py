"""All readers as processes, whatever they are written in: asked alike, checked alike."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.measure.digest import Digest
from benchmarks.measure.processes import Worker, clean_environment
from benchmarks.scan.datasets import Dataset, Question
from benchmarks.scan.peers import PEERS

ONE_CORE, OURS, LIBRARY = "hubflight 1 core", "hubflight", "pqarrow"
ONE_THREAD, THREADS = "pyarrow 1 thread", "pyarrow"
NAMES = (ONE_CORE, OURS, LIBRARY, *PEERS)
"""As the report has them. ``pqarrow`` is the Go library that the scan is built on, plainly used."""

# The Go programs' second word, and how many cores they may use (0: all).
_GO = {ONE_CORE: ("hubflight", 1), OURS: ("hubflight", 0), LIBRARY: ("library", 0)}


_GO_SETTINGS = ("GOGC", "GOMAXPROCS", "GOMEMLIMIT", "GODEBUG")


@dataclass
class Readers:
    """The processes of one run, started when they are first asked."""

    binary: Path
    """Of ``benchmarks/scan/reader``."""
    scratch: Path
    environment: dict[str, str]
    running: dict[str, Worker]

    def ask(self, name: str, dataset: Dataset, question: Question, **more: Any) -> dict[str, Any]:
        """A timing; ``repeats`` says how often within it."""
        return self._worker(name).ask(**_asked(dataset, question), **{"repeats": 1, **more})

    def check(self, name: str, dataset: Dataset, question: Question) -> dict[str, Any]:
        """Rows and checksum of the answer, or its error."""
        worker, asked = self._worker(name), _asked(dataset, question)
        if name not in _GO:
            return worker.ask(**asked, check=True)
        pipe = self.scratch / "rows"
        pipe.unlink(missing_ok=True)
        os.mkfifo(pipe)
        worker.tell(**asked, copy=str(pipe))
        digest = Digest()
        # What is no stream ends it; the answer says why.
        with contextlib.suppress(pa.ArrowInvalid), pipe.open("rb") as copied, pa.ipc.open_stream(copied) as batches:
            for batch in batches:
                digest.add(batch)
        return {**worker.answer(), "digest": digest.text()}

    def pid(self, name: str) -> int:
        return self._worker(name).process.pid

    def fresh(self, name: str) -> None:
        """The next question finds a process that was just started."""
        worker = self.running.pop(name, None)
        if worker is not None:
            worker.close()

    def close(self) -> None:
        for name in list(self.running):
            self.fresh(name)

    def _worker(self, name: str) -> Worker:
        if name not in self.running:
            self.running[name] = Worker(*self._command(name), self.scratch / f"reader-{name.replace(' ', '-')}.log")
        return self.running[name]

    def _command(self, name: str) -> tuple[list[str], dict[str, str]]:
        if name not in _GO:
            return [sys.executable, "-m", "benchmarks.scan.worker", name], self.environment
        word, cores = _GO[name]
        return [str(self.binary), word], {**self.environment, **({"GOMAXPROCS": str(cores)} if cores else {})}


@contextlib.contextmanager
def running(binary: Path, scratch: Path) -> Iterator[Readers]:
    """Readers that end with the block."""
    kept = {name: text for name, text in clean_environment(scratch).items() if name not in _GO_SETTINGS}
    environment = {**kept, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    readers = Readers(binary, scratch, environment, {})
    try:
        yield readers
    finally:
        readers.close()


def _asked(dataset: Dataset, question: Question) -> dict[str, Any]:
    return {
        "path": str(dataset.path),
        "columns": question.columns,
        "filters": question.filters,
        "batch_rows": dataset.batch_rows,
    }
