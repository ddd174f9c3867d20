"""Whole trees of processes: a Spark session is a Python, a JVM, and the Python workers that the JVM starts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def tree(root: int) -> Iterator[int]:
    """``root`` and every process below it."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_stat(int(folder.name))[1]), []).append(int(folder.name))
    waiting = [root]
    while waiting:
        pid = waiting.pop()
        yield pid
        waiting += children.get(pid, [])


def cpu_of_tree(root: int) -> float:
    """User and system seconds of a tree so far, those of its ended processes included."""
    ticks = 0
    for pid in tree(root):
        with contextlib.suppress(OSError):
            ticks += sum(int(text) for text in _stat(pid)[11:15])
    return ticks / _TICK


def forget_peaks() -> None:
    """Lets the peaks of the Python processes below this one begin again at what they hold now."""
    for pid in _python_below():
        with contextlib.suppress(OSError):
            Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


def largest_python() -> int:
    """The largest resident peak, in bytes, of the Python processes that Spark has started."""
    peaks = [0]
    for pid in _python_below():
        with contextlib.suppress(OSError, StopIteration):
            lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
            peaks.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")))
    return max(peaks)


def _python_below() -> Iterator[int]:
    """Those that plan, read and write.

    The one that looks for data sources imports every package called ``pyspark_…`` that happens to be installed, whoever
    is asked, and is no part of any answer.
    """
    for pid in tree(os.getpid()):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            if pid != os.getpid() and b"python" in command.split(b"\0")[0] and b"lookup_data_sources" not in command:
                yield pid


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/PID/stat`` behind the name: state, parent, …"""
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
