"""A checksum of rows that depends on values and their order alone: not on batch borders, offsets, or the width of offsets."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


class Digest:
    """Takes batches one after the other; equal rows in equal order give equal text."""

    def __init__(self) -> None:
        self._leaves: dict[str, Any] = {}
        self.rows = 0

    def add(self, batch: pa.RecordBatch) -> None:
        self.rows += batch.num_rows
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            self._add(name, column)

    def text(self) -> str:
        parts = [f"{name}={leaf.hexdigest()}" for name, leaf in sorted(self._leaves.items())]
        return hashlib.blake2b("\n".join([str(self.rows), *parts]).encode(), digest_size=12).hexdigest()

    def _add(self, path: str, array: pa.Array) -> None:
        kind = array.type
        if pa.types.is_dictionary(kind):
            self._add(path, array.cast(kind.value_type))
        elif kind in (pa.large_string(), pa.string_view()):
            self._add(path, array.cast(pa.string()))
        elif kind in (pa.large_binary(), pa.binary_view()):
            self._add(path, array.cast(pa.binary()))
        elif pa.types.is_struct(kind):
            self._take(path + "?", array.is_null().cast(pa.uint8()))
            for index in range(kind.num_fields):
                self._add(f"{path}.{kind.field(index).name}", pc.struct_field(array, index))
        elif pa.types.is_list(kind) or pa.types.is_large_list(kind):
            self._take(path + "#", pc.fill_null(pc.list_value_length(array).cast(pa.int64()), -1))
            self._add(path + "[]", array.flatten())
        elif pa.types.is_string(kind) or pa.types.is_binary(kind):
            self._take(path + "#", pc.fill_null(pc.binary_length(array), -1))
            self._take_text(path, array)
        else:
            self._take(path + "?", array.is_null().cast(pa.uint8()))
            whole = array.cast(pa.int64()) if pa.types.is_temporal(kind) else array
            self._take(path, pc.fill_null(whole, 0))

    def _take(self, leaf: str, array: pa.Array) -> None:
        # Only plain numbers without nulls come here.
        self._leaf(leaf).update(np.ascontiguousarray(array.to_numpy(zero_copy_only=False)))

    def _take_text(self, leaf: str, array: pa.Array) -> None:
        if array.null_count:
            array = pc.fill_null(array, pa.scalar(b"", pa.binary()).cast(array.type))
        _, offsets, data = array.buffers()
        if len(array) == 0 or data is None:
            return
        borders = np.frombuffer(offsets, np.int32)
        self._leaf(leaf).update(memoryview(data)[borders[array.offset] : borders[array.offset + len(array)]])

    def _leaf(self, name: str) -> Any:
        return self._leaves.setdefault(name, hashlib.blake2b(digest_size=16))
