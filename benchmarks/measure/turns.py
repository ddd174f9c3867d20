"""Rounds in which the compared take turns."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

FOREIGN_CORES = 0.15
"""A round in which others used more than that is measured again."""
_SHORTEST_SECONDS = 0.5
_OTHERS_EVERY = 3


class Measured(Protocol):
    """A timing that knows how many cores others used meanwhile."""

    @property
    def foreign(self) -> float: ...


S = TypeVar("S", bound=Measured)


@dataclass
class Turns(Generic[S]):
    """What the rounds gave, by name."""

    samples: dict[str, list[S]] = field(default_factory=dict)
    repeated: int = 0
    """Rounds measured again because others used the machine."""
    loaded: int = 0
    """Rounds kept although others used the machine, after too many repeats."""

    def together(self, *names: str) -> list[list[S]]:
        """The samples of each from the rounds in which all of them were measured."""
        found = [self.samples[name] for name in names]
        rounds = min(map(len, found))
        return [samples if len(samples) == rounds else samples[::_OTHERS_EVERY] for samples in found]

    def noise(self) -> str:
        return f"{self.repeated} rounds repeated, {self.loaded} kept under foreign load"


def take(judged: Sequence[str], others: Collection[str], rounds: int, measure: Callable[[str], S], into: Turns[S]) -> None:
    """Measures the judged in every round, each round beginning with the next of them, and the others in every third.

    A round under foreign load is measured again, at most as often as there are rounds; then it is kept and counted.
    """
    done = spare = 0
    while done < rounds:
        first = done % len(judged)
        samples = {name: measure(name) for name in (*judged[first:], *judged[:first])}
        if max(sample.foreign for sample in samples.values()) > FOREIGN_CORES:
            if spare < rounds:
                spare += 1
                into.repeated += 1
                continue
            into.loaded += 1
        for name, sample in samples.items():
            into.samples.setdefault(name, []).append(sample)
        if done % _OTHERS_EVERY == 0:
            for name in others:
                into.samples.setdefault(name, []).append(measure(name))
        done += 1


def repeats(once: float, most: int) -> int:
    """How often a thing that takes ``once`` seconds is repeated within one timing, so that no timing is too short to mean anything."""
    return min(max(math.ceil(_SHORTEST_SECONDS / once), 1), most)
