"""Batches brought to a declared schema: columns chosen and ordered by name, types cast with checks, no copy when equal.

What can be decided from the two schemas is decided when a `Caster` is made, so that a plan fails and not a task.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from hubflight.errors import HubflightError, InvalidOption

__all__ = ["Caster", "plain_schema"]


class Caster:
    """Casts batches of one schema to another. ``operation`` names itself in errors, ``source`` in those of the schema.

    Reading chooses from what there is; the operation ``write`` may leave nothing out. Picklable.
    """

    def __init__(self, schema: pa.Schema, target: pa.Schema, operation: str, source: str = "") -> None:
        self._schema = schema
        self._target = target
        self._operation = operation
        self._where = f"{operation}: {source}: " if source else f"{operation}: "
        self._same = schema.equals(target, check_metadata=True)
        self._columns: list[int] = []
        names: dict[str, list[int]] = {}
        for i, name in enumerate(schema.names):
            names.setdefault(name, []).append(i)
        for field in target:
            found = names.get(field.name, [])
            if len(found) != 1:
                raise InvalidOption(
                    f"[invalid] {self._where}the column {field.name!r} "
                    + ("appears twice" if found else "is missing: the columns are " + ", ".join(schema.names))
                )
            self._columns.append(found[0])
            self._check(schema.field(found[0]).type, field)
        if operation == "write":
            extra = [name for name in schema.names if name not in target.names]
            if extra:
                raise InvalidOption(
                    f"[invalid] {self._where}the column {extra[0]!r} does not exist in the target, whose columns are "
                    + ", ".join(target.names)
                )

    def takes(self, schema: pa.Schema) -> bool:
        """Whether a batch of ``schema`` can be cast: columns are found by their place, once it is known."""
        return bool(schema.equals(self._schema, check_metadata=False))

    def cast(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """``batch`` with exactly the target schema; raises InvalidOption naming the column that does not fit."""
        if self._same and batch.schema.equals(self._target, check_metadata=True):
            return batch
        arrays = []
        for field, index in zip(self._target, self._columns, strict=True):
            try:
                array = convert(batch.column(index), field.type)
            except HubflightError:
                raise
            except (pa.ArrowException, ValueError, NotImplementedError) as exc:
                raise InvalidOption(f"[invalid] {self._operation}: column {field.name!r}: {exc}") from None
            if not field.nullable and array.null_count:
                raise InvalidOption(
                    f"[invalid] {self._operation}: column {field.name!r} is declared not null but holds nulls"
                )
            arrays.append(array)
        if not arrays:
            return batch
        return pa.RecordBatch.from_arrays(arrays, schema=self._target)

    def pieces(self, batch: pa.RecordBatch, size: int) -> Iterator[pa.RecordBatch]:
        """``batch`` as `cast` gives it, in pieces of about ``size`` bytes if it may be much larger without views and
        dictionaries, which hold one value for many rows."""
        if not any(_unfolds(field.type) for field in batch.schema):
            yield self.cast(batch)
            return
        batch = _with_plain_dictionaries(batch)  # once and not in each piece
        start, rows = 0, 64
        while start < batch.num_rows:
            try:
                piece = self.cast(batch.slice(start, rows))
            except InvalidOption:  # more than one array can hold, perhaps
                if rows == 1:
                    raise
                rows = max(1, min(rows, batch.num_rows - start) // 2)
                continue
            yield piece
            start += piece.num_rows
            if 2 * piece.nbytes <= size:
                rows *= 2
            elif piece.nbytes > size:
                rows = max(1, rows // 2)

    def _check(self, given: pa.DataType, field: pa.Field) -> None:
        try:
            # Not pa.array(): it asks whether it was given a pandas object, for which it imports pandas, in each of
            # Spark's short-lived processes.
            convert(pa.nulls(0, given), field.type)
        except (pa.ArrowException, ValueError, NotImplementedError) as exc:
            text = str(exc) if isinstance(exc, HubflightError) else f"{given} cannot be read as {field.type}: {exc}"
            raise InvalidOption(f"[invalid] {self._where}column {field.name!r}: {text}") from None
        extra = _extra_field(given, field.type) if self._operation == "write" else None
        if extra is not None:
            raise InvalidOption(
                f"[invalid] {self._where}column {field.name!r}: the field {extra!r} does not exist in the "
                f"target, whose type is {field.type}"
            )


def plain_schema(schema: pa.Schema) -> pa.Schema:
    """``schema`` with the types in which the same values are sent: no views and no dictionaries."""
    return pa.schema([_plain_field(field) for field in schema], schema.metadata)


def _plain_field(field: pa.Field) -> pa.Field:
    return field.with_type(_plain(field.type))


def _plain(kind: pa.DataType) -> pa.DataType:
    types = pa.types
    if not _unfolds(kind):
        return kind
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    if types.is_dictionary(kind):
        return _plain(kind.value_type)
    if types.is_string_view(kind):
        return pa.string()
    if types.is_binary_view(kind):
        return pa.binary()
    if types.is_struct(kind):
        return pa.struct([_plain_field(field) for field in kind])
    if types.is_map(kind):
        return pa.map_(_plain_field(kind.key_field), _plain_field(kind.item_field), kind.keys_sorted)
    item = _plain_field(kind.value_field)
    if types.is_fixed_size_list(kind):
        return pa.list_(item, kind.list_size)
    if types.is_large_list(kind) or types.is_large_list_view(kind):
        return pa.large_list(item)
    return pa.list_(item)


def _unfolds(kind: pa.DataType) -> bool:
    """Whether there are views or dictionaries in a type."""
    if isinstance(kind, pa.BaseExtensionType):
        return _unfolds(kind.storage_type)
    if pa.types.is_dictionary(kind) or _is_view(kind):
        return True
    return any(_unfolds(kind.field(i).type) for i in range(kind.num_fields))


def _is_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string_view(kind) or pa.types.is_binary_view(kind) or _is_list_view(kind))


def _is_list_view(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind))


def _with_plain_dictionaries(batch: pa.RecordBatch) -> pa.RecordBatch:
    arrays = [
        pa.DictionaryArray.from_arrays(column.indices, convert(column.dictionary, _plain(column.type.value_type)))
        if pa.types.is_dictionary(column.type)
        else column
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(arrays, names=batch.schema.names)


def _extra_field(given: pa.DataType, target: pa.DataType) -> str | None:
    """A struct's field, at any depth, that `convert` would leave out, because ``target`` does not have it."""
    given = _plain(given)
    if pa.types.is_struct(given) and pa.types.is_struct(target):
        wanted = {field.name: field.type for field in target}
        for field in given:
            extra = _extra_field(field.type, wanted[field.name]) if field.name in wanted else field.name
            if extra is not None:
                return str(extra)
    elif _is_list(given) and _is_list(target):
        return _extra_field(given.value_type, target.value_type)
    elif pa.types.is_map(given) and pa.types.is_map(target):
        return _extra_field(given.item_type, target.item_type)
    return None


def convert(array: pa.Array, target: pa.DataType) -> pa.Array:
    """``array`` as ``target``: structs by field name, lists and maps by their items, scalars by a checked cast.

    Raises pyarrow's errors, ValueError, or InvalidOption for a conversion that would have to guess.
    """
    given = array.type
    if given.equals(target, check_metadata=True):
        return array
    if isinstance(given, pa.BaseExtensionType):
        return convert(array.storage, target)
    if pa.types.is_dictionary(given):
        # pyarrow decodes neither those of strings in views nor, but to their own type, those of structs.
        return convert(array.dictionary, target).take(array.indices)
    if pa.types.is_string_view(given) or pa.types.is_binary_view(given):
        # Of more than 2 GiB pyarrow would make offsets of 32 bits that have overflowed: this way it looks.
        return convert(array.cast(pa.large_string() if pa.types.is_string_view(given) else pa.large_binary()), target)
    if _is_list_view(given) and _is_list(target):
        return convert(_list_of_views(array), target)
    if pa.types.is_struct(given) and pa.types.is_struct(target):
        return _struct(array, target)
    if _is_list(given) and _is_list(target):
        return _list(array, target)
    if pa.types.is_map(given) and pa.types.is_map(target):
        return _map(array, target)
    if pa.types.is_timestamp(given) and pa.types.is_timestamp(target) and (given.tz is None) != (target.tz is None):
        wanted = "TIMESTAMP_NTZ" if given.tz is None else "TIMESTAMP"
        raise InvalidOption(
            f"{given} cannot be read as {target}: one has a time zone and the other has none: declare {wanted}"
        )
    if pa.types.is_timestamp(given) and given.tz is not None and _says_local_time(target):
        raise InvalidOption(
            f"{given} cannot be read as {target}: day and hour would be those of UTC and not of your session's time "
            "zone: declare TIMESTAMP and cast afterwards, in Spark"
        )
    if pa.types.is_temporal(given) and not pa.types.is_timestamp(given) and pa.types.is_timestamp(target) and target.tz:
        raise InvalidOption(f"{given} cannot be read as {target}: it has no time zone: declare TIMESTAMP_NTZ")
    if pa.types.is_temporal(given) != pa.types.is_temporal(target) and (
        pa.types.is_integer(given) or pa.types.is_integer(target)
    ):
        raise InvalidOption(f"{given} cannot be read as {target}: the number's unit would be a guess")
    return array.cast(target, safe=True)


def _says_local_time(kind: pa.DataType) -> bool:
    """Whether an instant becomes a value of this type in one time zone or another only."""
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return bool(text or pa.types.is_date(kind) or pa.types.is_time(kind))


def _is_list(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _struct(array: pa.StructArray, target: pa.StructType) -> pa.Array:
    children = []
    for i in range(target.num_fields):
        field = target.field(i)
        index = array.type.get_field_index(field.name)
        if index < 0:
            names = ", ".join(array.type.field(j).name for j in range(array.type.num_fields))
            raise InvalidOption(f"the field {field.name!r} is missing or appears twice: the fields are {names}")
        child = convert(array.field(index), field.type)  # field() honours the offset, and leaves out the parent's nulls
        children.append(child)
    mask = array.is_null() if array.null_count else None
    if not children:
        return array.cast(target, safe=True)
    fields = [target.field(i) for i in range(target.num_fields)]
    return pa.StructArray.from_arrays(children, fields=fields, mask=mask)


def _list(array: Any, target: Any) -> pa.Array:
    mask = array.is_null() if array.null_count else None
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        if not pa.types.is_fixed_size_list(target) or target.list_size != size:
            # Rare, and only with items that need no help of ours.
            return array.cast(target, safe=True)
        values = convert(array.values.slice(array.offset * size, len(array) * size), target.value_type)
        return pa.FixedSizeListArray.from_arrays(values, type=target, mask=mask)
    if pa.types.is_fixed_size_list(target):
        return array.cast(target, safe=True)
    kind, index = (pa.ListArray, pa.int32()) if pa.types.is_list(target) else (pa.LargeListArray, pa.int64())
    return kind.from_arrays(_offsets(array, index), convert(array.values, target.value_type), type=target, mask=mask)


def _list_of_views(array: Any) -> pa.Array:
    """Lists whose items lie one after another. pyarrow's own cast makes invalid arrays where there are nulls."""
    import pyarrow.compute as pc

    lengths = pc.fill_null(pc.list_value_length(array), 0)
    ends = pc.cumulative_sum_checked(lengths)
    offsets = pa.concat_arrays([pa.array([0], ends.type), ends])
    mask = array.is_null() if array.null_count else None
    kind = pa.LargeListArray if pa.types.is_large_list_view(array.type) else pa.ListArray
    return kind.from_arrays(offsets, array.flatten(), mask=mask)


def _offsets(array: Any, kind: pa.DataType) -> pa.Array:
    """An array's offsets of a kind and without an offset of their own, which a mask beside them does not allow."""
    offsets = array.offsets
    if offsets.type != kind:
        return offsets.cast(kind, safe=True)
    if not offsets.offset:
        return offsets
    import pyarrow.compute as pc  # a tenth of a second, for what is rare

    return pc.add(offsets, pa.scalar(0, kind))


def _map(array: pa.MapArray, target: pa.MapType) -> pa.Array:
    keys = convert(array.keys, target.key_type)
    items = convert(array.items, target.item_type)
    mask = array.is_null() if array.null_count else None
    return pa.MapArray.from_arrays(_offsets(array, pa.int32()), keys, items, type=target, mask=mask)
