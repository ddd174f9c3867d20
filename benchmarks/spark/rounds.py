"""The questions, and who is asked when: first everybody once with rows checked, then rounds in turn."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.flight as flight
import pyarrow.parquet as pq

from benchmarks.hub.repositories import Case, Repository
from benchmarks.hub.rig import Rig, Traffic
from benchmarks.measure import turns
from benchmarks.measure.load import Load, cpu_seconds, machine_cpu
from benchmarks.measure.processes import Worker, clean_environment
from benchmarks.spark.processes import cpu_of_tree

OURS, EMBEDDED, REFERENCE, READY, LOCAL = "hubflight", "embedded", "pyspark_huggingface", "ready batches", "local parquet"
DROP, ENCODE = "drop rows", "encode rows"
FLOORS = {"append": ENCODE}
"""A source without any work but what nobody can avoid, by question; everywhere else it is `READY`."""
READERS = (OURS, EMBEDDED, REFERENCE, READY, ENCODE, DROP, LOCAL)
_ONLY_WRITE = (ENCODE, DROP)
_OUR_PACKAGES, _THEIR_PACKAGES = ("pyspark_hubflight", "pyspark_hubflight_py"), ("pyspark_huggingface",)
_FOREIGN = {
    OURS: _THEIR_PACKAGES,
    EMBEDDED: _THEIR_PACKAGES,
    REFERENCE: _OUR_PACKAGES,
    READY: _OUR_PACKAGES + _THEIR_PACKAGES,
    ENCODE: _OUR_PACKAGES + _THEIR_PACKAGES,
    DROP: _OUR_PACKAGES + _THEIR_PACKAGES,
}
_FOUND = {
    REFERENCE: "from benchmarks.spark.reference import WorkingHuggingFace as DefaultSource",
    READY: "from benchmarks.spark.sources import ReadyBatches as DefaultSource",
    ENCODE: "from benchmarks.spark.sources import EncodeRows as DefaultSource",
    DROP: "from benchmarks.spark.sources import DropRows as DefaultSource",
}
_MOST_REPEATS = 4
TOKEN = "hf_anybody"  # noqa: S105
"""The Hub here lets everybody write; clients want to send something."""


@dataclass(frozen=True)
class Sample:
    """One timing, in seconds; `load` came before it and is not part of it, except where the question is loading."""

    wall: float
    load: float
    cpu: float
    python_peak: int
    foreign: float


@dataclass
class Cell:
    """One question to one repository at one latency."""

    repository: Repository
    question: str
    rtt_ms: int
    rows: int = 0
    """That are read or written; 0 where that is not the question."""
    column_bytes: int = 0
    turns: turns.Turns[Sample] = field(default_factory=lambda: turns.Turns({}))
    traffic: dict[str, Traffic] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    @property
    def samples(self) -> dict[str, list[Sample]]:
        return self.turns.samples


def cases(repository: Repository) -> Iterator[Case]:
    """Full, 2 columns and the 1 % filter; flights are chosen by year and month, because no literal of the other source is a moment."""
    for case in repository.cases:
        if case.name == "1 % filter" and repository.name.startswith("flights"):
            rows = sum(pq.read_metadata(path).num_rows for path in repository.files())
            middle = datetime.datetime(2013, 1, 1) + datetime.timedelta(hours=int(rows * 0.495) // 40)
            case = dataclasses.replace(case, filters=[["year", "=", middle.year], ["month", "=", middle.month]])
        yield case


class Bench:
    """The sessions of one latency, one for each reader, and what they run on."""

    def __init__(self, rig: Rig, readers: list[str], say: Callable[[str], None]) -> None:
        self.rig, self.say = rig, say
        self.readers = [name for name in readers if name not in _ONLY_WRITE]
        self.writers = [name for name in readers if name in (OURS, EMBEDDED, REFERENCE, *_ONLY_WRITE)]
        # A unix socket's path is short.
        self._own = Path(tempfile.mkdtemp(prefix="hf-bench-"))
        self._sessions: dict[str, Worker] = {}
        self._made = 0

    def close(self) -> None:
        for name in list(self._sessions):
            self._end(name)
        self._end_embedded()
        shutil.rmtree(self._own, ignore_errors=True)

    def scans(self, repository: Repository, case: Case, rounds: int) -> Cell:
        """Reading every row, in sessions that have read before."""
        cell = self._cell(repository, case.name)
        cell.column_bytes = sum(stop - start for found in repository.ranges(case).values() for start, stop in found)
        good = [name for name in self.readers if self._agrees(cell, name, case)]
        repeat: dict[str, int] = {}
        for name in good:  # the first scan pays for imports and compilation, the second tells the traffic
            self._ask(name, "read", repeat=1, **self._question(name, repository, case))
            before = self.rig.traffic()
            answer = self._ask(name, "read", repeat=1, **self._question(name, repository, case))
            cell.traffic[name] = self.rig.traffic() - before
            repeat[name] = turns.repeats(answer["wall"], _MOST_REPEATS)
        question = {name: {"repeat": repeat[name], **self._question(name, repository, case)} for name in good}
        self._take(cell, (OURS, REFERENCE, READY), good, rounds, lambda name: self._timed(name, "read", **question[name]))
        return cell

    def show(self, repository: Repository, rounds: int) -> Cell:
        """The first rows, loading included."""
        cell, case = self._cell(repository, "show()"), repository.cases[0]
        repeat: dict[str, int] = {}
        for name in self.readers:
            self._ask(name, "show", repeat=1, **self._question(name, repository, case))
            before = self.rig.traffic()
            answer = self._ask(name, "show", repeat=1, **self._question(name, repository, case))
            cell.traffic[name] = self.rig.traffic() - before
            repeat[name] = turns.repeats(answer["wall"], _MOST_REPEATS)
        question = {name: {"repeat": repeat[name], **self._question(name, repository, case)} for name in self.readers}
        self._take(cell, (OURS, REFERENCE, READY), self.readers, rounds, lambda name: self._timed(name, "show", **question[name]))
        return cell

    def cold(self, repository: Repository, rounds: int) -> Cell:
        """Loading and planning in a session, and with a server, that has done nothing before."""
        cell, case = self._cell(repository, "cold load + plan"), repository.cases[0]

        def fresh(name: str) -> Sample:
            self._end(name)
            if name == OURS:
                self.rig.restart_server()
            if name == EMBEDDED:
                self._end_embedded()
            self._ask(name, "hello")  # Spark itself has started
            question = self._question(name, repository, case)  # may read what the ready batches are
            before = self.rig.traffic()
            sample = self._timed(name, "plan", **question)
            cell.traffic[name] = self.rig.traffic() - before
            return sample

        those = [name for name in self.readers if name != LOCAL]
        self._take(cell, (OURS, EMBEDDED, REFERENCE, READY), those, rounds, fresh)
        return cell

    def writes(self, repository: Repository, rounds: int) -> Cell:
        """The rows of the local files, appended to a repository that is new."""
        cell = self._cell(repository, "append")
        source = str(repository.folder / "data")

        def once(name: str) -> Sample:
            self._made += 1
            target = f"bench/written-{self.rig.rtt_ms}-{self._made}"
            _create(self.rig.hub, target)
            return self._timed(name, "write", source=source, target=target, options=self._options(name))

        want = self._ask(LOCAL, "check", path=source, columns=None, filters=None, options={})
        cell.rows = want["rows"]
        writers = list(self.writers)
        for name in self.writers:
            before = self.rig.traffic()
            once(name)
            if name in _ONLY_WRITE:
                continue
            cell.traffic[name] = self.rig.traffic() - before
            # Spark's own Parquet reader is shown the files that the writer has committed.
            with self._downloaded(f"bench/written-{self.rig.rtt_ms}-{self._made}") as files:
                got = self._ask(LOCAL, "check", path=files, columns=None, filters=None, options={"recursiveFileLookup": "true"})
            if not self._same(cell, name, got, want):
                writers.remove(name)
        self._take(cell, (OURS, REFERENCE, ENCODE), writers, rounds, once)
        return cell

    @contextlib.contextmanager
    def _downloaded(self, dataset: str) -> Iterator[str]:
        """The Parquet files of a repository, in a folder of this machine."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.utils import disable_progress_bars

        disable_progress_bars()

        with tempfile.TemporaryDirectory(dir=self._own) as folder:
            snapshot_download(
                dataset, repo_type="dataset", endpoint=self.rig.hub, token=TOKEN, local_dir=folder, allow_patterns="*.parquet"
            )
            yield folder

    def _cell(self, repository: Repository, question: str) -> Cell:
        self.say(f"… {repository.name}, {question}, {self.rig.rtt_ms} ms")
        return Cell(repository, question, self.rig.rtt_ms)

    def _take(self, cell: Cell, often: Sequence[str], names: list[str], rounds: int, measure: Callable[[str], Sample]) -> None:
        """``often`` in every round, the other names in every third."""
        judged = [name for name in often if name in names]
        turns.take(judged, [name for name in names if name not in judged], rounds if judged else 0, measure, cell.turns)

    def _agrees(self, cell: Cell, name: str, case: Case) -> bool:
        """Whether a reader gives the rows that Spark's own Parquet reader gives."""
        want = self._ask(LOCAL, "check", **self._question(LOCAL, cell.repository, case))
        cell.rows = want["rows"]
        return self._same(cell, name, self._ask(name, "check", **self._question(name, cell.repository, case)), want)

    def _same(self, cell: Cell, name: str, got: dict[str, Any], want: dict[str, Any]) -> bool:
        same = all(got.get(key) == want[key] for key in ("rows", "checksum"))
        if not same:
            cell.wrong.append(f"{name}: {got}, want {want}")
            self.say("WRONG " + cell.wrong[-1])
        return same

    def _question(self, name: str, repository: Repository, case: Case) -> dict[str, Any]:
        path = repository.dataset
        if name == READY:
            path = str(self._ready(repository, case))
        elif name == LOCAL:
            path = str(repository.folder / "data")
        return {"path": path, "columns": case.columns, "filters": case.filters, "options": self._options(name)}

    def _options(self, name: str) -> dict[str, str]:
        if name == OURS:
            if self.rig.server is None:
                self.rig.restart_server()
            return {"server": str(self.rig.server_address)}
        return {"endpoint": self.rig.hub} if name == EMBEDDED else {}

    def _timed(self, name: str, what: str, **question: Any) -> Sample:
        load, ours, everybody, began = Load(), self._cpu(), machine_cpu(), time.monotonic()
        reader = self._cpu_of(name)
        answer = self._ask(name, what, **question)
        if "error" in answer:
            # Wrong once means that no number of this run is worth anything.
            raise SystemExit(f"{name}, {what}: {answer['error']}")
        reader = self._cpu_of(name) - reader
        load.ours, load.all, load.wall = self._cpu() - ours, machine_cpu() - everybody, time.monotonic() - began
        return Sample(answer["wall"], answer.get("load", 0.0), reader, answer["python_peak"], load.foreign())

    def _ask(self, name: str, what: str, **question: Any) -> dict[str, Any]:
        return self._session(name).ask(what=what, **question)

    def _session(self, name: str) -> Worker:
        if name not in self._sessions:
            environment = {
                **clean_environment(self.rig.scratch), "HF_ENDPOINT": self.rig.hub, "HF_HUB_DISABLE_XET": "1", "HF_TOKEN": TOKEN,
                "HUBFLIGHT_EMBEDDED_DIR": str(self._own / "run"), "HUBFLIGHT_BINARY": str(self.rig.binary),
                "PYTHONPATH": os.pathsep.join([str(self._packages(name)), *(path for path in sys.path if path)]),
            }  # fmt: skip
            log = self.rig.scratch / f"spark-{name.replace(' ', '-')}.log"
            self._sessions[name] = Worker([sys.executable, "-m", "benchmarks.spark.session", name], environment, log)
        return self._sessions[name]

    def _packages(self, name: str) -> Path:
        """A folder in front of all others: empty modules for what a user of this reader has not installed, and the data
        sources of this benchmark as if they were installed.

        Spark imports all that are called ``pyspark_…`` before the first load, so each would pay for the other's; and
        that search is a part of every first load, which a source that is registered by a call would have behind it.
        """
        folder = self._own / f"packages-{name.replace(' ', '-')}"
        folder.mkdir(exist_ok=True)
        for module in _FOREIGN.get(name, ()):
            (folder / f"{module}.py").touch()
        if name in _FOUND:
            (folder / "pyspark_of_benchmark.py").write_text(_FOUND[name] + "\n", encoding="ascii")
        return folder

    def _end(self, name: str) -> None:
        if name in self._sessions:
            self._sessions.pop(name).close()

    def _embedded(self) -> list[int]:
        """The process of the embedded server, if one runs: its lock says which it is, also when it has ended."""
        said = [lock.read_text(encoding="ascii").strip() for lock in (self._own / "run").glob("*.lock")]
        return [int(pid) for pid in said if pid and Path(f"/proc/{pid}/stat").exists()]

    def _end_embedded(self) -> None:
        for pid in self._embedded():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self._own / "run", ignore_errors=True)

    def _cpu_of(self, name: str) -> float:
        """CPU seconds of a reader: its session's, and its server's."""
        server = self.rig.server_cpu() if name == OURS else sum(map(cpu_seconds, self._embedded())) if name == EMBEDDED else 0.0
        return server + (cpu_of_tree(self._sessions[name].process.pid) if name in self._sessions else 0.0)

    def _cpu(self) -> float:
        fixed = sum(map(cpu_seconds, self.rig.fixed)) + cpu_seconds(os.getpid())
        return fixed + sum(self._cpu_of(name) for name in self._sessions)

    def _ready(self, repository: Repository, case: Case) -> Path:
        """The batches as hubflight sends them to Spark, a file for each partition, made at the first call."""
        folder = self._own / f"{repository.name}-{case.name.replace(' ', '')}"
        if folder.exists():
            return folder
        folder.mkdir()
        command = {"v": 1, "dataset": repository.dataset, "columns": case.columns, "filters": case.filters, "profile": "spark"}
        text = json.dumps({key: value for key, value in command.items() if value is not None})
        with flight.connect(self._options(OURS)["server"]) as client:
            info = client.get_flight_info(flight.FlightDescriptor.for_command(text))
            for index, endpoint in enumerate(info.endpoints):
                stream = client.do_get(endpoint.ticket)
                with pa.ipc.new_file(str(folder / f"{index}.arrow"), stream.schema) as out:
                    for chunk in stream:
                        out.write_batch(chunk.data)
        return folder


def _create(hub: str, repository: str) -> None:
    """Makes a dataset repository; an API call of the Hub."""
    organization, _, name = repository.partition("/")
    body = json.dumps({"name": name, "organization": organization, "type": "dataset", "private": False}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {TOKEN}"}
    urllib.request.urlopen(urllib.request.Request(hub + "/api/repos/create", body, headers), timeout=30).close()  # noqa: S310
