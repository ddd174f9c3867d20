"""The embedded server: where nobody configured a server, each machine starts one for its user and shares it.

The program (`hubflight embedded`) does the starting: it holds a lock while it starts a server, and the server holds
another one for its life, so that many processes that come at once get the same one, and a crashed one is replaced.
Here is decided what the server is to be like, which program it is, and under which name it is found: the name holds a
digest of all that, so that an upgraded package, or a caller with another Hub, never talks to a server that is not its
own.

No token is involved: the server has none, and callers send theirs with every call, over a unix socket in a folder
that nobody else can open. On Windows it is a port of loopback behind a random secret, kept in such a folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import platform
import re
import socket
import stat
import struct
import subprocess
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from hubflight._secret import Secret
from hubflight.errors import AccessDenied, HubflightError, InternalError, InvalidOption, Unsupported, from_text

__all__ = ["Address", "Embedded", "locate", "machine", "program", "wanted"]

_WINDOWS = os.name == "nt"
_IDLE = "10m"
_STAGING = "https://hub-ci.huggingface.co"
_START_SECONDS = 60.0

# What the server may know of its first caller's environment: how this machine reaches the network and where its
# folders are. Everything else stays away, tokens first of all.
_ENVIRONMENT = (
    "PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_CACHE_HOME",
    "SYSTEMROOT", "WINDIR", "LOCALAPPDATA", "APPDATA", "USERPROFILE",
    "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
    "GOMAXPROCS", "GOGC", "GODEBUG", "GORACE", "GOCOVERDIR",
)  # fmt: skip
# Settings of the server that its user may make by environment (see `hubflight config print`).
_SETTING = re.compile(r"HUBFLIGHT_(MEMORY|CACHE|SCAN|WRITE|PLAN|LOG)_[A-Z_]+|HUBFLIGHT_HUB_(CONNECTIONS|RETRY_[A-Z]+|STALL_TIMEOUT|OFFLINE|VIEWER_ENDPOINT)")  # noqa: E501  # fmt: skip
# Those that are decided here: who may call it, where it listens, whose tokens it sends, which folders it has.
_DECIDED = re.compile(r"HUBFLIGHT_(SERVER|AUTH|HUB|LOCAL)_[A-Z_]+")
_HEEDED = ("HUBFLIGHT_HUB_ENDPOINT", "HUBFLIGHT_LOCAL_ROOTS")


@dataclass(frozen=True)
class Embedded:
    """What an embedded server is to be like. Plain data: tasks on other machines start the same one there."""

    endpoint: str | None
    roots: tuple[str, ...]
    settings: tuple[tuple[str, str], ...] = ()
    idle: str = _IDLE
    tcp: bool = _WINDOWS
    only_on: str | None = None  # the machine whose folders are meant, where a local dataset is


@dataclass(frozen=True)
class Address:
    """Where a server listens, and the secret that it wants, if it does."""

    uri: str
    token: Secret | None = None


def wanted(endpoint: str | None = None) -> Embedded:
    """The server for this process: the Hub of ``endpoint``, else of HUBFLIGHT_HUB_ENDPOINT, else of HF_ENDPOINT; local
    datasets below the roots.

    HUGGINGFACE_CO_STAGING means the staging Hub, and HF_HUB_OFFLINE a server that asks no Hub, as for the Hub's own
    programs.

    Those are HUBFLIGHT_LOCAL_ROOTS (separated like PATH), else the user's home and the working directory. Settings of
    the environment that such a server does not take are warned of.
    """
    endpoint = endpoint or os.environ.get("HUBFLIGHT_HUB_ENDPOINT") or os.environ.get("HF_ENDPOINT")
    endpoint = endpoint or (_STAGING if _switched("HUGGINGFACE_CO_STAGING") else None)
    if endpoint is not None:
        try:
            parts = urlsplit(endpoint)
            _ = parts.port
        except ValueError:  # a port that is no number, or a bracket that nobody closes
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc or parts.query:
            raise InvalidOption("[invalid] endpoint: it is not an http(s) address without user and query")
        endpoint = endpoint.rstrip("/")
    given = [part for part in os.environ.get("HUBFLIGHT_LOCAL_ROOTS", "").split(os.pathsep) if part]
    chosen = {k: v for k, v in os.environ.items() if v and _SETTING.fullmatch(k)}
    unheeded = [k for k, v in os.environ.items() if v and _DECIDED.fullmatch(k) and k not in (*chosen, *_HEEDED)]
    if unheeded:
        warnings.warn(
            f"hubflight: {', '.join(sorted(unheeded))}: without effect on the server that Python starts: give the "
            "address of one that has them in HUBFLIGHT_SERVER, or unset them",
            stacklevel=5,
        )
    if _switched("HF_HUB_OFFLINE") or _switched("TRANSFORMERS_OFFLINE"):
        chosen["HUBFLIGHT_HUB_OFFLINE"] = "true"
    settings = tuple(sorted(chosen.items()))
    idle = os.environ.get("HUBFLIGHT_EMBEDDED_IDLE") or _IDLE
    return Embedded(endpoint, _roots(given or [os.path.expanduser("~"), *_here()]), settings, idle, _WINDOWS)


def _here() -> list[str]:
    """The working directory, unless somebody has removed it."""
    with contextlib.suppress(FileNotFoundError):
        return [os.getcwd()]
    return []


def _switched(name: str) -> bool:
    """A switch, read as the Hub's own programs read it."""
    return os.environ.get(name, "").upper() in ("1", "ON", "YES", "TRUE")


def _roots(folders: list[str]) -> tuple[str, ...]:
    """The folders, absolute, without those that lie in another one."""
    kept: list[str] = []
    for folder in sorted({os.path.abspath(os.path.expanduser(f)) for f in folders}):
        if not any(Path(folder).is_relative_to(other) for other in kept):  # on Windows they may be on several drives
            kept.append(folder)
    return tuple(kept)


def machine() -> str:
    """A name of this machine, which another machine does not have."""
    try:
        number = Path("/etc/machine-id").read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        number = ""
    return f"{platform.node()}/{number}"


def program() -> str:
    """The hubflight program: HUBFLIGHT_BINARY, the wheel's own, or the one built in a source tree."""
    given = os.environ.get("HUBFLIGHT_BINARY")
    if given:
        if not os.access(given, os.X_OK) or os.path.isdir(given):
            raise Unsupported(f"[unsupported] embedded server: HUBFLIGHT_BINARY is {given!r}, which is no program")
        return os.path.abspath(given)
    name = "hubflight.exe" if _WINDOWS else "hubflight"
    package = Path(__file__).resolve().parent
    places = [package / "_bin" / name]
    if (package.parents[1] / "pyproject.toml").is_file():  # an editable installation: pyclient/src/hubflight
        places.append(package.parents[2] / "bin" / name)
    for place in places:
        if place.is_file():
            if not os.access(place, os.X_OK):  # some ways of copying packages lose the mode
                with contextlib.suppress(OSError):
                    place.chmod(place.stat().st_mode | 0o100)
            if os.access(place, os.X_OK):
                return str(place)
    raise Unsupported(
        "[unsupported] embedded server: no hubflight server is configured, and this installation carries no hubflight "
        f"program for {sys.platform} on {platform.machine()}: install the wheel of this platform, or name a program in "
        "the environment variable HUBFLIGHT_BINARY; or start a server with `hubflight serve` and give its address as "
        "the option server (grpc://127.0.0.1:8815) or in HUBFLIGHT_SERVER"
    )


def locate(spec: Embedded) -> Address:
    """The address of this machine's server for ``spec``, which is started if it does not run."""
    if spec.only_on not in (None, machine()):
        raise Unsupported(
            f"[unsupported] embedded server: the dataset is a folder of {str(spec.only_on).split('/')[0]}, and "
            f"this task runs on {platform.node()}, whose server has other folders: start one server that all machines "
            "reach with `hubflight serve` and give its address as the option server, or put the data on a Hub"
        )
    binary = program()
    place = _directory() / _name(spec, binary)
    return _answering(place, spec) or _start(place, spec, binary)


def _directory() -> Path:
    given = os.environ.get("HUBFLIGHT_EMBEDDED_DIR")
    if given:
        return Path(given).absolute()
    if _WINDOWS:
        return Path(os.environ.get("LOCALAPPDATA") or os.path.expanduser("~")) / "hubflight" / "run"
    # Always the same folder: TMPDIR and XDG_RUNTIME_DIR differ between a user's shell, Spark's workers and a
    # resource manager's containers. The program checks that the folder is the user's own and closed to others.
    return Path(f"/tmp/hubflight-{os.geteuid()}")  # noqa: S108


def _name(spec: Embedded, binary: str) -> str:
    from hubflight import __version__

    build = Path(binary).with_name("BUILD")  # made with the wheel: a digest of the program
    if build.is_file():
        identity = build.read_text(encoding="ascii").strip()
    else:
        status = os.stat(binary)
        identity = f"{binary} {status.st_size} {status.st_mtime_ns}"
    described = json.dumps([__version__, identity, spec.endpoint, spec.roots, spec.settings, spec.idle, spec.tcp])
    return hashlib.sha256(described.encode()).hexdigest()[:16]


def _start(place: Path, spec: Embedded, binary: str) -> Address:
    command = [binary, "embedded", str(place), "--idle", spec.idle]
    if spec.tcp:
        command.append("--tcp")
    if spec.endpoint:
        command += ["--hub.endpoint", spec.endpoint]
    for root in spec.roots:
        if os.path.isdir(root):  # of another machine, it may not be here
            command += ["--local.roots", root]
    if not any(name == "HUBFLIGHT_LOG_LEVEL" for name, _ in spec.settings):
        command += ["--log.level", "warn"]
    environment = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ} | dict(spec.settings)
    try:
        done = subprocess.run(  # noqa: S603
            command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            timeout=_START_SECONDS, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as exc:
        raise InternalError(f"[internal] embedded server: {binary} could not be run: {exc}") from None
    if done.returncode == 0:
        found = _answering(place, spec)
        if found is not None:
            return found
    said = done.stderr.strip().removeprefix("hubflight: ") or f"exit code {done.returncode}"
    raise _failed(said, place)


def _failed(said: str, place: Path) -> HubflightError:
    hint = f"see {place}.log, or start a server with `hubflight serve` and give its address as the option server"
    known = from_text(said)
    if known is not None:
        return type(known)(f"{known}: {hint}")
    return InternalError(f"[internal] embedded server: it did not start: {said}: {hint}")


def _answering(place: Path, spec: Embedded) -> Address | None:
    """The server's address if it answers; raises AccessDenied if it is somebody else's."""
    if spec.tcp:
        return _published(place)
    path = f"{place}.sock"
    try:
        for owned in (place.parent, Path(path)):
            status = owned.lstat()
            if status.st_uid != os.geteuid() or (stat.S_ISDIR(status.st_mode) and status.st_mode & 0o077):
                raise AccessDenied(
                    f"[denied] embedded server: {owned} is not this user's own, or open to others: make it private "
                    "(chmod 700), or set HUBFLIGHT_EMBEDDED_DIR to a folder of your own"
                )
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(5.0)
            probe.connect(path)
            if hasattr(socket, "SO_PEERCRED"):
                raw = probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
                if struct.unpack("3i", raw)[1] != os.geteuid():
                    raise AccessDenied(f"[denied] embedded server: another user's process answers at {path}")
    except OSError:
        return None
    return Address("grpc+unix://" + path)


def _published(place: Path) -> Address | None:
    """A server on loopback: what it published counts as long as it holds its lock, because a port changes hands."""
    try:
        with open(f"{place}.lock", "r+b") as lock, _tried(lock.fileno()) as free:
            if free:
                return None
        published = json.loads(Path(f"{place}.json").read_text(encoding="utf-8"))
        uri, token = str(published["location"]), Secret(str(published["token"]))
        with socket.create_connection(("127.0.0.1", urlsplit(uri).port or 0), timeout=5.0):
            return Address(uri, token)
    except (OSError, ValueError, KeyError, TypeError):
        return None


@contextlib.contextmanager
def _tried(file: int) -> Iterator[bool]:
    """Whether nobody holds a file's lock, which is let go at the end."""
    try:
        if _WINDOWS:
            import msvcrt

            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        if _WINDOWS:
            msvcrt.locking(file, msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]
