"""The option names of `dataset`, `write` and the Spark source, and how their texts become values.

One table per direction; each line is a name and the function that turns its text (Spark passes nothing else) or its
Python value into what the wire has. Names are case-insensitive, unknown ones are refused with the nearest known one.
"""

from __future__ import annotations

import ntpath
import operator
import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from hubflight import literals
from hubflight._secret import Secret, token_of
from hubflight.errors import InvalidOption

__all__ = [
    "CONNECTING",
    "Connecting",
    "ReadOptions",
    "WriteOptions",
    "dataset_name",
    "parse_mode",
    "parse_read",
    "parse_size",
    "parse_write",
    "split_revision",
]

Parser = Callable[[Any, str], Any]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*\Z")
# Spark's short units and the IEC names are powers of 1024; KB, MB and GB are powers of 1000, as in `datasets`.
_UNITS = {
    "": 1, "b": 1,
    "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40,
    "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "tib": 1 << 40,
    "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12,
}  # fmt: skip


def parse_size(value: object, what: str) -> int:
    """A number of bytes: an integer, or a text such as ``128MiB``, ``128m`` or ``500MB``."""
    number = _index(value)
    if number is not None and number >= 0:
        return number
    if isinstance(value, str):
        found = _SIZE.match(value)
        if found and found[2].lower() in _UNITS:
            return (
                int(float(found[1]) * _UNITS[found[2].lower()])
                if "." in found[1]
                else (int(found[1]) * _UNITS[found[2].lower()])
            )
    raise InvalidOption(f"[invalid] option {what}: a size such as 134217728, 128MiB or 128m is needed, not {value!r}")


def _index(value: Any) -> int | None:
    """The integer that ``value`` is, NumPy's too; None for all others and for true and false."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _int(value: object, what: str) -> int:
    number = _index(value)
    if number is not None:
        return number
    if isinstance(value, str) and re.fullmatch(r"\s*[+-]?\d{1,18}\s*", value):
        return int(value)
    raise InvalidOption(f"[invalid] option {what}: an integer is needed, not {value!r}")


def _count(value: object, what: str) -> int:
    number = _int(value, what)
    if number < 0:
        raise InvalidOption(f"[invalid] option {what}: {number} is negative")
    return number


def _bool(value: object, what: str) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return value.strip().lower() == "true"
    raise InvalidOption(f"[invalid] option {what}: true or false is needed, not {value!r}")


def _text(value: object, what: str) -> str:
    if isinstance(value, str) and value:
        return value
    raise InvalidOption(f"[invalid] option {what}: a text is needed, not {value!r}")


def _line(value: object, what: str) -> str:
    """A commit's message, as the server takes it: it would refuse another one when everything is uploaded."""
    text = _text(value, what)
    if len(text.encode()) > 1000 or any(end in text for end in "\0\r\n"):
        raise InvalidOption(f"[invalid] option {what}: one line of at most 1000 bytes is needed")
    return text


def _choice(*allowed: str) -> Parser:
    def parse(value: object, what: str) -> str:
        if isinstance(value, str) and value.lower() in allowed:
            return value.lower()
        raise InvalidOption(f"[invalid] option {what}: one of {', '.join(allowed)} is needed, not {value!r}")

    return parse


def parse_mode(mode: object) -> str:
    """A save mode, in Spark's words and in any case, as the wire names it: append, overwrite, errorifexists, ignore."""
    name = mode.lower() if isinstance(mode, str) else ""
    if name not in ("append", "overwrite", "error", "errorifexists", "ignore"):
        raise InvalidOption(
            f"[invalid] mode: append, overwrite, errorifexists (or error) or ignore is needed, not {mode!r}"
        )
    return "errorifexists" if name == "error" else name


def _switch(value: object, what: str) -> bool | list[str]:
    """True, False, or the columns for which it is true (as pyarrow's ParquetWriter has it)."""
    if isinstance(value, str) and value.strip().lower() in ("true", "false"):
        return _bool(value, what)
    if isinstance(value, str) and value.strip()[:1] in ("[", "("):
        value = literals.parse_literal(value, f"option {what}")
    if isinstance(value, bool):
        return value
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) for item in value):
        return list(value)
    raise InvalidOption(f"[invalid] option {what}: true, false or a list of columns is needed, not {value!r}")


def _names(value: object, what: str) -> list[str]:
    """Names of columns: a list, or a text such as ``a,b`` or ``["a", "b"]``."""
    if isinstance(value, str):
        text = value.strip()
        if text[:1] in ("[", "(", "'", '"'):
            value = literals.parse_literal(text, f"option {what}")
        else:
            value = [name.strip() for name in text.split(",")]
    if isinstance(value, str):
        value = [value]
    if isinstance(value, (list, tuple)) and value and all(isinstance(item, str) and item for item in value):
        return list(value)
    raise InvalidOption(f"[invalid] option {what}: a list of column names is needed, not {value!r}")


def _secret(value: object, what: str) -> Secret:
    return token_of(value, f"option {what}")


_CONNECTING: dict[str, Parser] = {
    "server": _text,
    "server_token": _secret,
    "token": _secret,
    "endpoint": _text,
}

CONNECTING = tuple(_CONNECTING)  # the options that say where the server is, and as whom it is asked

# Keys of the read command (wire.md §3), by the option that sets them.
_READ: dict[str, Parser] = {
    "revision": _text,
    "config": _text,
    "split": _text,
    "data_dir": _text,
    "data_files": lambda value, _: literals.encode_data_files(value),
    "columns": lambda value, _: literals.encode_columns(value),
    "filters": lambda value, _: literals.encode_filters(value),
    "limit": _count,
    "profile": _choice("native", "spark"),
    "conversion": _choice("auto", "never", "always"),
    "partial": _choice("refuse", "allow"),
    "max_partition_bytes": parse_size,
    "batch_rows": _count,
    "batch_bytes": parse_size,
    "compression": _choice("none", "lz4", "zstd"),
}
_READ_DEFAULTS: dict[str, Any] = {
    "profile": "native", "conversion": "auto", "partial": "refuse", "max_partition_bytes": 0, "compression": "none",
}  # fmt: skip

_IGNORED = ("streaming", "use_content_defined_chunking")

PUSHDOWN = (
    "[unsupported] option pushdown: Spark 4.1 and 4.2 return wrong rows when a Python data source takes filters over "
    "from the query (the filtered reader is reused for unfiltered scans of the same DataFrame), so it is not offered: "
    'write the condition into the option filters, for example filters=\'[("lang", "=", "en")]\''
)

_OTHER_NAMES = ("lz4_raw", "uncompressed")  # of lz4 and none

# Option → (which request, key). Begin, stage and commit are those of wire.md §8.
_WRITE: dict[str, tuple[str, str, Parser]] = {
    "revision": ("target", "revision", _text),
    "config": ("target", "config", _text),
    "split": ("target", "split", _text),
    "data_dir": ("target", "dir", _text),
    "create_repo": ("begin", "create_repo", _bool),
    "private": ("begin", "private", _bool),
    "create_pr": ("begin", "create_pr", _bool),
    "publish": ("publish", "publish", _choice("batches", "switch")),
    "replace_format": ("publish", "replace_format", _bool),
    "max_operations_per_commit": ("commit", "max_operations_per_commit", _count),
    "commit_message": ("commit", "message", _line),
    "max_bytes_per_file": ("stage", "max_bytes_per_file", parse_size),
    "row_group_size": ("stage", "row_group_rows", _count),
    "row_group_bytes": ("stage", "row_group_bytes", parse_size),
    # Said here, because the server hears it with the first rows, when much may have been computed for them.
    "compression": ("stage", "compression", _choice("snappy", "zstd", "gzip", "brotli", "lz4", "none", *_OTHER_NAMES)),
    "compression_level": ("stage", "compression_level", _int),
    "use_dictionary": ("stage", "use_dictionary", _switch),
    "data_page_size": ("stage", "data_page_size", parse_size),
    "write_statistics": ("stage", "write_statistics", _switch),
    "write_page_index": ("stage", "page_index", _bool),
    "bloom_columns": ("stage", "bloom_columns", _names),
    "keep_features": ("stage", "keep_features", _bool),
}


@dataclass
class Connecting:
    """How to reach the server, and as whom. Tokens are `Secret`s, so that the repr may be shown."""

    server: str | None = None
    server_token: Secret | None = None
    token: Secret | None = None
    endpoint: str | None = None


@dataclass
class ReadOptions:
    """What `parse_read` makes of options: a read command and how to connect."""

    command: dict[str, Any]
    connecting: Connecting = field(default_factory=Connecting)


@dataclass
class WriteOptions:
    """What `parse_write` makes of options: the parts of begin, stage and commit."""

    dataset: str
    target: dict[str, Any] = field(default_factory=dict)  # in all three
    publish: dict[str, Any] = field(default_factory=dict)  # in begin and commit
    begin: dict[str, Any] = field(default_factory=dict)
    stage: dict[str, Any] = field(default_factory=dict)
    commit: dict[str, Any] = field(default_factory=dict)
    connecting: Connecting = field(default_factory=Connecting)


def parse_read(options: Mapping[str, Any]) -> ReadOptions:
    """Read options as given by a user (any case, texts or Python values) → the read command and how to connect.

    A value of None is as if the option were absent.
    """
    known = {"path", *_READ, *_CONNECTING, *_IGNORED}
    given = _lowered(options, known, "read")
    command: dict[str, Any] = {"v": 1, "dataset": dataset_name(_path(given))}
    connecting = Connecting()
    for name, value in given.items():
        if name in _READ:
            parsed = _READ[name](value, name)
            if name not in _READ_DEFAULTS or parsed != _READ_DEFAULTS[name]:
                command[name] = parsed
        elif name in _CONNECTING:
            setattr(connecting, name, _CONNECTING[name](value, name))
    _check_revision(command["dataset"], command.get("revision"))
    return ReadOptions(command, connecting)


def parse_write(options: Mapping[str, Any]) -> WriteOptions:
    """Write options as given by a user → the parts of begin, stage and commit, and how to connect."""
    known = {"path", *_WRITE, *_CONNECTING, *_IGNORED}
    given = _lowered(options, known, "write")
    out = WriteOptions(dataset_name(_path(given)))
    for name, value in given.items():
        if name in _WRITE:
            part, key, parse = _WRITE[name]
            getattr(out, part)[key] = parse(value, name)
        elif name in _CONNECTING:
            setattr(out.connecting, name, _CONNECTING[name](value, name))
    _check_revision(out.dataset, out.target.get("revision"))
    return out


def _path(given: Mapping[str, Any]) -> str:
    path = given.get("path")
    if isinstance(path, os.PathLike):
        return dataset_name(path)
    if not isinstance(path, str) or not path.strip():
        raise InvalidOption('[invalid] path: the dataset is missing: .load("ns/name") or .save("ns/name")')
    return path.strip()


def _lowered(options: Mapping[str, Any], known: Iterable[str], direction: str) -> dict[str, Any]:
    out: dict[str, Any] = {}
    known = sorted(known)
    for name, value in options.items():
        low = name.lower()
        if low == "pushdown" and direction == "read":
            if str(value).strip().lower() != "false":
                from hubflight.errors import Unsupported

                raise Unsupported(PUSHDOWN)
            continue
        if low not in known:
            hint = literals.nearest(low, known) or f": {direction} options are {', '.join(known)}"
            raise InvalidOption(f"[invalid] unknown {direction} option {name!r}{hint}")
        if low in out:
            raise InvalidOption(f"[invalid] option {name!r} is given twice, in different cases")
        if low in _IGNORED:
            if value is not None:
                warnings.warn(f"hubflight: the option {low!r} has no effect", stacklevel=4)
            continue
        if value is not None:
            out[low] = value
    return out


# A revision is followed by a path only in hf:// form; two kinds of revisions may hold slashes.
_REVISION = re.compile(r"(refs/convert/[A-Za-z0-9_.-]+|refs/pr/\d+|[^/]+)(?:/(.*))?\Z", re.DOTALL)


def dataset_name(path: str | os.PathLike[Any]) -> str:
    """``path`` as a dataset name of the wire: local paths (``/abs``, ``./rel``, ``~``, a Path) become file:// URLs.

    On Windows also those with a drive or backslashes: ``C:\\data`` is file:///C:/data.
    """
    if isinstance(path, os.PathLike):
        path = os.path.join(".", os.path.expanduser(os.fsdecode(path)))
    if _WINDOWS:
        return _name_on_windows(path)
    if path in (".", "..") or path.startswith(("/", "./", "../", "~")):
        return "file://" + os.path.abspath(os.path.expanduser(path))
    return path


_WINDOWS = os.name == "nt"


def _name_on_windows(path: str) -> str:
    slashed = path.replace("\\", "/")
    drive, _ = ntpath.splitdrive(path)
    if not (drive or slashed in (".", "..") or slashed.startswith(("/", "./", "../", "~"))):
        return path
    folder = ntpath.abspath(ntpath.expanduser(path)).replace("\\", "/")
    if not re.match("[A-Za-z]:/", folder):
        raise InvalidOption(f"[invalid] path: {path!r} is no folder of a drive: give a network folder a drive letter")
    return "file:///" + folder[0].upper() + folder[1:]  # as a server names its roots


def split_revision(dataset: str) -> tuple[str, str | None]:
    """A dataset name without its revision, and the revision (unescaped), if it has one."""
    if dataset.startswith("file://"):
        return dataset, None
    scheme, repo = "", dataset
    if dataset.startswith("hf://datasets/"):
        scheme, repo = "hf://datasets/", dataset[len("hf://datasets/") :]
    name, at, rest = repo.partition("@")
    if not at or name.count("/") > 1:  # an @ behind ns/name/ belongs to a file's name
        return dataset, None
    if not scheme:
        return name, unquote(rest)
    found = _REVISION.match(rest)
    if found is None:
        return dataset, None
    return scheme + name + (f"/{found[2]}" if found[2] else ""), unquote(found[1])


def _check_revision(dataset: str, revision: str | None) -> None:
    inside = split_revision(dataset)[1]
    if revision is not None and inside is not None and inside != revision:
        raise InvalidOption(
            f"[invalid] option revision: {dataset!r} names revision {inside!r} and the option says {revision!r}"
        )
