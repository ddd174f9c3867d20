"""Datasets of the tests: seeded, small, and each with a trap or two."""

from __future__ import annotations

import datetime as dt
import decimal
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

__all__ = ["CHAT_FILES", "FLIGHT_FILES", "chat", "flights", "types"]

FLIGHT_FILES = 4
CHAT_FILES = 3


def flights(folder: Path) -> pa.Table:
    """`data/train-*` (sorted by hour, several row groups a file) and `data/test-*`; returns all of train."""
    rng = random.Random(7)
    rows = 6000
    carriers = ["AA", "B6", "DL", "UA", None]
    train = pa.table(
        {
            "hour": pa.array([i // 10 for i in range(rows)], pa.int32()),
            "carrier": [rng.choice(carriers) for _ in range(rows)],
            "delay": pa.array([rng.choice([None, float("nan"), rng.gauss(0, 30)]) for _ in range(rows)], pa.float64()),
            "dest.name": [f"airport {rng.randrange(40)}" for _ in range(rows)],
            "day": pa.array([dt.date(2024, 1, 1) + dt.timedelta(days=i // 500) for i in range(rows)], pa.date32()),
        }
    )
    data = folder / "data"
    data.mkdir(parents=True)
    step = rows // FLIGHT_FILES
    for i in range(FLIGHT_FILES):
        part = train.slice(i * step, step)
        pq.write_table(part, data / f"train-{i:05d}-of-{FLIGHT_FILES:05d}.parquet", row_group_size=300)
    pq.write_table(train.slice(0, 100), data / "test-00000-of-00001.parquet")
    return train


def chat(folder: Path) -> dict[str, pa.Table]:
    """Two configs in the shape of chat data, named by the README; returns the rows of each."""
    rng = random.Random(11)
    words = ["the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "runs", "away"]
    out: dict[str, pa.Table] = {}
    for config, rows in (("7M-core", 900), ("gen", 300)):
        lang = ["en"] * (rows // 3) + ["zh-cn"] * (rows // 3) + ["de"] * (rows - 2 * (rows // 3))
        said = [
            [
                {"from": rng.choice(["human", "gpt"]), "value": " ".join(rng.choices(words, k=8))}
                for _ in range(rng.randrange(4))
            ]
            for _ in range(rows)
        ]
        table = pa.table(
            {"id": pa.array(range(rows), pa.int64()), "conversations": said, "label": [""] * rows, "langdetect": lang}
        )
        out[config] = table
        (folder / config).mkdir(parents=True)
        for i in range(CHAT_FILES):
            part = table.slice(i * rows // CHAT_FILES, rows // CHAT_FILES)
            pq.write_table(part, folder / config / f"part-{i}.parquet", row_group_size=50)
    (folder / "README.md").write_text(
        "---\nconfigs:\n"
        "- config_name: 7M-core\n  default: true\n  data_files: 7M-core/*.parquet\n"
        "- config_name: gen\n  data_files: gen/*.parquet\n---\n# chat\n"
    )
    return out


def types(folder: Path) -> pa.Table:
    """One file with the types that Spark has to be helped with, two rows and one of nulls."""
    stamp = dt.datetime(2024, 1, 31, 12, 30, 15, 123456)
    columns: dict[str, pa.Array] = {
        "bool": pa.array([True, False, None]),
        "int8": pa.array([1, -1, None], pa.int8()),
        "uint8": pa.array([0, 255, None], pa.uint8()),
        "uint16": pa.array([0, 65535, None], pa.uint16()),
        "uint32": pa.array([0, 2**32 - 1, None], pa.uint32()),
        "uint64": pa.array([0, 2**64 - 1, None], pa.uint64()),
        "float16": pa.array([0.5, -2.0, None], pa.float16()),
        "float32": pa.array([0.5, float("inf"), None], pa.float32()),
        "string": pa.array(["a", "é😀", None]),
        "large_string": pa.array(["b", "", None], pa.large_string()),
        "binary": pa.array([b"\x00", b"", None]),
        "large_binary": pa.array([b"\x01", b"\xff", None], pa.large_binary()),
        "fixed": pa.array([b"abcd", b"wxyz", None], pa.binary(4)),
        "date": pa.array([stamp.date(), dt.date(1969, 12, 31), None]),
        "ts_ntz": pa.array([stamp, dt.datetime(1960, 1, 1), None], pa.timestamp("us")),
        "ts_ms": pa.array([stamp.replace(microsecond=123000), dt.datetime(1960, 1, 1), None], pa.timestamp("ms")),
        "ts_utc": pa.array([stamp, dt.datetime(1960, 1, 1), None], pa.timestamp("us", "UTC")),
        "ts_ns": pa.array([1706704215123456789, -1, None], pa.timestamp("ns")),
        "ts_zone": pa.array([stamp, dt.datetime(1960, 1, 1), None], pa.timestamp("us", "Asia/Tokyo")),
        "decimal": pa.array([decimal.Decimal("1.50"), decimal.Decimal("-2.25"), None], pa.decimal128(10, 2)),
        "list": pa.array([[1, None], [], None], pa.list_(pa.int64())),
        "large_list": pa.array([["x"], [], None], pa.large_list(pa.string())),
        "fixed_list": pa.array([[1.0, 2.0], [3.0, 4.0], None], pa.list_(pa.float32(), 2)),
        "struct": pa.array([{"a": 1, "b": [{"c": "x"}]}, {"a": None, "b": None}, None]),
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int64())),
        "dictionary": pa.array(["u", "v", None]).dictionary_encode(),
    }
    table = pa.table(columns)
    (folder / "data").mkdir(parents=True)
    pq.write_table(table, folder / "data" / "train-00000-of-00001.parquet")
    return table
