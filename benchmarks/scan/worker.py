"""One Python reader in a process of its own: a question per line on standard input, an answer per line on standard output.

python -m benchmarks.scan.worker NAME

The questions are those of ``reader/question.go``, but for "check": rows are compared by a checksum that is taken here.
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.measure.digest import Digest
from benchmarks.scan.peers import PEERS, Asked, Peer


def measure(peer: Peer, asked: Asked, repeats: int, peak: bool) -> dict[str, Any]:
    """Means over the repeats; rows of one; with ``peak`` the most memory that the process took beyond what it had."""
    idle = _forget_peak() if peak else 0
    counts = set()
    began, cpu = time.monotonic(), time.process_time()
    for _ in range(repeats):
        counts.add(sum(peer.rows(part) for part in peer.parts(asked)))
    wall, cpu = time.monotonic() - began, time.process_time() - cpu
    if len(counts) != 1:
        raise RuntimeError(f"row counts differ: {counts}")
    return {
        "wall": wall / repeats,
        "cpu": cpu / repeats,
        "rows": counts.pop(),
        "peak": _resident("VmHWM") - idle if peak else 0,
    }


def check(peer: Peer, asked: Asked) -> dict[str, Any]:
    """Rows and checksum."""
    digest = Digest()
    for part in peer.parts(asked):
        for batch in peer.batches(part):
            digest.add(batch)
    return {"rows": digest.rows, "digest": digest.text()}


def _forget_peak() -> int:
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return _resident("VmRSS")


def _resident(line: str) -> int:
    for text in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        name, _, rest = text.partition(":")
        if name == line:
            return int(rest.split()[0]) << 10
    raise RuntimeError(f"no {line} in /proc/self/status")


def main() -> int:
    # Readers may print; the pipe is for measurements only.
    answers, sys.stdout = sys.stdout, sys.stderr
    peer = PEERS[sys.argv[1]]()
    for line in sys.stdin:
        given = json.loads(line)
        asked = Asked(given["path"], given["columns"], given["filters"], given["batch_rows"])
        try:
            answer = check(peer, asked) if given.get("check") else measure(peer, asked, given["repeats"], given.get("peak", False))
        except Exception as trouble:
            traceback.print_exc()
            answer = {"error": f"{type(trouble).__name__}: {trouble}"}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
