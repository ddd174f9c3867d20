"""The readers that are compared.  Each takes a question and gives batches; what it may keep between questions it drops when it is told to.

A reader plans (finds the files and whatever it needs to know before the first row) and then scans.  All of them stream: rows are counted
and let go, because what is measured is reading, not keeping.
"""

from __future__ import annotations

import concurrent.futures
import functools
import http.client
import json
import queue
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import pyarrow as pa

from benchmarks.measure.terms import expression, moment


@dataclass(frozen=True)
class Question:
    """What a worker is asked for, as it crosses the pipe."""

    dataset: str
    hub: str
    server: str | None
    columns: list[str] | None
    filters: list[list[Any]] | None
    ranges: dict[str, list[list[int]]]
    """The bytes that hold the answer, for the plain download."""
    ordered: bool = False
    """The rows must come in the dataset's order; set while checksums are taken."""


Scan = Callable[[], Iterator[pa.RecordBatch]]


class Peer(Protocol):
    """A reader; one instance lives as long as its process."""

    def forget(self) -> None:
        """Drops connections, listings and footers, so that the next question finds it as a fresh process would."""

    def plan(self, question: Question) -> Scan:
        """Does what comes before the first row, and gives the rest."""


class Hubflight:
    """The Python client of ``hubflight serve``, as its users have it; a fresh server is the harness's business."""

    def __init__(self, streams: int) -> None:
        self._streams = streams

    def forget(self) -> None:
        """It keeps nothing: connections are those of one question."""

    def plan(self, question: Question) -> Scan:
        import hubflight

        given = {"columns": question.columns, "filters": question.filters}
        options = {key: value for key, value in given.items() if value is not None}
        dataset = hubflight.connect(server=question.server).dataset(question.dataset, **options)
        dataset.plan()
        return lambda: dataset.to_batches(ordered=question.ordered, parallel=self._streams)


class Flight:
    """A plain pyarrow.flight client of ``hubflight serve``, as the README shows the fast one."""

    def __init__(self, streams: int) -> None:
        bytes(16 << 20)  # and at once its end: from now on glibc's malloc keeps what batches leave
        self._streams = streams
        self._clients: list[Any] = []
        """One for each stream that is open at a time: channels of one address would share one connection."""
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._address: str | None = None

    def forget(self) -> None:
        for client in self._clients:
            client.close()
        self._clients, self._idle, self._address = [], queue.SimpleQueue(), None

    def plan(self, question: Question) -> Scan:
        import pyarrow.flight as flight

        if self._address != question.server:
            self.forget()
            alone = [("grpc.use_local_subchannel_pool", 1)]
            self._clients = [flight.connect(question.server, generic_options=alone) for _ in range(self._streams)]
            for client in self._clients:
                self._idle.put(client)
            self._address = question.server
        command = {"v": 1, "dataset": question.dataset, "columns": question.columns, "filters": question.filters, "batch_bytes": 7 << 19}
        given = json.dumps({key: value for key, value in command.items() if value is not None})
        info = self._clients[0].get_flight_info(flight.FlightDescriptor.for_command(given))
        if question.ordered or self._streams == 1:
            return lambda: (batch for endpoint in info.endpoints for batch in self._stream(endpoint.ticket))
        return lambda: _in_threads([functools.partial(self._stream, endpoint.ticket) for endpoint in info.endpoints], self._streams)

    def _stream(self, ticket: Any) -> Iterator[pa.RecordBatch]:
        client = self._idle.get()
        try:
            for chunk in client.do_get(ticket):
                yield chunk.data
        finally:
            self._idle.put(client)


class PyArrow:
    """``pyarrow.dataset`` over ``HfFileSystem``, with pyarrow's own defaults (threads, pre-buffering)."""

    def __init__(self) -> None:
        self._files: Any = None

    def forget(self) -> None:
        _forget_hub()
        self._files = None

    def plan(self, question: Question) -> Scan:
        import pyarrow.dataset as ds

        self._files = self._files or _hub_files(question)
        dataset = ds.dataset(f"datasets/{question.dataset}/data", filesystem=self._files, format="parquet")
        wanted = expression(ds.field, question.filters)
        return lambda: iter(dataset.to_batches(columns=question.columns, filter=wanted))


class Polars:
    """Polars' lazy scan over files opened with ``HfFileSystem``: its own ``hf://`` knows the public Hub alone."""

    def __init__(self) -> None:
        self._files: Any = None

    def forget(self) -> None:
        _forget_hub()
        self._files = None

    def plan(self, question: Question) -> Scan:
        import polars as pl

        self._files = self._files or _hub_files(question)
        opened = [self._files.open(path, "rb") for path in sorted(self._files.glob(f"datasets/{question.dataset}/data/*.parquet"))]
        frame = pl.scan_parquet(opened)
        wanted = expression(pl.col, question.filters)
        if wanted is not None:
            frame = frame.filter(wanted)
        if question.columns is not None:
            frame = frame.select(question.columns)
        return lambda: (batch for part in frame.collect_batches(maintain_order=True) for batch in part.to_arrow().to_batches())


class Datasets:
    """``datasets`` streaming, with its own projection and filters."""

    def forget(self) -> None:
        _forget_hub()

    def plan(self, question: Question) -> Scan:
        import datasets

        filters = [(column, "==" if sign == "=" else sign, moment(literal)) for column, sign, literal in question.filters or []]
        stream = datasets.load_dataset(
            question.dataset, split="train", streaming=True, columns=question.columns, filters=filters or None
        ).with_format("arrow")
        return lambda: (batch for table in stream.iter(batch_size=10_000) for batch in table.to_batches())


class Download:
    """The bytes alone: ranges of 8 MiB, four at a time on kept connections, each file resolved once.  It counts no rows."""

    PIECE, CONNECTIONS = 8 << 20, 4

    def forget(self) -> None:
        """It keeps nothing."""

    def plan(self, question: Question) -> Scan:
        def scan() -> Iterator[pa.RecordBatch]:
            with concurrent.futures.ThreadPoolExecutor(self.CONNECTIONS) as pool:
                kept = threading.local()
                base = f"{question.hub}/datasets/{question.dataset}/resolve/main/"
                wanted = {path: ranges for path, ranges in question.ranges.items() if ranges}
                urls = pool.map(lambda path: _resolve(kept, base + path), wanted)
                pieces = [
                    (url, first, min(first + self.PIECE, stop))
                    for url, ranges in zip(urls, wanted.values(), strict=True)
                    for start, stop in _merged(ranges)
                    for first in range(start, stop, self.PIECE)
                ]
                for _ in pool.map(lambda piece: _fetch(kept, *piece), pieces):
                    pass
            yield from ()

        return scan


OVER_TCP = "hubflight tcp"
"""``hubflight flight`` through loopback TCP, as somebody on another machine would reach it; the others take its unix socket."""

PEERS: dict[str, Callable[[], Peer]] = {
    "hubflight": lambda: Hubflight(streams=2),
    "hubflight 1 stream": lambda: Hubflight(streams=1),
    "hubflight flight": lambda: Flight(streams=2),
    OVER_TCP: lambda: Flight(streams=2),
    "pyarrow": PyArrow,
    "polars": Polars,
    "datasets": Datasets,
    "download": Download,
}
"""By the name in the report.  The first is judged, against ``pyarrow``."""


def _hub_files(question: Question) -> Any:
    from huggingface_hub import HfFileSystem

    return HfFileSystem(endpoint=question.hub, token=False, skip_instance_cache=True)


def _forget_hub() -> None:
    import huggingface_hub

    huggingface_hub.close_session()
    huggingface_hub.HfFileSystem.clear_instance_cache()


def _in_threads(parts: list[Callable[[], Iterator[pa.RecordBatch]]], threads: int) -> Iterator[pa.RecordBatch]:
    """Batches of all parts, ``threads`` of them at a time, in no order; the first error ends it."""
    arrived: queue.Queue[Any] = queue.Queue(maxsize=8)

    def run(part: Callable[[], Iterator[pa.RecordBatch]]) -> None:
        try:
            for batch in part():
                arrived.put(batch)
            arrived.put(None)
        except BaseException as trouble:
            arrived.put(trouble)

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        for part in parts:
            pool.submit(run, part)
        open_parts = len(parts)
        while open_parts:
            got = arrived.get()
            if got is None:
                open_parts -= 1
            elif isinstance(got, BaseException):
                raise got
            else:
                yield got


def _merged(ranges: list[list[int]], gap: int = 1 << 20) -> Iterator[tuple[int, int]]:
    start, stop = ranges[0]
    for first, last in ranges[1:]:
        if first - stop > gap:
            yield start, stop
            start = first
        stop = last
    yield start, stop


def _resolve(kept: threading.local, url: str) -> str:
    answer = _get(kept, url, {"Range": "bytes=0-0"})
    answer.read()
    location = answer.getheader("Location")
    if answer.status != 302 or location is None:
        raise RuntimeError(f"{url} was answered with {answer.status}")
    return location


def _fetch(kept: threading.local, url: str, start: int, stop: int) -> None:
    answer = _get(kept, url, {"Range": f"bytes={start}-{stop - 1}"})
    room, total = bytearray(1 << 20), 0
    while count := answer.readinto(room):
        total += count
    if answer.status != 206 or total != stop - start:
        raise RuntimeError(f"{answer.status} with {total} of {stop - start} bytes")


def _get(kept: threading.local, url: str, headers: dict[str, str]) -> http.client.HTTPResponse:
    parts = urllib.parse.urlsplit(url)
    connections: dict[str, http.client.HTTPConnection] = kept.__dict__.setdefault("connections", {})
    connection = connections.setdefault(parts.netloc, http.client.HTTPConnection(parts.netloc, timeout=60))
    connection.request("GET", parts.path + (f"?{parts.query}" if parts.query else ""), headers=headers)
    return connection.getresponse()
