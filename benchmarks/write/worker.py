"""One writer in a process of its own: a job per line on standard input, a measurement per line on standard output.

python -m benchmarks.write.worker NAME
"""

from __future__ import annotations

import json
import sys
import time
import traceback
from typing import Any

from benchmarks.write.writers import WRITERS, Question


def main() -> int:
    # Libraries may print; the pipe is for measurements only.
    answers, sys.stdout = sys.stdout, sys.stderr
    writer = WRITERS[sys.argv[1]]()
    for line in sys.stdin:
        began, cpu = time.monotonic(), time.process_time()
        try:
            question = Question(**json.loads(line))
            writer.write(question)
            answer: dict[str, Any] = {"wall": time.monotonic() - began, "cpu": time.process_time() - cpu, "drained": max(question.drained)}
        except Exception as trouble:
            traceback.print_exc()
            answer = {"error": f"{type(trouble).__name__}: {trouble}"}
        print(json.dumps(answer), file=answers, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
