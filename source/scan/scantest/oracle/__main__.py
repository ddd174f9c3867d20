"""pyarrow as the oracle of source/scan: reads jobs from stdin, one JSON object a line, and answers each with a line.

{"op": "make", "seed": 7, "queries": 9, "folder": "…"}   a seeded file, what pyarrow reads from it, and what it answers to queries
{"op": "foreign", "writer": "duckdb", "seed": 7, …}       the same, written by DuckDB or Polars
{"op": "read", "path": "…", "queries": 3, "folder": "…"}  the same for a file that is there

An answer names the Arrow stream with the file's rows (`expect`), or says how pyarrow fails (`error`).
"""

from __future__ import annotations

import json
import random
import sys
import uuid
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import files  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
import queries  # noqa: E402


def read(path: Path, job: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    table = queries.plain(pq.ParquetFile(path).read())
    expect = Path(job["folder"]) / f"{uuid.uuid4().hex}.arrows"
    with pa.ipc.new_stream(expect, table.schema) as out:
        out.write_table(table)
    asked = queries.ask(rng, table, path, job["queries"]) if job.get("queries") and "row" in table.column_names else []
    return {"path": str(path), "expect": str(expect), "queries": asked}


def make(job: dict[str, Any]) -> dict[str, Any]:
    rng = random.Random(job["seed"])
    path = Path(job["folder"]) / f"{job['seed']}.parquet"
    files.write(rng, files.table(rng, job.get("rows", 1500)), path)
    return read(path, job, rng)


def foreign(job: dict[str, Any]) -> dict[str, Any]:
    import writers  # heavy: only the jobs that need them

    rng = random.Random(job["seed"])
    path = Path(job["folder"]) / f"{job['writer']}-{job['seed']}.parquet"
    writers.write(job["writer"], rng, path, job.get("rows", 500))
    return read(path, job, rng)


def main() -> None:
    ops = {"make": make, "foreign": foreign, "read": lambda job: read(Path(job["path"]), job, random.Random(job.get("seed", 0)))}
    for line in sys.stdin:
        job = json.loads(line)
        try:
            answer = ops[job["op"]](job)
        except Exception as err:  # noqa: BLE001  the test decides what a failure means
            answer = {"path": job.get("path", ""), "error": f"{type(err).__name__}: {err}"}
        print(json.dumps({"job": job, **answer}), flush=True)


if __name__ == "__main__":
    main()
