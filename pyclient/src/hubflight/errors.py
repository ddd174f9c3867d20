"""What can go wrong, as exception classes: one per kind of the wire contract.

The text of an error is the server's own and begins with its ``[kind]``; the fields are read from that text, because
Spark and several Flight codes leave nothing else of it. All classes survive pickling.
"""

from __future__ import annotations

import re
from typing import Any

from hubflight._secret import Secret, redact

__all__ = [
    "AccessDenied",
    "AlreadyExists",
    "Canceled",
    "CommitConflict",
    "CommitStateUnknown",
    "CorruptFile",
    "DatasetNotFound",
    "DeadlineExceeded",
    "HandshakeFailed",
    "HubUnavailable",
    "HubflightError",
    "InternalError",
    "InvalidOption",
    "LimitExceeded",
    "NotAuthenticated",
    "ServerBusy",
    "ServerUnreachable",
    "SnapshotChanged",
    "StagedLost",
    "Unsupported",
    "from_arrow",
    "from_text",
]


class HubflightError(Exception):
    """Base of all errors of hubflight.

    Attributes:
        kind: the kind's name on the wire; "transport" if the server did not get to answer.
        retryable: whether the same request may succeed later.
        retry_after: seconds to wait first, if the server said so.
        request_id: under which the server logged the request.
        path: the file it is about, relative to the dataset.
    """

    kind = "internal"
    retryable = False

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        request_id: str | None = None,
        path: str | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.request_id = request_id
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {"retry_after": self.retry_after, "request_id": self.request_id, "path": self.path}
        return _rebuild, (type(self), str(self), fields)


def _rebuild(cls: type[HubflightError], message: str, fields: dict[str, Any]) -> HubflightError:
    return cls(message, **fields)


class InvalidOption(HubflightError, ValueError):
    """The request cannot be carried out as written: an unknown option or column, a bad filter, a refused type."""

    kind = "invalid"


class DatasetNotFound(HubflightError):
    """The dataset, revision, config, split or file does not exist."""

    kind = "not_found"


class AlreadyExists(HubflightError):
    """What was to be created is already there."""

    kind = "exists"


class NotAuthenticated(HubflightError):
    """No token, or one that nobody accepts."""

    kind = "unauthenticated"


class AccessDenied(HubflightError):
    """A valid token without the right: a gated dataset, a read token used for writing."""

    kind = "denied"


class LimitExceeded(HubflightError):
    """The request exceeds a fixed bound; it will always fail."""

    kind = "limit"


class ServerBusy(HubflightError):
    """Too much is going on at the server or at the Hub; `retry_after` says when to come back."""

    kind = "busy"
    retryable = True


class HubUnavailable(HubflightError):
    """The Hub or the network behind the server failed."""

    kind = "upstream"
    retryable = True


class SnapshotChanged(HubflightError):
    """The bytes that a plan named are no longer there: load again."""

    kind = "changed"


class CommitConflict(HubflightError):
    """Somebody else changed the repository in a way that this commit cannot be put on top of."""

    kind = "conflict"


class StagedLost(HubflightError):
    """Staged files are no longer stored: write again. Nothing was committed."""

    kind = "staged_lost"


class CommitStateUnknown(HubflightError):
    """A commit was sent and its answer lost. Look at the repository before writing again; nothing was deleted."""

    kind = "unknown_outcome"


class CorruptFile(HubflightError):
    """A file is not what its format says; `path` names it."""

    kind = "corrupt"


class Unsupported(HubflightError):
    """Correct, but this server or client cannot do it."""

    kind = "unsupported"


class Canceled(HubflightError):
    """The request was given up by the caller."""

    kind = "canceled"


class DeadlineExceeded(HubflightError):
    """The request took longer than allowed."""

    kind = "deadline"


class InternalError(HubflightError):
    """A bug; the server's log has more under `request_id`."""

    kind = "internal"


class ServerUnreachable(HubflightError):
    """The hubflight server could not be reached, or the connection broke before it answered."""

    kind = "transport"
    retryable = True


class HandshakeFailed(ServerUnreachable):
    """There is a server, and TLS with it cannot be: it, or this client, has a certificate that the other refuses."""

    retryable = False


_BY_KIND: dict[str, type[HubflightError]] = {
    cls.kind: cls
    for cls in (
        InvalidOption, DatasetNotFound, AlreadyExists, NotAuthenticated, AccessDenied, LimitExceeded, ServerBusy,
        HubUnavailable, SnapshotChanged, CommitConflict, StagedLost, CommitStateUnknown, CorruptFile, Unsupported,
        Canceled, DeadlineExceeded, InternalError,
    )
}  # fmt: skip

# What gRPC says of a handshake that will never be another. One that is cut, as by a restart, is not among them.
_HANDSHAKES = (
    (
        re.compile(r"certificate.verify.failed", re.IGNORECASE),
        "its certificate is of nobody that this machine trusts, or has expired: if its CA is your own, name the CA's "
        "file in HUBFLIGHT_TLS_CA",
    ),
    (
        re.compile(r"not in peer certificate|hostname verification", re.IGNORECASE),
        "its certificate is of another host: use the name that is in it",
    ),
    (re.compile(r"wrong.version.number", re.IGNORECASE), "it does not speak TLS: check the address, or use grpc://"),
    (
        re.compile(r"TSI_DATA_CORRUPTED|ssl\w* ?alert|alert (bad|unknown|certificate|handshake)", re.IGNORECASE),
        "it refuses this client, probably because it wants a certificate that it knows: name its file in "
        "HUBFLIGHT_TLS_CERT, and its key's in HUBFLIGHT_TLS_KEY",
    ),
)

_KIND = re.compile(r"\[(" + "|".join(_BY_KIND) + r")\] ")
# What the layers below append to our text, gRPC's copy of it included.
_TAIL = re.compile(r"\.? ?(gRPC client debug context:|Client context:|Detail: ).*\Z", re.DOTALL)
_RETRY_AFTER = re.compile(r"\(retry after (\d+(?:\.\d+)?)s\)")
_REQUEST_ID = re.compile(r"\(request ([A-Za-z0-9._:-]+)\)\s*\Z")
_FILE = re.compile(r"[(,] ?file=(.+?)(?=, column=|\)(?::| \(|\s*\Z))", re.DOTALL)


def from_text(text: str, *secrets: Secret | None) -> HubflightError | None:
    """The error whose ``[kind]`` stands first in ``text``; None if there is none, which means a transport error.

    The given secrets, and whatever looks like one, are removed from the text.
    """
    found = _KIND.search(text)
    if found is None:
        return None
    message = redact(_TAIL.sub("", text[found.start() :]).strip(), *secrets)
    retry_after = _RETRY_AFTER.search(message)
    request_id = _REQUEST_ID.search(message)
    path = _FILE.search(message)
    return _BY_KIND[found[1]](
        message,
        retry_after=float(retry_after[1]) if retry_after else None,
        request_id=request_id[1] if request_id else None,
        path=path[1] if path else None,
    )


def from_arrow(exc: BaseException, server: str, *secrets: Secret | None) -> HubflightError:
    """``exc``, raised by pyarrow while talking to ``server``, as one of ours."""
    if isinstance(exc, HubflightError):
        return exc
    known = from_text(str(exc), *secrets)
    if known is not None:
        return known
    import pyarrow as pa
    from pyarrow import flight

    text = redact(_TAIL.sub("", str(exc)).strip(), *secrets)
    if isinstance(exc, flight.FlightTimedOutError):
        return DeadlineExceeded(f"[deadline] {server}: {text}")
    if isinstance(exc, (flight.FlightCancelledError, pa.ArrowCancelled)):
        return Canceled(f"[canceled] {server}: {text}")
    if isinstance(exc, flight.FlightUnauthenticatedError):
        return NotAuthenticated(f"[unauthenticated] {server}: {text}")
    if isinstance(exc, flight.FlightUnauthorizedError):
        return AccessDenied(f"[denied] {server}: {text}")
    if isinstance(exc, (NotImplementedError, pa.ArrowNotImplementedError)):
        return Unsupported(f"[unsupported] {server}: {text}: is this a hubflight server of the same version?")
    if isinstance(exc, flight.FlightServerError):  # UNKNOWN: without a kind it is an ordinary bug
        return InternalError(f"[internal] {server}: {text}")
    if isinstance(exc, (flight.FlightError, OSError)):
        for sign, hint in _HANDSHAKES if server.startswith("grpc+tls") else ():
            if sign.search(text):
                return HandshakeFailed(f"[transport] no TLS with the hubflight server at {server}: {text}: {hint}")
        return ServerUnreachable(
            f"[transport] the hubflight server at {server} did not answer: {text}: "
            "check the address and that `hubflight serve` is running"
        )
    return InternalError(f"[internal] {server}: {type(exc).__name__}: {text}")
