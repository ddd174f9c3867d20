"""What every benchmark shows while it runs, and how each of them ends."""

from __future__ import annotations

import argparse
import dataclasses
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from benchmarks.measure import results


def say(line: str) -> None:
    """One line, at once: a benchmark may run for an hour with its output in a file."""
    print(line, flush=True)


def show(lines: Iterable[str]) -> None:
    for line in lines:
        say(line)


def names(text: str) -> list[str]:
    """The value of an argument that is a list with commas."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(text: str) -> list[int]:
    return [int(name) for name in names(text)]


def among(known: Iterable[str], needed: Iterable[str] = ()) -> Callable[[str], list[str]]:
    """The type of an argument that is a list of known names, the needed ones among them.

    What nobody knows would be measured as nothing, and a run of nothing misses no target.
    """
    known, needed = list(known), list(needed)

    def chosen(text: str) -> list[str]:
        given = names(text)
        if not given or not set(given) <= set(known):
            raise argparse.ArgumentTypeError(f"{text!r}: choose from {', '.join(known)}")
        if missing := [name for name in needed if name not in given]:
            raise argparse.ArgumentTypeError(f"{text!r}: {', '.join(missing)} has to be among them: the others are compared with it")
        return given

    return chosen


def rounds(text: str) -> int:
    """The type of an argument that counts rounds."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text}: at least 1")
    return int(text)


def scale(text: str) -> float:
    """The type of an argument that multiplies rows."""
    if not 0 < float(text) < float("inf"):
        raise argparse.ArgumentTypeError(f"{text}: more than 0")
    return float(text)


@dataclass
class Run:
    """One run, from its beginning to the verdicts and the files that are left of it."""

    name: str
    arguments: argparse.Namespace
    began: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        # Ends as an interrupt does: through everything that stops what was started.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def end(self, found: list[results.Verdict], tables: Iterable[str], packages: Iterable[str], samples: dict[str, Any]) -> None:
        """Shows the verdicts, and writes the tables with them, and everything that was measured, to the folder of the results."""
        verdicts = [verdict.line() for verdict in found]
        say("")
        show(verdicts)
        say(f"\n{sum(verdict.met for verdict in found)} of {len(found)} targets met, {time.monotonic() - self.began:.0f} s")
        machine = results.machine(packages)
        document = {
            "machine": machine,
            "settings": results.settings(self.arguments),
            "verdicts": [dataclasses.asdict(verdict) for verdict in found],
            **samples,
        }
        written = results.write(self.arguments.results, self.name, document, [str(machine), *tables, "", *verdicts])
        say(f"written: {written}.json and .txt")
