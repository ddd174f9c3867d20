"""Errors: from the text of a status to a typed exception, and through pickle."""

from __future__ import annotations

import pickle

import pytest
from pyarrow import flight

import hubflight
from hubflight._secret import Secret
from hubflight.errors import HubflightError, from_arrow, from_text

WRAPPED = (
    "Flight returned unavailable error, with message: [busy] read: the server is full (ns/name@0123abcd, "
    "file=data/train, 00000.parquet, column=a.b): come back later (retry after 12s) (request 7f3a-9). "
    "gRPC client debug context: UNKNOWN:Error received from peer {grpc_status:14}. Client context: OK"
)


def test_the_kind_and_the_fields_are_read_from_a_wrapped_text() -> None:
    error = from_text(WRAPPED)
    assert type(error) is hubflight.ServerBusy
    assert str(error).startswith("[busy] read: the server is full")
    assert str(error).endswith("(request 7f3a-9)")
    assert "gRPC" not in str(error)
    assert (error.kind, error.retryable, error.retry_after, error.request_id, error.path) == (
        "busy", True, 12.0, "7f3a-9", "data/train, 00000.parquet",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "cls"),
    [
        ("invalid", hubflight.InvalidOption),
        ("not_found", hubflight.DatasetNotFound),
        ("exists", hubflight.AlreadyExists),
        ("unauthenticated", hubflight.NotAuthenticated),
        ("denied", hubflight.AccessDenied),
        ("limit", hubflight.LimitExceeded),
        ("busy", hubflight.ServerBusy),
        ("upstream", hubflight.HubUnavailable),
        ("changed", hubflight.SnapshotChanged),
        ("conflict", hubflight.CommitConflict),
        ("staged_lost", hubflight.StagedLost),
        ("unknown_outcome", hubflight.CommitStateUnknown),
        ("corrupt", hubflight.CorruptFile),
        ("unsupported", hubflight.Unsupported),
        ("canceled", hubflight.Canceled),
        ("deadline", hubflight.DeadlineExceeded),
        ("internal", hubflight.InternalError),
    ],
)
def test_every_kind_has_its_class(kind: str, cls: type[HubflightError]) -> None:
    error = from_text(f"[{kind}] op: text")
    assert type(error) is cls
    assert error.kind == kind
    assert error.retryable == (kind in ("busy", "upstream"))


def test_errors_survive_pickling_with_their_fields() -> None:
    error = from_text(WRAPPED)
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert type(copy) is hubflight.ServerBusy
    assert str(copy) == str(error)
    assert vars(copy) == vars(error)


def test_a_wrong_option_is_also_a_value_error() -> None:
    assert issubclass(hubflight.InvalidOption, ValueError)


def test_the_first_kind_counts_and_brackets_of_other_texts_do_not() -> None:
    error = from_text("wrapper [abc] x: [not_found] plan: no split [invalid] here")
    assert type(error) is hubflight.DatasetNotFound
    assert from_text("[abc] something") is None


@pytest.mark.parametrize(
    ("raised", "cls", "retryable"),
    [
        (flight.FlightUnavailableError("failed to connect"), hubflight.ServerUnreachable, True),
        (flight.FlightInternalError("RST_STREAM"), hubflight.ServerUnreachable, True),
        (flight.FlightServerError("whatever"), hubflight.InternalError, False),
        (flight.FlightTimedOutError("late"), hubflight.DeadlineExceeded, False),
        (flight.FlightCancelledError("bye"), hubflight.Canceled, False),
        (NotImplementedError("no such RPC"), hubflight.Unsupported, False),
        (OSError("broken pipe"), hubflight.ServerUnreachable, True),
        (ValueError("decode"), hubflight.InternalError, False),
    ],
)
def test_an_error_without_a_kind_is_one_of_the_connection(
    raised: Exception, cls: type[HubflightError], retryable: bool
) -> None:
    error = from_arrow(raised, "grpc://h:1")
    assert type(error) is cls
    assert error.retryable is retryable


def test_no_error_shows_a_token() -> None:
    error = from_arrow(flight.FlightUnavailableError("x sesame-open hf_abcdefgh"), "grpc://h", Secret("sesame-open"))
    assert "sesame" not in str(error)
    assert "hf_abcdefgh" not in str(error)
    known = from_text("[denied] x: sesame-open", Secret("sesame-open"))
    assert "sesame" not in str(known)
