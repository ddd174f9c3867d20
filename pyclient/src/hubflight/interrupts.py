"""Waiting that Ctrl-C ends.

Python runs the handlers of signals in its main thread, and not before a call has come back to it, which pyarrow's do
after minutes. One that comes back on the way, to our middleware, raises there, where pyarrow prints it and goes on. So
the main thread lets another one call, and waits where a signal ends the waiting.
"""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, TypeVar

__all__ = ["Aside", "aside"]

T = TypeVar("T")

# Also without a signal that ends the waiting, as on Windows and where another thread got it, it is looked for so often.
_LOOK_SECONDS = 0.5


def aside(call: Callable[[], T]) -> T:
    """What ``call`` returns or raises, or at once what the handler of a signal raises."""
    return _calls.run(call)


class Aside:
    """Makes one call after the other; in a thread of its own, if that makes them interruptible; a context manager.

    It does not in other threads than the main one, nor in processes that leave SIGINT to the system or ignore it, nor
    if it is not ``wanted``. What was interrupted goes on by itself: who can cancel it should.
    """

    def __init__(self, wanted: bool = True) -> None:
        self._wanted = wanted
        self._worker: _Worker | None = None
        self._busy = False

    def __enter__(self) -> Aside:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def run(self, call: Callable[[], T]) -> T:
        """What ``call`` returns or raises, or at once what the handler of a signal raises."""
        if not (self._wanted and _interruptible()):
            return call()
        if self._busy:  # this is the handler of a signal, which asks something itself
            with Aside() as other:
                return other.run(call)
        try:
            self._busy = True
            worker = self._ready()
            outcome = None if worker is None else worker.make(call)
            value, error = outcome or (call(), None)
        except BaseException:
            # The call's outcome is nobody's any more, and must not be taken for that of the next one.
            self.close()
            raise
        finally:
            self._busy = False
        if error is not None:
            raise error
        return value

    def _ready(self) -> _Worker | None:
        worker = self._worker
        if worker is None or not worker.thread.is_alive():  # in a fork it is not
            self._worker = worker = _Worker()
            try:
                worker.thread.start()
            except RuntimeError:  # at the end of the interpreter, or of what the system gives
                return None
        return worker

    def close(self) -> None:
        """Ends the thread once it has nothing to do, and does not wait for that.

        Who left a reading half done closes it when the interpreter ends, where no other thread comes to its end.
        """
        worker, self._worker = self._worker, None
        if worker is not None:
            worker.calls.put(None)


class _Worker:
    """A thread, what it is to call, and what came of that."""

    def __init__(self) -> None:
        self.calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.thread = threading.Thread(
            target=_work, args=(self.calls, self.outcomes), name="hubflight-aside", daemon=True
        )

    def make(self, call: Callable[[], T]) -> tuple[T, BaseException | None] | None:
        """What came of ``call``; None if it was not made, because another thread ended this one just before."""
        self.calls.put(call)
        while True:
            alive = self.thread.is_alive()  # asked first: the last thing that it does is to give an outcome
            with contextlib.suppress(queue.Empty):
                return self.outcomes.get(timeout=_LOOK_SECONDS if alive else 0)  # type: ignore[no-any-return]
            if not alive:
                return None


def _work(calls: queue.SimpleQueue[Any], outcomes: queue.SimpleQueue[Any]) -> None:
    while (call := calls.get()) is not None:
        try:
            outcome: tuple[Any, BaseException | None] = call(), None
        except BaseException as exc:
            outcome = None, exc
        outcomes.put(outcome)
        del call, outcome  # a batch is its reader's, and no longer than that one wants it


def _interruptible() -> bool:
    return threading.current_thread() is threading.main_thread() and callable(signal.getsignal(signal.SIGINT))


# One thread for the calls of the main thread, kept: gRPC and malloc prepare each that is new, which is a fifth of the
# time that a small plan takes.
_calls = Aside()
