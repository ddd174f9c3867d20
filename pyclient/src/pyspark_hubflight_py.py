"""The Spark data source of `pyspark_hubflight` under its second name, `hubflight_py`.

Spark registers one source per top-level module, hence this one. The name is for the day on which a JVM connector takes
`hubflight` over.
"""

from __future__ import annotations

from contextlib import suppress

with suppress(Exception):  # as in pyspark_hubflight
    from pyspark_hubflight.source import PythonSource as DefaultSource

__all__ = ["DefaultSource"]
