"""Runs `hubflight hub`, the embedded Hub, for tests.

The program is named by the environment variable HUBFLIGHT_BINARY.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import pytest

__all__ = ["HubServer", "binary"]

START_SECONDS = 20.0


def binary() -> str:
    """The hubflight program under test."""
    path = os.environ.get("HUBFLIGHT_BINARY", "")
    if not path:
        pytest.fail("HUBFLIGHT_BINARY is not set: it names the hubflight program to test")
    return path


class HubServer:
    """One running Hub over one folder; a context manager.

    `tokens` maps tokens to "public", "read" or "write"; without it everybody may
    do everything. `flags` are further flags of the command, `faults` a script of
    what is to go wrong. `url` is the Hub's, and `viewer` the dataset viewer's.
    """

    def __init__(
        self, directory: Path, tokens: dict[str, str] | None = None, flags: Sequence[str] = (), faults: str = ""
    ) -> None:
        self.directory = directory
        self._flags = flags
        self._faults = faults
        self.url = ""
        self.viewer = ""
        self._tokens = tokens
        self._process: subprocess.Popen[bytes] | None = None
        self._scratch: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> HubServer:
        self._scratch = tempfile.TemporaryDirectory(prefix="hubserver-")
        scratch = Path(self._scratch.name)
        port_file = scratch / "port"
        command = [binary(), "hub", "--dir", str(self.directory), "--port-file", str(port_file), *self._flags]
        if self._tokens:
            token_file = scratch / "tokens"
            token_file.write_text("".join(f"{t} {rights}\n" for t, rights in self._tokens.items()))
            command += ["--token-file", str(token_file)]
        if self._faults:
            fault_file = scratch / "faults"
            fault_file.write_text(self._faults)
            command += ["--faults", str(fault_file)]
        log = scratch / "log"
        with log.open("wb") as out:
            self._process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)
        deadline = time.monotonic() + START_SECONDS
        while not port_file.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                text = log.read_text(errors="replace")
                self.__exit__(None, None, None)
                raise RuntimeError(f"the embedded Hub did not start: {text}")
            time.sleep(0.02)
        self.url, *rest = port_file.read_text().split()
        self.viewer = rest[0] if rest else self.url + "/datasets-server"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        if self._scratch is not None:
            self._scratch.cleanup()

    def verb(self, *arguments: str) -> str:
        """Runs `hubflight hub …` on the same folder, returns what it prints."""
        command = [binary(), "hub", *arguments, "--dir", str(self.directory)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    def import_folder(self, folder: Path, repo: str, revision: str = "main") -> str:
        """`hubflight hub import`: adds a folder's files in one commit, returns its sha."""
        return self.verb("import", str(folder), repo, "--revision", revision).rpartition("@")[2]

    def parquet_files(self, token: str, repo: str, folder: Path) -> list[Path]:
        """A repository's Parquet files, fetched with huggingface_hub into a cache in a folder."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self.url, token=token)
        paths = sorted(p for p in api.list_repo_files(repo, repo_type="dataset") if p.endswith(".parquet"))
        return [Path(api.hf_hub_download(repo, p, repo_type="dataset", cache_dir=folder)) for p in paths]

    def environment(self, home: Path) -> dict[str, str]:
        """The environment for a process of its own that is to use this Hub."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
        return {
            **kept,
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
        }
