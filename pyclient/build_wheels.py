"""Builds the wheels: one for each platform, with the program inside. ``make wheel`` runs it.

    python build_wheels.py --out dist [GOOS/GOARCH …]

The programs are cross-compiled, static and without debug symbols; the same commit and the same Go give the same bytes.
Only the platforms named are built; "host" is this machine's, none means all.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

# A program of Go without C needs no library of its system: on Linux one wheel serves glibc and musl. The versions of
# macOS are those that Go itself supports.
PLATFORMS = {
    "linux/amd64": "manylinux_2_17_x86_64.manylinux2014_x86_64.musllinux_1_1_x86_64",
    "linux/arm64": "manylinux_2_17_aarch64.manylinux2014_aarch64.musllinux_1_1_aarch64",
    "darwin/amd64": "macosx_12_0_x86_64",
    "darwin/arm64": "macosx_12_0_arm64",
    "windows/amd64": "win_amd64",
}


def host() -> str:
    """This machine as GOOS/GOARCH."""
    machine = platform.machine().lower()
    return f"{platform.system().lower()}/{ {'x86_64': 'amd64', 'aarch64': 'arm64'}.get(machine, machine) }"


def build(target: str, out: Path) -> None:
    """One platform's program, and the wheel around it."""
    system, architecture = target.split("/")
    with tempfile.TemporaryDirectory(prefix="hubflight-wheel-") as scratch:
        program = Path(scratch) / ("hubflight.exe" if system == "windows" else "hubflight")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOOS": system, "GOARCH": architecture}
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "./cmd/hubflight"]
        subprocess.run(command, cwd=HERE.parent, env=environment, check=True)
        environment = {
            **os.environ, "HUBFLIGHT_WHEEL_PROGRAM": str(program), "HUBFLIGHT_WHEEL_PLATFORM": PLATFORMS[target],
        }  # fmt: skip
        command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(HERE)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the wheel of {target} cannot be built:\n{done.stdout}{done.stderr}")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE / "dist")
    parser.add_argument("targets", nargs="*", metavar="GOOS/GOARCH", help=", ".join(["host", *PLATFORMS]))
    arguments = parser.parse_args()
    targets = [host() if t == "host" else t for t in arguments.targets] or list(PLATFORMS)
    for target in targets:
        if target not in PLATFORMS:
            parser.error(f"{target} is none of {', '.join(PLATFORMS)}")
        build(target, arguments.out)
    for wheel in sorted(arguments.out.glob("hubflight-*.whl")):
        print(f"{wheel.stat().st_size / 1e6:6.1f} MB  {wheel.name}")  # noqa: T201


if __name__ == "__main__":
    main()
