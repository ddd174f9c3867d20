"""Spark's types and Arrow's, both ways, over the differences between PySpark 4.0, 4.1 and 4.2."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from hubflight.errors import Unsupported

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql.types import StructType

__all__ = ["arrow_schema", "spark_schema"]


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
    from pyspark.sql.pandas import types

    to_arrow_schema: Any = types.to_arrow_schema
    try:
        # PySpark 4.2, then 4.0 and 4.1, then 3.x, which knows UTC only.
        for keywords in ({"timezone": "UTC"}, {"timestamp_utc": True}):
            with suppress(TypeError):
                return to_arrow_schema(schema, **keywords)
        return to_arrow_schema(schema)
    except PySparkException as exc:
        raise Unsupported(f"[unsupported] schema: {exc}") from None
