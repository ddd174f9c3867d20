"""The Python client against a real server over the embedded Hub."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import pickle
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
import pyarrow.flight
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi

import hubflight
from conftest import READER, WRITER
from flightserver import FlightServer
from hubflight import Client
from hubflight._secret import Secret
from hubflight.connection import CALL_TIMEOUT, Connection, Retry, Server
from hubflight.reading import Stop
from seeds import CHAT_FILES, FLIGHT_FILES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from hubserver import HubServer

pytestmark = pytest.mark.server


def same(got: pa.Table, want: pa.Table) -> None:
    """Equal names, types and values; NaN equals NaN."""
    assert got.schema.remove_metadata() == want.schema.remove_metadata()
    assert got.num_rows == want.num_rows
    for name in want.column_names:
        left, right = got[name].combine_chunks(), want[name].combine_chunks()
        if pa.types.is_floating(right.type):
            assert pc.is_nan(left).to_pylist() == pc.is_nan(right).to_pylist()
            left, right = pc.fill_null(left, math.inf), pc.fill_null(right, math.inf)
            left, right = pc.if_else(pc.is_nan(left), 0.0, left), pc.if_else(pc.is_nan(right), 0.0, right)
        assert left.to_pylist() == right.to_pylist(), name


def test_a_dataset_reads_as_the_rows_of_its_files_in_order(client: Client, seeds: dict[str, Any]) -> None:
    dataset = client.dataset("demo/flights")
    same(dataset.to_table(), seeds["flights"])
    assert dataset.schema.remove_metadata() == seeds["flights"].schema.remove_metadata()
    assert dataset.num_rows == 6000
    assert dataset.count() == 6000
    assert len(dataset.plan().partitions) == FLIGHT_FILES
    assert sum(batch.num_rows for batch in dataset.to_batches()) == 6000


def test_columns_come_in_the_order_asked_for(client: Client, seeds: dict[str, Any]) -> None:
    got = client.dataset("demo/flights", columns=["dest.name", "hour"]).to_table()
    same(got, seeds["flights"].select(["dest.name", "hour"]))


def test_nested_columns_keep_their_nesting(client: Client, seeds: dict[str, Any]) -> None:
    got = client.dataset("demo/chat", columns=["conversations.value"]).to_table()
    want = [[{"value": m["value"]} for m in c] for c in seeds["chat"]["7M-core"]["conversations"].to_pylist()]
    assert got["conversations"].to_pylist() == want


def test_a_plan_says_how_many_requests_it_took(client: Client) -> None:
    first = client.dataset("demo/flights").plan().requests
    assert first is not None
    assert set(first) == {"hub", "cdn", "viewer"}
    again = client.dataset("demo/flights").plan().requests
    assert again is not None
    assert again["hub"] <= 1
    assert again["cdn"] == 0
    local = client.dataset("demo/flights", revision=client.dataset("demo/flights").plan().facts["sha"]).plan().requests
    assert local == {"hub": 0, "cdn": 0, "viewer": 0}


def test_the_conversion_is_listed_as_the_hub_lists_it(client: Client, hub: HubServer, tmp_path: Path) -> None:
    name = f"demo/converted-{uuid.uuid4().hex[:8]}"
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "train.csv").write_text("id\n1\n2\n")
    hub.import_folder(tmp_path / "source", name)
    listing = client.parquet(name)
    assert listing["parquet_files"] == []
    assert listing["reason"]
    for path in ("default/train/0000", "default/train/0001", "other/test/0000"):
        file = tmp_path / "converted" / f"{path}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table({"id": [1, 2]}), file)
    hub.import_folder(tmp_path / "converted", name, "refs/convert/parquet")
    listing = client.parquet(name)
    assert (listing["pending"], listing["failed"], listing["partial"]) == ([], [], False)
    found = [(f["config"], f["split"], f["filename"]) for f in listing["parquet_files"]]
    assert found == [
        ("default", "train", "0000.parquet"),
        ("default", "train", "0001.parquet"),
        ("other", "test", "0000.parquet"),
    ]
    assert [f["split"] for f in client.parquet(name, config="other")["parquet_files"]] == ["test"]
    urls = client.parquet(name, shape="hub")
    assert {config: {split: len(found) for split, found in splits.items()} for config, splits in urls.items()} == {
        "default": {"train": 2},
        "other": {"test": 1},
    }
    assert client.parquet(name, shape="hub", config="default") == urls["default"]
    assert client.parquet(name, shape="hub", config="default", split="train") == urls["default"]["train"]
    assert client.parquet(name, shape="hub", config="default", split="train", shard=1) == urls["default"]["train"][1]


def test_configs_splits_and_limits(client: Client, seeds: dict[str, Any]) -> None:
    same(client.dataset("demo/chat").to_table(), seeds["chat"]["7M-core"])
    same(client.dataset("demo/chat", config="gen").to_table(), seeds["chat"]["gen"])
    same(client.dataset("demo/flights", split="test").to_table(), seeds["flights"].slice(0, 100))
    same(client.dataset("demo/flights", limit=2000).to_table(), seeds["flights"].slice(0, 2000))
    none = client.dataset("demo/flights", limit=0)
    assert none.plan().partitions == []
    same(none.to_table(), seeds["flights"].slice(0, 0))
    listed = {(s["config"], s["split"], s["files"]) for s in client.splits("demo/chat")}
    assert listed == {("7M-core", "train", CHAT_FILES), ("gen", "train", CHAT_FILES)}


FILTERS: list[tuple[Any, Any]] = [
    ([("carrier", "=", "AA")], pc.field("carrier") == "AA"),
    ([("carrier", "!=", "AA")], pc.field("carrier") != "AA"),
    ([("hour", ">=", 100), ("hour", "<", 130)], (pc.field("hour") >= 100) & (pc.field("hour") < 130)),
    ([("hour", "in", [5, 300, 9999])], pc.field("hour").isin([5, 300, 9999])),
    ([("carrier", "not in", ["AA", "DL"])], ~pc.field("carrier").isin(["AA", "DL"])),
    ([("carrier", "in", ["AA", None])], pc.field("carrier").isin(["AA", None])),
    ([[("hour", "<", 3)], [("hour", ">", 597)]], (pc.field("hour") < 3) | (pc.field("hour") > 597)),
    ([("delay", ">", 0.5)], pc.field("delay") > 0.5),
    ([("delay", "!=", 0.5)], pc.field("delay") != 0.5),
    ([("dest.name", "=", "airport 7")], pc.field("dest.name") == "airport 7"),
    ([("carrier", "=", None)], pc.field("carrier") == pa.scalar(None, pa.string())),
    ([("hour", "=", 10**30)], pc.field("hour") == -1),
]


@pytest.mark.parametrize("number", range(len(FILTERS)))
def test_filters_give_the_rows_that_pyarrow_gives(client: Client, seeds: dict[str, Any], number: int) -> None:
    filters, expression = FILTERS[number]
    # One file at a time and without its statistics' help, so that this is pyarrow's row by row answer.
    want = pads.dataset(seeds["flights"]).to_table(filter=expression)
    dataset = client.dataset("demo/flights", filters=filters)
    same(dataset.to_table(), want)
    same(client.dataset("demo/flights", filters=repr(filters)).to_table(), want)
    assert dataset.count() == want.num_rows
    if "None" not in repr(filters) or "in" in repr(filters):
        same(client.dataset("demo/flights", filters=json.dumps(filters)).to_table(), want)


def test_dates_are_compared_with_text_and_with_dates(client: Client, seeds: dict[str, Any]) -> None:
    import datetime as dt

    want = pads.dataset(seeds["flights"]).to_table(filter=pc.field("day") >= dt.date(2024, 1, 10))
    same(client.dataset("demo/flights", filters=[("day", ">=", "2024-01-10")]).to_table(), want)
    same(client.dataset("demo/flights", filters=[("day", ">=", dt.date(2024, 1, 10))]).to_table(), want)


def test_explain_says_which_row_groups_are_kept(client: Client) -> None:
    got = client.dataset("demo/flights", filters=[("hour", "<", 60)]).explain()
    assert len(got.files) == FLIGHT_FILES
    assert [file["kept"] for file in got.files] == [True, False, False, False]
    assert [group["kept"] for group in got.files[0]["row_groups"]] == [True, True, False, False, False]
    assert got.totals["row_groups_kept"] == 2
    assert got.totals["bytes_kept"] < got.totals["bytes_total"]
    assert all(file["size"] > 0 for file in got.files)
    assert got.requests is not None
    assert set(got.requests) == {"hub", "cdn", "viewer"}


def test_explain_has_one_object_for_a_file_of_very_many_row_groups(
    client: Client, hub: HubServer, tmp_path: Path
) -> None:
    pq.write_table(pa.table({"n": range(8100)}), tmp_path / "train.parquet", row_group_size=1)
    pq.write_table(pa.table({"n": [1]}), tmp_path / "test.parquet")
    name = f"demo/groups-{uuid.uuid4().hex[:8]}"
    hub.import_folder(tmp_path, name)
    got = client.dataset(name, split="all").explain()
    assert [(file["split"], len(file["row_groups"])) for file in got.files] == [("train", 8100), ("test", 1)]
    assert [group["group"] for group in got.files[0]["row_groups"]] == list(range(8100))


def test_branches_tags_and_what_a_write_proposes_are_read(client: Client, hub: HubServer, tmp_path: Path) -> None:
    name = f"demo/revisions-{uuid.uuid4().hex[:8]}"
    for revision in ("main", "exp/long"):
        pq.write_table(pa.table({"a": [revision]}), tmp_path / "train.parquet")
        hub.import_folder(tmp_path, name, revision)
    api = HfApi(endpoint=hub.url, token=WRITER)
    api.create_tag(name, tag="v1", revision="exp/long", repo_type="dataset")
    for ref, options, want in (
        (name, {}, "main"),
        (name, {"revision": "exp/long"}, "exp/long"),
        (f"{name}@exp%2Flong", {}, "exp/long"),
        (name, {"revision": "v1"}, "exp/long"),
        (f"{name}@v1", {}, "exp/long"),
    ):
        assert client.dataset(ref, **options).to_table()["a"].to_pylist() == [want], (ref, options)
    proposed = client.write(pa.table({"a": ["more"]}), name, create_pr=True)
    for ref, options in ((f"{name}@refs/pr/{proposed.pr}", {}), (name, {"revision": f"refs/pr/{proposed.pr}"})):
        got = client.dataset(ref, **options)
        assert sorted(got.to_table()["a"].to_pylist()) == ["main", "more"], (ref, options)
        assert got.plan().facts["sha"] == proposed.head
    assert client.dataset(name).to_table()["a"].to_pylist() == ["main"]


def test_a_dataset_stays_at_its_snapshot(client: Client) -> None:
    name = f"demo/pin-{uuid.uuid4().hex[:8]}"
    client.write(pa.table({"a": [1]}), name, create_repo=True)
    dataset = client.dataset(name)
    assert dataset.schema.names == ["a"]
    client.write(pa.table({"a": [2]}), name)
    assert dataset.to_table()["a"].to_pylist() == [1]
    assert client.dataset(name).to_table()["a"].to_pylist() == [1, 2]
    sha = dataset.plan().facts["sha"]
    assert client.dataset(f"{name}@{sha}").to_table()["a"].to_pylist() == [1]
    assert client.dataset(name, revision=sha).to_table()["a"].to_pylist() == [1]


def test_a_dataset_with_addresses_of_a_branch_stays_at_its_snapshot(client: Client) -> None:
    name = f"demo/pin-{uuid.uuid4().hex[:8]}"
    client.write(pa.table({"a": [1]}), name, create_repo=True)
    address = f"hf://datasets/{name}@main/data/*.parquet"
    datasets = [client.dataset(name, data_files=files) for files in (address, [address], {"train": address})]
    assert all(d.schema.names == ["a"] for d in datasets)
    client.write(pa.table({"a": [2]}), name)
    assert [d.to_table()["a"].to_pylist() for d in datasets] == [[1], [1], [1]]


def test_writing_appends_overwrites_and_refuses(client: Client) -> None:
    name = f"demo/write-{uuid.uuid4().hex[:8]}"
    first = pa.table({"a": [1, 2], "b": ["x", None]})
    with pytest.raises(hubflight.DatasetNotFound):
        client.write(first, name)
    result = client.write(first, name, create_repo=True)
    assert result.rows == 2
    assert len(result.paths) == 1
    assert result.resolves
    client.write(first.to_batches(), name)
    same(client.dataset(name).to_table(), pa.concat_tables([first, first]))
    for mode in ("errorifexists", "Error"):
        with pytest.raises(hubflight.AlreadyExists):
            client.write(first, name, mode=mode)
    assert client.write(first, name, mode="ignore").skipped
    client.write(pa.table({"c": [7]}), name, mode="overwrite")
    same(client.dataset(name).to_table(), pa.table({"c": [7]}))
    with pytest.raises(hubflight.InvalidOption, match="column=d"):
        client.write(pa.table({"d": [7]}), name)


def frames() -> dict[str, Any]:
    """The same rows, as each library has them."""
    import duckdb
    import pandas
    import polars

    columns = {
        "n": [1, 2, 3],
        "t": ["x", None, "longer than what fits into a view itself"],
        "k": ["b", "a", "b"],
        "l": [["p"], None, ["q", None]],
    }
    table = pa.table(columns)
    polars_frame = polars.DataFrame(columns)
    connection = duckdb.connect()
    connection.register("rows_", table)
    return {
        "polars": polars_frame,
        "polars categories": polars_frame.with_columns(polars.col("k").cast(polars.Categorical)),
        "polars enum": polars_frame.with_columns(polars.col("k").cast(polars.Enum(["a", "b"]))),
        "polars in chunks": polars.concat([polars_frame[:1], polars_frame[1:]], rechunk=False),
        "pandas": pandas.DataFrame(columns),
        "pandas categories": pandas.DataFrame(columns).astype({"k": "category"}),
        "duckdb": connection.sql("SELECT * FROM rows_"),
        "duckdb enum": connection.sql("SELECT n, t, k::ENUM('a', 'b') AS k, l FROM rows_"),
        "table": table,
        "reader": table.to_reader(),
        "batches": table.to_batches(),
        "views": table.set_column(1, "t", table["t"].cast(pa.string_view())),
        "dictionary": table.set_column(2, "k", table["k"].dictionary_encode()),
    }


def test_what_every_library_has_is_written_as_plain_values(client: Client) -> None:
    name = f"demo/frames-{uuid.uuid4().hex[:8]}"
    given = frames()
    for kind, data in given.items():
        client.write(data, name, create_repo=True, mode="overwrite")
        got = client.dataset(name).to_table()
        assert got.to_pydict() == given["table"].to_pydict(), kind
        assert {str(got.schema.field(i).type) for i in (1, 2)} <= {"string", "large_string"}, kind
        if not isinstance(data, pa.RecordBatchReader):
            client.write(data, name, progress=True)  # as an append, and counted
            assert client.dataset(name).num_rows == 6, kind


def test_what_was_opened_for_a_write_is_closed_however_it_ends(client: Client) -> None:
    import duckdb

    name = f"demo/closed-{uuid.uuid4().hex[:8]}"
    connection = duckdb.connect()
    rows = connection.sql("SELECT range AS a FROM range(100000)")
    with pytest.raises(hubflight.DatasetNotFound) as caught:  # whose traceback holds what was open
        client.write(rows, name)
    assert caught.value.kind == "not_found"
    assert connection.sql("SELECT 1").fetchall() == [(1,)]
    client.write(rows, name, create_repo=True)
    assert client.write(rows, name, mode="ignore").skipped
    assert connection.sql("SELECT 2").fetchall() == [(2,)]
    with pytest.raises(hubflight.InvalidOption) as other:
        client.write(connection.sql("SELECT 'x' AS a FROM range(100000)"), name)
    assert other.value.kind == "invalid"
    assert connection.sql("SELECT 3").fetchall() == [(3,)]


def test_a_reader_that_the_caller_gave_stays_open(client: Client) -> None:
    reader = pa.RecordBatchReader.from_stream(pa.table({"a": [1, 2]}))
    assert client.write(reader, "demo/flights", mode="ignore").skipped
    assert reader.read_all().num_rows == 2


def test_a_column_that_arrow_cannot_hold_is_refused(client: Client) -> None:
    import polars

    frame = polars.DataFrame({"i": polars.Series([1], dtype=polars.Int128)})
    with pytest.raises(hubflight.Unsupported, match=r"pyarrow cannot take the data.*cast that column"):
        client.write(frame, "demo/flights")


def batches(*columns: dict[str, Any]) -> list[pa.RecordBatch]:
    return [pa.RecordBatch.from_pydict(c) for c in columns]


def test_batches_are_written_by_the_names_of_their_columns(client: Client) -> None:
    name = f"demo/order-{uuid.uuid4().hex[:8]}"
    given = batches({"price": [1, 2], "count": [100, 200]}, {"count": [300], "price": [3]})
    reader = pa.RecordBatchReader.from_batches(given[0].schema, given)
    for data in (given, iter(given), reader):
        client.write(data, name, create_repo=True, mode="overwrite")
        got = client.dataset(name).to_table()
        assert got.to_pydict() == {"price": [1, 2, 3], "count": [100, 200, 300]}


@pytest.mark.parametrize("progress", [False, True])
@pytest.mark.parametrize(
    ("last", "error"),
    [
        ({"b": [3]}, "batches[2]: the column 'a' is missing: the columns are b"),
        ({"s": [{"x": 1}]}, "batches[2]: the column 'a' is missing: the columns are s"),
        ({"a": [3], "s": [{"x": 1}], "c": [4]}, "batches[2]: the column 'c' does not exist in the target"),
        ({"a": [3], "s": [{"x": 1, "y": 2}]}, "batches[2]: column 's': the field 'y' does not exist in the target"),
        ({"a": [3.5], "s": [{"x": 1}]}, "column 'a'"),
    ],
)
def test_a_batch_of_other_columns_is_refused_by_its_number_and_nothing_is_committed(
    client: Client, last: dict[str, Any], error: str, progress: bool
) -> None:
    name = f"demo/other-{uuid.uuid4().hex[:8]}"
    first = {"a": range(400_000), "s": [{"x": 1}] * 400_000}  # more than one message
    client.write(batches({"a": [0], "s": [{"x": 1}]}), name, create_repo=True)
    with pytest.raises(hubflight.InvalidOption) as caught:
        client.write(iter(batches(first, {"a": []}, last)), name, progress=progress)
    assert error in str(caught.value)
    assert client.dataset(name).num_rows == 1


@pytest.mark.parametrize("name", ["token", "Token", "server", "server_token", "endpoint"])
def test_where_the_server_is_and_who_asks_is_said_to_connect_and_nowhere_else(client: Client, name: str) -> None:
    for call in (client.dataset, lambda ref, **options: client.write(pa.table({"a": [1]}), ref, **options)):
        with pytest.raises(hubflight.InvalidOption) as caught:
            call("demo/flights", **{name: "grpc://127.0.0.1:1"})
        assert str(caught.value) == f"[invalid] option {name}: it belongs to connect()"
        with pytest.raises(hubflight.InvalidOption, match="option path: the dataset is the argument ref"):
            call("demo/flights", path="demo/chat")


def test_a_write_that_fails_halfway_ends_at_once_and_commits_nothing(client: Client) -> None:
    name = f"demo/halfway-{uuid.uuid4().hex[:8]}"
    client.write(pa.table({"a": [b"x"]}), name, create_repo=True)

    def batches() -> Iterator[pa.RecordBatch]:
        for _ in range(20):
            yield pa.RecordBatch.from_pydict({"a": [b"y" * 1_000_000]})
        raise ZeroDivisionError("the source of the rows failed")

    since = time.monotonic()
    with pytest.raises(ZeroDivisionError):
        client.write(batches(), name)
    with pytest.raises(hubflight.LimitExceeded, match="'a'"):
        client.write(pa.table({"a": [b"y" * (61 << 20)]}), name)
    assert time.monotonic() - since < 30
    assert client.dataset(name).to_table()["a"].to_pylist() == [b"x"]


def test_zero_rows_append_nothing_and_overwrite_everything(client: Client) -> None:
    name = f"demo/empty-{uuid.uuid4().hex[:8]}"
    client.write(pa.table({"a": [1]}), name, create_repo=True)
    head = client.dataset(name).plan().facts["sha"]
    client.write(pa.table({"a": pa.array([], pa.int64())}), name)
    assert client.dataset(name).plan().facts["sha"] == head
    client.write(pa.table({"a": pa.array([], pa.int64())}), name, mode="overwrite")
    got = client.dataset(name).to_table()
    assert (got.num_rows, got.column_names) == (0, ["a"])


def test_what_reads_rows_may_take_as_long_as_there_are_rows(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float | None] = []
    real = Connection.call_options

    def options(connection: Connection, headers: Any = None, timeout: float | None = None) -> Any:
        asked.append(timeout)
        return real(connection, headers, timeout)

    monkeypatch.setattr(Connection, "call_options", options)
    dataset = client.dataset("demo/flights", filters=[("hour", "<", 60)])
    assert dataset.count() == 600
    assert dataset.explain().files
    assert asked == [None, None]
    client.version()
    assert asked[-1] == CALL_TIMEOUT


def test_other_libraries_read_the_arrow_stream(client: Client, seeds: dict[str, Any]) -> None:
    import duckdb
    import polars

    dataset = client.dataset("demo/flights", columns=["hour", "carrier"])
    want = seeds["flights"]
    reader = dataset.to_reader()
    con = duckdb.connect()
    con.register("flights", reader)
    found = con.execute("select count(*), sum(hour) from flights").fetchall()
    assert found == [(6000, pc.sum(want["hour"]).as_py())]
    frame = polars.from_arrow(dataset.to_table())
    assert frame.filter(polars.col("carrier") == "AA").height == want.filter(pc.field("carrier") == "AA").num_rows
    pandas = dataset.to_pandas()
    assert pandas["hour"].sum() == pc.sum(want["hour"]).as_py()
    name = f"demo/polars-{uuid.uuid4().hex[:8]}"
    client.write(polars.DataFrame({"a": [1, 2]}), name, create_repo=True)
    assert client.dataset(name).to_table()["a"].to_pylist() == [1, 2]


def test_plain_pyarrow_reads_with_a_command_written_by_hand(server: FlightServer, seeds: dict[str, Any]) -> None:
    connection = pyarrow.flight.connect(server.url)
    command = b'{"v":1,"dataset":"demo/chat","columns":["langdetect"],"filters":[["langdetect","=","zh-cn"]]}'
    info = connection.get_flight_info(pyarrow.flight.FlightDescriptor.for_command(command))
    table = pa.concat_tables([connection.do_get(endpoint.ticket).read_all() for endpoint in info.endpoints])
    assert table["langdetect"].to_pylist() == ["zh-cn"] * 300
    by_path = connection.get_flight_info(pyarrow.flight.FlightDescriptor.for_path("demo/chat", "gen"))
    assert by_path.total_records == 300


def test_partitions_can_be_read_by_somebody_else(client: Client, seeds: dict[str, Any]) -> None:
    plan = client.dataset("demo/flights").plan()
    parts = pickle.loads(pickle.dumps([(client.server, p) for p in plan.partitions]))  # noqa: S301
    tables = [pa.Table.from_batches(hubflight.read_partition(server, p), plan.schema) for server, p in parts]
    same(pa.concat_tables(tables), seeds["flights"])


def test_local_folders_are_read_below_the_roots(client: Client, seeds: dict[str, Any]) -> None:
    same(client.dataset(f"file://{seeds['folder']}/flights").to_table(), seeds["flights"])
    dataset = client.dataset(str(seeds["folder"] / "flights"))
    assert dataset.schema.names[0] == "hour"
    same(dataset.to_table(), seeds["flights"])
    same(client.dataset(seeds["folder"] / "flights").to_table(), seeds["flights"])
    client.write(pa.table({"a": [1]}), seeds["folder"] / "written", create_repo=True, mode="overwrite")
    assert client.dataset(seeds["folder"] / "written").num_rows == 1
    with pytest.raises(hubflight.AccessDenied):
        client.dataset("file:///etc").to_table()


def test_files_and_folders_can_be_named(client: Client, seeds: dict[str, Any]) -> None:
    want = seeds["chat"]["gen"]
    same(client.dataset("demo/chat", data_files="gen/*.parquet").to_table(), want)
    same(client.dataset("demo/chat", data_files={"train": ["gen/part-0.parquet"]}).to_table(), want.slice(0, 100))
    same(client.dataset("demo/chat", data_dir="gen").to_table(), want)
    same(client.dataset("hf://datasets/demo/chat/gen").to_table(), want)


def test_large_files_can_be_split_at_their_row_groups(client: Client, seeds: dict[str, Any]) -> None:
    dataset = client.dataset("demo/flights", max_partition_bytes="1b")
    assert len(dataset.plan().partitions) == 20
    same(dataset.to_table(), seeds["flights"])


def test_a_servers_own_token_and_the_hubs_go_side_by_side(
    hub: HubServer, seeds: dict[str, Any], tmp_path: Path
) -> None:
    secret = "one-of-the-servers-own"
    tokens = tmp_path / "tokens"
    tokens.write_text(f"tester {hashlib.sha256(secret.encode()).hexdigest()} read demo/*\n")
    arguments = ("--hub.endpoint", hub.url, "--auth.mode", "token", "--auth.token_file", str(tokens))
    server = FlightServer(tmp_path, *arguments).start()
    try:
        with pytest.raises(hubflight.NotAuthenticated, match="HUBFLIGHT_SERVER_TOKEN"):
            hubflight.connect(server.url, token=READER).dataset("demo/secret").to_table()
        allowed = hubflight.connect(server.url, token=READER, server_token=secret)
        same(allowed.dataset("demo/secret").to_table(), seeds["flights"])
        with pytest.raises(hubflight.AccessDenied):
            allowed.write(pa.table({"a": [1]}), "demo/flights")
        assert secret not in server.log() + repr(allowed) + repr(allowed.server)
    finally:
        server.stop()


def test_a_server_that_forwards_the_callers_hub_token_gets_it(
    hub: HubServer, seeds: dict[str, Any], tmp_path: Path
) -> None:
    server = FlightServer(tmp_path, "--hub.endpoint", hub.url, "--auth.mode", "hub").start()
    try:
        same(hubflight.connect(server.url, token=READER).dataset("demo/secret").to_table(), seeds["flights"])
        with pytest.raises(hubflight.NotAuthenticated):
            hubflight.connect(server.url).dataset("demo/flights").to_table()
    finally:
        server.stop()


def test_a_local_folder_that_changed_after_loading_is_an_error_and_no_mixture(client: Client, seeds: Any) -> None:
    folder = seeds["folder"] / f"changing-{uuid.uuid4().hex[:8]}"
    client.write(pa.table({"a": [1]}), f"file://{folder}", create_repo=True)
    dataset = client.dataset(f"file://{folder}")
    planned = client.dataset(f"file://{folder}")
    assert dataset.schema.names == ["a"]
    assert len(planned.plan().partitions) == 1
    client.write(pa.table({"a": [2]}), f"file://{folder}")
    with pytest.raises(hubflight.SnapshotChanged):
        dataset.to_table()
    assert client.dataset(f"file://{folder}").to_table()["a"].to_pylist() == [1, 2]
    assert planned.to_table()["a"].to_pylist() == [1]  # the planned file itself is still the same


FLIGHTS = "hour, carrier, delay, dest.name, day"


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"path": "demo/nothing"}, hubflight.DatasetNotFound, "demo/nothing"),
        ({"config": "nothing"}, hubflight.HubflightError, "nothing"),
        ({"split": "nothing"}, hubflight.HubflightError, "nothing"),
        ({"revision": "nothing"}, hubflight.DatasetNotFound, "nothing"),
        ({"columns": ["hours"]}, hubflight.InvalidOption, f'did you mean "hour"? the columns are {FLIGHTS}'),
        ({"columns": ["dest.nam"]}, hubflight.InvalidOption, f'did you mean "dest.name"? the columns are {FLIGHTS}'),
        ({"columns": ["quantity"]}, hubflight.InvalidOption, f"column=quantity): the columns are {FLIGHTS}"),
        (
            {"path": "demo/chat", "columns": ["conversation.valeu"]},
            hubflight.InvalidOption,
            'did you mean "conversations.value"? the columns are id, conversations, label, langdetect',
        ),
        ({"filters": [("hours", "=", 1)]}, hubflight.InvalidOption, f'did you mean "hour"? the columns are: {FLIGHTS}'),
        ({"filters": [("quantity", "=", 1)]}, hubflight.InvalidOption, f'"quantity"; the columns are: {FLIGHTS}'),
        ({"filters": [("hour", "=", "one")]}, hubflight.InvalidOption, "int32"),
        ({"filters": [("hour", "=", {"$date": "2024-01-01"})]}, hubflight.InvalidOption, "hour"),
    ],
)
def test_errors_say_what_is_wrong(client: Client, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error) as caught:
        client.dataset(options.pop("path", "demo/flights"), **options).to_table()
    assert text in str(caught.value)
    assert WRITER not in str(caught.value)
    assert isinstance(caught.value, hubflight.HubflightError)
    assert caught.value.request_id


def test_tokens_decide_and_are_shown_nowhere(server: FlightServer, seeds: dict[str, Any]) -> None:
    same(hubflight.connect(server.url, token=READER).dataset("demo/secret").to_table(), seeds["flights"])
    wrong = "hf_revokedrevoked"
    for token in (None, wrong):
        with pytest.raises(hubflight.HubflightError) as caught:
            hubflight.connect(server.url, token=token).dataset("demo/secret").to_table()
        assert caught.value.kind in ("unauthenticated", "denied", "not_found")
        assert wrong not in str(caught.value)
    with pytest.raises(hubflight.HubflightError) as caught:
        hubflight.connect(server.url, token=READER).write(pa.table({"a": [1]}), "demo/flights")
    assert caught.value.kind in ("denied", "unauthenticated")
    assert READER not in str(caught.value)
    assert not any(token in server.log() for token in (READER, WRITER, wrong))


def test_a_server_that_is_not_there_is_an_error_that_says_so() -> None:
    with (
        Connection(Server("grpc://127.0.0.1:9"), Retry(unreachable=0.5)) as connection,
        pytest.raises(hubflight.ServerUnreachable, match="hubflight serve"),
    ):
        connection.action("version", {})


@pytest.fixture
def large(tmp_path: Path) -> Iterator[tuple[FlightServer, hubflight.Dataset, pa.Table]]:
    """A server of the test's own with one file that no buffer on the way can hold."""
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "server").mkdir()
    rng = random.Random(5)
    table = pa.table({"i": range(20_000), "bytes": [rng.randbytes(2000) for _ in range(20_000)]})
    pq.write_table(table, tmp_path / "set/data/train.parquet", row_group_size=5000)
    server = FlightServer(tmp_path / "server", "--local.roots", str(tmp_path / "set")).start()
    yield server, hubflight.connect(server.url).dataset(f"file://{tmp_path}/set"), table
    server.stop()


def logged(condition: Callable[[], bool]) -> None:
    """A call's line is written when the call has ended, which may be a moment after its client has seen the end."""
    deadline = time.monotonic() + 5
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def test_tokens_for_a_server_of_this_machine_pass_no_proxy(
    server: FlightServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as proxy:

        def take() -> None:
            with contextlib.suppress(OSError):  # closed below
                asked.append(proxy.accept()[0].recv(100))

        taking = threading.Thread(target=take)
        taking.start()
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        for name in ("http_proxy", "https_proxy", "grpc_proxy"):
            monkeypatch.setenv(name, address)
        for name in ("no_proxy", "no_grpc_proxy", "NO_PROXY"):
            monkeypatch.delenv(name, raising=False)
        with Connection(Server(server.url, hub_token=Secret(READER)), Retry(unreachable=0)) as connection:
            connection.action("version", {})
        proxy.shutdown(socket.SHUT_RDWR)
        taking.join(60)
    assert asked == []


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_stream_is_resumed_after_the_server_went_away(large: Any, how: signal.Signals) -> None:
    server, dataset, table = large
    (partition,) = dataset.plan().partitions
    stream = hubflight.read_partition(dataset.server, partition)
    got = [next(stream) for _ in range(3)]
    server.stop(how)
    back = threading.Timer(1.0, server.start)
    back.start()
    got += list(stream)
    back.join()
    same(pa.Table.from_batches(got), table)
    assert server.log().count("msg=serving") == 2
    logged(lambda: "rpc=DoGet" in server.log().rpartition("msg=serving")[2])  # the rest came from the second one


@pytest.fixture
def impatient(tmp_path: Path) -> Iterator[FlightServer]:
    """A server of the test's own that ends a stream whose client does nothing for a second."""
    (tmp_path / "set/data").mkdir(parents=True)
    (tmp_path / "server").mkdir()
    flags = ("--server.idle_timeout_get", "1s", "--server.idle_timeout_put", "1s", "--server.unix", str(tmp_path / "s"))
    server = FlightServer(tmp_path / "server", "--local.roots", str(tmp_path / "set"), *flags).start()
    yield server
    server.stop()


def test_rows_that_wait_longer_for_their_reader_than_the_server_does_are_read_all_the_same(
    impatient: FlightServer, tmp_path: Path
) -> None:
    table = pa.table({"i": range(60_000), "text": [f"{i:0999d}" for i in range(60_000)]})
    pq.write_table(table, tmp_path / "set/data/train.parquet", row_group_size=5000)
    stream = hubflight.connect(impatient.url).dataset(tmp_path / "set").to_batches()
    got = [next(stream)]
    logged(lambda: "made no progress" in impatient.log())
    got += list(stream)
    same(pa.Table.from_batches(got), table)


@pytest.mark.parametrize("how", ["tcp", "unix"])
def test_a_write_may_wait_longer_for_its_rows_than_the_server_does(
    impatient: FlightServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr("hubflight.writing.ALIVE_SECONDS", 0.2)
    table = pa.table({"i": range(60_000), "text": ["x" * 100] * 60_000})

    def slowly() -> Iterator[pa.RecordBatch]:
        for batch in table.to_batches(20_000):
            yield batch
            time.sleep(1.5)

    client = hubflight.connect(impatient.url if how == "tcp" else f"grpc+unix://{tmp_path}/s")
    assert client.write(slowly(), tmp_path / "set").rows == 60_000
    same(client.dataset(tmp_path / "set").to_table(), table)


@pytest.fixture
def narrow(tmp_path: Path) -> Iterator[FlightServer]:
    """A server of the test's own that has one stream, and an empty folder."""
    (tmp_path / "set").mkdir()
    (tmp_path / "server").mkdir()
    flags = ("--local.roots", str(tmp_path), "--server.max_streams", "1")
    server = FlightServer(tmp_path / "server", *flags).start()
    yield server
    server.stop()


@pytest.mark.parametrize("trouble", ["away", "busy"])
def test_a_server_that_is_not_ready_when_the_rows_come_is_waited_for(
    narrow: FlightServer, tmp_path: Path, trouble: str
) -> None:
    """Also with rows that cannot be made again, as in the tasks of Spark."""
    client = hubflight.connect(narrow.url)
    (tmp_path / "long/data").mkdir(parents=True)
    pq.write_table(pa.table({"text": ["x" * 2000] * 30_000}), tmp_path / "long/data/train.parquet")
    (part,) = client.dataset(tmp_path / "long").plan().partitions
    stop = Stop()
    held = hubflight.read_partition(client.server, part, stop=stop)

    def rows() -> Iterator[pa.RecordBatch]:
        if trouble == "away":
            narrow.stop(signal.SIGKILL)
        else:
            next(held)
        back = threading.Timer(1.5, narrow.start if trouble == "away" else stop.give)
        back.start()
        for number in range(3):
            yield pa.record_batch({"i": range(number * 1000, number * 1000 + 1000)})
        back.join()

    batch = pa.schema([("i", pa.int64())])
    assert client.write(pa.RecordBatchReader.from_batches(batch, rows()), tmp_path / "set").rows == 3000
    assert client.dataset(tmp_path / "set").to_table()["i"].to_pylist() == list(range(3000))


def test_rows_that_fail_in_the_making_are_not_taken_for_all_there_are(narrow: FlightServer, tmp_path: Path) -> None:
    def rows() -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"i": range(1000)})
        raise hubflight.ServerBusy("[busy] of another server")

    client = hubflight.connect(narrow.url)
    with pytest.raises(hubflight.ServerBusy, match="of another server"):
        client.write(pa.RecordBatchReader.from_batches(pa.schema([("i", pa.int64())]), rows()), tmp_path / "set")
    assert not list((tmp_path / "set").glob("**/*.parquet"))


def test_closing_a_stream_stops_the_server(large: Any) -> None:
    server, dataset, _ = large
    stream = dataset.to_batches()
    next(stream)
    assert "rpc=DoGet" not in server.log()
    stream.close()
    logged(lambda: "rpc=DoGet" in server.log())
    assert "code=OK" not in server.log().rpartition("rpc=DoGet")[2]


def test_deleted_statistics_change_no_row(
    client: Client, seeds: dict[str, Any], tmp_path: Path, hub: HubServer
) -> None:
    folder = tmp_path / "nostats"
    (folder / "data").mkdir(parents=True)
    with_stats, without = seeds["flights"].slice(0, 3000), seeds["flights"].slice(3000)
    pq.write_table(with_stats, folder / "data/train-00000-of-00002.parquet", row_group_size=300)
    pq.write_table(without, folder / "data/train-00001-of-00002.parquet", row_group_size=300, write_statistics=False)
    hub.import_folder(folder, "demo/nostats")
    for filters, expression in FILTERS:
        want = pads.dataset(seeds["flights"]).to_table(filter=expression)
        same(client.dataset("demo/nostats", filters=filters).to_table(), want)


def test_a_renamed_split_is_a_clear_error(
    client: Client, seeds: dict[str, Any], tmp_path: Path, hub: HubServer
) -> None:
    folder = tmp_path / "renamed"
    (folder / "data").mkdir(parents=True)
    pq.write_table(seeds["flights"].slice(0, 10), folder / "data/learn-00000-of-00001.parquet")
    pq.write_table(seeds["flights"].slice(0, 10), folder / "data/check-00000-of-00001.parquet")
    hub.import_folder(folder, "demo/renamed")
    with pytest.raises(hubflight.HubflightError) as caught:
        client.dataset("demo/renamed", split="train").to_table()
    assert "train" in str(caught.value)
    assert "learn" in str(caught.value)
    assert client.dataset("demo/renamed", split="learn").num_rows == 10


def test_the_server_says_its_version(client: Client, hub: HubServer) -> None:
    answer = client.version()
    assert answer["wire"] == [1]
    assert answer["hub_endpoint"].rstrip("/") == hub.url.rstrip("/")


def test_a_server_that_is_slow_to_greet_is_waited_for(server: FlightServer) -> None:
    """An upload of what can be read only once cannot be tried again, so that its one connection has to be made."""
    address = ("127.0.0.1", int(server.url.rpartition(":")[2]))

    def pump(here: socket.socket, there: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := here.recv(1 << 16):
                there.sendall(data)
            there.shutdown(socket.SHUT_WR)

    def relay(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near = listener.accept()[0]
                time.sleep(0.6)
                far = socket.create_connection(address)
                for ends in ((near, far), (far, near)):
                    threading.Thread(target=pump, args=ends, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=relay, args=(listener,), daemon=True).start()
        slow = hubflight.connect(f"grpc://127.0.0.1:{listener.getsockname()[1]}", token=WRITER)
        batches = iter([pa.RecordBatch.from_pydict({"a": [1, 2]})])
        assert slow.write(batches, f"demo/slow-{uuid.uuid4().hex[:8]}", create_repo=True).rows == 2


def test_batches_are_nearly_as_large_as_a_message_may_be_unless_somebody_asks(client: Client) -> None:
    name, rows, columns = f"demo/wide-{uuid.uuid4().hex[:8]}", 60_000, 16
    client.write(pa.table({f"c{i}": pa.array(range(rows)) for i in range(columns)}), name, create_repo=True)

    def largest(**options: Any) -> int:
        sizes: list[int] = [batch.nbytes for batch in client.dataset(name, **options).to_batches()]
        return max(sizes)

    assert 3 << 20 < largest() < 4 << 20
    assert largest(batch_bytes="1MB") < 5 << 18


_MAPPED = """
import ctypes

class MallInfo(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in (
        "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype, libc.malloc.restype, libc.malloc.argtypes = MallInfo, ctypes.c_void_p, [ctypes.c_size_t]

def mapped():
    # Whether 4 MiB are asked of the system. They are not freed, which would raise the bound, too.
    before = libc.mallinfo2().hblks
    libc.malloc(4 << 20)
    return libc.mallinfo2().hblks > before

import hubflight
first = mapped()
hubflight.connect("grpc://127.0.0.1:1")
print(first, mapped())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_a_process_that_connects_keeps_the_memory_of_batches_instead_of_asking_for_it_again() -> None:
    ran = subprocess.run([sys.executable, "-c", _MAPPED], capture_output=True, text=True, check=False)
    if "undefined symbol: mallinfo2" in ran.stderr:
        pytest.skip("no glibc, or one older than 2.33")
    assert ran.stdout.split() == ["True", "False"], ran.stderr
