"""What a fork leaves open: gRPC's threads stay behind in the parent, so that the child of a process that had a
connection open just then waits for ever in every call, also in those that close something.

There such calls are refused, or left out. Where nothing was open, a child begins anew and may do everything.
"""

from __future__ import annotations

import contextlib
import os
import time
import weakref
from pathlib import Path
from typing import Any

from hubflight.errors import Unsupported

__all__ = ["check", "closed", "cut_off", "opened"]

# How long a fork waits at most for threads of gRPC to end, which they do within some ten milliseconds.
_END_SECONDS = 1.0
_THREADS = ("event_engine", "grpc_", "lifeguard")  # the names of gRPC's, as Linux tells them

_open: weakref.WeakSet[Any] = weakref.WeakSet()
_last = 0.0  # when something was closed (monotonic)
_cut_off = False


def opened(thing: Any) -> None:
    """Tells of one of pyarrow's ends of a connection or a stream, which counts until nothing refers to it."""
    _open.add(thing)


def closed(connection: Any) -> None:
    """Tells that nothing is left of a connection, but for streams that are told of themselves."""
    global _last
    _open.discard(connection)
    _last = time.monotonic()


def cut_off() -> bool:
    """Whether this process was forked from one that had something open."""
    return _cut_off


def check() -> None:
    """Raises Unsupported in a process that is `cut_off`."""
    if _cut_off:
        raise Unsupported(
            "[unsupported] fork: this process was forked from one that was just reading or writing with hubflight, and "
            "cannot do so itself: start it with multiprocessing's method spawn or forkserver, or while nothing is read"
        )


def _before() -> None:
    """Lets gRPC end, which it does a moment after the last connection."""
    while not _open and time.monotonic() - _last < _END_SECONDS and _runs():
        time.sleep(1e-3)


def _runs() -> bool:
    """Whether there are threads of gRPC, where that can be seen."""
    with contextlib.suppress(OSError):
        for task in os.listdir("/proc/self/task"):
            with contextlib.suppress(OSError):  # it has ended
                if Path(f"/proc/self/task/{task}/comm").read_text(errors="replace").startswith(_THREADS):
                    return True
    return False


def _in_child() -> None:
    global _cut_off
    left = list(_open)
    _cut_off = _cut_off or bool(left)
    with contextlib.suppress(ImportError):  # some builds of Python are without it
        if left:
            import ctypes

            for thing in left:  # it would be closed when it is given up
                ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
