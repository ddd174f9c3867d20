"""The wheel: installed where there is nothing else of ours, it reads and writes without any server configured."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from build_wheels import PLATFORMS, host, licences

import hubflight
from conftest import WRITER
from hubserver import binary

if TYPE_CHECKING:
    from hubserver import HubServer

pytestmark = pytest.mark.server

SCRIPT = """
import os, pathlib, signal, sys
import hubflight, pyarrow as pa
from hubflight import embedded
assert pathlib.Path(hubflight.__file__).is_relative_to(sys.prefix), hubflight.__file__
assert pathlib.Path(embedded.program()).is_relative_to(sys.prefix), embedded.program()
client = hubflight.connect()
name = "demo/of-the-wheel"
client.write(pa.table({"a": [1, 2, 3]}), name, create_repo=True)
print(client.dataset(name).to_table()["a"].to_pylist(), client.dataset("demo/flights").num_rows)
(lock,) = pathlib.Path(os.environ["HUBFLIGHT_EMBEDDED_DIR"]).glob("*.lock")
os.kill(int(lock.read_text()), signal.SIGKILL)
"""

SPARK = """
import os, pathlib, signal, sys
from pyspark.sql import SparkSession
spark = (
    SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").getOrCreate()
)
def where(_):
    import hubflight, pyspark_hubflight
    return [hubflight.__file__, pyspark_hubflight.__file__]
for path in spark.sparkContext.parallelize([0], 1).flatMap(where).collect():
    assert pathlib.Path(path).is_relative_to(sys.prefix), path
df = spark.read.format("hubflight").load("demo/flights")
name = "demo/of-the-wheel-with-spark"
for options in ({"create_repo": "true"}, {"create_pr": "true"}):
    df.limit(10).write.format("hubflight").options(**options).mode("append").save(name)
print(df.count(), spark.read.format("hubflight").load(name).count())
spark.stop()
for lock in pathlib.Path(os.environ["HUBFLIGHT_EMBEDDED_DIR"]).glob("*.lock"):
    os.kill(int(lock.read_text()), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this machine around the program under test, which saves compiling it once more."""
    out = tmp_path_factory.mktemp("wheel")
    program, terms = out / "hubflight", out / "licences"
    shutil.copy(binary(), program)
    terms.write_text(licences(host()), encoding="utf-8")
    environment = {
        **os.environ, "HUBFLIGHT_WHEEL_PROGRAM": str(program), "HUBFLIGHT_WHEEL_LICENCES": str(terms),
        "HUBFLIGHT_WHEEL_PLATFORM": PLATFORMS[host()],
    }  # fmt: skip
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    subprocess.run([*command, str(Path(__file__).parents[1])], env=environment, check=True, capture_output=True)
    (built,) = out.glob("*.whl")
    return built


def test_a_wheel_is_of_its_platform_and_holds_the_program(wheel: Path) -> None:
    assert wheel.name.endswith(f"-py3-none-{PLATFORMS[host()]}.whl")
    with zipfile.ZipFile(wheel) as archive:
        program = archive.getinfo("hubflight/_bin/hubflight")
        assert (program.external_attr >> 16) & 0o111 == 0o111
        assert archive.read(program) == Path(binary()).read_bytes()
        assert len(archive.read("hubflight/_bin/BUILD").strip()) == 64
        assert "pyspark_hubflight_py.py" in archive.namelist()


def test_a_build_leaves_nothing_beside_the_program(wheel: Path) -> None:
    # A digest that lies there stays when the program is built again, and a client would take an old server for the new.
    assert {path.name for path in wheel.parent.iterdir()} == {"hubflight", "licences", wheel.name}


def test_a_wheel_has_the_version_of_its_program(wheel: Path) -> None:
    said = subprocess.run([binary(), "version", "--json"], check=True, capture_output=True, text=True).stdout
    assert json.loads(said)["version"].partition("+")[0] == hubflight.__version__
    assert wheel.name.startswith(f"hubflight-{hubflight.__version__}-")


def test_a_wheel_carries_the_licences_of_all_that_is_in_it(wheel: Path) -> None:
    root = Path(__file__).parents[2]
    said = subprocess.run(["go", "version", "-m", binary()], check=True, capture_output=True, text=True).stdout
    linked = {" ".join(line.split()[1:3]) for line in said.splitlines() if line.startswith("\tdep\t")}
    assert len(linked) > 20, said
    with zipfile.ZipFile(wheel) as archive:
        (own,) = [name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE")]
        assert archive.read(own) == (root / "LICENSE").read_bytes()
        terms = archive.read("hubflight/_bin/THIRD_PARTY_LICENSES").decode()
    assert {"the standard library of Go", *linked} <= set(terms.splitlines())
    for text in ("Apache License", "Copyright 2009 The Go Authors", "Apache Arrow Go\nCopyright"):
        assert text in terms, text


def test_every_file_of_a_wheel_is_recorded_with_its_digest_and_size(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (record,) = [name for name in archive.namelist() if name.endswith(".dist-info/RECORD")]
        rows = {path: (digest, size) for path, digest, size in csv.reader(archive.read(record).decode().splitlines())}
        assert set(rows) == {entry.filename for entry in archive.infolist() if not entry.is_dir()}
        assert rows.pop(record) == ("", "")
        for path, (digest, size) in rows.items():
            found = base64.urlsafe_b64encode(hashlib.sha256(archive.read(path)).digest()).rstrip(b"=").decode()
            assert (digest, int(size)) == ("sha256=" + found, archive.getinfo(path).file_size), path
        tags = {
            line.removeprefix("Tag: ")
            for line in archive.read(record[:-6] + "WHEEL").decode().splitlines()
            if "Tag" in line
        }
    assert tags == {f"py3-none-{one}" for one in PLATFORMS[host()].split(".")}
    check_format(wheel, host())


def test_a_program_of_another_system_or_machine_is_noticed(wheel: Path) -> None:
    for target in set(PLATFORMS) - {host()}:
        with pytest.raises(AssertionError):
            check_format(wheel, target)


@pytest.mark.skipif(not os.environ.get("HUBFLIGHT_WHEELS"), reason="nightly: make nightly-wheels")
def test_the_wheels_of_all_platforms_hold_programs_of_their_platforms() -> None:
    built = {wheel.name: wheel for wheel in Path(os.environ["HUBFLIGHT_WHEELS"]).glob("*.whl")}
    assert len(built) == len(PLATFORMS)
    for target, tag in PLATFORMS.items():
        (wheel,) = [path for name, path in built.items() if name.endswith(f"-py3-none-{tag}.whl")]
        check_format(wheel, target)


# How a program of each platform begins, and where it names its processor (Windows: behind a pointer).
_ELF, _MACHO, _PE = b"\x7fELF\x02\x01", b"\xcf\xfa\xed\xfe", b"MZ"
_PROCESSORS = {
    "linux/amd64": (_ELF, 18, 0x3E),
    "linux/arm64": (_ELF, 18, 0xB7),
    "darwin/amd64": (_MACHO, 4, 0x01000007),
    "darwin/arm64": (_MACHO, 4, 0x0100000C),
    "windows/amd64": (_PE, 0x3C, 0x8664),
}


def check_format(wheel: Path, target: str) -> None:
    """Asserts that the program in a wheel is one of the platform, and that BUILD is its digest."""
    name = "hubflight.exe" if target.startswith("windows/") else "hubflight"
    with zipfile.ZipFile(wheel) as archive:
        assert f"hubflight/_bin/{name}" in archive.namelist()
        program = archive.read(f"hubflight/_bin/{name}")
        assert archive.read("hubflight/_bin/BUILD").decode().strip() == hashlib.sha256(program).hexdigest()
    magic, offset, processor = _PROCESSORS[target]
    assert program.startswith(magic), program[:8]
    if magic == _PE:
        header = int.from_bytes(program[offset : offset + 4], "little")
        assert program[header : header + 4] == b"PE\0\0"
        offset = header + 4
    width = 4 if magic == _MACHO else 2
    assert int.from_bytes(program[offset : offset + width], "little") == processor


def test_without_a_program_the_wheel_is_pure(tmp_path: Path) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("HUBFLIGHT_WHEEL")}
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(Path(__file__).parents[1])], env=environment, check=True, capture_output=True)
    (built,) = tmp_path.glob("*.whl")
    assert built.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(built) as archive:
        assert not [name for name in archive.namelist() if "_bin" in name]


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment that has the wheel and pyarrow, and nothing else."""
    import pyarrow

    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, str(wheel), f"pyarrow=={pyarrow.__version__}"], check=True, capture_output=True)
    return python


def run(python: Path, script: str, hub: HubServer, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs a script there, with a token, a Hub and a place for embedded servers."""
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        kept: dict[str, Any] = {k: v for k, v in os.environ.items() if not k.startswith(("HUBFLIGHT", "HF_", "PYTHON"))}
        environment = {
            **kept, "HF_ENDPOINT": hub.url, "HF_TOKEN": WRITER, "HUBFLIGHT_EMBEDDED_DIR": folder + "/run", **more,
        }  # fmt: skip
        command = [str(python), "-c", script]
        return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_installed_into_an_empty_environment_it_reads_and_writes(installed: Path, hub: HubServer) -> None:
    done = run(installed, SCRIPT, hub)
    assert done.stdout.strip() == "[1, 2, 3] 6000", done.stderr


@pytest.mark.spark
def test_spark_finds_the_format_in_an_installed_wheel_and_shows_what_was_written(
    installed: Path, hub: HubServer
) -> None:
    import pyspark

    # Spark itself is 400 MB: that of the suite is lent. A path file in a folder that another one names is not looked
    # at, so that the suite's own, editable hubflight stays out of sight.
    (packages,) = installed.parents[1].glob("lib/python*/site-packages")
    (packages / "spark_of_the_suite.pth").write_text(str(Path(pyspark.__file__).parents[1]) + "\n")
    python = str(installed)
    done = run(installed, SPARK, hub, PYSPARK_PYTHON=python, PYSPARK_DRIVER_PYTHON=python)
    assert done.stdout.split() == ["6000", "10"], done.stdout + done.stderr
    said = re.findall(r"hubflight: demo/of-the-wheel-with-spark: (.*)", done.stderr)
    assert len(said) == 2, done.stderr
    assert re.fullmatch(r"10 rows, 1 file, 1 commit, head [0-9a-f]{40}", said[0])
    assert re.fullmatch(r"10 rows, 1 file, 1 commit, head [0-9a-f]{40}, pull request 1", said[1])
    assert WRITER not in done.stdout + done.stderr
