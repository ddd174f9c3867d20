"""How every maker writes: Parquet files as the reference library writes them, and the README card that names them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Features = dict[str, Any]
"""The reference library's description of a table: column name to feature, as JSON."""


def value(dtype: str) -> Features:
    """The feature of a plain column, for example ``value("int64")``."""
    return {"dtype": dtype, "_type": "Value"}


def with_features(schema: pa.Schema, features: Features) -> pa.Schema:
    """The schema carrying the footer key ``huggingface``, from which readers restore features that Arrow types cannot say."""
    described = json.dumps({"info": {"features": features}}, separators=(",", ":"))
    return schema.with_metadata({"huggingface": described})


def write_shards(table: pa.Table, paths: Sequence[Path], group_rows: int) -> None:
    """Writes the table's rows, in order, as one file per path, in row groups of at most ``group_rows`` rows.

    The files differ by at most one row.  Page indexes are written because current writers of the Hub write them.
    """
    rows, files = table.num_rows, len(paths)
    for index, path in enumerate(paths):
        start, stop = rows * index // files, rows * (index + 1) // files
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(
            table.slice(start, stop - start).combine_chunks(),
            path,
            row_group_size=group_rows,
            compression="snappy",
            write_page_index=True,
        )


def shard_paths(folder: Path, split: str, files: int) -> list[Path]:
    """``{split}-NNNNN-of-NNNNN.parquet`` below the folder, the names that dataset resolution knows without a card."""
    return [folder / f"{split}-{index:05d}-of-{files:05d}.parquet" for index in range(files)]


def write_card(out: Path, front_matter: Iterable[str], text: str) -> None:
    """The repository's README.md: YAML front matter between dashes, then prose."""
    card = "---\n" + "\n".join(front_matter) + "\n---\n\n" + text.strip() + "\n"
    out.mkdir(parents=True, exist_ok=True)
    (out / "README.md").write_text(card, encoding="utf-8")
