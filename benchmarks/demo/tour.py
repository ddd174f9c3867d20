"""The steps of the demo. What is shown as code is what runs: a step's text is executed as it is printed."""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import flight

from benchmarks.demo.rows import Mismatch, compare, read_files
from benchmarks.demo.screen import Screen

FILTER = '[("langdetect", "=", "zh-cn")]'
"""As users of Spark write it; the option takes JSON too."""

WIRE_FILTER = [["langdetect", "=", "zh-cn"]]
"""The same on the wire."""

Check = Callable[[], str]
"""A comparison: answers the sentence that says what was equal, or raises."""


@dataclass
class Tour:
    """Runs steps one after the other in one namespace, as an interpreter session would, and keeps their times."""

    screen: Screen
    names: dict[str, Any] = field(default_factory=dict)
    times: list[tuple[str, float, float, int, int]] = field(default_factory=list)

    def step(self, title: str, code: str, *checks: Check) -> None:
        """Shows and runs the code, then makes the comparisons."""
        self.screen.step(len(self.times) + 1, title)
        self.screen.code(code)
        self._measured(title, lambda: exec(compile(code, f"<{title}>", "exec"), self.names), checks)  # our own text, printed above

    def shell(self, title: str, command: str, *checks: Check) -> None:
        """The same for a command of a shell."""
        self.screen.step(len(self.times) + 1, title)
        self.screen.command(command)
        self._measured(title, lambda: print(_stdout_of(shlex.split(command))), checks)

    def _measured(self, title: str, run: Callable[[], object], checks: Sequence[Check]) -> None:
        """A failed comparison, or an error, does not end the tour: later ones still tell."""
        began = time.monotonic()
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                run()
        except Exception:
            self.screen.output(printed.getvalue())
            self.screen.bad(_last_lines(traceback.format_exc()))
            self.times.append((title, time.monotonic() - began, 0.0, 1 + len(checks), 1 + len(checks)))
            return
        ran = time.monotonic() - began
        self.screen.output(printed.getvalue())
        self.screen.took(ran)
        failed = sum(not self._check(check) for check in checks)
        self.times.append((title, ran, time.monotonic() - began - ran, len(checks), failed))

    def _check(self, check: Check) -> bool:
        try:
            self.screen.good(check())
        except Mismatch as mismatch:
            self.screen.bad(str(mismatch))
        except Exception:
            self.screen.bad(_last_lines(traceback.format_exc()))
        else:
            return True
        return False

    @property
    def failed(self) -> int:
        return sum(row[4] for row in self.times)


@dataclass(frozen=True)
class Sources:
    """The oracle: what pyarrow reads from the makers' own files."""

    folder: Path
    flights: pa.Table
    instruct: pa.Table
    chinese: pa.Table

    @classmethod
    def read(cls, folder: Path) -> Sources:
        instruct = read_files(folder / "instruct" / "7M-core")
        chinese = instruct.filter(pc.equal(instruct["langdetect"], "zh-cn"))
        return cls(folder, read_files(folder / "flights" / "data"), instruct, chinese)

    def files(self, *parts: str) -> int:
        return len(list(self.folder.joinpath(*parts).glob("*.parquet")))


def read_with_spark(tour: Tour, sources: Sources) -> None:
    """Everything that the documentation of the Hub's Spark integration shows for reading."""
    names = tour.names
    tour.step("start Spark", _START_SPARK)
    tour.step(
        "load a dataset: one partition per data file",
        """
flights = spark.read.format("hubflight").load("demo/flights")
flights.show()
""",
        lambda: _partitions(names["flights"], sources.files("flights", "data")),
        lambda: _equal("against pyarrow on the files", names["flights"].toArrow, sources.flights),
    )
    tour.step(
        "choose one of several configs",
        """
instruct = spark.read.format("hubflight").option("config", "7M-core").load("demo/instruct")
instruct.show(5)
""",
        lambda: _partitions(names["instruct"], sources.files("instruct", "7M-core")),
        lambda: _equal("against pyarrow on the files", names["instruct"].toArrow, sources.instruct),
        lambda: _refused_without_config(names["spark"]),
    )
    tour.step(
        "read one column of five",
        """
languages = (spark.read.format("hubflight").option("config", "7M-core")
    .option("columns", '["langdetect"]').load("demo/instruct"))
languages.groupBy("langdetect").count().orderBy("langdetect").show()
""",
        lambda: _bytes_read({"columns": ["langdetect"]}),
        lambda: _equal("against pyarrow on the files", names["languages"].toArrow, sources.instruct.select(["langdetect"])),
        lambda: _same_counts(names["languages"], "langdetect", sources.instruct),
    )
    tour.step(
        "filter rows before they move",
        f"""
chinese = (spark.read.format("hubflight").option("config", "7M-core")
    .option("filters", '{FILTER}').load("demo/instruct"))
chinese.show(5)
""",
        lambda: _row_groups_read({"filters": WIRE_FILTER}),
        lambda: _equal("against pyarrow on the files", names["chinese"].toArrow, sources.chinese),
    )
    tour.shell(
        "which row groups those were",
        f"hubflight plan demo/instruct --config-name 7M-core --filters '{json.dumps(WIRE_FILTER)}' --explain",
    )
    tour.step(
        "SQL over the DataFrame",
        """
spark.sql("SELECT source, count(*) AS total FROM {df} GROUP BY source ORDER BY total DESC", df=chinese).show()
""",
        lambda: _same_counts(names["chinese"], "source", sources.chinese),
    )


def write_with_spark(tour: Tour, sources: Sources, scratch: Path) -> None:
    """The documented helper, then append twice; read back with us and, independently, with huggingface_hub."""
    names, once = tour.names, sources.chinese
    tour.step(
        "write_parquet, the helper of the documentation",
        """
from huggingface_hub import create_repo
from pyspark_hubflight import write_parquet
url = create_repo("demo/filtered", repo_type="dataset", private=True)
write_parquet(chinese, "hf://datasets/demo/filtered")
spark.read.format("hubflight").load("demo/filtered").groupBy("langdetect").count().show()
""",
        lambda: _equal("read back", lambda: _load(names, "demo/filtered"), once),
        lambda: _equal("downloaded with huggingface_hub", lambda: _download("demo/filtered", scratch / "filtered"), once),
    )
    for title, copies in (("append, which creates the repository", 1), ("append once more", 2)):
        want, downloads = pa.concat_tables([once] * copies), scratch / f"filtered2-{copies}"
        tour.step(
            title,
            """
(chinese.write.format("hubflight").option("create_repo", "true")
    .mode("append").save("demo/filtered2"))
spark.read.format("hubflight").load("demo/filtered2").groupBy("langdetect").count().show()
""",
            partial(_equal, "read back", lambda: _load(names, "demo/filtered2"), want),
            partial(_equal, "downloaded with huggingface_hub", partial(_download, "demo/filtered2", downloads), want),
        )


READS: dict[str, dict[str, Any]] = {
    "flights": {"dataset": "demo/flights"},
    "instruct": {"dataset": "demo/instruct", "config": "7M-core"},
    "langdetect": {"dataset": "demo/instruct", "config": "7M-core", "columns": ["langdetect"]},
    "zh-cn": {"dataset": "demo/instruct", "config": "7M-core", "filters": WIRE_FILTER},
    "filtered": {"dataset": "demo/filtered"},
    "filtered2": {"dataset": "demo/filtered2"},
}
"""The reads of the Spark steps as the wire's read commands, without ``v``."""


def _same_read(names: dict[str, Any], read: str, sources: Sources) -> str:
    want = {
        "flights": sources.flights,
        "instruct": sources.instruct,
        "langdetect": sources.instruct.select(["langdetect"]),
        "zh-cn": sources.chinese,
        "filtered": sources.chinese,
        "filtered2": pa.concat_tables([sources.chinese] * 2),
    }[read]
    return _equal(read, lambda: names["tables"][read], want)


def read_with_pyarrow(tour: Tour, sources: Sources) -> None:
    """The same reads with nothing of ours on the client's side."""
    names = tour.names
    names["reads"] = READS
    tour.step(
        "the same reads with plain pyarrow.flight",
        """
import json, os
import pyarrow as pa, pyarrow.flight as flight
client = flight.connect(os.environ["HUBFLIGHT_SERVER"])
options = flight.FlightCallOptions(headers=[(b"x-hubflight-hub-token", os.environ["HF_TOKEN"].encode())])
def read(**command):
    descriptor = flight.FlightDescriptor.for_command(json.dumps({"v": 1, **command}))
    info = client.get_flight_info(descriptor, options)
    return pa.concat_tables([client.do_get(e.ticket, options).read_all() for e in info.endpoints])
tables = {name: read(**command) for name, command in reads.items()}
""",
        *(partial(_same_read, names, read, sources) for read in READS),
    )


def read_with_go(tour: Tour, sources: Sources, goclient: Path, scratch: Path) -> None:
    """The same reads with the Go client library; its program writes Arrow files, which are compared here."""
    names = tour.names

    def run(name: str, **command: Any) -> pa.Table:
        out = scratch / f"go-{name}.arrow"
        print(_stdout_of([str(goclient), "-out", str(out), json.dumps(command)]))
        with pa.ipc.open_file(out) as file:
            return file.read_all()

    names["go_run_goclient"] = run
    tour.step(
        "the same reads with the Go client (benchmarks/demo/goclient)",
        """
tables = {name: go_run_goclient(name, **command) for name, command in reads.items()}
""",
        *(partial(_same_read, names, read, sources) for read in READS),
    )


def read_without_a_server(tour: Tour, sources: Sources, scratch: Path) -> None:
    """What somebody with a notebook types: nothing is configured, and the package brings its own server."""
    names, folder = tour.names, Path(os.environ["HUBFLIGHT_EMBEDDED_DIR"])
    del os.environ["HUBFLIGHT_SERVER"]
    try:
        tour.step(
            "without any server: the package starts its own, for this user on this machine",
            """
import hubflight
table = hubflight.connect().dataset("demo/instruct", config="7M-core", filters=[("langdetect", "=", "zh-cn")]).to_table()
print(f"{table.num_rows:,} rows")
""",
            lambda: _equal("against pyarrow on the files", lambda: names["table"], sources.chinese),
            lambda: f"one server, process {_only_server(folder)}, for all that follows",
        )
    finally:
        for lock in folder.glob("*.lock"):
            os.kill(int(lock.read_text(encoding="ascii")), signal.SIGTERM)
        for log in folder.glob("*.log"):  # searched for the token with all others
            shutil.copy(log, scratch / "logs" / "embedded.log")


def _only_server(folder: Path) -> int:
    locks = list(folder.glob("*.lock"))
    if len(locks) != 1:
        raise Mismatch(f"{len(locks)} embedded servers instead of one")
    return int(locks[0].read_text(encoding="ascii"))


_START_SPARK = """
from pyspark.sql import SparkSession
spark = (SparkSession.builder.master("local[2]").appName("hubflight demo")
    .config("spark.ui.enabled", "false").config("spark.ui.showConsoleProgress", "false")
    .config("spark.sql.session.timeZone", "UTC").config("spark.sql.shuffle.partitions", "2")
    .config("spark.driver.bindAddress", "127.0.0.1").config("spark.driver.host", "127.0.0.1").getOrCreate())
"""


def _stdout_of(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.rstrip()


def _equal(what: str, got: Callable[[], pa.Table], want: pa.Table) -> str:
    return f"{what}, row by row: {compare(got(), want)}"


def _partitions(frame: Any, files: int) -> str:
    partitions = frame.rdd.getNumPartitions()
    if partitions != files:
        raise Mismatch(f"{partitions} partitions for {files} data files")
    return f"{partitions} partitions, one for each of the {files} data files"


def _refused_without_config(spark: Any) -> str:
    try:
        spark.read.format("hubflight").load("demo/instruct").schema  # noqa: B018  asking is what fails
    except Exception as refused:
        text = str(refused)
        if "[invalid]" in text and "7M-core" in text and "gen" in text:
            return "without a config it is refused, naming 7M-core and gen"
        raise Mismatch(f"the refusal without a config does not name the configs: {text[-400:]}") from refused
    raise Mismatch("without a config one of several was chosen silently")


def _same_counts(frame: Any, column: str, want: pa.Table) -> str:
    got = {row[column]: row["count"] for row in frame.groupBy(column).count().collect()}
    expected = {group.as_py(): count.as_py() for group, count in zip(*_value_counts(want[column]), strict=True)}
    if got != expected:
        raise Mismatch(f"counts by {column}\ngot  {got}\nwant {expected}")
    return f"the counts of {len(expected)} values of {column} are equal"


def _value_counts(column: pa.ChunkedArray) -> tuple[pa.Array, pa.Array]:
    counts = pc.value_counts(column)
    return counts.field("values"), counts.field("counts")


def _load(names: dict[str, Any], dataset: str) -> pa.Table:
    table: pa.Table = names["spark"].read.format("hubflight").load(dataset).toArrow()
    return table


def _download(dataset: str, to: Path) -> pa.Table:
    from huggingface_hub import snapshot_download

    snapshot_download(dataset, repo_type="dataset", local_dir=to)
    return read_files(to, "**/*.parquet")


def _explain(command: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Items (one per file) and totals of the explain action, for a read of demo/instruct."""
    with flight.connect(os.environ["HUBFLIGHT_SERVER"]) as client:
        options = flight.FlightCallOptions(headers=[(b"x-hubflight-hub-token", os.environ["HF_TOKEN"].encode())])
        body = json.dumps({"v": 1, "dataset": "demo/instruct", "config": "7M-core", **command}).encode()
        answers = [json.loads(result.body.to_pybytes()) for result in client.do_action(flight.Action("explain", body), options)]
    items = [answer for answer in answers if answer["type"] == "item"]
    return items, next(answer for answer in answers if answer["type"] == "result")


def _row_groups_read(command: dict[str, Any]) -> str:
    items, totals = _explain(command)
    kept, total = totals["row_groups_kept"], totals["row_groups_total"]
    if not 0 < kept < total / 2:
        raise Mismatch(f"{kept} of {total} row groups are read: the filter did not prune")
    return f"{kept} of {total} row groups are read, in {sum(item['kept'] for item in items)} of {len(items)} files"


def _bytes_read(command: dict[str, Any]) -> str:
    (_, chosen), (_, everything) = _explain(command), _explain({})
    read, whole = chosen["bytes_kept"], everything["bytes_kept"]
    if not 0 < read < whole / 2:
        raise Mismatch(f"{read:,} of {whole:,} bytes are read: the projection did not save any")
    return f"{read:,} of {whole:,} bytes are read"


def _last_lines(text: str) -> str:
    lines = (line for line in text.rstrip().splitlines() if line.strip(" ^~"))
    return "\n".join(list(lines)[-12:])


def main() -> int:
    parser = argparse.ArgumentParser(description="The steps of the demo; `make demo` starts what they need.")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--scratch", type=Path, required=True)
    parser.add_argument("--hubflight", type=Path, required=True)
    parser.add_argument("--goclient", type=Path, required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--colour", action="store_true")
    arguments = parser.parse_args()

    os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
    os.environ["SPARK_LOCAL_DIRS"] = str(arguments.scratch / "spark")
    os.environ["PATH"] = f"{arguments.hubflight.parent}{os.pathsep}{os.environ['PATH']}"
    os.environ["HUBFLIGHT_BINARY"] = str(arguments.hubflight)
    os.environ["HUBFLIGHT_EMBEDDED_DIR"] = str(arguments.scratch / "run")
    sources = Sources.read(arguments.data)
    os.chdir(arguments.scratch)  # Spark leaves its warehouse folder where it is started
    tour = Tour(Screen(arguments.colour, arguments.width))
    read_with_spark(tour, sources)
    if "spark" in tour.names:
        write_with_spark(tour, sources, arguments.scratch)
        tour.names["spark"].stop()
    read_with_pyarrow(tour, sources)
    read_with_go(tour, sources, arguments.goclient, arguments.scratch)
    read_without_a_server(tour, sources, arguments.scratch)
    tour.screen.times(tour.times)
    return 1 if tour.failed else 0


if __name__ == "__main__":
    sys.exit(main())
