"""Which task runs here; also on Sparks that have no data sources in Python."""

from __future__ import annotations

__all__ = ["attempt_of_task"]


def attempt_of_task() -> tuple[int, str]:
    """The partition and the attempt that this task is."""
    from pyspark import TaskContext

    context = TaskContext.get()
    if context is None:
        return 0, "0"
    return context.partitionId(), str(context.taskAttemptId())
