"""A progress bar on long work: on a terminal, if tqdm is installed, and nowhere else unless asked for."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Bar"]


def _is_terminal(stream: Any) -> bool:
    """Whether somebody looks there; a service or a program of Windows may have no stream, or have closed it."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):
        return False


class Bar:
    """Counts up to ``total`` (negative: unknown); a context manager. ``wanted`` None is "on a terminal".

    One that is wanted and cannot be shown, because tqdm is not installed, is a warning.
    """

    def __init__(self, what: str, total: int, unit: str, wanted: bool | None = None) -> None:
        self._bar: Any = None
        if wanted or (wanted is None and _is_terminal(sys.stderr)):
            try:
                from tqdm.auto import tqdm
            except ImportError:
                if wanted:
                    hint = "hubflight: progress=True needs tqdm: pip install 'hubflight[progress]'"
                    warnings.warn(hint, stacklevel=3)
                return
            self._bar = tqdm(desc=what, total=total if total >= 0 else None, unit=" " + unit, unit_scale=True)

    @property
    def shown(self) -> bool:
        return self._bar is not None

    def __enter__(self) -> Bar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, n: int) -> None:
        if self._bar is not None:
            self._bar.update(n)

    def restart(self) -> None:
        """Counts from nothing again: the work is done once more."""
        if self._bar is not None:
            self._bar.reset()

    def over(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """``batches``, counted by their rows when whoever takes them is done with one."""
        for batch in batches:
            yield batch
            self.add(batch.num_rows)
