"""A progress bar on long work: on a terminal, if tqdm is installed, and nowhere else unless asked for."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["Bar"]


class Bar:
    """Counts up to ``total`` (negative: unknown); a context manager. ``wanted`` None is "on a terminal"."""

    def __init__(self, what: str, total: int, unit: str, wanted: bool | None = None) -> None:
        self._bar: Any = None
        if wanted or (wanted is None and sys.stderr.isatty()):
            try:
                from tqdm.auto import tqdm
            except ImportError:
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

    def over(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """``batches``, counted by their rows."""
        for batch in batches:
            self.add(batch.num_rows)
            yield batch
