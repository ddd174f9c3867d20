"""The lines of Spark that are supported: what CI can hold of those that only `make nightly-spark` runs."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

# What Spark 3 has: no data sources, and schemas without a choice of zones.
SPARK_3 = """
import sys
sys.modules["pyspark.sql.datasource"] = None
from pyspark.sql.pandas import types
from pyspark.sql.types import StructField, StructType, TimestampNTZType, TimestampType
new = types.to_arrow_schema
types.to_arrow_schema = lambda schema: new(schema, timezone="UTC")
import pyspark_hubflight
from pyspark_hubflight import read, write, write_parquet
from pyspark_hubflight import attempts, counting, functions, parquet, schemas
assert not hasattr(pyspark_hubflight, "DefaultSource")
schema = StructType([StructField("at", TimestampType()), StructField("wall", TimestampNTZType())])
assert [str(field.type) for field in schemas.arrow_schema(schema)] == ["timestamp[us, tz=UTC]", "timestamp[us]"]
assert schemas.spark_schema(schemas.arrow_schema(schema)) == schema
"""


def test_the_nightly_and_the_suite_together_run_every_line_of_spark() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    nightly = re.findall(r"^SPARK_VERSIONS \?= (.+)$", makefile, re.MULTILINE)[0].split()
    suite = re.findall(
        r"^pyspark==(.+)$", (ROOT / "pyclient/constraints.txt").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert [version.rpartition(".")[0] for version in nightly + suite] == ["3.5", "4.0", "4.1", "4.2"]
    run = set(re.findall(r"tests/(test_spark_\w+\.py)", makefile))
    here = Path(__file__).parent
    wanted = {"test_spark_functions.py", "test_spark_read.py", "test_spark_write.py", "test_spark_cluster.py"}
    assert wanted <= run
    assert all((here / name).exists() for name in wanted)


def test_the_functions_need_nothing_that_spark_3_lacks() -> None:
    done = subprocess.run([sys.executable, "-c", SPARK_3], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
