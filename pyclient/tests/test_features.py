"""What `datasets` says of a column travels with the schema: of what is read it makes the same features and rows."""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import (
    Array2D,
    Array3D,
    Audio,
    ClassLabel,
    Dataset,
    Features,
    Image,
    LargeList,
    List,
    Sequence,
    Translation,
    TranslationVariableLanguages,
    Value,
)

if TYPE_CHECKING:
    from hubflight import Client

pytestmark = pytest.mark.server

FEATURES = Features(
    {
        "label": ClassLabel(names=["no", "yes"]),
        "image": Image(decode=False),
        "audio": Audio(sampling_rate=16_000, decode=False),
        "tokens": Sequence(Value("int32")),
        "three": List(Value("float32"), length=3),
        "many": LargeList(Value("string")),
        "tags": List(ClassLabel(names=["a", "b", "c"])),
        "turns": List({"role": Value("string"), "text": Value("large_string")}),
        "columns": Sequence({"a": Value("int64"), "b": Value("string")}),
        "pair": Translation(languages=["de", "en"]),
        "pairs": TranslationVariableLanguages(languages=["de", "en", "fr"]),
        "grid": Array2D(shape=(2, 2), dtype="int32"),
        "cube": Array3D(shape=(1, 2, 2), dtype="float32"),
        "when": Value("timestamp[us, tz=UTC]"),
        "half": Value("float16"),
        "price": Value("decimal128(9, 2)"),
        "deep": {"inner": {"label": ClassLabel(num_classes=2)}},
    }
)


def row(n: int) -> dict[str, Any]:
    return {
        "label": n % 2,
        "image": {"bytes": b"\x89PNG" * n, "path": f"{n}.png"},
        "audio": {"bytes": b"RIFF", "path": f"{n}.wav"},
        "tokens": list(range(n)),
        "three": [n, n + 0.5, n + 1],
        "many": [str(n)] * n,
        "tags": [n % 3],
        "turns": [{"role": "user", "text": "ä" * n}],
        "columns": {"a": [n], "b": ["x"]},
        "pair": {"de": "eins", "en": "one"},
        "pairs": {"language": ["de", "fr"], "translation": ["zwei", "deux"]},
        "grid": [[n, 1], [2, 3]],
        "cube": [[[n, 1], [2, 3]]],
        "when": datetime.datetime(2026, 1, 1, n % 24, tzinfo=datetime.timezone.utc),
        "half": n / 2,
        "price": decimal.Decimal(n) / 4,
        "deep": {"inner": {"label": n % 2}},
    }


def made(count: int) -> Dataset:
    """Rows as they are stored: encoding pictures and sounds would need libraries that nothing here does."""
    rows, schema = [row(n) for n in range(count)], FEATURES.arrow_schema
    columns = []
    for field in schema:
        values = [r[field.name] for r in rows]
        if isinstance(field.type, pa.ExtensionType):
            columns.append(pa.ExtensionArray.from_storage(field.type, pa.array(values, field.type.storage_type)))
        else:
            columns.append(pa.array(values, field.type))
    return Dataset(pa.table(columns, schema=schema))


def test_every_kind_of_feature_comes_back(client: Client, seeds: dict[str, Any]) -> None:
    given = made(50)
    assert given.features == FEATURES
    folder = seeds["folder"] / "features"
    (folder / "data").mkdir(parents=True)
    path = folder / "data" / "train-00000-of-00001.parquet"
    pq.write_table(given.data.table, path)
    read = client.dataset(f"file://{folder}").to_table()
    want = pq.read_table(path)
    assert read.schema.metadata[b"huggingface"] == want.schema.metadata[b"huggingface"]
    assert [(f.name, f.type) for f in read.schema] == [(f.name, f.type) for f in want.schema]
    assert Features.from_arrow_schema(read.schema) == FEATURES
    assert Dataset(pa.table(read))[:] == given[:]


def test_the_features_of_a_projection_are_those_of_its_columns(client: Client, seeds: dict[str, Any]) -> None:
    folder = seeds["folder"] / "features-of-some"
    (folder / "data").mkdir(parents=True)
    pq.write_table(made(1).data.table, folder / "data" / "train-00000-of-00001.parquet")
    read = client.dataset(f"file://{folder}", columns=["grid", "label"]).to_table()
    found = Features.from_arrow_schema(read.schema)
    assert {name: found[name] for name in read.column_names} == {"grid": FEATURES["grid"], "label": FEATURES["label"]}
