"""How the demo looks: numbered steps, the code that runs, what it printed, a line per comparison, and a table of times."""

from __future__ import annotations

import shutil
import sys
import textwrap
import unicodedata
from dataclasses import dataclass, field

_WIDEST = 132
_MARGIN = "   "


@dataclass
class Screen:
    """Writes to standard output, in colour if asked, and never wider than the terminal."""

    colour: bool
    width: int = field(default_factory=lambda: min(shutil.get_terminal_size((120, 40)).columns, _WIDEST))

    def title(self, text: str, *facts: tuple[str, str]) -> None:
        self._line(self._paint("1;36", text))
        for name, fact in facts:
            self._line(f"  {self._paint('2', f'{name:<8}')} {fact}")

    def step(self, number: int, text: str) -> None:
        self._line("")
        self._line(self._paint("1", f"{number:>2} {text}"))

    def code(self, text: str) -> None:
        """The code about to run, as an interpreter would show it."""
        for index, line in enumerate(text.strip("\n").splitlines()):
            continued = index > 0 and (line.startswith((" ", ")")))
            self._line(_MARGIN + self._paint("33", "... " if continued else ">>> ") + self._paint("36", line))

    def command(self, text: str) -> None:
        """A command about to run, as a shell would show it."""
        self._line(_MARGIN + self._paint("33", "$ ") + self._paint("36", text))

    def output(self, text: str) -> None:
        for line in text.rstrip("\n").splitlines():
            self._line(_MARGIN + line)

    def good(self, text: str) -> None:
        self._line(_MARGIN + self._paint("32", "✓ ") + text)

    def bad(self, text: str) -> None:
        """A failed comparison or an error; wrapped instead of cut, because the end of a line is often what matters."""
        lines = [part for line in text.splitlines() for part in textwrap.wrap(line, self.width - 8) or [""]]
        for index, line in enumerate(lines):
            self._line(_MARGIN + self._paint("31", "✗ " if index == 0 else "  ") + line)

    def took(self, seconds: float) -> None:
        self._line(_MARGIN + self._paint("2", f"{seconds:.1f} s"))

    def times(self, rows: list[tuple[str, float, float, int, int]]) -> None:
        """One row per step: title, seconds of its code, seconds of its comparisons, how many there were, how many failed."""
        self._line("")
        name_width = max(len("whole"), *(len(row[0]) for row in rows))
        self._line(self._paint("1", f"   {'step':<{name_width}}   {'ran':>7}   {'compared':>8}   comparisons"))
        for name, ran, compared, checks, failed in rows:
            verdict = self._paint("31", f"{failed} of {checks} FAILED") if failed else self._paint("32", f"{checks} ✓") if checks else "–"
            self._line(f"   {name:<{name_width}}   {ran:>6.1f}s   {compared:>7.1f}s   {verdict}")
        ran, compared = sum(row[1] for row in rows), sum(row[2] for row in rows)
        self._line(f"   {'whole':<{name_width}}   {ran:>6.1f}s   {compared:>7.1f}s   {sum(row[3] for row in rows)}")

    def _line(self, text: str) -> None:
        # Flushed line by line: the supervisor passes lines on as they come.
        print(self._cut(text), flush=True)

    def _cut(self, text: str) -> str:
        """The text without what would wrap; tables of nineteen columns are readable only that way."""
        room, kept, escaped = self.width, [], False
        for character in text:
            escaped = escaped or character == "\x1b"
            if escaped:
                kept.append(character)
                escaped = character != "m"
                continue
            room -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
            if room == 0:
                return "".join(kept) + "…" + ("\x1b[0m" if self.colour else "")
            kept.append(character)
        return "".join(kept)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def wants_colour() -> bool:
    """Whether standard output is a terminal that shows colours."""
    return sys.stdout.isatty()
