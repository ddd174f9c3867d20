"""Spark's types and Arrow's, both ways, over the differences between PySpark 4.0, 4.1 and 4.2."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hubflight.errors import InvalidOption, Unsupported

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructField, StructType

__all__ = ["arrow_schema", "check_names", "spark_schema"]


def spark_schema(schema: pa.Schema) -> StructType:
    """The Spark schema of a stream; naive timestamps are TIMESTAMP_NTZ, never a guessed zone."""
    from pyspark.errors import PySparkException
    from pyspark.sql.pandas.types import from_arrow_schema

    try:
        return from_arrow_schema(schema.remove_metadata(), prefer_timestamp_ntz=True)
    except PySparkException as exc:
        raise Unsupported(
            f"[unsupported] schema: {exc}: leave out the option profile, or choose other columns"
        ) from None


def arrow_schema(schema: StructType) -> pa.Schema:
    """The Arrow schema that Spark expects of a batch, exactly: types, order and nullability; timestamps are UTC."""
    from pyspark.errors import PySparkException

    for field in schema.fields:
        _check(field)
    try:
        return _arrow_schema(schema)
    except PySparkException as exc:
        raise Unsupported(f"[unsupported] schema: {exc}") from None


def check_names(schema: StructType, way_out: str) -> None:
    """Refuses to write columns that differ in case only, as Spark's own Parquet writer does: it could not name one of
    them when it reads them."""
    seen: dict[str, str] = {}
    for name in schema.fieldNames():
        other = seen.setdefault(name.lower(), name)
        if other != name:
            raise InvalidOption(
                f"[invalid] write: the columns {other!r} and {name!r} differ in case only, which Spark does not tell "
                f"apart when it reads them: rename one, or {way_out}"
            )


def _check(field: StructField) -> None:
    """Refuses a column by its name, which Spark does not tell."""
    from pyspark.errors import PySparkException
    from pyspark.sql.types import StructType

    kind = field.dataType
    if _holds(kind, "geometry", "geography"):
        raise Unsupported(
            f"[unsupported] column {field.name!r}: {kind.simpleString()}: other readers of Arrow and Parquet would see "
            "a number and a binary field: take a binary (st_asbinary, st_geomfromwkb)"
        )
    if _holds(kind, "variant"):
        raise Unsupported(
            f"[unsupported] column {field.name!r}: {kind.simpleString()}: other readers of Arrow and Parquet would see "
            "two binary fields: take a string (to_json, parse_json)"
        )
    try:
        _arrow_schema(StructType([field]))
    except PySparkException:
        raise Unsupported(
            f"[unsupported] column {field.name!r}: {kind.simpleString()} has no Arrow type: cast it, an interval of "
            "years and months for example to int, which is its months"
        ) from None


def _arrow_schema(schema: StructType) -> pa.Schema:
    from pyspark.sql.pandas import types

    to_arrow_schema: Any = types.to_arrow_schema
    # PySpark 4.2, then 4.0 and 4.1, then 3.x, which knows UTC only.
    for keywords in ({"timezone": "UTC"}, {"timestamp_utc": True}):
        with suppress(TypeError):
            return to_arrow_schema(schema, **keywords)
    return to_arrow_schema(schema)


def _holds(kind: Any, *names: str) -> bool:
    """Whether a type is one of those names, or has one inside."""
    parts = [getattr(kind, name) for name in ("elementType", "keyType", "valueType") if hasattr(kind, name)]
    parts += [field.dataType for field in getattr(kind, "fields", ())]
    return kind.typeName() in names or any(_holds(part, *names) for part in parts)
