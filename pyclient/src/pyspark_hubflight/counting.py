"""Counts of the tasks as they end, shown by a bar on the driver."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from pyspark.accumulators import AccumulatorParam

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from hubflight.progress import Bar

__all__ = ["counter"]


class _Shown(AccumulatorParam[int]):
    """Adds on both sides, and on the driver also to the bar; tasks get a copy that has none."""

    def __init__(self, bar: Bar | None = None) -> None:
        self._bar = bar

    def __reduce__(self) -> tuple[Any, ...]:
        return _Shown, ()

    def zero(self, value: int) -> int:
        return 0

    def addInPlace(self, value1: int, value2: int) -> int:
        if self._bar is not None:
            self._bar.add(value2)
        return value1 + value2


def counter(spark: SparkSession, bar: Bar) -> Callable[[int], None]:
    """What a task calls with how many more there are: one that Spark chose to count is on the bar when it has ended.

    Without a bar, and on Spark Connect, whose tasks cannot reach the client, it does nothing.
    """
    if not bar.shown:
        return _nothing
    try:
        context = spark.sparkContext
    except Exception:  # Connect refuses to have one
        return _nothing
    return context.accumulator(0, _Shown(bar)).add


def _nothing(_: int) -> None:
    pass
