"""Ratios of rounds, their bootstrap interval, and when a target is met.

A ratio above 1 means that hubflight was better in that round.  A target is met if the favourable end of the interval reaches it and the
median is not more than 5 % below it.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

_RESAMPLES, _SLACK = 4000, 0.95
LEAST_ROUNDS = 9
"""With fewer rounds a verdict is only a hint, and is shown as one."""


@dataclass(frozen=True)
class Ratio:
    """Median of per-round ratios, and where 90 % of the medians of resampled rounds lie."""

    median: float
    low: float
    high: float
    rounds: int

    def meets(self, target: float) -> bool:
        return self.high >= target and self.median >= target * _SLACK

    def text(self) -> str:
        return f"{self.median:.2f} [{self.low:.2f}–{self.high:.2f}]"


def ratio(theirs: Sequence[float], ours: Sequence[float]) -> Ratio:
    """Of rounds measured together: ``theirs[i]`` beside ``ours[i]``."""
    each = [b / a for a, b in zip(ours, theirs, strict=True)]
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(each, k=len(each))) for _ in range(_RESAMPLES))
    return Ratio(statistics.median(each), medians[_RESAMPLES // 20], medians[-_RESAMPLES // 20 - 1], len(each))
