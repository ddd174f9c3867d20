"""Progress bars: on a terminal by themselves, elsewhere only if asked for, and never silently missing."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import pty
import struct
import subprocess
import sys
import termios
import uuid
import warnings
from typing import TYPE_CHECKING

import pyarrow as pa
import pytest

from conftest import WRITER
from hubflight.progress import Bar

if TYPE_CHECKING:
    from flightserver import FlightServer

pytestmark = pytest.mark.server

# Long work of every sort, with a line between on the same stream.
WORK = """
import sys
import duckdb, hubflight, pyarrow as pa
client, name = hubflight.connect(sys.argv[1]), sys.argv[2]
client.write(pa.table({"i": range(2000)}), name, create_repo=True)
print("written", file=sys.stderr)
client.dataset(name).to_table()
print("read", file=sys.stderr)
client.dataset(name).to_duckdb(duckdb.connect(), "t")
"""


def test_on_a_terminal_writing_and_reading_show_a_bar_and_nowhere_else(server: FlightServer) -> None:
    environment = {**os.environ, "HF_TOKEN": WRITER}

    def command() -> list[str]:
        return [sys.executable, "-c", WORK, server.url, f"demo/progress-{uuid.uuid4().hex[:8]}"]

    quiet = subprocess.run(command(), env=environment, capture_output=True, text=True, check=False)
    assert (quiet.returncode, quiet.stderr) == (0, "written\nread\n")

    near, far = pty.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))  # without a width there is no bar
    with subprocess.Popen(command(), env=environment, stderr=far) as process:
        os.close(far)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux tells the end
            while data := os.read(near, 1 << 16):
                shown += data
    os.close(near)
    text = shown.decode()
    assert process.returncode == 0, text
    writing, _, rest = text.partition("written")
    reading, _, into_duckdb = rest.partition("\nread")
    for part, what in ((writing, "write"), (reading, "read"), (into_duckdb, "read")):
        assert f"{what}: 100%" in part, text
        assert "2.00k/2.00k" in part, text


def test_a_bar_that_is_asked_for_and_cannot_be_shown_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name == "tqdm" or name.startswith("tqdm.")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    with pytest.warns(UserWarning, match=r"progress=True needs tqdm: pip install 'hubflight\[progress\]'"):
        assert not Bar("read", 1, "rows", True).shown
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert not Bar("read", 1, "rows", False).shown
        monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
        assert not Bar("read", 1, "rows").shown  # nobody asked


@pytest.mark.parametrize("how", ["none", "closed", "another"])
def test_where_nobody_can_look_there_is_no_bar(monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stderr", {"none": None, "closed": closed, "another": object()}[how])
    assert not Bar("read", 1, "rows").shown


def test_a_bar_counts_the_rows_that_were_taken_and_begins_anew(capsys: pytest.CaptureFixture[str]) -> None:
    batch = pa.RecordBatch.from_pydict({"i": range(10)})
    with Bar("write", 30, "rows", True) as bar:
        taken = bar.over([batch, batch, batch])
        next(taken)
        next(taken)
        bar.restart()
        assert [b.num_rows for b in bar.over([batch] * 3)] == [10] * 3
    assert "write: 100%" in capsys.readouterr().err
