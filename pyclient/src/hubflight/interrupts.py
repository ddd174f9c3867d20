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
        self._thread: threading.Thread | None = None
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
        self._busy = True
        try:
            if self._thread is None or not self._thread.is_alive():  # in a fork it is not
                self._start()
            self._calls.put(call)
            value, error = self._outcome()
        except BaseException:
            # The call's outcome is nobody's any more, and must not be taken for that of the next one.
            thread, self._thread = self._thread, None
            if thread is not None:
                self._calls.put(None)
            raise
        finally:
            self._busy = False
        if error is not None:
            raise error
        return value  # type: ignore[no-any-return]

    def _start(self) -> None:
        self._calls: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread = threading.Thread(
            target=_work, args=(self._calls, self._outcomes), name="hubflight-aside", daemon=True
        )
        self._thread.start()

    def _outcome(self) -> tuple[Any, BaseException | None]:
        while True:
            with contextlib.suppress(queue.Empty):
                return self._outcomes.get(timeout=_LOOK_SECONDS)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Ends the thread, which has nothing to do."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._calls.put(None)
            if thread is not threading.current_thread():
                thread.join()


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
