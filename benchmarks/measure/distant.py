"""An embedded Hub in a process of its own, reached directly or through links that are as slow as a distance."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measure.processes import await_file, free_ports, start, stop


@dataclass(frozen=True)
class Link:
    """The way to the Hub and to its storage, each as wide as this."""

    rtt_ms: int = 0
    bytes_per_second: float = 0.0
    """Of all answers of one origin together; 0: as many as loopback carries."""

    @property
    def direct(self) -> bool:
        return self == Link()

    def settings(self) -> list[str]:
        # What a limited link holds on its way is little, as in a real one: a long queue would be a longer distance.
        limited = ["-rate", f"{self.bytes_per_second:.0f}", "-buffer", str(2 << 20)] if self.bytes_per_second else []
        return ["-rtt", f"{self.rtt_ms}ms", *limited]


@dataclass(frozen=True)
class DistantHub:
    """A running Hub."""

    endpoint: str
    log: Path
    pids: list[int]
    """Of the Hub and its links."""


def distant_hub(stack: contextlib.ExitStack, binary: Path, netdelay: Path, folder: Path, scratch: Path, link: Link) -> DistantHub:
    """Serves the folder until the stack ends."""
    log, port_file, pids, near = scratch / "hub.log", scratch / "hub.address", [], ""
    command = [str(binary), "hub", "--dir", str(folder), "--port-file", str(port_file), "--verbose"]
    if not link.direct:
        # The links come first, because the Hub announces its storage by the link's address.
        hub_port, cdn_port = free_ports(2)
        addresses = []
        for port in (hub_port, cdn_port):
            link_log = scratch / f"link-{port}.log"
            process = start([str(netdelay), "-target", f"127.0.0.1:{port}", *link.settings()], link_log, scratch)
            stack.callback(stop, process)
            pids.append(process.pid)
            addresses.append(await_file(process, link_log, link_log))
        near = "http://" + addresses[0]
        command += ["--address", f"127.0.0.1:{hub_port}", "--cdn-address", f"127.0.0.1:{cdn_port}"]
        command += ["--cdn-url", "http://localhost:" + addresses[1].rpartition(":")[2]]
    hub = start(command, log, scratch)
    stack.callback(stop, hub)
    direct = await_file(hub, port_file, log)
    return DistantHub(near or direct, log, [*pids, hub.pid])
