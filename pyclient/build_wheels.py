"""Builds the wheels: one for each platform, with the program inside. ``make wheel`` runs it.

    python build_wheels.py --out dist [GOOS/GOARCH …]

The programs are cross-compiled, static and without debug symbols; the same commit and the same Go give the same bytes.
Only the platforms named are built; "host" is this machine's, none means all.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
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


def go_environment(target: str) -> dict[str, str]:
    """What makes Go compile for a platform."""
    system, architecture = target.split("/")
    return {**os.environ, "CGO_ENABLED": "0", "GOOS": system, "GOARCH": architecture}


def licences(target: str) -> str:
    """The licences and notices of the modules that a platform's program is linked from: they are handed on with it."""
    form = '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}}{{"\\t"}}{{.Dir}}{{end}}{{end}}'
    command = ["go", "list", "-deps", "-f", form, "./cmd/hubflight"]
    done = subprocess.run(
        command, cwd=HERE.parent, env=go_environment(target), check=True, stdout=subprocess.PIPE, text=True
    )
    texts: dict[str, list[str]] = {}  # many have the same one
    for name, folder in sorted(tuple(line.split("\t")) for line in set(done.stdout.splitlines())):
        found = [f for f in sorted(Path(folder).iterdir()) if re.match("(?i)(licen[cs]e|copying|notice)", f.name)]
        if not any(not f.name.upper().startswith("NOTICE") for f in found):
            raise SystemExit(f"the module {name} has no file that tells its licence")
        for file in found:
            texts.setdefault(file.read_text(encoding="utf-8").strip(), []).append(name)
    # The library of Go itself has the licence, word for word, of what its authors keep beside it.
    (own,) = (names for names in texts.values() if any(name.startswith("golang.org/x/sys ") for name in names))
    own.insert(0, "the standard library of Go")
    rule = "=" * 80
    return "\n\n".join("\n".join([rule, *names, rule, "", text]) for text, names in texts.items()) + "\n"


def build(target: str, out: Path) -> None:
    """One platform's program, and the wheel around it."""
    with tempfile.TemporaryDirectory(prefix="hubflight-wheel-") as scratch:
        program = Path(scratch) / ("hubflight.exe" if target.startswith("windows/") else "hubflight")
        command = ["go", "build", "-trimpath", "-ldflags=-s -w", "-o", str(program), "./cmd/hubflight"]
        subprocess.run(command, cwd=HERE.parent, env=go_environment(target), check=True)
        terms = Path(scratch) / "licences"
        terms.write_text(licences(target), encoding="utf-8")
        environment = {
            **os.environ, "HUBFLIGHT_WHEEL_PROGRAM": str(program), "HUBFLIGHT_WHEEL_LICENCES": str(terms),
            "HUBFLIGHT_WHEEL_PLATFORM": PLATFORMS[target],
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
