"""The Arrow types that a file of the oracle may hold, and makers of their values.

Values are plain Python; times are integers in the type's own unit, so that nothing
is rounded on the way. Every maker mixes the edges of its type with ordinary values.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

WORDS = [
    "", "a", "ab", "abc", "b", "Z", "de", "zh-cn", "en", "é", "😀", "\x00", "a\x00", "zzz", "the quick brown fox", "x" * 300, "\u00ff\u0100",
    "abcdefghijklmnop", "abcdefghijklmnopq", "y" * 64 + "1", "y" * 64 + "2", "y" * 80,
]  # fmt: skip
DAY = 86_400


class Kind(NamedTuple):
    type: pa.DataType
    make: Callable[[], Any]


def integers(rng: random.Random, bits: int, signed: bool) -> Callable[[], int]:
    low, high = (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) if signed else (0, 2**bits - 1)
    edges = [e for e in (low, low + 1, high - 1, high, 0, 1, -1, 2**24 + 1, 2**31, 2**32, 2**53 - 1, 2**53, 2**53 + 1, 2**63 - 1, 2**63) if low <= e <= high]
    return lambda: rng.choice(edges) if rng.random() < 0.15 else max(low, min(high, rng.choice([rng.randint(low, high), rng.randint(-9, 9) if signed else rng.randint(0, 9)])))


def reals(rng: random.Random, bits: int) -> Callable[[], float]:
    edges = [0.0, -0.0, 1.0, -1.0, 0.5, 1.5, -2.25, math.inf, -math.inf, math.nan, 2048.0, 65504.0]
    if bits > 16:
        edges += [16777217.0, 1e30, -1e30, 3.4028234663852886e38, 1e-40]
    if bits > 32:
        edges += [0.1, 0.99, 2.0**53, 2.0**53 + 2, 1.7976931348623157e308, 5e-324, 9007199254740993.0]
    return lambda: rng.choice(edges) if rng.random() < 0.4 else rng.uniform(-100, 100)


def digits(rng: random.Random, precision: int, scale: int) -> Callable[[], Decimal]:
    most = 10**precision - 1

    def make() -> Decimal:
        raw = rng.choice([0, 1, -1, most, -most, 10**scale, 150, rng.randint(-most, most), rng.randint(-999, 999)])
        raw = max(-most, min(most, raw))
        # From a tuple: arithmetic would round to the context's 28 digits.
        return Decimal((int(raw < 0), tuple(int(d) for d in str(abs(raw))), -scale))

    return make


def instants(rng: random.Random, unit: str) -> Callable[[], int]:
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    # Within the years 1700 to 2250 that every unit can hold; day borders and the epoch are the edges.
    return lambda: rng.choice([0, -1, 1, DAY * per, -DAY * per - 1, 1_704_067_200 * per]) if rng.random() < 0.3 else rng.randint(-8_520_000_000 * per, 8_830_000_000 * per)


def times(rng: random.Random, unit: str) -> Callable[[], int]:
    per = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[unit]
    return lambda: rng.choice([0, 1, DAY * per - 1, 12 * 3600 * per]) if rng.random() < 0.3 else rng.randint(0, DAY * per - 1)


def leaves(rng: random.Random) -> dict[str, Kind]:
    """Every leaf type; the order is fixed, so that a seed always means the same file."""
    word = lambda: rng.choice(WORDS) if rng.random() < 0.7 else f"word {rng.randint(0, 10_000)}"
    raw = lambda: rng.choice([word().encode(), bytes(rng.randrange(256) for _ in range(rng.randint(0, 6)))])
    few = lambda: rng.choice(WORDS[:9])
    out: dict[str, Kind] = {}
    for bits in (8, 16, 32, 64):
        out[f"int{bits}"] = Kind(getattr(pa, f"int{bits}")(), integers(rng, bits, True))
        out[f"uint{bits}"] = Kind(getattr(pa, f"uint{bits}")(), integers(rng, bits, False))
    out["float16"] = Kind(pa.float16(), reals(rng, 16))
    out["float32"] = Kind(pa.float32(), reals(rng, 32))
    out["float64"] = Kind(pa.float64(), reals(rng, 64))
    out["nanny"] = Kind(pa.float64(), lambda: rng.choice([math.nan, 1.0]))
    out["zeros"] = Kind(pa.float32(), lambda: rng.choice([0.0, -0.0]))
    out["bool"] = Kind(pa.bool_(), lambda: rng.random() < 0.5)
    out["string"] = Kind(pa.string(), word)
    out["large_string"] = Kind(pa.large_string(), word)
    out["string_view"] = Kind(pa.string_view(), word)
    out["binary"] = Kind(pa.binary(), raw)
    out["large_binary"] = Kind(pa.large_binary(), raw)
    out["binary_view"] = Kind(pa.binary_view(), raw)
    out["fixed"] = Kind(pa.binary(5), lambda: bytes(rng.choice([0, 97, 255]) for _ in range(5)))
    out["dictionary"] = Kind(pa.dictionary(pa.int8(), pa.string()), few)
    out["dictionary_large"] = Kind(pa.dictionary(pa.int32(), pa.large_string()), few)
    out["date32"] = Kind(pa.date32(), lambda: rng.choice([0, -1, 19_723, rng.randint(-90_000, 90_000)]))
    out["date64"] = Kind(pa.date64(), lambda: 86_400_000 * rng.choice([0, -1, 19_723, rng.randint(-90_000, 90_000)]))
    for unit in ("s", "ms"):
        out[f"time32_{unit}"] = Kind(pa.time32(unit), times(rng, unit))
    for unit in ("us", "ns"):
        out[f"time64_{unit}"] = Kind(pa.time64(unit), times(rng, unit))
    for unit in ("s", "ms", "us", "ns"):
        out[f"ts_{unit}"] = Kind(pa.timestamp(unit), instants(rng, unit))
        zone = rng.choice(["UTC", "Europe/Berlin", "+02:00", "America/Los_Angeles"])
        out[f"ts_{unit}_zone"] = Kind(pa.timestamp(unit, zone), instants(rng, unit))
        out[f"duration_{unit}"] = Kind(pa.duration(unit), lambda: rng.randint(-(10**12), 10**12))
    for width, precision, scale in ((32, 7, 2), (64, 15, 0), (128, 5, 2), (128, 9, 0), (128, 18, 4), (128, 38, 10), (128, 38, 38), (256, 20, 5), (256, 60, 5), (256, 76, 0)):
        out[f"dec{width}_{precision}_{scale}"] = Kind(getattr(pa, f"decimal{width}")(precision, scale), digits(rng, precision, scale))
    out["null"] = Kind(pa.null(), lambda: None)
    out["uuid"] = Kind(pa.uuid(), lambda: bytes([rng.choice([0, 1, 127, 128, 255])] + [rng.randrange(256) for _ in range(15)]))
    out["json"] = Kind(pa.json_(), lambda: json.dumps({"a": rng.randint(0, 9)}))
    out["bool8"] = Kind(pa.bool8(), lambda: rng.randint(0, 1))
    return out


def some(rng: random.Random, make: Callable[[], Any], nulls: float = 0.15) -> Any:
    return None if rng.random() < nulls else make()


def nested(rng: random.Random, all_leaves: dict[str, Kind], depth: int = 0) -> Kind:
    """A random type up to four levels deep."""
    shapes = ["leaf", "leaf", "struct", "struct", "list", "list", "large_list", "fixed_list", "map", "list_view"]
    shape = rng.choice(shapes[2:] if depth == 0 else shapes if depth < 4 else ["leaf"])
    if shape == "leaf":
        flat = [k for k, v in all_leaves.items() if not isinstance(v.type, pa.BaseExtensionType | pa.DictionaryType) and k != "null"]
        return all_leaves[rng.choice(flat)]
    if shape == "struct":
        kids = {f"f{i}": nested(rng, all_leaves, depth + 1) for i in range(rng.randint(1, 3))}
        return Kind(pa.struct([pa.field(k, v.type) for k, v in kids.items()]), lambda: {k: some(rng, v.make) for k, v in kids.items()})
    item = nested(rng, all_leaves, depth + 1)
    if shape == "map":
        return Kind(pa.map_(pa.string(), item.type), lambda: [(f"k{i}", some(rng, item.make)) for i in range(rng.randint(0, 3))])
    if shape == "fixed_list":
        size = rng.randint(1, 3)
        return Kind(pa.list_(item.type, size), lambda: [some(rng, item.make) for _ in range(size)])
    of = {"list": pa.list_, "large_list": pa.large_list, "list_view": pa.list_view}[shape]
    return Kind(of(item.type), lambda: [some(rng, item.make) for _ in range(rng.choice([0, 0, 1, 2, 5]))])


def column(kind: pa.DataType, values: list[Any]) -> pa.Array:
    """An array of values, of any type of this module."""
    if isinstance(kind, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(kind, pa.array(values, kind.storage_type))
    return pa.array(halves(kind, values), kind)


def halves(kind: pa.DataType, values: Any) -> Any:
    """float16 is the one type for which pyarrow wants numpy's own numbers."""
    if values is None:
        return None
    if pa.types.is_float16(kind):
        with np.errstate(over="ignore"):
            return [None if v is None else np.float16(v) for v in values]
    if pa.types.is_struct(kind):
        return [None if v is None else {f.name: halves(f.type, [v[f.name]])[0] for f in kind} for v in values]
    if pa.types.is_map(kind):
        return [None if v is None else [(k, halves(kind.item_type, [x])[0]) for k, x in v] for v in values]
    if hasattr(kind, "value_type") and not pa.types.is_dictionary(kind):
        return [None if v is None else halves(kind.value_type, v) for v in values]
    return values
