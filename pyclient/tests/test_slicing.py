"""Uploads are cut into pieces that every receive limit lets through."""

from __future__ import annotations

import pyarrow as pa
import pytest

from hubflight.errors import LimitExceeded
from hubflight.writing import BATCH_BYTES, slices


def test_large_batches_are_cut_to_two_mebibytes_and_nothing_is_lost() -> None:
    data = pa.RecordBatch.from_pydict({"a": ["x" * (i % 5000) for i in range(5000)], "b": list(range(5000))})
    pieces = list(slices(data))
    assert len(pieces) > 1
    assert all(piece.nbytes <= BATCH_BYTES for piece in pieces)
    assert pa.Table.from_batches(pieces) == pa.Table.from_batches([data])


@pytest.mark.parametrize("most", [100_000, 3 << 20])
def test_pieces_are_as_large_as_they_may_be(most: int) -> None:
    data = pa.RecordBatch.from_pydict({"a": ["x" * 500] * 40_000})
    pieces = list(slices(data, most))
    assert all(piece.nbytes <= most for piece in pieces)
    assert len(pieces) <= 1 + 8 * data.nbytes / (7 * most)
    assert pa.Table.from_batches(pieces) == pa.Table.from_batches([data])


def test_one_row_larger_than_that_goes_alone() -> None:
    data = pa.RecordBatch.from_pydict({"a": ["x", "y" * (3 << 20), "z"]})
    assert [piece.num_rows for piece in slices(data)] == [1, 1, 1]


def test_a_row_that_no_message_can_hold_is_refused_by_its_column() -> None:
    data = pa.RecordBatch.from_pydict({"small": [1], "image": [b"x" * (61 << 20)]})
    with pytest.raises(LimitExceeded, match="'image'"):
        list(slices(data))
