"""CPU seconds from the kernel: those of processes that take part in a measurement, and those of everybody."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Load:
    """CPU seconds of this benchmark's processes, and of everybody together."""

    ours: float = 0.0
    all: float = 0.0
    wall: float = 0.0

    def foreign(self) -> float:
        """Cores that others used meanwhile."""
        return max(self.all - self.ours, 0.0) / self.wall if self.wall else 0.0


def cpu_seconds(pid: int) -> float:
    """User and system time of a process so far, in steps of the kernel's clock tick."""
    after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICK


def machine_cpu() -> float:
    """User, nice, system and stolen time of all cores so far.  Interrupts are left out: loopback's are ours."""
    fields = [int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]]
    return (fields[0] + fields[1] + fields[2] + fields[7]) / _TICK
