"""What people write for columns and filters, and what the wire gets."""

from __future__ import annotations

import datetime as dt
import decimal
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from hubflight.errors import InvalidOption
from hubflight.literals import encode_columns, encode_data_files, encode_filters, encode_value, parse_literal


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('["langdetect"]', ["langdetect"]),
        ("['langdetect']", ["langdetect"]),
        ("('a', 'b')", ["a", "b"]),
        ('"a", "b"', ["a", "b"]),
        ("langdetect", ["langdetect"]),
        ("a,b", ["a", "b"]),
        (" a , b ", ["a", "b"]),
        ("'a.b'", ["a.b"]),
        ('[["a", "b"], "c"]', [["a", "b"], "c"]),
        ("[('a', 'b')]", [["a", "b"]]),
        ("conversations.value", ["conversations.value"]),
        (r'["caf\u00e9"]', ["café"]),
        ('["\\ud83d\\ude00"]', ["😀"]),  # a pair in JSON, two halves in Python
        ('["a\\/b"]', ["a/b"]),
        ("None", ["None"]),
    ],
)
def test_columns_are_read_in_every_notation_that_people_use(text: str, want: list[Any]) -> None:
    assert encode_columns(text) == want


def test_columns_may_be_python_values_and_none_means_all() -> None:
    assert encode_columns(None) is None
    assert encode_columns(["a", ("b", "c")]) == ["a", ["b", "c"]]


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("[]", "the list is empty"),
        ([], "the list is empty"),
        ("['a', 1]", "columns, item 2: a column is a name or a path"),
        ("a,,b", "columns, item 2: the column name is empty"),
        ("['a'", "neither a Python literal nor JSON"),
        ("{'a': 'b'}", "columns, item 1"),
        ("[__import__('os').getcwd()]", "only literals are accepted, not call at line 1, column 2"),
        ("[f'a']", "only literals are accepted"),
        ("[a]", "only literals are accepted, not name at line 1, column 2"),
        (b"a", "a list of column names is needed"),
        (7, "a list of column names is needed"),
    ],
)
def test_columns_that_are_none_are_refused_with_the_place(value: Any, error: str) -> None:
    if value == "{'a': 'b'}":
        value, error = {"a": "b"}, "a list of column names is needed"
    with pytest.raises(InvalidOption, match="columns") as caught:
        encode_columns(value)
    assert error in str(caught.value)


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('[("langdetect", "=", "zh-cn")]', [[["langdetect", "=", "zh-cn"]]]),
        ('[["langdetect","=","zh-cn"]]', [[["langdetect", "=", "zh-cn"]]]),
        ("[('langdetect', '=', 'zh-cn')]", [[["langdetect", "=", "zh-cn"]]]),
        ('("n", ">", 5)', [[["n", ">", 5]]]),
        ('["n", ">", 5]', [[["n", ">", 5]]]),
        ('("n", "is null")', [[["n", "is null"]]]),
        ('[("a","=",1),("b","<",2.5)]', [[["a", "=", 1], ["b", "<", 2.5]]]),
        ('[[("a","=",1)],[("b","=",None)]]', [[["a", "=", 1]], [["b", "=", None]]]),
        ('[["a","=",null],["b","=",true]]', [[["a", "=", None], ["b", "=", True]]]),
        ("[('a','=',true), ('b','=',null)]", [[["a", "=", True], ["b", "=", None]]]),
        ('[("a","in",["x","y"])]', [[["a", "in", ["x", "y"]]]]),
        ('[("a","not in",("x",None))]', [[["a", "not in", ["x", None]]]]),
        ('[("a","in",{1})]', [[["a", "in", [1]]]]),
        ('[(("a","b"),"=",1)]', [[[["a", "b"], "=", 1]]]),
        ('[["a","b"],"=",1]', [[[["a", "b"], "=", 1]]]),
        ('[[[["a","b"],"=",1]]]', [[[["a", "b"], "=", 1]]]),
        ('[("a","starts_with","x")]', [[["a", "starts_with", "x"]]]),
        ("[('a','=',-1), ('b','=',+2), ('c','=',-1.5)]", [[["a", "=", -1], ["b", "=", 2], ["c", "=", -1.5]]]),
        ("[('a','=',9223372036854775808)]", [[["a", "=", 9223372036854775808]]]),
        ("[('a','=',1e999)]", [[["a", "=", {"$f": "inf"}]]]),
        ("[('a','=',-0.0)]", [[["a", "=", {"$f": "-0.0"}]]]),
        ("[('a','=',b'\\x00\\xff')]", [[["a", "=", {"$bin": "AP8="}]]]),
        ("[('a','=','it''s')]", [[["a", "=", "its"]]]),  # Python joins neighbouring strings
        ("[('d','>=',{'$date':'2024-01-31'})]", [[["d", ">=", {"$date": "2024-01-31"}]]]),
        ('[["d",">=",{"$ts":"2024-01-31T12:00:00Z"}]]', [[["d", ">=", {"$ts": "2024-01-31T12:00:00Z"}]]]),
    ],
)
def test_filters_are_read_in_python_and_in_json_notation(text: str, want: list[Any]) -> None:
    assert encode_filters(text) == want


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("[]", 'a list such as [("lang", "=", "en")] is needed'),
        ("[[]]", "conjunction 1: a non-empty list"),
        ("[[('a','=',1)],[]]", "conjunction 2: a non-empty list"),
        ("[[('a','=',1)],('b','=',2)]", "conjunction 2: a non-empty list"),
        ("[('a','=',1),('b',)]", "conjunction 1, term 2: (column, op, value) is needed"),
        ("[('a','~',1)]", "conjunction 1, term 1: unknown operator '~'"),
        ("[('a','not_in',[1])]", "unknown operator 'not_in': did you mean 'not in'?"),
        ("[('a','in','xy')]", "'in' needs a list of values, not 'xy'"),
        ("[('a','in',5)]", "'in' needs a list of values"),
        ("[('a','=')]", "the value is missing"),
        ("[('a','is null',1)]", '(column, "is null") has no value'),
        ("[('','=',1)]", "the column name is empty"),
        ("[('a','=',1+2j)]", "only literals are accepted, not binop"),
        ("[('a','=',...)]", "only literals are accepted"),
        ("[('a','=',datetime.date(2024,1,1))]", "dates and decimals are written as strings"),
        ('[["a","=",NaN]]', "NaN is not accepted"),
        ('[["a","=",{"$date":1}]]', "is not a literal"),
        ('[["a","=",{"$x":"1"}]]', "is not a literal"),
        ('[["a","=",{"$dec":"1","$dec":"2"}]]', "the key '$dec' appears twice"),
        ("[('a','=',{'$dec':'1','$dec':'2'})]", "the key '$dec' appears twice at line 1, column"),
        ("lang = 'en'", "neither a Python literal nor JSON"),
        ("[" * 40 + "]" * 40, "nested deeper than"),
        ("(" * 5000 + ")" * 5000, "neither a Python literal nor JSON"),
        ("-" * 50_000 + "1", "filters"),
        ("9" * 5000, "filters"),
        ("[" * 60_000, "neither a Python literal nor JSON"),
        ("[('a','=','" + "x" * 70_000 + "')]", "longer than 65536 bytes"),
    ],
)
def test_filters_that_make_no_sense_are_refused_with_the_place(value: Any, error: str) -> None:
    with pytest.raises(InvalidOption, match="filters") as caught:
        encode_filters(value)
    assert error in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("value", "want"),
    [
        (True, True),
        (np.bool_(True), True),
        (2**70, 2**70),
        (np.int64(5), 5),
        (np.float32(0.5), 0.5),
        (1.0, 1.0),
        (float("nan"), {"$f": "nan"}),
        (float("-inf"), {"$f": "-inf"}),
        (decimal.Decimal("1.50"), {"$dec": "1.50"}),
        (decimal.Decimal("1E+3"), {"$dec": "1000"}),
        (b"\x00", {"$bin": "AA=="}),
        (dt.date(2024, 1, 31), {"$date": "2024-01-31"}),
        (dt.datetime(2024, 1, 31, 12), {"$ts": "2024-01-31T12:00:00"}),
        (dt.datetime(2024, 1, 31, 12, tzinfo=dt.timezone.utc), {"$ts": "2024-01-31T12:00:00+00:00"}),
        (dt.time(12, 0, 0, 500000), {"$time": "12:00:00.500000"}),
        (pd.Timestamp("2024-01-31T12:00:00.123456789"), {"$ts": "2024-01-31T12:00:00.123456789"}),
        (np.datetime64("2024-01-31T12:00:00.123456789"), {"$ts": "2024-01-31T12:00:00.123456789"}),
        (np.datetime64("2024-01-31"), {"$date": "2024-01-31"}),
        (np.datetime64("NaT"), None),
        (pa.scalar(5), 5),
        (pa.scalar(dt.date(2024, 1, 31)), {"$date": "2024-01-31"}),
        (np.str_("x"), "x"),
    ],
)
def test_values_keep_their_type_on_the_wire(value: Any, want: Any) -> None:
    got = encode_value(value)
    assert got == want
    assert json.loads(json.dumps(got, allow_nan=False)) == want


def test_a_float_stays_a_float_in_json() -> None:
    assert json.dumps(encode_value(5.0)) == "5.0"
    assert "e" in json.dumps(encode_value(1e22))


@pytest.mark.parametrize("value", [object(), [1], decimal.Decimal("NaN"), {"a": "b"}, np.array([1, 2])])
def test_values_without_a_literal_are_refused(value: Any) -> None:
    with pytest.raises(InvalidOption):
        encode_value(value)


def test_data_files_are_kept_verbatim_unless_they_are_a_list_or_an_object() -> None:
    assert encode_data_files("10BT/x.parquet") == "10BT/x.parquet"
    assert encode_data_files("2024") == "2024"
    assert encode_data_files("['a', 'b']") == ["a", "b"]
    assert encode_data_files('{"train": ["a"], "test": "b"}') == {"train": ["a"], "test": "b"}
    for bad in ("[]", "[1]", "{}", "{'train': {'a': 'b'}}", 5):
        with pytest.raises(InvalidOption):
            encode_data_files(bad)


def test_parsing_never_evaluates() -> None:
    for text in (
        "print(1)",
        "(lambda: 1)()",
        "[x for x in (1,)]",
        "a if b else c",
        "1 if 1 else 2",
        "'a' % 'b'",
        "*a,",
    ):
        with pytest.raises(InvalidOption):
            parse_literal(text, "filters")
