"""One server: where it is, what is sent with every request, and which failures are tried again.

A `Server` is plain data and may be pickled (Spark does); a `Connection` holds the socket and may not.
"""

from __future__ import annotations

import ipaddress
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import pyarrow as pa
from pyarrow import flight

from hubflight import forks
from hubflight._secret import Secret, find_hub_token, token_of_variable
from hubflight.embedded import Embedded, locate, machine, wanted
from hubflight.errors import (
    CommitStateUnknown,
    DeadlineExceeded,
    HandshakeFailed,
    HubflightError,
    InternalError,
    InvalidOption,
    ServerUnreachable,
    from_arrow,
)
from hubflight.interrupts import aside
from hubflight.options import Connecting
from hubflight.tls import Tls, find_tls

__all__ = ["EMBEDDED", "PATIENT", "Connection", "Retry", "Server", "connect_to", "locations_of", "resolve_server"]

T = TypeVar("T")

# What this client can receive as one FlightInfo; pyarrow has no receive limit of its own.
MAX_INFO = 256 << 20
# Of one request of planning or of a short action. A plan of very many files takes minutes, never this. What reads rows
# takes as long as there are rows, as a stream does.
CALL_TIMEOUT = 15 * 60.0
_SCHEMES = ("grpc", "grpc+tcp", "grpc+tls", "grpc+unix")
_REUSE = "arrow-flight-reuse-connection:"
EMBEDDED = "embedded"  # in the place of an address: that of this machine's own server


@dataclass(frozen=True)
class Retry:
    """For how long what is worth retrying is retried, in seconds.

    `busy` is for a server or Hub that says "later"; `unreachable` for one that does not answer at all, where a
    mistyped address must not cost ten minutes.
    """

    busy: float = 600.0
    unreachable: float = 15.0

    def wait(self, error: HubflightError, attempt: int, since: float) -> float | None:
        """Seconds to sleep before the next attempt; None to give up. `since` is when the trouble began (monotonic)."""
        if not error.retryable:
            return None
        budget = self.unreachable if isinstance(error, ServerUnreachable) else self.busy
        # Full jitter: a hundred tasks that were turned away together do not come back together.
        pause = random.uniform(0.05, min(15.0, 0.25 * 2 ** min(attempt, 10)))  # noqa: S311
        if error.retry_after:
            pause = error.retry_after + pause / 2
        return pause if time.monotonic() + pause - since <= budget else None

    def run(self, operation: Callable[[int], T]) -> T:
        """Runs ``operation``, given the number of the attempt, until it succeeds or fails for good."""
        since, attempt = time.monotonic(), 0
        while True:
            try:
                return operation(attempt)
            except HubflightError as error:
                pause = self.wait(error, attempt, since)
                if pause is None:
                    raise
            time.sleep(pause)
            attempt += 1


# For a stream or a task that has a plan: the server was there a moment ago and is probably restarting.
PATIENT = Retry(unreachable=180.0)


@dataclass(frozen=True)
class Server:
    """A server's address, the tokens that are sent to it, and whose certificates. Picklable; its repr holds no token.

    With ``embedded`` it is the server of whichever machine asks, found or started when it is needed.
    """

    uri: str
    server_token: Secret | None = None
    hub_token: Secret | None = None
    embedded: Embedded | None = None
    tls: Tls | None = None

    def here(self) -> Server:
        """The server with the address that it has on this machine."""
        if self.embedded is None:
            return self
        found = locate(self.embedded)
        return Server(found.uri, found.token, self.hub_token)

    def at(self, uri: str) -> Server:
        """The same credentials for another address that the server named."""
        uri = _checked_uri(uri, self.hub_token or self.server_token)
        return replace(self, uri=uri, embedded=None, tls=self._tls_at(uri))

    def _tls_at(self, uri: str) -> Tls | None:
        """What a connection to ``uri`` needs, which this server has if it speaks TLS itself."""
        if not _is_tls(uri):
            return None
        return self.tls if _is_tls(self.uri) else find_tls()


def resolve_server(given: Connecting) -> Server:
    """The one place that decides which server is used: the option, the environment, else an embedded one."""
    uri = given.server or os.environ.get("HUBFLIGHT_SERVER") or None
    if uri is None:
        if given.server_token:
            raise InvalidOption("[invalid] option server_token: it belongs to a server: give the option server, too")
        return Server(EMBEDDED, None, given.token or find_hub_token(), wanted(given.endpoint))
    server_token = given.server_token or token_of_variable("HUBFLIGHT_SERVER_TOKEN")
    uri = _checked_uri(uri, given.token or server_token)
    hub_token = given.token
    if hub_token is None and _is_private(uri):
        # A token that nobody gave explicitly never crosses a network in clear text; one that was given is refused.
        hub_token = find_hub_token()
    return Server(uri, server_token, hub_token, tls=find_tls() if _is_tls(uri) else None)


def _checked_uri(uri: str, secret: Secret | None) -> str:
    uri = uri.strip()
    try:
        parts = urlsplit(uri)
        port = parts.port
    except ValueError:  # a port that is no number, or a bracket that nobody closes
        parts, port = urlsplit(""), None
    unix = parts.scheme == "grpc+unix"
    if uri.partition(":")[0] not in _SCHEMES or (parts.netloc or not parts.path if unix else not parts.hostname):
        shown = re.sub(r"//.*@", "//", uri)
        raise InvalidOption(
            f"[invalid] server: {shown!r} is not an address: use grpc://host:8815, grpc+tls://host:8815 or "
            "grpc+unix:///path"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise InvalidOption(
            "[invalid] server: an address holds no user, password or query: use the option server_token"
        )
    if not unix and port is None:
        uri = f"{parts.scheme}://{parts.netloc.removesuffix(':')}:8815"
    if secret and not _is_private(uri):
        raise InvalidOption(
            f"[invalid] server: a token would be sent to {parts.netloc} without encryption: use grpc+tls:// "
            "or a server on this machine"
        )
    return uri


def _is_tls(uri: str) -> bool:
    return urlsplit(uri).scheme == "grpc+tls"


def _is_private(uri: str) -> bool:
    """Whether what is sent there cannot be overheard: TLS, a unix socket or loopback."""
    parts = urlsplit(uri)
    if parts.scheme in ("grpc+tls", "grpc+unix"):
        return True
    host = parts.hostname or ""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Requests(flight.ClientMiddlewareFactory):  # type: ignore[misc]
    """Takes down what each answer says about the requests that the server has made for it."""

    HEADER = "x-hubflight-requests"

    def __init__(self) -> None:
        super().__init__()
        self.last: dict[str, int] | None = None

    def start_call(self, info: Any) -> flight.ClientMiddleware:
        return _RequestsOfCall(self)


class _RequestsOfCall(flight.ClientMiddleware):  # type: ignore[misc]
    def __init__(self, to: _Requests) -> None:
        super().__init__()
        self._to = to

    def received_headers(self, headers: Mapping[str, list[str | bytes]]) -> None:
        for value in headers.get(_Requests.HEADER, ()):
            text = value.decode("ascii", "replace") if isinstance(value, bytes) else value
            counts = re.findall(r"([a-z]+)=(\d{1,18})\b", text)
            if counts:
                self._to.last = {origin: int(count) for origin, count in counts}


class Connection:
    """A connection to one server. Safe for use by several threads; closed by `close` or at the end of a `with`."""

    def __init__(self, server: Server, retry: Retry | None = None) -> None:
        self.server = server
        self.retry = retry or Retry()
        self._requests = _Requests()
        self._connect()

    def _connect(self) -> None:
        forks.check()
        self._at = self.server.here()
        uri, tls = self._at.uri, self._at.tls
        encrypted = tls.arguments() if tls is not None and _is_tls(uri) else {}
        try:
            self._client = flight.connect(uri, generic_options=_options(uri), middleware=[self._requests], **encrypted)
        except Exception as exc:
            raise self.error(exc) from None
        forks.opened(self._client)

    def renew(self, error: HubflightError) -> None:
        """Connects again if ``error`` may mean that an embedded server has ended: the next one may be elsewhere."""
        if self.server.embedded is not None and isinstance(error, ServerUnreachable):
            old = self._client
            self._connect()
            old.close()
            forks.closed(old)

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if not forks.cut_off():
            self._client.close()
            forks.closed(self._client)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Connection holds a socket and cannot be pickled: pickle its server and connect again")

    def __repr__(self) -> str:
        return f"Connection({self.server.uri!r})"

    @property
    def requests(self) -> dict[str, int] | None:
        """How many requests the server sent to each origin (hub, cdn, viewer) for the last call that has ended.

        Repeated requests and redirects count. None before the first call, and of a server that does not say.
        """
        return self._requests.last

    def error(self, exc: BaseException) -> HubflightError:
        """``exc``, raised by pyarrow on this connection, as one of ours and without tokens."""
        return from_arrow(exc, self._at.uri, self._at.server_token, self._at.hub_token)

    def call_options(self, headers: Mapping[str, str] | None = None, timeout: float | None = None) -> Any:
        """pyarrow's per-call options with the headers of wire.md §2; ``timeout`` in seconds."""
        sent = {"x-hubflight-max-info": str(MAX_INFO), **(headers or {})}
        if self._at.server_token:
            sent["authorization"] = "Bearer " + self._at.server_token.reveal()
        if self._at.hub_token:
            sent["x-hubflight-hub-token"] = self._at.hub_token.reveal()
        pairs = [(name.encode("ascii"), value.encode("ascii")) for name, value in sent.items()]
        return flight.FlightCallOptions(timeout=timeout, headers=pairs)

    def retried(self, operation: Callable[[], T]) -> T:
        """Runs an idempotent ``operation`` until it succeeds or fails for good, or the handler of a signal raises.

        An interrupted one goes on, in a thread that nobody waits for: pyarrow cannot cancel it.
        """

        def once(_: int) -> T:
            try:
                return aside(lambda: self._named(operation))
            except HubflightError as exc:
                error = exc
            self.renew(error)
            raise error

        return self.retry.run(once)

    def _named(self, operation: Callable[[], T]) -> T:
        """``operation``, whose errors are ours. What the handler of a signal raises is none of them."""
        try:
            return operation()
        except Exception as exc:
            raise self.error(exc) from None

    def schema(self, command: Mapping[str, Any]) -> pa.Schema:
        """The schema that a read command's streams have (GetSchema)."""
        descriptor = _descriptor(command)
        return self.retried(lambda: self._client.get_schema(descriptor, self.call_options(timeout=CALL_TIMEOUT)).schema)

    def plan(self, command: Mapping[str, Any]) -> flight.FlightInfo:
        """The plan of a read command (GetFlightInfo)."""
        return self.retried(
            lambda: self._client.get_flight_info(_descriptor(command), self.call_options(timeout=CALL_TIMEOUT))
        )

    @property
    def uri(self) -> str:
        """Where the server is, on this machine."""
        return self._at.uri

    def get(self, ticket: bytes, headers: Mapping[str, str]) -> flight.FlightStreamReader:
        """One attempt at a stream (DoGet); raises pyarrow's errors."""
        reader = self._client.do_get(flight.Ticket(ticket), self.call_options(headers))
        forks.opened(reader)
        return reader

    def put(
        self, command: Mapping[str, Any], schema: pa.Schema, headers: Mapping[str, str] | None = None
    ) -> tuple[Any, Any]:
        """One attempt at an upload (DoPut): pyarrow's writer and metadata reader; raises pyarrow's errors."""
        writer, metadata = self._client.do_put(_descriptor(command), schema, self.call_options(headers))
        forks.opened(writer)
        forks.opened(metadata)
        return writer, metadata

    def action(
        self, name: str, body: Mapping[str, Any], timeout: float | None = CALL_TIMEOUT
    ) -> tuple[list[Any], dict[str, Any]]:
        """An idempotent action: its items and its result, retried as a whole."""
        return self.retried(lambda: self._action(name, body, timeout))

    def action_once(self, name: str, body: Mapping[str, Any], timeout: float) -> tuple[list[Any], dict[str, Any]]:
        """One attempt at an action; a stream that ends without its result has failed."""
        return aside(lambda: self._named(lambda: self._action(name, body, timeout)))

    def _action(self, name: str, body: Mapping[str, Any], timeout: float | None) -> tuple[list[Any], dict[str, Any]]:
        items: list[Any] = []
        result: dict[str, Any] | None = None
        for message in self._results(name, body, timeout):
            kind = message.pop("type", None)
            if kind == "item":
                items.append(message)
            elif kind == "result":
                result = message
        if result is None:
            raise InternalError(f"[internal] {name}: the answer of {self.server.uri} ended without a result")
        return items, result

    def _results(self, name: str, body: Mapping[str, Any], timeout: float | None) -> Iterator[dict[str, Any]]:
        action = flight.Action(name, _json(body))
        for answer in self._client.do_action(action, self.call_options(timeout=timeout)):
            message = json.loads(answer.body.to_pybytes())
            if not isinstance(message, dict):
                raise InternalError(f"[internal] {name}: {self.server.uri} answered something that is no object")
            yield message

    def commit(self, body: Mapping[str, Any], deadline: float) -> tuple[list[Any], dict[str, Any]]:
        """Commits, which is safe to repeat: until an answer comes, or ``deadline`` seconds have passed.

        Raises CommitStateUnknown if it is not known in the end whether the commit took effect. What the handler of a
        signal raises leaves that unknown, too: a KeyboardInterrupt says so.
        """
        try:
            return self._committed(body, deadline)
        except KeyboardInterrupt as exc:
            if not exc.args:
                exc.args = (f"[unknown_outcome] commit: interrupted: {_ask_about(body)}",)
            raise

    def _committed(self, body: Mapping[str, Any], deadline: float) -> tuple[list[Any], dict[str, Any]]:
        since, attempt, doubt = time.monotonic(), 0, False
        while True:
            left = max(1.0, deadline - (time.monotonic() - since))
            try:
                return self.action_once("commit", body, left)
            except HubflightError as exc:
                error = exc
            self.renew(error)
            refused = isinstance(error, HandshakeFailed)  # nothing was sent, and nothing will be
            unanswered = not refused and (
                isinstance(error, (ServerUnreachable, DeadlineExceeded)) or error.kind in ("canceled", "internal")
            )
            if not (unanswered or error.retryable or (refused and doubt)):
                raise error from None
            doubt = doubt or unanswered
            pause = (error.retry_after or 0.0) + random.uniform(0.05, min(15.0, 0.25 * 2 ** min(attempt, 10)))  # noqa: S311
            late = time.monotonic() + pause - since > deadline
            if late or refused or (error.kind == "internal" and attempt >= 3):
                if not doubt:  # every attempt was turned away before it began
                    raise error from None
                raise CommitStateUnknown(
                    f"[unknown_outcome] commit: no answer after {attempt + 1} attempts: {_ask_about(body)}. "
                    f"Last: {error}",
                    request_id=error.request_id,
                ) from None
            time.sleep(pause)
            attempt += 1


def _ask_about(commit: Mapping[str, Any]) -> str:
    job, dataset = commit.get("job"), commit.get("dataset")
    return (
        f"job {job} may have taken effect, or may yet: ask with `hubflight jobs show {job} {dataset}` (the action "
        "jobs) before writing again; nothing was deleted"
    )


def connect_to(given: Connecting, dataset: str = "") -> Server:
    """The server that options name; an ``endpoint`` that is not that server's Hub is refused.

    An embedded server for a local ``dataset`` is one of this machine, also where tasks run on others.
    """
    server = resolve_server(given)
    if server.embedded is not None and dataset.startswith("file://"):
        server = replace(server, embedded=replace(server.embedded, only_on=machine()))
    if given.endpoint is not None and server.embedded is None:
        with Connection(server) as connection:
            own = str(connection.action("version", {})[1].get("hub_endpoint", ""))
        if own.rstrip("/") != given.endpoint.rstrip("/"):
            raise InvalidOption(
                f"[invalid] option endpoint: the server at {server.uri} reads from {own}: a client does not choose a "
                "server's Hub: leave the option out, or use a server that is configured for that Hub"
            )
    return server


def _options(uri: str) -> list[tuple[str, int]]:
    """gRPC's options for a channel."""
    options = [
        # A restarted server should be found again within a moment, not after gRPC's two minutes.
        ("grpc.initial_reconnect_backoff_ms", 200),
        # In spite of its name, how long one attempt may take, with TLS and a distance: an upload cannot be repeated.
        ("grpc.min_reconnect_backoff_ms", 10_000),
        ("grpc.max_reconnect_backoff_ms", 3000),
        # Channels to one address would share one HTTP/2 connection, and the streams of all threads its one reader and
        # its one writer; alone on theirs, two streams are received by two cores.
        ("grpc.use_local_subchannel_pool", 1),
    ]
    if _is_private(uri) and not _is_tls(uri):
        # gRPC would send even loopback's clear text through http_proxy, and our tokens with it.
        options.append(("grpc.enable_http_proxy", 0))
    return options


def locations_of(endpoint: flight.FlightEndpoint) -> tuple[str, ...]:
    """The addresses that may serve an endpoint; empty for "where the plan came from"."""
    uris = (
        location.uri.decode() if isinstance(location.uri, bytes) else location.uri for location in endpoint.locations
    )
    return tuple(uri for uri in uris if not uri.startswith(_REUSE))


def _json(body: Mapping[str, Any]) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidOption("[invalid] a text holds half of a surrogate pair, which is not Unicode") from None


def _descriptor(command: Mapping[str, Any]) -> flight.FlightDescriptor:
    return flight.FlightDescriptor.for_command(_json(command))
