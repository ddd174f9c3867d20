"""Runs `hubflight serve` for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from hubserver import binary

__all__ = ["FlightServer"]

START_SECONDS = 20.0


class FlightServer:
    """One running server; it may be killed and started again at the same address."""

    def __init__(self, directory: Path, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.url = ""
        self._arguments = arguments
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._starts = 0

    def start(self) -> FlightServer:
        """Starts the server, at the address it had before if it had one."""
        self._starts += 1
        port_file = self.directory / f"port-{self._starts}"
        address = self.url.removeprefix("grpc://") or "127.0.0.1:0"
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING", "HUBFLIGHT_"))}
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    binary(), "serve", "--server.address", address, "--server.port_file", str(port_file),
                    "--server.drain_grace", "2s", *self._arguments,
                ],
                stdout=log, stderr=log, env={**kept, "HF_HOME": str(self.directory), **self._environment},
            )  # fmt: skip
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"the server did not start: {self.log()}")
            time.sleep(0.02)
        self.url = port_file.read_text().strip()
        return self

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Stops the server; with SIGKILL in the middle of whatever it does."""
        if self._process is not None:
            self._process.send_signal(how)
            try:
                self._process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None

    def log(self) -> str:
        """What the server has printed so far."""
        return (self.directory / "log").read_text(errors="replace")
