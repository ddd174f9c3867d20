"""An embedded Hub and a Flight server on free loopback ports, for the demo and for tests that need both.

Every process is stopped by the handle that started it, never by name. The server gets no token of its own: each request is served with the
token of its caller, so that what is shown really passes through the Hub's access checks.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_START_SECONDS = 30.0
_STOP_SECONDS = 15.0


@dataclass(frozen=True)
class Running:
    """Where the pair listens, and as whom to call."""

    hub: str
    """Address of the Hub, for example ``http://127.0.0.1:41231``."""
    server: str
    """Address of the Flight server, for example ``grpc://127.0.0.1:41233``."""
    token: str = field(repr=False)
    """May write to every repository of the Hub; new for every run."""
    logs: Path
    """Folder with everything that the two processes print."""

    def client_environment(self, scratch: Path) -> dict[str, str]:
        """The environment of a user who has logged in to this Hub and knows this server."""
        return {
            **_clean_environment(scratch),
            "HF_ENDPOINT": self.hub,
            "HF_TOKEN": self.token,
            "HF_HUB_DISABLE_XET": "1",
            "HUBFLIGHT_SERVER": self.server,
        }


@contextlib.contextmanager
def running(binary: Path, scratch: Path, repositories: dict[str, Path]) -> Iterator[Running]:
    """Imports the folders as repositories (name to folder) into a new Hub, and serves it until the block ends."""
    token = "hf_" + secrets.token_hex(17)
    hub_folder, logs = scratch / "hub", scratch / "logs"
    for folder in (hub_folder, logs):
        folder.mkdir(parents=True, exist_ok=True)
    for name, folder in repositories.items():
        _run(binary, "hub", "import", str(folder), name, "--dir", str(hub_folder), "--private", scratch=scratch)
    token_file = scratch / "tokens"
    token_file.touch(mode=0o600)
    token_file.write_text(f"{token} write\n", encoding="utf-8")
    hub_port, server_port = scratch / "hub.address", scratch / "server.address"
    with contextlib.ExitStack() as stack:
        hub = _start(
            binary,
            ["hub", "--dir", str(hub_folder), "--token-file", str(token_file), "--port-file", str(hub_port), "--verbose"],
            logs / "hub.log",
            scratch,
        )
        stack.callback(_stop, hub)
        hub_url = _await_address(hub, hub_port, logs / "hub.log")
        server = _start(
            binary,
            ["serve", "--server.address", "127.0.0.1:0", "--server.port_file", str(server_port), "--hub.endpoint", hub_url],
            logs / "server.log",
            scratch,
        )
        stack.callback(_stop, server)
        address = _await_address(server, server_port, logs / "server.log")
        yield Running(hub_url, address if "://" in address else f"grpc://{address}", token, logs)


def _clean_environment(scratch: Path) -> dict[str, str]:
    # Nothing of the user's own Hub login, caches or hubflight settings may reach the demo.
    left = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "HUBFLIGHT_")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(left)}
    return {**kept, "HF_HOME": str(scratch / "hf-home"), "HF_HUB_DISABLE_TELEMETRY": "1"}


def _run(binary: Path, *arguments: str, scratch: Path) -> None:
    done = subprocess.run(
        [str(binary), *arguments], env=_clean_environment(scratch), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"hubflight {' '.join(arguments)} ended with status {done.returncode}:\n{done.stderr}")


def _start(binary: Path, arguments: list[str], log: Path, scratch: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(
            [str(binary), *arguments], env=_clean_environment(scratch), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT
        )


def _await_address(process: subprocess.Popen[bytes], port_file: Path, log: Path) -> str:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        if port_file.exists() and (address := port_file.read_text(encoding="utf-8").strip()):
            return address
        if process.poll() is not None:
            break
        time.sleep(0.02)
    raise SystemExit(f"{log.stem} did not start:\n{log.read_text(encoding='utf-8', errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
