"""One reader's Spark in a process of its own: a question per line on standard input, a measurement per line on standard output.

python -m benchmarks.spark.session READER
"""

from __future__ import annotations

import json
import os
import sys
import time
import traceback
from typing import Any

from benchmarks.measure.terms import expression
from benchmarks.spark.processes import forget_peaks, largest_python

FORMATS = {
    "hubflight": "hubflight",
    "embedded": "hubflight",
    "pyspark_huggingface": "huggingface_working",
    "ready batches": "ready_batches",
    "encode rows": "encode_rows",
    "drop rows": "drop_rows",
    "local parquet": "parquet",
}
ROWS_OF_SHOW = 20
CHECKSUM = "bit_xor(xxhash64({columns}))"


def main() -> int:
    # Spark prints; the pipe is for measurements only.
    answers, sys.stdout = sys.stdout, sys.stderr
    session = Session(sys.argv[1])
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            answer = session.answer(asked.pop("what"), **asked)
        except Exception as trouble:
            traceback.print_exc()
            answer = {"error": f"{type(trouble).__name__}: {trouble}"}
        print(json.dumps(answer), file=answers, flush=True)
    session.spark.stop()
    return 0


class Session:
    """A Spark session and the way in which its reader is asked."""

    def __init__(self, reader: str) -> None:
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        from pyspark.sql import SparkSession

        builder: Any = SparkSession.builder
        builder = (
            builder.master(f"local[{os.cpu_count()}]").config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
        )
        builder = builder.config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1")
        self.spark = builder.config("spark.driver.memory", "2g").config("spark.sql.session.timeZone", "UTC").getOrCreate()
        self.spark.sparkContext.setLogLevel("ERROR")
        self.reader = reader

    def answer(self, what: str, **question: Any) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "read": self.read,
            "plan": self.plan,
            "check": self.check,
            "show": self.show,
            "write": self.write,
            "hello": dict,
        }
        forget_peaks()
        return {**asked[what](**question), "python_peak": largest_python()}

    def load(self, path: str, columns: list[str] | None, filters: list[list[Any]] | None, options: dict[str, str]) -> Any:
        """The DataFrame, with columns and filters as this reader takes them."""
        from pyspark.sql import functions

        frames = self.spark.read.format(FORMATS[self.reader]).options(**options)
        if self.reader in ("hubflight", "embedded", "pyspark_huggingface"):
            if columns is not None:
                frames = frames.option("columns", json.dumps(columns))
            if filters is not None:
                frames = frames.option("filters", repr([tuple(term) for term in filters]))
        loaded = frames.load(path)
        if self.reader == "local parquet":
            wanted = expression(functions.col, filters)
            loaded = loaded if wanted is None else loaded.where(wanted)
            loaded = loaded if columns is None else loaded.select(columns)
        return loaded

    def read(self, repeat: int, **question: Any) -> dict[str, Any]:
        """Every row as Spark's own, and dropped; seconds of one of so many times."""
        load = wall = 0.0
        for _ in range(repeat):
            began = time.monotonic()
            frame = self.load(**question)
            loaded = time.monotonic()
            frame.write.format("noop").mode("overwrite").save()
            load, wall = load + loaded - began, wall + time.monotonic() - loaded
        return {"load": load / repeat, "wall": wall / repeat}

    def plan(self, **question: Any) -> dict[str, Any]:
        """What comes before the first task; the first time in a session it pays for every import."""
        began = time.monotonic()
        frame = self.load(**question)
        loaded = time.monotonic()
        partitions = frame.rdd.getNumPartitions()
        return {"load": loaded - began, "wall": time.monotonic() - began, "partitions": partitions}

    def check(self, **question: Any) -> dict[str, Any]:
        frame = self.load(**question)
        columns = ", ".join(f"`{name}`" for name in sorted(frame.columns))
        rows, checksum = frame.selectExpr("count(*)", CHECKSUM.format(columns=columns)).first()
        return {"rows": rows, "checksum": checksum}

    def show(self, repeat: int, **question: Any) -> dict[str, Any]:
        """What `show()` collects, loading included; seconds of one of so many times."""
        began = time.monotonic()
        for _ in range(repeat):
            rows = self.load(**question).take(ROWS_OF_SHOW)
        return {"wall": (time.monotonic() - began) / repeat, "rows": len(rows)}

    def write(self, source: str, target: str, options: dict[str, str]) -> dict[str, Any]:
        """The rows of local Parquet files, appended to a repository that is there and empty.

        Moments are written without a zone by everybody, because pyspark_huggingface cannot write them with one.
        """
        frame = self.spark.read.parquet(source)
        moments = {name: frame[name].cast("timestamp_ntz") for name, kind in frame.dtypes if kind == "timestamp"}
        frame = frame.withColumns(moments) if moments else frame
        began = time.monotonic()
        frame.write.format(FORMATS[self.reader]).options(**options).mode("append").save(target)
        return {"wall": time.monotonic() - began}


if __name__ == "__main__":
    sys.exit(main())
