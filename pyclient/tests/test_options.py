"""Option names, sizes, references and the choice of a server."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hubflight import options
from hubflight._secret import Secret, find_hub_token, redact
from hubflight.connection import Server, resolve_server
from hubflight.errors import InvalidOption, Unsupported
from hubflight.options import Connecting, dataset_name, parse_mode, parse_read, parse_size, parse_write, split_revision

TOKEN = "hf_" + "unittestsecret"


def test_a_read_command_holds_what_was_asked_and_no_defaults() -> None:
    got = parse_read(
        {
            "path": "ns/name", "Config": "7M", "SPLIT": "test", "columns": "['a']", "filters": "[('a','=',1)]",
            "limit": "10", "profile": "spark", "partial": "refuse", "max_partition_bytes": "128MiB", "data_dir": "2024",
        }
    )  # fmt: skip
    assert got.command == {
        "v": 1, "dataset": "ns/name", "config": "7M", "split": "test", "columns": ["a"], "filters": [[["a", "=", 1]]],
        "limit": 10, "profile": "spark", "max_partition_bytes": 134217728, "data_dir": "2024",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"colums": "a"}, "unknown read option 'colums': did you mean 'columns'?"),
        ({"xyz": "a"}, "unknown read option 'xyz': read options are batch_bytes"),
        ({"create_repo": "true"}, "unknown read option 'create_repo'"),
        ({"limit": "ten"}, "option limit: an integer is needed, not 'ten'"),
        ({"limit": "-1"}, "-1 is negative"),
        ({"partial": "yes"}, "option partial: one of refuse, allow is needed"),
        ({"max_partition_bytes": "1 parsec"}, "a size such as 134217728, 128MiB or 128m is needed"),
        ({"config": ""}, "option config: a text is needed"),
        ({"path": ""}, "the dataset is missing"),
        ({"path": "ns/name@a", "revision": "b"}, "names revision 'a' and the option says 'b'"),
        ({"columns": "a", "Columns": "b"}, "given twice"),
    ],
)
def test_wrong_read_options_are_refused_by_name(options: dict[str, str], error: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        parse_read({"path": "ns/name", **options})
    assert error in str(caught.value)
    assert caught.value.kind == "invalid"


def test_pushdown_is_refused_with_the_reason_and_the_way_out() -> None:
    with pytest.raises(Unsupported, match=r"wrong rows.*option filters"):
        parse_read({"path": "ns/name", "pushdown": "true"})
    parse_read({"path": "ns/name", "pushdown": "false"})


def test_options_of_the_other_source_that_have_no_effect_warn_once() -> None:
    with pytest.warns(UserWarning, match="'streaming' has no effect") as seen:
        parse_read({"path": "ns/name", "streaming": "true"})
    assert len(seen) == 1
    with pytest.warns(UserWarning, match="use_content_defined_chunking"):
        parse_write({"path": "ns/name", "use_content_defined_chunking": "true"})


def test_write_options_go_to_the_requests_they_belong_to() -> None:
    got = parse_write(
        {
            "path": "ns/name", "config": "c", "split": "s", "revision": "main", "data_dir": "d", "create_repo": "True",
            "private": "false", "publish": "SWITCH", "max_operations_per_commit": "0", "commit_message": "m",
            "row_group_size": "1000", "max_bytes_per_file": "500MB", "use_dictionary": "['a']",
            "write_statistics": "false", "write_page_index": "true", "compression": "zstd", "compression_level": "3",
            "row_group_bytes": "64m", "bloom_columns": "a, b.c", "keep_features": "false",
        }
    )  # fmt: skip
    assert got.target == {"config": "c", "split": "s", "revision": "main", "dir": "d"}
    assert got.begin == {"create_repo": True, "private": False}
    assert got.publish == {"publish": "switch"}
    assert got.commit == {"max_operations_per_commit": 0, "message": "m"}
    assert got.stage == {
        "row_group_rows": 1000, "max_bytes_per_file": 500_000_000, "use_dictionary": ["a"], "write_statistics": False,
        "page_index": True, "compression": "zstd", "compression_level": 3,
        "row_group_bytes": 64 << 20, "bloom_columns": ["a", "b.c"], "keep_features": False,
    }  # fmt: skip
    with pytest.raises(InvalidOption, match="unknown write option 'columns'"):
        parse_write({"path": "ns/name", "columns": "a"})
    for codec in ("zstd", "ZSTD", "Snappy", "UNCOMPRESSED", "LZ4_RAW"):
        assert parse_write({"path": "ns/name", "compression": codec}).stage == {"compression": codec.lower()}
    with pytest.raises(InvalidOption, match=r"option compression: one of snappy, zstd, .* is needed, not 'zstdd'"):
        parse_write({"path": "ns/name", "compression": "zstdd"})
    for value in ("", "[]", "[1]", [("a", "b")], {"a": True}):
        with pytest.raises(InvalidOption, match="option bloom_columns: a list of column names"):
            parse_write({"path": "ns/name", "bloom_columns": value})


@pytest.mark.parametrize("message", ["two\nlines", "x\r", "a\0b", "é" * 501])
def test_a_message_that_no_commit_can_have_is_refused_before_anything_is_uploaded(message: str) -> None:
    with pytest.raises(InvalidOption, match="commit_message: one line of at most 1000 bytes"):
        parse_write({"path": "ns/name", "commit_message": message})
    assert parse_write({"path": "ns/name", "commit_message": "é" * 500}).commit == {"message": "é" * 500}


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("0", 0),
        (7, 7),
        (np.int64(7), 7),
        ("128m", 128 << 20),
        ("128MiB", 128 << 20),
        ("1.5 GiB", 3 << 29),
        ("500MB", 500_000_000),
        ("2K", 2048),
        ("9B", 9),
    ],
)
def test_sizes(text: Any, want: int) -> None:
    assert parse_size(text, "x") == want


@pytest.mark.parametrize(
    ("ref", "want"),
    [
        ("ns/name", ("ns/name", None)),
        ("ns/name@v1", ("ns/name", "v1")),
        ("squad@refs%2Fpr%2F3", ("squad", "refs/pr/3")),
        ("ns/name@refs/pr/3", ("ns/name", "refs/pr/3")),
        ("hf://datasets/ns/name", ("hf://datasets/ns/name", None)),
        ("hf://datasets/ns/name@v1/a/b.parquet", ("hf://datasets/ns/name/a/b.parquet", "v1")),
        ("hf://datasets/ns/name@refs/convert/parquet/c", ("hf://datasets/ns/name/c", "refs/convert/parquet")),
        ("hf://datasets/ns/name/a@b.parquet", ("hf://datasets/ns/name/a@b.parquet", None)),
        ("file:///a@b", ("file:///a@b", None)),
    ],
)
def test_a_revision_is_found_where_the_server_finds_it(ref: str, want: tuple[str, str | None]) -> None:
    assert split_revision(ref) == want


def test_local_paths_become_file_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")
    monkeypatch.setenv("HOME", "/home/u")
    assert dataset_name("/a/b") == "file:///a/b"
    assert dataset_name("./b") == "file:///b"
    assert dataset_name("~/b") == "file:///home/u/b"
    assert dataset_name("ns/name") == "ns/name"
    for path, want in (("/a/b", "/a/b"), ("ns/name", "/ns/name"), (".", "/"), ("~/b", "/home/u/b")):
        assert dataset_name(Path(path)) == f"file://{want}"
        assert parse_read({"path": Path(path)}).command["dataset"] == f"file://{want}"
        assert parse_write({"path": Path(path)}).dataset == f"file://{want}"


@pytest.mark.parametrize(
    ("path", "want"),
    [
        (r"C:\data\x", "file:///C:/data/x"),
        ("c:/data/x/", "file:///C:/data/x"),
        (r".\rel", "file:///D:/work/rel"),
        ("./rel", "file:///D:/work/rel"),
        (r"..\rel", "file:///D:/rel"),
        (".", "file:///D:/work"),
        (r"~\x", "file:///C:/Users/u/x"),
        ("file:///C:/x", "file:///C:/x"),
        ("ns/name@v1", "ns/name@v1"),
        ("hf://datasets/ns/name", "hf://datasets/ns/name"),
    ],
)
def test_paths_of_windows_become_file_urls_with_a_drive(monkeypatch: pytest.MonkeyPatch, path: str, want: str) -> None:
    monkeypatch.setattr(options, "_WINDOWS", True)
    monkeypatch.setattr(os, "getcwd", lambda: r"D:\work")
    monkeypatch.setenv("USERPROFILE", r"C:\Users\u")
    assert dataset_name(path) == want


@pytest.mark.parametrize("path", [r"\\host\share\x", "//host/share/x"])
def test_network_folders_need_a_drive(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setattr(options, "_WINDOWS", True)
    with pytest.raises(InvalidOption, match="drive letter"):
        dataset_name(path)


def test_integers_of_numpy_are_integers_and_truth_is_none() -> None:
    got = parse_read({"path": "ns/name", "limit": np.int32(5), "batch_bytes": np.uint64(9), "batch_rows": np.int8(3)})
    assert (got.command["limit"], got.command["batch_bytes"], got.command["batch_rows"]) == (5, 9, 3)
    assert {type(got.command[name]) for name in ("limit", "batch_bytes", "batch_rows")} == {int}
    for name in ("limit", "batch_bytes"):
        for value in (True, np.bool_(True), 1.0, np.float64(1), np.int64(-1)):
            with pytest.raises(InvalidOption, match=f"option {name}"):
                parse_read({"path": "ns/name", name: value})


@pytest.mark.parametrize(
    ("given", "want"),
    [
        ("append", "append"),
        ("Overwrite", "overwrite"),
        ("error", "errorifexists"),
        ("ErrorIfExists", "errorifexists"),
        ("IGNORE", "ignore"),
    ],
)
def test_modes_are_those_of_spark_in_any_case(given: str, want: str) -> None:
    assert parse_mode(given) == want


@pytest.mark.parametrize("mode", ["replace", "", None, 1])
def test_other_modes_are_refused(mode: object) -> None:
    with pytest.raises(InvalidOption, match="append, overwrite, errorifexists \\(or error\\) or ignore is needed"):
        parse_mode(mode)


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> pytest.MonkeyPatch:
    for name in ("HUBFLIGHT_SERVER", "HUBFLIGHT_SERVER_TOKEN", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.delenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    return monkeypatch


def test_the_server_comes_from_the_option_then_the_environment(clean: pytest.MonkeyPatch) -> None:
    assert resolve_server(Connecting()).embedded is not None  # that of this machine
    clean.setenv("HUBFLIGHT_SERVER", "grpc://127.0.0.1:1")
    assert resolve_server(Connecting()).uri == "grpc://127.0.0.1:1"
    assert resolve_server(Connecting(server="grpc+unix:///run/h.sock")).uri == "grpc+unix:///run/h.sock"
    assert resolve_server(Connecting(server="grpc://[::1]")).uri == "grpc://[::1]:8815"
    assert resolve_server(Connecting(server=" grpc://h:\n")).uri == "grpc://h:8815"


@pytest.mark.parametrize(
    "uri",
    [
        "http://h:1", "127.0.0.1:8815", "grpc://", "grpc://:1", "grpc+unix://", "grpc+unix://host", "grpc://u:pw@h:1",
        "grpc://h:1?x=1", "grpc://h:port", "grpc://h:65536", "grpc://[::1", "grpc://u:pw@h:port", "grpc://u:p/pw@h:1",
        "GRPC://h:1",
    ],
)  # fmt: skip
def test_addresses_that_are_none_are_refused_without_their_password(clean: pytest.MonkeyPatch, uri: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        resolve_server(Connecting(server=uri))
    assert "pw" not in str(caught.value)


def test_a_token_never_crosses_a_network_in_clear_text(clean: pytest.MonkeyPatch) -> None:
    with pytest.raises(InvalidOption, match="without encryption"):
        resolve_server(Connecting(server="grpc://example.org:8815", token=Secret(TOKEN)))
    with pytest.raises(InvalidOption, match="without encryption"):
        resolve_server(Connecting(server="grpc://example.org:8815", server_token=Secret(TOKEN)))
    clean.setenv("HF_TOKEN", TOKEN)
    assert resolve_server(Connecting(server="grpc://example.org:8815")).hub_token is None
    assert resolve_server(Connecting(server="grpc+tls://example.org:8815")).hub_token == Secret(TOKEN)
    assert resolve_server(Connecting(server="grpc://localhost:8815")).hub_token == Secret(TOKEN)


# The table of source/hub/token_test.go: the client finds the token that the server finds.
LOOKUPS: dict[str, tuple[dict[str, str], str | None]] = {
    "nothing set: the login file": ({}, "hf_default"),
    "HF_TOKEN first": (
        {"HF_TOKEN": "hf_env\n", "HUGGING_FACE_HUB_TOKEN": "hf_old", "HF_TOKEN_PATH": "{home}/own"}, "hf_env",
    ),
    "an empty HF_TOKEN falls through": ({"HF_TOKEN": " ", "HUGGING_FACE_HUB_TOKEN": "hf_old"}, "hf_old"),
    "HF_TOKEN_PATH before HF_HOME": ({"HF_TOKEN_PATH": "{home}/own", "HF_HOME": "{home}/hf"}, "hf_own"),
    "HF_TOKEN_PATH, with a variable": ({"HF_TOKEN_PATH": "${BASE}/own"}, "hf_own"),
    "HF_HOME, with a variable": ({"HF_HOME": "$BASE/hf"}, "hf_home"),
    "HF_HOME, with a tilde": ({"HF_HOME": "~/hf"}, "hf_home"),
    "XDG_CACHE_HOME": ({"XDG_CACHE_HOME": "{home}/xdg"}, "hf_xdg"),
    "XDG_CACHE_HOME, with a variable": ({"XDG_CACHE_HOME": "$BASE/xdg"}, "hf_xdg"),
    "a missing file is no token": ({"HF_HOME": "{home}/nowhere"}, None),
    "an empty file is no token": ({"HF_TOKEN_PATH": "{home}/empty"}, None),
    "implicit tokens may be switched off": ({"HF_TOKEN": "hf_env", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "yes"}, None),
    "switched off, the exchange is not asked for": (
        {"HF_OIDC_RESOURCE": "r", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, None,
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[dict[str, str], type[Exception], str]] = {
    "an exchange": ({"HF_OIDC_RESOURCE": "r", "HF_TOKEN": "hf_env"}, Unsupported, "HF_OIDC_RESOURCE.*HF_TOKEN"),
    "a folder": ({"HF_TOKEN_PATH": "{home}/hf"}, InvalidOption, "HF_TOKEN_PATH or HF_HOME names cannot be read"),
    "something large": ({"HF_TOKEN_PATH": "{home}/large"}, InvalidOption, "is no token file"),
    "something else": ({"HF_TOKEN_PATH": "{home}/binary"}, InvalidOption, "or HF_HOME names: not a token"),
    "two lines": ({"HF_TOKEN_PATH": "{home}/two"}, InvalidOption, "HF_TOKEN_PATH or HF_HOME names: not a token"),
    "two lines in a variable": ({"HF_TOKEN": "hf_a\nhf_b"}, InvalidOption, "HF_TOKEN: not a token"),
    "a typographer's apostrophe": (
        {"HUGGING_FACE_HUB_TOKEN": "hf_a\u2019b"},
        InvalidOption,
        "HUGGING_FACE_HUB_TOKEN: not a token",
    ),
    "a control character": ({"HF_TOKEN": "hf_a\x01b"}, InvalidOption, "HF_TOKEN: not a token"),
}


@pytest.fixture
def logins(clean: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[dict[str, str]], None]:
    """Some login files below HOME, and what sets the variables of a case."""
    for name, content in {
        "own": b" hf_own\r\n",
        "hf/token": b"hf_home\n",
        ".cache/huggingface/token": b"hf_default",
        "xdg/huggingface/token": b"hf_xdg",
        "empty": b"\n",
        "large": b"x" * 20_000,
        "binary": b"hf_\xff",
        "two": b"hf_a\nhf_b\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    for variable in ("HF_HOME", "XDG_CACHE_HOME", "HF_OIDC_RESOURCE"):
        clean.delenv(variable, raising=False)
    clean.setenv("HOME", str(tmp_path))
    clean.setenv("BASE", str(tmp_path))

    def use(environment: dict[str, str]) -> None:
        for variable, value in environment.items():
            clean.setenv(variable, value.replace("{home}", str(tmp_path)))

    return use


@pytest.mark.parametrize("case", LOOKUPS)
def test_the_hub_token_is_found_where_huggingface_hub_looks(logins: Any, case: str) -> None:
    environment, want = LOOKUPS[case]
    logins(environment)
    assert find_hub_token() == (Secret(want) if want else None)


@pytest.mark.parametrize("case", REFUSED)
def test_a_token_that_cannot_be_had_is_an_error_unless_one_is_given(logins: Any, case: str) -> None:
    environment, error, text = REFUSED[case]
    logins(environment)
    with pytest.raises(error, match=text) as caught:
        resolve_server(Connecting())
    assert "hf_" not in str(caught.value)
    assert resolve_server(Connecting(token=Secret(TOKEN))).hub_token == Secret(TOKEN)


@pytest.mark.parametrize("bad", ["", " ", "bad\ntoken", "bad\u00e9token", "bad\x01token", 7])
def test_a_token_that_no_header_carries_is_refused_by_its_name(clean: pytest.MonkeyPatch, bad: Any) -> None:
    for name in ("token", "server_token"):
        for value in (bad, Secret(bad)) if isinstance(bad, str) else (bad,):  # Spark's come wrapped
            with pytest.raises(InvalidOption, match=f"option {name}: not a token") as caught:
                parse_read({"path": "a/b", name: value})
            assert "bad" not in str(caught.value)
    if isinstance(bad, str) and bad.strip():
        clean.setenv("HUBFLIGHT_SERVER_TOKEN", bad)
        with pytest.raises(InvalidOption, match="HUBFLIGHT_SERVER_TOKEN: not a token") as caught:
            resolve_server(Connecting(server="grpc://localhost:1"))
        assert "bad" not in str(caught.value)


def test_secrets_survive_pickling_and_show_nowhere(clean: pytest.MonkeyPatch) -> None:
    given = parse_read({"path": "a/b", "token": TOKEN, "server_token": "plainsecret", "server": "grpc://localhost:1"})
    server = resolve_server(given.connecting)
    for shown in (repr(given), repr(server), str(server.hub_token), f"{server.hub_token}", repr(given.connecting)):
        assert TOKEN not in shown
        assert "plainsecret" not in shown
    copy: Server = pickle.loads(pickle.dumps(server))  # noqa: S301
    assert copy == server
    assert copy.hub_token is not None
    assert copy.hub_token.reveal() == TOKEN
    with pytest.raises(InvalidOption) as caught:
        parse_read({"path": "a/b", "token": "bad\ntoken"})
    assert "bad" not in str(caught.value)


def test_texts_are_redacted() -> None:
    text = f"Bearer abc.def {TOKEN} https://cdn/x?sig=1&e=2 https://u:p@h/ plainsecret"
    got = redact(text, Secret("plainsecret"))
    for secret in ("abc.def", TOKEN, "sig=1", "u:p@", "plainsecret"):
        assert secret not in got
