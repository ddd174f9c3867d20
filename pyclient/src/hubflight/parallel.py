"""Several partitions read at once: threads with a connection each, a bounded number of batches between them and the
consumer, and one consumer.
"""

from __future__ import annotations

import functools
import queue
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pyarrow as pa

from hubflight import forks
from hubflight.connection import Server
from hubflight.reading import Partition, Stop, read_partition

__all__ = ["read_all"]

AHEAD = 2  # batches of one partition that wait for the consumer: one in hand and one on the way hide the round trip
_END = object()


def read_all(
    server: Server,
    partitions: Sequence[Partition],
    schema: pa.Schema,
    *,
    parallel: int,
    ordered: bool,
    shared_memory: bool = True,
) -> Iterator[pa.RecordBatch]:
    """The batches of all partitions, ``parallel`` of which are read at once.

    ``ordered`` gives them in the order of the plan; without it as they arrive. Closing the iterator cancels all
    streams. The first error ends everything and is raised. ``shared_memory`` is that of `read_partition`.
    """
    read = functools.partial(read_partition, server, expected=schema, shared_memory=shared_memory)
    if parallel <= 1 or len(partitions) <= 1:
        for partition in partitions:
            yield from read(partition)
        return
    reading = _Reading(read, partitions, parallel, ordered)
    try:
        yield from reading.batches()
    finally:
        reading.end()


class _Reading:
    """The threads of one `read_all`.

    A thread takes the next partition only when one of the ``parallel`` turns is free, and a turn becomes free when the
    consumer has come to a partition's end: so at most ``parallel`` partitions have batches waiting, `AHEAD` each.
    """

    def __init__(
        self,
        read: Callable[..., Iterator[pa.RecordBatch]],
        partitions: Sequence[Partition],
        parallel: int,
        ordered: bool,
    ) -> None:
        self._read, self._partitions, self._ordered = read, partitions, ordered
        shared: queue.Queue[Any] = queue.Queue(AHEAD * parallel)
        self._out = [queue.Queue(AHEAD) if ordered else shared for _ in partitions]
        self._todo = iter(range(len(partitions)))
        self._lock, self._turns, self._stop = threading.Lock(), threading.Semaphore(parallel), Stop()
        self._threads = [
            threading.Thread(target=self._work, name=f"hubflight-read-{i}", daemon=True)
            for i in range(min(parallel, len(partitions)))
        ]

    def batches(self) -> Iterator[pa.RecordBatch]:
        for thread in self._threads:
            thread.start()
        for out in self._out:  # without an order they are all the same one, and every end in it counts
            while (item := self._next(out)) is not _END:
                if isinstance(item, BaseException):
                    raise item
                yield item
            self._turns.release()

    @staticmethod
    def _next(out: queue.Queue[Any]) -> Any:
        forks.check()  # the threads, too, are the parent's
        return out.get()

    def end(self) -> None:
        """Cancels what still runs and waits for it."""
        if sys.is_finalizing():  # no other thread goes on, nor gives back a lock that it holds
            return
        self._stop.give()
        for _ in self._threads:
            self._turns.release()
        for thread in self._threads:
            if thread.ident is not None:  # it was started
                thread.join(timeout=30.0)

    def _work(self) -> None:
        while True:
            self._turns.acquire()
            with self._lock:
                index = next(self._todo, None)
            if index is None or self._stop.given:
                return
            out = self._out[index]
            try:
                for batch in self._read(self._partitions[index], stop=self._stop):
                    if not self._put(out, batch):
                        return
                self._put(out, _END)
            except BaseException as exc:
                self._put(out, exc)
                return

    def _put(self, out: queue.Queue[Any], item: object) -> bool:
        while not self._stop.given:
            try:
                out.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
