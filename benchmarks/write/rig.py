"""What a measurement runs on: a Hub with nothing in it, for hubflight a Flight server that has just started, and the writer's process."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from benchmarks.measure.load import cpu_seconds
from benchmarks.measure.processes import Worker, await_file, clean_environment, start, stop

OURS, REFERENCE, IN_MEMORY = "hubflight", "pyarrow", "in memory"


@dataclass
class Site:
    """The running parts of one measurement."""

    hub: str
    server: str | None
    """Of its unix socket, which is how clients of this machine reach a server."""
    processes: dict[str, subprocess.Popen[bytes]]
    log: Path
    """The Hub's, with a line for each request that has ended."""
    skip: int = 0
    """How many bytes of it are of jobs that do not count."""

    def cpu(self, name: str) -> float:
        return cpu_seconds(self.processes[name].pid) if name in self.processes else 0.0

    def begin(self) -> None:
        """What the Hub has been asked so far does not count."""
        self.skip = self.log.stat().st_size

    def requests(self) -> int:
        """Requests to both origins that have ended."""
        return len(re.findall(rb"msg=request origin=", self._asked()))

    def uploads(self) -> list[tuple[float, float]]:
        """When each PUT of a file, or of a part of one, began and ended, in seconds since the epoch."""
        return uploads(self._asked().decode())

    def _asked(self) -> bytes:
        return self.log.read_bytes()[self.skip :]


@dataclass
class Rig:
    """Starts sites, and keeps a process for every writer."""

    binary: Path
    scratch: Path
    workers: dict[str, Worker] = field(default_factory=dict)

    def worker(self, name: str) -> Worker:
        if name not in self.workers:
            environment = {**clean_environment(self.scratch), "HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
            log = self.scratch / f"worker-{name.replace(' ', '-')}.log"
            self.workers[name] = Worker([sys.executable, "-m", "benchmarks.write.worker", name], environment, log)
        return self.workers[name]

    def retire(self, name: str) -> None:
        """Ends a writer's process, so that the next one has nothing in memory."""
        if name in self.workers:
            self.workers.pop(name).close()

    def close(self) -> None:
        for name in list(self.workers):
            self.retire(name)

    @contextlib.contextmanager
    def site(self, name: str) -> Iterator[Site]:
        """A new Hub, and a new server if the writer needs one; both are gone afterwards."""
        folder = self.scratch / "site"
        shutil.rmtree(folder, ignore_errors=True)
        (folder / "hub").mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            port, log = folder / "hub.address", folder / "hub.log"
            hub = start([str(self.binary), "hub", "--dir", str(folder / "hub"), "--port-file", str(port), "--verbose"], log, folder)
            stack.callback(stop, hub)
            site = Site(await_file(hub, port, log), None, {"hub": hub}, log)
            if name == OURS:
                port, log, socket = folder / "server.address", folder / "server.log", folder / "server.sock"
                command = ["serve", "--server.address", "127.0.0.1:0", "--server.unix", str(socket), "--server.port_file", str(port)]
                command += ["--hub.endpoint", site.hub, "--server.insecure", "--write.spool_dir", str(folder / "spool")]
                server = start([str(self.binary), *command], log, folder)
                stack.callback(stop, server)
                await_file(server, port, log)
                site.server, site.processes["server"] = f"grpc+unix://{socket}", server
            yield site


_UPLOAD = re.compile(r"^time=(\S+) .*msg=request origin=cdn method=PUT .* took=(\S+)$", re.MULTILINE)
_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def uploads(log: str) -> list[tuple[float, float]]:
    """The PUTs of the Hub's log, which has a line for each request that has ended, with how long it took."""
    found = []
    for ended, took in _UPLOAD.findall(log):
        end = datetime.fromisoformat(ended).timestamp()
        found.append((end - sum(float(n) * _UNITS[unit] for n, unit in re.findall(r"([\d.]+)([a-zµ]+)", took)), end))
    return found


def early(uploads: Sequence[tuple[float, float]], drained: float) -> float:
    """Which share of the uploads' time lay before ``drained``; 0 of none."""
    whole = sum(end - begin for begin, end in uploads)
    return sum(max(min(end, drained) - begin, 0.0) for begin, end in uploads) / whole if whole else 0.0


def all_cpu(site: Site, worker: Worker) -> float:
    """CPU seconds so far of all processes that take part."""
    return site.cpu("hub") + site.cpu("server") + cpu_seconds(worker.process.pid) + cpu_seconds(os.getpid())


def forget_peak(pid: int) -> int:
    """Makes the peak of resident memory begin anew; returns what is resident now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The most that was resident since ``forget_peak``, in bytes."""
    return _status(pid, "VmHWM")


def _status(pid: int, key: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"process {pid} has no {key}")
