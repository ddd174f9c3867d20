"""Plans and streams: a read command becomes partitions, a partition becomes record batches.

A stream that breaks is resumed at the row already handed out (``x-hubflight-skip-rows``), which is sound because an
endpoint's rows come in the same order on every replay.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from hubflight import forks, sharedmem
from hubflight.connection import PATIENT, Connection, Server, locations_of
from hubflight.errors import DeadlineExceeded, HubflightError, InternalError, ServerUnreachable, SnapshotChanged
from hubflight.interrupts import Aside
from hubflight.options import split_revision

__all__ = ["Partition", "Plan", "Stop", "pinned", "read_partition", "snapshot_of"]

FACTS = b"hubflight"  # the key of the schema metadata that says which snapshot was planned


@dataclass(frozen=True)
class Partition:
    """One data file, or a part of one: what is needed to read it anywhere. Plain data, picklable."""

    ticket: bytes
    locations: tuple[str, ...] = ()  # empty: the server of the plan

    def __repr__(self) -> str:
        return f"Partition({len(self.ticket)} bytes)"


@dataclass(frozen=True)
class Plan:
    """What a read command comes to: the schema of every stream, the partitions in order, and the facts.

    `total_records` and `total_bytes` are −1 where the server does not know; `facts` and `details` are the app_metadata
    of wire.md §4, of the plan and of each partition. `requests` is how many requests the server made for the plan, by
    origin (hub, cdn, viewer); None if it does not say.
    """

    schema: pa.Schema
    partitions: list[Partition]
    facts: dict[str, Any]
    details: list[dict[str, Any]]
    total_records: int
    total_bytes: int
    requests: dict[str, int] | None = None

    @classmethod
    def of(cls, connection: Connection, command: Mapping[str, Any]) -> Plan:
        info = connection.plan(command)
        return cls(
            schema=info.schema,
            partitions=[Partition(e.ticket.ticket, locations_of(e)) for e in info.endpoints],
            facts=_object(info.app_metadata),
            details=[_object(e.app_metadata) for e in info.endpoints],
            total_records=info.total_records,
            total_bytes=info.total_bytes,
            requests=connection.requests,
        )


def _object(raw: bytes | None) -> dict[str, Any]:
    value = json.loads(raw) if raw else {}
    return value if isinstance(value, dict) else {}


def snapshot_of(schema: pa.Schema) -> dict[str, Any]:
    """The immutable facts that a schema carries: sha, data_sha, config, split, source, partial."""
    return _object((schema.metadata or {}).get(FACTS))


def pinned(command: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """``command`` for the snapshot that ``facts`` name, whatever is committed meanwhile.

    Local folders have no history, and a conversion's branch is more than its commit; for those the command stays as
    it is and `check_snapshot` compares afterwards.
    """
    out = dict(command)
    name, revision = split_revision(command["dataset"])
    revision = command.get("revision", revision)
    sha = facts.get("sha")
    if not sha or facts.get("source") == "local" or (revision or "").startswith("refs/convert/"):
        return out
    out["dataset"], out["revision"] = name, sha
    if "data_files" in out:
        out["data_files"] = _without_revisions(out["data_files"])
    return out


def _without_revisions(files: Any) -> Any:
    """``data_files`` whose hf:// addresses follow the command's revision: at the pinned commit the server took them."""
    if isinstance(files, str):
        return split_revision(files)[0] if files.startswith("hf://") else files
    if isinstance(files, dict):
        return {split: _without_revisions(patterns) for split, patterns in files.items()}
    return [_without_revisions(pattern) for pattern in files]


def check_snapshot(dataset: str, pin: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """Raises SnapshotChanged if ``facts`` are not of the snapshot that ``pin`` names."""
    for key in ("sha", "data_sha"):
        if pin.get(key) and facts.get(key) and pin[key] != facts[key]:
            raise SnapshotChanged(
                f"[changed] plan: {dataset} changed since it was loaded ({pin[key][:8]} is now {facts[key][:8]}): "
                "load it again"
            )


def read_partition(
    server: Server,
    partition: Partition,
    expected: pa.Schema | None = None,
    *,
    stop: Stop | None = None,
    shared_memory: bool = True,
    interruptible: bool = True,
) -> Iterator[pa.RecordBatch]:
    """The batches of one partition, on a connection of its own; closing the iterator cancels the stream.

    A broken stream is resumed, at the next of the partition's locations if it has several. With ``expected``, a stream
    of another schema (metadata aside) is an error. Another thread may end the reading with ``stop``. Without
    ``shared_memory`` batches come inside the stream, also where they could be in memory that the server shares: who
    keeps them all would soon have all that there is of it. If it is not to be ``interruptible``, Ctrl-C waits for the
    next batch, and no thread takes part: for small batches in processes that are ended otherwise.
    """
    servers = [server.at(uri) for uri in partition.locations] or [server]
    rows, attempt, since, turn = 0, 0, time.monotonic(), 0
    while True:
        error: HubflightError
        begun = rows
        with Connection(servers[turn % len(servers)], PATIENT) as connection:
            stream = None
            try:
                stream = _Stream(connection, partition.ticket, rows, expected, shared_memory, interruptible)
                if stop is not None:
                    stop.watch(stream)
                while True:
                    batch = stream.next()
                    if batch is None:
                        return
                    rows += batch.num_rows
                    attempt, since = 0, time.monotonic()
                    yield batch
            except _Broken as broken:
                if stop is not None and stop.given:
                    return
                error = broken.error
                shared_memory = shared_memory and not isinstance(broken.__cause__, sharedmem.Unusable)
            finally:
                if stream is not None:
                    stream.close()
        pause = PATIENT.wait(error, attempt, since)
        if pause is None and isinstance(error, DeadlineExceeded) and rows > begun:
            pause = 0.0  # rows were waiting for our caller for longer than the server keeps a stream that does nothing
        if pause is None:
            raise error
        if stop is None:
            time.sleep(pause)
        elif stop.wait(pause):
            return
        attempt, turn = attempt + 1, turn + 1


class Stop:
    """Ends a reading from another thread: at once, also while it waits for the server or to try again."""

    def __init__(self) -> None:
        self._given = threading.Event()
        self._lock = threading.Lock()
        self._streams: weakref.WeakSet[_Stream] = weakref.WeakSet()

    @property
    def given(self) -> bool:
        return self._given.is_set()

    def wait(self, seconds: float) -> bool:
        """Waits so long at most; whether the reading is to end."""
        return self._given.wait(seconds)

    def watch(self, stream: _Stream) -> None:
        with self._lock:
            self._streams.add(stream)
            if self.given:
                stream.close()

    def give(self) -> None:
        with self._lock:
            self._given.set()
            for stream in self._streams:
                stream.close()


class _Broken(Exception):
    """Carries the error of a stream out of its attempt."""

    def __init__(self, error: HubflightError) -> None:
        self.error = error


class _Stream:
    """One attempt at a DoGet. Only errors of the wire become `_Broken`; those of the consumer stay what they are."""

    def __init__(
        self,
        connection: Connection,
        ticket: bytes,
        skip: int,
        expected: pa.Schema | None,
        shared_memory: bool,
        interruptible: bool,
    ) -> None:
        self._connection = connection
        self._reader: Any = None
        self._closed = False
        self._calls = Aside(interruptible)
        self._shared = sharedmem.Receiver() if shared_memory and sharedmem.possible(connection.uri) else None
        headers = {"x-hubflight-skip-rows": str(skip)} if skip else {}
        if self._shared is not None:
            headers[sharedmem.HEADER] = str(sharedmem.INLINE_BYTES)
        try:
            schema = self._calls.run(lambda: self._open(ticket, headers))
            if expected is not None and not schema.equals(expected, check_metadata=False):
                raise _Broken(InternalError(f"[internal] read: the stream's schema is not the planned one: {schema}"))
        except BaseException:
            self.close()
            raise

    def _open(self, ticket: bytes, headers: Mapping[str, str]) -> pa.Schema:
        try:
            self._reader = self._connection.get(ticket, headers)
            if self._closed:  # whoever has called this was interrupted meanwhile
                self._reader.cancel()
            return self._reader.schema
        except Exception as exc:
            raise _Broken(self._connection.error(exc)) from None

    def next(self) -> pa.RecordBatch | None:
        forks.check()
        while True:
            chunk = self._calls.run(self._chunk)
            if chunk is None:
                return None
            if chunk.data is not None:
                return chunk.data
            if self._shared is not None:
                try:
                    batch = self._shared.take(chunk.app_metadata, self._reader.schema)
                except sharedmem.Unusable as exc:
                    raise _Broken(ServerUnreachable(f"[transport] read: {exc}")) from exc
                except Exception as exc:
                    raise _Broken(self._connection.error(exc)) from None
                if batch is not None:
                    return batch

    def _chunk(self) -> Any:
        """The next message of the stream; None at its end."""
        try:
            return self._reader.read_chunk()
        except StopIteration:
            return None
        except Exception as exc:
            raise _Broken(_transport(self._connection.error(exc), exc)) from None

    def close(self) -> None:
        self._closed = True
        if self._reader is not None and not forks.cut_off():
            with contextlib.suppress(Exception):  # it may have ended in any way by now
                self._reader.cancel()
        self._calls.close()
        if self._shared is not None:
            self._shared.end()


def _transport(error: HubflightError, exc: Exception) -> HubflightError:
    """A stream cut in the middle of a message is a lost connection too, whatever pyarrow calls it."""
    if error.kind in ("canceled", "internal") and "[" + error.kind + "]" not in str(exc):
        return ServerUnreachable(f"[transport] read: the stream broke: {error}")
    return error
