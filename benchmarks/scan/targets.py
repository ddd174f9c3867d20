"""What was promised of scanning files on this machine, as ratios to what is measured beside it."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.scan.readers import LIBRARY, ONE_THREAD


@dataclass(frozen=True)
class Target:
    """CPU seconds of ``reader`` over those of one of our cores."""

    reader: str
    times: float


_FULL_BY_LIBRARY = {"flights": 2.5, "flat": 2.5, "text": 1.4, "paged": 1.4, "chat": 1.4}
_SINGLE_THREADED = 0.95
"""Of pyarrow without threads, everywhere; 1.1 is aimed at."""

MEMORY = 1.0
"""pyarrow's peak over ours, at the same batch size."""
FLAT = 0.2
"""How far the peak may change between small and large row groups."""


def targets(dataset: str, question: str) -> list[Target]:
    """Of one question to one kind of file."""
    found = [Target(ONE_THREAD, _SINGLE_THREADED)]
    if question == "full" and dataset in _FULL_BY_LIBRARY:
        found.insert(0, Target(LIBRARY, _FULL_BY_LIBRARY[dataset]))
    # The library has no filters: it decodes everything and then filters.
    if question == "1 % sorted":
        found.insert(0, Target(LIBRARY, 40.0))
    if question == "0.1 % scattered" and dataset == "paged":
        found.insert(0, Target(LIBRARY, 10.0))
    return found


LINE = 0.85
"""Of a line's width that a full scan of four files keeps busy."""
