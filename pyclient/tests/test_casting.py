"""Bringing batches to a declared schema."""

from __future__ import annotations

import datetime as dt
import decimal
import subprocess
import sys
from typing import Any

import pyarrow as pa
import pytest

from hubflight.casting import Caster, convert, plain_schema
from hubflight.errors import InvalidOption


def batch(**columns: Any) -> pa.RecordBatch:
    return pa.RecordBatch.from_pydict(columns)


def test_an_equal_batch_is_passed_on_without_a_copy() -> None:
    data = batch(a=[1, 2])
    assert Caster(data.schema, data.schema, "read").cast(data) is data


def test_columns_are_chosen_and_ordered_by_name() -> None:
    data = batch(a=[1], b=["x"], c=[2.0])
    target = pa.schema([("c", pa.float64()), ("a", pa.int64())])
    got = Caster(data.schema, target, "read").cast(data)
    assert got.schema == target
    assert got.to_pydict() == {"c": [2.0], "a": [1]}


LIST = pa.list_(pa.struct([("from", pa.string()), ("value", pa.large_string()), ("n", pa.int64())]))


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("length", [0, 1, 3])
def test_nested_columns_are_projected_and_cast_by_name_also_in_slices(start: int, length: int) -> None:
    rows: list[dict[str, Any]] = [
        {"m": [{"from": "a", "value": "x", "n": 1}, None], "s": {"p": 1, "q": "1"}, "k": {"a": 1}},
        {"m": None, "s": None, "k": None},
        {"m": [], "s": {"p": None, "q": "2"}, "k": {}},
        {"m": [{"from": None, "value": "y", "n": 2}], "s": {"p": 3, "q": None}, "k": {"b": None}},
        {"m": [None], "s": {"p": 4, "q": "4"}, "k": {"c": 3}},
    ]
    source = pa.schema(
        [
            ("m", LIST),
            ("s", pa.struct([("p", pa.int64()), ("q", pa.string())])),
            ("k", pa.map_(pa.string(), pa.int64())),
        ]
    )
    target = pa.schema(
        [
            ("s", pa.struct([("q", pa.string()), ("p", pa.int32())])),
            ("m", pa.list_(pa.struct([("value", pa.string()), ("from", pa.string())]))),
            ("k", pa.map_(pa.string(), pa.int32())),
        ]
    )
    got = Caster(source, target, "read").cast(pa.RecordBatch.from_pylist(rows, source).slice(start, length))
    got.validate(full=True)
    assert got.schema == target
    want = []
    for row in rows[start : start + length]:
        s, m = row["s"], row["m"]
        want.append(
            {
                "s": None if s is None else {"q": s["q"], "p": s["p"]},
                "m": None
                if m is None
                else [None if i is None else {"value": i["value"], "from": i["from"]} for i in m],
                "k": None if row["k"] is None else list(row["k"].items()),
            }
        )
    assert got.to_pylist() == want


@pytest.mark.parametrize(
    ("given", "target", "error"),
    [
        ({"a": [1]}, [("b", pa.int64())], "the column 'b' is missing: the columns are a"),
        ({"a": [[1]]}, [("a", pa.int64())], "column 'a': list<"),
        ({"a": [{"x": 1}]}, [("a", pa.struct([("y", pa.int64())]))], "the field 'y' is missing"),
        ({"a": pa.array([0], pa.timestamp("us"))}, [("a", pa.timestamp("us", "UTC"))], "declare TIMESTAMP_NTZ"),
        ({"a": pa.array([0], pa.timestamp("us", "UTC"))}, [("a", pa.timestamp("us"))], "declare TIMESTAMP"),
        *(
            (
                {"a": pa.array([0], pa.timestamp("us", zone))},
                [("a", kind)],
                "not of your session's time zone: declare TIMESTAMP and cast afterwards",
            )
            for zone in ("UTC", "Asia/Tokyo")
            for kind in (pa.date32(), pa.time64("us"), pa.string(), pa.large_string())
        ),
        (
            {"a": [{"x": dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc)}]},
            [("a", pa.struct([("x", pa.date32())]))],
            "UTC",
        ),
        ({"a": [1]}, [("a", pa.timestamp("us"))], "the number's unit would be a guess"),
        ({"a": pa.array([0], pa.time64("ns"))}, [("a", pa.int64())], "the number's unit would be a guess"),
        ({"a": pa.array([0], pa.date32())}, [("a", pa.timestamp("us", "UTC"))], "declare TIMESTAMP_NTZ"),
    ],
)
def test_what_cannot_fit_is_refused_before_any_row_is_read(given: Any, target: Any, error: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        Caster(batch(**given).schema, pa.schema(target), "read")
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([300], pa.int8()),
        ([2**53 + 1], pa.float64()),
        (["x"], pa.int64()),
        ([decimal.Decimal("1.55")], pa.decimal128(3, 1)),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_never_changed(values: list[Any], kind: pa.DataType) -> None:
    data = batch(a=values)
    with pytest.raises(InvalidOption, match="column 'a'"):
        Caster(data.schema, pa.schema([("a", kind)]), "read").cast(data)


def test_nulls_in_a_column_that_is_declared_not_null_are_refused() -> None:
    data = batch(a=[1, None])
    target = pa.schema([pa.field("a", pa.int64(), nullable=False)])
    with pytest.raises(InvalidOption, match="declared not null"):
        Caster(data.schema, target, "read").cast(data)
    assert Caster(data.schema, target, "read").cast(data.slice(0, 1)).schema == target


def test_writing_refuses_columns_that_the_target_does_not_have() -> None:
    data = batch(a=[1], b=[2])
    with pytest.raises(InvalidOption, match="the column 'b' does not exist in the target"):
        Caster(data.schema, pa.schema([("a", pa.int64())]), "write")
    kind = pa.list_(pa.struct([("x", pa.int64()), ("y", pa.int64())]))
    for name, wrapped in (("list", kind), ("struct", pa.struct([("in", kind)])), ("map", pa.map_(pa.string(), kind))):
        given, target = (pa.schema([(name, _without(wrapped, left_out))]) for left_out in ("", "y"))
        with pytest.raises(InvalidOption, match=f"column '{name}': the field 'y' does not exist in the target"):
            Caster(given, target, "write")
        Caster(given, target, "read")


def _without(kind: pa.DataType, name: str) -> pa.DataType:
    """A nested type without the fields of a name."""
    if pa.types.is_struct(kind):
        return pa.struct([(f.name, _without(f.type, name)) for f in kind if f.name != name])
    if pa.types.is_list(kind):
        return pa.list_(_without(kind.value_type, name))
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, _without(kind.item_type, name))
    return kind


TEXT = ["x", None, "longer than what fits into a view itself", ""]
WORDS = [["a", None], None, [], ["longer than what fits into a view itself"]]
ENCODED = pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 0], pa.uint32()), pa.array(["a", "b"], pa.string_view()))
UNFOLDED: dict[str, tuple[pa.Array, pa.DataType]] = {
    "string": (pa.array(TEXT, pa.string_view()), pa.string()),
    "binary": (pa.array([None if t is None else t.encode() for t in TEXT], pa.binary_view()), pa.binary()),
    "list": (pa.array(WORDS, pa.list_view(pa.string_view())), pa.list_(pa.string())),
    "large list": (pa.array(WORDS, pa.large_list_view(pa.string_view())), pa.large_list(pa.string())),
    "items": (pa.array(WORDS, pa.large_list(pa.string_view())), pa.large_list(pa.string())),
    "pairs": (
        pa.array([["a", "b"], None, ["c", None], ["d", "e"]], pa.list_(pa.string_view(), 2)),
        pa.list_(pa.string(), 2),
    ),
    "struct": (
        pa.array([{"s": t} for t in TEXT], pa.struct([("s", pa.string_view())])),
        pa.struct([("s", pa.string())]),
    ),
    "map": (
        pa.array([[("a", "x")], None, [], [("b", None)]], pa.map_(pa.string_view(), pa.string_view())),
        pa.map_(pa.string(), pa.string()),
    ),
    "dictionary": (ENCODED, pa.string()),
    "nested dictionary": (pa.StructArray.from_arrays([ENCODED], ["e"]), pa.struct([("e", pa.string())])),
    "dictionary of structs": (
        pa.DictionaryArray.from_arrays(pa.array([0, None, 0, 0]), pa.array([{"n": 1}])),
        pa.struct([("n", pa.int64())]),
    ),
    "untouched": (pa.array([1, None, 3, 4]), pa.int64()),
}


@pytest.mark.parametrize("start", [0, 1, 2])
def test_views_and_dictionaries_are_written_as_the_plain_types_that_they_stand_for(start: int) -> None:
    data = pa.RecordBatch.from_arrays([given for given, _ in UNFOLDED.values()], list(UNFOLDED)).slice(start)
    schema = plain_schema(data.schema)
    assert schema == pa.schema([(name, plain) for name, (_, plain) in UNFOLDED.items()])
    (got,) = Caster(data.schema, schema, "write").pieces(data, 1 << 20)
    got.validate(full=True)
    assert got.schema == schema
    assert got.to_pydict() == data.to_pydict()


def test_one_value_in_many_rows_is_written_in_pieces_of_a_bounded_size() -> None:
    rows, size = 30_000, 100_000  # 3 GB, more than offsets of 32 bits can say
    text = pa.array(["x" * size])
    view = size.to_bytes(4, "little") + b"xxxx" + bytes(8)  # of what buffer 0 begins with
    for given in (
        pa.Array.from_buffers(pa.string_view(), rows, [None, pa.py_buffer(view * rows), pa.py_buffer(b"x" * size)]),
        pa.DictionaryArray.from_arrays(pa.array([0] * rows), text.cast(pa.string_view())),
        pa.StructArray.from_arrays([pa.DictionaryArray.from_arrays(pa.array([0] * rows), text)], ["s"]),
    ):
        data = pa.RecordBatch.from_arrays([given], ["a"])
        done = 0
        for piece in Caster(data.schema, plain_schema(data.schema), "write").pieces(data, 2 << 20):
            assert piece.nbytes < 8 << 20
            done += piece.num_rows
        assert done == rows


def test_a_wall_clock_has_a_day_an_hour_and_a_text() -> None:
    array = pa.array([86_400_000_000], pa.timestamp("us"))
    assert convert(array, pa.date32()).to_pylist() == [dt.date(1970, 1, 2)]
    assert convert(array, pa.time64("us")).to_pylist() == [dt.time(0)]
    assert convert(array, pa.string()).to_pylist() == ["1970-01-02 00:00:00.000000"]


def test_a_time_zone_is_a_label_and_the_instant_stays() -> None:
    array = pa.array([0], pa.timestamp("us", "Etc/UTC"))
    assert convert(array, pa.timestamp("us", "UTC")).cast(pa.int64()).to_pylist() == [0]


_CHECKED = """
import sys
import pyarrow as pa
from hubflight.casting import Caster

lists = pa.list_(pa.struct([("a", pa.int32())]))
given = pa.schema([("x", pa.int32()), ("s", pa.string()), ("l", lists), ("d", pa.dictionary(pa.int8(), pa.string()))])
wanted = pa.schema([("x", pa.int64()), ("s", pa.large_string()), ("l", lists), ("d", pa.string())])
Caster(given, given, "read")
assert not {"pandas", "pyarrow.compute"} & set(sys.modules)
Caster(given, wanted, "read")
print("pandas" in sys.modules)
"""


def test_a_plan_is_checked_without_pandas_which_each_of_sparks_processes_would_import() -> None:
    done = subprocess.run([sys.executable, "-c", _CHECKED], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")
