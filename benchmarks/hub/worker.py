"""One reader in a process of its own: a question per line on standard input, a measurement per line on standard output.

python -m benchmarks.hub.worker NAME
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from typing import Any

from benchmarks.hub.peers import PEERS, Peer, Question
from benchmarks.measure.digest import Digest


def measure(peer: Peer, question: Question, checked: bool) -> dict[str, Any]:
    """Seconds and CPU seconds of this process, rows, and the checksum if it is asked for."""
    began, cpu = time.monotonic(), time.process_time()
    scan = peer.plan(question)
    planned, first, rows = time.monotonic(), None, 0
    digest = Digest() if checked else None
    for batch in scan():
        first = first or time.monotonic()
        rows += batch.num_rows
        if digest is not None:
            digest.add(batch)
    ended = time.monotonic()
    return {
        "wall": ended - began,
        "plan": planned - began,
        "first": (first or ended) - began,
        "cpu": time.process_time() - cpu,
        "rows": rows,
        "digest": digest.text() if digest is not None else None,
    }


def main() -> int:
    # Readers may print; the pipe is for measurements only.
    answers, sys.stdout = sys.stdout, sys.stderr
    peer = PEERS[sys.argv[1]]()
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            if asked["what"] == "forget":
                peer.forget()
                answer: dict[str, Any] = {}
            elif asked["what"] == "plan":
                peer.plan(Question(**asked["question"]))
                answer = {}
            else:
                answer = measure(peer, Question(**asked["question"]), asked["checked"])
        except Exception as trouble:
            traceback.print_exc()
            answer = {"error": f"{type(trouble).__name__}: {trouble}"}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
