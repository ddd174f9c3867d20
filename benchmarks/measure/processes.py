"""Programs and readers as processes: started with a clean environment, awaited, and stopped by the handle that started them."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

_START_SECONDS, _STOP_SECONDS = 30.0, 10.0


class Worker:
    """A reader's process: a question per line on its standard input, an answer per line on its standard output."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
            )

    def ask(self, **what: Any) -> dict[str, Any]:
        self.tell(**what)
        return self.answer()

    def tell(self, **what: Any) -> None:
        """Asks without waiting; ``answer`` must follow."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(what) + "\n")
        self.process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
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


def start(command: list[str], log: Path, scratch: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as sink:
        return subprocess.Popen(command, env=clean_environment(scratch), stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT)


def stop(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


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


def free_ports(count: int) -> list[int]:
    """Loopback ports that nobody listens on just now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def clean_environment(scratch: Path) -> dict[str, str]:
    """Without the user's own logins, caches and settings, which must decide nothing here.

    Compiled modules are kept, as pip keeps those of what it installs: hubflight, which runs from its sources, would be
    compiled by each of Spark's short-lived processes, and the other packages would not.
    """
    left = ("HF_", "HUGGING", "TRANSFORMERS_OFFLINE", "HUBFLIGHT_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: text for name, text in os.environ.items() if not name.startswith(left)}
    return {
        **kept,
        "HF_HOME": str(scratch / "hf-home"),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
        "no_proxy": "127.0.0.1,localhost",
    }
