"""Writing: a job begins on the driver, its tasks stage, the driver commits or aborts (wire.md §8).

A `Job` is plain data and crosses processes; staged records are the JSON objects of the server, kept as they came.
"""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from hubflight import sharedmem
from hubflight.casting import Caster, plain_schema
from hubflight.connection import PATIENT, Connection, Server
from hubflight.errors import CommitStateUnknown, HubflightError, LimitExceeded, ServerUnreachable, from_text
from hubflight.interrupts import Aside
from hubflight.options import WriteOptions

__all__ = ["Job", "StagedFile", "WriteResult", "slices"]

StagedFile = dict[str, Any]

BATCH_BYTES = 2 << 20  # a message of this size passes every receive limit
KEPT_BYTES = 8 << 20  # of batches that were sent, for another attempt
ROW_BYTES = 60 << 20  # below the server's message limit of 64 MiB
ALIVE_SECONDS = 30.0  # a quarter of the server's patience with a client that sends nothing
COMMIT_DEADLINE = 2 * 60 * 60.0 + 300  # the server's own write.commit_deadline, and a little


@dataclass(frozen=True)
class WriteResult:
    """What a commit did.

    `commits` are the new commits, oldest first, and `head` the last one; `paths` the files written; `stale` files of
    an earlier, longer write that are still there; `resolves` whether dataset resolution finds the files. A job that
    was skipped (mode ignore) has `skipped` set to the reason.
    """

    head: str | None = None
    commits: list[str] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    rows: int = 0
    pr: int | None = None
    already: bool = False
    atomic: bool = True
    resolves: bool = True
    stale: list[str] = field(default_factory=list)
    skipped: str | None = None

    def summary(self) -> str:
        """The counts as a line for people."""
        if self.skipped is not None:
            return f"skipped: {self.skipped}"
        if not self.paths:
            return "no rows, hence no commit"
        said = [_counted(self.rows, "row"), _counted(len(self.paths), "file")]
        if self.commits:
            said.append(_counted(len(self.commits), "commit"))
        if self.head:
            said.append(f"head {self.head}")
        if self.pr is not None:
            said.append(f"pull request {self.pr}")
        return ", ".join(said)


def _counted(n: int, what: str) -> str:
    return f"{n} {what}" + ("" if n == 1 else "s")


@dataclass(frozen=True)
class Job:
    """A write job as begun: what stage and commit have to say, and the schema of the batches.

    That is the schema given to begin, with plain types in the place of views and dictionaries, so that all tasks send
    the same one; the server converts to what the files must have, because it alone can do so without changing a value.
    """

    server: Server
    id: str
    target: dict[str, Any]  # dataset, revision, base, mode, config, split, naming, dir
    publish: dict[str, Any]
    encoding: dict[str, Any]  # the parts of stage
    commit_options: dict[str, Any]
    ipc_schema: bytes
    skipped: str | None = None

    @classmethod
    def begin(
        cls, server: Server, options: WriteOptions, mode: str | None, schema: pa.Schema, naming: str = "dataset"
    ) -> Job:
        """Asks the server to begin: it checks rights, mode and schema before a byte is uploaded.

        ``mode`` is append, overwrite, errorifexists or ignore; None for `write_parquet`'s own.
        """
        job = str(uuid.uuid4())
        schema = plain_schema(schema)
        target: dict[str, Any] = {"dataset": options.dataset, **options.target}
        if mode is not None:
            target["mode"] = mode
        if naming != "dataset":
            target["naming"] = naming
        encoded = base64.b64encode(schema.serialize().to_pybytes()).decode("ascii")
        body = {"v": 1, "job": job, **target, **options.publish, **options.begin, "schema": encoded}
        with Connection(server) as connection:
            _, answer = connection.action("begin", body)
        target["base"] = answer.get("base")
        if answer.get("revision"):
            target["revision"] = answer["revision"]
        if answer.get("commits_needed", 0) > 100:
            warnings.warn(f"hubflight: this job needs {answer['commits_needed']} commits", stacklevel=3)
        return cls(
            server=server,
            id=job,
            target={key: value for key, value in target.items() if value not in (None, "")},
            publish=dict(options.publish),
            encoding=dict(options.stage),
            commit_options=dict(options.commit),
            ipc_schema=schema.serialize().to_pybytes(),
            skipped=str(answer.get("reason") or "nothing to do") if answer.get("skip") else None,
        )

    def schema(self) -> pa.Schema:
        """The schema of the batches."""
        return pa.ipc.read_schema(pa.py_buffer(self.ipc_schema))

    def stage(
        self,
        batches: Iterable[pa.RecordBatch],
        partition: int,
        attempt: str,
        sent: Callable[[int], None] | None = None,
        *,
        interruptible: bool = True,
    ) -> list[StagedFile]:
        """Uploads one task attempt's rows, durably and invisibly; returns the records of its files.

        Columns are those of the job's schema, in any order. Without any row nothing is sent and nothing returned.
        ``sent`` is told how many rows have gone, piece by piece. If it is not to be ``interruptible``, Ctrl-C waits for
        the server: for processes that are ended otherwise.
        """
        schema = self.schema()
        rows = _Again(_cast(batches, schema))
        these = iter(rows)
        first = next(these, None)
        if first is None:
            return []
        these = itertools.chain([first], these)
        since, failures = 0.0, 0
        while True:
            try:
                return self._put(schema, these, partition, attempt, sent, interruptible)
            except HubflightError as error:
                since = since if failures else time.monotonic()
                pause = PATIENT.wait(error, failures, since) if rows.again else None
                if pause is None:
                    raise
            time.sleep(pause)
            these, failures = iter(rows), failures + 1

    def stage_empty(self) -> list[StagedFile]:
        """Stages one file that has the schema and no rows: what an overwrite of zero rows leaves."""
        return self._put(self.schema(), iter(()), 0, "empty")

    def _put(
        self,
        schema: pa.Schema,
        batches: Iterator[pa.RecordBatch],
        partition: int,
        attempt: str,
        sent: Callable[[int], None] | None = None,
        interruptible: bool = True,
    ) -> list[StagedFile]:
        command = {
            "v": 1,
            "op": "stage",
            "job": self.id,
            **self.target,
            **self.encoding,
            "partition": partition,
            "attempt": attempt,
        }
        with (
            Connection(self.server) as connection,
            sharedmem.Sender(connection.uri) as shared,
            Aside(interruptible) as calls,
        ):
            interrupted = False

            def begin() -> tuple[Any, _Answers]:
                try:
                    writer, metadata = connection.put(command, schema, shared.headers)
                except Exception as exc:
                    raise connection.error(exc) from None
                answers = _Answers(connection, metadata, calls)
                if interrupted:
                    answers.abandon(writer)
                return writer, answers

            try:
                writer, answers = calls.run(begin)
            except BaseException:
                interrupted = True
                raise
            try:
                with answers.alive(writer):
                    for batch in batches:
                        for piece in slices(batch, shared.batch_bytes(BATCH_BYTES)):
                            place = shared.put(piece, answers.awaited)
                            if place is None:
                                answers.guard(writer.write_batch, piece)
                            else:
                                answers.guard(writer.write_metadata, place)
                            if sent is not None:
                                sent(piece.num_rows)
                answers.guard(writer.done_writing)
                files = answers.result(writer)
            except BaseException:
                answers.abandon(writer)
                raise
            writer.close()
            return files

    def commit(self, files: Sequence[StagedFile]) -> WriteResult:
        """Makes the staged files visible; repeating it is safe. Raises CommitStateUnknown if the outcome is unknown.

        A commit that has failed is aborted. One that was interrupted is not, because it may go on: what it refers to
        has to stay.
        """
        body = {
            "v": 1,
            "job": self.id,
            **self.target,
            **self.publish,
            **self.commit_options,
            "files": sorted(files, key=lambda f: (f["partition"], f["index"])),
        }
        with Connection(self.server) as connection:
            try:
                items, answer = connection.commit(body, COMMIT_DEADLINE)
            except CommitStateUnknown:
                raise
            except HubflightError:
                self.abort()
                raise
        result = WriteResult(
            head=answer.get("head"),
            commits=list(answer.get("commits") or ()),
            paths=[item["path"] for item in items if "path" in item],
            rows=answer.get("rows", 0),
            pr=answer.get("pr"),
            already=bool(answer.get("already")),
            atomic=bool(answer.get("atomic", True)),
            resolves=bool(answer.get("resolves", True)),
            stale=list(answer.get("stale") or ()),
        )
        if answer.get("hint"):
            warnings.warn(f"hubflight: {answer['hint']}", stacklevel=3)
        return result

    def abort(self) -> None:
        """Tells the server to forget what is spooled. Never raises, and never takes long."""
        with contextlib.suppress(Exception), Connection(self.server) as connection:
            connection.action_once("abort", {"v": 1, "job": self.id}, timeout=10.0)


def _cast(batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The batches that have rows, each with exactly ``schema``.

    Nobody has looked whether they are of one schema: pyarrow does not when it makes a reader of an iterator.
    """
    caster = None
    for number, batch in enumerate(batches):
        if not batch.num_rows:
            continue
        if caster is None or not caster.takes(batch.schema):
            caster = Caster(batch.schema, schema, "write", f"batches[{number}]" if number else "")
        yield from caster.pieces(batch, BATCH_BYTES)


class _Again:
    """Batches that can be iterated once more as long as few have been taken: a server that is busy, or away for a
    moment, says so at the beginning, and whoever made the batches cannot make them again.

    `again` is whether they can. If it was them who failed, they cannot.
    """

    def __init__(self, batches: Iterator[pa.RecordBatch]) -> None:
        self._rest, self._kept, self._bytes = batches, list[pa.RecordBatch](), 0
        self.again = True

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        yield from tuple(self._kept)
        while True:
            again, self.again = self.again, False
            batch = next(self._rest, None)
            self._bytes += 0 if batch is None else batch.nbytes
            self.again = again and self._bytes <= KEPT_BYTES
            if batch is None:
                return
            if self.again:
                self._kept.append(batch)
            else:
                self._kept.clear()
            yield batch


class _Answers:
    """Reads the PutResults of an upload in a thread, so that neither side waits for the other."""

    def __init__(self, connection: Connection, metadata: Any, calls: Aside) -> None:
        self._connection = connection
        self._calls = calls
        self._writing = threading.Lock()  # a writer is for one thread at a time, and an interrupted step goes on
        self._abandoned = False
        self._metadata = metadata
        self._result: dict[str, Any] | None = None
        self._error: HubflightError | None = None
        self._thread = threading.Thread(target=self._drain, name="hubflight-put-results", daemon=True)
        self._thread.start()

    def _drain(self) -> None:
        try:
            while True:
                buffer = self._metadata.read()
                if buffer is None:
                    return
                message = json.loads(buffer.to_pybytes())
                if isinstance(message, dict) and message.get("type") == "result":
                    self._result = message
        except Exception as exc:
            self._error = self._connection.error(exc)

    def awaited(self) -> bool:
        """Whether the server may still say something: it does not once the upload has ended."""
        return self._thread.is_alive()

    @contextlib.contextmanager
    def alive(self, writer: Any) -> Iterator[None]:
        """Says to the server now and then that this client is there: the next batch may take whoever makes it longer
        than the server waits for one."""
        done = threading.Event()

        def say() -> None:
            while not done.wait(ALIVE_SECONDS):
                with contextlib.suppress(Exception), self._writing:  # whoever writes next hears what is wrong
                    if not (self._abandoned or done.is_set()):
                        writer.write_metadata(b"")

        threading.Thread(target=say, name="hubflight-put-alive", daemon=True).start()
        try:
            yield
        finally:
            done.set()

    def guard(self, write: Callable[..., Any], *args: Any) -> None:
        """Runs one step of the upload; if it fails, raises what the server said rather than what the writer saw."""
        self._calls.run(lambda: self._step(write, *args))

    def _step(self, write: Callable[..., Any], *args: Any) -> None:
        try:
            with self._writing:
                if not self._abandoned:
                    write(*args)
        except Exception as exc:
            self._thread.join(5.0)  # the status follows within a moment
            seen = self._connection.error(exc)
            raise (self._error if self._error is not None and seen.kind == "transport" else seen) from None

    def abandon(self, writer: Any) -> None:
        """Gives up an upload without waiting for it.

        pyarrow cannot reset one, and closing one that has not ended waits until the server loses patience. So it is
        ended: what the server makes of the part it has got is never committed, because nobody gets its record.
        """

        def end() -> None:
            with contextlib.suppress(Exception):
                writer.done_writing()

        def close(ended: bool) -> None:
            if not ended:
                with self._writing:
                    end()
            self._thread.join()
            with contextlib.suppress(Exception):
                writer.close()

        self._abandoned = True
        ended = self._writing.acquire(blocking=False)  # else a step that was interrupted is still under way
        if ended:
            try:
                end()
            finally:
                self._writing.release()
        threading.Thread(target=close, args=(ended,), name="hubflight-abandoned", daemon=True).start()

    def result(self, writer: Any) -> list[StagedFile]:
        """The staged records, after the half-close."""
        while self._thread.is_alive():
            self._thread.join(0.5)  # without an end to it, Ctrl-C would wait on Windows
        if self._error is not None:
            raise self._error
        if self._result is None:
            # Of a stream that fails at its end, reading shows an end like any other; closing tells the status.
            try:
                writer.close()
            except Exception as exc:
                if from_text(str(exc)) is not None:
                    raise self._connection.error(exc) from None
            # A server that is killed ends its streams without a status.
            raise ServerUnreachable("[transport] stage: the server ended the upload without a result")
        return list(self._result.get("files") or ())


def slices(batch: pa.RecordBatch, most: int = BATCH_BYTES) -> Iterator[pa.RecordBatch]:
    """``batch`` in pieces of at most ``most`` bytes, or of a row. A row above 60 MiB is refused, naming the column."""
    size = batch.nbytes
    if size <= most:
        yield batch
    elif batch.num_rows <= 1:
        if size > ROW_BYTES:
            widest = max(range(batch.num_columns), key=lambda i: batch.column(i).nbytes)
            raise LimitExceeded(
                f"[limit] write: one row has {size} bytes, of which {batch.column(widest).nbytes} are in the column "
                f"{batch.schema.field(widest).name!r}; the most that can be sent is {ROW_BYTES}"
            )
        yield batch
    else:
        # An eighth of room, because rows differ: what is a little too large would be two messages of half the size.
        parts = -(-8 * size // (7 * most))
        step = -(-batch.num_rows // parts)
        for start in range(0, batch.num_rows, step):
            yield from slices(batch.slice(start, step), most)
