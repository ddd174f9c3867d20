"""Servers whose certificate is of a CA of one's own, and servers that want one of the client."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import hubflight
from flightserver import FlightServer
from hubflight.connection import Connection, resolve_server
from hubflight.options import Connecting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pyspark.sql import SparkSession

pytestmark = [
    pytest.mark.server,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="certificates are made with openssl"),
]


@pytest.fixture(scope="module")
def pems(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ca`, and by it `server`, `elsewhere` (of another host) and `client`; `stranger` is by nobody: .pem and .key."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    def request(name: str, *how: str) -> None:
        curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
        openssl("req", *curve, "-keyout", f"{name}.key", "-subj", f"/CN={name}", *how)

    for name in ("ca", "stranger"):
        request(name, "-x509", "-days", "2", "-out", f"{name}.pem")
    for name, host in (("server", "IP:127.0.0.1"), ("elsewhere", "DNS:elsewhere.test"), ("client", "DNS:client.test")):
        request(name, "-out", f"{name}.csr")
        (folder / "ext").write_text(f"subjectAltName={host}\n")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "ext")
        openssl("x509", "-req", "-in", f"{name}.csr", "-out", f"{name}.pem", *signed)
    openssl("ec", "-in", "client.key", "-out", "locked.key", "-aes128", "-passout", "pass:x")
    (folder / "nonsense.pem").write_text("nonsense\n")
    return folder


@pytest.fixture
def serve(pems: Path, tmp_path: Path, seeds: dict[str, Any]) -> Iterator[Callable[..., str]]:
    """Starts a server with one of the certificates; gives its address."""
    started: list[FlightServer] = []

    def start(name: str, *flags: str) -> str:
        certificate = ("--server.tls.cert", str(pems / f"{name}.pem"), "--server.tls.key", str(pems / f"{name}.key"))
        started.append(FlightServer(tmp_path, "--local.roots", str(seeds["folder"]), *certificate, *flags).start())
        return started[-1].url

    yield start
    for server in started:
        server.stop()


@pytest.fixture
def use(pems: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Names files in the environment."""

    def names(**files: str | None) -> None:
        for what in ("ca", "cert", "key"):
            variable = f"HUBFLIGHT_TLS_{what.upper()}"
            if files.get(what):
                monkeypatch.setenv(variable, str(pems / str(files[what])))
            else:
                monkeypatch.delenv(variable, raising=False)

    return names


def test_a_server_of_ones_own_ca_is_trusted_if_the_ca_is_named(
    serve: Any, use: Any, seeds: dict[str, Any], pems: Path
) -> None:
    url = serve("server")
    assert url.startswith("grpc+tls://")
    use(ca="ca.pem")
    assert hubflight.connect(url).dataset(f"file://{seeds['folder']}/flights").to_table().num_rows == 6000
    for ca in (None, "stranger.pem"):
        use(ca=ca)
        began = time.monotonic()
        with pytest.raises(hubflight.HandshakeFailed, match="HUBFLIGHT_TLS_CA"):
            hubflight.connect(url).version()
        assert time.monotonic() - began < 5  # there is nothing to wait for


def test_a_server_that_wants_a_certificate_gets_it_also_from_where_its_files_are_not(
    serve: Any, use: Any, seeds: dict[str, Any], pems: Path
) -> None:
    url = serve("server", "--server.tls.client_ca", str(pems / "ca.pem"))
    for cert in (None, "stranger"):
        use(ca="ca.pem", cert=cert and f"{cert}.pem", key=cert and f"{cert}.key")
        with pytest.raises(hubflight.HandshakeFailed, match=r"HUBFLIGHT_TLS_CERT.*HUBFLIGHT_TLS_KEY"):
            hubflight.connect(url).version()
    use(ca="ca.pem", cert="client.pem", key="client.key")
    server = hubflight.connect(url).server
    assert "PRIVATE" not in repr(server)
    plan = hubflight.connect(url).dataset(f"file://{seeds['folder']}/flights").plan()
    use()
    elsewhere: hubflight.Server = pickle.loads(pickle.dumps(server))  # noqa: S301
    again = elsewhere.at(url)  # as a location of the plan
    rows = [sum(b.num_rows for b in hubflight.read_partition(again, part)) for part in plan.partitions]
    assert sum(rows) == 6000


@pytest.mark.spark
def test_the_tasks_of_spark_need_neither_files_nor_variables(
    serve: Any, use: Any, seeds: dict[str, Any], pems: Path, spark: SparkSession
) -> None:
    import pyspark_hubflight

    url = serve("server", "--server.tls.client_ca", str(pems / "ca.pem"))
    use(ca="ca.pem", cert="client.pem", key="client.key")
    frame = pyspark_hubflight.read(spark, f"file://{seeds['folder']}/flights", server=url)
    use()  # as for the tasks, whose environment is that of the session's start
    assert frame.count() == 6000


def test_a_certificate_of_another_host_and_a_server_without_tls_are_said_at_once(
    serve: Any, use: Any, server: FlightServer
) -> None:
    use(ca="ca.pem")
    with pytest.raises(hubflight.HandshakeFailed, match="is of another host"):
        hubflight.connect(serve("elsewhere")).version()
    with pytest.raises(hubflight.HandshakeFailed, match="does not speak TLS"):
        hubflight.connect(server.url.replace("grpc://", "grpc+tls://")).version()
    assert hubflight.connect(server.url).version()["wire"] == [1]


@pytest.mark.parametrize(
    ("files", "text"),
    [
        ({"ca": "nowhere.pem"}, "HUBFLIGHT_TLS_CA: .*nowhere.pem cannot be read"),
        ({"ca": "nonsense.pem"}, "HUBFLIGHT_TLS_CA: .*nonsense.pem holds no certificate"),
        ({"cert": "client.pem"}, "set both"),
        ({"key": "client.key"}, "set both"),
        ({"cert": "client.pem", "key": "server.key"}, "the key that belongs to it"),
        ({"cert": "client.pem", "key": "locked.key"}, "not encrypted"),
    ],
)
def test_files_that_cannot_be_used_are_named(use: Any, files: dict[str, str], text: str) -> None:
    use(**files)
    with pytest.raises(hubflight.InvalidOption, match=text) as caught:
        resolve_server(Connecting(server="grpc+tls://127.0.0.1:1"))
    assert "BEGIN" not in str(caught.value)


@pytest.mark.parametrize("address", ["grpc://127.0.0.1:1", "grpc+unix:///nowhere"])
def test_who_needs_no_tls_neither_reads_nor_carries_its_files(use: Any, address: str) -> None:
    use(cert="client.pem", key="client.key")
    assert resolve_server(Connecting(server=address)).tls is None
    use(ca="nowhere.pem", cert="client.pem")
    server = resolve_server(Connecting(server=address))
    with pytest.raises(hubflight.InvalidOption, match="set both"):
        server.at("grpc+tls://127.0.0.1:1")


def test_a_location_without_tls_is_not_given_the_key(use: Any) -> None:
    use(cert="client.pem", key="client.key")
    server = resolve_server(Connecting(server="grpc+tls://127.0.0.1:1"))
    assert server.at("grpc+tls://127.0.0.1:2").tls == server.tls is not None
    assert server.at("grpc://127.0.0.1:1").tls is None


@pytest.mark.parametrize("doubt", [False, True])
def test_a_commit_is_not_tried_for_hours_where_no_tls_can_be(
    server: FlightServer, monkeypatch: pytest.MonkeyPatch, doubt: bool
) -> None:
    real, attempts = Connection.action_once, 0

    def once(connection: Connection, *args: Any) -> Any:
        nonlocal attempts
        attempts += 1
        if doubt and attempts == 1:
            raise hubflight.ServerUnreachable("[transport] gone before it answered")
        return real(connection, *args)

    monkeypatch.setattr(Connection, "action_once", once)
    with Connection(hubflight.Server(server.url.replace("grpc://", "grpc+tls://"))) as connection:
        expected = hubflight.CommitStateUnknown if doubt else hubflight.HandshakeFailed
        with pytest.raises(expected, match="does not speak TLS"):
            connection.commit({"v": 1, "job": "j", "dataset": "d"}, deadline=30)
    assert attempts == 1 + doubt
