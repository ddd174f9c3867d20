"""Reads streams of a server with pyarrow and compares them with the file that they come from.

Arguments: the server, the read command, the file, how many streams of each manner.
A batch lives as long as the test wants, while later ones arrive: pyarrow keeps what gRPC received without copying it.
"""

import sys
import threading
import time

import pyarrow as pa
import pyarrow.flight as fl
import pyarrow.parquet as pq

location, command, path, repeat = sys.argv[1], sys.argv[2].encode(), sys.argv[3], int(sys.argv[4])
want = pq.read_table(path)
failures: list[str] = []


def read(manner: str) -> None:
    with fl.connect(location) as client:
        info = client.get_flight_info(fl.FlightDescriptor.for_command(command))
        reader = client.do_get(info.endpoints[0].ticket)
        batches = []
        for chunk in reader:
            batches.append(chunk.data)
            if manner == "slow":
                time.sleep(0.002)
            if manner == "cancel" and len(batches) == 7:
                reader.cancel()
                break
        got = pa.Table.from_batches(batches, schema=reader.schema)
        if manner != "cancel" and got.num_rows != want.num_rows:
            failures.append(f"{manner}: {got.num_rows} rows of {want.num_rows}")
        for name in want.column_names:
            if not got[name].combine_chunks().equals(want[name].slice(0, got.num_rows).combine_chunks()):
                failures.append(f"{manner}: column {name} differs")


def guarded(manner: str) -> None:
    try:
        read(manner)
    except Exception as e:  # a thread's exception would only be printed
        failures.append(f"{manner}: {e!r}")


threads = [threading.Thread(target=guarded, args=(m,)) for m in ("fast", "slow", "cancel") for _ in range(repeat)]
for t in threads:
    t.start()
for t in threads:
    t.join()
print("\n".join(failures))
sys.exit(len(failures) > 0)
