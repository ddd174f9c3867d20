"""Runs the tour between the start and the stop of a Hub and a server, and proves that no token was printed."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.demo import services
from benchmarks.demo.screen import Screen, wants_colour


def main() -> int:
    parser = argparse.ArgumentParser(description="The main job end to end, on real data, compared row by row.")
    parser.add_argument("--hubflight", type=Path, required=True, help="the server's binary")
    parser.add_argument("--goclient", type=Path, required=True, help="the binary of benchmarks/demo/goclient")
    parser.add_argument("--data", type=Path, required=True, help="folder with flights/ and instruct/ (make data)")
    parser.add_argument("--keep", action="store_true", help="keep the Hub's folder and all logs")
    arguments = parser.parse_args()

    screen = Screen(wants_colour())
    scratch = Path(tempfile.mkdtemp(prefix="hubflight-demo-"))
    began, status = time.monotonic(), 1
    try:
        repositories = {f"demo/{name}": arguments.data / name for name in ("flights", "instruct")}
        with services.running(arguments.hubflight.resolve(), scratch, repositories) as service:
            screen.title(
                "hubflight: Spark reads and writes Hugging Face datasets through Arrow Flight",
                ("hub", f"{service.hub}  (embedded, private repositories {' and '.join(repositories)})"),
                ("server", service.server),
            )
            status, printed = _tour(arguments, service, scratch, screen)
        # The services are stopped by now, so that their last words are searched too.
        print()
        status |= _search_for_token(screen, service, printed)
        if status == 0:
            screen.good(f"everything compared equal, everything started is stopped: {time.monotonic() - began:.0f} s")
        else:
            screen.bad(f"the demo FAILED after {time.monotonic() - began:.0f} s: see the lines with ✗")
    finally:
        if arguments.keep or status != 0:
            screen.output(f"logs and the Hub's folder are kept in {scratch}")
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    return status


def _tour(arguments: argparse.Namespace, service: services.Running, scratch: Path, screen: Screen) -> tuple[int, bytes]:
    """Runs the tour, passing its lines on as they come; what Spark and its JVM say to stderr goes to a log."""
    spark_log = service.logs / "spark.log"
    command = [sys.executable, "-m", "benchmarks.demo.tour", "--data", str(arguments.data.resolve()), "--scratch", str(scratch)]
    command += ["--hubflight", str(arguments.hubflight.resolve()), "--goclient", str(arguments.goclient.resolve())]
    command += ["--width", str(screen.width)]
    command += ["--colour"] if screen.colour else []
    printed = bytearray()
    with spark_log.open("wb") as errors:
        process = subprocess.Popen(
            command, env=service.client_environment(scratch), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors
        )
        assert process.stdout is not None
        try:
            for line in process.stdout:
                printed += line
                sys.stdout.buffer.write(line)
                sys.stdout.buffer.flush()
        except BaseException:
            process.terminate()
            raise
        finally:
            status = process.wait()
    if status != 0:
        for name in ("spark", "server", "hub"):
            tail = (service.logs / f"{name}.log").read_text(encoding="utf-8", errors="replace").splitlines()[-15:]
            screen.output(f"\nlast lines of {name}.log:\n" + "\n".join(tail).replace(service.token, "[redacted]"))
    return status, bytes(printed)


def _search_for_token(screen: Screen, service: services.Running, printed: bytes) -> int:
    """The proof over everything that was printed or logged, by us, by Spark, by the Hub and by the server."""
    searched = {"this output": printed} | {path.name: path.read_bytes() for path in sorted(service.logs.iterdir())}
    guilty = [name for name, text in searched.items() if service.token.encode() in text]
    size = sum(len(text) for text in searched.values())
    if guilty:
        screen.bad(f"the Hub token was printed in: {', '.join(guilty)}")
        return 1
    screen.good(f"no token in {size:,} bytes of output and logs ({', '.join(searched)})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
