"""What was promised of reading from a Hub."""

from __future__ import annotations


def target(case: str, rtt_ms: int) -> float | None:
    """How many times faster than pyarrow over HfFileSystem a read has to be; ``None`` where nothing was promised."""
    if rtt_ms == 0:
        return 1.1
    return {"full": 1.5, "2 columns": 3.0, "1 % filter": 2.0}.get(case) if rtt_ms == 30 else None
