"""The lines of Spark that are supported, one case each: what CI holds of those that only `make nightly-spark` runs.

CI has one Spark, that of constraints.txt. For each of the others it is cut down to what that line has: then everything
of ours is imported, the data source is there or not, and schemas are translated both ways. Reading and writing with the
real ones is the nightly's.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

NO_DATA_SOURCES = """
sys.modules["pyspark.sql.datasource"] = None
"""
NO_FILTERS = """
from pyspark.sql import datasource
del datasource.DataSourceReader.pushFilters
for name in ("Filter", "EqualTo", "EqualNullSafe", "GreaterThan", "LessThan", "In", "IsNull", "IsNotNull", "Not"):
    delattr(datasource, name)
"""
# Spark 3 knows UTC only; 4.0 and 4.1 have a flag for it, and further arguments by position.
UTC_ONLY = """
types.to_arrow_schema = lambda schema: new(schema, timezone="UTC")
"""
UTC_BY_A_FLAG = """
types.to_arrow_schema = lambda schema, error_on_duplicated_field_names_in_struct=False, timestamp_utc=True: new(
    schema, timezone="UTC" if timestamp_utc else "America/Los_Angeles"
)
"""
BEFORE = """
import sys
from pyspark.sql.pandas import types
from pyspark.sql.types import StructField, StructType, TimestampNTZType, TimestampType
new = types.to_arrow_schema
"""
ALL = """
import pyspark_hubflight, pyspark_hubflight_py
from pyspark_hubflight import read, write, write_parquet
from pyspark_hubflight import attempts, conf, counting, functions, parquet, schemas
schema = StructType([StructField("at", TimestampType()), StructField("wall", TimestampNTZType())])
assert [str(field.type) for field in schemas.arrow_schema(schema)] == ["timestamp[us, tz=UTC]", "timestamp[us]"]
assert schemas.spark_schema(schemas.arrow_schema(schema)) == schema
"""
FUNCTIONS_ONLY = """
assert not hasattr(pyspark_hubflight, "DefaultSource")
assert not hasattr(pyspark_hubflight_py, "DefaultSource")
"""
A_SOURCE = """
from pyspark.sql.datasource import DataSource, DataSourceArrowWriter
from pyspark_hubflight.reader import Reader
from pyspark_hubflight.writer import Writer
for module, name in ((pyspark_hubflight, "hubflight"), (pyspark_hubflight_py, "hubflight_py")):
    assert issubclass(module.DefaultSource, DataSource)
    assert module.DefaultSource.name() == name
assert issubclass(Writer, DataSourceArrowWriter)
assert Reader(None, {"dataset": "ns/name"}, schema, {"sha": "1"}).__dict__
assert not {"pushFilters", "pushLimit"} & set(vars(Reader))  # where it is off, having one fails every query
"""

# What the line lacks, and what there has to be.
LINES = {
    "3.5": (NO_DATA_SOURCES + UTC_ONLY, FUNCTIONS_ONLY),
    "4.0": (NO_FILTERS + UTC_BY_A_FLAG, A_SOURCE),
    "4.1": (UTC_BY_A_FLAG, A_SOURCE),
    "4.2": ("", A_SOURCE),
}


def _makefile() -> str:
    return (ROOT / "Makefile").read_text(encoding="utf-8")


def _versions() -> list[str]:
    """Those of the nightly, and that of the suite."""
    nightly = re.findall(r"^SPARK_VERSIONS \?= (.+)$", _makefile(), re.MULTILINE)[0].split()
    pinned = (ROOT / "pyclient/constraints.txt").read_text(encoding="utf-8")
    return [*nightly, *re.findall(r"^pyspark==(.+)$", pinned, re.MULTILINE)]


def test_the_nightly_and_the_suite_together_run_every_line_of_spark() -> None:
    assert [version.rpartition(".")[0] for version in _versions()] == list(LINES)
    run = set(re.findall(r"tests/(test_spark_\w+\.py)", _makefile()))
    here = Path(__file__).parent
    wanted = {"test_spark_functions.py", "test_spark_read.py", "test_spark_write.py", "test_spark_cluster.py"}
    assert wanted <= run
    assert all((here / name).exists() for name in wanted)


@pytest.mark.parametrize("line", LINES)
def test_with_what_a_line_of_spark_has_everything_is_imported_and_schemas_are_translated(line: str) -> None:
    lacks, has = LINES[line]
    code = BEFORE + lacks + ALL + has
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
