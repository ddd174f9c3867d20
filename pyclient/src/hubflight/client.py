"""The client: `connect` to a server, describe a dataset, read it as Arrow data, write one."""

from __future__ import annotations

import contextlib
import functools
import uuid
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from hubflight.connection import Connection, Retry, Server, connect_to
from hubflight.errors import InvalidOption, Unsupported
from hubflight.options import CONNECTING, parse_mode, parse_read, parse_write, split_revision
from hubflight.parallel import read_all
from hubflight.progress import Bar
from hubflight.reading import Plan, check_snapshot, pinned, snapshot_of
from hubflight.writing import Job, StagedFile, WriteResult

if TYPE_CHECKING:
    import duckdb
    import pandas
    import polars

__all__ = ["Client", "Dataset", "Explanation", "connect"]

# Of a batch, unless somebody asks for another size: about the most that a server sends as one message, which takes
# both sides a tenth less CPU than its default of 2 MiB.
BATCH_BYTES = 7 << 19


def connect(
    server: str | None = None,
    token: str | None = None,
    *,
    server_token: str | None = None,
    endpoint: str | None = None,
) -> Client:
    """A client of a hubflight server; without one configured, of this user's own on this machine.

    Args:
        server: ``grpc://host:8815``, ``grpc+tls://…`` or ``grpc+unix:///path``; else the environment variable
            HUBFLIGHT_SERVER. Where there is neither, one is started, shared with this user's other processes and
            ended when nobody has used it for a while.
        token: the Hub token to read and write with; else HF_TOKEN or the login file.
        server_token: the server's own bearer token, if it wants one; else HUBFLIGHT_SERVER_TOKEN.
        endpoint: the Hub's address, for a server that is started here; else HUBFLIGHT_HUB_ENDPOINT or HF_ENDPOINT. A
            server that is configured has its own, and another one is refused.
    """
    given = {"server": server, "token": token, "server_token": server_token, "endpoint": endpoint}
    return Client(connect_to(parse_read({"path": "any", **given}).connecting))


@functools.cache  # the second time it would be memory that has to be cleared
def _keep_freed_memory() -> None:
    """Lets this process keep memory that was freed, up to 32 MiB, for the next batches.

    gRPC puts batches into memory of malloc's. glibc gives what is freed back to the system from a bound on that it
    raises when something large is freed, to twice that; below, every batch is memory that the system has to clear
    first, a quarter of the CPU of receiving. What is allocated here is never touched, so costs nothing. Spark's workers
    do without: a machine runs many, and each would be a hundred MiB larger.
    """
    bytes(16 << 20)


class Client:
    """A server to ask. Cheap: connections are made when needed. Picklable.

    `server` is what `hubflight.read_partition` needs in another process.
    """

    def __init__(self, server: Server) -> None:
        _keep_freed_memory()
        self.server = server

    def __repr__(self) -> str:
        return f"Client({self.server.uri!r})"

    def dataset(self, ref: str | PathLike[str], **options: Any) -> Dataset:
        """A dataset, or a part of one; nothing is asked of the server yet.

        Args:
            ref: ``ns/name[@revision]``, ``hf://datasets/ns/name[@revision][/path]`` or ``file:///folder``;
                a `pathlib.Path` is a local folder.
            options: ``config``, ``split``, ``revision``, ``columns``, ``filters``, ``data_dir``, ``data_files``,
                ``limit``, ``profile``, ``conversion``, ``partial``, ``max_partition_bytes``, ``batch_rows``,
                ``batch_bytes``, ``compression``; as Python values, or as texts like Spark's.
        """
        _check_elsewhere(options)
        command = parse_read({"path": ref, **options}).command
        command.setdefault("batch_bytes", BATCH_BYTES)
        return Dataset(self.server, command)

    def splits(self, ref: str | PathLike[str], revision: str | None = None) -> list[dict[str, Any]]:
        """One object per config and split: config, split, default, files, bytes, rows (None if unknown).

        ``default`` says that the config is the one that is read where none is named; ``files`` is how many there are,
        ``bytes`` their size as stored.
        """
        command = parse_read({"path": ref, "revision": revision}).command
        command.pop("v")
        with Connection(self.server) as connection:
            return connection.action("splits", command)[0]

    def parquet(
        self,
        ref: str,
        *,
        config: str | None = None,
        split: str | None = None,
        revision: str | None = None,
        shape: str = "viewer",
        shard: int | None = None,
    ) -> Any:
        """The files of a dataset's conversion to Parquet, as the Hub lists them.

        Args:
            ref: the dataset.
            config: only of this one, and with ``split`` only of that split of it.
            split: see ``config``.
            revision: of the dataset.
            shape: ``viewer``, the object of the dataset viewer (``parquet_files``, ``pending``, ``failed``,
                ``partial``, and ``reason`` where there is no conversion), or ``hub``, the addresses as the Hub's own
                route gives them: config → split → list, with a config split → list, with a split a list.
            shard: the number of one file, whose address is the answer (``shape="hub"``); None if there is none.
        """
        asked = {"config": config, "split": split, "shape": shape, "shard": shard}
        command = parse_read({"path": ref, "revision": revision}).command
        command.pop("v")
        command |= {name: value for name, value in asked.items() if value is not None}
        with Connection(self.server) as connection:
            items, result = connection.action("parquet", command)
        result.pop("v", None)
        if shape == "viewer":
            for name in ("parquet_files", "pending", "failed"):
                result[name] = [entry for part in (*items, result) for entry in part.get(name) or ()]
            return result
        if shard is not None:
            return result.get("url")
        if not items:
            return result.get("urls")
        urls: dict[str, dict[str, list[str]]] = {}
        for item in items:  # a listing that is too long for one answer
            urls.setdefault(item["config"], {}).setdefault(item["split"], []).extend(item["urls"])
        if split is not None and config is not None:
            return urls[config][split]
        return urls if config is None else urls[config]

    def write(
        self, data: Any, ref: str | PathLike[str], *, mode: str = "append", progress: bool | None = None, **options: Any
    ) -> WriteResult:
        """Writes Arrow data as files of a dataset's split.

        Args:
            data: a pyarrow Table, RecordBatch, RecordBatchReader, anything with ``__arrow_c_stream__`` (pandas,
                Polars, DuckDB), or an iterable of record batches of one schema (columns may come in
                another order).
            ref: the dataset, or a local folder as `pathlib.Path`.
            mode: ``append``, ``overwrite``, ``errorifexists`` (or ``error``) or ``ignore``.
            progress: whether a bar counts the rows that are sent (needs tqdm); by default only on a terminal.
            options: the write options of the Spark source (``config``, ``split``, ``create_repo``, …), but for those
                of `connect`.
        """
        mode = parse_mode(mode)
        _check_elsewhere(options)
        parsed = parse_write({"path": ref, **options})
        with _opened(data) as reader:
            job = Job.begin(self.server, parsed, mode, reader.schema)
            if job.skipped is not None:
                return WriteResult(skipped=job.skipped)
            try:
                with Bar("write", _rows(data), "rows", progress) as bar:
                    files = _staged(job, data, reader, bar)
                if not files and mode != "append":
                    files = job.stage_empty()
            except BaseException:
                job.abort()
                raise
            return job.commit(files)

    def version(self) -> dict[str, Any]:
        """The server's version, wire versions, Hub and limits."""
        with Connection(self.server) as connection:
            return connection.action("version", {})[1]


def _check_elsewhere(options: Mapping[str, Any]) -> None:
    """Refuses options that the parsers know and that would say nothing here, or contradict the call."""
    for name in options:
        if name.lower() in CONNECTING:
            raise InvalidOption(f"[invalid] option {name}: it belongs to connect()")
        if name.lower() == "path":
            raise InvalidOption(f"[invalid] option {name}: the dataset is the argument ref")


def _staged(job: Job, data: Any, reader: pa.RecordBatchReader, bar: Bar) -> list[StagedFile]:
    """Uploads ``data``, of which ``reader`` is the first reading; what can be read only once cannot be sent again."""

    def stage(attempt: int) -> list[StagedFile]:
        if attempt == 0:
            return job.stage(reader, 0, "0", sent=bar.add)
        reader.close()
        bar.restart()
        with _opened(data) as again:
            return job.stage(again, 0, str(attempt), sent=bar.add)

    return Retry().run(stage) if _is_repeatable(data) else stage(0)


@contextlib.contextmanager
def _opened(data: Any) -> Iterator[pa.RecordBatchReader]:
    """A reader of ``data``, closed at the end: as long as it is open, a connection to DuckDB does nothing else.

    One that the caller gave stays open, as it does with pyarrow's own writers.
    """
    reader = _reader(data)
    try:
        yield reader
    finally:
        if reader is not data:
            reader.close()


def _is_repeatable(data: Any) -> bool:
    return isinstance(data, (pa.Table, pa.RecordBatch)) or (
        hasattr(data, "__arrow_c_stream__") and not isinstance(data, (pa.RecordBatchReader, Iterator))
    )


def _rows(data: Any) -> int:
    """How many rows there are; -1 where only reading them tells."""
    return int(data.num_rows) if isinstance(data, (pa.Table, pa.RecordBatch)) else -1


def _reader(data: Any) -> pa.RecordBatchReader:
    if isinstance(data, pa.RecordBatchReader):
        return data
    if hasattr(data, "__arrow_c_stream__"):
        try:
            return pa.RecordBatchReader.from_stream(data)
        except pa.ArrowInvalid as exc:  # Polars has types of its own, Int128 for example
            raise Unsupported(f"[unsupported] write: pyarrow cannot take the data: {exc}: cast that column") from None
    if isinstance(data, pa.RecordBatch):
        return pa.RecordBatchReader.from_batches(data.schema, [data])
    if isinstance(data, Iterable) and not isinstance(data, (str, bytes, Mapping)):
        batches = iter(data)
        first = next(batches, None)
        if first is None:
            raise InvalidOption("[invalid] write: no batches, hence no schema: give an empty table instead")
        if isinstance(first, pa.RecordBatch):

            def all_batches() -> Iterator[pa.RecordBatch]:
                yield first
                yield from batches

            return pa.RecordBatchReader.from_batches(first.schema, all_batches())
    raise InvalidOption(f"[invalid] write: a {type(data).__name__} is no Arrow data: give a table or record batches")


class Dataset:
    """A dataset at one snapshot: the commit is fixed at the first question and used for all later ones.

    Reading is repeatable; nothing is kept open. Picklable.
    """

    def __init__(self, server: Server, command: dict[str, Any]) -> None:
        self.server = server
        self._command = command
        self._schema: pa.Schema | None = None
        self._plan: Plan | None = None

    def __repr__(self) -> str:
        return f"Dataset({self._command['dataset']!r})"

    def _pinned(self) -> dict[str, Any]:
        return self._command if self._schema is None else pinned(self._command, snapshot_of(self._schema))

    @property
    def schema(self) -> pa.Schema:
        """The schema of what `to_batches` gives."""
        if self._schema is None:
            with Connection(self.server) as connection:
                self._schema = connection.schema(self._command)
        return self._schema

    def plan(self) -> Plan:
        """The partitions that a reader of one's own (Ray, Dask, …) can read with `hubflight.read_partition`."""
        if self._plan is None:
            with Connection(self.server) as connection:
                plan = Plan.of(connection, self._pinned())
            if self._schema is not None:
                check_snapshot(self._command["dataset"], snapshot_of(self._schema), snapshot_of(plan.schema))
            self._plan, self._schema = plan, plan.schema
        return self._plan

    @property
    def num_rows(self) -> int:
        """The number of rows: from the footers if that is exact, else counted by the server."""
        plan = self.plan()
        return plan.total_records if plan.total_records >= 0 else self.count()

    def count(self) -> int:
        """The exact number of rows, counted by the server; no rows are transferred."""
        with Connection(self.server) as connection:
            return int(connection.action("count", self._pinned(), timeout=None)[1]["rows"])

    def explain(self) -> Explanation:
        """What would be read: files and row groups, kept or skipped and by which layer, rows and bytes."""
        with Connection(self.server) as connection:
            items, totals = connection.action("explain", self._pinned(), timeout=None)
            return Explanation(_by_file(items), totals, connection.requests)

    def splits(self) -> list[dict[str, Any]]:
        """The configs and splits of this dataset, see `Client.splits`."""
        name, revision = split_revision(self._command["dataset"])
        return Client(self.server).splits(name, self._command.get("revision", revision))

    def to_batches(self, *, ordered: bool = True, parallel: int = 4) -> Iterator[pa.RecordBatch]:
        """The rows as record batches of `schema`; closing the iterator cancels the streams.

        Args:
            ordered: in the order of the files; otherwise batches come as they arrive.
            parallel: how many files are read at once; at most two batches of each wait for the consumer.
        """
        yield from self._batches(ordered=ordered, parallel=parallel)

    def _batches(self, *, ordered: bool = True, parallel: int = 4, **how: bool) -> Iterator[pa.RecordBatch]:
        plan = self.plan()
        return read_all(self.server, plan.partitions, plan.schema, parallel=parallel, ordered=ordered, **how)

    def to_reader(self, *, ordered: bool = True, parallel: int = 4) -> pa.RecordBatchReader:
        """The rows as an Arrow stream, which DuckDB, Polars and pandas read without another copy.

        What is not read to its end goes on until nothing refers to the reader: pyarrow's ``close`` reaches nobody who
        makes batches in Python. `to_batches` gives an iterator that can be closed.
        """
        schema = self.plan().schema
        return pa.RecordBatchReader.from_batches(schema, self.to_batches(ordered=ordered, parallel=parallel))

    def to_table(self, *, progress: bool | None = None) -> pa.Table:
        """All rows as one table. ``progress`` shows a bar (needs tqdm); by default only on a terminal."""
        plan = self.plan()
        with Bar("read", plan.total_records, "rows", progress) as bar:
            return pa.Table.from_batches(bar.over(self._batches(shared_memory=False)), plan.schema)

    def to_pandas(self, *, progress: bool | None = None, **options: Any) -> pandas.DataFrame:
        """All rows as a pandas DataFrame; ``options`` are those of `pyarrow.Table.to_pandas`."""
        _needed("pandas", "to_pandas")
        return self.to_table(progress=progress).to_pandas(**options)

    def to_polars(self, *, progress: bool | None = None) -> polars.DataFrame:
        """All rows as a Polars DataFrame."""
        return _needed("polars", "to_polars").from_arrow(self.to_table(progress=progress))

    def to_duckdb(
        self, connection: duckdb.DuckDBPyConnection, name: str, *, progress: bool | None = None
    ) -> duckdb.DuckDBPyRelation:
        """Creates the table ``name`` in a DuckDB database, batch by batch, and returns it; ``progress`` as above."""
        _needed("duckdb", "to_duckdb")
        quoted = '"' + name.replace('"', '""') + '"'
        stream = "hubflight_stream_" + uuid.uuid4().hex
        plan = self.plan()
        with Bar("read", plan.total_records, "rows", progress) as bar:
            connection.register(stream, pa.RecordBatchReader.from_batches(plan.schema, bar.over(self.to_batches())))
            try:
                connection.execute(f"CREATE TABLE {quoted} AS SELECT * FROM {stream}")  # noqa: S608
            finally:
                connection.unregister(stream)
        return connection.table(quoted)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """The rows as dicts, for loops that take one at a time."""
        for batch in self.to_batches():
            yield from batch.to_pylist()


def _by_file(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The files of an explain answer: one of very many row groups comes in several items, one after the other."""
    files: list[dict[str, Any]] = []
    for item in items:
        if files and all(files[-1].get(key) == item.get(key) for key in ("file", "config", "split")):
            files[-1]["row_groups"] += item["row_groups"]
        else:
            files.append(item)
    return files


def _needed(module: str, what: str) -> Any:
    try:
        return import_module(module)
    except ImportError:
        raise Unsupported(
            f"[unsupported] {what}: {module} is not installed: pip install 'hubflight[{module}]'"
        ) from None


class Explanation:
    """The answer of `Dataset.explain`.

    `files` has one object per file: file, config, split, size (bytes), rows (-1 if its footer was not read), kept, and
    row_groups, each with group, kept, layer (what proved that none of its rows is wanted), rows, candidates (rows that
    may match), bytes (compressed, of the columns that are read) and read (how many of these at most). `totals` has the
    sums over the row groups and the facts of the plan. `requests` is how many requests the server made for it, by
    origin (hub, cdn, viewer); None if it does not say.
    """

    def __init__(
        self, files: list[dict[str, Any]], totals: dict[str, Any], requests: dict[str, int] | None = None
    ) -> None:
        self.files = files
        self.totals = totals
        self.requests = requests

    def __repr__(self) -> str:
        kept = sum(bool(file.get("kept")) for file in self.files)
        return f"Explanation({kept} of {len(self.files)} files, {self.totals})"
