"""What a measurement runs on: a Hub reached directly and through delayed links, the Flight server, and a process per reader.

It also knows what they did: requests and bytes from the Hub's log, CPU seconds and foreign load from the kernel.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_START_SECONDS, _STOP_SECONDS, _ANSWER_SECONDS = 30.0, 10.0, 300.0
_TICK = os.sysconf("SC_CLK_TCK")


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
class Load:
    """CPU seconds of this benchmark's processes, and of everybody together."""

    ours: float = 0.0
    all: float = 0.0
    wall: float = 0.0

    def foreign(self) -> float:
        """Cores that others used meanwhile."""
        return max(self.all - self.ours, 0.0) / self.wall if self.wall else 0.0


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
    _traffic: Traffic = field(default_factory=Traffic)
    _read: int = 0

    def worker(self, name: str) -> Worker:
        if name not in self.workers:
            self.workers[name] = Worker(name, self.hub, self.scratch)
        return self.workers[name]

    def restart_server(self) -> None:
        """A server that knows nothing yet."""
        self.stop_server()
        port_file, log = self.scratch / "server.address", self.scratch / f"server-{self.rtt_ms}.log"
        port_file.unlink(missing_ok=True)
        command = ["serve", "--server.address", "127.0.0.1:0", "--server.port_file", str(port_file), "--hub.endpoint", self.hub]
        self.server = start([str(self.binary), *command], log, self.scratch)
        address = await_file(self.server, port_file, log)
        self.server_address = address if "://" in address else f"grpc://{address}"

    def stop_server(self) -> None:
        if self.server is not None:
            stop(self.server)
        self.server, self.server_address = None, None

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


class Worker:
    """A reader's process; see ``benchmarks.hub.worker``."""

    def __init__(self, name: str, hub: str, scratch: Path) -> None:
        self.log = scratch / f"worker-{name.replace(' ', '-')}.log"
        environment = {**clean_environment(scratch), "HF_ENDPOINT": hub, "HF_HUB_DISABLE_XET": "1"}
        with self.log.open("ab") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.hub.worker", name],
                env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
            )  # fmt: skip

    def ask(self, **what: Any) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"a reader ended; see {self.log}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        stop(self.process)


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
    log, port_file, fixed = scratch / "hub.log", scratch / "hub.address", []
    command = [str(binary), "hub", "--dir", str(hub_folder), "--port-file", str(port_file), "--verbose"]
    hub_link = ""
    if rtt:
        # The links come first, because the Hub announces its storage by the link's address.
        hub_port, cdn_port = free_ports(2)
        addresses = []
        for port in (hub_port, cdn_port):
            link_log = scratch / f"link-{port}.log"
            link = start([str(netdelay), "-target", f"127.0.0.1:{port}", "-rtt", f"{rtt}ms"], link_log, scratch)
            stack.callback(stop, link)
            fixed.append(link.pid)
            addresses.append(await_file(link, link_log, link_log))
        hub_link = "http://" + addresses[0]
        command += ["--address", f"127.0.0.1:{hub_port}", "--cdn-address", f"127.0.0.1:{cdn_port}"]
        command += ["--cdn-url", "http://localhost:" + addresses[1].rpartition(":")[2]]
    hub = start(command, log, scratch)
    stack.callback(stop, hub)
    fixed.append(hub.pid)
    direct = await_file(hub, port_file, log)
    return Rig(rtt, hub_link or direct, log, fixed, binary, scratch)


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def clean_environment(scratch: Path) -> dict[str, str]:
    """Without the user's own logins, caches and settings, which must decide nothing here."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith(("HF_", "HUGGING_FACE_", "HUBFLIGHT_"))}
    return {
        **kept,
        "HF_HOME": str(scratch / "hf-home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "no_proxy": "127.0.0.1,localhost",
    }


def start(command: list[str], log: Path, scratch: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(command, env=clean_environment(scratch), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)


def await_file(process: subprocess.Popen[bytes], file: Path, log: Path) -> str:
    """The first line of a file that the process writes once it listens."""
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if file.exists() and (text := file.read_text(encoding="utf-8")).endswith("\n"):
            return text.splitlines()[0].strip()
        if process.poll() is not None:
            break
        time.sleep(0.01)
    raise SystemExit(f"{log.stem} did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")


def stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, in steps of the kernel's clock tick."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICK


def machine_cpu() -> float:
    """User, nice, system and stolen time of all cores so far.  Interrupts are left out: loopback's are ours."""
    fields = [int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[7]) / _TICK
