"""Rows through memory that client and server share, where both run as one user on one Linux machine.

The stream stays the Flight stream that it is: it carries the schema, the order and, for each batch, either the batch or
the place where it lies. The place is a slot of a segment: an anonymous file (memfd) that whoever sends rows makes for
one stream, and whoever receives them opens through ``/proc``. The kernel lets the same user do that, who can read and
change both processes anyway, and nobody else. A slot belongs to the sender until it is announced, and then to the
receiver until nothing refers to its batch any more.

All of it is an offer: where something is missing, not permitted or not as it should be, batches come and go inside the
stream, and nobody is told.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import secrets
import stat
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import pyarrow as pa

if sys.platform == "linux":
    import fcntl

    # The size stays what it is: reading memory that was taken away would end the process.
    _SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

__all__ = ["HEADER", "INLINE_BYTES", "Receiver", "Sender", "Unusable", "possible"]

HEADER = "x-hubflight-shared-memory"
# Of a reading, before memory is shared: as many have gone through the connection by the time that it takes to find and
# clear the memory of a segment, and short answers need none.
INLINE_BYTES = 8 << 20

_MAGIC = b"hubfshm1"
_PAGE = 4096  # the control page: what the segment is, then one word for each slot
_HEAD = struct.Struct("<8s16sII")  # magic, nonce, slots, bytes of a slot
_ATTACHED = 64 // 4  # the word that the receiver sets when it has seen that the segment is the one it was told of
_STATES, _STATE = 128 // 4, 64 // 4  # the word of the first slot, and from one to the next: a cache line each
_MAX_SLOTS = 62  # whose words the page has room for

_SLOTS, _SLOT_BYTES = 3, 6 << 20  # of an upload
# Of a batch in a slot. Every message costs both sides a fifth of a millisecond, however large its batch is.
_BATCH_BYTES = 5632 << 10
# Larger ones are written for longer than the next takes to copy: two slots are enough for them, and take less memory.
_LARGE = 3 << 20
_SCHEMA = 256 << 10  # is before the batch, and hardly ever larger
_PATIENCE = 0.25  # seconds; later the stream itself makes the sender wait
_ATTACH_PATIENCE = 0.02  # seconds, once, for the server to look at the segment: it does so before it reads anything


def possible(uri: str) -> bool:
    """Whether a server at this address may share memory with this process; HUBFLIGHT_SHARED_MEMORY=off forbids it."""
    return (
        sys.platform == "linux"
        and uri.startswith("grpc+unix:")
        and sys.byteorder == "little"
        and sys.maxsize > 1 << 32
        and os.environ.get("HUBFLIGHT_SHARED_MEMORY", "").lower() not in ("off", "0", "no", "false")
    )


class _Forks:
    """Counts this process' forks, at each of their ends.

    A child has the batches that its parent had, in the same memory. What was received before a fork is therefore never
    given back to the sender, by neither of them: it could be overwritten under the other.
    """

    def __init__(self) -> None:
        self.count = 0
        if hasattr(os, "register_at_fork"):
            # Also afterwards, for what other threads receive between the one and the fork itself.
            os.register_at_fork(before=self._counted, after_in_parent=self._counted, after_in_child=self._counted)

    def _counted(self) -> None:
        self.count += 1


_forks = _Forks()


class Unusable(Exception):
    """The sender says that a batch lies where none can be read."""


class Receiver:
    """The receiving end of one stream: finds the segment that the sender names, and the batches in it."""

    def __init__(self) -> None:
        self._segment: _Attached | None = None

    def take(self, metadata: pa.Buffer | None, schema: pa.Schema) -> pa.RecordBatch | None:
        """The batch that a message without one announces; None if it announces none. Raises `Unusable`."""
        said = _object(metadata)
        if "segment" in said:
            self._segment = _attach(said["segment"])
        if "slot" not in said:
            return None
        if self._segment is None:
            raise Unusable("a slot of no segment was announced")
        return self._segment.batch(said, schema)

    def end(self) -> None:
        """The stream is over: no slot is of use to the sender any more. Batches stay what they are."""
        if self._segment is not None:
            self._segment.end()


class _Attached:
    """A segment of another process: its slots for reading, its control page also for writing.

    `_slots` lives as long as a batch of it; `_control`, which takes a file descriptor, as long as the stream.
    """

    def __init__(self, opened: int, size: int, nonce: bytes) -> None:
        if fcntl.fcntl(opened, fcntl.F_GET_SEALS) & _SEALS != _SEALS:
            raise ValueError("not sealed")
        magic, given, slots, self._slot_bytes = _HEAD.unpack(os.pread(opened, _HEAD.size, 0))
        if magic != _MAGIC or not secrets.compare_digest(given, nonce):
            raise ValueError("another segment")
        if not 0 < slots <= _MAX_SLOTS or self._slot_bytes % _PAGE or size != _PAGE + slots * self._slot_bytes:
            raise ValueError("another layout")
        self._count = slots
        # What pyarrow maps for reading shows what the sender writes, as every mapping of Linux that nobody writes
        # through, and needs no file descriptor: batches may be kept from any number of streams.
        with pa.memory_map(f"/proc/self/fd/{opened}", "r") as mapped:
            self._slots = mapped.read_buffer()
        self._control: memoryview | None = memoryview(mmap.mmap(opened, _PAGE)).cast("I")
        self._control[_ATTACHED] = 1

    def batch(self, said: dict[str, Any], schema: pa.Schema) -> pa.RecordBatch:
        slot, offset, length = place = [said.get(name, -1) for name in ("slot", "offset", "length")]
        known = all(type(number) is int and number >= 0 for number in place)
        if not known or slot >= self._count or offset % 8 or offset + length > self._slot_bytes:
            raise Unusable(f"a slot was announced as {said}")
        at = self._slots.address + _PAGE + slot * self._slot_bytes + offset
        try:
            return pa.ipc.read_record_batch(pa.foreign_buffer(at, length, base=_Lease(self, slot)), schema)
        except Exception as exc:
            raise Unusable(f"a slot holds no batch: {exc}") from None

    def free(self, slot: int) -> None:
        control = self._control  # once: another thread may end the stream
        if control is not None:
            control[_STATES + _STATE * slot] = 0

    def end(self) -> None:
        self._control = None


class _Lease:
    """A slot in the hands of this process: it is the base of its batch's memory, and gone when that is."""

    __slots__ = ("_forks", "_made", "_segment", "_slot")

    def __init__(self, segment: _Attached, slot: int) -> None:
        self._segment, self._slot = segment, slot
        self._forks, self._made = _forks, _forks.count

    def __del__(self) -> None:
        if self._made == self._forks.count:
            self._segment.free(self._slot)


def _attach(said: object) -> _Attached | None:
    """The segment that the sender names, if it is there and is the one that it means."""
    if not isinstance(said, dict):
        return None
    try:
        pid, fd, size, nonce = int(said["pid"]), int(said["fd"]), int(said["size"]), bytes.fromhex(said["nonce"])
        opened = _open(f"/proc/{pid}/fd/{fd}", size)
        try:
            return _Attached(opened, size, nonce)
        finally:
            os.close(opened)
    except Exception:  # whatever it is: the sender goes on without
        return None


def _open(path: str, size: int) -> int:
    """Opens a segment. In another container the same name may be another file's, so it is looked at first."""
    looked = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        found = os.fstat(looked)
        if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_size != size:
            raise ValueError("another file")
        return os.open(f"/proc/self/fd/{looked}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        os.close(looked)


class Sender:
    """The sending end of one upload: makes a segment where memory can be shared, and copies batches into its slots.

    `headers` are those that tell the server of it. It is closed at the end of a `with`.
    """

    def __init__(self, uri: str) -> None:
        self._segment: _Own | None = None
        self.headers: dict[str, str] = {}
        with contextlib.suppress(Exception):
            if possible(uri):
                self._segment = _Own()
                self.headers = {HEADER: self._segment.name}

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *_: object) -> None:
        if self._segment is not None:
            self._segment.close()
            self._segment = None

    def batch_bytes(self, inline: int) -> int:
        """How large a batch should be at most: ``inline``, or what a slot has room for as soon as there are slots."""
        return inline if self._segment is None else self._segment.batch_bytes(inline)

    def put(self, batch: pa.RecordBatch, going: Callable[[], bool]) -> bytes | None:
        """Copies ``batch`` into a slot and gives what announces it; None if it has to go inside the stream.

        Waits a little for a slot, as long as ``going`` says that the stream has not ended.
        """
        if self._segment is None:
            return None
        try:
            return self._segment.put(batch, going)
        except Exception:  # it is larger than it says, there is no memory, its type is written in another way
            return None


class _Own:
    """A segment of this process, with the slots of an upload."""

    def __init__(self) -> None:
        size, nonce = _PAGE + _SLOTS * _SLOT_BYTES, secrets.token_bytes(16)
        self._room, self._patient, self._attach_patience = [0] * _SLOTS, True, _ATTACH_PATIENCE
        self._fd = os.memfd_create("hubflight", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(self._fd, size)
            os.posix_fallocate(self._fd, 0, _PAGE)
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, _SEALS)
            self._mapped = memoryview(mmap.mmap(self._fd, size))
        except BaseException:
            os.close(self._fd)
            raise
        _HEAD.pack_into(self._mapped, 0, _MAGIC, nonce, _SLOTS, _SLOT_BYTES)
        self._control = self._mapped[:_PAGE].cast("I")
        self.name = json.dumps({"pid": os.getpid(), "fd": self._fd, "size": size, "nonce": nonce.hex()})

    def close(self) -> None:
        """Gives the memory up; the receiver keeps what it still reads."""
        del self._mapped, self._control
        os.close(self._fd)

    def batch_bytes(self, inline: int) -> int:
        until, self._attach_patience = time.monotonic() + self._attach_patience, 0.0
        while not self._control[_ATTACHED]:
            if time.monotonic() > until:
                return inline
            time.sleep(500e-6)
        return _BATCH_BYTES

    def put(self, batch: pa.RecordBatch, going: Callable[[], bool]) -> bytes | None:
        if not self._control[_ATTACHED]:
            return None
        size = pa.ipc.get_record_batch_size(batch)
        if size > _SLOT_BYTES:
            return None
        slot = self._free(_SLOTS if size <= _LARGE else 2, going)
        if slot is None:
            return None
        begin, room = _PAGE + slot * _SLOT_BYTES, min(_SLOT_BYTES, size + _SCHEMA)
        if room > self._room[slot]:
            # Memory that the machine does not have is an error here; where it is written to it would be a signal.
            os.posix_fallocate(self._fd, begin, room)
            self._room[slot] = room
        sink = pa.FixedSizeBufferWriter(pa.py_buffer(self._mapped[begin : begin + self._room[slot]]))
        writer = pa.ipc.new_stream(sink, batch.schema)
        writer.write_batch(batch)
        if writer.stats.num_messages != 2:  # there are dictionaries, and those have to be in the stream
            return None
        offset = 8 + int.from_bytes(self._mapped[begin + 4 : begin + 8], "little")  # behind the schema
        self._control[_STATES + _STATE * slot] = 1
        return json.dumps({"slot": slot, "offset": offset, "length": sink.tell() - offset}).encode("ascii")

    def _free(self, slots: int, going: Callable[[], bool]) -> int | None:
        """One of the first ``slots`` that is free, or becomes so soon.

        Who has waited in vain does not wait again until one was.
        """
        # The other slots are work for longer than the first pause; to look more often is CPU time of the same machine.
        pause, until = 1e-3, time.monotonic() + _PATIENCE
        while True:
            for slot in range(slots):
                if not self._control[_STATES + _STATE * slot]:
                    self._patient = True
                    return slot
            if not self._patient or not going() or time.monotonic() > until:
                self._patient = False
                return None
            time.sleep(pause)
            pause = min(2 * pause, 8e-3)


def _object(raw: pa.Buffer | None) -> dict[str, Any]:
    with contextlib.suppress(ValueError):
        value = json.loads(raw.to_pybytes()) if raw is not None and raw.size else {}
        return value if isinstance(value, dict) else {}
    return {}
