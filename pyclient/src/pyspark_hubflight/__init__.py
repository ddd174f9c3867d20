"""The Spark data source `hubflight`: PySpark 4 finds it by merely being installed.

    >>> spark.read.format("hubflight").option("server", "grpc://127.0.0.1:8815").load("ns/name")

Spark imports every top-level module called ``pyspark_*`` when the first source is looked up, and one that raises
breaks all of them: so this import does next to nothing, and cannot fail.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

__all__ = ["DefaultSource", "read", "register_as", "write", "write_parquet"]

with suppress(Exception):  # a Spark without Python data sources (3.x) must still be able to import this
    from pyspark_hubflight.source import DefaultSource

if TYPE_CHECKING:
    from pyspark_hubflight.functions import read, write
    from pyspark_hubflight.parquet import write_parquet
    from pyspark_hubflight.source import register_as

_LAZY = {"read": "functions", "write": "functions", "write_parquet": "parquet", "register_as": "source"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
