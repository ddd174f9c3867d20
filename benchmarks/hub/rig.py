"""What a measurement runs on: a Hub reached directly and through delayed links, the Flight server, and a process per reader.

It also knows what they did: requests and bytes from the Hub's log, CPU seconds and foreign load from the kernel.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measure.distant import Link, distant_hub
from benchmarks.measure.load import cpu_seconds
from benchmarks.measure.processes import Worker, await_file, clean_environment, start, stop


@dataclass(frozen=True)
class Traffic:
    """What the two origins served between two moments."""

    hub_requests: int = 0
    cdn_requests: int = 0
    hub_bytes: int = 0
    cdn_bytes: int = 0

    def __sub__(self, other: Traffic) -> Traffic:
        return Traffic(*(getattr(self, name) - getattr(other, name) for name in self.__dataclass_fields__))


@dataclass
class Rig:
    """The running parts for one latency."""

    rtt_ms: int
    hub: str
    log: Path
    fixed: list[int]
    """Process ids of the Hub and its links."""
    binary: Path
    scratch: Path
    workers: dict[str, Worker] = field(default_factory=dict)
    server: subprocess.Popen[bytes] | None = None
    server_address: str | None = None
    """Of its unix socket, which is how clients of this machine reach a server."""
    server_tcp: str | None = None
    _traffic: Traffic = field(default_factory=Traffic)
    _read: int = 0

    def worker(self, name: str) -> Worker:
        if name not in self.workers:
            environment = {**clean_environment(self.scratch), "HF_ENDPOINT": self.hub, "HF_HUB_DISABLE_XET": "1"}
            log = self.scratch / f"worker-{name.replace(' ', '-')}.log"
            self.workers[name] = Worker([sys.executable, "-m", "benchmarks.hub.worker", name], environment, log)
        return self.workers[name]

    def restart_server(self) -> None:
        """A server that knows nothing yet."""
        self.stop_server()
        port_file, log = self.scratch / "server.address", self.scratch / f"server-{self.rtt_ms}.log"
        port_file.unlink(missing_ok=True)
        socket = self.scratch / "s"
        command = ["serve", "--server.address", "127.0.0.1:0", "--server.unix", str(socket), "--server.port_file", str(port_file)]
        self.server = start([str(self.binary), *command, "--hub.endpoint", self.hub], log, self.scratch)
        address = await_file(self.server, port_file, log)
        self.server_tcp = address if "://" in address else f"grpc://{address}"
        self.server_address = f"grpc+unix://{socket}"

    def stop_server(self) -> None:
        if self.server is not None:
            stop(self.server)
        self.server, self.server_address, self.server_tcp = None, None, None

    def close(self) -> None:
        for worker in self.workers.values():
            worker.close()
        self.stop_server()

    def server_cpu(self) -> float:
        return cpu_seconds(self.server.pid) if self.server is not None else 0.0

    def ours(self, worker: Worker) -> float:
        """CPU seconds so far of all processes that take part in a measurement."""
        return sum(cpu_seconds(pid) for pid in (*self.fixed, os.getpid(), worker.process.pid)) + self.server_cpu()

    def traffic(self) -> Traffic:
        """Everything served so far.  A request is in the log when it has ended; a client may be done a little earlier."""
        time.sleep(0.05 + self.rtt_ms / 1000)
        with self.log.open("rb") as log:
            log.seek(self._read)
            whole, _, _ = log.read().rpartition(b"\n")
        self._read += len(whole) + bool(whole)
        counts = dict.fromkeys(Traffic.__dataclass_fields__, 0)
        for origin, sent in re.findall(rb"msg=request origin=(\w+) .* sent=(\d+)", whole):
            counts[f"{origin.decode()}_requests"] += 1
            counts[f"{origin.decode()}_bytes"] += int(sent)
        self._traffic = Traffic(*(getattr(self._traffic, name) + count for name, count in counts.items()))
        return self._traffic


@contextlib.contextmanager
def running(binary: Path, netdelay: Path, hub_folder: Path, scratch: Path, latencies: list[int]) -> Iterator[dict[int, Rig]]:
    """Rigs by round-trip time in milliseconds; all serve the same folder."""
    with contextlib.ExitStack() as stack:
        rigs = {}
        for rtt in latencies:
            folder = scratch / f"{rtt}ms"
            folder.mkdir(parents=True)
            rigs[rtt] = _start_rig(stack, rtt, binary, netdelay, hub_folder, folder)
            stack.callback(rigs[rtt].close)
        yield rigs


def _start_rig(stack: contextlib.ExitStack, rtt: int, binary: Path, netdelay: Path, hub_folder: Path, scratch: Path) -> Rig:
    hub = distant_hub(stack, binary, netdelay, hub_folder, scratch, Link(rtt))
    return Rig(rtt, hub.endpoint, hub.log, hub.pids, binary, scratch)
