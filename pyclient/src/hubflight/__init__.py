"""hubflight: read and write Hugging Face dataset repositories through a hubflight server.

    >>> import hubflight
    >>> client = hubflight.connect("grpc://127.0.0.1:8815")
    >>> client.dataset("ns/name", columns=["id"], filters=[("lang", "=", "en")]).to_table()

Importing is cheap: pyarrow is loaded with the first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hubflight.errors import (
    AccessDenied,
    AlreadyExists,
    Canceled,
    CommitConflict,
    CommitStateUnknown,
    CorruptFile,
    DatasetNotFound,
    DeadlineExceeded,
    HandshakeFailed,
    HubflightError,
    HubUnavailable,
    InternalError,
    InvalidOption,
    LimitExceeded,
    NotAuthenticated,
    ServerBusy,
    ServerUnreachable,
    SnapshotChanged,
    StagedLost,
    Unsupported,
)

if TYPE_CHECKING:
    from hubflight.client import Client, Dataset, Explanation, connect
    from hubflight.connection import Server
    from hubflight.reading import Partition, Plan, read_partition
    from hubflight.shortcuts import count, explain, show_plan, splits
    from hubflight.writing import WriteResult

__version__ = "0.1.0"

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "Canceled",
    "Client",
    "CommitConflict",
    "CommitStateUnknown",
    "CorruptFile",
    "Dataset",
    "DatasetNotFound",
    "DeadlineExceeded",
    "Explanation",
    "HandshakeFailed",
    "HubUnavailable",
    "HubflightError",
    "InternalError",
    "InvalidOption",
    "LimitExceeded",
    "NotAuthenticated",
    "Partition",
    "Plan",
    "Server",
    "ServerBusy",
    "ServerUnreachable",
    "SnapshotChanged",
    "StagedLost",
    "Unsupported",
    "WriteResult",
    "connect",
    "count",
    "explain",
    "read_partition",
    "show_plan",
    "splits",
]

_LAZY = {
    "Client": "client",
    "Dataset": "client",
    "Explanation": "client",
    "connect": "client",
    "count": "shortcuts",
    "explain": "shortcuts",
    "show_plan": "shortcuts",
    "splits": "shortcuts",
    "Server": "connection",
    "Partition": "reading",
    "Plan": "reading",
    "read_partition": "reading",
    "WriteResult": "writing",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
