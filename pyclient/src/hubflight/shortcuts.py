"""Questions that one line should answer: how many rows, which splits, what would be read.

The options are those of `Client.dataset`, and those of `connect` beside them.
"""

from __future__ import annotations

from html import escape
from os import PathLike
from typing import Any

from hubflight import literals
from hubflight.client import Client, Dataset, Explanation, connect
from hubflight.errors import InvalidOption
from hubflight.options import CONNECTING

__all__ = ["Picture", "count", "explain", "show_plan", "splits"]


def _client(options: dict[str, Any]) -> Client:
    return connect(**{name: options.pop(name) for name in CONNECTING if name in options})


def _dataset(ref: str | PathLike[str], options: dict[str, Any]) -> Dataset:
    return _client(options).dataset(ref, **options)


def count(ref: str | PathLike[str], **options: Any) -> int:
    """The exact number of rows: without filters from the footers, and never by moving rows to this process."""
    return _dataset(ref, options).num_rows


def splits(ref: str | PathLike[str], revision: str | None = None, **options: Any) -> list[dict[str, Any]]:
    """One object per config and split, see `Client.splits`; ``options`` are those of `connect`."""
    known = ("revision", *CONNECTING)
    for name in options:
        if name not in known:
            hint = literals.nearest(name, known) or f": options of splits are {', '.join(known)}"
            raise InvalidOption(f"[invalid] unknown option {name!r}{hint}")
    return _client(options).splits(ref, revision)


def explain(ref: str | PathLike[str], **options: Any) -> Explanation:
    """What would be read: files and row groups, kept or skipped and by which layer, rows and bytes."""
    return _dataset(ref, options).explain()


def show_plan(ref: str | PathLike[str], **options: Any) -> Picture:
    """The same as a picture, which notebooks show: a line for each file, a box for each row group."""
    return Picture(explain(ref, **options))


class Picture:
    """A plan drawn as SVG: row groups that are read are filled, those that are skipped say which layer did it."""

    LINES = 200  # more files than that are told in words

    def __init__(self, explanation: Explanation) -> None:
        self.explanation = explanation

    def __repr__(self) -> str:
        return f"Picture({self.explanation!r})"

    def _repr_svg_(self) -> str:
        return self.svg()

    def svg(self) -> str:
        """The picture as a document of its own."""
        files = self.explanation.files[: self.LINES]
        out = []
        for line, file in enumerate(files):
            y = 34 + 22 * line
            out.append(f'<text x="8" y="{y + 13}">{escape(str(file.get("file", "")))}</text>')
            groups = file.get("row_groups") or []
            width = 480 / max(len(groups), 1)
            for i, group in enumerate(groups):
                kept = bool(group.get("kept"))
                why = "read" if kept else f"skipped by {group.get('layer') or 'the file'}"
                out.append(
                    f'<rect x="{320 + i * width:.1f}" y="{y}" width="{max(width - 1, 0.5):.1f}" height="16" '
                    f'fill="{"#2a7" if kept else "#ddd"}"><title>row group {i}: {escape(why)}, '
                    f"{group.get('rows', '?')} rows</title></rect>"
                )
        if len(self.explanation.files) > len(files):
            more = len(self.explanation.files) - len(files)
            out.append(f'<text x="8" y="{47 + 22 * len(files)}">… and {more} more files</text>')
        totals = self.explanation.totals
        head = (
            f"{totals.get('row_groups_kept', '?')} of {totals.get('row_groups_total', '?')} row groups, "
            f"{totals.get('bytes_kept', '?')} of {totals.get('bytes_total', '?')} bytes are read"
        )
        height = 60 + 22 * len(files)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{height}" '
            f'font-family="sans-serif" font-size="12"><text x="8" y="18" font-weight="bold">{escape(head)}</text>'
            + "".join(out)
            + "</svg>"
        )
